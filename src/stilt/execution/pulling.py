"""
A worker that asks a queue what to do.

::

    until told to stop (or, without ``follow``, until nothing is pending; with ``until_done``, nor running)
      claim some rows of the settings published for this project
        those whose outputs exist    -> done, without running
        the others, by met window    -> begin, run_task, done or failed
      nothing there                  -> take rows from the dead, look for new settings, sleep
    return what is still claimed

The worker reads the published configuration and the manifest, never the user's files. It works
with one set of settings at a time and claims only rows of that set; when others are published
it moves on to them.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from stilt.errors import (
    FailureReason,
    Interrupted,
    NoQueueError,
    QueueError,
    StaleOutputsError,
    StoreError,
    StoreUnavailableError,
)
from stilt.execution.handle import JobHandle
from stilt.execution.leases import PATIENCE, Leases, worker_name
from stilt.execution.messages import no_queue_message
from stilt.execution.monitoring import Monitor
from stilt.execution.preflight import must_start
from stilt.execution.progress import Silent
from stilt.execution.results import SimulationResult
from stilt.execution.stopping import StopFlag, heeding_signals
from stilt.execution.tasks import Task, complete_among, tasks_for
from stilt.execution.warmup import note_warm, warm_up
from stilt.execution.worker import WorkContext, is_fatal, run_task
from stilt.manifest import Manifest, ManifestTable
from stilt.outputs import load_published_config
from stilt.service import Claim, Queue
from stilt.storage import Store
from stilt.storage.failures import record_failure
from stilt.storage.layout import TRAJECTORY

_POLL = 60.0
"""Longest sleep of an idle worker; notifications wake it at once, so this is for lost ones [s]."""

_STAY = 5.0
"""Longest sleep of a worker that stays until others are done: their being done wakes nobody [s]."""

_AFTER_REFUSAL = 5.0
"""Pause after settings changed under a claim [s]."""

_AFTER_TROUBLE = 5.0
"""Pause of a worker that follows after trouble with the store outside a simulation [s]."""

_AT_ONCE = 0.1
"""A sleep that is shorter was none: something was pending all along [s]."""

_LONGEST_PAUSE = 2.0
"""Longest pause between claims that find nothing though something is pending [s]."""

_RESULTS_KEPT = 1000
"""Results a worker that follows remembers; it may run for months."""


@dataclass
class _Project:
    """What a worker knows of the project, read anew when settings change or an id is unknown."""

    context: WorkContext
    settings: str
    table: ManifestTable


class PullWorker:
    """
    Takes simulations from a queue and runs them in this process.

    Parameters
    ----------
    store : Store
        The output root.
    queue : Queue
        Its work.
    max_rows : int
        Rows claimed at once.
    follow : bool
        Keep waiting for more.
    until_done : bool
        Stay until nothing is running elsewhere either, so that what a lost worker held is made.
    compute_root : Path, optional
        Where scratch folders go.
    monitor : Monitor, optional
        Told what happens.
    """

    def __init__(
        self,
        store: Store,
        queue: Queue,
        *,
        max_rows: int = 1,
        follow: bool = False,
        until_done: bool = False,
        compute_root: Path | None = None,
        monitor: Monitor | None = None,
    ) -> None:
        self.store = store
        self.queue = queue
        self.name = worker_name()
        self._max_rows = max_rows
        self._follow = follow
        self._until_done = until_done
        self._compute_root = compute_root
        self._monitor = monitor or Monitor()
        self._flag = StopFlag()
        self._leases = Leases(
            queue,
            self.name,
            tick=self._monitor.alive,
            patience=float("inf") if follow else PATIENCE,
            should_stop=self._flag.is_raised,
            say=self._monitor.say,
        )
        self._results: deque[SimulationResult] = deque(maxlen=_RESULTS_KEPT if follow else None)
        self._stopped_because = ""
        self._next_reap = 0.0
        self._in_vain = 0
        self._is_warm = False

    def stop(self) -> None:
        """Ask the worker to return its claims and end."""
        self._flag.raise_flag()

    def run(self) -> JobHandle:
        """
        Work until there is nothing left or until asked to stop.

        Returns
        -------
        JobHandle
            With the results; of a worker that follows, the latest ones.

        Raises
        ------
        StiltError
            What makes all of the work impossible: nothing published, no meteorology, no queue.
        """
        self.queue.open()
        try:
            with heeding_signals(self._flag, self._monitor.say), self._leases:
                self._work()
        except KeyboardInterrupt:
            self._flag.raise_flag()
        except QueueError as error:
            if not self._flag.is_raised():
                raise
            self._monitor.say(f"{error} What is still claimed is pending again when its lease is over.")
        finally:
            self._monitor.close()
            self._flag.close()
        return JobHandle(
            job_id=f"pull-{self.name}",
            results=list(self._results),
            interrupted=self._flag.is_raised() and not self._stopped_because,
            stopped_because=self._stopped_because,
        )

    # --- the loop ---------------------------------------------------------------------------------

    def _work(self) -> None:
        project = self._read_project()
        is_over = False
        while not is_over and not self._flag.is_raised():
            self._monitor.sign_of_life()
            try:
                project, is_over = self._step(project)
            except StoreError as error:
                if not self._follow or isinstance(error, StoreUnavailableError):
                    raise
                self._leases.release()
                self._monitor.say(f"{error} Trying again.")
                self._pause(_AFTER_TROUBLE)
        self._mention_others(project.settings)

    def _step(self, project: _Project) -> tuple[_Project, bool]:
        """Do what there is to do; say whether all of it is done."""
        self._reap()
        claims = self.queue.claim(
            self.name, self._max_rows, settings=project.settings, begin=self._max_rows == 1
        )
        if claims:
            self._in_vain = 0
            return self._process(project, claims), False
        if self._reap(at_once=True):
            return project, False
        if self._published_settings() != project.settings:
            return self._read_project(), False
        stays = self._follow or (self._until_done and self._is_anybody_busy())
        if stays:
            self._sleep(project.settings)
        return project, not stays

    def _process(self, project: _Project, claims: Sequence[Claim]) -> _Project:
        self._leases.hold(claims)
        self._monitor.claimed(claims)
        if any(claim.sim_id not in project.table for claim in claims):
            project.table = Manifest(self.store).load()
        tasks = self._tasks(project, claims)
        by_id = {claim.sim_id: claim for claim in claims}
        for task in self._skip_complete(tasks):
            if self._flag.is_raised():
                break
            claim = by_id[task.sim_id]
            if self._max_rows > 1 and not self._leases.begin(task.sim_id):
                continue
            result = self._run(project, task, claim)
            if result.status == "refused":
                return self._refused(project, result)
            if is_fatal(result):
                self._stopped_because = result.message
                self._flag.raise_flag()
                self._monitor.say("stopping: no other simulation could be written either")
        # what was not reached, because of a signal or a full disk
        self._leases.release()
        return project

    def _run(self, project: _Project, task: Task, claim: Claim) -> SimulationResult:
        def should_stop() -> bool:
            self._monitor.sign_of_life()
            return self._flag.is_raised() or self._leases.is_lost(task.sim_id)

        self._monitor.began(claim)
        try:
            if not self._is_warm:
                warm_up(project.context.config, _Saying(self._monitor), share=False, should_stop=should_stop)
            result = run_task(task, project.context, should_stop=should_stop)
        except Interrupted as error:
            result = SimulationResult(task.sim_id, "interrupted", FailureReason.INTERRUPTED, str(error))
        if not self._is_warm and TRAJECTORY in result.made:
            self._is_warm = True
            note_warm(project.context.config)
        row = self._leases.settle(result, retry=True)
        is_returned = row == "pending" and result.status == "failed"
        self._monitor.ended(result, returned=is_returned)
        if row is None:
            self._monitor.say(f"{task.sim_id} had been given to another worker meanwhile")
        elif result.ok or (result.status == "failed" and not (is_returned and is_fatal(result))):
            self._results.append(result)
        return result

    # --- before anything runs ---------------------------------------------------------------------

    def _tasks(self, project: _Project, claims: Sequence[Claim]) -> list[Task]:
        """Describe what is claimed; rows nobody registered fail with that reason."""
        known = []
        for claim in claims:
            if claim.sim_id in project.table:
                known.append(claim.sim_id)
                continue
            message = "it is in the queue but not in the manifest; `stilt rebuild --prune` removes such rows."
            self._leases.refuse(claim.sim_id, FailureReason.NOT_REGISTERED, message)
            self._monitor.say(f"{claim.sim_id} failed: {message}")
        is_error = project.context.params.is_error
        return list(tasks_for(project.table, _by_met_window(known), error_trajectory=is_error))

    def _skip_complete(self, tasks: Sequence[Task]) -> list[Task]:
        """Mark those done whose outputs exist, all of them in one request."""
        if len(tasks) == 1:
            return list(tasks)  # looked at by run_task anyway
        complete = complete_among(self.store, tasks)
        self._leases.complete(complete)
        for task in tasks:
            if task.sim_id in complete:
                result = SimulationResult(task.sim_id, "complete")
                self._results.append(result)
                self._monitor.ended(result)
        return [task for task in tasks if task.sim_id not in complete]

    def _read_project(self) -> _Project:
        config, settings = load_published_config(self.store)
        must_start(config, self.store, compute_root=self._compute_root)
        context = WorkContext(self.store, config, compute_root=self._compute_root)
        self._monitor.say(f"worker {self.name} works on {self.store.uri} with settings {settings}")
        return _Project(context, settings, Manifest(self.store).load())

    def _published_settings(self) -> str:
        return load_published_config(self.store)[1]

    # --- nothing to run ---------------------------------------------------------------------------

    def _refused(self, project: _Project, result: SimulationResult) -> _Project:
        """Outputs are recorded as made with other settings than were published to us."""
        self._leases.release()
        self._monitor.say(f"{result.sim_id} returned to the queue: {result.message}")
        if self._published_settings() == project.settings:
            # whoever changes them records first and publishes a moment later
            self._pause(_AFTER_REFUSAL)
        if self._published_settings() != project.settings:
            return self._read_project()
        if not self._follow and not self._flag.is_raised():
            raise StaleOutputsError(result.message)
        return project

    def _reap(self, *, at_once: bool = False) -> bool:
        """Take rows from workers that are not heard of; say whether some can be claimed again."""
        now = time.monotonic()
        if now < self._next_reap and not at_once:
            return False
        self._next_reap = now + self.queue.lease
        rows = self.queue.reap()
        for row in rows:
            if row.status == "failed":
                self._monitor.say(f"{row.sim_id} failed: {row.reason}: {row.message}")
                with contextlib.suppress(StoreError):
                    record_failure(self.store, row.sim_id, reason=row.reason, message=row.message)
        return any(row.status == "pending" for row in rows)

    def _is_anybody_busy(self) -> bool:
        return self.queue.next_expiry() is not None

    def _sleep(self, settings: str) -> None:
        self._monitor.idle()
        expiry = self.queue.next_expiry()
        # not all idle workers at once
        later = random.uniform(0.2, 1.0)  # noqa: S311 - no secret
        pause = _POLL if self._follow else _STAY
        if expiry is not None:
            pause = min(pause, expiry + later)
        began = time.monotonic()
        self.queue.wait(pause, settings=settings, should_stop=self._is_asked_to_stop)
        if time.monotonic() - began > _AT_ONCE:
            self._in_vain = 0
            return
        # rows are pending that could not be claimed: others are claiming them, or somebody has locked them
        self._pause(min(0.05 * (2**self._in_vain - 1), _LONGEST_PAUSE))
        self._in_vain = min(self._in_vain + 1, 10)

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0.0 and not self._is_asked_to_stop():
            time.sleep(min(left, 0.2))

    def _is_asked_to_stop(self) -> bool:
        self._monitor.sign_of_life()
        return self._flag.is_raised()

    def _mention_others(self, settings: str) -> None:
        if self._flag.is_raised():
            return
        others = self.queue.counts(settings=settings).other_settings
        if others:
            self._monitor.say(
                f"{others} pending rows were asked for under other settings and were left alone; "
                "`stilt rebuild` brings them up to date"
            )


class _Saying(Silent):
    """Lets a monitor hear what a reporter would say."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor

    def say(self, text: str) -> None:
        """Pass it on."""
        self._monitor.say(text)


def pull(
    store: Store,
    queue: Queue | None,
    *,
    follow: bool = False,
    until_done: bool = False,
    max_rows: int = 1,
    compute_root: Path | None = None,
    monitor: Monitor | None = None,
) -> JobHandle:
    """
    Run one pull worker in this process.

    Parameters
    ----------
    store, queue, follow, until_done, max_rows, compute_root, monitor
        See `PullWorker`.

    Raises
    ------
    NoQueueError
        When there is no queue.
    """
    if queue is None:
        raise NoQueueError(no_queue_message())
    worker = PullWorker(
        store,
        queue,
        max_rows=max_rows,
        follow=follow,
        until_done=until_done,
        compute_root=compute_root,
        monitor=monitor,
    )
    return worker.run()


def _by_met_window(sim_ids: Iterable[str]) -> list[str]:
    """Put simulations of one meteorology and hour behind each other, in the order of their first."""
    groups: dict[str, list[str]] = {}
    for sim_id in sim_ids:
        met, _, rest = sim_id.partition("_")
        groups.setdefault(f"{met}_{rest[:10]}", []).append(sim_id)
    return [sim_id for group in groups.values() for sim_id in group]
