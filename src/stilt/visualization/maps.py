"""
The ground under a plot: coastlines, ticks, a scale bar and the receptor.

Axes of cartopy are drawn on in their own way when they are given.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.ticker import FixedLocator, FuncFormatter, Locator, MaxNLocator, MultipleLocator

from stilt.receptors import Receptor
from stilt.visualization import style
from stilt.visualization.coastlines import FloatArray, View, lines_in_degrees, lines_projected

if TYPE_CHECKING:
    pass

from stilt.visualization.plane import MapPlane, coordinates_of, is_geo_axes

LINES: dict[str, dict[str, Any]] = {
    "province": {"color": "#a8a8a8", "linewidth": 0.5},
    "lake": {"color": "#6f7d8c", "linewidth": 0.6},
    "country": {"color": "#6a6a6a", "linewidth": 0.7},
    "coast": {"color": "#3c3c3c", "linewidth": 0.8},
}
"""How each kind of line is drawn, from the lowest to the highest."""

_WIDEST_WITH_PROVINCES = 6000.0  # [km]
_WIDEST_WITH_SCALE_BAR = 3000.0  # [km]
_NARROWEST_WITH_LAKES = 60.0  # [km]


def draw_map(
    ax: Any,
    plane: MapPlane,
    view: View,
    *,
    coastlines: bool = True,
    scale_bar: bool = True,
    label_x: bool = True,
    label_y: bool = True,
    ticks: int = 6,
) -> None:
    """
    Set the limits of axes and draw what belongs to the ground.

    Parameters
    ----------
    ax : Axes or GeoAxes
        Where.
    plane : MapPlane
        The map, from `plane_for`.
    view : (x0, x1, y0, y1)
        What to show, in units of the map.
    coastlines, scale_bar : bool
        Whether to draw them.
    label_x, label_y : bool
        Whether ticks have labels.
    ticks : int
        Most ticks along a side.
    """
    if is_geo_axes(ax):
        ax.set_extent(view, crs=coordinates_of(ax, plane)["transform"])
    else:
        ax.set_xlim(view[0], view[1])
        ax.set_ylim(view[2], view[3])
        ax.set_aspect(plane.aspect(view), adjustable="box")
        ax.tick_params(
            labelsize=style.SMALL, color=style.SOFT, labelcolor=style.INK, direction="out", length=3
        )
        ax.tick_params(labelbottom=label_x, labelleft=label_y)
        for side in ax.spines.values():
            side.set_color(style.SOFT)
            side.set_linewidth(0.8)
        if plane.is_longlat:
            _degree_ticks(ax, view, ticks)
        else:
            _kilometre_ticks(ax, ticks, label_x=label_x, label_y=label_y)
            _graticule(ax, plane, view)
    if coastlines:
        _draw_lines(ax, plane, view)
    if scale_bar and not is_geo_axes(ax):
        _scale_bar(ax, plane, view)


def _draw_lines(ax: Any, plane: MapPlane, view: View) -> None:
    width = (view[1] - view[0]) * plane.km_per_unit(0.5 * (view[0] + view[1]), 0.5 * (view[2] + view[3]))
    if is_geo_axes(ax):
        # a box of one projection shows more than itself in another
        more_x, more_y = 0.6 * (view[1] - view[0]), 0.6 * (view[3] - view[2])
        view = view[0] - more_x, view[1] + more_x, view[2] - more_y, view[3] + more_y
    thinner = 0.75 if width > _WIDEST_WITH_SCALE_BAR else 1.0
    for order, (name, look) in enumerate(LINES.items()):
        if name == "province" and width > _WIDEST_WITH_PROVINCES:
            continue
        if name == "lake" and width < _NARROWEST_WITH_LAKES:
            continue
        if plane.is_longlat:
            lines = lines_in_degrees(name, view)
        else:
            lines = lines_projected(name, plane.project, view)
        if lines:
            collection = LineCollection(
                lines,
                zorder=1.5 + 0.1 * order,
                gid=f"stilt-{name}",
                capstyle="round",
                joinstyle="round",
                color=look["color"],
                linewidth=thinner * look["linewidth"],
                path_effects=style.line_halo(thinner * look["linewidth"] + 1.0, alpha=0.45),
            )
            if is_geo_axes(ax):
                collection.set_transform(coordinates_of(ax, plane)["transform"]._as_mpl_transform(ax))
            ax.add_collection(collection, autolim=False)


def _degree_ticks(ax: Axes, view: View, ticks: int) -> None:
    for axis, low, high, words in (
        (ax.xaxis, view[0], view[1], style.degrees_east),
        (ax.yaxis, view[2], view[3], style.degrees_north),
    ):
        locator = _degree_locator(high - low, ticks)
        if ticks < 5:
            # names at the ends would run into those of the map beside
            margin = 0.06 * (high - low)
            inside = [
                value for value in locator.tick_values(low, high) if low + margin < value < high - margin
            ]
            locator = FixedLocator(inside)
        axis.set_major_locator(locator)
        axis.set_major_formatter(FuncFormatter(lambda value, _, words=words: words(value)))


def _degree_locator(span: float, ticks: int) -> Locator:
    if span > 12.0:
        return MultipleLocator(_degree_step(span, ticks))
    return MaxNLocator(nbins=ticks, steps=[1, 2, 5, 10])


def _degree_step(span: float, ticks: int = 6) -> float:
    steps = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0, 90.0)
    return next((step for step in steps if span / step <= ticks + 0.5), 90.0)


def _kilometre_ticks(ax: Axes, ticks: int, *, label_x: bool, label_y: bool) -> None:
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(nbins=ticks, steps=[1, 2, 5, 10]))
    if label_x:
        ax.set_xlabel("x of the projection [km]", fontsize=style.NORMAL, color=style.INK)
    if label_y:
        ax.set_ylabel("y of the projection [km]", fontsize=style.NORMAL, color=style.INK)


def _graticule(ax: Axes, plane: MapPlane, view: View) -> None:
    """Draw meridians and parallels on a projected map, named where they leave it at the top and the right."""
    x0, x1, y0, y1 = view
    rim_x, rim_y = np.meshgrid(np.linspace(x0, x1, 25), np.linspace(y0, y1, 25))
    lon, lat = plane.locate(rim_x, rim_y)
    good = np.isfinite(lon) & np.isfinite(lat)
    if not good.any():
        return
    middle = float(plane.locate(0.5 * (x0 + x1), 0.5 * (y0 + y1))[0])
    lon = (lon[good] - (middle if math.isfinite(middle) else 0.0) + 180.0) % 360.0 - 180.0 + middle
    lat = lat[good]
    step_x, step_y = _degree_step(float(np.ptp(lon)) * 1.2), _degree_step(float(np.ptp(lat)) * 1.2)
    lines = []
    for value in np.arange(math.ceil(lon.min() / step_x), math.floor(lon.max() / step_x) + 1) * step_x:
        across = np.linspace(max(lat.min() - step_y, -89.9), min(lat.max() + step_y, 89.9), 200)
        x, y = plane.project(np.full(200, value), across)
        lines.append(np.column_stack([x, y]))
        _name(ax, style.degrees_east(float(value)), _crossing(y, x, y1), y1, x0, x1, top=True)
    for value in np.arange(math.ceil(lat.min() / step_y), math.floor(lat.max() / step_y) + 1) * step_y:
        along = np.linspace(lon.min() - step_x, lon.max() + step_x, 200)
        x, y = plane.project(along, np.full(200, value))
        lines.append(np.column_stack([x, y]))
        _name(ax, style.degrees_north(float(value)), _crossing(x, y, x1), x1, y0, y1, top=False)
    ax.add_collection(
        LineCollection(
            lines, color="#bbbbbb", linewidth=0.5, linestyle=(0, (3, 3)), zorder=1.4, gid="stilt-graticule"
        ),
        autolim=False,
    )


def _crossing(along: FloatArray, other: FloatArray, level: float) -> float:
    """Return ``other`` where ``along`` first passes a level; NaN where it does not."""
    passes = np.flatnonzero((along[:-1] - level) * (along[1:] - level) <= 0.0)
    if passes.size == 0:
        return math.nan
    k = passes[0]
    step = along[k + 1] - along[k]
    share = (level - along[k]) / step if step else 0.0
    return float(other[k] + share * (other[k + 1] - other[k]))


def _name(ax: Axes, text: str, at: float, edge: float, low: float, high: float, *, top: bool) -> None:
    margin = 0.06 * (high - low)
    if not low + margin < at < high - 2.0 * margin:
        return
    ax.annotate(
        text,
        (at, edge) if top else (edge, at),
        xytext=(0, -3) if top else (-3, 0),
        textcoords="offset points",
        ha="center" if top else "right",
        va="top" if top else "center",
        fontsize=style.SMALL - 1.5,
        color=style.SOFT,
        path_effects=style.halo(),
        zorder=6,
    )


def _scale_bar(ax: Axes, plane: MapPlane, view: View) -> None:
    x0, x1, y0, y1 = view
    y = y0 + 0.055 * (y1 - y0)
    km = plane.km_per_unit(0.5 * (x0 + x1), y)
    width = (x1 - x0) * km
    if width > _WIDEST_WITH_SCALE_BAR:
        return
    length = style.round_down(0.25 * width)
    left = x0 + 0.04 * (x1 - x0)
    ax.plot(
        [left, left + length / km],
        [y, y],
        color=style.INK,
        linewidth=2.0,
        solid_capstyle="butt",
        path_effects=style.line_halo(4.0),
        zorder=7,
        gid="stilt-scale-bar",
    )
    ax.annotate(
        f"{length:g} km" if length >= 1.0 else f"{length * 1000.0:g} m",
        (left + 0.5 * length / km, y),
        xytext=(0, 3),
        textcoords="offset points",
        ha="center",
        va="bottom",
        fontsize=style.SMALL,
        color=style.INK,
        path_effects=style.halo(),
        zorder=7,
    )


def mark_receptor(
    ax: Any, plane: MapPlane, receptor: Receptor, *, size: float = 130.0, label: str = "receptor"
) -> None:
    """
    Draw a star where a receptor is; points of a multipoint receptor are joined.

    Parameters
    ----------
    ax : Axes
        Where.
    plane : MapPlane
        The map.
    receptor : Receptor
        Whose place.
    size : float
        Of the star [pt2].
    label : str
        For a legend.
    """
    x, y = plane.project(receptor.longitudes, receptor.latitudes)
    x, y = np.atleast_1d(x), np.atleast_1d(y)
    several = receptor.kind == "multipoint"
    more = coordinates_of(ax, plane)
    if several:
        ax.plot(x, y, color=style.INK, linewidth=0.8, zorder=7.9, **more)
    ax.scatter(
        x if several else x[:1],
        y if several else y[:1],
        marker="o" if several else "*",
        s=size / 5.0 if several else size,
        facecolor="white",
        edgecolor=style.INK,
        linewidth=1.1,
        zorder=8,
        label=label,
        gid="stilt-receptor",
        **more,
    )
