"""The dask backend: running clusters, workers that are killed, a cluster over the real Slurm."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import stilt
from stilt.errors import ConfigError, MissingExtraError
from stilt.execution.backends import dask as dask_backend

SLOW = ("numpar: 10", "numpar: 1500"), ("n_hours: -1", "n_hours: -2")
pytestmark = [pytest.mark.dask]


@pytest.fixture
def dask_cluster():
    """A scheduler with two worker processes on this machine."""
    distributed = pytest.importorskip("distributed", reason="the extra dask is not installed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, host="127.0.0.1", silence_logs="CRITICAL"
    ) as cluster:
        yield cluster


def tables(project: Path) -> int:
    return len(list(project.glob("simulations/by-id/*/*_traj.parquet")))


def when(condition, action) -> threading.Thread:
    """Do something once, as soon as it can be done."""

    def watch():
        until = time.monotonic() + 120
        while not condition() and time.monotonic() < until:
            time.sleep(0.05)
        action()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


@pytest.mark.slow
def test_a_killed_worker_costs_nothing(dask_cluster, make_project, outputs_of):
    """SIGKILL of one of two workers in the middle: the same bytes, nothing failed."""
    undisturbed = stilt.Model(make_project(8, *SLOW, name="undisturbed"))
    undisturbed.run(progress=False)
    model = stilt.Model(make_project(8, *SLOW))
    victim = next(iter(dask_cluster.workers.values()))
    watcher = when(lambda: tables(model.project) >= 2, lambda: os.kill(victim.process.pid, signal.SIGKILL))
    handle = model.run({"backend": "dask", "address": dask_cluster.scheduler_address}, progress=False)
    watcher.join(10)
    assert not watcher.is_alive()
    assert (handle.exit_code, len(handle.results)) == (0, 8)
    tables_now, arrays = outputs_of(model.project)
    tables_then, arrays_then = outputs_of(undisturbed.project)
    assert tables_now == tables_then
    assert all((arrays[name] == arrays_then[name]).all() for name in arrays_then)


@pytest.mark.slow
def test_a_scheduler_file_names_the_cluster(dask_cluster, make_project, tmp_path):
    """As `dask scheduler --scheduler-file` writes it."""
    where = tmp_path / "scheduler.json"
    where.write_text(json.dumps(dask_cluster.scheduler.identity()))
    model = stilt.Model(make_project(3, outside=1))
    execution = {"backend": "dask", "scheduler_file": str(where)}
    assert f"4 simulations on the Dask cluster of {where}" in model.preview(execution)
    handle = model.run(execution, progress=False)
    assert (handle.exit_code, handle.reasons) == (1, {"RECEPTOR_OFF_GRID": 1})
    assert model.status().completed == 3


@pytest.mark.slow
def test_only_the_simulation_that_kills_its_workers_fails(make_project, monkeypatch):
    """It loses a worker, another one alone, and then has failed; the others never notice."""
    pytest.importorskip("distributed", reason="the extra dask is not installed")

    def deadly(context, task, stop):
        import os
        import signal

        from stilt.execution.worker import run_task

        if "-111.498" in task.sim_id:
            os.kill(os.getpid(), signal.SIGKILL)
        return run_task(task, context)

    monkeypatch.setattr(dask_backend, "_work", deadly)
    model = stilt.Model(make_project(5))
    handle = model.run({"backend": "dask", "n_workers": 2, "retries": 0}, progress=False)
    assert handle.reasons == {"WORKER_DIED": 1}
    assert "-111.498" in handle.failed[0].sim_id
    assert model.status().to_dict() == {"total": 5, "completed": 4, "running": 0, "pending": 0, "failed": 1}


@pytest.mark.slow
@pytest.mark.slurm
def test_workers_that_slurm_starts(slurm, make_project, tmp_path):
    """A SLURMCluster of dask_jobqueue on the real Slurm, from the configuration alone."""
    pytest.importorskip("dask_jobqueue", reason="the extra dask is not installed")
    options = {
        "cores": 1,
        "processes": 1,
        "memory": "2GB",
        "interface": "lo",
        "walltime": "00:10:00",
        "log_directory": str(tmp_path / "logs"),
        "scheduler_options": {"dashboard_address": None, "host": "127.0.0.1"},
    }
    model = stilt.Model(make_project(4))
    execution = {"backend": "dask", "cluster": "slurm", "cluster_options": options, "n_workers": 2}
    assert "4 simulations on 2 workers of SLURMCluster" in model.preview(execution)
    handle = model.run(execution, progress=False)
    assert (handle.exit_code, len(handle.results)) == (0, 4)
    assert list((tmp_path / "logs").glob("*.out"))


@pytest.mark.slow
@pytest.mark.slurm
def test_workers_that_slurm_does_not_take(slurm, make_project, monkeypatch):
    """The queueing system's own words, at once, instead of a wait for workers that never come."""
    pytest.importorskip("dask_jobqueue", reason="the extra dask is not installed")
    options = {
        "cores": 1,
        "processes": 1,
        "memory": "2GB",
        "interface": "lo",
        "scheduler_options": {"dashboard_address": None, "host": "127.0.0.1"},
    }
    execution = {"backend": "dask", "cluster": "slurm", "n_workers": 2}
    model = stilt.Model(make_project(2))
    with pytest.raises(ConfigError, match="invalid partition specified: nope") as caught:
        model.run({**execution, "cluster_options": {**options, "queue": "nope"}}, progress=False)
    assert "\n" not in str(caught.value)
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(ConfigError, match="No such file or directory: 'sbatch'"):
        model.run({**execution, "cluster_options": options}, progress=False)
    assert model.status().pending == 2
    gc.collect()  # clusters that were not closed would complain now


@pytest.mark.slow
def test_a_local_cluster_that_cannot_start(make_project):
    """An argument that Dask does not know is named, in one line."""
    pytest.importorskip("distributed", reason="the extra dask is not installed")
    model = stilt.Model(make_project(1))
    with pytest.raises(ConfigError, match="unexpected keyword argument 'n_worker'") as caught:
        model.run({"backend": "dask", "cluster_options": {"n_worker": 2}}, progress=False)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_cluster_without_workers_is_told_of(make_project, monkeypatch):
    """A scheduler nobody works for: the run waits, and says so."""
    distributed = pytest.importorskip("distributed", reason="the extra dask is not installed")
    monkeypatch.setattr(dask_backend, "_LONELY", 1.0)

    class Heard:
        said = ()

        def start(self, total):
            return

        def advance(self, result):
            return

        def finish(self):
            return

        def say(self, text):
            self.said = (*self.said, text)
            if "has no workers yet" in text:
                cluster.scale(1)

    heard = Heard()
    options = {"threads_per_worker": 1, "dashboard_address": None, "host": "127.0.0.1"}
    with distributed.LocalCluster(n_workers=0, silence_logs="CRITICAL", **options) as cluster:
        model = stilt.Model(make_project(1))
        handle = model.run({"backend": "dask", "address": cluster.scheduler_address}, progress=heard)
    assert handle.exit_code == 0
    assert sum("has no workers yet" in text for text in heard.said) == 1


SCHEDULER = """\
import time
import distributed

if __name__ == "__main__":
    options = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": None, "host": "127.0.0.1"}
    cluster = distributed.LocalCluster(silence_logs="CRITICAL", **options)
    print(cluster.scheduler_address, flush=True)
    time.sleep(600)
"""


@pytest.mark.slow
def test_a_scheduler_that_goes_away(make_project, tmp_path, monkeypatch, capsys):
    """SIGKILL of the scheduler in the middle: one line, exit code 1, and what is finished is kept."""
    pytest.importorskip("distributed", reason="the extra dask is not installed")
    from stilt.cli import show

    monkeypatch.setattr(dask_backend, "_CONNECT", "3s")
    (tmp_path / "scheduler.py").write_text(SCHEDULER)
    command = [sys.executable, str(tmp_path / "scheduler.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as scheduler:
        try:
            address = scheduler.stdout.readline().strip()
            model = stilt.Model(make_project(8, *SLOW))
            watcher = when(lambda: tables(model.project) >= 2, scheduler.kill)
            handle = model.run({"backend": "dask", "address": address}, progress=False)
            watcher.join(10)
        finally:
            scheduler.kill()
    assert handle.stopped_because.startswith("the Dask scheduler went away (")
    assert (handle.exit_code, handle.failed) == (1, [])
    counted = model.status()
    assert counted.completed >= 1
    assert counted.completed + counted.pending == 8
    show.run_summary(model, handle, "X")
    assert "stopped early: the Dask scheduler went away" in capsys.readouterr().out
    assert model.run(progress=False).exit_code == 0


def test_a_scheduler_that_is_not_there_stops_the_run(make_project, monkeypatch, tmp_path):
    """One line, before anything is written."""
    pytest.importorskip("distributed", reason="the extra dask is not installed")
    monkeypatch.setattr(dask_backend, "_CONNECT", "1s")
    model = stilt.Model(make_project(1))
    with pytest.raises(ConfigError, match=r"cannot be reached or started \(tcp://127.0.0.1:1: ") as caught:
        model.run({"backend": "dask", "address": "tcp://127.0.0.1:1"}, progress=False)
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match="there is no scheduler file"):
        model.run({"backend": "dask", "scheduler_file": str(tmp_path / "nowhere.json")}, progress=False)
    assert not (model.project / ".stilt").exists()


def test_the_sections_that_contradict_themselves(make_project):
    """Two clusters at once, options of a cluster that is not started here."""
    model = stilt.Model(make_project(1))
    with pytest.raises(ConfigError, match="address and cluster name different clusters"):
        model.run({"backend": "dask", "address": "tcp://a:1", "cluster": "local"}, progress=False)
    with pytest.raises(ConfigError, match="'somewhere' is no address; write one like tcp://host:8786"):
        model.run({"backend": "dask", "address": "somewhere"}, progress=False)
    with pytest.raises(ConfigError, match="cluster_options belong to a cluster started here"):
        model.run({"backend": "dask", "address": "tcp://a:1", "cluster_options": {"a": 1}}, progress=False)


def test_without_the_extra_it_is_said_how_to_get_it(make_project, monkeypatch):
    """One line with the command."""
    import builtins

    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith(("distributed", "dask_jobqueue")):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    model = stilt.Model(make_project(1))
    with pytest.raises(MissingExtraError, match=r"pip install 'pystilt\[dask\]'"):
        model.run("dask", progress=False)
    with pytest.raises(MissingExtraError, match="dask-jobqueue"):
        dask_backend._jobqueue()
