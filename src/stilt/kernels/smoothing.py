r"""
Spreading of particles over the cells around them.

A finite number of particles stands for a cloud, so each is spread with a Gaussian
whose bandwidth grows with the size of the cloud and with its age:

.. math:: \sigma = s \cdot 0.06 \, V^{1/4} (|t| / 1\,\mathrm{d})^{1/2} / \cos \bar\varphi,
          \quad V = \mathrm{var}\,x + \mathrm{var}\,y

(Lin et al. 2003 and STILT-R). The weights are the Gaussian at the centres of the
cells within :math:`3 \sigma`, normalised, so that no influence is lost except
beyond the edge of the map. On maps that close on themselves it continues across
the seam, and across a pole on the other side.
"""

from __future__ import annotations

import math

import numpy as np

from stilt.kernels.compiler import kernel
from stilt.kernels.raster import layer_of, settle_cell, sort_pairs

FEW_CELLS = 49
"""Kernels of at most so many cells are stamped row by row: sorting rows would take longer."""


@kernel
def fold_row(j, ny, folds):
    """
    Return the map row that a row beyond a pole continues on, and whether half a turn away.

    Parameters
    ----------
    j : int
        Row, any number.
    ny : int
        Rows of the map.
    folds : tuple of two bool
        Whether the first and the last row end at a pole that can be crossed.

    Returns
    -------
    tuple of int and bool
        -1 where the row is lost.
    """
    is_turned = False
    while j < 0 or j >= ny:
        if not folds[0 if j < 0 else 1]:
            return -1, False
        j = -1 - j if j < 0 else 2 * ny - 1 - j
        is_turned = not is_turned
    return j, is_turned


@kernel
def gaussian_weights(half_width, size, sigma, out):
    """Fill ``out[:2 * half_width + 1]`` with the normalised Gaussian at the centres of the cells."""
    total = 0.0
    for k in range(-half_width, half_width + 1):
        weight = math.exp(-((k * size) ** 2) / (2.0 * sigma * sigma)) if k != 0 else 1.0
        out[k + half_width] = weight
        total += weight
    for k in range(2 * half_width + 1):
        out[k] /= total


@kernel
def rows_within(first, end, x, y, foot, low, high, extent, rows):
    """
    List the rows that may reach the map, and count the rest.

    There are no branches: which rows have influence is as good as random, so a processor guesses it wrong.

    Parameters
    ----------
    first, end : int
        Rows to look at, the last one excluded.
    x, y, foot : ndarray, shape (n_rows,)
        Position [units of the grid] and surface influence.
    low, high : pair of floats
        Lower and upper bounds (x, y) of the rows that count.
    extent : tuple of four floats
        Edges of the map: west, east, south, north.
    rows : ndarray of int64, shape (end - first or more,)
        Receives the rows with influence within the bounds.

    Returns
    -------
    tuple of four int
        Rows listed, rows inside the extent, rows with influence, rows with both.
    """
    west, east, south, north = extent
    listed = 0
    inside = 0
    influencing = 0
    both = 0
    for row in range(first, end):
        has_influence = foot[row] > 0.0
        is_inside = (x[row] >= west) & (x[row] < east) & (y[row] >= south) & (y[row] < north)
        is_near = (x[row] >= low[0]) & (x[row] < high[0]) & (y[row] >= low[1]) & (y[row] < high[1])
        rows[listed] = row
        listed += has_influence & is_near
        inside += is_inside
        influencing += has_influence
        both += has_influence & is_inside
    return listed, inside, influencing, both


@kernel
def stamp_ages(
    first_age,
    last_age,
    offsets,
    time,
    x,
    y,
    foot,
    sigma,
    frame,
    extent,
    layering,
    first_layer,
    is_cyclic,
    folds,
    out,
    counts,
    times,
):
    """
    Add the spread influence of a range of ages to the map.

    Parameters
    ----------
    first_age, last_age : int
        Ages to do, the last one excluded.
    offsets : ndarray of int64, shape (n_ages + 1,)
        Where each age begins.
    time, x, y, foot : ndarray, shape (n_rows,)
        Minutes, position [units of the grid] and surface influence, by age. Rows where the influence is not
        above zero or the position is no number add nothing.
    sigma : ndarray, shape (2, n_ages)
        Bandwidth in x and y at each age [units of the grid].
    frame : tuple of five pairs (x, y)
        Lower and upper bounds of the rows that count, first edge of the padded map, cell size, and cells
        between the first edge of the padded map and that of the map.
    extent : tuple of four floats
        Edges of the map: west, east, south, north.
    layering : tuple
        Mode, shift and edges of :func:`stilt.kernels.raster.layer_of`.
    first_layer : int
        Hour or bin that is layer 0 of the map.
    is_cyclic : bool
        Whether the map closes on itself in x.
    folds : tuple of two bool
        Whether kernels continue on the other side of the pole, south and north; needs an even number of
        columns all around.
    out : ndarray, shape (n_layers, ny, nx)
        Map to add to.
    counts : ndarray of int64, shape (4,)
        To add to: rows that reach the map, rows inside the extent, rows with influence, rows with both.
    times : ndarray, shape (2,)
        Earliest and latest time of the rows that reach the map so far [min]; is updated.

    Notes
    -----
    The kernel is a product of one Gaussian in x and one in y. Cells of one map row whose kernels
    touch are first spread together along x, and the strip so made is then spread along y: the fewest
    additions there are for a sparse cloud, and never more than stamping cell by cell. That needs the rows
    of an age in order of their cells, so kernels of a few cells are stamped as the rows come.
    """
    low_edge, high_edge, start, size, pad = frame
    mode, shift, edges = layering
    n_layers, ny, nx = out.shape
    per_x = 1.0 / size[0]
    per_y = 1.0 / size[1]
    previous = np.nan
    layer = -1
    is_known = False
    hx_max = 0
    hy_max = 0
    longest = 0
    for g in range(first_age, last_age):
        hx_max = max(hx_max, int(3.0 * sigma[0, g] / size[0]))
        hy_max = max(hy_max, int(3.0 * sigma[1, g] / size[1]))
        longest = max(longest, offsets[g + 1] - offsets[g])
    gx = np.empty(2 * hx_max + 1)
    gy = np.empty(2 * hy_max + 1)
    strip = np.empty(nx + 2 * hx_max + 4)
    keys = np.empty(longest, dtype=np.int64)
    rows = np.empty(longest, dtype=np.int64)
    width = np.int64(nx + 2 * hx_max + 2)
    height = np.int64(ny + 2 * hy_max + 2)
    for g in range(first_age, last_age):
        hx = int(3.0 * sigma[0, g] / size[0])
        hy = int(3.0 * sigma[1, g] / size[1])
        is_small = (2 * hx + 1) * (2 * hy + 1) <= FEW_CELLS and hx < nx
        gaussian_weights(hx, size[0], sigma[0, g], gx)
        gaussian_weights(hy, size[1], sigma[1, g], gy)
        near, inside, influencing, both = rows_within(
            offsets[g], offsets[g + 1], x, y, foot, low_edge, high_edge, extent, rows
        )
        counts[1] += inside
        counts[2] += influencing
        counts[3] += both
        m = 0
        for k in range(near):
            row = rows[k]
            px = x[row]
            py = y[row]
            ix = settle_cell(math.floor((px - start[0]) * per_x), px, start[0], size[0]) - pad[0]
            iy = settle_cell(math.floor((py - start[1]) * per_y), py, start[1], size[1]) - pad[1]
            if iy < -hy or iy >= ny + hy or (not is_cyclic and (ix < -hx or ix >= nx + hx)):
                continue
            if time[row] != previous:
                previous = time[row]
                layer = layer_of(previous, mode, shift, edges) - first_layer
                is_known = layer >= 0 and layer < n_layers
                if is_known:
                    times[0] = min(times[0], previous)
                    times[1] = max(times[1], previous)
            if not is_known:
                continue
            counts[0] += 1
            amount = foot[row]
            if is_small and ix >= hx and ix < nx - hx and iy >= hy and iy < ny - hy:
                for dy in range(2 * hy + 1):
                    part = amount * gy[dy]
                    target = out[layer, iy - hy + dy]
                    for dx in range(2 * hx + 1):
                        target[ix - hx + dx] += part * gx[dx]
                continue
            if is_small:
                left = -hx if is_cyclic else max(-hx, -ix)
                right = hx if is_cyclic else min(hx, nx - 1 - ix)
                for dy in range(-hy, hy + 1):
                    j, is_turned = fold_row(iy + dy, ny, folds)
                    if j < 0:
                        continue
                    column = ix + (nx // 2 if is_turned else 0)
                    part = amount * gy[dy + hy]
                    for dx in range(left, right + 1):
                        out[layer, j, (column + dx) % nx] += part * gx[dx + hx]
                continue
            keys[m] = (layer * height + iy + hy_max) * width + ix + hx_max + 1
            rows[m] = row
            m += 1
        if m == 0:
            continue
        sort_pairs(keys, rows, m)
        i = 0
        while i < m:
            line = keys[i] // width
            lay = line // height
            iy = line % height - hy_max
            left = keys[i] % width - hx_max - 1 - hx
            right = left
            if not is_cyclic:
                left = max(left, 0)
                right = left
            # spread along x until the next kernel no longer touches
            while i < m:
                ix = keys[i] % width - hx_max - 1
                if keys[i] // width != line or (ix - hx > right and right > left):
                    break
                low = ix - hx
                high = ix + hx + 1
                if not is_cyclic:
                    low = max(low, 0)
                    high = min(high, nx)
                for c in range(right, high):
                    strip[c - left] = 0.0
                right = max(right, high)
                amount = 0.0
                key = keys[i]
                while i < m and keys[i] == key:
                    amount += foot[rows[i]]
                    i += 1
                target = strip[low - left : high - left]
                weights = gx[low - ix + hx : high - ix + hx]
                for k in range(target.size):
                    target[k] += amount * weights[k]
            # spread along y, in pieces where the map closes on itself
            c = left
            while c < right:
                column = c % nx
                run = min(right - c, nx - column)
                source = strip[c - left : c - left + run]
                for j in range(max(iy - hy, 0), min(iy + hy + 1, ny)):
                    weight = gy[j - iy + hy]
                    target = out[lay, j, column : column + run]
                    for k in range(target.size):
                        target[k] += weight * source[k]
                if iy - hy < 0 or iy + hy >= ny:
                    for over in range(iy - hy, iy + hy + 1):
                        if over >= 0 and over < ny:
                            continue
                        j, is_turned = fold_row(over, ny, folds)
                        if j < 0:
                            continue
                        half = nx // 2 if is_turned else 0
                        for k in range(run):
                            out[lay, j, (column + half + k) % nx] += gy[over - iy + hy] * source[k]
                c += run
