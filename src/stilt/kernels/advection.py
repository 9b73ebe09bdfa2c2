"""Mean wind: one predictor-corrector step along the grid and through sigma."""

from __future__ import annotations

import numpy as np

from stilt.kernels import layout
from stilt.kernels.compiler import kernel
from stilt.kernels.interpolation import bilinear
from stilt.kernels.vertical import index_of_sigma

F = np.float32
_ZERO, _ONE = F(0.0), F(1.0)


@kernel
def _blend(a, b, place, at_low, at_high, fraction):
    """Interpolate one variable in x and y, between two levels, and in time, in that order."""
    low = bilinear(a.rows, place.a00, place.a10, place.a01, place.a11, at_low, place.fx, place.fy)
    high = bilinear(a.rows, place.a00, place.a10, place.a01, place.a11, at_high, place.fx, place.fy)
    va = (high - low) * fraction + low
    low = bilinear(b.rows, place.b00, place.b10, place.b01, place.b11, at_low, place.fx, place.fy)
    high = bilinear(b.rows, place.b00, place.b10, place.b01, place.b11, at_high, place.fx, place.fy)
    vb = (high - low) * fraction + low
    return (vb - va) * place.tf + va


@kernel
def mean_velocity(a, b, place, levels, sigma):
    """
    Return the mean velocity of the air at a point.

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

    Returns
    -------
    u, v, w : float32
        Along the grid axes [cells min-1] and through sigma [min-1]. Below the first level all three
        fall linearly to zero at the ground.
    index : float32
        Fractional level index of ``sigma``.
    """
    n = levels.sigma.size
    index = index_of_sigma(sigma, levels.a, levels.b, levels.c, levels.top, n)
    if index < _ONE:
        no_slip = (_ONE - min(_ONE, sigma)) / (_ONE - levels.sigma[0])
        u = _blend(a, b, place, layout.U, layout.U, _ZERO) * no_slip
        v = _blend(a, b, place, layout.V, layout.V, _ZERO) * no_slip
        w = _blend(a, b, place, layout.W, layout.W, _ZERO) * no_slip
        return u, v, w, index
    low = min(int(index), n - 1)
    fraction = index - F(low)
    at_low = (low - 1) * layout.PER_LEVEL
    at_high = low * layout.PER_LEVEL
    u = _blend(a, b, place, at_low + layout.U, at_high + layout.U, fraction)
    v = _blend(a, b, place, at_low + layout.V, at_high + layout.V, fraction)
    w = _blend(a, b, place, at_low + layout.W, at_high + layout.W, fraction)
    return u, v, w, index
