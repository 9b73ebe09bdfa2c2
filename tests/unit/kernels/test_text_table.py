"""Numbers printed as text become the numbers Python's own reader gets, and nothing else becomes one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stilt.kernels.text_table import (
    BAD_FIELD,
    FEW_FIELDS,
    MANY_FIELDS,
    MORE_LINES,
    NO_NEWLINE,
    POWERS_OF_TEN,
    READ,
    count_lines,
    read_rows,
)


def read(text: str, n_columns: int, room: int | None = None):
    """Read all columns as doubles and, once more, as singles."""
    data = np.frombuffer(text.encode(), dtype=np.uint8)
    room = count_lines(data, 0) + 1 if room is None else room
    wide = np.full((n_columns, room), np.nan)
    narrow = np.full((n_columns, room), np.nan, dtype=np.float32)
    none = np.empty((0, room))
    double = read_rows(data, 0, -np.arange(n_columns) - 1, POWERS_OF_TEN, wide, narrow)
    single = read_rows(data, 0, np.arange(n_columns), POWERS_OF_TEN, none, narrow)
    assert double == single
    return double, wide, narrow


fixed = st.tuples(st.integers(-(10**12), 10**12), st.integers(0, 9)).map(
    lambda parts: f"{parts[0] / 10 ** parts[1]:.{parts[1]}f}" + ("." if parts[1] == 0 else "")
)
scientific = st.tuples(st.integers(-9999, 9999), st.integers(-18, 22)).map(
    lambda parts: f"{'-' if parts[0] < 0 else ''}0.{abs(parts[0]):04d}E{parts[1]:+03d}"
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(fixed, scientific, fixed), min_size=1, max_size=5))
def test_every_printed_number_is_read_to_the_last_digit(rows):
    """Bit for bit what float() gives, and what rounding that to float32 gives."""
    text = "".join("".join(f" {field:>14}" for field in row) + "\n" for row in rows)
    (status, n, _, _), wide, narrow = read(text, 3)
    assert (status, n) == (READ, len(rows))
    expected = np.array([[float(field) for field in row] for row in rows]).T
    np.testing.assert_array_equal(wide[:, :n], expected)
    np.testing.assert_array_equal(narrow[:, :n], expected.astype(np.float32))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("2.", 2.0),
        (".5", 0.5),
        ("-.25", -0.25),
        ("+7", 7.0),
        ("-0.0000", -0.0),
        ("0.1-102", 0.1e-102),
        ("1.5D+03", 1500.0),
        ("0.1234E+00", 0.1234),
        ("123456789012345.", 123456789012345.0),
    ],
)
def test_fortran_writes_numbers_in_many_ways(field, value):
    (status, n, _, _), wide, _ = read(f"  {field}\r\n {field}   \n", 1)
    assert (status, n) == (READ, 2)
    np.testing.assert_allclose(wide[0, :2], value, rtol=1e-15, atol=0)
    assert np.signbit(wide[0, 0]) == np.signbit(value)


# too many digits overflow first and are counted then; without compilation numpy warns of the first
@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
@pytest.mark.parametrize(
    "field", ["NaN", "Infinity", "****", "1.0*", "-", ".", "1.2.3", "0x10", "1E", "12345678901234567890."]
)
def test_what_is_no_number_is_found_with_its_place(field):
    (status, row, column, at), _, _ = read(f" 1. 2.\n 3. {field}\n 5. 6.\n", 2)
    assert (status, row, column) == (BAD_FIELD, 1, 1)
    assert at == len(" 1. 2.\n 3. ")


@pytest.mark.parametrize(
    ("text", "status", "row"),
    [
        (" 1. 2.\n 3.\n", FEW_FIELDS, 1),
        (" 1. 2. 3.\n", MANY_FIELDS, 0),
        (" 1. 2.\n 3. 4.", NO_NEWLINE, 1),
        (" 1. 2.\n 3.", NO_NEWLINE, 1),
        (" 1. 2.\n 3. 0.1E", NO_NEWLINE, 1),
        (" 1. 2.\n   ", NO_NEWLINE, 1),
        ("", READ, 0),
    ],
)
def test_lines_of_another_length_and_a_cut_end_are_noticed(text, status, row):
    assert read(text, 2)[0][:2] == (status, row)


def test_more_lines_than_room_are_not_written_beyond_it():
    (status, row, _, _), _, narrow = read(" 1.\n 2.\n 3.\n", 1, room=2)
    assert (status, row) == (MORE_LINES, 2)
    assert narrow.tolist() == [[1.0, 2.0]]
