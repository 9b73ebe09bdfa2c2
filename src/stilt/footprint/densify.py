"""
Early-minute interpolation: more rows where fast particles would skip cells near the receptor.

When particles cross more than a cell per output row during the first 100 minutes,
positions and influence are interpolated to 0.1, 0.2 and 0.5 minutes (up to 10, 20
and 100 minutes). Each of the three windows keeps its total influence.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from stilt.footprint.axes import GridAxes
from stilt.footprint.particles import ParticleColumns, frozen
from stilt.kernels.densify import compare_steps, count_dense_rows, fill_dense_rows, median_steps
from stilt.kernels.raster import order_by_group

FloatArray = NDArray[np.float64]

EARLY_MINUTES = 100.0
"""Rows younger than this decide, and get company [min]."""

WINDOWS = (10.0, 20.0, 100.0)
"""Ends of the windows that keep their total influence [min]."""


def target_times() -> FloatArray:
    """Return the times since release rows are wanted at [min], ascending."""
    return np.concatenate([np.arange(101) * 0.1, 10.2 + np.arange(50) * 0.2, 20.5 + np.arange(160) * 0.5])


def typical_step(
    columns: ParticleColumns, axes: GridAxes, x: FloatArray | None = None, y: FloatArray | None = None
) -> tuple[float, float]:
    """
    Return how far particles typically move between two early rows.

    Parameters
    ----------
    columns : ParticleColumns
        Particles, longitudes counted as the grid does.
    axes : GridAxes
        Where the cells lie.
    x, y : ndarray, shape (n_rows,), optional
        Position [units of the grid], where it is known already.

    Returns
    -------
    dx, dy : float
        Median over particles of the median absolute step [units of the grid]; NaN when no particle
        has two early rows. For projected grids the steps are projected: degrees would never exceed
        a cell size in metres.
    """
    if x is None or y is None:
        x, y = axes.project(columns.lon, columns.lat)
    early = np.flatnonzero(np.abs(columns.time[: _last_early(columns)]) < EARLY_MINUTES)
    if early.size == 0:
        return math.nan, math.nan
    offsets, order = order_by_group(frozen(columns.slot[early]), columns.n_particles)
    steps = median_steps(offsets, early[order], frozen(x), frozen(y), axes.grid.is_longlat)
    steps = steps[~np.isnan(steps[:, 0])]
    if steps.shape[0] == 0:
        return math.nan, math.nan
    return float(np.median(steps[:, 0])), float(np.median(steps[:, 1]))


def outruns_cells(columns: ParticleColumns, axes: GridAxes, x: FloatArray, y: FloatArray) -> bool:
    """
    Tell whether particles typically move by more than a cell between two early rows.

    Parameters
    ----------
    columns : ParticleColumns
        Particles, longitudes counted as the grid does.
    axes : GridAxes
        Where the cells lie.
    x, y : ndarray, shape (n_rows,)
        Position [units of the grid].

    Returns
    -------
    bool
        Whether :func:`typical_step` exceeds the cell in x or in y, mostly without sorting any steps.
    """
    size = (axes.grid.xres, axes.grid.yres)
    verdict = compare_steps(
        _last_early(columns),
        columns.slot,
        columns.time,
        frozen(x),
        frozen(y),
        columns.n_particles,
        EARLY_MINUTES,
        size,
        axes.grid.is_longlat,
    )
    if verdict < 0:
        dx, dy = typical_step(columns, axes, x, y)
        return dx > size[0] or dy > size[1]
    return bool(verdict)


def _last_early(columns: ParticleColumns) -> int:
    """Return how many rows there are before those that are certain to be late."""
    if columns.offsets.size > 1 and (columns.sign * columns.time[: columns.offsets[1]] >= 0.0).all():
        # times are ages plus that of the first row, so rows of later ages are late
        return int(columns.offsets[np.searchsorted(columns.ages, EARLY_MINUTES)])
    return len(columns)


def densify(
    columns: ParticleColumns, axes: GridAxes, x: FloatArray | None = None, y: FloatArray | None = None
) -> ParticleColumns:
    """
    Add rows in the first 100 minutes when particles cross more than a cell between two rows.

    Parameters
    ----------
    columns : ParticleColumns
        Particles, longitudes counted as the grid does.
    axes : GridAxes
        Where the cells lie.
    x, y : ndarray, shape (n_rows,), optional
        Position [units of the grid], where it is known already.

    Returns
    -------
    ParticleColumns
        The same object when nothing had to be done. Otherwise rows no longer belong to rows of the table.
    """
    if x is None or y is None:
        x, y = axes.project(columns.lon, columns.lat)
    if not outruns_cells(columns, axes, x, y):
        return columns
    starts, order = columns.by_particle
    elapsed = columns.elapsed[order]
    lon, lat, foot = columns.lon[order], columns.lat[order], columns.foot[order]
    targets = target_times()
    offsets = count_dense_rows(starts, elapsed, targets)
    rows = np.empty((4, offsets[-1]))
    fill_dense_rows(starts, elapsed, columns.sign, targets, offsets, lon, lat, foot, rows)
    slot = np.repeat(np.arange(columns.n_particles, dtype=np.int32), np.diff(offsets))
    # a row at the end of a path whose influence is unknown cannot be bridged and is dropped
    known = ~np.isnan(rows[3])
    if not known.all():
        slot, rows = slot[known], rows[:, known]
    _restore_totals(elapsed, foot, rows[0], rows[3])
    return ParticleColumns.arrange(
        slot,
        columns.sign * np.round(rows[0], 1),
        axes.map_longitude(rows[1]),
        rows[2],
        rows[3],
        n_particles=columns.n_particles,
        receptor=columns.receptor,
        provenance=columns.provenance,
        sign=columns.sign,
    )


def _restore_totals(
    elapsed: FloatArray, foot: FloatArray, dense_elapsed: FloatArray, dense_foot: FloatArray
) -> None:
    """Scale the influence of the longer table so that each window keeps its total over all particles."""
    low = -math.inf
    for high in WINDOWS:
        before = np.nansum(foot[(elapsed > low) & (elapsed <= high)])
        inside = (dense_elapsed > low) & (dense_elapsed <= high)
        after = dense_foot[inside].sum()
        if after > 0.0:
            dense_foot[inside] *= before / after
        low = high
