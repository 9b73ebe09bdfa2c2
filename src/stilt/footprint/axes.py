"""
A grid as the gridding sees it: edges as floating point numbers, longitudes in one unbroken range.

:class:`~stilt.spatial.Grid` says what the user asked for. This module adds what is
needed to put particles on it: which way longitudes are counted, how particles get
into the projection, whether the map closes on itself.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stilt.spatial import Grid, crs_of

if TYPE_CHECKING:
    import pyproj

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class GridAxes:
    """
    Where the cells of a grid lie.

    Attributes
    ----------
    grid : Grid
        What was asked for.
    west, east, south, north : float
        Edges in units of the projection, before cutting to whole cells. Longitudes are counted
        from :attr:`cut`, so a grid across the date line is unbroken.
    cut : float
        Longitudes are mapped into [cut, cut + 360) [degrees]; NaN where they are left alone.
    nx, ny : int
        Number of whole cells.
    is_cyclic : bool
        Whether the last column borders on the first.
    """

    grid: Grid
    west: float
    east: float
    south: float
    north: float
    cut: float
    nx: int
    ny: int
    is_cyclic: bool

    @classmethod
    def of(cls, grid: Grid, *, warn: bool = True) -> GridAxes:
        """Work out the axes of a grid; warn when bounds in degrees are not whole cells."""
        if warn and grid.is_longlat:
            _warn_of_cut_cells(grid)
        return cls._of(grid)

    @classmethod
    @lru_cache(maxsize=32)
    def _of(cls, grid: Grid) -> GridAxes:
        west, east, south, north = grid.extent
        ny, nx = grid.shape
        cut = math.nan
        is_cyclic = False
        if grid.is_longlat:
            is_cyclic = grid.is_global and abs(nx * grid.xres - 360.0) < 1e-6 * grid.xres
            if west < -180.0 or east > 180.0:
                turns = 360.0 * math.floor(west / 360.0)
                west, east = west - turns, east - turns
                # a grid across both the date line and 0 E is cut in the middle of what it leaves out
                cut = 0.0 if east <= 360.0 else west - (360.0 - (east - west)) / 2.0
            elif grid.is_global:
                cut = -180.0
        return cls(grid, west, east, south, north, cut, nx, ny, is_cyclic)

    def map_longitude(self, lon: FloatArray) -> FloatArray:
        """
        Count longitudes the way the grid does.

        Parameters
        ----------
        lon : ndarray
            Longitudes [degrees].

        Returns
        -------
        ndarray
            The same array where nothing had to change.
        """
        low = -180.0 if math.isnan(self.cut) else self.cut
        high = low + 360.0
        # particles of an engine that counts 0..360 are brought to -180..180 as well
        if not self.grid.is_longlat or lon.size == 0 or (lon.min() >= low and lon.max() < high):
            return lon
        if math.isnan(self.cut) and lon.max() <= 180.0 and lon.min() >= -180.0:
            return lon
        inside = (lon >= low) & (lon < high)
        mapped = np.where(inside, lon, np.mod(lon - low, 360.0) + low if low != 0.0 else np.mod(lon, 360.0))
        return np.where(mapped >= high, low, mapped)

    def project(self, lon: FloatArray, lat: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return positions in units of the grid; not finite where the projection has no answer."""
        if self.grid.is_longlat:
            return lon, lat
        x, y = _transformer(self.grid.projection).transform(lon, lat)
        return np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)

    def x_centers(self) -> FloatArray:
        """Return the cell centres from west to east, shape (nx,)."""
        return np.round(self.grid.x_centers(), 10)

    def y_centers(self) -> FloatArray:
        """Return the cell centres from south to north, shape (ny,)."""
        return np.round(self.grid.y_centers(), 10)


@lru_cache(maxsize=16)
def _transformer(projection: str) -> pyproj.Transformer:
    # making one costs as much as using it on ten thousand positions
    import pyproj

    return pyproj.Transformer.from_crs("EPSG:4326", crs_of(projection), always_xy=True)


def _warn_of_cut_cells(grid: Grid) -> None:
    if grid.is_whole:
        return
    x0, x1, y0, y1 = grid.covered_extent
    warnings.warn(
        f"the grid {grid.xmin:g}..{grid.xmax:g} by {grid.ymin:g}..{grid.ymax:g} degrees does not hold whole "
        f"cells of {grid.xres:g} by {grid.yres:g}; the bounds used are {x0:.10g}..{x1:.10g} by "
        f"{y0:.10g}..{y1:.10g}.",
        UserWarning,
        stacklevel=4,
    )
