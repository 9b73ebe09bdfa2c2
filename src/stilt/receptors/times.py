"""
Reading times: everything becomes a naive UTC :class:`datetime.datetime` of whole seconds.

A plain number is refused: it could be seconds, days or a year, and a wrong guess
would run a simulation with the wrong weather.
"""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np

from stilt.errors import ReceptorError

_COMPACT = re.compile(r"[0-9]{12}(?:[0-9]{2})?")
_NUMBER = re.compile(r"[-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?")
_HOW = "give e.g. '2023-01-01 12:00:00' (UTC) or '202301011200'"


def to_utc(value: Any, *, what: str = "time") -> datetime:
    """
    Read a time in any of the usual forms.

    Parameters
    ----------
    value : datetime, date, numpy.datetime64, pandas.Timestamp or str
        Naive values are UTC, aware ones are converted. Strings are ISO 8601 (``2023-01-01 12:00``,
        ``2023-01-01T12:00:00-07:00``) or ``YYYYMMDDHHMM[SS]``.
    what : str
        Name of the value, for messages.

    Returns
    -------
    datetime
        Naive UTC, rounded to whole seconds.

    Examples
    --------
    >>> to_utc("2023-01-01T05:30-07:00")
    datetime.datetime(2023, 1, 1, 12, 30)
    """
    if isinstance(value, str):
        return _whole_seconds(_from_text(value, what))
    if isinstance(value, datetime):
        return _whole_seconds(_naive_utc(value, what))
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day)
    kind = getattr(getattr(value, "dtype", None), "kind", "")
    if kind == "M" and getattr(value, "size", 1) == 1:
        return _whole_seconds(_from_numpy(value, what))
    if value is None:
        raise ReceptorError(f"{what} is missing; {_HOW}")
    raise ReceptorError(f"{what} {value!r} is a {type(value).__name__}, not a time; {_HOW}")


def _from_text(value: str, what: str) -> datetime:
    text = value.strip()
    if not text:
        raise ReceptorError(f"{what} is empty; {_HOW}")
    if _COMPACT.fullmatch(text):
        fields = [int(text[:4]), *(int(text[i : i + 2]) for i in range(4, len(text), 2))]
        try:
            return datetime(*fields)  # type: ignore[arg-type]
        except ValueError as error:
            raise ReceptorError(f"{what} '{text}' is no date ({error}); {_HOW}") from error
    if _NUMBER.fullmatch(text):
        raise ReceptorError(f"{what} '{text}' is a plain number; {_HOW}")
    iso = re.sub(r"\s*(?:UTC|GMT)$", "+00:00", text, flags=re.IGNORECASE)
    try:
        parsed = datetime.fromisoformat(iso)
    except ValueError as error:
        raise ReceptorError(f"{what} '{text}' cannot be read; {_HOW}") from error
    return _naive_utc(parsed, what)


def _naive_utc(value: datetime, what: str) -> datetime:
    if value != value:  # pandas.NaT is a datetime that does not equal itself
        raise ReceptorError(f"{what} is not a time (NaT); {_HOW}")
    # built anew so that a pandas Timestamp becomes a plain datetime
    naive = datetime(
        value.year, value.month, value.day, value.hour, value.minute, value.second, value.microsecond
    )
    offset = value.utcoffset()
    try:
        return naive if offset is None else naive - offset
    except OverflowError as error:
        raise ReceptorError(f"{what} {value} lies outside the calendar; {_HOW}") from error


def _from_numpy(value: Any, what: str) -> datetime:
    item = np.asarray(value).reshape(())[()].astype("datetime64[us]")
    if np.isnat(item):
        raise ReceptorError(f"{what} is not a time (NaT); {_HOW}")
    moment = item.item()
    if not isinstance(moment, datetime):
        raise ReceptorError(f"{what} {value} lies outside the calendar; {_HOW}")
    return moment


def _whole_seconds(value: datetime) -> datetime:
    """Round to whole seconds, the precision of ids."""
    if not value.microsecond:
        return value
    rounded = value.replace(microsecond=0)
    return rounded + timedelta(seconds=1) if value.microsecond >= 500_000 else rounded
