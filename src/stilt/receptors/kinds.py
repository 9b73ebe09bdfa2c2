"""The kinds of receptor: one point, a column, several points sampled together."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from stilt.errors import ReceptorError
from stilt.ids import LocationID
from stilt.receptors.base import Receptor, check_numpar
from stilt.receptors.coordinates import AltitudeRef

if TYPE_CHECKING:
    from numpy.typing import NDArray


class _AtOneSpot(Receptor):
    """A receptor with one longitude and one latitude."""

    __slots__ = ()

    @property
    def longitude(self) -> float:
        """Longitude [degrees_east], in [-180, 180)."""
        return self.longitudes[0]

    @property
    def latitude(self) -> float:
        """Latitude [degrees_north]."""
        return self.latitudes[0]


class PointReceptor(_AtOneSpot):
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
            Results of the checks in `stilt.receptors.coordinates`.
        altitude_ref : {"agl", "msl"}
            What the height counts from.
        """
        receptor = object.__new__(cls)
        receptor._keep(time, (longitude,), (latitude,), (altitude,), altitude_ref)
        return receptor

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
        return np.full(check_numpar(numpar), self.altitude, dtype=np.float64)


class ColumnReceptor(_AtOneSpot):
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
        n = check_numpar(numpar)
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
        n = check_numpar(numpar)
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


def _as_list(values: Any) -> list[Any]:
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise ReceptorError(
            f"{values!r} is not a list; a multipoint receptor needs a list for each coordinate"
        )
    return list(values)
