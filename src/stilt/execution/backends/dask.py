"""
Workers of a Dask cluster: a running one, one on this machine, or one that `dask_jobqueue` starts.

Tasks are handed out as workers become free, a few ahead, so a long list costs the scheduler little.
Dask runs a task again when its worker is lost; one that loses too many is tried once more when
nothing else is left, and then it alone has failed. The job belongs to this process: when it ends,
so does the job.
"""

from __future__ import annotations

import contextlib
import queue
import secrets
import threading
import time
from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING, Any

from stilt.config import DaskExecution
from stilt.errors import ConfigError, MissingExtraError, StaleOutputsError, TransportError
from stilt.execution.claiming import PushClaims
from stilt.execution.handle import JobHandle
from stilt.execution.pool import ONE_THREAD
from stilt.execution.protocol import Built
from stilt.execution.results import SimulationResult
from stilt.execution.stopping import StopFlag, heeding_signals
from stilt.execution.tasks import Task
from stilt.execution.warmup import warm_up
from stilt.execution.worker import WorkContext, died, is_fatal, run_task

if TYPE_CHECKING:
    from distributed import Client, Future

_JOBQUEUE = {
    "slurm": "SLURMCluster",
    "pbs": "PBSCluster",
    "sge": "SGECluster",
    "lsf": "LSFCluster",
    "oar": "OARCluster",
    "htcondor": "HTCondorCluster",
    "moab": "MoabCluster",
}
AHEAD = 2
"""Tasks handed out for each thread of the cluster, so that none waits for us."""

_POLL = 0.5
"""Seconds between two looks at the flag while waiting for results."""

_STOP_POLL = 2.0
"""Seconds between two questions of a worker whether to stop."""

_PATIENCE = 20.0
"""Seconds that running simulations get to end once asked to."""

_LONELY = 20.0
"""Seconds without a single worker after which the user is told."""

_CONNECT = "20s"


class DaskBackend(Built[DaskExecution]):
    """Runs simulations on the workers of a Dask cluster."""

    @property
    def _kind(self) -> str:
        """How the cluster is found: ``address``, ``scheduler_file``, or the kind that is started."""
        if self.section.address is not None:
            return "address"
        if self.section.scheduler_file is not None:
            return "scheduler_file"
        return self.section.cluster or "local"

    def check(self) -> None:
        """Raise when a package is missing or a running scheduler does not answer."""
        _distributed()
        if self._kind in _JOBQUEUE:
            _jobqueue()
        elif self._kind != "local":
            with self._client():
                pass

    def preview(self, tasks: Collection[Task]) -> str:
        """Say how many simulations would run where."""
        where = {
            "address": f"the Dask cluster at {self.section.address}",
            "scheduler_file": f"the Dask cluster of {self.section.scheduler_file}",
            "local": f"a Dask cluster of {self.section.n_workers} processes on this machine",
        }.get(self._kind, f"{self.section.n_workers} workers of {_JOBQUEUE.get(self._kind)}")
        options = ", ".join(f"{name}={value!r}" for name, value in self.section.cluster_options.items())
        return f"{len(tasks)} simulations on {where}{f' ({options})' if options else ''}"

    def submit(self, tasks: Collection[Task]) -> JobHandle:
        """Run the tasks and wait for them."""
        handle = JobHandle(job_id=f"dask-{secrets.token_hex(4)}")
        flag = StopFlag()
        claims = PushClaims(
            self.context.queue,
            self.context.fingerprint.hash,
            at_once=self.section.n_workers,
            should_stop=flag.is_raised,
        )
        try:
            with heeding_signals(flag, self.reporter.say), claims:
                if self._kind == "local":
                    warm_up(self.context.config, self.reporter, share=True)
                with self._client() as client:
                    self.reporter.start(len(tasks))
                    _Run(self, client, flag, handle, claims).run(iter(claims.granted(tasks)))
        except KeyboardInterrupt:
            handle.interrupted = True
        finally:
            self.reporter.finish()
            flag.close()
        handle.stop_signal = flag.signal
        handle.elsewhere = claims.elsewhere
        is_short = len(handle.results) + len(claims.elsewhere) < len(tasks)
        handle.interrupted |= flag.is_raised() and is_short and not handle.stopped_because
        return handle

    @contextlib.contextmanager
    def _client(self) -> Iterator[Client]:
        """Connect, starting a cluster first where one is to be started."""
        distributed = _distributed()
        section = self.section
        if section.scheduler_file is not None and not section.scheduler_file.exists():
            # Dask would wait for it for ever
            raise ConfigError(
                f"there is no scheduler file {section.scheduler_file}; start the scheduler first."
            )
        with contextlib.ExitStack() as stack:
            options: dict[str, Any] = {"timeout": _CONNECT, "set_as_default": False}
            try:
                if self._kind == "address":
                    found = distributed.Client(section.address, **options)
                elif self._kind == "scheduler_file":
                    found = distributed.Client(scheduler_file=str(section.scheduler_file), **options)
                else:
                    found = distributed.Client(stack.enter_context(self._cluster()), **options)
                client: Client = stack.enter_context(found)
            except (OSError, TimeoutError, ValueError, TypeError, RuntimeError) as error:
                where = section.address or section.scheduler_file or f"{self._kind} cluster"
                # what is wrong with cluster_options is in the cause of "Nanny failed to start"
                words = [" ".join(str(each).split()) for each in (error, error.__cause__) if each is not None]
                why = ": ".join(dict.fromkeys(word.rstrip(".") for word in words if word))
                why = why or type(error).__name__
                raise ConfigError(
                    f"the Dask scheduler cannot be reached or started ({where}: {why}); "
                    "correct `execution`, or start it first."
                ) from error
            yield client

    @contextlib.contextmanager
    def _cluster(self) -> Iterator[Any]:
        import dask

        environment = dict(ONE_THREAD)
        settings = {
            "distributed.nanny.pre-spawn-environ": environment,
            "distributed.scheduler.allowed-failures": self.section.retries,
            # our simulations are not done faster by moving them between workers
            "distributed.scheduler.work-stealing": False,
        }
        with dask.config.set(settings):
            if self._kind == "local":
                distributed = _distributed()
                options: dict[str, Any] = {
                    "n_workers": self.section.n_workers,
                    "threads_per_worker": 1,
                    "dashboard_address": None,
                    "host": "127.0.0.1",
                    "silence_logs": "CRITICAL",
                    **self.section.cluster_options,
                }
                with distributed.LocalCluster(**options) as cluster:
                    yield cluster
            else:
                make = getattr(_jobqueue(), _JOBQUEUE[self._kind])
                with make(**self.section.cluster_options) as cluster:
                    self._ask_for_workers(cluster)
                    yield cluster

    def _ask_for_workers(self, cluster: Any) -> None:
        """Submit the jobs of a cluster; ``scale`` would do it in the background and only log a refusal."""
        while len(cluster.worker_spec) < self.section.n_workers:
            cluster.worker_spec.update(cluster.new_worker_spec())
        try:
            cluster.sync(cluster._correct_state)
        except (RuntimeError, OSError) as error:
            asked = dict(cluster.workers)
            for name, job in asked.items():
                if job.job_id is None:  # it could not be closed
                    del cluster.workers[name], cluster.worker_spec[name]
                    cluster._created.discard(job)
            why = _refusal(error)
            if not cluster.workers:
                raise RuntimeError(why) from None
            self.reporter.say(f"only {len(cluster.workers)} of {len(asked)} jobs were accepted: {why}")


def _refusal(error: Exception) -> str:
    r"""
    Pick what a queueing system complained about from what dask_jobqueue raises.

    Examples
    --------
    >>> _refusal(RuntimeError("Command exited\nstdout:\n\nstderr:\nsbatch: error: no such account\n"))
    'sbatch: error: no such account'
    """
    said = str(error).rpartition("stderr:\n")[2]
    return "; ".join(line.strip() for line in said.splitlines() if line.strip())


class _Run:
    """One list of tasks on one cluster."""

    def __init__(
        self,
        backend: DaskBackend,
        client: Client,
        flag: StopFlag,
        handle: JobHandle,
        claims: PushClaims,
    ) -> None:
        self.claims = claims
        self.backend = backend
        self.context = backend.context
        self.reporter = backend.reporter
        self.client = client
        self.flag = flag
        self.handle = handle
        self.stop = _distributed().Event(f"stilt-stop-{handle.job_id}", client=client)
        self.running: dict[str, tuple[Future, Task]] = {}
        self.finished: queue.Queue[Future] = queue.Queue()
        self.suspects: list[Task] = []
        self.said: set[str] = set()
        self.refused = ""
        self._room = 0
        self._next_look = 0.0
        self._alone_since: float | None = time.monotonic()

    def run(self, tasks: Iterator[Task]) -> None:
        """Hand out tasks and take results until nothing is left, or the run has to end."""
        try:
            self._run(tasks)
        except Exception as error:
            if isinstance(error, StaleOutputsError) or self.client.status == "running":
                raise
            self.handle.stopped_because = (
                f"the Dask scheduler went away ({' '.join(str(error).split()) or type(error).__name__}); "
                "start it again, and `stilt run` makes what is left."
            )
            self.flag.raise_flag()

    def _run(self, tasks: Iterator[Task]) -> None:
        more = True
        while more or self.running:
            limit = self._limit()
            while more and len(self.running) < limit and not self.flag.is_raised():
                task = next(tasks, None)
                if task is None:
                    more = False
                else:
                    self._submit(task)
            if self.flag.is_raised():
                break
            self._take(_POLL)
        # alone: when nothing else is left, so that memory and blame are not shared
        for task in self.suspects:
            if self.flag.is_raised():
                break
            self._submit(task, alone=True)
            while self.running and not self.flag.is_raised():
                self._take(_POLL)
        if self.running:
            self._wind_down()
        if self.refused:
            raise StaleOutputsError(self.refused)

    def _limit(self) -> int:
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + 1.0
            threads = sum(self.client.nthreads().values())
            self._room = AHEAD * max(1, threads)
            self._tell_of_nobody(threads, now)
        return self._room

    def _tell_of_nobody(self, threads: int, now: float) -> None:
        """Say once, each time, that there has been no worker for a while."""
        if threads:
            self._alone_since = now
        elif self._alone_since is not None and now - self._alone_since > _LONELY:
            self._alone_since = None
            self.reporter.say("the Dask cluster has no workers yet, or not any longer; waiting for some")

    def _submit(self, task: Task, *, alone: bool = False) -> None:
        future = self.client.submit(
            _work,
            self.context,
            task,
            self.stop.name,
            key=f"stilt-{self.handle.job_id}-{task.sim_id}{'-alone' if alone else ''}",
            pure=False,
        )
        self.running[str(future.key)] = future, task
        future.add_done_callback(self.finished.put)

    def _take(self, seconds: float) -> None:
        try:
            future = self.finished.get(timeout=seconds)
        except queue.Empty:
            return
        found = self.running.pop(str(future.key), None)
        if found is None:
            return
        _, task = found
        try:
            result: SimulationResult = future.result()
        except Exception as error:
            if type(error).__name__ not in ("KilledWorker", "CancelledError", "FutureCancelledError"):
                raise TransportError(
                    f"Dask could not run {task.sim_id}: {type(error).__name__}: "
                    f"{' '.join(str(error).split())[:300]}; is the same version of stilt on its workers?"
                ) from error
            if str(future.key).endswith("-alone"):
                self._end(died(task, self.context.store, self.context.config.engine))
            elif not self.flag.is_raised():
                self.suspects.append(task)
        else:
            self._end(result)

    def _end(self, result: SimulationResult) -> None:
        self.claims.settle(result)
        if result.status == "interrupted":
            self.handle.dropped.append(result.sim_id)
            return
        for text in result.warnings:
            if text not in self.said:
                self.said.add(text)
                self.reporter.say(f"warning: {text}")
        if result.status == "refused":
            self.refused = result.message
        else:
            self.handle.results.append(result)
            self.reporter.advance(result)
        if is_fatal(result) and not self.flag.is_raised():
            self.handle.stopped_because = result.message
            self.flag.raise_flag()

    def _wind_down(self) -> None:
        """Take back what has not begun, tell what runs, and give it a moment."""
        with contextlib.suppress(Exception):  # a scheduler that is gone needs no telling
            self.stop.set()
        until = time.monotonic() + _PATIENCE
        while self.running and time.monotonic() < until:
            self._take(min(_POLL, _PATIENCE))
        with contextlib.suppress(Exception):
            self.client.cancel([future for future, _ in self.running.values()], force=True)


# --- in the worker ------------------------------------------------------------------------------------

_ONE_AT_A_TIME = threading.Lock()
"""Recording warnings and writing NetCDF are not safe in threads: one simulation at a time per process."""


def _work(context: WorkContext, task: Task, stop: str) -> SimulationResult:
    with _ONE_AT_A_TIME:
        return run_task(task, context, should_stop=_stop_watcher(stop))


def _stop_watcher(name: str) -> Callable[[], bool]:
    """Ask the scheduler now and then whether the run was told to stop."""
    distributed = _distributed()
    seen = False
    next_look = 0.0

    def should_stop() -> bool:
        nonlocal seen, next_look
        now = time.monotonic()
        if not seen and now >= next_look:
            with contextlib.suppress(Exception):  # without an answer the work goes on
                seen = bool(distributed.Event(name, client=distributed.get_client()).is_set())
            next_look = time.monotonic() + _STOP_POLL
        return seen

    return should_stop


def _distributed() -> Any:
    try:
        import distributed
    except ImportError as error:
        raise MissingExtraError(
            "backend dask needs the package distributed; install it with: pip install 'pystilt[dask]'."
        ) from error
    return distributed


def _jobqueue() -> Any:
    try:
        import dask_jobqueue
    except ImportError as error:
        raise MissingExtraError(
            "clusters of a queueing system need the package dask-jobqueue; install it with: "
            "pip install 'pystilt[dask]'."
        ) from error
    return dask_jobqueue
