"""
Gridded data as a file of meteorology: the fields, names and units of an ARL file, read lazily.

A `GriddedFile` stands for all files of one meteorology. Each field may lie in another file
and each file may hold other times (surface and levels apart, a file a day); the times are
those at which every field is there. Rows go from the south, columns from the west, levels
from the ground up, whatever the order in the files.

Pressure levels become pressure levels with heights. Model levels become sigma levels that
carry their pressure, so nothing has to be interpolated; the sigma in the header is the one
over a surface at 1013.25 hPa and only decides how fine the internal levels are.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stilt.errors import MetFormatError, MetVariableError
from stilt.meteorology.frame import Box, MetFrame
from stilt.meteorology.gridded.datasets import expand, open_dataset, stamp, times_of
from stilt.meteorology.gridded.fields import (
    BY_NAME,
    FIELDS,
    FieldKind,
    is_energy,
    is_omega,
    scale_of,
    squeeze,
)
from stilt.meteorology.gridded.horizontal import Axes, cf_grid, north_of, wrf_grid
from stilt.meteorology.projection import HorizontalGrid
from stilt.meteorology.vertical import PRESSURE, SIGMA, VerticalLevels

if TYPE_CHECKING:
    import xarray as xr

    from stilt.config import MetConfig
    from stilt.config.met import GriddedVariable

_VERTICAL = ("pressure_level", "isobaricInhPa", "plev", "level", "lev", "hybrid", "model_level", "bottom_top")
_STANDARD_PRESSURE = 1013.25
_ERA5_HOURS = 1.0
"""Hours over which ERA5 accumulates."""
_WRF_STAGGERED = {"U": "west_east_stag", "V": "south_north_stag", "W": "bottom_top_stag"}
_WRF_UPPER = {"PRES": ("P", "PB"), "TEMP": ("T", "P", "PB"), "UWND": ("U",), "VWND": ("V",), "DZDT": ("W",),
              "SPHU": ("QVAPOR",)}  # fmt: skip
_PAIRS = (("UWND", "VWND"), ("U10M", "V10M"), ("UMOF", "VMOF"))
"""Components of vectors, along x or to the east first."""
_WRF_POISSON = 287.0 / 1004.5
_MODEL_IDS = {"era5": "ERA5", "wrf": "WRFD", "cf": "CFNC"}


@dataclass(frozen=True)
class _Place:
    """One variable in one dataset that holds a field at some times."""

    path: str
    name: str
    time_dimension: str | None
    times: NDArray[np.datetime64]
    factor: float
    offset: float


class GriddedFile:
    """
    Meteorology read through xarray (see `stilt.meteorology.series.MetFile`).

    Parameters
    ----------
    name : str
        Name of the meteorology, for messages.
    met : MetConfig
        A section with ``source: xarray``.

    Raises
    ------
    MetNotFoundError, MetFormatError, MetVariableError, MissingExtraError
    """

    def __init__(self, name: str, met: MetConfig) -> None:
        self._met_name, self._engine, self._preset = name, met.engine, met.preset
        self._winds = met.winds
        self._variables: Mapping[str, GriddedVariable] = met.variables
        self._paths = expand(met.paths, name)
        self._stamps = tuple(stamp(path) for path in self._paths)
        self._vertical: str | None = None
        first = self._upper_dataset()
        self.grid: HorizontalGrid
        self._axes: Axes
        read = wrf_grid if self._preset == "wrf" else cf_grid
        self.grid, self._axes = read(self._dataset(first), first)
        for path in self._paths:
            dataset = self._dataset(path)
            if path != first and any(variable.ndim > 1 for variable in dataset.data_vars.values()):
                self._require_same(first, path, read(dataset, path))
        self._places: dict[str, list[_Place]] = {}
        for kind in FIELDS:
            places = self._wrf(kind) if self._preset == "wrf" else self._find(kind)
            if places:
                self._places[kind.arl] = places
        for unused, instead in (("RELH", "SPHU"), ("DZDT", "WWND")):
            if instead in self._places:
                self._places.pop(unused, None)
        if {"UMOF", "VMOF"} & set(self._places) != {"UMOF", "VMOF"} or "USTR" in self._places:
            self._places.pop("UMOF", None)
            self._places.pop("VMOF", None)
        self._turned = self._find_turned()
        self.levels, self._order = self._find_levels(first)
        self.times = self._common_times()
        self.forecast_hours = (0,) * len(self.times)
        upper = tuple(n for n in self._places if BY_NAME[n].upper)
        if self._hybrid is not None:
            upper = (*upper, "PRES")
        surface = tuple(n for n in self._places if not BY_NAME[n].upper)
        self.variables = (surface, *([upper] * self.levels.n_upper))
        for needed in ("TEMP", "UWND", "VWND"):
            if needed not in upper:
                raise MetVariableError(
                    f"met '{name}': no variable was recognised as {needed} ({BY_NAME[needed].names[0]}, "
                    f"{', '.join(BY_NAME[needed].standard_names)}); name it under `variables`. There are: "
                    f"{' '.join(sorted(map(str, self._dataset(first).data_vars)))}."
                )

    # --- what a MetFile has

    @property
    def path(self) -> Path:
        """The first file."""
        return Path(self._paths[0])

    @property
    def name(self) -> str:
        """Name of the first file, and how many more there are."""
        more = len(self._paths) - 1
        return self.path.name + (f" and {more} more" if more else "")

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(size for size, _ in self._stamps)

    @property
    def model_id(self) -> str:
        """Four characters naming the preset."""
        return _MODEL_IDS[self._preset]

    def identity(self, period: int) -> str:
        """Name the stored fields of one time: files, times of change, and how they are read."""
        how = repr((self._paths, self._stamps, self._preset, self._winds, sorted(self._variables.items())))
        digest = hashlib.sha256(how.encode()).hexdigest()[:24]
        return f"xarray|{digest}|{self.times[period]}"

    def decode(
        self, period: int, box: Box, surface_names: tuple[str, ...], upper_names: tuple[str, ...]
    ) -> MetFrame:
        """Read fields of one time over a box of cells."""
        for path, known in zip(self._paths, self._stamps, strict=True):
            if stamp(path) != known:
                raise MetFormatError(
                    f"{path} has changed while it was in use. Wait until it is complete and run again."
                )
        time = self.times[period]
        read = functools.cache(functools.partial(self._field, time=time, box=box))

        def field(name: str) -> NDArray[np.float32]:
            return self._turn(name, read, box) if name in self._turned else read(name)

        surface = {name: field(name) for name in surface_names}
        upper = {name: field(name) for name in upper_names}
        return MetFrame(time, box, surface, upper, 0)

    # --- finding

    def _dataset(self, path: str) -> xr.Dataset:
        return open_dataset(path, self._engine)

    def _upper_dataset(self) -> str:
        """Return the first file that has levels."""
        for path in self._paths:
            dataset = self._dataset(path)
            for name in _VERTICAL:
                if name in dataset.dims and any(
                    name in dataset[variable].dims and dataset[variable].ndim >= 3
                    for variable in dataset.data_vars
                ):
                    self._vertical = name
                    return path
            for coordinate in dataset.coords:
                attributes = dataset[coordinate].attrs
                if dataset[coordinate].dims == (coordinate,) and (
                    attributes.get("axis") == "Z" or attributes.get("positive") in ("up", "down")
                ):
                    self._vertical = str(coordinate)
                    return path
        raise MetFormatError(
            f"met '{self._met_name}': no file at path has levels "
            f"(a dimension such as {', '.join(_VERTICAL[:4])})."
        )

    def _require_same(self, first: str, path: str, found: tuple[HorizontalGrid, Axes]) -> None:
        for what, one, other in (
            ("grids", self.grid, found[0]),
            ("directions of rows and columns", self._axes, found[1]),
        ):
            if one != other:
                raise MetFormatError(
                    f"met '{self._met_name}' mixes {what}: {first} and {path} differ. "
                    "Let `path` name files of one grid."
                )

    def _fits(self, variable: xr.DataArray, upper: bool) -> bool:
        dims = set(variable.dims)
        if not {self._axes.x, self._axes.y} <= dims:
            return False
        if variable.shape[variable.dims.index(self._axes.x)] != self.grid.nx:
            return False
        others = [dim for dim in variable.dims if dim not in (self._axes.x, self._axes.y)]
        if upper:
            return self._vertical in dims
        return all(variable.sizes[dim] == 1 or "time" in str(dim).lower() for dim in others)

    def _find(self, kind: FieldKind) -> list[_Place]:
        """Find a field in every file that has it."""
        given = self._variables.get(kind.arl)
        places = []
        for path in self._paths:
            dataset = self._dataset(path)
            name = self._name_in(dataset, kind, given)
            if name is None:
                continue
            dimension, times = times_of(dataset, path)
            variable = dataset[name]
            if dimension not in variable.dims:
                dimension = None
                times = times if times.size == 1 else times[:0]
            factor, offset = self._conversion(variable, kind, given, f"{path}: {name}")
            places.append(_Place(path, name, dimension, times, factor, offset))
        if given is not None and not places:
            raise MetVariableError(
                f"met '{self._met_name}': no file has the variable '{given.name}' named for {kind.arl} "
                f"on its grid{' and levels' if kind.upper else ''}; correct `variables`."
            )
        return places

    def _name_in(self, dataset: xr.Dataset, kind: FieldKind, given: GriddedVariable | None) -> str | None:
        if given is not None:
            there = given.name in dataset.data_vars and self._fits(dataset[given.name], kind.upper)
            return given.name if there else None
        fitting = [str(name) for name in dataset.data_vars if self._fits(dataset[name], kind.upper)]
        by_standard = [
            name for name in fitting if dataset[name].attrs.get("standard_name") in kind.standard_names
        ]
        by_name = [name for name in kind.names if name in fitting]
        ordered = by_name + by_standard if self._preset == "era5" else by_standard + by_name
        for name in ordered:
            units = dataset[name].attrs.get("units")
            if kind.arl == "WWND" and units is not None and not is_omega(units):
                continue  # a w in m s-1 is DZDT, whatever its name
            return name
        if kind.arl == "DZDT":
            for name in ("w", "wa"):
                if name in fitting and squeeze(str(dataset[name].attrs.get("units", ""))) in ("ms-1", "m/s"):
                    return name
        return None

    def _conversion(
        self, variable: xr.DataArray, kind: FieldKind, given: GriddedVariable | None, what: str
    ) -> tuple[float, float]:
        units = variable.attrs.get("units")
        if given is not None and given.units is not None:
            units = given.units
        if kind.kind == "flux" and is_energy(units):
            hours = given.hours if given is not None else None
            hours = hours or (_ERA5_HOURS if self._preset == "era5" else None)
            if hours is None:
                raise MetFormatError(
                    f"{what} is accumulated ({units}), over how long is not said; give hours in the met's "
                    "`variables`."
                )
            factor, offset = 1.0 / (3600.0 * hours), 0.0
        else:
            factor, offset = scale_of(kind.kind, units, what)
        if kind.down:
            factor *= self._sign(variable, kind, given, what)
        return factor, offset

    def _sign(
        self, variable: xr.DataArray, kind: FieldKind, given: GriddedVariable | None, what: str
    ) -> float:
        """Return -1 for a flux that counts downward; ARL files count upward."""
        if given is not None and given.positive is not None:
            return -1.0 if given.positive == "down" else 1.0
        attributes = variable.attrs
        short = str(attributes.get("GRIB_shortName", variable.name))
        # ECMWF counts downward, although its NetCDF files call sshf surface_upward_sensible_heat_flux
        if short in kind.down:
            return -1.0
        if self._preset == "wrf" or str(variable.name) in kind.names:
            return 1.0
        standard = attributes.get("standard_name")
        if standard in kind.down:
            return -1.0
        if standard in kind.standard_names:
            return 1.0
        raise MetFormatError(
            f"{what} does not say in which direction it counts; give positive: up or down in the "
            "met's `variables`."
        )

    def _wrf(self, kind: FieldKind) -> list[_Place]:
        """Find what a field is made of in WRF output."""
        parts = _WRF_UPPER.get(kind.arl)
        if parts is None:
            return self._find(kind) if not kind.upper else []
        places = []
        for path in self._paths:
            dataset = self._dataset(path)
            if all(part in dataset for part in parts):
                dimension, times = times_of(dataset, path)
                places.append(_Place(path, parts[0], dimension, times, 1.0, 0.0))
        return places

    def _common_times(self) -> NDArray[np.datetime64]:
        times: NDArray[np.datetime64] | None = None
        for places in self._places.values():
            if any(place.times.size == 0 for place in places):
                continue  # the same at all times
            held = np.concatenate([place.times for place in places])
            unique = np.unique(held)
            times = unique if times is None else np.intersect1d(times, unique)
        if times is None or times.size == 0:
            raise MetFormatError(
                f"met '{self._met_name}': the fields have no time in common, or no times at all; check that "
                "the files at path belong together."
            )
        return times

    def _find_levels(self, first: str) -> tuple[VerticalLevels, NDArray[np.int64]]:
        """Return the levels, and where each lies along the files' dimension, from the ground up."""
        dataset = self._dataset(first)
        self._hybrid: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
        assert self._vertical is not None  # noqa: S101 - found before
        if self._preset == "wrf":
            eta = dataset["ZNU"].values.reshape(-1, dataset.sizes["bottom_top"])[0].astype(float)
            top = float(np.ravel(dataset["P_TOP"].values)[0]) / 100.0
            nominal = (eta * (_STANDARD_PRESSURE - top) + top) / _STANDARD_PRESSURE
            return _sigma(nominal), np.argsort(-nominal)
        coordinate = dataset[self._vertical] if self._vertical in dataset.coords else None
        units = None if coordinate is None else coordinate.attrs.get("units")
        named = self._vertical in ("pressure_level", "isobaricInhPa", "plev")
        if coordinate is not None and (
            named or (units and squeeze(str(units)) in ("pa", "hpa", "mb", "millibars"))
        ):
            factor, _ = scale_of("pressure", units, f"{first}: {self._vertical}")
            pressure = coordinate.values.astype(float) * factor
            if "HGTS" not in self._places:
                raise MetVariableError(
                    f"met '{self._met_name}': pressure levels need geopotential or geopotential height "
                    "on them (z, zg); add it to the files or name it under `variables`."
                )
            order = np.argsort(-pressure)
            return VerticalLevels(PRESSURE, (0.0, *(round(float(p), 4) for p in pressure[order]))), order
        if "PRSS" not in self._places:
            raise MetVariableError(f"met '{self._met_name}': model levels need surface pressure (sp, ps).")
        sigma = None
        if coordinate is not None and coordinate.attrs.get("standard_name") == "atmosphere_sigma_coordinate":
            sigma = coordinate.values.astype(float)
        if "PRES" in self._places:
            nominal = self._nominal_sigma() if sigma is None else sigma
            return _sigma(nominal), np.argsort(-nominal)
        if sigma is not None:
            self._hybrid = self._top_pressure(dataset, first) * (1.0 - sigma), sigma
            return _sigma(sigma), np.argsort(-sigma)
        a, b = self._coefficients(dataset, first)
        self._hybrid = a, b
        nominal = a / _STANDARD_PRESSURE + b
        return _sigma(nominal), np.argsort(-nominal)

    def _nominal_sigma(self) -> NDArray[np.float64]:
        """Return the pressure on levels over the one at the ground, in the first column."""
        ratios = []
        for name in ("PRES", "PRSS"):
            place = self._places[name][0]
            variable = self._dataset(place.path)[place.name]
            column = variable.isel({dim: 0 for dim in variable.dims if dim != self._vertical})
            ratios.append(column.values.astype(float) * place.factor + place.offset)
        return np.asarray(ratios[0] / ratios[1])

    def _top_pressure(self, dataset: xr.Dataset, first: str) -> float:
        """Return the pressure at the top of sigma levels [hPa]."""
        for name in ("ptop", "p_top", "P_TOP"):
            if name in dataset:
                factor, _ = scale_of("pressure", dataset[name].attrs.get("units"), f"{first}: {name}")
                return float(np.ravel(dataset[name].values)[0]) * factor
        raise MetFormatError(
            f"{first}: sigma levels need the pressure at their top (ptop), or a pressure variable."
        )

    def _coefficients(
        self, dataset: xr.Dataset, first: str
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return a [hPa] and b of the hybrid levels, full levels in the order of the file."""
        count = dataset.sizes[self._vertical or ""]
        for a, b in (("hyam", "hybm"), ("ap", "b"), ("a", "b")):
            if a in dataset and b in dataset and dataset[a].size == count == dataset[b].size:
                factor = 0.01 if squeeze(str(dataset[a].attrs.get("units", "Pa"))) == "pa" else 1.0
                if a == "a":
                    factor = 0.01 * float(dataset["p0"].values) if "p0" in dataset else factor
                return dataset[a].values.astype(float) * factor, dataset[b].values.astype(float)
        for variable in dataset.data_vars.values():
            if "GRIB_pv" in variable.attrs and self._vertical in dataset.coords:
                half = np.asarray(variable.attrs["GRIB_pv"], dtype=float).reshape(2, -1)
                full = 0.5 * (half[:, 1:] + half[:, :-1])
                numbers = dataset[self._vertical].values.astype(int) - 1
                return full[0, numbers] * 0.01, full[1, numbers]
        raise MetFormatError(
            f"{first}: the pressure of its model levels is not given; add hyam and hybm [Pa, 1], or a "
            "pressure variable."
        )

    # --- directions

    def _find_turned(self) -> frozenset[str]:
        """Tell which components point east and north on a grid whose axes do not."""
        if self.grid.is_latlon or self._preset == "wrf":
            return frozenset()
        turned: set[str] = set()
        for pair in _PAIRS:
            if all(name in self._places for name in pair) and self._points_east(pair):
                turned.update(pair)
        return frozenset(turned)

    def _points_east(self, pair: tuple[str, str]) -> bool:
        place = self._places[pair[0]][0]
        attributes = self._dataset(place.path)[place.name].attrs
        if self._winds is not None:
            return self._winds == "earth"
        if "GRIB_uvRelativeToGrid" in attributes:
            # cfgrib calls every u eastward_wind, whatever the message says
            return not attributes["GRIB_uvRelativeToGrid"]
        standard = str(attributes.get("standard_name", ""))
        if "eastward" in standard and not standard.startswith("grid_"):
            return True
        if standard.startswith(("x_", "grid_eastward")) or "_x_" in standard:
            return False
        if pair[0] == "UMOF":
            return False  # only the size of the stress is used
        raise MetFormatError(
            f"{place.path}: {place.name} does not say whether it points along the grid or to the east "
            "(standard_name x_wind or eastward_wind); give winds: grid or winds: earth for this met "
            "(--winds of stilt met convert)."
        )

    def _turn(self, name: str, read: Callable[[str], NDArray[np.float32]], box: Box) -> NDArray[np.float32]:
        """Turn a component from east and north to the axes of the grid."""
        east, north = next(pair for pair in _PAIRS if name in pair)
        u, v = read(east), read(north)
        x, y = np.meshgrid(np.arange(box.x0, box.x1) + 1.0, np.arange(box.y0, box.y1) + 1.0)
        along_x, along_y = north_of(self.grid, x, y)
        along = u * along_y + v * along_x if name == east else v * along_y - u * along_x
        return along.astype(np.float32)

    # --- reading

    def _read(self, place: _Place, name: str, time: np.datetime64, box: Box, stagger: str = "") -> NDArray:
        """Read a variable over a box, south-west first, levels as in the file; float64."""
        variable = self._dataset(place.path)[name]
        index: dict[str, int | slice] = {}
        if place.time_dimension in variable.dims:
            index[str(place.time_dimension)] = int(np.flatnonzero(place.times == time)[0])
        ny, nx = self.grid.ny, self.grid.nx
        x, y = self._axes.x, self._axes.y
        if stagger == "west_east_stag":
            index[stagger], index[y] = slice(box.x0, box.x1 + 1), slice(box.y0, box.y1)
        elif stagger == "south_north_stag":
            index[x], index[stagger] = slice(box.x0, box.x1), slice(box.y0, box.y1 + 1)
        else:
            index[x] = slice(nx - box.x1, nx - box.x0) if self._axes.flip_x else slice(box.x0, box.x1)
            index[y] = slice(ny - box.y1, ny - box.y0) if self._axes.flip_y else slice(box.y0, box.y1)
        vertical = stagger if stagger == "bottom_top_stag" else self._vertical
        for dim in variable.dims:
            if dim not in index and dim != vertical:
                index[str(dim)] = 0  # fits only with one entry
        part = variable.isel(index)
        ends = [stagger or y, x] if stagger == "south_north_stag" else [y, x]
        ends = [y, stagger] if stagger == "west_east_stag" else ends
        order = ([vertical] if vertical in part.dims else []) + ends
        values = np.asarray(part.transpose(*order).values, dtype=np.float64)
        if self._axes.flip_x:
            values = values[..., ::-1]
        if self._axes.flip_y:
            values = values[..., ::-1, :]
        if not np.isfinite(values).all():
            bad = int((~np.isfinite(values)).sum())
            raise MetFormatError(
                f"{place.path}: {name} has {bad} missing values at {time} UTC in the cells that are "
                "needed; fill them."
            )
        return values

    def _place(self, name: str, time: np.datetime64) -> _Place:
        for place in self._places[name]:
            if place.times.size == 0 or (place.times == time).any():
                return place
        raise MetFormatError(f"met '{self._met_name}' has no {name} at {time} UTC.")

    def _field(self, name: str, time: np.datetime64, box: Box) -> NDArray[np.float32]:
        if name == "PRES" and self._hybrid is not None:
            a, b = self._hybrid
            ground = self._field("PRSS", time, box).astype(float)
            values = a[:, None, None] + b[:, None, None] * ground
        elif name not in self._places:
            raise MetVariableError(f"met '{self._met_name}' has no {name}.")
        elif self._preset == "wrf" and name in _WRF_UPPER:
            values = self._wrf_field(name, time, box)
        else:
            place = self._place(name, time)
            values = self._read(place, place.name, time, box) * place.factor + place.offset
        if BY_NAME[name].upper:
            values = values[self._order]
        return np.ascontiguousarray(values, dtype=np.float32)

    def _wrf_field(self, name: str, time: np.datetime64, box: Box) -> NDArray:
        place = self._place(name, time)
        read = functools.partial(self._read, place, time=time, box=box)
        if name == "UWND":
            u = read("U", stagger=_WRF_STAGGERED["U"])
            return 0.5 * (u[..., 1:] + u[..., :-1])
        if name == "VWND":
            v = read("V", stagger=_WRF_STAGGERED["V"])
            return 0.5 * (v[..., 1:, :] + v[..., :-1, :])
        if name == "DZDT":
            w = read("W", stagger=_WRF_STAGGERED["W"])
            return 0.5 * (w[1:] + w[:-1])
        if name == "SPHU":
            ratio = read("QVAPOR")
            return ratio / (1.0 + ratio)
        pressure = read("P") + read("PB")
        if name == "PRES":
            return 0.01 * pressure
        return (read("T") + 300.0) * (pressure / 1e5) ** _WRF_POISSON


def _sigma(nominal: NDArray[np.float64]) -> VerticalLevels:
    """Make sigma levels, from the ground up, of header numbers with five digits."""
    heights = [round(float(value), 5) for value in sorted(nominal, reverse=True)]
    return VerticalLevels(SIGMA, (1.0, *(min(value, 0.99999) for value in heights)))


_described: dict[object, GriddedFile] = {}


def open_gridded(met: MetConfig, name: str) -> GriddedFile:
    """Describe the data of a section with ``source: xarray``, again only when files have changed."""
    paths = expand(met.paths, name)
    how = repr((paths, met.engine, met.preset, met.winds, sorted(met.variables.items())))
    key = name, how, tuple(stamp(path) for path in paths)
    found = _described.get(key)
    if found is None:
        found = GriddedFile(name, met)
        if len(_described) > 32:
            _described.clear()
        _described[key] = found
    return found
