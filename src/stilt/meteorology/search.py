"""
Finding meteorology files by the time in their names.

A ``file_format`` such as ``%Y%m%d_%H`` matches a file whose name *begins with* a
formatted time, anywhere below the directory; a pattern with slashes
(``%Y/%m/hrrr_%d``) matches that many folders as well, and ``*`` and ``?`` stand for
any characters. Several patterns may be given. The time in a name only says where to look
first: what a file covers is read from its index records.

A file that is reached in several ways counts once: links to files and folders are
followed and resolved, and of several names that of the first pattern, then the first in
order is kept.
"""

from __future__ import annotations

import calendar
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from stilt.errors import ConfigError, MetNotFoundError

_MONTHS = [name.lower() for name in calendar.month_abbr]
_LONG_MONTHS = [name.lower() for name in calendar.month_name]
_DIRECTIVES = {
    "Y": r"\d{4}",
    "y": r"\d{2}",
    "m": r"\d{2}",
    "d": r"\d{2}",
    "H": r"\d{2}",
    "M": r"\d{2}",
    "S": r"\d{2}",
    "j": r"\d{3}",
    "b": r"[A-Za-z]{3}",
    "B": r"[A-Za-z]{3,9}",
}
_NOT_DATA = (
    ".part",
    ".partial",
    ".tmp",
    ".crdownload",
    ".md5",
    ".sha256",
    ".idx",
    ".txt",
    ".json",
    ".gz",
    ".lock",
)
"""Endings of files that lie beside meteorology and are none: downloads under way, checksums, notes."""


class FilePattern:
    """
    A ``file_format``, able to read the time back from a name.

    Parameters
    ----------
    text : str
        strftime pattern of how names begin.

    Examples
    --------
    >>> FilePattern("%Y%m%d_%H").time_of("20190530_06-11_hrrr")
    (True, datetime.datetime(2019, 5, 30, 6, 0))
    >>> FilePattern("%Y%m%d_%H").time_of("hrrr_20190530")
    (False, None)
    """

    def __init__(self, text: str) -> None:
        self.text = text.strip("/")
        self.depth = self.text.count("/")
        self._fields: list[str] = []
        self._regex = re.compile(self._compile(self.text))

    def _compile(self, text: str) -> str:
        out, at = "", 0
        while at < len(text):
            char = text[at]
            if char == "%":
                code = text[at + 1 : at + 2]
                if code == "%":
                    out += "%"
                elif code in _DIRECTIVES:
                    self._fields.append(code)
                    out += f"({_DIRECTIVES[code]})"
                else:
                    raise ConfigError(
                        f"file_format '{text}' uses %{code}, which is not understood; "
                        f"use {' '.join('%' + known for known in _DIRECTIVES)}."
                    )
                at += 2
                continue
            out += {"*": "[^/]*", "?": "[^/]"}.get(char, re.escape(char))
            at += 1
        return out

    def time_of(self, relative: str) -> tuple[bool, datetime | None]:
        """Return whether a path below the directory matches, and the time in it (None if it names none)."""
        tail = "/".join(relative.split("/")[-self.depth - 1 :])
        match = self._regex.match(tail)
        if match is None:
            return False, None
        values: dict[str, int] = {}
        for code, found in zip(self._fields, match.groups(), strict=True):
            if code in "bB":
                names = _MONTHS if code == "b" else _LONG_MONTHS
                if found.lower() not in names:
                    return False, None
                code, number = "m", names.index(found.lower())
            else:
                number = int(found)
                if code == "y":
                    code, number = "Y", number + (1900 if number >= 40 else 2000)
            if values.setdefault(code, number) != number:
                return False, None
        if "Y" not in values:
            return True, None
        try:
            time = datetime(
                values["Y"], values.get("m", 1), values.get("d", 1), values.get("H", 0),
                values.get("M", 0), values.get("S", 0),
            )  # fmt: skip
            if "j" in values:
                time += timedelta(days=values["j"] - 1)
        except ValueError:
            return False, None
        return True, time

    def example(self, when: np.datetime64) -> str:
        """Format a time, to show in a message what a name should begin with."""
        seconds = int(when.astype("datetime64[s]").astype(np.int64))
        return datetime.fromtimestamp(seconds, tz=UTC).strftime(self.text)


@dataclass(frozen=True)
class NamedFile:
    """A file whose name matches, with the time its name tells (None if it tells none)."""

    path: str
    time: datetime | None
    rank: int = 0
    """Which of the patterns it matches, 0 the first."""


@dataclass(frozen=True)
class Listing:
    """What a directory holds: the files that match, and one that does not."""

    files: tuple[NamedFile, ...]
    n_seen: int
    other: str


def _walk(directory: str) -> Iterator[tuple[str, str, str]]:
    """Yield (relative path, path, real path) of files below a directory, following links once."""
    seen: set[str] = set()
    folders = [("", directory)]
    while folders:
        prefix, folder = folders.pop()
        real = os.path.realpath(folder)
        if real in seen:
            continue
        seen.add(real)
        try:
            with os.scandir(folder) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError:
            continue
        below = []
        for entry in found:
            relative = f"{prefix}{entry.name}"
            if entry.is_dir():
                below.append((f"{relative}/", entry.path))
            elif not entry.name.startswith(".") and not entry.name.endswith(_NOT_DATA):
                # without links, asking the disk for each of many thousand names is not needed
                is_link = entry.is_symlink()
                yield (
                    relative,
                    entry.path,
                    os.path.realpath(entry.path) if is_link else f"{real}/{entry.name}",
                )
        folders += reversed(below)


def patterns_of(file_format: str | Sequence[str] | None) -> tuple[FilePattern, ...]:
    """Read the ``file_format`` of a configuration: none, one pattern or several."""
    texts = [file_format] if isinstance(file_format, str) else file_format or []
    return tuple(FilePattern(text) for text in texts)


def list_files(directory: Path, patterns: Sequence[FilePattern], name: str) -> Listing:
    """
    List the files below a directory whose names match, in the order of their names.

    Parameters
    ----------
    directory : Path
        Where to look, also in the folders below.
    patterns : sequence of FilePattern
        A file belongs to the first pattern it matches; without patterns every file does.
    name : str
        Name of the meteorology, for messages.
    """
    if not directory.is_dir():
        what = "is not a directory" if directory.exists() else "does not exist"
        raise MetNotFoundError(
            f"met '{name}': directory {directory} {what}. Correct `directory` in the configuration."
        )
    found: list[tuple[NamedFile, str]] = []
    n_seen, other = 0, ""
    for relative, path, real in _walk(str(directory)):
        n_seen += 1
        if not patterns:
            found.append((NamedFile(path, None), real))
            continue
        for rank, pattern in enumerate(patterns):
            matches, time = pattern.time_of(relative)
            if matches:
                found.append((NamedFile(path, time, rank), real))
                break
        else:
            other = other or relative
    found.sort(key=lambda item: (item[0].rank, os.path.basename(item[0].path), item[0].path))
    once: dict[str, NamedFile] = {}
    for file, real in found:
        once.setdefault(real, file)
    files = sorted(once.values(), key=lambda file: (os.path.basename(file.path), file.path))
    return Listing(tuple(files), n_seen, other)
