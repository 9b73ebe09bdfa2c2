"""
Push runs beside pull workers: claim what is about to run, report how it ended.

Rows are claimed a few at a time as workers become free, so whoever pulls meanwhile gets the
rest; those that somebody else holds are left to them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType

from stilt.execution.leases import Leases, worker_name
from stilt.execution.results import SimulationResult
from stilt.execution.tasks import Task
from stilt.service import Queue


class PushClaims:
    """
    The claims of one push run; without a queue it lets everything pass.

    Parameters
    ----------
    queue : Queue or None
        The queue, when one is configured.
    settings : str
        Hash of the settings of the run.
    at_once : int
        Rows claimed together.
    should_stop : callable, optional
        Whether not to wait for a queue that went away.
    say : callable, optional
        Told of trouble with the queue, and of its end.
    """

    def __init__(
        self,
        queue: Queue | None,
        settings: str,
        *,
        at_once: int = 1,
        should_stop: Callable[[], bool] | None = None,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self._queue = queue
        self._settings = settings
        self._at_once = at_once
        self._leases = (
            None if queue is None else Leases(queue, worker_name(), should_stop=should_stop, say=say)
        )
        self.elsewhere: list[str] = []

    def __enter__(self) -> PushClaims:
        if self._leases is not None:
            self._leases.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._leases is not None:
            self._leases.__exit__(kind, error, trace)

    def granted(self, tasks: Iterable[Task]) -> Iterable[Task]:
        """Those of the tasks that nobody else holds, claimed as they are taken."""
        if self._leases is None or self._queue is None:
            return tasks
        return self._claimed(tasks, self._queue, self._leases)

    def _claimed(self, tasks: Iterable[Task], queue: Queue, leases: Leases) -> Iterator[Task]:
        waiting = iter(tasks)
        while batch := list(itertools.islice(waiting, self._at_once)):
            wanted = [task.sim_id for task in batch]
            leases.hold(queue.claim_ids(leases.worker, wanted, settings=self._settings))
            for task in batch:
                if leases.begin(task.sim_id):
                    yield task
                else:
                    self.elsewhere.append(task.sim_id)

    def settle(self, result: SimulationResult) -> None:
        """Report how a simulation ended."""
        if self._leases is not None:
            self._leases.settle(result)
