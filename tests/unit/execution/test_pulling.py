"""Pull workers: what they run, skip, return and report; with the queue's twin in memory."""

from __future__ import annotations

import contextlib
import json
import threading
import time
import urllib.request
from pathlib import Path

import pytest

from stilt.completion import expected_footprints
from stilt.errors import (
    ConfigError,
    Interrupted,
    MetCoverageError,
    NoQueueError,
    ProjectError,
    QueueError,
    StaleOutputsError,
    StoreError,
    StoreFullError,
    StoreUnavailableError,
)
from stilt.execution import warmup
from stilt.execution.leases import Leases
from stilt.execution.monitoring import HealthFile, LogLines, Metrics, Monitor, Monitors
from stilt.execution.progress import Silent
from stilt.execution.pulling import PullWorker, pull
from stilt.execution.rebuilding import enqueue_registered, rebuild_queue
from stilt.execution.results import SimulationResult
from stilt.execution.tasks import tasks_for
from stilt.execution.worker import run_task
from stilt.manifest import Manifest
from stilt.outputs import Fingerprint, publish_config, record_settings
from stilt.receptors import PointReceptor
from stilt.service import Claim, MemoryQueue
from stilt.storage.failures import read_failure
from stilt.storage.layout import footprint_key, log_key, trajectory_key


class Project:
    """A registered project around the made-up engine, and its queue."""

    def __init__(self, context, n: int = 4, **options) -> None:
        self.context = context
        self.store = context.store
        self.queue = MemoryQueue(self.store.uri, **options)
        self.sim_ids = self.register(context.config, n)

    def register(self, config, n: int) -> list[str]:
        record_settings(self.store, config)
        self.settings = publish_config(self.store, config)
        manifest = Manifest(self.store)
        receptors = [
            PointReceptor(f"2023-01-01 {12 + i % 3}:00", -111.85, 40.5 + 0.01 * i, 5.0) for i in range(n)
        ]
        found = manifest.register_receptors(receptors, ["hrrr"], footprints=expected_footprints(config))
        enqueue_registered(
            self.store, self.queue, self.settings, manifest.load(), found.sim_ids, is_error=False
        )
        return sorted(found.sim_ids)

    def pull(self, **options):
        return pull(self.store, self.queue, **options)


@pytest.fixture
def project(make_context) -> Project:
    return Project(make_context())


def test_a_worker_runs_what_is_pending_and_ends(project):
    """Everything ends complete and done, each simulation once, in batches or one by one."""
    handle = project.pull()
    assert [result.sim_id for result in handle.results] == project.sim_ids
    assert handle.exit_code == 0
    assert project.queue.counts().done == 4
    assert project.pull().results == []


def test_a_batch_is_processed_by_met_window(make_context, straight_engine):
    """Receptors of one hour follow each other, so that they share decoded meteorology."""
    project = Project(make_context(), n=0)
    receptors = [
        PointReceptor(f"2023-01-01 {hour}:00", -111.85, 40.0 + i, 5.0) for i in (0, 1) for hour in (15, 14)
    ]
    manifest = Manifest(project.store)
    found = manifest.register_receptors(receptors, ["hrrr"], footprints=("default", "fine"))
    for sim_id in found.sim_ids:
        project.queue.enqueue({sim_id: None}, settings=project.settings)
    project.pull(max_rows=4)
    assert [request.receptor.time.hour for request in straight_engine.requests] == [15, 15, 14, 14]


@pytest.mark.parametrize("max_rows", [1, 16])
def test_complete_simulations_are_marked_done_without_running(project, straight_engine, max_rows):
    """Outputs that exist are found by key; nothing is written again."""
    table = Manifest(project.store).load()
    for task in tasks_for(table, project.sim_ids[:2], error_trajectory=False):
        assert run_task(task, project.context).ok
    ran = len(straight_engine.requests)
    log = project.store.read(log_key(project.sim_ids[0]))
    handle = project.pull(max_rows=max_rows)
    assert sorted(result.sim_id for result in handle.results if result.skipped) == project.sim_ids[:2]
    assert len(straight_engine.requests) == ran + 2
    assert project.queue.counts().done == 4
    assert project.store.read(log_key(project.sim_ids[0])) == log


@pytest.mark.parametrize("max_rows", [1, 16])
def test_failures_are_reported_and_do_not_stop_the_others(project, straight_engine, max_rows):
    """The queue keeps the reason; nobody tries again by himself."""

    def fail(request):
        if request.receptor.latitudes[0] == 40.51:
            raise MetCoverageError("no hour 12.")

    straight_engine.before = fail
    handle = project.pull(max_rows=max_rows)
    assert (handle.exit_code, len(handle.failed)) == (1, 1)
    (row,) = project.queue.watched()
    assert (row.status, row.reason, row.message) == ("failed", "MET_COVERAGE", "no hour 12.")
    assert project.queue.counts().done == 3


def test_a_store_that_was_busy_is_tried_again(make_context, straight_engine):
    """Up to the attempts a row has, at the end of the queue."""
    project = Project(make_context(), n=2, max_attempts=3)
    tries = []

    def hiccup(request):
        tries.append(request.receptor.id)
        if len(tries) in (1, 3):
            raise StoreError("bucket busy.")

    straight_engine.before = hiccup
    handle = project.pull()
    assert len(tries) == 4
    assert tries[0] == tries[2] == tries[3]
    assert project.queue.counts().done == 2
    assert [result.status for result in handle.results] == ["failed", "complete", "failed", "complete"]


def test_asked_to_stop_a_worker_returns_what_it_has(project, straight_engine):
    """The running simulation and the rest of the batch are pending again, without a spent attempt."""
    worker = PullWorker(project.store, project.queue, max_rows=16)

    def stop(request):
        if len(straight_engine.requests) == 2:
            worker.stop()

    straight_engine.before = stop
    handle = worker.run()
    assert (handle.interrupted, handle.exit_code) == (True, 3)
    counts = project.queue.counts()
    assert (counts.done, counts.pending, counts.running) == (1, 3, 0)
    assert {claim.attempts for claim in project.queue.claim("w", 9, settings=project.settings)} == {0}


@pytest.mark.parametrize("trouble", [StoreFullError, StoreUnavailableError])
@pytest.mark.parametrize("max_rows", [1, 2])
def test_a_store_that_takes_nothing_ends_the_worker_not_the_work(
    project, straight_engine, trouble, max_rows, capsys
):
    """The simulations go back, with no attempt spent: another machine may have room, or access."""

    def refuse(request):
        raise trouble("the store takes nothing.")

    straight_engine.before = refuse
    handle = project.pull(max_rows=max_rows, follow=True, monitor=LogLines())
    assert (handle.exit_code, handle.stopped_because) == (1, "the store takes nothing.")
    assert handle.failed == []
    said = capsys.readouterr().err
    assert f"returned to the queue, where it is pending again: {trouble.reason}: the store takes" in said
    assert "stopping: no other simulation could be written either" in said
    assert " failed" not in said
    counts = project.queue.counts()
    assert (counts.pending, counts.running, counts.failed) == (4, 0, 0)
    assert {claim.attempts for claim in project.queue.claim("w", 9, settings=project.settings)} == {0}


def test_a_lost_claim_is_given_up_and_not_reported(project, straight_engine):
    """When the row belongs to somebody else, the outcome is theirs."""
    queue = project.queue
    queue.lease = 0.3

    def lose(request):
        if len(straight_engine.requests) > 1:
            return
        (held,) = [row for row in queue.watched() if row.worker]
        queue.remove([held.sim_id])
        queue.record_done({held.sim_id: None}, settings=project.settings)
        until = time.monotonic() + 5.0
        while not worker._leases.is_lost(held.sim_id) and time.monotonic() < until:
            time.sleep(0.02)

    straight_engine.before = lose
    worker = PullWorker(project.store, queue)
    handle = worker.run()
    assert len(handle.results) == 3
    assert queue.counts().done == 4
    assert not project.store.exists(trajectory_key(project.sim_ids[0]))


def test_the_heartbeat_keeps_a_long_simulation(project, straight_engine):
    """A simulation that outlasts its lease several times over stays with its worker."""
    project.queue.lease = 0.3

    def slow(request):
        if len(straight_engine.requests) == 1:
            time.sleep(1.0)
            assert project.queue.reap() == []

    straight_engine.before = slow
    assert len(project.pull().results) == 4
    assert project.queue.counts().done == 4


def test_rows_of_dead_workers_are_taken_over(make_context):
    """Also those whose simulation has used up its attempts: they fail, with a record beside the outputs."""
    project = Project(make_context(), lease=0.01, max_attempts=1)
    killer, other = project.queue.claim("dead", 2, settings=project.settings)
    project.queue.begin(killer)
    time.sleep(0.05)
    project.queue.lease = 30.0
    handle = project.pull(max_rows=2)
    assert {result.sim_id for result in handle.results} == {*project.sim_ids} - {killer.sim_id}
    assert other.sim_id in {result.sim_id for result in handle.results}
    record = read_failure(project.store, killer.sim_id)
    assert record is not None
    assert record.reason == "WORKER_DIED"
    assert project.queue.counts().failed == 1


def test_rows_nobody_registered_fail_with_that_reason(project):
    """They do not stop the others."""
    project.queue.enqueue({"hrrr_202301011200_0_0_5": None}, settings=project.settings)
    project.pull(max_rows=16)
    (row,) = project.queue.watched()
    assert (row.status, row.reason) == ("failed", "NOT_REGISTERED")
    assert project.queue.counts().done == 4


def test_registrations_made_while_a_worker_waits_are_run(project):
    """A following worker wakes at once, reads the new manifest and ends when told to."""
    worker = PullWorker(project.store, project.queue, follow=True)
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        _until(lambda: project.queue.counts().done == 4)
        project.register(project.context.config, 6)
        _until(lambda: project.queue.counts().done == 6)
    finally:
        worker.stop()
        thread.join(10.0)
    assert not thread.is_alive()


def test_a_worker_moves_on_to_newly_published_settings(project, make_context):
    """Under each set it runs only the rows asked for under that set."""
    worker = PullWorker(project.store, project.queue, follow=True)
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        _until(lambda: project.queue.counts().done == 4)
        config = project.context.config
        footprints = {**config.footprints, "coarse": config.footprints["default"]}
        project.register(config.replace(footprints=footprints), 4)
        _until(lambda: project.store.exists(footprint_key(project.sim_ids[-1], "coarse")))
        _until(lambda: project.queue.counts().done == 4)
    finally:
        worker.stop()
        thread.join(10.0)
    assert not thread.is_alive()


def test_rows_of_other_settings_are_left_alone_and_mentioned(project, capsys):
    """A worker never runs under other settings than a row was asked for under."""
    other = dict.fromkeys(project.sim_ids[:1])
    project.queue.enqueue(other, settings="000000000000")
    assert len(project.pull(monitor=LogLines()).results) == 3
    assert "1 pending rows were asked for under other settings" in capsys.readouterr().err
    report = rebuild_queue(project.store, project.queue)
    assert (report.queued, report.counts.other_settings) == (1, 0)
    assert len(project.pull().results) == 1


def test_settings_changed_under_a_claim_return_it(project, straight_engine, monkeypatch):
    """Somebody records other settings and never publishes them: nothing is written, one clear error."""
    monkeypatch.setattr("stilt.execution.pulling._AFTER_REFUSAL", 0.0)

    def change(request):
        if len(straight_engine.requests) == 1:
            record_settings(project.store, project.context.config.replace(numpar=11))

    straight_engine.before = change
    with pytest.raises(StaleOutputsError, match="numpar"):
        project.pull()
    assert project.queue.counts().pending == 4
    assert not project.store.exists(trajectory_key(project.sim_ids[0]))


def test_what_makes_pulling_impossible_is_said(make_context):
    """No queue; nothing published."""
    context = make_context()
    with pytest.raises(NoQueueError, match="PYSTILT_DB_URL"):
        pull(context.store, None)
    with pytest.raises(ProjectError, match="stilt register"):
        pull(context.store, MemoryQueue(context.store.uri))


def test_rebuild_brings_the_queue_in_line_with_the_outputs(project):
    """Complete is done, incomplete pending (failed too), held rows keep their worker, strangers go."""
    queue, sim_ids = project.queue, project.sim_ids
    project.pull()
    project.store.delete(trajectory_key(sim_ids[0]))
    for sim_id in sim_ids[1:3]:
        project.store.delete(footprint_key(sim_id, "fine"))
    (held,) = queue.claim_ids("busy", [sim_ids[1]], settings=project.settings)
    queue.remove([sim_ids[3]])
    queue.enqueue({"hrrr_202301011200_0_0_5": None}, settings=project.settings)
    report = rebuild_queue(project.store, queue)
    assert (report.queued, report.recorded, report.pruned) == (2, 1, 0)
    assert report.unknown == ["hrrr_202301011200_0_0_5"]
    assert queue.heartbeat([held]) == []
    counts = rebuild_queue(project.store, queue, prune=True).counts
    assert (counts.pending, counts.running, counts.done) == (2, 1, 1)
    assert queue.sim_ids() == set(sim_ids)


class Unreachable(MemoryQueue):
    """A queue whose server is away for some calls."""

    away = 0

    def heartbeat(self, claims):
        if self.away:
            self.away -= 1
            raise QueueError("away.")
        return super().heartbeat(claims)


def test_the_heartbeat_outlives_an_outage():
    """Renewals that fail are tried again; nothing is given up before the queue says so."""
    queue = Unreachable("file:///p", lease=3.0)
    queue.enqueue({"m_1": None}, settings="s")
    queue.away = 1
    with Leases(queue, "w") as leases:
        claims = queue.claim("w", settings="s")
        leases.hold(claims)
        before = queue._rows["m_1"].lease_until
        _until(lambda: queue._rows["m_1"].lease_until > before)
        assert len(leases) == 1
        assert not leases.is_lost("m_1")
    assert queue.counts().pending == 1


class Stumbling(MemoryQueue):
    """A queue whose first heartbeats end in an error nobody thought of."""

    beats = 0

    def heartbeat(self, claims):
        self.beats += 1
        if self.beats <= 2:
            raise RuntimeError("password=hush")
        return super().heartbeat(claims)


def test_the_heartbeat_does_not_end_silently():
    """Whatever goes wrong is said once, without secrets, and renewals go on."""
    queue = Stumbling("file:///p", lease=0.6)
    queue.enqueue({"m_1": None}, settings="s")
    said: list[str] = []

    def tick():
        if not said:
            raise ValueError("no health")

    with Leases(queue, "w", say=said.append, tick=tick) as leases:
        leases.hold(queue.claim("w", settings="s"))
        _until(lambda: queue.beats >= 4)
        assert not leases.is_lost("m_1")
    assert [line.partition("goes on: ")[2] for line in said] == [
        "ValueError: no health",
        "RuntimeError: password=***",
    ]


class Gone(MemoryQueue):
    """A queue whose server goes away for good when its worker is asked to stop."""

    def done(self, claims):
        self.worker.stop()
        raise QueueError("away.")

    def release(self, claims):
        raise QueueError("away.")


def test_a_worker_that_is_to_stop_does_not_wait_for_the_queue(make_context, capsys):
    """What it could not report comes back when its lease is over; stopping is what was asked for."""
    project = Project(make_context())
    project.queue.__class__ = Gone
    project.queue.worker = worker = PullWorker(project.store, project.queue, follow=True, monitor=LogLines())
    assert worker.run().exit_code == 3
    assert "away. What is still claimed is pending again" in capsys.readouterr().err
    assert project.queue.counts().running == 1


class Locked(MemoryQueue):
    """A queue whose pending rows somebody keeps locked."""

    claims = 0

    def claim(self, worker, rows=1, *, settings, begin=False):
        self.claims += 1
        return []


def test_rows_that_cannot_be_claimed_do_not_keep_a_worker_busy(make_context):
    """It asks less and less often, and still stops at once."""
    project = Project(make_context())
    project.queue.__class__ = Locked
    worker = PullWorker(project.store, project.queue, follow=True)
    thread = threading.Thread(target=worker.run)
    thread.start()
    time.sleep(1.5)
    worker.stop()
    thread.join(5.0)
    assert not thread.is_alive()
    assert 3 <= project.queue.claims <= 12


def test_a_worker_that_follows_outlives_a_hiccup_of_the_store(project, monkeypatch, capsys):
    """Reading what is published may fail for a moment; without following, that is the end."""
    monkeypatch.setattr("stilt.execution.pulling._AFTER_TROUBLE", 0.0)
    real, failures = PullWorker._published_settings, [StoreError("bucket busy."), StoreError("bucket busy.")]

    def flaky(self):
        if failures:
            raise failures.pop()
        worker.stop()
        return real(self)

    monkeypatch.setattr(PullWorker, "_published_settings", flaky)
    worker = PullWorker(project.store, project.queue, follow=True, monitor=LogLines())
    assert len(worker.run().results) == 4
    assert capsys.readouterr().err.count("bucket busy. Trying again.") == 2
    failures.append(StoreError("bucket busy."))
    with pytest.raises(StoreError, match="busy"):
        project.pull()


def test_workers_that_start_together_compile_once(monkeypatch, tmp_path, make_context):
    """The first one compiles; the others wait and say so, or stop when told to."""
    compiled: list[float] = []

    class Slow:
        def warm_up(self, params):
            time.sleep(0.5)
            compiled.append(time.monotonic())

    monkeypatch.setattr(warmup, "_compiles", lambda: True)
    monkeypatch.setattr(warmup, "_marker", lambda config: tmp_path / "native.warm")
    monkeypatch.setattr(warmup, "_compiling_footprints", lambda folder: contextlib.nullcontext())
    monkeypatch.setattr(warmup, "get_engine", lambda name, section: Slow())
    config = make_context().config
    said: list[str] = []

    class Hearing(Silent):
        def say(self, text):
            said.append(text)

    def start():
        warmup.warm_up(config, Hearing(), share=False)

    threads = [threading.Thread(target=start) for _ in range(4)]
    threads[0].start()
    _until((tmp_path / ".lock.native.warm").exists)
    for thread in threads[1:]:
        thread.start()
    with pytest.raises(Interrupted, match="stopped while"):
        warmup.warm_up(config, Hearing(), share=False, should_stop=lambda: True)
    for thread in threads:
        thread.join()
    assert len(compiled) == 1
    assert sum(text.startswith("compiling kernels") for text in said) == 1
    assert sum("waiting for it" in text for text in said) == 4
    assert sum("by another process meanwhile" in text for text in said) == 3
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["native.warm"]


# --- what a worker tells the outside --------------------------------------------------------------------


def test_log_lines_name_the_simulation_and_its_timings(capsys):
    """One line each, in UTC."""
    log = LogLines()
    log.ended(SimulationResult("m_1", "complete", made=("trajectory",), timings={"engine": 2.0}))
    log.ended(SimulationResult("m_2", "complete"))
    log.ended(SimulationResult("m_3", "failed", "TIMEOUT", "too slow."))
    log.ended(SimulationResult("m_4", "interrupted", "INTERRUPTED", "stopped."))
    lines = capsys.readouterr().err.splitlines()
    assert [line.split("Z ", 1)[1] for line in lines] == [
        "m_1 complete: engine 2.00 s",
        "m_2 complete before",
        "m_3 failed: TIMEOUT: too slow. ()",
        "m_4 returned to the queue: stopped.",
    ]


def test_the_health_file_lives_as_long_as_its_worker(tmp_path):
    """It says what is going on, is renewed by the heartbeat, and goes when the worker does."""
    path = tmp_path / "health.json"
    health = HealthFile(path)
    assert json.loads(path.read_text())["state"] == "idle"
    health.began(Claim("m_1", "w", "s"))
    health.alive()
    assert json.loads(path.read_text())["sim_id"] == "m_1"
    health.ended(SimulationResult("m_1", "complete"))
    health._next = 0.0
    health.alive()
    said = json.loads(path.read_text())
    assert (said["complete"], said["failed"], said["sim_id"]) == (1, 0, None)
    path.unlink()
    health._next = 0.0
    health._last_sign -= 10_000.0
    health.alive()
    assert not path.exists()  # stuck: a supervisor notices by its age
    health.sign_of_life()
    health.idle()
    health.alive()
    assert path.exists()
    health.close()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ConfigError, match="cannot be written"):
        HealthFile(tmp_path / "no" / "health.json")


def test_metrics_are_served(project):
    """Counts by outcome and time by step, for Prometheus."""
    pytest.importorskip("prometheus_client")
    metrics = Metrics("127.0.0.1:0")
    text = []

    class Reader(Monitor):
        def ended(self, result, *, returned=False):
            with urllib.request.urlopen(f"http://127.0.0.1:{metrics.port}/metrics") as page:
                text.append(page.read().decode())

    project.pull(monitor=Monitors([metrics, Reader()]))
    assert 'stilt_simulations_total{outcome="complete",reason=""} 4.0' in text[-1]
    assert "stilt_claims_total 4.0" in text[-1]
    assert 'stilt_step_seconds_count{step="engine"} 4.0' in text[-1]
    for wrong in ("ninety", "1.2.3.4:", "99999"):
        with pytest.raises(ConfigError, match="no port"):
            Metrics(wrong)


def test_the_fingerprint_is_what_claims_carry(project):
    """Published settings and those of the rows have one hash."""
    assert project.settings == Fingerprint.of(project.context.config).hash


def _until(condition, seconds: float = 20.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.02)


def test_health_files_need_no_existing_file(tmp_path: Path):
    """A worker that starts anew replaces what an earlier one left."""
    (tmp_path / "health").write_text("old")
    HealthFile(tmp_path / "health").close()
    assert not (tmp_path / "health").exists()
