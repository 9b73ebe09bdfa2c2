"""
Why a footprint is empty, in a word for scripts and a sentence for people.

An empty footprint is a result. It has no NetCDF file but a small JSON marker, so
that a simulation whose plume never met the surface inside the grid is complete and says so.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from stilt.footprint.axes import GridAxes
from stilt.footprint.particles import ParticleColumns


class EmptyReason(StrEnum):
    """Why nothing reached the grid, in words that scripts may rely on."""

    ABOVE_PBL = "above_pbl"
    OUTSIDE_GRID = "outside_grid"
    NO_PARTICLES = "no_particles"


@dataclass(frozen=True)
class Emptiness:
    """
    What is known about an empty footprint.

    Attributes
    ----------
    reason : EmptyReason
        ``above_pbl``: no row has surface influence. ``outside_grid``: some do, none of them reaches the
        grid. ``no_particles``: there are no rows.
    message : str
        One sentence.
    fractions : dict of float
        Shares of the particle rows: ``inside`` the grid, with ``surface_influence``, ``both``.
    """

    reason: EmptyReason
    message: str
    fractions: dict[str, float] = field(default_factory=dict)


def explain(columns: ParticleColumns, axes: GridAxes, fractions: dict[str, float]) -> Emptiness:
    """
    Say why a footprint is empty.

    Parameters
    ----------
    columns : ParticleColumns
        Particles that put nothing on the grid.
    axes : GridAxes
        Where the cells lie.
    fractions : dict of float
        Shares of the rows inside, with influence, and both.

    Returns
    -------
    Emptiness
    """
    if len(columns) == 0:
        return Emptiness(EmptyReason.NO_PARTICLES, "there are no particle rows to grid", fractions)
    reached = columns.foot > 0.0
    rows = f"{len(columns)} rows of {columns.n_particles} particles"
    if not reached.any():
        message = (
            f"none of the {rows} has surface influence, so the plume stayed above the mixed layer; "
            f"{fractions.get('inside', 0.0):.1%} of the rows lie inside the grid"
        )
        return Emptiness(EmptyReason.ABOVE_PBL, message, fractions)
    lon = axes.map_longitude(columns.lon)[reached]
    lat = columns.lat[reached]
    share = fractions.get("surface_influence", 0.0)
    message = (
        f"{share:.1%} of the {rows} have surface influence, none on the grid: "
        f"between {np.min(lon):.4g} and {np.max(lon):.4g} E, {np.min(lat):.4g} and {np.max(lat):.4g} N; "
        f"{fractions.get('inside', 0.0):.1%} of the rows lie inside the grid"
    )
    return Emptiness(EmptyReason.OUTSIDE_GRID, message, fractions)
