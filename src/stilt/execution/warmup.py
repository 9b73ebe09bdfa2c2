"""
Compiling before the work is handed out.

Kernels compile once per machine and release. When several workers start, the parent
compiles first and they load the result; the user is told why the first run begins late.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from stilt.transport.registry import get_engine

if TYPE_CHECKING:
    from stilt.config import ModelConfig
    from stilt.execution.progress import Reporter


def warm_up(config: ModelConfig, reporter: Reporter, *, share: bool) -> None:
    """
    Compile the kernels of a run, unless this machine has them already.

    Parameters
    ----------
    config : ModelConfig
        Engine, settings and whether there are footprints.
    reporter : Reporter
        Told when there is something to wait for.
    share : bool
        Whether worker processes will want them; one process alone compiles what it needs as it goes.
    """
    from stilt.kernels.compiler import is_warm

    marker = _marker(config)
    if marker is not None and marker.exists():
        return
    if marker is not None or not is_warm():
        reporter.say("compiling kernels, once per machine and version (about a minute) ...")
    if not share:
        return
    get_engine(config.engine).warm_up(config.transport_params())
    _warm_up_footprints()
    note_warm(config)


def note_warm(config: ModelConfig) -> None:
    """Remember that a run with this engine has compiled what it needed."""
    marker = _marker(config)
    if marker is not None:
        with contextlib.suppress(OSError):
            marker.touch()


def _marker(config: ModelConfig) -> Path | None:
    """Return the file whose existence says that all kernels are there; None where nothing can be kept."""
    import numba

    from stilt.kernels.compiler import kernel_cache_dir

    if numba.config.DISABLE_JIT:
        return None
    folder = kernel_cache_dir()
    return None if folder is None else folder / f"{config.engine}.warm"


def _warm_up_footprints() -> None:
    """Make one tiny footprint, so that its kernels are compiled and kept."""
    import numpy as np

    from stilt.footprint import calc_footprint, correct_near_field
    from stilt.receptors import PointReceptor
    from stilt.spatial import Grid
    from stilt.trajectory import Trajectories

    import pandas as pd

    receptor = PointReceptor("2000-01-01 12:00", 0.5, 0.5, 5.0)
    n_particles, n_times = 4, 130
    indx = np.tile(np.arange(1, n_particles + 1), n_times)
    minutes = -np.repeat(np.arange(1.0, n_times + 1.0), n_particles)
    shape = minutes.size
    columns = {
        "time": minutes,
        "indx": indx,
        "long": 0.5 + 0.001 * minutes + 0.001 * indx,
        "lati": 0.5 + 0.001 * indx,
        "foot": np.full(shape, 1e-3),
        "mlht": np.full(shape, 1000.0),
        "dens": np.full(shape, 1.2),
        "samt": np.full(shape, 1.0),
        "sigw": np.full(shape, 0.5),
        "tlgr": np.full(shape, 60.0),
    }
    table = Trajectories.from_particles(pd.DataFrame(columns), receptor)
    table = correct_near_field(table).as_stored()
    grid = Grid(xmin=0.0, xmax=1.0, ymin=0.0, ymax=1.0, xres=0.01, yres=0.01)
    for time_integrate in (False, True):
        calc_footprint(table, grid, time_integrate=time_integrate)
