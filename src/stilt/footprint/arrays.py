"""Footprint values as an xarray object: dimensions, coordinates, attributes."""

from __future__ import annotations

from collections.abc import Hashable
from functools import lru_cache

import numpy as np
import pandas as pd
import xarray as xr
from xarray.indexes import PandasIndex

from stilt.footprint import netcdf
from stilt.footprint.axes import GridAxes
from stilt.spatial import Grid

UNITS = "ppm m2 s umol-1"


def data_array(
    values: np.ndarray,
    times: np.ndarray,
    axes: GridAxes,
    x: np.ndarray | None = None,
    y: np.ndarray | None = None,
) -> xr.DataArray:
    """
    Return numbers with coordinates.

    Parameters
    ----------
    values : ndarray, shape (n_layers, ny, nx)
        Footprint [ppm m2 s umol-1].
    times : ndarray of datetime64, shape (n_layers,)
        Labels [UTC].
    axes : GridAxes
        Where the cells lie.
    x, y : ndarray, optional
        Cell centres, where a file has them.

    Returns
    -------
    DataArray
    """
    dims = ("time", "lat", "lon") if axes.grid.is_longlat else ("time", "y", "x")
    rows, columns = _grid_indexes(axes.grid)
    indexes = {
        "time": _index("time", np.asarray(times, dtype="datetime64[ns]")),
        dims[1]: rows if y is None else _index(dims[1], y),
        dims[2]: columns if x is None else _index(dims[2], x),
    }
    coords: dict[Hashable, xr.Variable] = {}
    for index in indexes.values():
        coords |= index.create_variables()
    return xr.DataArray(
        values,
        dims=dims,
        coords=xr.Coordinates(coords, indexes=indexes),
        name="foot",
        attrs={"units": UNITS, "long_name": netcdf.LONG_NAME, "projection": axes.grid.projection},
    )


@lru_cache(maxsize=32)
def _grid_indexes(grid: Grid) -> tuple[PandasIndex, PandasIndex]:
    """Return the indexes of the cell centres along y and x; xarray takes long to make them."""
    axes = GridAxes.of(grid, warn=False)
    dims = ("lat", "lon") if grid.is_longlat else ("y", "x")
    return _index(dims[0], axes.y_centers()), _index(dims[1], axes.x_centers())


def _index(dim: str, values: np.ndarray) -> PandasIndex:
    return PandasIndex(pd.Index(values), dim)
