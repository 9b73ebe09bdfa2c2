"""
What every receptor is: a time, a place, a name, and where particles start.

Receptors are values: they never change, compare equal when they mean the same
place and time, and can be keys of a dict or travel to another process. Coordinates
are rounded when a receptor is built (1e-6 degree, 0.01 m), so that ids and values agree.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np

from stilt.accessors import plots_of
from stilt.errors import MissingExtraError, ReceptorError
from stilt.ids import LocationID, ReceptorID
from stilt.receptors.coordinates import (
    AltitudeRef,
    check_altitude,
    check_altitude_ref,
    check_latitude,
    check_longitude,
)
from stilt.receptors.times import to_utc

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

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
        ref = check_altitude_ref(altitude_ref)
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
        return np.zeros(check_numpar(numpar), dtype=np.intp)

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
        from stilt.receptors.kinds import ColumnReceptor, MultiPointReceptor, PointReceptor

        listed = [_three_numbers(point) for point in points]
        if not listed:
            raise ReceptorError("a receptor needs at least one point (longitude, latitude, altitude)")
        if len(listed) == 1:
            return PointReceptor(time, *listed[0], altitude_ref=altitude_ref)
        if len(listed) == 2:
            (x0, y0, z0), (x1, y1, z1) = listed
            spots = {(check_longitude(x), check_latitude(y)) for x, y in ((x0, y0), (x1, y1))}
            if len(spots) == 1:
                ref = check_altitude_ref(altitude_ref)
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
        from stilt.receptors.kinds import ColumnReceptor, MultiPointReceptor, PointReceptor

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


def check_numpar(numpar: int) -> int:
    """Refuse to release fewer than one particle."""
    if numpar < 1:
        raise ReceptorError(f"numpar = {numpar} releases nothing; give 1 or more")
    return int(numpar)


def _three_numbers(point: Any) -> tuple[Any, Any, Any]:
    try:
        x, y, z = point
    except (TypeError, ValueError) as error:
        raise ReceptorError(f"point {point!r} is not (longitude, latitude, altitude)") from error
    return x, y, z
