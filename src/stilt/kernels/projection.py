r"""
Longitude and latitude to grid coordinates and back, for the grids of ARL files.

Two kinds of grid. *Lat-lon*: even steps in both angles. *Conformal*: Lambert,
polar stereographic and Mercator are one family on a sphere, told apart by
:math:`\gamma = \sin(\text{tangent latitude})` (1, anything, 0). With
:math:`\Delta` the longitude from the reference longitude and the isometric
latitude :math:`\mu = \operatorname{artanh}(\sin\varphi)`,

.. math::

    \xi  &= e^{-\gamma\mu} \sin(\gamma\Delta) / \gamma \\
    \eta &= \frac{1 - e^{-\gamma\mu}}{\gamma} + e^{-\gamma\mu}\frac{1 - \cos(\gamma\Delta)}{\gamma}

are distances in Earth radii that the grid turns, scales and shifts.

Grid coordinates are 1-based and fractional: x = 1 is the first column. Everything
is float64: float32 positions would carry about 4e-4 cell of constant error.

The numbers of a grid travel as one array, so that kernels elsewhere can pass it on:

=====  =======================  ================================
index  lat-lon                  conformal
=====  =======================  ================================
0      0                        1
1      longitude of x = 1       gamma
2      latitude of y = 1        reference longitude [degrees]
3      longitude step           x of the origin (xi = eta = 0)
4      latitude step            y of the origin
5      nx                       cells per Earth radius
6      1 if x is cyclic else 0  cosine of the turn
7                               sine term of the turn (-sin)
8                               cell size at scale 1 [m]
=====  =======================  ================================
"""

from __future__ import annotations

import math

import numpy as np

from stilt.constants import EARTH_RADIUS_KM
from stilt.kernels.compiler import kernel

N_GRID_NUMBERS = 9
"""Length of the array that describes a grid to the kernels."""

_RADIANS = math.pi / 180.0
_METRES_PER_DEGREE = EARTH_RADIUS_KM * 1000.0 * _RADIANS
# below this, gamma is Mercator: the terms left out are of relative size gamma * mu
_MERCATOR = 1.0e-9
# latitudes are kept this far from a pole [degrees], where mu is infinite: 1e-5 m
_POLE_MARGIN = 1.0e-10


@kernel
def wrap_longitude(lon):
    """Bring a longitude [degrees] into [-180, 180)."""
    wrapped = lon - 360.0 * math.floor((lon + 180.0) / 360.0)
    if wrapped >= 180.0:  # a tiny negative number rounds up to the far end
        wrapped -= 360.0
    return wrapped


@kernel
def isometric_latitude(lat):
    """Return artanh(sin(lat)) of a latitude [degrees], finite at the poles."""
    limit = 90.0 - _POLE_MARGIN
    lat = min(limit, max(-limit, lat))
    return -math.log(math.tan((45.0 - 0.5 * lat) * _RADIANS))


@kernel
def conformal_plane(lon, lat, gamma, ref_lon):
    """
    Project a point onto the plane of a conformal map.

    Parameters
    ----------
    lon, lat : float
        Position [degrees].
    gamma : float
        Sine of the tangent latitude, -1 to 1.
    ref_lon : float
        Longitude the map is cut opposite of [degrees].

    Returns
    -------
    xi, eta : float
        Distances from the point (ref_lon, equator) [Earth radii at scale 1].
    """
    mu = isometric_latitude(lat)
    delta = wrap_longitude(lon - ref_lon) * _RADIANS
    if abs(gamma) < _MERCATOR:
        return delta, mu
    shrink = math.exp(-gamma * mu)
    half = math.sin(0.5 * gamma * delta)
    xi = shrink * math.sin(gamma * delta) / gamma
    eta = -math.expm1(-gamma * mu) / gamma + shrink * 2.0 * half * half / gamma
    return xi, eta


@kernel
def map_scale(lat, gamma):
    r"""
    Ground distance per distance on the map, :math:`e^{\gamma\mu}\cos\varphi`.

    It is largest at the tangent latitude. Written as
    :math:`(1+s)^{(1+\gamma)/2} (1-s)^{(1-\gamma)/2}` with s the sine of the
    latitude, it stays finite at the pole of a polar stereographic map.
    """
    s = math.sin(lat * _RADIANS)
    return (1.0 + s) ** (0.5 * (1.0 + gamma)) * (1.0 - s) ** (0.5 * (1.0 - gamma))


@kernel
def point_to_xy(grid, lon, lat):
    """
    Grid coordinates of a position.

    Parameters
    ----------
    grid : ndarray of float64, shape (9,)
        The grid's numbers (see the module).
    lon, lat : float
        Position [degrees]; any multiple of 360 may be added to ``lon``.

    Returns
    -------
    x, y : float
        1-based fractional grid coordinates. On a cyclic grid x lies in [1, nx + 1); on others
        the longitude is counted so that a point just west of the grid has x just below 1.
    """
    if grid[0] == 0.0:
        dlon = grid[3]
        east = lon - grid[1]
        if grid[6] != 0.0:
            start = 0.0
        else:
            # half of what the grid leaves free lies to its west
            start = -0.5 * max(0.0, 360.0 - (grid[5] - 1.0) * dlon)
        east -= 360.0 * math.floor((east - start) / 360.0)
        if east >= start + 360.0:
            east -= 360.0
        return 1.0 + east / dlon, 1.0 + (lat - grid[2]) / grid[4]
    xi, eta = conformal_plane(lon, lat, grid[1], grid[2])
    x = grid[3] + grid[5] * (xi * grid[6] + eta * grid[7])
    y = grid[4] + grid[5] * (eta * grid[6] - xi * grid[7])
    return x, y


@kernel
def point_to_lonlat(grid, x, y):
    """
    Position of grid coordinates, the inverse of `point_to_xy`.

    Parameters
    ----------
    grid : ndarray of float64, shape (9,)
        The grid's numbers.
    x, y : float
        1-based fractional grid coordinates.

    Returns
    -------
    lon, lat : float
        Position [degrees], lon in [-180, 180).
    """
    if grid[0] == 0.0:
        return wrap_longitude(grid[1] + (x - 1.0) * grid[3]), grid[2] + (y - 1.0) * grid[4]
    a = (x - grid[3]) / grid[5]
    b = (y - grid[4]) / grid[5]
    xi = a * grid[6] - b * grid[7]
    eta = a * grid[7] + b * grid[6]
    gamma = grid[1]
    if abs(gamma) < _MERCATOR:
        mu = eta
        delta = xi
    else:
        # |(gamma xi, 1 - gamma eta)|^2 = exp(-2 gamma mu)
        stretch = gamma * (gamma * (xi * xi + eta * eta) - 2.0 * eta)
        mu = -0.5 * math.log1p(max(stretch, -1.0 + 1.0e-30)) / gamma if stretch > -1.0 else 40.0 / gamma
        delta = math.atan2(gamma * xi, 1.0 - gamma * eta) / gamma
    lat = 2.0 * math.atan(math.tanh(0.5 * mu)) / _RADIANS
    return wrap_longitude(grid[2] + delta / _RADIANS), lat


@kernel
def point_spacing(grid, x, y):
    """
    Size of a grid cell on the ground.

    Parameters
    ----------
    grid : ndarray of float64, shape (9,)
        The grid's numbers.
    x, y : float
        1-based fractional grid coordinates.

    Returns
    -------
    gx, gy : float
        Cell size along x and y [m]. On the pole row of a lat-lon grid gx is that of a
        quarter row further inward (it would vanish, and winds are divided by it).
    """
    if grid[0] == 0.0:
        lat = grid[2] + (y - 1.0) * grid[4]
        if abs(lat) > 90.0 - 1.0e-4 * grid[4]:
            lat = 90.0 - 0.25 * grid[4]
        return grid[3] * _METRES_PER_DEGREE * math.cos(lat * _RADIANS), grid[4] * _METRES_PER_DEGREE
    _, lat = point_to_lonlat(grid, x, y)
    size = grid[8] * map_scale(lat, grid[1])
    return size, size


@kernel
def points_to_xy(grid, lon, lat):
    """Apply `point_to_xy` to arrays of shape (n,)."""
    x = np.empty(lon.size)
    y = np.empty(lon.size)
    for i in range(lon.size):
        x[i], y[i] = point_to_xy(grid, lon[i], lat[i])
    return x, y


@kernel
def points_to_lonlat(grid, x, y):
    """Apply `point_to_lonlat` to arrays of shape (n,)."""
    lon = np.empty(x.size)
    lat = np.empty(x.size)
    for i in range(x.size):
        lon[i], lat[i] = point_to_lonlat(grid, x[i], y[i])
    return lon, lat


@kernel
def points_spacing(grid, x, y):
    """Apply `point_spacing` to arrays of shape (n,)."""
    gx = np.empty(x.size)
    gy = np.empty(x.size)
    for i in range(x.size):
        gx[i], gy[i] = point_spacing(grid, x[i], y[i])
    return gx, gy
