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
from stilt.kernels.densify import wrap_difference
from stilt.kernels.raster import layer_of, settle_cell, sort_pairs

FEW_CELLS = 49
"""Kernels of at most so many cells are stamped row by row: sorting rows would take longer."""


@kernel
def cloud_moments(offsets, x, y, lat, is_cyclic):
    """
    Return the spread and the middle of the cloud at each age.

    Parameters
    ----------
    offsets : ndarray of int64, shape (n_ages + 1,)
        Where each age begins.
    x, y : ndarray, shape (n_rows,)
        Position by age [units of the grid]; rows without a finite one are left out.
    lat : ndarray, shape (n_rows,)
        Latitude [degrees].
    is_cyclic : bool
        Whether ``x`` is a longitude that may jump by a turn within a cloud: one that lies across the jump is
        then measured the short way around.

    Returns
    -------
    ndarray, shape (n_ages, 4)
        Variance of x, variance of y (n - 1), mean latitude, mean x; NaN for fewer than two rows.
    """
    n_ages = offsets.size - 1
    out = np.full((n_ages, 4), np.nan)
    for g in range(n_ages):
        first, end = offsets[g], offsets[g + 1]
        n = 0
        mean_x = 0.0
        mean_y = 0.0
        mean_lat = 0.0
        for k in range(first, end):
            if math.isfinite(x[k] + y[k]):
                n += 1
                mean_x += x[k]
                mean_y += y[k]
                mean_lat += lat[k]
        if n < 2:
            continue
        mean_x /= n
        mean_y /= n
        mean_lat /= n
        square_x = 0.0
        square_y = 0.0
        farthest = 0.0
        for k in range(first, end):
            if not math.isfinite(x[k] + y[k]):
                continue
            dx = x[k] - mean_x
            dy = y[k] - mean_y
            square_x += dx * dx
            square_y += dy * dy
            farthest = max(farthest, abs(dx))
        if is_cyclic and farthest > 90.0:
            square, centre = circular_squares(first, end, x)
            if square < square_x:
                square_x = square
                mean_x = centre
        out[g, 0] = square_x / (n - 1)
        out[g, 1] = square_y / (n - 1)
        out[g, 2] = mean_lat
        out[g, 3] = mean_x
    return out


@kernel
def circular_squares(first, end, x):
    """Return the summed squares of longitudes about their mean, the short way around, and that mean."""
    east = 0.0
    north = 0.0
    for k in range(first, end):
        east += math.cos(math.radians(x[k]))
        north += math.sin(math.radians(x[k]))
    centre = math.degrees(math.atan2(north, east))
    total = 0.0
    squares = 0.0
    for k in range(first, end):
        dx = wrap_difference(x[k] - centre)
        total += dx
        squares += dx * dx
    return squares - total * total / (end - first), centre + total / (end - first)


@kernel
def ground_spread(offsets, lon, lat):
    """
    Return how far particles lie from their mean position on the ground, and where that is, at each age.

    Parameters
    ----------
    offsets : ndarray of int64, shape (n_ages + 1,)
        Where each age begins.
    lon, lat : ndarray, shape (n_rows,)
        Position by age [degrees].

    Returns
    -------
    ndarray, shape (n_ages, 4)
        Summed variances of the eastward and northward distances (n - 1) [degrees of a great circle, squared],
        mean latitude, latitude and longitude of the mean position; NaN for fewer than two rows.

    Notes
    -----
    The mean position is the direction of the summed unit vectors. Distances are those of an azimuthal
    equidistant map about it, so a cloud on a pole is as large as the same cloud elsewhere.
    """
    n_ages = offsets.size - 1
    out = np.full((n_ages, 4), np.nan)
    longest = 0
    for g in range(n_ages):
        longest = max(longest, offsets[g + 1] - offsets[g])
    unit = np.empty((longest, 3))
    for g in range(n_ages):
        first = offsets[g]
        n = offsets[g + 1] - first
        if n < 2:
            continue
        mx = 0.0
        my = 0.0
        mz = 0.0
        mean_lat = 0.0
        for k in range(n):
            across = math.cos(math.radians(lat[first + k]))
            unit[k, 0] = across * math.cos(math.radians(lon[first + k]))
            unit[k, 1] = across * math.sin(math.radians(lon[first + k]))
            unit[k, 2] = math.sin(math.radians(lat[first + k]))
            mx += unit[k, 0]
            my += unit[k, 1]
            mz += unit[k, 2]
            mean_lat += lat[first + k]
        length = math.sqrt(mx * mx + my * my + mz * mz)
        if length < 1e-9 * n:  # all around the globe: any place serves
            mx, my, mz, length = 0.0, 0.0, 1.0, 1.0
        mx /= length
        my /= length
        mz /= length
        squares = 0.0
        tx = 0.0
        ty = 0.0
        tz = 0.0
        for k in range(n):
            # the part of each unit vector that lies in the plane that touches the mean position
            along = unit[k, 0] * mx + unit[k, 1] * my + unit[k, 2] * mz
            dx = unit[k, 0] - along * mx
            dy = unit[k, 1] - along * my
            dz = unit[k, 2] - along * mz
            sine = math.sqrt(dx * dx + dy * dy + dz * dz)
            angle = math.atan2(sine, along)
            stretch = angle / sine if sine > 1e-12 else 1.0
            squares += angle * angle
            tx += dx * stretch
            ty += dy * stretch
            tz += dz * stretch
        spread = (squares - (tx * tx + ty * ty + tz * tz) / n) / (n - 1)
        out[g, 0] = max(spread, 0.0) * math.degrees(1.0) ** 2
        out[g, 1] = mean_lat / n
        out[g, 2] = math.degrees(math.atan2(mz, math.sqrt(mx * mx + my * my)))
        out[g, 3] = math.degrees(math.atan2(my, mx))
    return out


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
def stamp_ages(
    first_age, last_age, offsets, time, x, y, foot, sigma, frame, layering, first_layer, is_cyclic, folds, out
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
        # rows whose kernel reaches the map
        m = 0
        for row in range(offsets[g], offsets[g + 1]):
            if not (foot[row] > 0.0):
                continue
            if not (x[row] >= low_edge[0] and x[row] < high_edge[0]):
                continue
            if not (y[row] >= low_edge[1] and y[row] < high_edge[1]):
                continue
            ix = settle_cell(math.floor((x[row] - start[0]) * per_x), x[row], start[0], size[0]) - pad[0]
            iy = settle_cell(math.floor((y[row] - start[1]) * per_y), y[row], start[1], size[1]) - pad[1]
            if iy < -hy or iy >= ny + hy or (not is_cyclic and (ix < -hx or ix >= nx + hx)):
                continue
            if time[row] != previous:
                previous = time[row]
                layer = layer_of(previous, mode, shift, edges) - first_layer
            if layer < 0 or layer >= n_layers:
                continue
            if hx == 0 and hy == 0:
                out[layer, iy, ix % nx] += foot[row]
                continue
            if is_small:
                amount = foot[row]
                left = -hx if is_cyclic else max(-hx, -ix)
                right = hx if is_cyclic else min(hx, nx - 1 - ix)
                for dy in range(max(-hy, -iy), min(hy, ny - 1 - iy) + 1):
                    part = amount * gy[dy + hy]
                    for dx in range(left, right + 1):
                        column = ix + dx
                        if column < 0:
                            column += nx
                        elif column >= nx:
                            column -= nx
                        out[layer, iy + dy, column] += part * gx[dx + hx]
                if iy - hy < 0 or iy + hy >= ny:
                    for dy in range(-hy, hy + 1):
                        if iy + dy >= 0 and iy + dy < ny:
                            continue
                        j, is_turned = fold_row(iy + dy, ny, folds)
                        if j < 0:
                            continue
                        half = nx // 2 if is_turned else 0
                        for dx in range(left, right + 1):
                            out[layer, j, (ix + dx + half) % nx] += amount * gy[dy + hy] * gx[dx + hx]
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
