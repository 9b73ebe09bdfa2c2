"""
Carry particles through one stretch of meteorology: blocks, threads, and tiles as they are wanted.

The kernel carries particles as far as the loaded tiles allow and says which tiles it lacks; they are
loaded and it is called again. Calls are cut to well under a second, so that deadlines and signals
are heard.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from stilt.config import TransportParams
from stilt.errors import ConfigError, Interrupted, TransportTimeoutError
from stilt.kernels import particles, rng
from stilt.kernels.air_mass import new_air_mass
from stilt.kernels.layout import Columns, GridShape, Levels
from stilt.kernels.recording import RAIN_BY_COLUMN
from stilt.kernels.state import Clock, Ensemble, Physics, new_work
from stilt.transport.native.tiles import TimeColumns

PARTICLE_MINUTES_PER_CALL = 60_000
"""Work of one kernel call; about a tenth of a second."""


def thread_count() -> int:
    """Return PYSTILT_THREADS, 1 where it is not set."""
    text = os.environ.get("PYSTILT_THREADS", "1")
    try:
        return max(1, int(text))
    except ValueError:
        raise ConfigError(f"PYSTILT_THREADS is '{text}'; give a whole number of threads.") from None


def heeding(
    params: TransportParams, deadline: float | None, should_stop: Callable[[], bool] | None
) -> Callable[[int], None]:
    """Return what is called between kernel calls with the minutes done: it raises when a run has to end."""

    def heed(done_steps: int) -> None:
        if should_stop is not None and should_stop():
            raise Interrupted(
                "stopped while particles were under way; run again to continue with this receptor."
            )
        if deadline is not None and time.monotonic() > deadline:
            allowed = "" if params.timeout is None else f"of {params.timeout:g} s "
            raise TransportTimeoutError(
                f"gave up after {done_steps} of {60 * abs(params.n_hours)} minutes of transport: the timeout "
                f"{allowed}is over. Raise timeout, or use fewer particles or hours."
            )

    return heed


class Carrier:
    """
    Carries particles through one meteorology, in blocks, loading tiles as they are wanted.

    Parameters
    ----------
    levels : Levels
        Internal levels.
    physics : Physics
        Settings of the time loop.
    stream : int
        Kind of random numbers.
    seed, key : int
        Seed of the run and a number for the receptor.
    workers : int
        Blocks carried at once.
    executor : ThreadPoolExecutor
        Runs them.
    heed : callable
        Asked before every call of the kernel (see `heeding`).
    follows_mass : bool
        Follow the mass of the air the particles stand for.
    """

    def __init__(
        self,
        levels: Levels,
        physics: Physics,
        stream: int,
        seed: int,
        key: int,
        workers: int,
        executor: ThreadPoolExecutor,
        heed: Callable[[int], None],
        *,
        follows_mass: bool = False,
    ) -> None:
        self._levels = levels
        self._physics = physics
        self._stream = stream
        self._workers = workers
        self._executor = executor
        self._heed = heed
        self._states = [rng.new_state(stream, seed, key) for _ in range(workers)]
        self._spares = [np.zeros(1, dtype=np.float32) for _ in range(workers)]
        self._memories = [new_work(levels.sigma.size) for _ in range(workers)]
        self._air = [new_air_mass(levels.sigma.size) if follows_mass else None for _ in range(workers)]

    def draw_release(self, depth: np.ndarray, ensemble: Ensemble) -> None:
        """Draw what particles carry from their release over the ``depth`` [m] of the coordinate."""
        particles.release_all(
            self._stream, self._states[0], self._spares[0], self._physics, self._levels, depth, ensemble
        )

    def carry(
        self,
        a: TimeColumns,
        b: TimeColumns,
        shape: GridShape,
        clock: Clock,
        ensemble: Ensemble,
        values: np.ndarray,
        xy: np.ndarray,
        *,
        rain_rule: int = RAIN_BY_COLUMN,
    ) -> int:
        """
        Carry the active particles through the steps of a clock.

        Parameters
        ----------
        a, b : TimeColumns
            The analyses around the steps.
        shape : GridShape
            The horizontal grid.
        clock : Clock
            Which steps.
        ensemble : Ensemble
            The particles, moved.
        values, xy : ndarray
            What is recorded, filled (see `Recorded`).
        rain_rule : int
            How to tell whether precipitation began to accumulate anew (see :mod:`stilt.kernels.recording`).

        Returns
        -------
        int
            Tiles that had to be prepared.
        """
        prepared = 0
        physics = self._physics._replace(rain_rule=rain_rule)
        blocks = _blocks(ensemble.x.size, clock, self._workers, sequential=self._stream == rng.HYSPLIT)
        while blocks:
            missing = np.zeros(a.columns.slots.shape, dtype=np.uint8)
            view_a, view_b = a.columns, b.columns

            def advance(
                worker: int,
                block: tuple[int, int],
                missing: np.ndarray = missing,
                view_a: Columns = view_a,
                view_b: Columns = view_b,
            ) -> int:
                air = self._air[worker]
                if air is not None:
                    air = air._replace(interval=clock.interval)
                return particles.advance(
                    self._stream, self._states[worker], self._spares[worker], view_a, view_b, shape,
                    self._levels, physics, clock, self._memories[worker], ensemble, block[0], block[1],
                    values, xy, missing, air,
                )  # fmt: skip

            self._heed(clock.first_step)
            now, later = blocks[: self._workers], blocks[self._workers :]
            if len(now) == 1:
                waiting = [advance(0, now[0])]
            else:
                waiting = list(self._executor.map(advance, range(len(now)), now))
            if missing.any():
                tiles = [(int(j), int(i)) for j, i in np.argwhere(missing)]
                prepared += a.load(tiles) + b.load(tiles)
            blocks = [block for block, left in zip(now, waiting) if left] + later
        return prepared


def _blocks(n: int, clock: Clock, workers: int, *, sequential: bool) -> list[tuple[int, int]]:
    """Cut the particles into blocks that one call carries."""
    if sequential:
        return [(0, n)]
    steps = clock.last_step - clock.first_step
    size = max(1, min(math.ceil(n / workers), PARTICLE_MINUTES_PER_CALL // max(1, steps)))
    return [(first, min(n, first + size)) for first in range(0, n, size)]
