r"""
Turbulence profiles: vertical velocity variance and its Lagrangian time scale.

Inside the mixed layer the scheme of Hanna (1982) in the form the STILT mode of
HYSPLIT uses (``kblt: 5``); above it a local mixing coefficient.
"""

from __future__ import annotations

import math

import numpy as np

from stilt.constants import GRAVITY, ONE_THIRD_HYSPLIT
from stilt.kernels.compiler import kernel

F = np.float32
N = np.uint64
_ZERO, _ONE, _TWO = F(0.0), F(1.0), F(2.0)
_G = F(GRAVITY)
_THIRD = F(ONE_THIRD_HYSPLIT)
_SMALLEST_SIGMA_W = F(1.0e-5)
FREE_TROPOSPHERE_TL = F(100.0)
"""Lagrangian time scale above the mixed layer [s]."""


@kernel(allocates=False)
def hanna_sigma_w(z, zi, obukhov, ustar, wstar):
    """Return sigma_w [m s-1] inside the mixed layer at height z [m AGL]."""
    eta = z / zi
    if obukhov >= _ZERO:
        return max(_SMALLEST_SIGMA_W, F(1.3) * ustar * (_ONE - eta))
    if eta < F(0.03):
        sigma = F(0.96) * wstar * (F(3.0) * eta - obukhov / zi) ** _THIRD
    elif eta < F(0.4):
        low = F(0.96) * (F(3.0) * eta - obukhov / zi) ** _THIRD
        sigma = wstar * min(low, F(0.763) * eta ** F(0.175))
    elif eta < F(0.96):
        sigma = F(0.722) * wstar * (_ONE - eta) ** F(0.207)
    else:
        sigma = F(0.37) * wstar
    return max(_SMALLEST_SIGMA_W, sigma)


@kernel(allocates=False)
def hanna_tl(z, zi, obukhov, roughness, sigma_w):
    """Return the Lagrangian time scale [s] inside the mixed layer at height z [m AGL]."""
    eta = z / zi
    if obukhov >= _ZERO:
        if eta == _ONE:
            return FREE_TROPOSPHERE_TL
        return F(0.1) * (zi / sigma_w) * eta ** F(0.8)
    if eta < F(0.1):
        if z - roughness < abs(obukhov):
            return F(0.1) * z / (sigma_w * (F(0.55) + F(0.38) * (z - roughness) / obukhov))
        return F(0.59) * (z / sigma_w)
    return F(0.15) * (zi / sigma_w) * (_ONE - math.exp(F(-5.0) * eta))


@kernel(allocates=False)
def free_mixing(k, u, v, theta, z, zi, ustar, tstar, wstar):
    """
    Return the mixing coefficient [m2 s-1] of the layer below level k (0-based), above the mixed layer.

    Parameters
    ----------
    k : int
        Level at the top of the layer, at least 1.
    u, v, theta, z : ndarray of float32, shape (n_levels,)
        Wind [m s-1], potential temperature [K], height [m AGL].
    zi, ustar, tstar, wstar : float32
        Mixed-layer depth [m] and scales.
    """
    dz = z[k] - z[k - 1]
    dtheta = theta[k] - theta[k - 1]
    if int(z[k] + F(0.5)) == int(zi + F(0.5)) and wstar > _ZERO:
        mixing = F(-0.4) * tstar * ustar / max(F(0.1), dtheta / dz)
    else:
        du = u[k] - u[k - 1]
        dv = v[k] - v[k - 1]
        shear2 = max(F(0.1), du * du + dv * dv)
        ri = _G * dz * dtheta / shear2 / theta[k - 1]
        ri = max(_ZERO, min(F(20.0), ri))
        length = _ONE / (F(2.5) / z[k] + _ONE / F(150.0))
        if ri <= F(0.001):
            x = F(1.0893) * ri
        else:
            x = F(0.0002828) + ri * (F(0.8049) + ri * (F(1.6583) + ri * (F(0.00509) - F(0.0010063) * ri)))
        x = min(F(256.0), x)
        # most air is so stable that x is 256; the exponential is then a denormal number, which takes a
        # processor a hundred times as long and changes nothing in the sum
        decay = _ZERO
        if x < F(100.0):
            decay = F(0.66667) * math.exp(F(-0.35) * x) * (F(6.0) - F(0.35) * x)
        phi = F(0.923) * (_ONE + (math.sqrt(_ONE + F(0.66667) * x) + decay) * x)
        mixing = length * length * abs(math.sqrt(shear2) / dz) / phi
    return max(F(0.01), min(F(200.0), mixing))


@kernel(allocates=False)
def fill_stable_mixing(first, u, v, theta, z, sigma_w):
    """
    Fill sigma_w [m s-1] of the levels above the mixed layer where the air is too stable for an exponential.

    What :func:`free_mixing` gives there, operation by operation, without a branch: processors then do eight
    levels at a time.

    Parameters
    ----------
    first : int
        Level to begin with (0-based), at least 1.
    u, v, theta, z : ndarray of float32, shape (n_levels,)
        As in :func:`free_mixing`.
    sigma_w : ndarray of float32, shape (n_levels,)
        Filled from ``first`` on; -1 where the air is less stable.
    """
    for k in range(N(first), N(z.size)):
        under = k - N(1)
        dz = z[k] - z[under]
        dtheta = theta[k] - theta[under]
        du = u[k] - u[under]
        dv = v[k] - v[under]
        shear2 = max(F(0.1), du * du + dv * dv)
        ri = _G * dz * dtheta / shear2 / theta[under]
        ri = max(_ZERO, min(F(20.0), ri))
        length = _ONE / (F(2.5) / z[k] + _ONE / F(150.0))
        x = F(0.0002828) + ri * (F(0.8049) + ri * (F(1.6583) + ri * (F(0.00509) - F(0.0010063) * ri)))
        x = min(F(256.0), x)
        phi = F(0.923) * (_ONE + math.sqrt(_ONE + F(0.66667) * x) * x)
        mixing = length * length * abs(math.sqrt(shear2) / dz) / phi
        sigma = math.sqrt(max(F(0.01), min(F(200.0), mixing)) / FREE_TROPOSPHERE_TL)
        sigma_w[k] = sigma if x >= F(100.0) else -_ONE


@kernel(allocates=False)
def hanna_profiles(u, v, theta, z, zi, obukhov, ustar, tstar, wstar, roughness, sigma_w, tl_w):
    """
    Fill sigma_w [m s-1] and the Lagrangian time scale [s] of every level.

    Parameters
    ----------
    u, v, theta, z : ndarray of float32, shape (n_levels,)
        Wind [m s-1], potential temperature [K], height [m AGL].
    zi, obukhov, ustar, tstar, wstar, roughness : float32
        Mixed-layer depth [m], Obukhov length [m] and scales; a negative length is unstable.
    sigma_w, tl_w : ndarray of float32, shape (n_levels,)
        Filled.
    """
    n = z.size
    above = 0
    while above < n and z[above] < zi:
        above += 1
    fill_stable_mixing(max(above, 1), u, v, theta, z, sigma_w)
    for k in range(n):
        if z[k] < zi:
            sigma_w[k] = hanna_sigma_w(z[k], zi, obukhov, ustar, wstar)
            tl_w[k] = hanna_tl(z[k], zi, obukhov, roughness, sigma_w[k])
        elif k == 0:
            tl_w[k] = FREE_TROPOSPHERE_TL
            sigma_w[k] = math.sqrt(F(0.01) / FREE_TROPOSPHERE_TL)
        else:
            tl_w[k] = FREE_TROPOSPHERE_TL
            # entrainment at the top of the mixed layer is looked for within the rounding of heights
            if sigma_w[k] < _ZERO or abs(z[k] - zi) < _TWO:
                mixing = free_mixing(k, u, v, theta, z, zi, ustar, tstar, wstar)
                sigma_w[k] = math.sqrt(mixing / FREE_TROPOSPHERE_TL)


MIX_AS_IS, MIX_AVERAGED, MIX_SCALED, MIX_SCALED_ABOVE = 0, 1, 2, 3
"""``kzmix``: what is done to the profile of sigma_w."""


@kernel
def rescale_profiles(kzmix, tvmix, z, zi, sigma_w, tl_w):
    """
    Average or scale the variance of vertical velocity, as ``kzmix`` says.

    Below zi the time scale changes so that ``sigma_w * TL``, a length, stays; above it stays as it is.

    Parameters
    ----------
    kzmix : int
        0 nothing; 1 the mean variance below zi at all levels there; 2 variance below zi times ``tvmix``;
        3 variance above zi times ``tvmix``.
    tvmix : float32
        Factor [1].
    z : ndarray of float32, shape (n_levels,)
        Height [m AGL].
    zi : float32
        Mixed-layer depth [m].
    sigma_w, tl_w : ndarray of float32, shape (n_levels,)
        [m s-1], [s]; changed in place.
    """
    if kzmix == MIX_AS_IS:
        return
    total = _ZERO
    count = 0
    for k in range(z.size):
        if z[k] < zi:
            total += sigma_w[k] * sigma_w[k]
            count += 1
    for k in range(z.size):
        variance = sigma_w[k] * sigma_w[k]
        if z[k] < zi:
            if kzmix == MIX_SCALED_ABOVE:
                continue
            new = math.sqrt(total / F(count) if kzmix == MIX_AVERAGED else variance * tvmix)
            tl_w[k] = tl_w[k] * sigma_w[k] / new
            sigma_w[k] = new
        elif kzmix == MIX_SCALED_ABOVE:
            sigma_w[k] = math.sqrt(variance * tvmix)


@kernel
def prescribed_variance(z, zi, sigma_w, time_scale, variance):
    """
    Fill the variance of vertical velocity that goes with one prescribed time scale per column.

    Parameters
    ----------
    z : ndarray of float32, shape (n_levels,)
        Height [m AGL].
    zi : float32
        Mixed-layer depth [m]; above it the mixing coefficient is kept, below it the variance.
    sigma_w : ndarray of float32, shape (n_levels,)
        Of the scheme [m s-1].
    time_scale : float32
        [s].
    variance : ndarray of float32, shape (n_levels,)
        Filled [m2 s-2].
    """
    for k in range(z.size):
        variance[k] = sigma_w[k] * sigma_w[k]
        if z[k] >= zi:
            variance[k] = variance[k] * FREE_TROPOSPHERE_TL / time_scale
