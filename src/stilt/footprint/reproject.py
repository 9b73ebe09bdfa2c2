"""Shares of footprint cells in cells of another projection, found by points."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stilt.errors import FootprintError
from stilt.footprint.cells import CellAxes, rectangle_coords
from stilt.footprint.regridders import SparseRegridder
from stilt.spatial import crs_of

if TYPE_CHECKING:
    import pyproj

FloatArray = NDArray[np.float64]

SUBCELLS = 10
"""Points along each side of a cell when it is handed to cells of another projection, at least."""

MOST_SUBCELLS = 64
"""Points along each side of a cell, at most, where it takes more to reach every cell of a finer target."""


def reprojecting_regridder(source: CellAxes, target: CellAxes, subcells: int) -> SparseRegridder:
    """
    Hand each cell over in equal points, projected to the target.

    Parameters
    ----------
    source, target : CellAxes
        Cells in different projections.
    subcells : int
        Points along each side of a source cell, at least. Rows of source cells that are wider than target
        cells take two for each target cell, up to :data:`MOST_SUBCELLS`, so that none is stepped over; a
        target that needs more is refused.

    Returns
    -------
    SparseRegridder
        Conserves the sum where the target covers; which target cell gets how much is known to about
        1 / subcells of a source cell.
    """
    import pyproj

    ny, nx = source.shape
    from_crs, to_crs = (crs_of(cells.projection) for cells in (source, target))
    transformer = pyproj.Transformer.from_crs(from_crs, to_crs, always_xy=True)
    points = _points_needed(source, target, transformer)
    typical = int(np.median(points))
    if typical > max(subcells, MOST_SUBCELLS):
        raise FootprintError(
            f"the cells of the target are {typical / 2:.0f} times finer than those of the footprint, so "
            f"points would miss some; pass subcells={typical}, or make the footprint on a finer grid."
        )
    origin, found = [], []
    for row in range(ny):  # one row of cells at a time bounds the memory
        n = max(subcells, min(int(points[row]), MOST_SUBCELLS))
        inside = (np.arange(n) + 0.5) / n
        x = (source.x[:, :1] + inside * np.diff(source.x, axis=1)).ravel()
        y = source.y[row, 0] + inside * (source.y[row, 1] - source.y[row, 0])
        px, py = np.meshgrid(x, y)
        tx, ty = (np.asarray(values) for values in transformer.transform(px.ravel(), py.ravel()))
        column = locate(tx, target.x, is_cyclic=target.is_longlat)
        line = locate(ty, target.y, is_cyclic=False)
        cell = row * nx + np.tile(np.arange(nx).repeat(n), n)
        good = (column >= 0) & (line >= 0)
        pair = (
            cell[good] * np.int64(len(target.x) * len(target.y)) + line[good] * len(target.x) + column[good]
        )
        known, count = np.unique(pair, return_counts=True)
        origin.append(known)
        found.append(count / n**2)
    pairs = np.concatenate(origin)
    size = np.int64(len(target.x) * len(target.y))
    return SparseRegridder(
        pairs // size,
        pairs % size,
        np.concatenate(found),
        target.dims,
        target.shape,
        rectangle_coords(target),
        target.projection,
    )


def _points_needed(source: CellAxes, target: CellAxes, transformer: pyproj.Transformer) -> NDArray[np.int64]:
    """Return for each row of source cells how many points along a side leave no target cell out."""
    x, y = np.append(source.x[:, 0], source.x[-1, 1]), np.append(source.y[:, 0], source.y[-1, 1])
    if source.x[0, 0] > source.x[-1, 0]:
        x = np.append(source.x[:, 1], source.x[-1, 0])
    if source.y[0, 0] > source.y[-1, 0]:
        y = np.append(source.y[:, 1], source.y[-1, 0])
    tx, ty = (np.asarray(values) for values in transformer.transform(*np.meshgrid(x, y)))
    needed = np.zeros(len(source.y))
    with np.errstate(invalid="ignore"):
        for values, cells, is_cyclic in ((tx, target.x, target.is_longlat), (ty, target.y, False)):
            finest = np.diff(cells, axis=1).min()
            along, across = np.diff(values, axis=1), np.diff(values, axis=0)
            if is_cyclic:
                along, across = (step - 360.0 * np.round(step / 360.0) for step in (along, across))
            along, across = (np.where(np.isfinite(step), np.abs(step), 0.0) for step in (along, across))
            # a side of a row is shared with the next one
            widest = np.maximum(along.max(axis=1)[:-1], along.max(axis=1)[1:])
            needed = np.maximum(needed, np.maximum(widest, across.max(axis=1)) / finest)
    # a cell of about the size of the target's is no finer target
    return np.where(needed > 1.5, np.ceil(2.0 * needed), 1.0).clip(max=1e9).astype(np.int64)


def locate(values: FloatArray, cells: FloatArray, *, is_cyclic: bool) -> NDArray[np.int64]:
    """Return the cell each value lies in, -1 for none; the low edge belongs to the cell."""
    if is_cyclic:
        values = np.mod(values - cells.min(), 360.0) + cells.min()
    order = np.argsort(cells[:, 0])
    with np.errstate(invalid="ignore"):
        at = np.searchsorted(cells[order, 0], values, side="right") - 1
        inside = (at >= 0) & (values < cells[order, 1][np.maximum(at, 0)])
    return np.where(inside, order[np.maximum(at, 0)], -1)
