"""
Everything a run needs, in its scratch folder under short names.

The program reads file names from CONTROL, where long paths are cut. So the folder holds links,
or copies where links cannot be made::

    met_000.arl met_001.arl ...             the meteorology, in order of time
    ROUGLEN.ASC LANDUSE.ASC TERRAIN.ASC     the program's tables, found through ASCDATA.CFG
    CONTROL SETUP.CFG WINDERR ...           text written for this run

A file with one time is no meteorology to the program, one time in two files leaves to it which
it takes, and the number of files it opens is limited. In these cases the times of the run are
copied, byte by byte, into as few files as their layout allows.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from stilt.errors import MetCoverageError, MetFormatError, StoreError, UnsupportedSettingError
from stilt.meteorology.arl.file import ArlFile
from stilt.meteorology.series import MetFile, MetSeries

TABLES = ("ROUGLEN.ASC", "LANDUSE.ASC", "TERRAIN.ASC")
"""Roughness length, land use and terrain height on a 1-degree grid."""

MAX_FILES = 99
"""Files the program opens at most; more are put together."""

_ASCDATA = "-90.0 -180.0\n1.0 1.0\n180 360\n2\n0.2\n'./'\n"
"""Corner, spacing and size of the tables, default land use and roughness, folder."""

_CHUNK = 1 << 24


def stage(folder: Path, tables: Path, texts: Mapping[str, str], series: MetSeries) -> list[str]:
    """
    Fill the folder a run happens in.

    Parameters
    ----------
    folder : Path
        The scratch folder.
    tables : Path
        Folder that holds ``TABLES``.
    texts : mapping
        Files to write, by name.
    series : MetSeries
        The analyses of the run.

    Returns
    -------
    list of str
        Names of the meteorology files in the folder.
    """
    try:
        (folder / "ASCDATA.CFG").write_text(_ASCDATA)
        for name in TABLES:
            link(tables / name, folder / name)
        for name, text in texts.items():
            (folder / name).write_text(text)
        return stage_met(folder, series)
    except OSError as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(
            f"scratch folder {folder} cannot be filled ({error.strerror or error}); choose another with "
            "--compute-root or PYSTILT_COMPUTE_ROOT."
        ) from error


def stage_met(folder: Path, series: MetSeries) -> list[str]:
    """
    Link the files of a series into a folder, or put its times together there.

    Parameters
    ----------
    folder : Path
        The scratch folder.
    series : MetSeries
        The analyses of the run.

    Returns
    -------
    list of str
        Names in the folder, in order of time.
    """
    all_sources = [(_arl(file, series.name), period) for file, period in series.sources]
    files = list(dict.fromkeys(file for file, _ in all_sources))
    if _as_they_are(files):
        for number, file in enumerate(files):
            link(file.path, folder / _name(number))
        return [_name(number) for number in range(len(files))]
    names: list[str] = []
    for _, group in itertools.groupby(all_sources, key=lambda source: id(source[0].layout)):
        sources = list(group)
        if len(sources) < 2:
            file, period = sources[0]
            raise MetCoverageError(
                f"met '{series.name}': {file.path} is alone with its layout at {file.times[period]} UTC, and "
                "engine 'hysplit' needs two times of one layout; use engine: native or files made alike."
            )
        names.append(_name(len(names)))
        join(sources, folder / names[-1])
    return names


def _arl(file: MetFile, name: str) -> ArlFile:
    if not isinstance(file, ArlFile):
        raise UnsupportedSettingError(
            f"met '{name}': {file.path} is not an ARL file, which is all engine 'hysplit' reads; "
            "convert it or use engine: native."
        )
    return file


def _as_they_are(files: Sequence[ArlFile]) -> bool:
    """Whether the program can take the files: two times or more in each, no time twice, not too many."""
    if len(files) > MAX_FILES or any(len(file.times) < 2 for file in files):
        return False
    spans = sorted((file.times.min(), file.times.max()) for file in files)
    return all(before[1] < after[0] for before, after in itertools.pairwise(spans))


def join(sources: Sequence[tuple[ArlFile, int]], target: Path) -> None:
    """
    Copy periods of files of one layout into one file.

    Parameters
    ----------
    sources : sequence of (ArlFile, int)
        File and period, in order of time.
    target : Path
        The file to write.
    """
    with target.open("wb") as out:
        for file, period in sources:
            size = file.layout.period_bytes
            with file.path.open("rb") as stream:
                stream.seek(period * size)
                left = size
                while left:
                    data = stream.read(min(left, _CHUNK))
                    if not data:
                        raise MetFormatError(
                            f"{file.path} ends inside the time {file.times[period]} UTC; it was truncated "
                            "while in use. Get it again."
                        )
                    out.write(data)
                    left -= len(data)


def link(source: Path, target: Path) -> None:
    """Link a file into the folder, or copy it where that cannot be done."""
    try:
        target.symlink_to(source.resolve())
    except (OSError, NotImplementedError):
        shutil.copyfile(source, target)


def _name(number: int) -> str:
    return f"met_{number:03d}.arl"
