"""The native engine behind the common protocol."""

from __future__ import annotations

import os
import time
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from stilt._version import __version__
from stilt.config import MetConfig, TransportParams
from stilt.errors import ConfigError, TransportTimeoutError
from stilt.kernels.boundaries import EXIT_NAMES
from stilt.meteorology.catalog import open_available, open_series, show
from stilt.meteorology.projection import HorizontalGrid
from stilt.transport.native.nested import Member, simulate_nested
from stilt.transport.native.recipe import column_source
from stilt.transport.native.release import Release, release_particles
from stilt.transport.native.settings import check_settings
from stilt.transport.native.simulate import Recorded, follows_mass, simulate
from stilt.transport.native.table import particle_table
from stilt.transport.native.tiles import ColumnPool
from stilt.transport.protocol import TransportRequest, TransportResult, check_nesting, receptor_key

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
    nests = True
    """Takes particles from one meteorology to another."""

    def __init__(self, pool: ColumnPool | None = None) -> None:
        self._pool = pool

    def check(self, params: TransportParams) -> None:
        """Raise UnsupportedSettingError, naming the key, for a setting that is not implemented."""
        check_settings(params)

    def warm_up(self, params: TransportParams | None = None) -> None:
        """Compile every kernel, or load it from the cache of an earlier run."""
        from stilt.transport.native.warmup import compile_kernels

        compile_kernels(follows_mass=params is not None and follows_mass(params))

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
        check_nesting(self, [request.met_name, *(name for name, _ in request.fallbacks)], params)
        seed = DEFAULT_SEED if params.seed is None else params.seed
        try:
            went = (self._in_several if request.fallbacks else self._in_one)(
                request,
                {
                    "seed": seed,
                    "key": receptor_key(receptor, error=request.error),
                    "error": request.error,
                    "deadline": deadline,
                    "should_stop": should_stop,
                },
            )
        except TransportTimeoutError as error:
            raise TransportTimeoutError(f"receptor {receptor.id}: {error}") from error
        recorded = went.recorded
        heights = went.release.height if receptor.kind != "point" else None
        table = particle_table(recorded, went.grids, params.varsiwant, heights)
        exits = count_exits(recorded)
        if recorded.buried > _NOTEWORTHY_DEPTH:
            warnings.warn(
                f"receptor {receptor.id} lies {recorded.buried:.0f} m below the ground of met "
                f"'{request.met_name}' and was released at the ground; check altitude_ref and the height.",
                UserWarning,
                stacklevel=2,
            )
        lines = _log(request, recorded, exits, went.interval, seed, time.monotonic() - began)
        return TransportResult(
            particles=table,
            log="\n".join([*lines, *went.lines]),
            met_files=went.met_files,
            exits=exits,
            seed=seed,
            nesting=went.nesting,
        )

    def _in_one(self, request: TransportRequest, controls: dict[str, Any]) -> _Went:
        """Carry the particles through one meteorology."""
        params, receptor = request.params, request.receptor
        start, end = _span(request)
        met = request.met if isinstance(request.met, MetConfig) else list(request.met)
        series = open_series(met, name=request.met_name, start=start, end=end, who=f"receptor {receptor.id}")
        release = release_particles(
            receptor,
            params.numpar,
            series,
            params.z_top,
            hours=params.emisshrs,
            as_program=params.random == "hysplit",
        )
        recorded = simulate(
            column_source(series, params),
            release,
            start,
            params,
            self._pool or worker_pool(),
            **controls,
        )
        files = [asdict(info) for info in series.files]
        return _Went(recorded, release, series.grid, files, series.interval)

    def _in_several(self, request: TransportRequest, controls: dict[str, Any]) -> _Went:
        """Carry the particles through several meteorologies."""
        params, receptor = request.params, request.receptor
        start, end = _span(request)
        members, files, lines = [], [], []
        chain = ((request.met_name, request.met), *request.fallbacks)
        for name, met in chain:
            if not isinstance(met, MetConfig):
                raise ConfigError(
                    f"met '{name}': files given one by one have no fallback; give a section with a directory."
                )
            found = open_available(met, name=name, start=start, end=end, who=f"receptor {receptor.id}")
            lines += [f"left out of met '{name}': {fault}" for fault in found.faults]
            if found.series is None:
                lines.append(f"met '{name}' has no analyses between {show(start)} and {show(end)} UTC")
                members.append(Member(name, None, found.step))
                continue
            members.append(Member(name, column_source(found.series, params), found.step))
            files += [{**asdict(info), "met": name} for info in found.series.files]
        recorded, release, nesting = simulate_nested(
            members,
            receptor,
            params,
            self._pool or worker_pool(),
            **controls,
        )
        grids = [None if member.source is None else member.source.series.grid for member in members]
        interval = int(members[0].step.astype("timedelta64[m]").astype(int))
        return _Went(
            recorded, release, grids, files, interval, nesting.to_dict(), [nesting.describe(), *lines]
        )


@dataclass(frozen=True)
class _Went:
    """How particles went, in one meteorology or several."""

    recorded: Recorded
    release: Release
    grids: HorizontalGrid | list[HorizontalGrid | None]
    met_files: list[dict[str, Any]]
    interval: int
    nesting: dict[str, Any] | None = None
    lines: Sequence[str] = ()


def _span(request: TransportRequest) -> tuple[np.datetime64, np.datetime64]:
    """Return the two ends of a run [UTC]."""
    start = np.datetime64(request.receptor.time, "s")
    return start, start + np.timedelta64(request.params.n_hours, "h")


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
) -> list[str]:
    n = recorded.status.size
    shares = ", ".join(f"{name} {count / n:.1%}" for name, count in exits.items() if count)
    kind = " with errors" if request.error else ""
    return [
        f"engine native {__version__}{kind}: receptor {request.receptor.id}, met '{request.met_name}' "
        f"every {interval} min, {n} particles for {request.params.n_hours} h, seed {seed}",
        f"particles ended: {shares}",
        f"tiles prepared: {recorded.tiles_prepared}; {seconds:.2f} s",
    ]
