"""
Seeded runs of NOAA's program, followed row by row on meteorology anyone can make again.

The tables come from ``make_exactness.py``. Bounds are those within which printed numbers
of the same path may differ; a case whose particles part sooner or later (one stream of
random numbers serves all of them, so one rounding is enough) says after how many minutes.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from parity.exact_met import BANK_CASES, CASES, MASS_CASES, ExactCase
from parity.make_exactness import COLUMNS, DIGITS, TABLES, run_program
from stilt.config import TransportParams
from stilt.receptors import ColumnReceptor, PointReceptor, Receptor
from stilt.transport.native import engine
from stilt.transport.native.release import Release, release_particles
from stilt.transport.native.tiles import ColumnPool, TileCache
from stilt.transport.protocol import TransportRequest

BOUNDS = {
    "long": 1e-4, "lati": 1e-4, "zagl": 0.05, "foot": 1e-7, "samt": 1e-4, "sigw": 1e-3, "tlgr": 1e-4,
    "mlht": 0.3,
    "pres": 0.01, "dens": 1e-5, "dmas": 1e-4,
}  # fmt: skip
"""Largest differences allowed; half a printed digit comes on top."""


WITHOUT_MASS = tuple(name for name in COLUMNS if name != "dmas")
"""Columns of runs that do not follow the mass of the air: other code is compiled for those that do."""


def twin(
    case: ExactCase, folder: Path, met: Path | None = None, columns: tuple[str, ...] = WITHOUT_MASS
) -> pd.DataFrame:
    """Run the engine as the program's twin."""
    params = TransportParams(
        n_hours=case.n_hours,
        numpar=case.numpar,
        varsiwant=columns,
        seed=case.seed,
        random="hysplit",
        **case.params,
    )
    receptor: Receptor = PointReceptor(case.start, case.lon, case.lat, case.height)
    if case.starts:
        receptor = ColumnReceptor(case.start, case.lon, case.lat, case.height, case.top)
    request = TransportRequest(receptor, "exact", (met or case.write_met(folder),), params)
    with pytest.MonkeyPatch.context() as patch:
        if case.starts:
            patch.setattr(engine, "release_particles", partial(released_at, np.array(case.starts)))
        return engine.NativeEngine(ColumnPool(TileCache(folder / "tiles"))).run(request).particles


def released_at(heights: np.ndarray, *args: Any, **settings: Any) -> Release:
    """Release particles at given heights: in a line the program's come from its compiler's generator."""
    return replace(release_particles(*args, **settings), height=heights)


def program(case: ExactCase) -> pd.DataFrame:
    """Read what the program printed."""
    packed = pd.read_parquet(TABLES / f"{case.name}.parquet")
    return packed.assign(**{name: packed[name] / 10.0**digits for name, digits in DIGITS.items()})


def differences(ours: pd.DataFrame, theirs: pd.DataFrame) -> pd.DataFrame:
    """Return our rows minus the program's, absolute, in time order; NaN where only one has a row."""
    keys = ["time", "indx"]
    theirs = theirs.set_index(keys)
    names = [name for name in DIGITS if name in ours]
    gap = (ours.set_index(keys)[names] - theirs[names]).abs()
    return gap.assign(age=np.abs(gap.index.get_level_values("time"))).sort_values("age")


def first_divergence(gap: pd.DataFrame) -> float:
    """Return the minute at which a difference first exceeds its bound, infinity where none does."""
    beyond = np.zeros(len(gap), dtype=bool)
    for name, bound in BOUNDS.items():
        if name not in gap:
            continue
        beyond |= ~(gap[name].to_numpy() <= bound + 0.51 * 10.0 ** -DIGITS[name])
    return float(gap["age"][beyond].min()) if beyond.any() else np.inf


def assert_follows(case: ExactCase, ours: pd.DataFrame, theirs: pd.DataFrame) -> None:
    gap = differences(ours, theirs)
    assert len(gap) == len(theirs)
    minute = first_divergence(gap)
    assert minute == np.inf if case.diverges_after is None else minute > case.diverges_after


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_twin_follows_the_program(case: ExactCase, tmp_path: Path) -> None:
    assert_follows(case, twin(case, tmp_path), program(case))


@pytest.mark.parametrize("case", [*CASES, *MASS_CASES], ids=lambda case: case.name)
def test_the_mass_of_the_air_follows_the_program(case: ExactCase, tmp_path: Path) -> None:
    """Following it changes nothing else, and it is the program's to the printed digits."""
    ours = twin(case, tmp_path, columns=COLUMNS)
    pd.testing.assert_frame_equal(ours.drop(columns="dmas"), twin(case, tmp_path), check_exact=True)
    assert (ours["dmas"] != 1.0).mean() > 0.9
    assert_follows(case, ours, program(case))


@pytest.mark.reference
@pytest.mark.parametrize("case", BANK_CASES, ids=lambda case: case.name)
def test_the_twin_follows_the_program_on_real_meteorology(
    case: ExactCase, tmp_path: Path, reference_dir: Path
) -> None:
    configured = os.environ.get("STILT_TEST_HYSPLIT_DIR")
    if not configured or not (Path(configured) / "hycs_std").is_file():
        pytest.skip("STILT_TEST_HYSPLIT_DIR is not set to a folder with hycs_std")
    met = reference_dir / "met" / case.met
    assert_follows(case, twin(case, tmp_path, met, COLUMNS), run_program(case, Path(configured), met))


def test_made_meteorology_is_the_same_to_the_last_bit(tmp_path: Path) -> None:
    digest = hashlib.sha256()
    for case in CASES:
        digest.update(case.write_met(tmp_path).read_bytes())
    assert digest.hexdigest()[:16] == "e9ed4899fd5897df"
