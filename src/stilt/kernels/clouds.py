"""How far the particles of one age lie apart, and where their middle is."""

from __future__ import annotations

import math

import numpy as np

from stilt.kernels.compiler import kernel
from stilt.kernels.densify import wrap_difference


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
