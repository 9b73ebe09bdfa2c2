"""
What a run will cost, from a few of its own simulations.

They are taken at even distances from the list of what is left to do, run in a worker process of
their own into a temporary folder, and measured: processor time, memory, size of the outputs. The
first one is left out of the mean, since it also loads the compiled kernels. Nothing in the
project is changed; prepared meteorology stays in the cache, where the run finds it.
"""

from __future__ import annotations

import functools
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stilt.errors import ProjectError
from stilt.execution.memory import cores
from stilt.execution.pool import run_pool
from stilt.execution.progress import Silent
from stilt.execution.stopping import StopFlag, heeding_signals
from stilt.execution.tasks import Task, TaskList
from stilt.execution.warmup import warm_up
from stilt.execution.worker import WorkContext, run_task
from stilt.storage import open_store

if TYPE_CHECKING:
    from stilt.config import ModelConfig
    from stilt.execution.progress import Reporter

SAMPLE = 4
"""Simulations that are run; the first one warms up."""


@dataclass(frozen=True)
class Estimate:
    """
    What a run will cost.

    Parameters
    ----------
    simulations : int
        What is left to do.
    sample : int
        Simulations the means are of.
    cpu_seconds : float
        Processor time of one simulation, mean [s].
    cpu_seconds_range : tuple of float
        Least and largest in the sample [s].
    start_seconds : float
        Processor time a worker takes before its first result, that simulation included [s].
    cpu_hours : float
        Processor time altogether [h].
    n_workers : int
        Workers at once, as configured.
    hours : float
        Time on that many free cores [h].
    met_files : int
        Meteorology files the runs need.
    met_bytes : int
        Their size [bytes].
    memory_bytes : int
        Largest memory of the sampling worker [bytes].
    output_bytes : int
        Size of all outputs [bytes].
    failed : int
        Simulations of the sample that failed, and would again.
    """

    simulations: int
    sample: int
    cpu_seconds: float
    cpu_seconds_range: tuple[float, float]
    start_seconds: float
    cpu_hours: float
    n_workers: int
    hours: float
    met_files: int
    met_bytes: int
    memory_bytes: int
    output_bytes: int
    failed: int

    def to_dict(self) -> dict[str, Any]:
        """The estimate in words JSON knows."""
        return asdict(self)


@dataclass(frozen=True)
class _Measured:
    cpu_seconds: float
    output_bytes: int
    memory_bytes: int
    status: str
    message: str


def estimate(tasks: TaskList, config: ModelConfig, reporter: Reporter | None = None) -> Estimate:
    """
    Run a few simulations and say what all of them will cost.

    Parameters
    ----------
    tasks : TaskList
        What is left to do; at least one.
    config : ModelConfig
        The settings, with absolute folders.
    reporter : Reporter, optional
        Told when kernels are compiled first.

    Returns
    -------
    Estimate
        Means times the number of simulations.

    Raises
    ------
    ProjectError
        When every simulation of the sample failed.
    """
    chosen = set(_spread([*tasks.sim_ids], SAMPLE))
    sample = [task for task in tasks if task.sim_id in chosen]
    measured = _measure(sample, config, reporter or Silent())
    good = [each for each in measured if each.status == "complete"]
    if not good:
        raise ProjectError(
            f"all {len(measured)} simulations of the sample failed ({measured[0].message}); "
            "stilt check says more."
        )
    # alone, the first is better than nothing
    means = good[1:] or good
    seconds = np.array([each.cpu_seconds for each in means])
    n_workers = workers_at_once(config)
    cpu_hours = float(seconds.mean()) * len(tasks) / 3600.0
    files, size = met_needed(tasks.sim_ids, config)
    return Estimate(
        simulations=len(tasks),
        sample=len(means),
        cpu_seconds=float(seconds.mean()),
        cpu_seconds_range=(float(seconds.min()), float(seconds.max())),
        start_seconds=good[0].cpu_seconds,
        cpu_hours=cpu_hours,
        n_workers=n_workers,
        hours=cpu_hours / min(n_workers, len(tasks)),
        met_files=files,
        met_bytes=size,
        memory_bytes=max(each.memory_bytes for each in good),
        output_bytes=round(float(np.mean([each.output_bytes for each in means])) * len(tasks)),
        failed=len(measured) - len(good),
    )


def workers_at_once(config: ModelConfig) -> int:
    """
    Return how many simulations run at the same time, as configured.

    Parameters
    ----------
    config : ModelConfig
        The settings.
    """
    section: Any = config.execution
    if section.n_workers == "auto":
        return cores()
    n_workers = int(section.n_workers)
    if section.backend == "slurm":
        return min(n_workers, section.array_parallelism or n_workers) * int(section.cpus_per_task)
    if section.backend == "kubernetes" and section.mode == "indexed":
        return min(n_workers, section.parallelism or n_workers) * int(section.cpus)
    return n_workers


def met_needed(sim_ids: Sequence[str], config: ModelConfig) -> tuple[int, int]:
    """
    Find the meteorology files that runs need.

    Parameters
    ----------
    sim_ids : sequence of str
        Simulations.
    config : ModelConfig
        The settings, with absolute folders.

    Returns
    -------
    files, size : int
        How many, and their size [bytes].
    """
    from stilt.execution.met_examination import open_files
    from stilt.ids import SimID

    needed: dict[Path, int] = {}
    starts_of: dict[str, set[np.datetime64]] = {}
    for sim_id in sim_ids:
        parsed = SimID(sim_id)
        starts_of.setdefault(parsed.met, set()).add(np.datetime64(parsed.time, "s"))
    sections = [(*each, starts) for name, starts in starts_of.items() for each in config.met_chain(name)]
    for name, met, starts in sections:
        if met.directory is None and not met.is_download:
            continue
        first = np.array(sorted(starts))
        last = first + np.timedelta64(config.n_hours, "h")
        low, high = np.minimum(first, last), np.maximum(first, last)
        for file in open_files(met, name, first, last)[0]:
            step = np.diff(file.times).max() if file.times.size > 1 else np.timedelta64(0, "s")
            begin, end = file.times[0] - step, file.times[-1] + step
            if bool(((low <= end) & (high >= begin)).any()):
                path = Path(file.path)
                needed[path] = path.stat().st_size
    return len(needed), sum(needed.values())


def _spread(sim_ids: Sequence[str], count: int) -> list[str]:
    places = np.unique(np.linspace(0, len(sim_ids) - 1, count).round().astype(int))
    return [sim_ids[place] for place in places]


def _measure(sample: Sequence[Task], config: ModelConfig, reporter: Reporter) -> list[_Measured]:
    """Run the sample one after another in one fresh worker process."""
    flag = StopFlag()
    try:
        with tempfile.TemporaryDirectory(prefix="stilt-estimate-") as folder, heeding_signals(flag):
            warm_up(config, reporter, share=True)
            work = functools.partial(_run_and_measure, folder, config)
            died = _Measured(0.0, 0, 0, "failed", "the worker process died")
            done = run_pool(iter(sample), work, flag, n_workers=1, died=lambda task: died)
            return [result for _, result in done]
    finally:
        flag.close()


def _run_and_measure(
    folder: str, config: ModelConfig, task: Task, should_stop: Callable[[], bool]
) -> _Measured:
    began = time.process_time()
    result = run_task(task, WorkContext(open_store(folder), config), should_stop=should_stop)
    spent = time.process_time() - began
    made = Path(folder, "simulations/by-id", task.sim_id)
    size = sum(path.stat().st_size for path in made.glob("*")) if made.is_dir() else 0
    return _Measured(spent, size, peak_memory(), result.status, result.message)


def peak_memory() -> int:
    """Return the largest memory this process has had [bytes]."""
    import psutil

    info = psutil.Process().memory_info()
    if hasattr(info, "peak_wset"):
        return int(info.peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)
