"""Roughness length where the meteorology has none: a 1-degree map of the world."""

from __future__ import annotations

import functools
from importlib.resources import files

import numpy as np

_CM = 0.01


@functools.cache
def roughness_map() -> np.ndarray:
    """Return roughness length [m], float32, shape (180, 360), from the north pole and 180 W."""
    text = (files("stilt.transport.native") / "roughness_1deg.txt").read_text(encoding="ascii")
    table = np.empty((180, 360), dtype=np.float32)
    rows = [line for line in text.splitlines() if line and not line.startswith("#")]
    for j, line in enumerate(rows):
        i = 0
        for run in line.split():
            value, _, count = run.partition("*")
            n = int(count or 1)
            table[j, i : i + n] = np.float32(value) * np.float32(_CM)
            i += n
    return table


def roughness_at(lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
    """
    Look up the 1-degree cell each point lies in; on an edge that is the one to the east or north.

    Parameters
    ----------
    lon, lat : ndarray
        Degrees, any shape; longitudes of any turn.

    Returns
    -------
    ndarray of float32
        Roughness length [m].
    """
    i = np.floor((np.asarray(lon) + 180.0) % 360.0).astype(int) % 360
    # counted from the south: many columns of latitude-longitude grids lie on whole degrees
    j = 179 - np.clip(np.floor(np.asarray(lat) + 90.0).astype(int), 0, 179)
    return roughness_map()[j, i]
