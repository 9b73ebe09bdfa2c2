"""Each setting beside NOAA's program: the same particle with the same random numbers, minute by minute."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from program_settings import CASES, COLUMNS, KEPT_MINUTES, SEED, STARTS, TABLE, settings_world
from stilt.config import TransportParams
from stilt.receptors import PointReceptor
from stilt.transport.native.engine import NativeEngine
from stilt.transport.native.tiles import ColumnPool, TileCache
from stilt.transport.protocol import TransportRequest

# printed digits, and what their rounding leaves of a comparison
TOLERANCE = {
    "long": 1.1e-4, "lati": 1.1e-4, "zagl": 0.05, "foot": 1e-6, "mlht": 0.3, "pres": 0.011, "dens": 1.1e-5,
    "samt": 1e-3, "sigw": 1.1e-3, "tlgr": 0.01, "zsfc": 0.05, "temp": 0.011, "temz": 0.011, "rhfr": 2e-5,
    "sphu": 1e-6, "shtf": 0.02, "wout": 1e-4, "whtf": 0.02, "tcld": 1e-4, "lcld": 1e-2, "dswf": 0, "icdx": 0,
    "zloc": 0, "rain": 1.1e-8, "crai": 1.1e-8,
    "dmas": 6e-4,
}  # fmt: skip


@pytest.fixture(scope="module")
def program() -> pd.DataFrame:
    return pd.read_parquet(TABLE)


@pytest.fixture(scope="module")
def world_files(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("settings")
    return {hour: settings_world(hour).write(folder / f"{hour}.arl") for hour in STARTS}


@pytest.fixture(scope="module")
def pool(tmp_path_factory) -> ColumnPool:
    return ColumnPool(TileCache(tmp_path_factory.mktemp("columns")))


@pytest.mark.parametrize("hour", list(STARTS))
@pytest.mark.parametrize("name", list(CASES))
def test_a_setting_does_what_it_does_in_the_program(program, world_files, pool, name, hour):
    """All printed columns of ten minutes, near the ground by day and by night."""
    case = CASES[name]
    # the mass is refused without vertical motion
    columns = tuple(c for c in COLUMNS if c != "dmas" or case.params.get("w_option") != 4)
    params = TransportParams(
        n_hours=case.n_hours,
        numpar=case.numpar,
        varsiwant=columns,
        seed=SEED,
        random="hysplit",
        **case.params,
    )
    receptor = PointReceptor(str(STARTS[hour]), *case.place, altitude_ref=case.altitude_ref)
    request = TransportRequest(receptor, "valley", (world_files[hour],), params, error=params.is_error)
    ours = NativeEngine(pool).run(request).particles
    theirs = program[(program["case"] == name) & (program["hour"] == hour)]
    ours = ours[ours["time"].abs() <= KEPT_MINUTES]
    assert len(theirs) >= 2
    assert ours["indx"].tolist() == theirs["indx"].tolist()
    np.testing.assert_array_equal(ours["time"], theirs["time"])
    wrong = {
        column: float(np.abs(ours[column].to_numpy(float) - theirs[column].to_numpy(float)).max())
        for column, limit in TOLERANCE.items()
        if column in columns
        and (np.abs(ours[column].to_numpy(float) - theirs[column].to_numpy(float)) > limit * 1.01).any()
    }
    assert not wrong


def test_settings_without_effect_have_none_in_the_program_either(program):
    """Keys we accept and ignore change nothing there."""
    for hour in STARTS:
        runs = program[program["hour"] == hour].drop(columns="hour")
        plain = runs[runs["case"] == "default"].drop(columns="case").to_numpy()
        for name in ("vscale", "tkern", "tvmix alone"):
            np.testing.assert_array_equal(runs[runs["case"] == name].drop(columns="case").to_numpy(), plain)
