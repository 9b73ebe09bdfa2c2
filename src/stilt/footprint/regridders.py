"""Linear maps from the cells of a footprint to those of a target."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stilt.footprint.cells import CellAxes, rectangle_coords

FloatArray = NDArray[np.float64]


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
