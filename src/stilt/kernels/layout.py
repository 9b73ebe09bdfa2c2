"""
Where each number of a prepared column lies: the seam between preparing and using meteorology.

One grid column at one analysis time is one row of float32 numbers, all levels
from the ground up, all variables of a level side by side, then the numbers that
belong to the column as a whole::

    [ level 1: U V W D T P RH TH SW TL H2 W2 | level 2: ... | level N: ... | ZI TERRAIN GX GY ... ]

so a particle between two levels reads one short stretch of memory per column.
Rows of one tile of columns follow each other, west to east, then south to north.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

PER_LEVEL = 12
"""Numbers stored per level."""

U, V, W = 0, 1, 2
"""Mean wind along the grid axes [cells min-1]; W is d(sigma)/dt [min-1]."""
DENSITY = 3
"""Density [kg m-3], from virtual temperature."""
TEMPERATURE = 4
"""Ambient temperature [K]."""
PRESSURE = 5
"""Pressure [hPa]."""
HUMIDITY = 6
"""Relative humidity [fraction]."""
THETA = 7
"""Potential temperature [K]."""
MEAN_VARIABLES = 8
"""The first eight are interpolated in x, y and t; the others are read from the nearest column."""
SIGMA_W = 8
"""Standard deviation of vertical velocity [m s-1]."""
TL_W = 9
"""Lagrangian time scale of vertical velocity [s]."""
VARIANCE_H = 10
"""Variance of each horizontal velocity component [m2 s-2]."""
VARIANCE_W = 11
"""Variance of vertical velocity [m2 s-2], read instead of sigma_w where time scales are prescribed."""

ZI = 0
"""Mixed-layer depth [m AGL]."""
TERRAIN = 1
"""Terrain height [m MSL]."""
GX, GY = 2, 3
"""Grid spacing along x and y at this column [m]."""
SHTF, WHTF = 4, 5
"""Sensible and latent heat flux [W m-2], 0 where the file has none."""
TCLD = 6
"""Total cloud cover [percent], NO_CLOUD_COVER where the file has none."""
LCLD = 7
"""Low cloud cover [percent], MISSING where the file has none."""
GROUND_DENSITY = 8
"""Density of the air at the ground, taken as dry [kg m-3]."""
RAIN = 9
"""Precipitation accumulated at this analysis [m], MISSING where the file has none."""
CRAI = 10
"""Convective precipitation accumulated at this analysis [m], 0 where the file has none."""
TL_COLUMN = 11
"""Prescribed Lagrangian time scale of the column [s], 0 where the scheme gives one per level."""
PER_COLUMN = 12
"""Numbers stored per column after the levels."""

MISSING = np.float32(-99.0)
NO_CLOUD_COVER = np.float32(-100.0)

TILE_BITS = 5
TILE = 1 << TILE_BITS
"""Columns along each side of a tile."""


def row_length(n_levels: int) -> int:
    """Return how many float32 numbers one prepared column takes."""
    return n_levels * PER_LEVEL + PER_COLUMN


class Columns(NamedTuple):
    """Prepared columns of one analysis time, as kernels see them."""

    values: np.ndarray
    """float32, flat: tiles one after the other, each ``tile_ny * tile_nx`` rows of ``row_length``."""
    slots: np.ndarray
    """int32, shape (n_tiles_y, n_tiles_x): position of each tile in ``values``, -1 where absent."""


class GridShape(NamedTuple):
    """Size of the horizontal grid and how it is cut into tiles."""

    nx: int
    ny: int
    tile_nx: int
    tile_ny: int
    row_length: int
    """Numbers per prepared column."""
    is_cyclic: bool
    """Columns wrap around in x."""
    is_global: bool
    """Rows reflect at the poles too."""
    west: int = 0
    """Columns left out west of where the mean wind counts x from; more than 0 only to round as hycs_std."""
    south: int = 0


class Levels(NamedTuple):
    """The internal terrain-following levels (see :mod:`stilt.kernels.vertical`)."""

    sigma: np.ndarray
    """float32, shape (n_levels,): 1 at the ground, falling upward."""
    a: np.float32
    b: np.float32
    c: np.float32
    """Height of level k is ``a k^2 + b k + c`` [m] above flat ground, k = 1, 2, ..."""
    top: np.float32
    """Height of the coordinate's top, sigma = 0 [m MSL]."""
    surface_index: int
    """1-based index of the level that tops the surface layer."""
    rounded: np.ndarray
    """int64, shape (n_levels,): sigma in units of 1e-4, rounded, for comparing heights."""
    prescribed_tl: bool = False
    """Whether the vertical time scale is a setting (``vscales`` above 0) and not the scheme's."""
