"""
Drive particles through several meteorologies, each particle in the finest that has its place and time.

The meteorologies are ordered, fine before coarse. A particle that leaves the grid of its own goes on,
from the minute and place it had reached, in the next one that covers it; one whose own has no
analyses for the time does so too. At every full hour of the run, and where analyses begin or end to
be there, a particle that is at least two cells inside the usable part of a finer grid returns to it.
All of this depends on the particle alone, and random numbers on particle and minute, so the result
depends neither on threads nor on the other particles.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from stilt.config import TransportParams
from stilt.errors import MetCoverageError, ReceptorOffGridError
from stilt.kernels import rng
from stilt.kernels.boundaries import ACTIVE, side_left
from stilt.kernels.state import Clock
from stilt.meteorology.catalog import show
from stilt.meteorology.projection import HorizontalGrid
from stilt.receptors import Receptor
from stilt.transport.native.carry import Carrier, heeding, thread_count
from stilt.transport.native.handover import carried_errors, carried_height, turn_between
from stilt.transport.native.recipe import ColumnSource
from stilt.transport.native.release import Release, points_of, release_at
from stilt.transport.native.release_terrain import terrain_at, tiles_of
from stilt.transport.native.simulate import (
    Interval,
    Recorded,
    follows_mass,
    new_ensemble,
    physics_of,
    recorded_columns,
    released_sigma,
    ziscale_at,
)
from stilt.transport.native.tiles import ColumnPool, TimeColumns, grid_shape

RETURN_MARGIN = 2.0
"""Cells inside the usable part of a finer grid from which particles return to it."""

_MINUTE = 60
_HOUR = 60
_ELSEWHERE = -1
"""Status of particles that another meteorology carries."""


@dataclass(frozen=True)
class Member:
    """
    One meteorology of several.

    Attributes
    ----------
    name : str
        What it is called.
    source : ColumnSource or None
        Its columns; None where it has no analyses around the run.
    step : timedelta64[s]
        Usual time between its analyses.
    """

    name: str
    source: ColumnSource | None
    step: np.timedelta64


@dataclass(frozen=True)
class Nesting:
    """
    Which meteorology moved the particles.

    Attributes
    ----------
    mets : tuple of str
        Names, in the order that numbers in the particle table count, from 0.
    share : tuple of float
        Part of all particle minutes that each moved.
    handed_over : dict of (str, str, str) to int
        How often particles went from one to another, and why: ``edge``, ``hours`` or ``return``.
    """

    mets: tuple[str, ...]
    share: tuple[float, ...]
    handed_over: dict[tuple[str, str, str], int]

    def to_dict(self) -> dict[str, object]:
        """What is kept with the trajectories, in words JSON knows."""
        moves = [
            {"from": old, "to": new, "why": why, "count": count}
            for (old, new, why), count in sorted(self.handed_over.items())
        ]
        return {"mets": list(self.mets), "share": list(self.share), "handed_over": moves}

    def describe(self) -> str:
        """One line for the log."""
        shares = ", ".join(f"'{name}' {part:.1%}" for name, part in zip(self.mets, self.share))
        moves = ", ".join(
            f"{count} from '{old}' to '{new}' ({why})"
            for (old, new, why), count in sorted(self.handed_over.items())
        )
        return f"moved by {shares} of the particle minutes; went over: {moves or 'none'}"


def simulate_nested(
    members: Sequence[Member],
    receptor: Receptor,
    params: TransportParams,
    pool: ColumnPool,
    *,
    seed: int,
    key: int,
    error: bool = False,
    deadline: float | None = None,
    should_stop: Callable[[], bool] | None = None,
    threads: int | None = None,
) -> tuple[Recorded, Release, Nesting]:
    """
    Carry an ensemble through its run.

    Parameters
    ----------
    members : sequence of Member
        The meteorologies, fine before coarse.
    receptor : Receptor
        Where and when the particles start.
    params : TransportParams
        Settings.
    pool, seed, key, error, deadline, should_stop, threads
        See :func:`stilt.transport.native.simulate.simulate`.

    Returns
    -------
    recorded : Recorded
        With ``met``; grid coordinates are those of the meteorology of each row.
    release : Release
        Where the particles started.
    nesting : Nesting
        Which meteorology moved them.

    Raises
    ------
    MetCoverageError
        No meteorology has the time at which a particle needs it.
    ReceptorOffGridError
        No meteorology covers a release point.
    """
    run = _Run(members, receptor, params, pool, error=error)
    with ThreadPoolExecutor(threads or thread_count()) as executor:
        run.release(seed, key, executor, threads or thread_count(), heeding(params, deadline, should_stop))
        minute = 0
        while minute < run.n_steps and run.is_active:
            minute = run.advance(minute)
    return run.recorded(), run.where, run.nesting()


class _Domain:
    """A member as a run sees it: which minutes it covers, and with which analyses."""

    def __init__(
        self, member: Member, index: int, start: np.datetime64, params: TransportParams, pool: ColumnPool
    ) -> None:
        assert member.source is not None  # noqa: S101 - members without columns are left out before
        self.name = member.name
        self.index = index
        self.source = member.source
        self.shape = grid_shape(member.source)
        self.carrier: Carrier
        self.wind_error: np.ndarray
        self._start = start
        self._params = params
        self._pool = pool
        self._step = int(member.step.astype("timedelta64[s]").astype(np.int64))
        # seconds of the run at which analyses are valid, in the order the run comes to them
        elapsed = params.time_sign * (self.source.series.times - start).astype("timedelta64[s]").astype(
            np.int64
        )
        self._order = np.argsort(elapsed)
        self._elapsed = elapsed[self._order]
        now = _MINUTE * np.arange(60 * abs(params.n_hours), dtype=np.int64)
        before = np.searchsorted(self._elapsed, now, side="right") - 1
        inside = (before >= 0) & (before < self._elapsed.size - 1)
        at = np.clip(before, 0, self._elapsed.size - 2)
        self.covers = inside & (self._elapsed[at + 1] - self._elapsed[at] == self._step)
        """bool, shape (n_steps,): whether analyses around the minute are there."""
        self._current: tuple[TimeColumns, TimeColumns] | None = None
        self._interval: Interval | None = None

    @property
    def grid(self) -> HorizontalGrid:
        """The horizontal grid."""
        return self.source.series.grid

    def changes_after(self, minute: int) -> int:
        """Return the first later minute at which other analyses are needed, or analyses are there again."""
        if self.covers[minute]:
            return self.interval(minute).clock.last_step
        later = np.flatnonzero(self.covers[minute:])
        return minute + int(later[0]) if later.size else self.covers.size

    def interval(self, minute: int) -> Interval:
        """Return the analyses around a minute, and the steps that share them."""
        known = self._interval
        if known is not None and known.clock.first_step <= minute < known.clock.last_step:
            return known
        before = int(np.searchsorted(self._elapsed, _MINUTE * minute, side="right")) - 1
        begin = max(0, -(-int(self._elapsed[before]) // _MINUTE))
        end = min(self.covers.size, -(-int(self._elapsed[before + 1]) // _MINUTE))
        offset = _MINUTE * begin - int(self._elapsed[before])
        clock = Clock(begin, end, np.float32(offset / 60.0), np.float32(self._step / 60.0))
        self._interval = Interval(int(self._order[before]), int(self._order[before + 1]), clock)
        self._current = None
        return self._interval

    def columns(self, minute: int) -> tuple[TimeColumns, TimeColumns]:
        """Return the columns of the two analyses around a minute."""
        pair = self.interval(minute)
        if self._current is None:
            self._current = self._at(pair.first), self._at(pair.second)
        return self._current

    def _at(self, index: int) -> TimeColumns:
        time = self.source.series.times[index]
        return self._pool.at(self.source, index, ziscale_at(self._params, time, self._start))

    def terrain(self, minute: int, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return the terrain [m MSL] under grid coordinates, held at the edge beyond it."""
        grid = self.grid
        east = x if grid.is_cyclic else np.clip(x, 1.0, grid.nx)
        if self.covers[minute]:
            self.columns(minute)
        columns = self._current[0] if self._current is not None else self._at(0)
        return terrain_at(columns, self.source, east, np.clip(y, 1.0, grid.ny)).astype(float)

    def holds(self, lon: np.ndarray, lat: np.ndarray, margin: float = 0.0) -> np.ndarray:
        """Tell which positions [degrees] particles may be at, ``margin`` cells away from the edge."""
        grid = self.grid
        x, y = grid.to_xy(lon, lat)
        good = grid.usable(x, y)
        if margin and not grid.is_cyclic:
            good = good & grid.usable(x - margin, y) & grid.usable(x + margin, y)
        if margin and not grid.is_global:
            good = good & grid.usable(x, y - margin) & grid.usable(x, y + margin)
        return np.atleast_1d(good)


class _Run:
    """One ensemble under way: where each particle is, and who carries it."""

    def __init__(
        self,
        members: Sequence[Member],
        receptor: Receptor,
        params: TransportParams,
        pool: ColumnPool,
        *,
        error: bool,
    ) -> None:
        self.start = np.datetime64(receptor.time, "s")
        self.n_steps = 60 * abs(params.n_hours)
        self._receptor = receptor
        self._params = params
        self._names = tuple(member.name for member in members)
        self._physics = physics_of(params, error=error)
        self._domains = [
            _Domain(member, index, self.start, params, pool)
            for index, member in enumerate(members)
            if member.source is not None
        ]
        self._minutes = np.zeros(len(members), dtype=np.int64)
        self._moves: Counter[tuple[str, str, str]] = Counter()
        self._prepared = 0
        self._buried = 0.0
        covered = np.zeros(self.n_steps, dtype=bool)
        for domain in self._domains:
            covered |= domain.covers
        if not covered.all():
            raise MetCoverageError(self._missing(int(np.argmin(covered)), self._names))

    # --- release ----------------------------------------------------------------------------------

    def release(
        self, seed: int, key: int, executor: ThreadPoolExecutor, workers: int, heed: Callable[[int], None]
    ) -> None:
        """Put the particles at the receptor, each point in the finest meteorology that has it."""
        params, physics = self._params, self._physics
        owner, x, y = self._places()
        self.where = release_at(self._receptor, params.numpar, x, y, params.z_top, hours=params.emisshrs)
        n = self.where.x.size
        self._owner = owner[np.asarray(self._receptor.release_points(params.numpar))]
        sigma = np.ones(n, dtype=np.float32)
        terrains = {}
        for domain in self._domains:
            mine = np.flatnonzero(self._owner == domain.index)
            if mine.size:
                part = replace(
                    self.where,
                    x=self.where.x[mine],
                    y=self.where.y[mine],
                    height=self.where.height[mine],
                    minute=self.where.minute[mine],
                    lowest=self.where.lowest[mine],
                )
                a, b = domain.columns(0)
                sigma[mine], terrains[domain.index] = released_sigma(
                    domain.source, a, b, domain.interval(0).clock, part, params
                )
                if part.is_msl:
                    buried = float(np.max(terrains[domain.index] - part.height))
                    self._buried = max(self._buried, buried)
        self._ensemble = new_ensemble(self.where, sigma, 0)
        for domain in self._domains:
            levels = domain.source.levels
            domain.carrier = Carrier(
                levels, physics, rng.COUNTER, seed, key, workers, executor, heed,
                follows_mass=follows_mass(params),
            )  # fmt: skip
            domain.wind_error = np.zeros(
                (n, 2, levels.sigma.size if physics.has_wind_error else 0), dtype=np.float32
            )
            if domain.index in terrains:
                # the same numbers for a particle whoever draws them; errors count at the levels of its own
                depth = np.full(n, levels.top, dtype=np.float32)
                depth[self._owner == domain.index] -= terrains[domain.index]
                domain.carrier.draw_release(depth, self._ensemble._replace(wind_error=domain.wind_error))
        n_records = self.n_steps // physics.record_every
        self._values = np.empty((recorded_columns(params), n, n_records), dtype=np.float32)
        self._xy = np.empty((2, n, n_records), dtype=np.float64)
        self._met = np.zeros((n, n_records), dtype=np.int8)

    def _places(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Find the meteorology of each release point, and its coordinates there."""
        lon, lat = points_of(self._receptor)
        owner = np.full(lon.size, -1)
        x, y = np.zeros(lon.size), np.zeros(lon.size)
        for domain in self._domains:
            here = (owner < 0) & domain.holds(lon, lat)
            if domain.covers[0] and here.any():
                owner[here] = domain.index
                x[here], y[here] = domain.grid.to_xy(lon[here], lat[here])
        if (owner < 0).any():
            worst = int(np.argmin(owner))
            at = lon[worst : worst + 1], lat[worst : worst + 1]
            late = [domain.name for domain in self._domains if domain.holds(*at)[0]] or self._absent()
            if late:
                raise MetCoverageError(self._missing(0, late))
            covered = "; ".join(
                f"'{domain.name}', which covers {domain.grid.describe()}" for domain in self._domains
            )
            raise ReceptorOffGridError(
                f"receptor {self._receptor.id} at {at[0][0]:g}, {at[1][0]:g} is outside met {covered}. "
                "Move the receptor or use meteorology that covers it."
            )
        return owner, x, y

    # --- the way ----------------------------------------------------------------------------------

    @property
    def is_active(self) -> bool:
        """Whether any particle is still under way."""
        return bool((self._ensemble.status == ACTIVE).any())

    def advance(self, minute: int) -> int:
        """Carry all particles to the next minute at which something may change; return that minute."""
        end = min(self.n_steps, (minute // _HOUR + 1) * _HOUR)
        end = min(end, *(domain.changes_after(minute) for domain in self._domains))
        ready = [domain for domain in self._domains if domain.covers[minute]]
        self._reassign(minute, ready)
        for domain in ready:
            mine = self._carry(domain, minute, end)
            left = mine[self._ensemble.status[mine] != ACTIVE]
            if left.size:
                self._hand_on(minute, domain, left, [other for other in ready if other.index > domain.index])
        return end

    def _carry(self, domain: _Domain, minute: int, end: int) -> np.ndarray:
        """Carry the particles of one meteorology; return which they were."""
        whole = self._ensemble
        own = (whole.status == ACTIVE) & (self._owner == domain.index) & (whole.steps < end)
        mine = np.flatnonzero(own)
        if not mine.size:
            return mine
        a, b = domain.columns(minute)
        wanted = sorted(tiles_of(whole.x[mine], whole.y[mine], domain.shape))
        self._prepared += a.load(wanted) + b.load(wanted)
        status = np.where(own, ACTIVE, _ELSEWHERE)
        before = whole.steps.copy()
        self._prepared += domain.carrier.carry(
            a,
            b,
            domain.shape,
            domain.interval(minute).clock._replace(last_step=end),
            whole._replace(status=status, wind_error=domain.wind_error),
            self._values,
            self._xy,
        )
        whole.status[mine] = status[mine]
        self._minutes[domain.index] += int((whole.steps - before)[mine].sum())
        every = self._physics.record_every
        first, last = minute // every, min(self._met.shape[1], -(-end // every))
        record = np.arange(first, last)
        made = (record >= (before // every)[:, None]) & (record < (whole.steps // every)[:, None])
        self._met[:, first:last][made & own[:, None]] = domain.index
        return mine

    def _hand_on(self, minute: int, domain: _Domain, left: np.ndarray, coarser: Sequence[_Domain]) -> None:
        """Give particles that left a grid to the next that holds them; the others have come to their end."""
        lon, lat = domain.grid.to_lonlat(self._ensemble.x[left], self._ensemble.y[left])
        waiting = np.ones(left.size, dtype=bool)
        for other in coarser:
            takes = waiting & other.holds(lon, lat)
            if takes.any():
                self._ensemble.status[left[takes]] = ACTIVE
                self._move(minute, left[takes], domain, other, "edge")
                waiting &= ~takes
        for other in self._domains:
            lost = waiting & other.holds(lon, lat) & (other.index > domain.index)
            if lost.any():
                when = int(self._ensemble.steps[left[lost]].min())
                why = f"a particle left '{domain.name}'"
                raise MetCoverageError(self._missing(when, [other.name], why))
        absent = self._absent(domain.index)
        if absent and waiting.any():
            when = int(self._ensemble.steps[left[waiting]].min())
            why = f"a particle left '{domain.name}'"
            raise MetCoverageError(self._missing(when, absent, why))

    def _absent(self, index: int = -1) -> list[str]:
        """Name the meteorologies after one that have no analyses at all: where they end is not known."""
        known = {domain.index for domain in self._domains}
        return [name for number, name in enumerate(self._names) if number > index and number not in known]

    def _reassign(self, minute: int, ready: Sequence[_Domain]) -> None:
        """Let particles return to finer meteorology, and find another for those whose hours are over."""
        ensemble = self._ensemble
        for domain in self._domains:
            mine = np.flatnonzero((ensemble.status == ACTIVE) & (self._owner == domain.index))
            goes_on = domain in ready
            others = [other for other in ready if other.index < domain.index or not goes_on]
            if not mine.size or (goes_on and not others):
                continue
            lon, lat = domain.grid.to_lonlat(ensemble.x[mine], ensemble.y[mine])
            waiting = np.ones(mine.size, dtype=bool)
            for other in others:
                takes = waiting & other.holds(lon, lat, RETURN_MARGIN if goes_on else 0.0)
                if takes.any():
                    why = "return" if other.index < domain.index else "hours"
                    self._move(minute, mine[takes], domain, other, why)
                    waiting &= ~takes
            if goes_on or not waiting.any():
                continue
            held = [other.name for other in self._domains if (waiting & other.holds(lon, lat)).any()]
            if held:
                raise MetCoverageError(self._missing(minute, held, "particles are there"))
            for p in mine[waiting]:
                # had stepped over the edge with the last minute there was
                ensemble.status[p] = side_left(ensemble.x[p], ensemble.y[p], domain.shape)

    def _move(self, minute: int, which: np.ndarray, old: _Domain, new: _Domain, why: str) -> None:
        """Tell position, height and velocities of particles in the terms of another meteorology."""
        ensemble = self._ensemble
        self._moves[old.name, new.name, why] += which.size
        self._owner[which] = new.index
        x, y = ensemble.x[which].astype(float), ensemble.y[which].astype(float)
        new_x, new_y = new.grid.to_xy(*old.grid.to_lonlat(x, y))
        terrain, other = old.terrain(minute, x, y), new.terrain(minute, new_x, new_y)
        agl = (1.0 - ensemble.sigma[which]) * (float(old.source.levels.top) - terrain)
        depth = float(new.source.levels.top) - other
        sigma = 1.0 - carried_height(agl, terrain, other) / depth
        cosine, sine = turn_between(old.grid, new.grid, x, y)
        u, v = ensemble.u_turb[which].astype(float), ensemble.v_turb[which].astype(float)
        ensemble.u_turb[which], ensemble.v_turb[which] = u * cosine - v * sine, u * sine + v * cosine
        ensemble.x[which], ensemble.y[which] = new_x, new_y
        ensemble.sigma[which] = np.clip(sigma, float(new.source.levels.sigma[-1]), 1.0)
        # where to start looking for levels; the new ones may be fewer
        ensemble.layer[which] = 1
        ensemble.top_level[which] = 1
        if self._physics.has_wind_error:
            length = float(self._physics.zcoruverr)
            carried = carried_errors(
                old.wind_error[which], old.source.levels, terrain, new.source.levels, other, length
            )
            u_error, v_error = carried[:, 0], carried[:, 1]
            c, s = cosine[:, None], sine[:, None]
            new.wind_error[which] = np.stack([u_error * c - v_error * s, u_error * s + v_error * c], axis=1)

    # --- the end ----------------------------------------------------------------------------------

    def recorded(self) -> Recorded:
        """Return what the run left behind."""
        every = self._physics.record_every
        times = np.arange(self._met.shape[1])
        reached = self._ensemble.steps // every
        return Recorded(
            values=self._values,
            xy=self._xy,
            minutes=self._params.time_sign * every * np.arange(1, times.size + 1, dtype=float),
            alive=(times[:, None] < reached) & (times[:, None] >= self.where.minute // every),
            status=self._ensemble.status,
            tiles_prepared=self._prepared,
            buried=self._buried,
            met=self._met,
        )

    def nesting(self) -> Nesting:
        """Return which meteorology moved the particles."""
        total = max(1, int(self._minutes.sum()))
        share = tuple(round(float(minutes) / total, 6) for minutes in self._minutes)
        return Nesting(self._names, share, dict(self._moves))

    def _missing(self, minute: int, names: Sequence[str], why: str = "") -> str:
        """Say that no meteorology has a minute of the run."""
        when = self.start + np.timedelta64(self._params.time_sign * 60 * minute, "s")
        listed = ", ".join(f"'{name}'" for name in names)
        held = "; ".join(
            f"'{domain.name}' has {show(domain.source.series.times.min())} to "
            f"{show(domain.source.series.times.max())} of it"
            for domain in self._domains
        )
        have = f"; {held}" if held else ""
        return (
            f"met {listed} has no analyses around {show(when)} UTC, which the run of receptor "
            f"{self._receptor.id} needs{' (' + why + ')' if why else ''}{have}. Add files or shorten n_hours."
        )
