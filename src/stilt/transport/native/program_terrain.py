"""
Terrain under a release as ``hycs_std`` finds it: for following a seeded run of it, row by row.

The program takes the terrain from one step of the mean wind, so its particles start
some 0.1 m (near the ground) to 20 m (heights above sea level) higher or lower than
the receptor asks. Only ``random: hysplit`` copies that.
"""

from __future__ import annotations

import numpy as np

from stilt.kernels import particles
from stilt.kernels.particles import Clock
from stilt.transport.native.recipe import ColumnSource
from stilt.transport.native.release import Release
from stilt.transport.native.tiles import TimeColumns, grid_shape

F = np.float32


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
        The analyses around the release, tiles under it loaded.
    clock : Clock
        Time of the release between them.
    sign : int
        -1 backward, +1 forward.
    release : Release
        Where the particles start.
    terrain : ndarray of float32, shape (n,)
        Terrain under the releases, kept where a minute of wind leaves the loaded tiles.
    """
    levels = source.levels
    velocity = np.zeros(4, dtype=F)
    shape = grid_shape(source)
    tf0, tf1 = F(clock.offset / clock.interval), F((clock.offset + F(1.0)) / clock.interval)
    starts = np.stack([release.x, release.y, release.height], axis=1)
    points, index = np.unique(starts, axis=0, return_inverse=True)
    out = np.empty(len(points), dtype=F)
    for n, (x, y, height) in enumerate(points):
        # the program's step starts at this height as if the ground lay at sea level
        sigma = F(1.0) - F(height) / levels.top
        out[n] = particles.terrain_one_minute_away(
            first.columns, second.columns, shape, levels, F(sign), tf0, tf1, F(x), F(y), sigma, velocity
        )
    out = out[index.reshape(-1)]
    return np.where(np.isnan(out), terrain, out)
