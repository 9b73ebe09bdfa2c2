"""
The cells of a footprint as a map shows them: colours by powers of ten, and outlines.

The sensitivity spans many powers of ten, and the smallest values cover the largest area, so
the scale is logarithmic and begins where the cells above hold nearly all of the sum.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import copy
from typing import TYPE_CHECKING, Any

import numpy as np
from contourpy import contour_generator
from matplotlib.colors import LogNorm

from stilt.errors import FootprintError
from stilt.visualization import style
from stilt.visualization.coastlines import FloatArray, View
from stilt.visualization.plane import MapPlane, coordinates_of, plane_for, shaped

if TYPE_CHECKING:
    import xarray as xr

    from stilt.footprint import Footprint

COVERED = 0.99
"""Share of the sum held by the cells that get a colour."""

MOST_DECADES = 5
"""The colour scale never spans more powers of ten."""

OUTLINES: dict[float, tuple[Any, float]] = {0.5: ("solid", 1.5), 0.9: ((0, (4.0, 2.0)), 1.1)}
OTHER_OUTLINE = ("dotted", 1.1)
_MOST_PIECES, _MOST_PASSES = 8, 4
OUTLINE_COLOUR = "#0b6fb8"


def share_level(values: FloatArray, share: float) -> float:
    """
    Find the value such that the cells at or above it hold a share of the sum.

    Parameters
    ----------
    values : ndarray
        Footprint; nothing below zero.
    share : float
        0 to 1.

    Returns
    -------
    float
        Infinite when nothing is above zero.

    Examples
    --------
    >>> share_level(np.array([5.0, 3.0, 1.0, 1.0]), 0.8)
    3.0
    """
    ordered = np.sort(values[values > 0.0], axis=None)[::-1].astype(np.float64)
    if ordered.size == 0:
        return math.inf
    held = np.cumsum(ordered)
    place = int(np.searchsorted(held, share * held[-1] * (1.0 - 1e-12)))
    return float(ordered[min(place, ordered.size - 1)])


class Cells:
    """Numbers of one map with the edges of their cells, in units of the grid."""

    def __init__(self, field: xr.DataArray, footprint: Footprint) -> None:
        self.values = np.asarray(field.values, dtype=np.float64)
        self.y = np.asarray(field[field.dims[0]].values, dtype=np.float64)
        self.x = np.asarray(field[field.dims[1]].values, dtype=np.float64)
        self.x_edges = _edges(self.x, footprint.grid.xres)
        self.y_edges = _edges(self.y, footprint.grid.yres)
        self.is_ring = footprint.grid.is_longlat and math.isclose(self.x_edges[-1] - self.x_edges[0], 360.0)

    def middle(self) -> float:
        """Return the longitude around which a ring of cells has its sensitivity [degrees], or zero."""
        angle = np.radians(self.x)
        weight = self.values.sum(axis=0)
        return math.degrees(math.atan2(float(weight @ np.sin(angle)), float(weight @ np.cos(angle))))

    def turned(self, middle: float) -> Cells:
        """Return the same ring of cells, cut opposite to a longitude."""
        other = copy(self)
        cut = int(np.searchsorted(self.x_edges, (middle - 180.0 - self.x_edges[0]) % 360.0 + self.x_edges[0]))
        other.values = np.roll(self.values, -cut, axis=1)
        step = 360.0 / self.x.size
        first = self.x_edges[0] + cut * step
        first -= 360.0 * round((first + 180.0 - middle) / 360.0)
        other.x_edges = first + step * np.arange(self.x.size + 1)
        other.x = other.x_edges[:-1] + 0.5 * step
        return other

    def view(self, plane: MapPlane, norm: LogNorm | None, footprint: Footprint) -> View:
        """Return the box to show, in units of the map: the whole grid, or where there is a colour."""
        unit = plane.units_per_native
        xs, ys = self.x_edges * unit, self.y_edges * unit
        grid = (float(xs[0]), float(xs[-1]), float(ys[0]), float(ys[-1]))
        if norm is None or norm.vmin is None:
            return grid
        coloured = self.values >= norm.vmin
        if not coloured.any():
            return grid
        columns, rows = np.flatnonzero(coloured.any(axis=0)), np.flatnonzero(coloured.any(axis=1))
        left, right = float(xs[columns[0]]), float(xs[columns[-1] + 1])
        low, high = float(ys[rows[0]]), float(ys[rows[-1] + 1])
        x, y = plane.project(footprint.receptor.longitudes, footprint.receptor.latitudes)
        inside = (x >= grid[0]) & (x <= grid[1]) & (y >= grid[2]) & (y <= grid[3])
        if inside.any():
            left, right = min(left, float(x[inside].min())), max(right, float(x[inside].max()))
            low, high = min(low, float(y[inside].min())), max(high, float(y[inside].max()))
        cell_km = (xs[1] - xs[0]) * plane.km_per_unit(0.5 * (left + right), 0.5 * (low + high))
        return shaped((left, right, low, high), plane, at_least=12.0 * float(cell_km), within=grid)

    def emptiest_corner(self, plane: MapPlane, view: View, norm: LogNorm) -> str:
        """Return where a legend hides least, in words of matplotlib; the scale bar has the lower left."""
        x = (self.x * plane.units_per_native - view[0]) / (view[1] - view[0])
        y = (self.y * plane.units_per_native - view[2]) / (view[3] - view[2])
        low = float(norm.vmin or 0.0)
        weight = np.where(self.values >= low, 1.0 + np.log10(np.maximum(self.values / low, 1.0)), 0.0)
        right, left = (x > 0.6) & (x < 1.0), (x > 0.0) & (x < 0.4)
        upper, lower = (y > 0.78) & (y < 1.0), (y > 0.0) & (y < 0.22)
        corners = {"upper right": (upper, right), "lower right": (lower, right), "upper left": (upper, left)}
        return min(corners, key=lambda name: float(weight[np.ix_(*corners[name])].sum()))


def _edges(centres: FloatArray, step: float) -> FloatArray:
    if centres.size > 1:
        step = float(centres[-1] - centres[0]) / (centres.size - 1)
    return np.concatenate([centres - 0.5 * step, centres[-1:] + 0.5 * step])


def colour_scale(values: FloatArray, vmin: float | None, vmax: float | None) -> LogNorm:
    """Return the colour scale; of one power of ten when there is nothing to draw."""
    largest = float(values.max(initial=0.0))
    top = vmax if vmax is not None else style.round_up(largest) if largest > 0.0 else 1.0
    if vmin is None:
        vmin = top / 10.0
        if largest > 0.0:
            vmin = max(share_level(values, COVERED), top / 10.0**MOST_DECADES)
            vmin = min(style.round_down(vmin), top / 10.0)
    if not 0.0 < vmin < top:
        raise FootprintError(
            f"the colour scale from vmin = {vmin:g} to vmax = {top:g} is not one for logarithms; "
            "give 0 < vmin < vmax"
        )
    return LogNorm(vmin, top)


def draw_cells(ax: Any, plane: MapPlane, cells: Cells, view: View, norm: LogNorm, cmap: Any) -> Any:
    """Draw the cells in view; None when none has a colour."""
    unit = plane.units_per_native
    columns = _in_view(cells.x_edges * unit, view[0], view[1])
    rows = _in_view(cells.y_edges * unit, view[2], view[3])
    values = cells.values[rows, columns]
    low = float(norm.vmin or 0.0)
    if not (values >= low).any():
        return None
    scale = plane_for(ax, plane).units_per_native
    return ax.pcolormesh(
        cells.x_edges[columns.start : columns.stop + 1] * scale,
        cells.y_edges[rows.start : rows.stop + 1] * scale,
        np.ma.masked_less(values, low),
        norm=norm,
        cmap=style.sequential() if cmap is None else cmap,
        rasterized=True,
        zorder=1.0,
        **coordinates_of(ax, plane),
    )


def _in_view(edges: FloatArray, low: float, high: float) -> slice:
    first = max(int(np.searchsorted(edges, low, side="right")) - 1, 0)
    last = min(int(np.searchsorted(edges, high, side="left")), edges.size - 1)
    return slice(first, max(last, first + 1))


def draw_outlines(ax: Any, plane: MapPlane, cells: Cells, shares: Sequence[float]) -> None:
    """Outline the smallest areas that hold given shares of the sum."""
    if cells.values.size < 9 or min(cells.values.shape) < 2:
        return
    scale = plane_for(ax, plane).units_per_native
    x = np.concatenate([cells.x_edges[:1], cells.x, cells.x_edges[-1:]]) * scale
    y = np.concatenate([cells.y_edges[:1], cells.y, cells.y_edges[-1:]]) * scale
    for share in shares:
        found = _level_set(cells.values, share)
        if found is None:
            continue
        field, level = found
        style_of_line, width = OUTLINES.get(share, OTHER_OUTLINE)
        line = ax.contour(
            x, y, field, levels=[level], colors=OUTLINE_COLOUR, zorder=5, linestyles=[style_of_line],
            linewidths=[width], **coordinates_of(ax, plane),
        )  # fmt: skip
        line.set(path_effects=style.line_halo(width + 1.4, alpha=0.6), gid=f"stilt-outline-{share * 100:g}")


def _level_set(values: FloatArray, share: float) -> tuple[FloatArray, float] | None:
    """
    Return a field with a rim, and the level of it that encloses a share of the sum.

    Where the area falls apart into many pieces, as with few particles and small cells, cells are
    averaged with their neighbours, as often as needed and keeping the sum, so that the outline goes
    around the plume instead of around single particles.
    """
    for _ in range(_MOST_PASSES + 1):
        level = share_level(values, share)
        if not math.isfinite(level):
            return None
        # the logarithm places lines well between cells; the rim lets them run to the edge of the grid
        field = np.pad(np.log10(np.maximum(values, level * 1e-2)), 1, mode="edge")
        if len(contour_generator(z=field).lines(math.log10(level) - 1e-9)) <= _MOST_PIECES:
            break
        values = _softened(values)
    return field, math.log10(level) - 1e-9


def _softened(values: FloatArray) -> FloatArray:
    """Spread each cell over its neighbours with weights 1/4, 1/2, 1/4; the rim keeps its share."""
    for axis in (0, 1):
        wide = np.pad(values, [(1, 1) if k == axis else (0, 0) for k in (0, 1)], mode="edge")
        before, after = (np.take(wide, range(s, s + values.shape[axis]), axis) for s in (0, 2))
        values = 0.5 * values + 0.25 * (before + after)
    return values
