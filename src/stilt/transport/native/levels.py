"""The internal vertical grid, chosen for a file's levels and the requested model top."""

from __future__ import annotations

import math

import numpy as np

from stilt.constants import MIN_SIGMA_TOP
from stilt.kernels.layout import Levels
from stilt.meteorology.vertical import HYBRID, PRESSURE, SIGMA, VerticalLevels

_COEFFICIENTS = (
    (30.0, -25.0, 5.0),
    (20.0, -15.0, 5.0),
    (15.0, -5.0, 0.0),
    (10.0, -10.0, 10.0),
    (5.0, 5.0, 0.0),
)
"""Level k lies at a k^2 + b k + c metres; from coarse to fine."""

_METRES_PER_HPA = (17.98, 14.73, 13.09, 11.98, 11.15, 10.52, 10.04, 9.75, 9.88)
"""Mean height per pressure below sea-level pressure [m hPa-1], for p of 100-199, 200-299, ... hPa."""

_METRES_PER_HPA_HIGH = (31.37, 27.02, 24.59, 22.92, 21.65, 20.66, 19.83, 19.13, 18.51)
"""The same for p of 10-19, 20-29, ... hPa."""

_SEA_LEVEL_PRESSURE = 1013.0
_SURFACE_LAYER = 75.0
"""Depth of the surface layer [m]."""


def _level_below(height: float, a: float, b: float, c: float) -> int:
    return int((-b + math.sqrt(b * b - 4.0 * a * (c - height))) / (2.0 * a))


def estimated_height(levels: VerticalLevels, index: int) -> float:
    """
    Estimate the height of a data level from its header number alone.

    Parameters
    ----------
    levels : VerticalLevels
        Levels of the file, the surface first.
    index : int
        Which level, 0 for the surface.

    Returns
    -------
    float
        Height [m]; the standard atmosphere serves where the header gives pressure or sigma.
    """
    number = levels.heights[index]
    if levels.flag == SIGMA:
        pressure = levels.offset + (_SEA_LEVEL_PRESSURE - levels.offset) * number
    elif levels.flag == PRESSURE:
        pressure = _SEA_LEVEL_PRESSURE if index == 0 else number
    elif levels.flag == HYBRID:
        pressure = (
            _SEA_LEVEL_PRESSURE * (number - int(number)) + int(number) if index else _SEA_LEVEL_PRESSURE
        )
    else:
        return number
    if pressure >= 100.0:
        factor = _METRES_PER_HPA[min(int(pressure / 100.0), 9) - 1]
    else:
        factor = _METRES_PER_HPA_HIGH[max(1, min(int(pressure / 10.0), 9)) - 1]
    return (_SEA_LEVEL_PRESSURE - pressure) * factor


def levels_needed(levels: VerticalLevels, z_top: float) -> int:
    """Count the data levels below the model top, the surface included, and one above."""
    used = 0
    for index in range(len(levels.heights)):
        if estimated_height(levels, index) > z_top:
            break
        used += 1
    return min(used + 1, len(levels.heights))


def internal_levels(levels: VerticalLevels, z_top: float) -> Levels:
    """
    Choose the internal levels: the coarsest set with more levels than the data has below the top.

    Parameters
    ----------
    levels : VerticalLevels
        Levels of the file, the surface first.
    z_top : float
        Model top [m AGL].

    Returns
    -------
    Levels
        Float32 levels; 20 to 30 data levels below 25 km give 30 of them, at 10, 75, 200, 385 ... m.
    """
    needed = levels_needed(levels, z_top)
    for a, b, c in _COEFFICIENTS:
        count = _level_below(z_top, a, b, c) + 1
        if count > needed:
            break
    top = max(MIN_SIGMA_TOP, z_top)
    k = np.arange(1, count + 1, dtype=np.float32)
    a32, b32, c32, top32 = np.float32(a), np.float32(b), np.float32(c), np.float32(top)
    sigma = np.float32(1.0) - (a32 * k * k + b32 * k + c32) / top32
    sigma = sigma.astype(np.float32)
    return Levels(
        sigma=sigma,
        a=a32,
        b=b32,
        c=c32,
        top=top32,
        surface_index=max(1, _level_below(_SURFACE_LAYER, a, b, c)),
        rounded=np.trunc(np.float32(10000.0) * sigma + np.copysign(np.float32(0.5), sigma)).astype(np.int64),
    )
