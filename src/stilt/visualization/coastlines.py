"""
Coasts, lakes and borders as arrays, from the small file that ships with the package.

Plotting libraries fetch such lines from the network when first used, which fails on
compute nodes; these are always there. The file is described in ``data/README.md``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from importlib import resources

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Project = Callable[[FloatArray, FloatArray], tuple[FloatArray, FloatArray]]
View = tuple[float, float, float, float]

LAYERS = ("coast", "lake", "country", "province")


@lru_cache(maxsize=1)
def _layers() -> dict[str, FloatArray]:
    text = resources.files("stilt.visualization").joinpath("data/coastlines.json").read_text("utf-8")
    content = json.loads(text)
    gap = np.full((1, 2), np.nan)
    layers = {}
    for name, rows in content["layers"].items():
        parts = []
        for row in rows:
            parts += [np.cumsum(_decode(row).reshape(-1, 2), axis=0) / content["scale"], gap]
        layers[name] = np.concatenate(parts)
        layers[name].setflags(write=False)
    return layers


def _decode(text: str) -> NDArray[np.int64]:
    """Read an encoded polyline: numbers in characters of five bits, the sign in the lowest bit."""
    bits = np.frombuffer(text.encode("ascii"), dtype=np.uint8).astype(np.int64) - 63
    is_last = bits < 32
    starts = np.concatenate([[0], np.flatnonzero(is_last)[:-1] + 1])
    place = np.arange(bits.size) - np.repeat(starts, np.diff(np.append(starts, bits.size)))
    numbers = np.add.reduceat((bits & 31) << (5 * place), starts)
    decoded: NDArray[np.int64] = np.where(numbers & 1, ~(numbers >> 1), numbers >> 1)
    return decoded


def layer(name: str) -> FloatArray:
    """
    Return one kind of line.

    Parameters
    ----------
    name : str
        ``coast``, ``lake``, ``country`` or ``province``.

    Returns
    -------
    ndarray of float64, shape (n, 2)
        Longitude and latitude [degrees]; a row of NaN ends each line. Not to be written to.
    """
    return _layers()[name]


def lines_in_degrees(name: str, view: View) -> list[FloatArray]:
    """
    Return the lines that touch a box of longitudes and latitudes, wherever it starts counting.

    Parameters
    ----------
    name : str
        Kind of line.
    view : (x0, x1, y0, y1)
        The box [degrees]; longitudes may exceed 180 or lie below -180.

    Returns
    -------
    list of ndarray, shape (n, 2)
        Longitudes are counted as in the box.
    """
    points = layer(name)
    first = int(np.floor((view[0] + 180.0) / 360.0))
    last = int(np.floor((view[1] + 180.0) / 360.0))
    lines: list[FloatArray] = []
    for turn in range(first, last + 1):
        lines += _touching(points + np.array([360.0 * turn, 0.0]), view)
    return lines


def lines_projected(name: str, project: Project, view: View, *, step: float = 0.5) -> list[FloatArray]:
    """
    Return the lines that touch a box of a projected map.

    Parameters
    ----------
    name : str
        Kind of line.
    project : callable
        ``project(lon, lat) -> (x, y)``; not finite where there is no answer.
    view : (x0, x1, y0, y1)
        The box, in units of the map.
    step : float
        Straight pieces longer than this are bent along the parallel or meridian [degrees].

    Returns
    -------
    list of ndarray, shape (n, 2)
        In units of the map.
    """
    dense = _densify(layer(name), step)
    known = np.isfinite(dense[:, 0])
    projected = np.full(dense.shape, np.nan)
    x, y = project(dense[known, 0], dense[known, 1])
    projected[known] = np.column_stack([x, y])
    projected[~np.isfinite(projected).all(axis=1)] = np.nan
    return _touching(projected, view, longest=0.25 * max(view[1] - view[0], view[3] - view[2]))


def _densify(points: FloatArray, step: float) -> FloatArray:
    """Put points between those farther apart than a step."""
    here, there = points[:-1], points[1:]
    length = np.abs(there - here).max(axis=1)
    pieces = np.where(np.isfinite(length), np.maximum(np.ceil(length / step), 1.0), 1.0).astype(int)
    start = np.repeat(np.arange(len(pieces)), pieces)
    offset = np.arange(start.size) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    share = (offset / pieces[start])[:, None]
    moved = here[start] + np.where(share > 0.0, share * (there - here)[start], 0.0)
    return np.concatenate([moved, points[-1:]])


def _touching(points: FloatArray, view: View, *, longest: float = np.inf) -> list[FloatArray]:
    """Cut NaN-separated lines down to the pieces whose boxes overlap the view."""
    x0, x1, y0, y1 = view
    a, b = points[:-1], points[1:]
    with np.errstate(invalid="ignore"):
        low, high = np.minimum(a, b), np.maximum(a, b)
        keep = (low[:, 0] <= x1) & (high[:, 0] >= x0) & (low[:, 1] <= y1) & (high[:, 1] >= y0)
        # a piece across the seam of a projection would be drawn right through the map
        keep &= (high - low).max(axis=1) <= longest
    starts = np.flatnonzero(keep & ~np.concatenate([[False], keep[:-1]]))
    ends = np.flatnonzero(keep & ~np.concatenate([keep[1:], [False]]))
    return [points[start : end + 2] for start, end in zip(starts, ends, strict=True)]
