"""
From columns of air to the fields of a meteorology file.

A made-up atmosphere is described by functions of height above ground (`Column`); this
module finds the pressures of a file's levels in it hydrostatically, samples it there, and
works out the vertical motion that its winds imply. The result is a `World`: a grid,
levels and frames, ready to be written.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stilt.constants import GRAVITY, POISSON, R_DRY, REFERENCE_PRESSURE
from stilt.meteorology.arl.writer import write_arl
from stilt.meteorology.frame import Box, MetFrame
from stilt.meteorology.projection import HorizontalGrid
from stilt.meteorology.vertical import HYBRID, PRESSURE, SIGMA, TERRAIN, VerticalLevels

Field = NDArray[np.float64]

SIGMA_HEIGHTS = (
    0.998, 0.994, 0.988, 0.979, 0.967, 0.952, 0.934, 0.912, 0.886, 0.856,
    0.82, 0.78, 0.73, 0.67, 0.60, 0.52, 0.44, 0.36, 0.28, 0.20,
)  # fmt: skip
"""Upper sigma levels of the worlds, about 17 m to 12 km above ground."""

PRESSURE_HEIGHTS = (
    1000.0, 975.0, 950.0, 925.0, 900.0, 875.0, 850.0, 800.0, 750.0, 700.0, 650.0,
    600.0, 550.0, 500.0, 450.0, 400.0, 350.0, 300.0, 250.0, 200.0, 150.0,
)  # fmt: skip
"""Upper pressure levels of the worlds [hPa]."""

TERRAIN_HEIGHTS = (
    15.0, 50.0, 110.0, 200.0, 320.0, 480.0, 680.0, 940.0, 1260.0, 1640.0, 2100.0, 2700.0, 3500.0,
    4500.0, 5700.0, 7100.0, 8800.0, 10800.0,
)  # fmt: skip
"""Upper terrain-following height levels of the worlds [m AGL]."""

HOUR = np.timedelta64(1, "h")
STANDARD_LAPSE = 0.0065
"""Fall of temperature with height in the worlds' standard atmosphere [K m-1]."""
SEA_LEVEL_TEMPERATURE = 288.0
"""Its temperature at sea level [K]."""
SEA_LEVEL_PRESSURE = 1013.25
"""Its pressure at sea level [hPa]."""


@dataclass(frozen=True)
class World:
    """
    A grid, levels and frames, ready to be written.

    Attributes
    ----------
    grid : HorizontalGrid
    levels : VerticalLevels
    frames : tuple of MetFrame
    model_id : str
        Four characters for the header.
    """

    grid: HorizontalGrid
    levels: VerticalLevels
    frames: tuple[MetFrame, ...]
    model_id: str = "STLT"

    @property
    def center(self) -> tuple[float, float]:
        """Longitude and latitude of the middle of the grid [degrees]."""
        lon, lat = self.grid.to_lonlat(0.5 * (self.grid.nx + 1), 0.5 * (self.grid.ny + 1))
        return float(lon), float(lat)

    @property
    def times(self) -> NDArray[np.datetime64]:
        """Times of the frames [UTC]."""
        return np.array([frame.time for frame in self.frames], dtype="datetime64[s]")

    def without(self, *names: str) -> World:
        """Return the same world without some fields."""
        frames = tuple(
            replace(
                frame,
                surface={name: field for name, field in frame.surface.items() if name not in names},
                upper={name: field for name, field in frame.upper.items() if name not in names},
            )
            for frame in self.frames
        )
        return replace(self, frames=frames)

    def write(self, path: str | os.PathLike[str], *, difw: bool = False) -> Path:
        """Write all frames to one ARL file."""
        return write_arl(path, self.grid, self.levels, self.frames, model_id=self.model_id, difw=difw)


@dataclass(frozen=True)
class Column:
    """
    The air above every cell at one time, as functions of height above ground.

    Attributes
    ----------
    temperature : callable
        Temperature [K] from height above ground [m], shape (n, ny, nx).
    wind : callable
        (u, v) along the grid axes [m s-1] from height above ground [m].
    surface_pressure : ndarray, shape (ny, nx)
        [hPa]
    t2m, flux, ustar : ndarray, shape (ny, nx)
        Temperature at 2 m [K], sensible heat flux, positive upward [W m-2], friction velocity [m s-1].
    humidity : callable
        Relative humidity [0..1] from height above ground [m].
    pbl_height : ndarray, shape (ny, nx)
        [m AGL]
    """

    temperature: Callable[[Field], Field]
    wind: Callable[[Field], tuple[Field, Field]]
    surface_pressure: Field
    t2m: Field
    flux: Field
    ustar: Field
    humidity: Callable[[Field], Field]
    pbl_height: Field


@dataclass(frozen=True)
class Contents:
    """
    Which fields a world's files have.

    Attributes
    ----------
    moisture : str
        ``SPHU``, ``RELH`` or an empty string.
    fluxes : str
        How stress is given beside SHTF: ``USTR``, ``UMOF`` (momentum fluxes), ``EXCO`` (exchange
        coefficient); or an empty string for neither stress nor heat flux.
    pres : bool
        Whether levels come with ``PRES``.
    t2m, wind10m, roughness, pblh : bool
        Whether ``T02M``, ``U10M``/``V10M``, ``RGHS``, ``PBLH`` are there.
    """

    moisture: str = "SPHU"
    fluxes: str = "USTR"
    pres: bool = False
    t2m: bool = True
    wind10m: bool = True
    roughness: bool = True
    pblh: bool = True


def sigma_levels(heights: Sequence[float] = SIGMA_HEIGHTS, top: float = 0.0) -> VerticalLevels:
    """Make sigma levels below a top pressure [hPa]."""
    return VerticalLevels(SIGMA, (1.0, *heights), top)


def pressure_levels(heights: Sequence[float] = PRESSURE_HEIGHTS) -> VerticalLevels:
    """Make pressure levels [hPa]."""
    return VerticalLevels(PRESSURE, (0.0, *heights))


def hybrid_levels(heights: Sequence[float] = SIGMA_HEIGHTS) -> VerticalLevels:
    """Make hybrid levels that turn from sigma near the ground to pressure aloft."""
    # whole hPa plus a fraction of the surface pressure, in the six characters of the header
    numbers = []
    for sigma in heights:
        offset = math.floor(250.0 * (1.0 - sigma))
        fraction = max(0.001, min(0.999, sigma - offset / 1000.0))
        numbers.append(round(offset + fraction, 5 - len(str(offset))))
    return VerticalLevels(HYBRID, (1.0, *numbers))


def terrain_levels(heights: Sequence[float] = TERRAIN_HEIGHTS) -> VerticalLevels:
    """Make levels at fixed heights above ground under a lid at 20 km [m]."""
    return VerticalLevels(TERRAIN, (0.0, *heights))


def saturation_pressure(temperature: Field) -> Field:
    """Water vapour pressure at saturation [hPa] for a temperature [K], as the engines have it."""
    return np.exp(21.4 - 5351.0 / temperature)


# --- from columns to files


def frame_of(
    time: np.datetime64,
    grid: HorizontalGrid,
    levels: VerticalLevels,
    terrain: Field,
    column: Column,
    *,
    roughness: Field | float = 0.1,
    omega: Field | None = None,
    contents: Contents | None = None,
) -> MetFrame:
    """
    Sample columns of air at the levels of a file.

    Heights and pressures are hydrostatic; the heights a reader works out from the levels'
    temperatures agree with the ones sampled here to a metre or so.

    Parameters
    ----------
    time : datetime64
        Valid time [UTC].
    grid, levels
        Where to sample.
    terrain : ndarray, shape (ny, nx)
        [m MSL]
    column : Column
        The air.
    roughness : ndarray or float
        Roughness length [m].
    omega : ndarray, shape (n_upper, ny, nx), optional
        Vertical velocity [hPa s-1]; by default the one that conserves mass.
    contents : Contents, optional
        Which fields to write.
    """
    contents = contents or Contents()
    shape = (grid.ny, grid.nx)
    fine = np.concatenate([np.linspace(0.0, 400.0, 41), np.geomspace(430.0, 22000.0, 90)])
    z = np.broadcast_to(fine[:, None, None], (fine.size, *shape))
    log_p = _log_pressure(z, column)
    p = _level_pressures(levels, column.surface_pressure, terrain, z, log_p)
    height = _interpolate(-log_p, z, -np.log(p))
    if levels.flag == PRESSURE:
        # below ground the file has what it has; extrapolated heights mark it as such
        below = p > column.surface_pressure
        reach = R_DRY * column.t2m / GRAVITY * np.log(column.surface_pressure / p)
        height = np.where(below, reach, height)
    above_ground = np.maximum(height, 0.0)
    temperature = column.temperature(above_ground)
    u, v = column.wind(np.maximum(above_ground, 10.0))
    if omega is None:
        omega = omega_of(grid, levels, column.surface_pressure, p, u, v)
    humidity = np.clip(column.humidity(above_ground), 0.01, 1.0)
    u10, v10 = column.wind(np.full((1, *shape), 10.0))

    surface: dict[str, Field] = {"SHGT": terrain, "PRSS": column.surface_pressure}
    if contents.t2m:
        surface["T02M"] = column.t2m
    if contents.wind10m:
        surface |= {"U10M": u10[0], "V10M": v10[0]}
    if contents.fluxes:
        surface["SHTF"] = column.flux
        density = 100.0 * column.surface_pressure / (R_DRY * column.t2m)
        speed = np.maximum(np.hypot(u10[0], v10[0]), 0.1)
        if contents.fluxes == "USTR":
            surface["USTR"] = column.ustar
        elif contents.fluxes == "UMOF":
            surface["UMOF"] = density * column.ustar**2 * u10[0] / speed
            surface["VMOF"] = density * column.ustar**2 * v10[0] / speed
        elif contents.fluxes == "EXCO":
            surface["EXCO"] = density * column.ustar**2 / speed
        else:
            raise ValueError(f"fluxes may be USTR, UMOF, EXCO or empty, not {contents.fluxes!r}")
    if contents.roughness:
        surface["RGHS"] = np.broadcast_to(np.asarray(roughness, dtype=float), shape)
    if contents.pblh:
        surface["PBLH"] = column.pbl_height
    upper: dict[str, Field] = {}
    if levels.flag == PRESSURE:
        upper["HGTS"] = height + terrain
    upper |= {"TEMP": temperature, "UWND": u, "VWND": v, "WWND": omega}
    if contents.moisture == "SPHU":
        upper["SPHU"] = 0.622 * humidity * saturation_pressure(temperature) / p
    elif contents.moisture == "RELH":
        upper["RELH"] = 100.0 * humidity
    if contents.pres or levels.flag == TERRAIN:
        upper["PRES"] = p
    box = Box(0, grid.nx, 0, grid.ny)
    return MetFrame(
        time.astype("datetime64[s]"),
        box,
        {name: np.ascontiguousarray(field, dtype=np.float32) for name, field in surface.items()},
        {name: np.ascontiguousarray(field, dtype=np.float32) for name, field in upper.items()},
    )


def _log_pressure(z: Field, column: Column) -> Field:
    """Integrate the hydrostatic equation upward with virtual temperature; z has shape (n, ny, nx)."""
    temperature = column.temperature(z)
    log_p = np.empty(z.shape)
    log_p[0] = np.log(column.surface_pressure)
    vapour = column.humidity(z) * saturation_pressure(temperature)
    scale = GRAVITY * np.diff(z, axis=0) / R_DRY
    for k in range(1, z.shape[0]):
        humid = 0.622 * vapour[k - 1 : k + 1] / np.exp(log_p[k - 1])
        virtual = (temperature[k - 1 : k + 1] * (1.0 + 0.61 * humid)).mean(axis=0)
        log_p[k] = log_p[k - 1] - scale[k - 1] / virtual
    return log_p


def _level_pressures(
    levels: VerticalLevels, surface_pressure: Field, terrain: Field, z: Field, log_p: Field
) -> Field:
    heights = np.array(levels.heights[1:])[:, None, None]
    if levels.flag == SIGMA:
        return levels.offset + heights * (surface_pressure - levels.offset)
    if levels.flag == PRESSURE:
        return np.broadcast_to(heights, (levels.n_upper, *surface_pressure.shape)).copy()
    if levels.flag == HYBRID:
        return np.floor(heights) + (heights - np.floor(heights)) * surface_pressure
    above_ground = heights * (1.0 - terrain / 20000.0)
    return np.exp(_interpolate(z, log_p, above_ground))


def _interpolate(x: Field, y: Field, at: Field) -> Field:
    """Interpolate linearly along the first axis, where x ascends."""
    out = np.empty(at.shape)
    for k in range(at.shape[0]):
        upper = np.clip((x < at[k]).sum(axis=0), 1, x.shape[0] - 1)[None]
        x0, x1 = np.take_along_axis(x, upper - 1, 0)[0], np.take_along_axis(x, upper, 0)[0]
        y0, y1 = np.take_along_axis(y, upper - 1, 0)[0], np.take_along_axis(y, upper, 0)[0]
        out[k] = y0 + (y1 - y0) * (at[k] - x0) / (x1 - x0)
    return out


def omega_of(
    grid: HorizontalGrid, levels: VerticalLevels, surface_pressure: Field, p: Field, u: Field, v: Field
) -> Field:
    r"""
    Vertical velocity that carries what flows together along the levels.

    .. math:: \omega(p) = -\int_{0}^{p} \nabla\cdot(\mathbf{v}\,dp') + \frac{p}{p_s} \int_0^{p_s} \ldots

    relative to the coordinate surfaces, zero at the ground: any net inflow into a column
    shows as a pressure tendency, which sigma levels follow.

    Parameters
    ----------
    grid, levels
        The grid and its levels.
    surface_pressure : ndarray, shape (ny, nx)
        [hPa]
    p, u, v : ndarray, shape (n_upper, ny, nx)
        Pressure [hPa] and wind [m s-1] of the levels, bottom to top.

    Returns
    -------
    ndarray, shape (n_upper, ny, nx)
        [hPa s-1], positive downward.
    """
    gx, gy = grid.spacing(*np.meshgrid(np.arange(1.0, grid.nx + 1), np.arange(1.0, grid.ny + 1)))
    edges = np.concatenate([surface_pressure[None], 0.5 * (p[1:] + p[:-1]), 1.5 * p[-1:] - 0.5 * p[-2:-1]])
    thickness = edges[:-1] - edges[1:]
    if levels.flag == PRESSURE:
        thickness = np.maximum(thickness, 0.0)
    flow_x, flow_y = u * thickness * gy, v * thickness * gx
    divergence = (np.gradient(flow_x, axis=2) + np.gradient(flow_y, axis=1)) / (gx * gy)
    from_top = np.cumsum(divergence[::-1], axis=0)[::-1]
    column_total = from_top[0]
    # at the middle of each layer half of it lies above
    above = from_top - 0.5 * divergence
    return -above + (p - edges[-1]) / (surface_pressure - edges[-1]) * column_total


# --- small pieces of atmosphere


def standard_pressure(height: Field | float) -> Field:
    """Pressure of the standard atmosphere [hPa] at a height [m MSL]."""
    warmth = 1.0 - STANDARD_LAPSE * np.asarray(height, dtype=float) / SEA_LEVEL_TEMPERATURE
    return SEA_LEVEL_PRESSURE * warmth ** (GRAVITY / (R_DRY * STANDARD_LAPSE))


def moment(value: str | np.datetime64) -> np.datetime64:
    """Read a time given as text or as such [UTC]."""
    return np.datetime64(str(value), "s")


def times_from(start: str | np.datetime64, hours: float, interval: int) -> NDArray[np.datetime64]:
    """Return times from ``start`` on, ``interval`` minutes apart, for ``hours``."""
    first = moment(start)
    return first + np.arange(0, int(hours * 60) + 1, interval) * np.timedelta64(60, "s")


def log_profile(z: Field, roughness: Field | float) -> Field:
    """Wind speed relative to 100 m above ground, logarithmic below."""
    return np.log(np.clip(z, 1.0, 100.0) / roughness + 1.0) / np.log(100.0 / roughness + 1.0)


def exner(surface_pressure: Field, warmth: Field | float, z: Field) -> Field:
    """Temperature per potential temperature at height z [m AGL] in a layer of mean theta ``warmth`` [K]."""
    ground = (surface_pressure / REFERENCE_PRESSURE) ** POISSON
    return np.maximum(ground - GRAVITY * POISSON / R_DRY * z / warmth, 0.35)
