r"""
Surface-layer scales and the depth of the mixed layer, one column at a time.

Friction velocity and friction temperature come from the file's surface fluxes
where it has both momentum and heat, else from the wind and temperature profile.
"""

from __future__ import annotations

import math

import numpy as np

from stilt.constants import CP_DRY, GRAVITY, ONE_THIRD_HYSPLIT, VON_KARMAN
from stilt.kernels.compiler import kernel

F = np.float32
_ZERO, _ONE, _HALF, _TWO = F(0.0), F(1.0), F(0.5), F(2.0)
_G, _CP, _K = F(GRAVITY), F(CP_DRY), F(VON_KARMAN)
_THIRD = F(ONE_THIRD_HYSPLIT)
_TINY = F(1.0e-4)
_CRITICAL_RICHARDSON = F(0.25)
_FADED_TKE = F(0.21)

FROM_PROFILE, FROM_USTAR, FROM_STRESS, FROM_EXCHANGE = 0, 1, 2, 3
"""Where the momentum flux comes from."""

NO_HEAT, FROM_HEAT_FLUX, FROM_TSTAR = 0, 1, 2
"""Where the heat flux comes from."""

PBL_FROM_FILE, PBL_FROM_THETA, PBL_FROM_TKE, PBL_FROM_RICHARDSON = 0, 1, 2, 3
"""``kmixd``: how the mixed-layer depth is found."""


@kernel(allocates=False)
def surface_scales_from_flux(momentum, heat, m1, m2, h1, density, wind_u, wind_v, surface_density):
    """
    Turn the file's surface fluxes into friction velocity and friction temperature.

    Parameters
    ----------
    momentum, heat : int
        Which fields the file has.
    m1, m2 : float32
        USTR [m s-1]; or UMOF, VMOF [N m-2]; or EXCO [kg m-2 s-1] (m1).
    h1 : float32
        SHTF, positive upward [W m-2]; or TSTR [K].
    density, wind_u, wind_v : float32
        At the reference level [kg m-3], [m s-1].
    surface_density : float32
        At the top of the surface layer [kg m-3].

    Returns
    -------
    ustar, tstar : float32
        [m s-1], [K]; tstar is negative when the surface heats the air.
    """
    if momentum == FROM_USTAR:
        ustar = max(m1, _TINY)
    elif momentum == FROM_STRESS:
        ux = max(F(0.01), math.sqrt(abs(m1) / density))
        uy = max(F(0.01), math.sqrt(abs(m2) / density))
        ustar = math.sqrt(ux * ux + uy * uy)
    else:
        ux = max(F(0.01), math.sqrt(abs(m1 * wind_u) / density))
        uy = max(F(0.01), math.sqrt(abs(m1 * wind_v) / density))
        ustar = math.sqrt(ux * ux + uy * uy)
    if heat == FROM_TSTAR:
        return ustar, math.copysign(max(_TINY, abs(h1)), h1)
    flux = max(F(-25.0), h1)
    # the sign of a zero flux is that of -0: a flux of exactly 0 W m-2, common at dusk, counts as heating
    return ustar, math.copysign(max(_TINY, abs(flux / (surface_density * _CP * ustar))), -flux)


@kernel(allocates=False)
def integrated_stability(ri, z_surface, roughness):
    """Return z/L [1] from a bulk Richardson number, limited to [-1, 1] by the caller."""
    roughness_for_heat = F(0.1) * roughness
    s = math.log(z_surface / roughness + _ONE)
    t = math.log(z_surface / roughness_for_heat + _ONE)
    # of 10, but for the rounding of the quotient
    v = math.log(roughness / roughness_for_heat)
    if ri > _ZERO and ri < F(0.08):
        root = t * t - F(20.0) * s * t * ri + F(20.0) * s * s * ri
        zeta = (-t + F(10.0) * s * ri + math.sqrt(max(_ZERO, root))) / (F(10.0) * (_ONE - F(5.0) * ri))
    elif ri >= F(0.08):
        zeta = (F(0.005) * s + F(41.2)) * ri * ri + (F(1.185) * s - F(1.5) * v - F(1.37)) * ri
    else:
        zeta = ri * (s * s / t - _HALF)
    return math.copysign(abs(zeta), ri)


@kernel(allocates=False)
def profile_functions(zeta):
    """Return the dimensionless wind and temperature gradients [1] at z/L = zeta."""
    if zeta >= _ZERO:
        e = F(0.66667) * math.exp(F(-0.35) * zeta) * (F(6.0) - F(0.35) * zeta)
        phi_m = _ONE + (_ONE + e) * zeta
        phi_h = F(0.923) * (_ONE + (math.sqrt(_ONE + F(0.66667) * zeta) + e) * zeta)
        return phi_m, phi_h
    phi_m = ((_ONE + F(0.625) * zeta * zeta) / (_ONE - F(7.5) * zeta)) ** _THIRD
    phi_h = F(0.64) * ((F(3.0) - F(2.5) * zeta) / (_ONE - F(10.0) * zeta + F(50.0) * zeta * zeta)) ** _THIRD
    return phi_m, phi_h


@kernel(allocates=False)
def surface_scales_from_profile(u, v, theta, z, kd, ks, roughness):
    """
    Estimate friction velocity and friction temperature from the profile.

    Parameters
    ----------
    u, v, theta, z : ndarray of float32, shape (n_levels,)
        Wind [m s-1], potential temperature [K], height [m AGL].
    kd, ks : int
        1-based indices of the reference level and of the surface-layer top.
    roughness : float32
        Roughness length [m].

    Returns
    -------
    ustar, tstar : float32
        [m s-1], [K].
    """
    dz = z[kd - 1] - z[0]
    dtheta = theta[kd - 1] - theta[0]
    du = u[kd - 1] - u[0]
    dv = v[kd - 1] - v[0]
    shear2 = max(_TINY, du * du + dv * dv)
    # one division after the other, as in hycs_std
    ri = _G * dtheta * dz / (_HALF * (theta[kd - 1] + theta[0])) / shear2
    ratio = z[kd - 1] / z[ks - 1]
    ri = max(-_ONE, min(_ONE, ri / (ratio * ratio)))
    zeta = integrated_stability(ri, z[ks - 1], roughness)
    phi_m, phi_h = profile_functions(zeta)
    ustar = _K * z[ks - 1] * math.sqrt(shear2) / phi_m / dz
    tstar = _K * z[ks - 1] * dtheta / phi_h / dz
    return ustar, tstar


@kernel(allocates=False)
def stability_parameter(ustar, tstar, z_surface, theta_surface):
    """Return z/L [1], kept within [-2, 15] and away from 0."""
    zeta = z_surface * _K * _G * tstar / (ustar * ustar * theta_surface)
    zeta = max(-_TWO, min(F(15.0), zeta))
    if zeta == _ZERO:
        zeta = F(0.001)
    return zeta


@kernel(allocates=False)
def pbl_from_richardson(u, v, theta, density, z, ustar, tstar, zeta, ks):
    r"""
    Find the mixed-layer depth where a bulk Richardson number first reaches 0.25.

    The parcel starts at the first level with a temperature excess from the surface flux
    (Vogelezang and Holtslag 1996 with the excess of Troen and Mahrt 1986):

    .. math:: T_e = 8.5\, u_* \theta_* / (u_*^3 + 0.6 w_*^3)^{1/3}

    Parameters
    ----------
    u, v, theta, density, z : ndarray of float32, shape (n_levels,)
        Wind [m s-1], potential temperature [K], density [kg m-3], height [m AGL].
    ustar, tstar, zeta : float32
        Surface scales.
    ks : int
        1-based index of the surface-layer top.

    Returns
    -------
    float32
        Depth [m AGL].
    """
    n = z.size
    ri_old = _ZERO
    depth = z[n - 2]
    for k in range(1, n):
        dz = z[k] - z[0]
        excess = _ZERO
        if zeta < _ZERO:
            tstar_k = tstar * density[ks - 1] / density[k]
            wstar = abs(_G * ustar * tstar_k * z[k] / theta[0]) ** _THIRD
            scale = abs(ustar * ustar * ustar + F(0.6) * wstar * wstar * wstar)
            excess = abs(F(8.5) * ustar * tstar_k / scale**_THIRD)
        du = u[k] - u[0]
        dv = v[k] - v[0]
        warm = theta[0] + excess
        # the order of these operations is that of hycs_std: small differences of large numbers
        ri = _G * (theta[k] - warm) * dz / warm / max(_TINY, du * du + dv * dv)
        if ri != ri_old:
            depth = z[k - 1] + (_CRITICAL_RICHARDSON - ri_old) * ((z[k] - z[k - 1]) / (ri - ri_old))
        if ri >= _CRITICAL_RICHARDSON:
            break
        ri_old = ri
    return min(depth, z[n - 2])


@kernel(allocates=False)
def pbl_from_theta(theta, z):
    """Return the height [m AGL] of the highest level within 2 K of the column's lowest theta."""
    coldest = theta[0]
    for k in range(1, theta.size):
        coldest = min(coldest, theta[k])
    for k in range(theta.size - 1, -1, -1):
        if theta[k] <= coldest + _TWO:
            return z[k]
    return z[0]


@kernel(allocates=False)
def pbl_from_tke(tke, z):
    """Return the height [m AGL] below which TKE [m2 s-2] halves from one level to the next or fades out."""
    for k in range(1, z.size):
        if tke[k] <= _FADED_TKE or tke[k] < _HALF * tke[k - 1]:
            return z[k - 1]
    return z[z.size - 1]


@kernel(allocates=False)
def pbl_depth(method, scale, shallowest, file_depth, u, v, theta, density, tke, z, ustar, tstar, zeta, ks):
    """
    Return the mixed-layer depth [m AGL], scaled and bounded.

    Parameters
    ----------
    method : int
        ``kmixd``; 10 and above is the depth itself [m].
    scale : float32
        ``ziscale`` at this analysis time; negative takes the file's own depth.
    shallowest : float32
        ``kmix0`` [m].
    file_depth : float32
        PBL height of the file [m AGL], NaN where it has none.
    tke : ndarray of float32, shape (n_levels,)
        Turbulent kinetic energy [m2 s-2], NaN where the file has none.
    u, v, theta, density, z, ustar, tstar, zeta, ks
        As in :func:`pbl_from_richardson`.
    """
    if scale < _ZERO and not math.isnan(file_depth):
        depth = file_depth
    elif method >= 10:
        depth = F(method)
    elif method == PBL_FROM_FILE and not math.isnan(file_depth):
        depth = file_depth
    elif method == PBL_FROM_TKE and not math.isnan(tke[0]):
        depth = pbl_from_tke(tke, z)
    elif method == PBL_FROM_RICHARDSON:
        depth = pbl_from_richardson(u, v, theta, density, z, ustar, tstar, zeta, ks)
    else:
        depth = pbl_from_theta(theta, z)
    if scale >= _ZERO:
        depth = depth * scale
    # kmix0 acts after the factor
    return max(depth, max(shallowest, z[0] + (z[1] - z[0]) / F(1000.0)))


@kernel(allocates=False)
def convective_velocity(ustar, tstar, zeta, zi, theta_surface):
    """Return w* [m s-1], 0 in stable air."""
    if zeta >= _ZERO:
        return _ZERO
    return abs(_G * ustar * tstar * zi / theta_surface) ** _THIRD
