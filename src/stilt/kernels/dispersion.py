r"""
Vertical dispersion of one particle over half a minute, with the mean wind along the way.

A particle's vertical velocity is a Markov chain inside layers of constant
:math:`\sigma_w` and :math:`T_L`. Where it meets the next layer it passes with
probability :math:`(\rho\,\sigma_w)_{new} / (\rho\,\sigma_w)_{old}` and turns back
otherwise, which keeps a well-mixed tracer well mixed without a drift term
(Thomson et al. 1997, with density as in the STILT mode of HYSPLIT). The mixed-layer
top becomes sharp by one extra level just above it.
"""

from __future__ import annotations

import math

import numpy as np

from stilt.kernels import dilution, layout, rng
from stilt.kernels.compiler import kernel
from stilt.kernels.interpolation import fill_mean, fill_turbulence

F = np.float32
_ZERO, _ONE, _60 = F(0.0), F(1.0), F(60.0)
_10000 = F(10000.0)
_ABOVE = F(0.05)


@kernel
def rounded(value):
    """Round to the nearest integer, half away from zero."""
    if value < _ZERO:
        return -int(F(0.5) - value)
    return int(value + F(0.5))


@kernel
def level_above_mixed_layer(level_sigma, zi, depth):
    """
    Find the 1-based level the extra level is put above: the first at or above zi, to 1e-4 in sigma.

    Parameters
    ----------
    level_sigma : ndarray of float32, shape (n_levels,)
        Internal levels.
    zi, depth : float32
        Mixed-layer depth and depth of the coordinate [m].
    """
    target = rounded(_10000 * (_ONE - zi / depth))
    n = level_sigma.size
    m = 1
    while m < n - 1 and rounded(_10000 * level_sigma[m - 1]) > target:
        m += 1
    return m


@kernel
def list_sigma(level_sigma, m, extra, b):
    """Return sigma of entry b (1-based) of the level list with the extra level after entry m."""
    if b <= m:
        return level_sigma[b - 1]
    if b == m + 1:
        return extra
    return level_sigma[b - 2]


@kernel
def dilution_column(a, b, place, profile, stamp, level_sigma, m, extra, depth, zv, second_half):
    """
    Return the mass of dry air [kg m-2] between the ground and the dilution height.

    Parameters
    ----------
    a, b, place, profile, stamp
        Meteorology at the particle (see :mod:`stilt.kernels.interpolation`).
    level_sigma, m, extra
        The level list.
    depth, zv : float32
        Depth of the coordinate and the dilution height [m].
    second_half : bool
        The program then takes ambient for potential temperature and a density that is already dry;
        so do we.
    """
    n = level_sigma.size
    mass = _ZERO
    z_below = _ZERO
    for i in range(1, n + 1):
        original = i if i <= m + 1 else i - 1
        fill_mean(a, b, place, original - 1, profile, stamp)
        humid = min(i, n)
        fill_mean(a, b, place, humid - 1, profile, stamp)
        if profile.dryness_stamp[humid - 1] != stamp:
            profile.dryness_stamp[humid - 1] = stamp
            mean = profile.mean[humid - 1]
            if second_half:
                density = end_density(mean)
                theta = mean[layout.TEMPERATURE]
            else:
                density = mean[layout.DENSITY]
                theta = mean[layout.THETA]
            profile.dryness[humid - 1] = _ONE - dilution.specific_humidity(
                density, theta, mean[layout.HUMIDITY]
            )
        density = profile.mean[original - 1, layout.DENSITY]
        if second_half:
            density = end_density(profile.mean[original - 1])
        dry = density * profile.dryness[humid - 1]
        z_above = (_ONE - list_sigma(level_sigma, m, extra, i + 1)) * depth
        if z_above < zv and i < n:
            z = (_ONE - list_sigma(level_sigma, m, extra, i)) * depth
            mass += dry * (z - z_below)
            z_below = z
        else:
            mass += dry * (zv - z_below)
            break
    return mass


@kernel
def end_density(mean):
    """Return the density of dry air [kg m-3] that the end of a step uses."""
    return dilution.dry_density(mean[layout.PRESSURE], mean[layout.HUMIDITY], mean[layout.TEMPERATURE])


@kernel
def disperse(
    kind,
    state,
    spare,
    a,
    b,
    place,
    levels,
    profile,
    stamp,
    second_half,
    zi,
    depth,
    zv,
    tlfrac,
    time_sign,
    half,
    x,
    y,
    sigma,
    ratio,
):
    """
    Carry one particle through half a step.

    Parameters
    ----------
    kind, state, spare
        Stream of random numbers.
    a, b, place, levels, profile, stamp
        Meteorology at the particle.
    second_half : bool
        Whether ``profile`` belongs to the end of the step.
    zi, depth, zv : float32
        Mixed-layer depth, depth of the coordinate and dilution height [m].
    tlfrac : float32
        Largest sub-step as a fraction of TL [1].
    time_sign : float32
        -1 backward, +1 forward.
    half : float32
        Length of the half step [min].
    x, y : float
        Grid coordinates.
    sigma : float32
        Height [1].
    ratio : float32
        Vertical velocity over sigma_w [1].

    Returns
    -------
    x, y, sigma, ratio
        Carried on.
    minutes, influence : float32
        Time below the dilution height [min] and its sensitivity [ppm / (umol m-2 s-1)].
    sigma_w, tl : float32
        Turbulence of the last sub-step.
    layer : int
        1-based entry of the level list the particle ends in.
    """
    level_sigma = levels.sigma
    n = level_sigma.size
    sigma_v = _ONE - zv / depth
    m = level_above_mixed_layer(level_sigma, zi, depth)
    extra = level_sigma[m - 1] - _ABOVE * (level_sigma[m - 1] - level_sigma[m])

    layer = 1
    while layer < n and list_sigma(level_sigma, m, extra, layer + 1) > sigma:
        layer += 1
    original = layer if layer <= m + 1 else layer - 1
    fill_turbulence(a, b, place, original - 1, level_sigma, levels.top, zi, n, profile, stamp)
    sigma_w = profile.turbulence[original - 1, 0]
    tl = profile.turbulence[original - 1, 1]
    last_sigma_w = sigma_w
    last_tl = tl
    w = sigma_w * ratio
    low = list_sigma(level_sigma, m, extra, layer)
    high = list_sigma(level_sigma, m, extra, layer + 1)

    minutes = _ZERO
    influence = _ZERO
    mass = F(-1.0)
    elapsed = _ZERO
    while elapsed < half:
        last_sigma_w = sigma_w
        last_tl = tl
        step = min(tlfrac * tl / _60, half - elapsed)
        memory = math.exp(-_60 * step / tl)
        w = memory * w + math.sqrt(_ONE - memory * memory) * sigma_w * rng.normal(kind, state, spare)
        speed = abs(w)
        upward = w > _ZERO
        if upward:
            distance = abs(sigma - high) * depth / _60
        elif layer == 1:
            distance = abs(_ONE - sigma) * depth / _60
        else:
            distance = abs(sigma - low) * depth / _60
        if distance >= step * speed:
            sigma = sigma - w * _60 * step / depth
        elif not upward and layer == 1:
            step = distance / speed
            w = -w
            sigma = _ONE
        elif upward and layer == n:
            step = distance / speed
            w = -w
            sigma = high
        else:
            step = distance / speed
            new_layer = layer + 1 if upward else layer - 1
            new_original = new_layer if new_layer <= m + 1 else new_layer - 1
            fill_turbulence(a, b, place, new_original - 1, level_sigma, levels.top, zi, n, profile, stamp)
            fill_mean(a, b, place, original - 1, profile, stamp)
            fill_mean(a, b, place, new_original - 1, profile, stamp)
            if second_half:
                density_here = end_density(profile.mean[original - 1])
                density_there = end_density(profile.mean[new_original - 1])
            else:
                density_here = profile.mean[original - 1, layout.DENSITY]
                density_there = profile.mean[new_original - 1, layout.DENSITY]
            new_sigma_w = profile.turbulence[new_original - 1, 0]
            sigma = high if upward else low
            if rng.uniform(kind, state) <= density_there * new_sigma_w / (density_here * sigma_w):
                w = w * new_sigma_w / sigma_w
                layer = new_layer
                original = new_original
                sigma_w = new_sigma_w
                tl = profile.turbulence[original - 1, 1]
                low = list_sigma(level_sigma, m, extra, layer)
                high = list_sigma(level_sigma, m, extra, layer + 1)
            else:
                w = -w
        fill_mean(a, b, place, original - 1, profile, stamp)
        here = sigma
        if here > level_sigma[0]:
            no_slip = (_ONE - here) / (_ONE - low)
            u = profile.mean[original - 1, layout.U] * no_slip
            v = profile.mean[original - 1, layout.V] * no_slip
        else:
            upper = layer + 1 if layer + 1 <= m + 1 else layer
            fill_mean(a, b, place, upper - 1, profile, stamp)
            part = (here - low) / (high - low)
            u = profile.mean[original - 1, layout.U]
            v = profile.mean[original - 1, layout.V]
            u = (profile.mean[upper - 1, layout.U] - u) * part + u
            v = (profile.mean[upper - 1, layout.V] - v) * part + v
        x = x + u * time_sign * step
        y = y + v * time_sign * step
        if here > sigma_v:
            if mass < _ZERO:
                mass = dilution_column(
                    a, b, place, profile, stamp, level_sigma, m, extra, depth, zv, second_half
                )
            minutes += step
            influence += dilution.surface_influence(step, mass)
        elapsed += step
    return x, y, sigma, w / sigma_w, minutes, influence, last_sigma_w, last_tl, layer
