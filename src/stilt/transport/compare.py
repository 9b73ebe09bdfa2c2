"""Run two engines on the same receptors, and say how alike their particles are and how fast they came."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import pandas as pd

from stilt.config import MetConfig, ModelConfig, TransportParams
from stilt.errors import StiltError, UnsupportedSettingError
from stilt.receptors import Receptor
from stilt.transport.measures import (
    COMPARED_COLUMNS,
    Comparison,
    compare_ensembles,
    path_differences,
)
from stilt.transport.protocol import TransportEngine, TransportRequest
from stilt.transport.registry import get_engine

CANDIDATE, REFERENCE = "native", "hysplit"


@dataclass
class ReceptorComparison:
    """
    Both engines on one receptor.

    Attributes
    ----------
    receptor, met : str
        What ran.
    cpu : dict of str to float
        CPU seconds of one run, by engine; meteorology and all.
    particle_minutes : dict of str to int
        Rows of one run with a row each minute, by engine.
    runs : list of Comparison
        Each run of the candidate beside the reference (with turbulence).
    own : list of float
        Each reference run beside the others.
    paths : DataFrame, optional
        Differences by hour (without turbulence).
    problem : str
        Why an engine could not run it; empty otherwise.
    """

    receptor: str
    met: str
    cpu: dict[str, float] = field(default_factory=dict)
    particle_minutes: dict[str, int] = field(default_factory=dict)
    runs: list[Comparison] = field(default_factory=list)
    own: list[float] = field(default_factory=list)
    paths: pd.DataFrame | None = None
    problem: str = ""

    @property
    def score(self) -> float:
        """Distance of the candidate as a multiple of the distance between reference runs."""
        if not self.runs or not self.own:
            return math.nan
        return _rms(run.overall for run in self.runs) / _rms(self.own)

    @property
    def is_alike(self) -> bool:
        """Whether the mean run lies within what chance gives, or the worst of the reference's own runs."""
        if not self.runs:
            return not self.problem
        limit = max([run.bounds[1] for run in self.runs] + self.own)
        return _rms(run.overall for run in self.runs) <= limit

    @property
    def speed_ratio(self) -> float:
        """How many times less CPU the candidate took for a particle and minute."""
        if len(self.cpu) < 2 or not all(self.particle_minutes.values()):
            return math.nan
        ours, theirs = (self.cpu[name] / self.particle_minutes[name] for name in (CANDIDATE, REFERENCE))
        return theirs / ours if ours else math.inf

    def to_dict(self) -> dict[str, Any]:
        """Everything in words JSON knows."""
        return {
            "receptor": self.receptor,
            "met": self.met,
            "problem": self.problem,
            "score": _plain(self.score),
            "alike": self.is_alike,
            "speed_ratio": _plain(self.speed_ratio),
            "cpu_seconds": self.cpu,
            "reference_overall": self.own,
            "runs": [asdict(run) for run in self.runs],
            "paths": None if self.paths is None else self.paths.reset_index().to_dict("records"),
        }


def compare_engines(
    config: ModelConfig, receptors: Iterable[Receptor], met: str, *, seeds: int = 3
) -> Iterator[ReceptorComparison]:
    """
    Run both engines on receptors, one after the other.

    Parameters
    ----------
    config : ModelConfig
        Settings; ``engine`` and error keys do not count.
    receptors : iterable of Receptor
        Where and when.
    met : str
        Key under ``mets``.
    seeds : int
        Runs of each engine, two or more.

    Yields
    ------
    ReceptorComparison
        One for each receptor, as soon as it is done. What goes wrong with one is its ``problem``.

    Raises
    ------
    StiltError
        Settings one of the engines does not take, or no program.
    """
    params = config.transport_params().without_errors()
    wanted = (*params.varsiwant, *(name for name in COMPARED_COLUMNS if name not in params.varsiwant))
    params = params.replace(varsiwant=wanted, seed=None)
    engines = {CANDIDATE: get_engine(CANDIDATE), REFERENCE: get_engine(REFERENCE, config.hysplit)}
    for engine in engines.values():
        engine.check(params)
        engine.warm_up(params)
    for receptor in receptors:
        found = ReceptorComparison(str(receptor.id), met)
        try:
            _compare(found, engines, receptor, config.met(met), params, seeds)
        except StiltError as error:
            found.problem = str(error)
        yield found


def _compare(
    found: ReceptorComparison,
    engines: dict[str, TransportEngine],
    receptor: Receptor,
    met: MetConfig,
    params: TransportParams,
    seeds: int,
) -> None:
    if params.nturb:
        seeds = 1
        if receptor.kind == "column":
            raise UnsupportedSettingError(
                f"receptor {receptor.id}: hycs_std releases a column at random heights, so without "
                "turbulence (nturb: 1) there are no equal particles to compare; use points."
            )
        # one particle for each point
        numpar = len(receptor) if receptor.kind == "multipoint" else 1
        params = params.replace(numpar=numpar, maxpar=None)
    tables: dict[str, list[pd.DataFrame]] = {}
    for name, engine in engines.items():
        before = _cpu()
        requests = [
            TransportRequest(receptor, found.met, met, params.replace(seed=seed))
            for seed in range(1, seeds + 1)
        ]
        tables[name] = [engine.run(request).particles for request in requests]
        found.cpu[name] = (_cpu() - before) / seeds
        found.particle_minutes[name] = sum(map(len, tables[name])) // seeds
    ours, theirs = tables[CANDIDATE], tables[REFERENCE]
    if params.nturb:
        found.paths = path_differences(ours[0], theirs[0])
        return
    found.runs = [compare_ensembles(table, theirs, receptor) for table in ours]
    if seeds > 2:
        others = ([*theirs[:k], *theirs[k + 1 :]] for k in range(seeds))
        found.own = [
            compare_ensembles(table, rest, receptor).overall
            for table, rest in zip(theirs, others, strict=True)
        ]
    else:
        found.own = [1.0]


def _cpu() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _rms(values: Iterable[float]) -> float:
    squares = [value**2 for value in values]
    return math.sqrt(sum(squares) / len(squares))


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None
