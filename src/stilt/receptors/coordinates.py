"""Longitudes, latitudes and heights of receptors: checked, wrapped, rounded."""

from __future__ import annotations

import math
from typing import Any, Literal, cast

import numpy as np

from stilt.errors import ReceptorError
from stilt.ids import COORDINATE_DECIMALS, HEIGHT_DECIMALS

AltitudeRef = Literal["agl", "msl"]


def check_longitude(value: Any) -> float:
    """
    Check, wrap and round a longitude.

    Parameters
    ----------
    value : float
        Longitude, -180 to 360 [degrees_east].

    Returns
    -------
    float
        In [-180, 180), rounded to 1e-6 degree.
    """
    number = _finite(value, "longitude")
    if not -180.0 <= number <= 360.0:
        raise ReceptorError(f"longitude {number:g} is outside -180 to 180; give degrees east")
    rounded = round(number, COORDINATE_DECIMALS)
    # rounding again: the subtraction brings back digits beyond the sixth
    wrapped = round(rounded - 360.0, COORDINATE_DECIMALS) if rounded >= 180.0 else rounded
    return wrapped + 0.0  # no negative zero


def check_latitude(value: Any) -> float:
    """
    Check and round a latitude.

    Parameters
    ----------
    value : float
        Latitude, -90 to 90 [degrees_north].

    Returns
    -------
    float
        Rounded to 1e-6 degree.
    """
    number = _finite(value, "latitude")
    if not -90.0 <= number <= 90.0:
        raise ReceptorError(
            f"latitude {number:g} is outside -90 to 90; give degrees north "
            "(are longitude and latitude exchanged?)"
        )
    return round(number, COORDINATE_DECIMALS) + 0.0


def check_altitude(value: Any, altitude_ref: str) -> float:
    """
    Check and round a height.

    Parameters
    ----------
    value : float
        Height [m].
    altitude_ref : str
        ``agl`` or ``msl``; a height above ground is not negative.

    Returns
    -------
    float
        Rounded to 0.01 m.
    """
    number = _finite(value, "altitude")
    if altitude_ref == "agl" and number < 0.0:
        raise ReceptorError(
            f"altitude {number:g} m lies below the ground; give metres above ground, or altitude_ref 'msl'"
        )
    return round(number, HEIGHT_DECIMALS) + 0.0


def check_altitude_ref(value: Any) -> AltitudeRef:
    """
    Read what heights refer to.

    Parameters
    ----------
    value : str
        ``agl`` or ``msl``, in letters of either case.
    """
    text = value.strip().lower() if isinstance(value, str) else value
    if text not in ("agl", "msl"):
        raise ReceptorError(
            f"altitude_ref {value!r} is unknown; use 'agl' (above ground) or 'msl' (above sea level)"
        )
    return cast(AltitudeRef, text)


def _finite(value: Any, what: str) -> float:
    if type(value) is float and math.isfinite(value):
        return value
    if isinstance(value, (str, bytes, bool, np.bool_)) or value is None:
        raise ReceptorError(f"{what} {value!r} is not a number; give a plain number")
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise ReceptorError(f"{what} {value!r} is not a number; give a plain number") from error
    if not math.isfinite(number):
        raise ReceptorError(f"{what} is {number}; give a finite number or leave the receptor out")
    return number
