"""
How the time of a particle row becomes a layer of the footprint, and what the layers are called.

Hours are counted back from the receptor time, as in STILT-R, so a receptor at 12:30 has hours that begin
at half past. Two named options change that: ``align: clock`` counts from the full hour, which is what hourly
fluxes are labelled with, and ``time_bins`` gives any edges.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from stilt.errors import FootprintError
from stilt.receptors.times import to_utc

INTEGRATED, HOURLY, BINNED = 0, 1, 2
"""Modes of the kernels."""

Align = Literal["receptor", "clock"]
_NO_EDGES = np.zeros(2)


@dataclass(frozen=True)
class Layers:
    """
    The time axis of a footprint.

    Attributes
    ----------
    receptor_time : datetime64
        When we measure [UTC].
    origin : datetime64
        What hours and bins are counted from [UTC].
    mode : int
        One layer, hours, or bins.
    edges : tuple of float
        Edges of the bins [h from the origin], ascending.
    """

    receptor_time: np.datetime64
    origin: np.datetime64
    mode: int
    edges: tuple[float, ...] = ()

    @classmethod
    def of(
        cls,
        receptor_time: datetime,
        *,
        time_integrate: bool = False,
        align: Align = "receptor",
        time_bins: Sequence[Any] | None = None,
    ) -> Layers:
        """
        Build the time axis that settings ask for.

        Parameters
        ----------
        receptor_time : datetime
            When we measure [UTC].
        time_integrate : bool
            One layer for the whole run.
        align : {"receptor", "clock"}
            What hours are counted from: the receptor time, or the full hour at or before it.
        time_bins : sequence of float or datetime, optional
            Edges of the layers, ascending: hours from that origin (negative is earlier), or instants [UTC].

        Returns
        -------
        Layers
        """
        if align not in ("receptor", "clock"):
            raise FootprintError(f"align = {align!r} is unknown; use receptor or clock.")
        if time_integrate and (time_bins is not None or align == "clock"):
            other = "time_bins" if time_bins is not None else "align: clock"
            raise FootprintError(f"time_integrate makes one layer and {other} several; give one of the two.")
        when = np.datetime64(receptor_time, "ms")
        origin = when.astype("datetime64[h]").astype("datetime64[ms]") if align == "clock" else when
        if time_integrate:
            return cls(when, origin, INTEGRATED)
        if time_bins is None:
            return cls(when, origin, HOURLY)
        return cls(when, origin, BINNED, check_edges(time_bins, origin))

    @property
    def for_kernel(self) -> tuple[int, float, NDArray[np.float64]]:
        """Mode, minutes the receptor time lies after the origin, and edges [min from the origin]."""
        shift = float((self.receptor_time - self.origin) / np.timedelta64(1, "ms")) / 60_000.0
        edges = np.array(self.edges) * 60.0 if self.mode == BINNED else _NO_EDGES
        return self.mode, shift, edges

    def span(self, first: int, last: int) -> tuple[int, int]:
        """Return the first layer to hold and how many, when layers ``first`` to ``last`` have influence."""
        if self.mode == HOURLY:
            return first, last - first + 1
        return 0, 1 if self.mode == INTEGRATED else len(self.edges) - 1

    def intervals(self, first: int, n: int) -> NDArray[np.datetime64]:
        """
        Return start and end of layers.

        Parameters
        ----------
        first : int
            First layer: hour from the origin, or bin.
        n : int
            How many.

        Returns
        -------
        ndarray of datetime64[ns], shape (n, 2)
            Start and end [UTC]; of an integrated layer both are the receptor time.
        """
        if self.mode == INTEGRATED:
            return np.full((n, 2), self.receptor_time).astype("datetime64[ns]")
        if self.mode == HOURLY:
            hours = np.stack([first + np.arange(n), first + 1 + np.arange(n)], axis=1).astype(np.float64)
        else:
            edges = np.array(self.edges)[first : first + n + 1]
            hours = np.stack([edges[:-1], edges[1:]], axis=1)
        milliseconds = np.round(hours * 3_600_000.0).astype("timedelta64[ms]")
        return (self.origin + milliseconds).astype("datetime64[ns]")


def check_edges(time_bins: Sequence[Any], origin: np.datetime64) -> tuple[float, ...]:
    """
    Return edges of time bins as hours.

    Parameters
    ----------
    time_bins : sequence of float or datetime
        Hours from the origin, or instants [UTC].
    origin : datetime64
        What hours are counted from.

    Returns
    -------
    tuple of float
        Ascending [h].
    """
    hours = []
    for edge in time_bins:
        if isinstance(edge, bool):
            raise FootprintError(f"time_bins holds {edge!r}; give hours or instants.")
        if isinstance(edge, (int, float, np.integer, np.floating)):
            hours.append(float(edge))
        else:
            moment = np.datetime64(to_utc(edge, what="edge of time_bins"), "ms")
            hours.append(float((moment - origin) / np.timedelta64(1, "ms")) / 3_600_000.0)
    if len(hours) < 2 or not all(low < high for low, high in pairwise(hours)):
        raise FootprintError(
            f"time_bins = {list(time_bins)} are no edges; give at least two, ascending, such as [-24, "
            f"-12, -6, 0]."
        )
    return tuple(hours)
