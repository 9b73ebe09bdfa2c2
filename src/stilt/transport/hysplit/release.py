"""
Which particle leaves from where, as the program counts.

The program shares ``numpar`` among its sources and releases, from each in turn, a block of

    ceil(60 q / 60)   with q = max(1, numpar // sources)

particles in its own arithmetic, in which 1/60 is rounded to float32 and the product too: that is q
for some numbers (1, 2, 4, 8, 9, 16 ... 18, 32 ... 36, ...) and q + 1 for most. It stops at ``MAXPAR``. Two
heights above one spot are one source, a vertical line: particle i of n lies between (i - 1)/n
and i/n of the way up, at random.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from stilt.config import TransportParams
from stilt.errors import ReceptorError, UnsupportedSettingError
from stilt.receptors import Receptor

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
    """

    lines: tuple[str, ...]
    numpar: int
    maxpar: int
    counts: tuple[int, ...]
    heights: np.ndarray

    @property
    def count(self) -> int:
        """Particles released."""
        return sum(self.counts)


def plan_release(receptor: Receptor, params: TransportParams) -> Release:
    """
    Plan the release of a receptor.

    Parameters
    ----------
    receptor : Receptor
        Point, column or several points.
    params : TransportParams
        ``numpar`` and ``maxpar``. Without ``maxpar`` the points of a multipoint receptor get equal blocks.

    Raises
    ------
    ReceptorError, UnsupportedSettingError
        What the program cannot release: seconds, points above each other, years outside its calendar.
    """
    check_releasable(receptor, params)
    lines = tuple(f"{lat:.6f} {lon:.6f} {height:.2f}" for lat, lon, height in receptor)
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
    return Release(lines, params.numpar, maxpar, counts, heights)


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
        # the program reads coordinates in single precision
        spots = [(np.float32(lat), np.float32(lon)) for lat, lon, _ in receptor]
        if len(set(spots)) < len(spots):
            raise ReceptorError(
                f"receptor {receptor.id} has several points above one spot, which engine 'hysplit' turns "
                "into a vertical line; use a column receptor, single points, or engine: native."
            )
