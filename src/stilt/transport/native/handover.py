r"""
What a particle keeps when it goes on in another meteorology.

Two models differ in grid, terrain and levels, so position, height and velocities are told anew
(``design/2026-11-22-nesting.md``).

Height: terrain of two models differs by hundreds of metres in mountains. Near the ground what matters
is the height above it, which decides whether a particle is in the mixed layer and feels the surface;
aloft what matters is the height above sea level, since air there does not know how a model smooths its
mountains. Both are kept, with the levels of hybrid coordinates in between: a surface of constant
:math:`\zeta` lies at

.. math:: z_{msl} = \zeta + t \, B(\zeta), \quad
          B = \begin{cases} 1 & \zeta \le 3\,\mathrm{km} \\
                            (12\,\mathrm{km} - \zeta) / 9\,\mathrm{km} & \\
                            0 & \zeta \ge 12\,\mathrm{km} \end{cases}

above terrain :math:`t`, and a particle keeps its :math:`\zeta`. So it comes back to the height it had
when it comes back, and over three meteorologies goes to the height it would go to from the first to
the last.
"""

from __future__ import annotations

import numpy as np

from stilt.kernels.layout import Levels
from stilt.meteorology.projection import HorizontalGrid

KEEPS_AGL_TO = 3000.0
"""Height above ground up to which it is kept [m AGL]; few mixed layers are deeper."""

KEEPS_MSL_FROM = 12000.0
"""Height above sea level from which it is kept [m MSL]."""

_NEARBY = 0.05
"""Length of the arrow that tells how two grids lie to each other [cells]."""


def carried_height(agl: np.ndarray, terrain: np.ndarray, other: np.ndarray) -> np.ndarray:
    """
    Tell heights above the terrain of one model as heights above that of another.

    Parameters
    ----------
    agl : ndarray of float64
        Heights above the first terrain [m AGL].
    terrain, other : ndarray of float64
        The two terrains [m MSL], below 9 km.

    Returns
    -------
    ndarray of float64
        Heights above ``other`` [m AGL].
    """
    span = KEEPS_MSL_FROM - KEEPS_AGL_TO
    between = (agl - terrain * KEEPS_AGL_TO / span) / (1.0 - terrain / span)
    zeta = np.where(
        agl <= KEEPS_AGL_TO, agl, np.where(agl + terrain >= KEEPS_MSL_FROM, agl + terrain, between)
    )
    follows = np.clip((KEEPS_MSL_FROM - zeta) / span, 0.0, 1.0)
    return np.asarray(zeta - other * (1.0 - follows))


def turn_between(
    grid: HorizontalGrid, other: HorizontalGrid, x: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """
    Find how the axes of two grids lie to each other.

    Parameters
    ----------
    grid, other : HorizontalGrid
        The grids.
    x, y : ndarray
        1-based coordinates in the first.

    Returns
    -------
    cosine, sine : ndarray
        A vector (u, v) along the first grid's axes is (u cosine - v sine, u sine + v cosine) along the
        other's.
    """
    x0, y0 = other.to_xy(*grid.to_lonlat(x - _NEARBY, y))
    x1, y1 = other.to_xy(*grid.to_lonlat(x + _NEARBY, y))
    dx, dy = x1 - x0, y1 - y0
    if other.is_cyclic:
        dx = (dx + 0.5 * other.nx) % other.nx - 0.5 * other.nx
    gx, gy = other.spacing(0.5 * (x0 + x1), np.clip(0.5 * (y0 + y1), 1.0, other.ny))
    east, north = dx * gx, dy * gy
    length = np.hypot(east, north)
    # at a pole a grid of meridians has no direction
    known = np.isfinite(length) & (length > 0.0)
    length = np.where(known, length, 1.0)
    return np.where(known, east / length, 1.0), np.where(known, north / length, 0.0)


def carried_errors(
    errors: np.ndarray,
    levels: Levels,
    terrain: np.ndarray,
    other: Levels,
    other_terrain: np.ndarray,
    length: float,
) -> np.ndarray:
    """
    Tell the profiles of wind errors at the levels of another meteorology.

    Parameters
    ----------
    errors : ndarray of float32, shape (n, 2, n_levels)
        Normalised errors of u and v.
    levels, other : Levels
        The two sets of levels.
    terrain, other_terrain : ndarray, shape (n,)
        The two terrains [m MSL].
    length : float
        Correlation length of the errors in height [m].

    Returns
    -------
    ndarray of float32, shape (n, 2, n_other_levels)
        Interpolated in height above ground and scaled so that the variance stays 1.
    """
    if np.array_equal(levels.sigma, other.sigma) and levels.top == other.top:
        return errors.copy()
    out = np.empty((*errors.shape[:2], other.sigma.size), dtype=np.float32)
    for p in range(errors.shape[0]):
        have = (1.0 - levels.sigma.astype(float)) * (float(levels.top) - terrain[p])
        want = (1.0 - other.sigma.astype(float)) * (float(other.top) - other_terrain[p])
        low = np.clip(np.searchsorted(have, want, side="right") - 1, 0, have.size - 2)
        gap = have[low + 1] - have[low]
        part = np.clip((want - have[low]) / gap, 0.0, 1.0)
        shared = np.exp(-gap / length)
        spread = np.sqrt((1.0 - part) ** 2 + part**2 + 2.0 * part * (1.0 - part) * shared)
        out[p] = ((1.0 - part) * errors[p][:, low] + part * errors[p][:, low + 1]) / spread
    return out
