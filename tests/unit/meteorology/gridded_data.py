"""Worlds written as ERA5, WRF or plain CF NetCDF, with the habits those files have."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import xarray as xr

from stilt.constants import EARTH_RADIUS_KM
from stilt.meteorology.gridded.fields import GRAVITY_GEOPOTENTIAL
from stilt.meteorology.gridded.horizontal import WRF_RADIUS_KM
from stilt.meteorology.synthetic import World


def stack(world: World, name: str, upper: bool) -> np.ndarray:
    """A field of all times, float64."""
    return np.stack([(frame.upper if upper else frame.surface)[name] for frame in world.frames]).astype(float)


def latlon_axes(world: World) -> tuple[np.ndarray, np.ndarray]:
    grid = world.grid
    lon, _ = grid.to_lonlat(np.arange(1.0, grid.nx + 1), 1.0)
    _, lat = grid.to_lonlat(1.0, np.arange(1.0, grid.ny + 1))
    return lon, lat


def era5(world: World, *, descending: bool = True, from_zero: bool = True) -> tuple[xr.Dataset, xr.Dataset]:
    """
    A world on pressure levels as the Climate Data Store gives it: levels and surface apart.

    Latitudes descend, longitudes count from 0, levels from the top, geopotential instead of heights, Pa,
    fluxes accumulated over an hour and positive downward (under a standard name that says upward).
    """
    lon, lat = latlon_axes(world)
    time = {"valid_time": world.times.astype("datetime64[ns]")}
    axes = {
        **time,
        "latitude": ("latitude", lat, {"units": "degrees_north", "standard_name": "latitude"}),
        "longitude": (
            "longitude",
            lon % 360.0 if from_zero else lon,
            {"units": "degrees_east", "standard_name": "longitude"},
        ),
    }
    levels = np.array(world.levels.heights[1:])
    columns, flat = (
        ("valid_time", "pressure_level", "latitude", "longitude"),
        ("valid_time", "latitude", "longitude"),
    )

    def upper(name, units, factor=1.0, **attributes):
        return columns, stack(world, name, True) * factor, {"units": units, **attributes}

    def surface(name, units, factor=1.0, **attributes):
        return flat, stack(world, name, False) * factor, {"units": units, **attributes}

    have_above, have_below = world.frames[0].upper, world.frames[0].surface
    above = {
        "t": ("TEMP", "K", 1.0, "air_temperature"),
        "u": ("UWND", "m s**-1", 1.0, "eastward_wind"),
        "v": ("VWND", "m s**-1", 1.0, "northward_wind"),
        "w": ("WWND", "Pa s**-1", 100.0, "lagrangian_tendency_of_air_pressure"),
        "q": ("SPHU", "kg kg**-1", 1.0, "specific_humidity"),
        "r": ("RELH", "%", 1.0, "relative_humidity"),
        "z": ("HGTS", "m**2 s**-2", GRAVITY_GEOPOTENTIAL, "geopotential"),
    }
    below = {
        "z": ("SHGT", "m**2 s**-2", GRAVITY_GEOPOTENTIAL, "geopotential"),
        "sp": ("PRSS", "Pa", 100.0, "surface_air_pressure"),
        "t2m": ("T02M", "K", 1.0, "unknown"),
        "u10": ("U10M", "m s**-1", 1.0, "unknown"),
        "v10": ("V10M", "m s**-1", 1.0, "unknown"),
        "zust": ("USTR", "m s**-1", 1.0, "unknown"),
        "sshf": ("SHTF", "J m**-2", -3600.0, "surface_upward_sensible_heat_flux"),
        "blh": ("PBLH", "m", 1.0, "unknown"),
        "fsr": ("RGHS", "m", 1.0, "unknown"),
    }
    above = xr.Dataset(
        {
            name: upper(arl, units, factor, standard_name=standard)
            for name, (arl, units, factor, standard) in above.items()
            if arl in have_above
        },
        {**axes, "pressure_level": ("pressure_level", levels, {"units": "hPa", "positive": "down"})},
    )
    below = xr.Dataset(
        {
            name: surface(arl, units, factor, standard_name=standard)
            for name, (arl, units, factor, standard) in below.items()
            if arl in have_below
        },
        axes,
    )
    if descending:
        above, below = above.isel(latitude=slice(None, None, -1)), below.isel(latitude=slice(None, None, -1))
        above = above.isel(pressure_level=slice(None, None, -1))
    return above, below


def model_levels(world: World) -> tuple[xr.Dataset, xr.Dataset]:
    """A world on hybrid levels as ECMWF's model levels, from the top, with hyam [Pa] and hybm."""
    above, below = era5(world)
    heights = np.array(world.levels.heights[1:])[::-1]
    a, b = np.floor(heights) * 100.0, heights % 1.0
    above = above.drop_vars(["z"], errors="ignore").rename(pressure_level="hybrid")
    above = above.assign_coords(hybrid=("hybrid", np.arange(1, heights.size + 1), {"positive": "down"}))
    above["hyam"], above["hybm"] = ("hybrid", a, {"units": "Pa"}), ("hybrid", b, {"units": "1"})
    return above, below


_PARAMETERS = {
    "t": 130, "u": 131, "v": 132, "w": 135, "q": 133, "r": 157, "z": 129, "sp": 134, "t2m": 167, "u10": 165,
    "v10": 166, "zust": 228003, "sshf": 146, "blh": 159, "fsr": 244,
}  # fmt: skip


def write_grib(dataset: xr.Dataset, path: Path) -> None:
    """Write what `era5` or `model_levels` made as ECMWF's GRIB, 24 bits a value, with eccodes."""
    import eccodes

    hybrid = "hybrid" in dataset.dims
    level_name = "hybrid" if hybrid else "pressure_level"
    lat, lon = dataset["latitude"].values, dataset["longitude"].values
    with path.open("wb") as stream:
        for name in dataset.data_vars:
            if name not in _PARAMETERS:
                continue
            upper = level_name in dataset[name].dims
            for number, time in enumerate(dataset["valid_time"].values.astype("datetime64[s]")):
                for level in dataset[level_name].values if upper else [0]:
                    message = eccodes.codes_grib_new_from_samples("regular_ll_sfc_grib1")
                    kind = ("hybrid" if hybrid else "isobaricInhPa") if upper else "surface"
                    date, hour = int(str(time)[:10].replace("-", "")), int(str(time)[11:13])
                    for key, value in {
                        "centre": 98, "dataDate": date, "dataTime": hour * 100,
                        "Ni": lon.size, "Nj": lat.size, "paramId": _PARAMETERS[name], "typeOfLevel": kind,
                        "level": int(level), "latitudeOfFirstGridPointInDegrees": float(lat[0]),
                        "latitudeOfLastGridPointInDegrees": float(lat[-1]),
                        "longitudeOfFirstGridPointInDegrees": float(lon[0]),
                        "longitudeOfLastGridPointInDegrees": float(lon[-1]),
                        "iDirectionIncrementInDegrees": float(lon[1] - lon[0]),
                        "jDirectionIncrementInDegrees": float(abs(lat[1] - lat[0])),
                        "jScansPositively": int(lat[1] > lat[0]), "bitsPerValue": 24,
                    }.items():  # fmt: skip
                        eccodes.codes_set(message, key, value)
                    if upper and hybrid:
                        eccodes.codes_set(message, "PVPresent", 1)
                        halves = [_halves(dataset[each].values) for each in ("hyam", "hybm")]
                        eccodes.codes_set_array(message, "pv", np.concatenate(halves))
                    part = dataset[name].isel(valid_time=number)
                    part = part.sel({level_name: level}) if upper else part
                    eccodes.codes_set_values(message, part.values.astype(float).ravel())
                    eccodes.codes_write(message, stream)
                    eccodes.codes_release(message)


def write_lambert_grib(world: World, path: Path, *, earth_relative: bool, surface: bool) -> None:
    """Write a world on pressure levels of a Lambert grid, or its surface, as GRIB2 with either winds."""
    import eccodes

    grid = world.grid
    x, y = np.meshgrid(np.arange(1.0, grid.nx + 1), np.arange(1.0, grid.ny + 1))
    lon, lat = grid.to_lonlat(x, y)
    turn = np.sin(np.radians(grid.tangent_lat)) * np.radians((lon - grid.ref_lon + 180.0) % 360.0 - 180.0)
    metres = grid.size * 1000.0 * 6371.229 / EARTH_RADIUS_KM
    plane = {
        "gridType": "lambert", "shapeOfTheEarth": 6, "Nx": grid.nx, "Ny": grid.ny, "jScansPositively": 1,
        "latitudeOfFirstGridPointInDegrees": float(lat[0, 0]),
        "longitudeOfFirstGridPointInDegrees": float(lon[0, 0]) % 360.0, "LoVInDegrees": grid.ref_lon % 360.0,
        "LaDInDegrees": grid.tangent_lat, "Latin1InDegrees": grid.tangent_lat,
        "Latin2InDegrees": grid.tangent_lat, "DxInMetres": metres, "DyInMetres": metres,
        "uvRelativeToGrid": int(not earth_relative), "bitsPerValue": 24,
    }  # fmt: skip
    u, v = stack(world, "UWND", True), stack(world, "VWND", True)
    if earth_relative:
        u, v = u * np.cos(turn) + v * np.sin(turn), v * np.cos(turn) - u * np.sin(turn)
    fields = {"t": stack(world, "TEMP", True), "u": u, "v": v, "q": stack(world, "SPHU", True)}
    fields["z"] = stack(world, "HGTS", True) * 9.80665
    if surface:
        fields = {"sp": stack(world, "PRSS", False)[:, None] * 100.0}
    with path.open("wb") as stream:
        for name, values in fields.items():
            for number, time in enumerate(world.times.astype("datetime64[s]")):
                for k, level in enumerate(world.levels.heights[1:] if name != "sp" else (0,)):
                    message = eccodes.codes_grib_new_from_samples("regular_ll_pl_grib2")
                    date, hour = int(str(time)[:10].replace("-", "")), int(str(time)[11:13])
                    kind = "surface" if name == "sp" else "isobaricInhPa"
                    where = {"typeOfLevel": kind, "level": int(level), "paramId": _PARAMETERS[name]}
                    for key, value in {**plane, "dataDate": date, "dataTime": hour * 100, **where}.items():
                        eccodes.codes_set(message, key, value)
                    eccodes.codes_set_values(message, values[number, k].astype(float).ravel())
                    eccodes.codes_write(message, stream)
                    eccodes.codes_release(message)


def _halves(full: np.ndarray) -> np.ndarray:
    """Values between levels whose means are the values on them."""
    halves = [0.0]
    for value in full:
        halves.append(2.0 * value - halves[-1])
    return np.array(halves)


def projected(
    world: World, *, earth_relative: bool, descending: bool = False, radius: float = EARTH_RADIUS_KM * 1000.0
) -> xr.Dataset:
    """
    A world on sigma levels of a Lambert grid as plain CF data: x and y in metres, a grid mapping.

    Plane and directions are those of PROJ and of the textbook, not our own: on a tangent cone north is
    turned from the y axis by the sine of the tangent latitude times the longitude from the central one.
    """
    import pyproj

    grid = world.grid
    cone = pyproj.Proj(proj="lcc", lat_1=grid.tangent_lat, lat_2=grid.tangent_lat, lat_0=grid.tangent_lat,
                       lon_0=grid.ref_lon, a=radius, b=radius)  # fmt: skip
    x, y = np.meshgrid(np.arange(1.0, grid.nx + 1), np.arange(1.0, grid.ny + 1))
    lon, lat = grid.to_lonlat(x, y)
    first_x, first_y = cone(lon[0, 0], lat[0, 0])
    step = grid.size * radius / EARTH_RADIUS_KM
    dims, flat = ("time", "lev", "y", "x"), ("time", "y", "x")
    turn = np.sin(np.radians(grid.tangent_lat)) * np.radians((lon - grid.ref_lon + 180.0) % 360.0 - 180.0)

    def winds(u: str, v: str, upper: bool) -> tuple[np.ndarray, np.ndarray]:
        along_x, along_y = stack(world, u, upper), stack(world, v, upper)
        if not earth_relative:
            return along_x, along_y
        return (
            along_x * np.cos(turn) + along_y * np.sin(turn),
            along_y * np.cos(turn) - along_x * np.sin(turn),
        )

    east, north = ("eastward_wind", "northward_wind") if earth_relative else ("x_wind", "y_wind")
    (u, v), (u10, v10) = winds("UWND", "VWND", True), winds("U10M", "V10M", False)
    upper = {
        "temp": (stack(world, "TEMP", True), "K", "air_temperature"),
        "uu": (u, "m s-1", east),
        "vv": (v, "m s-1", north),
        "omega": (stack(world, "WWND", True) * 100.0, "Pa s-1", "lagrangian_tendency_of_air_pressure"),
        "qv": (stack(world, "SPHU", True), "kg kg-1", "specific_humidity"),
        "press": (stack(world, "PRES", True) * 100.0, "Pa", "air_pressure"),
    }
    plain = {
        "orog": ("SHGT", 1.0, "m", "surface_altitude"), "ps": ("PRSS", 100.0, "Pa", "surface_air_pressure"),
        "tas": ("T02M", 1.0, "K", "air_temperature"), "ustar": ("USTR", 1.0, "m s-1", None),
        "hfss": ("SHTF", 1.0, "W m-2", "surface_upward_sensible_heat_flux"),
        "rsds": ("DSWF", 1.0, "W m-2", None),
        "zmla": ("PBLH", 1.0, "m", None), "z0": ("RGHS", 1.0, "m", None), "clt": ("TCLD", 1.0, "%", None),
    }  # fmt: skip
    surface = {
        name: (stack(world, arl, False) * factor, units, standard)
        for name, (arl, factor, units, standard) in plain.items()
        if arl in world.frames[0].surface
    }
    surface |= {"uas": (u10, "m s-1", east), "vas": (v10, "m s-1", north)}
    made = xr.Dataset(
        {
            name: (axes, values, {"units": units, "grid_mapping": "crs", "standard_name": said or ""})
            for axes, group in ((dims, upper), (flat, surface))
            for name, (values, units, said) in group.items()
        },
        {
            "time": world.times.astype("datetime64[ns]"),
            "lev": ("lev", np.array(world.levels.heights[1:]),
                    {"standard_name": "atmosphere_sigma_coordinate"}),
            "lat": (("y", "x"), lat, {"units": "degrees_north", "standard_name": "latitude"}),
            "lon": (("y", "x"), lon, {"units": "degrees_east", "standard_name": "longitude"}),
            "x": ("x", first_x + step * np.arange(grid.nx),
                  {"units": "m", "standard_name": "projection_x_coordinate"}),
            "y": ("y", first_y + step * np.arange(grid.ny),
                  {"units": "m", "standard_name": "projection_y_coordinate"}),
        },
    )  # fmt: skip
    made["crs"] = ((), 0, {
        "grid_mapping_name": "lambert_conformal_conic", "standard_parallel": grid.tangent_lat,
        "longitude_of_central_meridian": (grid.ref_lon + 180.0) % 360.0 - 180.0,
        "latitude_of_projection_origin": grid.tangent_lat, "earth_radius": radius,
    })  # fmt: skip
    return made.isel(y=slice(None, None, -1)) if descending else made


def staggered(field: np.ndarray, axis: int) -> np.ndarray:
    """Values half a cell to either side of a field that is linear along an axis."""
    field = np.moveaxis(field, axis, -1)
    middle = 0.5 * (field[..., 1:] + field[..., :-1])
    first = field[..., :1] - (middle[..., :1] - field[..., :1])
    last = field[..., -1:] + (field[..., -1:] - middle[..., -1:])
    return np.moveaxis(np.concatenate([first, middle, last], axis=-1), -1, axis)


def wrf(world: World, *, secant: tuple[float, float]) -> xr.Dataset:
    """A world on sigma levels with ``PRES`` as wrfout: staggered winds, perturbations, its own Earth."""
    grid = world.grid
    x, y = np.meshgrid(np.arange(1.0, grid.nx + 1), np.arange(1.0, grid.ny + 1))
    lon, lat = grid.to_lonlat(x, y)
    at = ("Time", "bottom_top", "south_north", "west_east")
    flat = ("Time", "south_north", "west_east")
    count = len(world.frames)
    pressure = stack(world, "PRES", True) * 100.0
    base = pressure.mean(axis=(0, 2, 3), keepdims=True) + 0.0 * pressure
    theta = stack(world, "TEMP", True) / (pressure / 1e5) ** (287.0 / 1004.5)
    q = stack(world, "SPHU", True)
    texts = [str(time).replace("T", "_").encode() for time in world.times]
    surface = {
        "HGT": ("SHGT", 1.0, "m"), "PSFC": ("PRSS", 100.0, "Pa"), "T2": ("T02M", 1.0, "K"),
        "U10": ("U10M", 1.0, "m s-1"), "V10": ("V10M", 1.0, "m s-1"), "HFX": ("SHTF", 1.0, "W m-2"),
        "UST": ("USTR", 1.0, "m s-1"), "PBLH": ("PBLH", 1.0, "m"), "ZNT": ("RGHS", 1.0, "m"),
    }  # fmt: skip
    sigma = np.array(world.levels.heights[1:])
    repeat = lambda values: np.broadcast_to(values, (count, *values.shape)).copy()  # noqa: E731
    return xr.Dataset(
        {
            "Times": ("Time", np.array(texts, dtype="S19")),
            "XLAT": (flat, repeat(lat), {"units": "degree_north"}),
            "XLONG": (flat, repeat(lon), {"units": "degree_east"}),
            "ZNU": (("Time", "bottom_top"), repeat(sigma)),
            "P_TOP": ("Time", np.zeros(count)),
            "P": (at, pressure - base, {"units": "Pa"}),
            "PB": (at, base, {"units": "Pa"}),
            "T": (at, theta - 300.0, {"units": "K"}),
            "QVAPOR": (at, q / (1.0 - q), {"units": "kg kg-1"}),
            "U": ((*at[:3], "west_east_stag"), staggered(stack(world, "UWND", True), 3)),
            "V": ((*at[:2], "south_north_stag", at[3]), staggered(stack(world, "VWND", True), 2)),
            "W": (
                ("Time", "bottom_top_stag", "south_north", "west_east"),
                np.zeros((count, sigma.size + 1, grid.ny, grid.nx)),
            ),
            **{
                name: (flat, stack(world, arl, False) * factor, {"units": units})
                for name, (arl, factor, units) in surface.items()
            },
        },
        attrs={
            "MAP_PROJ": 1, "TRUELAT1": secant[0], "TRUELAT2": secant[1], "STAND_LON": grid.ref_lon,
            "DX": grid.size * 1000.0 * WRF_RADIUS_KM / EARTH_RADIUS_KM,
        },
    )  # fmt: skip


def cone_tangent(first: float, second: float) -> float:
    """Latitude at which a cone through two parallels has its middle [degrees]."""
    a, b = math.radians(first), math.radians(second)
    ratio = math.tan(math.pi / 4 - a / 2) / math.tan(math.pi / 4 - b / 2)
    return math.degrees(math.asin(math.log(math.cos(a) / math.cos(b)) / math.log(ratio)))
