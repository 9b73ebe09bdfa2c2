"""
Meteorology for the exactness tables, the same to the last bit on every machine.

Only sums, products and quotients make it (no sine, no logarithm, whose last bit depends
on the machine), and every field is rounded to a power of two before it is packed.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from stilt.meteorology.arl.writer import write_arl
from stilt.meteorology.frame import Box, MetFrame
from stilt.meteorology.projection import HorizontalGrid
from stilt.meteorology.vertical import HYBRID, PRESSURE, SIGMA, TERRAIN, VerticalLevels

START = np.datetime64("2020-06-01T00:00", "s")

GRIDS = {
    "lambert": HorizontalGrid.lambert(40.0, -100.0, 12.0, 34, 34),
    "polar": HorizontalGrid.conformal(
        90.0, -80.0, 30.0, 34, 34, center_lat=65.0, center_lon=-95.0, ref_lat=60.0
    ),
    "mercator": HorizontalGrid.conformal(
        0.0, 120.0, 20.0, 34, 34, center_lat=10.0, center_lon=118.0, ref_lat=5.0
    ),
    "latlon": HorizontalGrid.latlon(5.0, 40.0, 0.25, 0.25, 34, 34),
    "global": HorizontalGrid.latlon(0.0, -90.0, 5.0, 5.0, 72, 37),
}

_SIGMAS = (
    0.998, 0.992, 0.982, 0.968, 0.95, 0.93, 0.9, 0.86, 0.8, 0.74, 0.66, 0.58, 0.5, 0.42, 0.34, 0.26, 0.18,
    0.1,
    0.05, 0.02,
)  # fmt: skip
_HYBRIDS = (
    "0.9980", "0.9920", "0.9820", "1.9670", "2.9480", "4.9260", "8.8920", "15.845", "25.775", "40.700",
    "60.600",
    "80.500", "95.405", "99.320", "99.242", "99.161", "90.090", "70.030", "45.005", "20.000",
)  # fmt: skip
_PRESSURES = (
    1000, 985, 970, 950, 925, 900, 850, 800, 750, 700, 650, 600, 550, 500, 400, 300, 250, 200, 150, 100, 70,
    50, 30,
)  # fmt: skip
_PRESSURE_HEIGHTS = (
    110, 240, 370, 545, 770, 1000, 1475, 1975, 2505, 3065, 3665, 4310, 5010, 5775, 7540, 9745, 11050, 12600,
    14500,
    17100, 19300, 21400, 24700,
)  # fmt: skip
_TERRAIN_HEIGHTS = (
    20, 60, 120, 220, 350, 520, 750, 1050, 1400, 1850, 2400, 3100, 4000, 5100, 6500, 8200, 10200, 12600,
    15500, 19000,
)  # fmt: skip


@dataclass(frozen=True)
class ExactCase:
    """A seeded run of the program on made meteorology."""

    name: str
    grid: str
    levels: str
    flux: str
    """USTR, UMOF, EXCO, or empty for none."""
    moisture: str
    weather: str
    """day, evening or night."""
    start: str
    n_hours: int
    numpar: int
    lon: float
    lat: float
    height: float
    pres: bool = False
    leave_out: tuple[str, ...] = ()
    params: dict[str, Any] = field(default_factory=dict)
    seed: int = 7
    diverges_after: int | None = None
    """Minutes within bounds, as measured; None when the whole run is."""
    top: float = 0.0
    """Top of a vertical line that starts at ``height`` [m AGL]; 0 for a point."""
    starts: tuple[float, ...] = ()
    """Where the program released the particles of a line [m AGL] (``make_exactness.starts``)."""
    flat: bool = False
    met: str = ""
    """File of the reference bank instead of made meteorology."""

    def write_met(self, folder: Path) -> Path:
        """Write the case's meteorology, nine hourly frames (the global one is six-hourly)."""
        return write_arl(
            folder / f"{self.name}.arl",
            GRIDS[self.grid],
            levels_of(self.levels),
            self.frames(),
            model_id="EXCT",
        )

    def frames(self) -> list[MetFrame]:
        """Return the analyses, hourly (six-hourly on the globe)."""
        step = 6 if self.grid == "global" else 1
        count = 4 if self.grid == "global" else 9
        return [_frame(self, hour * step) for hour in range(count)]


def levels_of(kind: str) -> VerticalLevels:
    """Return the levels of one kind of vertical coordinate."""
    if kind == "sigma":
        return VerticalLevels(SIGMA, (1.0, *_SIGMAS), 0.0)
    if kind == "hybrid":
        return VerticalLevels(HYBRID, (1.0, *map(float, _HYBRIDS)), 0.0)
    if kind == "pressure":
        return VerticalLevels(PRESSURE, (0.0, *map(float, _PRESSURES)), 0.0)
    return VerticalLevels(TERRAIN, (0.0, *map(float, _TERRAIN_HEIGHTS)), 0.0)


def _wave(phase: np.ndarray) -> np.ndarray:
    """Return a smooth wave of period 1 and amplitude 1 made of parabolas."""
    part = phase - np.floor(phase)
    return np.where(part < 0.5, 16.0 * part * (0.5 - part), -16.0 * (part - 0.5) * (1.0 - part))


def _rounded(values: np.ndarray, bits: int) -> np.ndarray:
    scale = 2.0**bits
    return (np.rint(values * scale) / scale).astype(np.float32)


def _heat(weather: str, hour: float) -> float:
    if weather == "day":
        return 320.0 - 5.0 * (hour - 3.0) * (hour - 3.0)
    if weather == "evening":
        return 140.0 - 45.0 * hour
    return -24.0 - 2.0 * hour


def _frame(case: ExactCase, hour: int) -> MetFrame:
    grid, levels = GRIDS[case.grid], levels_of(case.levels)
    x, y = np.meshgrid(np.arange(grid.nx, dtype=float), np.arange(grid.ny, dtype=float))
    # whole waves around the globe, so that the seam is no edge
    u1, v1, t1 = x / (grid.nx / 2.0), y / 13.0, hour / 24.0
    terrain = 400.0 + 150.0 * _wave(u1) + 120.0 * _wave(v1 + 0.3)
    if case.flat:
        terrain = 400.0 + 0.0 * terrain
    surface_pressure = 1013.0 * (1.0 - terrain / 44330.0) ** 5 * (1.0 - 0.26 * terrain / 44330.0)
    surface_pressure = surface_pressure + 2.0 * _wave(u1 * 0.5 + t1)
    heat = _heat(case.weather, float(hour)) * (1.0 + 0.12 * _wave(u1 + v1))
    warm = 292.0 - 0.0065 * terrain + 1.5 * _wave(v1 + t1)
    if case.levels == "terrain":
        z = np.array(_TERRAIN_HEIGHTS, dtype=float)[:, None, None] * (1.0 - terrain / 20000.0)
    elif case.levels == "pressure":
        height = np.array(_PRESSURE_HEIGHTS, dtype=float)[:, None, None] + 15.0 * _wave(u1 + t1)
        z = height - terrain
    else:
        if case.levels == "sigma":
            ratio = np.array(_SIGMAS)[:, None, None] + 0.0 * terrain
        else:
            numbers = np.array([float(text) for text in _HYBRIDS])[:, None, None]
            ratio = np.floor(numbers) / surface_pressure + (numbers - np.floor(numbers))
        # a rational stand-in for the logarithm: good enough to place temperatures
        part = (1.0 - ratio) / (1.0 + ratio)
        z = 7600.0 * 2.0 * part * (1.0 + part * part * (1.0 / 3.0 + part * part * 0.3))
    above = np.maximum(z, 0.0)
    depth = {"day": 1300.0, "evening": 900.0, "night": 0.0}[case.weather] * (1.0 + 0.1 * _wave(u1 + 0.2))
    mixed = np.minimum(above, depth)
    temperature = (
        warm - 0.0098 * mixed - 0.0055 * (above - mixed) + 1.5 * np.minimum(1.0, (above - mixed) / 150.0)
    )
    if case.weather == "night":
        temperature = temperature - 5.0 / (1.0 + above / 60.0)
    temperature = np.maximum(temperature, 208.0)
    growth = above / (above + 60.0)
    u = (4.0 + 2.0 * _wave(v1 + t1) + above / 900.0) * (0.25 + 0.75 * growth)
    v = (2.0 - 1.5 * _wave(u1 - t1)) * (0.3 + 0.7 * growth)
    dry = 1.0 / (1.0 + above / 2500.0)
    upper = {"TEMP": _rounded(temperature, 9), "UWND": _rounded(u, 9), "VWND": _rounded(v, 9)}
    upper["WWND"] = _rounded(0.03 * _wave(u1 + 0.1) * _wave(v1) * above / (above + 800.0), 18)
    if case.moisture == "SPHU":
        upper["SPHU"] = _rounded(0.009 * dry * dry * (1.0 + 0.1 * _wave(u1)), 22)
    else:
        upper["RELH"] = _rounded(60.0 * dry * (1.0 + 0.1 * _wave(u1)) + 5.0, 6)
    if case.levels == "pressure":
        upper["HGTS"] = _rounded(height, 6)
    if case.pres or case.levels == "terrain":
        if case.levels == "terrain":
            part = above / 8000.0
            ratio = 1.0 / (1.0 + part * (1.0 + part * (0.5 + part * (0.16 + 0.05 * part))))
        upper["PRES"] = _rounded(ratio * surface_pressure * 1.0001, 10)
    surface = {"SHGT": _rounded(terrain, 5), "PRSS": _rounded(surface_pressure, 8)}
    surface["T02M"] = _rounded(warm + (1.2 if case.weather == "day" else 0.2), 9)
    surface |= {
        "U10M": _rounded(0.35 * (4.0 + 2.0 * _wave(v1 + t1)), 9),
        "V10M": _rounded(0.7 - 0.5 * _wave(u1), 9),
    }
    surface["RGHS"] = _rounded(0.1 + 0.05 * _wave(v1), 12)
    if case.flux:
        surface["SHTF"] = _rounded(heat, 6)
        stress = 0.35 + 0.08 * _wave(u1 - v1)
        if case.flux == "USTR":
            surface["USTR"] = _rounded(stress, 12)
        elif case.flux == "UMOF":
            surface |= {
                "UMOF": _rounded(0.8 * stress * stress, 13),
                "VMOF": _rounded(-0.4 * stress * stress, 13),
            }
        else:
            surface["EXCO"] = _rounded(0.025 * (1.0 + 0.3 * _wave(u1)), 16)
    for name in case.leave_out:
        surface.pop(name)
    time = START + np.timedelta64(hour, "h")
    box = Box(0, grid.nx, 0, grid.ny)
    shape = (levels.n_upper, grid.ny, grid.nx)
    upper = {name: np.ascontiguousarray(np.broadcast_to(values, shape)) for name, values in upper.items()}
    return MetFrame(time, box, surface, upper)


_DAY, _NIGHT = "2020-06-01T04:00", "2020-06-01T04:20"

CASES = [
    ExactCase("day_back", "lambert", "sigma", "USTR", "SPHU", "day", _DAY, -2, 50, -100.3, 40.2, 10.0,
                  pres=True),
    ExactCase("day_forward", "lambert", "sigma", "USTR", "SPHU", "day", _DAY, 2, 50, -100.1, 39.9, 300.0,
                  pres=True),
    ExactCase("evening_back", "lambert", "sigma", "USTR", "RELH", "evening", _DAY, -2, 50, -100.3, 40.2,
                  10.0),
    ExactCase("evening_forward", "lambert", "hybrid", "USTR", "SPHU", "evening", "2020-06-01T02:30", 2, 50,
                  -100.3, 40.2, 50.0),
    ExactCase("night_back", "lambert", "sigma", "USTR", "SPHU", "night", _NIGHT, -2, 50, -100.3, 40.2, 10.0),
    ExactCase("night_forward", "lambert", "sigma", "USTR", "SPHU", "night", _NIGHT, 2, 50, -99.9, 40.1,
                  30.0),
    ExactCase("one_back", "lambert", "sigma", "USTR", "SPHU", "day", "2020-06-01T08:00", -8, 1, -99.2, 40.3,
                  10.0),
    ExactCase("one_forward", "latlon", "hybrid", "USTR", "SPHU", "evening", "2020-06-01T00:00", 8, 1, 8.3,
                  43.6, 10.0),
    ExactCase("polar_umof", "polar", "sigma", "UMOF", "RELH", "day", _DAY, -1, 20, -94.0, 65.3, 10.0,
                  pres=True),
    ExactCase("mercator_exco", "mercator", "hybrid", "EXCO", "SPHU", "day", _DAY, 1, 20, 118.3, 10.2, 100.0),
    ExactCase("latlon_pressure", "latlon", "pressure", "USTR", "RELH", "day", _DAY, -2, 20, 8.6, 43.7, 10.0),
    ExactCase("global_pressure", "global", "pressure", "USTR", "SPHU", "day", "2020-06-01T11:00", -4, 20,
                  0.8, 42.0, 200.0),
    ExactCase("terrain_levels", "lambert", "terrain", "USTR", "SPHU", "day", _DAY, -1, 20, -100.3, 40.2,
                  50.0),
    ExactCase("no_fluxes", "lambert", "sigma", "", "SPHU", "day", _DAY, -1, 20, -100.3, 40.2, 50.0),
    ExactCase("no_surface_air", "lambert", "hybrid", "USTR", "RELH", "night", _NIGHT, -1, 20, -100.3, 40.2,
                  10.0,
              leave_out=("T02M", "U10M", "V10M")),
    ExactCase("column", "lambert", "sigma", "USTR", "SPHU", "day", _DAY, -1, 20, -100.3, 40.2, 10.0,
              top=1500.0, flat=True,
              starts=(64.0601, 80.9589, 153.9779, 285.2109, 351.4513, 371.2782, 446.199, 566.6212, 630.168,
                      716.9949, 721.8497, 848.464, 906.5578, 972.1574, 1072.3656, 1123.5386, 1197.6455,
                      1237.2936, 1300.3154, 1416.075)),
    ExactCase("no_roughness", "lambert", "sigma", "USTR", "SPHU", "night", _NIGHT, 1, 20, -100.3, 40.2, 10.0,
              leave_out=("RGHS",)),
    ExactCase("no_roughness_coast", "latlon", "sigma", "USTR", "SPHU", "day", _DAY, 1, 20, 8.52, 44.02, 10.0,
              leave_out=("RGHS",)),
    ExactCase("no_pressure", "lambert", "sigma", "USTR", "SPHU", "day", _DAY, -1, 20, -100.3, 40.2, 10.0,
              leave_out=("PRSS",)),
    ExactCase("profile_evening", "lambert", "hybrid", "USTR", "SPHU", "evening", _NIGHT, -2, 30, -100.3, 40.2,
              10.0, params={"kbls": 2}),
    ExactCase("profile_no_wind", "lambert", "sigma", "", "SPHU", "day", _DAY, 1, 20, -100.3, 40.2, 10.0,
              leave_out=("U10M", "V10M", "PRSS")),
]  # fmt: skip

_BY_NAME = {case.name: case for case in CASES}

MASS_CASES = [
    replace(_BY_NAME["one_back"], name="mean_wind_back", height=40.0, n_hours=-6, params={"nturb": 1}),
    replace(_BY_NAME["one_forward"], name="mean_wind_forward", height=40.0, n_hours=6, params={"nturb": 1}),
]
"""Runs with the mean wind alone, for the mass of the air."""

BANK_CASES = [
    ExactCase("hrrr_night_back", "", "", "", "", "", "2019-05-30T10:00", -2, 50, -111.848, 40.766, 10.0,
                  seed=1,
              met="20190530_06-11_hrrr"),
    ExactCase("hrrr_day_back", "", "", "", "", "", "2019-05-30T02:10", -2, 50, -112.05, 40.7, 35.0, seed=1,
              met="20190530_00-05_hrrr"),
    ExactCase("hrrr_evening_back", "", "", "", "", "", "2019-05-30T02:00", -2, 50, -111.848, 40.766, 5.0,
                  seed=1,
              met="20190530_00-05_hrrr"),
    ExactCase("hrrr_day_forward", "", "", "", "", "", "2019-05-30T00:00", 2, 50, -112.1, 40.72, 10.0, seed=1,
              met="20190530_00-05_hrrr"),
    ExactCase("hrrr_night_forward", "", "", "", "", "", "2019-05-30T07:30", 2, 50, -112.1, 40.72, 10.0,
                  seed=1,
              met="20190530_06-11_hrrr"),
    ExactCase("global_back", "", "", "", "", "", "2001-01-13T00:00", -12, 5, -100.0, 40.0, 10.0, seed=1,
              met="global_3deg_20010110-13.arl"),
    ExactCase("global_tropics", "", "", "", "", "", "2001-01-12T12:00", -4, 50, 20.0, 2.0, 100.0, seed=1,
              met="global_3deg_20010110-13.arl"),
    ExactCase("convective_back", "", "", "", "", "", "2015-07-12T19:00", -2, 50, -98.979, 38.636, 20.0,
                  seed=1,
              met="synth_conv_lcc.arl"),
]  # fmt: skip
"""Runs on the meteorology of the reference bank; the program itself is needed."""
