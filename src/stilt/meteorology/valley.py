"""
The valley of the demo: meteorology for first steps, without any download.

A mountain valley with a boundary layer that grows by day and an inversion by night, winds
along the valley and up the slopes, and a turning wind above. It is invented, but each
field agrees with the others.
"""

from __future__ import annotations

import math
import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from stilt.constants import POISSON, REFERENCE_PRESSURE
from stilt.meteorology.columns import (
    HOUR,
    Column,
    Field,
    World,
    exner,
    frame_of,
    log_profile,
    moment,
    sigma_levels,
    standard_pressure,
    times_from,
)
from stilt.meteorology.projection import HorizontalGrid

DEMO_START = np.datetime64("2024-07-10T12:00:00", "s")
"""First time of the demo meteorology [UTC], early morning in the valley."""

DEMO_HOURS = 35
"""Length of the demo meteorology."""

_VALLEY_LON = -111.5
_VALLEY_LAT = 41.0
_FLOOR = 1350.0


def valley_grid() -> HorizontalGrid:
    """Return the demo's grid: 42 x 42 cells of 4 km, Lambert, around 41 N 111.5 W."""
    return HorizontalGrid.lambert(
        _VALLEY_LAT, _VALLEY_LON, 4.0, 42, 42, center_lat=_VALLEY_LAT, center_lon=_VALLEY_LON
    )


def valley_terrain(grid: HorizontalGrid) -> Field:
    """Return the demo's terrain [m MSL]: a winding north-south valley between two ranges."""
    x, y = np.meshgrid(np.arange(1.0, grid.nx + 1), np.arange(1.0, grid.ny + 1))
    across = (x - 0.5 * (grid.nx + 1) - 2.0 * np.sin(2.0 * math.pi * y / grid.ny)) * grid.size
    along = (y - 0.5 * (grid.ny + 1)) * grid.size
    east = 950.0 * np.exp(-(((across - 30.0) / 13.0) ** 2)) * (1.0 + 0.15 * np.sin(along / 17.0))
    west = 650.0 * np.exp(-(((across + 34.0) / 15.0) ** 2)) * (1.0 + 0.2 * np.sin(along / 23.0 + 1.0))
    # the floor falls to the north, the way the water goes
    return _FLOOR - 0.6 * along + east + west + 60.0 * np.tanh(np.abs(across) / 60.0)


def _sun(hour: float) -> float:
    """Strength of the sun, 0 by night to 1 at noon, at local solar time."""
    return max(0.0, math.sin(math.pi * ((hour % 24.0) - 5.5) / 13.5)) if 5.5 <= hour % 24.0 <= 19.0 else 0.0


def _mixed_depth(hour: float) -> float:
    """Depth of the daytime mixed layer [m]: slow through the morning, quick before noon, gone at dusk."""
    hour %= 24.0
    if not 6.0 <= hour <= 18.5:
        return 0.0
    growth = 1.0 / (1.0 + math.exp(-(hour - 10.0) / 0.9))
    collapse = 1.0 / (1.0 + math.exp((hour - 18.0) / 0.25))
    return 80.0 + 1750.0 * growth * collapse


def _residual_depth(hour: float) -> float:
    """Depth of yesterday's mixed layer [m], eroded from sunset until the new one overtakes it."""
    since_dusk = (hour - 18.0) % 24.0
    return max(0.0, 1830.0 - 70.0 * since_dusk) if since_dusk < 18.0 else 0.0


def _cooling(hour: float) -> float:
    """Strength of the ground inversion [K]: grows through the night, gone by ten in the morning."""
    since_dusk = (hour - 18.0) % 24.0
    if since_dusk > 16.0:
        return 0.0
    return 7.0 * min(1.0, since_dusk / 9.0) * min(1.0, (16.0 - since_dusk) / 4.5)


def _valley_column(
    grid: HorizontalGrid, terrain: Field, hours: float, local_hour: float, synoptic: float
) -> Column:
    """Build the air of the valley; ``hours`` since the start turn the upper wind."""
    shape = terrain.shape
    relief = terrain - _FLOOR
    sun = _sun(local_hour)
    night = 1.0 - min(1.0, 4.0 * sun)
    flux = (-30.0 + 10.0 * np.clip(relief / 1000.0, 0.0, 1.0)) * night + 350.0 * sun * (
        1.0 - 0.15 * relief / 1000.0
    )
    mixed = np.maximum(0.0, _mixed_depth(local_hour) * (1.0 - 0.2 * np.clip(relief / 1000.0, 0.0, 1.0)))
    residual = np.full(shape, _residual_depth(local_hour))
    depth = np.maximum(mixed, residual)
    # free air: 4.5 K per km above a reference that follows the height above sea level
    reference = 306.0 + 1.0 * math.sin(2.0 * math.pi * hours / 60.0)
    background = reference + 0.0045 * relief

    def free(z: Field) -> Field:
        return background + 0.0045 * z

    well_mixed = background + 0.0045 * 0.75 * depth
    cold_pool = _cooling(local_hour) * (1.0 - 0.6 * np.clip(relief / 800.0, 0.0, 1.0))
    inversion_depth = 60.0 + 8.0 * ((local_hour - 18.0) % 24.0)

    def theta(z: Field) -> Field:
        inside = np.clip((depth - z) / np.maximum(0.1 * depth, 60.0) + 0.5, 0.0, 1.0)
        blended = inside * np.minimum(well_mixed, free(z) + 0.0045 * depth) + (1.0 - inside) * free(z)
        blended = np.maximum(blended, np.where(z > depth, free(z), -np.inf))
        # what the morning sun has stirred is equally cold
        return blended - cold_pool * np.exp(-np.maximum(z, 1.1 * mixed) / inversion_depth)

    ground_level = np.zeros((1, *shape))
    excess = np.where(flux > 0, 2.5 * np.clip(flux / 350.0, 0.0, 1.0), 0.0)
    surface_theta = theta(ground_level)[0] + excess - np.where(flux > 0, 0.0, 1.0)
    surface_pressure = standard_pressure(terrain) + 1.5 * math.sin(2.0 * math.pi * hours / 40.0)
    mean_theta = background + 4.0

    def temperature(z: Field) -> Field:
        return np.maximum(theta(z) * exner(surface_pressure, mean_theta, z), 210.0)

    # winds: what blows above the ridges, what the valley makes of it, and slope winds
    u_high, v_high = -synoptic_speed(hours) * math.sin(synoptic), -synoptic_speed(hours) * math.cos(synoptic)
    axis_tilt = -np.gradient(terrain, axis=1) / (grid.size * 1000.0)
    slope = np.clip(axis_tilt / 0.05, -1.0, 1.0)
    heating = sun - 0.45 * night
    along_valley = (2.6 * sun - 1.7 * night) * np.exp(-np.clip(relief, 0.0, None) / 500.0)
    ridge = np.maximum(2400.0 - terrain, 300.0)

    def wind(z: Field) -> tuple[Field, Field]:
        exposed = 1.0 / (1.0 + np.exp(-(z - 0.7 * ridge) / (0.25 * ridge)))
        exposed = exposed + (1.0 - exposed) * 0.35 * max(sun, 0.25)
        low = 1.0 - np.clip(z / ridge, 0.0, 1.0)
        upslope = -1.4 * heating * slope * np.exp(-z / 150.0) * (1.0 - z / 300.0)
        near_ground = log_profile(z, _VALLEY_ROUGHNESS)
        aloft = 1.0 + 0.12 * np.clip((z + relief - 2000.0) / 1000.0, 0.0, 10.0)
        u = (u_high * exposed * aloft + upslope) * near_ground
        v = (v_high * exposed * aloft + along_valley * low) * near_ground
        return u, v

    speed = np.hypot(*(part[0] for part in wind(np.full((1, *shape), 10.0))))
    ustar = np.clip(0.4 * speed / math.log(10.0 / _VALLEY_ROUGHNESS) + 0.22 * sun, 0.1, 0.5)

    def humidity(z: Field) -> Field:
        moist = np.exp(-np.maximum(z + relief, 0.0) / 3500.0)
        return np.clip(
            (0.45 - 0.2 * sun) * moist + 0.2 * np.exp(-(((z - depth) / 500.0) ** 2)) * sun, 0.05, 0.95
        )

    return Column(
        temperature=temperature,
        wind=wind,
        surface_pressure=surface_pressure,
        t2m=surface_theta * (surface_pressure / REFERENCE_PRESSURE) ** POISSON,
        flux=flux,
        ustar=ustar,
        humidity=humidity,
        pbl_height=np.maximum(mixed, 60.0 + 100.0 * ustar),
    )


_VALLEY_ROUGHNESS = 0.2


def synoptic_speed(hours: float) -> float:
    """Speed of the wind above the ridges of the valley [m s-1], hours after the start."""
    return 5.0 + 1.5 * math.sin(2.0 * math.pi * (hours + 6.0) / 48.0)


def valley(start: str | np.datetime64 = DEMO_START, hours: int = DEMO_HOURS) -> World:
    """
    Make the valley of the demo: diurnal boundary layer, valley and slope winds, turning upper wind.

    Parameters
    ----------
    start : datetime64
        First time [UTC].
    hours : int
        Length; there are ``hours + 1`` hourly frames.

    Returns
    -------
    World
        The same for the same arguments, on every machine to rounding.
    """
    grid, levels = valley_grid(), sigma_levels()
    terrain = valley_terrain(grid)
    frames = []
    for time in times_from(start, hours, 60):
        elapsed = float((time - moment(start)) / HOUR)
        of_day = float((time - time.astype("datetime64[D]")) / HOUR)
        local_hour = (of_day + _VALLEY_LON / 15.0) % 24.0
        # from the south-west, veering to the north-west in 30 hours
        direction = math.radians(215.0 + 3.3 * elapsed)
        column = _valley_column(grid, terrain, elapsed, local_hour, direction)
        frames.append(frame_of(time, grid, levels, terrain, column, roughness=_VALLEY_ROUGHNESS))
    return World(grid, levels, tuple(frames), "VLLY")


def write_demo_met(
    directory: str | os.PathLike[str], start: str | np.datetime64 = DEMO_START, hours: int = DEMO_HOURS
) -> list[Path]:
    """
    Write the valley as files of six hours, named ``%Y%m%d_%H`` and ``_valley``.

    Parameters
    ----------
    directory : path-like
        Where to; it is made if need be.
    start : datetime64
        First time [UTC].
    hours : int
        Length.

    Returns
    -------
    list of Path
        The files in time order.
    """
    world = valley(start, hours)
    paths = []
    for first in range(0, len(world.frames), 6):
        frames = world.frames[first : first + 6]
        stamp = frames[0].time.astype("datetime64[s]").item()
        part = replace(world, frames=frames)
        paths.append(part.write(Path(directory) / f"{stamp:%Y%m%d_%H}_valley"))
    return paths
