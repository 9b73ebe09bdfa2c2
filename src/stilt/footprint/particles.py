"""
The five columns a footprint is made of, sorted once and shared by all footprints of a trajectory.

Several named footprints of one simulation need the same rows in the same order;
:class:`ParticleColumns` does the loading and the sorting for all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stilt.errors import FootprintError
from stilt.kernels.raster import is_ascending, order_by_group
from stilt.receptors import Receptor
from stilt.trajectory import REQUIRED_COLUMNS, Trajectories

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ParticleColumns:
    """
    Particle rows by particle and by time since release, in float64.

    Attributes
    ----------
    offsets : ndarray of int64, shape (n + 1,)
        Where each particle begins.
    time : ndarray, shape (n_rows,)
        Minutes from the receptor time, negative backward.
    lon, lat : ndarray, shape (n_rows,)
        Position [degrees]. Rows whose time or position is missing are not held.
    foot : ndarray, shape (n_rows,)
        Surface influence [ppm / (umol m-2 s-1)]; may be NaN.
    n_particles : int
        Number of particles in the table, those without a usable row included: the footprint divides by it.
    sign : int
        -1 for a backward run, +1 for a forward one.
    receptor : Receptor or None
        Whose particles these are.
    provenance : dict
        ``engine``, ``version`` and whether it is an error run, where known.
    """

    offsets: NDArray[np.int64]
    time: FloatArray
    lon: FloatArray
    lat: FloatArray
    foot: FloatArray
    n_particles: int
    sign: int
    receptor: Receptor | None
    provenance: Mapping[str, Any]

    def __len__(self) -> int:
        """Count rows."""
        return self.time.size

    @property
    def elapsed(self) -> FloatArray:
        """Minutes since the receptor time, positive in both directions."""
        return self.sign * self.time

    @classmethod
    def prepare(cls, particles: Any, receptor: Receptor | None = None) -> ParticleColumns:
        """
        Load and sort the columns of trajectories or of a table.

        Parameters
        ----------
        particles : Trajectories, ParticleColumns, DataFrame or mapping of arrays
            Needs the columns ``time indx long lati foot``.
        receptor : Receptor, optional
            Whose particles they are; trajectories know theirs.

        Returns
        -------
        ParticleColumns
        """
        if isinstance(particles, ParticleColumns):
            return particles
        provenance: dict[str, Any] = {}
        table: Any = particles
        if isinstance(particles, Trajectories):
            table = particles.data
            receptor = particles.receptor if receptor is None else receptor
            provenance = {
                "engine": particles.engine,
                "version": particles.version,
                "is_error": particles.is_error,
            }
        columns = {name: column(table, name) for name in REQUIRED_COLUMNS}
        if len({values.shape for values in columns.values()}) != 1:
            lengths = ", ".join(f"{name} {values.size}" for name, values in columns.items())
            raise FootprintError(f"the particle columns differ in length: {lengths}.")
        indx, time, lon, lat, foot = (columns[name] for name in ("indx", "time", "long", "lati", "foot"))
        slot, n_particles = number_particles(indx)
        usable = np.isfinite(time)
        usable &= np.isfinite(lon)
        usable &= np.isfinite(lat)
        if not usable.all():
            slot = np.where(usable, slot, -1)
        sign = _direction(time[usable] if not usable.all() else time)
        offsets, order = order_by_group(slot, n_particles)
        elapsed = sign * time
        if not is_ascending(offsets, order, elapsed):
            order = order[np.lexsort((elapsed[order], slot[order]))]
        if order.size == time.size and (order[1:] > order[:-1]).all():
            order = slice(None)  # already as wanted
        return cls(
            offsets=offsets,
            time=time[order],
            lon=lon[order],
            lat=lat[order],
            foot=foot[order],
            n_particles=n_particles,
            sign=sign,
            receptor=receptor,
            provenance=provenance,
        )


def column(table: Any, name: str) -> FloatArray:
    """Return one column of a table as float64, or say that it is missing."""
    try:
        values = table[name]
    except (KeyError, ValueError, IndexError) as error:
        held = ", ".join(_names(table))
        raise FootprintError(
            f"the particle table lacks the column {name}, which is needed here (it has {held})."
        ) from error
    try:
        return np.ascontiguousarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise FootprintError(f"column {name} of the particle table does not hold numbers: {error}") from error


def _names(table: Any) -> list[str]:
    """List the columns of a DataFrame, an Arrow table, a mapping or a structured array."""
    for attribute in ("column_names", "columns"):
        if hasattr(table, attribute):
            return [str(name) for name in getattr(table, attribute)]
    return [str(name) for name in (table if hasattr(table, "keys") else table.dtype.names or ())]


def number_particles(indx: FloatArray) -> tuple[NDArray[np.int64], int]:
    """
    Number the particles 0 to n - 1 in order of ``indx``.

    Parameters
    ----------
    indx : ndarray, shape (n_rows,)
        Particle of each row; any whole numbers.

    Returns
    -------
    slot : ndarray of int64, shape (n_rows,)
        Number of the row's particle.
    n_particles : int
        How many there are.
    """
    if indx.size == 0:
        return np.empty(0, dtype=np.int64), 0
    if not np.isfinite(indx).all():
        raise FootprintError("column indx of the particle table must hold whole particle numbers.")
    first, last = indx.min(), indx.max()
    if last - first > 4.0 * indx.size + 1024:
        known, slot = np.unique(indx, return_inverse=True)
        return slot.astype(np.int64, copy=False), known.size
    slot = (indx - first).astype(np.int64)
    present = np.zeros(int(last - first) + 1, dtype=bool)
    present[slot] = True
    if not present.all():
        slot = (np.cumsum(present) - 1)[slot]
    return slot, int(present.sum())


def _direction(time: FloatArray) -> int:
    """Return -1 for a backward run and +1 for a forward one: the sign of the median time."""
    if time.size == 0 or time.max() <= 0.0:
        return -1
    if time.min() >= 0.0:
        return 1
    return 1 if np.median(time) > 0.0 else -1
