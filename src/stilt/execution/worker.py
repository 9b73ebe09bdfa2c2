"""
Runs one simulation: the only place in which results are written.

::

    find by key what is missing
      trajectory        engine -> near-field correction -> Parquet        (or read the stored one)
      error trajectory  the same with perturbed winds or PBL heights
      footprints        from the tables as stored -> NetCDF, or a marker that says why it is empty
    stilt.log; failure.json when something failed, removed when nothing did

Each artifact appears whole or not at all, the trajectory before its footprints, so an attempt
may be killed anywhere and repeated. Whatever goes wrong becomes a `SimulationResult`; exceptions
do not leave this module.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stilt._version import __version__
from stilt.completion import missing_artifacts
from stilt.config import (
    ModelConfig,
    TransportParams,
    footprint_settings,
    settings_hash,
    transport_settings,
)
from stilt.errors import (
    FailureReason,
    FootprintError,
    Interrupted,
    ProjectError,
    StaleOutputsError,
    StiltError,
    StoreError,
    StoreFullError,
    StoreUnavailableError,
)
from stilt.execution.results import SimulationResult
from stilt.execution.tasks import Task
from stilt.outputs import Fingerprint, ensure_settings
from stilt.receptors import Receptor
from stilt.service import Queue
from stilt.storage import Store, place
from stilt.storage.failures import clear_failure, record_failure
from stilt.storage.layout import (
    ERROR_SUFFIX,
    ERROR_TRAJECTORY,
    FOOTPRINT_PREFIX,
    TRAJECTORY,
    empty_key,
    error_key,
    footprint_key,
    log_key,
    simulation_prefix,
    trajectory_key,
)
from stilt.storage.secrets import without_secrets
from stilt.transport.protocol import TransportEngine, TransportRequest
from stilt.transport.registry import get_engine

if TYPE_CHECKING:
    from stilt.footprint import ParticleColumns
    from stilt.trajectory import Trajectories

_ID_IN_FOLDER = 80

_LOG_LINES = 400
"""Lines of earlier attempts kept in a log."""

_LOG_EVERY = 10.0
"""Seconds between two writings of the log of a program that is running."""


@dataclass(frozen=True)
class WorkContext:
    """
    What all tasks of a run have in common; sent to each worker once.

    Parameters
    ----------
    store : Store
        The output root.
    config : ModelConfig
        The settings, with absolute folders.
    skip_existing : bool
        Make only what is missing; False makes everything again.
    compute_root : Path, optional
        Where scratch folders go; none: the system's temporary folder.
    queue : Queue, optional
        Work queue that whoever hands out the tasks claims them from; it does not travel to workers.
    """

    store: Store
    config: ModelConfig
    skip_existing: bool = True
    compute_root: Path | None = None
    queue: Queue | None = field(default=None, repr=False, compare=False)
    fingerprint: Fingerprint = field(init=False)
    params: TransportParams = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "fingerprint", Fingerprint.of(self.config))
        object.__setattr__(self, "params", self.config.transport_params())

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "queue": None}


def run_task(
    task: Task, context: WorkContext, *, should_stop: Callable[[], bool] | None = None
) -> SimulationResult:
    """
    Make what a simulation lacks, and say what became of it.

    Parameters
    ----------
    task : Task
        The simulation.
    context : WorkContext
        Store and settings.
    should_stop : callable, optional
        Asked about once a second; True gives up this simulation, leaving what is finished.

    Returns
    -------
    SimulationResult
        Never raises, but for a second interrupt.
    """
    attempt = _Attempt(task, context, should_stop or (lambda: False))
    return attempt.run()


class _Attempt:
    """One attempt at one simulation: its state between the steps."""

    def __init__(self, task: Task, context: WorkContext, should_stop: Callable[[], bool]) -> None:
        self.task = task
        self.store = context.store
        self.config = context.config
        self.context = context
        self.should_stop = should_stop
        self.lines: list[str] = []
        self.timings: dict[str, float] = {}
        self.made: list[str] = []
        self.failed: BaseException | None = None
        self._log_before: bytes | None = None
        self._log_written = time.monotonic()
        self._tables: dict[bool, Trajectories] = {}
        self._columns: dict[bool, ParticleColumns] = {}

    # --- the whole --------------------------------------------------------------------------------

    def run(self) -> SimulationResult:
        began = time.perf_counter()
        caught: list[warnings.WarningMessage] = []
        try:
            if self.should_stop():
                raise Interrupted("stopped before this simulation began.")
            wanted = self._wanted()
            if wanted:
                with warnings.catch_warnings(record=True) as caught:
                    warnings.simplefilter("always")
                    self._make(wanted)
            if self.failed is not None:
                raise self.failed
            clear_failure(self.store, self.task.sim_id)
        except (Interrupted, KeyboardInterrupt) as error:
            return self._result("interrupted", FailureReason.INTERRUPTED, str(error) or "interrupted.")
        except StaleOutputsError as error:
            return self._result("refused", "", str(error))
        except Exception as error:
            self.timings["total"] = time.perf_counter() - began
            return self._fail(error, _texts(caught))
        self.timings["total"] = time.perf_counter() - began
        said = _texts(caught)
        if self.made:
            self._write_log("complete", said)
        return self._result("complete", warned=said)

    def _wanted(self) -> tuple[str, ...]:
        if not self.context.skip_existing:
            return self.task.artifacts
        return missing_artifacts(self.store, self.task.sim_id, self.task.artifacts)

    def _make(self, wanted: tuple[str, ...]) -> None:
        # before any work, and again before each write: settings may be changed at any time
        ensure_settings(self.store, self.context.fingerprint)
        self.store.clean(simulation_prefix(self.task.sim_id))
        receptor = self.task.build_receptor()
        for is_error, artifact in ((False, TRAJECTORY), (True, ERROR_TRAJECTORY)):
            if artifact in wanted:
                self._make_trajectories(receptor, is_error=is_error)
        for artifact in wanted:
            if artifact.startswith(FOOTPRINT_PREFIX):
                self._heed()
                try:
                    self._make_footprint(artifact.removeprefix(FOOTPRINT_PREFIX))
                except (FootprintError, ValueError, ArithmeticError) as error:
                    if isinstance(error, ProjectError):
                        raise
                    # the other footprints do not depend on this one
                    self.lines.append(f"{artifact} failed: {error}")
                    self.failed = self.failed or error

    # --- steps ------------------------------------------------------------------------------------

    def _make_trajectories(self, receptor: Receptor, *, is_error: bool) -> None:
        from stilt.footprint import correct_near_field
        from stilt.trajectory import Trajectories

        params = self.context.params if is_error else self.context.params.without_errors()
        engine = self._engine()
        # heights above sea level become heights above ground with the model's own terrain; the column stays
        # in the table, so that the correction can be made again from it
        needs_terrain = params.hnf_plume and receptor.altitude_ref == "msl" and "zsfc" not in params.varsiwant
        asked = params.replace(varsiwant=(*params.varsiwant, "zsfc")) if needs_terrain else params
        (_, met), *fallbacks = self.config.met_chain(self.task.met)
        began = time.monotonic()
        deadline = None if params.timeout is None else began + params.timeout
        with self._scratch() as scratch:
            result = engine.run(
                TransportRequest(
                    receptor=receptor,
                    met_name=self.task.met,
                    met=met,
                    params=asked,
                    error=is_error,
                    fallbacks=tuple(fallbacks),
                    scratch=scratch,
                    say=self._say,
                ),
                deadline=deadline,
                should_stop=self.should_stop,
            )
        self._spent("engine", began)
        self.lines += result.log.splitlines()
        table = Trajectories.from_particles(
            result.particles,
            receptor,
            transport_settings(params),
            met_files=result.met_files,
            is_error=is_error,
            engine=self.config.engine,
            seed=result.seed,
            exits=result.exits,
            nesting=result.nesting,
        )
        if params.hnf_plume and len(table):
            table = correct_near_field(table, params.veght, mode=params.hnf_mode)
        key = (error_key if is_error else trajectory_key)(self.task.sim_id)
        self._write(key, table.to_bytes())
        self.made.append(ERROR_TRAJECTORY if is_error else TRAJECTORY)
        self._tables[is_error] = table.as_stored()

    def _make_footprint(self, name: str) -> None:
        from stilt.footprint import Footprint

        configured = name
        is_error = name not in self.config.footprints and name.endswith(ERROR_SUFFIX)
        if is_error:
            configured = name.removesuffix(ERROR_SUFFIX)
        particles = self._particles(is_error=is_error)
        began = time.monotonic()
        footprint = Footprint.calculate(
            particles,
            self.config.footprint(configured),
            self.config.footprint_grid(configured),
            name=name,
            settings_hash=settings_hash(footprint_settings(self.config, configured)),
        )
        self._spent("footprints", began)
        sim_id = self.task.sim_id
        there, other = footprint_key(sim_id, name), empty_key(sim_id, name)
        if footprint.is_empty:
            there, other = other, there
            self.lines.append(f"footprint {name} is empty: {footprint.empty_message}")
            content = footprint.empty_marker()
        else:
            total = float(footprint.data.sum())
            self.lines.append(f"footprint {name}: total {total:.6g} ppm m2 s umol-1")
            content = footprint.to_bytes()
        self._write(there, content)
        self.store.delete(other)
        self.made.append(FOOTPRINT_PREFIX + name)

    def _particles(self, *, is_error: bool) -> ParticleColumns:
        """Particles with the values their file holds, sorted once for all footprints."""
        from stilt.footprint import ParticleColumns
        from stilt.trajectory import Trajectories

        if is_error not in self._columns:
            if is_error not in self._tables:
                key = (error_key if is_error else trajectory_key)(self.task.sim_id)
                try:
                    self._tables[is_error] = Trajectories.from_parquet(self.store.read(key))
                except FootprintError as error:
                    raise FootprintError(
                        f"{place(self.store, key)} is damaged ({error}); delete it to have it made again."
                    ) from error
                self.lines.append("particles read from the stored trajectory")
            self._columns[is_error] = ParticleColumns.prepare(self._tables[is_error])
        return self._columns[is_error]

    def _engine(self) -> TransportEngine:
        return get_engine(self.config.engine, self.config.engine_section)

    @contextlib.contextmanager
    def _scratch(self) -> Iterator[Path]:
        """Give the engine a folder; it is kept only after a failure, and only if the user wants it."""
        root = self.context.compute_root
        try:
            if root is not None:
                root.mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(prefix=f"stilt-{self.task.sim_id[:_ID_IN_FOLDER]}-", dir=root))
        except OSError as error:
            where = root or tempfile.gettempdir()
            raise StoreError(
                f"no scratch folder can be made under {where} ({error.strerror}); choose another with "
                "--compute-root or PYSTILT_COMPUTE_ROOT."
            ) from error
        try:
            yield folder
        except Exception as error:
            if self.context.params.rm_dat or isinstance(error, Interrupted):
                shutil.rmtree(folder, ignore_errors=True)
            else:
                self.lines.append(f"scratch kept: {folder}")
            raise
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        else:
            shutil.rmtree(folder, ignore_errors=True)

    # --- small things -----------------------------------------------------------------------------

    def _say(self, line: str) -> None:
        """Take a line of a running program into the log, where it can be read while it runs."""
        self.lines.append(line)
        if time.monotonic() - self._log_written > _LOG_EVERY:
            self._write_log("running", ())
            self._log_written = time.monotonic()

    def _heed(self) -> None:
        if self.should_stop():
            raise Interrupted("stopped between two outputs; what is finished is kept.")

    def _write(self, key: str, data: bytes) -> None:
        began = time.monotonic()
        ensure_settings(self.store, self.context.fingerprint)
        self.store.write(key, data)
        self._spent("writing", began)

    def _spent(self, step: str, began: float) -> None:
        self.timings[step] = self.timings.get(step, 0.0) + time.monotonic() - began

    def _fail(self, error: Exception, said: tuple[str, ...]) -> SimulationResult:
        detail = without_secrets("".join(traceback.format_exception(error)))
        expected = isinstance(error, StiltError)
        reason = error.reason if isinstance(error, StiltError) else FailureReason.UNKNOWN
        message = str(error) if expected else f"{type(error).__name__}: {error}; stilt.log has the details."
        if isinstance(error, OSError) and not expected:
            reason = FailureReason.STORE
        with contextlib.suppress(StoreError):  # a full disk cannot take a record of itself
            record_failure(
                self.store,
                self.task.sim_id,
                reason=reason,
                message=message,
                detail="" if expected else detail,
                engine=self.config.engine,
            )
        self.lines.append(detail.rstrip())
        self._write_log(f"failed: {reason}: {message}", said)
        return self._result("failed", reason, without_secrets(" ".join(message.split())), said, detail)

    def _write_log(self, outcome: str, said: tuple[str, ...]) -> None:
        spent = ", ".join(f"{step} {seconds:.2f} s" for step, seconds in self.timings.items())
        text = [
            f"stilt {__version__}: {self.task.sim_id} at "
            f"{time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime())} UTC, process {os.getpid()}",
            *self.lines,
            *(f"warning: {line}" for line in said),
            f"made: {' '.join(self.made) or 'nothing'}",
            f"time: {spent}",
            outcome,
        ]
        with contextlib.suppress(StoreError):  # a log is no reason to lose a result
            self.store.write(
                log_key(self.task.sim_id),
                self._earlier_log() + without_secrets("\n".join(text) + "\n").encode(),
                flush=False,
            )

    def _earlier_log(self) -> bytes:
        """Return what earlier attempts wrote, so that the lines of the transport outlive a new footprint."""
        if self._log_before is None:
            try:
                lines = self.store.read(log_key(self.task.sim_id)).splitlines(keepends=True)
            except StoreError:
                lines = []
            self._log_before = b"".join(lines[-_LOG_LINES:])
        return self._log_before

    def _result(
        self,
        status: str,
        reason: str = "",
        message: str = "",
        warned: tuple[str, ...] = (),
        detail: str = "",
    ) -> SimulationResult:
        return SimulationResult(
            sim_id=self.task.sim_id,
            status=status,  # type: ignore[arg-type]
            reason=str(reason),
            message=message,
            made=tuple(self.made),
            timings=dict(self.timings),
            warnings=warned,
            detail=detail,
        )


def _texts(caught: list[warnings.WarningMessage]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(" ".join(str(entry.message).split()) for entry in caught))


def died(task: Task, store: Store, engine: str) -> SimulationResult:
    """
    Record that a simulation killed its worker twice.

    Parameters
    ----------
    task : Task
        The simulation.
    store : Store
        The output root.
    engine : str
        Transport engine.
    """
    message = (
        f"the worker process died while running {task.sim_id}, and again when it ran alone; "
        "it may have run out of memory (try fewer particles or workers) or been killed."
    )
    with contextlib.suppress(StoreError):
        record_failure(store, task.sim_id, reason=FailureReason.WORKER_DIED, message=message, engine=engine)
    return SimulationResult(task.sim_id, "failed", FailureReason.WORKER_DIED, message)


def out_of_time(sim_id: str, store: Store, context: WorkContext) -> SimulationResult:
    """
    Record that a simulation did not finish within the time limit of a job, though nothing else ran.

    Parameters
    ----------
    sim_id : str
        The simulation.
    store : Store
        The output root.
    context : WorkContext
        Settings.
    """
    message = (
        f"{sim_id} did not finish within the time limit of its job; allow more time "
        "(execution: time), or fewer particles or hours."
    )
    with contextlib.suppress(StoreError):
        record_failure(
            store, sim_id, reason=FailureReason.TIMEOUT, message=message, engine=context.config.engine
        )
    return SimulationResult(sim_id, "failed", FailureReason.TIMEOUT, message)


def is_fatal(result: SimulationResult) -> bool:
    """Whether no later simulation of the run can do better: no space, no access, or settings changed."""
    return result.status == "refused" or is_fatal_reason(result.reason)


def is_fatal_reason(reason: str) -> bool:
    """Whether a failure for this reason ends the worker: what it would make next could not be written."""
    return reason in (StoreFullError.reason, StoreUnavailableError.reason)
