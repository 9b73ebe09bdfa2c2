"""
Writing ARL files that any reader of the format takes.

The exponent of a field is the smallest that carries all differences, and differences are
taken from what a reader will have reached, so that a value read back is off by at most the
precision in its label (``2**exponent / 254``, half of the step between byte values) and
writing what was read changes nothing. Values within two precisions of zero may read as
zero, as the format has it. Equal fields give equal bytes.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from stilt.errors import MetFormatError
from stilt.kernels import arl as kernels
from stilt.meteorology.arl.index import (
    HEADER_BYTES,
    RecordLayout,
    checksum,
    format_exponential,
    format_float,
    format_index,
    format_label,
    grid_id_of,
)
from stilt.meteorology.frame import MetFrame
from stilt.meteorology.once import whole_file
from stilt.meteorology.projection import HorizontalGrid
from stilt.meteorology.vertical import VerticalLevels

_MAX_DRIFT = 0.02
"""How far a grid may move when its numbers are cut to the header's seven characters [cells]."""
_MIN_EXPONENT, _MAX_EXPONENT = -100, 120


class PackedField:
    """A field as bytes, with what its label needs: exponent, precision, first value, checksum."""

    def __init__(self, data: NDArray[np.uint8], exponent: int, first_value: np.float32) -> None:
        self.data = data
        self.exponent = exponent
        self.precision = math.ldexp(1.0, exponent) / 254.0
        self.first_value = first_value
        self.checksum = checksum(data)

    def unpack(self, shape: tuple[int, int]) -> NDArray[np.float32]:
        """Return the values a reader gets, shape (ny, nx)."""
        out = np.empty(shape, dtype=np.float32)
        precision = np.float32(float(format_exponential(self.precision)))
        nx = shape[1]
        kernels.unpack_box(self.data, nx, 0, nx, 0, shape[0], self.exponent, precision, self.first_value, out)
        return out


def pack(values: NDArray[np.float32]) -> PackedField:
    """
    Pack a field.

    Parameters
    ----------
    values : ndarray of float32, shape (ny, nx)
        The field in its unit, all finite.

    Returns
    -------
    PackedField

    Examples
    --------
    >>> field = np.array([[280.0, 281.5], [279.0, 300.0]], dtype=np.float32)
    >>> packed = pack(field)
    >>> bool(abs(packed.unpack((2, 2)) - field).max() <= packed.precision)
    True
    """
    values = np.ascontiguousarray(values, dtype=np.float32)
    largest = float(kernels.largest_step(values))
    if math.isnan(largest):
        raise ValueError("the field holds NaN or infinity")
    corner = values[0, 0]
    # a reader starts from the number as it is printed
    first = np.float32(float(format_exponential(float(corner))))
    largest = max(largest, abs(float(corner) - float(first)))
    data = np.empty(values.size, dtype=np.uint8)
    for exponent in range(_exponent_for(largest, float(corner)), _MAX_EXPONENT + 1):
        if kernels.pack_field(values, exponent, first, data) == kernels.PACK_OK:
            return PackedField(data, exponent, first)
    raise ValueError(f"differences of {largest:g} between neighbours are too large to pack")


def _exponent_for(largest: float, corner: float) -> int:
    """Return the smallest exponent whose range holds the largest difference."""
    if largest == 0.0:
        # constant: any exponent does, but values below the precision would read as zero
        exponent = 1 if corner == 0.0 else min(1, math.frexp(abs(corner))[1] - 1)
    else:
        fraction, exponent = math.frexp(largest)
        if fraction == 0.5:
            exponent -= 1
    return min(max(exponent, _MIN_EXPONENT), _MAX_EXPONENT)


def write_arl(
    path: str | os.PathLike[str],
    grid: HorizontalGrid,
    levels: VerticalLevels,
    frames: Iterable[MetFrame],
    *,
    model_id: str = "STLT",
    grid_id: str = "01",
    difw: bool = False,
) -> Path:
    """
    Write frames to an ARL file.

    Parameters
    ----------
    path : path-like
        The file; it appears when it is complete.
    grid : HorizontalGrid
        The grid that all frames cover.
    levels : VerticalLevels
        The levels, surface first.
    frames : iterable of MetFrame
        One per time, ascending. The first decides which fields the file has and their order; a level
        on which a field is NaN everywhere goes without it.
    model_id : str
        Four characters naming the model.
    grid_id : str
        Two characters; grids over 999 points use them for the thousands.
    difw : bool
        Whether to add ``DIFW`` records, what packing lost of ``WWND``.

    Returns
    -------
    Path
        The path written.

    Raises
    ------
    MetFormatError
        When the format cannot carry the grid or a field.
    """
    path = Path(path)
    check_grid(grid, levels)
    grid_id = grid_id_of(grid.nx, grid.ny, grid_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as temporary:
        layout: RecordLayout | None = None
        with temporary.open("xb") as stream:
            for frame in frames:
                if layout is None:
                    layout = _layout_of(frame, grid, levels, model_id, difw)
                _write_frame(stream, frame, layout, grid_id)
        if layout is None:
            raise MetFormatError(f"{path}: there are no frames to write.")
    return path


def check_grid(grid: HorizontalGrid, levels: VerticalLevels) -> None:
    """Raise `MetFormatError` for a grid that the numbers of a header cannot describe."""
    if grid.nx * grid.ny < HEADER_BYTES:
        raise MetFormatError(
            f"a grid of {grid.nx} x {grid.ny} points has records too short for the "
            f"{HEADER_BYTES}-byte header; use more points."
        )
    rounded = [float(format_float(number, 7)) for number in grid.numbers]
    written = HorizontalGrid.from_numbers(rounded, grid.nx, grid.ny)
    corners_x, corners_y = np.array([1.0, grid.nx, 1.0, grid.nx]), np.array([1.0, 1.0, grid.ny, grid.ny])
    x, y = written.to_xy(*grid.to_lonlat(corners_x, corners_y))
    drift = max(float(np.abs(x - corners_x).max()), float(np.abs(y - corners_y).max()))
    if not drift <= _MAX_DRIFT:
        raise MetFormatError(
            f"the grid moves by {drift:.3g} cells when its numbers are cut to the header's seven characters "
            f"({' '.join(format_float(number, 7).strip() for number in grid.numbers)}); choose rounder ones."
        )
    for height in levels.heights:
        format_float(height, 6)


def _layout_of(
    frame: MetFrame, grid: HorizontalGrid, levels: VerticalLevels, model_id: str, difw: bool
) -> RecordLayout:
    variables = [tuple(frame.surface)]
    for level in range(levels.n_upper):
        names: list[str] = []
        for name, field in frame.upper.items():
            if not np.isnan(field[level]).all():
                names.append(name)
                if difw and name == "WWND":
                    names.append("DIFW")
        variables.append(tuple(names))
    for name in {name for names in variables for name in names}:
        if len(name) != 4 or not name.isascii():
            raise MetFormatError(f"'{name}' is not an ARL variable name, which has four characters.")
    n_variables = sum(len(names) for names in variables)
    length = HEADER_BYTES + 8 * len(levels.heights) + 8 * n_variables
    if length > 9999 or len(levels.heights) > 999 or max(len(names) for names in variables) > 99:
        raise MetFormatError(f"{n_variables} fields per time do not fit an ARL index record.")
    return RecordLayout(f"{model_id:4.4s}", grid, levels, tuple(variables), length)


def _write_frame(stream: BinaryIO, frame: MetFrame, layout: RecordLayout, grid_id: str) -> None:
    grid = layout.grid
    checksums: list[list[int]] = []
    body: list[bytes] = []
    for level, names in enumerate(layout.variables):
        checksums.append([])
        lost: NDArray[np.float32] | None = None
        for name in names:
            if name == "DIFW" and lost is not None:
                field = lost
            else:
                field = _field(frame, level, name, grid)
            try:
                packed = pack(field)
            except ValueError as error:
                raise MetFormatError(f"{name} of level {level} at {frame.time} UTC: {error}.") from error
            lost = None
            if name == "WWND":
                lost = np.asarray(field, dtype=np.float32) - packed.unpack((grid.ny, grid.nx))
            checksums[-1].append(packed.checksum)
            label = format_label(
                frame.time, frame.forecast_hour, level, grid_id, name,
                packed.exponent, packed.precision, float(packed.first_value),
            )  # fmt: skip
            body.append(label + packed.data.tobytes())
    stream.write(format_index(layout, frame.time, frame.forecast_hour, grid_id, checksums))
    for record in body:
        stream.write(record)


def _field(frame: MetFrame, level: int, name: str, grid: HorizontalGrid) -> NDArray[np.float32]:
    try:
        field = frame.surface[name] if level == 0 else frame.upper[name][level - 1]
    except (KeyError, IndexError) as error:
        raise MetFormatError(f"the frame at {frame.time} UTC has no {name} on level {level}.") from error
    if field.shape != (grid.ny, grid.nx):
        raise MetFormatError(
            f"{name} at {frame.time} UTC has shape {field.shape}, "
            f"the grid is {(grid.ny, grid.nx)} (rows, columns)."
        )
    return field
