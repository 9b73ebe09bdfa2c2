"""
Drive the particles through the meteorology, one interval between analyses at a time.

The kernel carries particles as far as the loaded tiles allow and says which tiles
it lacks; this loop loads them and calls again. Calls are cut to well under a
second, so that deadlines and signals are heard.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from stilt.config import TransportParams
from stilt.errors import ConfigError, Interrupted, MetCoverageError, TransportTimeoutError
from stilt.kernels import particles, recording, rng
from stilt.kernels.boundaries import ACTIVE
from stilt.kernels.layout import Columns, GridShape
from stilt.kernels.state import Clock, Ensemble, Physics, new_work
from stilt.transport.native.program_grid import Window, program_window
from stilt.transport.native.recipe import ColumnSource
from stilt.transport.native.release import Release
from stilt.transport.native.release_terrain import program_terrain, terrain_at, tiles_of
from stilt.transport.native.tiles import ColumnPool, TimeColumns, grid_shape

_PARTICLE_MINUTES_PER_CALL = 60_000
"""Work of one kernel call; about a tenth of a second."""

_BEYOND_DEFAULT = frozenset("temp sphu wout shtf whtf tcld lcld rain crai".split())
"""Columns that cost extra look-ups."""


@dataclass(frozen=True)
class Recorded:
    """
    What a run left behind.

    Attributes
    ----------
    values : ndarray of float32, shape (N_RECORDED, n_particles, n_times)
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


@dataclass(frozen=True)
class Interval:
    """Steps that share one pair of analyses, ``first`` the one the run comes from."""

    first: int
    second: int
    clock: Clock


def thread_count() -> int:
    """Return PYSTILT_THREADS, 1 where it is not set."""
    text = os.environ.get("PYSTILT_THREADS", "1")
    try:
        return max(1, int(text))
    except ValueError:
        raise ConfigError(f"PYSTILT_THREADS is '{text}'; give a whole number of threads.") from None


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


def ziscale_at(params: TransportParams, analysis: np.datetime64, start: np.datetime64) -> float:
    """Return the factor on the mixed-layer depth at an analysis time; 1 beyond the list's end."""
    factors = params.ziscale_factors
    if len(factors) == 1 and factors[0] < 0:
        return -1.0
    hours = int(abs((analysis - start).astype("timedelta64[s]").astype(np.int64)) // 3600)
    return factors[hours] if hours < len(factors) else 1.0


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
    levels = source.levels
    physics = physics_of(params, error=error)
    stream = rng.HYSPLIT if params.random == "hysplit" else rng.COUNTER
    n = release.x.size
    n_steps = 60 * abs(params.n_hours)
    stretches = intervals(source.series.times, start, n_steps, params.time_sign)

    def columns_at(index: int) -> TimeColumns:
        return pool.at(source, index, ziscale_at(params, source.series.times[index], start))

    a, b = columns_at(stretches[0].first), columns_at(stretches[0].second)
    terrain = terrain_at(a, source, release.x, release.y)
    if params.release_terrain == "program":
        terrain = program_terrain(source, a, b, stretches[0].clock, params.time_sign, release, terrain)
    depth = np.float32(levels.top) - terrain
    agl = release.heights_agl(terrain.astype(float))
    # float32 on purpose: on a 3-degree grid a sub-step of half a metre is below its resolution, which
    # carries particles near the ground up to a fifth farther in the first hour; hycs_std does so, and so
    # must we to agree
    coordinate = np.float32
    n_error = levels.sigma.size if physics.has_wind_error else 0
    ensemble = Ensemble(
        x=release.x.astype(coordinate),
        y=release.y.astype(coordinate),
        sigma=(np.float32(1.0) - agl.astype(np.float32) / depth).astype(np.float32),
        u_turb=np.full(n, np.nan, dtype=np.float32),
        v_turb=np.full(n, np.nan, dtype=np.float32),
        w_ratio=np.zeros(n, dtype=np.float32),
        foot=np.zeros(n, dtype=np.float32),
        samt=np.zeros(n, dtype=np.float32),
        status=np.full(n, ACTIVE, dtype=np.int64),
        steps=release.minute.copy(),
        wind_error=np.zeros((n, 2, n_error), dtype=np.float32),
        zi_error=np.zeros(n, dtype=np.float32),
        layer=np.ones(n, dtype=np.int64),
        top_level=np.ones(n, dtype=np.int64),
    )
    sequential = stream == rng.HYSPLIT
    window = Window(0, 0, 0)
    if sequential:
        window = program_window(source.series.grid, ensemble.x, ensemble.y)
    n_records = n_steps // physics.record_every
    values = np.empty((recording.N_RECORDED, n, n_records), dtype=np.float32)
    xy = np.empty((2, n, n_records), dtype=np.float64)

    workers = 1 if stream == rng.HYSPLIT else (threads or thread_count())
    states = [rng.new_state(stream, seed, key) for _ in range(workers)]
    spares = [np.zeros(1, dtype=np.float32) for _ in range(workers)]
    memories = [new_work(levels.sigma.size) for _ in range(workers)]
    particles.release_all(stream, states[0], spares[0], physics, levels, depth, ensemble)

    def heed(done_steps: int) -> None:
        if should_stop is not None and should_stop():
            raise Interrupted(
                "stopped while particles were under way; run again to continue with this receptor."
            )
        if deadline is not None and time.monotonic() > deadline:
            raise TransportTimeoutError(
                f"gave up after {done_steps} of {n_steps} minutes of transport: the timeout of "
                f"{params.timeout:g} s is over. Raise timeout, or use fewer particles or hours."
            )

    prepared = 0
    with ThreadPoolExecutor(workers) as executor:
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
            for clock in _pieces(stretch.clock, n, workers, sequential=sequential):
                if sequential:
                    active = ensemble.status == ACTIVE
                    if window.near_edge(ensemble.x[active], ensemble.y[active]):
                        window = around
                    shape = shape._replace(west=window.west, south=window.south)
                blocks = _blocks(n, clock, workers, sequential=sequential)
                while blocks:
                    missing = np.zeros(a.columns.slots.shape, dtype=np.uint8)
                    view_a, view_b = a.columns, b.columns

                    def advance(
                        worker: int,
                        block: tuple[int, int],
                        clock: Clock = clock,
                        missing: np.ndarray = missing,
                        view_a: Columns = view_a,
                        view_b: Columns = view_b,
                        shape: GridShape = shape,
                    ) -> int:
                        return particles.advance(
                            stream, states[worker], spares[worker], view_a, view_b, shape, levels, physics,
                            clock, memories[worker], ensemble, block[0], block[1], values, xy, missing,
                        )  # fmt: skip

                    heed(clock.first_step)
                    now, later = blocks[:workers], blocks[workers:]
                    if len(now) == 1:
                        waiting = [advance(0, now[0])]
                    else:
                        waiting = list(executor.map(advance, range(len(now)), now))
                    if missing.any():
                        tiles = [(int(j), int(i)) for j, i in np.argwhere(missing)]
                        prepared += a.load(tiles) + b.load(tiles)
                    blocks = [block for block, left in zip(now, waiting) if left] + later

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
    per_call = min(per_call, max(1, _PARTICLE_MINUTES_PER_CALL))
    pieces = []
    for first in range(clock.first_step, clock.last_step, per_call):
        last = min(clock.last_step, first + per_call)
        offset = np.float32(clock.offset + np.float32(first - clock.first_step))
        pieces.append(Clock(first, last, offset, clock.interval))
    return pieces


def _blocks(n: int, clock: Clock, workers: int, *, sequential: bool) -> list[tuple[int, int]]:
    """Cut the particles into blocks that one call carries."""
    if sequential:
        return [(0, n)]
    steps = clock.last_step - clock.first_step
    size = max(1, min(math.ceil(n / workers), _PARTICLE_MINUTES_PER_CALL // max(1, steps)))
    return [(first, min(n, first + size)) for first in range(0, n, size)]
