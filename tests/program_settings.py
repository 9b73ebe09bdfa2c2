"""
Runs of NOAA's program with one setting changed at a time: which they are, and their meteorology.

Used by the test that compares the native engine with them and by
``tools/make_program_settings.py``, which makes the committed table with the real program.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from stilt.meteorology.columns import World
from stilt.meteorology.valley import valley

TABLE = Path(__file__).parent / "parity" / "data" / "program_settings.parquet"

COLUMNS = tuple(
    "time indx long lati zagl foot mlht pres dens samt sigw tlgr zsfc temp temz rhfr sphu shtf wout whtf "
    "tcld lcld dswf icdx zloc rain crai dmas".split()
)
KEPT_MINUTES = 10
"""Minutes after which the table keeps no rows."""

PLACE = (-111.44, 41.03, 30.0)
SEED = 3
STARTS = {"day": np.datetime64("2024-07-10T21:00"), "night": np.datetime64("2024-07-11T09:30")}
"""A convective and a stable hour in the valley [UTC]; the night starts between two analyses."""

WIND_ERROR = {"siguverr": 2.0, "tluverr": 30.0, "zcoruverr": 300.0, "horcoruverr": 10.0}
ZI_ERROR = {"sigzierr": 30.0, "tlzierr": 30.0, "horcorzierr": 10.0}


@dataclass(frozen=True)
class Case:
    """One run: settings as ours, and the release."""

    params: dict[str, Any] = field(default_factory=dict)
    place: tuple[float, float, float] = PLACE
    altitude_ref: str = "agl"
    n_hours: int = -1
    numpar: int = 1


CASES: dict[str, Case] = {
    "default": Case(),
    "forward": Case(n_hours=1),
    "veght fraction": Case({"veght": 0.3}),
    "veght metres": Case({"veght": 120.0}),
    "tlfrac": Case({"tlfrac": 0.05}),
    "hscale": Case({"hscale": 1800.0}),
    "kmix0": Case({"kmix0": 400}),
    "kmix0 below 0": Case({"kmix0": -10}),
    "kmixd 0": Case({"kmixd": 0, "kmix0": 0}),
    "kmixd 1": Case({"kmixd": 1, "kmix0": 0}),
    "kmixd 2": Case({"kmixd": 2, "kmix0": 0}),
    "kmixd 500": Case({"kmixd": 500}),
    "kbls 2": Case({"kbls": 2}),
    "k10m": Case({"k10m": 0}),
    "kzmix 1": Case({"kzmix": 1}),
    "kzmix 2": Case({"kzmix": 2, "tvmix": 2.0}),
    "kzmix 3": Case({"kzmix": 3, "tvmix": 2.0}, place=(-111.44, 41.03, 2600.0)),
    "tvmix alone": Case({"tvmix": 2.0}),
    "vscales": Case({"vscales": 50.0, "vscaleu": 150.0}),
    "vscales, more at night": Case({"vscales": 50.0, "vscaleu": 150.0, "tkern": 0.3}),
    "vscale": Case({"vscale": 30.0, "vscaleu": 30.0}),
    "tkern": Case({"tkern": 0.3, "tkerd": 0.1}),
    "z_top": Case({"z_top": 12000.0}),
    "outdt": Case({"outdt": 5}),
    "ziscale": Case({"ziscale": 0.5}),
    "ziscale list": Case({"ziscale": (1.5, 0.4)}),
    "ziscale below 0": Case({"ziscale": -1.0}),
    "kmsl": Case(place=(-111.44, 41.03, 1900.0), altitude_ref="msl"),
    "w_option 4": Case({"w_option": 4}),
    "nturb": Case({"nturb": 1}),
    "emisshrs": Case({"emisshrs": 0.1}, numpar=5),
    "wind error": Case(dict(WIND_ERROR)),
    "PBL-height error": Case(dict(ZI_ERROR)),
    "both errors": Case({**WIND_ERROR, **ZI_ERROR}, numpar=2),
}


@cache
def settings_world(hour: str) -> World:
    """Return the demo's valley for three hours around a start, with turbulence, clouds and rain added."""
    start = STARTS[hour].astype("datetime64[h]") - np.timedelta64(1, "h")
    world = valley(start.astype("datetime64[s]"), 3)
    y, x = np.mgrid[0 : world.grid.ny, 0 : world.grid.nx].astype(float)
    level = np.arange(world.levels.n_upper, dtype=float)[:, None, None]
    frames = []
    for k, frame in enumerate(world.frames):
        surface = {
            "LHTF": 60.0 + 10.0 * k + x,
            "TCLD": 35.0 + 12.0 * k + 0.5 * y,
            "LCLD": 20.0 + 5.0 * k + 0.3 * x,
            "TPP1": np.full(x.shape, (0.001, 0.004, 0.002, 0.003)[k]),
            "CPP1": 0.0004 * (k + 1) + 0.00001 * y,
        }
        upper = {"TKEN": np.maximum(0.05, 1.5 - 0.12 * level + 0.005 * x + 0.0 * y)}
        frames.append(
            replace(
                frame,
                surface={**frame.surface, **{n: f.astype(np.float32) for n, f in surface.items()}},
                upper={**frame.upper, **{n: f.astype(np.float32) for n, f in upper.items()}},
            )
        )
    return replace(world, frames=tuple(frames))
