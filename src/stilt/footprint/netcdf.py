"""
The NetCDF file of a footprint: CF-1.8, written and read in memory.

::

    dimensions  time, lat, lon (or y, x on a projected grid), nv = 2
    foot(time, lat, lon)   float32, deflated; grid_mapping = crs; units ppm m2 s umol-1
    time(time)             seconds since 1970-01-01 00:00:00 UTC, start of the hour; time_bnds
    lat, lon / y, x        cell centres; *_bnds the cell edges
    crs                    grid mapping, with the projection as WKT
    global attributes      Conventions name receptor projection xmin xmax ymin ymax xres yres smooth_factor
                           time_integrate smoothing align time_bins transforms settings_hash stilt_version
                           engine time_created

Files are made as bytes, so that a store can write them as one atomic object. Equal footprints
give equal files but for ``time_created``, ``history`` and the time HDF5 stamps on its root group.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import netCDF4
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from stilt.errors import FootprintError
from stilt.spatial import Grid

GRID_KEYS = ("xmin", "xmax", "ymin", "ymax", "xres", "yres", "projection")
"""Fields of a grid, as global attributes and in markers."""

LONG_NAME = "sensitivity of the mole fraction at the receptor to the surface flux in the cell"

# HDF5 is not safe under threads, and netCDF4 lets go of the GIL
_ONE_AT_A_TIME = threading.Lock()

_EPOCH = np.datetime64("1970-01-01T00:00:00", "s")
_TIME_UNITS = "seconds since 1970-01-01 00:00:00"
_FACTS = (
    "name",
    "receptor",
    "smooth_factor",
    "time_integrate",
    "transforms",
    "settings_hash",
    "stilt_version",
    "engine",
    "time_created",
)


@dataclass(frozen=True, eq=False)
class FileContent:
    """What a footprint file holds."""

    values: NDArray[np.float32]
    times: NDArray[np.datetime64]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    start: np.datetime64
    end: np.datetime64
    attributes: dict[str, Any]


def write(data: xr.DataArray, grid: Grid, *, intervals: np.ndarray, attributes: Mapping[str, Any]) -> bytes:
    """
    Write a footprint.

    Parameters
    ----------
    data : DataArray
        ``(time, lat, lon)`` or ``(time, y, x)``.
    grid : Grid
        Its grid.
    intervals : ndarray of datetime64, shape (n_layers, 2)
        Start and end of each layer [UTC].
    attributes : mapping
        Global attributes beside those of the grid.

    Returns
    -------
    bytes
    """
    with _ONE_AT_A_TIME:
        return _write(data, grid, intervals, attributes)


def _write(data: xr.DataArray, grid: Grid, intervals: np.ndarray, attributes: Mapping[str, Any]) -> bytes:
    # a file in memory gives its bytes when closed, so it cannot be a context manager
    file = netCDF4.Dataset("footprint.nc", "w", format="NETCDF4", memory=1)
    try:
        _fill(file, data, grid, intervals, attributes)
    except BaseException:
        file.close()
        raise
    return _trim(bytes(file.close()))


def read(source: str | os.PathLike[str] | bytes) -> FileContent:
    """
    Read what :func:`write` wrote.

    Parameters
    ----------
    source : path or bytes
        The file.

    Returns
    -------
    FileContent
    """
    with _ONE_AT_A_TIME:
        return _read(source)


def _read(source: str | os.PathLike[str] | bytes) -> FileContent:
    where = "the bytes given" if isinstance(source, bytes) else os.fspath(source)
    try:
        if isinstance(source, bytes):
            file = netCDF4.Dataset("footprint.nc", "r", memory=source)
        else:
            file = netCDF4.Dataset(where, "r")
    except FileNotFoundError:
        raise
    except OSError as error:
        raise FootprintError(f"{where} cannot be read as a NetCDF footprint: {error}") from error
    with file:
        missing = [key for key in (*GRID_KEYS, *_FACTS) if key not in file.ncattrs()]
        if "foot" not in file.variables or missing:
            raise FootprintError(
                f"{where} is no footprint file: it lacks {', '.join(missing) or 'the variable foot'}."
            )
        file.set_auto_mask(False)
        foot = file["foot"]
        edges = file["time_bnds"][:]
        return FileContent(
            values=foot[:],
            times=_instants(file["time"][:]),
            x=file[foot.dimensions[2]][:],
            y=file[foot.dimensions[1]][:],
            start=_instants(edges.min()),
            end=_instants(edges.max()),
            attributes={key: file.getncattr(key) for key in file.ncattrs()},
        )


def _trim(content: bytes) -> bytes:
    """
    Cut an HDF5 file image at its end of file.

    Memory grows in blocks of 64 KiB. The superblock (versions 2 and 3) holds the true length in
    bytes 28 to 36.
    """
    if content[8] not in (2, 3) or content[9] != 8:
        return content
    return content[: int.from_bytes(content[28:36], "little")]


def _fill(
    file: netCDF4.Dataset,
    data: xr.DataArray,
    grid: Grid,
    intervals: np.ndarray,
    attributes: Mapping[str, Any],
) -> None:
    """Put a footprint into an open file."""
    y_name, x_name = str(data.dims[1]), str(data.dims[2])
    file.setncatts({"Conventions": "CF-1.8", "title": "STILT footprint", **attributes})
    file.setncattr("history", f"{attributes['time_created']} made by stilt {attributes['stilt_version']}")
    file.setncatts({key: getattr(grid, key) for key in GRID_KEYS})
    for name in data.dims:
        file.createDimension(str(name), data.sizes[name])
    file.createDimension("nv", 2)

    seconds = _seconds(data["time"].to_numpy())
    edges = _seconds(intervals)
    time = {"standard_name": "time", "long_name": "start of the hour of influence", "axis": "T"}
    if attributes["time_bins"] != "null":
        time["long_name"] = "start of the interval of influence"
    if attributes["time_integrate"]:
        time["long_name"] = "receptor time"
    time |= {"units": _TIME_UNITS, "calendar": "standard"}
    _coordinate(file, "time", seconds, edges, time)
    for name, size, about in ((y_name, grid.yres, _about_y(grid)), (x_name, grid.xres, _about_x(grid))):
        centres = data[name].to_numpy()
        _coordinate(file, name, centres, np.stack([centres - size / 2, centres + size / 2], axis=1), about)

    crs = file.createVariable("crs", "i4")
    crs.setncatts({key: value for key, value in grid.crs().to_cf().items() if value is not None})
    crs.assignValue(0)

    foot = file.createVariable(
        "foot",
        "f4",
        ("time", y_name, x_name),
        zlib=True,
        complevel=4,
        shuffle=True,
        chunksizes=(1, data.shape[1], data.shape[2]),
        fill_value=False,
    )
    foot.setncatts(
        {
            "long_name": LONG_NAME,
            "units": data.attrs["units"],
            "grid_mapping": "crs",
            "cell_methods": f"time: sum {y_name}: {x_name}: sum",
        }
    )
    for layer in range(data.shape[0]):
        foot[layer] = data.values[layer].astype(np.float32)


def _coordinate(
    file: netCDF4.Dataset, name: str, values: np.ndarray, edges: np.ndarray, about: Mapping[str, str]
) -> None:
    variable = file.createVariable(name, "f8", (name,), fill_value=False)
    variable.setncatts({**about, "bounds": f"{name}_bnds"})
    variable[:] = values
    file.createVariable(f"{name}_bnds", "f8", (name, "nv"), fill_value=False)[:] = edges


def _about_x(grid: Grid) -> dict[str, str]:
    if grid.is_longlat:
        return {"standard_name": "longitude", "long_name": "longitude", "units": "degrees_east", "axis": "X"}
    about = {"standard_name": "projection_x_coordinate", "long_name": "x of the projection", "axis": "X"}
    return {**about, "units": _length_unit(grid)}


def _about_y(grid: Grid) -> dict[str, str]:
    if grid.is_longlat:
        return {"standard_name": "latitude", "long_name": "latitude", "units": "degrees_north", "axis": "Y"}
    about = {"standard_name": "projection_y_coordinate", "long_name": "y of the projection", "axis": "Y"}
    return {**about, "units": _length_unit(grid)}


def _length_unit(grid: Grid) -> str:
    """Return the unit of a projection as UDUNITS writes it."""
    factor = grid.crs().axis_info[0].unit_conversion_factor
    return {1.0: "m", 1000.0: "km"}.get(factor, f"{factor:.12g} m")


def _seconds(times: np.ndarray) -> NDArray[np.float64]:
    return (times.astype("datetime64[ns]") - _EPOCH.astype("datetime64[ns]")) / np.timedelta64(1, "s")


def _instants(seconds: Any) -> Any:
    return _EPOCH + np.round(np.asarray(seconds)).astype("timedelta64[s]")
