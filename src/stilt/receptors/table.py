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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, cast

from stilt.collector import many_objects
from stilt.errors import ReceptorError
from stilt.receptors.base import Receptor
from stilt.receptors.coordinates import AltitudeRef, check_altitude, check_latitude, check_longitude
from stilt.receptors.kinds import PointReceptor
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


_KEPT = 4096
"""Texts whose values are remembered."""


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
    receptors: list[Any] = []
    lines_of: list[int] = []
    groups: dict[str, list[_Row]] = {}
    reader: _RowReader | None = None
    try:
        with many_objects(), file.open(encoding="utf-8-sig", newline="") as stream:
            lines = _Lines(stream)
            rows = csv.reader(lines, skipinitialspace=True, strict=True)
            for cells in rows:
                if reader is None:
                    reader = _RowReader(_read_header(cells, file, lines.number), file)
                    continue
                row, group = reader.read(cells, lines.number)
                if group == "":
                    receptors.append(PointReceptor.of_checked(*row[1:]))
                elif group in groups:
                    groups[group].append(row)
                    continue
                else:
                    groups[group] = [row]
                    receptors.append(group)  # its place; built when all its rows are known
                lines_of.append(lines.number)
    except FileNotFoundError as error:
        raise ReceptorError(
            f"{file}: no such file; write the receptors there or name another file"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ReceptorError(f"{file} cannot be read as UTF-8 text ({error})") from error
    except csv.Error as error:
        raise ReceptorError(f"{file}, line {lines.number}: not a CSV line ({error})") from error
    if reader is None:
        raise ReceptorError(
            f"{file} is empty; its first line names the columns, e.g. time,longitude,latitude,zagl"
        )
    if not receptors:
        raise ReceptorError(f"{file} names columns but holds no receptor; add one line for each")
    if groups:
        receptors = [
            _build(entry, groups[entry], file) if isinstance(entry, str) else entry for entry in receptors
        ]
    return _drop_repeated(receptors, lines_of, str(file), "line")


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
    found = [_as_receptor(item) for item in receptors]
    return _drop_repeated(found, range(1, len(found) + 1), "receptors", "number")


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


class _RowReader:
    """Reads the lines of one table; what they have in common is worked out once."""

    def __init__(self, header: _Header, file: Path) -> None:
        self._header = header
        self._file = file
        self._positions = [header.position.get(column, -1) for column in COLUMN_ALIASES]
        self._last = max(header.position.values())
        self._times: dict[str, datetime] = {}
        self._refs: dict[str, AltitudeRef] = {}
        # sites, tracks and heights repeat from line to line
        self._longitudes = lru_cache(_KEPT)(lambda text: check_longitude(_number(text, "longitude")))
        self._latitudes = lru_cache(_KEPT)(lambda text: check_latitude(_number(text, "latitude")))
        self._altitudes = lru_cache(_KEPT)(
            lambda text, ref: check_altitude(_number(text, "altitude"), ref),
        )

    def read(self, cells: list[str], line: int) -> tuple[_Row, str]:
        """Return the values of a line and its ``r_idx``, empty when it has none."""
        header = self._header
        cells = self._without_comment(cells)
        if len(cells) > header.width and any(cell.strip() for cell in cells[header.width :]):
            raise ReceptorError(
                f"{self._file}, line {line}: {len(cells)} values for {header.width} columns; "
                "check for a decimal comma or a missing quote"
            )
        if len(cells) <= self._last:
            cells = cells + [""] * (header.width - len(cells))
        written_time, y, x, z, written_ref, group = [
            cells[position].strip() if position >= 0 else "" for position in self._positions
        ]
        column = "time"
        try:
            time = self._times.get(written_time)
            if time is None:
                time = self._times[written_time] = to_utc(written_time)
            column = "longitude"
            longitude = self._longitudes(x)
            column = "latitude"
            latitude = self._latitudes(y)
            column = "altitude_ref"
            ref = self._refs.get(written_ref)
            if ref is None:
                ref = self._refs[written_ref] = _altitude_ref(written_ref, header)
            column = "altitude"
            altitude = self._altitudes(z, ref)
        except ReceptorError as error:
            name = header.written.get(column, column)
            raise ReceptorError(f"{self._file}, line {line}, column '{name}': {error}") from error
        return _Row(line, time, longitude, latitude, altitude, ref), group

    def _without_comment(self, cells: list[str]) -> list[str]:
        """Cut a remark behind the values of a line; a '#' further left belongs to a name."""
        for position in range(self._last, len(cells)):
            if "#" in cells[position]:
                return [*cells[:position], cells[position].partition("#")[0]]
        return cells


def _number(text: str, name: str) -> float:
    if not text:
        raise ReceptorError(f"{name} is missing; give a number")
    if not _NUMBER.fullmatch(text):
        raise ReceptorError(f"{name} '{text}' is not a number; give a plain number")
    return float(text)


def _altitude_ref(text: str, header: _Header) -> AltitudeRef:
    name = header.written["altitude"]
    implied = _REF_OF_ALIAS.get(name.lower())
    given = text.lower()
    if given not in ("", "agl", "msl"):
        raise ReceptorError(f"'{text}' is unknown; use 'agl' (above ground) or 'msl' (above sea level)")
    if given and implied and given != implied:
        raise ReceptorError(f"'{text}' contradicts the column '{name}'; name that column 'altitude'")
    return cast(AltitudeRef, given or implied or "agl")


def _build(group: str, rows: list[_Row], file: Path) -> Receptor:
    first = rows[0]
    if len(rows) == 1:
        return PointReceptor.of_checked(*first[1:])
    seen: dict[tuple[float, float, float], int] = {}
    for row in rows:
        for column, label in (("time", "time"), ("altitude_ref", "height reference")):
            if getattr(row, column) != getattr(first, column):
                raise ReceptorError(
                    f"{file}, line {row.line}, column '{column}': {getattr(row, column)} differs from "
                    f"{getattr(first, column)} in line {first.line}; "
                    f"rows with r_idx '{group}' share one {label}"
                )
        point = (row.longitude, row.latitude, row.altitude)
        if point in seen:
            raise ReceptorError(
                f"{file}, line {row.line}, column 'r_idx': the point repeats line {seen[point]} within "
                f"r_idx '{group}'; remove one"
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


def _drop_repeated(found: list[Receptor], numbers: Sequence[int], where: str, unit: str) -> list[Receptor]:
    """Keep the first of equal receptors and say once how many were dropped."""
    if len({receptor.id for receptor in found}) == len(found):
        return found  # other ids, other receptors
    once = list(dict.fromkeys(found))
    if len(once) < len(found):
        first: dict[Receptor, int] = {}
        repeats = []
        for receptor, number in zip(found, numbers, strict=True):
            if first.setdefault(receptor, number) != number:
                repeats.append((number, first[receptor]))
        number, original = repeats[0]
        count = f"{len(repeats)} repeated receptor{'s' if len(repeats) > 1 else ''}"
        warnings.warn(
            f"{where}: {count} dropped, each runs once ({unit} {number} repeats {unit} {original})",
            UserWarning,
            stacklevel=3,
        )
    return once
