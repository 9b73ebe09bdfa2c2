"""
Where meteorology comes from: a folder of ARL files, or an archive to download from.

This only describes; whether files are there, and which hours they hold, is found out
when they are opened (``stilt check``), never when a config is read.

A meteorology may name others in which particles go on where its own grid or hours end::

    mets:
      hrrr: {directory: hrrr, file_format: "%Y%m%d_%H", fallback: gfs}
      gfs: {directory: gfs}
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Discriminator, Field, Tag, field_validator, model_validator

from stilt.sections import Float, Int, Section
from stilt.spatial import Bounds
from stilt.spelling import did_you_mean

MET_SOURCES = ("hrrr", "hrrr.v1", "nam12", "nams", "gdas1", "gdas0p5", "gfs0p25", "reanalysis", "narr")
"""Archives that download mode knows."""

XARRAY = "xarray"
"""The source that reads gridded data at ``path``."""

ARL_FIELDS = (
    "SHGT", "PRSS", "T02M", "U10M", "V10M", "USTR", "UMOF", "VMOF", "SHTF", "LTHF", "DSWF", "PBLH", "RGHS",
    "TCLD",
    "TEMP", "UWND", "VWND", "WWND", "DZDT", "SPHU", "RELH", "HGTS", "PRES",
)  # fmt: skip
"""Fields that gridded data may provide, by their names in ARL files."""

_INTERVAL = re.compile(r"([0-9]+(?:\.[0-9]+)?)?\s*([a-z]+)", re.IGNORECASE)
_UNIT_SECONDS = {
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 3600),
    **dict.fromkeys(("d", "day", "days"), 86400),
}


def _to_path(value: Any) -> Any:
    if value == "":
        raise ValueError("an empty path names nothing; give a folder")
    return Path(value).expanduser() if isinstance(value, (str, Path)) else value


Folder = Annotated[Path, BeforeValidator(_to_path)]
"""A path as it was written, with ``~`` resolved; relative ones count from the folder of the config."""


class GriddedVariable(Section):
    """What a variable of a dataset is, where its attributes do not say or say it wrongly."""

    name: str = Field(description="Name in the dataset [name].")
    units: str | None = Field(default=None, description="Units, instead of the attribute [name].")
    positive: Literal["up", "down"] | None = Field(
        default=None, description="Direction in which a flux counts as positive [up/down]."
    )
    hours: Float | None = Field(
        default=None, gt=0, description="Hours over which a flux in J m-2 was accumulated [h]."
    )


def _kind_of_fallback(value: Any) -> str:
    return "<name>" if isinstance(value, str) else "<section>"


Fallback = Annotated[
    Annotated[str, Tag("<name>")] | Annotated["MetConfig", Tag("<section>")],
    Discriminator(_kind_of_fallback),
]
"""A name under ``mets``, or a section of its own."""


class MetConfig(Section):
    """
    One meteorology: ARL files in a ``directory``, files of an archive to download (``source: hrrr``), or any
    gridded data (``source: xarray`` and ``path``).

    Examples
    --------
    >>> MetConfig(directory="/data/hrrr", file_format="%Y%m%d_%H", file_tres="1h").file_interval
    datetime.timedelta(seconds=3600)
    """

    directory: Folder | None = Field(
        default=None, description="Folder of ARL files, searched recursively [path]; archive mode."
    )
    file_format: str | tuple[str, ...] | None = Field(
        default=None,
        description="Begin of the file names as a strftime pattern of their time [UTC]: %Y%m%d_%H matches "
        "20190530_06-11_hrrr; or a list of patterns, earlier ones first where files overlap. None takes "
        "every ARL file of the folder, which then must hold one meteorology.",
    )
    file_tres: str | None = Field(
        default=None,
        description="Time between files, such as 1h or 6h [min, h or d]; only narrows the search, "
        "the hours covered are read from the files.",
    )
    source: str | None = Field(
        default=None,
        description="xarray for NetCDF, Zarr or GRIB data at `path`, or an archive to download from [name]: "
        f"{', '.join(MET_SOURCES)}.",
    )
    path: str | tuple[str, ...] | None = Field(
        default=None, description="Files or Zarr stores of source xarray, also with * [path]."
    )
    engine: str | None = Field(
        default=None,
        description="xarray's engine for `path`, such as netcdf4, zarr, cfgrib [name]; none guesses.",
    )
    preset: Literal["era5", "wrf", "cf"] = Field(
        default="cf", description="Which conventions the data at `path` follow [name]."
    )
    winds: Literal["grid", "earth"] | None = Field(
        default=None,
        description="Whether winds of projected data at `path` point along the grid or to the east and north "
        "[name]; none: as their attributes say.",
    )
    variables: dict[str, GriddedVariable] = Field(
        default_factory=dict,
        description="Variables of the data by ARL name, where the preset does not find them "
        "[name, or name, units, positive, hours].",
    )
    fallback: tuple[Fallback, ...] = Field(
        default=(),
        description="Where particles go on that leave this grid or find its hours over: names under mets, "
        "or sections, from fine to coarse [name or section, or a list of them].",
    )
    standalone: bool = Field(
        default=False,
        description="Run receptors with this met also by itself, though it is the fallback of another; "
        "a met that is nobody's fallback always runs [true/false].",
    )
    backend: Literal["s3"] = Field(default="s3", description="How to download [name].")
    archive_url: str | None = Field(
        default=None,
        description="Address of the archive or of a copy of it, for download mode [URL]; "
        "none: NOAA's on AWS.",
    )
    download_dir: Folder | None = Field(
        default=None, description="Folder for downloaded files [path]; none uses the cache."
    )
    n_min: Int = Field(default=1, ge=1, description="Fewest files a simulation needs, else it fails [1].")
    subgrid_enable: bool = Field(
        default=False, description="Cut the files to a box before the run [true/false]."
    )
    subgrid_bounds: Bounds | None = Field(default=None, description="Box to cut to [degrees].")
    subgrid_buffer: Float = Field(default=0.2, ge=0, description="Margin around the box [degrees].")
    subgrid_levels: Int | None = Field(
        default=None, ge=1, description="Number of levels to keep, from the ground up [1]; none keeps all."
    )
    subgrid_dir: Folder | None = Field(
        default=None, description="Folder for cut files [path]; none uses the cache."
    )

    @field_validator("file_tres", mode="before")
    @classmethod
    def _is_an_interval(cls, value: Any) -> Any:
        if value is not None:
            _interval(value)
        return value

    @field_validator("file_format")
    @classmethod
    def _is_a_pattern(cls, value: str | tuple[str, ...] | None) -> str | tuple[str, ...] | None:
        texts = (value,) if isinstance(value, str) else value or ()
        for text in texts:
            if not text.strip() or "/" in text or "\\" in text:
                raise ValueError(f"'{text}' is no begin of a file name; give a pattern such as %Y%m%d_%H")
        return None if value is not None and not texts else value

    @field_validator("source")
    @classmethod
    def _is_known(cls, value: str | None) -> str | None:
        known = (XARRAY, *MET_SOURCES)
        if value is not None and value not in known:
            raise ValueError(f"unknown source '{value}', {did_you_mean(value, known)}")
        return value

    @field_validator("fallback", mode="before")
    @classmethod
    def _one_will_do(cls, value: Any) -> Any:
        if value is None:
            return ()
        return (value,) if isinstance(value, (str, Mapping, Section)) else value

    @field_validator("archive_url")
    @classmethod
    def _is_an_address(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            parts = urlsplit(value)
            whole = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
        except ValueError:
            whole = False
        if not whole:
            raise ValueError("this is no address of an archive; give one like https://host/folder")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("the address of an archive holds no user, password, query or fragment")
        return value

    @field_validator("variables", mode="before")
    @classmethod
    def _names_alone_do(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        return {key: {"name": entry} if isinstance(entry, str) else entry for key, entry in value.items()}

    @field_validator("variables")
    @classmethod
    def _are_arl_names(cls, value: dict[str, GriddedVariable]) -> dict[str, GriddedVariable]:
        for name in value:
            if name not in ARL_FIELDS:
                raise ValueError(f"unknown field '{name}', {did_you_mean(name, ARL_FIELDS)}")
        return value

    @model_validator(mode="after")
    def _one_mode(self) -> Self:
        if self.directory is None and self.source is None:
            raise ValueError(
                "no meteorology: give directory (and file_format) for files you have, or source to download"
            )
        if self.directory is not None and self.source is not None:
            raise ValueError(f"both directory and source '{self.source}' are given; keep one of them")
        gridded = [name for name in ("path", "engine", "winds", "variables") if getattr(self, name)]
        if "preset" in self.model_fields_set:
            gridded.append("preset")
        if self.source == XARRAY and not self.path:
            raise ValueError("source xarray needs path, the files or the Zarr store")
        for key in ("archive_url", "download_dir"):
            if getattr(self, key) is not None and not self.is_download:
                raise ValueError(
                    f"{key} belongs to downloads; add source, the name of an archive, or remove it"
                )
        if self.source != XARRAY and gridded:
            raise ValueError(f"{gridded[0]} belongs to source xarray; add source: xarray or remove it")
        if self.source is not None:
            given = [name for name in ("file_format", "file_tres") if getattr(self, name) is not None]
            if given:
                raise ValueError(f"{given[0]} belongs to directory and has no meaning with source; remove it")
        if self.subgrid_enable and self.subgrid_bounds is None:
            raise ValueError("subgrid_enable needs subgrid_bounds (xmin, xmax, ymin, ymax)")
        return self

    @property
    def is_download(self) -> bool:
        """Whether the files come from an archive on the network."""
        return self.source is not None and not self.is_gridded

    @property
    def is_gridded(self) -> bool:
        """Whether the data are read through xarray."""
        return self.source == XARRAY

    @property
    def paths(self) -> tuple[str, ...]:
        """The entries of ``path``."""
        return (self.path,) if isinstance(self.path, str) else self.path or ()

    @property
    def file_interval(self) -> timedelta | None:
        """Time between files, None when it was not given."""
        return None if self.file_tres is None else _interval(self.file_tres)

    def resolved(self, base: str | Path) -> MetConfig:
        """
        Return the same meteorology with relative folders made absolute.

        Parameters
        ----------
        base : str or Path
            Folder that relative paths count from, usually the one of the config.

        Returns
        -------
        MetConfig
            With absolute folders.
        """
        root = Path(base).absolute()
        folders = ("directory", "subgrid_dir", "download_dir")
        changes: dict[str, Any] = {name: root / value for name in folders if (value := getattr(self, name))}
        if self.path:
            changes["path"] = tuple(
                text if "://" in text else str(root / Path(text).expanduser()) for text in self.paths
            )
        if self.fallback:
            changes["fallback"] = tuple(
                other if isinstance(other, str) else other.resolved(base) for other in self.fallback
            )
        return self.replace(**changes) if changes else self


def _interval(value: Any) -> timedelta:
    match = _INTERVAL.fullmatch(value.strip()) if isinstance(value, str) else None
    seconds = _UNIT_SECONDS.get(match[2].lower()) if match else None
    if match is None or seconds is None or float(match[1] or 1) <= 0:
        raise ValueError(f"{value!r} is no length of time; give e.g. 1h, 6h, 30min or 1d")
    return timedelta(seconds=float(match[1] or 1) * seconds)
