"""
Cutting ARL files to a box and to the lower levels without changing a value.

ARL packing is a chain of differences, so decoding a field and packing it again would change
it. Here the differences are copied as the bytes they are; only the few westernmost columns,
outside the box asked for, are packed anew, because the chain from row to row leads through
them. What rounding makes of that is noted in the file
(:mod:`~stilt.meteorology.arl.corrections`), so that inside the box our reader gets the whole
file's values bit for bit. Other programs see the same differences and values equal to about one part in
ten million.

Cut files of runs lie in a cache under a name that says what they were made from::

    <subgrid_dir or PYSTILT_CACHE_DIR/met-crop>/<hash>/<name of the file>

Of several workers that want one file the first cuts it and the others wait.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from stilt.errors import MetError, MetFormatError
from stilt.kernels import arl as kernels
from stilt.kernels.compiler import cache_root
from stilt.locks import FileLock
from stilt.meteorology.arl import corrections
from stilt.meteorology.arl.file import ArlFile, open_arl
from stilt.meteorology.arl.index import (
    HEADER_BYTES,
    LABEL_BYTES,
    RecordLabel,
    RecordLayout,
    checksum,
    format_exact,
    format_exponential,
    format_index,
    format_label,
    grid_id_of,
    parse_label,
)
from stilt.meteorology.arl.writer import check_grid
from stilt.meteorology.frame import Box
from stilt.meteorology.once import whole_file
from stilt.meteorology.projection import HorizontalGrid
from stilt.meteorology.vertical import VerticalLevels
from stilt.spatial import Bounds

FORMAT_VERSION = 1
"""Raised when cut files change; it is part of their name in the cache."""

GUARDS = (2, 4, 8, 16)
"""Numbers of columns west of the box that are tried for the way from row to row."""

_WEST, _EAST = 2, 4
"""Cells beyond the box that particles need around them: they end two from the west, three from the east."""


@dataclass(frozen=True)
class Cut:
    """
    What to keep of a file.

    Parameters
    ----------
    bounds : Bounds
        Box [degrees].
    buffer : float
        Margin around it [degrees].
    levels : int, optional
        Levels to keep above the surface, from the ground up.
    """

    bounds: Bounds
    buffer: float = 0.2
    levels: int | None = None

    def box(self, grid: HorizontalGrid) -> Box:
        """
        Return the cells to keep: the box with its margin, and what particles need around it.

        Raises
        ------
        MetFormatError
            When the box does not reach into the grid.
        """
        west, east = self.bounds.xmin - self.buffer, self.bounds.xmax + self.buffer
        if east <= west:
            east += 360.0
        south, north = max(self.bounds.ymin - self.buffer, -90.0), min(self.bounds.ymax + self.buffer, 90.0)
        lon, lat = np.meshgrid(np.linspace(west, east, 65), np.linspace(south, north, 65))
        x, y = grid.to_xy(lon, lat)
        inside = (x >= 1) & (x <= grid.nx) & (y >= 1) & (y <= grid.ny)
        if not inside.any():
            raise MetFormatError(
                f"the box {self.bounds.xmin:g} to {self.bounds.xmax:g} E, {self.bounds.ymin:g} to "
                f"{self.bounds.ymax:g} N does not touch the grid, which covers {grid.describe()}."
            )
        low_x, high_x = int(x.min()) - _WEST, int(np.ceil(x.max())) + _EAST
        low_y, high_y = int(y.min()) - _WEST, int(np.ceil(y.max())) + _EAST
        x0, x1 = max(low_x - 1, 0), min(high_x, grid.nx)
        over_seam = np.abs(np.diff(x, axis=1)).max() > grid.nx / 2
        if grid.is_cyclic and (low_x < 1 or high_x > grid.nx or over_seam):
            # the chain of differences cannot cross the seam
            x0, x1 = 0, grid.nx
        return Box(x0, x1, max(low_y - 1, 0), min(high_y, grid.ny))


def crop_arl(source: ArlFile, cut: Cut, path: str | os.PathLike[str]) -> Path:
    """
    Write a box of a file to another file.

    Parameters
    ----------
    source : ArlFile
        The whole file.
    cut : Cut
        What to keep.
    path : path-like
        The file to write; it appears when it is complete.

    Returns
    -------
    Path
        The path written.

    Raises
    ------
    MetFormatError
        When the box does not touch the grid, or the format cannot carry the result.
    """
    path = Path(path)
    inner = cut.box(source.grid)
    if 0 < inner.x0 < _column_of(source):
        inner = inner._replace(x0=0)  # west of where a file that was cut before knows its sums
    path.parent.mkdir(parents=True, exist_ok=True)
    for guard in GUARDS if inner.x0 > 0 else (0,):
        box = inner._replace(x0=max(inner.x0 - max(guard - 1, 0), 0))
        if box.x0 == 0:
            guard = 0  # the file's own first column leads from row to row
        try:
            periods = list(_periods(source, cut, box, guard))
        except _GuardTooNarrow:
            continue
        break
    else:
        raise MetFormatError(
            f"{source.path}: the steps between rows along the box's western edge are too large to be packed; "
            "move the edge or enlarge the buffer."
        )
    layout = _layout(source, cut, box, max(len(period.corrections) for period in periods))
    with whole_file(path) as temporary, temporary.open("xb") as stream:
        for period in periods:
            _write(stream, period, layout)
    return path


class _GuardTooNarrow(Exception):
    """More columns are needed for the way from row to row."""


@dataclass
class _Period:
    """One time, cut: labels and bytes by level, and corrections."""

    time: np.datetime64
    forecast_hour: int
    records: list[list[tuple[bytes, np.ndarray]]]
    corrections: bytes


def _periods(source: ArlFile, cut: Cut, box: Box, guard: int) -> Iterator[_Period]:
    n_levels = len(_levels(source.levels, cut).heights)
    small_id = grid_id_of(box.x1 - box.x0, box.y1 - box.y0).encode()
    with source.path.open("rb") as stream:
        for number, time_ in enumerate(source.times):
            records: list[list[tuple[bytes, np.ndarray]]] = [[] for _ in range(n_levels)]
            entries: list[tuple[int, int, float]] = []
            every = list(source.records_of(number))
            before = b"".join(
                _read(source, stream, number, *each)[1].tobytes()
                for each in every
                if corrections.is_correction(each[1])
            )
            known = corrections.unpack_corrections(before)
            plain = [each for each in every if not corrections.is_correction(each[1])]
            for position, (level, name, offset, total) in enumerate(plain):
                if level >= n_levels:
                    break
                label, packed, text = _read(source, stream, number, level, name, offset, total)
                rows = known.get(position, [])
                first, data, rest = _repack(packed, label, source.grid.nx, box, guard, rows)
                entries += [(position, row, value) for row, value in rest]
                text = text[:12] + small_id + text[14:36] + format_exact(first).encode()
                records[level].append((text, data))
            column = guard - 1 if box.x0 > 0 else _column_of(source)
            yield _Period(
                time_,
                source.forecast_hours[number],
                records,
                corrections.pack_corrections(column, entries) if entries else b"",
            )


def _read(
    source: ArlFile, stream: BinaryIO, number: int, level: int, name: str, offset: int, total: int
) -> tuple[RecordLabel, np.ndarray, bytes]:
    """Read one record and check it; return its label, its bytes, and its label as it stands."""
    stream.seek(offset)
    raw = np.frombuffer(stream.read(source.layout.record_bytes), dtype=np.uint8)
    if raw.size < source.layout.record_bytes:
        raise MetFormatError(f"{source.path} became shorter while it was read. Get it again.")
    text = raw[:LABEL_BYTES].tobytes()
    label = parse_label(text, source.path, offset)
    source.check_label(label, number, level, name, offset)
    packed = raw[LABEL_BYTES:]
    if total not in (0, checksum(packed)):
        raise MetFormatError(
            f"{source.path}: {name} of level {level} at {source.times[number]} UTC does not have the "
            "checksum in the index; the file is damaged. Get it again."
        )
    return label, packed, text


def _column_of(source: ArlFile) -> int:
    """Return the column at which a file that was cut before knows its sums; 0 for a whole one."""
    column = 0
    with source.path.open("rb") as stream:
        for number in range(len(source.times)):
            before = b"".join(
                _read(source, stream, number, *each)[1].tobytes()
                for each in source.records_of(number)
                if corrections.is_correction(each[1])
            )
            found = corrections.unpack_corrections(before)
            column = max([column, *(row[1] for rows in found.values() for row in rows)])
    return column


def _repack(
    packed: np.ndarray,
    label: RecordLabel,
    nx: int,
    box: Box,
    guard: int,
    known: Sequence[tuple[int, int, np.float32]],
) -> tuple[np.float32, np.ndarray, list[tuple[int, float]]]:
    """Cut one record; return the value for its label, its bytes, and rows whose sums need correcting."""
    exponent, first = label.exponent, label.first_value
    steps = kernels.byte_steps(exponent)
    rows, width = box.shape
    if label.is_missing:
        return first, np.zeros(rows * width, dtype=np.uint8), []
    known = [entry for entry in known if box.y0 <= entry[0] < box.y1]
    if box.x0 == 0:
        column = kernels.first_column(packed, nx, box.y1, first, steps)
        data = np.ascontiguousarray(packed.reshape(-1, nx)[box.y0 : box.y1, : box.x1]).reshape(-1)
        rest = [(row - box.y0, float(value)) for row, _, value in known]
        return (first if box.y0 == 0 else column[box.y0 - 1]), data, rest
    sums = np.empty(box.shape, dtype=np.float32)
    kernels.unpack_box(
        packed, nx, box.x0, box.x1, box.y0, box.y1, exponent, np.float32(0.0), first, sums
    )  # fmt: skip
    for row, at, value in known:
        kernels.unpack_row_from(
            packed, nx, row, at, value, exponent, np.float32(0.0), box.x0, box.x1, sums[row - box.y0]
        )
    data = np.empty(rows * width, dtype=np.uint8)
    reached = np.empty(rows, dtype=np.uint8)
    try:
        begin = np.float32(float(format_exact(sums[0, 0])))
    except MetFormatError:
        begin = np.float32(float(format_exponential(float(sums[0, 0]))))
    code = kernels.repack_box(
        packed, nx, box.x0, box.x1, box.y0, box.y1, guard, exponent, begin, sums, data, reached
    )  # fmt: skip
    if code != kernels.PACK_OK:
        raise _GuardTooNarrow
    return begin, data, [(int(row), float(sums[row, guard - 1])) for row in np.flatnonzero(reached == 0)]


def _levels(levels: VerticalLevels, cut: Cut) -> VerticalLevels:
    if cut.levels is None:
        return levels
    return VerticalLevels(levels.flag, levels.heights[: cut.levels + 1], levels.offset)


def _grid(grid: HorizontalGrid, box: Box) -> HorizontalGrid:
    ny, nx = box.shape
    numbers = list(grid.numbers)
    if grid.is_latlon:
        first_lon = grid.sync_lon + (box.x0 + 1 - grid.sync_x) * grid.ref_lon
        first_lat = grid.sync_lat + (box.y0 + 1 - grid.sync_y) * grid.ref_lat
        if first_lon > 180.0 and nx < grid.nx:
            first_lon -= 360.0
        numbers[0], numbers[1] = first_lat + (ny - 1) * grid.ref_lat, first_lon + (nx - 1) * grid.ref_lon
        numbers[7:] = [1.0, 1.0, first_lat, first_lon]
    else:
        numbers[7], numbers[8] = grid.sync_x - box.x0, grid.sync_y - box.y0
    return HorizontalGrid.from_numbers(numbers, nx, ny)


def _layout(source: ArlFile, cut: Cut, box: Box, correction_bytes: int) -> RecordLayout:
    grid = _grid(source.grid, box)
    levels = _levels(source.levels, cut)
    check_grid(grid, levels)
    points = grid.nx * grid.ny
    extra = -(-correction_bytes // points)
    variables = list(source.variables[: len(levels.heights)])
    plain = (name for name in variables[0] if not corrections.is_correction(name))
    variables[0] = (*plain, *corrections.names(extra))
    if len(variables[0]) > 99:
        raise MetFormatError(
            f"{source.path}: a box of {grid.nx} x {grid.ny} points is too narrow to be cut without loss; "
            "use a larger one."
        )
    length = HEADER_BYTES + 8 * len(levels.heights) + 8 * sum(len(names) for names in variables)
    return RecordLayout(source.model_id, grid, levels, tuple(variables), length)


def _write(stream: BinaryIO, period: _Period, layout: RecordLayout) -> None:
    points = layout.grid.nx * layout.grid.ny
    extra = len(layout.variables[0]) - len(period.records[0])
    small_id = grid_id_of(layout.grid.nx, layout.grid.ny)
    data = period.corrections.ljust(extra * points, b"\0")
    for number, name in enumerate(corrections.names(extra)):
        label = format_label(period.time, period.forecast_hour, 0, small_id, name, 0, 0.0, 0.0)
        part = np.frombuffer(data, dtype=np.uint8, count=points, offset=number * points)
        period.records[0].append((label, part))
    sums = [[checksum(part) for _, part in level] for level in period.records]
    stream.write(format_index(layout, period.time, period.forecast_hour, small_id, sums))
    for level in period.records:
        for label, part in level:
            stream.write(label)
            stream.write(part.tobytes())


# --- the cache of runs


def cropped(source: ArlFile, cut: Cut, folder: Path | None = None) -> ArlFile:
    """
    Return the cut of a file, made once for all workers.

    Parameters
    ----------
    source : ArlFile
        The whole file.
    cut : Cut
        What to keep.
    folder : Path, optional
        Where cut files lie; default ``met-crop`` under ``PYSTILT_CACHE_DIR``.
    """
    root = cache_root() / "met-crop" if folder is None else folder
    path = root / cut_name(cut, source.identity(0)) / source.name
    found = _opened(path)
    if found is None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(str(path), timeout=math.inf):
            found = _opened(path) or open_arl(crop_arl(source, cut, path))
    return found


def cut_name(cut: Cut, identity: str) -> str:
    """Name the folder of what is cut in one way from one thing."""
    bounds = cut.bounds
    box = (bounds.xmin, bounds.xmax, bounds.ymin, bounds.ymax, cut.buffer, cut.levels)
    return hashlib.sha256(repr((FORMAT_VERSION, identity, box)).encode()).hexdigest()[:24]


def _opened(path: Path) -> ArlFile | None:
    """Open a file that was cut before; None when there is none or it is damaged."""
    try:
        return open_arl(path)
    except MetError:
        return None
