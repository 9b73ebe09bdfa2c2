"""
A footprint: the sensitivity of one receptor to surface fluxes on a map, hour by hour.

The value of a cell times the mean flux in it [umol m-2 s-1], summed over cells and
hours, is the change in mole fraction at the receptor [ppm]. Values belong to whole
cells: on a finer grid each is smaller, and the sum stays.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr

from stilt._version import __version__
from stilt.accessors import plots_of
from stilt.config import FootprintConfig
from stilt.errors import FootprintError
from stilt.footprint import netcdf
from stilt.footprint.aggregate import aggregate_footprint
from stilt.footprint.arrays import data_array
from stilt.footprint.axes import GridAxes
from stilt.footprint.cells import AxisKind
from stilt.footprint.empties import EmptyReason
from stilt.footprint.enhancement import Regrid, enhancement_of
from stilt.footprint.gridding import GriddedParticles, Smoothing
from stilt.footprint.layers import Align, Layers
from stilt.footprint.particles import ParticleColumns
from stilt.footprint.reproject import SUBCELLS
from stilt.receptors import Receptor
from stilt.spatial import Grid
from stilt.trajectory import Trajectories


@dataclass(frozen=True, eq=False)
class Footprint:
    """
    A footprint with what it was made from.

    Attributes
    ----------
    data : DataArray
        ``(time, lat, lon)``, or ``(time, y, x)`` on a projected grid [ppm m2 s umol-1]. ``time`` is the start
        of the hour in which the influence occurred [UTC], counted from the receptor time, so a receptor at
        12:30 has hours starting at half past; with ``time_integrate`` one layer at the receptor time.
    grid : Grid
        The grid as asked for.
    receptor : Receptor
        Whose footprint it is.
    name : str
        Name of the footprint in the config.
    smooth_factor, time_integrate, smoothing, align, time_bins, transforms
        Settings, as in :class:`~stilt.config.FootprintConfig`.
    time_range : tuple of two datetimes, or None
        Start of the first and end of the last hour with influence [UTC]; None when empty.
    empty_reason : str or None
        ``above_pbl``, ``outside_grid`` or ``no_particles``; None when there is a footprint.
    empty_message : str
        The reason as a sentence.
    fractions : dict of float
        Shares of the particle rows: ``inside`` the grid, with ``surface_influence``, ``both``. A NetCDF file
        does not keep them.
    settings_hash, engine, stilt_version, time_created : str
        Where it comes from.
    """

    data: xr.DataArray
    grid: Grid
    receptor: Receptor
    name: str = ""
    smooth_factor: float = 1.0
    time_integrate: bool = False
    smoothing: Smoothing = "rstilt"
    align: Align = "receptor"
    time_bins: tuple[float, ...] | None = None
    transforms: tuple[Any, ...] = ()
    time_range: tuple[datetime, datetime] | None = None
    empty_reason: EmptyReason | None = None
    empty_message: str = ""
    fractions: Mapping[str, float] = field(default_factory=dict)
    settings_hash: str = ""
    engine: str = ""
    stilt_version: str = __version__
    time_created: str = field(default_factory=lambda: datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))

    def __repr__(self) -> str:
        """Say whose footprint it is and what it amounts to."""
        what = f"empty ({self.empty_reason})" if self.is_empty else f"{dict(self.data.sizes)}"
        return f"<Footprint {self.name or 'unnamed'}: {self.receptor.id}, {what}>"

    @property
    def is_empty(self) -> bool:
        """Whether nothing reached the grid."""
        return self.empty_reason is not None

    @property
    def config(self) -> FootprintConfig:
        """The settings as a section of a config."""
        return FootprintConfig(
            grid=self.grid,
            smooth_factor=self.smooth_factor,
            time_integrate=self.time_integrate,
            smoothing=self.smoothing,
            align=self.align,
            time_bins=self.time_bins,
            transforms=self.transforms,
        )

    @property
    def layers(self) -> Layers:
        """How time became layers."""
        return Layers.of(
            self.receptor.time,
            time_integrate=self.time_integrate,
            align=self.align,
            time_bins=self.time_bins,
        )

    @property
    def intervals(self) -> np.ndarray:
        """
        Start and end of each layer [UTC].

        Returns
        -------
        ndarray of datetime64[ns], shape (n_layers, 2)
            Of an integrated footprint the first and last hour with influence.
        """
        starts = self.data["time"].to_numpy()
        if self.time_integrate:
            if self.time_range is None:
                return np.empty((0, 2), dtype="datetime64[ns]")
            return np.array([self.time_range], dtype="datetime64[ns]")
        if self.time_bins is not None:
            return self.layers.intervals(0, starts.size)
        return np.stack([starts, starts + np.timedelta64(1, "h")], axis=1)

    @property
    def plot(self) -> Any:
        """Pictures of the footprint (extra ``plot``): ``footprint.plot.map()`` and ``.facet()``."""
        return plots_of("footprint", self)

    # --- making ------------------------------------------------------------------------------------

    @classmethod
    def calculate(
        cls,
        trajectories: Trajectories | ParticleColumns,
        config: FootprintConfig,
        grid: Grid | None = None,
        name: str = "",
        *,
        settings_hash: str = "",
    ) -> Footprint:
        """
        Make the footprint that a config section asks for.

        Parameters
        ----------
        trajectories : Trajectories or ParticleColumns
            Trajectories are used with the values their file holds, so the footprint can be made again
            from the file. ``ParticleColumns.prepare(trajectories.as_stored())`` serves several footprints.
        config : FootprintConfig
            Smoothing, layers and transforms.
        grid : Grid, optional
            The grid, where the section names one instead of holding it.
        name : str
            Name of the footprint in the config.
        settings_hash : str
            Fingerprint to record.

        Returns
        -------
        Footprint
        """
        from stilt.footprint.calculate import calc_footprint

        if isinstance(trajectories, Trajectories):
            trajectories = trajectories.as_stored()
        return calc_footprint(
            trajectories,
            config.own_grid() if grid is None else grid,
            smooth_factor=config.smooth_factor,
            time_integrate=config.time_integrate,
            smoothing=config.smoothing,
            align=config.align,
            time_bins=config.time_bins,
            transforms=config.transforms,
            name=name,
            settings_hash=settings_hash,
        )

    @classmethod
    def from_gridded(
        cls,
        gridded: GriddedParticles,
        axes: GridAxes,
        receptor: Receptor,
        layers: Layers,
        *,
        time_integrate: bool,
        **facts: Any,
    ) -> Footprint:
        """
        Attach coordinates and times to bare numbers.

        Parameters
        ----------
        gridded : GriddedParticles
            Numbers and their hours.
        axes : GridAxes
            Where the cells lie.
        receptor : Receptor
            Whose footprint it is.
        layers : Layers
            Its time axis.
        time_integrate : bool
            Whether the one layer holds the whole run.
        **facts
            Other attributes.

        Returns
        -------
        Footprint
        """
        times = layers.intervals(gridded.first, gridded.values.shape[0])[:, 0]
        time_range = None
        if times.size:
            first, last = gridded.used
            hours = Layers.of(receptor.time) if time_integrate else layers
            spans = hours.intervals(first, last - first + 1)
            time_range = _utc(spans[0, 0]), _utc(spans[-1, 1])
        return cls(
            data=data_array(gridded.values, times, axes),
            grid=axes.grid,
            receptor=receptor,
            time_integrate=time_integrate,
            time_range=time_range,
            fractions=gridded.fractions,
            **facts,
        )

    # --- files -------------------------------------------------------------------------------------

    @classmethod
    def from_netcdf(cls, source: str | os.PathLike[str] | bytes) -> Footprint:
        """
        Read a footprint from a file.

        Parameters
        ----------
        source : path or bytes
            What :meth:`to_netcdf` or :meth:`to_bytes` wrote.

        Returns
        -------
        Footprint
            With the float32 values of the file.
        """
        content = netcdf.read(source)
        facts = content.attributes
        grid = Grid(**{key: facts[key] for key in netcdf.GRID_KEYS})
        axes = GridAxes.of(grid, warn=False)
        return cls(
            data=data_array(content.values, content.times, axes, content.x, content.y),
            grid=grid,
            receptor=Receptor.from_dict(json.loads(facts["receptor"])),
            name=facts["name"],
            smooth_factor=float(facts["smooth_factor"]),
            time_integrate=bool(facts["time_integrate"]),
            smoothing=facts.get("smoothing", "rstilt"),
            align=facts.get("align", "receptor"),
            time_bins=_edges(json.loads(facts.get("time_bins", "null"))),
            transforms=tuple(json.loads(facts["transforms"])),
            time_range=(_utc(content.start), _utc(content.end)),
            settings_hash=facts["settings_hash"],
            engine=facts["engine"],
            stilt_version=facts["stilt_version"],
            time_created=facts["time_created"],
        )

    def to_bytes(self) -> bytes:
        """Return the NetCDF file as bytes; the clock shows in ``time_created`` and HDF5's time stamp."""
        if self.time_range is None:
            raise FootprintError(
                f"footprint {self.name or 'unnamed'} of {self.receptor.id} is empty ({self.empty_message}); "
                "an empty footprint has a marker (empty_marker) instead of a NetCDF file."
            )
        return netcdf.write(
            self.data,
            self.grid,
            intervals=self.intervals,
            attributes={
                "name": self.name,
                "receptor": json.dumps(self.receptor.to_dict(), sort_keys=True),
                "smooth_factor": float(self.smooth_factor),
                "time_integrate": np.int32(self.time_integrate),
                "smoothing": self.smoothing,
                "align": self.align,
                "time_bins": json.dumps(self.time_bins),
                "transforms": json.dumps(list(self.transforms), sort_keys=True),
                "settings_hash": self.settings_hash,
                "stilt_version": self.stilt_version,
                "engine": self.engine,
                "time_created": self.time_created,
            },
        )

    def to_netcdf(self, path: str | os.PathLike[str]) -> Path:
        """Write the NetCDF file, first under a temporary name beside it, and return its path."""
        target = Path(path)
        content = self.to_bytes()
        temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        try:
            temporary.write_bytes(content)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
        return target

    def empty_marker(self) -> bytes:
        """Return the JSON that stands in for the file of an empty footprint."""
        if not self.is_empty:
            raise FootprintError(f"footprint {self.name or 'unnamed'} of {self.receptor.id} is not empty.")
        content = {
            "reason": str(self.empty_reason),
            "message": self.empty_message,
            "fractions": dict(self.fractions),
            "name": self.name,
            "receptor": self.receptor.to_dict(),
            "grid": {key: getattr(self.grid, key) for key in netcdf.GRID_KEYS},
            "smooth_factor": self.smooth_factor,
            "time_integrate": self.time_integrate,
            "smoothing": self.smoothing,
            "align": self.align,
            "time_bins": self.time_bins,
            "transforms": list(self.transforms),
            "settings_hash": self.settings_hash,
            "engine": self.engine,
            "stilt_version": self.stilt_version,
            "time_created": self.time_created,
        }
        return (json.dumps(content, indent=1, sort_keys=True) + "\n").encode()

    @classmethod
    def from_empty_marker(cls, content: bytes | str) -> Footprint:
        """
        Build the empty footprint that a marker stands for.

        Parameters
        ----------
        content : bytes or str
            What :meth:`empty_marker` returned.

        Returns
        -------
        Footprint
            With no time layers.
        """
        try:
            facts = json.loads(content)
            grid = Grid(**facts["grid"])
            receptor = Receptor.from_dict(facts["receptor"])
            reason = EmptyReason(facts["reason"])
        except (ValueError, KeyError, TypeError) as error:
            raise FootprintError(f"this is no marker of an empty footprint: {error}") from error
        axes = GridAxes.of(grid, warn=False)
        return cls(
            data=data_array(np.zeros((0, axes.ny, axes.nx)), np.empty(0, dtype="datetime64[ns]"), axes),
            grid=grid,
            receptor=receptor,
            name=facts["name"],
            smooth_factor=facts["smooth_factor"],
            time_integrate=facts["time_integrate"],
            smoothing=facts.get("smoothing", "rstilt"),
            align=facts.get("align", "receptor"),
            time_bins=_edges(facts.get("time_bins")),
            transforms=tuple(facts["transforms"]),
            empty_reason=reason,
            empty_message=facts["message"],
            fractions=facts["fractions"],
            settings_hash=facts["settings_hash"],
            engine=facts["engine"],
            stilt_version=facts["stilt_version"],
            time_created=facts["time_created"],
        )

    # --- using -------------------------------------------------------------------------------------

    def integrate_over_time(
        self, start: date | str | None = None, end: date | str | None = None
    ) -> xr.DataArray:
        """
        Sum the layers whose label lies within [start, end].

        Parameters
        ----------
        start, end : datetime, date or str, optional
            First and last label, both included [UTC]; open where not given. An end without a time of day
            (``"2023-01-01"``, or ``"2023-01"``) means all of that day (or month).

        Returns
        -------
        DataArray
            Without ``time`` [ppm m2 s umol-1]; zero everywhere where no layer lies within.
        """
        chosen = self.data.sel(time=slice(_label(start), _label(end, is_end=True)))
        return chosen.sum("time", dtype=np.float64, keep_attrs=True)

    def aggregate(
        self,
        target: Any = None,
        time_bins: Any = None,
        *,
        axes: AxisKind = "centers",
        subcells: int = SUBCELLS,
    ) -> xr.DataArray:
        """
        Sum the footprint over other cells and other intervals.

        Each cell gives its target cells the shares of it that lie in them, each layer its bins the shares of
        its time, so the sum stays where targets cover and what lies outside is left out.

        Parameters
        ----------
        target : optional
            A pair of axes ``(x, y)`` in units of this footprint's grid; a :class:`~stilt.Grid`; an xarray
            object with one-dimensional ``lat`` and ``lon``; polygons (GeoDataFrame, GeoSeries, geometries;
            extra ``geometry``); none: the same cells. Axes may descend, longitudes may count from 0 or
            from -180. A target in another projection gets each cell in ``subcells`` by ``subcells`` points,
            or more where its cells are finer.
        time_bins : optional
            Edges (instants, ascending), intervals closed on the left, or a length such as ``"1D"``; none: the
            same layers. An integrated footprint is not split: one bin has to hold the whole of its run.
        axes : {"centers", "edges"}
            What the numbers of a pair of axes are; edges between centres lie in the middle.
        subcells : int
            Points along each side of a cell, for another projection, at least. Targets more than 32 times
            finer than the footprint are refused unless so many are asked for.

        Returns
        -------
        DataArray
            ``(time, lat, lon)``, ``(time, y, x)`` or ``(time, zone)`` [ppm m2 s umol-1]; ``time`` is the
            start of each interval, ``time_end`` its end, ``lon_lower`` and so on the edges of cells.
            :func:`stilt.footprint.aggregate_array` sums it again.
        """
        return aggregate_footprint(self, target, time_bins, axes=axes, subcells=subcells)

    def enhancement(
        self, flux: xr.DataArray, *, regrid: Regrid | None = None, missing: Literal["error", "zero"] = "error"
    ) -> float:
        """
        Multiply with a flux: the change in mole fraction at the receptor.

        Parameters
        ----------
        flux : DataArray
            ``(lat, lon)`` or ``(time, lat, lon)`` (or ``y`` and ``x``) with the attribute ``units``: umol
            m-2 s-1 in any spelling, or mol, mmol, nmol. ``time`` is the start of each interval; steps have
            to be even (or calendar months or years) unless a coordinate ``time_end`` says where each ends.
            A projection it names (``projection`` or a CF grid mapping) has to be the footprint's. Layers
            that straddle two intervals, as those of a receptor at half past do with hourly fluxes, take
            their share of each.
        regrid : {"conservative"}, optional
            Sum the footprint over the cells of the flux first. None asks for the same cells, though the
            flux may have more of them.
        missing : {"error", "zero"}
            What to do when there is influence where the flux is unknown: beyond its cells or times, or NaN.

        Returns
        -------
        float
            Mole fraction [ppm]; 0 for an empty footprint.
        """
        return enhancement_of(self, flux, regrid=regrid, missing=missing)


def _edges(values: Any) -> tuple[float, ...] | None:
    """Return edges as they are kept; a file holds a list."""
    return None if values is None else tuple(float(value) for value in values)


def _utc(instant: np.datetime64) -> datetime:
    """Return an instant as a naive datetime."""
    moment: datetime = instant.astype("datetime64[us]").item()
    return moment


def _label(when: date | str | None, *, is_end: bool = False) -> np.datetime64 | None:
    if when is None:
        return None
    if isinstance(when, datetime):
        when = when.astimezone(UTC).replace(tzinfo=None) if when.tzinfo is not None else when
        return np.datetime64(when, "ns")
    given = np.datetime64(when)
    if is_end and np.datetime_data(given.dtype)[0] in ("Y", "M", "D"):
        return (given + 1).astype("datetime64[ns]") - np.timedelta64(1, "ns")
    return given.astype("datetime64[ns]")
