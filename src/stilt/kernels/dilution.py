r"""
From time near the ground to sensitivity: the air a surface flux is mixed into.

A flux :math:`F` [umol m-2 s-1] acting for :math:`\Delta t` on a column of dry-air mass
:math:`I = \int_0^{z_v} \rho\, dz` [kg m-2] changes its mole fraction by
:math:`F\, m\, \Delta t / I`, with :math:`m` the molar mass of air (Lin et al. 2003).
"""

from __future__ import annotations

import math

import numpy as np

from stilt.constants import (
    EPSILON,
    MOLAR_MASS_DRY_AIR_HYSPLIT,
    POISSON,
    R_DRY,
    REFERENCE_PRESSURE,
)
from stilt.kernels.compiler import kernel
from stilt.kernels.vertical import saturation_pressure

F = np.float32
_ONE = F(1.0)
_R = F(R_DRY)
_EPS = F(EPSILON)
_KAPPA = F(POISSON)
_P_REF = F(REFERENCE_PRESSURE)
_PRESSURE_FACTOR = F(REFERENCE_PRESSURE ** (-POISSON) * R_DRY / 100.0)
_PRESSURE_EXPONENT = F(1.0 / (1.0 - POISSON))
_FOOT = F(MOLAR_MASS_DRY_AIR_HYSPLIT * 60.0)


@kernel(allocates=False)
def saturation_over_water_or_ice(temperature):
    """Return saturation vapour pressure [hPa] over water above 0 degC, over ice below."""
    if temperature >= F(273.15):
        return F(6.1078) * math.exp(F(17.29694) * (temperature - F(273.16)) / (temperature - F(35.86)))
    return math.exp(F(23.33086) - F(6111.72784) / temperature + F(0.15215) * math.log(temperature))


@kernel(allocates=False)
def specific_humidity(density, theta, humidity):
    """
    Return the vapour fraction [kg kg-1] a level's air is reduced by.

    Parameters
    ----------
    density : float32
        [kg m-3].
    theta : float32
        Potential temperature [K].
    humidity : float32
        Relative humidity [fraction].
    """
    pressure = (density * theta * _PRESSURE_FACTOR) ** _PRESSURE_EXPONENT
    temperature = theta * (pressure / _P_REF) ** _KAPPA
    vapour = humidity * saturation_over_water_or_ice(temperature)
    return _EPS * vapour / (pressure - vapour)


@kernel(allocates=False)
def surface_influence(minutes, column_mass):
    """Return the sensitivity [ppm / (umol m-2 s-1)] of minutes spent over a column mass [kg m-2]."""
    return _FOOT * minutes / column_mass


@kernel(allocates=False)
def dry_density(pressure, humidity, temperature):
    """Return the density of dry air [kg m-3] at a pressure [hPa], relative humidity and temperature [K]."""
    vapour = humidity * saturation_pressure(temperature)
    return F(100.0) * (pressure - vapour) / (_R * temperature)
