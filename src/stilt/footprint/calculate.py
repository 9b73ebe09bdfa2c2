"""
The whole way from particles to a footprint, as one function.

::

    table -> sorted columns -> densify -> project -> cells and bandwidths -> stamp -> Footprint
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from stilt.errors import FootprintError
from stilt.footprint.axes import GridAxes
from stilt.footprint.empties import explain
from stilt.footprint.gridding import grid_particles
from stilt.footprint.particles import ParticleColumns
from stilt.footprint.product import Footprint
from stilt.receptors import Receptor
from stilt.spatial import Grid


def calc_footprint(
    trajectories: Any,
    grid: Grid,
    *,
    smooth_factor: float = 1.0,
    time_integrate: bool = False,
    receptor: Receptor | None = None,
    name: str = "",
    interpolate_early: bool = True,
    transforms: Iterable[Any] = (),
    settings_hash: str = "",
) -> Footprint:
    """
    Spread the surface influence of particles over a grid.

    Parameters
    ----------
    trajectories : Trajectories, ParticleColumns or table
        A table (DataFrame or mapping of arrays) needs the columns ``time indx long lati foot`` and
        ``receptor``; other columns do not matter. Numbers are used as they are, in float64; ``foot``
        is taken as it stands, without near-field correction.
    grid : Grid
        Where to.
    smooth_factor : float
        Multiplies the bandwidth of the smoothing; 0 switches it off.
    time_integrate : bool
        One layer for the whole run instead of one per hour.
    receptor : Receptor, optional
        Whose particles these are; trajectories know theirs.
    name : str
        Name to record.
    interpolate_early : bool
        Add rows in the first 100 minutes where particles typically cross more than a cell between two rows.
    transforms : iterable
        What was done to ``foot`` before, to record.
    settings_hash : str
        Fingerprint to record.

    Returns
    -------
    Footprint
        [ppm m2 s umol-1]; ``is_empty`` with a reason when nothing reaches the grid.

    Examples
    --------
    >>> from stilt.receptors import PointReceptor
    >>> particles = {"time": [-1, -1], "indx": [1, 2], "long": [0.2, 0.7], "lati": [0.5, 0.5], "foot": [1, 3]}
    >>> receptor = PointReceptor("2023-01-01 12:00", 0.5, 0.5, 5.0)
    >>> grid = Grid(xmin=0, xmax=1, ymin=0, ymax=1, xres=0.5, yres=0.5)
    >>> footprint = calc_footprint(particles, grid, receptor=receptor)
    >>> footprint.data.sum().item(), str(footprint.data.time.values[0])[:16]
    (2.0, '2023-01-01T11:00')
    """
    if not (math.isfinite(smooth_factor) and smooth_factor >= 0.0):
        raise FootprintError(f"smooth_factor = {smooth_factor} is no factor; give 0 (no smoothing) or more.")
    columns = ParticleColumns.prepare(trajectories, receptor)
    whose = receptor if receptor is not None else columns.receptor
    if whose is None:
        raise FootprintError("a particle table says nothing of the receptor time; give receptor= as well.")
    axes = GridAxes.of(grid)
    gridded = grid_particles(
        columns,
        axes,
        smooth_factor=smooth_factor,
        time_integrate=time_integrate,
        interpolate_early=interpolate_early,
    )
    facts: dict[str, Any] = {
        "name": name,
        "smooth_factor": float(smooth_factor),
        "transforms": tuple(transforms),
        "settings_hash": settings_hash,
        "engine": columns.provenance.get("engine", ""),
    }
    if gridded.values.shape[0] == 0:
        emptiness = explain(columns, axes, gridded.fractions)
        facts |= {"empty_reason": emptiness.reason, "empty_message": emptiness.message}
    return Footprint.from_gridded(gridded, axes, whose, time_integrate=time_integrate, **facts)
