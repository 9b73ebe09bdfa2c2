"""Errors of the wind and of the PBL height that particles carry along."""

from __future__ import annotations

import math

import numpy as np

from stilt.kernels import layout, rng
from stilt.kernels.compiler import kernel
from stilt.kernels.interpolation import fill_mean

F = np.float32
_ONE, _60 = F(1.0), F(60.0)


@kernel(allocates=False, forceinline=False)
def correlated_profiles(kind, state, spare, levels, depth, length, out):
    """
    Fill pairs (u, v) of profiles with standard normal deviates correlated over a length in height.

    Parameters
    ----------
    kind, state, spare
        Stream of random numbers.
    levels : Levels
        Internal levels.
    depth, length : float32
        Depth of the coordinate and the correlation length [m].
    out : ndarray of float32, shape (2 * n_pairs, n_levels)
        Filled.
    """
    n_pairs = out.shape[0] // 2
    for row in range(2 * n_pairs):
        out[row, 0] = rng.normal(kind, state, spare)
    for k in range(1, levels.sigma.size):
        a = math.exp(-depth * (levels.sigma[k - 1] - levels.sigma[k]) / length)
        rest = math.sqrt(_ONE - a * a)
        # in the program's stream: u of every pair, then v of every pair; pair by pair at the first level
        for component in range(2):
            for pair in range(n_pairs):
                row = 2 * pair + component
                out[row, k] = a * out[row, k - 1] + rest * rng.normal(kind, state, spare)


@kernel(allocates=False, forceinline=False)
def perturb_winds(
    kind, state, spare, a, b, start_place, end_place, levels, physics, work, stamp, depth, gx, gy, km, errors
):
    """Add the wind error to the start and end profiles and carry it on by one step."""
    n = levels.sigma.size
    for k in range(n):
        fill_mean(a, b, start_place, k, work.start, stamp)
        fill_mean(a, b, end_place, k, work.end, stamp)
    in_time = math.exp(-_ONE / physics.tluverr)
    in_space = math.exp(-km / physics.horcoruverr)
    fresh = work.fresh
    correlated_profiles(kind, state, spare, levels, depth, physics.zcoruverr, fresh)
    time_rest = math.sqrt(_ONE - in_time * in_time)
    space_rest = math.sqrt(_ONE - in_space * in_space)
    for c in range(2):
        cells = _60 / (gx if c == 0 else gy)
        at = layout.U if c == 0 else layout.V
        for k in range(n):
            error = physics.siguverr * errors[c, k]
            work.start.mean[k * layout.MEAN_VARIABLES + at] += error * cells
            error = in_time * error + time_rest * physics.siguverr * fresh[c, k]
            error = in_space * error + space_rest * physics.siguverr * fresh[2 + c, k]
            work.end.mean[k * layout.MEAN_VARIABLES + at] += error * cells
            errors[c, k] = error / physics.siguverr


@kernel(allocates=False, forceinline=False)
def next_zi_error(kind, state, spare, physics, km, error):
    """Carry the PBL-height error [percent] on by one step over a distance [km]."""
    for memory in (math.exp(-_ONE / physics.tlzierr), math.exp(-km / physics.horcorzierr)):
        rest = math.sqrt(_ONE - memory * memory) * physics.sigzierr
        error = memory * error + rest * rng.normal(kind, state, spare)
    return error


@kernel(allocates=False)
def distance_km(gx, gy, dx, dy):
    """Return the length [km] of a displacement in grid cells."""
    x = gx * dx
    y = gy * dy
    return math.sqrt(x * x + y * y) / F(1000.0)
