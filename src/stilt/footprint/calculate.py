"""
The whole way from particles to a footprint, as one function.

::

    table -> transforms -> sorted columns -> densify -> project -> cells and bandwidths -> stamp -> Footprint
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from stilt.errors import FootprintError
from stilt.footprint.axes import GridAxes
from stilt.footprint.empties import explain
from stilt.footprint.gridding import Smoothing, grid_particles
from stilt.footprint.layers import Align, Layers
from stilt.footprint.near_field import correct_near_field
from stilt.footprint.particles import ParticleColumns
from stilt.footprint.product import Footprint
from stilt.receptors import PointReceptor, Receptor
from stilt.spatial import Grid
from stilt.transforms import apply_transforms, changes_influence_only, describe, resolve


def calc_footprint(
    trajectories: Any,
    grid: Grid,
    *,
    smooth_factor: float = 1.0,
    time_integrate: bool = False,
    receptor: Receptor | None = None,
    smoothing: Smoothing = "rstilt",
    align: Align = "receptor",
    time_bins: Sequence[Any] | None = None,
    transforms: Iterable[Any] = (),
    name: str = "",
    interpolate_early: bool = True,
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
    smoothing : {"rstilt", "consistent"}
        How the bandwidth is computed: as STILT-R does, in units of the grid; or in kilometres, so that it
        does not depend on the projection or on degrees of longitude.
    align : {"receptor", "clock"}
        What hours are counted from: the receptor time, or the full hour at or before it. It matters for
        receptors at minutes other than 00.
    time_bins : sequence of float or datetime, optional
        Edges of the layers instead of hours: hours from the receptor time (with ``align="clock"`` from its
        full hour), or instants [UTC]. Influence beyond them is left out; bins without any are zero layers.
    transforms : iterable
        What happens to the particles first, in order: sections of a config or mappings like them, import
        paths, or functions; see :func:`stilt.transforms.apply_transforms`.
    name : str
        Name to record.
    interpolate_early : bool
        Add rows in the first 100 minutes where particles typically cross more than a cell between two rows.
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
    steps = resolve(transforms)
    columns = _prepared(trajectories, receptor, steps)
    whose = receptor if receptor is not None else columns.receptor
    if whose is None:
        raise FootprintError("a particle table says nothing of the receptor time; give receptor= as well.")
    layers = Layers.of(whose.time, time_integrate=time_integrate, align=align, time_bins=time_bins)
    axes = GridAxes.of(grid)
    gridded = grid_particles(
        columns,
        axes,
        layers,
        smooth_factor=smooth_factor,
        smoothing=smoothing,
        interpolate_early=interpolate_early,
    )
    facts: dict[str, Any] = {
        "name": name,
        "smooth_factor": float(smooth_factor),
        "smoothing": smoothing,
        "align": align,
        "time_bins": layers.edges or None,
        "transforms": tuple(describe(step) for step in steps),
        "settings_hash": settings_hash,
        "engine": columns.provenance.get("engine", ""),
    }
    if gridded.values.shape[0] == 0:
        emptiness = explain(columns, axes, gridded.fractions)
        facts |= {"empty_reason": emptiness.reason, "empty_message": emptiness.message}
    return Footprint.from_gridded(gridded, axes, whose, layers, time_integrate=time_integrate, **facts)


def _prepared(trajectories: Any, receptor: Receptor | None, steps: Sequence[Any]) -> ParticleColumns:
    """Return sorted columns after the transforms, keeping the sorting where only the influence changes."""
    if not steps:
        return ParticleColumns.prepare(trajectories, receptor)
    if isinstance(trajectories, ParticleColumns) and trajectories.table is None:
        raise FootprintError("these particle columns have lost their table, which transforms need.")
    columns = None
    table = trajectories
    if isinstance(trajectories, ParticleColumns):
        columns, table = trajectories, trajectories.table
        receptor = columns.receptor if receptor is None else receptor
    changed = apply_transforms(table, steps, receptor=receptor)
    if columns is not None and changes_influence_only(steps):
        return columns.with_foot(np.asarray(changed["foot"]))
    made = ParticleColumns.prepare(changed, receptor)
    return made if columns is None else replace(made, provenance=columns.provenance)


def warm_up() -> None:
    """Compile every kernel of this package, or load it from the cache, so that workers need not."""
    receptor = PointReceptor(datetime(2000, 1, 1), 0.0, 0.0, 5.0)
    ones = np.ones(4)
    names = ("foot", "dens", "samt", "sigw", "tlgr", "mlht")
    table = pd.DataFrame(
        {
            "time": [-1.0, -2.0, -1.0, -2.0],
            "indx": np.array([1, 1, 2, 2], dtype=np.int32),
            "long": [0.1, 0.5, 0.2, 0.6],
            "lati": [0.1, 0.5, 0.2, 0.6],
            **dict.fromkeys(names, ones),
        }
    )
    grid = Grid(xmin=0, xmax=1, ymin=0, ymax=1, xres=0.1, yres=0.1)
    corrected = correct_near_field(table, receptor=receptor)
    for minutes in (table["time"], table["time"] * table["indx"]):  # in order already, and not
        particles = corrected.assign(time=minutes)
        calc_footprint(particles, grid, receptor=receptor, smooth_factor=9.0)
        calc_footprint(particles.astype({"indx": np.int64}), grid, receptor=receptor)
    calc_footprint(corrected, grid, receptor=receptor, smoothing="consistent")
