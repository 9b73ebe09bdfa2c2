"""Unpacking follows the format's float32 sums to the last bit; packing loses at most the precision."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_array_equal

from stilt.kernels import arl
from stilt.meteorology.arl.index import format_exponential
from stilt.meteorology.arl.writer import pack


def unpack_slowly(data, nx, ny, exponent, precision, first):
    """Unpack as the format describes it, one point after the other, in numpy float32."""
    data = data.reshape(ny, nx)
    step = [np.float32((byte - 127) / 2.0 ** (7 - exponent)) for byte in range(256)]
    out = np.empty((ny, nx), dtype=np.float32)
    left = np.float32(first)
    for j in range(ny):
        left = left + step[data[j, 0]]
        out[j, 0] = left
        running = left
        for i in range(1, nx):
            running = running + step[data[j, i]]
            out[j, i] = np.float32(0) if abs(running) < precision else running
    return out


def unpack(data, nx, box, exponent, precision, first):
    x0, x1, y0, y1 = box
    out = np.full((y1 - y0, x1 - x0), np.nan, dtype=np.float32)
    needed = data[: y1 * nx]  # rows beyond the box need not be there
    arl.unpack_box(needed, nx, x0, x1, y0, y1, exponent, np.float32(precision), np.float32(first), out)
    return out


@pytest.mark.parametrize("exponent", [-20, -3, 0, 9])
@pytest.mark.parametrize("shape", [(3, 5), (8, 4), (21, 19)])
def test_unpacking_is_bit_identical_to_a_plain_scan(shape, exponent):
    """Every bit agrees with a point-by-point float32 scan, zeroed values included."""
    ny, nx = shape
    rng = np.random.default_rng(ny * 100 + exponent)
    data = rng.integers(110, 145, ny * nx).astype(np.uint8)
    precision = np.float32(2.0**exponent / 254 * 40)  # large, so that many values fall below it
    expected = unpack_slowly(data, nx, ny, exponent, precision, 0.1 * 2.0**exponent)
    found = unpack(data, nx, (0, nx, 0, ny), exponent, precision, 0.1 * 2.0**exponent)
    assert_array_equal(found.view(np.uint32), expected.view(np.uint32))
    assert (found == 0).any()


@pytest.mark.parametrize(
    "box", [(0, 19, 0, 21), (0, 1, 3, 20), (1, 2, 0, 1), (4, 17, 2, 19), (18, 19, 20, 21)]
)
def test_a_box_is_a_piece_of_the_whole(box):
    """Unpacking a box gives the bits of the full field, and the first column is never zeroed."""
    rng = np.random.default_rng(5)
    data = rng.integers(100, 155, 21 * 19).astype(np.uint8)
    whole = unpack_slowly(data, 19, 21, 2, np.float32(0.5), 0.25)
    x0, x1, y0, y1 = box
    assert_array_equal(unpack(data, 19, box, 2, 0.5, 0.25), whole[y0:y1, x0:x1])


def test_first_column_keeps_what_other_columns_lose():
    """A value below the precision stays in column one and is zero in column two."""
    data = np.full(4, 127, dtype=np.uint8)
    assert_array_equal(unpack(data, 2, (0, 2, 0, 2), 1, 0.01, 0.005), np.float32([[0.005, 0], [0.005, 0]]))


smooth = st.floats(-1e4, 1e4, width=32, allow_subnormal=False)


@settings(deadline=None, max_examples=60)
@given(arrays(np.float32, st.tuples(st.integers(1, 9), st.integers(1, 7)), elements=smooth))
def test_packing_loses_at_most_the_precision(field):
    """What is read back is off by at most the precision in the label; near zero it may read as zero."""
    packed = pack(field)
    back = packed.unpack(field.shape)
    rounding = 4 * np.spacing(np.float32(np.abs(field).max()))
    error = np.abs(back.astype(float) - field)
    zeroed = (back == 0) & (np.abs(field) < 2 * packed.precision)
    assert (error[~zeroed] <= packed.precision + rounding).all()


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.floats(-3, 3), st.floats(0.01, 100))
def test_packing_what_was_read_changes_nothing(seed, level, spread):
    """Fields that were read from a file are written and read again bit for bit."""
    rng = np.random.default_rng(seed)
    field = (10.0**level + spread * rng.standard_normal((6, 9))).astype(np.float32)
    # away from zero, where small values read as exactly zero
    field += np.float32(10 * spread)
    packed = pack(field)
    # the label's seven digits must be finer than the byte step, or its rounding may shift the steps
    assume(packed.precision > 1e-6 * abs(float(field[0, 0])))
    once = packed.unpack(field.shape)
    assert_array_equal(pack(once).unpack(field.shape), once)


def test_errors_do_not_add_up_along_a_row():
    """A thousand steps of a third of the byte step end within one precision of the truth."""
    field = np.tile(np.linspace(0, 1000 / 3, 1001, dtype=np.float32), (2, 1)) + np.float32(400)
    field[0, 0] = 527.0  # the largest difference, so steps are coarse
    packed = pack(field)
    assert packed.exponent == 7
    assert np.abs(packed.unpack(field.shape) - field).max() <= packed.precision


@pytest.mark.parametrize("value", [0.0, 5.0, 0.004, -1.2e-5, 101325.0, 99999.96])
def test_a_constant_field_comes_back(value):
    """A field of one value survives, however small."""
    field = np.full((4, 6), value, dtype=np.float32)
    packed = pack(field)
    assert np.abs(packed.unpack(field.shape) - field).max() <= abs(value) * 1e-6


def test_exponent_is_that_of_the_largest_difference():
    """Differences up to 2**n get exponent n, and the precision is 2**n / 254."""
    field = np.zeros((2, 3), dtype=np.float32)
    field[0, 1] = 6.5
    packed = pack(field)
    assert packed.exponent == 3
    assert packed.precision == pytest.approx(8 / 254)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_field_with_holes_is_refused(bad):
    """NaN and infinity cannot be packed."""
    field = np.ones((3, 3), dtype=np.float32)
    field[1, 1] = bad
    with pytest.raises(ValueError, match="NaN or infinity"):
        pack(field)


def test_too_small_an_exponent_is_noticed():
    """pack_field says so when a difference does not fit, rather than clip it."""
    field = np.array([[0.0, 5.0]], dtype=np.float32)
    out = np.empty(2, dtype=np.uint8)
    assert arl.pack_field(field, 2, np.float32(0), out) == arl.PACK_RANGE
    assert arl.pack_field(field, 3, np.float32(0), out) == arl.PACK_OK


@settings(deadline=None, max_examples=60)
@given(st.floats(width=32, allow_nan=False, allow_infinity=False, allow_subnormal=False))
def test_printed_numbers_are_fortrans(value):
    """E14.7 texts have 14 characters, a mantissa in [0.1, 1), and parse to within half a unit."""
    text = format_exponential(value)
    assert len(text) == 14
    assert float(text) == pytest.approx(value, rel=5.1e-7)
    assert value == 0 or 0.1 <= abs(float(text[:10])) < 1.0
    assert math.copysign(1, float(text)) == math.copysign(1, value) or value == 0
