"""The slurm backend on a real Slurm: what goes wrong at sites, and nothing lost."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import stilt
from stilt.errors import ConfigError
from stilt.execution.detached import find_jobs

pytestmark = [pytest.mark.slow, pytest.mark.slurm]

SLOW = ("numpar: 10", "numpar: 1500"), ("n_hours: -1", "n_hours: -2")
"""Simulations that take about a second."""


class Heard:
    """A reporter that remembers what was said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def start(self, total):
        return

    def advance(self, result):
        return

    def say(self, text):
        self.said.append(text)

    def finish(self):
        return


def until(condition: Callable[[], object], seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def tables(project: Path) -> list[Path]:
    return list(project.glob("simulations/by-id/*/*_traj.parquet"))


def logs(project: Path) -> str:
    return "".join(path.read_text() for path in sorted(project.glob(".stilt/chunks/*/logs/*.out")))


@pytest.fixture
def slurm_run(slurm, make_project):
    """Submit a project and come back at once: model, job, what was said."""

    def submit(n_receptors, *changes, **execution):
        model = stilt.Model(make_project(n_receptors, *changes))
        heard = Heard()
        job = model.run({"backend": "slurm", **execution}, wait=False, progress=heard)
        return model, job, heard

    return submit


def test_arrays_are_split_at_the_sites_limit(slurm_run):
    """100 tasks where an array may have 51: two arrays, every chunk once, none of it claimed done."""
    model, job, heard = slurm_run(100, n_workers=100, array_parallelism=40, command=["/bin/echo", "worker"])
    assert "slurm job" in heard.said[-1]
    assert "100 chunks" in heard.said[-1]
    job.wait()
    assert len(job.record.job_ids) == 2
    ran = sorted(int(number) for number in re.findall(r"/(\d+)\.jsonl", logs(model.project)))
    assert ran == list(range(100))
    # these workers did nothing, and nobody pretends they did
    assert [result.reason for result in job.results] == ["WORKER_DIED"] * 100
    assert "did not finish it; it said: worker push-worker" in job.results[7].message
    assert (job.exit_code, model.status().pending) == (1, 100)
    assert find_jobs(model.store) == []


def test_preemption_requeues_and_goes_on(slurm, slurm_run, make_project, outputs_of):
    """A job of higher priority takes both nodes; the tasks stop, wait, and finish, byte for byte."""
    undisturbed = stilt.Model(make_project(8, *SLOW, name="undisturbed"))
    undisturbed.run(progress=False)
    model, job, _ = slurm_run(8, *SLOW, n_workers=2, exclusive=True)
    until(lambda: tables(model.project))
    slurm.ask("sbatch", "-p", "high", "-N2", "--exclusive", "-o", "/dev/null", "--wrap", "sleep 1")
    job.wait()
    assert job.exit_code == 0
    assert "SIGTERM: stopping" in logs(model.project)
    assert "PREEMPTION" in logs(model.project)
    tables_now, arrays = outputs_of(model.project)
    tables_then, arrays_then = outputs_of(undisturbed.project)
    assert tables_now == tables_then
    assert all((arrays[name] == arrays_then[name]).all() for name in arrays_then)


def test_usr1_returns_a_task_to_the_queue(slurm, slurm_run):
    """What the time limit sends: the task stops, goes back, and later does not repeat what it did."""
    model, job, _ = slurm_run(6, *SLOW, n_workers=1)
    until(lambda: tables(model.project))
    slurm.ask("scancel", "--batch", "--signal=USR1", *job.record.job_ids)
    until(lambda: "goes back to the queue" in logs(model.project))
    done = model.store.read(next(key for key in model.store.list(".stilt/chunks") if key.endswith(".done")))
    before = {json.loads(line)["sim_id"] for line in done.splitlines()}
    assert 1 <= len(before) < 6
    made = {path: path.stat().st_mtime_ns for path in tables(model.project)}
    job.wait()
    assert job.exit_code == 0
    assert len(job.results) == 6
    assert all(path.stat().st_mtime_ns == then for path, then in made.items())


# --- the time limit -------------------------------------------------------------------------------------

GATE = """\
import os, time
from pathlib import Path

if "STILT_TEST_GATE" in os.environ:
    from stilt.errors import Interrupted
    from stilt.transport import registry

    native = registry._FACTORIES["native"]

    class Gated:
        "The engine, but simulations of some receptors wait for a file."

        def __init__(self):
            self.inner = native()

        def __getattr__(self, name):
            return getattr(self.inner, name)

        def run(self, request, *, deadline=None, should_stop=None):
            gate, held = Path(os.environ["STILT_TEST_GATE"]), os.environ["STILT_TEST_HELD"]
            if held in request.receptor.id:
                gate.with_name("begun").touch()
                while not gate.exists():
                    if should_stop is not None and should_stop():
                        raise Interrupted("stopped.")
                    time.sleep(0.1)
            return self.inner.run(request, deadline=deadline, should_stop=should_stop)

    registry.register_engine("native", Gated)
"""
"""Makes simulations of a task take as long as the test wants, without any work."""


@pytest.fixture
def gate(tmp_path, monkeypatch):
    """A file for which the simulations that are held wait, and how to say which those are."""

    def hold(held: str) -> Path:
        monkeypatch.setenv("STILT_TEST_HELD", held)
        return folder / "gate"

    folder = tmp_path / "gated"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(GATE)
    monkeypatch.setenv("STILT_TEST_GATE", str(folder / "gate"))
    # tasks get the environment of whoever submits
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
    return hold


def near_its_limit(slurm, job, seconds: int) -> None:
    """Let the time limit of a running array be this far away; Slurm looks at limits every 30 s."""
    (number,) = job.record.job_ids
    slurm.ask("scontrol", "update", f"jobid={number}_0", f"endtime=now+{seconds}")


LIMIT = {"n_workers": 1, "time": "10", "signal_seconds": 20}
"""USR1 when the limit is less than 20 s away, or would be at Slurm's next look."""


def test_the_time_limit_stops_a_task_and_it_goes_on_later(slurm, slurm_run, gate, make_project, outputs_of):
    """USR1 in a simulation: it is dropped, the rest stays, the task is requeued and repeats nothing."""
    undisturbed = stilt.Model(make_project(6, name="undisturbed"))
    undisturbed.run(progress=False)
    opening = gate("2024071021")
    model, job, _ = slurm_run(6, **LIMIT)
    until(opening.with_name("begun").exists)
    made = {path: path.stat().st_mtime_ns for path in tables(model.project)}
    assert len(made) == 2
    near_its_limit(slurm, job, 50)
    until(lambda: "goes back to the queue" in logs(model.project))
    assert "SIGUSR1: stopping" in logs(model.project)
    assert len(tables(model.project)) == 2
    # while it waits for its turn it is neither lost nor over
    until(lambda: job.control.look().waiting)
    assert model.status().to_dict() == {"total": 6, "completed": 2, "running": 0, "pending": 4, "failed": 0}
    opening.touch()
    job.wait()
    assert (job.exit_code, [result.status for result in job.results]) == (0, ["complete"] * 6)
    assert model.status().completed == 6
    assert all(path.stat().st_mtime_ns == then for path, then in made.items())
    tables_now, arrays = outputs_of(model.project)
    tables_then, arrays_then = outputs_of(undisturbed.project)
    assert tables_now == tables_then
    assert all((arrays[name] == arrays_then[name]).all() for name in arrays_then)
    (number,) = job.record.job_ids
    assert "Restarts=1" in slurm.ask("scontrol", "-o", "show", "job", number)


def test_what_needs_more_than_a_time_limit_fails_alone(slurm, slurm_run, gate, capsys):
    """A whole limit brought nothing: TIMEOUT for what it ran, and the next attempt makes the others."""
    from stilt.cli import show

    opening = gate("202407102000_")
    model, job, _ = slurm_run(5, **LIMIT)
    until(opening.with_name("begun").exists)
    near_its_limit(slurm, job, 50)
    job.wait()
    assert (job.exit_code, job.reasons, len(job.results)) == (1, {"TIMEOUT": 1}, 5)
    assert job.failed[0].sim_id.startswith("valley_202407102000_")
    assert model.status().to_dict() == {"total": 5, "completed": 4, "running": 0, "pending": 0, "failed": 1}
    capsys.readouterr()
    show.run_summary(model, job, "X")
    said = capsys.readouterr().out
    assert "4 run, 1 failed" in said
    assert "TIMEOUT 1, such as valley_202407102000_" in said
    # nothing is lost: with more time it is made
    opening.touch()
    assert model.run({"backend": "slurm"}, progress=False).exit_code == 0
    assert model.status().completed == 5


def test_a_worker_that_does_not_heed_the_limit_is_ended_by_it(slurm, slurm_run):
    """Slurm's own TIMEOUT is told as it is; what was not made is pending."""
    model, job, _ = slurm_run(2, n_workers=1, time="10", command=["/bin/sh", "-c", "sleep 600", "worker"])
    until(lambda: job.control.look().running)
    near_its_limit(slurm, job, 2)
    job.wait()
    assert (job.exit_code, job.reasons) == (1, {"WORKER_DIED": 2})
    assert f"(TIMEOUT, array task {job.record.job_ids[0]}_0) did not finish it" in job.results[0].message
    assert model.status().pending == 2


def test_bytes_that_are_not_text(slurm, slurm_run, make_project, tmp_path, monkeypatch, type_stilt_here):
    """A working folder that is not UTF-8, which scontrol shows, and a site that answers in Latin-1."""
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    monkeypatch.chdir(folder)
    model, job, _ = slurm_run(2, n_workers=2, comment="greet")
    assert "slurm job" in type_stilt_here("status", model.project)[1]
    job.wait()
    assert b"caf\xe9" in slurm.ask_bytes("scontrol", "-o", "show", "job", *job.record.job_ids)
    assert job.exit_code == 0
    assert find_jobs(model.store) == []
    if not slurm.speaks:
        pytest.skip("this Slurm has no job_submit/lua, by which sites send messages")
    other = stilt.Model(make_project(1, name="other"))
    with pytest.raises(ConfigError, match=r"sbatch: compte \\xe9puis\\xe9; .*; nothing was submitted"):
        other.run({"backend": "slurm", "comment": "poor"}, progress=False)


# --- nodes, users, sites --------------------------------------------------------------------------------


def test_a_node_that_dies_costs_nothing(slurm, slurm_run):
    """Everything on the node is killed; Slurm starts the task again on the other one."""
    model, job, _ = slurm_run(6, *SLOW, n_workers=1, nodelist="n1")
    until(lambda: tables(model.project))
    slurm.kill_node("n1")
    slurm.ask("scontrol", "update", "nodename=n1", "state=down", "reason=died")
    slurm.ask("scontrol", "update", f"jobid={job.record.job_ids[0]}", "reqnodelist=")
    job.wait()
    assert job.exit_code == 0
    assert model.status().completed == 6


@pytest.fixture
def small_disk(tmp_path):
    """Four megabytes to write outputs to."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "stilt-test", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no right to mount a small disk here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize("room", [16384, 0])
def test_a_disk_that_becomes_full_under_a_task(slurm, make_project, small_disk, capsys, room):
    """What was made stays, one simulation failed, the rest is pending; with room again all is made."""
    from stilt.cli import show

    project = make_project(30, ("numpar: 10", "numpar: 100"))
    model = stilt.Model(project, output_dir=small_disk)
    heap = small_disk / "heap"
    job = model.run({"backend": "slurm", "n_workers": 1}, wait=False, progress=False)
    until(lambda: len(tables(small_disk)) >= 2)
    with contextlib.suppress(OSError), heap.open("wb") as stream:
        while True:
            stream.write(bytes(4096))
            stream.flush()
    if room:  # for the record of a failure, not for particles
        os.truncate(heap, heap.stat().st_size - room)
    job.wait()
    print(
        job, job.reasons, job.results[-1:], sorted(small_disk.glob("simulations/by-id/*/*")), logs(small_disk)
    )
    assert job.exit_code == 1
    assert "no space left" in job.stopped_because
    # without room for it the failure itself is not recorded either, and what failed is pending, too
    assert job.reasons == {"STORE_FULL": 1} if room else job.reasons in ({}, {"STORE_FULL": 1})
    made = {path: path.stat().st_mtime_ns for path in tables(small_disk)}
    counted = model.status()
    assert (counted.failed, counted.completed + counted.pending) == (len(job.failed), 30 - len(job.failed))
    assert 1 <= counted.completed < 29
    capsys.readouterr()
    show.run_summary(model, job, "X")
    assert "stopped early" in capsys.readouterr().out
    heap.unlink()
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    assert model.run({"backend": "slurm"}, progress=False).exit_code == 0
    assert model.status().completed == 30
    assert all(path.stat().st_mtime_ns == then for path, then in made.items())


def test_status_and_cancel_of_a_detached_job(slurm, slurm_run, type_stilt_here):
    """Status names the job; cancel ends it; who waits is told; a new run does the rest."""
    model, job, _ = slurm_run(4, *SLOW, n_workers=2, begin="now+600")
    until(lambda: job.control.look().note)
    code, out = type_stilt_here("status", model.project)
    assert f"slurm job {job.job_id}" in out
    assert "2 of 2 chunks waiting, BeginTime" in out
    assert json.loads(type_stilt_here("status", model.project, "--json")[1])["jobs"][0]["job_ids"] == list(
        job.record.job_ids
    )
    # a second run does not hand the same work out again
    heard = Heard()
    again = model.run({"backend": "slurm"}, wait=False, progress=heard)
    assert "4 of them are in slurm job" in heard.said[0]
    assert again.job_id == job.job_id
    code, out = type_stilt_here("cancel", model.project)
    assert (code, f"cancelled slurm job {job.job_id}" in out) == (0, True)
    job.wait()
    assert (job.interrupted, job.exit_code, job.results) == (True, 3, [])
    assert "no detached job" in type_stilt_here("cancel", model.project)[1]
    assert model.run(1, progress=False).exit_code == 0


def test_a_controller_that_is_down_is_waited_for(slurm, slurm_run):
    """Nothing is lost while slurmctld is away: the tasks go on, and so does the waiting."""
    model, job, heard = slurm_run(4, *SLOW, n_workers=1)
    until(lambda: tables(model.project))
    slurm.stop_controller()
    assert "Slurm does not answer (squeue: " in job.control.look().trouble
    job.wait()
    assert job.exit_code == 0
    assert any("waiting on, the job is not lost" in text for text in heard.said)
    slurm.start_controller()


def test_the_ends_of_tasks_are_asked_of_the_accounting(slurm_with_accounting, make_project):
    """A real sacct: codes and signals of tasks the controller has forgotten; an account it does not know."""
    slurm = slurm_with_accounting
    model = stilt.Model(make_project(4))
    with pytest.raises(ConfigError, match="Invalid account or account/partition combination"):
        model.run({"backend": "slurm", "account": "nobody"}, progress=False)
    assert not (model.project / ".stilt").exists()
    ends = "case $SLURM_ARRAY_TASK_ID in 0) exit 0;; 1) exit 1;; 2) exit 7;; *) kill -9 $$;; esac"
    job = model.run(
        {"backend": "slurm", "account": "lab", "n_workers": 4, "command": ["/bin/sh", "-c", ends, "worker"]},
        wait=False,
        progress=False,
    )
    (number,) = job.record.job_ids
    until(lambda: not slurm.ask("scontrol", "-o", "show", "job", number).strip())
    view = job.control.look()
    assert view.is_over
    assert view.ended == {2: f"FAILED, exit code 7:0, array task {number}_2", 3: view.ended[3]}
    assert view.ended[3].startswith("FAILED, exit code 0:9")
    job.wait()
    assert [result.reason for result in job.results] == ["WORKER_DIED"] * 4
    assert "the worker of chunk 2 (FAILED, exit code 7:0" in job.results[2].message


@pytest.fixture
def type_stilt_here(capsys):
    """Type a command in this process: exit code and what it printed."""
    from stilt.cli import main

    def call(*arguments):
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return code, capsys.readouterr().out

    return call


@pytest.mark.parametrize(
    ("execution", "words"),
    [
        ({"partition": "nope"}, "invalid partition specified: nope"),
        ({"partition": "closed", "account": "poor"}, "Invalid account or account/partition"),
        ({"frobnicate": "3"}, "unrecognized option"),
        ({"mem": "900G"}, "Requested node configuration is not available"),
    ],
)
def test_what_the_site_refuses_is_one_line_before_anything_is_written(slurm, make_project, execution, words):
    """The site's own words, and what to do."""
    model = stilt.Model(make_project(1))
    with pytest.raises(ConfigError, match=words) as caught:
        model.run({"backend": "slurm", **execution}, progress=False)
    assert "\n" not in str(caught.value)
    assert "nothing was submitted" in str(caught.value)
    with pytest.raises(ConfigError, match=words):
        model.preview({"backend": "slurm", **execution})
    assert not (model.project / ".stilt").exists()


def test_a_controller_that_is_down_refuses_a_submission(slurm, make_project, monkeypatch, tmp_path):
    """So does a configuration that names no reachable controller."""
    conf = Path(slurm.conf).read_text().replace("SlurmctldPort=", "MessageTimeout=2\nSlurmctldPort=1\n#")
    (tmp_path / "slurm.conf").write_text(conf)
    monkeypatch.setenv("SLURM_CONF", str(tmp_path / "slurm.conf"))
    model = stilt.Model(make_project(1))
    with pytest.raises(ConfigError, match="nothing was submitted"):
        model.run({"backend": "slurm"}, progress=False)
