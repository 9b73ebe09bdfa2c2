"""What is recorded of a particle at an output time, and the air around it."""

from __future__ import annotations

import numpy as np

from stilt.kernels import dilution, layout
from stilt.kernels.compiler import kernel
from stilt.kernels.dispersion import density_at
from stilt.kernels.interpolation import bilinear, column_value, fill_mean, mean_value, nearest_value

F = np.float32
N = np.uint64
_ZERO, _60 = F(0.0), F(60.0)
_NO_RAIN_FIELD, _NO_CONVECTIVE_RAIN_FIELD = F(-0.001 / 60.0), F(-0.9)
"""What ``hycs_std`` prints where the meteorology has no precipitation."""

RAIN_BY_COLUMN, RAIN_GOES_ON, RAIN_ANEW = 0, 1, 2
"""Whether accumulation began anew between two analyses: judged per column, or known for the whole grid."""

# what is recorded for each particle and output time, beside its position
(
    ZAGL,
    FOOT,
    SAMT,
    MLHT,
    SIGW,
    TLGR,
    PRES,
    DENS,
    TEMZ,
    RHFR,
    ZSFC,
    TEMP,
    SPHU,
    WOUT,
    SHTF_OUT,
    WHTF_OUT,
    TCLD_OUT,
    LCLD_OUT,
    RAIN_OUT,
    CRAI_OUT,
) = range(20)
N_RECORDED = 20
DMAS = N_RECORDED
"""Comes after all others, and only where the mass of particles is followed."""
N_DEFAULT = TEMP
"""The columns before this one cost nothing extra."""


@kernel(allocates=False, forceinline=False)
def record_precipitation(a, b, place, base, interval, rule, work):
    """Record precipitation [m min-1] from what has accumulated at the two analyses, as the program does."""
    record = work.record
    at = N(base) + N(layout.RAIN)
    first = a.values[place.near_a + at]
    second = b.values[place.near_b + at]
    if first == layout.MISSING or second == layout.MISSING:
        record[RAIN_OUT] = _NO_RAIN_FIELD
        record[CRAI_OUT] = _NO_CONVECTIVE_RAIN_FIELD
        return
    fallen = second - first
    if rule == RAIN_ANEW or (rule == RAIN_BY_COLUMN and fallen < _ZERO):
        # a fall from the first to the second means that the accumulation began anew
        fallen = second
    fallen = max(_ZERO, fallen)
    cloud = record[TCLD_OUT]
    if cloud >= _ZERO:
        fallen = fallen * cloud
    record[RAIN_OUT] = fallen / interval
    at = N(base) + N(layout.CRAI)
    convective = bilinear(
        b.values, place.b00 + at, place.b10 + at, place.b01 + at, place.b11 + at, place.fx, place.fy
    )
    record[CRAI_OUT] = convective / interval


@kernel(allocates=False)
def record_surroundings(a, b, place, levels, physics, work, stamp, sigma, layer, depth, interval):
    """Record the air around a particle at the end of a step, at the mean-advected point."""
    n = levels.sigma.size
    end, record = work.end, work.record
    low = 1
    while low < n - 1 and levels.sigma[low] > sigma:
        low += 1
    fill_mean(a, b, place, low - 1, end, stamp)
    density = density_at(a, b, place, end, stamp, low - 1, True)
    pressure = mean_value(end, low - 1, layout.PRESSURE)
    temperature = mean_value(end, low - 1, layout.TEMPERATURE)
    humidity = mean_value(end, low - 1, layout.HUMIDITY)
    if sigma <= levels.sigma[0]:
        fill_mean(a, b, place, low, end, stamp)
        part = (sigma - levels.sigma[low - 1]) / (levels.sigma[low] - levels.sigma[low - 1])
        density = (density_at(a, b, place, end, stamp, low, True) - density) * part + density
        pressure = (mean_value(end, low, layout.PRESSURE) - pressure) * part + pressure
        temperature = (mean_value(end, low, layout.TEMPERATURE) - temperature) * part + temperature
        humidity = (mean_value(end, low, layout.HUMIDITY) - humidity) * part + humidity
    record[PRES] = pressure
    record[DENS] = density
    record[TEMZ] = temperature
    record[RHFR] = humidity
    if physics.records_all:
        base = N(n * layout.PER_LEVEL)
        fill_mean(a, b, place, 0, end, stamp)
        record[TEMP] = mean_value(end, 0, layout.TEMPERATURE)
        # the program finds humidity while it disperses, and prints 0 where it does not
        record[SPHU] = _ZERO
        if physics.turbulence:
            level = min(layer, n) - 1
            fill_mean(a, b, place, level, end, stamp)
            record[SPHU] = dilution.specific_humidity(
                density_at(a, b, place, end, stamp, level, True),
                mean_value(end, level, layout.TEMPERATURE),
                mean_value(end, level, layout.HUMIDITY),
            )
        record[WOUT] = -physics.time_sign * work.velocity[2] * depth / _60
        record[SHTF_OUT] = column_value(a, b, place, base + N(layout.SHTF))
        record[WHTF_OUT] = column_value(a, b, place, base + N(layout.WHTF))
        record[TCLD_OUT] = nearest_value(a, b, place, base + N(layout.TCLD)) / F(100.0)
        record[LCLD_OUT] = column_value(a, b, place, base + N(layout.LCLD))
        record_precipitation(a, b, place, base, interval, physics.rain_rule, work)
