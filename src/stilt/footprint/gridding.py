"""
From sorted particle rows to numbers on a map.

The steps are functions of arrays: age of each row, bandwidth at each age, cell of
each row, and the stamping of all of it on the layers of the map.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stilt.footprint.axes import GridAxes
from stilt.footprint.densify import densify
from stilt.footprint.particles import ParticleColumns
from stilt.kernels.raster import OUTSIDE, assign_cells, match_ascending, order_by_group
from stilt.kernels.smoothing import cloud_moments, stamp_ages

FloatArray = NDArray[np.float64]

POLAR_LATITUDE = 89.0
"""Latitude beyond which the widening of the bandwidth with 1 / cos(latitude) stops [degrees]."""

_WORK_PER_CALL = 1e9
"""Additions one kernel call may take, so that signals and time limits are seen within a second."""


@dataclass(frozen=True, eq=False)
class GriddedParticles:
    """
    A footprint as bare numbers.

    Attributes
    ----------
    values : ndarray of float64, shape (n_layers, ny, nx)
        Footprint [ppm m2 s umol-1]; no layers when nothing reaches the map.
    first_hour : int
        Hour from the receptor time in which the first layer starts; layers are consecutive hours.
    hours : tuple of int
        First and last hour with influence; differs from the layers when they are integrated.
    fractions : dict of float
        Share of the rows that count: ``inside`` the grid, with ``surface_influence``, ``both``.
    """

    values: FloatArray
    first_hour: int
    hours: tuple[int, int]
    fractions: dict[str, float]


def grid_particles(
    columns: ParticleColumns,
    axes: GridAxes,
    *,
    smooth_factor: float = 1.0,
    time_integrate: bool = False,
    interpolate_early: bool = True,
) -> GriddedParticles:
    """
    Spread the influence of particles over a grid.

    Parameters
    ----------
    columns : ParticleColumns
        Sorted particles.
    axes : GridAxes
        Where the cells lie.
    smooth_factor : float
        Multiplies the bandwidth; 0 puts each row into one cell.
    time_integrate : bool
        One layer for the whole run instead of one per hour.
    interpolate_early : bool
        Add rows in the first minutes where particles outrun the cells.

    Returns
    -------
    GriddedParticles
    """
    nothing = GriddedParticles(np.zeros((0, axes.ny, axes.nx)), 0, (0, 0), {})
    if len(columns) == 0:
        return nothing
    lon = axes.map_longitude(columns.lon)
    if lon is not columns.lon:
        columns = replace(columns, lon=lon)
    if interpolate_early:
        columns = densify(columns, axes)
    x, y = axes.project(columns.lon, columns.lat)
    ages, age_of_row = row_ages(columns)
    placed = np.isfinite(x) & np.isfinite(y) if not axes.grid.is_longlat else None
    if placed is not None and not placed.all():
        age_of_row = np.where(placed, age_of_row, -1)
    offsets, order = order_by_group(age_of_row, ages.size)
    moments = cloud_moments(offsets, order, x, y, columns.lat, axes.is_cyclic)
    sigma = bandwidth(ages, moments, smooth_factor, widen_with_latitude=axes.grid.is_longlat)
    cells = locate_rows(x, y, columns.foot, axes, float(sigma.max()))
    hour = np.floor(columns.time / 60.0).astype(np.int32)
    reach = _reaching(cells, sigma, age_of_row, axes)
    fractions = _fractions(x, y, columns.foot, axes)
    if not reach.any():
        return GriddedParticles(nothing.values, 0, (0, 0), fractions)
    hours = int(hour[reach].min()), int(hour[reach].max())
    first_hour = 0 if time_integrate else hours[0]
    layer = np.zeros_like(hour) if time_integrate else hour - first_hour
    cells[0, ~reach] = OUTSIDE
    values = np.zeros((1 if time_integrate else hours[1] - hours[0] + 1, axes.ny, axes.nx))
    size = (axes.grid.xres, axes.grid.yres)
    work = _work(offsets, sigma, axes)
    first = 0
    while first < ages.size:
        last = int(np.searchsorted(work, (work[first - 1] if first else 0.0) + _WORK_PER_CALL)) + 1
        last = min(max(last, first + 1), ages.size)
        stamp_ages(
            first, last, offsets, order, layer, cells, columns.foot, sigma, size, axes.is_cyclic, values
        )
        first = last
    values /= columns.n_particles
    return GriddedParticles(values, first_hour, hours, fractions)


def row_ages(columns: ParticleColumns) -> tuple[FloatArray, NDArray[np.int32]]:
    """
    Return the time since the first row of each particle, as a list of distinct ages and an index into it.

    Aligns particles released at different minutes.

    Parameters
    ----------
    columns : ParticleColumns
        Sorted particles.

    Returns
    -------
    ages : ndarray, shape (n_ages,)
        Distinct ages with the sign of the run [min], ascending.
    index : ndarray of int32, shape (n_rows,)
        Age of each row.
    """
    starts = columns.offsets[:-1]
    counts = np.diff(columns.offsets)
    held = counts > 0
    first_time = np.abs(columns.time[starts[held]])
    if (first_time == first_time[0]).all():
        age = columns.time - columns.sign * first_time[0]
    else:
        age = columns.time - columns.sign * np.repeat(first_time, counts[held])
    # the particle with most rows usually has every age there is
    longest = int(counts.argmax())
    known = np.sort(age[starts[longest] : starts[longest] + counts[longest]])
    known = known[np.concatenate([[True], known[1:] != known[:-1]])]
    index = np.empty(age.size, dtype=np.int32)
    ascending = known if columns.sign > 0 else -known[::-1]
    if not match_ascending(columns.offsets, age if columns.sign > 0 else -age, ascending, index):
        known, inverse = np.unique(age, return_inverse=True)
        return known, inverse.astype(np.int32)
    return known, index if columns.sign > 0 else (known.size - 1 - index).astype(np.int32)


def bandwidth(
    ages: FloatArray, moments: FloatArray, smooth_factor: float, *, widen_with_latitude: bool
) -> FloatArray:
    r"""
    Return the bandwidth of the kernel at each age.

    Parameters
    ----------
    ages : ndarray, shape (n_ages,)
        Time since the first row [min], either sign, ascending.
    moments : ndarray, shape (n_ages, 2)
        Summed variances of x and y, and mean latitude [degrees].
    smooth_factor : float
        Multiplies the bandwidth.
    widen_with_latitude : bool
        Divide by the cosine of the mean latitude, as for grids in degrees. Beyond 89 degrees the
        cosine of 89 degrees is used, which bounds the bandwidth at the poles.

    Returns
    -------
    ndarray, shape (n_ages,)
        Bandwidth [units of the grid]. Ages with fewer than two particles take that of the nearest age
        that has more (the smaller of two equally near); 0 where no age has.

    Notes
    -----
    .. math:: \sigma = s \cdot 0.06 \, V^{1/4} (|t| / 1440)^{1/2} / \cos \bar\varphi

    The same number serves both axes. :math:`V^{1/4}` is the square root of a length, so the bandwidth depends
    on the unit of the grid; both are properties of STILT-R that are kept.
    """
    known = np.flatnonzero(~np.isnan(moments[:, 0]))
    if known.size == 0:
        return np.zeros(ages.size)
    sigma = smooth_factor * 0.06 * moments[known, 0] ** 0.25 * np.sqrt(np.abs(ages[known]) / 1440.0)
    if widen_with_latitude:
        sigma = sigma / np.cos(np.radians(np.minimum(np.abs(moments[known, 1]), POLAR_LATITUDE)))
    if known.size == ages.size:
        return sigma
    right = np.searchsorted(known, np.arange(ages.size)).clip(max=known.size - 1)
    left = np.maximum(right - 1, 0)
    is_left = np.abs(ages - ages[known[left]]) <= np.abs(ages - ages[known[right]])
    return np.where(is_left, sigma[left], sigma[right])


def locate_rows(
    x: FloatArray, y: FloatArray, foot: FloatArray, axes: GridAxes, widest: float
) -> NDArray[np.int32]:
    """
    Return the cell of each row that may contribute.

    Parameters
    ----------
    x, y : ndarray, shape (n_rows,)
        Position [units of the grid].
    foot : ndarray, shape (n_rows,)
        Surface influence.
    axes : GridAxes
        Where the cells lie.
    widest : float
        Largest bandwidth [units of the grid]. Cell edges are counted from the margin the widest kernel
        needs, as in STILT-R, because that decides on which side of an edge a row falls in the last bit.

    Returns
    -------
    ndarray of int32, shape (2, n_rows)
        Cell (x, y) from the first cell of the grid.
    """
    xres, yres = axes.grid.xres, axes.grid.yres
    hx, hy = int(3.0 * widest / xres), int(3.0 * widest / yres)
    pad = (2 * hx + 1, 2 * hy + 1)
    low = (axes.west - hx * xres, axes.south - hy * yres)
    high = (axes.east + hx * xres, axes.north + hy * yres)
    start = (axes.west - pad[0] * xres, axes.south - pad[1] * yres)
    cells = np.empty((2, x.size), dtype=np.int32)
    assign_cells(x, y, foot, low, high, start, (xres, yres), pad, cells)
    return cells


def _reaching(
    cells: NDArray[np.int32], sigma: FloatArray, age_of_row: NDArray[np.int32], axes: GridAxes
) -> NDArray[np.bool_]:
    """Tell which rows put something on the map."""
    hx = (3.0 * sigma / axes.grid.xres).astype(np.int32)[age_of_row]
    hy = (3.0 * sigma / axes.grid.yres).astype(np.int32)[age_of_row]
    ix, iy = cells
    reach = (ix != OUTSIDE) & (age_of_row >= 0) & (iy >= -hy) & (iy < axes.ny + hy)
    if not axes.is_cyclic:
        reach &= (ix >= -hx) & (ix < axes.nx + hx)
    return reach


def _work(offsets: NDArray[np.int64], sigma: FloatArray, axes: GridAxes) -> FloatArray:
    """Return the additions needed up to each age, at most."""
    kx = np.minimum(2.0 * np.floor(3.0 * sigma / axes.grid.xres) + 1.0, axes.nx)
    ky = np.minimum(2.0 * np.floor(3.0 * sigma / axes.grid.yres) + 1.0, axes.ny)
    return np.cumsum(np.diff(offsets) * kx * ky)


def _fractions(x: FloatArray, y: FloatArray, foot: FloatArray, axes: GridAxes) -> dict[str, float]:
    """Return which shares of the rows lie inside the grid, have influence, and both."""
    inside = (x >= axes.west) & (x < axes.east) & (y >= axes.south) & (y < axes.north)
    influence = foot > 0.0
    return {
        "inside": float(inside.mean()),
        "surface_influence": float(influence.mean()),
        "both": float((inside & influence).mean()),
    }
