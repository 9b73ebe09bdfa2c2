"""
How many workers this machine can carry.

An estimate on the safe side, from settings and the header of one meteorology file: what a worker
holds besides the libraries is the decoded window its particles are in, tiles kept for the next
simulation, and the particle table. ``stilt check --estimate`` measures instead.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from stilt.errors import StiltError

if TYPE_CHECKING:
    from stilt.config import MetConfig, ModelConfig
    from stilt.meteorology.series import MetFile

LIBRARIES = 350 * 1024**2
"""Memory of an idle worker: Python, numpy, numba, pandas, pyarrow, xarray [bytes]."""

ROW = 150
"""Memory of one row of a particle table while it is made, gridded and written [bytes]."""

SPREAD_SPEED = 10.0
"""How fast a plume grows to either side [km h-1]; decides how many tiles are in use at once."""

KM_PER_DEGREE = 111.2
"""Length of a degree of latitude [km]."""

KEPT_FREE = 0.1
"""Share of the free memory that is left alone."""

_CGROUP = Path("/sys/fs/cgroup")
_OWN_CGROUPS = Path("/proc/self/cgroup")
_UNLIMITED = 1 << 60
_MEGABYTE = 1 << 20


def worker_memory(config: ModelConfig) -> int:
    """
    Estimate what one worker needs.

    Parameters
    ----------
    config : ModelConfig
        The settings, with absolute folders.

    Returns
    -------
    int
        Memory [bytes].
    """
    params = config.transport_params()
    ensembles = 2 if params.is_error else 1
    rows = params.numpar * abs(params.n_hours) * 60 * ensembles
    chains = [config.met_chain(name) for name in config.run_mets]
    window = max((sum(_window(config, *each) for each in chain) for chain in chains), default=0)
    cells = 0
    for name in config.footprints:
        with contextlib.suppress(StiltError):
            grid = config.footprint_grid(name)
            layers = 1 if config.footprint(name).time_integrate else abs(params.n_hours) + 1
            cells = max(cells, grid.nx * grid.ny * layers)
    return LIBRARIES + window + rows * ROW + cells * 8 * 2


def _window(config: ModelConfig, name: str, met: MetConfig) -> int:
    """Memory of the decoded meteorology a worker holds: tiles in use at two times, and those kept [bytes]."""
    if config.engine != "native":
        return 0
    try:
        header = _example(met, name)
    except (StiltError, OSError, IndexError):
        return 0
    from stilt.transport.native.tiles import POOL_LIMIT

    if header is None:
        return POOL_LIMIT
    from stilt.kernels.layout import TILE, row_length

    grid = header.grid
    tile = TILE * TILE * row_length(header.levels.n_upper) * 4
    whole = math.ceil(grid.nx / TILE) * math.ceil(grid.ny / TILE) * tile
    width = 2.0 * SPREAD_SPEED * abs(config.n_hours)
    spacing = max(1.0, grid.ref_lat * KM_PER_DEGREE if grid.is_latlon else grid.size)
    across = math.ceil(width / (spacing * TILE)) + 1
    return min(2 * across * across * tile, 2 * whole) + min(POOL_LIMIT, 24 * whole)


def _example(met: MetConfig, name: str) -> MetFile | None:
    """Open any one file of a meteorology, for its grid; None when nothing has been downloaded yet."""
    from stilt.meteorology.archive import example_here
    from stilt.meteorology.arl.file import open_arl
    from stilt.meteorology.search import list_files, patterns_of

    if met.is_gridded:
        from stilt.meteorology.gridded.file import open_gridded

        return open_gridded(met, name)
    path = (
        example_here(met)
        if met.directory is None
        else list_files(met.directory, patterns_of(met.file_format), name).files[0].path
    )
    return None if path is None else open_arl(path)


def available_memory() -> int:
    """
    Memory that new processes may take: what is free, within the limits of the container or job.

    Returns
    -------
    int
        Memory [bytes]. Files in the page cache that the kernel would drop count as free.
    """
    import psutil

    free = int(psutil.virtual_memory().available)
    for folder, names in _cgroups():
        with contextlib.suppress(OSError, ValueError):
            bound = int((folder / names[0]).read_text())
            if bound < _UNLIMITED:
                used = int((folder / names[1]).read_text()) - _droppable(folder)
                free = min(free, max(0, bound - used))
    job = _job_memory()
    if job is not None:  # a site may watch memory without cgroups
        free = min(free, max(0, job - int(psutil.Process().memory_info().rss)))
    return free


def _cgroups() -> Iterator[tuple[Path, tuple[str, str]]]:
    """Folders of the control groups this process is in, the innermost first, and their files."""
    v1, v2 = ("memory.limit_in_bytes", "memory.usage_in_bytes"), ("memory.max", "memory.current")
    lines: list[str] = []
    with contextlib.suppress(OSError):
        lines = _OWN_CGROUPS.read_text().splitlines()
    for line in [*lines, "0::/", "1:memory:/"]:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        root, names = (_CGROUP / "memory", v1) if controllers else (_CGROUP, v2)
        # inside a container the path may be the host's; what is mounted at the root is ours then
        folder = root / path.lstrip("/")
        while folder.is_relative_to(root):
            yield folder, names
            folder = folder.parent


def _droppable(folder: Path) -> int:
    with contextlib.suppress(OSError, ValueError):
        stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        return int(stat.get("total_inactive_file", stat.get("inactive_file", 0)))
    return 0


def _job_memory() -> int | None:
    """Memory that Slurm gave this job on this node [bytes]; None outside a job, or where it gives all."""
    with contextlib.suppress(KeyError, ValueError):
        if "SLURM_MEM_PER_NODE" in os.environ:
            given = int(os.environ["SLURM_MEM_PER_NODE"])
        else:
            given = int(os.environ["SLURM_MEM_PER_CPU"]) * int(os.environ["SLURM_CPUS_ON_NODE"])
        return given * _MEGABYTE if given > 0 else None
    return None


def cores() -> int:
    """Physical cores that this process may use, within affinity, quota and what a Slurm job was given."""
    from joblib.externals.loky import cpu_count

    found = int(cpu_count(only_physical_cores=True))
    with contextlib.suppress(KeyError, ValueError):
        found = min(found, int(os.environ["SLURM_CPUS_ON_NODE"]))
    return max(1, found)


def workers_that_fit(asked: int | str, total: int, config: ModelConfig) -> tuple[int, str]:
    """
    Decide how many workers to start.

    Parameters
    ----------
    asked : int or "auto"
        What the configuration says.
    total : int
        Simulations to run.
    config : ModelConfig
        The settings, with absolute folders.

    Returns
    -------
    n_workers : int
        At least 1.
    why : str
        In a few words when it is not what was asked for; empty otherwise.
    """
    wanted = cores() if asked == "auto" else int(asked)
    wanted = max(1, min(wanted, total))
    why = f"auto, {cores()} cores" if asked == "auto" else ""
    if wanted == 1:
        return 1, why
    each = worker_memory(config)
    free = available_memory()
    fit = max(1, int(free * (1.0 - KEPT_FREE) // each))
    if fit >= wanted:
        return wanted, why
    why = f"memory for {fit} of {wanted} workers, about {each / 1e9:.1f} GB each of {free / 1e9:.1f} GB free"
    return fit, why
