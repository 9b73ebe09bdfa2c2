"""When precipitation began to accumulate anew, as the program judges it for its whole window."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from parity.exact_met import GRIDS, START, ExactCase, levels_of
from stilt.config import TransportParams
from stilt.meteorology.arl.writer import write_arl
from stilt.receptors import PointReceptor
from stilt.transport.native.engine import NativeEngine
from stilt.transport.native.tiles import ColumnPool, TileCache
from stilt.transport.protocol import TransportRequest

COLUMNS = ("time", "indx", "long", "lati", "foot", "rain")
OWN = (17, 17)
"""Column of the receptor, 1-based; the program's window then holds columns 10 to 25."""

PROGRAM = {
    "more everywhere": (2.0, 3.0, {}, 1.0),
    "less everywhere": (2.0, 1.0, {}, 1.0),
    "less here": (2.0, 3.0, {OWN: (2.0, 1.0)}, 0.0),
    "more only here": (2.0, 1.0, {OWN: (2.0, 3.0)}, 3.0),
    "a column outside the window emptied": (2.0, 2.0625, {(9, 17): (64.0, 0.0)}, 0.0625),
    "outermost column of the window emptied": (2.0, 2.0625, {(10, 17): (64.0, 0.0)}, 2.0625),
    "its last column emptied": (2.0, 2.0625, {(25, 17): (64.0, 0.0)}, 2.0625),
    "the next emptied": (2.0, 2.0625, {(26, 17): (64.0, 0.0)}, 0.0625),
}
"""Accumulated [mm] at both analyses, other columns, and what hycs_std gives for the hour."""


def write_met(folder: Path, first: float, second: float, others: dict) -> Path:
    grid = GRIDS["lambert"]
    case = ExactCase("rain", "lambert", "sigma", "USTR", "SPHU", "day", "", 1, 1, 0.0, 0.0, 10.0, flat=True)
    frames = []
    for hour, everywhere in enumerate((first, second)):
        frame = case.frames()[hour]
        rain = np.full((grid.ny, grid.nx), everywhere, dtype=np.float32)
        for (column, row), values in others.items():
            rain[row - 1, column - 1] = values[hour]
        frames.append(replace(frame, surface={**frame.surface, "TPP1": rain * np.float32(2.0**-10)}))
    return write_arl(folder / "rain.arl", grid, levels_of("sigma"), frames, model_id="EXCT")


@pytest.mark.parametrize("name", PROGRAM)
def test_twin_judges_rain_as_the_program(name: str, tmp_path: Path) -> None:
    first, second, others, expected = PROGRAM[name]
    lon, lat = GRIDS["lambert"].to_lonlat(OWN[0] + 0.1, OWN[1] + 0.1)
    params = TransportParams(n_hours=1, numpar=1, random="hysplit", nturb=1, varsiwant=COLUMNS)
    receptor = PointReceptor(START, float(lon), float(lat), 50.0)
    request = TransportRequest(receptor, "rain", (write_met(tmp_path, first, second, others),), params)
    particles = NativeEngine(ColumnPool(TileCache(tmp_path / "tiles"))).run(request).particles
    # printed by the program with 7 decimals, in m per minute; 2^-10 m stand for 1 mm
    assert particles["rain"].iloc[0] * 60.0 * 2.0**10 == pytest.approx(expected, abs=5e-4)
