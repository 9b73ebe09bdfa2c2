"""Seeded runs of the real program give the very rows of the reference bank."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stilt.config import HysplitConfig, TransportParams
from stilt.receptors import Receptor
from stilt.transport.hysplit.engine import HysplitEngine
from stilt.transport.protocol import TransportRequest

pytestmark = [pytest.mark.hysplit, pytest.mark.reference]

COLUMNS = (
    "time indx long lati zagl sigw tlgr zsfc icdx temp samt foot shtf tcld dmas dens rhfr sphu lcld zloc "
    "dswf wout mlht rain crai pres whtf temz"
).split()
UNDEFINED = {"crai"}
"""Where the met has no convective rain the program prints memory it never set."""

CASES = [f"t{number:02d}" for number in range(1, 23)]
WHOLE = ("t12", "t17", "t18", "t19")
"""Run to the end; the others for an hour, whose rows do not depend on what follows."""


def run_case(root: Path, program: Path, start: str, seed: int, **settings) -> tuple[dict, Path, pd.DataFrame]:
    (folder,) = (root / "transport").glob(f"{start}*")
    case = json.loads((folder / "case.json").read_text())
    where = dict(case["receptor"])
    receptor = Receptor.from_dict({"type": where.pop("kind"), **where})
    hours = case["n_hours"]
    chosen = dict(case["params"])
    if "ziscale" in chosen:
        chosen["ziscale"] = [chosen["ziscale"]] * abs(hours)
    if start not in WHOLE:
        hours = hours // abs(hours)
    params = TransportParams(
        **{
            "n_hours": hours,
            "numpar": case["numpar"],
            "varsiwant": COLUMNS,
            "seed": seed,
            **chosen,
            **settings,
        }
    )
    met = tuple(root / "met" / name for name in case["met"])
    request = TransportRequest(receptor, case["id"], met, params, error=params.is_error)
    engine = HysplitEngine(HysplitConfig(exe=program))
    return case, folder, engine.run(request).particles


@pytest.mark.parametrize("start", CASES)
def test_every_row_is_the_stored_one(reference_dir, hysplit_dir, start):
    """All columns of the stored particles, digit for digit."""
    (folder,) = (reference_dir / "transport").glob(f"{start}*")
    seed = (json.loads((folder / "case.json").read_text()).get("seeds") or [0])[0]
    case, folder, table = run_case(reference_dir, hysplit_dir, start, seed)
    stored = pd.read_parquet(folder / "full.parquet").set_index(["indx", "time"])
    if start not in WHOLE:
        stored = stored[np.abs(stored.index.get_level_values("time")) <= 60]
    ours = table.set_index(["indx", "time"])
    assert stored.index.isin(ours.index).all()
    ours = ours.loc[stored.index]
    compared = [name for name in stored.columns if name in ours.columns and name not in UNDEFINED]
    assert len(compared) >= 24
    for name in compared:
        np.testing.assert_array_equal(
            ours[name].to_numpy(dtype=np.float32), stored[name].to_numpy(dtype=np.float32), err_msg=name
        )
    if "particles_released" in case:
        assert table["indx"].nunique() == case["particles_released"]


@pytest.mark.parametrize("start", ["t02", "t08"])
def test_other_seeds_and_fewer_columns_give_theirs(reference_dir, hysplit_dir, start):
    """The particles of another seed at the stored times, with the default columns."""
    columns = "time indx long lati zagl foot mlht pres dens samt sigw tlgr".split()
    _, folder, table = run_case(reference_dir, hysplit_dir, start, 2, varsiwant=columns)
    stored = pd.read_parquet(folder / "particles.parquet")
    stored = stored[(stored["seed"] == 2) & (stored["time"].abs() <= 60)].set_index(["indx", "time"])
    ours = table.set_index(["indx", "time"]).loc[stored.index]
    for name in ("long", "lati", "zagl", "mlht", "pres", "dens", "sigw", "tlgr"):
        np.testing.assert_array_equal(
            ours[name].to_numpy(dtype=np.float32), stored[name].to_numpy(dtype=np.float32), err_msg=name
        )
