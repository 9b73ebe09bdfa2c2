"""
Made-up worlds: meteorology whose right answers are known, and a valley for the demo.

A world is a grid, levels and frames, so it goes to an engine through the same files as
real meteorology. The analytic ones (uniform wind, shear, vortex, solid rotation of the
globe, a convective day) are for tests: their trajectories can be written down. `valley`
(:mod:`stilt.meteorology.valley`) is for first steps without any download.

Fields are in the units of ARL files: hPa, K, m s-1, hPa s-1 (``WWND``), W m-2, kg kg-1,
percent (``RELH``).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from stilt.constants import EARTH_RADIUS_KM
from stilt.meteorology.columns import (
    HOUR,
    SEA_LEVEL_TEMPERATURE,
    STANDARD_LAPSE,
    Column,
    Contents,
    Field,
    World,
    exner,
    frame_of,
    hybrid_levels,
    log_profile,
    moment,
    pressure_levels,
    sigma_levels,
    standard_pressure,
    terrain_levels,
    times_from,
)
from stilt.meteorology.projection import HorizontalGrid
from stilt.meteorology.valley import DEMO_HOURS, DEMO_START, valley, write_demo_met
from stilt.meteorology.vertical import VerticalLevels

__all__ = [
    "DEMO_HOURS",
    "DEMO_START",
    "Column",
    "Contents",
    "World",
    "analytic",
    "convective",
    "frame_of",
    "global_rotation",
    "hybrid_levels",
    "pressure_levels",
    "shear",
    "sigma_levels",
    "terrain_levels",
    "uniform",
    "valley",
    "vortex",
    "write_demo_met",
]


def analytic(
    wind: Callable[[Field, Field, Field, float], tuple[Field, Field]],
    *,
    grid: HorizontalGrid | None = None,
    levels: VerticalLevels | None = None,
    start: str | np.datetime64 = "2020-06-01T00",
    hours: float = 12,
    interval: int = 60,
    terrain: Field | float = 0.0,
    flux: float = 0.0,
    ustar: float = 0.3,
    pbl_height: float = 800.0,
    roughness: float = 0.1,
    lapse: float = STANDARD_LAPSE,
    contents: Contents | None = None,
    model_id: str = "ANLY",
) -> World:
    """
    Make a world of given winds in a standard atmosphere without vertical motion.

    Parameters
    ----------
    wind : callable
        ``wind(x, y, z, hours) -> (u, v)``: winds along the grid axes [m s-1] at 1-based grid coordinates,
        heights above ground [m], shape (n, ny, nx), and hours since the start.
    grid : HorizontalGrid, optional
        Default: 12 km Lambert, 41 x 41 points around 40 N 100 W.
    levels : VerticalLevels, optional
        Default: 20 sigma levels.
    start : datetime64
        First time [UTC].
    hours : float
        Length.
    interval : int
        Minutes between frames.
    terrain : ndarray or float
        [m MSL]
    flux, ustar, pbl_height, roughness : float
        Sensible heat flux [W m-2], friction velocity [m s-1], mixed-layer depth [m], roughness length [m].
    lapse : float
        Fall of temperature with height [K m-1].
    contents : Contents, optional
        Which fields to write.
    model_id : str
        Four characters for the header.
    """
    grid = grid or HorizontalGrid.lambert(40.0, -100.0, 12.0, 41, 41)
    levels = levels or sigma_levels()
    shape = (grid.ny, grid.nx)
    x, y = np.meshgrid(np.arange(1.0, grid.nx + 1), np.arange(1.0, grid.ny + 1))
    ground = np.broadcast_to(np.asarray(terrain, dtype=float), shape).copy()
    base = SEA_LEVEL_TEMPERATURE - STANDARD_LAPSE * ground
    still = np.zeros((levels.n_upper, *shape))
    frames = []
    for time in times_from(start, hours, interval):
        elapsed = float((time - moment(start)) / HOUR)

        def blow(z: Field, elapsed: float = elapsed) -> tuple[Field, Field]:
            u, v = wind(x, y, z, elapsed)
            return np.broadcast_to(u, z.shape), np.broadcast_to(v, z.shape)

        column = Column(
            temperature=lambda z: np.maximum(base - lapse * z, 205.0),
            wind=blow,
            surface_pressure=standard_pressure(ground),
            t2m=base,
            flux=np.full(shape, flux),
            ustar=np.full(shape, ustar),
            humidity=lambda z: 0.5 * np.exp(-z / 4000.0),
            pbl_height=np.full(shape, pbl_height),
        )
        frames.append(
            frame_of(time, grid, levels, ground, column, roughness=roughness, omega=still, contents=contents)
        )
    return World(grid, levels, tuple(frames), model_id)


def uniform(u: float = 5.0, v: float = 2.0, **options: object) -> World:
    """Make a world of one steady wind along the grid axes; options as for `analytic`."""
    return analytic(
        lambda x, y, z, hours: (np.full(z.shape, u), np.full(z.shape, v)),
        **{"model_id": "UNIF", **options},  # type: ignore[arg-type]
    )


def shear(u0: float = 2.0, per_metre: float = 0.005, **options: object) -> World:
    """Make a world whose wind along x grows linearly with height above ground."""
    return analytic(
        lambda x, y, z, hours: (u0 + per_metre * z, np.zeros(z.shape)),
        **{"model_id": "SHER", **options},  # type: ignore[arg-type]
    )


def vortex(period_hours: float = 24.0, grid: HorizontalGrid | None = None, **options: object) -> World:
    """Make a world that turns like a wheel about the middle of the grid, counter-clockwise on the map."""
    grid = grid or HorizontalGrid.lambert(40.0, -100.0, 12.0, 41, 41)
    gx, gy = grid.spacing(*np.meshgrid(np.arange(1.0, grid.nx + 1), np.arange(1.0, grid.ny + 1)))
    turn = 2.0 * math.pi / (period_hours * 3600.0)
    middle_x, middle_y = 0.5 * (grid.nx + 1), 0.5 * (grid.ny + 1)

    def wind(x: Field, y: Field, z: Field, hours: float) -> tuple[Field, Field]:
        return -turn * (y - middle_y) * gy + 0.0 * z, turn * (x - middle_x) * gx + 0.0 * z

    return analytic(wind, grid=grid, **{"model_id": "VRTX", **options})  # type: ignore[arg-type]


def global_rotation(tilt: float = 60.0, days: float = 10.0, step: float = 4.5, **options: object) -> World:
    """
    Make a globe whose atmosphere turns as a whole about an axis tilted from the poles.

    Parameters
    ----------
    tilt : float
        Angle of the axis from the Earth's, towards 180 E [degrees].
    days : float
        Time of one turn.
    step : float
        Grid step [degrees].
    **options
        As for `analytic`.
    """
    nx, ny = round(360.0 / step), round(180.0 / step) + 1
    grid = HorizontalGrid.latlon(0.0, -90.0, step, step, nx, ny)
    speed = 2.0 * math.pi * EARTH_RADIUS_KM * 1000.0 / (days * 86400.0)
    a = math.radians(tilt)

    def wind(x: Field, y: Field, z: Field, hours: float) -> tuple[Field, Field]:
        lon, lat = grid.to_lonlat(x, y)
        lon, lat = np.radians(lon), np.radians(lat)
        u = speed * (np.cos(lat) * math.cos(a) + np.sin(lat) * np.cos(lon) * math.sin(a))
        return u + 0.0 * z, -speed * np.sin(lon) * math.sin(a) + 0.0 * z

    chosen = {"model_id": "ROTG", "interval": 180, "hours": 24, **options}
    return analytic(wind, grid=grid, **chosen)  # type: ignore[arg-type]


def convective(
    u: float = 3.0,
    v: float = 1.0,
    *,
    flux: float = 350.0,
    ustar: float = 0.4,
    pbl_height: float = 1500.0,
    grid: HorizontalGrid | None = None,
    levels: VerticalLevels | None = None,
    start: str | np.datetime64 = "2020-07-01T12",
    hours: float = 6,
    interval: int = 60,
    roughness: float = 0.1,
    contents: Contents | None = None,
) -> World:
    """
    Make a steady midday boundary layer: well mixed up to an inversion, heated from below.

    The same everywhere and at all times, so a well-mixed tracer has to stay so. Parameters as for
    `analytic`; ``flux`` below zero gives a stable layer instead, with an inversion of 5 K.
    """
    grid = grid or HorizontalGrid.lambert(40.0, -100.0, 12.0, 41, 41)
    levels = levels or sigma_levels()
    shape = (grid.ny, grid.nx)
    ground = np.zeros(shape)
    surface_pressure = np.full(shape, 1000.0)

    def theta(z: Field) -> Field:
        if flux > 0:
            inversion = 4.0 * np.clip((z - pbl_height) / 150.0, 0.0, 1.0)
            return 300.0 + inversion + 0.005 * np.maximum(z - pbl_height, 0.0)
        return 300.0 - 5.0 * np.exp(-z / 100.0) + 0.005 * z

    column = Column(
        temperature=lambda z: theta(z) * exner(surface_pressure, 301.5, z),
        wind=lambda z: (u * log_profile(z, roughness), v * log_profile(z, roughness)),
        surface_pressure=surface_pressure,
        t2m=np.full(shape, 300.0 + (1.5 if flux > 0 else -5.0)),
        flux=np.full(shape, flux),
        ustar=np.full(shape, ustar),
        humidity=lambda z: 0.4 * np.exp(-z / 5000.0),
        pbl_height=np.full(shape, pbl_height),
    )
    still = np.zeros((levels.n_upper, *shape))
    frames = tuple(
        frame_of(time, grid, levels, ground, column, roughness=roughness, omega=still, contents=contents)
        for time in times_from(start, hours, interval)
    )
    return World(grid, levels, frames, "CONV")
