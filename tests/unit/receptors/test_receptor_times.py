"""Times in every usual form become naive UTC; what could be misread is refused."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stilt.errors import ReceptorError
from stilt.receptors import to_utc

NOON = datetime(2023, 1, 1, 12, 30)


@pytest.mark.parametrize(
    "value",
    [
        "2023-01-01 12:30:00",
        "2023-01-01 12:30",
        "2023-01-01T12:30:00",
        "2023-01-01T12:30:00Z",
        "2023-01-01 12:30:00 UTC",
        "2023-01-01T05:30:00-07:00",
        "2023-01-01T05:30-0700",
        " 202301011230 ",
        "20230101123000",
        NOON,
        NOON.replace(tzinfo=UTC),
        datetime(2023, 1, 1, 5, 30, tzinfo=timezone(timedelta(hours=-7))),
        datetime(2023, 1, 1, 5, 30, tzinfo=ZoneInfo("America/Denver")),
        pd.Timestamp(NOON),
        pd.Timestamp("2023-01-01 13:30", tz="Europe/Berlin"),
        pd.Timestamp("2023-01-01 12:30:00.000000001"),
        np.datetime64("2023-01-01T12:30"),
        np.datetime64("2023-01-01T12:30:00.000000000"),
        np.array("2023-01-01T12:30", dtype="datetime64[s]"),
    ],
)
def test_all_spellings_mean_half_past_noon_utc(value):
    """Naive is UTC, aware is converted, minutes are kept."""
    time = to_utc(value)
    assert time == NOON
    assert type(time) is datetime
    assert time.tzinfo is None


def test_seconds_are_kept_and_fractions_rounded():
    """Ids are written to the second."""
    assert to_utc("2023-01-01 12:30:07").second == 7
    assert to_utc("2023-01-01 12:30:07.6").second == 8
    assert to_utc("2023-12-31 23:59:59.9") == datetime(2024, 1, 1)


def test_a_date_is_its_midnight():
    """UTC, as everything else."""
    assert to_utc(date(2023, 1, 1)) == to_utc("2023-01-01") == datetime(2023, 1, 1)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (1672576200, "is a int, not a time"),
        (1672576200.0, "is a float, not a time"),
        (np.int64(202301011230), "not a time"),
        (True, "not a time"),
        (None, "time is missing"),
        ("", "time is empty"),
        ("1672576200", "plain number"),
        ("1672576200.0", "plain number"),
        ("20230101", "plain number"),
        ("2023", "plain number"),
        ("202313011230", "is no date"),
        ("2023-02-30 12:00", "cannot be read"),
        ("noon", "cannot be read"),
        ("01/02/2023 12:00", "cannot be read"),
        (pd.NaT, "NaT"),
        (np.datetime64("NaT"), "NaT"),
        (datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=2))), "outside the calendar"),
    ],
)
def test_what_could_be_misread_is_refused(value, message):
    """With the value and a form that works."""
    with pytest.raises(ReceptorError, match=message) as caught:
        to_utc(value)
    assert "give e.g. '2023-01-01 12:00:00'" in str(caught.value)


@given(st.datetimes(datetime(1900, 1, 2), datetime(2200, 1, 1)), st.integers(-14 * 60, 14 * 60))
def test_an_offset_moves_nothing_but_the_clock(time, minutes):
    """The same instant, written in another zone, is the same receptor time."""
    time = time.replace(microsecond=0)
    aware = time.replace(tzinfo=UTC).astimezone(timezone(timedelta(minutes=minutes)))
    assert to_utc(aware) == time
    assert to_utc(aware.isoformat()) == time
