"""A simulation says what its outputs say, and looking changes nothing."""

from __future__ import annotations

import logging

import pandas as pd
import pytest

from stilt.errors import MetCoverageError
from stilt.footprint import Footprint
from stilt.manifest import ManifestRow
from stilt.receptors import PointReceptor
from stilt.simulation import Simulation
from stilt.spatial import Grid
from stilt.storage import LocalStore
from stilt.storage.failures import record_failure
from stilt.storage.layout import empty_key, error_key, footprint_key, log_key, trajectory_key
from stilt.trajectory import Trajectories

RECEPTOR = PointReceptor("2023-01-01 12:00", -111.85, 40.77, 5.0)
SIM = f"hrrr_{RECEPTOR.id}"
GRID = Grid(xmin=-113, xmax=-111, ymin=40, ymax=42, xres=0.5, yres=0.5)


def particles(foot=1.0):
    frame = pd.DataFrame(
        {
            "time": [-1.0, -2.0],
            "indx": [1, 1],
            "long": [-111.9, -112.0],
            "lati": [40.8, 40.9],
            "foot": [foot, foot],
        }
    )
    return Trajectories.from_particles(frame, RECEPTOR)


def footprint_of(foot=1.0):
    from stilt.footprint import calc_footprint

    return calc_footprint(particles(foot), GRID, smooth_factor=0.0)


@pytest.fixture
def store(tmp_path):
    return LocalStore(tmp_path)


def simulation_in(store, footprints=("slv", "slv_error"), **values):
    return Simulation(store, ManifestRow(SIM, "hrrr", RECEPTOR.to_dict(), "scene", footprints), **values)


def test_nothing_there_and_nothing_made(store):
    simulation = simulation_in(store)
    assert (simulation.id, simulation.met, simulation.scene) == (SIM, "hrrr", "scene")
    assert simulation.receptor == RECEPTOR
    assert simulation.trajectories is None
    assert simulation.error_trajectories is None
    assert simulation.get_footprint("slv") is None
    assert simulation.log == ""
    assert simulation.failure is None
    assert simulation.status == "pending"
    assert simulation.trajectories_path.name == f"{SIM}_traj.parquet"
    assert simulation.footprint_path("slv").name == f"{SIM}_slv_foot.nc"
    assert SIM in repr(simulation)
    assert list(store.root.iterdir()) == []


def test_outputs_come_back(store):
    simulation = simulation_in(store, ("slv", "high"))
    store.write(trajectory_key(SIM), particles().to_bytes())
    store.write(error_key(SIM), particles().to_bytes())
    store.write(footprint_key(SIM, "slv"), footprint_of().to_bytes())
    store.write(log_key(SIM), b"caf\xe9")
    assert simulation.status == "pending"
    store.write(empty_key(SIM, "high"), footprint_of(foot=0.0).empty_marker())
    assert simulation.status == "complete"
    assert simulation.trajectories.receptor == RECEPTOR
    assert simulation.error_trajectories is not None
    assert isinstance(simulation.get_footprint("slv"), Footprint)
    assert simulation.get_footprint("high").empty_reason == "above_pbl"
    assert simulation.log.startswith("caf")
    assert simulation_in(store, ("slv",), error_trajectory=True).status == "complete"
    store.delete(error_key(SIM))
    assert simulation_in(store, ("slv",), error_trajectory=True).status == "pending"


def test_a_failure_shows(store):
    record_failure(store, SIM, MetCoverageError("too short."))
    simulation = simulation_in(store)
    assert simulation.status == "failed"
    assert simulation.failure.reason == "MET_COVERAGE"


def test_unknown_footprints_list_the_known_ones(store):
    with pytest.raises(KeyError, match=r"'salv'.*slv, slv_error"):
        simulation_in(store).get_footprint("salv")
    with pytest.raises(KeyError):
        simulation_in(store).footprint_path("../x")


def test_default_may_always_be_asked_for(store, caplog):
    with caplog.at_level(logging.WARNING):
        assert simulation_in(store).get_footprint() is None
    assert "no footprint named 'default'" in caplog.text
