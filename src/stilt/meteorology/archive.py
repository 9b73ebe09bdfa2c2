"""
Which files of NOAA's archive hold a span of time, and where they lie on this machine.

The names come from the package arlmet (extra ``download``); nothing here talks to a network. Files lie
as in the archive, each beside a note of what it is; of what is cut on arrival only the cut stays::

    <download_dir or PYSTILT_CACHE_DIR/met-download/<hash of the archive's address>>/
        hrrr/2024/07/20240718_00-05_hrrr        the file, once it is complete and checked
        hrrr/2024/07/20240718_00-05_hrrr.json   {"url", "size", "sha256", "etag", "modified"}
        cut-<hash of the box>/hrrr/2024/07/...  the same for cut files
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np

from stilt.errors import MetCoverageError, MetError, MissingExtraError
from stilt.kernels.compiler import cache_root
from stilt.meteorology.arl.file import open_arl
from stilt.meteorology.crop import Cut, cut_name
from stilt.meteorology.series import MetFile

if TYPE_CHECKING:
    from stilt.config import MetConfig

ARCHIVE_URL = "https://noaa-oar-arl-hysplit-pds.s3.amazonaws.com"
"""NOAA's archive on AWS, open to all."""

INTERVALS = {
    "hrrr": 1, "hrrr.v1": 1, "nams": 1, "nam12": 3, "gdas1": 3, "gdas0p5": 3, "gfs0p25": 3, "narr": 3,
    "reanalysis": 6,
}  # fmt: skip
"""Hours between the analyses of each archive."""

_KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")


@dataclass(frozen=True)
class Note:
    """
    What lies beside a downloaded file: where it came from and what its bytes are.

    Parameters
    ----------
    url : str
        Where the whole file came from.
    size : int
        Bytes of the file beside the note.
    sha256 : str
        Their checksum.
    etag, modified : str
        Which version of the archive's file it was.
    """

    url: str
    size: int
    sha256: str
    etag: str = ""
    modified: str = ""


@dataclass(frozen=True)
class Wanted:
    """
    One file of an archive that runs need.

    Parameters
    ----------
    key : str
        Its path in the archive.
    url : str
        Where the archive has it.
    whole : Path
        Where the whole file lies here.
    path : Path
        Where what runs read lies here: the whole file or the cut.
    """

    key: str
    url: str
    whole: Path
    path: Path

    def note(self) -> Note | None:
        """Read the note beside the file; None unless both are there and agree in size."""
        try:
            size = self.path.stat().st_size
            note = Note(**json.loads(note_path(self.path).read_bytes()))
        except (OSError, ValueError, TypeError):
            return None
        return note if note.size == size else None


def note_path(path: Path) -> Path:
    """Return where the note of a file lies."""
    return path.with_name(path.name + ".json")


def write_note(path: Path, note: Note) -> None:
    """Write the note of a file, whole or not at all."""
    target = note_path(path)
    temporary = target.with_name(f".{target.name}.tmp")
    temporary.write_text(json.dumps(asdict(note)))
    temporary.replace(target)


def cut_of(met: MetConfig) -> Cut | None:
    """Return what a section keeps of each file; None for all of it."""
    if not met.subgrid_enable or met.subgrid_bounds is None:
        return None
    return Cut(met.subgrid_bounds, met.subgrid_buffer, met.subgrid_levels)


def address(met: MetConfig) -> str:
    """Return the address of the archive of a section, without a slash at the end."""
    return (met.archive_url or ARCHIVE_URL).rstrip("/")


def folder(met: MetConfig) -> Path:
    """Return where the downloads of a section lie."""
    if met.download_dir is not None:
        return met.download_dir
    digest = hashlib.sha256(address(met).encode()).hexdigest()[:12]
    return cache_root() / "met-download" / digest


def kept_in(met: MetConfig) -> Path:
    """Return where what runs read of a section lies: whole files or cut ones."""
    root, cut = folder(met), cut_of(met)
    return root if cut is None else (met.subgrid_dir or root) / f"cut-{cut_name(cut, '')}"


def wanted_files(met: MetConfig, name: str, start: np.datetime64, end: np.datetime64) -> list[Wanted]:
    """
    Name the files that hold the analyses around a span of time.

    Parameters
    ----------
    met : MetConfig
        A section with the name of an archive as ``source``.
    name : str
        Its name in the configuration, for messages.
    start, end : datetime64
        The two ends of a run [UTC] in either order.

    Returns
    -------
    list of Wanted
        In order of time.

    Raises
    ------
    MetCoverageError
        When the archive begins later.
    MissingExtraError
        Without the package arlmet.
    """
    assert met.source is not None  # noqa: S101 - for the type checker
    step = INTERVALS[met.source] * 3600
    low, high = (int(time.astype("datetime64[s]").astype(np.int64)) for time in sorted((start, end)))
    first, last = low // step * step, -(-high // step) * step
    if first == last:  # one instant that is an analysis time: an interval needs two
        last += step
    root, beside = folder(met), kept_in(met)
    return [
        Wanted(key, f"{address(met)}/{quote(key)}", root / key, beside / key)
        for key in _keys(met.source, name, first, last)
    ]


def files_here(
    met: MetConfig, name: str, spans: Iterable[tuple[np.datetime64, np.datetime64]]
) -> tuple[list[MetFile], list[str]]:
    """
    Open those files around spans of time that have been downloaded.

    Returns
    -------
    files : list of MetFile
        In order of time.
    faults : list of str
        What is wrong with damaged ones.
    """
    every: dict[Path, Wanted] = {}
    for low, high in merged(spans):
        every |= {wanted.path: wanted for wanted in wanted_files(met, name, low, high)}
    files: list[MetFile] = []
    faults = []
    for wanted in every.values():
        if wanted.note() is None:
            continue
        try:
            files.append(open_arl(wanted.path))
        except MetError as error:
            faults.append(str(error))
    return files, faults


def example_here(met: MetConfig) -> Path | None:
    """Return any one file of a section that has been downloaded; None when there is none yet."""
    notes = (kept_in(met) / str(met.source)).rglob("*.json")
    paths = (note.with_suffix("") for note in notes)
    return next((path for path in paths if path.is_file()), None)


@functools.lru_cache(maxsize=4096)
def _keys(source: str, name: str, first: int, last: int) -> tuple[str, ...]:
    """Ask arlmet for the paths that cover a span [s since 1970], and trust none to leave the folder."""
    archive = _archive(source)
    begin, end = (np.datetime64(seconds, "s").item() for seconds in (first, last))
    try:
        keys = tuple(archive.paths_for_range(begin, end))
    except ValueError as error:
        raise MetCoverageError(
            f"met '{name}': the archive '{source}' does not reach back to {begin:%Y-%m-%d %H:%M} "
            f"({error}). Choose another source or later receptors."
        ) from error
    for key in keys:
        if not _KEY.fullmatch(key):
            raise MetError(f"met '{name}': arlmet names a file '{key}', which is no path in an archive.")
    return keys


@functools.cache
def _archive(source: str) -> Any:
    try:
        from arlmet.archives import get_archive
    except ImportError as error:
        raise MissingExtraError(
            f"source: {source} needs the package arlmet, which knows the archive's files; "
            "pip install 'pystilt[download]'."
        ) from error
    return get_archive(source)


def merged(spans: Iterable[tuple[np.datetime64, np.datetime64]]) -> list[tuple[np.datetime64, np.datetime64]]:
    """
    Join spans that overlap, earliest first.

    >>> day = lambda d, h: np.datetime64(f"2024-01-{d:02d}T{h:02d}")
    >>> spans = [(day(2, 0), day(1, 0)), (day(1, 12), day(3, 0)), (day(9, 0), day(8, 0))]
    >>> [f"{low}/{high}" for low, high in merged(spans)]
    ['2024-01-01T00/2024-01-03T00', '2024-01-08T00/2024-01-09T00']
    """
    joined: list[tuple[np.datetime64, np.datetime64]] = []
    for low, high in sorted((min(span), max(span)) for span in spans):
        if joined and low <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(joined[-1][1], high)
        else:
            joined.append((low, high))
    return joined
