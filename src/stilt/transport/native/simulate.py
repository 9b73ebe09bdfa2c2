"""
Drive the particles through the meteorology, one interval between analyses at a time.

How one interval is cut into calls of the kernel is the matter of
:mod:`stilt.transport.native.carry`, several meteorologies that of
:mod:`stilt.transport.native.nested`.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from stilt.config import TransportParams
from stilt.errors import MetCoverageError
from stilt.kernels import recording, rng
from stilt.kernels.boundaries import ACTIVE
from stilt.kernels.state import Clock, Ensemble, Physics
from stilt.transport.native.carry import (
    PARTICLE_MINUTES_PER_CALL,
    Carrier,
    heeding,
    thread_count,
)
from stilt.transport.native.program_grid import Window, program_window
from stilt.transport.native.program_rain import rain_rule
from stilt.transport.native.recipe import ColumnSource
from stilt.transport.native.release import Release
from stilt.transport.native.release_terrain import program_terrain, terrain_at, tiles_of
from stilt.transport.native.tiles import ColumnPool, TimeColumns, grid_shape

_BEYOND_DEFAULT = frozenset("temp sphu wout shtf whtf tcld lcld rain crai".split())
"""Columns that cost extra look-ups."""


@dataclass(frozen=True)
class Recorded:
    """
    What a run left behind.

    Attributes
    ----------
    values : ndarray of float32, shape (N_RECORDED or one more, n_particles, n_times)
        In the order of :mod:`stilt.kernels.recording`.
    xy : ndarray of float64, shape (2, n_particles, n_times)
        Grid coordinates.
    minutes : ndarray of float64, shape (n_times,)
        Minutes from release, negative backward.
    alive : ndarray of bool, shape (n_times, n_particles)
        Whether the particle was still in the domain.
    status : ndarray of int64, shape (n_particles,)
        How each particle ended (see :mod:`stilt.kernels.boundaries`).
    tiles_prepared : int
        Tiles prepared from met files in this run; the others were found ready.
    """

    values: np.ndarray
    xy: np.ndarray
    minutes: np.ndarray
    alive: np.ndarray
    status: np.ndarray
    tiles_prepared: int
    buried: float
    """Largest depth of a release below the model's ground, which was raised to the ground [m]."""
    met: np.ndarray | None = None
    """int8, shape (n_particles, n_times): which meteorology moved the particle, of several; None of one."""


@dataclass(frozen=True)
class Interval:
    """Steps that share one pair of analyses, ``first`` the one the run comes from."""

    first: int
    second: int
    clock: Clock


def intervals(times: np.ndarray, start: np.datetime64, n_steps: int, sign: int) -> list[Interval]:
    """
    Cut a run into stretches between analyses.

    Parameters
    ----------
    times : ndarray of datetime64[s], shape (n_times,)
        Analysis times [UTC], ascending, evenly spaced.
    start : datetime64[s]
        Release [UTC].
    n_steps : int
        Steps of one minute.
    sign : int
        -1 backward, +1 forward.

    Returns
    -------
    list of Interval
        A step belongs to the pair around its start, so none straddles an analysis; with a release at
        odd seconds the last step before an analysis ends on it.
    """
    seconds = (times - times[0]).astype("timedelta64[s]").astype(np.int64)
    now = int((start - times[0]).astype("timedelta64[s]").astype(np.int64))
    spacing = int(seconds[1] - seconds[0])
    done = 0
    found = []
    while done < n_steps:
        if sign < 0:
            first = -(-now // spacing)
            second = first - 1
        else:
            first = now // spacing
            second = first + 1
        if min(first, second) < 0 or max(first, second) >= len(times):
            reached = start + np.timedelta64(sign * 60 * done, "s")
            raise MetCoverageError(
                f"the meteorology ends {times[0] if sign < 0 else times[-1]} UTC, but the run is only at "
                f"{reached}. Add files or shorten n_hours."
            )
        offset = abs(now - int(seconds[first]))
        count = min(n_steps - done, -(-(spacing - offset) // 60))
        clock = Clock(done, done + count, np.float32(offset / 60.0), np.float32(spacing / 60.0))
        found.append(Interval(first, second, clock))
        done += count
        now += sign * 60 * count
    return found


def physics_of(params: TransportParams, *, error: bool) -> Physics:
    """Turn settings into what the time loop reads."""
    wind = error and params.has_wind_error
    zi = error and params.has_zi_error

    h_memory = np.exp(np.float32(-60.0) / np.float32(params.hscale))

    def number(value: float | None) -> np.float32:
        return np.float32(1.0 if value is None else value)

    return Physics(
        time_sign=np.float32(params.time_sign),
        turbulence=params.nturb == 0,
        veght=np.float32(params.veght),
        tlfrac=np.float32(params.tlfrac),
        h_memory=h_memory,
        h_rest=np.sqrt(np.float32(1.0) - h_memory * h_memory),
        has_wind_error=wind,
        siguverr=number(params.siguverr),
        tluverr=number(params.tluverr),
        zcoruverr=number(params.zcoruverr),
        horcoruverr=number(params.horcoruverr),
        has_zi_error=zi,
        sigzierr=number(params.sigzierr),
        tlzierr=number(params.tlzierr),
        horcorzierr=number(params.horcorzierr),
        record_every=max(1, int(params.outdt)),
        records_all=bool(_BEYOND_DEFAULT & set(params.varsiwant)),
    )


def follows_mass(params: TransportParams) -> bool:
    """Tell whether a run follows the mass of the air its particles stand for."""
    return "dmas" in params.varsiwant


def recorded_columns(params: TransportParams) -> int:
    """Count the columns a run records beside positions."""
    return recording.N_RECORDED + follows_mass(params)


def ziscale_at(params: TransportParams, analysis: np.datetime64, start: np.datetime64) -> float:
    """Return the factor on the mixed-layer depth at an analysis time; 1 beyond the list's end."""
    factors = params.ziscale_factors
    if len(factors) == 1 and factors[0] < 0:
        return -1.0
    hours = int(abs((analysis - start).astype("timedelta64[s]").astype(np.int64)) // 3600)
    return factors[hours] if hours < len(factors) else 1.0


def released_sigma(
    source: ColumnSource,
    a: TimeColumns,
    b: TimeColumns,
    clock: Clock,
    release: Release,
    params: TransportParams,
) -> tuple[np.ndarray, np.ndarray]:
    """
    Turn release heights into the terrain-following coordinate.

    Parameters
    ----------
    source : ColumnSource
        Meteorology.
    a, b : TimeColumns
        The analyses around the release.
    clock : Clock
        Time of the release between them.
    release : Release
        Where the particles start.
    params : TransportParams
        Settings.

    Returns
    -------
    sigma, terrain : ndarray of float32, shape (n,)
        Height coordinate [1] and the terrain it counts from [m MSL].
    """
    terrain = terrain_at(a, source, release.x, release.y)
    if params.release_terrain == "program":
        terrain = program_terrain(source, a, b, clock, params.time_sign, release, terrain)
    depth = np.float32(source.levels.top) - terrain
    agl = release.heights_agl(terrain.astype(float))
    return (np.float32(1.0) - agl.astype(np.float32) / depth).astype(np.float32), terrain


def new_ensemble(release: Release, sigma: np.ndarray, n_error: int) -> Ensemble:
    """
    Make the particles of a release, at rest.

    Parameters
    ----------
    release : Release
        Where and when they start.
    sigma : ndarray of float32, shape (n,)
        Their height coordinate.
    n_error : int
        Levels of their wind errors, 0 without.
    """
    n = release.x.size
    # float32 on purpose: on a 3-degree grid a sub-step of half a metre is below its resolution, which
    # carries particles near the ground up to a fifth farther in the first hour; hycs_std does so, and so
    # must we to agree
    coordinate = np.float32
    return Ensemble(
        x=release.x.astype(coordinate),
        y=release.y.astype(coordinate),
        sigma=sigma,
        u_turb=np.full(n, np.nan, dtype=np.float32),
        v_turb=np.full(n, np.nan, dtype=np.float32),
        w_ratio=np.zeros(n, dtype=np.float32),
        foot=np.zeros(n, dtype=np.float32),
        samt=np.zeros(n, dtype=np.float32),
        status=np.full(n, ACTIVE, dtype=np.int64),
        steps=release.minute.copy(),
        wind_error=np.zeros((n, 2, n_error), dtype=np.float32),
        zi_error=np.zeros(n, dtype=np.float32),
        mass=np.ones(n, dtype=np.float32),
        layer=np.ones(n, dtype=np.int64),
        top_level=np.ones(n, dtype=np.int64),
    )


def simulate(
    source: ColumnSource,
    release: Release,
    start: np.datetime64,
    params: TransportParams,
    pool: ColumnPool,
    *,
    seed: int,
    key: int,
    error: bool = False,
    deadline: float | None = None,
    should_stop: Callable[[], bool] | None = None,
    threads: int | None = None,
) -> Recorded:
    """
    Carry an ensemble through its run.

    Parameters
    ----------
    source : ColumnSource
        Meteorology, as columns.
    release : Release
        Where the particles start.
    start : datetime64
        When they start [UTC].
    params : TransportParams
        Settings.
    pool : ColumnPool
        Tiles of this worker.
    seed, key : int
        Seed of the run and a number for the receptor.
    error : bool
        Perturb winds or PBL height.
    deadline, should_stop
        See :meth:`stilt.transport.protocol.TransportEngine.run`.
    threads : int, optional
        Blocks of particles run at once; default PYSTILT_THREADS. The result does not depend on it.
    """
    start = start.astype("datetime64[s]")
    shape = grid_shape(source)
    physics = physics_of(params, error=error)
    stream = rng.HYSPLIT if params.random == "hysplit" else rng.COUNTER
    n = release.x.size
    n_steps = 60 * abs(params.n_hours)
    stretches = intervals(source.series.times, start, n_steps, params.time_sign)

    def columns_at(index: int) -> TimeColumns:
        return pool.at(source, index, ziscale_at(params, source.series.times[index], start))

    a, b = columns_at(stretches[0].first), columns_at(stretches[0].second)
    sigma, terrain = released_sigma(source, a, b, stretches[0].clock, release, params)
    ensemble = new_ensemble(release, sigma, source.levels.sigma.size if physics.has_wind_error else 0)
    sequential = stream == rng.HYSPLIT
    window = Window(0, 0, 0)
    if sequential:
        window = program_window(source.series.grid, ensemble.x, ensemble.y)
    n_records = n_steps // physics.record_every
    values = np.empty((recorded_columns(params), n, n_records), dtype=np.float32)
    xy = np.empty((2, n, n_records), dtype=np.float64)

    workers = 1 if sequential else (threads or thread_count())
    heed = heeding(params, deadline, should_stop)
    prepared = 0
    with ThreadPoolExecutor(workers) as executor:
        carrier = Carrier(
            source.levels,
            physics,
            stream,
            seed,
            key,
            workers,
            executor,
            heed,
            follows_mass=follows_mass(params),
        )
        carrier.draw_release(np.float32(source.levels.top) - terrain, ensemble)
        for stretch in stretches:
            a, b = columns_at(stretch.first), columns_at(stretch.second)
            active = ensemble.status == ACTIVE
            if not active.any():
                break
            if sequential:
                # found at each analysis, taken up once a particle comes near the edge of the one in use
                around = program_window(source.series.grid, ensemble.x[active], ensemble.y[active])
            wanted = sorted(tiles_of(ensemble.x[active], ensemble.y[active], shape))
            prepared += a.load(wanted) + b.load(wanted)
            judged, rule = None, recording.RAIN_BY_COLUMN
            for clock in _pieces(stretch.clock, n, workers, sequential=sequential):
                if sequential:
                    active = ensemble.status == ACTIVE
                    if window.near_edge(ensemble.x[active], ensemble.y[active]):
                        window = around
                    shape = shape._replace(west=window.west, south=window.south)
                    if judged != window:
                        judged = window
                        rule = rain_rule(source, stretch.first, stretch.second, window)
                prepared += carrier.carry(a, b, shape, clock, ensemble, values, xy, rain_rule=rule)

    every = physics.record_every
    reached = ensemble.steps // every
    return Recorded(
        values=values,
        xy=xy,
        minutes=params.time_sign * every * np.arange(1, n_records + 1, dtype=float),
        alive=(np.arange(n_records)[:, None] < reached[None, :])
        & (np.arange(n_records)[:, None] >= (release.minute // every)[None, :]),
        status=ensemble.status,
        tiles_prepared=prepared,
        buried=float(np.max(terrain - release.height)) if release.is_msl else 0.0,
    )


def _pieces(clock: Clock, n: int, workers: int, *, sequential: bool) -> list[Clock]:
    """Cut a clock so that one call of all particles, or of one block, stays short."""
    steps = clock.last_step - clock.first_step
    # in the program's order minute by minute: its window may move at each
    per_call = 1 if sequential else steps
    per_call = min(per_call, max(1, PARTICLE_MINUTES_PER_CALL))
    pieces = []
    for first in range(clock.first_step, clock.last_step, per_call):
        last = min(clock.last_step, first + per_call)
        offset = np.float32(clock.offset + np.float32(first - clock.first_step))
        pieces.append(Clock(first, last, offset, clock.interval))
    return pieces
