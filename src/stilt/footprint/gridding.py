"""
From sorted particle rows to numbers on a map.

The steps are functions of arrays: age of each row, bandwidth at each age, cell of
each row, and the stamping of all of it on the layers of the map.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from stilt.errors import FootprintError
from stilt.footprint.axes import GridAxes
from stilt.footprint.densify import densify
from stilt.footprint.layers import HOURLY, INTEGRATED, Layers
from stilt.footprint.particles import ParticleColumns, frozen
from stilt.kernels.clouds import cloud_moments, ground_spread
from stilt.kernels.raster import first_reaching, layer_of
from stilt.kernels.smoothing import stamp_ages

FloatArray = NDArray[np.float64]
Smoothing = Literal["rstilt", "consistent"]

POLAR_LATITUDE = 89.0
"""Latitude beyond which the widening of the bandwidth with 1 / cos(latitude) stops [degrees]."""

KM_PER_DEGREE = 6371.0 * np.pi / 180.0
"""Length of a degree of latitude on a sphere of 6371 km [km]."""

COEFFICIENT = 0.06
"""Factor of the bandwidth [degrees^(1/2)], Lin et al. (2003) and STILT-R."""

COEFFICIENT_KM = COEFFICIENT * np.sqrt(KM_PER_DEGREE)
"""The same factor where lengths are kilometres [km^(1/2)], so that both agree at the equator: 0.633."""

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
    first : int
        Hour from the origin, or time bin, of the first layer; layers are consecutive.
    used : tuple of int
        First and last layer with influence; for an integrated footprint hours from the receptor time.
    fractions : dict of float
        Share of the rows that count: ``inside`` the grid, with ``surface_influence``, ``both``.
    """

    values: FloatArray
    first: int
    used: tuple[int, int]
    fractions: dict[str, float]


def grid_particles(
    columns: ParticleColumns,
    axes: GridAxes,
    layers: Layers,
    *,
    smooth_factor: float = 1.0,
    smoothing: Smoothing = "rstilt",
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
    layers : Layers
        How time becomes layers.
    smooth_factor : float
        Multiplies the bandwidth; 0 puts each row into one cell.
    smoothing : {"rstilt", "consistent"}
        How the bandwidth is computed; see :func:`bandwidth` and :func:`consistent_bandwidth`.
    interpolate_early : bool
        Add rows in the first minutes where particles outrun the cells.

    Returns
    -------
    GriddedParticles
    """
    nothing = np.zeros((0, axes.ny, axes.nx))
    if len(columns) == 0:
        return GriddedParticles(nothing, 0, (0, 0), {})
    lon = axes.map_longitude(columns.lon)
    if lon is not columns.lon:
        columns = replace(columns, lon=frozen(lon))
    x, y = axes.project(columns.lon, columns.lat)
    if interpolate_early:
        dense = densify(columns, axes, x, y)
        if dense is not columns:
            columns = dense
            x, y = axes.project(columns.lon, columns.lat)
    x, y = frozen(x), frozen(y)
    if smoothing == "rstilt":
        sigma = parity_bandwidth(columns, axes, x, y, smooth_factor)
    elif smoothing == "consistent":
        sigma = consistent_bandwidth(columns, axes, smooth_factor)
    else:
        raise FootprintError(f"smoothing = {smoothing!r} is unknown; use rstilt or consistent.")
    # one order in memory, so that kernels are compiled for one
    sigma = np.ascontiguousarray(sigma)
    size = (axes.grid.xres, axes.grid.yres)
    half_widths = (3.0 * sigma / np.array([size]).T).astype(np.int64)
    frame = _frame(axes, half_widths.max(axis=1))
    reached = _reached_ages(columns, x, y, half_widths, frame, axes)
    asked = layers.for_kernel
    start, n_layers = layers.span(*_hours_of(columns, reached, asked[1]))
    values = np.zeros((n_layers, axes.ny, axes.nx))
    counts = np.zeros(4, dtype=np.int64)
    times = np.array([np.inf, -np.inf])
    work = _work(columns.offsets, half_widths, axes)
    done = 0
    while done < columns.ages.size:
        end = int(np.searchsorted(work, (work[done - 1] if done else 0.0) + _WORK_PER_CALL)) + 1
        end = min(max(end, done + 1), columns.ages.size)
        stamp_ages(
            done,
            end,
            columns.offsets,
            columns.time,
            x,
            y,
            columns.foot,
            sigma,
            frame,
            (axes.west, axes.east, axes.south, axes.north),
            asked,
            start,
            axes.is_cyclic,
            _folds(axes),
            values,
            counts,
            times,
        )
        done = end
    names = ("inside", "surface_influence", "both")
    fractions = {name: int(count) / len(columns) for name, count in zip(names, counts[1:], strict=True)}
    if counts[0] == 0:
        return GriddedParticles(nothing, 0, (0, 0), fractions)
    # hours of an integrated footprint are looked for too, since its file says from when to when it counts
    listed = (HOURLY, 0.0, asked[2]) if layers.mode == INTEGRATED else asked
    first, last = (layer_of(when, *listed) for when in times)
    begin, n_layers = layers.span(first, last)
    values = values[begin - start : begin - start + n_layers]
    values /= columns.n_particles
    return GriddedParticles(values, begin, (first, last), fractions)


def _reached_ages(
    columns: ParticleColumns,
    x: FloatArray,
    y: FloatArray,
    half_widths: NDArray[np.int64],
    frame: tuple[Any, ...],
    axes: GridAxes,
) -> tuple[int, int]:
    """Return the first and last age with a row whose kernel reaches the map; (0, -1) when none has."""
    ages = np.arange(columns.ages.size)
    place = (columns.offsets, x, y, columns.foot, half_widths, frame, (axes.nx, axes.ny), axes.is_cyclic)
    first = first_reaching(ages, *place)
    return (first, first_reaching(ages[::-1].copy(), *place)) if first >= 0 else (0, -1)


def _hours_of(columns: ParticleColumns, reached: tuple[int, int], shift: float) -> tuple[int, int]:
    """Return hours that hold all rows of a range of ages; the first above the last when it is empty."""
    if reached[0] > reached[1]:
        return 0, -1
    # every particle has a row of age 0, which tells when it was released
    released = columns.sign * columns.time[: columns.offsets[1]]
    youngest = released.min() + columns.ages[reached[0]]
    oldest = released.max() + columns.ages[reached[1]]
    low, high = sorted((columns.sign * youngest, columns.sign * oldest))
    rounding = 1e-6
    return math.floor((low + shift - rounding) / 60.0), math.floor((high + shift + rounding) / 60.0)


def _folds(axes: GridAxes) -> tuple[bool, bool]:
    """Return whether kernels cross the south and the north pole: on maps all around that end there."""
    if not axes.is_cyclic or axes.nx % 2:
        return False, False
    rounding = 1e-6 * axes.grid.yres
    north = axes.south + axes.ny * axes.grid.yres
    return abs(axes.south + 90.0) < rounding, abs(north - 90.0) < rounding


def parity_bandwidth(
    columns: ParticleColumns, axes: GridAxes, x: FloatArray, y: FloatArray, smooth_factor: float
) -> FloatArray:
    """
    Return the bandwidth of STILT-R at each age, the same in x and y.

    Parameters
    ----------
    columns : ParticleColumns
        Sorted particles.
    axes : GridAxes
        Where the cells lie.
    x, y : ndarray, shape (n_rows,)
        Position [units of the grid], read-only.
    smooth_factor : float
        Multiplies the bandwidth.

    Returns
    -------
    ndarray, shape (2, n_ages)
        See :func:`bandwidth`.
    """
    moments = cloud_moments(columns.offsets, x, y, columns.lat, axes.is_cyclic)
    spread = np.stack([moments[:, 0] + moments[:, 1], moments[:, 2]], axis=1)
    # of two equally near ages the smaller signed one counts, which backward in time is the older
    direction = slice(None, None, columns.sign)
    signed = columns.sign * columns.ages[direction]
    sigma = bandwidth(signed, spread[direction], smooth_factor, widen_with_latitude=axes.grid.is_longlat)
    return np.stack([sigma[direction]] * 2)


def consistent_bandwidth(columns: ParticleColumns, axes: GridAxes, smooth_factor: float) -> FloatArray:
    r"""
    Return the bandwidth of the kernel computed in kilometres, in units of each axis of the grid.

    Parameters
    ----------
    columns : ParticleColumns
        Sorted particles.
    axes : GridAxes
        Where the cells lie.
    smooth_factor : float
        Multiplies the bandwidth.

    Returns
    -------
    ndarray, shape (2, n_ages)
        Bandwidth in x and y [units of the grid].

    Notes
    -----
    .. math:: \sigma_{km} = s \cdot 0.633 \, V_{km}^{1/4} (|t| / 1440)^{1/2}

    with V the summed variances of the eastward and northward distances from the mean position (of the unit
    vectors, on an azimuthal equidistant map about it, so that poles are places like others). The kernel is
    a circle on the ground: on a grid in degrees it is wider in longitude by one over the cosine of the mean
    latitude (of 89 degrees beyond that); on a projected grid the local scale of the projection at the mean
    position turns kilometres into its units. So the footprint on a map does not depend on the projection.
    """
    spread, mean_lat, lat, lon = ground_spread(columns.offsets, columns.lon, columns.lat).T
    shrink = np.cos(np.radians(np.minimum(np.abs(mean_lat), POLAR_LATITUDE)))
    variance = KM_PER_DEGREE**2 * spread
    sigma = smooth_factor * COEFFICIENT_KM * variance**0.25 * np.sqrt(columns.ages / 1440.0)
    if axes.grid.is_longlat:
        both = np.stack([sigma / (KM_PER_DEGREE * shrink), sigma / KM_PER_DEGREE])
    else:
        scale = local_scale(axes, lon, np.clip(lat, -POLAR_LATITUDE, POLAR_LATITUDE))
        both = sigma * scale
    known = np.flatnonzero(np.isfinite(both).all(axis=0))
    if known.size == 0:
        return np.zeros_like(both)
    return both[:, known[_nearest(columns.ages[known], columns.ages)]]


def local_scale(axes: GridAxes, lon: FloatArray, lat: FloatArray) -> FloatArray:
    """
    Return how far a circle of one kilometre radius reaches along each axis of a projection.

    Parameters
    ----------
    axes : GridAxes
        Knows the projection.
    lon, lat : ndarray, shape (n,)
        Where [degrees]; may be NaN.

    Returns
    -------
    ndarray, shape (2, n)
        Reach in x and y [units of the projection per km]; NaN where the projection has no answer.
    """
    step = 0.01
    east = step / np.cos(np.radians(lat))
    ends = [axes.project(lon + dx, lat + dy) for dx, dy in ((east, 0), (-east, 0), (0, step), (0, -step))]
    with np.errstate(invalid="ignore"):
        reach = [
            np.hypot(ends[0][k] - ends[1][k], ends[2][k] - ends[3][k]) / (2.0 * step * KM_PER_DEGREE)
            for k in (0, 1)
        ]
    out = np.stack(reach)
    out[~np.isfinite(out)] = np.nan
    return out


def _nearest(known: FloatArray, wanted: FloatArray) -> NDArray[np.intp]:
    """Return the index of the nearest known value (the smaller of two equally near); both ascend."""
    right = np.searchsorted(known, wanted).clip(max=known.size - 1)
    left = np.maximum(right - 1, 0)
    return np.where(np.abs(wanted - known[left]) <= np.abs(wanted - known[right]), left, right)


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
    sigma = smooth_factor * COEFFICIENT * moments[known, 0] ** 0.25 * np.sqrt(np.abs(ages[known]) / 1440.0)
    if widen_with_latitude:
        sigma = sigma / np.cos(np.radians(np.minimum(np.abs(moments[known, 1]), POLAR_LATITUDE)))
    return sigma if known.size == ages.size else sigma[_nearest(ages[known], ages)]


def _frame(axes: GridAxes, widest: NDArray[np.int64]) -> tuple[Any, ...]:
    """
    Return where rows may lie and where cells begin, as the kernels want it.

    Cell edges are counted from the margin the widest kernel needs, as in STILT-R, because that decides on
    which side of an edge a row falls in the last bit.
    """
    xres, yres = axes.grid.xres, axes.grid.yres
    hx, hy = int(widest[0]), int(widest[1])
    pad = (2 * hx + 1, 2 * hy + 1)
    low = (axes.west - hx * xres, axes.south - hy * yres)
    high = (axes.east + hx * xres, axes.north + hy * yres)
    start = (axes.west - pad[0] * xres, axes.south - pad[1] * yres)
    return low, high, start, (xres, yres), pad


def _work(offsets: NDArray[np.int64], half_widths: NDArray[np.int64], axes: GridAxes) -> FloatArray:
    """Return the additions needed up to each age, at most."""
    kx = np.minimum(2.0 * half_widths[0] + 1.0, axes.nx)
    ky = np.minimum(2.0 * half_widths[1] + 1.0, axes.ny)
    return np.cumsum(np.diff(offsets) * kx * ky)
