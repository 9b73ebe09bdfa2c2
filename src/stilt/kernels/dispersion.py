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
from stilt.kernels.air_mass import grown, growth_at
from stilt.kernels.compiler import kernel
from stilt.kernels.interpolation import fill_mean, fill_turbulence, mean_value

F = np.float32
N = np.uint64
_ZERO, _ONE, _60 = F(0.0), F(1.0), F(60.0)
_10000 = F(10000.0)
_ABOVE = F(0.05)
_TWO = N(2)


@kernel(allocates=False)
def rounded(value):
    """Round to the nearest integer, half away from zero."""
    if value < _ZERO:
        return -int(F(0.5) - value)
    return int(value + F(0.5))


@kernel(allocates=False)
def level_above_mixed_layer(levels, zi, depth, hint):
    """
    Find the 1-based level the extra level is put above: the first at or above zi, to 1e-4 in sigma.

    Parameters
    ----------
    levels : Levels
        Internal levels.
    zi, depth : float32
        Mixed-layer depth and depth of the coordinate [m].
    hint : int
        Where to start looking, such as the answer a minute ago; any level gives the same answer.
    """
    target = rounded(_10000 * (_ONE - zi / depth))
    n = levels.sigma.size
    m = min(max(hint, 1), n - 1)
    while m > 1 and levels.rounded[N(m - 2)] <= target:
        m -= 1
    while m < n - 1 and levels.rounded[N(m - 1)] > target:
        m += 1
    return m


@kernel(allocates=False)
def list_sigma(level_sigma, m, extra, b):
    """Return sigma of entry b (1-based) of the level list with the extra level after entry m."""
    if b == m + 1:
        return extra
    return level_sigma[N(b - 1 if b <= m else b - 2)]


@kernel(allocates=False)
def original_level(m, b):
    """Return the 0-based met level whose values entry b of the level list carries."""
    return b - 1 if b <= m + 1 else b - 2


@kernel(allocates=False)
def end_density(profile, level):
    """Return the density of dry air [kg m-3] that the end of a step uses, at a level (0-based) looked up."""
    return dilution.dry_density(
        mean_value(profile, level, layout.PRESSURE),
        mean_value(profile, level, layout.HUMIDITY),
        mean_value(profile, level, layout.TEMPERATURE),
    )


@kernel(allocates=False)
def density_at(a, b, place, profile, stamp, level, second_half):
    """Return the density [kg m-3] of a level (0-based): moist air at the start of a step, dry at its end."""
    at = N(level) * _TWO
    if profile.density_stamp[level] != stamp:
        profile.density_stamp[level] = stamp
        fill_mean(a, b, place, level, profile, stamp)
        if second_half:
            profile.density[at] = end_density(profile, level)
        else:
            profile.density[at] = mean_value(profile, level, layout.DENSITY)
    return profile.density[at]


@kernel(allocates=False)
def dryness_at(a, b, place, profile, stamp, level, second_half):
    """
    Return 1 minus specific humidity at a level (0-based).

    At the end of a step the program takes ambient for potential temperature and a density that
    is already dry, and so do we.
    """
    at = N(level) * _TWO + N(1)
    if profile.dryness_stamp[level] != stamp:
        profile.dryness_stamp[level] = stamp
        density = density_at(a, b, place, profile, stamp, level, second_half)
        theta = mean_value(profile, level, layout.TEMPERATURE if second_half else layout.THETA)
        humidity = mean_value(profile, level, layout.HUMIDITY)
        profile.density[at] = _ONE - dilution.specific_humidity(density, theta, humidity)
    return profile.density[at]


@kernel(allocates=False)
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
        Whether ``profile`` belongs to the end of the step.
    """
    n = level_sigma.size
    mass = _ZERO
    z_below = _ZERO
    for i in range(1, n + 1):
        # humidity by the number of the entry, density by the level it stands for, as the program has it
        dry = density_at(a, b, place, profile, stamp, original_level(m, i), second_half) * dryness_at(
            a, b, place, profile, stamp, i - 1, second_half
        )
        z_above = (_ONE - list_sigma(level_sigma, m, extra, i + 1)) * depth
        if z_above < zv and i < n:
            z = (_ONE - list_sigma(level_sigma, m, extra, i)) * depth
            mass += dry * (z - z_below)
            z_below = z
        else:
            mass += dry * (zv - z_below)
            break
    return mass


@kernel(allocates=False)
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
    layer,
    m,
    minutes,
    influence,
    air,
    ens,
    p,
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
    layer, m : int
        Where to start looking for the particle's layer and for the extra level; change nothing.
    minutes, influence : float32
        Time below the dilution height [min] and its sensitivity so far: sums of many equal terms, which
        round in one direction, so that it matters where they start.
    air : AirMass or None
        Working memory for the mass of the particle; None where that is not followed.
    ens, p : Ensemble, int
        Holds that mass, and which particle it is.

    Returns
    -------
    x, y, sigma, ratio
        Carried on.
    minutes, influence : float32
        Carried on; sensitivity in [ppm / (umol m-2 s-1)].
    sigma_w, tl : float32
        Turbulence of the last sub-step.
    layer, m : int
        1-based entry of the level list the particle ends in, and of the extra level.
    """
    level_sigma = levels.sigma
    n = level_sigma.size
    sigma_v = _ONE - zv / depth
    m = level_above_mixed_layer(levels, zi, depth, m)
    extra = level_sigma[N(m - 1)] - _ABOVE * (level_sigma[N(m - 1)] - level_sigma[N(m)])

    # the lowest layer whose top is at or below the particle in sigma
    layer = min(max(layer, 1), n)
    while layer > 1 and list_sigma(level_sigma, m, extra, layer) <= sigma:
        layer -= 1
    while layer < n and list_sigma(level_sigma, m, extra, layer + 1) > sigma:
        layer += 1
    original = original_level(m, layer)
    fill_turbulence(a, b, place, original, levels, zi, profile, stamp)
    sigma_w = profile.turbulence[N(original) * _TWO]
    tl = profile.turbulence[N(original) * _TWO + N(1)]
    last_sigma_w = sigma_w
    last_tl = tl
    w = sigma_w * ratio
    low = list_sigma(level_sigma, m, extra, layer)
    high = list_sigma(level_sigma, m, extra, layer + 1)
    # a whole sub-step of a layer always has the same length, memory and rest
    whole = tlfrac * (tl / _60)
    whole_memory = math.exp(-_60 * whole / tl)
    whole_rest = math.sqrt(_ONE - whole_memory * whole_memory)

    mass = F(-1.0)
    elapsed = _ZERO
    while elapsed < half:
        last_sigma_w = sigma_w
        last_tl = tl
        step = half - elapsed
        if whole < step:
            step = whole
            memory = whole_memory
            rest = whole_rest
        else:
            memory = math.exp(-_60 * step / tl)
            rest = math.sqrt(_ONE - memory * memory)
        w = memory * w + rest * (sigma_w * rng.normal(kind, state, spare))
        speed = abs(w)
        upward = w > _ZERO
        if upward:
            distance = abs(sigma - high) * depth / _60
        elif layer == 1:
            distance = abs(_ONE - sigma) * depth / _60
        else:
            distance = abs(sigma - low) * depth / _60
        if distance >= step * speed:
            sigma = sigma - w / depth * step * _60
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
            new_original = original_level(m, new_layer)
            fill_turbulence(a, b, place, new_original, levels, zi, profile, stamp)
            here = density_at(a, b, place, profile, stamp, original, second_half)
            there = density_at(a, b, place, profile, stamp, new_original, second_half)
            new_sigma_w = profile.turbulence[N(new_original) * _TWO]
            sigma = high if upward else low
            if rng.uniform(kind, state) <= there * new_sigma_w / (here * sigma_w):
                w = w * new_sigma_w / sigma_w
                layer = new_layer
                original = new_original
                sigma_w = new_sigma_w
                tl = profile.turbulence[N(original) * _TWO + N(1)]
                low = list_sigma(level_sigma, m, extra, layer)
                high = list_sigma(level_sigma, m, extra, layer + 1)
                whole = tlfrac * (tl / _60)
                whole_memory = math.exp(-_60 * whole / tl)
                whole_rest = math.sqrt(_ONE - whole_memory * whole_memory)
            else:
                w = -w
        fill_mean(a, b, place, original, profile, stamp)
        u = mean_value(profile, original, layout.U)
        v = mean_value(profile, original, layout.V)
        if sigma > level_sigma[0]:
            no_slip = (_ONE - sigma) / (_ONE - low)
            u = u * no_slip
            v = v * no_slip
        else:
            upper = original_level(m, layer + 1)
            fill_mean(a, b, place, upper, profile, stamp)
            part = (sigma - low) / (high - low)
            u = (mean_value(profile, upper, layout.U) - u) * part + u
            v = (mean_value(profile, upper, layout.V) - v) * part + v
        x = x + u * time_sign * step
        y = y + v * time_sign * step
        if sigma > sigma_v:
            if mass < _ZERO:
                # the height comes back from sigma, with its rounding of a millimetre: so the program's does
                mass = dilution_column(
                    a,
                    b,
                    place,
                    profile,
                    stamp,
                    level_sigma,
                    m,
                    extra,
                    depth,
                    (_ONE - sigma_v) * depth,
                    second_half,
                )
            minutes += step
            influence += dilution.surface_influence(step, mass)
        if air is not None:
            # the box below the top of the layer, even where that layer reaches down to the ground
            box = 0 if sigma >= level_sigma[0] else original_level(m, layer + 1)
            rate = growth_at(air, second_half, a, b, place, levels, box, time_sign, stamp)
            ens.mass[p] = grown(ens.mass[p], rate, step)
        elapsed += step
    return x, y, sigma, w / sigma_w, minutes, influence, last_sigma_w, last_tl, layer, m
