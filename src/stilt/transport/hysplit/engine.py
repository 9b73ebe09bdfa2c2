"""The HYSPLIT engine behind the common protocol."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from stilt.config import HysplitConfig, MetConfig, TransportParams
from stilt.errors import ConfigError, UnsupportedSettingError
from stilt.meteorology.catalog import open_series
from stilt.meteorology.series import MetSeries
from stilt.receptors import Receptor
from stilt.sections import Section
from stilt.transport.hysplit.control import control_text
from stilt.transport.hysplit.error_files import error_files
from stilt.transport.hysplit.namelist import setup_text
from stilt.transport.hysplit.particles import read_particles
from stilt.transport.hysplit.program import Program, find_program, run_program
from stilt.transport.hysplit.release import Release, check_releasable, plan_release
from stilt.transport.hysplit.settings import check_settings, randomness
from stilt.transport.hysplit.staging import stage
from stilt.transport.hysplit.verdict import Expected, judge_ending, judge_particles
from stilt.transport.protocol import TransportRequest, TransportResult, check_nesting

OUTPUT = "PARTICLE_STILT.DAT"


class HysplitEngine:
    """NOAA's ``hycs_std`` in STILT mode; the program is the user's."""

    name = "hysplit"

    def __init__(self, config: HysplitConfig | None = None) -> None:
        self._config = config

    def configure(self, section: Section) -> None:
        """Take ``hysplit: {exe, data_dir}`` of the configuration."""
        if not isinstance(section, HysplitConfig):
            raise ConfigError(f"engine 'hysplit' takes a HysplitConfig, not a {type(section).__name__}.")
        self._config = section

    def describe(self) -> str:
        """Say in one line which program runs."""
        return self.program().describe()

    def program(self) -> Program:
        """Find the program; ProgramNotFoundError says what is missing."""
        return find_program(self._config)

    def check(self, params: TransportParams) -> None:
        """Raise for a setting the program would stop on or ignore, and where there is no program."""
        check_settings(params)
        self.program()

    def check_receptor(self, receptor: Receptor, params: TransportParams) -> None:
        """Raise for a receptor that the program cannot release as it is meant."""
        check_releasable(receptor, params)

    def warm_up(self, params: TransportParams | None = None) -> None:
        """Compile the reader of the program's output, or load it from the cache of an earlier run."""
        with tempfile.TemporaryDirectory(prefix="stilt-warm-up-") as name:
            path = Path(name) / OUTPUT
            path.write_text("0.0 0.0 0.0\n -1. 1. 2.0 3.0\n")
            read_particles(path, ("time", "indx", "long", "lati"))

    def run(
        self,
        request: TransportRequest,
        *,
        deadline: float | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> TransportResult:
        """Compute one ensemble (see :class:`~stilt.transport.protocol.TransportEngine`)."""
        params, receptor = request.params, request.receptor
        check_settings(params)
        check_nesting(self, [request.met_name, *(name for name, _ in request.fallbacks)], params)
        program = self.program()
        began = time.monotonic()
        if params.timeout is not None:
            limit = began + params.timeout
            deadline = limit if deadline is None else min(deadline, limit)
        check_releasable(receptor, params)
        chance = randomness(params, receptor, error=request.error)
        series = _series(request)
        release = plan_release(receptor, params, series.grid)
        who = f"receptor {receptor.id}"
        texts = {
            "SETUP.CFG": setup_text(
                params,
                release,
                kmsl=params.kmsl_for(receptor.altitude_ref),
                krand=chance.krand,
                seed=chance.written,
                error=request.error,
            ),
            **error_files(params, error=request.error),
        }
        with _folder(request.scratch, "error" if request.error else "main") as folder:
            met = stage(folder, program.tables, texts, series)
            control = control_text(receptor, release.lines, params, met)
            (folder / "CONTROL").write_text(control)
            ended = run_program(
                program.exe,
                folder,
                deadline=deadline,
                limit=params.timeout,
                should_stop=should_stop,
                say=request.say,
                who=who,
            )
            judge_ending(folder, ended.code, who)
            table = read_particles(folder / OUTPUT, params.varsiwant)
        last = 60.0 * abs(params.n_hours)
        every = max(1.0, params.outdt)
        lon, lat = release.positions.T
        exits = judge_particles(table, Expected(who, release.count, last, every, series.grid, lon, lat))
        return TransportResult(
            particles=_with_heights(table, release) if receptor.kind != "point" else table,
            log="\n".join(
                [
                    f"engine hysplit {program.version}{' with errors' if request.error else ''}: {who}, met "
                    f"'{request.met_name}' every {series.interval} min in {len(met)} files, "
                    f"{release.count} particles for {params.n_hours} h, "
                    f"KRAND={chance.krand} SEED={chance.written}",
                    *_points_moved(release),
                    "particles ended: "
                    + ", ".join(f"{name} {n / release.count:.1%}" for name, n in exits.items() if n),
                    f"hycs_std took {ended.seconds:.2f} s, {ended.cpu_seconds:.2f} s CPU",
                ]
            ),
            met_files=[asdict(info) for info in series.files],
            exits=exits,
            seed=chance.seed,
        )


def _series(request: TransportRequest) -> MetSeries:
    """Find the analyses of a run."""
    start = np.datetime64(request.receptor.time, "s")
    end = start + np.timedelta64(request.params.n_hours, "h")
    met = request.met if isinstance(request.met, MetConfig) else list(request.met)
    if isinstance(met, MetConfig) and met.is_gridded:
        raise UnsupportedSettingError(
            f"met '{request.met_name}': source xarray is read by engine native only; make ARL files with "
            "`stilt met convert` for engine hysplit."
        )
    return open_series(
        met, name=request.met_name, start=start, end=end, who=f"receptor {request.receptor.id}"
    )


def _points_moved(release: Release) -> list[str]:
    if not release.moved:
        return []
    return [
        f"points above one spot set apart by up to {release.moved:.1f} m, as hycs_std would take them for a "
        "vertical line"
    ]


def _with_heights(table: pd.DataFrame, release: Release) -> pd.DataFrame:
    heights = release.heights.astype(np.float32)
    return table.assign(xhgt=heights[table["indx"].to_numpy() - 1])


@contextmanager
def _folder(scratch: Path | None, name: str) -> Iterator[Path]:
    """Give the program a folder: one in the scratch folder, or a temporary one."""
    if scratch is None:
        with tempfile.TemporaryDirectory(prefix="stilt-hysplit-") as temporary:
            yield Path(temporary)
        return
    folder = scratch / name
    folder.mkdir()
    yield folder
