"""The horizontal grid of a dataset: regular longitudes and latitudes, or WRF's projections."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from stilt.constants import EARTH_RADIUS_KM
from stilt.errors import MetFormatError
from stilt.meteorology.projection import HorizontalGrid

if TYPE_CHECKING:
    import xarray as xr

WRF_RADIUS_KM = 6370.0
_EVEN = 0.02
"""How far rows and columns may lie from even steps [steps]."""


@dataclass(frozen=True)
class Axes:
    """
    Where a dataset keeps rows and columns.

    Attributes
    ----------
    x, y : str
        Names of the dimensions.
    flip_y : bool
        Rows go from north to south.
    flip_x : bool
        Columns go from east to west.
    """

    x: str
    y: str
    flip_y: bool = False
    flip_x: bool = False


def _axis(dataset: xr.Dataset, kind: str, names: tuple[str, ...]) -> str | None:
    for name in dataset.dims:
        if name not in dataset.coords or dataset[name].ndim != 1:
            continue
        attributes = dataset[name].attrs
        units = str(attributes.get("units", ""))
        if attributes.get("standard_name") == kind or str(name).lower() in names:
            return str(name)
        if units.startswith("degree") and units.rstrip("s").endswith(
            "_north" if kind == "latitude" else "_east"
        ):
            return str(name)
    return None


def _even_step(values: np.ndarray, what: str) -> float:
    steps = np.diff(values.astype(float))
    step = float(steps.mean()) if steps.size else 0.0
    if steps.size == 0 or step == 0.0 or np.abs(steps - step).max() > _EVEN * abs(step):
        raise MetFormatError(
            f"{what} does not have even steps ({values.size} values from {values[0]:g} to {values[-1]:g}); "
            "remap the data to a regular grid."
        )
    # from end to end: single steps carry the rounding of float32 coordinates
    return float(values[-1] - values[0]) / (values.size - 1)


def latlon_grid(dataset: xr.Dataset, where: str) -> tuple[HorizontalGrid, Axes]:
    """
    Read a regular longitude-latitude grid; latitudes may descend, longitudes count from anywhere.

    Raises
    ------
    MetFormatError
        When there are no such axes or their steps are uneven.
    """
    y = _axis(dataset, "latitude", ("latitude", "lat"))
    x = _axis(dataset, "longitude", ("longitude", "lon"))
    if x is None or y is None:
        raise MetFormatError(
            f"{where} has no one-dimensional latitude and longitude (dimensions: "
            f"{', '.join(map(str, dataset.dims))}); use preset wrf for WRF output, or remap to a "
            "regular grid."
        )
    lat, lon = dataset[y].values.astype(float), dataset[x].values.astype(float)
    if np.abs(np.diff(lon)).max(initial=0.0) > 180.0:
        lon = np.degrees(np.unwrap(np.radians(lon)))
    dlat, dlon = _even_step(lat, f"{where}: {y}"), _even_step(lon, f"{where}: {x}")
    axes = Axes(x, y, flip_y=dlat < 0, flip_x=dlon < 0)
    south, west = float(min(lat[0], lat[-1])), float(min(lon[0], lon[-1]))
    grid = HorizontalGrid.latlon(
        round(west, 6), round(south, 6), round(abs(dlon), 7), round(abs(dlat), 7), lon.size, lat.size
    )
    return grid, axes


def wrf_grid(dataset: xr.Dataset, where: str) -> tuple[HorizontalGrid, Axes]:
    """
    Read WRF's grid from its attributes, and check it against XLAT and XLONG.

    Raises
    ------
    MetFormatError
        For a projection that ARL headers cannot describe, or attributes that do not fit the coordinates.
    """
    attributes = dataset.attrs
    try:
        projection = int(attributes["MAP_PROJ"])
        first, second = float(attributes["TRUELAT1"]), float(attributes["TRUELAT2"])
        central, size = float(attributes["STAND_LON"]), float(attributes["DX"]) / 1000.0
    except KeyError as error:
        raise MetFormatError(
            f"{where} has no attribute {error}; it is not WRF output as WRF writes it."
        ) from error
    lat, lon = dataset["XLAT"].values, dataset["XLONG"].values
    if lat.ndim == 3:
        lat, lon = lat[0], lon[0]
    ny, nx = lat.shape
    if projection == 1:
        cone = math.sin(math.radians(first))
        if abs(first - second) > 1e-6:
            a, b = math.radians(first), math.radians(second)
            ratio = math.tan(math.pi / 4 - a / 2) / math.tan(math.pi / 4 - b / 2)
            cone = math.log(math.cos(a) / math.cos(b)) / math.log(ratio)
        tangent = math.degrees(math.asin(cone))
    elif projection == 2:
        tangent = math.copysign(90.0, first)
    elif projection == 3:
        tangent = 0.0
    else:
        raise MetFormatError(
            f"{where} has MAP_PROJ {projection}; Lambert, polar and Mercator (1, 2, 3) are understood."
        )
    # both are maps of a sphere; the cell is stretched so that positions agree on ours
    grid = HorizontalGrid(
        -90.0 if tangent < 0 else 90.0, 0.0, first, central, size * EARTH_RADIUS_KM / WRF_RADIUS_KM, 0.0,
        tangent, 1.0, 1.0, float(lat[0, 0]), float(lon[0, 0]), nx, ny,
    )  # fmt: skip
    x, y = grid.to_xy(lon[[0, 0, -1, -1], [0, -1, 0, -1]], lat[[0, 0, -1, -1], [0, -1, 0, -1]])
    off = max(float(np.abs(x - [1, nx, 1, nx]).max()), float(np.abs(y - [1, 1, ny, ny]).max()))
    if not off < 0.1:
        raise MetFormatError(
            f"{where}: the corners in XLAT and XLONG lie {off:.2f} cells from where the projection's "
            "attributes put them; the file was cut or remapped without them."
        )
    return _anchored(grid), Axes("west_east", "south_north")


def _anchored(grid: HorizontalGrid) -> HorizontalGrid:
    """Return the same grid tied to a round position near its middle, which a header can hold."""
    middle = grid.to_lonlat(0.5 * (grid.nx + 1), 0.5 * (grid.ny + 1))
    lon, lat = round(float(middle[0]), 1), round(float(middle[1]), 1)
    x, y = grid.to_xy(lon, lat)
    return replace(grid, sync_x=round(float(x), 6), sync_y=round(float(y), 6), sync_lat=lat, sync_lon=lon)
