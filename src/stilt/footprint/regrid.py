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

from typing import Any

import xarray as xr

from stilt.errors import FootprintError
from stilt.footprint.cells import AxisKind, CellAxes, same_projection
from stilt.footprint.polygons import is_geometry, polygon_regridder
from stilt.footprint.regridders import AxisRegridder, Regridder
from stilt.footprint.reproject import SUBCELLS, reprojecting_regridder
from stilt.spatial import Grid


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
