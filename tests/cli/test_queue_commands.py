"""Commands with a work queue: what workers and users see of each other, on a real Postgres."""

from __future__ import annotations

import json
import signal
import time

import pytest

from stilt.storage import LocalStore
from stilt.storage.failures import record_failure

pytestmark = pytest.mark.postgres


@pytest.fixture
def with_queue(monkeypatch, postgres_dsn):
    """Commands find the queue in the environment, with a password that must not show up anywhere."""
    dsn = postgres_dsn.replace("//postgres:@", "//postgres:hunter2@")
    monkeypatch.setenv("PYSTILT_DB_URL", dsn)
    return dsn


def counted(type_stilt, project, *options):
    return json.loads(type_stilt("status", project, "--json", *options).out)


@pytest.fixture
def queue_of(with_queue):
    """The queue of a project, as another worker on another machine would open it."""
    from stilt.service import PostgresQueue

    made = []

    def open_it(project):
        made.append(PostgresQueue(with_queue, project.as_uri()))
        return made[-1]

    yield open_it
    for queue in made:
        queue.close()


def test_register_pull_status_rebuild(type_stilt, cli_project, with_queue, queue_of):
    """The life of a project whose work is pulled; what it says is merged from outputs and queue."""
    assert type_stilt("register", cli_project, "--scene-id", "o'ne", "--priority", "2").code == 0
    said = counted(type_stilt, cli_project)
    assert (said["pending"], said["queue"]["pending"]) == (3, 3)

    queue = queue_of(cli_project)
    (held,) = queue.claim("elsewhere", settings=_settings(cli_project), begin=True)
    said = counted(type_stilt, cli_project, "--by-scene")
    assert (said["pending"], said["running"]) == (2, 1)
    assert said["scenes"] == [
        {"scene_id": "o'ne", "total": 3, "completed": 0, "running": 1, "pending": 2, "failed": 0}
    ]
    assert said["running_now"][0]["sim_id"] == held.sim_id
    assert "by elsewhere for" in type_stilt("status", cli_project).out

    done = type_stilt("pull-worker", cli_project, "--max-rows", "5")
    assert done.code == 0, done
    assert done.out == "2 run\n"
    assert done.err.count(" complete: engine ") == 2
    assert counted(type_stilt, cli_project)["completed"] == 2

    assert queue.failed(held, "WORKER_DIED", "it was not heard of again.") == "failed"
    said = counted(type_stilt, cli_project, "--failures")
    assert (said["failed"], said["pending"]) == (1, 0)
    assert said["failures"][0]["reason"] == "WORKER_DIED"
    assert "not heard of again" in type_stilt("status", cli_project, "--failures").out

    # one that left a record of its failure, and is then asked for again, waits
    record_failure(LocalStore(cli_project), held.sim_id, reason="STORE", message="it was busy.")
    assert counted(type_stilt, cli_project)["failed"] == 1
    assert type_stilt("register", cli_project).code == 0
    said = counted(type_stilt, cli_project, "--failures", "--by-scene")
    assert (said["failed"], said["pending"], said["failures"]) == (0, 1, [])
    assert (said["scenes"][0]["failed"], said["queue"]["pending"]) == (0, 1)

    queue.enqueue({"valley_202407102000_0_0_5": None}, settings=_settings(cli_project))
    shown = type_stilt("rebuild", cli_project)
    assert (shown.code, "1 rows are not in the manifest" in shown.out) == (0, True)
    assert "removed" in type_stilt("rebuild", cli_project, "--prune").out
    assert type_stilt("pull-worker", cli_project).out == "1 run\n"
    assert counted(type_stilt, cli_project)["completed"] == 3
    assert type_stilt("pull-worker", cli_project).out == "0 run\n"

    texts = [path.read_bytes() for path in cli_project.rglob("*") if path.is_file()]
    assert not any(b"hunter2" in text for text in texts)
    assert "hunter2" not in done.out + done.err + shown.out


def test_a_run_leaves_to_others_what_they_hold(type_stilt, cli_project, queue_of):
    """`stilt run` claims what it runs; the rest is somebody else's, and is not complete yet."""
    type_stilt("register", cli_project)
    queue = queue_of(cli_project)
    (held,) = queue.claim("elsewhere", settings=_settings(cli_project), begin=True)
    done = type_stilt("run", cli_project)
    assert done.code == 1
    assert "2 run, 1 running elsewhere" in done.out
    assert queue.counts().done == 2
    assert queue.heartbeat([held]) == []
    queue.release([held])
    assert type_stilt("run", cli_project).code == 0
    assert queue.counts().done == 3
    # outputs are the state: a deleted one is made again, whatever the queue says
    next(cli_project.glob("simulations/by-id/*/*_foot.nc")).unlink()
    assert type_stilt("push-worker", cli_project).out == "1 run\n"
    assert queue.counts().done == 3


@pytest.mark.parametrize(
    ("dsn", "reason"),
    [
        ("postgresql://me:hunter2@127.0.0.1:1/db", "refused"),
        ("mysql://me:hunter2@host/db", "PYSTILT_DB_URL"),
        ("not an address: hunter2", "PYSTILT_DB_URL"),
    ],
)
def test_a_queue_out_of_reach_is_one_line(type_stilt, cli_project, monkeypatch, dsn, reason):
    """Exit code 2 for every command that needs it, before anything is written."""
    monkeypatch.setenv("PYSTILT_DB_URL", dsn)
    for command in ("register", "run", "status", "rebuild", "pull-worker", "serve"):
        if command == "pull-worker":
            with monkeypatch.context() as without:
                without.delenv("PYSTILT_DB_URL")
                type_stilt("register", cli_project)
        said = type_stilt(command, cli_project)
        assert reason in said.complaint, command
        assert "hunter2" not in said.err
        if command in ("register", "run"):
            assert not any((cli_project / ".stilt").glob("*.*"))


@pytest.mark.slow
def test_serve_works_until_it_is_told_to_stop(start_stilt, type_stilt, cli_project, queue_of, tmp_path):
    """It waits, wakes when something is registered, writes its health, and returns its claim on SIGTERM."""
    type_stilt("register", cli_project)
    queue = queue_of(cli_project)
    health = tmp_path / "health.json"
    worker = start_stilt("serve", cli_project, "--health-file", health, "--max-rows", "2")
    try:
        _until(lambda: queue.counts().done == 3)
        _until(lambda: json.loads(health.read_text())["complete"] == 3)
        next(cli_project.glob("simulations/by-id/*/*_traj.parquet")).unlink()
        type_stilt("register", cli_project)
        _until(lambda: queue.counts().done == 3)
    finally:
        worker.send_signal(signal.SIGTERM)
        out, err = worker.communicate(timeout=60)
    assert worker.returncode == 0, err
    assert "SIGTERM: stopping" in err
    assert not health.exists()
    assert queue.counts().running == 0
    assert "Traceback" not in err
    assert out == ""


def _settings(project) -> str:
    from stilt.outputs import load_published_config
    from stilt.storage import open_store

    return load_published_config(open_store(project))[1]


def _until(condition, seconds: float = 120.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.1)
