"""
Grid coordinates as ``hycs_std`` rounds them: for following a seeded run of it, row by row.

The program computes conformal coordinates partly in single precision, so its
particles start up to a metre from where a careful calculation puts them. Which
operation rounds was found by giving it terrain that is a plane, so that the
terrain height it prints is the coordinate it uses: ours agree to the last bit
(``design/2026-11-22-exact-twin.md``).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from stilt.constants import EARTH_RADIUS_KM
from stilt.meteorology.projection import HorizontalGrid

F = np.float32
D = np.float64

_RADIAN = D(F(np.pi / 180.0))
_SINE = tuple(map(float.fromhex, ("-0x1.555545995a603p-3", "0x1.1107605230bc4p-7", "-0x1.994eb3774cf24p-13")))
_COSINE = tuple(
    map(
        float.fromhex,
        ("-0x1.ffffffd0c621cp-2", "0x1.55553e1068f19p-5", "-0x1.6c087e89a359dp-10", "0x1.99343027bf8c3p-16"),
    )
)
_SMALL_ANGLE, _SMALL_EXPONENT = F(0.01), 0.001


def _single(value: np.ndarray) -> np.ndarray:
    """Round to single precision and go on in double."""
    return np.asarray(value, dtype=F).astype(D)


def _rounded_wave(angle: ArrayLike, quarter: int) -> np.ndarray:
    """
    Return the single-precision sine of an angle plus ``quarter`` quarter turns.

    The C library's single-precision sine and cosine are polynomials in double precision (minimax within
    a quarter turn), rounded once. In one case of fifty that is not the nearest number, so it is written
    out here rather than left to the machine.
    """
    wide = np.asarray(angle, dtype=F).astype(D)
    turns = np.rint(wide / (0.5 * np.pi))
    x = wide - turns * (0.5 * np.pi)
    x2 = x * x
    x4 = x2 * x2
    sine = (x + (x * x2) * _SINE[0]) + ((x * x2) * x2) * (_SINE[1] + x2 * _SINE[2])
    cosine = ((1.0 + x2 * _COSINE[0]) + x4 * _COSINE[1]) + (x4 * x2) * (_COSINE[2] + x2 * _COSINE[3])
    which = (turns.astype(np.int64) + quarter) % 4
    wave = np.where(which % 2 == 0, sine, cosine)
    return np.where(which >= 2, -wave, wave).astype(F)


def sine_single(angle: ArrayLike) -> np.ndarray:
    """Return the sine of angles [radians], single precision throughout."""
    return _rounded_wave(angle, 0)


def cosine_single(angle: ArrayLike) -> np.ndarray:
    """Return the cosine of angles [radians], single precision throughout."""
    return _rounded_wave(angle, 1)


def _from_greenwich(longitude: np.ndarray) -> np.ndarray:
    """Count longitudes from 0 to 360, single."""
    longitude = np.asarray(longitude, dtype=F)
    return np.where(longitude < 0, longitude + F(360.0), longitude).astype(F)


def _wrapped(value: np.ndarray) -> np.ndarray:
    """Bring single-precision degrees into (-180, 180], by way of an angle counted from -180."""
    turned = np.fmod(np.asarray(value, dtype=F) + F(180.0), F(360.0))
    return np.where(turned <= 0, turned + F(180.0), turned - F(180.0)).astype(F)


def _mercator(latitude: np.ndarray) -> np.ndarray:
    s = np.sin(np.asarray(latitude, dtype=F).astype(D) * _RADIAN)
    return np.asarray(0.5 * np.log((1.0 + s) / (1.0 - s)))


def _arc(angle: np.ndarray, delta: np.ndarray, gamma: float) -> tuple[np.ndarray, np.ndarray]:
    """Return sin(angle) / gamma and (1 - cos(angle)) / gamma^2, single; series for small angles."""
    square = (angle * angle).astype(F)
    one = F(1.0)

    def series(*terms: float) -> np.ndarray:
        total = np.ones_like(square)
        for term in reversed(terms):
            total = one - F(1.0 / term) * square * total
        return total

    small_sine = _single(delta * series(6.0, 20.0, 42.0))
    small_versine = _single(delta * delta * 0.5 * series(12.0, 30.0, 56.0))
    if abs(gamma) < 1e-12:
        return small_sine, small_versine
    sine = _single(sine_single(angle).astype(D) / gamma)
    versine = _single((one - cosine_single(angle)).astype(D) / gamma / gamma)
    small = np.abs(angle) < _SMALL_ANGLE
    return np.where(small, small_sine, sine), np.where(small, small_versine, versine)


class _Map(NamedTuple):
    """A conformal grid in single precision."""

    gamma: np.float64
    ref_lon: np.ndarray
    cell: np.float32
    """Cell size at scale 1 [km]."""
    per_cell: np.float32
    """Cells per Earth radius."""
    cosine: np.float32
    sine: np.float32
    x0: np.ndarray
    y0: np.ndarray

    def plane(self, longitude: np.ndarray, latitude: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Project degrees onto the map, in Earth radii."""
        gamma = self.gamma
        turn = _wrapped(np.asarray(longitude, dtype=F) - self.ref_lon)
        delta = turn.astype(D) * _RADIAN
        sine, versine = _arc((gamma * delta).astype(F), delta, gamma)
        m = _mercator(latitude)
        exponent = gamma * m
        small = m * (1.0 - 0.5 * exponent * (1.0 - exponent / 3.0 * (1.0 - 0.25 * exponent)))
        rho = small
        if gamma:
            rho = np.where(np.abs(exponent) < _SMALL_EXPONENT, small, (1.0 - np.exp(-exponent)) / gamma)
        rho = _single(rho)
        shrink = 1.0 - gamma * rho
        return (shrink * sine).astype(F), (rho + shrink * gamma * versine).astype(F)

    def cells(self, xi: np.ndarray, eta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Turn and scale, without the offset; each product and each sum is rounded on its own."""
        x = np.asarray(self.per_cell * (xi * self.cosine + eta * self.sine), dtype=F)
        y = np.asarray(self.per_cell * (eta * self.cosine - xi * self.sine), dtype=F)
        return x, y


def _map_of(grid: HorizontalGrid) -> _Map:
    gamma = D(sine_single(F(_RADIAN) * F(grid.tangent_lat)))
    angle = F(_RADIAN) * F(grid.ref_lat)
    sine_ref = D(sine_single(angle))
    m0 = 0.5 * np.log((1.0 + sine_ref) / (1.0 - sine_ref))
    cell = F(grid.size) / F(np.exp(gamma * m0) * D(cosine_single(angle)))
    turn = F(_RADIAN) * F(grid.orientation)
    nowhere = np.zeros((), dtype=F)
    unset = _Map(
        gamma, _wrapped(np.asarray(grid.ref_lon)), cell, F(F(EARTH_RADIUS_KM) / cell),
        F(cosine_single(turn)), F(-sine_single(turn)), nowhere, nowhere,
    )  # fmt: skip
    x, y = unset.cells(*unset.plane(np.array(grid.sync_lon), np.array(grid.sync_lat)))
    return unset._replace(x0=F(grid.sync_x) - x, y0=F(grid.sync_y) - y)


def program_coordinates(
    grid: HorizontalGrid, lon: np.ndarray, lat: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """
    Return the 1-based grid coordinates the program gives to points, as float32.

    Parameters
    ----------
    grid : HorizontalGrid
        The horizontal grid.
    lon, lat : ndarray, shape (n,)
        Degrees.
    """
    if grid.is_latlon:
        first_lon = F(grid.sync_lon - (grid.sync_x - 1.0) * grid.ref_lon)
        first_lat = F(grid.sync_lat - (grid.sync_y - 1.0) * grid.ref_lat)
        east = _from_greenwich(lon) - _from_greenwich(np.asarray(first_lon))
        east = np.where(east < 0, east + F(360.0), east).astype(F)
        north = np.asarray(lat, dtype=F) - first_lat
        return F(1.0) + east / F(grid.ref_lon), F(1.0) + north / F(grid.ref_lat)
    conformal = _map_of(grid)
    x, y = conformal.cells(*conformal.plane(np.asarray(lon), np.asarray(lat)))
    return (conformal.x0 + x).astype(F), (conformal.y0 + y).astype(F)


def program_spacing(grid: HorizontalGrid, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """
    Return the cell size along x and y [m] as float32, rounded as in the program.

    Winds in cells per minute are divided by it; that is one bit of every wind.

    Parameters
    ----------
    grid : HorizontalGrid
        The horizontal grid.
    x, y : ndarray
        1-based grid coordinates.
    """
    if grid.is_latlon:
        first_lat = F(grid.sync_lat - (grid.sync_y - 1.0) * grid.ref_lat)
        dlon, dlat = F(grid.ref_lon), F(grid.ref_lat)
        lat = (first_lat + (np.asarray(y, dtype=F) - F(1.0)) * dlat).astype(F)
        # a pole row counts as a quarter row further inward
        lat = np.where(np.abs(lat) > 90.0 - 1.0e-4 * dlat, F(90.0) - F(0.25) * dlat, lat).astype(F)
        row = F(F(2.0) * F(np.pi)) * F(EARTH_RADIUS_KM) / (F(360.0) / dlat)
        column = cosine_single(lat / (F(180.0) / F(np.pi))) * row * dlon / dlat
        return column * F(1000.0), np.full_like(column, row * F(1000.0))
    conformal = _map_of(grid)
    gamma, cosine, sine = F(conformal.gamma), conformal.cosine, conformal.sine
    across = (np.asarray(x, dtype=F) - conformal.x0) * conformal.cell / F(EARTH_RADIUS_KM)
    along = (np.asarray(y, dtype=F) - conformal.y0) * conformal.cell / F(EARTH_RADIUS_KM)
    xi = across * cosine - along * sine
    eta = along * cosine + across * sine
    radial = F(2.0) * eta - gamma * (xi * xi + eta * eta)
    shrunk = (gamma * radial).astype(F)
    ratio = (shrunk / (F(2.0) - shrunk)).astype(D) ** 2
    series = radial.astype(D) / (2.0 - shrunk) * (1.0 + ratio * (1.0 / 3.0 + ratio * (0.2 + ratio / 7.0)))
    m = series
    if gamma:
        # the pole of a polar map has shrunk = 1
        rest = np.maximum((F(1.0) - shrunk).astype(D), 1e-12)
        m = np.where(np.abs(shrunk) < _SMALL_ANGLE, series, -0.5 * np.log(rest) / D(conformal.gamma))
    stretch = np.exp(m)
    size = (2.0 * np.exp(D(conformal.gamma) * m) * D(conformal.cell) / (stretch + 1.0 / stretch)).astype(F)
    size = size * F(1000.0)
    return size, size.copy()


_WINDOW_KM, _WINDOW_MARGIN, _WINDOW_CELLS = 144.0, 4, 10
"""Width of the program's window: two hours at 20 m/s, so many cells more, at least these (``mgmin: 10``)."""


class Window(NamedTuple):
    """The part of a grid the program has loaded."""

    west: int
    """Columns left out west of it."""
    south: int
    cells: int
    """Columns, and rows."""

    def near_edge(self, x: np.ndarray, y: np.ndarray) -> bool:
        """Tell whether a particle is within two cells of an edge: the program then takes a new window."""
        if not self.cells:
            return False
        # the same test as at the edge of the grid
        column, row = x.astype(int) - self.west, y.astype(int) - self.south
        return bool(np.any((np.minimum(column, row) < 2) | (np.maximum(column, row) >= self.cells - 2)))


def program_window(grid: HorizontalGrid, x: np.ndarray, y: np.ndarray) -> Window:
    """
    Return the window of meteorology the program loads around particles; 0 cells for the whole grid.

    Width and corner fit what the program reports on 22 grids that it does not load whole. A grid hardly
    larger than its window is loaded whole, and so is a cyclic one whose window would reach across the seam.

    Parameters
    ----------
    grid : HorizontalGrid
        The horizontal grid.
    x, y : ndarray of float32
        1-based grid coordinates of the particles.
    """
    whole = Window(0, 0, 0)
    column, row = int(0.5 * (x.min() + x.max())), int(0.5 * (y.min() + y.max()))
    spacing = program_spacing(grid, np.array([column]), np.array([row]))[1]
    cells = max(_WINDOW_CELLS, round(_WINDOW_KM * 1000.0 / float(spacing[0])) + _WINDOW_MARGIN)
    if cells >= min(grid.nx, grid.ny) - 1:
        return whole
    west, south = column - (cells + 1) // 2, row - (cells + 1) // 2
    if grid.is_cyclic and not 0 <= west <= grid.nx - cells:
        # it would reach across the seam
        return whole
    # it ends a cell before the grid does
    west = min(max(west, 0), grid.nx - cells - 1)
    south = min(max(south, 0), grid.ny - cells - 1)
    return Window(west, south, cells)
