"""
Reading ``PARTICLE_STILT.DAT``, straight to columns.

::

      40.7659988      -111.848000       10.0000000          position of the first release
           -1.       1.  -111.8480    40.7664    12.6728 ...   a row per particle and output time,
           -1.       2.  -111.8480    40.7664    13.2025 ...   in the order of ``varsiwant``
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from stilt.errors import InvalidOutputError, TruncatedRunError
from stilt.kernels import text_table

_DOUBLE = ("long", "lati")


def read_particles(path: Path, names: Sequence[str]) -> pd.DataFrame:
    """
    Read the particles of a run.

    Parameters
    ----------
    path : Path
        ``PARTICLE_STILT.DAT``.
    names : sequence of str
        Its columns, in order (``varsiwant``).

    Returns
    -------
    DataFrame
        Columns in that order: ``indx`` int32, ``long`` and ``lati`` float64, the others float32; every number
        is the nearest to what is printed. No rows where none were printed.

    Raises
    ------
    TruncatedRunError
        The file is not there, or ends inside a row.
    InvalidOutputError
        A field that is no finite number (``NaN``, ``****``), or a row with another number of columns.
    """
    try:
        # mapped, not read: the text is looked at once and a copy would cost a fifth of the time
        text = (
            np.memmap(path, dtype=np.uint8, mode="r") if path.stat().st_size else np.empty(0, dtype=np.uint8)
        )
    except OSError as error:
        raise TruncatedRunError(
            f"the program left no particles: {path.name} cannot be read ({error.strerror})."
        ) from error
    text = np.asarray(text)
    begin = _end_of_line(text, 0)
    wide, narrow = _read(text, begin, names, path.name)
    columns: dict[str, np.ndarray] = {}
    doubles, singles = iter(wide), iter(narrow)
    for name in names:
        values = next(doubles) if name in _DOUBLE else next(singles)
        columns[name] = values.astype(np.int32) if name == "indx" else values
    return pd.DataFrame(columns, copy=False)


def _read(text: np.ndarray, begin: int, names: Sequence[str], where: str) -> tuple[np.ndarray, np.ndarray]:
    n_wide = sum(name in _DOUBLE for name in names)
    slots = np.empty(len(names), dtype=np.int64)
    for column, name in enumerate(names):
        before = sum(other in _DOUBLE for other in names[:column])
        slots[column] = -before - 1 if name in _DOUBLE else column - before
    # rows are of one length, so the first says how many there can be
    length = max(1, _end_of_line(text, begin) - begin)
    room = (text.size - begin + length - 1) // length
    status = text_table.MORE_LINES
    row = column = at = 0
    wide = narrow = np.empty((0, 0))
    while status == text_table.MORE_LINES:
        wide = np.empty((n_wide, room))
        narrow = np.empty((len(names) - n_wide, room), dtype=np.float32)
        status, row, column, at = text_table.read_rows(
            text, begin, slots, text_table.POWERS_OF_TEN, wide, narrow
        )
        room = text_table.count_lines(text, begin) + 1
    if status == text_table.READ:
        return wide[:, :row], narrow[:, :row]
    line = int(row) + 2
    if status == text_table.NO_NEWLINE:
        raise TruncatedRunError(
            f"{where} ends inside line {line}, so the program did not finish writing; was the disk full?"
        )
    found = bytes(text[at : at + 24]).split(b"\n")[0].decode("ascii", "replace").strip()
    if status == text_table.BAD_FIELD:
        raise InvalidOutputError(
            f"{where}, line {line}: column {names[column]} holds '{found.split()[0]}', which is no number; "
            "the meteorology or a setting drives the program out of its range."
        )
    what = "fewer" if status == text_table.FEW_FIELDS else "more"
    raise InvalidOutputError(
        f"{where}, line {line} has {what} than the {len(names)} columns that were asked for."
    )


def _end_of_line(text: np.ndarray, begin: int) -> int:
    """Return where the line after the one at ``begin`` begins."""
    step = 4096
    for first in range(begin, text.size, step):
        found = np.flatnonzero(text[first : first + step] == text_table.NEWLINE)
        if found.size:
            return first + int(found[0]) + 1
    return int(text.size)
