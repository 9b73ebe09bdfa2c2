r"""
Dilution of the surface influence near the receptor.

HYSPLIT mixes a surface flux at once through half the mixed layer. In the first
minutes that is too deep: the air the receptor samples has met only as much of
the layer as its plume has grown into. The correction replaces the dilution depth
by the height of that plume for as long as the plume is the shallower of the two.
"""

from __future__ import annotations

import math

import numpy as np

from stilt.constants import MOLAR_MASS_DRY_AIR_STILT_R
from stilt.kernels.compiler import kernel


@kernel
def plume_growth(age, samt, sigma_w, tl_w):
    r"""
    Return what one output step adds to the height of the plume [m].

    Parameters
    ----------
    age : float
        Time since release [s], positive in both run directions.
    samt : float
        Time spent below the dilution depth in the step [min].
    sigma_w : float
        Standard deviation of the vertical velocity [m s-1].
    tl_w : float
        Lagrangian time scale of the vertical velocity [s].

    Returns
    -------
    float
        Growth [m]; 0 where the radicand is not positive.

    Notes
    -----
    .. math:: s \sqrt{2} \sigma_w \sqrt{T_L a + T_L^2 e^{-a/T_L} - 1}

    as STILT-R has it: Taylor's (1921) formula has :math:`T_L^2 (e^{-a/T_L} - 1)`, the minutes enter as a
    plain weight, and the growth is summed although the formula already is a total. STILT-R turns a
    negative radicand into a missing value that spoils the rest of the particle; here it adds nothing.
    """
    if not (tl_w > 0.0):
        return 0.0
    radicand = tl_w * age + tl_w * tl_w * math.exp(-age / tl_w) - 1.0
    if not (radicand > 0.0):
        return 0.0
    growth = samt * math.sqrt(2.0) * sigma_w * math.sqrt(radicand)
    return growth if growth > 0.0 else 0.0


@kernel
def plume_spread(age, sigma_w, tl_w):
    r"""
    Return the spread of a plume by Taylor's formula [m].

    Parameters
    ----------
    age : float
        Time since release [s], positive in both run directions.
    sigma_w : float
        Standard deviation of the vertical velocity [m s-1].
    tl_w : float
        Lagrangian time scale of the vertical velocity [s].

    Returns
    -------
    float
        Standard deviation of height [m]; 0 where the time scale is not positive.

    Notes
    -----
    .. math:: \sqrt{2} \sigma_w \sqrt{T_L a + T_L^2 (e^{-a/T_L} - 1)}

    Taylor (1921): :math:`\sigma_w a` while the plume is young, growing with the square root of time later.
    """
    if not (tl_w > 0.0):
        return 0.0
    radicand = tl_w * age + tl_w * tl_w * math.expm1(-age / tl_w)
    return math.sqrt(2.0 * radicand) * sigma_w if radicand > 0.0 else 0.0


@kernel
def dilute_near_field(
    offsets, order, time, samt, sigma_w, tl_w, density, pbl_height, release, veght, is_taylor, foot, out
):
    """
    Fill ``out`` with the surface influence corrected for the shallow plume.

    Parameters
    ----------
    offsets : ndarray of int64, shape (n_particles + 1,)
        Where each particle begins in ``order``.
    order : ndarray of int64, shape (n_rows,)
        Rows by particle and by time since release.
    time : ndarray, shape (n_rows,)
        Minutes from the receptor time, either sign.
    samt, sigma_w, tl_w, density, pbl_height : ndarray, shape (n_rows,)
        Minutes below the dilution depth, [m s-1], [s], [kg m-3], [m AGL].
    release : ndarray, shape (n_rows,)
        Release height of the row's particle [m AGL].
    veght : float
        Dilution depth: a fraction of the mixed layer up to 1, metres above 1.
    is_taylor : bool
        Take the spread of the plume from Taylor's formula instead of summing STILT-R's growth.
    foot, out : ndarray, shape (n_rows,)
        Surface influence before and after [ppm / (umol m-2 s-1)].
    """
    for p in range(offsets.size - 1):
        grown = 0.0
        for k in range(offsets[p], offsets[p + 1]):
            row = order[k]
            age = abs(time[row]) * 60.0
            if is_taylor:
                grown = plume_spread(age, sigma_w[row], tl_w[row])
            else:
                grown += plume_growth(age, samt[row], sigma_w[row], tl_w[row])
            plume = release[row] + grown
            depth = veght if veght > 1.0 else veght * pbl_height[row]
            out[row] = foot[row]
            if plume < depth and density[row] > 0.0:
                diluted = MOLAR_MASS_DRY_AIR_STILT_R / (plume * density[row]) * samt[row] * 60.0
                if plume > 0.0 and not np.isnan(diluted):
                    out[row] = diluted
