"""Drives a run on this machine: hands tasks to worker processes, reports, stops when asked."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from stilt.errors import StaleOutputsError
from stilt.execution.claiming import PushClaims
from stilt.execution.pool import run_inline, run_pool
from stilt.execution.progress import Reporter, Silent
from stilt.execution.results import SimulationResult
from stilt.execution.stopping import StopFlag, heeding_signals
from stilt.execution.tasks import Task
from stilt.execution.warmup import note_warm, warm_up
from stilt.execution.worker import WorkContext, died, is_fatal, run_task
from stilt.storage.layout import TRAJECTORY


@dataclass
class RunOutcome:
    """
    What came of a run.

    Parameters
    ----------
    total : int
        Simulations it was asked for.
    results : list of SimulationResult
        Of those that ended, in the order in which they did.
    interrupted : bool
        Whether it was asked to stop before the end.
    stopped_because : str
        Why it gave up by itself, such as a full disk; empty otherwise.
    stop_signal : str
        Name of the signal that interrupted it; empty when none did.
    dropped : list of str
        Simulations that had begun when it was interrupted.
    elsewhere : list of str
        Simulations left alone because a pull worker or another run holds them.
    """

    total: int
    results: list[SimulationResult] = field(default_factory=list)
    interrupted: bool = False
    stopped_because: str = ""
    stop_signal: str = ""
    dropped: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)

    @property
    def n_failed(self) -> int:
        """How many failed."""
        return sum(result.status == "failed" for result in self.results)

    @property
    def n_complete(self) -> int:
        """How many are complete."""
        return sum(result.ok for result in self.results)


def run_locally(
    tasks: Iterable[Task],
    total: int,
    context: WorkContext,
    *,
    n_workers: int = 1,
    isolated: bool = False,
    reporter: Reporter | None = None,
) -> RunOutcome:
    """
    Run tasks on this machine and wait for them.

    Parameters
    ----------
    tasks : iterable of Task
        The work; taken one at a time.
    total : int
        How many there are.
    context : WorkContext
        Store and settings; its queue, if there is one, is asked for each task and told how it ended.
    n_workers : int
        Worker processes; 1 runs in this process.
    isolated : bool
        Use a worker process also for one, so that a simulation that dies takes no other along.
    reporter : Reporter, optional
        Hears how it goes.

    Returns
    -------
    RunOutcome
        Failures are in its results, not raised.

    Raises
    ------
    StaleOutputsError
        When another run has recorded other settings meanwhile.
    """
    reporter = reporter or Silent()
    outcome = RunOutcome(total)
    if not total:
        return outcome
    n_workers = min(n_workers, total)
    flag = StopFlag()
    forced = False
    said: set[str] = set()
    refused = ""
    claims = PushClaims(
        context.queue,
        context.fingerprint.hash,
        at_once=n_workers,
        should_stop=flag.is_raised,
        say=reporter.say,
    )
    try:
        with heeding_signals(flag, reporter.say), claims:
            warm_up(
                context.config,
                reporter,
                share=n_workers > 1 or isolated,
                should_stop=flag.is_raised,
            )
            work = functools.partial(_run, context)
            granted = claims.granted(tasks)
            if n_workers == 1 and not isolated:
                finished = run_inline(granted, work, flag)
            else:
                finished = run_pool(granted, work, flag, n_workers=n_workers, died=_died_in(context))
            reporter.start(total)
            with contextlib.closing(finished):
                for _, result in finished:
                    claims.settle(result)
                    if result.status == "interrupted":
                        outcome.dropped.append(result.sim_id)
                        continue
                    for text in result.warnings:
                        if text not in said:
                            said.add(text)
                            reporter.say(f"warning: {text}")
                    if result.status == "refused":
                        refused = result.message
                    else:
                        outcome.results.append(result)
                        reporter.advance(result)
                    if is_fatal(result) and not flag.is_raised():
                        outcome.stopped_because = result.message
                        flag.raise_flag()
    except KeyboardInterrupt:
        forced = True
    finally:
        reporter.finish()
        flag.close()
    if refused:
        raise StaleOutputsError(refused)
    if any(TRAJECTORY in result.made for result in outcome.results):
        note_warm(context.config)
    outcome.stop_signal = flag.signal
    outcome.elsewhere = claims.elsewhere
    is_short = len(outcome.results) + len(claims.elsewhere) < total
    outcome.interrupted = forced or (flag.is_raised() and is_short and not outcome.stopped_because)
    return outcome


def _run(context: WorkContext, task: Task, should_stop: Callable[[], bool]) -> SimulationResult:
    return run_task(task, context, should_stop=should_stop)


def _died_in(context: WorkContext) -> Callable[[Task], SimulationResult]:
    return lambda task: died(task, context.store, context.config.engine)
