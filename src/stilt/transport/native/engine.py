"""The native engine behind the common protocol."""

from __future__ import annotations

import os
import time
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict

import numpy as np

from stilt._version import __version__
from stilt.config import MetConfig, TransportParams
from stilt.errors import TransportTimeoutError
from stilt.kernels.boundaries import EXIT_NAMES
from stilt.meteorology.catalog import open_series
from stilt.transport.native.recipe import column_source
from stilt.transport.native.release import release_particles
from stilt.transport.native.settings import check_settings
from stilt.transport.native.simulate import Recorded, simulate
from stilt.transport.native.table import particle_table
from stilt.transport.native.tiles import ColumnPool
from stilt.transport.protocol import TransportRequest, TransportResult, receptor_key

DEFAULT_SEED = 0
"""Seed of runs that give none."""

_NOTEWORTHY_DEPTH = 100.0
"""How far below the model's ground a height above sea level may lie before we say so [m]."""

_POOLS: dict[int, ColumnPool] = {}


def worker_pool() -> ColumnPool:
    """Return the tiles of this process: one pool, so that receptors share them."""
    # a forked child starts its own rather than share a lock that may be held
    pid = os.getpid()
    if pid not in _POOLS:
        _POOLS.clear()
        _POOLS[pid] = ColumnPool()
    return _POOLS[pid]


class NativeEngine:
    """The physics of HYSPLIT's STILT mode, compiled, open, without any other program."""

    name = "native"

    def __init__(self, pool: ColumnPool | None = None) -> None:
        self._pool = pool

    def check(self, params: TransportParams) -> None:
        """Raise UnsupportedSettingError, naming the key, for a setting that is not implemented."""
        check_settings(params)

    def warm_up(self, params: TransportParams | None = None) -> None:
        """Compile every kernel, or load it from the cache of an earlier run."""
        from stilt.transport.native.warmup import compile_kernels

        compile_kernels()

    def run(
        self,
        request: TransportRequest,
        *,
        deadline: float | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> TransportResult:
        """Compute one ensemble (see :class:`~stilt.transport.protocol.TransportEngine`)."""
        params, receptor = request.params, request.receptor
        self.check(params)
        params.kmsl_for(receptor.altitude_ref)
        began = time.monotonic()
        if params.timeout is not None:
            limit = began + params.timeout
            deadline = limit if deadline is None else min(deadline, limit)
        start = np.datetime64(receptor.time, "s")
        end = start + np.timedelta64(params.n_hours, "h")
        met = request.met if isinstance(request.met, MetConfig) else list(request.met)
        series = open_series(met, name=request.met_name, start=start, end=end, who=f"receptor {receptor.id}")
        source = column_source(series, params)
        release = release_particles(
            receptor,
            params.numpar,
            series,
            params.z_top,
            hours=params.emisshrs,
            as_program=params.random == "hysplit",
        )
        seed = DEFAULT_SEED if params.seed is None else params.seed
        try:
            recorded = simulate(
                source,
                release,
                start,
                params,
                self._pool or worker_pool(),
                seed=seed,
                key=receptor_key(receptor, error=request.error),
                error=request.error,
                deadline=deadline,
                should_stop=should_stop,
            )
        except TransportTimeoutError as error:
            raise TransportTimeoutError(f"receptor {receptor.id}: {error}") from error
        heights = release.height if receptor.kind != "point" else None
        table = particle_table(recorded, series.grid, params.varsiwant, heights)
        exits = count_exits(recorded)
        if recorded.buried > _NOTEWORTHY_DEPTH:
            warnings.warn(
                f"receptor {receptor.id} lies {recorded.buried:.0f} m below the ground of met "
                f"'{request.met_name}' and was released at the ground; check altitude_ref and the height.",
                UserWarning,
                stacklevel=2,
            )
        return TransportResult(
            particles=table,
            log=_log(request, recorded, exits, series.interval, seed, time.monotonic() - began),
            met_files=[asdict(info) for info in series.files],
            exits=exits,
            seed=seed,
        )


def count_exits(recorded: Recorded) -> dict[str, int]:
    """
    Count particles by how they ended: at the end of the run or across a side of the domain.

    The top of the model turns particles back, as in the program, so none is ever counted there.
    """
    counts = Counter(EXIT_NAMES.get(int(code), "end of run") for code in recorded.status)
    return {name: counts.get(name, 0) for name in ("end of run", *EXIT_NAMES.values(), "top")}


def _log(
    request: TransportRequest,
    recorded: Recorded,
    exits: dict[str, int],
    interval: int,
    seed: int,
    seconds: float,
) -> str:
    n = recorded.status.size
    shares = ", ".join(f"{name} {count / n:.1%}" for name, count in exits.items() if count)
    kind = " with errors" if request.error else ""
    return "\n".join(
        [
            f"engine native {__version__}{kind}: receptor {request.receptor.id}, met '{request.met_name}' "
            f"every {interval} min, {n} particles for {request.params.n_hours} h, seed {seed}",
            f"particles ended: {shares}",
            f"tiles prepared: {recorded.tiles_prepared}; {seconds:.2f} s",
        ]
    )
