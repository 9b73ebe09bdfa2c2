"""Settings that change under existing outputs are noticed, named and never mixed."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from stilt.config import FootprintConfig, Grid, MetConfig, ModelConfig
from stilt.config.fingerprint import transport_settings
from stilt.errors import ProjectError, StaleOutputsError
from stilt.outputs import (
    Fingerprint,
    check_settings,
    ensure_settings,
    load_published_config,
    publish_config,
    record_settings,
    remove_stale,
)
from stilt.storage import LocalStore, MemoryStore
from stilt.storage.failures import record_failure
from stilt.storage.layout import CONFIG, SETTINGS, artifact_keys, failure_key, trajectory_key

HRRR, GFS = "hrrr_202301011200_-111.85_40.77_5", "gfs_202301011200_-111.85_40.77_5"
WIND_ERROR = {"siguverr": 1.0, "tluverr": 60.0, "zcoruverr": 500.0, "horcoruverr": 40.0}


def config_with(*, res=0.1, names=("slv",), mets=("hrrr",), error=False, **values):
    grid = Grid(xmin=-113, xmax=-111, ymin=40, ymax=42, xres=res, yres=res)
    return ModelConfig(
        mets={met: MetConfig(directory="/met", file_format="%Y%m%d") for met in mets},
        footprints={name: FootprintConfig(grid=grid, error=error) for name in names},
        **values,
    )


def with_outputs(store, *artifacts, sim_id=HRRR):
    for artifact in artifacts:
        store.write(artifact_keys(sim_id, artifact)[-1], b"x")


def remaining(store):
    return sorted(key.rpartition("/")[2] for key in store.list("simulations/"))


@pytest.fixture(params=["local", "memory"])
def store(request, tmp_path):
    return LocalStore(tmp_path) if request.param == "local" else MemoryStore()


def test_checking_writes_nothing(store):
    assert not check_settings(store, config_with())
    assert list(store.list()) == []


def test_unchanged_settings_are_fine_and_written_once(store):
    record_settings(store, config_with())
    with_outputs(store, "trajectory", "footprint:slv")
    before = store.read_versioned(SETTINGS)
    record_settings(store, config_with(timeout=60, execution={"backend": "local", "n_workers": 2}))
    assert store.read_versioned(SETTINGS) == before
    ensure_settings(store, config_with())


def test_without_outputs_new_settings_are_simply_recorded(store):
    record_settings(store, config_with())
    record_settings(store, config_with(n_hours=-12))
    ensure_settings(store, config_with(n_hours=-12))


def test_a_changed_run_is_reported_field_by_field_and_nothing_is_deleted(store):
    record_settings(store, config_with())
    with_outputs(store, "trajectory", "footprint:slv", "footprint:gone")
    changed = config_with(n_hours=-12, numpar=500)
    report = check_settings(store, changed)
    fields = {change.field: (change.old, change.new) for change in report.stale[0].changes}
    assert fields["n_hours"] == (-24, -12)
    assert fields["numpar"] == (200, 500)
    assert report.outputs == {"trajectory": 1, "footprint:slv": 1, "footprint:gone": 1}
    assert report.total == 3
    assert "n_hours -24 -> -12" in report.message
    assert "--refresh" in report.message
    assert "\n" not in report.message
    json.dumps(report.to_dict())
    with pytest.raises(StaleOutputsError, match="n_hours"):
        record_settings(store, changed)
    assert len(remaining(store)) == 3
    assert not check_settings(store, config_with())


def test_refresh_of_a_trajectory_takes_its_footprints_and_its_failure_along(store):
    record_settings(store, config_with(mets=("hrrr", "gfs")))
    with_outputs(store, "trajectory", "footprint:slv", "footprint:gone")
    with_outputs(store, "trajectory", "footprint:slv", sim_id=GFS)
    record_failure(store, HRRR, RuntimeError("x"))
    changed = ModelConfig.model_validate(
        {
            **config_with(mets=("hrrr", "gfs")).model_dump(),
            "mets": {
                "hrrr": {"directory": "/met", "file_format": "%Y"},
                "gfs": {"directory": "/elsewhere", "file_format": "%Y%m%d"},
            },
        }
    )
    assert [stale.name for stale in check_settings(store, changed).stale] == ["hrrr"]
    assert remove_stale(store, changed) == 3
    assert remaining(store) == [f"{GFS}_slv_foot.empty", f"{GFS}_traj.parquet"]
    assert not store.exists(failure_key(HRRR))
    assert not check_settings(store, changed)
    ensure_settings(store, changed)


def test_a_changed_grid_takes_only_that_footprint(store):
    record_settings(store, config_with(names=("slv", "far")))
    with_outputs(store, "trajectory", "footprint:slv", "footprint:slv_error", "footprint:far")
    grid = Grid(xmin=-113, xmax=-111, ymin=40, ymax=42, xres=0.05, yres=0.1)
    old = config_with(names=("slv", "far"))
    changed = old.model_copy(update={"footprints": {**old.footprints, "slv": FootprintConfig(grid=grid)}})
    report = check_settings(store, changed)
    assert "grid.xres 0.1 -> 0.05 (footprint slv)" in report.message
    assert report.outputs == {"footprint:slv": 1, "footprint:slv_error": 1}
    assert remove_stale(store, changed) == 2
    assert remaining(store) == [f"{HRRR}_far_foot.empty", f"{HRRR}_traj.parquet"]


def test_new_and_removed_names_are_not_stale_but_remembered(store):
    record_settings(store, config_with(names=("slv",)))
    with_outputs(store, "trajectory", "footprint:slv")
    record_settings(store, config_with(names=("slv", "new"), mets=("hrrr", "gfs")))
    record_settings(store, config_with(names=("new",), mets=("gfs",)))
    assert len(remaining(store)) == 2
    assert not check_settings(store, config_with(names=("slv",)))
    assert check_settings(store, config_with(names=("slv",), res=0.2))
    assert check_settings(store, config_with(n_hours=-12))


def test_error_parameters_concern_error_outputs_only(store):
    record_settings(store, config_with())
    with_outputs(store, "trajectory", "footprint:slv")
    with_error = config_with(error=True, **WIND_ERROR)
    assert not check_settings(store, with_error)
    record_settings(store, with_error)
    with_outputs(store, "error_trajectory", "footprint:slv_error")
    record_settings(store, config_with())
    record_settings(store, with_error)
    changed = config_with(error=True, **{**WIND_ERROR, "siguverr": 2.0})
    assert check_settings(store, changed).outputs == {"footprint:slv_error": 1, "error_trajectory": 1}
    assert remove_stale(store, changed) == 2
    assert remaining(store) == [f"{HRRR}_slv_foot.empty", f"{HRRR}_traj.parquet"]


def test_a_worker_with_other_settings_does_not_write(store):
    record_settings(store, config_with())
    old = Fingerprint.of(config_with())
    record_settings(store, config_with(n_hours=-12))
    with pytest.raises(StaleOutputsError, match="n_hours -12 -> -24"):
        ensure_settings(store, old)
    ensure_settings(store, config_with(n_hours=-12))


class Crash(Exception):
    pass


@pytest.mark.parametrize("crash_after", range(8))
def test_a_refresh_interrupted_anywhere_is_still_due_or_done(monkeypatch, crash_after):
    """Whatever is left is either good for the recorded settings or known to be stale."""
    store = MemoryStore()
    old, new = config_with(), config_with(n_hours=-12)
    record_settings(store, old)
    artifacts = ("trajectory", "error_trajectory", "footprint:slv", "footprint:far")
    with_outputs(store, *artifacts)
    steps = iter(range(crash_after))

    def crashing(action):
        def step(*arguments):
            if next(steps, None) is None:
                raise Crash
            return action(*arguments)

        return step

    with monkeypatch.context() as patch:
        patch.setattr(store, "delete", crashing(store.delete))
        patch.setattr(store, "compare_and_swap", crashing(store.compare_and_swap))
        try:
            remove_stale(store, new)
        except Crash:
            crashed = True
        else:
            crashed = False
    left = remaining(store)
    assert crashed == (crash_after < 7)
    if left:
        assert check_settings(store, new)
        assert f"{HRRR}_traj.parquet" in left, "footprints go before their trajectory"
        assert not check_settings(store, old), "returning to the old settings is possible"
        if 0 < crash_after < 7:
            with pytest.raises(StaleOutputsError, match="being removed"):
                ensure_settings(store, old)
        record_settings(store, old)
        ensure_settings(store, old)
    assert remove_stale(store, new) == len(left)
    assert remaining(store) == []
    assert not check_settings(store, new)
    ensure_settings(store, new)


def test_remove_stale_without_anything_stale_records(store):
    assert remove_stale(store, config_with()) == 0
    ensure_settings(store, config_with())
    assert store.exists(SETTINGS)


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"format": 1, "footprints": {"a": 1}}', b"\xff"])
def test_damaged_settings_are_one_line(store, data):
    store.write(SETTINGS, data)
    for action in (check_settings, record_settings, remove_stale, ensure_settings):
        with pytest.raises(ProjectError, match=r"settings\.json") as caught:
            action(store, config_with())
        assert "\n" not in str(caught.value)


def test_newer_settings_ask_for_an_update(store):
    store.write(SETTINGS, b'{"format": 2}')
    with pytest.raises(ProjectError, match="newer"):
        check_settings(store, config_with())


def test_the_published_config_comes_back(store):
    with pytest.raises(ProjectError, match="stilt register"):
        load_published_config(store)
    config = config_with(names=("slv", "far"), n_hours=-7)
    hashed = publish_config(store, config)
    assert load_published_config(store) == (config, hashed)
    assert f"# settings: {hashed}" in store.read(CONFIG).decode()
    before = store.read_versioned(CONFIG)
    publish_config(store, config)
    assert store.read_versioned(CONFIG) == before


def test_the_hash_covers_results_only():
    assert Fingerprint.of(config_with()).hash == Fingerprint.of(config_with(timeout=5, rm_dat=False)).hash
    hashes = {
        Fingerprint.of(config).hash
        for config in (config_with(), config_with(n_hours=-1), config_with(res=0.2), config_with(names=()))
    }
    assert len(hashes) == 4


def test_outputs_copied_into_a_project_say_themselves_what_they_were_made_with(tmp_path):
    """Without a record, a look into a trajectory decides; 20 particles are not 40."""
    from stilt.receptors import PointReceptor
    from stilt.trajectory import Trajectories

    store = LocalStore(tmp_path)
    made = config_with(numpar=20)
    receptor = PointReceptor("2023-01-01 12:00", -111.85, 40.77, 5)
    table = {"time": [-1.0], "indx": [1], "long": [-111.85], "lati": [40.77], "foot": [0.01]}
    written = Trajectories.from_particles(
        pd.DataFrame(table), receptor, transport_settings(made.transport_params())
    )
    store.write(trajectory_key(HRRR), written.to_bytes())

    assert not check_settings(store, made)
    report = check_settings(store, config_with(numpar=40))
    assert "numpar 20 -> 40" in report.message
    assert report.outputs == {"trajectory": 1}
    with pytest.raises(StaleOutputsError, match="numpar"):
        record_settings(store, config_with(numpar=40))
    assert remove_stale(store, config_with(numpar=40)) == 1


def test_a_setting_the_record_does_not_know_counts_as_its_default(store):
    """A release that adds a setting leaves the outputs of earlier ones alone."""
    with_outputs(store, "trajectory")
    record_settings(store, config_with())
    document = json.loads(store.read(SETTINGS))
    for entry in document["trajectories"].values():
        del entry["settings"]["hnf_mode"]
    store.write(SETTINGS, json.dumps(document).encode())
    assert not check_settings(store, config_with())
    assert "hnf_mode" in check_settings(store, config_with(hnf_mode="taylor")).message
