"""
Processes on this machine, fed one task at a time.

Each worker is a process pool of one (loky's, which survives a worker's death where the
standard library's does not), so that a dead worker names its culprit: the task it held. That
task is run once more, alone, when everything else is done; if it kills its worker again, it
alone has failed. Whichever worker is free takes the next task, so slow simulations hold up
nobody, and no more tasks are handed out than are running.
"""

from __future__ import annotations

import contextlib
import gc
import os
import pickle
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path
from typing import Any, Generic, TypeVar

from stilt.errors import TransportError
from stilt.execution.stopping import FlagWatcher, StopFlag

T = TypeVar("T")
R = TypeVar("R")
Work = Callable[[T, Callable[[], bool]], R]
"""A task and the question whether to stop; must be picklable by cloudpickle."""

_THREAD_VARIABLES = (
    "PYSTILT_THREADS",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
ONE_THREAD = dict.fromkeys(_THREAD_VARIABLES, "1")
"""Workers are as many as the user wants cores used, so none of them starts threads of its own."""

_POLL = 0.5
"""Seconds between two looks at the flag while waiting for results."""

_PATIENCE = 5.0
"""Seconds a worker gets to end by itself."""

_MAX_DEATHS_AT_FIRST = 3
"""Deaths for each worker, without a single result, after which something is wrong with all of them."""


def run_inline(tasks: Iterable[T], work: Work[T, R], stop: StopFlag) -> Generator[tuple[T, R], None, None]:
    """
    Run tasks one after another in this process.

    Parameters
    ----------
    tasks : iterable
        The work; taken one at a time.
    work : callable
        What is done with a task.
    stop : StopFlag
        Once raised, no further task begins.

    Yields
    ------
    (task, result)
    """
    for task in tasks:
        if stop.is_raised():
            return
        yield task, work(task, stop.is_raised)


def run_pool(
    tasks: Iterable[T],
    work: Work[T, R],
    stop: StopFlag,
    *,
    n_workers: int,
    died: Callable[[T], R],
) -> Generator[tuple[T, R], None, None]:
    """
    Run tasks in worker processes, in whatever order they finish.

    Parameters
    ----------
    tasks : iterable
        The work; taken as workers become free, so it may be long.
    work : callable
        What is done with a task; it does not raise.
    stop : StopFlag
        Once raised, no further task begins; those that run are told.
    n_workers : int
        Number of processes.
    died : callable
        Gives the result of a task that killed its worker twice.

    Yields
    ------
    (task, result)
    """
    waiting = iter(tasks)
    lanes: list[_Lane[T, R]] = [_Lane(work, stop.path) for _ in range(n_workers)]
    running: dict[Future[R], tuple[_Lane[T, R], T]] = {}
    suspects: list[T] = []
    deaths = 0
    any_result = False
    graceful = False
    try:
        while True:
            while len(running) < n_workers and not stop.is_raised():
                lane = next(lane for lane in lanes if not lane.busy)
                try:
                    task = next(waiting)
                except StopIteration:
                    break
                running[lane.submit(task)] = lane, task
            if not running:
                break
            for future in wait(running, timeout=_POLL, return_when=FIRST_COMPLETED).done:
                lane, task = running.pop(future)
                lane.busy = False
                error = future.exception()
                if error is None:
                    any_result = True
                    yield task, future.result()
                elif _is_death(error):
                    lane.close(kill=True)
                    deaths += 1
                    if not any_result and deaths > _MAX_DEATHS_AT_FIRST * n_workers:
                        raise TransportError(
                            f"the first {deaths} worker processes all died ({_brief(error)}); "
                            "use n_workers: 1 to see why, or fewer particles if memory is short."
                        ) from error
                    if not stop.is_raised():
                        suspects.append(task)
                else:
                    raise error
        # alone: when nothing else is left, so that memory and blame are not shared
        yield from _run_alone(suspects, work, stop, died)
        graceful = True
    finally:
        # not graceful: forced by a second interrupt, or the consumer has had enough
        for lane in lanes:
            lane.close(kill=not graceful)


def _run_alone(
    suspects: Iterable[T], work: Work[T, R], stop: StopFlag, died: Callable[[T], R]
) -> Generator[tuple[T, R], None, None]:
    for task in suspects:
        lane: _Lane[T, R] = _Lane(work, stop.path)
        finished = False
        try:
            if stop.is_raised():
                return
            future = lane.submit(task)
            while not wait([future], timeout=_POLL).done:
                pass
            error = future.exception()
            finished = error is None
            if error is None:
                yield task, future.result()
            elif not _is_death(error):
                raise error
            elif not stop.is_raised():
                yield task, died(task)
        finally:
            lane.close(kill=not finished)


class _Lane(Generic[T, R]):
    """One worker process, started when first used and again after it died."""

    def __init__(self, work: Work[T, R], stop_path: Path) -> None:
        self._work = work
        self._stop_path = stop_path
        self._pool: Any = None
        self.busy = False

    def submit(self, task: T) -> Future[R]:
        if self._pool is None:
            from joblib.externals.loky.process_executor import ProcessPoolExecutor

            environment = dict(ONE_THREAD)
            # a worker that crashes is reported in one line, not in a dump of its stacks
            environment.setdefault("PYTHONFAULTHANDLER", os.environ.get("PYTHONFAULTHANDLER", ""))
            self._pool = ProcessPoolExecutor(
                max_workers=1,
                initializer=_start_worker,
                initargs=(os.getpid(), self._stop_path, _pickled(self._work)),
                env=environment,
            )
        self.busy = True
        future: Future[R] = self._pool.submit(_work_on, task)
        return future

    def close(self, *, kill: bool) -> None:
        pool, self._pool = self._pool, None
        self.busy = False
        if pool is None:
            return
        processes = list((getattr(pool, "_processes", None) or {}).values())
        with contextlib.suppress(Exception):
            pool.shutdown(wait=False, kill_workers=kill)
        until = time.monotonic() + (0.0 if kill else _PATIENCE)
        for process in processes:
            with contextlib.suppress(Exception):
                process.join(max(0.0, until - time.monotonic()))
                if process.is_alive():
                    process.kill()
                    process.join(_PATIENCE)


def _pickled(work: Any) -> bytes:
    from joblib.externals.loky.backend.reduction import dumps

    return bytes(dumps(work))


def _is_death(error: BaseException) -> bool:
    from joblib.externals.loky.process_executor import BrokenProcessPool

    return isinstance(error, BrokenProcessPool)


def _brief(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]


# --- in the worker ------------------------------------------------------------------------------------

_state: dict[str, Any] = {}


def _start_worker(parent: int, stop_path: Path, work: bytes) -> None:
    """Prepare a fresh worker; nothing here may fail."""
    # Ctrl-C reaches the whole group of processes, and schedulers send SIGTERM and SIGUSR1 to every process of
    # a job; the parent decides what they mean
    for name in ("SIGINT", "SIGTERM", "SIGUSR1"):
        with contextlib.suppress(ValueError, OSError, AttributeError):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    _state.update(work=work, stop=FlagWatcher(stop_path))
    threading.Thread(target=_leave_with_parent, args=(parent,), daemon=True).start()
    with contextlib.suppress(Exception):
        from joblib.externals.loky import process_executor

        # loky restarts workers that grow by 300 MB; ours keep meteorology on purpose
        process_executor._USE_PSUTIL = False


def _leave_with_parent(parent: int) -> None:
    """End this process when its parent has gone: nobody would collect its results."""
    import psutil

    while True:
        time.sleep(1.0)
        gone = os.getppid() != parent if os.name != "nt" else not psutil.pid_exists(parent)
        if gone:
            os._exit(1)


def _work_on(task: Any) -> Any:
    work = _state["work"]
    if isinstance(work, bytes):
        work = _state["work"] = pickle.loads(work)  # noqa: S301 - written by the parent process
        gc.freeze()
    return work(task, _state["stop"])
