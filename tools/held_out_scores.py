"""
Score the native engine against the real ``hycs_std`` on cases that are in no reference bank.

::

    python tools/held_out_scores.py BANK FOLDER [--twin] [case ...]

``BANK`` is a reference bank (its ``met`` folder and its ``compare_transport.py`` are used), ``FOLDER`` keeps
the program's ensembles in the bank's format, so that a second look costs only native runs. The program is
found as for ``engine: hysplit`` (``PYSTILT_HYSPLIT_DIR``).

SCORE is the distance to the program's ensembles in units of what another seed of the program has, the mean
over three seeds; a group of statistics is outside when it is beyond what 95 % of the program's own splits
have, counted over the seeds. ``--twin`` compares ``random: hysplit`` with the program row by row instead and
prints the minute at which they part.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import json
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd

from stilt.config import TransportParams
from stilt.receptors import Receptor
from stilt.transport.hysplit.engine import HysplitEngine
from stilt.transport.native.engine import NativeEngine
from stilt.transport.protocol import TransportEngine, TransportRequest

PROGRAM_SEEDS = (1, 2, 3, 4, 5, 6)
NATIVE_SEEDS = (11, 12, 13)
COLUMNS = tuple("time indx long lati zagl foot mlht pres dens samt sigw tlgr".split())
HRRR = ("20190530_00-05_hrrr", "20190530_06-11_hrrr")
GLOBAL = ("global_3deg_20010110-13.arl",)
ALPS = ("era5_alps_20250501_00-02.arl",)
SUMMER = ("synth_conv_lcc.arl",)
KNOTS = (1, 2, 3, 5, 10, 15, 20, 30, 45, *range(60, 601, 60), *range(720, 3601, 180))

BOUNDS = {
    "long": 1.5e-4, "lati": 1.5e-4, "zagl": 0.05, "foot": 1.5e-7, "samt": 1.5e-4, "sigw": 1.5e-3,
    "tlgr": 1.5e-4, "mlht": 0.3, "pres": 0.015, "dens": 1.5e-5,
}  # fmt: skip
"""Largest differences of the same path, printed digits and their rounding included."""


@dataclass(frozen=True)
class Case:
    """One receptor with one meteorology and one set of settings."""

    met: tuple[str, ...]
    time: str
    lon: float | list[float]
    lat: float | list[float]
    height: float | list[float]
    n_hours: int
    params: dict[str, Any] = field(default_factory=dict)
    numpar: int = 500
    msl: bool = False

    @property
    def receptor(self) -> dict[str, Any]:
        """The receptor as the bank writes it."""
        plain = {"time": self.time, "altitude_ref": "msl" if self.msl else "agl"}
        if isinstance(self.lon, list):
            names = ("longitudes", "latitudes", "altitudes")
            return {"kind": "multipoint", **plain, **dict(zip(names, (self.lon, self.lat, self.height)))}
        plain |= {"longitude": self.lon, "latitude": self.lat}
        if isinstance(self.height, list):
            bottom, top = self.height
            return {"kind": "column", **plain, "bottom": bottom, "top": top}
        return {"kind": "point", **plain, "altitude": self.height}

    def run(self, engine: TransportEngine, met: Path, **changed: Any) -> pd.DataFrame:
        """Return the particles of one run."""
        where = self.receptor
        receptor = Receptor.from_dict({"type": where.pop("kind"), **where})
        settings = {"n_hours": self.n_hours, "numpar": self.numpar, "varsiwant": COLUMNS, **self.params}
        params = TransportParams(**{**settings, **changed})
        files = tuple(met / name for name in self.met)
        request = TransportRequest(receptor, "held out", files, params, error=params.is_error)
        return engine.run(request).particles


_WIND_ERROR = {"siguverr": 1.5, "tluverr": 120.0, "zcoruverr": 600.0, "horcoruverr": 40.0}
_ZI_ERROR = {"sigzierr": 30.0, "tlzierr": 90.0, "horcorzierr": 60.0}

CASES = {
    "hrrr_canyon_dusk": Case(HRRR, "2019-05-30T03:30", -111.70, 40.62, 15.0, -3),
    "hrrr_lake_night": Case(HRRR, "2019-05-30T08:00", -112.35, 40.95, 5.0, -5),
    "hrrr_mountain_late": Case(HRRR, "2019-05-30T11:00", -111.60, 40.60, 60.0, -6),
    "hrrr_afternoon_high": Case(HRRR, "2019-05-30T03:00", -112.1, 40.55, 1200.0, -3),
    "hrrr_forward_evening": Case(HRRR, "2019-05-30T01:20", -111.95, 40.45, 25.0, 5),
    "hrrr_forward_dawn": Case(HRRR, "2019-05-30T06:40", -112.2, 40.85, 100.0, 4),
    "hrrr_pbl_of_file": Case(HRRR, "2019-05-30T03:00", -111.95, 40.75, 10.0, -3,
                             {"kmixd": 0, "ziscale": 0.8}),
    "hrrr_substeps_veg": Case(HRRR, "2019-05-30T04:00", -112.0, 40.7, 10.0, -4,
                              {"tlfrac": 0.25, "veght": 0.3, "hscale": 5400, "kzmix": 1}),
    "hrrr_profile_stability": Case(HRRR, "2019-05-30T05:00", -111.9, 40.8, 20.0, -5, {"kbls": 2}),
    "hrrr_no_surface_air": Case(HRRR, "2019-05-30T02:30", -112.05, 40.65, 10.0, -2, {"k10m": 0}),
    "hrrr_prescribed_tl": Case(HRRR, "2019-05-30T03:00", -112.0, 40.7, 50.0, -3,
                               {"vscales": 60.0, "vscaleu": 120.0}),
    "hrrr_wind_error": Case(HRRR, "2019-05-30T04:00", -112.0, 40.7, 30.0, -4, _WIND_ERROR),
    "hrrr_zi_error": Case(HRRR, "2019-05-30T03:00", -112.05, 40.75, 10.0, -3, _ZI_ERROR),
    "hrrr_three_points": Case(HRRR, "2019-05-30T04:00", [-112.0, -111.9, -112.2], [40.7, 40.8, 40.6],
                              [10.0, 50.0, 200.0], -3, numpar=499),
    "hrrr_slant": Case(HRRR, "2019-05-30T03:00", [-112.0, -111.98, -111.96, -111.94],
                       [40.7, 40.71, 40.72, 40.73], [100.0, 600.0, 1200.0, 2000.0], -3),
    "hrrr_column": Case(HRRR, "2019-05-30T02:30", -112.05, 40.7, [0.0, 800.0], -2),
    "hrrr_msl": Case(HRRR, "2019-05-30T06:00", -111.75, 40.6, 2600.0, -4, msl=True),
    "hrrr_release_hours": Case(HRRR, "2019-05-30T00:30", -112.1, 40.7, 20.0, 3, {"emisshrs": 0.5}),
    "hrrr_low_top_ziscale": Case(HRRR, "2019-05-30T04:00", -112.0, 40.75, 10.0, -4,
                                 {"z_top": 8000.0, "ziscale": [1.4, 1.2, 0.7], "outdt": 5}),
    "alps_valley": Case(ALPS, "2025-05-01T02:00", 11.4, 47.25, 10.0, -2),
    "alps_ridge": Case(ALPS, "2025-05-01T02:00", 10.9, 46.9, 40.0, -2),
    "alps_po": Case(ALPS, "2025-05-01T02:00", 9.8, 45.7, 10.0, -2),
    "alps_north_high": Case(ALPS, "2025-05-01T02:00", 9.3, 48.6, 700.0, -2),
    "alps_forward": Case(ALPS, "2025-05-01T00:00", 10.4, 48.4, 30.0, 2),
    "alps_lake": Case(ALPS, "2025-05-01T02:00", 9.4, 47.6, 20.0, -2),
    "global_tropics": Case(GLOBAL, "2001-01-12T15:00", 102.0, 1.5, 20.0, -8),
    "global_greenwich": Case(GLOBAL, "2001-01-12T12:00", 0.3, 51.5, 10.0, -8),
    "global_dateline": Case(GLOBAL, "2001-01-12T06:00", 179.6, -38.0, 50.0, -8),
    "global_arctic": Case(GLOBAL, "2001-01-12T20:00", 25.0, 78.0, 10.0, -8),
    "global_north_pole": Case(GLOBAL, "2001-01-12T12:00", 60.0, 88.5, 200.0, -8),
    "global_south_pole": Case(GLOBAL, "2001-01-12T12:00", -40.0, -88.0, 300.0, 8),
    "global_forward": Case(GLOBAL, "2001-01-11T16:00", -60.0, -25.0, 10.0, 8),
    "summer_morning": Case(SUMMER, "2015-07-12T15:30", -99.3, 38.7, 5.0, -4),
    "summer_afternoon": Case(SUMMER, "2015-07-12T22:00", -99.2, 38.5, 50.0, -6),
    "summer_evening": Case(SUMMER, "2015-07-13T03:00", -99.1, 38.65, 10.0, -5),
    "summer_forward": Case(SUMMER, "2015-07-12T17:10", -100.1, 38.6, 400.0, 5),
    "summer_theta_depth": Case(SUMMER, "2015-07-12T20:00", -99.3, 38.6, 20.0, -4,
                               {"kmixd": 1, "kmix0": 50, "kzmix": 2, "tvmix": 0.6}),
}  # fmt: skip


def bank_tools(bank: Path) -> ModuleType:
    """Load the bank's own comparison."""
    spec = importlib.util.spec_from_file_location("compare_transport", bank / "compare_transport.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def reference(name: str, case: Case, bank: Path, folder: Path, tools: ModuleType) -> tuple[dict, dict]:
    """Return the program's ensembles of a case, by seed, and what describes the case; run once, then kept."""
    where = folder / name
    described = {
        "id": name, "kind": "transport", "mode": "stochastic", "receptor": case.receptor, "met": case.met,
        "n_hours": case.n_hours, "numpar": case.numpar, "params": case.params, "seeds": PROGRAM_SEEDS,
        "grid": {"xres": 0.5, "yres": 0.5} if case.met == GLOBAL else {"xres": 0.05, "yres": 0.05},
        "knot_minutes": [knot for knot in KNOTS if knot <= 60 * abs(case.n_hours)],
        "files": {"particles": "particles.parquet"},
    }  # fmt: skip
    text = json.dumps(described, indent=1)
    if not (where / "case.json").is_file() or (where / "case.json").read_text() != text:
        where.mkdir(parents=True, exist_ok=True)
        knots = described["knot_minutes"]
        runs = [case.run(HysplitEngine(), bank / "met", seed=seed, krand=2) for seed in PROGRAM_SEEDS]
        table = pd.concat(
            [
                tools.thin(run, knots).assign(seed=seed).drop(columns=["_b", "_t"])
                for run, seed in zip(runs, PROGRAM_SEEDS)
            ]
        )
        table.to_parquet(where / "particles.parquet", compression="zstd", index=False)
        (where / "case.json").write_text(text)
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            tools.main([str(where), "--self-check", "--write"])
    runs_of = {
        seed: tools.Run(tools.thin(rows.drop(columns="seed"), described["knot_minutes"]), described)
        for seed, rows in tools.read(where / "particles.parquet").groupby("seed")
    }
    return runs_of, described


def score(name: str, case: Case, bank: Path, folder: Path, tools: ModuleType) -> str:
    """Compare three native ensembles with the program's."""
    runs, described = reference(name, case, bank, folder, tools)
    own = json.loads((folder / name / "self_check.json").read_text())["overall"]
    unit = float(np.sqrt(np.mean(np.square(list(own.values())))))
    scores, outside = [], {}
    for seed in NATIVE_SEEDS:
        path = folder / name / f"native_{seed}.parquet"
        case.run(NativeEngine(), bank / "met", seed=seed).to_parquet(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            candidate = tools.Run(tools.thin(tools.read(path), described["knot_minutes"]), described)
            result = tools.compare(described, candidate, list(runs.values()))
        scores.append(result["overall"] / unit)
        for group, (value, null) in result["groups"].items():
            if group in tools.SCORED:
                outside.setdefault(group, []).append(bool(value > np.nanpercentile(null, 95)))
    share = np.mean([np.mean(flags) for flags in outside.values()])
    named = " ".join(f"{group}:{sum(flags)}" for group, flags in outside.items() if any(flags))
    each = " ".join(f"{value:.2f}" for value in scores)
    return f"{np.mean(scores):5.2f}  ({each})  outside {share:4.0%}  {named}"


def twin(name: str, case: Case, bank: Path, folder: Path) -> str:
    """Follow one seeded run of the program, row by row: many particles for 2 h, one for 8 h."""
    if case.receptor["kind"] != "point":
        return "released otherwise by design"
    said = []
    for numpar, hours in ((50, 2), (1, 8)):
        sign = np.sign(case.n_hours)
        settings = {"numpar": numpar, "n_hours": int(sign * min(hours, abs(case.n_hours)))}
        theirs = case.run(HysplitEngine(), bank / "met", seed=5, krand=2, **settings)
        ours = case.run(NativeEngine(), bank / "met", seed=5, random="hysplit", **settings)
        keys = ["time", "indx"]
        gap = (ours.set_index(keys)[list(BOUNDS)] - theirs.set_index(keys)[list(BOUNDS)]).abs()
        age = np.abs(gap.index.get_level_values("time").to_numpy(dtype=float))
        beyond = pd.DataFrame({column: ~(gap[column] <= bound) for column, bound in BOUNDS.items()})
        if not beyond.any(axis=None):
            largest = " ".join(f"{column} {gap[column].max():.1g}" for column in ("zagl", "foot", "mlht"))
            said.append(f"{numpar} x {abs(settings['n_hours'])} h: none ({largest})")
            continue
        first = age[beyond.any(axis=1)].min()
        columns = beyond[age == first]
        said.append(
            f"{numpar} x {abs(settings['n_hours'])} h: minute {first:.0f} "
            f"({' '.join(columns.columns[columns.any()])}; {int(columns.any(axis=1).sum())} particles)"
        )
    return "; ".join(said)


def main() -> None:
    """Print one line per case."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bank", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("cases", nargs="*")
    parser.add_argument("--twin", action="store_true")
    given = parser.parse_args()
    tools = bank_tools(given.bank)
    for name in given.cases or CASES:
        if given.twin:
            line = twin(name, CASES[name], given.bank, given.folder)
        else:
            line = score(name, CASES[name], given.bank, given.folder, tools)
        print(f"{name:24s} {line}", flush=True)


if __name__ == "__main__":
    main()
