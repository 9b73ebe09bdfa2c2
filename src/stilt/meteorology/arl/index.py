"""
Labels and index records: what an ARL file says about itself.

Every record has the same length, ``50 + nx * ny`` bytes: a label, then one byte per
grid point (:mod:`stilt.kernels.arl`) or, in an index record, text. Each time period is
one index record (or several), then one record per variable of level 0 (the surface),
level 1, and so on, in the order the index lists them; every period has the same records::

    label, 50 bytes              index text, in the nx * ny bytes after the label
    0   I2  year                 0    A4     model
    2   I2  month                4    I3     forecast hour
    4   I2  day                  7    I2     minutes
    6   I2  hour                 9    12F7   pole lat, pole lon, ref lat, ref lon, size,
    8   I2  forecast hour                    orientation, tangent lat, sync x, sync y,
    10  I2  level                            sync lat, sync lon, top of sigma levels
    12  A2  grid id              93   3I3    nx, ny, number of levels
    14  A4  variable             102  I2     vertical flag
    18  I4  exponent             104  I4     length of this text
    22  E14 precision            108  per level:    F6 height, I2 number of variables
    36  E14 value at (1, 1)           per variable: A4 name, I3 checksum, 1X

- The level list includes the surface. Text that does not fit goes on after the label of
  the next index record: there are ``length // (nx * ny) + 1`` of them.
- Grids over 999 points keep the thousands in the grid id: a character with code 64 + n
  adds n thousand points to nx (first character) or ny (second).
- Years from 40 on are 19xx. A negative forecast hour in a label marks a missing field.
- The checksum is the sum of the record's bytes with end-around carry at 255.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import numpy as np

from stilt.errors import MetFormatError
from stilt.kernels.arl import sum_bytes
from stilt.meteorology.projection import HorizontalGrid
from stilt.meteorology.vertical import VerticalLevels

LABEL_BYTES = 50
HEADER_BYTES = 108
_THOUSANDS = 64


class NotArlError(MetFormatError):
    """A file that does not begin like an ARL file."""


@dataclass(frozen=True)
class RecordLabel:
    """The 50 bytes at the start of every record."""

    time: np.datetime64
    forecast_hour: int
    level: int
    grid_id: str
    variable: str
    exponent: int
    precision: np.float32
    first_value: np.float32

    @property
    def is_missing(self) -> bool:
        """Whether the field is marked as missing."""
        return self.forecast_hour < 0


@dataclass(frozen=True)
class RecordLayout:
    """
    What all periods of a file share: grid, levels and the order of records.

    Parameters
    ----------
    model_id : str
        Four characters naming the model.
    grid : HorizontalGrid
        The horizontal grid.
    levels : VerticalLevels
        The levels, surface first.
    variables : tuple of tuple of str
        Names on each level, surface first, in file order.
    text_length : int
        Characters of index text.
    """

    model_id: str
    grid: HorizontalGrid
    levels: VerticalLevels
    variables: tuple[tuple[str, ...], ...]
    text_length: int

    @functools.cached_property
    def record_bytes(self) -> int:
        """Length of one record."""
        return LABEL_BYTES + self.grid.nx * self.grid.ny

    def to_plain(self) -> list[object]:
        """Write the layout in words JSON knows; `make_layout` reads them."""
        grid, levels = self.grid, self.levels
        return [
            self.model_id, [*grid.numbers, levels.offset], [grid.nx, grid.ny], levels.flag,
            list(levels.heights), [list(names) for names in self.variables], self.text_length,
        ]  # fmt: skip

    @functools.cached_property
    def index_records(self) -> int:
        """Number of index records at the start of a period."""
        return self.text_length // (self.grid.nx * self.grid.ny) + 1

    @functools.cached_property
    def records(self) -> dict[tuple[int, str], int]:
        """Position in a period of each (level, variable); of a name that comes twice, the first."""
        positions: dict[tuple[int, str], int] = {}
        position = self.index_records
        for level, names in enumerate(self.variables):
            for name in names:
                positions.setdefault((level, name), position)
                position += 1
        return positions

    @functools.cached_property
    def records_per_period(self) -> int:
        """Number of records of one time, index records included."""
        return self.index_records + sum(len(names) for names in self.variables)

    @functools.cached_property
    def period_bytes(self) -> int:
        """Number of bytes of one time."""
        return self.records_per_period * self.record_bytes


@dataclass(frozen=True)
class IndexHeader:
    """The fixed part of an index record, still without the level list."""

    time: np.datetime64
    forecast_hour: int
    model_id: str
    numbers: tuple[float, ...]
    nx: int
    ny: int
    n_levels: int
    vertical_flag: int
    text_length: int

    @property
    def structure(self) -> tuple[object, ...]:
        """What must not change between the periods of a file."""
        return self.numbers, self.nx, self.ny, self.n_levels, self.vertical_flag, self.text_length


def _integer(text: bytes) -> int:
    return int(text) if text.strip() else 0


def _time(raw: bytes, minutes: int = 0) -> np.datetime64:
    year, month, day, hour = (_integer(raw[at : at + 2]) for at in (0, 2, 4, 6))
    if not (0 <= year <= 99 and 0 <= minutes <= 59 and 0 <= hour <= 24):
        raise ValueError("date out of range")
    year += 1900 if year >= 40 else 2000
    # hours and minutes are added, so that hour 24 is the next midnight
    midnight = np.datetime64(f"{year:04d}-{month:02d}-{day:02d}T00:00:00", "s")
    return midnight + np.timedelta64(hour * 60 + minutes, "m")


def parse_label(raw: bytes, name: str | PurePath, offset: int) -> RecordLabel:
    """
    Read a record label.

    Parameters
    ----------
    raw : bytes
        At least the first 50 bytes of the record.
    name : str or path
        File name for messages.
    offset : int
        Where the record starts in the file, for messages.
    """
    try:
        return RecordLabel(
            time=_time(raw),
            forecast_hour=_integer(raw[8:10]),
            level=_integer(raw[10:12]),
            grid_id=raw[12:14].decode("ascii"),
            variable=raw[14:18].decode("ascii"),
            exponent=_integer(raw[18:22]),
            precision=np.float32(float(raw[22:36])),
            first_value=np.float32(float(raw[36:50])),
        )
    except (ValueError, UnicodeDecodeError) as error:
        raise MetFormatError(
            f"{name}: the record at byte {offset} has no readable label ({bytes(raw[:50])!r}); "
            "the file is damaged. Get it again."
        ) from error


def parse_header(raw: bytes, name: str | PurePath, offset: int = 0) -> IndexHeader:
    """
    Read the fixed part of an index record.

    Parameters
    ----------
    raw : bytes
        The first 158 bytes of the record: label and header.
    name : str or path
        File name for messages.
    offset : int
        Where the record starts in the file, for messages.
    """
    if len(raw) < LABEL_BYTES + HEADER_BYTES or raw[14:18] != b"INDX":
        at = "start" if offset == 0 else f"byte {offset}"
        remedy = "It is not an ARL file" if offset == 0 else "The file is damaged"
        kind = NotArlError if offset == 0 and raw[14:18] != b"INDX" else MetFormatError
        raise kind(
            f"{name}: no index record at {at} (found {bytes(raw[:18])!r}). {remedy}; remove or replace it."
        )
    label, text = raw[:LABEL_BYTES], raw[LABEL_BYTES:]
    try:
        grid_id = label[12:14].decode("ascii")
        header = IndexHeader(
            time=_time(label, _integer(text[7:9])),
            # three digits here, two in the label
            forecast_hour=_integer(text[4:7]) or _integer(label[8:10]),
            model_id=text[0:4].decode("ascii"),
            numbers=tuple(float(text[9 + 7 * k : 16 + 7 * k]) for k in range(12)),
            nx=_integer(text[93:96]) + 1000 * max(0, ord(grid_id[0]) - _THOUSANDS),
            ny=_integer(text[96:99]) + 1000 * max(0, ord(grid_id[1]) - _THOUSANDS),
            n_levels=_integer(text[99:102]),
            vertical_flag=_integer(text[102:104]),
            text_length=_integer(text[104:108]),
        )
    except (ValueError, UnicodeDecodeError) as error:
        raise MetFormatError(
            f"{name}: the index record at byte {offset} cannot be read ({bytes(text[:HEADER_BYTES])!r}); "
            "the file is damaged. Get it again."
        ) from error
    if header.nx * header.ny < HEADER_BYTES or header.n_levels < 1 or header.text_length < HEADER_BYTES:
        raise MetFormatError(
            f"{name}: the index record at byte {offset} names {header.nx} x {header.ny} points, "
            f"{header.n_levels} levels and {header.text_length} characters of text, which no file can have; "
            "it is damaged. Get it again."
        )
    return header


def parse_layout(header: IndexHeader, text: bytes, name: str | PurePath) -> RecordLayout:
    """
    Read the level list of an index record.

    Parameters
    ----------
    header : IndexHeader
        Its fixed part.
    text : bytes
        The whole index text (without labels), ``header.text_length`` characters.
    name : str or path
        File name for messages.
    """
    heights: list[float] = []
    variables: list[tuple[str, ...]] = []
    try:
        at = HEADER_BYTES
        for _ in range(header.n_levels):
            heights.append(float(text[at : at + 6]))
            count = int(text[at + 6 : at + 8])
            at += 8
            names = tuple(text[at + 8 * k : at + 8 * k + 4].decode("ascii") for k in range(count))
            if any(len(variable) != 4 for variable in names):
                raise ValueError("the level list is cut short")
            variables.append(names)
            at += 8 * count
    except (ValueError, UnicodeDecodeError) as error:
        raise MetFormatError(
            f"{name}: the level list in its index record cannot be read ({error}); the file is damaged. "
            "Get it again."
        ) from error
    return _layout(
        header.model_id,
        header.numbers,
        (header.nx, header.ny),
        header.vertical_flag,
        tuple(heights),
        tuple(variables),
        header.text_length,
    )


def make_layout(plain: Sequence[Any]) -> RecordLayout:
    """Read what `RecordLayout.to_plain` wrote."""
    model_id, numbers, (nx, ny), flag, heights, variables, text_length = plain
    return _layout(
        model_id, tuple(numbers), (nx, ny), flag, tuple(heights),
        tuple(tuple(names) for names in variables), text_length,
    )  # fmt: skip


@functools.lru_cache(maxsize=256)
def _layout(
    model_id: str,
    numbers: tuple[float, ...],
    shape: tuple[int, int],
    flag: int,
    heights: tuple[float, ...],
    variables: tuple[tuple[str, ...], ...],
    text_length: int,
) -> RecordLayout:
    """Build a layout, one object for all files that share it (there may be thousands)."""
    grid = HorizontalGrid.from_numbers(numbers[:11], *shape)
    return RecordLayout(model_id, grid, VerticalLevels(flag, heights, numbers[11]), variables, text_length)


# --- the other direction


def format_float(value: float, width: int) -> str:
    """
    Write a number with as many digits as ``width`` characters hold.

    >>> [format_float(value, 7) for value in (38.5, -112.91, 0.0, 0.333333333, 1000.0)]
    ['38.5000', '-112.91', '.000000', '.333333', '1000.00']
    """
    value = float(value) + 0.0  # no negative zero
    for decimals in range(width, -1, -1):
        text = f"{value:.{decimals}f}"
        if text.startswith("0."):
            text = text[1:]
        elif text.startswith("-0."):
            text = "-" + text[2:]
        if decimals == 0:
            text += "."
        if len(text) <= width:
            return text.rjust(width)
    raise MetFormatError(f"{value} does not fit the {width} characters an ARL header has for it.")


def format_exponential(value: float) -> str:
    """
    Write a number as Fortran's E14.7 does.

    >>> format_exponential(1327.9642)
    ' 0.1327964E+04'
    """
    if value == 0.0:
        return " 0.0000000E+00"
    mantissa, exponent = f"{value:.6e}".split("e")
    digits = mantissa.replace(".", "").lstrip("-")
    sign = "-" if mantissa.startswith("-") else " "
    return f"{sign}0.{digits}E{int(exponent) + 1:+03d}"


def format_exact(value: np.float32) -> str:
    """
    Write a float32 in the 14 characters of a label so that reading gives the same number.

    Seven digits, as usual, where they do; up to nine where they do not.

    >>> format_exact(np.float32(1327.964)), format_exact(np.float32(281.23456))
    (' 0.1327964E+04', '     281.23456')
    """
    usual = format_exponential(float(value))
    if np.float32(float(usual)) == value:
        return usual
    for digits in range(8, 12):
        for text in (f"{value:.{digits}g}", f"{value:.{digits - 1}e}"):
            mantissa, _, exponent = text.partition("e")
            if exponent:
                text = f"{mantissa}E{int(exponent)}"
            elif "." not in text:
                text += "."
            if len(text) <= 14 and np.float32(float(text)) == value:
                return text.rjust(14)
    raise MetFormatError(f"{float(value)!r} does not fit the 14 characters an ARL label has for it.")


def grid_id_of(nx: int, ny: int, small: str = "99") -> str:
    """
    Return the two characters that hold the thousands of a large grid, or ``small``.

    >>> grid_id_of(1799, 1059), grid_id_of(59, 41)
    ('AA', '99')
    """
    if nx < 1000 and ny < 1000:
        return small
    return chr(_THOUSANDS + nx // 1000) + chr(_THOUSANDS + ny // 1000)


def format_label(
    time: np.datetime64,
    forecast_hour: int,
    level: int,
    grid_id: str,
    variable: str,
    exponent: int,
    precision: float,
    first_value: float,
) -> bytes:
    """Write a record label."""
    stamp = time.astype("datetime64[s]").item()
    text = (
        f"{stamp.year % 100:2d}{stamp.month:2d}{stamp.day:2d}{stamp.hour:2d}{min(forecast_hour, 99):2d}"
        f"{level:2d}{grid_id}{variable}{exponent:4d}"
        f"{format_exponential(precision)}{format_exponential(first_value)}"
    )
    raw = text.encode("ascii")
    if len(raw) != LABEL_BYTES:
        raise MetFormatError(f"the label {text!r} is not {LABEL_BYTES} characters long; names have four.")
    return raw


def format_index(
    layout: RecordLayout, time: np.datetime64, forecast_hour: int, grid_id: str, checksums: list[list[int]]
) -> bytes:
    """Write the index records of one period, labels included, padded with blanks."""
    grid, levels = layout.grid, layout.levels
    minutes = int(time.astype("datetime64[m]").astype(np.int64) % 60)
    numbers = "".join(format_float(number, 7) for number in (*grid.numbers, levels.offset))
    text = (
        f"{layout.model_id:4.4s}{forecast_hour:3d}{minutes:2d}{numbers}{grid.nx % 1000:3d}{grid.ny % 1000:3d}"
        f"{len(levels.heights):3d}{levels.flag:2d}{layout.text_length:4d}"
    )
    for height, names, sums in zip(levels.heights, layout.variables, checksums, strict=True):
        text += f"{format_float(height, 6)}{len(names):2d}"
        text += "".join(f"{name}{checksum:3d} " for name, checksum in zip(names, sums, strict=True))
    points = grid.nx * grid.ny
    body = text.encode("ascii").ljust(points * layout.index_records)
    label = format_label(time, forecast_hour, 0, grid_id, "INDX", 0, 0.0, 0.0)
    return b"".join(label + body[k * points : (k + 1) * points] for k in range(layout.index_records))


def checksum(packed: np.ndarray) -> int:
    """
    Sum bytes with end-around carry, as the index record keeps it for each variable.

    >>> checksum(np.array([200, 100], dtype=np.uint8))
    45
    """
    total = int(sum_bytes(packed))
    return 0 if total == 0 else (total - 1) % 255 + 1
