"""Processes on this machine; the job is over when it is given back."""

from __future__ import annotations

import os
import time
from collections.abc import Collection

from stilt.config import LocalExecution
from stilt.execution.handle import JobHandle
from stilt.execution.memory import workers_that_fit
from stilt.execution.progress import Reporter
from stilt.execution.protocol import Built
from stilt.execution.runner import run_locally
from stilt.execution.tasks import Task
from stilt.execution.worker import WorkContext


class LocalBackend(Built[LocalExecution]):
    """
    Runs simulations in this process, or in several on this machine.

    Parameters
    ----------
    section : LocalExecution
        How many workers.
    context : WorkContext
        Store and settings.
    reporter : Reporter
        Hears how it goes.
    isolated : bool
        Never in this process itself, so that a simulation that dies takes no other along.
    """

    def __init__(
        self,
        section: LocalExecution,
        context: WorkContext,
        reporter: Reporter,
        *,
        isolated: bool = False,
    ) -> None:
        super().__init__(section, context, reporter)
        self.isolated = isolated

    def check(self) -> None:
        """Nothing can be missing: workers are this Python."""

    def preview(self, tasks: Collection[Task]) -> str:
        """Say how many simulations would run, and in how many processes."""
        n_workers, why = self._workers(len(tasks))
        where = "in this process" if n_workers == 1 else f"in {n_workers} worker processes"
        return f"{len(tasks)} simulations {where}{' (' + why + ')' if why else ''}"

    def submit(self, tasks: Collection[Task]) -> JobHandle:
        """Run the tasks and wait for them."""
        n_workers, why = self._workers(len(tasks))
        if why:
            self.reporter.say(f"{n_workers} worker{'s' if n_workers > 1 else ''}: {why}")
        outcome = run_locally(
            tasks,
            len(tasks),
            self.context,
            n_workers=n_workers,
            isolated=self.isolated,
            reporter=self.reporter,
        )
        return JobHandle(
            job_id=f"local-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{os.getpid()}",
            results=outcome.results,
            interrupted=outcome.interrupted,
            stopped_because=outcome.stopped_because,
            stop_signal=outcome.stop_signal,
            dropped=outcome.dropped,
            elsewhere=outcome.elsewhere,
        )

    def _workers(self, total: int) -> tuple[int, str]:
        return workers_that_fit(self.section.n_workers, total, self.context.config)
