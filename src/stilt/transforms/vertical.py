r"""
Vertical weights: what an instrument that sees a column makes of particles released along it.

The footprint divides by the number of particles N, so a weight of one for each is the mean over the
particles. A column measurement weights each level by the share of the (dry) air it stands for, the
pressure weight, and by the averaging kernel of the retrieval:

.. math:: w_i = N \, AK(p_i) \, \frac{(1 - q_i) \, \Delta p_i}{\sum (1 - q) \, \Delta p}

where the slab of particle i reaches from the particle below it to its own release pressure, and the sum
goes over the whole atmosphere. The weights of a column that ends below the top of the atmosphere thus add
up to less than N: the rest of the air has no footprint (as in X-STILT, Wu et al. 2018).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stilt.config import VerticalOperatorTransform
from stilt.constants import EPSILON, GRAVITY_X_STILT, MOLAR_MASS_DRY_AIR_X_STILT
from stilt.errors import FootprintError
from stilt.receptors import Receptor

FloatArray = NDArray[np.float64]

_HUMIDITY_BIN = 25.0
"""Pressure bins humidity is averaged in [hPa], since single particles are noisy."""


@dataclass(frozen=True, eq=False)
class ColumnAir:
    """
    The air that released particles stand for.

    Attributes
    ----------
    indx : ndarray, shape (n,)
        Particle numbers.
    height : ndarray, shape (n,)
        Release heights [m AGL].
    pressure : ndarray, shape (n,)
        Release pressures [hPa], from an exponential fit.
    humidity : ndarray, shape (n,)
        Specific humidity at release [kg kg-1]; zero where unknown.
    moles : ndarray, shape (n,)
        Dry air of each particle's slab [mol m-2].
    total : float
        Dry air of the whole atmosphere above the receptor [mol m-2].
    surface_pressure, decay : float
        The fit ``p = surface_pressure * exp(-decay * height)`` [hPa], [m-1].
    """

    indx: NDArray[Any]
    height: FloatArray
    pressure: FloatArray
    humidity: FloatArray
    moles: FloatArray
    total: float
    surface_pressure: float
    decay: float

    @property
    def weights(self) -> FloatArray:
        """Pressure weights: share of the dry air of the atmosphere that each particle stands for."""
        return self.moles / self.total


def particle_weights(
    table: pd.DataFrame, operator: VerticalOperatorTransform, receptor: Receptor | None = None
) -> FloatArray:
    """
    Return the weight of each row.

    Parameters
    ----------
    table : DataFrame
        Particle rows: ``indx time``, and as the mode needs them ``xhgt`` (release height), ``pres zagl``
        (for the fit of pressure to height), ``zsfc`` (heights above sea level, or a surface height of the
        retrieval), and ``temz rhfr`` or ``sphu`` (humidity).
    operator : VerticalOperatorTransform
        Mode, levels and values.
    receptor : Receptor, optional
        Gives the release height of a point, and says what heights refer to.

    Returns
    -------
    ndarray, shape (n_rows,)
        The same for all rows of a particle.
    """
    mode = operator.mode
    if mode in ("uniform", "none") or len(table) == 0:
        return np.ones(len(table))
    if mode == "ak" and operator.coordinate == "xhgt":
        first = release_rows(table)
        indx = first["indx"].to_numpy()
        weights = _interpolate(release_heights(first, receptor), operator.levels, operator.values)
    else:
        air = column_air(table, operator, receptor)
        indx = air.indx
        weights = np.ones(indx.size)
        if mode in ("ak", "ak_pwf"):
            where = air.height if operator.coordinate == "xhgt" else air.pressure
            weights = _interpolate(where, operator.levels, operator.values)
        if mode == "integration":
            weights = air.moles / air.moles.sum() * indx.size
        elif mode in ("pwf", "ak_pwf"):
            shares = _retrieval_shares(air, operator) if operator.retrieval_weights else air.weights
            weights = weights * shares * indx.size
    order = np.argsort(indx)
    return weights[order][np.searchsorted(indx[order], table["indx"].to_numpy())]


def column_air(
    table: pd.DataFrame, operator: VerticalOperatorTransform, receptor: Receptor | None = None
) -> ColumnAir:
    """
    Work out the air that each particle of a column stands for.

    Parameters
    ----------
    table, operator, receptor
        As in :func:`particle_weights`.

    Returns
    -------
    ColumnAir
    """
    first = release_rows(table)
    heights = release_heights(first, receptor)
    if operator.mode not in ("ak",) and np.ptp(heights) == 0.0:
        raise FootprintError(
            f"vertical_operator mode {operator.mode} weights a column, but all particles were released at "
            f"{heights[0]:g} m; use a column receptor, or mode ak, uniform or none."
        )
    lift: FloatArray | float = 0.0
    if operator.surface_height is not None:
        lift = _needed(first, "zsfc", "the surface height of the retrieval") - operator.surface_height
    surface, decay = fit_pressure(
        _needed(first, "zagl", "pressure weights") + lift,
        _needed(first, "pres", "pressure weights"),
        operator.surface_pressure,
    )
    pressure = np.minimum(surface * np.exp(-decay * (heights + lift)), surface)
    levels, inverse = np.unique(-pressure, return_inverse=True)  # from the ground up
    levels = -levels
    humidity = _humidity(first, levels)
    slabs = -np.diff(levels, prepend=surface)
    per_hpa = 100.0 / (GRAVITY_X_STILT * MOLAR_MASS_DRY_AIR_X_STILT)
    moles = (1.0 - humidity) * slabs * per_hpa
    total = operator.dry_column
    if total is None:
        total = float(moles.sum() + (1.0 - humidity[-1]) * levels[-1] * per_hpa)
    shared = np.bincount(inverse)  # particles released at one height share its slab
    return ColumnAir(
        indx=first["indx"].to_numpy(),
        height=heights,
        pressure=pressure,
        humidity=humidity[inverse],
        moles=(moles / shared)[inverse],
        total=total,
        surface_pressure=surface,
        decay=decay,
    )


def release_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Return the row of each particle nearest in time to its release."""
    age = np.abs(table["time"].to_numpy(dtype=np.float64))
    indx = table["indx"].to_numpy()
    order = np.lexsort((age, indx))
    is_first = np.ones(order.size, dtype=bool)
    is_first[1:] = indx[order[1:]] != indx[order[:-1]]
    return table.iloc[order[is_first]]


def release_heights(first: pd.DataFrame, receptor: Receptor | None) -> FloatArray:
    """
    Return the release height of each particle.

    Parameters
    ----------
    first : DataFrame
        What :func:`release_rows` returned.
    receptor : Receptor or None
        Gives the height where there is no ``xhgt``, and says what heights refer to.

    Returns
    -------
    ndarray, shape (n_particles,)
        Height [m AGL], not below 0.
    """
    if "xhgt" in first:
        heights = first["xhgt"].to_numpy(dtype=np.float64)
    elif receptor is not None and receptor.kind == "point":
        heights = np.full(len(first), receptor.altitudes[0])
    else:
        raise FootprintError(
            "the particle table lacks the column xhgt (release heights), which vertical_operator "
            "needs; make the "
            "trajectories of a column receptor again."
        )
    if receptor is not None and receptor.altitude_ref == "msl":
        heights = heights - _needed(first, "zsfc", "heights above sea level")
    return np.maximum(heights, 0.0)


def fit_pressure(
    height: FloatArray, pressure: FloatArray, surface: float | None = None
) -> tuple[float, float]:
    """
    Fit an exponential atmosphere to heights and pressures.

    Parameters
    ----------
    height : ndarray, shape (n,)
        Height above the surface [m].
    pressure : ndarray, shape (n,)
        Pressure there [hPa].
    surface : float, optional
        Surface pressure to hold fixed [hPa]; fitted where not given.

    Returns
    -------
    surface, decay : float
        ``p = surface * exp(-decay * height)`` [hPa], [m-1], with the least squares of pressure.
    """
    good = np.isfinite(height) & np.isfinite(pressure) & (pressure > 0.0)
    z, p = height[good], pressure[good]
    if z.size == 0 or (surface is None and np.ptp(z) == 0.0):
        raise FootprintError(
            "pressure cannot be fitted to height: the particles have no two heights with a pressure; "
            "give surface_pressure or use a column receptor."
        )
    decay = 1e-4
    base = float(p.max()) if surface is None else surface
    for _ in range(100):
        shape = np.exp(-decay * z)
        slope = -base * z * shape
        wanted = np.stack([slope] if surface is not None else [slope, shape], axis=1)
        step = np.linalg.lstsq(wanted, p - base * shape, rcond=None)[0]
        decay += float(step[0])
        if surface is None:
            base += float(step[1])
        if abs(step[0]) <= 1e-12 * abs(decay):
            break
    if not (np.isfinite(base) and decay > 0.0):
        raise FootprintError(
            "pressure does not fall with height in the particle table; pressure weights need that."
        )
    return base, decay


def _humidity(first: pd.DataFrame, levels: FloatArray) -> FloatArray:
    """Return specific humidity at pressures [kg kg-1], from averages over pressure bins, the ends held."""
    pressure = first["pres"].to_numpy(dtype=np.float64)
    if {"temz", "rhfr"} <= set(first.columns):
        # the air at the particle; sphu is that near the ground below it
        kelvin = first["temz"].to_numpy(dtype=np.float64)
        saturation = 6.112 * np.exp(17.67 * (kelvin - 273.15) / (kelvin - 29.65))
        vapour = np.clip(first["rhfr"].to_numpy(dtype=np.float64), 0.0, None) * saturation
        humidity = EPSILON * vapour / (pressure - (1.0 - EPSILON) * vapour)
    elif "sphu" in first.columns:
        humidity = first["sphu"].to_numpy(dtype=np.float64)
    else:
        return np.zeros(levels.size)
    good = np.isfinite(humidity) & (humidity >= 0.0) & (humidity < 1.0) & np.isfinite(pressure)
    if not good.any():
        return np.zeros(levels.size)
    number = np.floor(pressure[good] / _HUMIDITY_BIN).astype(np.int64)
    _, where = np.unique(number, return_inverse=True)
    count = np.bincount(where)
    return np.interp(
        levels, np.bincount(where, pressure[good]) / count, np.bincount(where, humidity[good]) / count
    )


def _retrieval_shares(air: ColumnAir, operator: VerticalOperatorTransform) -> FloatArray:
    """Hand the pressure weights of a retrieval's levels down to the particles, by the pressure they span."""
    levels = np.array(operator.levels)
    if operator.coordinate == "xhgt":
        levels = air.surface_pressure * np.exp(-air.decay * levels)
    order = np.argsort(-levels)
    levels, weights = levels[order], np.array(operator.retrieval_weights)[order]
    middles = (levels[:-1] + levels[1:]) / 2.0
    edges = np.concatenate([[max(air.surface_pressure, levels[0])], middles, [0.0]])
    below = np.concatenate([[0.0], np.cumsum(weights)])
    tops, inverse = np.unique(-air.pressure, return_inverse=True)
    reached = np.interp(tops, -edges, below)
    shares = np.diff(reached, prepend=np.interp(-air.surface_pressure, -edges, below))
    return (shares / np.bincount(inverse))[inverse]


def _interpolate(where: FloatArray, levels: tuple[float, ...], values: tuple[float, ...]) -> FloatArray:
    """Interpolate linearly, the ends held."""
    order = np.argsort(levels)
    return np.interp(where, np.array(levels)[order], np.array(values)[order])


def _needed(first: pd.DataFrame, name: str, what_for: str) -> FloatArray:
    if name not in first.columns:
        raise FootprintError(
            f"the particle table lacks the column {name}, which vertical_operator needs for "
            f"{what_for}; add it to "
            "varsiwant."
        )
    return first[name].to_numpy(dtype=np.float64)
