"""Where workers come in: push (told what to run) and pull (ask a queue)."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from stilt.completion import complete_ids, expected_artifacts
from stilt.errors import ProjectError, StaleOutputsError
from stilt.execution.handle import JobHandle
from stilt.execution.progress import Reporter, Silent
from stilt.execution.registry import get_backend
from stilt.execution.resume import read_done, write_done
from stilt.execution.stopping import TIME_LIMIT_SIGNAL
from stilt.execution.tasks import Chunk, Task, TaskList, complete_among, in_running_order, read_chunk
from stilt.execution.worker import WorkContext, out_of_time
from stilt.manifest import Manifest
from stilt.outputs import load_published_config, publish_config, record_settings

if TYPE_CHECKING:
    from stilt.config import ModelConfig, RuntimeSettings
    from stilt.execution.monitoring import Monitor
    from stilt.sections import Section
    from stilt.service import Queue
    from stilt.storage import Store


class HasProject(Protocol):
    """What the functions here need of a `stilt.Model`."""

    @property
    def store(self) -> Store:
        """The output root."""
        ...

    @property
    def config(self) -> ModelConfig:
        """The settings."""
        ...

    @property
    def manifest(self) -> Manifest:
        """What was asked for."""
        ...

    @property
    def compute_root(self) -> Path | None:
        """Where scratch folders go."""
        ...

    @property
    def queue(self) -> Queue | None:
        """The work queue, if one is configured."""
        ...

    @property
    def runtime(self) -> RuntimeSettings:
        """Settings of the machine."""
        ...


def push_simulations(
    model: HasProject,
    sim_ids: Iterable[str],
    n_cores: int = 1,
    *,
    skip_existing: bool = True,
    reporter: Reporter | None = None,
) -> JobHandle:
    """
    Run these simulations here and now.

    Parameters
    ----------
    model : Model
        The project; its simulations must be registered.
    sim_ids : iterable of str
        Which.
    n_cores : int
        Worker processes; 1 runs in this process.
    skip_existing : bool
        Make only what is missing.
    reporter : Reporter, optional
        Hears how it goes.

    Returns
    -------
    JobHandle
        With the results; failures are in them, not raised.

    Raises
    ------
    ProjectError
        When a simulation is not registered.
    StiltError
        What makes all of them impossible.
    """
    _must_start(model.config, model.store, model.compute_root)
    from stilt.config import LocalExecution

    section = LocalExecution(n_workers=n_cores)
    return submit_registered(model, sim_ids, section, skip_existing=skip_existing, reporter=reporter)


def submit_registered(
    model: HasProject,
    sim_ids: Iterable[str],
    section: Section,
    *,
    skip_existing: bool,
    reporter: Reporter | None,
) -> JobHandle:
    """
    Hand registered simulations to a backend, under the settings of the model.

    Parameters
    ----------
    model : Model
        The project.
    sim_ids : iterable of str
        Which.
    section : Section
        The ``execution`` section.
    skip_existing : bool
        Make only what is missing.
    reporter : Reporter, optional
        Hears how it goes.

    Returns
    -------
    JobHandle
        The job; over already when its backend is not detached.
    """
    table = model.manifest.load()
    wanted = in_running_order(list(dict.fromkeys(str(sim_id) for sim_id in sim_ids)))
    unknown = [sim_id for sim_id in wanted if sim_id not in table]
    if unknown:
        raise ProjectError(
            f"{len(unknown)} of {len(wanted)} simulations are not registered, such as {unknown[0]}; "
            "register them first."
        )
    record_settings(model.store, model.config)
    publish_config(model.store, model.config)
    context = WorkContext(model.store, model.config, skip_existing, model.compute_root, model.queue)
    tasks = TaskList(table, wanted, error_trajectory=context.params.is_error)
    return get_backend(section, context, reporter).submit(tasks)


def push_chunk(
    store: Store,
    chunk: str | None = None,
    *,
    n_cores: int = 1,
    skip_existing: bool = True,
    compute_root: Path | None = None,
    isolated: bool = False,
    reporter: Reporter | None = None,
    queue: Queue | None = None,
) -> JobHandle:
    """
    Run a chunk of work under the published configuration, if that is the one it was meant for.

    Parameters
    ----------
    store : Store
        The output root.
    chunk : str, optional
        Chunk file or key; none: every registered simulation that is not complete.
    n_cores, skip_existing, reporter
        See `push_simulations`.
    compute_root : Path, optional
        Where scratch folders go.
    isolated : bool
        Use a worker process also for one core, so that a simulation that dies takes no other along.
    queue : Queue, optional
        Work queue from which the simulations are claimed, so that pull workers leave them alone.

    Returns
    -------
    JobHandle
        With the results.

    Raises
    ------
    StaleOutputsError
        When other settings have been published since.
    """
    if chunk is not None:
        work = read_chunk(store, chunk)
        config = published_config(store, work.settings)
        if skip_existing and queue is None and len(complete_among(store, work.tasks)) == len(work.tasks):
            # a task that was started again has often nothing left to do: no engine, no process for that
            return JobHandle("complete-before", skipped=len(work.tasks))
        _must_start(config, store, compute_root)
        context = WorkContext(store, config, skip_existing, compute_root, queue)
        return _push_again(store, chunk, work, context, n_cores, reporter, isolated)
    config = published_config(store)
    _must_start(config, store, compute_root)
    context = WorkContext(store, config, skip_existing, compute_root, queue)
    is_error = context.params.is_error
    table = Manifest(store).load()
    wanted = table.select(mets=config.run_mets)
    if skip_existing:
        complete: set[str] = set()
        for names, sim_ids in table.by_footprints(wanted).items():
            complete.update(
                complete_ids(store, sim_ids, expected_artifacts(names, error_trajectory=is_error))
            )
        wanted = [sim_id for sim_id in wanted if sim_id not in complete]
    tasks = TaskList(table, in_running_order(wanted), error_trajectory=is_error)
    return _push(tasks, context, n_cores, reporter, isolated)


def _push_again(
    store: Store,
    chunk: str,
    work: Chunk,
    context: WorkContext,
    n_cores: int,
    reporter: Reporter | None,
    isolated: bool,
) -> JobHandle:
    """
    Run a chunk, going on where an earlier attempt at it was interrupted.

    An attempt that is asked to stop notes what need not be done again: what failed, what is complete
    (it might be made again otherwise, when nothing is skipped), and what did not even finish in an
    attempt that finished nothing: it would keep the rest from ever being reached.
    """
    before = read_done(store, chunk)
    tasks = [task for task in work.tasks if task.sim_id not in before]
    handle = _push(tasks, context, n_cores, reporter, isolated)
    if handle.interrupted:
        if handle.stop_signal == TIME_LIMIT_SIGNAL and not handle.results:
            handle.results += [out_of_time(sim_id, store, context) for sim_id in handle.dropped]
        write_done(store, chunk, [*before.values(), *handle.results])
    elif before:
        handle.results[:0] = before.values()
    return handle


def published_config(store: Store, settings: str | None = None) -> ModelConfig:
    """
    Read the configuration that workers use.

    Parameters
    ----------
    store : Store
        The output root.
    settings : str, optional
        Hash it must have.

    Raises
    ------
    ProjectError
        When it has another one: the work was meant for other settings.
    """
    config, published = load_published_config(store)
    if settings is not None and published != settings:
        raise StaleOutputsError(
            f"this work was submitted with settings {settings}, but {store.uri} now has {published}; "
            "nothing was run, submit it again."
        )
    return config


def pull_simulations(
    model: HasProject,
    *,
    follow: bool = False,
    until_done: bool = False,
    max_rows: int | None = None,
    monitor: Monitor | None = None,
) -> JobHandle:
    """
    Take simulations from the work queue and run them here, until nothing is pending.

    Parameters
    ----------
    model : Model
        The project; workers use the settings published with its registrations.
    follow : bool
        Keep waiting for more until told to stop (SIGTERM, Ctrl-C).
    until_done : bool
        Stay until nothing is running elsewhere either, so that what a lost worker held is made.
    max_rows : int, optional
        Rows claimed and processed in one batch, not a limit on the total; default: ``PYSTILT_MAX_ROWS``.
    monitor : Monitor, optional
        Told what happens.

    Returns
    -------
    JobHandle
        With the results; of a worker that follows, the latest thousand.

    Raises
    ------
    NoQueueError
        When ``PYSTILT_DB_URL`` is not set.
    StiltError
        What makes all of the work impossible.
    """
    from stilt.execution.pulling import pull

    return pull(
        model.store,
        model.queue,
        follow=follow,
        until_done=until_done,
        max_rows=model.runtime.max_rows if max_rows is None else max_rows,
        compute_root=model.compute_root,
        monitor=monitor,
    )


def _push(
    tasks: Collection[Task],
    context: WorkContext,
    n_cores: int,
    reporter: Reporter | None,
    isolated: bool,
) -> JobHandle:
    from stilt.config import LocalExecution
    from stilt.execution.backends.local import LocalBackend

    section = LocalExecution(n_workers=n_cores)
    return LocalBackend(section, context, reporter or Silent(), isolated=isolated).submit(tasks)


def _must_start(config: ModelConfig, store: Store, compute_root: Path | None) -> None:
    from stilt.execution.preflight import must_start

    must_start(config, store, compute_root=compute_root)
