"""
What the files of a folder hold, remembered between processes.

A file's index records are read once; what they say is kept for the whole folder in one
small file::

    <PYSTILT_CACHE_DIR>/met-index/<hash of the folder's path>.json
        {"version": 1, "layouts": [grid, levels, variables ...],
         "files": {relative path: [size, time of change, layout, times, forecast hours]}}

An entry counts only while size and time of change are what they were, so nothing has to
be invalidated. What is new is read by several threads at once. Files that are damaged are
remembered with their fault, files that are no meteorology as such. A file changed within
the last seconds may still be growing and is not remembered. The cache is written whole
under a temporary name and renamed; of two processes that write at once the later one
stays, and the earlier one's files are read again. A cache that cannot be read or written
costs reading, nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stilt.errors import MetError, MetFormatError, MetNotFoundError
from stilt.kernels.compiler import cache_root
from stilt.meteorology.arl.file import ArlFile
from stilt.meteorology.arl.index import NotArlError, RecordLayout, make_layout
from stilt.meteorology.once import whole_file

VERSION = 1
THREADS = 16
"""Files read at once: most of the time is waiting for the disk."""
SETTLED = 5.0
"""Files changed more recently than this are not remembered [s]."""

_OTHER = "other"
_FAULT = "fault"


@dataclass
class Described:
    """
    What a set of files turned out to be.

    Attributes
    ----------
    files : list of ArlFile
        Meteorology, in the order asked for; of files that are one (hard links) the first.
    faults : list of MetFormatError
        What is wrong with damaged files.
    others : list of NotArlError
        What was found in files that are not ARL at all.
    opened : int
        Files that had to be opened.
    linked : int
        Names of files that were there under another name already.
    """

    files: list[ArlFile] = field(default_factory=list)
    faults: list[MetFormatError] = field(default_factory=list)
    others: list[NotArlError] = field(default_factory=list)
    opened: int = 0
    linked: int = 0


class FolderIndex:
    """
    The remembered contents of one folder.

    Parameters
    ----------
    folder : path-like
        The folder; files are named relative to it.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = os.path.abspath(folder)
        digest = hashlib.sha256(os.path.realpath(folder).encode()).hexdigest()[:24]
        self.path = cache_root() / "met-index" / f"{digest}.json"
        self._entries: dict[str, list[Any]] | None = None
        self._layouts: list[RecordLayout] = []
        self._made: dict[str, ArlFile | MetFormatError] = {}
        self._lock = threading.Lock()

    def describe(self, paths: Iterable[str]) -> Described:
        """
        Describe files, reading only those that are new or have changed.

        Parameters
        ----------
        paths : iterable of str
            Absolute paths below the folder.
        """
        with self._lock:
            return self._describe(list(paths))

    def _describe(self, paths: list[str]) -> Described:
        if self._entries is None:
            self._load()
        assert self._entries is not None  # noqa: S101 - for the type checker
        found = Described()
        stats = self._stats(paths)
        linked: set[tuple[int, int]] = set()
        unknown: list[tuple[str, str]] = []
        keys: list[str | None] = []
        for path, stat in zip(paths, stats, strict=True):
            if isinstance(stat, OSError):
                found.faults.append(
                    MetFormatError(f"meteorology file {path} cannot be opened: {stat.strerror}. Remove it.")
                )
                keys.append(None)
                continue
            if stat.st_nlink > 1:
                if (stat.st_dev, stat.st_ino) in linked:
                    found.linked += 1
                    keys.append(None)
                    continue
                linked.add((stat.st_dev, stat.st_ino))
            key = os.path.relpath(path, self.folder)
            keys.append(key)
            entry = self._entries.get(key)
            if entry is None or entry[:2] != [stat.st_size, stat.st_mtime_ns]:
                self._made.pop(key, None)
                unknown.append((key, path))
        self._read(unknown)
        found.opened = len(unknown)
        for name, path in zip(keys, paths, strict=True):
            if name is None:
                continue
            what = self._made[name] if name in self._made else self._remembered(name, path)
            if isinstance(what, ArlFile):
                found.files.append(what)
            elif isinstance(what, NotArlError):
                found.others.append(what)
            else:
                found.faults.append(what)
        return found

    def _stats(self, paths: list[str]) -> list[os.stat_result | OSError]:
        def stat(path: str) -> os.stat_result | OSError:
            try:
                return os.stat(path)
            except OSError as error:
                return error

        if len(paths) < 64:
            return [stat(path) for path in paths]
        with ThreadPoolExecutor(THREADS) as pool:
            return list(pool.map(stat, paths, chunksize=64))

    def _read(self, unknown: Sequence[tuple[str, str]]) -> None:
        """Read index records of files, several at once, and remember what they say."""
        entries = self._entries
        if not unknown or entries is None:
            return
        if len(unknown) < 4:
            results = [_look(path) for _, path in unknown]
        else:
            with ThreadPoolExecutor(THREADS) as pool:
                results = list(pool.map(_look, (path for _, path in unknown)))
        now = time.time()
        changed = False
        for (key, path), what in zip(unknown, results, strict=True):
            self._made[key] = what
            if isinstance(what, ArlFile):
                size, mtime_ns = what.size, what.mtime_ns
                contents: list[Any] = [
                    self._number_of(what.layout), _times_to_plain(what.times), list(what.forecast_hours)
                ]  # fmt: skip
            else:
                try:
                    stat = os.stat(path)
                except OSError:
                    continue
                size, mtime_ns = stat.st_size, stat.st_mtime_ns
                contents = [_OTHER if isinstance(what, NotArlError) else _FAULT, str(what)]
            if now - mtime_ns / 1e9 > SETTLED:
                entries[key] = [size, mtime_ns, *contents]
                changed = True
        if changed:
            self._save()

    def _number_of(self, layout: RecordLayout) -> int:
        for number, known in enumerate(self._layouts):
            if known is layout:
                return number
        self._layouts.append(layout)
        return len(self._layouts) - 1

    def _remembered(self, key: str, path: str) -> ArlFile | MetFormatError:
        assert self._entries is not None  # noqa: S101 - for the type checker
        size, mtime_ns, what, *rest = self._entries[key]
        made: ArlFile | MetFormatError
        if what == _FAULT:
            made = MetFormatError(rest[0])
        elif what == _OTHER:
            made = NotArlError(rest[0])
        else:
            made = ArlFile.known(
                path, size, mtime_ns, self._layouts[what], _times_from_plain(rest[0]), tuple(rest[1])
            )
        self._made[key] = made
        return made

    # --- the file

    def _load(self) -> None:
        self._entries = {}
        try:
            stored = json.loads(self.path.read_bytes())
            if stored["version"] != VERSION or stored["folder"] != os.path.realpath(self.folder):
                return
            self._layouts = [make_layout(values) for values in stored["layouts"]]
            entries = dict(stored["files"])
            for entry in entries.values():
                if isinstance(entry[2], int) and not 0 <= entry[2] < len(self._layouts):
                    return
            self._entries = entries
        except (OSError, ValueError, KeyError, TypeError, IndexError, MetError):
            self._layouts = []

    def _save(self) -> None:
        stored = {
            "version": VERSION,
            "folder": os.path.realpath(self.folder),
            "layouts": [layout.to_plain() for layout in self._layouts],
            "files": self._entries,
        }
        with contextlib.suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(self.path) as temporary:
                temporary.write_text(json.dumps(stored, separators=(",", ":")))


def _look(path: str) -> ArlFile | MetFormatError:
    """Read a file's index records, or say what is wrong with it."""
    try:
        return ArlFile(path)
    except MetFormatError as error:
        return error
    except MetNotFoundError as error:
        return MetFormatError(str(error))


def _times_to_plain(times: np.ndarray) -> list[Any]:
    """Write times as [first, step, count] where they are evenly spaced, else one by one [s since 1970]."""
    seconds = times.astype(np.int64).tolist()
    if len(seconds) > 3:
        step = seconds[1] - seconds[0]
        if all(b - a == step for a, b in itertools.pairwise(seconds)):
            return [seconds[0], step, len(seconds)]
    return [seconds]


def _times_from_plain(plain: list[Any]) -> np.ndarray:
    if len(plain) == 1:
        return np.array(plain[0], dtype=np.int64).astype("datetime64[s]")
    first, step, count = plain
    return (first + step * np.arange(count, dtype=np.int64)).astype("datetime64[s]")
