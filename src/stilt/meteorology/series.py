"""
Meteorology as one series of analysis times, whatever files it lies in.

A series knows which file and period hold each time and decodes a box of cells of one
time into a `MetFrame`. It opens files only while decoding, so it is small, picklable
and safe to share between threads.
"""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from stilt.errors import MetFormatError, MetNotFoundError, MetVariableError
from stilt.meteorology.arl.file import ArlFile, unpack_record
from stilt.meteorology.arl.index import LABEL_BYTES, checksum, parse_label
from stilt.meteorology.frame import Box, MetFrame
from stilt.meteorology.projection import HorizontalGrid
from stilt.meteorology.vertical import VerticalLevels

_WITHOUT_CHECKSUMS: set[os.PathLike[str]] = set()
"""Files already warned about."""

RESIDUALS = {"WWND": "DIFW"}
"""Fields that come with a record of what packing lost of them, added when both are there."""


@dataclass(frozen=True)
class MetFileInfo:
    """
    A file that a run used, without its folder, for the metadata of outputs.

    Parameters
    ----------
    name : str
        File name.
    size : int
        Bytes.
    first, last : str
        First and last time in the file [UTC, ISO 8601].
    """

    name: str
    size: int
    first: str
    last: str


@dataclass(frozen=True, eq=False)
class MetSeries:
    """
    Analyses at a constant interval on one grid.

    Parameters
    ----------
    name : str
        The meteorology's name in the configuration.
    sources : tuple of (ArlFile, int)
        File and period of each time, times ascending.
    """

    name: str
    sources: tuple[tuple[ArlFile, int], ...]

    @property
    def grid(self) -> HorizontalGrid:
        """The horizontal grid."""
        return self.sources[0][0].grid

    @property
    def levels(self) -> VerticalLevels:
        """The levels, surface first."""
        return self.sources[0][0].levels

    @property
    def model_id(self) -> str:
        """Four characters naming the model."""
        return self.sources[0][0].model_id

    @cached_property
    def times(self) -> NDArray[np.datetime64]:
        """Valid times [UTC], datetime64[s], ascending."""
        return np.array([file.times[period] for file, period in self.sources], dtype="datetime64[s]")

    @cached_property
    def interval(self) -> int:
        """Minutes between analyses (0 for a single one)."""
        if len(self.sources) < 2:
            return 0
        return int((self.times[1] - self.times[0]) / np.timedelta64(1, "m"))

    @cached_property
    def variables(self) -> tuple[tuple[str, ...], ...]:
        """Names on each level, surface first, that every file of the series has."""
        layouts = list(dict.fromkeys(id(file.layout) for file, _ in self.sources))
        by_id = {id(file.layout): file.layout for file, _ in self.sources}
        first = by_id[layouts[0]].variables
        return tuple(
            tuple(name for name in names if all(name in by_id[key].variables[level] for key in layouts))
            for level, names in enumerate(first)
        )

    @property
    def surface_names(self) -> tuple[str, ...]:
        """Names of surface fields."""
        return self.variables[0]

    @cached_property
    def upper_names(self) -> tuple[str, ...]:
        """Names found on any level above the surface, in order of first appearance."""
        return tuple(dict.fromkeys(name for names in self.variables[1:] for name in names))

    @cached_property
    def files(self) -> tuple[MetFileInfo, ...]:
        """The files that hold the series' times, in time order."""
        unique = dict.fromkeys(file for file, _ in self.sources)
        return tuple(
            MetFileInfo(file.name, file.size, str(file.times[0]), str(file.times[-1])) for file in unique
        )

    def identity(self, time_index: int) -> str:
        """
        Name the stored bytes of one time: path, size, time of change and place in the file.

        Equal identities mean equal fields, so decoded meteorology may be kept under it.
        """
        file, period = self.sources[time_index]
        offset = period * file.layout.period_bytes
        return f"{os.path.realpath(file.path)}|{file.size}|{file.mtime_ns}|{offset}"

    def decode(
        self,
        time_index: int,
        box: Box,
        surface_names: tuple[str, ...] | list[str],
        upper_names: tuple[str, ...] | list[str],
    ) -> MetFrame:
        """
        Unpack fields of one time over a box of cells.

        Parameters
        ----------
        time_index : int
            Index into ``times``.
        box : Box
            Cells wanted, zero-based, within the grid. Only the rows up to the box's last are read.
        surface_names, upper_names : sequence of str
            Fields wanted. ``DIFW`` is added to ``WWND`` on its own accord where both exist.

        Returns
        -------
        MetFrame
            Values as in the file; NaN where it lacks a field on a level or marks it missing.

        Raises
        ------
        MetVariableError
            A name that is on no level of the file.
        MetFormatError
            A damaged record, or a file that has changed since it was catalogued.
        """
        file, period = self.sources[time_index]
        grid, n_upper = file.grid, file.levels.n_upper
        box = Box(*box)
        if not (0 <= box.x0 < box.x1 <= grid.nx and 0 <= box.y0 < box.y1 <= grid.ny):
            raise ValueError(f"{box} does not lie in the {grid.nx} x {grid.ny} grid of met '{self.name}'.")
        self._require(file, surface_names, upper_names)
        surface = {name: np.full(box.shape, np.nan, dtype=np.float32) for name in surface_names}
        upper = {name: np.full((n_upper, *box.shape), np.nan, dtype=np.float32) for name in upper_names}
        targets = [(0, name, field) for name, field in surface.items()]
        targets += [
            (level + 1, name, field[level]) for name, field in upper.items() for level in range(n_upper)
        ]
        wanted: list[tuple[int, int, str, NDArray[np.float32], bool]] = []
        for level, name, field in targets:
            offset = file.record_offset(period, level, name)
            if offset is None:
                continue
            wanted.append((offset, level, name, field, False))
            residual = RESIDUALS.get(name)
            if residual is not None:
                offset = file.record_offset(period, level, residual)
                if offset is not None:
                    wanted.append((offset, level, residual, field, True))
        # in the order of the file; a residual is added only after its field has been read
        wanted.sort(key=lambda item: (item[4], item[0]))
        _Reader(file, period, box).read(wanted)
        return MetFrame(self.times[time_index], box, surface, upper, file.forecast_hours[period])

    def _require(self, file: ArlFile, surface_names: object, upper_names: object) -> None:
        on_surface = set(self.variables[0]) | set(file.variables[0])
        above = set(self.upper_names) | {name for names in file.variables[1:] for name in names}
        missing = [f"{name} (surface)" for name in surface_names if name not in on_surface]  # type: ignore[attr-defined]
        missing += [f"{name} (levels)" for name in upper_names if name not in above]  # type: ignore[attr-defined]
        if missing:
            raise MetVariableError(
                f"met '{self.name}' has no {', '.join(missing)} at {file.times[0]} UTC in {file.path} "
                f"(it has {' '.join(file.variables[0])} at the surface, {' '.join(sorted(above))} above). "
                "Use meteorology that has it or an option that does without."
            )


class _Reader:
    """Reads the records of one period with one open file and one buffer."""

    def __init__(self, file: ArlFile, period: int, box: Box) -> None:
        self.file, self.period, self.box = file, period, box
        # the whole record, although the box may end sooner: its checksum covers all of it
        self.buffer = np.empty(file.layout.record_bytes, dtype=np.uint8)

    def read(self, wanted: list[tuple[int, int, str, NDArray[np.float32], bool]]) -> None:
        file = self.file
        try:
            stream = file.path.open("rb", buffering=0)
        except OSError as error:
            raise MetNotFoundError(
                f"meteorology file {file.path} cannot be opened any more: {error.strerror}."
            ) from error
        with stream:
            stat = os.fstat(stream.fileno())
            if (stat.st_size, stat.st_mtime_ns) != (file.size, file.mtime_ns):
                raise MetFormatError(
                    f"{file.path} has changed while it was in use ({file.size} bytes before, "
                    f"{stat.st_size} now). Wait until it is complete and run again."
                )
            expected = {offset: total for _, _, offset, total in self.file.records_of(self.period)}
            damaged: list[tuple[int, str, int, int]] = []
            residual = np.empty(self.box.shape, dtype=np.float32)
            for offset, level, name, field, is_residual in wanted:
                self._record(stream, offset)
                label = parse_label(self.buffer[:LABEL_BYTES].tobytes(), file.path, offset)
                file.check_label(label, self.period, level, name, offset)
                found = checksum(self.buffer[LABEL_BYTES:])
                if found != expected[offset] and expected[offset] != 0:
                    damaged.append((level, name, found, expected[offset]))
                target = residual if is_residual else field
                unpack_record(self.buffer[LABEL_BYTES:], label, file.grid.nx, self.box, target)
                if is_residual and not label.is_missing:
                    field += residual
        if damaged:
            self._judge(damaged, len(wanted))

    def _judge(self, damaged: list[tuple[int, str, int, int]], read: int) -> None:
        """Refuse a damaged file; where most sums differ the writer counts in another way: warn."""
        file = self.file
        if 2 * len(damaged) > read:
            if file.path not in _WITHOUT_CHECKSUMS:
                _WITHOUT_CHECKSUMS.add(file.path)
                warnings.warn(
                    f"{file.path}: the checksums in its index records are not those of the ARL format, so "
                    "damage to this file cannot be noticed.",
                    UserWarning,
                    stacklevel=4,
                )
            return
        level, name, found, wanted = damaged[0]
        raise MetFormatError(
            f"{file.path}: {name} of level {level} at {file.times[self.period]} UTC has checksum {found}, "
            f"the index says {wanted} ({len(damaged)} of {read} records differ); the file is damaged. "
            "Get it again."
        )

    def _record(self, stream: BinaryIO, offset: int) -> None:
        stream.seek(offset)
        view = memoryview(self.buffer)  # type: ignore[arg-type]
        filled = 0
        while filled < len(view):
            count = stream.readinto(view[filled:])  # type: ignore[attr-defined]
            if not count:
                raise MetFormatError(
                    f"{self.file.path} ends inside the record at byte {offset}; it was truncated "
                    "while in use. Get it again."
                )
            filled += count
