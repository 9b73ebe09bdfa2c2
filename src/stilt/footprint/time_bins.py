"""
Intervals of time that footprints and fluxes are summed over, and how much of one lies in another.

Influence is taken as even within a layer, so a layer that straddles two bins gives each its share: a
receptor at 12:30 has hours from half past to half past, and half of each belongs to either clock hour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stilt.errors import FootprintError
from stilt.receptors.times import to_utc

Instants = NDArray[np.datetime64]


@dataclass(frozen=True, eq=False)
class TimeBins:
    """
    Consecutive or separate intervals of time.

    Attributes
    ----------
    starts, ends : ndarray of datetime64[ns], shape (n_bins,)
        Edges [UTC], the start included.
    """

    starts: Instants
    ends: Instants

    def __len__(self) -> int:
        """Count bins."""
        return self.starts.size

    @classmethod
    def of(cls, bins: Any, intervals: Instants | None = None) -> TimeBins:
        """
        Read bins in any of the usual forms.

        Parameters
        ----------
        bins : sequence of times, IntervalIndex, str or timedelta
            Edges, ascending [UTC] (n + 1 edges make n bins); intervals, closed on the left; or a length such
            as ``"1h"`` or ``"1D"``, which makes bins from midnight that cover ``intervals``.
        intervals : ndarray of datetime64, shape (n, 2), optional
            What bins of a given length have to cover.

        Returns
        -------
        TimeBins
        """
        if isinstance(bins, TimeBins):
            return bins
        if isinstance(bins, pd.IntervalIndex):
            if bins.closed != "left":
                raise FootprintError(
                    f"time_bins are closed {bins.closed!r}; a layer is named after its start: use 'left'."
                )
            return cls(_instants(bins.left), _instants(bins.right))
        if is_length(bins):
            step = bin_length(bins)
            if intervals is None or len(intervals) == 0:
                nothing = np.empty(0, dtype="datetime64[ns]")
                return cls(nothing, nothing)
            epoch = np.datetime64(0, "ns")
            first = (intervals.min() - epoch) // step
            last = -((epoch - intervals.max()) // step)
            edges = epoch + np.arange(first, last + 1) * step
            return cls(edges[:-1], edges[1:])
        edges = _instants(bins)
        if edges.size < 2 or not (edges[1:] > edges[:-1]).all():
            raise FootprintError(
                "time_bins are no edges; give at least two instants, ascending, or a length such as '1D'."
            )
        return cls(edges[:-1], edges[1:])

    def shares(self, intervals: Instants, *, is_whole: bool = False) -> NDArray[np.float64]:
        """
        Return which share of each interval lies in each bin.

        Parameters
        ----------
        intervals : ndarray of datetime64[ns], shape (n, 2)
            Start and end.
        is_whole : bool
            Refuse to split an interval, as that of a footprint integrated over a whole run, within which
            influence is anything but even.

        Returns
        -------
        ndarray, shape (n_bins, n)
            Columns add up to 1 where bins cover the interval.
        """
        low = np.maximum(self.starts[:, None], intervals[None, :, 0])
        high = np.minimum(self.ends[:, None], intervals[None, :, 1])
        overlap = np.clip((high - low) / np.timedelta64(1, "ns"), 0.0, None)
        length = (intervals[:, 1] - intervals[:, 0]) / np.timedelta64(1, "ns")
        shares: NDArray[np.float64] = overlap / np.where(length > 0.0, length, 1.0)
        if is_whole and ((shares > 0.0) & (shares < 1.0)).any():
            low, high = (np.datetime_as_string(when, "m") for when in (intervals.min(), intervals.max()))
            raise FootprintError(
                f"this footprint is integrated over time, from {low} to {high} UTC, and the time bins split "
                "that; give one bin that holds all of it, or make the footprint hourly (time_integrate: "
                "false)."
            )
        return shares


def is_length(bins: Any) -> bool:
    """Whether time bins are given by their length."""
    return isinstance(bins, (str, pd.Timedelta, np.timedelta64)) or hasattr(bins, "total_seconds")


def bin_length(bins: Any) -> np.timedelta64:
    """Return the length of bins, which has to be positive and fixed."""
    try:
        step = pd.Timedelta(bins).to_timedelta64().astype("timedelta64[ns]")
    except ValueError as error:
        raise FootprintError(
            f"time_bins = {bins!r} is no length; give one such as '1h' or '1D', or edges."
        ) from error
    if not step > np.timedelta64(0, "ns"):
        raise FootprintError(f"time_bins = {bins!r} is no length; give one such as '1h' or '1D', or edges.")
    return np.timedelta64(step, "ns")


def _instants(values: Any) -> Instants:
    if isinstance(values, pd.DatetimeIndex) and values.tz is not None:
        values = values.tz_convert("UTC").tz_localize(None)
    if isinstance(values, (pd.DatetimeIndex, np.ndarray)) and np.asarray(values).dtype.kind == "M":
        return np.asarray(values).astype("datetime64[ns]")
    items: Sequence[Any] = list(values)
    return np.array(
        [np.datetime64(to_utc(item, what="edge of time_bins"), "ns") for item in items],
        dtype="datetime64[ns]",
    )
