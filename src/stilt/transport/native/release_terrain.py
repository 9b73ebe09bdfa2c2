"""
Terrain that release heights count from: the model's at the receptor, or as ``hycs_std`` finds it.

The program takes the terrain from where one trial minute of mean wind leads, so its
particles start some 0.1 m (near the ground) to 20 m (heights above sea level over
slopes) higher or lower than the receptor asks. All STILT results contain that, and
aloft, where particles hardly spread, it shows; hence it is the default
(``design/2026-11-22-release-terrain-again.md``).
"""

from __future__ import annotations

import numpy as np

from stilt.kernels import layout, particles
from stilt.kernels.interpolation import column_value, find_place
from stilt.kernels.layout import TILE_BITS
from stilt.kernels.state import Clock
from stilt.transport.native.recipe import ColumnSource
from stilt.transport.native.release import Release
from stilt.transport.native.tiles import TimeColumns, grid_shape

F = np.float32

_REACH = 10
"""Cells around a release that a minute of wind stays within."""


def tiles_of(x: np.ndarray, y: np.ndarray, shape: layout.GridShape) -> set[tuple[int, int]]:
    """Return the tiles under a set of positions."""
    column = x.astype(int) - 1
    if shape.is_cyclic:
        column %= shape.nx
    i = np.clip(column, 0, shape.nx - 1) >> TILE_BITS
    j = np.clip(y.astype(int) - 1, 0, shape.ny - 1) >> TILE_BITS
    return set(zip(j.tolist(), i.tolist()))


def tiles_around(x: np.ndarray, y: np.ndarray, reach: int, shape: layout.GridShape) -> set[tuple[int, int]]:
    """Return the tiles under a set of positions and ``reach`` cells around them."""
    wanted = set()
    for dx in (-reach, 0, reach):
        for dy in (-reach, 0, reach):
            column = (x + dx - 1) % shape.nx + 1 if shape.is_cyclic else x + dx
            wanted |= tiles_of(column, y + dy, shape)
    return wanted


def terrain_at(columns: TimeColumns, source: ColumnSource, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return model terrain [m MSL] at grid coordinates, float32, bilinear."""
    shape = grid_shape(source)
    columns.load(sorted(tiles_around(x, y, 1, shape)))
    at = np.uint64(source.levels.sigma.size * layout.PER_LEVEL + layout.TERRAIN)
    points, index = np.unique(np.stack([x, y], axis=1), axis=0, return_inverse=True)
    heights = np.empty(len(points), dtype=np.float32)
    for n, (px, py) in enumerate(points):
        place, loaded = find_place(columns.columns, columns.columns, shape, px, py, np.float32(0.0))
        assert loaded  # noqa: S101 - all four corners were asked for above
        heights[n] = column_value(columns.columns, columns.columns, place, at)
    return heights[index.reshape(-1)]


def program_terrain(
    source: ColumnSource,
    first: TimeColumns,
    second: TimeColumns,
    clock: Clock,
    sign: int,
    release: Release,
    terrain: np.ndarray,
) -> np.ndarray:
    """
    Return the terrain height [m MSL] the program assumes under each release, float32.

    Parameters
    ----------
    source : ColumnSource
        Meteorology.
    first, second : TimeColumns
        The analyses around the release.
    clock : Clock
        Time of the release between them.
    sign : int
        -1 backward, +1 forward.
    release : Release
        Where the particles start.
    terrain : ndarray of float32, shape (n,)
        Terrain under the releases, kept where a minute of wind leads off the grid.
    """
    shape, levels = grid_shape(source), source.levels
    tf0 = F(clock.offset / clock.interval)
    tf1 = min(F(1.0), F((clock.offset + F(1.0)) / clock.interval))
    x, y = release.x.astype(F), release.y.astype(F)
    # the program's trial step starts at a location's lowest height, as if the ground lay at sea level
    top = F(levels.top)
    sigma = (top - release.lowest.astype(F)) / top
    out = terrain.astype(F)
    for reach in (1, _REACH):
        wanted = sorted(tiles_around(release.x, release.y, reach, shape))
        first.load(wanted)
        second.load(wanted)
        missing = particles.terrain_one_minute_away(
            first.columns, second.columns, shape, levels, F(sign), tf0, tf1, x, y, sigma, out
        )
        if not missing:
            break
    return out
