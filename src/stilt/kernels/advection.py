"""Mean wind: one predictor-corrector step along the grid and through sigma."""

from __future__ import annotations

import numpy as np

from stilt.kernels import boundaries, layout
from stilt.kernels.boundaries import ACTIVE, NEEDS_COLUMNS
from stilt.kernels.compiler import kernel
from stilt.kernels.interpolation import find_place
from stilt.kernels.vertical import index_of_sigma

F = np.float32
N = np.uint64
_ZERO, _HALF, _ONE = F(0.0), F(0.5), F(1.0)
_PER_LEVEL = N(layout.PER_LEVEL)
_FOUR = N(4)


@kernel(allocates=False)
def mean_velocity(a, b, place, levels, sigma, out):
    """
    Look up the mean velocity of the air at a point.

    Parameters
    ----------
    a, b : Columns
        The two analyses around the step.
    place : Place
        Horizontal position and time.
    levels : Levels
        Internal levels.
    sigma : float32
        Height [1].
    out : ndarray of float32, shape (4,)
        Filled with u, v [cells min-1] and w [sigma min-1] (and density, unused). Below the first
        level all fall linearly to zero at the ground.

    Returns
    -------
    index : float32
        Fractional level index of ``sigma``.
    """
    n = levels.sigma.size
    index = index_of_sigma(sigma, levels.a, levels.b, levels.c, levels.top, n)
    low = N(0)
    high = N(0)
    fraction = _ZERO
    if index >= _ONE:
        k = min(int(index), n - 1)
        fraction = index - F(k)
        low = N(k - 1) * _PER_LEVEL
        high = N(k) * _PER_LEVEL
    va, vb = a.values, b.values
    fx, fy, tf = place.fx, place.fy, place.tf
    a00, a10, a01, a11 = place.a00 + low, place.a10 + low, place.a01 + low, place.a11 + low
    b00, b10, b01, b11 = place.b00 + low, place.b10 + low, place.b01 + low, place.b11 + low
    up = high - low
    no_slip = _ONE
    if index < _ONE:
        no_slip = (_ONE - sigma) / (_ONE - levels.sigma[0])
    for v in range(_FOUR):
        bottom = (va[a10 + v] - va[a00 + v]) * fx + va[a00 + v]
        top = (va[a11 + v] - va[a01 + v]) * fx + va[a01 + v]
        under = (top - bottom) * fy + bottom
        w = up + v
        bottom = (va[a10 + w] - va[a00 + w]) * fx + va[a00 + w]
        top = (va[a11 + w] - va[a01 + w]) * fx + va[a01 + w]
        first = (((top - bottom) * fy + bottom - under) * fraction + under) * no_slip
        bottom = (vb[b10 + v] - vb[b00 + v]) * fx + vb[b00 + v]
        top = (vb[b11 + v] - vb[b01 + v]) * fx + vb[b01 + v]
        under = (top - bottom) * fy + bottom
        bottom = (vb[b10 + w] - vb[b00 + w]) * fx + vb[b00 + w]
        top = (vb[b11 + w] - vb[b01 + w]) * fx + vb[b01 + w]
        second = (((top - bottom) * fy + bottom - under) * fraction + under) * no_slip
        out[v] = (second - first) * tf + first
    return index


@kernel(allocates=False)
def advect(a, b, grid, levels, sign, place, tf1, x, y, sigma, velocity):
    """
    Move a point with the mean wind for one minute: first guess, then the average with the wind found there.

    Parameters
    ----------
    a, b, grid, levels
        Meteorology.
    sign : float32
        -1 backward, +1 forward.
    place : Place
        The point's place at the start.
    tf1 : float32
        Fraction of the way from ``a`` to ``b`` at the end.
    x, y, sigma : float
        The point.
    velocity : ndarray of float32, shape (4,)
        Working memory; on return its third entry is the mean of the two vertical velocities.

    Returns
    -------
    status : int
        ACTIVE, the side left by, or NEEDS_COLUMNS.
    x, y, sigma : float
        The point moved; where meteorology is missing or the domain ends when the status says so.
    index : float32
        Fractional level index at the first guess.
    end : Place
        Place of the point moved.
    """
    mean_velocity(a, b, place, levels, sigma, velocity)
    x1 = x + velocity[0] * sign
    y1 = y + velocity[1] * sign
    w1 = velocity[2]
    sigma1 = sigma + w1 * sign
    side = boundaries.side_outside(x1, y1, grid)
    if side != ACTIVE:
        return side, x1, y1, sigma, _ONE, place
    guess, loaded = find_place(a, b, grid, boundaries.lookup_x(np.float64(x1), grid), y1, tf1)
    if not loaded:
        return NEEDS_COLUMNS, x1, y1, sigma, _ONE, place
    index = mean_velocity(a, b, guess, levels, sigma1, velocity)
    xm = _HALF * (x1 + x + velocity[0] * sign)
    ym = _HALF * (y1 + y + velocity[1] * sign)
    sigma_m = _HALF * (sigma1 + sigma + velocity[2] * sign)
    velocity[2] = _HALF * (w1 + velocity[2])
    side = boundaries.side_outside(xm, ym, grid)
    if side != ACTIVE:
        return side, xm, ym, sigma, _ONE, place
    end, loaded = find_place(a, b, grid, boundaries.lookup_x(np.float64(xm), grid), ym, tf1)
    if not loaded:
        return NEEDS_COLUMNS, xm, ym, sigma, _ONE, place
    sigma_m = max(levels.sigma[levels.sigma.size - 1], min(_ONE, sigma_m))
    return ACTIVE, xm, ym, sigma_m, index, end
