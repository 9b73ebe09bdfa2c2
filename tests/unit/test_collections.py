"""Collections look again at every call and answer in id order."""

from __future__ import annotations

import logging

import pandas as pd
import pytest

from stilt.collections import FootprintCollections, Simulations, TrajectoryCollection
from stilt.footprint import calc_footprint
from stilt.ids import SimID
from stilt.manifest import Manifest
from stilt.receptors import PointReceptor
from stilt.simulation import Simulation
from stilt.spatial import Grid
from stilt.storage import LocalStore
from stilt.storage.layout import empty_key, error_key, footprint_key, trajectory_key
from stilt.trajectory import Trajectories

RECEPTORS = [PointReceptor(f"2023-01-0{day} 12:00", -111.85, 40.77, 5.0) for day in (3, 1, 2)]
IDS = sorted(f"hrrr_{receptor.id}" for receptor in RECEPTORS)
GRID = Grid(xmin=-113, xmax=-111, ymin=40, ymax=42, xres=0.5, yres=0.5)


def table_of(receptor, foot=1.0):
    frame = pd.DataFrame(
        {
            "time": [-1.0, -2.0],
            "indx": [1, 1],
            "long": [-111.9, -112.0],
            "lati": [40.8, 40.9],
            "foot": [foot, foot],
        }
    )
    return Trajectories.from_particles(frame, receptor)


@pytest.fixture
def store(tmp_path):
    store = LocalStore(tmp_path)
    Manifest(store).register_receptors(RECEPTORS, ["hrrr"], footprints=["slv"], scene="s")
    return store


def finish(store, receptor, *, foot=1.0):
    sim_id = f"hrrr_{receptor.id}"
    table = table_of(receptor, foot)
    store.write(trajectory_key(sim_id), table.to_bytes())
    footprint = calc_footprint(table, GRID, smooth_factor=0.0)
    if footprint.is_empty:
        store.write(empty_key(sim_id, "slv"), footprint.empty_marker())
    else:
        store.write(footprint_key(sim_id, "slv"), footprint.to_bytes())


def test_simulations_are_a_lazy_mapping(store):
    simulations = Simulations(store)
    assert list(simulations) == simulations.ids() == simulations.incomplete() == IDS
    assert all(isinstance(sim_id, SimID) for sim_id in simulations.ids())
    assert isinstance(simulations[IDS[0]], Simulation)
    assert [simulation.id for simulation in simulations.values()] == IDS
    assert len(simulations) == 3
    assert IDS[0] in simulations
    assert "nothing" not in simulations
    with pytest.raises(KeyError):
        simulations["nothing"]
    assert "3 in file://" in repr(simulations)


def test_new_registrations_appear(store):
    simulations = Simulations(store)
    assert len(simulations) == 3
    Manifest(store).register_receptors(RECEPTORS[:1], ["gfs"], footprints=["far"])
    assert simulations[f"gfs_{RECEPTORS[0].id}"].met == "gfs"
    assert len(simulations) == 4
    assert simulations.ids(mets="gfs") == simulations.ids(footprint="far") == [f"gfs_{RECEPTORS[0].id}"]


def test_select_narrows_and_keeps_narrowing(store):
    Manifest(store).register_receptors(RECEPTORS, ["gfs"])
    simulations = Simulations(store)
    first_days = simulations.select(time_range=("2023-01-01", "2023-01-02 12:00"))
    assert len(first_days) == 4
    assert first_days.ids(mets=["hrrr"]) == IDS[:2]
    assert first_days.select(mets="hrrr").incomplete() == IDS[:2]
    assert len(first_days.select(time_range=("2023-01-02", None))) == 2
    assert simulations.ids(scene_id="s") == IDS
    with pytest.raises(KeyError):
        first_days[IDS[2]]
    assert Simulations(store, mets="gfs", scene_id="s").ids() == []
    with pytest.raises(TypeError, match="met"):
        Simulations(store, met="gfs")


def test_incomplete_follows_the_outputs(store):
    simulations = Simulations(store)
    finish(store, RECEPTORS[1])
    finish(store, RECEPTORS[2], foot=0.0)
    assert simulations.incomplete() == IDS[2:]
    assert simulations.survey().counts().completed == 2
    assert Simulations(store, error_trajectory=True).incomplete() == IDS
    store.delete(empty_key(IDS[1], "slv"))
    assert simulations.incomplete() == IDS[1:]


def test_trajectories(store):
    trajectories = TrajectoryCollection(Simulations(store))
    assert (trajectories.paths(), trajectories.load(), trajectories.missing()) == ([], [], IDS)
    finish(store, RECEPTORS[0])
    finish(store, RECEPTORS[1])
    assert [path.name for path in trajectories.paths()] == [
        f"{IDS[0]}_traj.parquet",
        f"{IDS[2]}_traj.parquet",
    ]
    assert [each.receptor for each in trajectories.load()] == [RECEPTORS[1], RECEPTORS[0]]
    assert trajectories.missing() == [IDS[1]]
    assert trajectories.paths(time_range=("2023-01-03", None))[0].name.startswith(IDS[2])
    assert trajectories.missing(error=True) == IDS
    store.write(error_key(IDS[1]), table_of(RECEPTORS[2]).to_bytes())
    assert [each.receptor for each in trajectories.load(error=True)] == [RECEPTORS[2]]
    assert trajectories.paths(error=True)[0].exists()


def test_footprints(store):
    footprints = FootprintCollections(Simulations(store), ["slv", "far"])
    assert list(footprints) == ["slv", "far"]
    assert footprints["slv"].missing() == IDS
    assert footprints["far"].missing() == []
    finish(store, RECEPTORS[0])
    finish(store, RECEPTORS[1], foot=0.0)
    assert [path.name for path in footprints["slv"].paths()] == [f"{IDS[2]}_slv_foot.nc"]
    assert [each.is_empty for each in footprints["slv"].load()] == [True, False]
    assert [each.is_empty for each in footprints["slv"].load(empty=False)] == [False]
    assert footprints["slv"].missing() == IDS[1:2]


def test_footprint_names(store, caplog):
    footprints = FootprintCollections(Simulations(store), ["slv"])
    with pytest.raises(KeyError, match=r"'salv' is configured; configured: slv"):
        footprints["salv"]
    with pytest.raises(KeyError, match="configured: none"):
        FootprintCollections(Simulations(store), [])["slv"]
    assert "default" not in footprints
    with caplog.at_level(logging.WARNING):
        assert footprints["default"].load() == footprints["default"].paths() == []
    assert "no footprint named 'default' is configured" in caplog.text
    assert "no footprint named 'default' is configured" in repr(footprints["default"])
