r"""
How far one ensemble of particles is from others: the measures behind ``stilt compare-engines``.

Two seeded runs of one engine differ by chance, so a difference means nothing until it is set beside
that. Every statistic m is taken of the candidate and of the pooled reference runs, and the noise is
found from the reference alone: its particles are split at random, many times, into as many as one
run has and the rest,

.. math:: r = \mathrm{rms}(m_{candidate} - m_{rest}) / \mathrm{rms}(m_{part} - m_{rest})

so 1 is "as far as another run of the reference". Statistics of several times are put together into
groups, and groups into one number, as root mean squares. The same number for the random splits and
for each reference run against the others tells what chance makes of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from stilt.constants import EARTH_RADIUS_KM
from stilt.errors import FootprintError
from stilt.receptors import Receptor

COMPARED_COLUMNS = ("time", "indx", "long", "lati", "zagl", "foot", "mlht")

_SPLITS = 40
_CELLS_ACROSS = 12
"""Cells of the coarse map of influence, over the distance that nine in ten particles stay within."""
_QUANTILES = (0.1, 0.5, 0.9)
_FLOORS = {"height": 0.05, "position": 0.01, "spread": 0.01, "map": 0.005}
"""Smallest noise that counts [m, km, km, share]: printed positions carry no more."""


@dataclass(frozen=True)
class Statistic:
    """
    One number of an ensemble, compared.

    Attributes
    ----------
    group, name, unit : str
        What it is.
    candidate, reference : float
        Its two values.
    noise : float
        What two runs of the reference differ by (rms).
    ratio : float
        The candidate's distance in units of the noise.
    """

    group: str
    name: str
    unit: str
    candidate: float
    reference: float
    noise: float
    ratio: float


@dataclass(frozen=True)
class Comparison:
    """
    A candidate beside a reference.

    Attributes
    ----------
    statistics : tuple of Statistic
        All of them.
    groups : dict of str to (float, float, float)
        Ratio of each group, and the 5 and 95 % bounds it has by chance.
    overall : float
        All groups together; 1 is like another run of the reference.
    bounds : tuple of float
        5 and 95 % bounds of ``overall`` by chance.
    """

    statistics: tuple[Statistic, ...]
    groups: dict[str, tuple[float, float, float]]
    overall: float
    bounds: tuple[float, float]


def compare_ensembles(
    candidate: pd.DataFrame, reference: Sequence[pd.DataFrame], receptor: Receptor
) -> Comparison:
    """
    Compare a run with runs of a reference.

    Parameters
    ----------
    candidate : DataFrame
        With ``COMPARED_COLUMNS``, every output time.
    reference : sequence of DataFrame
        Two or more runs with different seeds.
    receptor : Receptor
        Where the particles started.

    Returns
    -------
    Comparison
    """
    if len(reference) < 2:
        raise FootprintError("a comparison needs two or more reference runs, to know what chance does.")
    frames = [candidate, *reference]
    knots = _knots(max(float(frame["time"].abs().max()) for frame in frames))
    cell = _cell_size(pd.concat(reference), receptor)
    runs = [_Ensemble(frame, knots, cell, receptor) for frame in frames]
    pool = _Ensemble.pooled(runs[1:])
    n = min(run.size for run in runs)
    rng = np.random.default_rng(0)
    parts, rests, candidates = [], [], []
    for _ in range(_SPLITS):
        chosen = rng.permutation(pool.size)
        drawn = np.zeros(pool.size, dtype=bool)
        drawn[chosen[:n]] = True
        rests.append(pool.statistics(~drawn))
        parts.append(pool.statistics(drawn))
        some = np.zeros(runs[0].size, dtype=bool)
        some[rng.permutation(runs[0].size)[:n]] = True
        candidates.append(runs[0].statistics(some))
    labels = pool.labels()
    part, rest, own = (np.array([s.scalars for s in each]) for each in (parts, rests, candidates))
    maps = [np.array([s.map for s in each]) for each in (parts, rests, candidates)]
    map_chance, map_found = _map_distance(maps[0], maps[1])[:, None], _map_distance(maps[2], maps[1])[:, None]
    labels.append(("map of foot", "foot in other cells", "of the total"))
    return _judge(
        labels,
        by_chance=np.concatenate([part - rest, map_chance], axis=1),
        found=np.concatenate([own - rest, map_found], axis=1),
        candidate=np.concatenate([own, map_found], axis=1),
        reference=np.concatenate([rest, map_chance], axis=1),
    )


def _judge(
    labels: list[tuple[str, str, str]],
    by_chance: np.ndarray,
    found: np.ndarray,
    candidate: np.ndarray,
    reference: np.ndarray,
) -> Comparison:
    floors = np.array([_FLOORS.get(group.split()[0], 0.0) for group, _, _ in labels])
    noise = np.maximum(_rms(by_chance), np.maximum(floors, 1e-12))
    with np.errstate(invalid="ignore"):
        ratio = _rms(found) / noise
        chance = np.abs(by_chance) / noise
    # what is the same constant everywhere says nothing
    dead = ~np.isfinite(ratio) | ((_rms(by_chance) <= floors + 1e-12) & (_rms(found) <= floors + 1e-12))
    groups: dict[str, tuple[float, float, float]] = {}
    group_chance = []
    for group in dict.fromkeys(group for group, _, _ in labels):
        members = np.array([label[0] == group for label in labels]) & ~dead
        if not members.any():
            continue
        spread = np.sqrt(np.nanmean(chance[:, members] ** 2, axis=1))
        low, high = np.nanpercentile(spread, [5, 95])
        groups[group] = (float(np.sqrt(np.mean(ratio[members] ** 2))), float(low), float(high))
        group_chance.append(spread)
    overall_chance = np.sqrt(np.mean(np.array(group_chance) ** 2, axis=0))
    low, high = np.percentile(overall_chance, [5, 95])
    statistics = tuple(
        Statistic(
            *labels[k],
            candidate=float(np.nanmean(candidate[:, k])),
            reference=float(np.nanmean(reference[:, k])),
            noise=float(noise[k]),
            ratio=float(ratio[k]),
        )
        for k in np.flatnonzero(~dead)
    )
    overall = math.sqrt(float(np.mean([ratio**2 for ratio, _, _ in groups.values()])))
    return Comparison(statistics, groups, overall, (float(low), float(high)))


def _rms(values: np.ndarray) -> np.ndarray:
    known = np.isfinite(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.sqrt((np.where(known, values, 0.0) ** 2).sum(axis=0) / known.sum(axis=0)))


def _map_distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the sum of absolute differences as a share of the total."""
    total = b.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total > 0, np.abs(a - b).sum(axis=1) / total, np.nan)


def _knots(last: float) -> np.ndarray:
    """Return the times at which clouds are compared [min]: early ones, then up to eight whole hours."""
    hours = np.arange(60.0, last + 0.5, 60.0)
    if hours.size > 8:
        hours = hours[np.unique(np.round(np.linspace(0, hours.size - 1, 8)).astype(int))]
    early = [minute for minute in (10.0, 30.0) if minute <= last]
    return np.unique(np.concatenate([early, hours, [last]]))


def _offsets_km(lon: np.ndarray, lat: np.ndarray, receptor: Receptor) -> tuple[np.ndarray, np.ndarray]:
    """East and north distance in a plane that keeps distances from the receptor [km]."""
    a, b = np.radians(lon - receptor.longitudes[0]), np.radians(lat)
    b0 = math.radians(receptor.latitudes[0])
    angle = np.arccos(np.clip(np.sin(b0) * np.sin(b) + np.cos(b0) * np.cos(b) * np.cos(a), -1, 1))
    scale = EARTH_RADIUS_KM * np.where(angle < 1e-9, 1.0, angle / np.maximum(np.sin(angle), 1e-12))
    east = scale * np.cos(b) * np.sin(a)
    return east, scale * (np.cos(b0) * np.sin(b) - np.sin(b0) * np.cos(b) * np.cos(a))


def _cell_size(reference: pd.DataFrame, receptor: Receptor) -> float:
    """Return the side of the cells of the coarse map [km]."""
    touching = reference[reference["foot"] > 0]
    if touching.empty:
        return 1.0
    x, y = _offsets_km(touching["long"].to_numpy(), touching["lati"].to_numpy(), receptor)
    return max(1.0, float(np.quantile(np.hypot(x, y), 0.9)) / _CELLS_ACROSS)


@dataclass(frozen=True)
class _Numbers:
    scalars: np.ndarray
    map: np.ndarray


class _Ensemble:
    """Particles at the knots, and their influence by hour and by cell."""

    def __init__(self, frame: pd.DataFrame, knots: np.ndarray, cell: float, receptor: Receptor) -> None:
        self.knots = knots
        minute = frame["time"].abs().to_numpy(dtype=float)
        ids, particle = np.unique(frame["indx"].to_numpy(), return_inverse=True)
        self.size = ids.size
        x, y = _offsets_km(frame["long"].to_numpy(), frame["lati"].to_numpy(), receptor)
        place = np.searchsorted(knots, minute)
        at = (place < knots.size) & (knots[np.minimum(place, knots.size - 1)] == minute)
        self.at_knots = np.full((4, self.size, knots.size), np.nan)
        columns = (frame["zagl"], x, y, frame["zagl"] < frame["mlht"])
        for k, values in enumerate(columns):
            self.at_knots[k, particle[at], place[at]] = np.asarray(values, dtype=float)[at]
        foot = frame["foot"].to_numpy(dtype=float)
        hour = np.maximum(np.ceil(minute / 60.0).astype(int) - 1, 0)
        self.hours = max(1, math.ceil(knots[-1] / 60.0))
        self.foot = np.zeros((self.size, self.hours))
        np.add.at(self.foot, (particle, np.minimum(hour, self.hours - 1)), foot)
        touching = foot > 0
        side = 4 * _CELLS_ACROSS
        column, row = (
            np.clip(np.floor(v[touching] / cell).astype(int) + side // 2, 0, side - 1) for v in (x, y)
        )
        self.n_cells = side * side
        self.rows = particle[touching], row * side + column, foot[touching]

    @classmethod
    def pooled(cls, runs: Sequence[_Ensemble]) -> _Ensemble:
        """Put several runs together as if they were one."""
        whole: _Ensemble = cls.__new__(cls)
        whole.knots, whole.hours, whole.n_cells = runs[0].knots, runs[0].hours, runs[0].n_cells
        whole.size = sum(run.size for run in runs)
        whole.at_knots = np.concatenate([run.at_knots for run in runs], axis=1)
        whole.foot = np.concatenate([run.foot for run in runs])
        shift = np.cumsum([0, *(run.size for run in runs[:-1])])
        whole.rows = (
            np.concatenate([run.rows[0] + by for run, by in zip(runs, shift, strict=True)]),
            np.concatenate([run.rows[1] for run in runs]),
            np.concatenate([run.rows[2] for run in runs]),
        )
        return whole

    def labels(self) -> list[tuple[str, str, str]]:
        """Group, name and unit of the scalars, in the order of :meth:`statistics`."""
        found = []
        for knot in self.knots:
            at = f"{knot:g} min"
            found.append(("height mean", f"mean height, {at}", "m"))
            found += [("height quantiles", f"height, {q:.0%} below, {at}", "m") for q in _QUANTILES]
            found += [("position", f"{side}, {at}", "km") for side in ("east", "north")]
            found.append(("position distance", f"distance from the receptor, {at}", "km"))
            found.append(("spread", f"spread, {at}", "km"))
            found.append(("below the PBL top", f"below the PBL top, {at}", "share"))
            found.append(("still in the domain", f"still in the domain, {at}", "share"))
        unit = "ppm / (umol m-2 s-1)"
        found += [("foot by hour", f"foot, hour {hour + 1}", unit) for hour in range(self.hours)]
        return [*found, ("foot total", "foot, total", unit)]

    def statistics(self, chosen: np.ndarray) -> _Numbers:
        """Take all statistics of some of the particles."""
        z, x, y, below = self.at_knots[:, chosen]
        n = chosen.sum()
        scalars: list[float] = []
        for k in range(self.knots.size):
            there = np.isfinite(z[:, k])
            if not there.any():
                scalars += [math.nan] * 9 + [0.0]
                continue
            zk, xk, yk = z[there, k], x[there, k], y[there, k]
            scalars += [
                zk.mean(),
                *np.quantile(zk, _QUANTILES),
                xk.mean(),
                yk.mean(),
                np.hypot(xk, yk).mean(),
                math.sqrt(xk.var() + yk.var()),
                below[there, k].mean(),
                there.sum() / n,
            ]
        hourly = self.foot[chosen].sum(axis=0) / n
        particle, cell, foot = self.rows
        weights = foot * chosen[particle] / n
        return _Numbers(
            np.array([*scalars, *hourly, hourly.sum()]),
            np.bincount(cell, weights=weights, minlength=self.n_cells),
        )


def path_differences(candidate: pd.DataFrame, reference: pd.DataFrame) -> pd.DataFrame:
    """
    Compare runs without turbulence, particle by particle.

    Parameters
    ----------
    candidate, reference : DataFrame
        The same particles from the same places.

    Returns
    -------
    DataFrame
        By hour since the release: ``particles``, mean and largest distance between the two [km], and the
        largest difference in height [m].
    """
    keys = ["indx", "time"]
    both = candidate.merge(reference, on=keys, suffixes=("", "_r"))
    both = both[both["time"] % 60 == 0]
    b, b0 = np.radians(both["lati"]), np.radians(both["lati_r"])
    half = np.radians(both["long"] - both["long_r"]) / 2
    h = np.sin((b - b0) / 2) ** 2 + np.cos(b) * np.cos(b0) * np.sin(half) ** 2
    both["distance"] = 2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(h))
    both["height"] = (both["zagl"] - both["zagl_r"]).abs()
    by_hour = both.groupby((both["time"].abs() // 60).astype(int).rename("hour"))
    return by_hour.agg(
        particles=("indx", "size"),
        mean_km=("distance", "mean"),
        largest_km=("distance", "max"),
        largest_m=("height", "max"),
    )
