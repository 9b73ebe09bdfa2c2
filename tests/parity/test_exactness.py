"""
Seeded runs of NOAA's program, followed row by row on meteorology anyone can make again.

The tables come from ``make_exactness.py``. Bounds are those within which printed numbers
of the same path may differ; a case whose particles part sooner or later (one stream of
random numbers serves all of them, so one rounding is enough) says after how many minutes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from exact_met import CASES, ExactCase
from make_exactness import COLUMNS, DIGITS, TABLES
from stilt.config import TransportParams
from stilt.receptors import PointReceptor
from stilt.transport.native.engine import NativeEngine
from stilt.transport.native.tiles import ColumnPool, TileCache
from stilt.transport.protocol import TransportRequest

BOUNDS = {
    "long": 1e-4, "lati": 1e-4, "zagl": 0.05, "foot": 1e-7, "samt": 1e-4, "sigw": 1e-3, "tlgr": 1e-4, "mlht": 0.3,
    "pres": 0.01, "dens": 1e-5,
}  # fmt: skip
"""Largest differences allowed; half a printed digit comes on top."""


def twin(case: ExactCase, folder: Path) -> pd.DataFrame:
    """Run the engine as the program's twin."""
    params = TransportParams(
        n_hours=case.n_hours, numpar=case.numpar, varsiwant=COLUMNS, seed=case.seed, random="hysplit", **case.params
    )
    receptor = PointReceptor(case.start, case.lon, case.lat, case.height)
    request = TransportRequest(receptor, "exact", (case.write_met(folder),), params)
    return NativeEngine(ColumnPool(TileCache(folder / "tiles"))).run(request).particles


def program(case: ExactCase) -> pd.DataFrame:
    """Read what the program printed."""
    packed = pd.read_parquet(TABLES / f"{case.name}.parquet")
    return packed.assign(**{name: packed[name] / 10.0**digits for name, digits in DIGITS.items()})


def differences(case: ExactCase, ours: pd.DataFrame) -> pd.DataFrame:
    """Return our rows minus the program's, absolute, in time order; NaN where only one has a row."""
    keys = ["time", "indx"]
    theirs = program(case).set_index(keys)
    gap = (ours.set_index(keys)[list(DIGITS)] - theirs[list(DIGITS)]).abs()
    return gap.assign(age=np.abs(gap.index.get_level_values("time"))).sort_values("age")


def first_divergence(gap: pd.DataFrame) -> float:
    """Return the minute at which a difference first exceeds its bound, infinity where none does."""
    beyond = np.zeros(len(gap), dtype=bool)
    for name, bound in BOUNDS.items():
        beyond |= ~(gap[name].to_numpy() <= bound + 0.51 * 10.0 ** -DIGITS[name])
    return float(gap["age"][beyond].min()) if beyond.any() else np.inf


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_twin_follows_the_program(case: ExactCase, tmp_path: Path) -> None:
    gap = differences(case, twin(case, tmp_path))
    assert len(gap) == len(program(case))
    minute = first_divergence(gap)
    if case.diverges_after is None:
        assert minute == np.inf
    else:
        assert minute > case.diverges_after


def test_made_meteorology_is_the_same_to_the_last_bit(tmp_path: Path) -> None:
    import hashlib

    digest = hashlib.sha256(CASES[0].write_met(tmp_path).read_bytes()).hexdigest()
    assert digest[:16] == "0"
