"""
More points along the first minutes of a path than the engine wrote.

Fast particles jump over several cells of a fine grid between two output rows. The
rows in between are made by linear interpolation in time, per particle.
"""

from __future__ import annotations

import math

import numpy as np

from stilt.kernels.compiler import kernel
from stilt.kernels.raster import sort_pairs


@kernel
def wrap_difference(degrees):
    """Return a difference of longitudes as the shorter way around, in [-180, 180)."""
    if degrees >= 180.0 or degrees < -180.0:
        return (degrees + 180.0) % 360.0 - 180.0
    return degrees


@kernel
def median_in_place(values, n):
    """Return the median of the first ``n`` values, which are sorted on the way."""
    sort_pairs(values, np.zeros(n, dtype=np.int64), n)
    return 0.5 * (values[(n - 1) // 2] + values[n // 2])


@kernel
def median_steps(offsets, order, x, y, is_cyclic):
    """
    Return the median displacement between consecutive early rows of each particle.

    Parameters
    ----------
    offsets : ndarray of int64, shape (n_particles + 1,)
        Where each particle begins in ``order``.
    order : ndarray of int64, shape (n_early,)
        Early rows by particle and by time since release.
    x, y : ndarray, shape (n_rows,)
        Position [units of the grid]; rows without a finite one are left out.
    is_cyclic : bool
        Take differences of ``x`` the shorter way around (longitudes).

    Returns
    -------
    ndarray, shape (n_particles, 2)
        Median of the absolute steps in x and y; NaN for a particle with fewer than two early rows.
    """
    n = offsets.size - 1
    out = np.full((n, 2), np.nan)
    longest = 0
    for p in range(n):
        longest = max(longest, offsets[p + 1] - offsets[p])
    dx = np.empty(longest)
    dy = np.empty(longest)
    for p in range(n):
        count = 0
        previous = -1
        for k in range(offsets[p], offsets[p + 1]):
            row = order[k]
            if not math.isfinite(x[row] + y[row]):
                continue
            if previous >= 0:
                step = x[row] - x[previous]
                if is_cyclic:
                    step = wrap_difference(step)
                dx[count] = abs(step)
                dy[count] = abs(y[row] - y[previous])
                count += 1
            previous = row
        if count > 0:
            out[p, 0] = median_in_place(dx, count)
            out[p, 1] = median_in_place(dy, count)
    return out


@kernel
def exceeds_median(above, n):
    """
    Tell whether the median of ``n`` values exceeds a bound that ``above`` of them exceed.

    Returns
    -------
    int
        1 yes, 0 no, -1 when that depends on the two values in the middle.
    """
    if 2 * above >= n + 2 - n % 2:
        return 1
    return 0 if 2 * above <= n - 2 + n % 2 else -1


@kernel
def compare_steps(n_rows, slot, time, x, y, n_particles, latest, size, is_cyclic):
    """
    Tell whether the typical early step exceeds a cell, by counting.

    Parameters
    ----------
    n_rows : int
        Rows to look at.
    slot : ndarray of int32, shape (n_rows or more,)
        Particle of each row, from 0; rows of a particle by time since release.
    time, x, y : ndarray, shape (n_rows or more,)
        Minutes, either sign, and position [units of the grid]; rows without a finite position are left out.
    n_particles : int
        Number of particles.
    latest : float
        Rows below this count [min].
    size : pair of floats
        Cells in x and y [units of the grid].
    is_cyclic : bool
        Take differences of ``x`` the shorter way around (longitudes).

    Returns
    -------
    int
        1 when the median over particles of the median absolute step exceeds the cell in x or y, 0 when it
        does in neither (nor when there are no steps), -1 when counting does not tell.
    """
    previous = np.full(n_particles, -1, dtype=np.int64)
    steps = np.zeros((n_particles, 3), dtype=np.int64)
    for row in range(n_rows):
        if not (abs(time[row]) < latest and math.isfinite(x[row] + y[row])):
            continue
        p = slot[row]
        before = previous[p]
        previous[p] = row
        if before < 0:
            continue
        dx = x[row] - x[before]
        if is_cyclic:
            dx = wrap_difference(dx)
        steps[p, 0] += 1
        steps[p, 1] += abs(dx) > size[0]
        steps[p, 2] += abs(y[row] - y[before]) > size[1]
    moving = 0
    surely = np.zeros(2, dtype=np.int64)
    perhaps = np.zeros(2, dtype=np.int64)
    for p in range(n_particles):
        if steps[p, 0] == 0:
            continue
        moving += 1
        for axis in range(2):
            verdict = exceeds_median(steps[p, 1 + axis], steps[p, 0])
            surely[axis] += verdict == 1
            perhaps[axis] += verdict != 0
    if moving == 0:
        return 0
    if exceeds_median(surely[0], moving) == 1 or exceeds_median(surely[1], moving) == 1:
        return 1
    is_neither = exceeds_median(perhaps[0], moving) == 0 and exceeds_median(perhaps[1], moving) == 0
    return 0 if is_neither else -1


@kernel
def count_dense_rows(offsets, elapsed, targets):
    """
    Count the rows each particle has once the targets it passes through are added.

    Parameters
    ----------
    offsets : ndarray of int64, shape (n_particles + 1,)
        Where each particle begins.
    elapsed : ndarray, shape (n_rows,)
        Minutes since the receptor time, ascending within a particle.
    targets : ndarray, shape (n_targets,)
        Times wanted [min since the receptor time], ascending.

    Returns
    -------
    ndarray of int64, shape (n_particles + 1,)
        Where each particle begins in the longer table.
    """
    n = offsets.size - 1
    out = np.zeros(n + 1, dtype=np.int64)
    for p in range(n):
        first, end = offsets[p], offsets[p + 1]
        added = 0
        row = first
        for k in range(targets.size):
            if first == end or targets[k] < elapsed[first] or targets[k] > elapsed[end - 1]:
                continue
            while elapsed[row] < targets[k]:
                row += 1
            if elapsed[row] != targets[k]:
                added += 1
        out[p + 1] = out[p] + (end - first) + added
    return out


@kernel
def fill_dense_rows(offsets, elapsed, sign, targets, dense_offsets, lon, lat, foot, out):
    """
    Fill the longer table: old rows as they are, new ones on the line between their neighbours.

    Parameters
    ----------
    offsets, elapsed, targets
        As in :func:`count_dense_rows`.
    sign : float
        Direction of the run, -1 or +1.
    dense_offsets : ndarray of int64, shape (n_particles + 1,)
        What :func:`count_dense_rows` returned.
    lon, lat, foot : ndarray, shape (n_rows,)
        Position [degrees] and surface influence; ``foot`` may be NaN, and is then bridged.
    out : ndarray, shape (4, n_dense_rows)
        Receives elapsed time, longitude, latitude and foot.
    """
    for p in range(offsets.size - 1):
        first, end = offsets[p], offsets[p + 1]
        if first == end:
            continue
        at = dense_offsets[p]
        k = 0
        while k < targets.size and targets[k] < elapsed[first]:
            k += 1
        for row in range(first, end):
            while k < targets.size and targets[k] <= elapsed[row]:
                if targets[k] < elapsed[row] and row > first:
                    out[0, at] = targets[k]
                    when = targets[k]
                    low = row - 1
                    out[1, at] = interpolate_between(when, elapsed, lon, low, row, first, end, sign, True)
                    out[2, at] = interpolate_between(when, elapsed, lat, low, row, first, end, sign, False)
                    out[3, at] = interpolate_between(when, elapsed, foot, low, row, first, end, sign, False)
                    at += 1
                k += 1
            out[0, at] = elapsed[row]
            out[1, at] = lon[row]
            out[2, at] = lat[row]
            out[3, at] = foot[row]
            if np.isnan(foot[row]):
                out[3, at] = interpolate_between(
                    elapsed[row], elapsed, foot, row - 1, row + 1, first, end, sign, False
                )
            at += 1


@kernel
def interpolate_between(when, elapsed, values, before, after, first, end, sign, is_cyclic):
    """
    Interpolate linearly between the nearest known values; NaN when one side has none.

    Several rows at one time count with their mean. The line is drawn from the
    smaller to the larger time, so that the last bit is the same as in STILT-R.
    """
    while before >= first and np.isnan(values[before]):
        before -= 1
    while after < end and np.isnan(values[after]):
        after += 1
    if before < first or after >= end:
        return np.nan
    t0, v0 = elapsed[before], mean_of_ties(elapsed, values, before, first, end)
    t1, v1 = elapsed[after], mean_of_ties(elapsed, values, after, first, end)
    if t0 == t1:
        return v0
    step = v1 - v0
    if is_cyclic:
        short = wrap_difference(step)
        if short != step:
            return v0 + short * ((when - t0) / (t1 - t0))
    if sign < 0:
        return v1 + (v0 - v1) * ((t1 - when) / (t1 - t0))
    return v0 + step * ((when - t0) / (t1 - t0))


@kernel
def mean_of_ties(elapsed, values, row, first, end):
    """Return the mean of the known values of all rows at the time of ``row``."""
    low = row
    while low > first and elapsed[low - 1] == elapsed[row]:
        low -= 1
    high = row + 1
    while high < end and elapsed[high] == elapsed[row]:
        high += 1
    if high - low == 1:
        return values[row]
    total = 0.0
    count = 0
    for k in range(low, high):
        if not np.isnan(values[k]):
            total += values[k]
            count += 1
    return total / count
