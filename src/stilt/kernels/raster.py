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
def sort_pairs(keys, rows, n):
    """
    Sort the first ``n`` keys in place, rows along with them; equal keys in order of row (Shell's method).

    The groups sorted here hold some hundreds of rows, and numba's own sorts take seconds to compile.
    """
    gap = 1
    while gap < n // 3:
        gap = 3 * gap + 1
    while gap > 0:
        for i in range(gap, n):
            key = keys[i]
            row = rows[i]
            j = i
            while j >= gap and (keys[j - gap] > key or (keys[j - gap] == key and rows[j - gap] > row)):
                keys[j] = keys[j - gap]
                rows[j] = rows[j - gap]
                j -= gap
            keys[j] = key
            rows[j] = row
        gap //= 3


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
    return settle_cell(math.floor((x - start) / size), x, start, size)


@kernel
def settle_cell(k, x, start, size):
    """Return the largest k with ``start + k * size <= x``, from a guess that need not be exact."""
    while start + (k + 1) * size <= x:
        k += 1
    while start + k * size > x:
        k -= 1
    return k


@kernel
def fill_numbers(indx, first, present, slot):
    """
    Number the particles from 0 in order of ``indx``.

    Parameters
    ----------
    indx : ndarray, shape (n_rows,)
        Particle of each row; whole numbers, none below ``first``.
    first : int
        Smallest of them.
    present : ndarray of int32, shape (last - first + 1,)
        Zeros; is overwritten.
    slot : ndarray of int32, shape (n_rows,)
        Receives the number of the row's particle.

    Returns
    -------
    int
        How many particles there are.
    """
    for value in indx:
        present[int(value) - first] = 1
    count = 0
    for k in range(present.size):
        held = present[k]
        present[k] = count
        count += held
    for row in range(indx.size):
        slot[row] = present[int(indx[row]) - first]
    return count


@kernel
def common_steps(slot, time, lon, lat, sign, seen, starts):
    """
    Look whether rows come step by step, every particle from the first step on, as engines write them.

    Parameters
    ----------
    slot : ndarray of int32, shape (n_rows,)
        Particle of each row, from 0.
    time, lon, lat : ndarray, shape (n_rows,)
        Minutes, either sign, and position.
    sign : int
        Direction of the run, -1 or +1.
    seen : ndarray of bool, shape (n_particles,)
        False throughout; is overwritten.
    starts : ndarray of int64, shape (n_rows + 1,)
        Receives where each step begins, and at last the number of rows.

    Returns
    -------
    int
        Number of steps; -1 when rows have another order, a number is missing, or a particle starts later.
    """
    n = slot.size
    steps = 0
    born = 0
    for row in range(n):
        # one sum is not finite when any of its parts is not
        if not math.isfinite(time[row] + lon[row] + lat[row]):
            return -1
        if row == 0 or time[row] != time[row - 1]:
            if row > 0 and sign * time[row] < sign * time[row - 1]:
                return -1
            starts[steps] = row
            steps += 1
        elif slot[row] < slot[row - 1]:
            return -1
        if not seen[slot[row]]:
            if steps > 1:
                return -1
            seen[slot[row]] = True
            born += 1
    starts[steps] = n
    return steps if born == seen.size else -1


@kernel
def layer_of(time, mode, shift, edges):
    """
    Return which layer of a footprint a time falls into.

    Parameters
    ----------
    time : float
        Minutes from the receptor time, either sign.
    mode : int
        0 one layer for all, 1 hours, 2 bins.
    shift : float
        Minutes the receptor time lies after the origin that hours and bins are counted from.
    edges : ndarray, shape (n_bins + 1,)
        Edges of the bins [min from the origin], ascending; not looked at in other modes.

    Returns
    -------
    int
        Hour or bin, lower edge included; :data:`OUTSIDE` beyond the bins.
    """
    if mode == 0:
        return 0
    if mode == 1:
        return math.floor((time + shift) / 60.0)
    when = time + shift
    if not (when >= edges[0] and when < edges[-1]):
        return OUTSIDE
    return np.searchsorted(edges, when, side="right") - 1


@kernel
def first_reaching(ages, offsets, x, y, foot, half_widths, frame, map_shape, is_cyclic):
    """
    Find the first of some ages that has a row whose kernel reaches the map.

    Parameters
    ----------
    ages : ndarray of int64, shape (n,)
        Ages to look at, in this order.
    offsets : ndarray of int64, shape (n_ages + 1,)
        Where each age begins.
    x, y, foot : ndarray, shape (n_rows,)
        Position [units of the grid] and surface influence, by age.
    half_widths : ndarray of int64, shape (2, n_ages)
        Cells the kernel of each age reaches to either side (x, y).
    frame : tuple
        As in :func:`stilt.kernels.smoothing.stamp_ages`.
    map_shape : tuple of two ints
        Cells in x and y.
    is_cyclic : bool
        Whether the map closes on itself in x.

    Returns
    -------
    int
        The age; -1 when none has.
    """
    low, high, start, size, pad = frame
    nx, ny = map_shape
    per_x = 1.0 / size[0]
    per_y = 1.0 / size[1]
    for g in ages:
        hx = half_widths[0, g]
        hy = half_widths[1, g]
        for row in range(offsets[g], offsets[g + 1]):
            if not (foot[row] > 0.0 and x[row] >= low[0] and x[row] < high[0]):
                continue
            if not (y[row] >= low[1] and y[row] < high[1]):
                continue
            ix = settle_cell(math.floor((x[row] - start[0]) * per_x), x[row], start[0], size[0]) - pad[0]
            iy = settle_cell(math.floor((y[row] - start[1]) * per_y), y[row], start[1], size[1]) - pad[1]
            if iy >= -hy and iy < ny + hy and (is_cyclic or (ix >= -hx and ix < nx + hx)):
                return g
    return -1
