"""Outputs in a bucket and a work queue beside it: what workers do there when they are disturbed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from databases import PASSWORD, with_user
from object_stores import SECRET, use_environment
from stilt.outputs import load_published_config
from stilt.service import PostgresQueue
from stilt.storage import open_store
from stilt.storage.layout import simulation_prefix, trajectory_key

pytestmark = [pytest.mark.postgres, pytest.mark.live_s3]

# the native engine, which waits before its first simulation until it is asked to stop or a file is there
WAITING = """\
import os, sys, time
from stilt.transport import registry
from stilt.transport.native.engine import NativeEngine

class Waiting(NativeEngine):
    def run(self, request, *, deadline=None, should_stop=None):
        open(os.environ["BEGUN"], "w").close()
        while not should_stop() and not os.path.exists(os.environ["GO_ON"]):
            time.sleep(0.05)
        return super().run(request, deadline=deadline, should_stop=should_stop)

registry.register_engine("native", Waiting)
from stilt.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def shared(monkeypatch, database, bucket_at):
    """An empty bucket and an empty database, both found in the environment."""
    bucket = bucket_at("s3")
    monkeypatch.setenv("PYSTILT_DB_URL", database.replace("//postgres:@", "//postgres:hunter2@"))
    return bucket


@pytest.fixture
def queue_at(shared, database):
    """The queue of an output root."""
    made = []

    def open_it(uri):
        made.append(PostgresQueue(database, open_store(uri).identity))
        return made[-1]

    yield open_it
    for queue in made:
        queue.close()


@pytest.fixture
def waiting_worker(monkeypatch, tmp_path):
    """Start a worker that has begun a simulation; gives its process and the file that lets it go on."""
    monkeypatch.setenv("BEGUN", str(tmp_path / "begun"))
    monkeypatch.setenv("GO_ON", str(tmp_path / "go-on"))
    started = []

    def start(*arguments):
        command = [sys.executable, "-c", WAITING, *map(str, arguments)]
        worker = subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        started.append(worker)
        until = time.monotonic() + 120.0
        while not (tmp_path / "begun").exists():
            assert worker.poll() is None, worker.communicate()
            assert time.monotonic() < until
            time.sleep(0.05)
        return worker, tmp_path / "go-on"

    yield start
    for worker in started:
        if worker.poll() is None:
            worker.kill()
            worker.communicate()


def counted(type_stilt, uri):
    return json.loads(type_stilt("status", uri, "--json").out)


def ended(worker, code):
    out, err = worker.communicate(timeout=120)
    assert worker.returncode == code, err
    assert "Traceback" not in err
    assert "hunter2" not in out + err
    assert SECRET not in out + err
    return err


def test_two_projects_share_a_bucket_a_database_and_workers(
    type_stilt, start_stilt, cli_project, shared, database
):
    """Registered, pulled by two workers, rebuilt; nobody sees the other's rows, and no secret is kept."""
    import psycopg

    one, two = f"{shared.uri}/one", f"{shared.uri}/two"
    for uri in (one, two):
        assert type_stilt("register", cli_project, "--output-dir", uri, "--scene-id", "s/1").code == 0
    other = start_stilt("pull-worker", two)
    mine = type_stilt("pull-worker", two)
    err = ended(other, 0)
    assert mine.code == 0
    assert (mine.err + err).count(" complete: engine ") == 3
    said = counted(type_stilt, two)
    assert (said["completed"], said["queue"]["done"]) == (3, 3)
    said = counted(type_stilt, one)
    assert (said["completed"], said["pending"], said["queue"]["pending"]) == (0, 3, 3)

    store = open_store(two)
    for key in [key for key in store.list() if key.endswith("_foot.nc")][:2]:
        store.delete(key)
    assert type_stilt("rebuild", two).code == 0
    assert counted(type_stilt, two)["queue"] | {"other_settings": 0} == {
        "pending": 2,
        "running": 0,
        "done": 1,
        "failed": 0,
        "other_settings": 0,
    }
    assert type_stilt("run", two).code == 0
    assert counted(type_stilt, two)["queue"]["done"] == 3

    everything = b"".join(open_store(shared.uri).read(key) for key in open_store(shared.uri).list())
    with psycopg.connect(database) as connection:
        for table in ("stilt_project", "stilt_simulation"):
            everything += repr(connection.execute(f"SELECT * FROM {table}").fetchall()).encode()  # type: ignore[arg-type]
    assert b"hunter2" not in everything
    assert SECRET.encode() not in everything


@pytest.mark.parametrize(("command", "code"), [("serve", 0), ("pull-worker", 3)])
def test_sigterm_in_the_middle_of_a_simulation(
    type_stilt, cli_project, shared, queue_at, waiting_worker, command, code
):
    """Its row is pending again with no attempt spent, no output is there, and the exit code says why."""
    type_stilt("register", cli_project, "--output-dir", shared.uri)
    worker, _ = waiting_worker(command, shared.uri)
    queue = queue_at(shared.uri)
    (held,) = queue.watched()
    # a run beside it leaves alone what it holds
    done = type_stilt("run", shared.uri)
    assert (done.code, "2 run, 1 running elsewhere" in done.out) == (1, True)
    worker.send_signal(signal.SIGTERM)
    err = ended(worker, code)
    assert "SIGTERM: stopping" in err
    assert f"{held.sim_id} returned to the queue" in err
    counts = queue.counts()
    assert (counts.pending, counts.running, counts.done) == (1, 0, 2)
    assert list(open_store(shared.uri).list(simulation_prefix(held.sim_id))) == []
    settings = load_published_config(open_store(shared.uri))[1]
    (again,) = queue.claim("w", settings=settings)
    assert (again.sim_id, again.attempts) == (held.sim_id, 0)


def test_a_worker_that_was_asleep_too_long_ends_nothing(
    type_stilt, cli_project, shared, queue_at, waiting_worker, monkeypatch
):
    """Suspended beyond its lease: another worker has the row, whose outcome the first one leaves alone."""
    monkeypatch.setenv("PYSTILT_LEASE", "2")
    type_stilt("register", cli_project, "--output-dir", shared.uri)
    worker, go_on = waiting_worker("pull-worker", shared.uri)
    queue = queue_at(shared.uri)
    (held,) = queue.watched()
    os.kill(worker.pid, signal.SIGSTOP)
    until = time.monotonic() + 60.0
    while queue.next_expiry():
        assert time.monotonic() < until
        time.sleep(0.2)
    assert type_stilt("pull-worker", shared.uri).out == "3 run\n"
    store = open_store(shared.uri)
    made = store.read(trajectory_key(held.sim_id))
    go_on.touch()
    os.kill(worker.pid, signal.SIGCONT)
    assert f"{held.sim_id} had been given to another worker meanwhile" in ended(worker, 0)
    counts = queue.counts()
    assert (counts.done, counts.total) == (3, 3)
    assert store.read(trajectory_key(held.sim_id)) == made
    names = [key.rpartition("/")[2] for key in store.list(simulation_prefix(held.sim_id))]
    assert sorted(name.rpartition("_")[2] for name in names) == ["foot.nc", "stilt.log", "traj.parquet"]


def test_a_bucket_that_cannot_be_used_keeps_rows_pending(
    type_stilt, cli_project, shared, queue_at, monkeypatch
):
    """Read-only or gone: one line and exit code 2 from every worker, and nothing is lost or counted."""
    type_stilt("register", cli_project, "--output-dir", shared.uri)
    queue = queue_at(shared.uri)
    with shared.server.read_only(shared.name) as environment:
        use_environment(monkeypatch, environment)
        for command in ("pull-worker", "serve", "run"):
            assert "refused to write" in type_stilt(command, shared.uri).complaint
    use_environment(monkeypatch, shared.server.environment())
    shared.server.drop_bucket(shared.name)
    for command in ("pull-worker", "serve", "run", "register", "rebuild", "status"):
        assert "does not exist; create it" in type_stilt(command, shared.uri).complaint
    counts = queue.counts()
    assert (counts.pending, counts.total) == (3, 3)


def test_a_bucket_that_vanishes_under_a_worker_returns_its_claim(
    type_stilt, cli_project, shared, queue_at, waiting_worker
):
    """The log says that the row is pending again, not that it failed, and what to do."""
    type_stilt("register", cli_project, "--output-dir", shared.uri)
    worker, go_on = waiting_worker("serve", shared.uri, "--max-rows", "2")
    shared.server.drop_bucket(shared.name)
    go_on.touch()
    err = ended(worker, 1)
    assert "returned to the queue, where it is pending again: STORE_UNAVAILABLE" in err
    assert "does not exist; create it" in err
    assert " failed" not in err
    counts = queue_at(shared.uri).counts()
    assert (counts.pending, counts.total) == (3, 3)


@pytest.mark.parametrize("trouble", ["password", "database", "newer"])
def test_a_queue_that_cannot_be_used_is_one_line(
    type_stilt, cli_project, locked_role, database, monkeypatch, trouble
):
    """Wrong password, missing database, tables of a newer version: exit code 2, nothing written."""
    import psycopg

    if trouble == "password":
        dsn, words = with_user(database, "locked", PASSWORD + "x"), "password authentication failed"
    elif trouble == "database":
        dsn = re.sub("/t[0-9a-f]{32}", "/t_none", with_user(database, "locked", PASSWORD))
        words = '"t_none" does not exist'
    else:
        PostgresQueue(database, "file:///p").open()
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute("INSERT INTO stilt_schema (version) VALUES (99)")
        dsn, words = database, "update this installation"
    monkeypatch.setenv("PYSTILT_DB_URL", "")
    assert type_stilt("register", cli_project).code == 0
    before = sorted(cli_project.rglob("*"))
    monkeypatch.setenv("PYSTILT_DB_URL", dsn)
    for command in ("register", "run", "status", "rebuild", "pull-worker", "serve"):
        said = type_stilt(command, cli_project)
        assert words in said.complaint, command
        assert "hunter2" not in said.err
    assert sorted(cli_project.rglob("*")) == before
