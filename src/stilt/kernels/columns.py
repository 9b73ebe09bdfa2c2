"""
Prepare a tile of met columns for the particles: remap, stability, mixed layer, turbulence.

The work is per grid column and analysis time, once, whatever the number of
receptors; the result is one row per column as :mod:`stilt.kernels.layout` draws it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from stilt.kernels import layout, stability, vertical
from stilt.kernels.compiler import kernel
from stilt.kernels.turbulence import hanna_profiles, prescribed_variance, rescale_profiles

F = np.float32
_ZERO, _ONE, _HALF, _60 = F(0.0), F(1.0), F(0.5), F(60.0)
_MORE_AT_NIGHT = F(1.4)

# rows of the upper-air input
TEMP, UWND, VWND, WWND, MOISTURE, HGTS, PRES, TKEN = 0, 1, 2, 3, 4, 5, 6, 7
N_UPPER = 8
# rows of the surface input
PRSS, T02M, U10M, V10M, SHGT, RGHS, M1, M2, H1, PBLH, SHTF, WHTF, TCLD, LCLD, RAIN, CRAI = range(16)
N_SURFACE = 16

_ABREAST = 16
"""Columns whose levels are gathered together."""


class Recipe(NamedTuple):
    """What the file holds and how columns are made of it."""

    flag: int
    """Vertical coordinate of the file."""
    offset: np.float32
    """Pressure offset of sigma levels [hPa]."""
    moisture: int
    motion: int
    momentum: int
    heat: int
    kbls: int
    kmixd: int
    kmix0: np.float32
    ziscale: np.float32
    kzmix: int
    tvmix: np.float32
    tl_stable: np.float32
    """Prescribed time scale of stable columns [s], 0 where the scheme gives it."""
    tl_unstable: np.float32
    more_at_night: bool
    """Whether prescribed time scales come with 1.4 times the variance in stable columns."""


@kernel
def prepare_columns(recipe, heights, levels, upper, surface, gx, gy, box, row_stride, out):
    """
    Fill one row per column of a box, such as a tile.

    Parameters
    ----------
    recipe : Recipe
        What the file holds and how columns are made of it.
    heights : ndarray of float32, shape (n_data,)
        Header heights of the upper levels, from the ground up.
    levels : Levels
        Internal levels.
    upper : tuple of 8 ndarray of float32, shape (n_data, ny, nx)
        TEMP [K], UWND, VWND [m s-1], WWND, moisture, HGTS [m], PRES [hPa], TKEN [m2 s-2]; of size 0 where
        absent.
    surface : ndarray of float32, shape (16, ny, nx)
        Surface fields in the order of this module's names; NaN where absent.
    gx, gy : ndarray of float32, shape (ny, nx)
        Grid spacing [m].
    box : tuple of int
        x0, x1, y0, y1 of the columns wanted among those given, zero-based, ends not included.
    row_stride : int
        Rows of ``out`` from one row of columns to the next, at least ``x1 - x0``.
    out : ndarray of float32, shape (n_rows, row_length)
        Filled; the row of column (y0 + j, x0 + i) is ``j * row_stride + i``.

    Returns
    -------
    int
        -1, or the first column that cannot be used, as ``j * nx + i`` of the fields given: something that the
        recipe counts on is no number there.
    """
    unusable = -1
    n_data = heights.size
    n_levels = levels.sigma.size
    x0, x1, y0, y1 = box
    ks = levels.surface_index
    profiles = np.full((_ABREAST, N_UPPER, n_data), np.float32(np.nan), dtype=np.float32)
    column = np.empty((vertical.PROFILE_ROWS, n_levels), dtype=np.float32)
    z = np.empty(n_levels, dtype=np.float32)
    sigma_w = np.empty(n_levels, dtype=np.float32)
    tl_w = np.empty(n_levels, dtype=np.float32)
    variance_w = np.zeros(n_levels, dtype=np.float32)
    variance_h = np.empty(n_levels, dtype=np.float32)
    for j in range(y0, y1):
        for i in range(x0, x1):
            # neighbours share the lines of memory that one column's levels are scattered over
            if (i - x0) % _ABREAST == 0:
                for v in range(N_UPPER):
                    field = upper[v]
                    if field.size:
                        for k in range(n_data):
                            for n in range(min(_ABREAST, x1 - i)):
                                profiles[n, v, k] = field[k, j, i + n]
            profile = profiles[(i - x0) % _ABREAST]
            terrain = surface[SHGT, j, i]
            roughness = surface[RGHS, j, i]
            depth = levels.top - terrain
            first_data, ground_density = vertical.remap_column(
                recipe.flag,
                heights,
                recipe.offset,
                recipe.moisture,
                recipe.motion,
                profile,
                surface[PRSS, j, i],
                surface[T02M, j, i],
                surface[U10M, j, i],
                surface[V10M, j, i],
                terrain,
                roughness,
                levels.sigma,
                levels.top,
                column,
            )
            for k in range(n_levels):
                z[k] = (_ONE - levels.sigma[k]) * depth
            temperature, u, v_ = column[0], column[1], column[2]
            w, humidity, density = column[3], column[4], column[5]
            pressure, theta = column[6], column[7]

            is_usable = True
            kd = min(n_levels, max(2, max(ks, first_data)))
            if (
                recipe.kbls == 1
                and recipe.momentum != stability.FROM_PROFILE
                and recipe.heat != stability.NO_HEAT
            ):
                is_usable = not math.isnan(surface[H1, j, i] + surface[M1, j, i])
                ustar, tstar = stability.surface_scales_from_flux(
                    recipe.momentum,
                    recipe.heat,
                    surface[M1, j, i],
                    surface[M2, j, i],
                    surface[H1, j, i],
                    density[kd - 1],
                    u[kd - 1],
                    v_[kd - 1],
                    density[ks - 1],
                )
            else:
                ustar, tstar = stability.surface_scales_from_profile(u, v_, theta, z, kd, ks, roughness)
            zeta = stability.stability_parameter(ustar, tstar, z[ks - 1], theta[ks - 1])
            obukhov = z[ks - 1] / zeta
            zi = stability.pbl_depth(
                recipe.kmixd,
                recipe.ziscale,
                recipe.kmix0,
                surface[PBLH, j, i],
                u,
                v_,
                theta,
                density,
                column[vertical.TKE_],
                z,
                ustar,
                tstar,
                zeta,
                ks,
            )
            wstar = stability.convective_velocity(ustar, tstar, zeta, zi, theta[ks - 1])
            hanna_profiles(u, v_, theta, z, zi, obukhov, ustar, tstar, wstar, roughness, sigma_w, tl_w)
            time_scale = recipe.tl_stable if obukhov >= _ZERO else recipe.tl_unstable
            for k in range(n_levels):
                variance_h[k] = _HALF * sigma_w[k] * sigma_w[k]
            rescale_profiles(recipe.kzmix, recipe.tvmix, z, zi, sigma_w, tl_w)
            if time_scale > _ZERO:
                prescribed_variance(z, zi, sigma_w, time_scale, variance_w)
                if recipe.more_at_night and obukhov >= _ZERO:
                    for k in range(n_levels):
                        variance_w[k] = _MORE_AT_NIGHT * variance_w[k]

            row = out[(j - y0) * row_stride + i - x0]
            to_cells_x = _60 / gx[j, i]
            to_cells_y = _60 / gy[j, i]
            nothing = _ZERO * zi
            for k in range(n_levels):
                # zero, unless one of them is no number
                nothing += _ZERO * (u[k] + v_[k] + density[k] + sigma_w[k] + tl_w[k])
                at = k * layout.PER_LEVEL
                row[at + layout.U] = u[k] * to_cells_x
                row[at + layout.V] = v_[k] * to_cells_y
                row[at + layout.W] = w[k] * _60
                row[at + layout.DENSITY] = density[k]
                row[at + layout.TEMPERATURE] = temperature[k]
                row[at + layout.PRESSURE] = pressure[k]
                row[at + layout.HUMIDITY] = min(_ONE, max(_ZERO, humidity[k]))
                row[at + layout.THETA] = theta[k]
                row[at + layout.SIGMA_W] = sigma_w[k]
                row[at + layout.TL_W] = tl_w[k]
                row[at + layout.VARIANCE_H] = variance_h[k]
                row[at + layout.VARIANCE_W] = variance_w[k]
            at = n_levels * layout.PER_LEVEL
            row[at + layout.ZI] = zi
            row[at + layout.TERRAIN] = terrain
            row[at + layout.GX] = gx[j, i]
            row[at + layout.GY] = gy[j, i]
            row[at + layout.SHTF] = _or_else(surface[SHTF, j, i], _ZERO)
            row[at + layout.WHTF] = _or_else(surface[WHTF, j, i], _ZERO)
            row[at + layout.TCLD] = _or_else(surface[TCLD, j, i], layout.NO_CLOUD_COVER)
            row[at + layout.LCLD] = _or_else(surface[LCLD, j, i], layout.MISSING)
            row[at + layout.RAIN] = _or_else(surface[RAIN, j, i], layout.MISSING)
            row[at + layout.CRAI] = _or_else(surface[CRAI, j, i], _ZERO)
            row[at + layout.GROUND_DENSITY] = ground_density
            row[at + layout.TL_COLUMN] = time_scale
            if unusable < 0 and not (is_usable and nothing == _ZERO):
                unusable = j * gx.shape[1] + i
    return unusable


@kernel(allocates=False)
def _or_else(value, other):
    return other if math.isnan(value) else value
