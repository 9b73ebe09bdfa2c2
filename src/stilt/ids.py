"""
Names that become file names and keys: simulation ids, and the words they are made of.

::

    SimID       {met}_{YYYYMMDDHHMM[SS]}_{location}      hrrr_202301011200_-111.85_40.77_5
    ReceptorID        {YYYYMMDDHHMM[SS]}_{location}
    LocationID                           {location}

    location    point       {lon}_{lat}_{altitude}[msl]
                column      {lon}_{lat}_{bottom}-{top}[msl]
                multipoint  multi_{10 hex digits}[msl]

Every number has exactly one spelling (no exponent, no trailing zeros, no negative zero,
longitude in [-180, 180)), so equal places have equal names and different ones do not.
Ids are checked character by character before they name a file: nothing a user
writes can reach outside its folder.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache
from typing import Self

from stilt.errors import ConfigError, ReceptorError

_NUMBER = r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]*[1-9])?"
_LOCATION = rf"(?:{_NUMBER}_{_NUMBER}_{_NUMBER}(?:-{_NUMBER})?|multi_[0-9a-f]{{10}})(?:msl)?"
_TIME = r"[0-9]{12}(?:[0-9]{2})?"
_LOCATION_ID = re.compile(_LOCATION)
_RECEPTOR_ID = re.compile(rf"({_TIME})_({_LOCATION})")
_SIM_ID = re.compile(rf"([a-z0-9]+)_({_TIME})_({_LOCATION})")
_NEGATIVE_ZERO = re.compile(r"(?:^|[_-])-0(?:_|-|msl|$)")
_MET_KEY = re.compile(r"[a-z0-9]+")
_FOOTPRINT_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")

COORDINATE_DECIMALS = 6
"""Longitude and latitude are kept to 1e-6 degree (0.1 m)."""

HEIGHT_DECIMALS = 2
"""Heights are kept to 0.01 m."""


@lru_cache(4096)
def format_number(value: float, decimals: int) -> str:
    """
    Write a number the one way ids write it.

    Parameters
    ----------
    value : float
        Finite number.
    decimals : int
        Digits after the point, at most.

    Returns
    -------
    str
        Without exponent, trailing zeros or negative zero.

    Examples
    --------
    >>> format_number(-111.850, 6), format_number(1e-5, 6), format_number(-0.0, 6), format_number(5.0, 2)
    ('-111.85', '0.00001', '0', '5')
    """
    text = f"{value:.{decimals}f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


@lru_cache(1 << 14)
def format_time(time: datetime) -> str:
    """
    Write a time as ids write it.

    Parameters
    ----------
    time : datetime
        Naive UTC, whole seconds.

    Returns
    -------
    str
        ``YYYYMMDDHHMM``, with ``SS`` appended only when the seconds are not zero.
    """
    # not strftime: its %Y does not pad years below 1000 on every platform
    text = f"{time.year:04d}{time.month:02d}{time.day:02d}{time.hour:02d}{time.minute:02d}"
    return f"{text}{time.second:02d}" if time.second else text


def parse_id_time(text: str) -> datetime:
    """
    Read a time written by :func:`format_time`.

    Parameters
    ----------
    text : str
        12 digits, or 14 when the seconds are not zero.

    Returns
    -------
    datetime
        Naive UTC.
    """
    fields = [int(text[:4]), *(int(text[i : i + 2]) for i in range(4, len(text), 2))]
    return datetime(*fields)  # type: ignore[arg-type]


class LocationID(str):
    """Where a receptor is, as ids write it."""

    __slots__ = ()

    def __new__(cls, value: str) -> Self:
        """Check the text before it becomes a location id."""
        text = str(value)
        if not _LOCATION_ID.fullmatch(text) or _NEGATIVE_ZERO.search(text):
            raise ReceptorError(f"{text!r} is not a location id; it looks like -111.85_40.77_5")
        return super().__new__(cls, text)

    @classmethod
    def point(cls, longitude: float, latitude: float, altitude: float, altitude_ref: str) -> Self:
        """
        Name one point.

        Parameters
        ----------
        longitude, latitude : float
            Position [degrees].
        altitude : float
            Height [m].
        altitude_ref : str
            ``agl`` or ``msl``.

        Returns
        -------
        LocationID
            ``{lon}_{lat}_{altitude}``.
        """
        height = format_number(altitude, HEIGHT_DECIMALS)
        return str.__new__(cls, f"{_spot(longitude, latitude)}_{height}{_ref(altitude_ref)}")

    @classmethod
    def column(cls, longitude: float, latitude: float, bottom: float, top: float, altitude_ref: str) -> Self:
        """
        Name a column.

        Parameters
        ----------
        longitude, latitude : float
            Position [degrees].
        bottom, top : float
            Heights [m].
        altitude_ref : str
            ``agl`` or ``msl``.

        Returns
        -------
        LocationID
            ``{lon}_{lat}_{bottom}-{top}``.
        """
        heights = f"{format_number(bottom, HEIGHT_DECIMALS)}-{format_number(top, HEIGHT_DECIMALS)}"
        return str.__new__(cls, f"{_spot(longitude, latitude)}_{heights}{_ref(altitude_ref)}")

    @classmethod
    def multipoint(cls, points: Iterable[tuple[float, float, float]], altitude_ref: str) -> Self:
        """
        Name several points by a hash over them in the given order.

        Parameters
        ----------
        points : iterable of (longitude, latitude, altitude)
            Points [degrees, degrees, m]; their order fixes which particles belong to which point.
        altitude_ref : str
            ``agl`` or ``msl``.

        Returns
        -------
        LocationID
            ``multi_{10 hex digits of SHA-256}``.
        """
        text = ";".join(f"{_spot(x, y)}_{format_number(z, HEIGHT_DECIMALS)}" for x, y, z in points)
        return str.__new__(cls, f"multi_{hashlib.sha256(text.encode()).hexdigest()[:10]}{_ref(altitude_ref)}")


class ReceptorID(str):
    """When and where a receptor is: ``{YYYYMMDDHHMM[SS]}_{location}``."""

    __slots__ = ()

    def __new__(cls, value: str) -> Self:
        """Check the text before it becomes a receptor id."""
        text = str(value)
        match = _RECEPTOR_ID.fullmatch(text)
        if not match or not _is_id_time(match[1]) or _NEGATIVE_ZERO.search(match[2]):
            raise ReceptorError(f"{text!r} is not a receptor id; it looks like 202301011200_-111.85_40.77_5")
        return super().__new__(cls, text)

    @classmethod
    def build(cls, time: datetime, location: str) -> Self:
        """
        Join a time and a location.

        Parameters
        ----------
        time : datetime
            Receptor time, naive UTC.
        location : str
            Location id.

        Returns
        -------
        ReceptorID
            The id.
        """
        text = f"{format_time(time)}_{location}"
        # a LocationID was checked when it was made
        return str.__new__(cls, text) if isinstance(location, LocationID) else cls(text)

    @property
    def time(self) -> datetime:
        """Receptor time, naive UTC."""
        return parse_id_time(self.partition("_")[0])

    @property
    def location(self) -> LocationID:
        """Where the receptor is."""
        return LocationID(self.partition("_")[2])


class SimID(str):
    """
    The name of one simulation: one receptor with one meteorology.

    Examples
    --------
    >>> sim = SimID.build("hrrr", datetime(2023, 1, 1, 12), "-111.85_40.77_5")
    >>> sim
    SimID('hrrr_202301011200_-111.85_40.77_5')
    >>> sim.met, sim.location
    ('hrrr', '-111.85_40.77_5')
    """

    __slots__ = ()

    def __new__(cls, value: str) -> Self:
        """Check the text before it becomes a simulation id."""
        text = str(value)
        match = _SIM_ID.fullmatch(text)
        if not match or not _is_id_time(match[2]) or _NEGATIVE_ZERO.search(match[3]):
            raise ReceptorError(
                f"{text!r} is not a simulation id; it looks like hrrr_202301011200_-111.85_40.77_5"
            )
        return super().__new__(cls, text)

    @classmethod
    def build(cls, met: str, receptor_time: datetime, location: str) -> Self:
        """
        Join a met key, a time and a location.

        Parameters
        ----------
        met : str
            Key under ``mets`` in the config.
        receptor_time : datetime
            Receptor time, naive UTC.
        location : str
            Location id.

        Returns
        -------
        SimID
            The id.
        """
        text = f"{check_met_key(met)}_{format_time(receptor_time)}_{location}"
        return str.__new__(cls, text) if isinstance(location, LocationID) else cls(text)

    @classmethod
    def parse(cls, text: str) -> Self:
        """
        Read an id.

        Parameters
        ----------
        text : str
            What was written.

        Returns
        -------
        SimID
            The checked id; anything else is a ``ReceptorError``.
        """
        return cls(text)

    @property
    def met(self) -> str:
        """Key of the meteorology."""
        return self.partition("_")[0]

    @property
    def receptor_id(self) -> ReceptorID:
        """When and where the receptor is."""
        return ReceptorID(self.partition("_")[2])

    @property
    def time(self) -> datetime:
        """Receptor time, naive UTC."""
        return parse_id_time(self.split("_", 2)[1])

    @property
    def location(self) -> LocationID:
        """Where the receptor is."""
        return LocationID(self.split("_", 2)[2])

    def __repr__(self) -> str:
        return f"SimID({str(self)!r})"


def check_met_key(name: str) -> str:
    """
    Check a key under ``mets``.

    Parameters
    ----------
    name : str
        The key; it becomes part of ids and file names.

    Returns
    -------
    str
        The same key.
    """
    if not isinstance(name, str) or not _MET_KEY.fullmatch(name):
        raise ConfigError(
            f"met name {name!r} cannot be used; lower-case letters and digits only, such as 'hrrr'"
        )
    return name


def check_footprint_name(name: str) -> str:
    """
    Check the name of a footprint.

    Parameters
    ----------
    name : str
        The name; it becomes part of file names.

    Returns
    -------
    str
        The same name.
    """
    if not isinstance(name, str) or not _FOOTPRINT_NAME.fullmatch(name):
        raise ConfigError(
            f"footprint name {name!r} cannot be used; lower-case letters, digits, '_' and '-' only, "
            "beginning with a letter or digit"
        )
    if name.endswith("_error"):
        raise ConfigError(
            f"footprint name {name!r} cannot be used; the ending '_error' is for error footprints"
        )
    return name


def _spot(longitude: float, latitude: float) -> str:
    # 180 and -180 are one meridian; rounding may also arrive at 180 from below
    x = format_number(longitude, COORDINATE_DECIMALS)
    return f"{'-180' if x == '180' else x}_{format_number(latitude, COORDINATE_DECIMALS)}"


def _ref(altitude_ref: str) -> str:
    return "msl" if altitude_ref == "msl" else ""


def _is_id_time(text: str) -> bool:
    if len(text) == 14 and text.endswith("00"):
        return False  # written without seconds then
    try:
        parse_id_time(text)
    except ValueError:
        return False
    return True
