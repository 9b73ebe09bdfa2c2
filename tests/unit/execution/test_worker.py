"""The worker: what it writes, in which order, and what it does when things go wrong."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest

from stilt.errors import MetCoverageError, StoreFullError
from stilt.execution.worker import run_task
from stilt.footprint import Footprint
from stilt.outputs import record_settings, remove_stale
from stilt.storage.failures import read_failure
from stilt.storage.layout import empty_key, footprint_key, log_key, parse_output_key, trajectory_key
from stilt.trajectory import Trajectories


def outputs(context):
    return sorted(
        artifact
        for key in context.store.list("simulations/")
        if (found := parse_output_key(key))
        for artifact in found[1:]
    )


def test_a_run_writes_trajectory_then_footprints(make_context, task_for):
    """Everything expected is there, with a log; a second run makes nothing."""
    context = make_context()
    task = task_for(context)
    result = run_task(task, context)
    assert result.ok
    assert result.made == ("trajectory", "footprint:default", "footprint:fine")
    assert set(result.timings) == {"engine", "footprints", "writing", "total"}
    table = Trajectories.from_parquet(context.store.read(trajectory_key(task.sim_id)))
    assert "foot_no_hnf_dilution" in table.data
    assert table.seed == 7
    assert table.params["numpar"] == 10
    footprint = Footprint.from_netcdf(context.store.read(footprint_key(task.sim_id, "fine")))
    assert footprint.name == "fine"
    assert len(footprint.settings_hash) == 12
    assert "straight lines" in context.store.read(log_key(task.sim_id)).decode()
    again = run_task(task, context)
    assert again.ok
    assert again.skipped


def test_a_missing_footprint_is_made_from_the_stored_trajectory(make_context, task_for, straight_engine):
    """Deleting one footprint reruns only that footprint and gives the same numbers."""
    context = make_context()
    task = task_for(context)
    run_task(task, context)
    key = footprint_key(task.sim_id, "default")
    first = Footprint.from_netcdf(context.store.read(key))
    context.store.delete(key)
    straight_engine.requests.clear()
    result = run_task(task, context)
    assert result.made == ("footprint:default",)
    assert straight_engine.requests == []
    np.testing.assert_array_equal(Footprint.from_netcdf(context.store.read(key)).data, first.data)


def test_equal_runs_give_equal_trajectory_files(make_context, task_for):
    """Running again without skipping rewrites the same bytes."""
    context = make_context(skip_existing=False)
    task = task_for(context)
    run_task(task, context)
    first = context.store.read(trajectory_key(task.sim_id))
    assert run_task(task, context).made[0] == "trajectory"
    assert context.store.read(trajectory_key(task.sim_id)) == first


def test_error_settings_make_a_second_ensemble_and_its_footprint(make_context, task_for, straight_engine):
    """With error keys the engine runs twice; the unperturbed file does not know of them."""
    errors = {"siguverr": 1.0, "tluverr": 60.0, "zcoruverr": 500.0, "horcoruverr": 50.0}
    footprints = {
        "default": {
            "xmin": -113,
            "xmax": -111,
            "ymin": 40,
            "ymax": 41.5,
            "xres": 0.1,
            "yres": 0.1,
            "error": True,
        }
    }
    context = make_context(**errors, footprints=footprints)
    task = task_for(context)
    result = run_task(task, context)
    assert result.made == ("trajectory", "error_trajectory", "footprint:default", "footprint:default_error")
    assert [request.error for request in straight_engine.requests] == [False, True]
    table = Trajectories.from_parquet(context.store.read(trajectory_key(task.sim_id)))
    assert table.params["siguverr"] is None
    assert not table.is_error


def test_an_empty_footprint_is_a_result_with_a_marker(make_context, task_for, straight_engine):
    """Particles without surface influence leave a marker that says so, and no NetCDF."""
    straight_engine.foot = 0.0
    context = make_context(hnf_plume=False)
    task = task_for(context)
    assert run_task(task, context).ok
    marker = json.loads(context.store.read(empty_key(task.sim_id, "default")))
    assert marker["reason"] == "above_pbl"
    assert not context.store.exists(footprint_key(task.sim_id, "default"))
    assert "is empty" in context.store.read(log_key(task.sim_id)).decode()


def test_a_failure_leaves_a_record_until_the_next_success(make_context, task_for, straight_engine):
    """An expected failure gives its reason and one line; a later success removes the record."""

    def fail(request):
        raise MetCoverageError("met 'hrrr' ends too early.\nAdd a file.")

    straight_engine.before = fail
    context = make_context()
    task = task_for(context)
    for attempt in (1, 2):
        result = run_task(task, context)
        assert (result.status, result.reason) == ("failed", "MET_COVERAGE")
        assert result.message == "met 'hrrr' ends too early. Add a file."
        assert read_failure(context.store, task.sim_id).attempt == attempt
    assert outputs(context) == []
    straight_engine.before = lambda request: None
    assert run_task(task, context).ok
    assert read_failure(context.store, task.sim_id) is None


def test_an_unexpected_exception_is_a_failure_with_its_traceback_in_the_log(
    make_context, task_for, straight_engine
):
    """A bug becomes reason UNKNOWN; the traceback is in stilt.log and the record, not in the message."""

    def fail(request):
        raise ZeroDivisionError("postgresql://me:hush@db went wrong")

    straight_engine.before = fail
    context = make_context()
    task = task_for(context)
    result = run_task(task, context)
    assert result.reason == "UNKNOWN"
    assert "Traceback" not in result.message
    assert "hush" not in result.message + result.detail
    log = context.store.read(log_key(task.sim_id)).decode()
    assert "Traceback" in log
    assert "hush" not in log
    assert "ZeroDivisionError" in read_failure(context.store, task.sim_id).detail


def test_timeout_reaches_the_engine_as_a_deadline(make_context, task_for, straight_engine):
    """A run that takes too long fails with reason TIMEOUT."""
    import time

    straight_engine.before = lambda request: time.sleep(0.05)
    context = make_context(timeout=0.01)
    assert run_task(task_for(context), context).reason == "TIMEOUT"


@pytest.mark.parametrize(("rm_dat", "kept"), [(True, 0), (False, 1)])
def test_scratch_is_kept_only_after_a_failure_and_only_if_wanted(
    make_context, task_for, straight_engine, tmp_path, rm_dat, kept
):
    """The scratch folder exists while the engine runs and obeys rm_dat afterwards."""
    root = tmp_path / "scratch"
    context = make_context(compute_root=root, rm_dat=rm_dat)
    task = task_for(context)

    def fail(request):
        (request.scratch / "file").write_text("x")
        raise MetCoverageError("no.")

    straight_engine.before = fail
    run_task(task, context)
    assert len(list(root.iterdir())) == kept
    straight_engine.before = lambda request: (request.scratch / "file").write_text("x")
    assert run_task(task, context).ok
    assert len(list(root.iterdir())) == kept


def test_being_stopped_is_no_failure(make_context, task_for):
    """An interrupted simulation stays pending, and what it had finished stays."""
    context = make_context()
    task = task_for(context)
    assert run_task(task, context, should_stop=lambda: True).status == "interrupted"
    assert read_failure(context.store, task.sim_id) is None
    answers = iter([False, False, True])
    assert run_task(task, context, should_stop=lambda: next(answers)).status == "interrupted"
    assert outputs(context) == ["trajectory"]


def test_settings_changed_meanwhile_are_refused(make_context, task_for):
    """A worker writes nothing once another run has recorded other settings."""
    context = make_context()
    task = task_for(context)
    remove_stale(context.store, context.config.replace(numpar=20))
    result = run_task(task, context)
    assert result.status == "refused"
    assert "numpar" in result.message
    assert outputs(context) == []
    record_settings(context.store, context.config.replace(numpar=20))


def test_one_bad_footprint_does_not_stop_the_other(make_context, task_for, monkeypatch):
    """Footprints are independent: the failing one is reported, the other one is written."""
    from stilt.errors import FootprintError

    calculate = Footprint.calculate.__func__

    def sometimes(cls, particles, config, grid=None, name="", **rest):
        if name == "default":
            raise FootprintError("cannot be gridded.")
        return calculate(cls, particles, config, grid, name, **rest)

    monkeypatch.setattr(Footprint, "calculate", classmethod(sometimes))
    context = make_context()
    result = run_task(task_for(context), context)
    assert (result.reason, result.made) == ("FOOTPRINT", ("trajectory", "footprint:fine"))


def test_a_full_disk_is_a_failure_that_cannot_even_be_recorded(make_context, task_for, monkeypatch):
    """Neither the failure record nor the log can be written; the result still says why."""
    context = make_context()
    task = task_for(context)

    def full(self, key, data, **kwargs):
        raise StoreFullError("no space left.")

    monkeypatch.setattr(type(context.store), "write", full)
    result = run_task(task, context)
    assert (result.status, result.reason) == ("failed", "STORE_FULL")


def test_warnings_go_to_the_log_and_the_result(make_context, task_for, straight_engine):
    """What the engine warns about is kept, not printed."""
    straight_engine.before = lambda request: warnings.warn("cache is full", RuntimeWarning, stacklevel=1)
    context = make_context()
    task = task_for(context)
    assert run_task(task, context).warnings == ("cache is full",)
    assert "warning: cache is full" in context.store.read(log_key(task.sim_id)).decode()


def test_a_damaged_trajectory_is_named(make_context, task_for):
    """A footprint that is to be made from a damaged file fails and says which file to delete."""
    context = make_context()
    task = task_for(context)
    run_task(task, context)
    context.store.write(trajectory_key(task.sim_id), b"not parquet")
    context.store.delete(footprint_key(task.sim_id, "fine"))
    result = run_task(task, context)
    assert result.reason == "FOOTPRINT"
    assert "delete it" in result.message
