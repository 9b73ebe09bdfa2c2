"""
One ARL file, described by its index records.

Opening a file reads its index records only and keeps no handle: a project may point
at thousands of files. Fields are read by :mod:`stilt.meteorology.arl.reader`.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from stilt.errors import MetFormatError, MetNotFoundError
from stilt.meteorology.arl.index import (
    HEADER_BYTES,
    LABEL_BYTES,
    IndexHeader,
    RecordLabel,
    RecordLayout,
    checksum,
    parse_header,
    parse_label,
    parse_layout,
)
from stilt.meteorology.arl.reader import decode, judge_checksums
from stilt.meteorology.frame import Box, MetFrame
from stilt.meteorology.projection import HorizontalGrid
from stilt.meteorology.vertical import VerticalLevels

_ARRIVING = 300.0
"""A file that was changed this recently may still be on its way [s]."""


class ArlFile:
    """
    What an ARL file holds: grid, levels, variables and times.

    Parameters
    ----------
    path : path-like
        The file. It must be whole: a truncated file raises `MetFormatError`.

    Attributes
    ----------
    path : Path
        Absolute path.
    layout : RecordLayout
        Grid, levels and record order that all periods share.
    times : ndarray of datetime64[s], shape (n_times,)
        Valid times [UTC] in file order.
    forecast_hours : tuple of int
        Forecast hour of each time.
    size : int
        Bytes.
    mtime_ns : int
        Time of last change [ns].
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).absolute()
        try:
            with self.path.open("rb", buffering=0) as stream:
                stat = os.fstat(stream.fileno())
                self.size, self.mtime_ns = stat.st_size, stat.st_mtime_ns
                self._read(stream)
        except FileNotFoundError as error:
            raise MetNotFoundError(f"meteorology file {self.path} does not exist.") from error
        except (IsADirectoryError, PermissionError) as error:
            raise MetNotFoundError(
                f"meteorology file {self.path} cannot be opened: {error.strerror}."
            ) from error

    @classmethod
    def known(
        cls,
        path: str | os.PathLike[str],
        size: int,
        mtime_ns: int,
        layout: RecordLayout,
        times: NDArray[np.datetime64],
        forecast_hours: tuple[int, ...],
    ) -> Self:
        """Describe a file from what was read from it before, without opening it."""
        file = cls.__new__(cls)
        file.path, file.size, file.mtime_ns = Path(path), size, mtime_ns
        file.layout, file.times, file.forecast_hours = layout, times, forecast_hours
        return file

    def __repr__(self) -> str:
        return f"ArlFile({str(self.path)!r}, {self.times[0]} to {self.times[-1]})"

    @property
    def name(self) -> str:
        """File name without folders."""
        return self.path.name

    @property
    def grid(self) -> HorizontalGrid:
        """The horizontal grid."""
        return self.layout.grid

    @property
    def levels(self) -> VerticalLevels:
        """The levels, surface first."""
        return self.layout.levels

    @property
    def model_id(self) -> str:
        """Four characters naming the model."""
        return self.layout.model_id

    @property
    def variables(self) -> tuple[tuple[str, ...], ...]:
        """Variable names on each level, surface first."""
        return self.layout.variables

    @property
    def records_per_time(self) -> int:
        """Number of records of one time, index records included."""
        return self.layout.records_per_period

    def _read(self, stream: BinaryIO) -> None:
        if self.size == 0:
            raise MetFormatError(f"{self.path} is empty (0 bytes). Get it again or remove it.")
        head = parse_header(stream.read(LABEL_BYTES + HEADER_BYTES), self.path)
        self.layout = parse_layout(head, self._index_text(stream, head), self.path)
        n_times, rest = divmod(self.size, self.layout.period_bytes)
        times, hours = [], []
        for period in range(n_times):
            header = head if period == 0 else self._header_at(stream, period)
            if header.structure != head.structure:
                raise MetFormatError(
                    f"{self.path}: the grid or the records change at {header.time} UTC, which this format "
                    "does not allow within one file. Split or convert it again."
                )
            times.append(header.time)
            hours.append(header.forecast_hour)
        self.times: NDArray[np.datetime64] = np.array(times, dtype="datetime64[s]")
        self.forecast_hours = tuple(hours)
        if rest:
            self._raise_truncated(stream, n_times, rest)
        steps = np.diff(self.times).astype(np.int64)
        if (steps < 0).any():
            k = int(np.argmax(steps < 0))
            raise MetFormatError(
                f"{self.path}: times do not ascend ({self.times[k]} is followed by {self.times[k + 1]}); "
                "the file is damaged. Get it again."
            )
        for again in map(int, np.flatnonzero(steps == 0) + 1):
            # as in some files of NOAA's archive
            if self._essence(stream, again) != self._essence(stream, again - 1):
                raise MetFormatError(
                    f"{self.path} holds {self.times[again]} UTC twice, with different fields. "
                    "Remove one of them."
                )

    def _essence(self, stream: BinaryIO, period: int) -> bytes:
        """Return the index, which holds the sum of every record, and every label, which holds its scale."""
        begin, size = period * self.layout.period_bytes, self.layout.record_bytes
        stream.seek(begin)
        parts = [stream.read(self.layout.index_records * size)]
        for record in range(self.layout.index_records, self.layout.records_per_period):
            stream.seek(begin + record * size)
            parts.append(stream.read(LABEL_BYTES))
        return b"".join(parts)

    def _index_text(self, stream: BinaryIO, header: IndexHeader) -> bytes:
        points = header.nx * header.ny
        parts = []
        for record in range(header.text_length // points + 1):
            stream.seek(record * (points + LABEL_BYTES))
            raw = stream.read(LABEL_BYTES + min(points, header.text_length - record * points))
            if raw[14:18] != b"INDX" and self.size >= (record + 1) * (points + LABEL_BYTES):
                raise MetFormatError(
                    f"{self.path}: index record {record + 1} is missing; the file is damaged. Get it again."
                )
            parts.append(raw[LABEL_BYTES:])
        text = b"".join(parts)
        if len(text) < header.text_length:
            raise MetFormatError(
                f"{self.path} is truncated: it ends after {self.size} bytes, inside its first index record. "
                "Get it again."
            )
        return text

    def _header_at(self, stream: BinaryIO, period: int) -> IndexHeader:
        offset = period * self.layout.period_bytes
        stream.seek(offset)
        return parse_header(stream.read(LABEL_BYTES + HEADER_BYTES), self.path, offset)

    def _raise_truncated(self, stream: BinaryIO, n_times: int, rest: int) -> None:
        whole = self.layout.period_bytes
        age = time.time() - self.mtime_ns / 1e9
        remedy = "Get the file again."
        if -_ARRIVING < age < _ARRIVING:
            remedy = (
                f"It was written to {max(age, 0.0):.0f} s ago and may still be arriving: wait until it is "
                "complete, or get it again."
            )
        if rest >= LABEL_BYTES + HEADER_BYTES:
            when = f"at {self._header_at(stream, n_times).time} UTC"
        else:
            when = f"after {self.times[-1]} UTC"
        raise MetFormatError(
            f"{self.path} is truncated: time {n_times + 1} in the file ({when}) has {rest} of {whole} bytes, "
            f"{whole - rest} are missing. {remedy}"
        )

    def record_offset(self, period: int, level: int, variable: str) -> int | None:
        """Return where a record starts in the file, or None if the file does not have it."""
        position = self.layout.records.get((level, variable))
        if position is None:
            return None
        return period * self.layout.period_bytes + position * self.layout.record_bytes

    def check_label(self, label: RecordLabel, period: int, level: int, variable: str, offset: int) -> None:
        """Raise `MetFormatError` unless a record is the one the index promises at its place."""
        # the label has no minutes
        time = self.times[period].astype("datetime64[h]")
        if (label.variable, label.level) != (variable, level) or label.time.astype("datetime64[h]") != time:
            raise MetFormatError(
                f"{self.path}: the record at byte {offset} should be {variable} of level {level} at {time} "
                f"but is {label.variable} of level {label.level} at {label.time.astype('datetime64[h]')}; "
                "the file is damaged. Get it again."
            )

    def records_of(self, period: int) -> Iterator[tuple[int, str, int, int]]:
        """Yield (level, variable, offset, checksum) of every field of a period; reads its index text."""
        with self.path.open("rb", buffering=0) as stream:
            head = self._header_at(stream, period)
            points = head.nx * head.ny
            text = b""
            for record in range(self.layout.index_records):
                stream.seek(
                    period * self.layout.period_bytes + record * self.layout.record_bytes + LABEL_BYTES
                )
                text += stream.read(points)
        at = HEADER_BYTES
        offset = period * self.layout.period_bytes + self.layout.index_records * self.layout.record_bytes
        for level, names in enumerate(self.layout.variables):
            at += 8
            for name in names:
                yield level, name, offset, int(text[at + 4 : at + 7])
                at += 8
                offset += self.layout.record_bytes

    def identity(self, period: int) -> str:
        """Name the stored bytes of one time: path, size, time of change and place in the file."""
        offset = period * self.layout.period_bytes
        return f"{os.path.realpath(self.path)}|{self.size}|{self.mtime_ns}|{offset}"

    def decode(
        self, period: int, box: Box, surface_names: tuple[str, ...], upper_names: tuple[str, ...]
    ) -> MetFrame:
        """Unpack fields of one time over a box of cells (see `MetSeries.decode`)."""
        return decode(self, period, box, surface_names, upper_names)

    def verify(self) -> None:
        """
        Read the whole file and check every label and checksum.

        A sum of 0 in the index means that none was kept, as in NOAA's files for some fields.

        Raises
        ------
        MetFormatError
            Naming the first record that does not match.
        """
        with self.path.open("rb") as stream:
            for period in range(len(self.times)):
                damaged, read = [], 0
                for level, name, offset, expected in self.records_of(period):
                    stream.seek(offset)
                    raw = stream.read(self.layout.record_bytes)
                    self.check_label(parse_label(raw, self.path, offset), period, level, name, offset)
                    found = checksum(np.frombuffer(raw, dtype=np.uint8, offset=LABEL_BYTES))
                    read += 1
                    if expected not in (0, found):
                        damaged.append((level, name, found, expected))
                if damaged:
                    judge_checksums(self, period, damaged, read)


@functools.lru_cache(maxsize=65536)
def _open(path: str, size: int, mtime_ns: int) -> ArlFile:
    return ArlFile(path)


def open_arl(path: str | os.PathLike[str]) -> ArlFile:
    """
    Describe an ARL file, reading its index records only when it is new or has changed.

    Remembered per process by path, size and time of change.
    """
    path = os.path.abspath(path)  # noqa: PTH100 - links keep their names
    try:
        stat = Path(path).stat()
    except OSError as error:
        raise MetNotFoundError(f"meteorology file {path} cannot be opened: {error.strerror}.") from error
    return _open(path, stat.st_size, stat.st_mtime_ns)
