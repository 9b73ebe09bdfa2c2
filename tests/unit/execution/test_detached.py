"""What is made of a detached job's end, without a scheduler."""

from __future__ import annotations

import time

import pytest

from stilt.errors import FailureReason, StoreFullError
from stilt.execution import detached
from stilt.execution.detached import Accepted, hand_over
from stilt.execution.progress import Silent
from stilt.execution.protocol import JobView
from stilt.execution.tasks import Task, complete_among
from stilt.execution.worker import WorkContext
from stilt.storage import MemoryStore
from stilt.storage.failures import record_failure
from stilt.storage.layout import trajectory_key

IDS = [f"m_20240101000{n}_1_2_3" for n in range(6)]


class Over:
    """A control whose job has ended, in some way."""

    def __init__(self, view: JobView | None = None) -> None:
        self.view = view or JobView()
        self.looks: list[float] = []

    def look(self) -> JobView:
        self.looks.append(time.monotonic())
        return self.view

    def cancel(self) -> None:
        return

    def last_words(self, chunk: int) -> str:
        return "Killed"


@pytest.fixture
def ended(make_context, monkeypatch):
    """Hand six tasks over in two chunks to a scheduler that is done at once."""
    store = MemoryStore()
    monkeypatch.setattr(detached, "_SETTLING", 0.0)

    def start(view: JobView | None = None):
        context = WorkContext(store, make_context().config)
        monkeypatch.setattr(detached, "attach", lambda record: Over(view))
        tasks = [Task(sim_id, "m", {}, ("trajectory",)) for sim_id in IDS]
        return hand_over(
            "slurm", tasks, context, Silent(), n_chunks=2, start=lambda batch, n: Accepted(("7",), n, {})
        )

    return store, start


def test_what_a_worker_on_a_full_disk_did_not_reach_has_not_failed(ended):
    """As on one machine: one failure with its reason, the rest is pending, the run says why it stopped."""
    store, start = ended
    job = start()
    store.write(trajectory_key(IDS[0]), b"x")
    record_failure(store, IDS[1], reason=FailureReason.STORE_FULL, message="no space left to write x")
    job.wait()
    found = {result.sim_id: result.reason or result.status for result in job.results}
    # the worker of the other chunk died without a word
    assert found == {
        IDS[0]: "complete", IDS[1]: "STORE_FULL", IDS[3]: "WORKER_DIED", IDS[4]: "WORKER_DIED",
        IDS[5]: "WORKER_DIED",
    }  # fmt: skip
    assert (job.stopped_because, job.exit_code) == ("no space left to write x", 1)


def test_waiting_ends_in_results_also_where_nothing_can_be_noted(ended, monkeypatch):
    """The disk that filled up under the workers is that of the record, too."""
    store, start = ended
    job = start()

    def full(key, data, **options):
        raise StoreFullError("no space left")

    monkeypatch.setattr(store, "write", full)
    assert job.wait() == []
    assert (job.stopped_because, job.exit_code) == ("no space left", 1)
    monkeypatch.undo()
    job.cancel()


def test_a_full_disk_of_an_earlier_job_explains_nothing(ended, monkeypatch):
    """Records older than the job are not its own."""
    store, start = ended
    record_failure(store, IDS[1], reason=FailureReason.STORE_FULL, message="no space left")
    monkeypatch.setattr(detached, "now", lambda: "2999-01-01T00:00:00Z")
    job = start()
    job.wait()
    assert len(job.results) == 6
    assert job.stopped_because == ""


def test_a_long_job_is_looked_at_less_and_less(ended, monkeypatch):
    """Two seconds at first, a fiftieth of the time it has run later, at most a minute."""
    _, start = ended
    job = start(JobView(running=frozenset({0, 1})))
    clock = [0.0]
    pauses = []

    def sleep(seconds, flag):
        pauses.append(seconds)
        clock[0] += seconds
        return clock[0] > 3 * 3600

    monkeypatch.setattr(detached.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(detached, "_sleep", sleep)
    job.wait()
    assert job.interrupted
    assert (min(pauses), max(pauses)) == (2.0, 60.0)
    assert len(pauses) < 500
    assert pauses == sorted(pauses)


def test_tasks_whose_outputs_are_all_there(ended):
    """By what each of them is to have."""
    store, _ = ended
    store.write(trajectory_key(IDS[0]), b"x")
    store.write(trajectory_key(IDS[1]), b"x")
    tasks = [
        Task(IDS[0], "m", {}, ("trajectory",)),
        Task(IDS[1], "m", {}, ("trajectory", "footprint:default")),
        Task(IDS[2], "m", {}, ("trajectory",)),
    ]
    assert complete_among(store, tasks) == {IDS[0]}
