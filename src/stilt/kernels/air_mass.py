r"""
Mass of the air a particle stands for: how far the winds of a file are from conserving mass.

Winds brought onto a grid do not fit the density they carry about exactly. STILT (Lin et al. 2003) lets
the mass of a particle drift with that misfit, and ``hycs_std`` prints it as ``dmas``. The misfit is
counted in boxes between four columns and two internal levels, the lowest between the ground, where the
air is at rest, and the first level. What is added up was read off the program's output
(``design/2026-11-30-mass-column.md``), two oddities included: at the end of a step the divergence is
divided by density once more, and the change of density with time counts the wrong way there in backward
runs.

A run without the column hands None instead of an `AirMass` to the time loop, which is then compiled
without a trace of it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from stilt.constants import MAX_MASS_HYSPLIT
from stilt.kernels import layout
from stilt.kernels.compiler import kernel
from stilt.kernels.interpolation import bilinear, column_index

F = np.float32
N = np.uint64
_ZERO, _ONE, _HALF = F(0.0), F(1.0), F(0.5)
_QUARTER, _EIGHTH = F(0.25), F(0.125)
_LARGEST = F(MAX_MASS_HYSPLIT)
_PER_LEVEL = N(layout.PER_LEVEL)


class AirMass(NamedTuple):
    """What following the mass takes beside the ensemble: one per thread."""

    rate: np.ndarray
    """float32, shape (2, n_levels): growth in each box at the start and the end of a step [min-1]."""
    stamp: np.ndarray
    """int64, shape (2, n_levels): the step a rate was found in."""
    across_seam: np.ndarray
    """bool, shape (2,): whether the boxes of the start and the end of a step span the seam of the globe."""
    interval: np.float32
    """Minutes between the analyses around the step."""


def new_air_mass(n_levels: int) -> AirMass:
    """Make the working memory of one thread."""
    return AirMass(
        np.zeros((2, n_levels), dtype=np.float32),
        np.full((2, n_levels), -1, dtype=np.int64),
        np.zeros(2, dtype=np.bool_),
        F(60.0),
    )


@kernel(allocates=False)
def is_across_seam(x, grid):
    """Tell whether the box around a point lies between the last column of a cyclic grid and the first."""
    return grid.is_cyclic and column_index(int(x) + grid.west, grid.nx, True) == grid.nx


@kernel(allocates=False, forceinline=False)
def box_divergence(values, a00, a10, a01, a11, levels, box):
    r"""
    Return the divergence of the mass flux of one box at one analysis.

    Parameters
    ----------
    values : ndarray of float32
        Prepared columns (see :mod:`stilt.kernels.layout`).
    a00, a10, a01, a11 : uint64
        Offsets of the columns around the box, south-west, south-east, north-west, north-east.
    levels : Levels
        Internal levels.
    box : int
        Which box of the column, 0 the one on the ground; its top is level ``box`` (0-based).

    Returns
    -------
    float32
        Share of its air that leaves the box [min-1], the same anywhere in it.

    Notes
    -----
    .. math::
        \frac{1}{\bar\rho} \left(\frac{\Delta_x \overline{\rho H u} + \Delta_y \overline{\rho H v}}
        {\bar H} + \frac{\Delta_\sigma \overline{\rho w}}{\Delta\sigma}\right)

    with winds in cells (or sigma) per minute, H the depth of the coordinate and the bars means over the
    corners of a face or of the box.
    """
    base = N(levels.sigma.size) * _PER_LEVEL
    top = N(box) * _PER_LEVEL
    along_x, along_y, upward, mass, depth = _ZERO, _ZERO, _ZERO, _ZERO, _ZERO
    below = _ONE if box == 0 else levels.sigma[N(box - 1)]
    for corner in range(4):
        east = corner == 1 or corner == 3
        north = corner >= 2
        column = (a11 if east else a01) if north else (a10 if east else a00)
        h = levels.top - values[column + base + N(layout.TERRAIN)]
        at = column + top
        density = values[at + N(layout.DENSITY)]
        flux_x = density * values[at + N(layout.U)]
        flux_y = density * values[at + N(layout.V)]
        upward += density * values[at + N(layout.W)]
        mass += density
        depth += h
        if box == 0:
            mass += values[column + base + N(layout.GROUND_DENSITY)]
        else:
            at = at - _PER_LEVEL
            density = values[at + N(layout.DENSITY)]
            flux_x += density * values[at + N(layout.U)]
            flux_y += density * values[at + N(layout.V)]
            upward -= density * values[at + N(layout.W)]
            mass += density
        along_x += h * flux_x if east else -h * flux_x
        along_y += h * flux_y if north else -h * flux_y
    # two levels and two columns to a face, four columns to the depth
    horizontal = (along_x + along_y) / depth
    vertical = upward * _QUARTER / (levels.sigma[N(box)] - below)
    return (horizontal + vertical) / (mass * _EIGHTH)


@kernel(allocates=False, forceinline=False)
def box_growth(a, b, place, levels, box, time_sign, interval, across_seam, at_end):
    """
    Return how fast the mass of a particle grows in a box.

    Parameters
    ----------
    a, b : Columns
        The analyses around the step.
    place : Place
        Where the particle is at the start or, moved by the mean wind, at the end of the step.
    levels : Levels
        Internal levels.
    box : int
        Which box of the column (see `box_divergence`).
    time_sign : float32
        -1 backward, +1 forward.
    interval : float32
        Minutes between the analyses.
    across_seam : bool
        Whether the box lies across the seam of the globe, where the program finds no divergence.
    at_end : bool
        Whether it is the end of the step.

    Returns
    -------
    float32
        Relative growth [min-1].
    """
    divergence = _ZERO
    if not across_seam:
        first = box_divergence(a.values, place.a00, place.a10, place.a01, place.a11, levels, box)
        second = box_divergence(b.values, place.b00, place.b10, place.b01, place.b11, levels, box)
        divergence = (second - first) * place.tf + first
    at = N(box) * _PER_LEVEL + N(layout.DENSITY)
    before = bilinear(
        a.values, place.a00 + at, place.a10 + at, place.a01 + at, place.a11 + at, place.fx, place.fy
    )
    after = bilinear(
        b.values, place.b00 + at, place.b10 + at, place.b01 + at, place.b11 + at, place.fx, place.fy
    )
    mean = _HALF * (before + after)
    change = (after - before) / interval
    if at_end:
        return time_sign * (divergence + change) / mean
    return time_sign * divergence + change / mean


@kernel(allocates=False)
def growth_at(air, at_end, a, b, place, levels, box, time_sign, stamp):
    """Return the growth in a box at the start or the end of a step, found once per step."""
    end = 1 if at_end else 0
    if air.stamp[end, box] != stamp:
        air.stamp[end, box] = stamp
        air.rate[end, box] = box_growth(
            a, b, place, levels, box, time_sign, air.interval, air.across_seam[end], at_end
        )
    return air.rate[end, box]


@kernel(allocates=False)
def grown(mass, rate, minutes):
    """Return a mass after some minutes at a rate of growth [min-1]."""
    return mass * (_ONE + rate * minutes)


@kernel(allocates=False)
def bounded(mass):
    """Return a mass at the end of a step, at most what the program lets it grow to."""
    return min(_LARGEST, mass)


@kernel(allocates=False)
def box_of_sigma(levels, sigma):
    """Return the box a height lies in; one on a level counts as below it."""
    n = levels.sigma.size
    box = 0
    while box < n - 1 and levels.sigma[box] > sigma:
        box += 1
    return box
