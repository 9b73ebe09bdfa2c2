"""
Where and when we measure: one point, a column, or several points sampled together.

Receptors are values: they never change, compare equal when they mean the same
place and time, and can be keys of a dict or travel to another process. Coordinates
are rounded when a receptor is built (1e-6 degree, 0.01 m), so that ids and values agree.
"""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, cast

import numpy as np

from stilt.accessors import plots_of
from stilt.errors import MissingExtraError, ReceptorError
from stilt.ids import COORDINATE_DECIMALS, HEIGHT_DECIMALS, LocationID, ReceptorID
from stilt.receptors.times import to_utc

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

AltitudeRef = Literal["agl", "msl"]

_compact = json.JSONEncoder(separators=(",", ":")).encode


class Receptor(ABC):
    """
    What all receptors have in common.

    Attributes
    ----------
    time : datetime
        When we measure, naive UTC, whole seconds.
    altitude_ref : {"agl", "msl"}
        Whether heights are above ground or above sea level.
    longitudes, latitudes : tuple of float
        Positions of the points [degrees]; longitude in [-180, 180).
    altitudes : tuple of float
        Heights of the points [m]; a column has two points, its bottom and its top.
    """

    __slots__ = ("altitude_ref", "altitudes", "id", "latitudes", "location_id", "longitudes", "time")

    kind: ClassVar[Literal["point", "column", "multipoint"]]

    time: datetime
    altitude_ref: AltitudeRef
    longitudes: tuple[float, ...]
    latitudes: tuple[float, ...]
    altitudes: tuple[float, ...]
    location_id: LocationID
    id: ReceptorID

    def _fill(
        self,
        time: Any,
        longitudes: Iterable[Any],
        latitudes: Iterable[Any],
        altitudes: Iterable[Any],
        altitude_ref: Any,
    ) -> None:
        """Check, round and keep the values."""
        ref = _check_altitude_ref(altitude_ref)
        self._keep(
            to_utc(time),
            tuple([check_longitude(value) for value in longitudes]),
            tuple([check_latitude(value) for value in latitudes]),
            tuple([check_altitude(value, ref) for value in altitudes]),
            ref,
        )

    def _keep(
        self,
        time: datetime,
        longitudes: tuple[float, ...],
        latitudes: tuple[float, ...],
        altitudes: tuple[float, ...],
        altitude_ref: AltitudeRef,
    ) -> None:
        """Keep checked values; the only place that sets attributes."""
        keep = object.__setattr__
        keep(self, "time", time)
        keep(self, "altitude_ref", altitude_ref)
        keep(self, "longitudes", longitudes)
        keep(self, "latitudes", latitudes)
        keep(self, "altitudes", altitudes)
        keep(self, "location_id", self._locate())
        keep(self, "id", ReceptorID.build(self.time, self.location_id))

    @abstractmethod
    def _locate(self) -> LocationID:
        """Name the place."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """
        Describe the receptor in words JSON knows.

        Returns
        -------
        dict
            With the key ``type``; :meth:`from_dict` reads it back.
        """

    def to_json(self) -> str:
        """Write what `to_dict` gives as JSON without blanks."""
        return _compact(self.to_dict())

    @abstractmethod
    def release_heights(self, numpar: int) -> NDArray[np.float64]:
        """
        Return the release height of each particle.

        Parameters
        ----------
        numpar : int
            Number of particles.

        Returns
        -------
        ndarray of float64, shape (numpar,)
            Heights [m], above ground or sea level as ``altitude_ref`` says.
        """

    def release_points(self, numpar: int) -> NDArray[np.intp]:
        """
        Return which point each particle starts from.

        Parameters
        ----------
        numpar : int
            Number of particles.

        Returns
        -------
        ndarray of int, shape (numpar,)
            Index of the point; zero throughout for a point and for a column.
        """
        return np.zeros(_check_numpar(numpar), dtype=np.intp)

    @property
    def geometry(self) -> BaseGeometry:
        """Shapely geometry with heights as z: point, vertical line or points (extra ``geometry``)."""
        try:
            from shapely import geometry
        except ImportError as error:
            raise MissingExtraError(
                "receptor.geometry needs shapely, which is not installed; "
                "pip install '.[geometry]' in the stilt checkout"
            ) from error
        points = list(zip(self.longitudes, self.latitudes, self.altitudes, strict=True))
        if self.kind == "point":
            return geometry.Point(points[0])
        return geometry.LineString(points) if self.kind == "column" else geometry.MultiPoint(points)

    @property
    def plot(self) -> Any:
        """Pictures of the receptor (extra ``plot``): ``receptor.plot.map()``."""
        return plots_of("receptor", self)

    @staticmethod
    def from_points(
        time: Any, points: Iterable[tuple[float, float, float]], *, altitude_ref: str = "agl"
    ) -> Receptor:
        """
        Build the class of receptor that fits some points.

        Parameters
        ----------
        time : datetime or str
            When we measure; naive is UTC.
        points : iterable of (longitude, latitude, altitude)
            Points [degrees, degrees, m].
        altitude_ref : {"agl", "msl"}
            What heights refer to.

        Returns
        -------
        Receptor
            A point for one point, a column for two heights above one spot, else a multipoint receptor.
        """
        listed = [_three_numbers(point) for point in points]
        if not listed:
            raise ReceptorError("a receptor needs at least one point (longitude, latitude, altitude)")
        if len(listed) == 1:
            return PointReceptor(time, *listed[0], altitude_ref=altitude_ref)
        if len(listed) == 2:
            (x0, y0, z0), (x1, y1, z1) = listed
            spots = {(check_longitude(x), check_latitude(y)) for x, y in ((x0, y0), (x1, y1))}
            if len(spots) == 1:
                ref = _check_altitude_ref(altitude_ref)
                bottom, top = sorted((check_altitude(z0, ref), check_altitude(z1, ref)))
                return ColumnReceptor(time, x0, y0, bottom, top, altitude_ref=altitude_ref)
        return MultiPointReceptor(time, *zip(*listed, strict=True), altitude_ref=altitude_ref)

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> Receptor:
        """
        Read what :meth:`to_dict` wrote.

        Parameters
        ----------
        values : mapping
            ``type`` (point, column or multipoint) and the arguments of that class.

        Returns
        -------
        Receptor
            An equal receptor.
        """
        if not isinstance(values, Mapping):
            raise ReceptorError(
                f"{values!r} does not describe a receptor; give a mapping with the key 'type'"
            )
        arguments = dict(values)
        kind = arguments.pop("type", None)
        classes: dict[Any, type[Receptor]] = {
            "point": PointReceptor,
            "column": ColumnReceptor,
            "multipoint": MultiPointReceptor,
        }
        if kind not in classes:
            raise ReceptorError(f"receptor type {kind!r} is unknown; use one of {', '.join(classes)}")
        try:
            return classes[kind](**arguments)
        except TypeError as error:
            problem = str(error).replace("__init__() ", "")
            raise ReceptorError(f"{problem}; give the arguments of {classes[kind].__name__}") from error

    def __iter__(self) -> Iterator[tuple[float, float, float]]:
        """Iterate over ``(latitude, longitude, altitude)`` of the points."""
        return iter(zip(self.latitudes, self.longitudes, self.altitudes, strict=True))

    def __len__(self) -> int:
        return len(self.altitudes)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Receptor):
            return NotImplemented
        return type(self) is type(other) and self._values() == other._values()

    def __hash__(self) -> int:
        return hash((self.kind, self._values()))

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"a receptor never changes; build a new one instead of setting '{name}'")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a receptor never changes; '{name}' cannot be deleted")

    def __reduce__(self) -> tuple[Any, ...]:
        return Receptor.from_dict, (self.to_dict(),)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __repr__(self) -> str:
        values = {
            key: value for key, value in self.to_dict().items() if key not in ("type", "time", "altitude_ref")
        }
        arguments = ", ".join(f"{key}={value!r}" for key, value in values.items())
        return f"{type(self).__name__}('{self.time}', {arguments}, altitude_ref={self.altitude_ref!r})"

    def _values(self) -> tuple[Any, ...]:
        return self.time, self.altitude_ref, self.longitudes, self.latitudes, self.altitudes

    def _common(self) -> dict[str, Any]:
        return {"type": self.kind, "time": self.time.isoformat()}


class PointReceptor(Receptor):
    """
    One point.

    Parameters
    ----------
    time : datetime or str
        When we measure; naive is UTC.
    longitude, latitude : float
        Position [degrees]; longitudes 0 to 360 are understood.
    altitude : float
        Height [m].
    altitude_ref : {"agl", "msl"}
        Whether the height is above ground or above sea level.

    Examples
    --------
    >>> PointReceptor("2023-01-01 12:00", -111.85, 40.77, 5.0).id
    '202301011200_-111.85_40.77_5'
    """

    __slots__ = ()

    kind = "point"

    def __init__(
        self, time: Any, longitude: float, latitude: float, altitude: float, *, altitude_ref: str = "agl"
    ) -> None:
        self._fill(time, (longitude,), (latitude,), (altitude,), altitude_ref)

    @classmethod
    def of_checked(
        cls, time: datetime, longitude: float, latitude: float, altitude: float, altitude_ref: AltitudeRef
    ) -> Self:
        """
        Build a receptor from values that were checked and rounded already, as readers of large tables do.

        Parameters
        ----------
        time : datetime
            Naive UTC, whole seconds; see `stilt.receptors.times.to_utc`.
        longitude, latitude, altitude : float
            Results of `check_longitude`, `check_latitude` and `check_altitude`.
        altitude_ref : {"agl", "msl"}
            What the height counts from.
        """
        receptor = object.__new__(cls)
        receptor._keep(time, (longitude,), (latitude,), (altitude,), altitude_ref)
        return receptor

    @property
    def longitude(self) -> float:
        """Longitude [degrees_east], in [-180, 180)."""
        return self.longitudes[0]

    @property
    def latitude(self) -> float:
        """Latitude [degrees_north]."""
        return self.latitudes[0]

    @property
    def altitude(self) -> float:
        """Height [m]."""
        return self.altitudes[0]

    def _locate(self) -> LocationID:
        return LocationID.point(self.longitude, self.latitude, self.altitude, self.altitude_ref)

    def to_dict(self) -> dict[str, Any]:
        """Describe the receptor in words JSON knows."""
        return {
            **self._common(),
            "longitude": self.longitude,
            "latitude": self.latitude,
            "altitude": self.altitude,
            "altitude_ref": self.altitude_ref,
        }

    def to_json(self) -> str:
        """Write what `to_dict` gives as JSON without blanks."""
        # by hand, because tables of a hundred thousand points are registered
        return (
            f'{{"type":"point","time":"{self.time.isoformat()}","longitude":{self.longitudes[0]!r},'
            f'"latitude":{self.latitudes[0]!r},"altitude":{self.altitudes[0]!r},'
            f'"altitude_ref":"{self.altitude_ref}"}}'
        )

    def release_heights(self, numpar: int) -> NDArray[np.float64]:
        """Return the height of the point for every particle."""
        return np.full(_check_numpar(numpar), self.altitude, dtype=np.float64)


class ColumnReceptor(Receptor):
    """
    A vertical line above one spot; particles are spread evenly from bottom to top.

    Parameters
    ----------
    time : datetime or str
        When we measure; naive is UTC.
    longitude, latitude : float
        Position [degrees]; longitudes 0 to 360 are understood.
    bottom, top : float
        Heights [m], bottom below top.
    altitude_ref : {"agl", "msl"}
        Whether heights are above ground or above sea level.
    """

    __slots__ = ()

    kind = "column"

    def __init__(
        self,
        time: Any,
        longitude: float,
        latitude: float,
        bottom: float,
        top: float,
        *,
        altitude_ref: str = "agl",
    ) -> None:
        self._fill(time, (longitude,) * 2, (latitude,) * 2, (bottom, top), altitude_ref)
        if self.bottom >= self.top:
            raise ReceptorError(
                f"column bottom {self.bottom:g} m must lie below its top {self.top:g} m; "
                "exchange or correct them"
            )

    @property
    def longitude(self) -> float:
        """Longitude [degrees_east], in [-180, 180)."""
        return self.longitudes[0]

    @property
    def latitude(self) -> float:
        """Latitude [degrees_north]."""
        return self.latitudes[0]

    @property
    def bottom(self) -> float:
        """Lower end [m]."""
        return self.altitudes[0]

    @property
    def top(self) -> float:
        """Upper end [m]."""
        return self.altitudes[1]

    def _locate(self) -> LocationID:
        return LocationID.column(self.longitude, self.latitude, self.bottom, self.top, self.altitude_ref)

    def to_dict(self) -> dict[str, Any]:
        """Describe the receptor in words JSON knows."""
        return {
            **self._common(),
            "longitude": self.longitude,
            "latitude": self.latitude,
            "bottom": self.bottom,
            "top": self.top,
            "altitude_ref": self.altitude_ref,
        }

    def release_heights(self, numpar: int) -> NDArray[np.float64]:
        """Return the mid-points of ``numpar`` equal slices, from bottom to top."""
        n = _check_numpar(numpar)
        return self.bottom + (np.arange(n, dtype=np.float64) + 0.5) * (self.top - self.bottom) / n


class MultiPointReceptor(Receptor):
    """
    Several points sampled together, such as a slant path; each gets an equal block of particles.

    Parameters
    ----------
    time : datetime or str
        When we measure; naive is UTC.
    longitudes, latitudes : sequence of float
        Positions [degrees]; longitudes 0 to 360 are understood.
    altitudes : sequence of float
        Heights [m], one for each position. The order of the points is part of the receptor's
        identity: it fixes which particles belong to which point.
    altitude_ref : {"agl", "msl"}
        Whether heights are above ground or above sea level.
    """

    __slots__ = ()

    kind = "multipoint"

    def __init__(
        self,
        time: Any,
        longitudes: Iterable[float],
        latitudes: Iterable[float],
        altitudes: Iterable[float],
        *,
        altitude_ref: str = "agl",
    ) -> None:
        columns = [_as_list(values) for values in (longitudes, latitudes, altitudes)]
        counts = [len(values) for values in columns]
        if len(set(counts)) != 1 or not counts[0]:
            raise ReceptorError(
                f"{counts[0]} longitudes, {counts[1]} latitudes and {counts[2]} altitudes; "
                "give one of each for every point, and at least one point"
            )
        longitudes, latitudes, altitudes = columns
        self._fill(time, longitudes, latitudes, altitudes, altitude_ref)

    def _locate(self) -> LocationID:
        points = zip(self.longitudes, self.latitudes, self.altitudes, strict=True)
        return LocationID.multipoint(points, self.altitude_ref)

    def to_dict(self) -> dict[str, Any]:
        """Describe the receptor in words JSON knows."""
        return {
            **self._common(),
            "longitudes": list(self.longitudes),
            "latitudes": list(self.latitudes),
            "altitudes": list(self.altitudes),
            "altitude_ref": self.altitude_ref,
        }

    def release_points(self, numpar: int) -> NDArray[np.intp]:
        """Return contiguous blocks, as equal as possible; the first points get the particles left over."""
        n = _check_numpar(numpar)
        k = len(self)
        if n < k:
            raise ReceptorError(
                f"{n} particles cannot be shared among the {k} points of receptor {self.id}; "
                f"set numpar to {k} or more"
            )
        counts = np.full(k, n // k, dtype=np.intp)
        counts[: n % k] += 1
        return np.repeat(np.arange(k, dtype=np.intp), counts)

    def release_heights(self, numpar: int) -> NDArray[np.float64]:
        """Return the height of each particle's point."""
        return np.asarray(self.altitudes, dtype=np.float64)[self.release_points(numpar)]


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


def _check_altitude_ref(value: Any) -> AltitudeRef:
    text = value.strip().lower() if isinstance(value, str) else value
    if text not in ("agl", "msl"):
        raise ReceptorError(
            f"altitude_ref {value!r} is unknown; use 'agl' (above ground) or 'msl' (above sea level)"
        )
    return cast(AltitudeRef, text)


def _check_numpar(numpar: int) -> int:
    if numpar < 1:
        raise ReceptorError(f"numpar = {numpar} releases nothing; give 1 or more")
    return int(numpar)


def _as_list(values: Any) -> list[Any]:
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise ReceptorError(
            f"{values!r} is not a list; a multipoint receptor needs a list for each coordinate"
        )
    return list(values)


def _three_numbers(point: Any) -> tuple[Any, Any, Any]:
    try:
        x, y, z = point
    except (TypeError, ValueError) as error:
        raise ReceptorError(f"point {point!r} is not (longitude, latitude, altitude)") from error
    return x, y, z
