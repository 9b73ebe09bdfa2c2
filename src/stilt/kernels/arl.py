r"""
Unpacking and packing the byte fields of ARL files.

A field is stored as one byte per point, the difference from the point before it:

.. math:: v_{i,j} = v_{i-1,j} + (b_{i,j} - 127) / 2^{\,7 - n}

along a row, and from the first point of the row below for the first column. All
sums run in float32: agreement with other readers to the last bit needs the same
roundings in the same order. From the second column on, a value smaller than the
field's precision reads as zero *while the sum goes on with the unrounded number*;
the first column is never zeroed.

The chain of additions along a row has to be followed one by one, but rows are
independent once the first column is known, so eight rows are unpacked side by side.
"""

from __future__ import annotations

import math

import numpy as np

from stilt.kernels.compiler import kernel

PACK_OK = 0
PACK_RANGE = 1
"""A difference does not fit the exponent."""


@kernel
def byte_steps(exponent):
    """Return the difference that each byte value stands for, float32 of shape (256,)."""
    steps = np.empty(256, dtype=np.float32)
    for byte in range(256):
        steps[byte] = math.ldexp(float(byte - 127), exponent - 7)
    return steps


@kernel
def first_column(packed, nx, n_rows, first, steps):
    """
    Unpack the first column of a record.

    Parameters
    ----------
    packed : ndarray of uint8, shape (>= n_rows * nx,)
        The record's bytes without its label.
    nx : int
        Points per row.
    n_rows : int
        How many rows are wanted, from the south.
    first : float32
        The value in the record's label.
    steps : ndarray of float32, shape (256,)
        Difference of each byte value.

    Returns
    -------
    ndarray of float32, shape (n_rows,)
    """
    column = np.empty(n_rows, dtype=np.float32)
    value = first
    for j in range(n_rows):
        value = value + steps[packed[j * nx]]
        column[j] = value
    return column


@kernel
def sum_bytes(packed):
    """Return the plain sum of bytes."""
    total = np.uint64(0)
    for byte in packed:
        total += np.uint64(byte)
    return total


def unpack_box(packed, nx, x0, x1, y0, y1, exponent, precision, first, out):
    """
    Unpack the box ``[y0:y1, x0:x1]`` of a record.

    Not a kernel itself, so that :func:`unpack_rows` is compiled once and not again inside this.

    Parameters
    ----------
    packed : ndarray of uint8, shape (>= y1 * nx,)
        The record's bytes without its label; rows beyond the box need not be there.
    nx : int
        Points per row.
    x0, x1, y0, y1 : int
        The box, zero-based, ends not included.
    exponent : int
        Exponent in the record's label.
    precision : float32
        Precision in the label, in the field's unit.
    first : float32
        Value in the label, in the field's unit.
    out : ndarray of float32, shape (y1 - y0, x1 - x0)
        Receives the values, in the field's unit.
    """
    steps = byte_steps(exponent)
    column = first_column(packed, nx, y1, first, steps)
    unpack_rows(packed, nx, x0, x1, y0, y1, column, steps, precision, out)


@kernel
def unpack_rows(packed, nx, x0, x1, y0, y1, column, steps, precision, out):
    """
    Unpack the box ``[y0:y1, x0:x1]`` of a record whose first column is known.

    Parameters
    ----------
    packed : ndarray of uint8, shape (>= y1 * nx,)
        The record's bytes without its label; only those of the box's rows are looked at.
    nx, x0, x1, y0, y1, precision, out
        As in :func:`unpack_box`.
    column : ndarray of float32, shape (>= y1,)
        What :func:`first_column` returned.
    steps : ndarray of float32, shape (256,)
        Difference of each byte value.
    """
    zero = np.float32(0.0)
    start = max(x0, 1)
    j = y0
    while j + 8 <= y1:
        a, b, c, d = column[j], column[j + 1], column[j + 2], column[j + 3]
        e, f, g, h = column[j + 4], column[j + 5], column[j + 6], column[j + 7]
        row_a = packed[j * nx : j * nx + x1]
        row_b = packed[(j + 1) * nx : (j + 1) * nx + x1]
        row_c = packed[(j + 2) * nx : (j + 2) * nx + x1]
        row_d = packed[(j + 3) * nx : (j + 3) * nx + x1]
        row_e = packed[(j + 4) * nx : (j + 4) * nx + x1]
        row_f = packed[(j + 5) * nx : (j + 5) * nx + x1]
        row_g = packed[(j + 6) * nx : (j + 6) * nx + x1]
        row_h = packed[(j + 7) * nx : (j + 7) * nx + x1]
        if x0 == 0:
            for r in range(8):
                out[j - y0 + r, 0] = column[j + r]
        for i in range(1, start):
            a = a + steps[row_a[i]]
            b = b + steps[row_b[i]]
            c = c + steps[row_c[i]]
            d = d + steps[row_d[i]]
            e = e + steps[row_e[i]]
            f = f + steps[row_f[i]]
            g = g + steps[row_g[i]]
            h = h + steps[row_h[i]]
        o = j - y0
        for i in range(start, x1):
            a = a + steps[row_a[i]]
            b = b + steps[row_b[i]]
            c = c + steps[row_c[i]]
            d = d + steps[row_d[i]]
            e = e + steps[row_e[i]]
            f = f + steps[row_f[i]]
            g = g + steps[row_g[i]]
            h = h + steps[row_h[i]]
            k = i - x0
            out[o, k] = zero if abs(a) < precision else a
            out[o + 1, k] = zero if abs(b) < precision else b
            out[o + 2, k] = zero if abs(c) < precision else c
            out[o + 3, k] = zero if abs(d) < precision else d
            out[o + 4, k] = zero if abs(e) < precision else e
            out[o + 5, k] = zero if abs(f) < precision else f
            out[o + 6, k] = zero if abs(g) < precision else g
            out[o + 7, k] = zero if abs(h) < precision else h
        j += 8
    while j < y1:
        a = column[j]
        row_a = packed[j * nx : j * nx + x1]
        if x0 == 0:
            out[j - y0, 0] = a
        for i in range(1, start):
            a = a + steps[row_a[i]]
        for i in range(start, x1):
            a = a + steps[row_a[i]]
            out[j - y0, i - x0] = zero if abs(a) < precision else a
        j += 1


@kernel
def largest_step(values):
    """
    Return the largest difference between neighbours in packing order, NaN if any value is not finite.

    Parameters
    ----------
    values : ndarray of float32, shape (ny, nx)
        The field.
    """
    largest = 0.0
    ny, nx = values.shape
    for j in range(ny):
        for i in range(nx):
            value = float(values[j, i])
            if not math.isfinite(value):
                return math.nan
            if i > 0:
                largest = max(largest, abs(value - float(values[j, i - 1])))
            elif j > 0:
                largest = max(largest, abs(value - float(values[j - 1, 0])))
    return largest


@kernel
def _pack_step(value, running, scale):
    """Byte whose step brings the running float32 sum closest to the value, or -1 if out of range."""
    byte = math.floor((float(value) - float(running)) * scale + 127.5)
    if byte < 0 or byte > 255:
        return -1
    return byte


@kernel
def pack_field(values, exponent, first, out):
    """
    Pack a field with a given exponent.

    Each difference is taken from the value a reader will have reached, not from the
    true neighbour, so rounding errors do not add up along a row.

    Parameters
    ----------
    values : ndarray of float32, shape (ny, nx)
        The field.
    exponent : int
        Exponent of the label: differences may reach ``2**exponent``.
    first : float32
        Value in the label, *as printed there*.
    out : ndarray of uint8, shape (ny * nx,)
        Receives the bytes.

    Returns
    -------
    int
        ``PACK_OK`` or ``PACK_RANGE``.
    """
    ny, nx = values.shape
    steps = byte_steps(exponent)
    scale = math.ldexp(1.0, 7 - exponent)
    left = first
    for j in range(ny):
        byte = _pack_step(values[j, 0], left, scale)
        if byte < 0:
            return PACK_RANGE
        out[j * nx] = byte
        left = left + steps[byte]
        running = left
        for i in range(1, nx):
            byte = _pack_step(values[j, i], running, scale)
            if byte < 0:
                return PACK_RANGE
            out[j * nx + i] = byte
            running = running + steps[byte]
    return PACK_OK


@kernel
def unpack_row_from(packed, nx, row, column, value, exponent, precision, x0, x1, out):
    """
    Unpack part of one row, given the running sum at one of its columns.

    Parameters
    ----------
    packed : ndarray of uint8
        The record's bytes without its label.
    nx : int
        Points per row.
    row, column : int
        Where the sum is known, zero-based.
    value : float32
        The running sum there, not yet set to zero where small.
    exponent : int
        Exponent in the record's label.
    precision : float32
        Precision in the label.
    x0, x1 : int
        Columns wanted, zero-based, end not included; those before ``column`` are left alone.
    out : ndarray of float32, shape (x1 - x0,)
        Receives the values.
    """
    steps = byte_steps(exponent)
    running = value
    for i in range(column, x1):
        if i > column:
            running = running + steps[packed[row * nx + i]]
        if i >= x0:
            out[i - x0] = np.float32(0.0) if i > 0 and abs(running) < precision else running


@kernel
def repack_box(packed, nx, x0, x1, y0, y1, guard, exponent, first, sums, out, reached):
    """
    Cut a box out of a record so that its differences stay the same bytes.

    Along a row the bytes are copied. Only the way from one row to the next leads through another
    column than in the record, so the first ``guard`` columns are packed anew, each as close to its
    value as the exponent allows; from the last of them on sums differ from those of the record by
    rounding, or not at all.

    Parameters
    ----------
    packed : ndarray of uint8
        The record's bytes without its label.
    nx : int
        Points per row.
    x0, x1, y0, y1 : int
        The box, zero-based, ends not included, guard columns included.
    guard : int
        Columns packed anew, fewer than the box has.
    exponent : int
        Exponent in the record's label.
    first : float32
        Value of the new label, *as printed there*.
    sums : ndarray of float32, shape (y1 - y0, x1 - x0)
        The record's running sums over the box.
    out : ndarray of uint8, shape ((y1 - y0) * (x1 - x0),)
        Receives the bytes.
    reached : ndarray of uint8, shape (y1 - y0,)
        Receives 1 for rows whose sums are the record's from column ``guard - 1`` on, bit for bit.

    Returns
    -------
    int
        ``PACK_OK``, or ``PACK_RANGE`` if the guard columns are too few for a step between rows.
    """
    steps = byte_steps(exponent)
    scale = math.ldexp(1.0, 7 - exponent)
    width = x1 - x0
    left = first
    for j in range(y1 - y0):
        running = left
        for i in range(guard):
            byte = math.floor((float(sums[j, i]) - float(running)) * scale + 127.5)
            byte = min(255, max(0, byte))
            running = running + steps[byte]
            out[j * width + i] = byte
            if i == 0:
                left = running
        if abs(float(running) - float(sums[j, guard - 1])) * scale > 0.45:
            return PACK_RANGE
        reached[j] = 1 if running == sums[j, guard - 1] else 0
        at = (y0 + j) * nx + x0
        for i in range(guard, width):
            out[j * width + i] = packed[at + i]
    return PACK_OK
