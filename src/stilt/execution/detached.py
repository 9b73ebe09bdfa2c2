"""
Jobs that go on without us: handing the work over, waiting for it, finding it again.

What a scheduler says decides only when to stop waiting and what to say about workers that died;
what became of a simulation is read from the outputs, as everywhere.
"""

from __future__ import annotations

import bisect
import contextlib
import itertools
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from stilt.completion import complete_ids, failed_ids
from stilt.config import ModelConfig
from stilt.errors import FailureReason, ProjectError, StiltError, StoreError
from stilt.execution.handle import JobHandle
from stilt.execution.jobs import JobRecord, mark_ended, new_batch, now, read_records, write_record
from stilt.execution.progress import Reporter, Silent
from stilt.execution.protocol import JobControl, JobView, Watching, Withdrawing
from stilt.execution.registry import attach
from stilt.execution.results import SimulationResult
from stilt.execution.stopping import StopFlag, heeding_signals
from stilt.execution.tasks import Chunk, Task, chunk_sizes, read_chunk, write_chunks
from stilt.execution.worker import WorkContext, is_fatal_reason
from stilt.outputs import Fingerprint
from stilt.storage import Store
from stilt.storage.failures import FailureRecord, read_failure
from stilt.storage.layout import chunk_key

LOOK_EVERY = 2.0
"""Seconds between the first looks at a job."""

LOOK_LATER = 0.02
"""Share of the time since it was submitted after which a job is looked at again: schedulers serve many."""

LONGEST_PAUSE = 60.0
"""Longest pause between two looks, however long a job has run, while looking is cheap [s]."""

LOOK_SHARE = 0.05
"""Largest share of the time spent looking; a job of a million simulations is looked at less often."""

_SETTLING = 2.0
"""Seconds given to a shared file system to show the last outputs."""


# --- handing over -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Accepted:
    """
    What a scheduler took.

    Parameters
    ----------
    job_ids : tuple of str
        Its names for it.
    chunks : int
        How many chunks, from the first on.
    where : dict
        What the backend needs to find the jobs again.
    refused : str
        Why it did not take the rest; empty when it took everything.
    said : str
        What the work was divided into; default: the number of chunks.
    """

    job_ids: tuple[str, ...]
    chunks: int
    where: dict[str, object]
    refused: str = ""
    said: str = ""


def hand_over(
    backend: str,
    tasks: Collection[Task],
    context: WorkContext,
    reporter: Reporter,
    *,
    n_chunks: int,
    start: Callable[[str, int], Accepted],
) -> DetachedJob:
    """
    Write the work as chunks, let a scheduler take it, and keep a record of the job.

    Parameters
    ----------
    backend : str
        Name of the backend.
    tasks : collection of Task
        The work, in running order.
    context : WorkContext
        Store and settings.
    reporter : Reporter
        Hears how it goes.
    n_chunks : int
        How many workers the work is divided among, at most.
    start : callable
        Given the name of the batch and the number of chunks, hands them to the scheduler; raises
        StiltError when it takes nothing.

    Returns
    -------
    DetachedJob
        Not waited for.
    """
    batch = new_batch()
    sim_ids, artifacts = _listed(tasks)
    sizes = chunk_sizes(sim_ids, n_chunks)
    settings = context.fingerprint.hash
    try:
        write_chunks(context.store, batch, tasks, settings, sizes)
        accepted = start(batch, len(sizes))
    except BaseException:
        _remove(context.store, batch, 0, len(sizes))
        raise
    if accepted.refused:
        _remove(context.store, batch, accepted.chunks, len(sizes))
        reporter.say(f"only {accepted.chunks} of {len(sizes)} chunks were accepted: {accepted.refused}")
    sizes = sizes[: accepted.chunks]
    record = JobRecord(
        batch=batch,
        backend=backend,
        job_ids=accepted.job_ids,
        settings=settings,
        chunks=len(sizes),
        simulations=sum(sizes),
        skip_existing=context.skip_existing,
        where=accepted.where,
        submitted=now(),
    )
    write_record(context.store, record)
    divided = accepted.said or f"in {len(sizes)} chunk{'s' if len(sizes) > 1 else ''}"
    reporter.say(
        f"{backend} job {record.name}: {sum(sizes)} simulations {divided}; "
        "it goes on without this process (stilt status, stilt cancel)"
    )
    work = Work(sim_ids[: sum(sizes)], artifacts, sizes)
    return DetachedJob(record, context.store, attach(record), reporter, work)


def _remove(store: Store, batch: str, first: int, end: int) -> None:
    for number in range(first, end):
        store.delete(chunk_key(batch, number))


def _listed(tasks: Collection[Task]) -> tuple[list[str], dict[tuple[str, ...], set[str]]]:
    """Ids in order, and ids by what is expected of them."""
    sim_ids: list[str] = []
    groups: dict[tuple[str, ...], set[str]] = {}
    for task in tasks:
        sim_ids.append(task.sim_id)
        groups.setdefault(task.artifacts, set()).add(task.sim_id)
    return sim_ids, groups


@dataclass
class Work:
    """
    What a batch holds, in as little memory as possible.

    Parameters
    ----------
    sim_ids : list of str
        In the order of the chunks.
    artifacts : dict
        Ids by the artifacts expected of them.
    sizes : list of int
        Simulations in each chunk.
    """

    sim_ids: list[str]
    artifacts: dict[tuple[str, ...], set[str]]
    sizes: list[int]

    @classmethod
    def read(cls, store: Store, record: JobRecord) -> Work:
        """Read the work of a batch from its chunks."""
        chunks = [read_chunk(store, chunk_key(record.batch, n)) for n in range(record.chunks)]
        sim_ids, artifacts = _listed([task for chunk in chunks for task in chunk.tasks])
        return cls(sim_ids, artifacts, [len(chunk.tasks) for chunk in chunks])

    def chunk_of(self) -> Callable[[int], int]:
        """Return a function from the place of a simulation to its chunk."""
        ends = list(itertools.accumulate(self.sizes))
        return lambda place: bisect.bisect_right(ends, place)

    def complete(self, store: Store, among: set[str]) -> set[str]:
        """Those of some simulations that are complete."""
        done: set[str] = set()
        for expected, sim_ids in self.artifacts.items():
            done.update(complete_ids(store, sorted(sim_ids & among), expected))
        return done


# --- waiting ------------------------------------------------------------------------------------------


class DetachedJob(JobHandle):
    """
    A job that a scheduler has.

    Parameters
    ----------
    record : JobRecord
        What is known of it.
    store : Store
        The output root.
    control : JobControl
        Asks the scheduler.
    reporter : Reporter, optional
        Hears how it goes.
    work : Work, optional
        What it holds; default: read from its chunks.
    """

    def __init__(
        self,
        record: JobRecord,
        store: Store,
        control: JobControl,
        reporter: Reporter | None = None,
        work: Work | None = None,
    ) -> None:
        super().__init__(job_id=record.name, detached=True)
        self.record = record
        self.control = control
        self._store = store
        self._reporter = reporter or Silent()
        self._work = work or Work.read(store, record)
        self._said: set[str] = set()
        self._over = False
        self._full = ""

    def wait(self) -> list[SimulationResult]:
        """
        Wait until every simulation has ended, or this process is asked to stop; the job then goes on.

        Returns
        -------
        list of SimulationResult
            In the order of the chunks.
        """
        if self._over:
            return self.results
        left = set(self._work.sim_ids)
        flag = StopFlag()
        view = JobView()
        started = time.monotonic()
        self._reporter.start(len(left))
        try:
            with heeding_signals(flag, lambda text: self._reporter.say(self._goes_on())):
                while True:
                    began = time.monotonic()
                    view = self.control.look()
                    if self.record.skip_existing:
                        left -= self._advance(left)
                    self._tell(view)
                    if view.is_over or (self.record.skip_existing and not left):
                        break
                    ended = time.monotonic()
                    later = min(LOOK_LATER * (ended - started), LONGEST_PAUSE)
                    pause = max(LOOK_EVERY, later, (ended - began) / LOOK_SHARE)
                    if isinstance(self.control, Watching) and not view.trouble:
                        self.control.pause(pause)
                        pause = 0.0
                    if _sleep(pause, flag):
                        self.interrupted = True
                        break
        except KeyboardInterrupt:
            self.interrupted = True
        finally:
            flag.close()
        if not self.interrupted:
            if left and self.record.skip_existing:
                time.sleep(_SETTLING)
            self._over = True
            self._full = self._note_the_end()
        self.results = list(self._judge(view))
        self._reporter.finish()
        return self.results

    @property
    def is_over(self) -> bool:
        """Whether the scheduler has nothing left of it, as far as this process knows."""
        return self._over

    def cancel(self) -> None:
        """Stop the job; what is finished is kept, and what is not can be run again."""
        if not self._over and not self.record.ended:
            self.control.cancel()
            if isinstance(self.control, Withdrawing):
                asked = set(self._work.sim_ids)
                self.control.withdraw(sorted(asked - self._work.complete(self._store, asked)))
            self._note_the_end()

    @property
    def sim_ids(self) -> list[str]:
        """Simulations it holds, in the order of its chunks."""
        return self._work.sim_ids

    def holds(self, sim_ids: Iterable[str], config: ModelConfig) -> set[str]:
        """Those of some simulations that the job makes, if under these settings."""
        if self.record.settings != Fingerprint.of(config).hash:
            return set()
        return set(self._work.sim_ids) & set(sim_ids)

    def _note_the_end(self) -> str:
        """Note that the job is over; say why that could not be written, if so (it is asked about again)."""
        try:
            self.record = mark_ended(self._store, self.record)
        except StoreError as error:
            return str(error)
        return ""

    def _advance(self, left: set[str]) -> set[str]:
        done = self._work.complete(self._store, left)
        for sim_id in sorted(done):
            self._reporter.advance(SimulationResult(sim_id, "complete"))
        return done

    def _tell(self, view: JobView) -> None:
        """Say once what keeps the job from running."""
        text = ""
        if view.trouble:
            text = f"{view.trouble}; waiting on, the job is not lost"
        elif view.waiting and not view.running and view.note:
            text = f"job {self.job_id} waits in the queue: {view.note}"
        if text and text not in self._said:
            self._said.add(text)
            self._reporter.say(text)

    def _goes_on(self) -> str:
        return f"not waiting any longer; job {self.job_id} goes on (stilt status, stilt cancel)"

    def _judge(self, view: JobView) -> Iterator[SimulationResult]:
        """Say what became of each simulation, from the outputs and from how its worker ended."""
        work = self._work
        ids = set(work.sim_ids)
        complete = work.complete(self._store, ids)
        rest = [sim_id for sim_id in work.sim_ids if sim_id not in complete]
        failed = set(failed_ids(self._store, rest))
        expected = {sim_id: names for names, group in work.artifacts.items() for sim_id in group}
        chunk_of = work.chunk_of()
        words: dict[int, str] = {}
        records = {sim_id: read_failure(self._store, sim_id) for sim_id in rest if sim_id in failed}
        # a worker that cannot write stops: what it did not reach has not failed, here as on one machine
        given_up = self._given_up(records)
        # what waits or runs is nobody's failure yet; all of it does when the scheduler could not be asked
        busy = set(range(len(work.sizes))) if view.trouble else view.running | view.waiting
        for place, sim_id in enumerate(work.sim_ids):
            chunk = chunk_of(place)
            if sim_id in complete and (self.record.skip_existing or chunk not in view.ended):
                yield SimulationResult(sim_id, "complete", made=expected[sim_id])
                continue
            if chunk in busy:
                continue
            if view.ended.get(chunk, "").startswith("CANCELLED"):
                self.interrupted = True
                continue
            record = records.get(sim_id)
            # on a disk without a single free block a worker can neither record its failure nor print it
            gave_up = self._full or ("" if chunk in view.ended else given_up.get(chunk, ""))
            if record is None and gave_up:
                self.stopped_because = gave_up
                continue
            if record is not None and chunk not in view.ended:
                yield SimulationResult(sim_id, "failed", record.reason, record.message, detail=record.detail)
            else:
                if chunk not in words:
                    words[chunk] = self._last_words(chunk, view)
                reason = record.reason if record is not None else FailureReason.WORKER_DIED
                yield SimulationResult(sim_id, "failed", str(reason), words[chunk])

    def _given_up(self, records: Mapping[str, FailureRecord | None]) -> dict[int, str]:
        """Chunks whose worker could not write any more, and what it said."""
        said = {
            sim_id: record.message
            for sim_id, record in records.items()
            if record is not None
            and is_fatal_reason(record.reason)
            and record.time >= self.record.submitted  # not what an earlier job left behind
        }
        if not said:
            return {}
        chunk_of = self._work.chunk_of()
        places = enumerate(self._work.sim_ids)
        return {chunk_of(place): said[sim_id] for place, sim_id in places if sim_id in said}

    def _last_words(self, chunk: int, view: JobView) -> str:
        how = view.ended.get(chunk, "ended without it")
        said = self.control.last_words(chunk)
        return f"the worker of chunk {chunk} ({how}) did not finish it{'; it said: ' + said if said else ''}."


def _sleep(seconds: float, flag: StopFlag) -> bool:
    """Sleep in small pieces; say whether the flag was raised."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if flag.is_raised():
            return True
        time.sleep(min(0.2, max(0.0, until - time.monotonic())))
    return flag.is_raised()


# --- finding again ------------------------------------------------------------------------------------


def find_jobs(store: Store, reporter: Reporter | None = None) -> list[DetachedJob]:
    """
    Return the jobs of a project that a scheduler still has.

    Parameters
    ----------
    store : Store
        The output root.
    reporter : Reporter, optional
        Hears how waiting for them goes.

    Returns
    -------
    list of DetachedJob
        Oldest first. Those that have ended since are noted as ended.
    """
    found = []
    for record in read_records(store, active=True):
        control = attach(record)
        if control.look().is_over:
            with contextlib.suppress(StoreError):
                mark_ended(store, record)
        else:
            found.append(DetachedJob(record, store, control, reporter))
    return found


@dataclass(frozen=True)
class JobStatus:
    """
    A detached job as ``stilt status`` shows it.

    Parameters
    ----------
    record : JobRecord
        What is known of it.
    view : JobView
        What the scheduler says.
    """

    record: JobRecord
    view: JobView

    @property
    def said(self) -> str:
        """How it goes, in a few words."""
        view = self.view
        if view.said and not view.trouble:
            return f"{view.said}{', ' + view.note if view.note else ''}"
        parts = (
            f"{len(view.running)} of {self.record.chunks} chunks running" if view.running else "",
            f"{len(view.waiting)} of {self.record.chunks} chunks waiting" if view.waiting else "",
            view.note,
        )
        return view.trouble or ", ".join(part for part in parts if part)

    def to_dict(self) -> dict[str, object]:
        """The job in words JSON knows."""
        return {
            "backend": self.record.backend,
            "job_ids": list(self.record.job_ids),
            "submitted": self.record.submitted,
            "simulations": self.record.simulations,
            "chunks": self.record.chunks,
            "running": len(self.view.running),
            "waiting": len(self.view.waiting),
            "note": self.view.note,
            "said": self.view.said,
            "trouble": self.view.trouble,
        }


def job_statuses(store: Store) -> list[JobStatus]:
    """Ask the schedulers about the jobs of a project that are not over."""
    found = []
    for record in read_records(store, active=True):
        try:
            view = attach(record).look()
        except StiltError as error:
            view = JobView(trouble=str(error))
        if not view.is_over:
            found.append(JobStatus(record, view))
    return found


def running_ids(store: Store, statuses: Iterable[JobStatus]) -> set[str]:
    """Simulations in chunks whose worker runs now, complete ones among them."""
    found: set[str] = set()
    for status in statuses:
        for number in status.view.running:
            try:
                chunk: Chunk = read_chunk(store, chunk_key(status.record.batch, number))
            except ProjectError:
                continue
            found.update(task.sim_id for task in chunk.tasks)
    return found
