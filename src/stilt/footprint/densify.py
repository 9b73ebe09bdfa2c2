"""
Early-minute interpolation: more rows where fast particles would skip cells near the receptor.

When particles cross more than a cell per output row during the first 100 minutes,
positions and influence are interpolated to 0.1, 0.2 and 0.5 minutes (up to 10, 20
and 100 minutes). Each of the three windows keeps its total influence.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from stilt.footprint.axes import GridAxes
from stilt.footprint.particles import ParticleColumns
from stilt.kernels.densify import count_dense_rows, fill_dense_rows, median_steps

FloatArray = NDArray[np.float64]

EARLY_MINUTES = 100.0
"""Rows younger than this decide, and get company [min]."""

WINDOWS = (10.0, 20.0, 100.0)
"""Ends of the windows that keep their total influence [min]."""


def target_times() -> FloatArray:
    """Return the times since release rows are wanted at [min], ascending."""
    return np.concatenate([np.arange(101) * 0.1, 10.2 + np.arange(50) * 0.2, 20.5 + np.arange(160) * 0.5])


def typical_step(columns: ParticleColumns, axes: GridAxes) -> tuple[float, float]:
    """
    Return how far particles typically move between two early rows.

    Parameters
    ----------
    columns : ParticleColumns
        Particles, longitudes counted as the grid does.
    axes : GridAxes
        Where the cells lie.

    Returns
    -------
    dx, dy : float
        Median over particles of the median absolute step [units of the grid]; NaN when no particle
        has two early rows. For projected grids the steps are projected: degrees would never exceed
        a cell size in metres.
    """
    is_early = np.abs(columns.time) < EARLY_MINUTES
    if not is_early.any():
        return math.nan, math.nan
    if axes.grid.is_longlat:
        x, y = columns.lon, columns.lat
    else:
        x = np.full(columns.time.size, np.nan)
        y = np.full(columns.time.size, np.nan)
        x[is_early], y[is_early] = axes.project(columns.lon[is_early], columns.lat[is_early])
        is_early &= np.isfinite(x) & np.isfinite(y)
    steps = median_steps(columns.offsets, x, y, is_early, axes.grid.is_longlat)
    steps = steps[~np.isnan(steps[:, 0])]
    if steps.shape[0] == 0:
        return math.nan, math.nan
    return float(np.median(steps[:, 0])), float(np.median(steps[:, 1]))


def densify(columns: ParticleColumns, axes: GridAxes) -> ParticleColumns:
    """
    Add rows in the first 100 minutes when particles cross more than a cell between two rows.

    Parameters
    ----------
    columns : ParticleColumns
        Particles, longitudes counted as the grid does.
    axes : GridAxes
        Where the cells lie.

    Returns
    -------
    ParticleColumns
        The same object when nothing had to be done.
    """
    dx, dy = typical_step(columns, axes)
    if not (dx > axes.grid.xres or dy > axes.grid.yres):
        return columns
    elapsed = columns.elapsed
    targets = target_times()
    offsets = count_dense_rows(columns.offsets, elapsed, targets)
    rows = np.empty((4, offsets[-1]))
    fill_dense_rows(
        columns.offsets, elapsed, columns.sign, targets, offsets, columns.lon, columns.lat, columns.foot, rows
    )
    # a row at the end of a path whose influence is unknown cannot be bridged and is dropped
    known = ~np.isnan(rows[3])
    if not known.all():
        kept = np.concatenate([[0], np.cumsum(known)])
        offsets, rows = kept[offsets], rows[:, known]
    _restore_totals(elapsed, columns.foot, rows[0], rows[3])
    return replace(
        columns,
        offsets=offsets,
        time=columns.sign * np.round(rows[0], 1),
        lon=axes.map_longitude(rows[1]),
        lat=rows[2],
        foot=rows[3],
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
