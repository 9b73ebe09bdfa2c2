"""
The cells of a map as their edges: those of a grid, of a pair of axes, of an xarray object.

What a footprint is summed over, and what fluxes are given on, comes with axes in many forms: ascending or
descending, centres or edges, longitudes from 0 or from -180, a projection named in one of several ways.
Here all become :class:`CellAxes`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from stilt.errors import FootprintError
from stilt.footprint.axes import GridAxes
from stilt.spatial import LONGLAT, Grid, crs_of, is_longlat_projection

FloatArray = NDArray[np.float64]
AxisKind = Literal["centers", "edges"]

LON_NAMES = ("lon", "longitude", "long", "x")
LAT_NAMES = ("lat", "latitude", "lati", "y")


@dataclass(frozen=True, eq=False)
class CellAxes:
    """
    Rectangular cells: their edges along x and y.

    Attributes
    ----------
    x, y : ndarray, shape (nx, 2) and (ny, 2)
        Edges of the cells in the order of the axis; each cell low edge first [degrees, or units of the
        projection].
    x_centers, y_centers : ndarray, shape (nx,) and (ny,)
        Labels.
    projection : str
        Of the axes.
    """

    x: FloatArray
    y: FloatArray
    x_centers: FloatArray
    y_centers: FloatArray
    projection: str

    @property
    def is_longlat(self) -> bool:
        """Whether the axes are degrees."""
        return is_longlat_projection(self.projection)

    @property
    def dims(self) -> tuple[str, str]:
        """Names of the dimensions, y first."""
        return ("lat", "lon") if self.is_longlat else ("y", "x")

    @property
    def shape(self) -> tuple[int, int]:
        """``(ny, nx)``."""
        return len(self.y), len(self.x)

    @classmethod
    def of_grid(cls, grid: Grid) -> CellAxes:
        """Return the whole cells of a grid."""
        axes = GridAxes.of(grid, warn=False)
        x = axes.west + np.arange(axes.nx + 1) * grid.xres
        y = axes.south + np.arange(axes.ny + 1) * grid.yres
        return cls(_pairs(x), _pairs(y), axes.x_centers(), axes.y_centers(), grid.projection)

    @classmethod
    def of_axes(
        cls,
        x: Any,
        y: Any,
        *,
        kind: AxisKind = "centers",
        projection: str = LONGLAT,
        bounds: tuple[FloatArray | None, FloatArray | None] = (None, None),
    ) -> CellAxes:
        """
        Build cells from one-dimensional axes.

        Parameters
        ----------
        x, y : sequence of float
            Ascending or descending; longitudes may jump by a turn.
        kind : {"centers", "edges"}
            What the numbers are. Edges between centres lie in the middle.
        projection : str
            Of the axes.
        bounds : pair of arrays, shape (n, 2)
            Edges of the cells where they are known.

        Returns
        -------
        CellAxes
        """
        is_longlat = is_longlat_projection(projection)
        xs, ys = (np.asarray(axis, dtype=np.float64) for axis in (x, y))
        for name, axis in (("x", xs), ("y", ys)):
            if axis.ndim != 1 or axis.size < (2 if kind == "edges" else 1) or not np.isfinite(axis).all():
                raise FootprintError(f"the {name} axis of the target is no list of {kind}.")
        if is_longlat:
            xs = np.unwrap(xs, period=360.0)
        pairs, centers = [], []
        for name, axis, known in (("x", xs, bounds[0]), ("y", ys, bounds[1])):
            step = np.diff(axis)
            if axis.size > 1 and not ((step > 0).all() or (step < 0).all()):
                raise FootprintError(f"the {name} axis of the target neither ascends nor descends.")
            if known is not None:
                edges = np.sort(np.asarray(known, dtype=np.float64), axis=1)
                if name == "x" and is_longlat:  # follow the unwrapped centres
                    edges = edges + 360.0 * np.round((axis - edges.mean(axis=1)) / 360.0)[:, None]
                middle = axis
            elif kind == "edges":
                edges, middle = _pairs(axis), (axis[:-1] + axis[1:]) / 2.0
            elif axis.size == 1:
                raise FootprintError(
                    f"the {name} axis of the target has one centre, which says nothing of its width; "
                    f"give edges "
                    "(axes='edges') or bounds."
                )
            else:
                inner = (axis[:-1] + axis[1:]) / 2.0
                edges = _pairs(np.concatenate([[2 * axis[0] - inner[0]], inner, [2 * axis[-1] - inner[-1]]]))
                middle = axis
            if name == "y" and is_longlat:
                edges = np.clip(edges, -90.0, 90.0)
            pairs.append(edges)
            centers.append(middle)
        if is_longlat and pairs[0].max() - pairs[0].min() > 360.0 * (1.0 + 1e-9):
            raise FootprintError(
                "the longitudes of the target span more than a turn, so cells would count twice."
            )
        labels = np.asarray(x, dtype=np.float64) if kind == "centers" else centers[0]
        return cls(pairs[0], pairs[1], labels, centers[1], projection)

    @classmethod
    def of_array(cls, data: xr.DataArray | xr.Dataset, projection: str | None = None) -> CellAxes:
        """
        Take the cells of an xarray object with one-dimensional coordinates.

        Parameters
        ----------
        data : DataArray or Dataset
            Coordinates named ``lon``/``longitude`` and ``lat``/``latitude``, or ``x`` and ``y``. Edges are
            taken from ``*_lower`` and ``*_upper`` coordinates or CF bounds where they are there, else from
            the middle between centres.
        projection : str, optional
            Of ``x`` and ``y``; taken from the attribute ``projection`` or a CF grid mapping otherwise.

        Returns
        -------
        CellAxes
        """
        x_name, y_name = axis_names(data)
        x, y = data[x_name], data[y_name]
        if x.ndim != 1 or y.ndim != 1:
            raise FootprintError(f"coordinates {x_name} and {y_name} of the target are not one-dimensional.")
        if x_name == "x":
            projection = projection or named_projection(data)
            if projection is None:
                raise FootprintError("the target has axes x and y but no attribute projection; set it.")
        else:
            projection = LONGLAT
        bounds = (_known_edges(data, x_name), _known_edges(data, y_name))
        return cls.of_axes(x.to_numpy(), y.to_numpy(), projection=projection, bounds=bounds)


def rectangle_coords(cells: CellAxes) -> dict[str, Any]:
    """Return centres and edges of rectangular cells as coordinates, so that they can be summed again."""
    y, x = cells.dims
    return {
        y: (y, cells.y_centers),
        x: (x, cells.x_centers),
        f"{y}_lower": (y, cells.y[:, 0]),
        f"{y}_upper": (y, cells.y[:, 1]),
        f"{x}_lower": (x, cells.x[:, 0]),
        f"{x}_upper": (x, cells.x[:, 1]),
    }


def axis_names(data: xr.DataArray | xr.Dataset) -> tuple[str, str]:
    """
    Return the names of the coordinates along x and y: longitude and latitude first.

    Positions of every cell, as two-dimensional ``lat`` and ``lon`` beside ``x`` and ``y``, are no axes.
    """
    names = []
    for wanted in (LON_NAMES, LAT_NAMES):
        present = [name for name in wanted if name in data.coords]
        found = [name for name in present if data[name].ndim == 1] or present
        if not found:
            held = ", ".join(map(str, data.coords)) or "none"
            raise FootprintError(
                f"coordinates {' or '.join(wanted)} are missing (there are: {held}); rename yours."
            )
        names.append(found[0])
    return names[0], names[1]


def named_projection(data: xr.DataArray | xr.Dataset) -> str | None:
    """
    Return the projection an xarray object says its axes are in.

    Parameters
    ----------
    data : DataArray or Dataset
        With the attribute ``projection``, or a CF grid mapping: a variable named by ``grid_mapping`` (or
        called ``crs`` or ``spatial_ref``) with ``crs_wkt`` or the parameters of the mapping.

    Returns
    -------
    str or None
        What pyproj reads; None where nothing is said.
    """
    said = data.attrs.get("projection")
    if said is not None:
        return str(said)
    name = data.attrs.get("grid_mapping") or data.encoding.get("grid_mapping")
    for candidate in (name, "spatial_ref", "crs"):
        if candidate is None or candidate not in data.coords:
            continue
        facts = data[candidate].attrs
        for key in ("crs_wkt", "spatial_ref"):
            if facts.get(key):
                return str(facts[key])
        if facts.get("grid_mapping_name"):
            import pyproj

            return str(pyproj.CRS.from_cf(facts).to_wkt())
    return None


def check_projection(data: xr.DataArray | xr.Dataset, ours: CellAxes, *, what: str) -> None:
    """
    Refuse an xarray object that names another projection than that of our cells.

    Parameters
    ----------
    data : DataArray or Dataset
        What says it; one that says nothing passes.
    ours : CellAxes
        Cells it is to be matched with.
    what : str
        Whose cells these are, for the message.

    Notes
    -----
    There are many ways to write a projection, so two are the same when the corners of the cells agree to
    a hundredth of a cell. Of degrees the datum is not asked for.
    """
    said = named_projection(data)
    if said is None or said == ours.projection:
        return
    try:
        theirs = crs_of(said)
    except ValueError as error:
        raise FootprintError(f"the projection of the flux cannot be read: {error}") from error
    if is_plain_degrees(said):
        if ours.is_longlat:
            return
    elif not ours.is_longlat:
        import pyproj

        x, y = np.meshgrid([ours.x.min(), ours.x.max()], [ours.y.min(), ours.y.max()])
        transformer = pyproj.Transformer.from_crs(crs_of(ours.projection), theirs, always_xy=True)
        tx, ty = transformer.transform(x, y)
        cell = min(np.diff(ours.x, axis=1).min(), np.diff(ours.y, axis=1).min())
        if max(np.abs(tx - x).max(), np.abs(ty - y).max()) < 0.01 * cell:
            return
    raise FootprintError(
        f"the flux is in projection {theirs.name or said!r} and the {what} in {ours.projection!r}; use "
        "regrid='conservative' or sum over the cells of the flux, or correct what the flux says of itself."
    )


def is_plain_degrees(projection: str) -> bool:
    """Whether axes are longitudes and latitudes, the pole where it belongs."""
    return is_longlat_projection(projection) and not crs_of(projection).is_derived


def same_projection(one: CellAxes, other: CellAxes) -> bool:
    """Whether two projections are the same."""
    if one.projection == other.projection:
        return True
    return bool(crs_of(one.projection).equals(crs_of(other.projection), ignore_axis_order=True))


def _known_edges(data: xr.DataArray | xr.Dataset, name: str) -> FloatArray | None:
    if f"{name}_lower" in data.coords and f"{name}_upper" in data.coords:
        return np.stack([data[f"{name}_lower"].to_numpy(), data[f"{name}_upper"].to_numpy()], axis=1)
    bounds = data[name].attrs.get("bounds", f"{name}_bnds")
    known = data[bounds] if isinstance(data, xr.Dataset) and bounds in data else None
    return None if known is None or known.ndim != 2 else known.to_numpy()


def _pairs(edges: NDArray[Any]) -> FloatArray:
    return np.sort(np.stack([edges[:-1], edges[1:]], axis=1), axis=1)
