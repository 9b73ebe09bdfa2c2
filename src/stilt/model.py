"""
A project: settings, receptors, meteorology and outputs, wired together.

The model holds no science and no state of its own: settings come from ``config.yaml`` or
Python, what was asked for from the manifest, what exists from the store.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stilt.accessors import plots_of
from stilt.completion import StatusCounts, expected_footprints
from stilt.config import MetConfig, ModelConfig, RuntimeSettings
from stilt.errors import ProjectError, StaleOutputsError
from stilt.ids import SimID
from stilt.manifest import Manifest
from stilt.outputs import (
    Fingerprint,
    check_settings,
    load_published_config,
    publish_config,
    record_settings,
    remove_stale,
)
from stilt.receptors import Receptor, as_receptors
from stilt.service import Queue, check_label, check_priority, queue_for
from stilt.storage import Store, is_remote_address, open_store
from stilt.storage.layout import CONFIG

if TYPE_CHECKING:
    from stilt.collections import FootprintCollections, Simulations, TrajectoryCollection
    from stilt.execution.estimate import Estimate
    from stilt.execution.handle import JobHandle
    from stilt.execution.problems import Report
    from stilt.execution.progress import Reporter
    from stilt.execution.tasks import TaskList
    from stilt.footprint import Jacobian
    from stilt.meteorology.download import Arrival

CONFIG_FILE = "config.yaml"
RECEPTORS_FILE = "receptors.csv"


class Model:
    """
    A project folder and everything one can do with it.

    Parameters
    ----------
    project : str or Path, optional
        Folder with ``config.yaml`` and ``receptors.csv``; none: a temporary one, whose path is shown.
        An address in an object store (``s3://``, ``gs://``, ``az://``) is an output root alone; its
        settings are ``config`` or those published there.
    receptors : Receptor, iterable, tuple or path, optional
        Instead of ``receptors.csv``; see `stilt.receptors.as_receptors`.
    config : ModelConfig or path, optional
        Instead of ``config.yaml``. It is published under ``.stilt/``; the user's files are never written.
    output_dir : str or Path, optional
        Where outputs live, a folder or an address; default: the project.
    compute_root : str or Path, optional
        Where scratch folders go; default: ``PYSTILT_COMPUTE_ROOT`` or the system's temporary folder.
    runtime : RuntimeSettings, optional
        Settings of the machine; default: from the environment.
    **config_fields
        Fields of `ModelConfig`, instead of ``config``.

    Notes
    -----
    Relative folders of ``config.yaml`` count from the file; those of a configuration built in
    Python from the project if they exist there, else from the working directory.
    """

    def __init__(
        self,
        project: str | os.PathLike[str] | None = None,
        receptors: Any = None,
        config: ModelConfig | str | os.PathLike[str] | None = None,
        output_dir: str | os.PathLike[str] | None = None,
        compute_root: str | os.PathLike[str] | None = None,
        runtime: RuntimeSettings | None = None,
        **config_fields: Any,
    ) -> None:
        if config is not None and config_fields:
            raise TypeError(
                f"both config and {', '.join(config_fields)} were given; "
                "give a ModelConfig or its fields, not both."
            )
        if project is None:
            project = tempfile.mkdtemp(prefix="stilt-project-")
            print(f"stilt: temporary project {project}", file=sys.stderr)
        self._remote = is_remote_address(project)
        self.store: Store = open_store(
            output_dir if output_dir is not None else project,
            cache_dir=None if runtime is None else runtime.cache_dir,
        )
        self.project: Path | None = None if self._remote else _folder_of(project)
        if config_fields:
            config = ModelConfig(**config_fields)
        self._config_given = config
        self._receptors_given = receptors
        self._runtime = runtime
        self._compute_root = compute_root
        if config is not None or self._remote:
            _ = self.config
        elif self.project is not None and not self.project.is_dir():
            raise ProjectError(
                f"there is no project {self.project}; create one with `stilt init {self.project}`."
            )

    def __repr__(self) -> str:
        return f"Model({str(self.project or self.store.uri)!r})"

    # --- settings ---------------------------------------------------------------------------------

    @cached_property
    def config(self) -> ModelConfig:
        """The settings, with absolute folders."""
        given = self._config_given
        if isinstance(given, ModelConfig):
            return _place(given, self.project)
        if given is not None:
            return ModelConfig.from_yaml(Path(given)).resolved(Path(given).absolute().parent)
        if self.project is not None:
            path = self.project / CONFIG_FILE
            if path.exists():
                return ModelConfig.from_yaml(path).resolved(self.project)
        if self.store.exists(CONFIG):
            return load_published_config(self.store)[0]
        where = self.project or self.store.uri
        raise ProjectError(
            f"{where} holds no {CONFIG_FILE}; write one or create a project with `stilt init {where}`."
        )

    @cached_property
    def runtime(self) -> RuntimeSettings:
        """Settings of the machine."""
        return self._runtime or RuntimeSettings.from_env()

    @property
    def compute_root(self) -> Path | None:
        """Where scratch folders go; None: the system's temporary folder."""
        if self._compute_root is not None:
            return Path(self._compute_root).expanduser().absolute()
        root = self.runtime.compute_root
        return None if root is None else Path(root).absolute()

    @property
    def output_dir(self) -> str:
        """Where outputs live."""
        root = getattr(self.store, "root", None)
        return self.store.uri if root is None else str(root)

    # --- what is asked for ------------------------------------------------------------------------

    @cached_property
    def receptors(self) -> list[Receptor]:
        """The receptors of this model: those given, or those of ``receptors.csv``; none without either."""
        if self._receptors_given is not None:
            return as_receptors(self._receptors_given)
        if self.project is not None and (self.project / RECEPTORS_FILE).exists():
            return as_receptors(self.project / RECEPTORS_FILE)
        return []

    @property
    def manifest(self) -> Manifest:
        """What was asked for."""
        return Manifest(self.store)

    @cached_property
    def queue(self) -> Queue | None:
        """The work queue that ``PYSTILT_DB_URL`` names; None without. Connected when first used."""
        return queue_for(self.runtime, self.store.identity)

    def register(
        self, receptors: Any = None, scene_id: str | None = None, *, priority: int | None = None
    ) -> list[SimID]:
        """
        Ask for simulations without running them; no meteorology is read.

        With a queue, those that are not complete are put into it, where pull workers find them.

        Parameters
        ----------
        receptors : optional
            Which; default: the model's own.
        scene_id : str, optional
            Label for all of them.
        priority : int, optional
            In the queue, higher first; default: 0, or what a row has.

        Returns
        -------
        list of SimID
            One for each receptor and meteorology, known ones included.

        Raises
        ------
        StaleOutputsError
            When existing outputs were made with other settings.
        """
        found = self.receptors if receptors is None else as_receptors(receptors)
        if not found:
            raise ProjectError(
                f"there are no receptors to register; list them in {RECEPTORS_FILE} or pass them."
            )
        check_label(scene_id)
        check_priority(priority)
        if self.queue is not None:
            self.queue.open()  # before anything is written
        record_settings(self.store, self.config)
        publish_config(self.store, self.config)
        registered = self._register(found, scene_id)
        self._enqueue(registered, priority)
        return registered

    def _register(self, receptors: Iterable[Receptor], scene_id: str | None) -> list[SimID]:
        registration = self.manifest.register_receptors(
            receptors, self.config.run_mets, scene=scene_id, footprints=expected_footprints(self.config)
        )
        return registration.sim_ids

    def _enqueue(self, sim_ids: Iterable[str], priority: int | None = None) -> None:
        """Bring the queue, if there is one, in line with the outputs of some simulations."""
        if self.queue is None:
            return
        from stilt.execution.rebuilding import enqueue_registered

        settings = Fingerprint.of(self.config).hash
        is_error = self.config.is_error
        enqueue_registered(
            self.store,
            self.queue,
            settings,
            self.manifest.load(),
            sim_ids,
            is_error=is_error,
            priority=priority,
        )

    def register_pending(self, scene_id: str | None = None, *, priority: int | None = None) -> list[SimID]:
        """
        Register the model's receptors and return those simulations that are not complete.

        Parameters
        ----------
        scene_id : str, optional
            Label for all of them.
        priority : int, optional
            In the queue, higher first.

        Returns
        -------
        list of SimID
            Ready for `stilt.execution.push_simulations`.
        """
        from stilt.execution.planning import survey_of

        registered = self.register(scene_id=scene_id, priority=priority)
        complete = survey_of(self.store, self.manifest, self.config, registered).complete
        return [sim_id for sim_id in registered if sim_id not in complete]

    # --- running ----------------------------------------------------------------------------------

    def run(
        self,
        executor: Any = None,
        skip_existing: bool | None = None,
        wait: bool = True,
        *,
        refresh: bool = False,
        progress: bool | Reporter | None = None,
    ) -> JobHandle:
        """
        Run what is asked for and not complete; the same as ``stilt run``.

        Parameters
        ----------
        executor : optional
            Where: an ``execution`` section, a mapping like one, the name of a backend, or a number of
            local workers. Default: as configured.
        skip_existing : bool, optional
            Leave complete simulations alone; default: as configured. False makes everything again.
        wait : bool
            Wait for the end. Local runs always do; a detached job goes on if not.
        refresh : bool
            Remove outputs that were made with other settings, and make them again.
        progress : bool or Reporter, optional
            True: a bar on a terminal, plain lines elsewhere. Default: a bar on a terminal, else nothing.

        Returns
        -------
        JobHandle
            With the results. Failures do not raise; they are in ``results`` and in `status`.

        Raises
        ------
        StiltError
            What makes the whole run impossible: settings, missing meteorology, stale outputs.
        """
        from stilt.execution.detached import find_jobs
        from stilt.execution.entrypoints import submit_registered
        from stilt.execution.handle import JobHandle, JoinedJobs
        from stilt.execution.planning import bring_up_to_date, execution_of, survey_of
        from stilt.execution.preflight import must_start
        from stilt.execution.progress import reporter_for
        from stilt.execution.registry import get_backend
        from stilt.execution.worker import WorkContext

        config = self.config
        execution = execution_of(executor, config)
        skip = config.skip_existing if skip_existing is None else skip_existing
        get_backend(execution, WorkContext(self.store, config, skip, queue=self.queue)).check()
        receptors = self.receptors
        if not receptors and not self.manifest.exists():
            self.manifest.must_not_be_lost()
            raise ProjectError(
                f"{self.project or self.output_dir} asks for nothing: there is no {RECEPTORS_FILE} "
                "and nothing is registered; add receptors."
            )
        stale = check_settings(self.store, config)
        if stale and not refresh:
            raise StaleOutputsError(stale.message)
        must_start(config, self.store, compute_root=self.compute_root)
        if self.queue is not None:
            self.queue.open()
        if refresh:
            remove_stale(self.store, config)
        record_settings(self.store, config)
        publish_config(self.store, config)
        if receptors:
            self._register(receptors, None)
        wanted = bring_up_to_date(self.manifest, config)
        pending = wanted
        if skip:
            complete = survey_of(self.store, self.manifest, config, wanted).complete
            pending = [sim_id for sim_id in wanted if sim_id not in complete]
        reporter = (
            progress if not (progress is None or isinstance(progress, bool)) else reporter_for(progress)
        )
        self._enqueue(wanted)
        # what a detached job already has is not handed out twice
        jobs: list[JobHandle] = []
        n_held = 0
        for job in find_jobs(self.store, reporter):
            held = job.holds(pending, config)
            if held:
                reporter.say(f"{len(held)} of them are in {job.record.backend} job {job.job_id} already")
                pending = [sim_id for sim_id in pending if sim_id not in held]
                n_held += len(job.sim_ids)
                jobs.append(job)
        skipped = max(0, len(wanted) - len(pending) - n_held)
        if pending:
            jobs.append(submit_registered(self, pending, execution, skip_existing=skip, reporter=reporter))
        if not jobs:
            return JobHandle(job_id="nothing-to-do", skipped=skipped)
        handle = jobs[0] if len(jobs) == 1 else JoinedJobs(jobs)
        handle.skipped = skipped
        if wait:
            handle.wait()
        return handle

    def preview(self, executor: Any = None, skip_existing: bool | None = None) -> str:
        """
        Say what `run` would do: how many simulations, and the job script or manifest. Nothing is changed.

        Parameters
        ----------
        executor, skip_existing : optional
            As in `run`.

        Returns
        -------
        str
            Text to read.
        """
        from stilt.execution.planning import execution_of
        from stilt.execution.registry import get_backend
        from stilt.execution.worker import WorkContext

        skip = self.config.skip_existing if skip_existing is None else skip_existing
        tasks = self._tasks_left(skip)
        if not len(tasks):
            return "nothing to do: every simulation is complete"
        context = WorkContext(self.store, self.config, skip, self.compute_root)
        return get_backend(execution_of(executor, self.config), context).preview(tasks)

    def _tasks_left(self, skip_existing: bool) -> TaskList:
        from stilt.execution.planning import tasks_left

        return tasks_left(self.store, self.manifest, self.config, self.receptors, skip_existing=skip_existing)

    # --- looking ----------------------------------------------------------------------------------

    @property
    def simulations(self) -> Simulations:
        """Registered simulations by id."""
        from stilt.collections import Simulations

        return Simulations(self.store, error_trajectory=self.config.transport_params().is_error)

    @property
    def trajectories(self) -> TrajectoryCollection:
        """Particle tables."""
        from stilt.collections import TrajectoryCollection

        return TrajectoryCollection(self.simulations)

    @property
    def footprints(self) -> FootprintCollections:
        """Footprints by name."""
        from stilt.collections import FootprintCollections

        return FootprintCollections(self.simulations, expected_footprints(self.config))

    @property
    def plot(self) -> Any:
        """Pictures of the project (extra ``plot``): ``model.plot.availability()``."""
        return plots_of("model", self)

    def jacobian(
        self, name: str = "default", target: Any = None, time_bins: Any = None, **options: Any
    ) -> Jacobian:
        """
        Put the footprints of one name into a sparse matrix: observations by (time, cell).

        Parameters
        ----------
        name : str
            Name of the footprint.
        target, time_bins : optional
            Cells and intervals, as in `stilt.Footprint.aggregate`.
        **options
            See `stilt.collections.FootprintCollection.jacobian`.

        Returns
        -------
        Jacobian
            Rows in id order; empty footprints are rows of zeros, missing ones an error that lists them.
        """
        return self.footprints[name].jacobian(target, time_bins, **options)

    def status(self, scene_id: str | None = None) -> StatusCounts:
        """
        Count simulations by state, from the outputs as they are now.

        What is running is known from the queue, if there is one; so are simulations that took their worker
        down with them, and failed ones that have been asked for again.

        Parameters
        ----------
        scene_id : str, optional
            Only those of one scene.
        """
        from stilt.execution.rebuilding import heed_queue

        simulations = self.simulations
        if scene_id is not None:
            simulations = simulations.select(scene_id=scene_id)
        return heed_queue(simulations.survey(), self.queue).counts(**self._in_queue())

    def scene_counts(self) -> dict[str | None, StatusCounts]:
        """Counts by scene; None for simulations without one."""
        from stilt.execution.rebuilding import heed_queue

        simulations = self.simulations
        table = simulations.table()
        survey = heed_queue(simulations.survey(table), self.queue)
        queued = self._in_queue()
        return {scene: survey.counts(ids, **queued) for scene, ids in table.by_scene().items()}

    def _in_queue(self) -> dict[str, list[str]]:
        """Ids of what the queue and detached jobs say is running or failed."""
        watched = [] if self.queue is None else self.queue.watched()
        found = {
            status: [row.sim_id for row in watched if row.status == status]
            for status in ("running", "failed")
        }
        found["running"] += self._in_jobs()
        return found

    def _in_jobs(self) -> set[str]:
        """Return the simulations in the hands of workers of detached jobs."""
        from stilt.execution.jobs import read_records

        if not read_records(self.store, active=True):
            return set()
        from stilt.execution.detached import job_statuses, running_ids

        return running_ids(self.store, job_statuses(self.store))

    def check(self) -> Report:
        """Look for everything that would stop a run; nothing is changed."""
        from stilt.execution.examination import examine

        return examine(self.config, self._every_receptor(), self.store)

    def _every_receptor(self) -> list[Receptor]:
        """The receptors of this model and those registered before."""
        receptors = dict.fromkeys(self.receptors)
        if self.manifest.exists():
            table = self.manifest.load()
            for sim_id in table.sim_ids:
                receptors.setdefault(table.receptor(sim_id))
        return list(receptors)

    def download_met(
        self, *, verify: bool = False, told: Callable[[Arrival], object] = lambda arrival: None
    ) -> dict[str, list[Arrival]]:
        """
        Download what the receptors need of archives, so that runs need no network.

        Parameters
        ----------
        verify : bool
            Also compare files that are here with their checksums, and replace those that differ.
        told : callable
            Called with each file as it is done.

        Returns
        -------
        dict of str to list of Arrival
            What became of each file, by meteorology; those without an archive are left out.

        Raises
        ------
        MetCoverageError, MetDownloadError, MissingExtraError, ProjectError
        """
        from stilt.execution.downloading import download_met

        return download_met(self.config, self._every_receptor(), verify=verify, told=told)

    def estimate(self) -> Estimate | None:
        """Run a few of the simulations that are left, say what all will cost; None without any."""
        from stilt.execution.estimate import estimate
        from stilt.execution.progress import reporter_for

        tasks = self._tasks_left(self.config.skip_existing)
        return estimate(tasks, self.config, reporter_for(True)) if len(tasks) else None


def _folder_of(project: str | os.PathLike[str]) -> Path:
    text = os.fspath(project)
    if text.startswith("file://"):
        root = getattr(open_store(text), "root", None)
        return Path(root) if root is not None else Path(text)
    return Path(text).expanduser().absolute()


def _place(config: ModelConfig, project: Path | None) -> ModelConfig:
    """Make the folders of a configuration built in Python absolute."""

    def base(met: MetConfig) -> Path:
        if project is not None and met.directory is not None and (project / met.directory).exists():
            return project
        return Path.cwd()

    return config.replace(
        mets={name: met.resolved(base(met)) for name, met in config.mets.items()},
        hysplit=config.hysplit.resolved(Path.cwd()),
    )
