"""
What several meteorologies mean together for each receptor: hours in each, hours in none, room to the edge.

Everything comes from index records, so ten thousand receptors take seconds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stilt.execution.met_report import MetReport
from stilt.receptors import Receptor

_HOUR = 3600.0


@dataclass
class ChainReport:
    """
    Meteorologies that particles go through one after another, beside all receptors.

    Attributes
    ----------
    mets : tuple of str
        Names, fine before coarse.
    receptors : list of str
        Ids, in the order of the arrays.
    hours : ndarray of float, shape (n_mets, n_receptors)
        Hours of each run that each meteorology covers.
    hours_missing : ndarray of float, shape (n_receptors,)
        Hours that none covers.
    km_to_edge : ndarray of float, shape (n_mets, n_receptors)
        From the receptor to where particles leave [km]: negative outside, infinite on a globe.
    begins_in : ndarray of int, shape (n_receptors,)
        Number of the meteorology in which the first particles start, from 0; -1 where none has the place
        and the time.
    """

    mets: tuple[str, ...]
    receptors: list[str]
    hours: np.ndarray
    hours_missing: np.ndarray
    km_to_edge: np.ndarray
    begins_in: np.ndarray

    def to_dict(self) -> dict[str, Any]:
        """The report in words JSON knows, one entry for each receptor."""
        rows = [
            {
                "receptor": receptor,
                "begins_in": self.mets[begins] if begins >= 0 else None,
                "hours_missing": round(float(missing), 2),
                "mets": [
                    {
                        "met": name,
                        "hours": round(float(hours), 2),
                        "km_to_edge": None if math.isinf(km) else round(float(km), 1),
                    }
                    for name, hours, km in zip(self.mets, self.hours[:, i], self.km_to_edge[:, i])
                ],
            }
            for i, (receptor, begins, missing) in enumerate(
                zip(self.receptors, self.begins_in, self.hours_missing, strict=True)
            )
        ]
        return {"mets": list(self.mets), "receptors": rows}


def chain_report(
    found: Sequence[tuple[MetReport, np.ndarray]], receptors: Sequence[Receptor], n_hours: int
) -> ChainReport:
    """
    Put the reports of single meteorologies together.

    Parameters
    ----------
    found : sequence of (MetReport, ndarray of datetime64)
        Each meteorology in order of preference, and the times of all its analyses near the runs [UTC].
    receptors : sequence of Receptor
        Where and when, in the order of the reports.
    n_hours : int
        Length of the runs [h], negative backward.
    """
    starts = np.array([receptor.time for receptor in receptors], dtype="datetime64[s]")
    ends = starts + np.timedelta64(n_hours, "h")
    zero = min(starts.min(), ends.min())
    low = (np.minimum(starts, ends) - zero).astype(float)
    high = (np.maximum(starts, ends) - zero).astype(float)
    stretches = [_stretches((times - zero).astype(float)) for _, times in found]
    hours = np.array([_covered(stretch, low, high) / _HOUR for stretch in stretches])
    together = _covered(_union(stretches), low, high) / _HOUR
    begin = np.where(n_hours < 0, high, low)
    # a run needs analyses on the side it goes to
    ahead = begin - 1.0 if n_hours < 0 else begin + 1.0
    begins_in = np.full(len(receptors), -1)
    edges = np.array([report.km_to_edge for report, _ in found])
    for number in reversed(range(len(found))):
        there = (_covered(stretches[number], np.minimum(begin, ahead), np.maximum(begin, ahead)) > 0.5) & (
            edges[number] >= 0
        )
        begins_in[there] = number
    return ChainReport(
        mets=tuple(report.name for report, _ in found),
        receptors=[str(receptor.id) for receptor in receptors],
        hours=hours,
        hours_missing=np.maximum(0.0, np.abs(n_hours) - together),
        km_to_edge=edges,
        begins_in=begins_in,
    )


def _stretches(seconds: np.ndarray) -> np.ndarray:
    """Return begins and ends of what analyses at their usual interval cover, shape (n, 2) [s]."""
    times = np.unique(seconds)
    if times.size < 2:
        return np.empty((0, 2))
    steps, counts = np.unique(np.diff(times), return_counts=True)
    usual = steps[np.argmax(counts)]
    good = np.diff(times) == usual
    return np.stack([times[:-1][good], times[1:][good]], axis=1)


def _union(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Merge stretches that touch or overlap."""
    every = np.concatenate(parts)
    every = every[np.argsort(every[:, 0])]
    if not len(every):
        return every
    reached = np.maximum.accumulate(every[:, 1])
    first = np.concatenate([[True], every[1:, 0] > reached[:-1]])
    last = np.concatenate([first[1:], [True]])
    return np.stack([every[first, 0], reached[last]], axis=1)


def _covered(stretches: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return how many seconds of [low, high] lie in stretches, which must not overlap."""
    if not len(stretches):
        return np.zeros(low.shape)
    edges = stretches.reshape(-1)
    sums = np.repeat(np.cumsum(stretches[:, 1] - stretches[:, 0]), 2)
    sums[0::2] -= stretches[:, 1] - stretches[:, 0]
    return np.asarray(np.interp(high, edges, sums) - np.interp(low, edges, sums))
