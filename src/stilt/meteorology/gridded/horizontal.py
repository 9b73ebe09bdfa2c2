"""The horizontal grid of a dataset: regular longitudes and latitudes, or a conformal projection."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stilt.constants import EARTH_RADIUS_KM
from stilt.errors import MetFormatError
from stilt.meteorology.projection import HorizontalGrid

if TYPE_CHECKING:
    import xarray as xr

WRF_RADIUS_KM = 6370.0
_GRIB_RADIUS_KM = 6371.229
Floats = NDArray[np.float64]
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


_MAPPINGS = {
    "lambert_conformal_conic": ("standard_parallel", "longitude_of_central_meridian"),
    "polar_stereographic": ("straight_vertical_longitude_from_pole",),
    "mercator": ("longitude_of_projection_origin",),
}
"""CF's grid mappings that an ARL header can describe, and what each has to say (PROJ would take 0)."""
_PROJ_TEXTS = ("crs_wkt", "spatial_ref", "proj4", "proj4text", "proj4_params", "proj_params")


def _axis(dataset: xr.Dataset, kind: str, names: tuple[str, ...]) -> str | None:
    for name in dataset.dims:
        if name not in dataset.coords or dataset[name].ndim != 1:
            continue
        attributes = dataset[name].attrs
        units = str(attributes.get("units", ""))
        if attributes.get("standard_name") == kind or str(name).lower() in names:
            return str(name)
        if (
            kind in ("latitude", "longitude")
            and units.startswith("degree")
            and units.rstrip("s").endswith("_north" if kind == "latitude" else "_east")
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


def cf_grid(dataset: xr.Dataset, where: str) -> tuple[HorizontalGrid, Axes]:
    """
    Read the grid of CF data: projected where a grid mapping or GRIB's keys say so, else regular.

    Raises
    ------
    MetFormatError
        For a grid that ARL headers cannot describe.
    """
    mapping = _mapping(dataset)
    if mapping is not None:
        return _projected(dataset, where, mapping)
    for variable in dataset.data_vars.values():
        if variable.attrs.get("GRIB_gridType", "regular_ll") != "regular_ll":
            return _grib(dataset, where, variable)
    return latlon_grid(dataset, where)


def north_of(grid: HorizontalGrid, x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
    """
    Return where north is on a conformal grid.

    Parameters
    ----------
    grid : HorizontalGrid
        The grid.
    x, y : array_like
        1-based grid coordinates.

    Returns
    -------
    along_x, along_y : ndarray of float64
        The unit vector to the north in grid coordinates; the one to the east is (along_y, -along_x).
    """
    lon, lat = grid.to_lonlat(x, y)
    step = np.where(lat > 0.0, -1e-3, 1e-3)  # away from the nearer pole
    x0, y0 = grid.to_xy(lon, lat)
    x1, y1 = grid.to_xy(lon, lat + step)
    dx, dy = (x1 - x0) * np.sign(step), (y1 - y0) * np.sign(step)
    length = np.hypot(dx, dy)
    return dx / length, dy / length


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
            f"{', '.join(map(str, dataset.dims))}) and no grid mapping; use preset wrf for WRF output, add "
            "a grid mapping, or remap to a regular grid."
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


def _mapping(dataset: xr.Dataset) -> Mapping[str, Any] | None:
    """Find the attributes that describe the projection; None for longitudes and latitudes."""
    for variable in dataset.data_vars.values():
        name = variable.attrs.get("grid_mapping", variable.encoding.get("grid_mapping"))
        if name is None:
            continue
        name = str(name).split(":")[0].strip()
        if name in dataset.variables:
            attributes = dict(dataset[name].attrs)
            if attributes.get("grid_mapping_name") != "latitude_longitude":
                return attributes
    return None


def _projected(dataset: xr.Dataset, where: str, mapping: Mapping[str, Any]) -> tuple[HorizontalGrid, Axes]:
    """Read a grid of even steps on the plane of a CF grid mapping."""
    import pyproj

    kind = str(mapping.get("grid_mapping_name", ""))
    if kind and kind not in _MAPPINGS:
        raise _other_projection(where, kind)
    x = _axis(dataset, "projection_x_coordinate", ("x", "west_east"))
    y = _axis(dataset, "projection_y_coordinate", ("y", "south_north"))
    if x is None or y is None:
        raise MetFormatError(
            f"{where} has a grid mapping but no one-dimensional x and y (standard names "
            "projection_x_coordinate and projection_y_coordinate); add them."
        )
    lacking = [key for key in _MAPPINGS.get(kind, ()) if key not in mapping]
    if lacking and not any(key in mapping for key in _PROJ_TEXTS):
        raise MetFormatError(f"{where}: its grid mapping {kind} has no {lacking[0]}; add the attribute.")
    try:
        text = next((mapping[key] for key in _PROJ_TEXTS[2:] if key in mapping), None)
        named = "grid_mapping_name" in mapping or any(key in mapping for key in _PROJ_TEXTS[:2])
        crs = pyproj.CRS.from_cf(dict(mapping)) if named else pyproj.CRS.from_user_input(text)
        cf = crs.to_cf()
    except (pyproj.exceptions.CRSError, KeyError, TypeError, ValueError) as error:
        raise MetFormatError(
            f"{where}: the projection in its grid mapping is not understood "
            f"({' '.join(str(error).split())[:120]}). Correct its attributes."
        ) from error
    kind = kind or str(cf.get("grid_mapping_name", "unknown"))
    if kind not in _MAPPINGS or crs.ellipsoid is None:
        raise _other_projection(where, kind)
    values = {key: dataset[key].values.astype(float) * _metres(dataset[key], where) for key in (x, y)}
    dx, dy = _even_step(values[x], f"{where}: {x}"), _even_step(values[y], f"{where}: {y}")
    if abs(abs(dx) - abs(dy)) > 1e-4 * abs(dx):
        raise MetFormatError(
            f"{where}: cells are {abs(dx):g} x {abs(dy):g} m; ARL grids have square cells. Remap the data."
        )
    xs, ys = np.sort(values[x]), np.sort(values[y])
    corners_x, corners_y = xs[[0, -1, 0, -1, xs.size // 2]], ys[[0, 0, -1, -1, ys.size // 2]]
    # positions on the data's own Earth; a latitude there is taken for one on ours
    lon, lat = pyproj.Proj(crs)(corners_x, corners_y, inverse=True)
    parallels = np.ravel(cf.get("standard_parallel", mapping.get("standard_parallel", 0.0))).astype(float)
    if kind == "lambert_conformal_conic":
        tangent, reference = _cone_tangent(parallels[0], parallels[-1]), parallels[0]
        central = cf["longitude_of_central_meridian"]
    elif kind == "polar_stereographic":
        tangent = math.copysign(90.0, float(np.mean(lat)))
        reference = parallels[0] if "standard_parallel" in cf else _polar_parallel(cf, tangent)
        central = cf["straight_vertical_longitude_from_pole"]
    else:
        tangent, reference = 0.0, parallels[0]
        central = cf.get("longitude_of_projection_origin", float(lon[4]))
    size = abs(dx) / 1000.0 * EARTH_RADIUS_KM / (crs.ellipsoid.semi_major_metre / 1000.0)
    grid = HorizontalGrid(
        -90.0 if tangent < 0 else 90.0, 0.0, reference, float(central), size, 0.0, tangent, 1.0, 1.0,
        float(lat[0]), float(lon[0]), xs.size, ys.size,
    )  # fmt: skip
    at_x, at_y = (
        np.interp(corners_x, xs, np.arange(1.0, xs.size + 1)),
        np.interp(corners_y, ys, np.arange(1.0, ys.size + 1)),
    )
    _check_positions(grid, lon, lat, at_x, at_y, f"{where}: its grid mapping and x and y")
    _check_coordinates(dataset, where, grid, Axes(x, y, flip_y=dy < 0, flip_x=dx < 0))
    return _anchored(grid), Axes(x, y, flip_y=dy < 0, flip_x=dx < 0)


def _other_projection(where: str, kind: str) -> MetFormatError:
    return MetFormatError(
        f"{where} is on the projection {kind}; of projections {', '.join(_MAPPINGS)} are read. "
        "Remap the data."
    )


def _check_coordinates(dataset: xr.Dataset, where: str, grid: HorizontalGrid, axes: Axes) -> None:
    """Compare a grid with two-dimensional latitudes and longitudes, where a file has them."""
    found = {}
    for name in map(str, dataset.variables):
        kind = str(dataset[name].attrs.get("standard_name", ""))
        if kind in ("latitude", "longitude") and set(dataset[name].dims) == {axes.x, axes.y}:
            found[kind] = dataset[name].transpose(axes.y, axes.x).values.astype(float)
    if len(found) == 2:
        lat, lon = (
            found[kind][:: -1 if axes.flip_y else 1, :: -1 if axes.flip_x else 1]
            for kind in ("latitude", "longitude")
        )
        _check_corners(grid, lon, lat, f"{where}: its grid mapping and its latitudes and longitudes")


def _metres(coordinate: xr.DataArray, where: str) -> float:
    units = str(coordinate.attrs.get("units", "")).lower()
    if units in ("m", "meter", "metre", "meters", "metres"):
        return 1.0
    if units in ("km", "kilometer", "kilometre", "kilometers", "kilometres"):
        return 1000.0
    what = f"units '{units}'" if units else "no units"
    raise MetFormatError(f"{where}: {coordinate.name} has {what}; x and y of a projection are in m or km.")


def _polar_parallel(cf: Mapping[str, Any], tangent: float) -> float:
    """Return where the scale is one, from the scale at the pole."""
    scale = float(cf.get("scale_factor_at_projection_origin", 1.0))
    return math.copysign(math.degrees(math.asin(min(2.0 * scale - 1.0, 1.0))), tangent)


def _grib(dataset: xr.Dataset, where: str, variable: xr.DataArray) -> tuple[HorizontalGrid, Axes]:
    """Read the Lambert grid that cfgrib describes by GRIB's keys and two-dimensional coordinates."""
    keys = variable.attrs
    kind = keys["GRIB_gridType"]
    if kind != "lambert" or "latitude" not in dataset or dataset["latitude"].ndim != 2:
        raise MetFormatError(
            f"{where} is on GRIB's grid {kind}; regular_ll and lambert are read. Remap the data."
        )
    y, x = map(str, dataset["latitude"].dims)
    lat, lon = dataset["latitude"].values, dataset["longitude"].values
    axes = Axes(x, y, flip_y=bool(lat[-1, 0] < lat[0, 0]))
    if axes.flip_y:
        lat, lon = lat[::-1], lon[::-1]
    first, second = float(keys["GRIB_Latin1InDegrees"]), float(keys["GRIB_Latin2InDegrees"])
    ny, nx = lat.shape
    # the Earth of meteorological GRIB is a sphere of 6371.229 km
    size = float(keys["GRIB_DxInMetres"]) / 1000.0 * EARTH_RADIUS_KM / _GRIB_RADIUS_KM
    grid = HorizontalGrid(
        90.0 if first > 0 else -90.0, 0.0, first, float(keys["GRIB_LoVInDegrees"]), size, 0.0,
        _cone_tangent(first, second), 1.0, 1.0, float(lat[0, 0]), float(lon[0, 0]), nx, ny,
    )  # fmt: skip
    _check_corners(grid, lon, lat, f"{where}: GRIB's keys and coordinates")
    return _anchored(grid), axes


def _cone_tangent(first: float, second: float) -> float:
    """Return the tangent latitude of the cone through two parallels [degrees]."""
    cone = math.sin(math.radians(first))
    if abs(first - second) > 1e-6:
        a, b = math.radians(first), math.radians(second)
        ratio = math.tan(math.pi / 4 - a / 2) / math.tan(math.pi / 4 - b / 2)
        cone = math.log(math.cos(a) / math.cos(b)) / math.log(ratio)
    return math.degrees(math.asin(cone))


def _check_corners(grid: HorizontalGrid, lon: Floats, lat: Floats, what: str) -> None:
    """Compare the corners of two-dimensional positions, rows from the south, with those of a grid."""
    rows, columns = np.array([0, 0, -1, -1]), np.array([0, -1, 0, -1])
    at_x, at_y = np.array([1.0, grid.nx, 1.0, grid.nx]), np.array([1.0, 1.0, grid.ny, grid.ny])
    _check_positions(grid, lon[rows, columns], lat[rows, columns], at_x, at_y, what)


def _check_positions(
    grid: HorizontalGrid, lon: Floats, lat: Floats, at_x: Floats, at_y: Floats, what: str
) -> None:
    """Refuse a grid that does not put points where the data say they are."""
    x, y = grid.to_xy(lon, lat)
    off = max(float(np.abs(x - at_x).max()), float(np.abs(y - at_y).max()))
    if not off < 0.1:
        raise MetFormatError(
            f"{what} put points up to {off:.2f} cells apart; the file was cut or remapped without correcting "
            "them, or its Earth is no sphere. Remap the data to longitudes and latitudes."
        )


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
        tangent = _cone_tangent(first, second)
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
    _check_corners(grid, lon, lat, f"{where}: XLAT, XLONG and the attributes")
    return _anchored(grid), Axes("west_east", "south_north")


def _anchored(grid: HorizontalGrid) -> HorizontalGrid:
    """Return the same grid tied to a round position near its middle, which a header can hold."""
    middle = grid.to_lonlat(0.5 * (grid.nx + 1), 0.5 * (grid.ny + 1))
    lon, lat = round(float(middle[0]), 1), round(float(middle[1]), 1)
    x, y = grid.to_xy(lon, lat)
    return replace(grid, sync_x=round(float(x), 6), sync_y=round(float(y), 6), sync_lat=lat, sync_lon=lon)
