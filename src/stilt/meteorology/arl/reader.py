"""
Reading fields of one time out of an ARL file: labels and checksums are looked at on the way.

The first time a record is needed it is read whole, because its checksum covers all of it. Its label and the
sums down its first column are remembered then, and with them the rows of any other box can be read and
unpacked alone.
"""

from __future__ import annotations

import dataclasses
import os
import threading
import warnings
from collections import OrderedDict
from collections.abc import Iterable
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stilt.errors import MetFormatError, MetNotFoundError
from stilt.kernels import arl as kernels
from stilt.meteorology.arl.corrections import Corrections, is_correction, unpack_corrections
from stilt.meteorology.arl.index import LABEL_BYTES, RecordLabel, checksum, parse_label
from stilt.meteorology.frame import Box, MetFrame

if TYPE_CHECKING:
    from stilt.meteorology.arl.file import ArlFile

RESIDUALS = {"WWND": "DIFW", **{f"TPP{kind}": "DIFR" for kind in "136ADST"}}
"""Fields that come with a record of what packing lost of them, added when both are there."""

_PERIODS_REMEMBERED = 16
"""Analysis times of which a process keeps what it read once, those used last."""

_REMEMBERING = threading.Lock()


class Opening(NamedTuple):
    """How a record begins, from which any of its rows can be unpacked."""

    label: RecordLabel
    steps: NDArray[np.float32]
    """Difference of each byte value, float32 of shape (256,)."""
    column: NDArray[np.float32]
    """Values down the first column, float32 of shape (ny,); empty for a field marked as missing."""


@dataclasses.dataclass
class Remembered:
    """What a process keeps of one analysis time of a file."""

    records: dict[int, Opening] = dataclasses.field(default_factory=dict)
    """By offset in the file."""
    corrections: Corrections | None = None


_REMEMBERED: OrderedDict[str, Remembered] = OrderedDict()
"""By identity of the time."""

_WITHOUT_CHECKSUMS: set[os.PathLike[str]] = set()
"""Files already warned about."""


def decode(
    file: ArlFile, period: int, box: Box, surface_names: tuple[str, ...], upper_names: tuple[str, ...]
) -> MetFrame:
    """Unpack fields of one time over a box of cells (see `MetSeries.decode`)."""
    n_upper = file.levels.n_upper
    surface = {name: np.empty(box.shape, dtype=np.float32) for name in surface_names}
    upper = {name: np.empty((n_upper, *box.shape), dtype=np.float32) for name in upper_names}
    targets = [(0, name, field) for name, field in surface.items()]
    targets += [(level + 1, name, field[level]) for name, field in upper.items() for level in range(n_upper)]
    wanted: list[tuple[int, int, str, NDArray[np.float32], bool]] = []
    for level, name, field in targets:
        offset = file.record_offset(period, level, name)
        if offset is None:
            field[...] = np.nan
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
    return MetFrame(file.times[period], box, surface, upper, file.forecast_hours[period])


def judge_checksums(file: ArlFile, period: int, damaged: list[tuple[int, str, int, int]], read: int) -> None:
    """
    Refuse a damaged file; where most sums differ the writer counts in another way: warn.

    Parameters
    ----------
    file : ArlFile
        The file.
    period : int
        Index of the time.
    damaged : list of (level, variable, sum, sum in the index)
        Records whose sums differ, at least one.
    read : int
        How many were looked at.

    Raises
    ------
    MetFormatError
        Naming the first of them.
    """
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
        f"{file.path}: {name} of level {level} at {file.times[period]} UTC has checksum {found}, "
        f"the index says {wanted} ({len(damaged)} of {read} records differ); the file is damaged. "
        "Get it again."
    )


class _Reader:
    """Reads the records of one period with one open file and one buffer."""

    def __init__(self, file: ArlFile, period: int, box: Box) -> None:
        self.file, self.period, self.box = file, period, box
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
            known = remembered(file.identity(self.period))
            expected: dict[int, int] = {}
            corrections = known.corrections
            if corrections is None or any(offset not in known.records for offset, *_ in wanted):
                plain: list[int] = []
                correcting: list[int] = []
                for _, name, offset, total in file.records_of(self.period):
                    expected[offset] = total
                    (correcting if is_correction(name) else plain).append(offset)
                corrections = self._corrections(stream, plain, correcting)
            damaged: list[tuple[int, str, int, int]] = []
            fresh: dict[int, Opening] = {}
            residual = np.empty(self.box.shape, dtype=np.float32)
            for offset, level, name, field, is_residual in wanted:
                opening = known.records.get(offset)
                if opening is None:
                    self._fill(stream, offset, 0, self.buffer.size)
                    label = parse_label(self.buffer[:LABEL_BYTES].tobytes(), file.path, offset)
                    file.check_label(label, self.period, level, name, offset)
                    found = checksum(self.buffer[LABEL_BYTES:])
                    if found != expected[offset] and expected[offset] != 0:
                        damaged.append((level, name, found, expected[offset]))
                    opening = open_record(self.buffer[LABEL_BYTES:], label, file.grid.nx, file.grid.ny)
                    fresh[offset] = opening
                else:
                    self._rows(stream, offset)
                target = residual if is_residual else field
                unpack_record(self.buffer[LABEL_BYTES:], opening, file.grid.nx, self.box, target)
                self._correct(corrections.get(offset, ()), opening.label, target)
                if is_residual and not opening.label.is_missing:
                    field += residual
        if damaged:
            judge_checksums(file, self.period, damaged, len(wanted))
        known.records.update(fresh)
        known.corrections = corrections

    def _corrections(self, stream: BinaryIO, plain: list[int], correcting: list[int]) -> Corrections:
        """Read the corrections a cut file carries, by offset of the record they belong to."""
        data = bytearray()
        for offset in correcting:
            self._fill(stream, offset, 0, self.buffer.size)
            data += self.buffer[LABEL_BYTES:].tobytes()
        return {plain[position]: rows for position, rows in unpack_corrections(bytes(data)).items()}

    def _correct(
        self,
        rows: Iterable[tuple[int, int, np.float32]],
        label: RecordLabel,
        out: NDArray[np.float32],
    ) -> None:
        """Unpack rows again whose sums a cut file gives, from the column it gives them for."""
        box, nx = self.box, self.file.grid.nx
        for row, column, value in rows:
            if box.y0 <= row < box.y1 and column < box.x1:
                kernels.unpack_row_from(
                    self.buffer[LABEL_BYTES:], nx, row, column, value, label.exponent, label.precision,
                    box.x0, box.x1, out[row - box.y0],
                )  # fmt: skip

    def _rows(self, stream: BinaryIO, offset: int) -> None:
        """Read the rows of the box to their places in the buffer."""
        nx, box = self.file.grid.nx, self.box
        self._fill(stream, offset, LABEL_BYTES + box.y0 * nx, LABEL_BYTES + (box.y1 - 1) * nx + box.x1)

    def _fill(self, stream: BinaryIO, offset: int, first: int, end: int) -> None:
        """Read bytes ``first`` to ``end`` of a record to their places in the buffer."""
        stream.seek(offset + first)
        view = memoryview(self.buffer)[first:end]  # type: ignore[arg-type]
        filled = 0
        while filled < len(view):
            count = stream.readinto(view[filled:])  # type: ignore[attr-defined]
            if not count:
                raise MetFormatError(
                    f"{self.file.path} ends inside the record at byte {offset}; it was truncated "
                    "while in use. Get it again."
                )
            filled += count


def remembered(identity: str) -> Remembered:
    """Return what is remembered of one analysis time, to be added to."""
    with _REMEMBERING:
        known = _REMEMBERED.pop(identity, None) or Remembered()
        _REMEMBERED[identity] = known
        while len(_REMEMBERED) > _PERIODS_REMEMBERED:
            _REMEMBERED.popitem(last=False)
    return known


def open_record(raw: NDArray[np.uint8], label: RecordLabel, nx: int, ny: int) -> Opening:
    """Find the values down the first column of a whole record, given without its label."""
    steps = kernels.byte_steps(label.exponent)
    if label.is_missing:
        return Opening(label, steps, np.empty(0, dtype=np.float32))
    return Opening(label, steps, kernels.first_column(raw, nx, ny, label.first_value, steps))


def unpack_record(
    raw: NDArray[np.uint8],
    opening: Opening,
    nx: int,
    box: tuple[int, int, int, int],
    out: NDArray[np.float32],
) -> None:
    """
    Unpack a box of one record.

    Parameters
    ----------
    raw : ndarray of uint8
        The record's bytes after its label; only the box's rows are looked at.
    opening : Opening
        How the record begins; a field marked as missing gives NaN.
    nx : int
        Points per row.
    box : tuple of int
        x0, x1, y0, y1, zero-based, ends not included.
    out : ndarray of float32, shape (y1 - y0, x1 - x0)
        Receives the values in the field's unit.
    """
    if opening.label.is_missing:
        out[...] = np.nan
        return
    x0, x1, y0, y1 = box
    kernels.unpack_rows(raw, nx, x0, x1, y0, y1, opening.column, opening.steps, opening.label.precision, out)
