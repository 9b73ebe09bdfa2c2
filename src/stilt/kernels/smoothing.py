r"""
Spreading of particles over the cells around them.

A finite number of particles stands for a cloud, so each is spread with a Gaussian
whose bandwidth grows with the size of the cloud and with its age:

.. math:: \sigma = s \cdot 0.06 \, V^{1/4} (|t| / 1\,\mathrm{d})^{1/2} / \cos \bar\varphi,
          \quad V = \mathrm{var}\,x + \mathrm{var}\,y

(Lin et al. 2003 and STILT-R). The weights are the Gaussian at the centres of the
cells within :math:`3 \sigma`, normalised, so that no influence is lost except
beyond the edge of the map.
"""

from __future__ import annotations

import math

import numpy as np

from stilt.kernels.compiler import kernel
from stilt.kernels.densify import wrap_difference
from stilt.kernels.raster import OUTSIDE


@kernel
def cloud_moments(offsets, order, x, y, lat, is_cyclic):
    """
    Return the spread and the mean latitude of the cloud at each age.

    Parameters
    ----------
    offsets : ndarray of int64, shape (n_ages + 1,)
        Where each age begins in ``order``.
    order : ndarray of int64, shape (n_rows,)
        Rows by age.
    x, y : ndarray, shape (n_rows,)
        Position [units of the grid].
    lat : ndarray, shape (n_rows,)
        Latitude [degrees].
    is_cyclic : bool
        Whether ``x`` is a longitude on a grid around the globe: a cloud lying across the seam is then
        measured the short way around.

    Returns
    -------
    ndarray, shape (n_ages, 2)
        Sum of the variances of x and y (n - 1) and mean latitude; NaN for fewer than two rows.
    """
    n_ages = offsets.size - 1
    out = np.full((n_ages, 2), np.nan)
    for g in range(n_ages):
        first, end = offsets[g], offsets[g + 1]
        n = end - first
        if n < 2:
            continue
        mean_x = 0.0
        mean_y = 0.0
        mean_lat = 0.0
        for k in range(first, end):
            mean_x += x[order[k]]
            mean_y += y[order[k]]
            mean_lat += lat[order[k]]
        mean_x /= n
        mean_y /= n
        mean_lat /= n
        square_x = 0.0
        square_y = 0.0
        farthest = 0.0
        for k in range(first, end):
            dx = x[order[k]] - mean_x
            dy = y[order[k]] - mean_y
            square_x += dx * dx
            square_y += dy * dy
            farthest = max(farthest, abs(dx))
        if is_cyclic and farthest > 90.0:
            square_x = min(square_x, circular_squares(order, first, end, x))
        out[g, 0] = square_x / (n - 1) + square_y / (n - 1)
        out[g, 1] = mean_lat
    return out


@kernel
def circular_squares(order, first, end, x):
    """Return the summed squares of longitudes about their mean direction, the short way around [degrees2]."""
    east = 0.0
    north = 0.0
    for k in range(first, end):
        east += math.cos(math.radians(x[order[k]]))
        north += math.sin(math.radians(x[order[k]]))
    centre = math.degrees(math.atan2(north, east))
    total = 0.0
    squares = 0.0
    for k in range(first, end):
        dx = wrap_difference(x[order[k]] - centre)
        total += dx
        squares += dx * dx
    return squares - total * total / (end - first)


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
def stamp_ages(first_age, last_age, offsets, order, layer, cells, foot, sigma, size, is_cyclic, out):
    """
    Add the spread influence of a range of ages to the map.

    Parameters
    ----------
    first_age, last_age : int
        Ages to do, the last one excluded.
    offsets, order : ndarray of int64
        Where each age begins, and rows by age.
    layer : ndarray of int32, shape (n_rows,)
        Layer of ``out`` the row belongs to.
    cells : ndarray of int32, shape (2, n_rows)
        Cell of the row (x, y); may lie outside the map.
    foot : ndarray, shape (n_rows,)
        Surface influence.
    sigma : ndarray, shape (n_ages,)
        Bandwidth at each age [units of the grid].
    size : tuple of two floats
        Cell size (x, y).
    is_cyclic : bool
        Whether the map closes on itself in x.
    out : ndarray, shape (n_layers, ny, nx)
        Map to add to.

    Notes
    -----
    The kernel is a product of one Gaussian in x and one in y. Cells of one map row whose kernels
    touch are first spread together along x, and the strip so made is then spread along y: the fewest
    additions there are for a sparse cloud, and never more than stamping cell by cell.
    """
    ny, nx = out.shape[1:]
    largest = 0.0
    longest = 0
    for g in range(first_age, last_age):
        largest = max(largest, sigma[g])
        longest = max(longest, offsets[g + 1] - offsets[g])
    hx_max = int(3.0 * largest / size[0])
    hy_max = int(3.0 * largest / size[1])
    gx = np.empty(2 * hx_max + 1)
    gy = np.empty(2 * hy_max + 1)
    strip = np.empty(nx + 2 * hx_max + 4)
    keys = np.empty(longest, dtype=np.int64)
    rows = np.empty(longest, dtype=np.int64)
    width = np.int64(nx + 2 * hx_max + 2)
    height = np.int64(ny + 2 * hy_max + 2)
    for g in range(first_age, last_age):
        hx = int(3.0 * sigma[g] / size[0])
        hy = int(3.0 * sigma[g] / size[1])
        # rows whose kernel reaches the map
        m = 0
        for k in range(offsets[g], offsets[g + 1]):
            row = order[k]
            ix = cells[0, row]
            iy = cells[1, row]
            if ix == OUTSIDE or iy < -hy or iy >= ny + hy:
                continue
            if not is_cyclic and (ix < -hx or ix >= nx + hx):
                continue
            if hx == 0 and hy == 0:
                out[layer[row], iy, ix % nx] += foot[row]
                continue
            keys[m] = (layer[row] * height + iy + hy_max) * width + ix + hx_max + 1
            rows[m] = row
            m += 1
        if m == 0:
            continue
        gaussian_weights(hx, size[0], sigma[g], gx)
        gaussian_weights(hy, size[1], sigma[g], gy)
        by_cell = np.argsort(keys[:m], kind="mergesort")
        i = 0
        while i < m:
            row = rows[by_cell[i]]
            lay = layer[row]
            iy = cells[1, row]
            left = cells[0, row] - hx
            right = left
            if not is_cyclic:
                left = max(left, 0)
                right = left
            # spread along x until the next kernel no longer touches
            while i < m:
                row = rows[by_cell[i]]
                ix = cells[0, row]
                if layer[row] != lay or cells[1, row] != iy or (ix - hx > right and right > left):
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
                key = keys[by_cell[i]]
                while i < m and keys[by_cell[i]] == key:
                    amount += foot[rows[by_cell[i]]]
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
                c += run
