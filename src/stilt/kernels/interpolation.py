"""
Meteorology at a particle: bilinear across columns, linear in time.

Winds, density and temperature are interpolated between the four columns around a
point; mixed-layer depth, turbulence and grid spacing belong to the nearest
column. Both analyses around a step are looked up alike. Levels are interpolated
only when a particle visits them and remembered for the step in a
:class:`Profile`.

These few lines are where a run spends its time, hence their shape: columns are
one flat array, offsets are unsigned (numba turns a signed index into a test for
"from the end", which keeps the compiler from using vector instructions), and the
eight variables of a level are interpolated in one loop of constant length, which
becomes one vector operation. Kernels that allocate nothing are compiled without
reference counting; counting alone used to take a third of a run.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from stilt.kernels import layout
from stilt.kernels.compiler import kernel

F = np.float32
N = np.uint64
_ONE, _HALF = F(1.0), F(0.5)
_PER_LEVEL = N(layout.PER_LEVEL)
_MEAN = N(layout.MEAN_VARIABLES)
_SIGMA_W, _TL_W = N(layout.SIGMA_W), N(layout.TL_W)
_ZI, _TERRAIN = N(layout.ZI), N(layout.TERRAIN)
_MASK = layout.TILE - 1


class Place(NamedTuple):
    """One horizontal point and instant: where the columns around it start, and their weights."""

    a00: np.uint64
    """Offset of the south-western column in the flat array of the first analysis."""
    a10: np.uint64
    a01: np.uint64
    a11: np.uint64
    b00: np.uint64
    b10: np.uint64
    b01: np.uint64
    b11: np.uint64
    near_a: np.uint64
    """Offset of the nearest column."""
    near_b: np.uint64
    fx: np.float32
    fy: np.float32
    tf: np.float32
    """Fraction of the way from the first analysis (a) to the second (b)."""


class Profile(NamedTuple):
    """Levels looked up so far at one place; a level is valid where its stamp is the current one."""

    mean: np.ndarray
    """float32, shape (n_levels * MEAN_VARIABLES,)."""
    mean_stamp: np.ndarray
    turbulence: np.ndarray
    """float32, shape (n_levels * 2,): sigma_w [m s-1], TL [s] of each level."""
    turbulence_stamp: np.ndarray
    density: np.ndarray
    """float32, shape (n_levels * 2,): density [kg m-3], and 1 minus specific humidity."""
    density_stamp: np.ndarray
    dryness_stamp: np.ndarray


def new_profile(n_levels: int) -> Profile:
    """Make an empty profile."""
    return Profile(
        np.empty(n_levels * layout.MEAN_VARIABLES, dtype=np.float32),
        np.full(n_levels, -1, dtype=np.int64),
        np.empty(n_levels * 2, dtype=np.float32),
        np.full(n_levels, -1, dtype=np.int64),
        np.empty(n_levels * 2, dtype=np.float32),
        np.full(n_levels, -1, dtype=np.int64),
        np.full(n_levels, -1, dtype=np.int64),
    )


@kernel(allocates=False)
def tile_slot(slots, i, j):
    """Return where the tile of a 0-based column lies, -1 where it is not loaded."""
    return np.int64(slots[N(j >> layout.TILE_BITS), N(i >> layout.TILE_BITS)])


@kernel(allocates=False)
def offset_of(slot, grid, i, j):
    """Return the offset of a 0-based column in the flat array, given the slot of its tile."""
    return N(((slot * grid.tile_ny + (j & _MASK)) * grid.tile_nx + (i & _MASK)) * grid.row_length)


@kernel(allocates=False)
def column_index(ix, n, is_cyclic):
    """Bring a 1-based index into 1..n: around the globe, or held at the edge."""
    if ix < 1:
        return ix + n if is_cyclic else 1
    if ix > n:
        return ix - n if is_cyclic else n
    return ix


@kernel(allocates=False)
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
        1-based coordinates, counted from ``grid.west`` and ``grid.south``.
    tf : float32
        Fraction of the way from ``a`` to ``b``.

    Returns
    -------
    place : Place
        Offsets and weights.
    loaded : bool
        False when a tile is missing; offsets are then not usable.
    """
    ix = int(x)
    iy = int(y)
    fx = F(x - np.float64(ix))
    fy = F(y - np.float64(iy))
    column, row = ix + grid.west, iy + grid.south
    i0 = column_index(column, grid.nx, grid.is_cyclic) - 1
    i1 = column_index(column + 1, grid.nx, grid.is_cyclic) - 1
    j0 = column_index(row, grid.ny, False) - 1
    j1 = column_index(row + 1, grid.ny, False) - 1
    sa00 = tile_slot(a.slots, i0, j0)
    sb00 = tile_slot(b.slots, i0, j0)
    if (i0 >> layout.TILE_BITS) == (i1 >> layout.TILE_BITS) and (j0 >> layout.TILE_BITS) == (
        j1 >> layout.TILE_BITS
    ):
        sa10 = sa01 = sa11 = sa00
        sb10 = sb01 = sb11 = sb00
    else:
        sa10, sa01, sa11 = tile_slot(a.slots, i1, j0), tile_slot(a.slots, i0, j1), tile_slot(a.slots, i1, j1)
        sb10, sb01, sb11 = tile_slot(b.slots, i1, j0), tile_slot(b.slots, i0, j1), tile_slot(b.slots, i1, j1)
    loaded = min(min(min(sa00, sa10), min(sa01, sa11)), min(min(sb00, sb10), min(sb01, sb11))) >= 0
    a00, a10 = offset_of(sa00, grid, i0, j0), offset_of(sa10, grid, i1, j0)
    a01, a11 = offset_of(sa01, grid, i0, j1), offset_of(sa11, grid, i1, j1)
    b00, b10 = offset_of(sb00, grid, i0, j0), offset_of(sb10, grid, i1, j0)
    b01, b11 = offset_of(sb01, grid, i0, j1), offset_of(sb11, grid, i1, j1)
    # the nearest column is one of the four; half-way points belong to the farther one
    if int(x + _HALF) > ix:
        near_a, near_b = (a11, b11) if int(y + _HALF) > iy else (a10, b10)
    else:
        near_a, near_b = (a01, b01) if int(y + _HALF) > iy else (a00, b00)
    return Place(a00, a10, a01, a11, b00, b10, b01, b11, near_a, near_b, fx, fy, tf), loaded


@kernel(allocates=False)
def want_tiles(wanted, grid, x, y):
    """Mark the tiles of the four columns around a point as wanted."""
    ix = int(x) + grid.west
    iy = int(y) + grid.south
    for dj in range(2):
        for di in range(2):
            i = column_index(ix + di, grid.nx, grid.is_cyclic) - 1
            j = column_index(iy + dj, grid.ny, False) - 1
            wanted[j >> layout.TILE_BITS, i >> layout.TILE_BITS] = 1


@kernel(allocates=False)
def bilinear(values, o00, o10, o01, o11, fx, fy):
    """Interpolate one number of four columns; offsets point at the number itself."""
    bottom = (values[o10] - values[o00]) * fx + values[o00]
    top = (values[o11] - values[o01]) * fx + values[o01]
    return (top - bottom) * fy + bottom


@kernel(allocates=False)
def column_value(a, b, place, at):
    """Interpolate one number of the columns in x, y and time; ``at`` is its place in a row (uint64)."""
    va = bilinear(
        a.values, place.a00 + at, place.a10 + at, place.a01 + at, place.a11 + at, place.fx, place.fy
    )
    vb = bilinear(
        b.values, place.b00 + at, place.b10 + at, place.b01 + at, place.b11 + at, place.fx, place.fy
    )
    return (vb - va) * place.tf + va


@kernel(allocates=False)
def nearest_value(a, b, place, at):
    """Interpolate one number of the nearest column in time."""
    va = a.values[place.near_a + at]
    return (b.values[place.near_b + at] - va) * place.tf + va


@kernel(allocates=False)
def fill_mean(a, b, place, level, profile, stamp):
    """Look up all mean variables of one level (0-based) unless that was done for this stamp."""
    if profile.mean_stamp[level] == stamp:
        return
    profile.mean_stamp[level] = stamp
    at = N(level) * _PER_LEVEL
    to = N(level) * _MEAN
    out, va, vb = profile.mean, a.values, b.values
    fx, fy, tf = place.fx, place.fy, place.tf
    a00, a10, a01, a11 = place.a00 + at, place.a10 + at, place.a01 + at, place.a11 + at
    b00, b10, b01, b11 = place.b00 + at, place.b10 + at, place.b01 + at, place.b11 + at
    for v in range(_MEAN):
        bottom = (va[a10 + v] - va[a00 + v]) * fx + va[a00 + v]
        top = (va[a11 + v] - va[a01 + v]) * fx + va[a01 + v]
        first = (top - bottom) * fy + bottom
        bottom = (vb[b10 + v] - vb[b00 + v]) * fx + vb[b00 + v]
        top = (vb[b11 + v] - vb[b01 + v]) * fx + vb[b01 + v]
        second = (top - bottom) * fy + bottom
        out[to + v] = (second - first) * tf + first


@kernel(allocates=False)
def mean_value(profile, level, variable):
    """Return one variable of a level (0-based) that was looked up before."""
    return profile.mean[N(level) * _MEAN + N(variable)]


@kernel(allocates=False)
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
    here = abs((_ONE - level_sigma[N(j)]) * depth / zi - scaled)
    while j + 1 < n:
        above = abs((_ONE - level_sigma[N(j + 1)]) * depth / zi - scaled)
        if above < here:
            j += 1
            here = above
        else:
            break
    while j > 0:
        below = abs((_ONE - level_sigma[N(j - 1)]) * depth / zi - scaled)
        if below <= here:
            j -= 1
            here = below
        else:
            break
    return j


@kernel(allocates=False, forceinline=False)
def fill_prescribed_turbulence(a, b, place, level, base, profile):
    """Look up sigma_w and TL of one level (0-based) where time scales are prescribed: between the columns."""
    variance = column_value(a, b, place, N(level) * _PER_LEVEL + N(layout.VARIANCE_W))
    profile.turbulence[N(level) * N(2)] = math.sqrt(variance)
    profile.turbulence[N(level) * N(2) + N(1)] = column_value(a, b, place, base + N(layout.TL_COLUMN))


@kernel(allocates=False)
def fill_turbulence(a, b, place, level, levels, zi, profile, stamp):
    """
    Look up sigma_w and TL of one level (0-based), blending the analyses at equal height over zi.

    The profile of turbulence scales with the mixed layer, which may double in an hour;
    blending at equal z/zi keeps its shape.
    """
    if profile.turbulence_stamp[level] == stamp:
        return
    profile.turbulence_stamp[level] = stamp
    base = N(levels.sigma.size) * _PER_LEVEL
    if levels.prescribed_tl:
        fill_prescribed_turbulence(a, b, place, level, base, profile)
        return
    zi_a = a.values[place.near_a + base + _ZI]
    zi_b = b.values[place.near_b + base + _ZI]
    ka = kb = level
    if zi_a != zi or zi_b != zi:
        depth = levels.top - a.values[place.near_a + base + _TERRAIN]
        scaled = (_ONE - levels.sigma[N(level)]) * depth / zi
        ka = matching_level(scaled, zi_a, depth, levels.sigma, level)
        kb = matching_level(scaled, zi_b, depth, levels.sigma, level)
    at_a = place.near_a + N(ka) * _PER_LEVEL
    at_b = place.near_b + N(kb) * _PER_LEVEL
    sa = a.values[at_a + _SIGMA_W]
    ta = a.values[at_a + _TL_W]
    sigma_w = (b.values[at_b + _SIGMA_W] - sa) * place.tf + sa
    tl_w = (b.values[at_b + _TL_W] - ta) * place.tf + ta
    profile.turbulence[N(level) * N(2)] = F(0.001) if sigma_w == F(0.0) else sigma_w
    profile.turbulence[N(level) * N(2) + N(1)] = F(100.0) if tl_w == F(0.0) else tl_w
