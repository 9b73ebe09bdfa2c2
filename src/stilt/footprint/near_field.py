"""
The near-field correction of trajectories: a shallower mixing depth while the plume is young.

It is applied once, before trajectories are stored, and can be applied again
without harm: the original influence is kept in ``foot_no_hnf_dilution``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stilt.errors import FootprintError
from stilt.footprint.particles import column, number_particles
from stilt.kernels.near_field import dilute_near_field
from stilt.kernels.raster import is_ascending, order_by_group
from stilt.receptors import Receptor
from stilt.trajectory import Trajectories
from stilt.transforms.apply import ORIGINAL as BEFORE_TRANSFORMS

FloatArray = NDArray[np.float64]
Mode = Literal["rstilt", "taylor"]
Particles = TypeVar("Particles", Trajectories, pd.DataFrame)

ORIGINAL = "foot_no_hnf_dilution"
"""Column that keeps the influence as the engine gave it."""


def correct_near_field(
    trajectories: Particles,
    veght: float = 0.5,
    *,
    mode: Mode = "rstilt",
    receptor: Receptor | None = None,
) -> Particles:
    """
    Dilute the surface influence near the receptor into the plume instead of half the mixed layer.

    Parameters
    ----------
    trajectories : Trajectories or DataFrame
        Needs ``time indx foot dens samt sigw tlgr mlht``; the release height is taken from ``xhgt``
        where present, else from the receptor. Heights above sea level also need ``zsfc``. A table
        needs ``receptor`` unless it has ``xhgt`` above ground.
    veght : float
        Depth surface fluxes are mixed into: a fraction of the mixed layer up to 1, metres above 1.
    mode : {"rstilt", "taylor"}
        How the plume grows: summed over the steps as STILT-R does, or by Taylor's formula.
    receptor : Receptor, optional
        Where the particles were released; trajectories know theirs.

    Returns
    -------
    Trajectories or DataFrame
        The same kind with a new ``foot`` and the old one in ``foot_no_hnf_dilution``. Applying it again
        starts from ``foot_no_hnf_dilution``, so nothing is corrected twice. Where transforms have been
        applied before, the influence without them (``foot_before_weight``) is corrected and ``foot`` keeps
        the weights they gave it.
    """
    if not (np.isfinite(veght) and veght > 0.0):
        raise FootprintError(
            f"veght = {veght} is no depth; give a fraction of the mixed layer or metres above 1."
        )
    if mode not in ("rstilt", "taylor"):
        raise FootprintError(f"hnf_mode = {mode!r} is unknown; use rstilt or taylor.")
    if isinstance(trajectories, Trajectories):
        table = trajectories.data
        receptor = trajectories.receptor if receptor is None else receptor
    else:
        table = trajectories
    is_weighted = BEFORE_TRANSFORMS in table.columns
    source = ORIGINAL if ORIGINAL in table.columns else BEFORE_TRANSFORMS if is_weighted else "foot"
    original = table[source]
    corrected = near_field_influence(
        {name: column(table, name) for name in ("time", "indx", "dens", "samt", "sigw", "tlgr", "mlht")},
        column(table, source),
        release_height(table, receptor),
        veght,
        mode,
    )
    dtype = original.dtype if original.dtype in (np.float32, np.float64) else np.dtype(np.float64)
    corrected = corrected.astype(dtype, copy=False)
    changed = table.assign(foot=corrected, **{ORIGINAL: original.to_numpy()})
    if is_weighted:
        before = column(table, BEFORE_TRANSFORMS)
        weight = np.divide(column(table, "foot"), before, out=np.ones(before.size), where=before != 0.0)
        changed = changed.assign(foot=corrected * weight, **{BEFORE_TRANSFORMS: corrected})
    if ORIGINAL not in table.columns and "datetime" in changed.columns:
        changed = changed[[name for name in changed.columns if name != "datetime"] + ["datetime"]]
    return trajectories.with_data(changed) if isinstance(trajectories, Trajectories) else changed


def near_field_influence(
    columns: Mapping[str, FloatArray],
    foot: FloatArray,
    release: FloatArray,
    veght: float,
    mode: Mode = "rstilt",
) -> FloatArray:
    """
    Return the corrected influence of each row, in the order of the rows.

    Parameters
    ----------
    columns : mapping of ndarray, each shape (n_rows,)
        ``time`` [min], ``indx``, ``dens`` [kg m-3], ``samt`` [min], ``sigw`` [m s-1], ``tlgr`` [s],
        ``mlht`` [m AGL].
    foot : ndarray, shape (n_rows,)
        Influence to correct [ppm / (umol m-2 s-1)].
    release : ndarray, shape (n_rows,)
        Release height of the row's particle [m AGL].
    veght, mode
        As in :func:`correct_near_field`.

    Returns
    -------
    ndarray, shape (n_rows,)
    """
    offsets, order = _by_particle_and_age(columns["indx"], columns["time"])
    out = np.array(foot, dtype=np.float64)
    dilute_near_field(
        offsets,
        order,
        columns["time"],
        columns["samt"],
        columns["sigw"],
        columns["tlgr"],
        columns["dens"],
        columns["mlht"],
        release,
        veght,
        mode == "taylor",
        np.asarray(foot, dtype=np.float64),
        out,
    )
    return out


def release_height(table: Any, receptor: Receptor | None) -> FloatArray:
    """
    Return the height above ground each row's particle was released at.

    Parameters
    ----------
    table : DataFrame
        Particle rows; ``xhgt`` is used where present.
    receptor : Receptor or None
        Gives the height otherwise, and says what heights refer to.

    Returns
    -------
    ndarray, shape (n_rows,)
        Height [m AGL], not below 0. Heights above sea level have the terrain height ``zsfc`` of
        the particle's first row subtracted.
    """
    n_rows = len(table)
    if "xhgt" in table:
        heights = column(table, "xhgt")
    elif receptor is None:
        raise FootprintError(
            "the near-field correction needs release heights: give receptor=, or a table with xhgt."
        )
    elif receptor.kind == "point":
        heights = np.full(n_rows, receptor.altitudes[0])
    else:
        raise FootprintError(
            f"the particle table lacks the column xhgt, which the near-field correction needs for a "
            f"{receptor.kind} receptor ({receptor.id})."
        )
    if receptor is None or receptor.altitude_ref == "agl":
        return heights
    if "zsfc" not in table:
        raise FootprintError(
            f"the particle table lacks the column zsfc, which the near-field correction needs for heights "
            f"above sea level ({receptor.id}). Add zsfc to varsiwant, give heights above ground, or switch "
            "hnf_plume off."
        )
    slot, n_particles = number_particles(column(table, "indx"))
    offsets, order = _by_particle_and_age(column(table, "indx"), column(table, "time"))
    ground = np.zeros(n_particles)
    held = np.diff(offsets) > 0
    ground[held] = column(table, "zsfc")[order[offsets[:-1][held]]]
    return np.maximum(heights - ground[slot], 0.0)


def _by_particle_and_age(indx: FloatArray, time: FloatArray) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Order rows by particle and by time since release; rows without a time are left out."""
    slot, n_particles = number_particles(indx)
    age = np.abs(time)
    offsets, order = order_by_group(np.where(np.isnan(age), -1, slot), n_particles)
    if not is_ascending(offsets, order, age):
        order = order[np.lexsort((age[order], slot[order]))]
    return offsets, order
