"""
Everything a run needs, in its scratch folder under short names.

The program reads file names from CONTROL, where long paths are cut. So the folder holds links,
or copies where links cannot be made::

    met_000.arl met_001.arl ...             the meteorology, in order of time
    ROUGLEN.ASC LANDUSE.ASC TERRAIN.ASC     the program's tables, found through ASCDATA.CFG
    CONTROL SETUP.CFG WINDERR ...           text written for this run

A file with one time is no meteorology to the program, one time in two files leaves to it which
it takes, and the number of files it opens is limited. In these cases times are put together, byte by
byte. Blocks of times at fixed places of the clock are wanted by many receptors, so they are kept::

    <PYSTILT_CACHE_DIR>/met-joined/<hash of the files and times>.arl

What a run needs before its first whole block and after its last is copied into its folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import shutil
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from stilt.errors import MetCoverageError, MetFormatError, StoreError, UnsupportedSettingError
from stilt.kernels.compiler import cache_root
from stilt.meteorology.arl.file import ArlFile
from stilt.meteorology.once import Alive, made_once, whole_file
from stilt.meteorology.series import MetFile, MetSeries

TABLES = ("ROUGLEN.ASC", "LANDUSE.ASC", "TERRAIN.ASC")
"""Roughness length, land use and terrain height on a 1-degree grid."""

MAX_FILES = 99
"""Files the program opens at most; more are put together."""

_ASCDATA = "-90.0 -180.0\n1.0 1.0\n180 360\n2\n0.2\n'./'\n"
"""Corner, spacing and size of the tables, default land use and roughness, folder."""

FORMAT_VERSION = 1
"""Raised when files put together change; it is part of their name."""

JOINED_LIMIT = 20 * 1024**3
"""Size the files kept for all receptors stay below [bytes]."""

_RECENT = 3600.0
"""A file used so lately is not removed, since a run may be about to open it [s]."""

_CHUNK = 1 << 24

Source = tuple[ArlFile, int]
"""A file and which of its times."""


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
    targets: list[Path] = []
    for _, group in itertools.groupby(all_sources, key=lambda source: id(source[0].layout)):
        sources = list(group)
        if len(sources) < 2:
            file, period = sources[0]
            raise MetCoverageError(
                f"met '{series.name}': {file.path} is alone with its layout at {file.times[period]} UTC, and "
                "engine 'hysplit' needs two times of one layout; use engine: native or files made alike."
            )
        for block, is_whole in _blocks(sources, series.interval):
            targets.append(folder / _name(len(targets)))
            if not (is_whole and _link_shared(block, targets[-1])):
                join(block, targets[-1])
    return [target.name for target in targets]


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


def _blocks(sources: Sequence[Source], interval: int) -> Iterator[tuple[list[Source], bool]]:
    """
    Split times at fixed places of the clock, none left single, and say which blocks are whole.

    Two times make a block, or more where that would be too many files.
    """
    length = 2
    while len(sources) > length * MAX_FILES // 2:
        length *= 2

    def place(source: Source) -> int:
        file, period = source
        return int(file.times[period].astype("datetime64[m]").astype(np.int64)) // (length * interval)

    blocks = [list(block) for _, block in itertools.groupby(sources, key=place)]
    if len(blocks) > 1 and len(blocks[0]) == 1:
        blocks[:2] = [blocks[0] + blocks[1]]
    if len(blocks) > 1 and len(blocks[-1]) == 1:
        blocks[-2:] = [blocks[-2] + blocks[-1]]
    for block in blocks:
        yield block, len(block) == length


def _link_shared(sources: Sequence[Source], target: Path) -> bool:
    """
    Link a block that all receptors share, putting it together when it is the first time.

    Returns
    -------
    bool
        False where it cannot be kept; the run then has a copy of its own.
    """
    root = cache_root() / "met-joined"
    text = repr((FORMAT_VERSION, [file.identity(period) for file, period in sources]))
    path = root / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.arl"
    size = sum(file.layout.period_bytes for file, _ in sources)

    def make(alive: Alive) -> None:
        _prune(root, JOINED_LIMIT - size)
        with whole_file(path) as temporary:
            join(sources, temporary, alive)

    def link_whole() -> bool | None:
        try:
            os.utime(path)  # the time of last use decides what goes first
            if path.stat().st_size != size:
                return None
        except FileNotFoundError:  # removed this moment
            return None
        try:
            os.link(path, target)  # stays when the file is removed from the cache meanwhile
        except OSError:
            link(path, target)
        return True

    try:
        return made_once(path, make, link_whole)
    except OSError as error:
        target.unlink(missing_ok=True)
        warnings.warn(
            f"meteorology put together cannot be kept under {root} ({error.strerror or error}); every run "
            "makes its own. Point PYSTILT_CACHE_DIR at a folder with space.",
            RuntimeWarning,
            stacklevel=2,
        )
        return False


def _prune(root: Path, limit: int) -> None:
    """Remove the files unused for longest until the rest take no more than a limit; recent ones stay."""
    found = []
    for path in root.iterdir():
        with contextlib.suppress(OSError):
            status = path.stat()
            found.append((status.st_mtime, status.st_size, path))
    total = sum(size for _, size, _ in found)
    for last_used, size, path in sorted(found):
        if total <= limit or time.time() - last_used < _RECENT:
            break
        with contextlib.suppress(OSError):
            path.unlink()
            total -= size


def join(sources: Sequence[Source], target: Path, alive: Alive | None = None) -> None:
    """
    Copy periods of files of one layout into one file.

    Parameters
    ----------
    sources : sequence of (ArlFile, int)
        File and period, in order of time.
    target : Path
        The file to write.
    alive : callable, optional
        Called now and then.
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
                    if alive is not None:
                        alive()


def link(source: Path, target: Path) -> None:
    """Link a file into the folder, or copy it where that cannot be done."""
    try:
        target.symlink_to(source.resolve())
    except (OSError, NotImplementedError):
        shutil.copyfile(source, target)


def _name(number: int) -> str:
    return f"met_{number:03d}.arl"
