"""Where workers come in: push (told what to run) and pull (ask a queue)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from stilt.errors import ConfigError, NoQueueError, ProjectError
from stilt.execution.handle import JobHandle
from stilt.execution.progress import Reporter
from stilt.execution.runner import run_locally
from stilt.execution.tasks import Task, in_running_order, tasks_for
from stilt.execution.worker import WorkContext
from stilt.outputs import Fingerprint, load_published_config, publish_config, record_settings

if TYPE_CHECKING:
    from stilt.config import LocalExecution, ModelConfig
    from stilt.manifest import Manifest
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


def check_backend(execution: Any) -> LocalExecution:
    """
    Refuse a backend that this version does not have.

    Parameters
    ----------
    execution : ExecutionConfig
        The section.

    Raises
    ------
    ConfigError
        Naming the backend.
    """
    if execution.backend != "local":
        raise ConfigError(
            f"execution backend '{execution.backend}' comes in a later version; use backend 'local', "
            "or run chunks of work with `stilt push-worker` from your own job script."
        )
    local: LocalExecution = execution
    return local


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
    KeyError
        When a simulation is not registered.
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
    context = WorkContext(model.store, model.config, skip_existing, model.compute_root)
    tasks = tasks_for(table, wanted, error_trajectory=context.params.is_error)
    return _push(tasks, len(wanted), context, n_cores, reporter)


def push_tasks(
    tasks: Iterable[Task],
    total: int,
    settings: str,
    store: Store,
    *,
    n_cores: int = 1,
    skip_existing: bool = True,
    compute_root: Path | None = None,
    reporter: Reporter | None = None,
) -> JobHandle:
    """
    Run a chunk of work under the published configuration, if that is the one it was meant for.

    Parameters
    ----------
    tasks : iterable of Task
        The work.
    total : int
        How many tasks there are.
    settings : str
        Hash of the settings the work is meant for.
    store : Store
        The output root.
    n_cores, skip_existing, reporter
        See `push_simulations`.
    compute_root : Path, optional
        Where scratch folders go.
    """
    config = published_config(store, settings)
    context = WorkContext(store, config, skip_existing, compute_root)
    return _push(tasks, total, context, n_cores, reporter)


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
    from stilt.errors import StaleOutputsError

    config, published = load_published_config(store)
    if settings is not None and published != settings:
        raise StaleOutputsError(
            f"this work was submitted with settings {settings}, but {store.uri} now has {published}; "
            "nothing was run, submit it again."
        )
    return config


def pull_simulations(model: HasProject, *, follow: bool = False, max_rows: int | None = None) -> JobHandle:
    """
    Take simulations from the work queue until it is empty.

    Parameters
    ----------
    model : Model
        The project.
    follow : bool
        Keep waiting for more.
    max_rows : int, optional
        Rows claimed at once.

    Raises
    ------
    NoQueueError
        Always: this version has no queue.
    """
    raise NoQueueError(no_queue_message())


def no_queue_message() -> str:
    """Say that there is no queue, and what to use instead."""
    import os

    if os.environ.get("PYSTILT_DB_URL"):
        return "PYSTILT_DB_URL is set, but this version has no work queue yet; use `stilt run` or push workers."
    return "no work queue is configured (PYSTILT_DB_URL is not set); use `stilt run` or push workers."


def settings_hash_of(config: ModelConfig) -> str:
    """Hash of the result-changing settings, as chunks carry it."""
    return Fingerprint.of(config).hash


def _push(
    tasks: Iterable[Task],
    total: int,
    context: WorkContext,
    n_cores: int,
    reporter: Reporter | None,
    say: Callable[[str], None] | None = None,
) -> JobHandle:
    from stilt.transport.registry import get_engine

    get_engine(context.config.engine).check(context.params)
    outcome = run_locally(tasks, total, context, n_workers=n_cores, reporter=reporter)
    return JobHandle(
        job_id=_job_id(),
        results=outcome.results,
        interrupted=outcome.interrupted,
        stopped_because=outcome.stopped_because,
    )


def _job_id() -> str:
    import os
    import time

    return f"local-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{os.getpid()}"
