r"""
Sums of footprints over other cells: conservative regridding.

A footprint value belongs to a whole cell, so a target cell receives the share of each source cell that
lies in it:

.. math:: G_d = \sum_s \frac{|s \cap d|}{|s|} F_s

::

    target                          how                                          needs
    pair of axes, Grid, xarray      exact overlaps along each axis               -
    another projection              cells split into points, each handed over    -
    polygons                        exact share of each cell                     extra ``geometry``

Overlaps are those of the axes, in degrees or in units of the projection. What lies outside all targets is
left out; where targets cover everything the sum stays.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from stilt.errors import FootprintError, MissingExtraError
from stilt.footprint.axes import GridAxes
from stilt.spatial import LONGLAT, Grid, crs_of, is_longlat_projection

if TYPE_CHECKING:
    import pyproj

FloatArray = NDArray[np.float64]
AxisKind = Literal["centers", "edges"]

SUBCELLS = 10
"""Points along each side of a cell when it is handed to cells of another projection, at least."""

MOST_SUBCELLS = 64
"""Points along each side of a cell, at most, where it takes more to reach every cell of a finer target."""

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


class Regridder(ABC):
    """
    A linear map from the cells of a footprint to the cells of a target.

    Attributes
    ----------
    dims : tuple of str
        Dimensions of the target.
    shape : tuple of int
        Their sizes.
    coords : dict
        Coordinates of the target, as xarray takes them.
    projection : str
        Of the target.
    """

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    coords: Mapping[str, Any]
    projection: str

    @abstractmethod
    def apply(self, values: FloatArray) -> FloatArray:
        """
        Sum layers over the cells of the target.

        Parameters
        ----------
        values : ndarray, shape (n_layers, ny, nx)
            Footprint.

        Returns
        -------
        ndarray, shape (n_layers, *shape)
        """


class AxisRegridder(Regridder):
    """Exact overlaps along each axis, for cells in the same projection."""

    def __init__(self, source: CellAxes, target: CellAxes) -> None:
        self.dims, self.shape, self.projection = target.dims, target.shape, target.projection
        self.coords = rectangle_coords(target)
        self._x = overlap_shares(source.x, target.x, is_cyclic=source.is_longlat)
        self._y = overlap_shares(source.y, target.y, is_cyclic=False)

    def apply(self, values: FloatArray) -> FloatArray:
        """Sum layers over the cells of the target."""
        out = np.zeros((values.shape[0], *self.shape))
        for k, layer in enumerate(values):
            # the influence of an hour fills a part of the map
            rows, columns = np.flatnonzero(layer.any(axis=1)), np.flatnonzero(layer.any(axis=0))
            if rows.size:
                box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
                out[k] = self._y[:, box[0]] @ layer[box].astype(np.float64) @ self._x[:, box[1]].T
        return out


class SparseRegridder(Regridder):
    """Any cells: a list of source cell, target cell and share."""

    def __init__(
        self,
        source: NDArray[np.int64],
        target: NDArray[np.int64],
        share: FloatArray,
        dims: tuple[str, ...],
        shape: tuple[int, ...],
        coords: Mapping[str, Any],
        projection: str,
    ) -> None:
        self.dims, self.shape, self.coords, self.projection = dims, shape, coords, projection
        self._source, self._target, self._share = source, target, share

    def apply(self, values: FloatArray) -> FloatArray:
        """Sum layers over the cells of the target."""
        flat = values.reshape(values.shape[0], -1)
        size = int(np.prod(self.shape))
        out = np.empty((values.shape[0], size))
        for k, layer in enumerate(flat):
            out[k] = np.bincount(self._target, layer[self._source] * self._share, minlength=size)
        return out.reshape(values.shape[0], *self.shape)


def make_regridder(
    source: CellAxes, target: Any, *, axes: AxisKind = "centers", subcells: int = SUBCELLS
) -> Regridder:
    """
    Work out how a footprint is summed over a target.

    Parameters
    ----------
    source : CellAxes
        Cells of the footprint.
    target : pair of axes, Grid, xarray object, polygons, or None
        See :meth:`stilt.Footprint.aggregate`; None keeps the cells.
    axes : {"centers", "edges"}
        What the numbers of a pair of axes are.
    subcells : int
        Points along each side of a cell when the projections differ, at least; see
        :func:`reprojecting_regridder`.

    Returns
    -------
    Regridder
    """
    if target is None:
        return AxisRegridder(source, source)
    if isinstance(target, Grid):
        cells = CellAxes.of_grid(target)
    elif isinstance(target, CellAxes):
        cells = target
    elif isinstance(target, (xr.DataArray, xr.Dataset)):
        cells = CellAxes.of_array(target)
    elif is_geometry(target):
        return polygon_regridder(source, target)
    elif isinstance(target, (tuple, list)) and len(target) == 2:
        if axes not in ("centers", "edges"):
            raise FootprintError(f"axes = {axes!r} is unknown; use centers or edges.")
        cells = CellAxes.of_axes(target[0], target[1], kind=axes, projection=source.projection)
    else:
        raise FootprintError(
            f"a footprint cannot be summed over a {type(target).__name__}; give a pair of axes (x, "
            f"y), a Grid, an "
            "xarray object with lat and lon, or polygons."
        )
    if cells.is_longlat == source.is_longlat and (source.is_longlat or same_projection(cells, source)):
        return AxisRegridder(source, cells)
    return reprojecting_regridder(source, cells, subcells)


def overlap_shares(source: FloatArray, target: FloatArray, *, is_cyclic: bool) -> FloatArray:
    """
    Return which share of each source cell lies in each target cell, along one axis.

    Parameters
    ----------
    source, target : ndarray, shape (n, 2)
        Edges, low first.
    is_cyclic : bool
        Count longitudes modulo 360.

    Returns
    -------
    ndarray, shape (n_target, n_source)
    """
    width = source[:, 1] - source[:, 0]
    shares = np.zeros((len(target), len(source)))
    turns = (0.0,)
    if is_cyclic:
        low = np.floor((source.min() - target.max()) / 360.0)
        high = np.ceil((source.max() - target.min()) / 360.0)
        turns = tuple(360.0 * np.arange(low, high + 1))
    for turn in turns:
        low_edge = np.maximum(target[:, None, 0] + turn, source[None, :, 0])
        high_edge = np.minimum(target[:, None, 1] + turn, source[None, :, 1])
        shares += np.clip(high_edge - low_edge, 0.0, None) / width
    # cells that only touch by rounding are no neighbours
    shares[shares < 1e-9] = 0.0
    total = shares.sum(axis=0)
    whole = np.abs(total - 1.0) < 1e-7
    shares[:, whole] /= total[whole]
    return shares


def reprojecting_regridder(source: CellAxes, target: CellAxes, subcells: int) -> SparseRegridder:
    """
    Hand each cell over in equal points, projected to the target.

    Parameters
    ----------
    source, target : CellAxes
        Cells in different projections.
    subcells : int
        Points along each side of a source cell, at least. Rows of source cells that are wider than target
        cells take two for each target cell, up to :data:`MOST_SUBCELLS`, so that none is stepped over; a
        target that needs more is refused.

    Returns
    -------
    SparseRegridder
        Conserves the sum where the target covers; which target cell gets how much is known to about
        1 / subcells of a source cell.
    """
    import pyproj

    ny, nx = source.shape
    from_crs, to_crs = (crs_of(cells.projection) for cells in (source, target))
    transformer = pyproj.Transformer.from_crs(from_crs, to_crs, always_xy=True)
    points = _points_needed(source, target, transformer)
    typical = int(np.median(points))
    if typical > max(subcells, MOST_SUBCELLS):
        raise FootprintError(
            f"the cells of the target are {typical / 2:.0f} times finer than those of the footprint, so "
            f"points would miss some; pass subcells={typical}, or make the footprint on a finer grid."
        )
    origin, found = [], []
    for row in range(ny):  # one row of cells at a time bounds the memory
        n = max(subcells, min(int(points[row]), MOST_SUBCELLS))
        inside = (np.arange(n) + 0.5) / n
        x = (source.x[:, :1] + inside * np.diff(source.x, axis=1)).ravel()
        y = source.y[row, 0] + inside * (source.y[row, 1] - source.y[row, 0])
        px, py = np.meshgrid(x, y)
        tx, ty = (np.asarray(values) for values in transformer.transform(px.ravel(), py.ravel()))
        column = locate(tx, target.x, is_cyclic=target.is_longlat)
        line = locate(ty, target.y, is_cyclic=False)
        cell = row * nx + np.tile(np.arange(nx).repeat(n), n)
        good = (column >= 0) & (line >= 0)
        pair = (
            cell[good] * np.int64(len(target.x) * len(target.y)) + line[good] * len(target.x) + column[good]
        )
        known, count = np.unique(pair, return_counts=True)
        origin.append(known)
        found.append(count / n**2)
    pairs = np.concatenate(origin)
    size = np.int64(len(target.x) * len(target.y))
    return SparseRegridder(
        pairs // size,
        pairs % size,
        np.concatenate(found),
        target.dims,
        target.shape,
        rectangle_coords(target),
        target.projection,
    )


def _points_needed(source: CellAxes, target: CellAxes, transformer: pyproj.Transformer) -> NDArray[np.int64]:
    """Return for each row of source cells how many points along a side leave no target cell out."""
    x, y = np.append(source.x[:, 0], source.x[-1, 1]), np.append(source.y[:, 0], source.y[-1, 1])
    if source.x[0, 0] > source.x[-1, 0]:
        x = np.append(source.x[:, 1], source.x[-1, 0])
    if source.y[0, 0] > source.y[-1, 0]:
        y = np.append(source.y[:, 1], source.y[-1, 0])
    tx, ty = (np.asarray(values) for values in transformer.transform(*np.meshgrid(x, y)))
    needed = np.zeros(len(source.y))
    with np.errstate(invalid="ignore"):
        for values, cells, is_cyclic in ((tx, target.x, target.is_longlat), (ty, target.y, False)):
            finest = np.diff(cells, axis=1).min()
            along, across = np.diff(values, axis=1), np.diff(values, axis=0)
            if is_cyclic:
                along, across = (step - 360.0 * np.round(step / 360.0) for step in (along, across))
            along, across = (np.where(np.isfinite(step), np.abs(step), 0.0) for step in (along, across))
            # a side of a row is shared with the next one
            widest = np.maximum(along.max(axis=1)[:-1], along.max(axis=1)[1:])
            needed = np.maximum(needed, np.maximum(widest, across.max(axis=1)) / finest)
    # a cell of about the size of the target's is no finer target
    return np.where(needed > 1.5, np.ceil(2.0 * needed), 1.0).clip(max=1e9).astype(np.int64)


def locate(values: FloatArray, cells: FloatArray, *, is_cyclic: bool) -> NDArray[np.int64]:
    """Return the cell each value lies in, -1 for none; the low edge belongs to the cell."""
    if is_cyclic:
        values = np.mod(values - cells.min(), 360.0) + cells.min()
    order = np.argsort(cells[:, 0])
    with np.errstate(invalid="ignore"):
        at = np.searchsorted(cells[order, 0], values, side="right") - 1
        inside = (at >= 0) & (values < cells[order, 1][np.maximum(at, 0)])
    return np.where(inside, order[np.maximum(at, 0)], -1)


def is_geometry(target: Any) -> bool:
    """Whether a target is made of polygons: a GeoDataFrame, a GeoSeries, one geometry or several."""
    if hasattr(target, "geom_type") or hasattr(target, "__geo_interface__"):
        return True
    return (
        isinstance(target, Sequence)
        and len(target) > 0
        and all(hasattr(item, "geom_type") for item in target)
    )


def polygon_regridder(source: CellAxes, target: Any) -> SparseRegridder:
    """
    Work out the exact share of each cell that lies in each polygon.

    Parameters
    ----------
    source : CellAxes
        Evenly spaced cells.
    target : GeoDataFrame, GeoSeries, geometry or sequence of geometries
        Without a coordinate reference system they are taken as degrees.

    Returns
    -------
    SparseRegridder
        One value for each polygon, named ``zone`` after the index. Overlapping polygons count twice.
    """
    try:
        import exactextract
        import geopandas
        from exactextract.raster import NumPyRasterSource
    except ImportError as error:
        raise MissingExtraError(
            f"summing over polygons needs {error.name}; install it with: pip install 'pystilt[geometry]'."
        ) from error
    if isinstance(target, geopandas.GeoDataFrame):
        zones = target.geometry
    elif isinstance(target, geopandas.GeoSeries):
        zones = target
    else:
        zones = geopandas.GeoSeries([target] if hasattr(target, "geom_type") else list(target))
    if zones.crs is None:
        zones = zones.set_crs("EPSG:4326")
    crs = crs_of(source.projection)
    zones = zones.to_crs("EPSG:4326" if source.is_longlat else crs)
    frame = geopandas.GeoDataFrame(
        {"number": np.arange(len(zones))}, geometry=zones.to_numpy(), crs=zones.crs
    )
    ny, nx = source.shape
    raster = np.zeros((ny, nx))
    cells, numbers, shares = [], [], []
    west, east = source.x.min(), source.x.max()
    south, north = source.y.min(), source.y.max()
    for turn in (-360.0, 0.0, 360.0) if source.is_longlat else (0.0,):
        low, _, high, _ = frame.total_bounds
        if len(frame) == 0 or high < west + turn or low > east + turn:
            continue
        picture = NumPyRasterSource(
            raster, west + turn, south, east + turn, north, srs_wkt=zones.crs.to_wkt()
        )
        found = exactextract.exact_extract(
            picture, frame, ["cell_id", "coverage"], include_cols=["number"], output="pandas"
        )
        for number, cell, share in zip(found["number"], found["cell_id"], found["coverage"], strict=True):
            cell = np.asarray(cell, dtype=np.int64)
            # rows of the picture go from north to south
            cells.append((ny - 1 - cell // nx) * nx + cell % nx)
            shares.append(np.asarray(share, dtype=np.float64))
            numbers.append(np.full(cell.size, number, dtype=np.int64))
    nothing = np.empty(0, dtype=np.int64)
    return SparseRegridder(
        np.concatenate([nothing, *cells]),
        np.concatenate([nothing, *numbers]),
        np.concatenate([np.empty(0), *shares]),
        ("zone",),
        (len(zones),),
        {"zone": ("zone", zones.index.to_numpy())},
        source.projection,
    )


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
