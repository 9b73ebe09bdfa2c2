"""
Which particle leaves from where, as the program counts.

The program shares ``numpar`` among its sources and releases, from each in turn, a block of

    ceil(60 q / 60)   with q = max(1, numpar // sources)

particles in its own arithmetic, in which 1/60 is rounded to float32 and the product too: that is q
for some numbers (1, 2, 4, 8, 9, 16 ... 18, 32 ... 36, ...) and q + 1 for most. It stops at ``MAXPAR``. Two
heights above one spot are one source, a vertical line: particle i of n lies between (i - 1)/n
and i/n of the way up, at random.

One spot are to the program two consecutive points whose grid coordinates agree in four cut decimals. Points
of a multipoint receptor that are that close, such as the levels of a retrieval above one site, are meant as
points, so every second one is set apart by the few ten thousandths of a grid cell that make it one (3 m on
a grid of 3 km).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stilt.config import TransportParams
from stilt.errors import ReceptorError, UnsupportedSettingError
from stilt.meteorology.projection import HorizontalGrid
from stilt.receptors import Receptor

_CUT = 1e-4
"""Grid cells: the program's measure of one spot."""
_COORDINATE = 8e-6
"""Degrees: what the program's single precision leaves open about a position."""
_MINUTE = 1.0 / 60.0
_YEARS = (1941, 2039)
"""The program's calendar; its years have two digits."""


def block_size(numpar: int, sources: int = 1) -> int:
    """
    Return how many particles the program releases from each source.

    Parameters
    ----------
    numpar : int
        What the namelist asks for.
    sources : int
        Points, or lines.

    Examples
    --------
    >>> block_size(1000, 8), block_size(10, 4), block_size(10, 3), block_size(4, 5)
    (126, 2, 4, 1)
    """
    share = max(1, numpar // sources)
    return math.ceil(np.float32(share * 60.0 * float(np.float32(_MINUTE))))


@dataclass(frozen=True)
class Release:
    """
    What the program is to release.

    Attributes
    ----------
    lines : tuple of str
        Latitude, longitude and height, as in CONTROL.
    numpar, maxpar : int
        As in the namelist.
    counts : tuple of int
        Particles that each source releases, in order.
    heights : ndarray of float64, shape (n_released,)
        Release height of each particle [m]; within a column the middle of the particle's slice.
    positions : ndarray of float64, shape (n_released, 2)
        Longitude and latitude of each [degrees].
    moved : float
        Farthest that a point was set apart from where it is [m].
    """

    lines: tuple[str, ...]
    numpar: int
    maxpar: int
    counts: tuple[int, ...]
    heights: np.ndarray
    positions: np.ndarray
    moved: float = 0.0

    @property
    def count(self) -> int:
        """Particles released."""
        return sum(self.counts)


def plan_release(receptor: Receptor, params: TransportParams, grid: HorizontalGrid) -> Release:
    """
    Plan the release of a receptor.

    Parameters
    ----------
    receptor : Receptor
        Point, column or several points.
    params : TransportParams
        ``numpar`` and ``maxpar``. Without ``maxpar`` the points of a multipoint receptor get equal blocks.
    grid : HorizontalGrid
        Of the meteorology.

    Raises
    ------
    ReceptorError, UnsupportedSettingError
        What the program cannot release: seconds, years outside its calendar.
    """
    check_releasable(receptor, params)
    points, moved = list(receptor), 0.0
    if receptor.kind == "multipoint":
        points, moved = _set_apart(points, grid)
    lines = tuple(f"{lat:.6f} {lon:.6f} {height:.2f}" for lat, lon, height in points)
    sources = len(receptor) if receptor.kind == "multipoint" else 1
    maxpar = params.max_particles
    if params.maxpar is None and receptor.kind == "multipoint":
        # room for one more in every block
        maxpar = sources * (params.numpar // sources + 1)
    block = block_size(params.numpar, sources)
    counts = tuple(min(block, max(0, maxpar - k * block)) for k in range(sources))
    if receptor.kind == "column":
        bottom, top = receptor.altitudes
        heights = bottom + (top - bottom) * (np.arange(counts[0]) + 0.5) / block
    else:
        heights = np.repeat(np.asarray(receptor.altitudes, dtype=float), counts)
    spots = np.array([(lon, lat) for lat, lon, _ in points])[:sources]
    return Release(lines, params.numpar, maxpar, counts, heights, np.repeat(spots, counts, axis=0), moved)


def _set_apart(
    points: Sequence[tuple[float, float, float]], grid: HorizontalGrid
) -> tuple[list[tuple[float, float, float]], float]:
    """Move each point that the program would take for the spot of the one before; say how far at most."""
    apart: list[tuple[float, float, float]] = []
    moved = 0.0
    before = (np.inf, np.inf)
    noise = 2.0 * float(np.spacing(np.float32(max(grid.nx, grid.ny))))
    for lat, lon, height in points:
        x, y = (float(value) for value in grid.to_xy(lon, lat))
        blur = np.subtract(grid.to_xy(lon + _COORDINATE, lat - np.sign(lat) * _COORDINATE), (x, y))
        close = _CUT + noise + min(1.0, float(np.abs(blur).max()))
        if abs(x - before[0]) < close and abs(y - before[1]) < close:
            # towards the middle of the grid, far enough from the one before wherever that lies
            step = 2.0 * close
            y += step if y < 0.5 * grid.ny else -step
            new_lon, new_lat = grid.to_lonlat(x, y)
            lon, lat = float(new_lon), float(new_lat)
            moved = max(moved, step * float(grid.spacing(x, y)[1]))
        apart.append((lat, lon, height))
        before = (x, y)
    return apart, moved


def check_releasable(receptor: Receptor, params: TransportParams) -> None:
    """Raise for a receptor that the program cannot release as it is meant."""
    first, last = _YEARS
    if not first <= receptor.time.year <= last:
        raise ReceptorError(
            f"receptor {receptor.id}: engine 'hysplit' knows the years {first} to {last} only; "
            "use engine: native."
        )
    if receptor.time.second:
        raise ReceptorError(
            f"receptor {receptor.id}: engine 'hysplit' starts at whole minutes, not at "
            f"{receptor.time:%H:%M:%S}; round the time or use engine: native."
        )
    if receptor.kind == "point":
        return
    if params.emisshrs * 60.0 > 1.0:
        raise UnsupportedSettingError(
            f"emisshrs: {params.emisshrs:g} with receptor {receptor.id}: released over more than a minute, "
            "particles of a column or of several points do not tell where they come from; leave it out."
        )
    if receptor.kind == "multipoint":
        receptor.release_points(params.numpar)  # refuses fewer particles than points
