"""
Pictures of a footprint: a map of its sum, and maps of its hours.

How cells get their colours and outlines is in :mod:`stilt.visualization.cells`.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from stilt.errors import FootprintError
from stilt.visualization import style
from stilt.visualization.cells import (
    OTHER_OUTLINE,
    OUTLINE_COLOUR,
    OUTLINES,
    Cells,
    colour_scale,
    draw_cells,
    draw_outlines,
)
from stilt.visualization.coastlines import FloatArray, View
from stilt.visualization.maps import draw_map, mark_receptor
from stilt.visualization.panels import Panels, columns_for
from stilt.visualization.plane import MapPlane, new_map, plane_for, shape_of

if TYPE_CHECKING:
    import xarray as xr

    from stilt.footprint import Footprint


class FootprintPlots:
    """
    Plots of a footprint.

    Parameters
    ----------
    footprint : Footprint
        What to draw.
    """

    def __init__(self, footprint: Footprint) -> None:
        self._footprint = footprint

    def map(
        self,
        ax: Any = None,
        *,
        start: datetime | str | None = None,
        end: datetime | str | None = None,
        vmin: float | None = None,
        vmax: float | None = None,
        cmap: Any = None,
        outlines: Sequence[float] = (0.5, 0.9),
        full: bool = False,
        coastlines: bool = True,
        colorbar: bool = True,
        title: str | None = None,
    ) -> Axes:
        """
        Draw the footprint summed over time.

        Parameters
        ----------
        ax : Axes or GeoAxes, optional
            Where; default: a new figure.
        start, end : datetime or str, optional
            First and last hour [UTC], as in `Footprint.integrate_over_time`.
        vmin, vmax : float, optional
            Ends of the colour scale [ppm / (umol m-2 s-1)]. Default: from the largest value down to where
            the cells above hold 99 % of the sum, at most five powers of ten; smaller values stay blank.
        cmap : colour map, optional
            Of matplotlib.
        outlines : sequence of float
            Shares of the sum whose smallest area is outlined.
        full : bool
            Show the whole grid; default: where the footprint is.
        coastlines, colorbar : bool
            Whether to draw them.
        title : str, optional
            Instead of the name of the footprint and its receptor.

        Returns
        -------
        Axes
            Of the map; its figure is ``ax.figure``.
        """
        footprint = self._footprint
        field = footprint.integrate_over_time(start, end)
        cells = Cells(field, footprint)
        plane = MapPlane.of_grid(footprint.grid)
        if not full and cells.is_ring:
            plane = MapPlane(center_lon=cells.middle())
            cells = cells.turned(plane.center_lon)
        norm = colour_scale(cells.values, vmin, vmax)
        view = cells.view(plane, None if full else norm, footprint)
        if ax is None:
            ax = new_map(view, plane, colorbar=colorbar)
        mesh = draw_cells(ax, plane, cells, view, norm, cmap)
        draw_map(ax, plane_for(ax, plane), _in_units_of(ax, plane, view), coastlines=coastlines)
        draw_outlines(ax, plane, cells, outlines)
        mark_receptor(ax, plane_for(ax, plane), footprint.receptor)
        if mesh is None:
            _say_nothing(ax, footprint, start is not None or end is not None)
        else:
            _legend(ax, outlines, cells.emptiest_corner(plane, view, norm))
            if colorbar:
                _colorbar(ax.inset_axes((1.025, 0.0, 0.035, 1.0)), mesh, norm, cells.values)
        style.put_title(
            ax, _headline(footprint) if title is None else title, _subtitle(footprint, start, end)
        )
        return ax

    def facet(
        self,
        hours: int | Sequence[float] | None = None,
        *,
        columns: int | None = None,
        vmin: float | None = None,
        vmax: float | None = None,
        cmap: Any = None,
        full: bool = False,
        coastlines: bool = True,
        title: str | None = None,
    ) -> Figure:
        """
        Draw one map for each group of hours, all with one colour scale.

        Parameters
        ----------
        hours : int or sequence of float, optional
            Length of a group [h], or the ends of the groups as hours from the receptor time, such as
            ``[0, 1, 3, 6, 12, 24]``. Default: a length that makes at most eight groups.
        columns : int, optional
            Maps beside each other.
        vmin, vmax, cmap, full, coastlines
            As in `map`.
        title : str, optional
            Instead of the name of the footprint and its receptor.

        Returns
        -------
        Figure
            With one axes for each group with influence, and the colour bar.
        """
        footprint = self._footprint
        groups = _groups(footprint, hours)
        total = Cells(footprint.integrate_over_time(), footprint)
        parts = [Cells(field, footprint) for _, field in groups]
        plane = MapPlane.of_grid(footprint.grid)
        if not full and total.is_ring:
            plane = MapPlane(center_lon=total.middle())
            total, *parts = (each.turned(plane.center_lon) for each in (total, *parts))
        largest = max((part.values.max(initial=0.0) for part in parts), default=0.0)
        norm = colour_scale(
            np.concatenate([part.values.ravel() for part in parts] or [np.zeros(1)]), vmin, vmax
        )
        view = total.view(plane, None if full else norm, footprint)
        n = max(len(parts), 1)
        shape = shape_of(view, plane)
        panels = Panels(n, columns or columns_for(n, shape), shape, plane)
        columns = panels.columns
        figure = panels.figure
        width, height = figure.get_size_inches()
        figure.text(
            panels.left / width, 1.0 - 0.12 / height, _headline(footprint) if title is None else title,
            va="top", fontsize=style.LARGE, fontweight="bold", color=style.INK,
        )  # fmt: skip
        figure.text(
            panels.left / width, 1.0 - 0.37 / height, _subtitle(footprint), va="top", fontsize=style.NORMAL,
            color=style.SOFT,
        )  # fmt: skip
        everything = total.values.sum(dtype=np.float64)
        mesh = None
        axes: list[Axes] = []
        for k in range(n):
            ax = panels.add(k)
            axes.append(ax)
            last_row, first_column = k + columns >= n, k % columns == 0
            if parts:
                drawn = draw_cells(ax, plane, parts[k], view, norm, cmap)
                mesh = mesh or drawn
                share = parts[k].values.sum(dtype=np.float64) / everything if everything else 0.0
                ax.set_title(
                    f"{groups[k][0]}  ·  {share * 100:.0f} %",
                    loc="left",
                    fontsize=style.NORMAL,
                    color=style.INK,
                )
            draw_map(
                ax,
                plane,
                view,
                coastlines=coastlines,
                scale_bar=k == 0,
                label_x=last_row,
                label_y=first_column,
                ticks=4,
            )
            mark_receptor(ax, plane, footprint.receptor, size=70.0)
        if mesh is None or largest <= 0.0:
            _say_nothing(axes[0], footprint, False)
        else:
            bar = figure.colorbar(mesh, cax=panels.add_bar(), extend=_extend(norm, total.values))
            _dress_colorbar(bar, norm)
        return figure


# --- words ------------------------------------------------------------------------------------------


def _in_units_of(ax: Any, plane: MapPlane, view: View) -> View:
    factor = plane_for(ax, plane).units_per_native / plane.units_per_native
    x0, x1, y0, y1 = (edge * factor for edge in view)
    return x0, x1, y0, y1


def _headline(footprint: Footprint) -> str:
    name = f"Footprint “{footprint.name}”" if footprint.name else "Footprint"
    return f"{name} · {style.when(footprint.receptor.time)} UTC"


def _subtitle(footprint: Footprint, start: Any = None, end: Any = None) -> str:
    place = style.where(footprint.receptor)
    span = _span(footprint, start, end)
    return f"{place} · influence {span}" if span else place


def _span(footprint: Footprint, start: Any, end: Any) -> str:
    if footprint.time_range is None:
        return ""
    if footprint.time_integrate or (start is None and end is None):
        return style.hours_between(*footprint.time_range)
    chosen = footprint.data["time"].sel(time=slice(start, end)).values
    if chosen.size == 0:
        return ""
    first, last = (label.astype("datetime64[s]").item() for label in (chosen[0], chosen[-1]))
    return style.hours_between(first, last + timedelta(hours=1))


def _say_nothing(ax: Any, footprint: Footprint, chosen: bool) -> None:
    if footprint.is_empty:
        text = f"Empty footprint: {footprint.empty_message or footprint.empty_reason}"
    else:
        text = (
            "No influence in the chosen hours" if chosen else "No influence above the lower end of the scale"
        )
    width = ax.get_window_extent().width / ax.get_figure(root=True).dpi
    ax.text(
        0.5, 0.95, textwrap.fill(text, max(20, int(11.0 * width))), transform=ax.transAxes, ha="center",
        va="top", fontsize=style.NORMAL, color=style.INK, zorder=9,
        bbox={"facecolor": "white", "edgecolor": style.FAINT, "boxstyle": "round,pad=0.5"},
    )  # fmt: skip


def _legend(ax: Any, shares: Sequence[float], corner: str) -> None:
    if not shares:
        return
    handles = [
        Line2D([], [], color=OUTLINE_COLOUR, linestyle=style_of_line, linewidth=width,
               label=f"{share * 100:g} % of the sensitivity")
        for share in shares
        for style_of_line, width in [OUTLINES.get(share, OTHER_OUTLINE)]
    ]  # fmt: skip
    handles.append(
        Line2D([], [], linestyle="", marker="*", markersize=10, markerfacecolor="white",
               markeredgecolor=style.INK, label="receptor")
    )  # fmt: skip
    legend = ax.legend(
        handles=handles, loc=corner, fontsize=style.SMALL, framealpha=0.85, edgecolor="none", borderpad=0.5
    )
    legend.set_zorder(9)


def _extend(norm: LogNorm, values: FloatArray) -> str:
    below = bool(((values > 0.0) & (values < (norm.vmin or 0.0))).any())
    above = bool((values > (norm.vmax or math.inf)).any())
    return {(True, True): "both", (True, False): "min", (False, True): "max"}.get((below, above), "neither")


def _colorbar(cax: Axes, mesh: Any, norm: LogNorm, values: FloatArray) -> None:
    figure = cax.get_figure(root=True)
    if figure is not None:
        _dress_colorbar(figure.colorbar(mesh, cax=cax, extend=_extend(norm, values)), norm)


def _dress_colorbar(bar: Any, norm: LogNorm) -> None:
    room = bar.ax.get_window_extent().height / bar.ax.get_figure(root=True).dpi
    words = "Sensitivity to surface flux" if room > 3.2 or room < 2.4 else "Sensitivity"
    bar.set_label(
        f"{words}{' ' if room > 2.4 else chr(10)}[{style.FOOTPRINT_UNITS}]",
        fontsize=style.NORMAL if room > 1.8 else style.SMALL,
        color=style.INK,
    )
    decades = math.log10((norm.vmax or 1.0) / (norm.vmin or 0.1))
    bar.ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if decades < 2.5 else (1.0,)))
    bar.ax.yaxis.set_major_formatter(FuncFormatter(_power_of_ten))
    bar.ax.yaxis.set_minor_formatter(NullFormatter())
    bar.ax.tick_params(labelsize=style.SMALL, labelcolor=style.INK)
    bar.outline.set_linewidth(0.6)


def _power_of_ten(value: float, _: Any = None) -> str:
    exponent = math.floor(math.log10(value) + 1e-9)
    if -3 <= exponent <= 3:
        return f"{value:g}"
    factor = round(value / 10.0**exponent)
    return f"$10^{{{exponent}}}$" if factor == 1 else f"${factor}\\times10^{{{exponent}}}$"


# --- hours ------------------------------------------------------------------------------------------


def _groups(footprint: Footprint, hours: int | Sequence[float] | None) -> list[tuple[str, xr.DataArray]]:
    """Sum the layers by hours from the receptor time; the group nearest to it first."""
    if footprint.is_empty:
        return []
    labels = footprint.data["time"].values
    if footprint.time_integrate or labels.size == 0:
        return [("all hours", footprint.integrate_over_time())]
    released = np.datetime64(footprint.receptor.time, "ns")
    # middle of each hour, in hours from the receptor time
    ages = (labels - released) / np.timedelta64(3600, "s") + 0.5
    is_backward = ages.mean() < 0.0
    ages = -ages if is_backward else ages
    ends = _ends(hours, float(ages.max()) + 0.5)
    word = "before" if is_backward else "after"
    groups = []
    for low, high in pairwise(ends):
        chosen = (ages >= low) & (ages < high)
        if chosen.any():
            part = footprint.data.isel(time=np.flatnonzero(chosen)).sum("time", dtype=np.float64)
            groups.append((f"{low:g}–{high:g} h {word}", part))
    if not groups:
        raise FootprintError(
            f"no hour of the footprint lies within {ends[0]:g} to {ends[-1]:g} h of the receptor time; "
            f"it reaches {ages.max() + 0.5:g} h."
        )
    return groups


def _ends(hours: int | Sequence[float] | None, longest: float) -> list[float]:
    if hours is None:
        length = next(
            (each for each in (1, 2, 3, 4, 6, 8, 12, 24, 48, 72) if longest / each <= 8.0),
            math.ceil(longest / 8),
        )
    elif isinstance(hours, (int, float)):
        if hours < 1:
            raise FootprintError(f"hours = {hours} is no length of a group; give whole hours, 1 or more.")
        length = int(hours)
    else:
        ends = [float(each) for each in hours]
        if len(ends) < 2 or sorted(set(ends)) != ends or ends[0] < 0.0:
            raise FootprintError(
                f"hours = {list(hours)} are no ends of groups; give ascending ones such as [0, 3, 12]."
            )
        return ends
    return [float(length * k) for k in range(math.ceil(longest / length - 1e-9) + 1)]
