"""
What would stop a run, found out before it starts.

`must_start` raises for what makes every simulation impossible (no meteorology at all, a
setting nobody implements); the run does not begin. `examine` looks at everything, receptor
by receptor, and reports; a receptor outside the meteorology stops only itself.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stilt.errors import (
    ConfigError,
    MetError,
    ProjectError,
    StiltError,
    StoreError,
)
from stilt.execution.registry import get_backend
from stilt.execution.worker import WorkContext
from stilt.outputs import check_settings
from stilt.receptors import Receptor
from stilt.storage import Store
from stilt.storage.layout import STATE

if TYPE_CHECKING:
    from stilt.config import MetConfig, ModelConfig
    from stilt.execution.chain_report import ChainReport
    from stilt.execution.met_report import MetReport
    from stilt.meteorology.download import Plan
    from stilt.meteorology.series import MetFile

_MARGIN = timedelta(days=8)
"""Files named this far from the span may hold its times (weekly archives)."""

_EXAMPLES = 3
"""Receptors named in a problem."""


@dataclass(frozen=True)
class Problem:
    """
    Something that would stop a run or some of its simulations.

    Parameters
    ----------
    kind : str
        Short stable name, such as ``met_coverage``.
    message : str
        One line.
    receptors : tuple of str
        Some of the receptors concerned.
    count : int
        How many are concerned; 0 where it is not about receptors.
    """

    kind: str
    message: str
    receptors: tuple[str, ...] = ()
    count: int = 0


@dataclass(frozen=True)
class MetFacts:
    """What the files of one meteorology hold, as far as the receptors need them."""

    name: str
    files: int
    first: str
    last: str
    hours: float
    interval_minutes: int
    model: str
    levels: int
    box: str


@dataclass
class Report:
    """
    What an examination found.

    Parameters
    ----------
    receptors, simulations : int
        How many there are.
    engine : str
        What computes trajectories, with the program and version where it runs one.
    mets : list of MetFacts
        What the meteorology holds.
    coverage : list of MetReport
        What it means for each receptor.
    chains : list of ChainReport
        The same for meteorologies that particles go through one after another.
    problems : list of Problem
        What is wrong; none: the run can start.
    downloads : list of Plan
        What is here of archives, and what would be downloaded.
    """

    receptors: int = 0
    simulations: int = 0
    engine: str = ""
    mets: list[MetFacts] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    coverage: list[MetReport] = field(default_factory=list)
    chains: list[ChainReport] = field(default_factory=list)
    downloads: list[Plan] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing stands in the way."""
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        """The report in words JSON knows."""
        return {
            "ok": self.ok,
            "receptors": self.receptors,
            "simulations": self.simulations,
            "mets": [asdict(met) for met in self.mets],
            "problems": [asdict(problem) for problem in self.problems],
            "coverage": [each.to_dict() for each in self.coverage],
            "chains": [each.to_dict() for each in self.chains],
            "downloads": [each.to_dict() for each in self.downloads],
        }


# --- what makes every simulation impossible -----------------------------------------------------------


def must_start(config: ModelConfig, store: Store, *, compute_root: Path | None = None) -> None:
    """
    Raise if no simulation could possibly run.

    Parameters
    ----------
    config : ModelConfig
        The settings, with absolute folders.
    store : Store
        The output root.
    compute_root : Path, optional
        Where scratch folders go.

    Raises
    ------
    StiltError
        In one line: which setting, folder or file, and what to do.
    """
    check_engine(config)
    for name, met in config.every_met.items():
        check_met_exists(name, met)
    check_writable(store)
    check_scratch(compute_root)


def check_engine(config: ModelConfig) -> None:
    """Raise for settings that the engine or the footprints do not implement."""
    from stilt.transforms import check_imports
    from stilt.transport.protocol import check_nesting
    from stilt.transport.registry import get_engine

    for name, footprint in config.footprints.items():
        check_imports(footprint.transforms, f"footprints.{name}.transforms")
    engine = get_engine(config.engine, config.engine_section)
    engine.check(config.transport_params())
    for name in config.run_mets:
        check_nesting(engine, [each for each, _ in config.met_chain(name)], config.transport_params())


def describe_engine(config: ModelConfig) -> str:
    """Name the engine, and the program it runs if it runs one; StiltError when that is missing."""
    from stilt.transport.protocol import ProgramEngine
    from stilt.transport.registry import get_engine

    engine = get_engine(config.engine, config.engine_section)
    return f"{engine.name}: {engine.describe()}" if isinstance(engine, ProgramEngine) else engine.name


def check_met_exists(name: str, met: MetConfig) -> None:
    """Raise when a meteorology has no files at all; their times are not looked at."""
    from stilt.meteorology.catalog import open_series
    from stilt.meteorology.search import list_files, patterns_of

    if met.is_gridded:
        from stilt.meteorology.gridded.file import open_gridded

        open_gridded(met, name)
        return
    if met.is_download:
        from stilt.meteorology.download import check_reachable

        check_reachable(met, name)
        return
    assert met.directory is not None  # noqa: S101 - the third way, for the type checker
    if not list_files(met.directory, patterns_of(met.file_format), name).files:
        now = np.datetime64("2000-01-01T00", "s")
        open_series(met, name=name, start=now, end=now)


def check_writable(store: Store) -> None:
    """Raise when the output root cannot take a small file."""
    key = f"{STATE}/probe-{os.getpid()}"
    store.write(key, bytes(1 << 16))
    store.delete(key)


def check_scratch(compute_root: Path | None) -> None:
    """Raise when no scratch folder can be made."""
    where = compute_root or Path(tempfile.gettempdir())
    try:
        if compute_root is not None:
            compute_root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=where):
            pass
    except OSError as error:
        raise ProjectError(
            f"no scratch folder can be made under {where} ({error.strerror or error}); choose another with "
            "--compute-root or PYSTILT_COMPUTE_ROOT."
        ) from error


# --- everything ---------------------------------------------------------------------------------------


def examine(config: ModelConfig, receptors: Sequence[Receptor], store: Store) -> Report:
    """
    Look for everything that would stop a run or some of its simulations. Nothing is changed.

    Parameters
    ----------
    config : ModelConfig
        The settings, with absolute folders.
    receptors : sequence of Receptor
        Where and when.
    store : Store
        The output root.

    Returns
    -------
    Report
        What is there and what is wrong.
    """
    report = Report(len(receptors), len(receptors) * len(config.run_mets))
    with contextlib.suppress(StiltError):  # check_engine reports what is wrong
        report.engine = describe_engine(config)
    if not receptors:
        report.problems.append(Problem("no_receptors", "there are no receptors; list them in receptors.csv."))
    for kind, check in (
        ("execution", lambda: get_backend(config.execution, WorkContext(store, config)).check()),
        ("setting", lambda: check_engine(config)),
        ("receptor_setting", lambda: _check_releases(config, receptors)),
    ):
        _note(report, kind, check)
    for name in config.run_mets:
        chain = config.met_chain(name)
        if len(chain) > 1:
            _examine_chain(report, chain, config, receptors)
        else:
            _examine_met(report, name, chain[0][1], config, receptors)
    _examine_grids(report, config, receptors)
    try:
        stale = check_settings(store, config)
        if stale:
            report.problems.append(Problem("stale_outputs", stale.message))
    except StiltError as error:
        report.problems.append(Problem("outputs", str(error)))
    try:
        _check_would_write(store)
    except StoreError as error:
        report.problems.append(Problem("output_dir", str(error)))
    # one met may help several
    report.problems = list(dict.fromkeys(report.problems))
    return report


def _note(report: Report, kind: str, check: Any) -> None:
    try:
        check()
    except StiltError as error:
        report.problems.append(Problem(kind, str(error)))


def _check_releases(config: ModelConfig, receptors: Sequence[Receptor]) -> None:
    """Raise for the first receptor that the settings or the engine cannot release."""
    from stilt.transport.protocol import ReceptorEngine
    from stilt.transport.registry import get_engine

    params = config.transport_params()
    for reference in {receptor.altitude_ref for receptor in receptors}:
        params.kmsl_for(reference)
    points = max(
        receptors, key=lambda receptor: len(receptor) if receptor.kind == "multipoint" else 1, default=None
    )
    if points is not None:
        points.release_points(params.numpar)
    engine = get_engine(config.engine, config.engine_section)
    if isinstance(engine, ReceptorEngine):
        for receptor in receptors:
            engine.check_receptor(receptor, params)


def _examine_met(
    report: Report, name: str, met: MetConfig, config: ModelConfig, receptors: Sequence[Receptor]
) -> None:
    from stilt.meteorology.catalog import open_series

    by_time = _by_time(receptors)
    starts = np.array(sorted(by_time), dtype="datetime64[s]")
    ends = starts + np.timedelta64(config.n_hours, "h")
    files = _files_of(report, name, met, starts, ends, by_time)
    if files is None:
        return
    times = np.unique(np.concatenate([file.times for file in files])) if files else starts[:0]
    covered = _covered(times, np.minimum(starts, ends), np.maximum(starts, ends))
    is_new = name not in [facts.name for facts in report.mets]
    if files and is_new:
        report.mets.append(_facts(name, files, times))
    # one message for each stretch of receptor times that lacks the same thing
    for stretch in _stretches(~covered):
        concerned = [receptor for when in starts[stretch] for receptor in by_time[when]]
        first = concerned[0]
        try:
            open_series(
                met,
                name=name,
                start=starts[stretch][0],
                end=ends[stretch][0],
                who=f"receptor {first.id}",
            )
        except StiltError as error:
            reason = getattr(error, "reason", "").lower() or "met_coverage"
            report.problems.append(_about(reason, str(error), concerned))
    if files:
        _examine_box(report, name, files[0], receptors)
        if is_new:
            _examine_use(report, name, files, config, receptors)


def _files_of(
    report: Report,
    name: str,
    met: MetConfig,
    starts: np.ndarray,
    ends: np.ndarray,
    by_time: Mapping[np.datetime64, list[Receptor]] | None = None,
) -> list[MetFile] | None:
    """
    Open the files near the runs and note damage; None where there is nothing to examine.

    With the receptors of each time, what an archive lacks is a problem; another met may have it without them.
    """
    try:
        check_met_exists(name, met)
    except MetError as error:
        report.problems.append(Problem("met_missing", str(error)))
        return None
    except ConfigError as error:
        report.problems.append(Problem("setting", str(error)))
        return None
    if not starts.size:
        return None
    if met.is_download and not _examine_downloads(report, name, met, starts, ends, by_time):
        return None
    files, faults = open_files(met, name, starts, ends)
    report.problems += [Problem("met_corrupt", fault) for fault in faults]
    return files


def _examine_chain(
    report: Report,
    chain: Sequence[tuple[str, MetConfig]],
    config: ModelConfig,
    receptors: Sequence[Receptor],
) -> None:
    """Look at meteorologies that particles go through: only what none of them has is a problem."""
    from stilt.execution.chain_report import chain_report

    starts = np.array(sorted(_by_time(receptors)), dtype="datetime64[s]")
    ends = starts + np.timedelta64(config.n_hours, "h")
    found, here = [], True
    for name, met in chain:
        files = _files_of(report, name, met, starts, ends)
        if files is None and met.is_download:
            here = False
        if not files:
            continue
        times = np.unique(np.concatenate([file.times for file in files]))
        if name not in [facts.name for facts in report.mets]:
            report.mets.append(_facts(name, files, times))
            _examine_use(report, name, files, config, receptors)
        known = next(each for each in report.coverage if each.name == name)
        found.append((known, times))
    if not here or not receptors:
        return  # what is missing or still to be downloaded cannot be judged
    names = " and ".join(f"'{name}'" for name, _ in chain)
    if not found:
        message = f"none of met {names} has analyses near the runs. Add files or choose other receptors."
        report.problems.append(_about("met_coverage", message, receptors))
        return
    together = chain_report(found, receptors, config.n_hours)
    report.chains.append(together)
    inside = np.asarray((together.km_to_edge >= 0).any(axis=0))
    outside = [receptor for receptor, good in zip(receptors, inside, strict=True) if not good]
    if outside:
        message = (
            f"{len(outside)} of {len(receptors)} receptors lie outside met {names}, such as "
            f"{outside[0].id}; they would fail."
        )
        report.problems.append(_about("receptor_off_grid", message, outside))
    lacking = together.hours_missing > 0.01
    short = [receptor for receptor, lacks in zip(receptors, lacking, strict=True) if lacks]
    if short:
        most = float(together.hours_missing.max())
        message = (
            f"{len(short)} of {len(receptors)} receptors have hours that none of met {names} covers, up to "
            f"{most:g} h, such as {short[0].id}. Add files or shorten n_hours."
        )
        report.problems.append(_about("met_coverage", message, short))


def _examine_downloads(
    report: Report,
    name: str,
    met: MetConfig,
    starts: np.ndarray,
    ends: np.ndarray,
    by_time: Mapping[np.datetime64, list[Receptor]] | None,
) -> bool:
    """Add what would be downloaded; tell whether everything is here, so that files can be looked at."""
    from stilt.meteorology.archive import wanted_files
    from stilt.meteorology.download import free_bytes, plan

    spans = list(zip(starts, ends, strict=True))
    try:
        found = plan(met, name, spans)
    except StiltError as error:
        reason = getattr(error, "reason", "").lower() or "met_download"
        report.problems.append(Problem(reason, str(error)))
        return False
    if name not in [each.name for each in report.downloads]:  # else it helps several others
        report.downloads.append(found)
    if found.error:
        report.problems.append(Problem("met_download", found.error))
    absent = {wanted.key for wanted in found.absent}
    if absent and by_time is not None:
        concerned = [
            receptor
            for low, high in spans
            if absent.intersection(wanted.key for wanted in wanted_files(met, name, low, high))
            for receptor in by_time[low]
        ]
        message = (
            f"the archive of met '{name}' lacks {len(absent)} files, such as {found.absent[0].url}; "
            f"{len(concerned)} receptors would fail, such as {concerned[0].id}."
        )
        report.problems.append(_about("missing_met_files", message, concerned))
    free = free_bytes(met)
    if not found.cuts and found.bytes_to_get > free:
        message = (
            f"met '{name}': {found.bytes_to_get / 1e9:.1f} GB to download do not fit into {found.folder}, "
            f"where {free / 1e9:.1f} GB are left; give another download_dir, or subgrid_enable."
        )
        report.problems.append(Problem("disk_full", message))
    return not found.to_get and (by_time is None or not absent)


def _examine_use(
    report: Report, name: str, files: Sequence[MetFile], config: ModelConfig, receptors: Sequence[Receptor]
) -> None:
    """Add what the meteorology means for each receptor."""
    from stilt.execution.met_report import met_report

    found = met_report(name, files, receptors, config.transport_params())
    report.coverage.append(found)
    if found.error:
        report.problems.append(Problem("met_variable_missing", found.error))
    report.problems += [Problem("met_levels", text) for text in found.warnings]


def _examine_box(report: Report, name: str, file: MetFile, receptors: Sequence[Receptor]) -> None:
    points = [len(receptor) for receptor in receptors]
    longitudes = np.array([lon for receptor in receptors for lon in receptor.longitudes])
    latitudes = np.array([lat for receptor in receptors for lat in receptor.latitudes])
    inside = np.logical_and.reduceat(
        file.grid.contains(longitudes, latitudes), np.concatenate([[0], np.cumsum(points)[:-1]])
    )
    outside = [receptor for receptor, good in zip(receptors, inside, strict=True) if not good]
    if outside:
        message = (
            f"{len(outside)} of {len(receptors)} receptors lie outside met '{name}', which covers "
            f"{file.grid.describe()}, such as {outside[0].id}; they would fail."
        )
        report.problems.append(_about("receptor_off_grid", message, outside))


def _examine_grids(report: Report, config: ModelConfig, receptors: Sequence[Receptor]) -> None:
    for name in config.footprints:
        grid = config.footprint_grid(name)
        outside = [
            receptor
            for receptor in receptors
            if not any(
                grid.contains(lon, lat)
                for lon, lat in zip(receptor.longitudes, receptor.latitudes, strict=True)
            )
        ]
        if outside:
            message = (
                f"{len(outside)} of {len(receptors)} receptors lie outside the grid of footprint '{name}' "
                f"({grid.xmin:g} to {grid.xmax:g} E, {grid.ymin:g} to {grid.ymax:g} N), "
                f"such as {outside[0].id}; their footprints would lack what lies near them."
            )
            report.problems.append(_about("receptor_outside_footprint_grid", message, outside))


def _about(kind: str, message: str, receptors: Sequence[Receptor]) -> Problem:
    if len(receptors) > 1 and "receptors" not in message:
        message = f"{message} ({len(receptors)} receptors are concerned.)"
    return Problem(
        kind, message, tuple(str(receptor.id) for receptor in receptors[:_EXAMPLES]), len(receptors)
    )


def _by_time(receptors: Iterable[Receptor]) -> Mapping[np.datetime64, list[Receptor]]:
    groups: dict[np.datetime64, list[Receptor]] = {}
    keys: dict[datetime, np.datetime64] = {}
    for receptor in receptors:
        key = keys.get(receptor.time)
        if key is None:
            key = keys[receptor.time] = np.datetime64(receptor.time, "s")
        groups.setdefault(key, []).append(receptor)
    return groups


def open_files(
    met: MetConfig, name: str, starts: np.ndarray, ends: np.ndarray
) -> tuple[list[MetFile], list[str]]:
    """Open the files whose names lie near the span of all runs; headers only."""
    from stilt.meteorology.catalog import folder_index
    from stilt.meteorology.search import list_files, patterns_of

    if met.is_gridded:
        from stilt.meteorology.gridded.file import open_gridded

        return [open_gridded(met, name)], []
    if met.is_download:
        from stilt.meteorology.archive import files_here

        return files_here(met, name, zip(starts, ends, strict=True))
    assert met.directory is not None  # noqa: S101 - checked before, for the type checker
    low: datetime = min(starts[0], ends[0]).item() - _MARGIN
    high: datetime = max(starts[-1], ends[-1]).item() + _MARGIN
    directory = Path(met.directory)
    listed = list_files(directory, patterns_of(met.file_format), name).files
    near = [file.path for file in listed if file.time is None or low <= file.time <= high]
    described = folder_index(directory).describe(near)
    faults = described.faults + (described.others if met.file_format else [])
    return list(described.files), [str(fault) for fault in faults]


def _covered(times: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Tell which runs over [low, high] find their analyses at one interval."""
    if times.size < 2:
        return np.zeros(low.size, dtype=bool)
    first = np.searchsorted(times, low, side="right") - 1
    last = np.searchsorted(times, high, side="left")
    inside = (first >= 0) & (last < times.size)
    steps = np.diff(times).astype(np.int64)
    values, counts = np.unique(steps, return_counts=True)
    odd = np.concatenate([[0], np.cumsum(steps != values[np.argmax(counts)])])
    at = np.clip(first, 0, times.size - 1), np.clip(last, 0, times.size - 1)
    return np.asarray(inside & (odd[at[1]] == odd[at[0]]))


def _stretches(flags: np.ndarray) -> Iterator[slice]:
    """Yield the runs of consecutive True values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    for begin, end in edges.reshape(-1, 2):
        yield slice(int(begin), int(end))


def _facts(name: str, files: Sequence[MetFile], times: np.ndarray) -> MetFacts:
    steps = np.diff(times).astype(np.int64) // 60
    interval = int(np.bincount(steps).argmax()) if steps.size else 0
    first, last = (str(time.astype("datetime64[m]")).replace("T", " ") for time in (times[0], times[-1]))
    return MetFacts(
        name=name,
        files=len(files),
        first=first,
        last=last,
        hours=float((times[-1] - times[0]) / np.timedelta64(1, "h")),
        interval_minutes=interval,
        model=files[0].model_id,
        levels=files[0].levels.n_upper,
        box=files[0].grid.describe(),
    )


def _check_would_write(store: Store) -> None:
    """Raise when the output root could not be written, without creating it."""
    if store.is_remote:
        check_writable(store)
        return
    probe = store.local_path(f"{STATE}/probe")
    folder = probe.parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if folder == probe.parent:
        check_writable(store)
    elif not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        what = "cannot be written" if folder.is_dir() else "is not a folder"
        raise StoreError(f"{folder} {what}; make it writable or choose another folder with --output-dir.")
