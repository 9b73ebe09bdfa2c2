"""
Rectangles on the globe: the bounds of a region, and the grid a footprint lives on.

Bounds are always degrees, also for projected grids; only the cell size is in the
units of the projection. This is pure geometry: nothing here knows particles or files.
"""

from __future__ import annotations

import math
import re
import warnings
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from stilt.sections import Float, Section

if TYPE_CHECKING:
    import numpy as np
    import pyproj

LONGLAT = "+proj=longlat"

# Rounding allowance when counting whole cells: (xmax - xmin) / xres is rarely an exact integer.
_CELL_FUZZ = 1e-7

_PROJ_LONGLAT = re.compile(r"(?:^|\s)\+?proj=(?:longlat|latlong|lonlat|latlon)(?:\s|$)", re.IGNORECASE)
_KNOWN_LONGLAT = {"EPSG:4326", "OGC:CRS84", "CRS:84", "EPSG:4979", "EPSG:4269"}


def wrap_longitude(longitude: float, west: float = -180.0) -> float:
    """
    Move a longitude into the 360 degrees that start at ``west``.

    Parameters
    ----------
    longitude : float
        Longitude [degrees_east].
    west : float
        Lower end of the wanted range [degrees_east].

    Returns
    -------
    float
        The same meridian in ``[west, west + 360)``.

    Examples
    --------
    >>> wrap_longitude(190.0)
    -170.0
    >>> wrap_longitude(180.0)
    -180.0
    """
    if west <= longitude < west + 360.0:
        return longitude
    wrapped = (longitude - west) % 360.0 + west
    # a tiny negative number modulo 360 rounds up to 360 itself
    return west if wrapped >= west + 360.0 else wrapped


class Bounds(Section):
    """
    A box of longitudes and latitudes.

    ``xmax`` may exceed 180 or lie below ``xmin``: the box then crosses the date line.
    """

    xmin: Float = Field(description="Western edge [degrees_east].")
    xmax: Float = Field(description="Eastern edge [degrees_east]; may exceed 180 or lie below xmin.")
    ymin: Float = Field(description="Southern edge [degrees_north].")
    ymax: Float = Field(description="Northern edge [degrees_north].")

    @model_validator(mode="after")
    def _is_a_box(self) -> Self:
        for name in ("xmin", "xmax"):
            value = getattr(self, name)
            if not -360.0 <= value <= 540.0:
                raise ValueError(f"{name} = {value:g} is not a longitude; give degrees, -180 to 360")
        for name in ("ymin", "ymax"):
            value = getattr(self, name)
            if not -90.0 <= value <= 90.0:
                raise ValueError(f"{name} = {value:g} is not a latitude; give degrees, -90 to 90")
        if self.ymin >= self.ymax:
            raise ValueError(f"ymin = {self.ymin:g} must lie south of ymax = {self.ymax:g}")
        if self.xmin == self.xmax:
            raise ValueError(f"xmin and xmax are both {self.xmin:g}; the box needs some width")
        width = self.xmax - self.xmin + (360.0 if self.xmax < self.xmin else 0.0)
        if width <= 0.0:
            raise ValueError(f"xmin = {self.xmin:g} lies more than a turn east of xmax = {self.xmax:g}")
        if width > 360.0 * (1.0 + 1e-12):
            raise ValueError(f"xmin = {self.xmin:g} to xmax = {self.xmax:g} is wider than 360 degrees")
        return self

    @property
    def west(self) -> float:
        """Western edge [degrees_east] of the contiguous box; -180 when it spans the globe."""
        return -180.0 if self.is_global else self.xmin

    @property
    def east(self) -> float:
        """Eastern edge [degrees_east] of the contiguous box, always above :attr:`west`."""
        if self.is_global:
            return 180.0
        return self.xmax + 360.0 if self.xmax < self.xmin else self.xmax

    @property
    def is_global(self) -> bool:
        """Whether the box spans all longitudes."""
        return math.isclose(self.xmax - self.xmin, 360.0, rel_tol=1e-12)

    @property
    def crosses_dateline(self) -> bool:
        """Whether the meridian of 180 degrees runs through the inside of the box."""
        return not self.is_global and any(self.west < line < self.east for line in (-180.0, 180.0))

    def contains(self, longitude: float, latitude: float) -> bool:
        """
        Tell whether a point lies inside or on the western or southern edge.

        Parameters
        ----------
        longitude, latitude : float
            Position [degrees].

        Returns
        -------
        bool
            True inside.
        """
        x = wrap_longitude(longitude, self.west)
        return self.west <= x < self.east and self.ymin <= latitude < self.ymax


def _projection_text(value: Any) -> Any:
    """Write an EPSG number as ``EPSG:<number>``."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"EPSG:{value}"
    if isinstance(value, str):
        text = value.strip()
        return f"EPSG:{text}" if text.isascii() and text.isdigit() else text
    return value


class Grid(Bounds):
    """
    The cells of a footprint.

    The edges are given in degrees also for a projected grid; the south-western and
    north-eastern corners are then projected. Cells start at the lower edges; what is left
    beyond the last whole cell is not part of the grid.

    Examples
    --------
    >>> grid = Grid(xmin=165, xmax=-165, ymin=-20, ymax=20, xres=0.5, yres=0.5)
    >>> grid.extent, grid.shape
    ((165.0, 195.0, -20.0, 20.0), (80, 60))
    """

    xres: Float = Field(gt=0, description="Cell width [units of the projection; degrees for longlat].")
    yres: Float = Field(gt=0, description="Cell height [units of the projection; degrees for longlat].")
    projection: Annotated[str, BeforeValidator(_projection_text)] = Field(
        default=LONGLAT, min_length=1, description="PROJ string or EPSG code of the grid [-]."
    )

    @model_validator(mode="after")
    def _has_cells(self) -> Self:
        nx, ny = self._whole_cells()
        if nx < 1 or ny < 1:
            x0, x1, y0, y1 = self.extent
            raise ValueError(
                f"xres = {self.xres:g}, yres = {self.yres:g} leave no whole cell in "
                f"{x1 - x0:g} by {y1 - y0:g} (units of {self.projection}); make the cells smaller"
            )
        return self

    @property
    def is_longlat(self) -> bool:
        """Whether cells are counted in degrees of longitude and latitude."""
        return is_longlat_projection(self.projection)

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Edges ``(x0, x1, y0, y1)`` in units of the projection, ascending, before cutting to whole cells."""
        if self.is_longlat:
            return self.west, self.east, self.ymin, self.ymax
        return _projected_extent(self.projection, self.xmin, self.xmax, self.ymin, self.ymax)

    @property
    def nx(self) -> int:
        """Number of cells from west to east."""
        return self._whole_cells()[0]

    @property
    def ny(self) -> int:
        """Number of cells from south to north."""
        return self._whole_cells()[1]

    @property
    def shape(self) -> tuple[int, int]:
        """``(ny, nx)``."""
        nx, ny = self._whole_cells()
        return ny, nx

    @property
    def covered_extent(self) -> tuple[float, float, float, float]:
        """Edges ``(x0, x1, y0, y1)`` of the whole cells, in units of the projection."""
        x0, x1, y0, y1 = self.extent
        nx, ny = self._whole_cells()
        # exact edges when the cells fit, so that printed bounds equal the ones that were given
        x_end, y_end = x0 + nx * self.xres, y0 + ny * self.yres
        x_end = x1 if abs(x_end - x1) <= _CELL_FUZZ * self.xres else x_end
        y_end = y1 if abs(y_end - y1) <= _CELL_FUZZ * self.yres else y_end
        return x0, x_end, y0, y_end

    @property
    def is_whole(self) -> bool:
        """Whether the cells fill the bounds, with nothing cut off."""
        return self.covered_extent == self.extent

    def x_centers(self) -> np.ndarray:
        """
        Return the cell centres from west to east.

        Returns
        -------
        ndarray of float64, shape (nx,)
            Ascending and contiguous, in units of the projection.
        """
        import numpy as np

        return self.extent[0] + (np.arange(self.nx, dtype=np.float64) + 0.5) * self.xres

    def y_centers(self) -> np.ndarray:
        """
        Return the cell centres from south to north.

        Returns
        -------
        ndarray of float64, shape (ny,)
            Ascending, in units of the projection.
        """
        import numpy as np

        return self.extent[2] + (np.arange(self.ny, dtype=np.float64) + 0.5) * self.yres

    def crs(self) -> pyproj.CRS:
        """
        Return the coordinate reference system.

        Returns
        -------
        pyproj.CRS
            Of :attr:`projection`.
        """
        return crs_of(self.projection)

    def _whole_cells(self) -> tuple[int, int]:
        x0, x1, y0, y1 = self.extent
        return (
            math.floor((x1 - x0) / self.xres + _CELL_FUZZ),
            math.floor((y1 - y0) / self.yres + _CELL_FUZZ),
        )


@lru_cache(maxsize=64)
def is_longlat_projection(projection: str) -> bool:
    """
    Tell whether a projection counts in degrees of longitude and latitude.

    Parameters
    ----------
    projection : str
        PROJ string or EPSG code.

    Returns
    -------
    bool
    """
    if projection.upper() in _KNOWN_LONGLAT or _PROJ_LONGLAT.search(projection):
        return True
    return bool(crs_of(projection).is_geographic)


@lru_cache(maxsize=64)
def crs_of(projection: str) -> pyproj.CRS:
    """
    Return the coordinate reference system that a PROJ string or an EPSG code names.

    Parameters
    ----------
    projection : str
        PROJ string or EPSG code.

    Returns
    -------
    pyproj.CRS
    """
    import pyproj
    from pyproj.exceptions import CRSError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return pyproj.CRS.from_user_input(projection)
    except CRSError as error:
        raise ValueError(
            f"projection {projection!r} is neither a PROJ string nor an EPSG code that PROJ knows"
        ) from error


@lru_cache(maxsize=64)
def _projected_extent(
    projection: str, xmin: float, xmax: float, ymin: float, ymax: float
) -> tuple[float, float, float, float]:
    """Project the two corners, as STILT does, and sort each axis."""
    import pyproj

    transformer = pyproj.Transformer.from_crs("EPSG:4326", crs_of(projection), always_xy=True)
    x, y = transformer.transform((xmin, xmax), (ymin, ymax))
    if not all(math.isfinite(value) for value in (*x, *y)):
        raise ValueError(
            f"projection {projection!r} cannot place the corners ({xmin:g}, {ymin:g}) and "
            f"({xmax:g}, {ymax:g}); choose bounds inside its area of use"
        )
    return min(x), max(x), min(y), max(y)
