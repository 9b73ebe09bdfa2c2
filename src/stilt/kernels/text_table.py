"""
Numbers printed as text, read straight into columns.

Fortran prints numbers right-aligned in fields with a blank before each: ``-111.8480``, ``2.``,
``-0.1667E-04``, ``0.1-102`` (a three-digit exponent takes the place of the ``E``), and stars
where a number does not fit its field. A decimal number of up to 15 digits is an integer
divided by a power of ten that float64 holds exactly, so one division gives the nearest
float64, the number any careful reader gets.
"""

from __future__ import annotations

import numpy as np

from stilt.kernels.compiler import kernel

READ = 0
BAD_FIELD = 1
"""A field holds something other than a finite number."""
FEW_FIELDS = 2
"""A line ends before its last column."""
MANY_FIELDS = 3
"""A line goes on after its last column."""
NO_NEWLINE = 4
"""The text ends inside its last line."""
MORE_LINES = 5
"""There are more lines than room for them."""

BLANK, NEWLINE, RETURN = 32, 10, 13
_PLUS, _MINUS, _POINT, _ZERO = 43, 45, 46, 48
_EXACT = 1 << 53
POWERS_OF_TEN = 10.0 ** np.arange(23)
"""10^0 to 10^22, all of them exact in float64."""


@kernel
def count_lines(text, begin):
    """Count the newlines from ``begin`` on."""
    count = 0
    for k in range(begin, text.size):
        count += text[k] == NEWLINE
    return count


@kernel(forceinline=True)
def scaled(mantissa, exponent, powers):
    """
    Return ``mantissa * 10**exponent``, correctly rounded where ``abs(exponent) <= 22``.

    Beyond, the result may be off by a unit or two in the last place of float64.
    """
    value = float(mantissa)
    while exponent < -22:
        value /= powers[22]
        exponent += 22
    while exponent > 22:
        value *= powers[22]
        exponent -= 22
    return value / powers[-exponent] if exponent < 0 else value * powers[exponent]


@kernel
def read_rows(text, begin, slots, powers, wide, narrow):
    """
    Read lines of blank-separated numbers.

    Parameters
    ----------
    text : ndarray of uint8, shape (n_bytes,)
        The whole text.
    begin : int
        Where the first line begins.
    slots : ndarray of int64, shape (n_columns,)
        Where each column goes: ``s >= 0`` to ``narrow[s]``, ``s < 0`` to ``wide[-s - 1]``.
    powers : ndarray of float64
        ``POWERS_OF_TEN``.
    wide : ndarray of float64, shape (n_wide, n_room)
        Receives the columns that need double precision.
    narrow : ndarray of float32, shape (n_narrow, n_room)
        Receives the others.

    Returns
    -------
    status : int
        ``READ`` or what stopped the reading.
    row, column : int
        Rows read, and the column that was under way.
    at : int
        The byte at which it stopped.
    """
    n_columns = slots.size
    end = text.size
    k = begin
    row = 0
    while k < end:
        if row >= narrow.shape[1]:
            return MORE_LINES, row, 0, k
        for column in range(n_columns):
            while k < end and text[k] == BLANK:
                k += 1
            if k >= end:
                return NO_NEWLINE, row, column, k
            first = k
            byte = text[k]
            if byte in (NEWLINE, RETURN):
                return FEW_FIELDS, row, column, k
            negative = byte == _MINUS
            if negative or byte == _PLUS:
                k += 1
            # two loops written out: one helper called twice, and fields read at places known from the
            # first row, were both a fifth to a third slower
            mantissa = np.int64(0)
            digits = k
            while k < end:
                digit = np.int64(text[k]) - _ZERO
                if digit < 0 or digit > 9:
                    break
                mantissa = mantissa * 10 + digit
                k += 1
            digits = k - digits
            decimals = 0
            if k < end and text[k] == _POINT:
                k += 1
                point = k
                while k < end:
                    digit = np.int64(text[k]) - _ZERO
                    if digit < 0 or digit > 9:
                        break
                    mantissa = mantissa * 10 + digit
                    k += 1
                decimals = k - point
            digits += decimals
            if digits == 0 or digits > 18 or mantissa >= _EXACT:
                return BAD_FIELD, row, column, first
            if k >= end:
                return NO_NEWLINE, row, column, k
            exponent = -decimals
            byte = text[k]
            if byte > BLANK:
                # E-04, D-04, e-04 or the sign alone
                if byte == 69 or byte == 101 or byte == 68 or byte == 100:
                    k += 1
                    if k >= end:
                        return NO_NEWLINE, row, column, k
                    byte = text[k]
                below = byte == _MINUS
                if below or byte == _PLUS:
                    k += 1
                elif byte < _ZERO or byte > _ZERO + 9:
                    return BAD_FIELD, row, column, first
                power = 0
                first_digit = k
                while k < end and k - first_digit < 4:
                    digit = np.int64(text[k]) - _ZERO
                    if digit < 0 or digit > 9:
                        break
                    power = power * 10 + digit
                    k += 1
                if k == first_digit:
                    return BAD_FIELD, row, column, first
                if k >= end:
                    return NO_NEWLINE, row, column, k
                exponent += -power if below else power
                byte = text[k]
                if byte > BLANK:
                    return BAD_FIELD, row, column, first
            value = scaled(mantissa, exponent, powers)
            if negative:
                value = -value
            slot = slots[column]
            if slot < 0:
                wide[-slot - 1, row] = value
            else:
                narrow[slot, row] = value
        while k < end and (text[k] == BLANK or text[k] == RETURN):
            k += 1
        if k >= end:
            return NO_NEWLINE, row, n_columns, k
        if text[k] != NEWLINE:
            return MANY_FIELDS, row, n_columns, k
        k += 1
        row += 1
    return READ, row, 0, k
