"""
Where the running sums of a cut file have to be set right: records ``XC01``, ``XC02`` and so on.

ARL values are running sums in float32, whose last bit depends on where the sum began. A cut
file begins further east, so for some rows its sums differ from those of the whole file by
such a bit. These rows are listed, with the sum at one column, in extra surface records that
only our reader looks at::

    4 bytes  "XC1 "
    u2       column the sums belong to, counted from 0
    u2       zero
    u4       number of entries
    then for each entry
    u2       position of the record in its period, not counting index records and these
    u2       row, counted from 0
    f4       running sum

all little-endian, cut into records where needed and filled up with zeros.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

MAGIC = b"XC1 "
PREFIX = "XC"
_HEAD = struct.Struct("<4sHHI")
_ENTRY = np.dtype([("record", "<u2"), ("row", "<u2"), ("value", "<f4")])

Corrections = dict[int, list[tuple[int, int, np.float32]]]
"""By position of the record: (row, column, running sum)."""


def names(count: int) -> list[str]:
    """Return the names of ``count`` records of corrections."""
    return [f"{PREFIX}{number:02d}" for number in range(1, count + 1)]


def is_correction(name: str) -> bool:
    """Tell whether a variable holds corrections."""
    return name.startswith(PREFIX) and name[len(PREFIX) :].isdigit()


def pack_corrections(column: int, entries: Sequence[tuple[int, int, float]]) -> bytes:
    """Write corrections of (record, row, running sum), all at one column."""
    table = np.array(list(entries), dtype=_ENTRY)
    return _HEAD.pack(MAGIC, column, 0, len(table)) + table.tobytes()


def unpack_corrections(data: bytes) -> Corrections:
    """Read what `pack_corrections` wrote; nothing in other bytes."""
    found: Corrections = {}
    for record, row, column, value in _entries(data):
        found.setdefault(record, []).append((row, column, value))
    return found


def _entries(data: bytes) -> Iterator[tuple[int, int, int, np.float32]]:
    if len(data) < _HEAD.size:
        return
    magic, column, _, count = _HEAD.unpack_from(data)
    if magic != MAGIC or len(data) < _HEAD.size + count * _ENTRY.itemsize:
        return
    table: NDArray[np.void] = np.frombuffer(data, _ENTRY, count, _HEAD.size)
    for record, row, value in table:
        yield int(record), int(row), column, np.float32(value)
