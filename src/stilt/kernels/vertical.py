r"""
Vertical coordinate of the engine, and meteorology brought onto it.

Levels follow the terrain: a height :math:`z` above ground at terrain height
:math:`h` has :math:`\sigma = 1 - z / (Z - h)`, with :math:`Z` at least 25 km.
Level :math:`k = 1, 2, \ldots` lies at :math:`\sigma_k = 1 - (a k^2 + b k + c)/Z`,
so levels are fine near the ground and the index of a height is the root of a
quadratic.

Profiles of a met file are first turned into points in height (a bottom point at
the ground, then one per data level) and then interpolated linearly in height,
pressure in its logarithm. All arithmetic is float32, like the program whose
numbers this reproduces.
"""

from __future__ import annotations

import math

import numpy as np

from stilt.constants import EPSILON, GRAVITY, POISSON, R_DRY, REFERENCE_PRESSURE
from stilt.kernels.compiler import kernel

F = np.float32
_ZERO, _ONE, _HALF, _TWO, _FOUR = F(0.0), F(1.0), F(0.5), F(2.0), F(4.0)
_G = F(GRAVITY)
_R = F(R_DRY)
_KAPPA = F(POISSON)
_P_REF = F(REFERENCE_PRESSURE)
_EPS = F(EPSILON)
_061 = F(0.61)
_100 = F(100.0)
_60 = F(60.0)
_ES_A, _ES_B = F(21.4), F(5351.0)
_P_SEA = F(1013.0)
_TERRAIN_TOP = F(20000.0)

SIGMA_LEVELS, PRESSURE_LEVELS, TERRAIN_LEVELS, HYBRID_LEVELS = 1, 2, 3, 4
"""Vertical coordinate flags of the ARL header."""

NO_MOISTURE, RELATIVE_HUMIDITY, SPECIFIC_HUMIDITY = 0, 1, 2
"""Which moisture variable the file has."""

OMEGA, VERTICAL_VELOCITY, NO_MOTION = 0, 1, 2
"""Which vertical motion is used: the file's in hPa s-1 or m s-1, or none (``w_option: 4``)."""

# rows of a profile array
T_, U_, V_, W_, RH_, TV_, P_, Z_, TKE_ = 0, 1, 2, 3, 4, 5, 6, 7, 8
PROFILE_ROWS = 9


@kernel(allocates=False)
def index_of_sigma(sigma, a, b, c, top, n_levels):
    """
    Find the fractional level index of a sigma.

    Parameters
    ----------
    sigma : float
        Terrain-following height [1]; values above 1 (below ground) count as 1.
    a, b, c : float32
        Coefficients of the level heights [m].
    top : float32
        Height of the coordinate's top [m].
    n_levels : int
        Number of levels; the index is at most this.

    Returns
    -------
    float
        1 on the first level, below 1 between the ground and the first level.
    """
    height = top * (_ONE - min(_ONE, sigma))
    discriminant = b * b - _FOUR * a * (c - height)
    if discriminant < _ZERO:
        return _ONE + _ZERO * height
    index = (-b + math.sqrt(discriminant)) / (_TWO * a)
    return min(max(index, _ZERO), F(n_levels))


@kernel(allocates=False)
def saturation_pressure(temperature):
    """Return saturation vapour pressure [hPa] at a temperature [K]: exp(21.4 - 5351/T)."""
    return math.exp(_ES_A - _ES_B / temperature)


@kernel(allocates=False)
def moisture_at(kind, moisture, temperature, pressure, temperature_of_saturation):
    """
    Turn a file's moisture into relative humidity and virtual temperature.

    Parameters
    ----------
    kind : int
        Which moisture variable it is.
    moisture : float32
        Specific humidity [kg kg-1] or relative humidity [percent]; NaN counts as dry.
    temperature, pressure : float32
        Of the same point [K], [hPa].
    temperature_of_saturation : float32
        Where specific humidity is compared with saturation [K].

    Returns
    -------
    relative_humidity, virtual_temperature : float32
        [fraction], [K].
    """
    if kind == NO_MOISTURE or math.isnan(moisture):
        return _ZERO, temperature
    if kind == SPECIFIC_HUMIDITY:
        rh = moisture * pressure / (_EPS * saturation_pressure(temperature_of_saturation))
        return rh, temperature * (_ONE + _061 * moisture)
    rh = moisture / _100
    mixing = _061 * _EPS * saturation_pressure(temperature) * rh / pressure
    return rh, temperature * (_ONE + mixing)


@kernel(allocates=False)
def data_level_pressure(flag, height, offset, surface_pressure, pressure_field):
    """Return the pressure [hPa] of a data level; a PRES field (not NaN) goes before the header's height."""
    if flag == PRESSURE_LEVELS:
        return height
    if not math.isnan(pressure_field):
        return pressure_field
    if flag == SIGMA_LEVELS:
        return height * (surface_pressure - offset) + offset
    if flag == HYBRID_LEVELS:
        whole = F(int(height))
        return whole + surface_pressure * (height - whole)
    return F(np.nan)


@kernel(allocates=False)
def missing_surface_pressure(flag, first_height, first_hgts, first_temperature, terrain):
    """Estimate the logarithm of surface pressure [hPa] hydrostatically where the file has none."""
    if flag == PRESSURE_LEVELS and not math.isnan(first_hgts):
        return math.log(first_height) + (first_hgts - terrain) * _G / _R / first_temperature
    return math.log(_P_SEA) - terrain * _G / _R / first_temperature


@kernel(allocates=False)
def remap_column(
    flag,
    heights,
    offset,
    moisture_kind,
    motion_kind,
    profile,
    surface_pressure,
    surface_temperature,
    surface_u,
    surface_v,
    terrain,
    roughness,
    level_sigma,
    top,
    out,
):
    """
    Interpolate one column of a met file to the internal levels.

    Parameters
    ----------
    flag : int
        Vertical coordinate of the file.
    heights : ndarray of float32, shape (n_data,)
        Header heights of the upper levels.
    offset : float32
        Pressure offset of sigma levels [hPa].
    moisture_kind, motion_kind : int
        Which moisture and vertical-motion variables the file has.
    profile : ndarray of float32, shape (8, n_data)
        T [K], U, V [m s-1], vertical motion, moisture, HGTS [m], PRES [hPa], TKE [m2 s-2] of each data
        level; NaN where the file has none.
    surface_pressure, surface_temperature, surface_u, surface_v : float32
        At the ground [hPa], [K], [m s-1]; NaN where the file has none.
    terrain, roughness : float32
        Terrain height [m MSL], roughness length [m].
    level_sigma : ndarray of float32, shape (n_levels,)
        Internal levels.
    top : float32
        Height of the coordinate's top [m].
    out : ndarray of float32, shape (9, n_levels)
        Filled with T [K], U, V [m s-1], W [sigma s-1], RH [fraction], density [kg m-3], P [hPa], theta [K],
        TKE [m2 s-2].

    Returns
    -------
    first_data_level : int
        1-based index of the first internal level that rests on measured surface data.
    ground_density : float32
        Density at the ground, of surface pressure and temperature alone [kg m-3].
    """
    n_data = heights.size
    n_levels = level_sigma.size
    depth = top - terrain
    t1, u1, v1 = profile[0, 0], profile[1, 0], profile[2, 0]

    p0 = surface_pressure
    if math.isnan(p0):
        logp0 = missing_surface_pressure(flag, heights[0], profile[5, 0], t1, terrain)
        p0 = math.exp(logp0)
    else:
        logp0 = math.log(p0)

    # pressure levels below the first internal level, most of them under ground, are passed over
    first = 0
    if flag == PRESSURE_LEVELS:
        z_first = (_ONE - level_sigma[0]) * depth
        while first < n_data - 1 and profile[5, first] - terrain < z_first:
            first += 1
    # what stands in for missing surface data is the file's first level, even one below ground
    p1 = data_level_pressure(flag, heights[0], offset, p0, profile[6, 0])

    t0 = surface_temperature
    has_surface_temperature = not math.isnan(t0)
    if not has_surface_temperature:
        ratio = p1 / p0
        if flag == SIGMA_LEVELS:
            # by the header's number, also where the file has the pressure itself
            ratio = heights[0] + offset * (_ONE - heights[0]) / p0
        t0 = t1 * ratio ** (-_KAPPA)

    # moisture at the ground is that of the file's first level, even where that lies below ground
    rh_bottom, tv_bottom = moisture_at(moisture_kind, profile[4, 0], t0, p0, profile[0, 0])

    z_bottom, w_bottom = _ZERO, _ZERO
    tke_bottom = profile[7, 0]
    t_bottom, p_bottom, logp_bottom = t0, p0, logp0
    u_bottom, v_bottom = surface_u, surface_v
    has_surface_wind = not (math.isnan(u_bottom) or math.isnan(v_bottom))

    k = 0
    first_data_level = 1
    rh_last = rh_bottom
    for level in range(first, n_data):
        p = data_level_pressure(flag, heights[level], offset, p0, profile[6, level])
        t = profile[0, level]
        rh, tv = moisture_at(moisture_kind, profile[4, level], t, p, t)
        logp = math.log(p)
        if flag == PRESSURE_LEVELS:
            z = profile[5, level] - terrain
            thickness = z - z_bottom
        elif flag == TERRAIN_LEVELS:
            z = heights[level] * (_ONE - terrain / _TERRAIN_TOP)
            thickness = z - z_bottom
        else:
            thickness = (logp_bottom - logp) * _R * _HALF * (tv_bottom + tv) / _G
            z = z_bottom + thickness
        u, v = profile[1, level], profile[2, level]
        w = profile[3, level]
        if math.isnan(w):
            w = _ZERO
        if level == first and not has_surface_wind:
            z_first = (_ONE - level_sigma[0]) * depth
            if first == 0 and z_first < z:
                here, there = math.log(z_first / roughness), math.log(z / roughness)
                u_bottom, v_bottom = u1 * here / there, v1 * here / there
            else:
                u_bottom, v_bottom = u1, v1
        while k < n_levels:
            z_k = (_ONE - level_sigma[k]) * depth
            if z_k > z:
                break
            fraction = (z_k - z_bottom) / thickness
            out[T_, k] = (t - t_bottom) * fraction + t_bottom
            out[U_, k] = (u - u_bottom) * fraction + u_bottom
            out[V_, k] = (v - v_bottom) * fraction + v_bottom
            out[W_, k] = (w - w_bottom) * fraction + w_bottom
            out[RH_, k] = (rh - rh_bottom) * fraction + rh_bottom
            out[TKE_, k] = (profile[7, level] - tke_bottom) * fraction + tke_bottom
            tv_k = (tv - tv_bottom) * fraction + tv_bottom
            if flag == TERRAIN_LEVELS:
                p_k = (p - p_bottom) * fraction + p_bottom
            else:
                p_k = math.exp((logp - logp_bottom) * fraction + logp_bottom)
            out[P_, k] = p_k
            density = _100 * p_k / (_R * tv_k)
            out[5, k] = density
            out[7, k] = out[T_, k] * (_P_REF / p_k) ** _KAPPA
            if motion_kind == NO_MOTION:
                out[W_, k] = _ZERO
            elif motion_kind == OMEGA:
                out[W_, k] = _100 * out[W_, k] / (density * _G * depth)
            else:
                out[W_, k] = -out[W_, k] / depth
            if level == first and not has_surface_temperature:
                first_data_level = k + 2
            k += 1
        z_bottom, t_bottom, u_bottom, v_bottom, w_bottom = z, t, u, v, w
        tke_bottom = profile[7, level]
        rh_bottom, tv_bottom, p_bottom, logp_bottom = rh, tv, p, logp
        rh_last = rh
        if k == n_levels:
            break

    while k < n_levels:
        if k == 0:
            # a file whose levels all lie below the first internal level: hold the bottom point
            out[T_, 0], out[U_, 0], out[V_, 0], out[W_, 0] = t_bottom, u_bottom, v_bottom, _ZERO
            out[RH_, 0], out[P_, 0] = rh_bottom, math.exp(logp_bottom)
            out[5, 0] = _100 * out[P_, 0] / (_R * tv_bottom)
            out[7, 0] = t_bottom * (_P_REF / out[P_, 0]) ** _KAPPA
            out[TKE_, 0] = tke_bottom
            k = 1
            continue
        out[T_, k], out[U_, k], out[V_, k] = out[T_, k - 1], out[U_, k - 1], out[V_, k - 1]
        out[7, k] = out[7, k - 1]
        out[TKE_, k] = out[TKE_, k - 1]
        out[W_, k] = out[W_, k - 1] * _HALF
        out[RH_, k] = rh_last if flag in (SIGMA_LEVELS, HYBRID_LEVELS) else out[RH_, k - 1]
        dz = (level_sigma[k - 1] - level_sigma[k]) * depth
        p_k = out[P_, k - 1] - out[5, k - 1] * _G * dz / _100
        out[P_, k] = p_k
        out[5, k] = _100 * p_k / (_R * out[T_, k])
        k += 1
    return first_data_level, _100 * p0 / (_R * t0)
