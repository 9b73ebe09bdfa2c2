"""Exact shares of footprint cells in polygons (extra ``geometry``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from stilt.errors import MissingExtraError
from stilt.footprint.cells import CellAxes
from stilt.footprint.regridders import SparseRegridder
from stilt.spatial import crs_of


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
