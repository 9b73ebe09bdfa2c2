"""
The table of receptors that users write by hand or with a script.

::

    # towers, July                                     comments and blank lines are skipped
    time,                longitude, latitude, zagl
    2023-07-15 12:00:00, -111.85,   40.77,    5        naive times are UTC
    2023-07-15T05:30-07, -111.85,   40.77,    5        aware ones are converted

============== ============================== ==========================================
column         also written                   meaning
============== ============================== ==========================================
time           run_time                       when
latitude       lat, lati                      [degrees_north]
longitude      lon, long                      [degrees_east], -180 to 180 or 0 to 360
altitude       z, zagl, zmsl                  [m]; ``zmsl`` above sea level, else ground
altitude_ref   height_ref                     optional, ``agl`` or ``msl``
r_idx                                         optional; rows with one value form one
                                              column (two heights above one spot) or
                                              multipoint receptor
============== ============================== ==========================================

Other columns (site names, sounding ids) are left alone: they are noted in the log, and
refused only when they look like a misspelt column that is otherwise absent.
"""

from __future__ import annotations

import csv
import logging
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, cast

from stilt.errors import ReceptorError
from stilt.receptors.base import (
    AltitudeRef,
    PointReceptor,
    Receptor,
    check_altitude,
    check_latitude,
    check_longitude,
)
from stilt.receptors.times import to_utc
from stilt.spelling import nearest_name

logger = logging.getLogger(__name__)

COLUMN_ALIASES: dict[str, tuple[str, ...]] = {
    "time": ("time", "run_time"),
    "latitude": ("latitude", "lat", "lati"),
    "longitude": ("longitude", "lon", "long"),
    "altitude": ("altitude", "z", "zagl", "zmsl"),
    "altitude_ref": ("altitude_ref", "height_ref"),
    "r_idx": ("r_idx",),
}
"""Column to the names it may be written with, in any case."""

_REQUIRED = ("time", "latitude", "longitude", "altitude")
_COLUMN_OF = {alias: column for column, aliases in COLUMN_ALIASES.items() for alias in aliases}
_REF_OF_ALIAS = {"zagl": "agl", "zmsl": "msl"}
_NUMBER = re.compile(
    r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[-+]?(?:nan|inf(?:inity)?)", re.IGNORECASE
)


class _Row(NamedTuple):
    line: int
    time: datetime
    longitude: float
    latitude: float
    altitude: float
    altitude_ref: AltitudeRef


class _Header(NamedTuple):
    position: dict[str, int]  # column -> position
    written: dict[str, str]  # column -> name in the file
    width: int


def read_receptors(path: str | Path) -> list[Receptor]:
    """
    Read receptors from a CSV file.

    Parameters
    ----------
    path : str or Path
        Text file with a header line; see the module for its columns.

    Returns
    -------
    list of Receptor
        In file order, each once. Repeated receptors are reported in one warning.

    Raises
    ------
    ReceptorError
        Naming the file, the line and the column.
    """
    file = Path(path)
    groups: dict[Any, list[_Row]] = {}
    times: dict[str, datetime] = {}
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            lines = _Lines(stream)
            rows = csv.reader(lines, skipinitialspace=True, strict=True)
            header: _Header | None = None
            for cells in rows:
                if header is None:
                    header = _read_header(cells, file, lines.number)
                    continue
                row, group = _read_row(cells, header, file, lines.number, times)
                groups.setdefault(("row", lines.number) if group == "" else ("r_idx", group), []).append(row)
    except FileNotFoundError as error:
        raise ReceptorError(
            f"{file}: no such file; write the receptors there or name another file"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ReceptorError(f"{file} cannot be read as UTF-8 text ({error})") from error
    except csv.Error as error:
        raise ReceptorError(f"{file}, line {lines.number}: not a CSV line ({error})") from error
    if header is None:
        raise ReceptorError(
            f"{file} is empty; its first line names the columns, e.g. time,longitude,latitude,zagl"
        )
    if not groups:
        raise ReceptorError(f"{file} names columns but holds no receptor; add one line for each")
    found = [(_build(key, rows, file), rows[0].line) for key, rows in groups.items()]
    return _drop_repeated(found, str(file), "line")


def as_receptors(receptors: Any) -> list[Receptor]:
    """
    Turn what a user may pass for receptors into a list of them.

    Parameters
    ----------
    receptors : Receptor, iterable, tuple, mapping, str or Path
        One receptor; an iterable of receptors, tuples or dicts; one tuple
        ``(time, longitude, latitude, altitude)`` or ``(time, longitude, latitude, bottom, top)``;
        or the path of a CSV file.

    Returns
    -------
    list of Receptor
        Each once, in the given order. Repeated receptors are reported in one warning.
    """
    if isinstance(receptors, (str, Path)):
        return read_receptors(receptors)
    if isinstance(receptors, (Receptor, Mapping)) or _is_one_tuple(receptors):
        return [_as_receptor(receptors)]
    if hasattr(
        receptors, "itertuples"
    ):  # a table: its column names carry the meaning, which a CSV file keeps
        raise ReceptorError(
            "a table is no list of receptors; write it with to_csv(path, index=False) and pass the path, "
            "or pass tuples (time, longitude, latitude, altitude)"
        )
    if not isinstance(receptors, Iterable):
        raise ReceptorError(
            f"{receptors!r} is no receptor; give receptors, tuples (time, longitude, latitude, altitude), "
            "or the path of a CSV file"
        )
    found = [(_as_receptor(item), number) for number, item in enumerate(receptors, 1)]
    return _drop_repeated(found, "receptors", "number")


class _Lines:
    """The lines that carry data, and the number of the one read last."""

    def __init__(self, stream: Iterable[str]) -> None:
        self._stream = stream
        self.number = 0

    def __iter__(self) -> Iterator[str]:
        for line in self._stream:
            self.number += 1
            text = line.strip()
            # a line of separators only is what a spreadsheet writes for an empty row
            if text.strip(", ") and not text.startswith("#"):
                yield line


def _read_header(cells: list[str], file: Path, line: int) -> _Header:
    index: dict[str, int] = {}
    written: dict[str, str] = {}
    others: list[str] = []
    for position, cell in enumerate(cells):
        name = cell.strip()
        column = _COLUMN_OF.get(name.lower())
        if column is None:
            others.append(name)
        elif column in index:
            raise ReceptorError(
                f"{file}, line {line}: columns '{written[column]}' and '{name}' "
                f"both give the {column}; keep one"
            )
        else:
            index[column], written[column] = position, name
    absent = [column for column in COLUMN_ALIASES if column not in index]
    for column in absent:
        for name in others:
            if nearest_name(name, COLUMN_ALIASES[column], cutoff=0.8):
                raise ReceptorError(
                    f"{file}, line {line}: unknown column '{name}'; did you mean '{column}' "
                    f"({' or '.join(COLUMN_ALIASES[column])})?"
                )
    missing = [column for column in _REQUIRED if column in absent]
    if missing:
        raise ReceptorError(
            f"{file}, line {line}: no column for {', '.join(missing)}; "
            f"'{missing[0]}' may be named {' or '.join(COLUMN_ALIASES[missing[0]])}, found {', '.join(cells)}"
        )
    if any(others):
        logger.info("%s: columns not used: %s", file, ", ".join(name for name in others if name))
    return _Header(index, written, len(cells))


def _read_row(
    cells: list[str], header: _Header, file: Path, line: int, times: dict[str, datetime]
) -> tuple[_Row, str]:
    cells = _without_comment(cells, header)
    if len(cells) > header.width and any(cell.strip() for cell in cells[header.width :]):
        raise ReceptorError(
            f"{file}, line {line}: {len(cells)} values for {header.width} columns; "
            "check for a decimal comma or a missing quote"
        )
    column = ""

    def text(name: str) -> str:
        position = header.position.get(name)
        return "" if position is None or position >= len(cells) else cells[position].strip()

    def number(name: str) -> float:
        value = text(name)
        if not value:
            raise ReceptorError(f"{name} is missing; give a number")
        if not _NUMBER.fullmatch(value):
            raise ReceptorError(f"{name} '{value}' is not a number; give a plain number")
        return float(value)

    try:
        column = "time"
        written_time = text(column)
        time = times.get(written_time)
        if time is None:
            time = times[written_time] = to_utc(written_time)
        column = "longitude"
        longitude = check_longitude(number(column))
        column = "latitude"
        latitude = check_latitude(number(column))
        column = "altitude_ref"
        ref = _altitude_ref(text(column), header)
        column = "altitude"
        altitude = check_altitude(number(column), ref)
    except ReceptorError as error:
        name = header.written.get(column, column)
        raise ReceptorError(f"{file}, line {line}, column '{name}': {error}") from error
    return _Row(line, time, longitude, latitude, altitude, ref), text("r_idx")


def _without_comment(cells: list[str], header: _Header) -> list[str]:
    """Cut a remark behind the values of a line; a '#' further left belongs to a name."""
    last = max(header.position.values())
    for position in range(last, len(cells)):
        before, mark, _ = cells[position].partition("#")
        if mark:
            return [*cells[:position], before]
    return cells


def _altitude_ref(text: str, header: _Header) -> AltitudeRef:
    name = header.written["altitude"]
    implied = _REF_OF_ALIAS.get(name.lower())
    given = text.lower()
    if given not in ("", "agl", "msl"):
        raise ReceptorError(f"'{text}' is unknown; use 'agl' (above ground) or 'msl' (above sea level)")
    if given and implied and given != implied:
        raise ReceptorError(f"'{text}' contradicts the column '{name}'; name that column 'altitude'")
    return cast(AltitudeRef, given or implied or "agl")


def _build(key: tuple[str, Any], rows: list[_Row], file: Path) -> Receptor:
    first = rows[0]
    if len(rows) == 1:
        return PointReceptor(
            first.time, first.longitude, first.latitude, first.altitude, altitude_ref=first.altitude_ref
        )
    seen: dict[tuple[float, float, float], int] = {}
    for row in rows:
        for column, label in (("time", "time"), ("altitude_ref", "height reference")):
            if getattr(row, column) != getattr(first, column):
                raise ReceptorError(
                    f"{file}, line {row.line}, column '{column}': {getattr(row, column)} differs from "
                    f"{getattr(first, column)} in line {first.line}; "
                    f"rows with r_idx '{key[1]}' share one {label}"
                )
        point = (row.longitude, row.latitude, row.altitude)
        if point in seen:
            raise ReceptorError(
                f"{file}, line {row.line}, column 'r_idx': the point repeats line {seen[point]} within "
                f"r_idx '{key[1]}'; remove one"
            )
        seen[point] = row.line
    return Receptor.from_points(first.time, seen, altitude_ref=first.altitude_ref)


def _is_one_tuple(item: Any) -> bool:
    """Tell ``(time, lon, lat, alt)`` from a tuple of receptors or of such tuples."""
    return (
        isinstance(item, (tuple, list))
        and len(item) in (4, 5)
        and not any(isinstance(value, (Receptor, Mapping, tuple, list)) for value in item)
    )


def _as_receptor(item: Any) -> Receptor:
    if isinstance(item, Receptor):
        return item
    if isinstance(item, Mapping):
        return Receptor.from_dict(item)
    if _is_one_tuple(item):
        time, longitude, latitude, *heights = item
        return Receptor.from_points(time, [(longitude, latitude, height) for height in heights])
    raise ReceptorError(
        f"{item!r} is no receptor; give a receptor or a tuple (time, longitude, latitude, altitude)"
    )


def _drop_repeated(found: list[tuple[Receptor, int]], where: str, unit: str) -> list[Receptor]:
    """Keep the first of equal receptors and say once how many were dropped."""
    first: dict[Receptor, int] = {}
    repeats: list[tuple[int, int]] = []
    for receptor, number in found:
        if receptor in first:
            repeats.append((number, first[receptor]))
        else:
            first[receptor] = number
    if repeats:
        number, original = repeats[0]
        count = f"{len(repeats)} repeated receptor{'s' if len(repeats) > 1 else ''}"
        warnings.warn(
            f"{where}: {count} dropped, each runs once ({unit} {number} repeats {unit} {original})",
            UserWarning,
            stacklevel=3,
        )
    return list(first)
