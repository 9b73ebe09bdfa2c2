"""Real HRRR inside a global file: particles leave the small real domain and go on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stilt.config import MetConfig, TransportParams
from stilt.meteorology.catalog import open_series
from stilt.meteorology.frame import Box
from stilt.meteorology.synthetic import World
from stilt.receptors import PointReceptor
from stilt.transport.native.engine import NativeEngine
from stilt.transport.native.tiles import ColumnPool, TileCache
from stilt.transport.protocol import TransportRequest

pytestmark = pytest.mark.reference

LATER = np.datetime64("2019-05-30T00", "s") - np.datetime64("2001-01-11T00", "s")
RECEPTOR = PointReceptor("2019-05-30 10:00", -111.5, 41.0, 50.0)


@pytest.fixture(scope="module")
def around(reference_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> MetConfig:
    """The global file of another year, moved to the days of the HRRR files."""
    series = open_series([reference_dir / "met" / "global_3deg_20010110-13.arl"], name="global")
    whole = Box(0, series.grid.nx, 0, series.grid.ny)
    frames = tuple(
        series.decode(k, whole, series.surface_names, [name for name in series.upper_names if name != "DIFW"])
        for k in range(9)
    )
    moved = tuple(replace(frame, time=frame.time + LATER) for frame in frames)
    folder = tmp_path_factory.mktemp("global")
    World(series.grid, series.levels, moved, series.model_id).write(folder / "global.arl")
    return MetConfig(directory=folder)


def run(reference_dir: Path, cache: Path, *fallbacks: MetConfig, **settings: object):
    hrrr = MetConfig(directory=reference_dir / "met", file_format="%Y%m%d_%H", file_tres="6h")
    settings = {"n_hours": -9, "numpar": 100, **settings}
    request = TransportRequest(
        RECEPTOR, "hrrr", hrrr, TransportParams(**settings),
        fallbacks=tuple((f"fallback{k}", met) for k, met in enumerate(fallbacks)),
    )  # fmt: skip
    return NativeEngine(ColumnPool(TileCache(cache))).run(request)


def test_particles_leave_the_hrrr_box_and_go_on(reference_dir, around, tmp_path):
    alone = run(reference_dir, tmp_path)
    nested = run(reference_dir, tmp_path, around)
    left = sum(count for name, count in alone.exits.items() if name != "end of run")
    assert left > 10
    assert nested.exits["end of run"] == 100
    assert {(m["from"], m["to"]): m["why"] for m in nested.nesting["handed_over"]}[
        "hrrr", "fallback0"
    ] == "edge"
    table = nested.particles
    assert len(table) == 100 * 9 * 60
    assert np.isfinite(table.to_numpy(dtype=float)).all()
    # what is in the box is what it was, to the bit
    inside = table.merge(alone.particles[["time", "indx"]], on=["time", "indx"])
    assert inside.drop(columns="met").equals(alone.particles)
    # at the edge: no jump in place beyond a minute of wind, nor in height beyond a minute of turbulence
    table = table.sort_values(["indx", "time"], ascending=[True, False], ignore_index=True)
    step = table[["long", "lati", "zagl", "met", "indx"]].diff()
    over = (step["met"] != 0) & (step["indx"] == 0)
    assert over.sum() >= left
    km = 111.2 * np.hypot(step["lati"], step["long"] * np.cos(np.radians(41.0)))
    assert km[over].max() < 60.0 * 0.06
    assert step["zagl"][over].abs().median() < 30.0
    assert step["zagl"][over].abs().max() < 400.0


def test_without_turbulence_the_height_above_ground_is_the_same_on_both_sides(
    reference_dir, around, tmp_path
):
    """The global model's ground lies hundreds of metres off; 50 m above it stay some 50 m above it."""
    nested = run(reference_dir, tmp_path, around, nturb=1, numpar=1, n_hours=-10, varsiwant=(
        "time", "indx", "long", "lati", "zagl", "foot", "zsfc"), hnf_plume=False)  # fmt: skip
    table = nested.particles
    # the winds of another year may blow it back into the box, and out again
    over = np.flatnonzero(np.diff(table["met"]) != 0)
    assert over.size
    before, after = table.iloc[over], table.iloc[over + 1]
    assert np.abs(after["zsfc"].to_numpy() - before["zsfc"].to_numpy()).max() > 50.0
    np.testing.assert_allclose(after["zagl"], before["zagl"], atol=10.0)
