"""
What of the meteorology would stop some simulations: hours, places, variables, damage, downloads.

Each function adds what it finds to the report. Headers are read, never fields.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stilt.errors import ConfigError, MetError, StiltError
from stilt.execution.preflight import check_met_exists
from stilt.execution.problems import MetFacts, Problem, Report, about
from stilt.receptors import Receptor

if TYPE_CHECKING:
    from stilt.config import MetConfig, ModelConfig
    from stilt.meteorology.series import MetFile

_MARGIN = timedelta(days=8)
"""Files named this far from the span may hold its times (weekly archives)."""


def examine_met(
    report: Report, name: str, met: MetConfig, config: ModelConfig, receptors: Sequence[Receptor]
) -> None:
    """Look at a meteorology that receptors use alone."""
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
            report.problems.append(about(reason, str(error), concerned))
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


def examine_chain(
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
        report.problems.append(about("met_coverage", message, receptors))
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
        report.problems.append(about("receptor_off_grid", message, outside))
    lacking = together.hours_missing > 0.01
    short = [receptor for receptor, lacks in zip(receptors, lacking, strict=True) if lacks]
    if short:
        most = float(together.hours_missing.max())
        message = (
            f"{len(short)} of {len(receptors)} receptors have hours that none of met {names} covers, up to "
            f"{most:g} h, such as {short[0].id}. Add files or shorten n_hours."
        )
        report.problems.append(about("met_coverage", message, short))


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
        report.problems.append(about("missing_met_files", message, concerned))
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
        report.problems.append(about("receptor_off_grid", message, outside))


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
