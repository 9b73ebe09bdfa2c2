"""Where the domain ends, and what can become of a particle."""

from __future__ import annotations

import numpy as np

from stilt.kernels.compiler import kernel

F = np.float32

ACTIVE = 0
LEFT_WEST, LEFT_EAST, LEFT_SOUTH, LEFT_NORTH = 1, 2, 3, 4
"""The particle left the met grid across that side."""
NEEDS_COLUMNS = 5
"""A tile of columns is not loaded; the particle waits where it is."""

EXIT_NAMES = {LEFT_WEST: "west", LEFT_EAST: "east", LEFT_SOUTH: "south", LEFT_NORTH: "north"}


@kernel(allocates=False)
def side_left(x, y, grid):
    """
    Test a particle at the start of a step: within two cells of an edge it is finished.

    Parameters
    ----------
    x, y : float
        1-based grid coordinates.
    grid : GridShape
        The horizontal grid; a cyclic one has no western or eastern edge.

    Returns
    -------
    int
        ACTIVE or the side.
    """
    if not grid.is_cyclic:
        if int(x) < 2:
            return LEFT_WEST
        if int(x) >= grid.nx - 2:
            return LEFT_EAST
    if not grid.is_global:
        if int(y) < 2:
            return LEFT_SOUTH
        if int(y) >= grid.ny - 2:
            return LEFT_NORTH
    return ACTIVE


@kernel(allocates=False)
def side_outside(x, y, grid):
    """
    Test a position inside a step: beyond the outermost columns it cannot be looked up.

    Coordinates count from ``grid.west`` and ``grid.south``.
    """
    if not grid.is_cyclic:
        if x < F(1 - grid.west):
            return LEFT_WEST
        if x > F(grid.nx - grid.west):
            return LEFT_EAST
    if not grid.is_global:
        if y < F(1 - grid.south):
            return LEFT_SOUTH
        if y > F(grid.ny - grid.south):
            return LEFT_NORTH
    return ACTIVE


WRAPPED_BELOW = F(0.95)
"""Least x of a cyclic grid: the program counts on a little west of the first column, to 0.9 or 0.97."""


@kernel(allocates=False)
def wrap_x(x, grid):
    """Bring x of a cyclic grid into [0.95, nx + 1), as the program does but for the exact limit."""
    if grid.is_cyclic:
        if x < WRAPPED_BELOW:
            x = x + grid.nx
        elif x >= grid.nx + 1.0:
            x = x - grid.nx
    return x


@kernel(allocates=False)
def lookup_x(x, grid):
    """Bring x of a cyclic grid, however many turns it counts, to where columns are."""
    if grid.is_cyclic:
        # a float32 turn keeps the type of x
        turn = F(grid.nx)
        while x < F(0.0):
            x = x + turn
        while x >= turn + F(1.0):
            x = x - turn
    return x


@kernel(allocates=False)
def fold_at_pole(x, y, grid):
    """
    Bring a point beyond a pole row back down on the other side of the pole.

    Parameters
    ----------
    x, y : float
        1-based grid coordinates.
    grid : GridShape
        The horizontal grid; only a global one has poles.

    Returns
    -------
    x, y : float
        The point.
    crossed : bool
        Whether it lay beyond a pole; directions along the grid then turn round.
    """
    if grid.is_global:
        if y > grid.ny:
            return x + grid.nx / 2, 2 * grid.ny - y, True
        if y < 1.0:
            return x + grid.nx / 2, 2 - y, True
    return x, y, False
