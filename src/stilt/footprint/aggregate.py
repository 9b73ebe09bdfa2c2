"""
Footprints summed over other cells and other intervals, as labelled arrays that can be summed again.

The sum is what is conserved: a footprint times a flux that is even within the target cells gives the same
enhancement before and after.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from stilt.errors import FootprintError
from stilt.footprint.cells import AxisKind, CellAxes
from stilt.footprint.regrid import make_regridder
from stilt.footprint.regridders import Regridder
from stilt.footprint.reproject import SUBCELLS
from stilt.footprint.time_bins import TimeBins

if TYPE_CHECKING:
    from stilt.footprint.product import Footprint

INTEGRATED = "time_integrate"
"""Attribute of arrays whose layers hold a whole run."""


def aggregate_footprint(
    footprint: Footprint,
    target: Any = None,
    time_bins: Any = None,
    *,
    axes: AxisKind = "centers",
    subcells: int = SUBCELLS,
) -> xr.DataArray:
    """
    Sum a footprint over cells and intervals; see :meth:`stilt.Footprint.aggregate`.

    Parameters
    ----------
    footprint : Footprint
        What to sum.
    target, time_bins, axes, subcells
        As there.

    Returns
    -------
    DataArray
    """
    regridder = make_regridder(CellAxes.of_grid(footprint.grid), target, axes=axes, subcells=subcells)
    data = footprint.data.assign_attrs({INTEGRATED: 1}) if footprint.time_integrate else footprint.data
    return sum_over(data, footprint.intervals, regridder, time_bins)


def aggregate_array(
    data: xr.DataArray,
    target: Any = None,
    time_bins: Any = None,
    *,
    axes: AxisKind = "centers",
    subcells: int = SUBCELLS,
) -> xr.DataArray:
    """
    Sum a labelled array over cells and intervals, such as one that was summed before.

    Parameters
    ----------
    data : DataArray
        ``(time, lat, lon)`` or ``(time, y, x)`` with what :meth:`stilt.Footprint.aggregate` returns: edges in
        ``*_lower`` and ``*_upper`` where cells are uneven, ``time_end`` for intervals.
    target, time_bins, axes, subcells
        As there.

    Returns
    -------
    DataArray
    """
    if "time_end" not in data.coords:
        raise FootprintError("the array has no coordinate time_end, so its intervals are not known.")
    cells = CellAxes.of_array(data)
    intervals = np.stack([data["time"].to_numpy(), data["time_end"].to_numpy()], axis=1)
    return sum_over(data, intervals, make_regridder(cells, target, axes=axes, subcells=subcells), time_bins)


def sum_over(
    data: xr.DataArray, intervals: NDArray[np.datetime64], regridder: Regridder, time_bins: Any = None
) -> xr.DataArray:
    """
    Sum layers over intervals and cells.

    Parameters
    ----------
    data : DataArray, shape (n_layers, ny, nx)
        What to sum.
    intervals : ndarray of datetime64, shape (n_layers, 2)
        Start and end of each layer [UTC].
    regridder : Regridder
        Which cell gets how much.
    time_bins : optional
        As :class:`TimeBins` reads them; none keeps the layers.

    Returns
    -------
    DataArray
        ``time`` is the start of each interval, ``time_end`` its end; attributes are kept. Layers of an array
        with the attribute ``time_integrate`` are not split: that is an error.
    """
    values = data.to_numpy()
    labels, ends = intervals[:, 0], intervals[:, 1]
    if time_bins is not None:
        bins = TimeBins.of(time_bins, intervals)
        shares = bins.shares(intervals, is_whole=bool(data.attrs.get(INTEGRATED)))
        values = np.tensordot(shares, values, axes=(1, 0))
        labels, ends = bins.starts, bins.ends
    return xr.DataArray(
        regridder.apply(values),
        dims=("time", *regridder.dims),
        coords={"time": labels, "time_end": ("time", ends), **regridder.coords},
        name=data.name,
        attrs={**data.attrs, "projection": regridder.projection},
    )
