"""What meteorology a folder or a file holds, for people and scripts (``stilt met ls`` and ``info``)."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from stilt.meteorology.catalog import folder_index, kind_of, refuse_nothing, show
from stilt.meteorology.projection import HorizontalGrid
from stilt.meteorology.search import list_files, patterns_of
from stilt.meteorology.series import MetFile

_GAPS_LISTED = 20


@dataclass(frozen=True)
class Kind:
    """
    Files of one model on one grid with one set of levels.

    Attributes
    ----------
    model, grid, levels, box : str
        For people: the model's four characters, grid, levels, and where particles may be.
    n_files, n_times : int
        Files, and different times in them.
    first, last : str
        First and last time [UTC].
    interval_minutes : int
        The usual time between analyses.
    gaps : list of (str, str)
        Pairs of times with more than that between them, the first twenty.
    n_gaps : int
        How many there are.
    duplicates : int
        Times that more than one file holds; the shorter forecast is used, then the first in order.
    bytes : int
        Size of all files.
    example : str
        Name of one file.
    """

    model: str
    grid: str
    levels: str
    box: str
    n_files: int
    n_times: int
    first: str
    last: str
    interval_minutes: int
    gaps: list[tuple[str, str]]
    n_gaps: int
    duplicates: int
    bytes: int
    example: str


@dataclass
class Inventory:
    """
    What a folder holds.

    Attributes
    ----------
    directory : str
        The folder.
    kinds : list of Kind
        Largest first.
    faults : list of str
        What is wrong with damaged files.
    others : int
        Files that are not ARL or do not match.
    links : int
        Names of files that count under another name.
    """

    directory: str
    kinds: list[Kind] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    others: int = 0
    links: int = 0

    def to_dict(self) -> dict[str, Any]:
        """The inventory in words JSON knows."""
        return asdict(self)


def inventory(
    directory: str | os.PathLike[str], file_format: str | Sequence[str] | None = None, *, name: str = "met"
) -> Inventory:
    """
    List the meteorology below a folder.

    Parameters
    ----------
    directory : path-like
        The folder, searched with all that is below.
    file_format : str or sequence of str, optional
        Begin of the names; every ARL file without it.
    name : str
        Name of the meteorology, for messages.

    Raises
    ------
    MetNotFoundError
        When the folder is not there or nothing in it matches.
    """
    folder = Path(directory).expanduser().absolute()
    patterns = patterns_of(file_format)
    listing = list_files(folder, patterns, name)
    refuse_nothing(listing, folder, patterns, name)
    described = folder_index(folder).describe(file.path for file in listing.files)
    groups: dict[object, list[MetFile]] = {}
    for file in described.files:
        groups.setdefault(kind_of(file), []).append(file)
    kinds = [_kind(files) for files in groups.values()]
    kinds.sort(key=lambda kind: -kind.n_files)
    return Inventory(
        directory=str(folder),
        kinds=kinds,
        faults=[str(fault) for fault in described.faults],
        others=listing.n_seen - len(listing.files) + len(described.others),
        links=described.linked,
    )


def _kind(files: Sequence[MetFile]) -> Kind:
    every = np.sort(np.concatenate([file.times for file in files]))
    times, held = np.unique(every, return_counts=True)
    minutes = np.diff(times).astype("timedelta64[s]").astype(np.int64) // 60
    usual = 0
    if minutes.size:
        counts = Counter(minutes.tolist())
        most = max(counts.values())
        usual = min(step for step, count in counts.items() if count == most)
    after = np.flatnonzero(minutes > usual)
    first = files[0]
    return Kind(
        model=first.model_id.strip(),
        grid=describe_grid(first.grid),
        levels=f"{first.levels.n_upper} {first.levels.kind} levels",
        box=first.grid.describe(),
        n_files=len(files),
        n_times=len(times),
        first=show(times[0]),
        last=show(times[-1]),
        interval_minutes=int(usual),
        gaps=[(show(times[k]), show(times[k + 1])) for k in after[:_GAPS_LISTED]],
        n_gaps=int(after.size),
        duplicates=int((held > 1).sum()),
        bytes=sum(file.size for file in files),
        example=first.name,
    )


def describe_grid(grid: HorizontalGrid) -> str:
    """
    Name a grid for people.

    >>> describe_grid(HorizontalGrid.latlon(-112.0, 40.0, 0.5, 0.25, nx=9, ny=7))
    'latlon 9 x 7 points of 0.5 x 0.25 degrees'
    """
    if grid.is_latlon:
        step = f"{grid.ref_lon:g} x {grid.ref_lat:g} degrees"
    else:
        step = f"{grid.size:g} km"
    return f"{grid.kind} {grid.nx} x {grid.ny} points of {step}"


def file_facts(file: MetFile) -> dict[str, Any]:
    """
    Say what one file holds, in words JSON knows.

    Parameters
    ----------
    file : MetFile
        The file.

    Returns
    -------
    dict
        ``path size model grid levels variables times forecast_hours``.
    """
    grid, levels = file.grid, file.levels
    corners_x, corners_y = np.array([1.0, grid.nx]), np.array([1.0, grid.ny])
    lon, lat = grid.to_lonlat(corners_x, corners_y)
    names = (
        "pole_lat pole_lon ref_lat ref_lon size orientation tangent_lat sync_x sync_y sync_lat sync_lon"
    ).split()
    minutes = np.diff(file.times).astype("timedelta64[s]").astype(np.int64) // 60
    return {
        "path": str(file.path),
        "size": file.size,
        "model": file.model_id.strip(),
        "grid": {
            "kind": grid.kind,
            "description": describe_grid(grid),
            "nx": grid.nx,
            "ny": grid.ny,
            "south_west": [round(float(lon[0]), 4), round(float(lat[0]), 4)],
            "north_east": [round(float(lon[1]), 4), round(float(lat[1]), 4)],
            "particles_may_be_at": grid.describe(),
            "cyclic": grid.is_cyclic,
            "numbers": dict(zip(names, grid.numbers, strict=True)),
        },
        "levels": {
            "kind": levels.kind,
            "flag": levels.flag,
            "count": levels.n_upper,
            "offset": levels.offset,
            "heights": list(levels.heights),
        },
        "variables": {
            "surface": list(file.variables[0]),
            "upper": list(dict.fromkeys(name for names in file.variables[1:] for name in names)),
            "by_level": [list(names) for names in file.variables],
        },
        "times": [show(time) for time in file.times],
        "interval_minutes": sorted({int(step) for step in minutes}),
        "forecast_hours": list(file.forecast_hours),
    }
