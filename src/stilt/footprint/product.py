"""
A footprint: the sensitivity of one receptor to surface fluxes on a map, hour by hour.

The value of a cell times the mean flux in it [umol m-2 s-1], summed over cells and
hours, is the change in mole fraction at the receptor [ppm]. Values belong to whole
cells: on a finer grid each is smaller, and the sum stays.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from stilt._version import __version__
from stilt.config import FootprintConfig
from stilt.errors import FootprintError, UnsupportedSettingError
from stilt.footprint import netcdf
from stilt.footprint.axes import GridAxes
from stilt.footprint.empties import EmptyReason
from stilt.footprint.gridding import GriddedParticles
from stilt.footprint.particles import ParticleColumns
from stilt.receptors import Receptor
from stilt.spatial import Grid
from stilt.trajectory import Trajectories

UNITS = "ppm m2 s umol-1"


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
    smooth_factor, time_integrate, transforms
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
            transforms=self.transforms,
        )

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
            Smoothing and time integration.
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

        if config.transforms:
            kinds = ", ".join(transform.kind for transform in config.transforms)
            raise UnsupportedSettingError(
                f"transforms ({kinds}) of footprint {name or 'unnamed'} are not implemented yet; remove them."
            )
        if isinstance(trajectories, Trajectories):
            trajectories = trajectories.as_stored()
        return calc_footprint(
            trajectories,
            config.own_grid() if grid is None else grid,
            smooth_factor=config.smooth_factor,
            time_integrate=config.time_integrate,
            name=name,
            settings_hash=settings_hash,
        )

    @classmethod
    def from_gridded(
        cls,
        gridded: GriddedParticles,
        axes: GridAxes,
        receptor: Receptor,
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
        time_integrate : bool
            Whether the one layer holds the whole run.
        **facts
            Other attributes.

        Returns
        -------
        Footprint
        """
        released = np.datetime64(receptor.time, "ns")
        n_layers = gridded.values.shape[0]
        hours = gridded.first_hour + np.arange(n_layers)
        times = released + (hours * 0 if time_integrate else hours) * np.timedelta64(3600, "s")
        time_range = None
        if n_layers:
            first, last = gridded.hours
            time_range = _utc(released, first), _utc(released, last + 1)
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
            transforms=tuple(json.loads(facts["transforms"])),
            time_range=(_utc(content.start), _utc(content.end)),
            settings_hash=facts["settings_hash"],
            engine=facts["engine"],
            stilt_version=facts["stilt_version"],
            time_created=facts["time_created"],
        )

    def to_bytes(self) -> bytes:
        """Return the NetCDF file as bytes; the clock shows in ``time_created`` and in HDF5's own time stamp."""
        if self.time_range is None:
            raise FootprintError(
                f"footprint {self.name or 'unnamed'} of {self.receptor.id} is empty ({self.empty_message}); "
                "an empty footprint has a marker (empty_marker) instead of a NetCDF file."
            )
        return netcdf.write(
            self.data,
            self.grid,
            time_range=self.time_range,
            attributes={
                "name": self.name,
                "receptor": json.dumps(self.receptor.to_dict(), sort_keys=True),
                "smooth_factor": float(self.smooth_factor),
                "time_integrate": np.int32(self.time_integrate),
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
        self, start: datetime | str | None = None, end: datetime | str | None = None
    ) -> xr.DataArray:
        """
        Sum the layers whose label lies within [start, end].

        Parameters
        ----------
        start, end : datetime or str, optional
            First and last label, both included [UTC]; open where not given.

        Returns
        -------
        DataArray
            Without ``time`` [ppm m2 s umol-1]; zero everywhere where no layer lies within.
        """
        chosen = self.data.sel(time=slice(_label(start), _label(end)))
        return chosen.sum("time", dtype=np.float64, keep_attrs=True)


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
    dims: Sequence[str] = ("time", "lat", "lon") if axes.grid.is_longlat else ("time", "y", "x")
    return xr.DataArray(
        values,
        dims=dims,
        coords={
            "time": np.asarray(times, dtype="datetime64[ns]"),
            dims[1]: axes.y_centers() if y is None else y,
            dims[2]: axes.x_centers() if x is None else x,
        },
        name="foot",
        attrs={"units": UNITS, "long_name": netcdf.LONG_NAME, "projection": axes.grid.projection},
    )


def _utc(instant: np.datetime64, hours: int = 0) -> datetime:
    """Return an instant plus hours as a naive datetime."""
    moved: datetime = (instant.astype("datetime64[us]") + np.timedelta64(hours, "h")).item()
    return moved


def _label(when: datetime | str | None) -> np.datetime64 | None:
    if when is None:
        return None
    if isinstance(when, datetime) and when.tzinfo is not None:
        when = when.astimezone(UTC).replace(tzinfo=None)
    return np.datetime64(when, "ns")
