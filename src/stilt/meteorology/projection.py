"""
The horizontal grid of a meteorology file.

The ARL header describes every grid, lat-lon or conformal, by the same eleven
numbers (the twelfth belongs to the levels). `HorizontalGrid` keeps them as they
stand in the header, so that writing a grid gives back what was read, and turns
positions into grid coordinates with the kernels of :mod:`stilt.kernels.projection`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stilt.constants import EARTH_RADIUS_KM
from stilt.errors import MetFormatError
from stilt.kernels import projection as kernels

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class HorizontalGrid:
    """
    A lat-lon or conformal grid on the sphere, as the ARL header has it.

    Grid coordinates are **1-based and fractional**: (1, 1) is the centre of the
    south-western cell.

    Parameters
    ----------
    pole_lat, pole_lon : float
        Conformal: the pole of the map (not used). Lat-lon: the last corner [degrees].
    ref_lat, ref_lon : float
        Conformal: where the cell size is ``size``, and the longitude along which y points
        north. Lat-lon: the increments [degrees].
    size : float
        Cell size at the reference latitude [km]; 0 means lat-lon.
    orientation : float
        Turn of the y axis from north at the reference longitude [degrees].
    tangent_lat : float
        Latitude of tangency: 90 polar stereographic, 0 Mercator, between them Lambert [degrees].
    sync_x, sync_y, sync_lat, sync_lon : float
        One grid point and its position.
    nx, ny : int
        Number of columns and rows.

    Examples
    --------
    >>> grid = HorizontalGrid.latlon(-112.0, 40.0, 0.5, 0.5, nx=9, ny=7)
    >>> [float(value) for value in grid.to_xy(-111.0, 41.0)]
    [3.0, 3.0]
    """

    pole_lat: float
    pole_lon: float
    ref_lat: float
    ref_lon: float
    size: float
    orientation: float
    tangent_lat: float
    sync_x: float
    sync_y: float
    sync_lat: float
    sync_lon: float
    nx: int
    ny: int

    def __post_init__(self) -> None:
        numbers = self.numbers
        if not all(math.isfinite(number) for number in numbers):
            raise MetFormatError(f"the grid numbers {numbers} are not all finite; the header is damaged.")
        if self.nx < 2 or self.ny < 2:
            raise MetFormatError(f"a grid of {self.nx} x {self.ny} points is too small to interpolate in.")
        if self.is_latlon and not (self.ref_lat > 0 and self.ref_lon > 0):
            raise MetFormatError(
                f"a lat-lon grid needs positive increments, not {self.ref_lon} x {self.ref_lat} degrees."
            )
        if self.size < 0:
            raise MetFormatError(f"a grid cannot have cells of {self.size} km.")

    # --- constructors

    @classmethod
    def from_numbers(cls, numbers: Sequence[float], nx: int, ny: int) -> Self:
        """Make a grid from the eleven numbers of a header, in file order."""
        (
            pole_lat, pole_lon, ref_lat, ref_lon, size, orientation, tangent_lat,
            sync_x, sync_y, sync_lat, sync_lon,
        ) = numbers  # fmt: skip
        return cls(
            pole_lat, pole_lon, ref_lat, ref_lon, size, orientation, tangent_lat,
            sync_x, sync_y, sync_lat, sync_lon, nx, ny,
        )  # fmt: skip

    @classmethod
    def latlon(cls, lon0: float, lat0: float, dlon: float, dlat: float, nx: int, ny: int) -> Self:
        """Make a lat-lon grid from its south-western point and its steps [degrees]."""
        last_lat, last_lon = lat0 + (ny - 1) * dlat, lon0 + (nx - 1) * dlon
        if last_lon > 360.0:
            last_lon -= 360.0
        return cls(last_lat, last_lon, dlat, dlon, 0.0, 0.0, 0.0, 1.0, 1.0, lat0, lon0, nx, ny)

    @classmethod
    def conformal(
        cls,
        tangent_lat: float,
        ref_lon: float,
        size_km: float,
        nx: int,
        ny: int,
        *,
        center_lat: float,
        center_lon: float,
        ref_lat: float | None = None,
        orientation: float = 0.0,
    ) -> Self:
        """
        Make a Lambert, polar stereographic or Mercator grid around a centre.

        Parameters
        ----------
        tangent_lat : float
            90 (or -90) polar stereographic, 0 Mercator, between them Lambert [degrees].
        ref_lon : float
            Longitude along which y points north [degrees].
        size_km : float
            Cell size at the reference latitude [km].
        nx, ny : int
            Number of columns and rows.
        center_lat, center_lon : float
            Position of the middle of the grid [degrees].
        ref_lat : float, optional
            Latitude where cells have ``size_km`` [degrees]; default the tangent latitude.
        orientation : float
            Turn of the grid [degrees].
        """
        if ref_lat is None:
            ref_lat = tangent_lat
        middle_x, middle_y = 0.5 * (nx + 1), 0.5 * (ny + 1)
        pole = -90.0 if tangent_lat < 0 else 90.0
        return cls(
            pole, 0.0, ref_lat, ref_lon, size_km, orientation, tangent_lat,
            middle_x, middle_y, center_lat, center_lon, nx, ny,
        )  # fmt: skip

    @classmethod
    def lambert(
        cls,
        ref_lat: float,
        ref_lon: float,
        size_km: float,
        nx: int,
        ny: int,
        *,
        center_lat: float | None = None,
        center_lon: float | None = None,
    ) -> Self:
        """Make a Lambert grid tangent at ``ref_lat``, centred there unless a centre is given."""
        return cls.conformal(
            ref_lat,
            ref_lon,
            size_km,
            nx,
            ny,
            center_lat=ref_lat if center_lat is None else center_lat,
            center_lon=ref_lon if center_lon is None else center_lon,
        )

    # --- what kind of grid

    @property
    def numbers(self) -> tuple[float, ...]:
        """The eleven header numbers in file order."""
        return (
            self.pole_lat, self.pole_lon, self.ref_lat, self.ref_lon, self.size, self.orientation,
            self.tangent_lat, self.sync_x, self.sync_y, self.sync_lat, self.sync_lon,
        )  # fmt: skip

    @property
    def is_latlon(self) -> bool:
        """Whether rows are parallels and columns meridians."""
        return self.size == 0.0

    @property
    def is_cyclic(self) -> bool:
        """Whether the column after the last is the first (all longitudes are covered)."""
        # increments have 7 characters in the header: 1080 * 0.333333 is 359.99964
        return self.is_latlon and abs(self.nx * self.ref_lon - 360.0) < 0.1 * self.ref_lon

    @property
    def is_global(self) -> bool:
        """Whether the grid is cyclic and reaches both poles."""
        if not self.is_cyclic:
            return False
        first, last = self._first_lat, self._first_lat + (self.ny - 1) * self.ref_lat
        tolerance = 0.1 * self.ref_lat
        return first <= -90.0 + tolerance and last >= 90.0 - tolerance

    @property
    def kind(self) -> str:
        """Name of the projection: ``latlon``, ``lambert``, ``polar`` or ``mercator``."""
        if self.is_latlon:
            return "latlon"
        if abs(self.tangent_lat) >= 89.999:
            return "polar"
        return "mercator" if abs(self.tangent_lat) < 1e-6 else "lambert"

    @property
    def _first_lat(self) -> float:
        return self.sync_lat - (self.sync_y - 1.0) * self.ref_lat

    @cached_property
    def kernel_numbers(self) -> Floats:
        """The grid as the array that :mod:`stilt.kernels.projection` takes, shape (9,)."""
        out = np.zeros(kernels.N_GRID_NUMBERS)
        if self.is_latlon:
            first_lon = self.sync_lon - (self.sync_x - 1.0) * self.ref_lon
            dlon = 360.0 / self.nx if self.is_cyclic else self.ref_lon
            out[:7] = 0.0, first_lon, self._first_lat, dlon, self.ref_lat, self.nx, self.is_cyclic
        else:
            gamma = math.sin(math.radians(self.tangent_lat))
            cell = self.size / float(kernels.map_scale(self.ref_lat, gamma))  # km at scale 1
            per_radius = EARTH_RADIUS_KM / cell
            cosine = math.cos(math.radians(self.orientation))
            sine = -math.sin(math.radians(self.orientation))
            xi, eta = kernels.conformal_plane(self.sync_lon, self.sync_lat, gamma, self.ref_lon)
            x0 = self.sync_x - per_radius * (xi * cosine + eta * sine)
            y0 = self.sync_y - per_radius * (eta * cosine - xi * sine)
            out[:] = 1.0, gamma, self.ref_lon, x0, y0, per_radius, cosine, sine, cell * 1000.0
        out.flags.writeable = False
        return out

    # --- positions

    def to_xy(self, lon: ArrayLike, lat: ArrayLike) -> tuple[Floats, Floats]:
        """
        Turn positions into grid coordinates.

        Parameters
        ----------
        lon, lat : array_like
            Positions [degrees], any shape; ``lon`` in any range.

        Returns
        -------
        x, y : ndarray of float64
            1-based fractional grid coordinates, of the common shape.
        """
        return self._apply(kernels.points_to_xy, lon, lat)

    def to_lonlat(self, x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
        """Turn 1-based grid coordinates into longitude in [-180, 180) and latitude [degrees]."""
        return self._apply(kernels.points_to_lonlat, x, y)

    def spacing(self, x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
        """Return the size of cells along x and y [m] at 1-based grid coordinates."""
        return self._apply(kernels.points_spacing, x, y)

    def usable(self, x: ArrayLike, y: ArrayLike) -> NDArray[np.bool_]:
        """
        Tell which grid coordinates particles may be at.

        A particle ends when it comes within one cell of the western or southern edge or three of
        the eastern or northern one (``int(x) < 2`` or ``int(x) >= nx - 2``). A cyclic grid has no
        edge in x, one that also reaches both poles has none in y.
        """
        x, y = np.broadcast_arrays(np.asarray(x, dtype=float), np.asarray(y, dtype=float))
        inside = np.isfinite(x) & np.isfinite(y)
        if not self.is_cyclic:
            inside &= (x >= 2.0) & (x < self.nx - 2)
        if not self.is_global:
            inside &= (y >= 2.0) & (y < self.ny - 2)
        return np.asarray(inside)

    def contains(self, lon: ArrayLike, lat: ArrayLike) -> NDArray[np.bool_]:
        """Tell which positions [degrees] lie in the part of the grid that particles may use."""
        return self.usable(*self.to_xy(lon, lat))

    def describe(self) -> str:
        """
        Name the part of the grid that particles may use, in degrees, for messages.

        >>> HorizontalGrid.latlon(-112.0, 40.0, 0.5, 0.5, nx=9, ny=7).describe()
        '-111.50 to -109.00 E, 40.50 to 42.00 N'
        """
        if self.is_global:
            return "the whole globe"
        south_west, north_east = (2.0, 2.0), (float(self.nx - 2), float(self.ny - 2))
        xs = np.linspace(south_west[0], north_east[0], 33)
        ys = np.linspace(south_west[1], north_east[1], 33)
        edge_x = np.concatenate([xs, xs, np.full(33, xs[0]), np.full(33, xs[-1])])
        edge_y = np.concatenate([np.full(33, ys[0]), np.full(33, ys[-1]), ys, ys])
        lon, lat = self.to_lonlat(edge_x, edge_y)
        lats = f"{lat.min():.2f} to {lat.max():.2f} N"
        if self.is_cyclic:
            return f"all longitudes, {lats}"
        # count longitudes from the middle, so that a grid across the date line has one stretch
        middle = float(self.to_lonlat(0.5 * (self.nx + 1), 0.5 * (self.ny + 1))[0])
        east = (lon - middle + 180.0) % 360.0 - 180.0
        return f"{middle + east.min():.2f} to {middle + east.max():.2f} E, {lats}"

    def _apply(self, points: object, a: ArrayLike, b: ArrayLike) -> tuple[Floats, Floats]:
        a, b = np.broadcast_arrays(np.asarray(a, dtype=float), np.asarray(b, dtype=float))
        first, second = points(  # type: ignore[operator]
            self.kernel_numbers, np.ascontiguousarray(a).ravel(), np.ascontiguousarray(b).ravel()
        )
        return first.reshape(a.shape), second.reshape(a.shape)
