"""
Meteorology at a particle: bilinear across columns, linear in time.

Winds, density and temperature are interpolated between the four columns around a
point; mixed-layer depth, turbulence and grid spacing belong to the nearest
column. Both analyses around a step are looked up alike. Levels are interpolated
only when a particle visits them and remembered for the step in a
:class:`Profile`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from stilt.kernels import layout
from stilt.kernels.compiler import kernel

F = np.float32
_ONE, _HALF = F(1.0), F(0.5)


class Place(NamedTuple):
    """One horizontal point and instant: rows of the columns around it and their weights."""

    a00: int
    a10: int
    a01: int
    a11: int
    b00: int
    b10: int
    b01: int
    b11: int
    near_a: int
    near_b: int
    fx: np.float32
    fy: np.float32
    tf: np.float32
    """Fraction of the way from the first analysis (a) to the second (b)."""


class Profile(NamedTuple):
    """Levels looked up so far at one place; a level is valid where its stamp is the current one."""

    mean: np.ndarray
    """float32, shape (n_levels, MEAN_VARIABLES)."""
    mean_stamp: np.ndarray
    turbulence: np.ndarray
    """float32, shape (n_levels, 2): sigma_w [m s-1], TL [s]."""
    turbulence_stamp: np.ndarray
    dryness: np.ndarray
    """float32, shape (n_levels,): 1 minus specific humidity, for the dilution column."""
    dryness_stamp: np.ndarray


@kernel
def row_of(slots, grid, ix, iy):
    """Return the row of a column (1-based indices, already inside the grid), -1 where it is not loaded."""
    i = ix - 1
    j = iy - 1
    slot = slots[j >> layout.TILE_BITS, i >> layout.TILE_BITS]
    if slot < 0:
        return np.int64(-1)
    mask = layout.TILE - 1
    return (np.int64(slot) * grid.tile_ny + (j & mask)) * grid.tile_nx + (i & mask)


@kernel
def nearest(value):
    """Round half away from zero, for positive values."""
    return int(value + _HALF)


@kernel
def column_index(ix, n, is_cyclic):
    """Bring a 1-based index into 1..n: around the globe, or held at the edge."""
    if ix < 1:
        return ix + n if is_cyclic else 1
    if ix > n:
        return ix - n if is_cyclic else n
    return ix


@kernel
def find_place(a, b, grid, x, y, tf):
    """
    Look up the columns around a point.

    Parameters
    ----------
    a, b : Columns
        The two analyses around the step.
    grid : GridShape
        The horizontal grid.
    x, y : float
        1-based grid coordinates.
    tf : float32
        Fraction of the way from ``a`` to ``b``.

    Returns
    -------
    place : Place
        Rows and weights.
    loaded : bool
        False when a tile is missing; rows are then not usable.
    """
    ix = int(x)
    iy = int(y)
    fx = F(x - np.float64(ix))
    fy = F(y - np.float64(iy))
    ix0 = column_index(ix, grid.nx, grid.is_cyclic)
    ix1 = column_index(ix + 1, grid.nx, grid.is_cyclic)
    iy0 = column_index(iy, grid.ny, False)
    iy1 = column_index(iy + 1, grid.ny, False)
    jx = column_index(nearest(x), grid.nx, grid.is_cyclic)
    jy = column_index(nearest(y), grid.ny, False)
    place = Place(
        row_of(a.slots, grid, ix0, iy0),
        row_of(a.slots, grid, ix1, iy0),
        row_of(a.slots, grid, ix0, iy1),
        row_of(a.slots, grid, ix1, iy1),
        row_of(b.slots, grid, ix0, iy0),
        row_of(b.slots, grid, ix1, iy0),
        row_of(b.slots, grid, ix0, iy1),
        row_of(b.slots, grid, ix1, iy1),
        row_of(a.slots, grid, jx, jy),
        row_of(b.slots, grid, jx, jy),
        fx,
        fy,
        tf,
    )
    loaded = (
        min(
            min(min(place.a00, place.a10), min(place.a01, place.a11)),
            min(min(place.b00, place.b10), min(place.b01, place.b11)),
        )
        >= 0
    )
    return place, loaded


@kernel
def want_tiles(wanted, grid, x, y):
    """Mark the tiles of the four columns around a point as wanted."""
    ix = int(x)
    iy = int(y)
    for dj in range(2):
        for di in range(2):
            i = column_index(ix + di, grid.nx, grid.is_cyclic) - 1
            j = column_index(iy + dj, grid.ny, False) - 1
            wanted[j >> layout.TILE_BITS, i >> layout.TILE_BITS] = 1


@kernel
def bilinear(rows, r00, r10, r01, r11, at, fx, fy):
    """Interpolate one number of four rows."""
    bottom = (rows[r10, at] - rows[r00, at]) * fx + rows[r00, at]
    top = (rows[r11, at] - rows[r01, at]) * fx + rows[r01, at]
    return (top - bottom) * fy + bottom


@kernel
def column_value(a, b, place, at):
    """Interpolate one number of the columns in x, y and time."""
    va = bilinear(a.rows, place.a00, place.a10, place.a01, place.a11, at, place.fx, place.fy)
    vb = bilinear(b.rows, place.b00, place.b10, place.b01, place.b11, at, place.fx, place.fy)
    return (vb - va) * place.tf + va


@kernel
def nearest_value(a, b, place, at):
    """Interpolate one number of the nearest column in time."""
    va = a.rows[place.near_a, at]
    return (b.rows[place.near_b, at] - va) * place.tf + va


@kernel
def fill_mean(a, b, place, level, profile, stamp):
    """Look up all mean variables of one level (0-based) unless that was done for this stamp."""
    if profile.mean_stamp[level] == stamp:
        return
    profile.mean_stamp[level] = stamp
    at = level * layout.PER_LEVEL
    out = profile.mean[level]
    ra00, ra10, ra01, ra11 = a.rows[place.a00], a.rows[place.a10], a.rows[place.a01], a.rows[place.a11]
    rb00, rb10, rb01, rb11 = b.rows[place.b00], b.rows[place.b10], b.rows[place.b01], b.rows[place.b11]
    for v in range(layout.MEAN_VARIABLES):
        bottom = (ra10[at + v] - ra00[at + v]) * place.fx + ra00[at + v]
        top = (ra11[at + v] - ra01[at + v]) * place.fx + ra01[at + v]
        va = (top - bottom) * place.fy + bottom
        bottom = (rb10[at + v] - rb00[at + v]) * place.fx + rb00[at + v]
        top = (rb11[at + v] - rb01[at + v]) * place.fx + rb01[at + v]
        vb = (top - bottom) * place.fy + bottom
        out[v] = (vb - va) * place.tf + va


@kernel
def matching_level(scaled, zi, depth, level_sigma, start):
    """
    Find the level whose height in units of zi is closest to a scaled height.

    Parameters
    ----------
    scaled : float32
        Height divided by the mixed-layer depth [1].
    zi : float32
        Mixed-layer depth of the analysis searched [m].
    depth : float32
        Depth of the coordinate over this column [m].
    level_sigma : ndarray of float32, shape (n_levels,)
        Internal levels.
    start : int
        0-based level to search from.

    Returns
    -------
    int
        0-based level; of two equally close the lower.
    """
    n = level_sigma.size
    j = start
    here = abs((_ONE - level_sigma[j]) * depth / zi - scaled)
    while j + 1 < n:
        above = abs((_ONE - level_sigma[j + 1]) * depth / zi - scaled)
        if above < here:
            j += 1
            here = above
        else:
            break
    while j > 0:
        below = abs((_ONE - level_sigma[j - 1]) * depth / zi - scaled)
        if below <= here:
            j -= 1
            here = below
        else:
            break
    return j


@kernel
def fill_turbulence(a, b, place, level, level_sigma, top, zi, n_levels, profile, stamp):
    """
    Look up sigma_w and TL of one level (0-based), blending the analyses at equal height over zi.

    The profile of turbulence scales with the mixed layer, which may double in an hour;
    blending at equal z/zi keeps its shape.
    """
    if profile.turbulence_stamp[level] == stamp:
        return
    profile.turbulence_stamp[level] = stamp
    row_a = a.rows[place.near_a]
    row_b = b.rows[place.near_b]
    base = n_levels * layout.PER_LEVEL
    depth = top - row_a[base + layout.TERRAIN]
    scaled = (_ONE - level_sigma[level]) * depth / zi
    ka = matching_level(scaled, row_a[base + layout.ZI], depth, level_sigma, level) * layout.PER_LEVEL
    kb = matching_level(scaled, row_b[base + layout.ZI], depth, level_sigma, level) * layout.PER_LEVEL
    sa = row_a[ka + layout.SIGMA_W]
    ta = row_a[ka + layout.TL_W]
    sigma_w = (row_b[kb + layout.SIGMA_W] - sa) * place.tf + sa
    tl_w = (row_b[kb + layout.TL_W] - ta) * place.tf + ta
    profile.turbulence[level, 0] = F(0.001) if sigma_w == F(0.0) else sigma_w
    profile.turbulence[level, 1] = F(100.0) if tl_w == F(0.0) else tl_w
