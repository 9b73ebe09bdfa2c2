"""
Many footprints as one sparse matrix: what flux inversions call H.

Rows are observations (simulation ids), columns are (time bin, cell) with time outermost and cells in the
order of their axes, so that ``H @ x`` of a flux vector ordered the same way is the vector of enhancements
[ppm]. The matrix is held as the three arrays of compressed sparse rows and turns into what other packages
take.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from stilt.errors import FootprintError, MissingExtraError
from stilt.footprint.cells import AxisKind, CellAxes, axis_names
from stilt.footprint.enhancement import flux_factor, flux_intervals, match_axes
from stilt.footprint.product import Footprint
from stilt.footprint.regrid import make_regridder
from stilt.footprint.regridders import Regridder
from stilt.footprint.reproject import SUBCELLS
from stilt.footprint.time_bins import TimeBins, bin_length, is_length
from stilt.spatial import LONGLAT, Grid

if TYPE_CHECKING:
    import scipy.sparse

FloatArray = NDArray[np.float64]

HOUR = "1h"
"""Time bins where none are asked for."""

_DENSE_LIMIT = 2e8
"""Numbers a dense table may hold."""

_EPOCH = np.datetime64(0, "ns")


@dataclass(frozen=True, eq=False)
class Jacobian:
    """
    Sensitivity of observations to fluxes, as a labelled sparse matrix.

    Attributes
    ----------
    indptr : ndarray of int64, shape (n_obs + 1,)
        Where each row begins.
    indices : ndarray of int64, shape (n_nonzero,)
        Column of each number.
    data : ndarray, shape (n_nonzero,)
        Numbers [ppm m2 s umol-1].
    obs : list of str
        Simulation ids.
    starts, ends : ndarray of datetime64[ns], shape (n_times,)
        Time bins [UTC].
    dims : tuple of str
        Dimensions of the cells: ``lat lon``, ``y x`` or ``zone``.
    shape_of_cells : tuple of int
        Their sizes.
    coords : dict
        Coordinates of the cells, as xarray takes them.
    attrs : dict
        ``units``, ``projection`` and the name of the footprint.
    """

    indptr: NDArray[np.int64]
    indices: NDArray[np.int64]
    data: FloatArray
    obs: list[str]
    starts: NDArray[np.datetime64]
    ends: NDArray[np.datetime64]
    dims: tuple[str, ...]
    shape_of_cells: tuple[int, ...]
    coords: Mapping[str, Any]
    attrs: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Say how large it is and how full."""
        n_obs, n_columns = self.shape
        return f"<Jacobian: {n_obs} observations x {n_columns} (time, cell), {self.data.size} not zero>"

    @property
    def shape(self) -> tuple[int, int]:
        """Number of observations, and of times multiplied with cells."""
        return len(self.obs), self.starts.size * int(np.prod(self.shape_of_cells))

    @property
    def rows(self) -> pd.Index:
        """Labels of the rows, named ``obs``."""
        return pd.Index(self.obs, name="obs", dtype=object)

    @property
    def columns(self) -> pd.MultiIndex:
        """Labels of the columns: ``(time, lat, lon)``, ``(time, y, x)`` or ``(time, zone)``."""
        return pd.MultiIndex.from_product(
            [pd.DatetimeIndex(self.starts), *(self.coords[name][1] for name in self.dims)],
            names=["time", *self.dims],
        )

    def dot(self, flux: Any, *, time: Literal["mean"] | None = None) -> pd.Series:
        """
        Multiply with fluxes: the enhancement of each observation.

        Parameters
        ----------
        flux : array-like or DataArray
            Numbers in the order of :attr:`columns` [umol m-2 s-1], flat or shaped (n_times, ...cells); an
            array of the cells alone counts for all times. A DataArray needs ``units`` and these cells
            (longitudes may count from 0 or from -180, and there may be more cells); where it has ``time``,
            its intervals have to be the time bins.
        time : {"mean"}, optional
            Take the mean of a DataArray over each time bin, which is right where either influence or flux
            are even within it: a daily bin then loses what a flux has of a daily cycle.

        Returns
        -------
        Series
            Mole fraction by observation [ppm].
        """
        if time not in (None, "mean"):
            raise FootprintError(f"time = {time!r} is unknown; use 'mean', or None for the same intervals.")
        if isinstance(flux, xr.DataArray):
            values = self._fluxes(flux, is_mean=time == "mean")
        else:
            values = np.asarray(flux, dtype=np.float64)
        if values.shape == self.shape_of_cells:
            values = np.broadcast_to(values, (self.starts.size, *self.shape_of_cells))
        if values.size != self.shape[1]:
            raise FootprintError(
                f"the flux holds {values.size} numbers and the Jacobian has {self.shape[1]} columns."
            )
        used = values.reshape(-1)[self.indices]
        if not np.isfinite(used).all():
            raise FootprintError("the flux is not known in some cells that observations see; fill it there.")
        row = np.repeat(np.arange(len(self.obs)), np.diff(self.indptr))
        return pd.Series(
            np.bincount(row, self.data * used, minlength=len(self.obs)), index=self.rows, name="enhancement"
        )

    @property
    def cells(self) -> CellAxes:
        """Cells of the columns, where they are rectangles."""
        y, x = self.dims
        bounds = [
            np.stack([self.coords[f"{name}_lower"][1], self.coords[f"{name}_upper"][1]], axis=1)
            if f"{name}_lower" in self.coords
            else None
            for name in (x, y)
        ]
        projection = str(self.attrs.get("projection") or LONGLAT)
        return CellAxes.of_axes(
            self.coords[x][1], self.coords[y][1], projection=projection, bounds=(bounds[0], bounds[1])
        )

    def _fluxes(self, flux: xr.DataArray, *, is_mean: bool) -> FloatArray:
        """Put a labelled flux in the order of the columns; NaN where it is not known."""
        factor = flux_factor(flux)
        names = ("zone",) if self.dims == ("zone",) else axis_names(flux)[::-1]
        extra = [str(name) for name in flux.dims if name not in (*names, "time")]
        if extra or not set(names) <= set(flux.dims):
            held = ", ".join(map(str, flux.dims))
            raise FootprintError(
                f"the flux has dimensions {held}; it needs {', '.join(self.dims)}, and time where it changes."
            )
        has_time = "time" in flux.dims
        flux = flux.transpose("time", *names) if has_time else flux.transpose(*names)
        if names == ("zone",):
            values = flux.reindex(zone=self.coords["zone"][1]).to_numpy().astype(np.float64)
        else:
            columns, rows = match_axes(flux, self.cells)
            is_held = (columns >= 0)[None, :] & (rows >= 0)[:, None]
            chosen = flux.to_numpy()[..., rows[:, None].clip(0), columns[None, :].clip(0)]
            values = np.where(is_held, chosen.astype(np.float64), np.nan)
        return (self._on_bins(flux, values, is_mean=is_mean) if has_time else values) * factor

    def _on_bins(self, flux: xr.DataArray, values: FloatArray, *, is_mean: bool) -> FloatArray:
        """Choose the time of a flux that is each time bin, or take the mean of those within it."""
        if not self.starts.size:
            return values[:0]
        theirs = flux_intervals(flux)
        ours = np.stack([self.starts, self.ends], axis=1)
        out = np.full((len(ours), *values.shape[1:]), np.nan)
        for k, share in enumerate(theirs.shares(ours).T):
            used = np.flatnonzero(share)
            if not is_mean and used.size:
                at = used[0]
                if used.size > 1 or theirs.starts[at] != ours[k, 0] or theirs.ends[at] != ours[k, 1]:
                    shown = (*ours[k], theirs.starts[at], theirs.ends[at])
                    low, high, start, end = (np.datetime_as_string(when, "m") for when in shown)
                    raise FootprintError(
                        f"the intervals of the flux are not the time bins: {low} to {high} UTC is a bin, and "
                        f"the flux has {start} to {end} there. Build the Jacobian with the bins of the flux "
                        "(hourly: time_bins='1h', from hourly footprints), or average the flux over the bins "
                        "first (time='mean' does)."
                    )
            if share.sum() > 1.0 - 1e-9:
                out[k] = np.tensordot(share[used], values[used], axes=(0, 0))
        return out

    def to_scipy(self) -> scipy.sparse.csr_array:
        """Return a scipy sparse array in compressed rows, without copying."""
        try:
            import scipy.sparse
        except ImportError as error:
            raise MissingExtraError(
                "a scipy matrix needs scipy; install it with: pip install scipy."
            ) from error
        return scipy.sparse.csr_array((self.data, self.indices, self.indptr), shape=self.shape)

    def to_xarray(self) -> xr.DataArray:
        """Return a DataArray ``(obs, time, ...cells)`` on a sparse array (package ``sparse``)."""
        try:
            import sparse
        except ImportError as error:
            raise MissingExtraError(
                f"a sparse xarray needs {error.name}; install it with: pip install sparse."
            ) from error
        row = np.repeat(np.arange(len(self.obs)), np.diff(self.indptr))
        where = np.unravel_index(self.indices, (self.starts.size, *self.shape_of_cells))
        array = sparse.COO(
            np.stack([row, *where]), self.data, shape=(len(self.obs), self.starts.size, *self.shape_of_cells)
        )
        coords = {"obs": self.rows, "time": self.starts, "time_end": ("time", self.ends), **self.coords}
        return xr.DataArray(
            array, dims=("obs", "time", *self.dims), coords=coords, attrs=dict(self.attrs), name="foot"
        )

    def to_series(self) -> pd.Series:
        """Return the numbers that are not zero, labelled ``(obs, time, ...cells)``."""
        row = np.repeat(np.arange(len(self.obs)), np.diff(self.indptr))
        where = np.unravel_index(self.indices, (self.starts.size, *self.shape_of_cells))
        cells = [np.asarray(self.coords[name][1]) for name in self.dims]
        levels = [np.array(self.obs, dtype=object), self.starts, *cells]
        index = pd.MultiIndex.from_arrays(
            [level[at] for level, at in zip(levels, (row, *where), strict=True)],
            names=["obs", "time", *self.dims],
        )
        return pd.Series(self.data, index=index, name="foot")

    def to_frame(self) -> pd.DataFrame:
        """Return a dense table, observations by :attr:`columns`, as flux inversions with pandas take it."""
        if self.shape[0] * self.shape[1] > _DENSE_LIMIT:
            raise FootprintError(
                f"a dense table of {self.shape[0]} by {self.shape[1]} numbers is too large; use "
                f"to_scipy, to_xarray or "
                "to_series."
            )
        dense = np.zeros(self.shape)
        row = np.repeat(np.arange(len(self.obs)), np.diff(self.indptr))
        dense[row, self.indices] = self.data
        return pd.DataFrame(dense, index=self.rows, columns=self.columns)


@dataclass(frozen=True, eq=False)
class JacobianRow:
    """
    One footprint as the numbers that are not zero.

    Attributes
    ----------
    bin : ndarray of int64, shape (n,)
        Time bin: its number, or with bins of a given length their count since 1970.
    cell : ndarray of int64, shape (n,)
        Cell of the target.
    value : ndarray, shape (n,)
        Number [ppm m2 s umol-1].
    span : pair of datetime64, or None
        Time the footprint covers; None when it is empty.
    moment : datetime64
        Receptor time [UTC].
    """

    bin: NDArray[np.int64]
    cell: NDArray[np.int64]
    value: FloatArray
    span: tuple[np.datetime64, np.datetime64] | None
    moment: np.datetime64


class RowMaker:
    """
    Makes rows of a Jacobian; keeps what depends on the grid only.

    Parameters
    ----------
    target, axes, subcells
        As in :meth:`stilt.Footprint.aggregate`.
    time_bins : optional
        As there; none makes hours, or one bin for all where footprints are integrated.
    """

    def __init__(
        self,
        target: Any = None,
        time_bins: Any = None,
        *,
        axes: AxisKind = "centers",
        subcells: int = SUBCELLS,
    ) -> None:
        self.target, self.axes, self.subcells = target, axes, subcells
        self.time_bins = time_bins if time_bins is None or is_length(time_bins) else TimeBins.of(time_bins)
        self._regridders: dict[Grid, Regridder] = {}

    def regridder(self, grid: Grid) -> Regridder:
        """Return what sums footprints on a grid over the target."""
        if grid not in self._regridders:
            cells = CellAxes.of_grid(grid)
            self._regridders[grid] = make_regridder(
                cells, self.target, axes=self.axes, subcells=self.subcells
            )
        return self._regridders[grid]

    def row(self, footprint: Footprint) -> JacobianRow:
        """
        Sum one footprint over bins and cells.

        Parameters
        ----------
        footprint : Footprint
            May be empty.

        Returns
        -------
        JacobianRow
        """
        moment = np.datetime64(footprint.receptor.time, "ns")
        if footprint.is_empty:
            nothing = np.empty(0, dtype=np.int64)
            return JacobianRow(nothing, nothing, np.empty(0), None, moment)
        intervals = footprint.intervals
        values = footprint.data.to_numpy()
        span = intervals[0, 0], intervals[-1, 1]
        if self.time_bins is None and footprint.time_integrate:
            numbers = np.zeros(1, dtype=np.int64)
        elif isinstance(self.time_bins, TimeBins):
            shares = self.time_bins.shares(intervals, is_whole=footprint.time_integrate)
            numbers = np.flatnonzero(shares.any(axis=1))
            values = np.tensordot(shares[numbers], values, axes=(1, 0))
        else:
            step = self.time_bins if self.time_bins is not None else HOUR
            bins = TimeBins.of(step, intervals)
            shares = bins.shares(intervals, is_whole=footprint.time_integrate)
            values = np.tensordot(shares, values, axes=(1, 0))
            numbers = (bins.starts - _EPOCH) // bin_length(step)
        summed = self.regridder(footprint.grid).apply(values).reshape(len(numbers), -1)
        layer, cell = np.nonzero(summed)
        return JacobianRow(np.asarray(numbers)[layer], cell, summed[layer, cell], span, moment)

    def assemble(
        self, obs: Sequence[str], rows: Iterable[JacobianRow], grid: Grid, attrs: Mapping[str, Any]
    ) -> Jacobian:
        """
        Put rows together, with the time bins they need.

        Parameters
        ----------
        obs : sequence of str
            Labels.
        rows : iterable of JacobianRow
            One for each, in the same order.
        grid : Grid
            Of the footprints.
        attrs : mapping
            To keep with the matrix.

        Returns
        -------
        Jacobian
        """
        made = list(rows)
        regridder = self.regridder(grid)
        spans = [row.span for row in made if row.span is not None]
        first = 0
        is_one_bin = self.time_bins is None and all(
            len(np.unique(row.bin)) <= 1 and (row.bin == 0).all() for row in made
        )
        if isinstance(self.time_bins, TimeBins):
            bins = self.time_bins
        elif not spans:
            # all are empty: the bins that hold the hour before each receptor time, so that there are columns
            hour = np.timedelta64(1, "h")
            hours = np.array([[row.moment - hour, row.moment] for row in made], dtype="datetime64[ns]")
            bins = TimeBins.of(self.time_bins if self.time_bins is not None else HOUR, hours)
        elif is_one_bin:
            low, high = min(span[0] for span in spans), max(span[1] for span in spans)
            bins = TimeBins(np.array([low]), np.array([high]))
        else:
            step = self.time_bins if self.time_bins is not None else HOUR
            bins = TimeBins.of(step, np.array(spans))
            first = int((bins.starts[0] - _EPOCH) // bin_length(step))
        size = int(np.prod(regridder.shape))
        counts = [row.value.size for row in made]
        nothing_int = np.empty(0, dtype=np.int64)
        return Jacobian(
            indptr=np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64),
            indices=np.concatenate([nothing_int, *((row.bin - first) * size + row.cell for row in made)]),
            data=np.concatenate([np.empty(0), *(row.value for row in made)]),
            obs=[str(label) for label in obs],
            starts=bins.starts,
            ends=bins.ends,
            dims=regridder.dims,
            shape_of_cells=regridder.shape,
            coords=regridder.coords,
            attrs={**attrs, "projection": regridder.projection},
        )
