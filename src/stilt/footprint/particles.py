"""
The five columns a footprint is made of, sorted once and shared by all footprints of a trajectory.

Several named footprints of one simulation need the same rows in the same order;
:class:`ParticleColumns` does the loading and the sorting for all of them. Rows are kept by age, because
bandwidths belong to ages, and because engines write them that way: their tables need no sorting at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stilt.errors import FootprintError
from stilt.kernels.raster import (
    common_steps,
    fill_numbers,
    is_ascending,
    match_ascending,
    order_by_group,
)
from stilt.receptors import Receptor
from stilt.trajectory import REQUIRED_COLUMNS, Trajectories

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ParticleColumns:
    """
    Particle rows by age and particle, in float64.

    The age of a row is the time since the first row of its particle, which aligns particles released at
    different minutes.

    Attributes
    ----------
    ages : ndarray, shape (n_ages,)
        Distinct ages [min], ascending from 0.
    offsets : ndarray of int64, shape (n_ages + 1,)
        Where each age begins.
    slot : ndarray of int32, shape (n_rows,)
        Number of the row's particle, from 0.
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
    table : DataFrame or mapping, optional
        What the columns were taken from, for transforms that need other columns.
    order : ndarray of int64, optional
        Row of the table that each row came from; none where they are the same.

    Notes
    -----
    Arrays are read-only, those of the table itself where their type allows: every kernel is then compiled
    for read-only arrays alone, which is what pandas hands out.
    """

    ages: FloatArray
    offsets: NDArray[np.int64]
    slot: NDArray[np.int32]
    time: FloatArray
    lon: FloatArray
    lat: FloatArray
    foot: FloatArray
    n_particles: int
    sign: int
    receptor: Receptor | None
    provenance: Mapping[str, Any]
    table: Any = None
    order: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        """Count rows."""
        return self.time.size

    @property
    def elapsed(self) -> FloatArray:
        """Minutes since the receptor time, positive in both directions."""
        return self.sign * self.time

    @cached_property
    def by_particle(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where each particle begins, and rows by particle and time since release."""
        offsets, order = order_by_group(self.slot, self.n_particles)
        return offsets, order

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
        columns = {name: column(table, name, keep_integers=name == "indx") for name in REQUIRED_COLUMNS}
        if len({values.shape for values in columns.values()}) != 1:
            lengths = ", ".join(f"{name} {values.size}" for name, values in columns.items())
            raise FootprintError(f"the particle columns differ in length: {lengths}.")
        slot, n_particles = number_particles(columns["indx"])
        return cls.arrange(
            slot,
            columns["time"],
            columns["long"],
            columns["lati"],
            columns["foot"],
            n_particles=n_particles,
            receptor=receptor,
            provenance=provenance,
            table=table,
        )

    @classmethod
    def arrange(
        cls,
        slot: NDArray[np.int32],
        time: FloatArray,
        lon: FloatArray,
        lat: FloatArray,
        foot: FloatArray,
        *,
        n_particles: int,
        receptor: Receptor | None = None,
        provenance: Mapping[str, Any] | None = None,
        table: Any = None,
        sign: int | None = None,
    ) -> ParticleColumns:
        """
        Put rows in order of age and particle, and leave out those without a time or a place.

        Parameters
        ----------
        slot : ndarray of int32, shape (n_rows,)
            Number of the row's particle, from 0.
        time, lon, lat, foot : ndarray, shape (n_rows,)
            See the class.
        n_particles, receptor, provenance, table, sign
            See the class; the sign is found from the times where it is not given.

        Returns
        -------
        ParticleColumns
        """
        slot, time, lon, lat, foot = (frozen(values) for values in (slot, time, lon, lat, foot))
        if sign is None:
            sign = _direction(time)
        starts = np.empty(time.size + 1, dtype=np.int64)
        steps = common_steps(slot, time, lon, lat, sign, np.zeros(n_particles, dtype=bool), starts)
        order: NDArray[np.int64] | None = None
        if steps > 0:
            offsets = starts[: steps + 1].copy()
            known = sign * time[offsets[:-1]]
            ages = known - known[0]
        else:
            order, ages, offsets = _sort(slot, time, lon, lat, sign, n_particles)
            slot, time, lon, lat, foot = (frozen(values[order]) for values in (slot, time, lon, lat, foot))
        return cls(
            ages=ages,
            offsets=frozen(offsets),
            slot=slot,
            time=time,
            lon=lon,
            lat=lat,
            foot=foot,
            n_particles=n_particles,
            sign=sign,
            receptor=receptor,
            provenance=provenance or {},
            table=table,
            order=order,
        )

    def with_foot(self, foot: FloatArray) -> ParticleColumns:
        """
        Return the same rows with another influence.

        Parameters
        ----------
        foot : ndarray
            Influence of every row of :attr:`table`, in its order.

        Returns
        -------
        ParticleColumns
        """
        numbers = np.ascontiguousarray(foot, dtype=np.float64)
        return replace(self, foot=frozen(numbers if self.order is None else numbers[self.order]))


def frozen(values: Any) -> Any:
    """Return a read-only view of an array."""
    view = values.view()
    view.flags.writeable = False
    return view


def _sort(
    slot: NDArray[np.int32], time: FloatArray, lon: FloatArray, lat: FloatArray, sign: int, n_particles: int
) -> tuple[NDArray[np.int64], FloatArray, NDArray[np.int64]]:
    """Return the rows by age and particle, the ages, and where each begins."""
    usable = np.isfinite(time)
    usable &= np.isfinite(lon)
    usable &= np.isfinite(lat)
    if not usable.any():
        return np.empty(0, dtype=np.int64), np.empty(0), np.zeros(1, dtype=np.int64)
    offsets, order = order_by_group(frozen(np.where(usable, slot, np.int32(-1))), n_particles)
    elapsed = sign * time
    if not is_ascending(offsets, order, elapsed):
        order = order[np.lexsort((elapsed[order], slot[order]))]
    elapsed = elapsed[order]
    starts = offsets[:-1]
    counts = np.diff(offsets)
    held = counts > 0
    age = elapsed - np.repeat(elapsed[starts[held]], counts[held])
    # the particle with most rows usually has every age there is
    longest = int(counts.argmax())
    known = age[starts[longest] : starts[longest] + counts[longest]]
    known = known[np.concatenate([[True], known[1:] != known[:-1]])]
    index = np.empty(age.size, dtype=np.int32)
    if not match_ascending(offsets, age, known, index):
        known, inverse = np.unique(age, return_inverse=True)
        index = inverse.astype(np.int32)
    by_age, second = order_by_group(frozen(index), known.size)
    return order[second], known, by_age


def column(table: Any, name: str, *, keep_integers: bool = False) -> NDArray[Any]:
    """Return one column of a table as a read-only float64 array, or say that it is missing."""
    try:
        values = table[name]
    except (KeyError, ValueError, IndexError) as error:
        held = ", ".join(_names(table))
        raise FootprintError(
            f"the particle table lacks the column {name}, which is needed here (it has {held})."
        ) from error
    try:
        numbers = np.ascontiguousarray(values)
        if not (keep_integers and numbers.dtype in (np.int32, np.int64)):
            numbers = numbers.astype(np.float64, copy=False)
        return frozen(numbers)
    except (TypeError, ValueError) as error:
        raise FootprintError(f"column {name} of the particle table does not hold numbers: {error}") from error


def _names(table: Any) -> list[str]:
    """List the columns of a DataFrame, an Arrow table, a mapping or a structured array."""
    for attribute in ("column_names", "columns"):
        if hasattr(table, attribute):
            return [str(name) for name in getattr(table, attribute)]
    return [str(name) for name in (table if hasattr(table, "keys") else table.dtype.names or ())]


def number_particles(indx: NDArray[Any]) -> tuple[NDArray[np.int32], int]:
    """
    Number the particles 0 to n - 1 in order of ``indx``.

    Parameters
    ----------
    indx : ndarray, shape (n_rows,)
        Particle of each row; any whole numbers.

    Returns
    -------
    slot : ndarray of int32, shape (n_rows,)
        Number of the row's particle.
    n_particles : int
        How many there are.
    """
    if indx.size == 0:
        return np.empty(0, dtype=np.int32), 0
    first, last = indx.min(), indx.max()
    if not (np.isfinite(first) and np.isfinite(last)):
        raise FootprintError("column indx of the particle table must hold whole particle numbers.")
    if float(last) - float(first) > 4.0 * indx.size + 1024:
        known, wide = np.unique(indx, return_inverse=True)
        return wide.astype(np.int32), known.size
    slot = np.empty(indx.size, dtype=np.int32)
    return slot, fill_numbers(indx, int(first), np.zeros(int(last - first) + 1, dtype=np.int32), slot)


def _direction(time: FloatArray) -> int:
    """Return -1 for a backward run and +1 for a forward one: the sign of the median time."""
    if time.size == 0:
        return -1
    low, high = time.min(), time.max()
    if np.isnan(low):
        return _direction(time[np.isfinite(time)])
    if high <= 0.0:
        return -1
    if low >= 0.0:
        return 1
    return 1 if np.median(time) > 0.0 else -1
