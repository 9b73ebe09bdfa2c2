"""
Where places are on a map, what part of it to show, and how large to print it.

A map is in degrees, or in kilometres of a projection; both need matplotlib only. Axes of
cartopy have their own coordinates, which are translated here.
"""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes

from stilt.constants import EARTH_RADIUS_KM
from stilt.errors import ConfigError
from stilt.spatial import LONGLAT, Grid
from stilt.visualization import style
from stilt.visualization.coastlines import FloatArray, View

if TYPE_CHECKING:
    import pyproj

KM_PER_DEGREE = EARTH_RADIUS_KM * math.pi / 180.0


@dataclass(frozen=True)
class MapPlane:
    """
    Where places are on a map.

    Parameters
    ----------
    projection : str
        PROJ string or EPSG code; degrees by default.
    center_lon : float
        Longitudes are counted from 180 degrees west of here [degrees_east]; for maps in degrees.
    per_unit : float
        Map units in a metre: 0.001 for axes in kilometres. For projected maps.
    """

    projection: str = LONGLAT
    center_lon: float = 0.0
    per_unit: float = 0.001

    @classmethod
    def of_grid(cls, grid: Grid) -> MapPlane:
        """Return the plane in which the cells of a grid are rectangles."""
        if grid.is_longlat:
            x0, x1, _, _ = grid.covered_extent
            return cls(center_lon=0.5 * (x0 + x1))
        return cls(projection=grid.projection)

    @cached_property
    def is_longlat(self) -> bool:
        """Whether the map is in degrees."""
        return bool(_crs(self.projection).is_geographic)

    def project(self, lon: Any, lat: Any) -> tuple[FloatArray, FloatArray]:
        """
        Return positions on the map.

        Parameters
        ----------
        lon, lat : array-like
            Positions [degrees].

        Returns
        -------
        x, y : ndarray
            [degrees, or the map's units]; not finite where the projection has no answer.
        """
        lon, lat = np.asarray(lon, dtype=float), np.asarray(lat, dtype=float)
        if self.is_longlat:
            low = self.center_lon - 180.0
            return (lon - low) % 360.0 + low, lat
        x, y = self._transformer.transform(lon, lat)
        return np.asarray(x) * self.units_per_native, np.asarray(y) * self.units_per_native

    def locate(self, x: Any, y: Any) -> tuple[FloatArray, FloatArray]:
        """Return longitude and latitude [degrees] of positions on the map."""
        x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
        if self.is_longlat:
            return x, y
        lon, lat = self._transformer.transform(
            x / self.units_per_native, y / self.units_per_native, direction="INVERSE"
        )
        return np.asarray(lon), np.asarray(lat)

    @cached_property
    def units_per_native(self) -> float:
        """Factor from units of the projection, as a grid has them, to those of the map."""
        if self.is_longlat:
            return 1.0
        axes = _crs(self.projection).axis_info
        metres = axes[0].unit_conversion_factor if axes else 1.0
        return (metres or 1.0) * self.per_unit

    @cached_property
    def _transformer(self) -> pyproj.Transformer:
        import pyproj

        return pyproj.Transformer.from_crs("EPSG:4326", _crs(self.projection), always_xy=True)

    def km_per_unit(self, x: float, y: float) -> float:
        """Return the length of one map unit along x [km]."""
        if self.is_longlat:
            return KM_PER_DEGREE * max(math.cos(math.radians(y)), 1e-3)
        return 0.001 / self.per_unit

    def aspect(self, view: View) -> float:
        """Return the ratio of one unit of y to one of x on the screen."""
        if not self.is_longlat:
            return 1.0
        if view[1] - view[0] >= 180.0:
            return 1.0
        return 1.0 / math.cos(math.radians(min(abs(0.5 * (view[2] + view[3])), 75.0)))


@lru_cache(maxsize=32)
def _crs(projection: str) -> pyproj.CRS:
    import pyproj
    from pyproj.exceptions import CRSError

    try:
        return pyproj.CRS.from_user_input(projection)
    except CRSError as error:
        raise ConfigError(
            f"projection {projection!r} is neither a PROJ string nor an EPSG code that PROJ knows; change it."
        ) from error


# --- cartopy ----------------------------------------------------------------------------------------


def is_geo_axes(ax: Any) -> bool:
    """Whether axes are cartopy's."""
    return type(ax).__module__.startswith("cartopy.") or (
        hasattr(ax, "projection") and hasattr(ax, "set_extent")
    )


def coordinates_of(ax: Any, plane: MapPlane) -> dict[str, Any]:
    """Return what drawing functions need to be told about coordinates: nothing, except for cartopy."""
    if not is_geo_axes(ax):
        return {}
    crs = importlib.import_module("cartopy.crs")

    return {"transform": crs.PlateCarree() if plane.is_longlat else crs.Projection(_crs(plane.projection))}


def plane_for(ax: Any, plane: MapPlane) -> MapPlane:
    """Return the plane in the units that axes need: cartopy works in metres."""
    if is_geo_axes(ax) and not plane.is_longlat:
        return MapPlane(plane.projection, plane.center_lon, per_unit=1.0)
    return plane


# --- views ------------------------------------------------------------------------------------------


def view_around(
    x: FloatArray, y: FloatArray, plane: MapPlane, *, pad: float = 0.06, at_least: float = 1.0
) -> View:
    """
    Return a box around positions that makes a map of sensible shape.

    Parameters
    ----------
    x, y : ndarray
        Positions on the map.
    plane : MapPlane
        The map.
    pad : float
        Margin as a share of the longer side.
    at_least : float
        Smallest width and height [km].
    """
    finite = np.isfinite(x) & np.isfinite(y)
    x0, x1, y0, y1 = x[finite].min(), x[finite].max(), y[finite].min(), y[finite].max()
    return shaped((float(x0), float(x1), float(y0), float(y1)), plane, pad=pad, at_least=at_least)


def shaped(
    view: View,
    plane: MapPlane,
    *,
    pad: float = 0.06,
    at_least: float = 1.0,
    within: View | None = None,
    flattest: float = 1.9,
) -> View:
    """Pad a box and widen its short side, without leaving another box unless that is smaller still."""
    x0, x1, y0, y1 = view
    km_x = plane.km_per_unit(0.5 * (x0 + x1), 0.5 * (y0 + y1))
    km_y = KM_PER_DEGREE if plane.is_longlat else km_x
    width, height = (x1 - x0) * km_x, (y1 - y0) * km_y
    margin = pad * max(width, height)
    width, height = max(width + 2 * margin, at_least), max(height + 2 * margin, at_least)
    width, height = max(width, height / flattest * 1.2), max(height, width / flattest)
    x0, x1 = _side(0.5 * (x0 + x1), width / km_x, None if within is None else within[:2])
    y0, y1 = _side(0.5 * (y0 + y1), height / km_y, None if within is None else within[2:])
    if plane.is_longlat:
        if x1 - x0 > 360.0:
            x0, x1 = plane.center_lon - 180.0, plane.center_lon + 180.0
        y0, y1 = max(y0, -90.0), min(y1, 90.0)
    return x0, x1, y0, y1


def _side(middle: float, length: float, within: tuple[float, float] | None) -> tuple[float, float]:
    low, high = middle - 0.5 * length, middle + 0.5 * length
    if within is None:
        return low, high
    if length >= within[1] - within[0]:
        return within
    shift = max(within[0] - low, 0.0) - max(high - within[1], 0.0)
    return low + shift, high + shift


def new_map(view: View, plane: MapPlane, *, colorbar: bool = True, longest: float = 4.9) -> Axes:
    """
    Return axes of a new figure that fit a map exactly.

    Parameters
    ----------
    view : (x0, x1, y0, y1)
        The map.
    plane : MapPlane
        Its projection.
    colorbar : bool
        Leave room for one at the right.
    longest : float
        Longer side of the map [inches].

    Returns
    -------
    Axes
    """
    shape = shape_of(view, plane)
    width, height = (longest, longest * shape) if shape < 1.0 else (longest / shape, longest)
    left, bottom = margins(plane)
    right = 1.2 if colorbar else 0.3
    # a narrow map leaves room for its title
    figure = style.new_figure(max(left + width + right, 5.6), bottom + height + 0.6)
    return style.add_axes(figure, left, bottom, width, height)


def margins(plane: MapPlane) -> tuple[float, float]:
    """Return the room that ticks and their labels take at the left and below [inches]."""
    return (0.75, 0.35) if plane.is_longlat else (0.75, 0.55)


def shape_of(view: View, plane: MapPlane) -> float:
    """Return the height of a map as a share of its width, on the screen."""
    return plane.aspect(view) * (view[3] - view[2]) / (view[1] - view[0])
