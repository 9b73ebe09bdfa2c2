"""
Which group and which cell of a map each particle row falls into.

Cells are half-open, lower edge included. Their edges are ``start + k * size`` as
floating point numbers give them, because positions printed with four decimals
lie on edges of ordinary grids by the thousand and have to fall on the same side
as in STILT-R.
"""

from __future__ import annotations

import math

import numpy as np

from stilt.kernels.compiler import kernel

OUTSIDE = -(2**31)
"""Cell index of a row that cannot contribute."""


@kernel
def order_by_group(group, n_groups):
    """
    Return where each group begins and the rows in order of group (stable counting sort).

    Parameters
    ----------
    group : ndarray of int, shape (n_rows,)
        Group of each row, 0 to n_groups - 1; negative rows are left out.
    n_groups : int
        Number of groups.

    Returns
    -------
    offsets : ndarray of int64, shape (n_groups + 1,)
    order : ndarray of int64, shape (n_kept,)
    """
    offsets = np.zeros(n_groups + 1, dtype=np.int64)
    for g in group:
        if g >= 0:
            offsets[g + 1] += 1
    for g in range(n_groups):
        offsets[g + 1] += offsets[g]
    order = np.empty(offsets[n_groups], dtype=np.int64)
    at = offsets[:n_groups].copy()
    for row in range(group.size):
        g = group[row]
        if g >= 0:
            order[at[g]] = row
            at[g] += 1
    return offsets, order


@kernel
def is_ascending(offsets, order, values):
    """Tell whether ``values`` never fall within any group."""
    for p in range(offsets.size - 1):
        for k in range(offsets[p] + 1, offsets[p + 1]):
            if not (values[order[k]] >= values[order[k - 1]]):
                return False
    return True


@kernel
def match_ascending(offsets, values, known, out):
    """
    Find each value in a list of known ones by walking both in step.

    Parameters
    ----------
    offsets : ndarray of int64, shape (n_particles + 1,)
        Where each particle begins.
    values : ndarray, shape (n_rows,)
        Ascending within a particle.
    known : ndarray, shape (n_known,)
        Ascending.
    out : ndarray of int32, shape (n_rows,)
        Receives the index in ``known``.

    Returns
    -------
    bool
        False as soon as a value is not among the known ones.
    """
    for p in range(offsets.size - 1):
        k = 0
        for row in range(offsets[p], offsets[p + 1]):
            while k < known.size and known[k] < values[row]:
                k += 1
            if k == known.size or known[k] != values[row]:
                return False
            out[row] = k
    return True


@kernel
def cell_index(x, start, size):
    """Return the largest k with ``start + k * size <= x``."""
    k = math.floor((x - start) / size)
    while start + (k + 1) * size <= x:
        k += 1
    while start + k * size > x:
        k -= 1
    return k


@kernel
def assign_cells(x, y, foot, low, high, start, size, pad, out):
    """
    Give every row that can reach the map its cell, counted from the first cell of the map.

    Parameters
    ----------
    x, y : ndarray, shape (n_rows,)
        Position [units of the grid].
    foot : ndarray, shape (n_rows,)
        Surface influence; rows where it is not above zero are left out.
    low, high : tuple of two floats
        Rows within [low, high) in both axes count (x, y).
    start, size : tuple of two floats
        First edge of the padded map and cell size (x, y).
    pad : tuple of two ints
        Cells between the first edge of the padded map and that of the map (x, y).
    out : ndarray of int32, shape (2, n_rows)
        Receives the cell (x, y), negative or past the end for cells of the margin; :data:`OUTSIDE` for a
        row left out.

    Returns
    -------
    int
        How many rows count.
    """
    count = 0
    for row in range(x.size):
        out[0, row] = OUTSIDE
        out[1, row] = OUTSIDE
        if not (foot[row] > 0.0):
            continue
        if not (x[row] >= low[0] and x[row] < high[0] and y[row] >= low[1] and y[row] < high[1]):
            continue
        out[0, row] = cell_index(x[row], start[0], size[0]) - pad[0]
        out[1, row] = cell_index(y[row], start[1], size[1]) - pad[1]
        count += 1
    return count
