"""
From a configuration to the analyses a run needs.

The names of files narrow the search, the times in their index records decide. A run
over [start, end] gets the analyses from the last at or before its earlier end to the
first at or after its later end, which must follow each other at one interval.

Where two files hold the same time, the one with the shorter forecast is taken, then the
one of the earlier pattern, then the one whose name comes first. All files of a series must
share grid and levels; without a ``file_format`` all ARL files of the directory must.

A listing of a directory is remembered in the process and the index records of its files
also between processes (:mod:`~stilt.meteorology.folder_index`), since thousands of
receptors ask for the same ones; before anything is reported missing the directory is
listed again.
"""

from __future__ import annotations

import math
import os
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from stilt.errors import (
    MetCoverageError,
    MetError,
    MetFormatError,
    MetIntervalError,
    MetNotFoundError,
    UnsupportedSettingError,
)
from stilt.meteorology.arl.file import ArlFile, open_arl
from stilt.meteorology.folder_index import Described, FolderIndex
from stilt.meteorology.projection import HorizontalGrid
from stilt.meteorology.search import FilePattern, Listing, NamedFile, list_files, patterns_of
from stilt.meteorology.series import MetFile, MetFileInfo, MetSeries
from stilt.meteorology.vertical import VerticalLevels

if TYPE_CHECKING:
    from stilt.config import MetConfig

__all__ = ["MetFileInfo", "MetSeries", "forget_listings", "open_series"]

_NEAR = timedelta(hours=6)
"""How far from the span the times in names may be to be looked at first."""
_AROUND = timedelta(days=8)
"""Files named this far from a span may hold some of its times (weekly archives)."""
_STALE_LISTING = 60.0
"""Age [s] of a listing that is made anew before hours are taken as missing for good."""
_MINUTE = np.timedelta64(1, "m")
_listings: dict[tuple[str, tuple[str, ...]], Listing] = {}
_listed: dict[tuple[str, tuple[str, ...]], float] = {}
_indexes: dict[str, FolderIndex] = {}
_lock = threading.Lock()

Source = tuple[MetFile, int]


def forget_listings() -> None:
    """Forget which files directories held, and what was in them."""
    with _lock:
        _listings.clear()
        _listed.clear()
        _indexes.clear()


def folder_index(directory: Path) -> FolderIndex:
    """Return what is remembered of a directory's files, one object for the whole process."""
    key = str(directory.absolute())
    with _lock:
        return _indexes.setdefault(key, FolderIndex(key))


def open_series(
    met: MetConfig | Sequence[str | os.PathLike[str]],
    *,
    name: str,
    start: np.datetime64 | None = None,
    end: np.datetime64 | None = None,
    who: str = "",
) -> MetSeries:
    """
    Find the analyses that a span of time needs.

    Parameters
    ----------
    met : MetConfig or sequence of path
        Where to look: a directory with a pattern of names, or the files themselves.
    name : str
        Name of the meteorology in the configuration, for messages.
    start, end : datetime64, optional
        The two ends of the run [UTC] in either order; None for everything there is.
    who : str
        What needs it, for messages, such as ``"receptor 201905301000_-111.85_40.77_5"``.

    Returns
    -------
    MetSeries
        At least two analyses around [start, end] (all of them without start and end).

    Raises
    ------
    MetNotFoundError, MetCoverageError, MetIntervalError, MetFormatError
    """
    need = _Need(name, start, end, who)
    if isinstance(met, str | os.PathLike):
        met = [met]
    if isinstance(met, Sequence):
        if not met:
            raise MetNotFoundError(f"met '{name}': no files were given.")
        return need.select([open_arl(path) for path in met])
    if met.is_gridded:
        from stilt.meteorology.gridded.file import open_gridded

        series = need.select([open_gridded(met, name)])
        return cut_series(series, met) if met.subgrid_enable else series
    if met.is_download:
        from stilt.meteorology.download import downloaded

        if start is None or end is None:
            raise MetCoverageError(
                f"met '{name}': the archive '{met.source}' is too large to open whole; give a span of time."
            )
        # cut on arrival
        return _enough(need.select(downloaded(met, name, start, end, need.who)), met, need)
    series = _enough(_from_directory(met, need), met, need)
    return cut_series(series, met) if met.subgrid_enable else series


def _enough(series: MetSeries, met: MetConfig, need: _Need) -> MetSeries:
    """Return the series if it has as many files as ``n_min`` asks for."""
    n_min = int(met.n_min or 1)
    if len(series.files) < n_min:
        raise MetNotFoundError(
            f"met '{need.name}': {len(series.files)} files cover {need.span()}, fewer than n_min: {n_min}. "
            "Add files or lower n_min."
        )
    return series


class Available(NamedTuple):
    """
    What there is of a meteorology in a span of time.

    Attributes
    ----------
    series : MetSeries or None
        At least two analyses; not all need follow each other at one interval.
    step : timedelta64[s]
        The usual time between analyses; where it is longer, some are missing.
    faults : tuple of str
        What is wrong with files whose names lie near the span.
    """

    series: MetSeries | None
    step: np.timedelta64
    faults: tuple[str, ...]


def open_available(
    met: MetConfig, *, name: str, start: np.datetime64, end: np.datetime64, who: str = ""
) -> Available:
    """
    Find those analyses of a span of time that there are; hours may be missing anywhere.

    Parameters
    ----------
    met, name, start, end, who
        As for `open_series`.

    Returns
    -------
    Available
        The analyses in the span and next to its ends.

    Raises
    ------
    MetNotFoundError, MetFormatError
        When nothing at all is there, or files do not share one grid.
    """
    need = _Need(name, start, end, who)
    if met.is_gridded:
        from stilt.meteorology.gridded.file import open_gridded

        found = need.available([open_gridded(met, name)], {})
    elif met.is_download:
        from stilt.meteorology.download import downloadable

        return need.available(downloadable(met, name, start, end), {})  # cut on arrival
    else:
        found = need.available(*_files_near(met, need))
        if not need.is_met_by(found):
            # hours may have come since the directory was listed
            found = need.available(*_files_near(met, need, oldest=_STALE_LISTING))
    series = found.series
    if series is None:
        return found
    if met.n_min > 1 and len(series.files) < met.n_min:
        raise MetNotFoundError(
            f"met '{name}': {len(series.files)} files cover part of {need.span()}, fewer than n_min: "
            f"{met.n_min}. Add files or lower n_min."
        )
    return found._replace(series=cut_series(series, met)) if met.subgrid_enable else found


def _files_near(
    met: MetConfig, need: _Need, oldest: float = math.inf
) -> tuple[list[MetFile], dict[str, int], tuple[str, ...]]:
    """Describe the files whose names lie within days of the span."""
    assert met.directory is not None  # noqa: S101 - checked by the caller, for the type checker
    directory = Path(met.directory).expanduser().absolute()
    patterns = patterns_of(met.file_format)
    listing = _listing(directory, patterns, need.name, oldest=oldest)
    refuse_nothing(listing, directory, patterns, need.name, need.when())
    dated = [file for file in listing.files if file.time is not None]
    near = [file for file in listing.files if file.time is None] + _near(dated, need, _AROUND)
    described = folder_index(directory).describe(file.path for file in near)
    if not patterns:
        refuse_mixture(described, directory, need.name)
    faults = [*described.faults, *(described.others if patterns else ())]
    ranks = {file.path: file.rank for file in listing.files}
    return list(described.files), ranks, tuple(str(fault) for fault in faults)


def cut_series(series: MetSeries, met: MetConfig) -> MetSeries:
    """Replace the files of a series by what ``subgrid_*`` keeps of them, cut now or earlier."""
    from stilt.meteorology.crop import Cut, cropped

    assert met.subgrid_bounds is not None  # noqa: S101 - the configuration asks for it
    cut = Cut(met.subgrid_bounds, met.subgrid_buffer, met.subgrid_levels)
    smaller: dict[MetFile, MetFile] = {}
    for file, _ in series.sources:
        if file not in smaller:
            if not isinstance(file, ArlFile):
                raise UnsupportedSettingError(
                    f"met '{series.name}': subgrid_enable cuts ARL files, and {file.name} is none. "
                    "Set it to false."
                )
            smaller[file] = cropped(file, cut, met.subgrid_dir)
    return MetSeries(series.name, tuple((smaller[file], period) for file, period in series.sources))


def _from_directory(met: MetConfig, need: _Need) -> MetSeries:
    assert met.directory is not None  # noqa: S101 - checked by the caller, for the type checker
    directory = Path(met.directory).expanduser().absolute()
    patterns = patterns_of(met.file_format)
    key = _key(directory, patterns)
    with _lock:
        listing = _listings.get(key)
    if listing is not None:
        try:
            return _search(listing, directory, patterns, met, need)
        except MetError:
            pass  # the directory may have changed since it was listed
    listing = _listing(directory, patterns, need.name, oldest=0.0)
    return _search(listing, directory, patterns, met, need)


def _key(directory: Path, patterns: Sequence[FilePattern]) -> tuple[str, tuple[str, ...]]:
    return str(directory), tuple(pattern.text for pattern in patterns)


def _listing(
    directory: Path, patterns: tuple[FilePattern, ...], name: str, *, oldest: float = math.inf
) -> Listing:
    """List a directory, or take the list made less than ``oldest`` seconds ago."""
    key = _key(directory, patterns)
    now = monotonic()
    with _lock:
        listing = _listings.get(key) if now - _listed.get(key, now) < oldest else None
    if listing is None:
        listing = list_files(directory, patterns, name)
        with _lock:
            _listings[key] = listing
            _listed[key] = now
    return listing


def _search(
    listing: Listing, directory: Path, patterns: tuple[FilePattern, ...], met: MetConfig, need: _Need
) -> MetSeries:
    """Read headers of files whose names lie near the span, then further away, until it is covered."""
    refuse_nothing(listing, directory, patterns, need.name, need.when())
    index = folder_index(directory)
    if not patterns:
        described = index.describe(file.path for file in listing.files)
        refuse_mixture(described, directory, need.name)
        return need.select(described.files, fault=described.faults[:1])
    undated = [file for file in listing.files if file.time is None]
    dated = [file for file in listing.files if file.time is not None]
    ranks = {file.path: file.rank for file in listing.files}
    margin: timedelta | None = max(met.file_interval or _NEAR, _NEAR)
    tried = -1
    nearest_fault: MetFormatError | None = None
    while True:
        near = undated + _near(dated, need, margin)
        if len(near) == len(listing.files):
            margin = None
        if len(near) > tried:
            described = index.describe(file.path for file in near)
            faults = described.faults + described.others
            if tried < 0 and faults:
                nearest_fault = faults[0]
            tried = len(near)
            try:
                return need.select(described.files, ranks)
            except (MetCoverageError, MetIntervalError) as error:
                if margin is None:
                    # a damaged file around the span explains what is missing; one far away does not
                    raise (nearest_fault or error) from None
        margin = None if margin is None or margin > timedelta(days=64) else 4 * margin


def refuse_nothing(
    listing: Listing,
    directory: Path,
    patterns: Sequence[FilePattern],
    name: str,
    when: np.datetime64 | None = None,
) -> None:
    """Raise `MetNotFoundError` when a directory holds no file that matches."""
    if listing.files:
        return
    if listing.n_seen == 0:
        raise MetNotFoundError(
            f"met '{name}': directory {directory} holds no files. "
            "Put the meteorology there or correct `directory`."
        )
    wanted = " or ".join(f"'{pattern.text}'" for pattern in patterns)
    if when is not None:
        wanted += f" (such as '{patterns[0].example(when)}')"
    raise MetNotFoundError(
        f"met '{name}': none of the {listing.n_seen} files under {directory} begins with {wanted}; "
        f"one is called '{listing.other}'. Correct `file_format`."
    )


def refuse_mixture(described: Described, directory: Path, name: str) -> None:
    """Raise when the ARL files of a directory without a ``file_format`` are not one meteorology."""
    if not described.files:
        if described.faults:
            raise described.faults[0]
        raise MetNotFoundError(
            f"met '{name}': none of the files under {directory} is an ARL file. Correct `directory`."
        )
    kinds = Counter(kind_of(file) for file in described.files)
    if len(kinds) > 1:
        examples = {kind_of(file): file.name for file in reversed(described.files)}
        listed = "; ".join(
            f"{count} of model {kind[0].strip()} on {kind[1].nx} x {kind[1].ny} points and "
            f"{kind[2].n_upper} levels, such as {examples[kind]}"
            for kind, count in kinds.most_common(3)
        )
        raise MetFormatError(
            f"met '{name}': {directory} holds {len(kinds)} kinds of meteorology ({listed}). "
            "Give a `file_format` that picks one."
        )


def kind_of(file: MetFile) -> tuple[str, HorizontalGrid, VerticalLevels]:
    """Return what all files of one meteorology share: model, grid and levels."""
    return file.model_id, file.grid, file.levels


def _near(files: list[NamedFile], need: _Need, margin: timedelta | None) -> list[NamedFile]:
    if margin is None or need.start is None or need.end is None:
        return files
    first = need.earlier().astype("datetime64[s]").item() - margin
    last = need.later().astype("datetime64[s]").item() + margin
    return [file for file in files if file.time is not None and first <= file.time <= last]


class _Need:
    """The span that is wanted, and the choice of analyses for it."""

    def __init__(self, name: str, start: np.datetime64 | None, end: np.datetime64 | None, who: str) -> None:
        self.name = name
        self.start = None if start is None else start.astype("datetime64[s]")
        self.end = None if end is None else end.astype("datetime64[s]")
        self.who = who or "the run"

    def earlier(self) -> np.datetime64:
        times = [time for time in (self.start, self.end) if time is not None]
        return min(times)

    def later(self) -> np.datetime64:
        times = [time for time in (self.start, self.end) if time is not None]
        return max(times)

    def span(self) -> str:
        if self.start is None and self.end is None:
            return "all times"
        return f"{show(self.earlier())} to {show(self.later())} UTC for {self.who}"

    def when(self) -> np.datetime64 | None:
        """Return the later end, None without a span."""
        return None if self.end is None else self.later()

    def select(
        self,
        files: Sequence[MetFile],
        ranks: Mapping[str, int] | None = None,
        fault: Sequence[MetFormatError] = (),
    ) -> MetSeries:
        """
        Choose the analyses that bracket the span.

        Parameters
        ----------
        files : sequence of MetFile
            What there is.
        ranks : mapping, optional
            Which pattern found a path; lower ones go first.
        fault : sequence of MetFormatError
            What to raise instead when times are missing: the damage that explains it.
        """
        try:
            return self._select(files, ranks or {})
        except (MetCoverageError, MetIntervalError):
            if fault:
                raise fault[0] from None
            raise

    def available(
        self, files: Sequence[MetFile], ranks: Mapping[str, int], faults: tuple[str, ...] = ()
    ) -> Available:
        """Choose the analyses in the span and next to its ends, whatever is missing between."""
        by_time = self._by_time(files, ranks)
        times = np.array(sorted(by_time), dtype="datetime64[s]")
        first = max(0, int(np.searchsorted(times, self.earlier(), side="right")) - 1)
        last = min(len(times) - 1, int(np.searchsorted(times, self.later(), side="left")))
        if last - first < 1:
            return Available(None, _MINUTE, faults)
        sources = tuple(by_time[time] for time in times[first : last + 1])
        self._check_same_grid(sources)
        step = np.timedelta64(_usual_minutes(times), "m").astype("timedelta64[s]")
        return Available(MetSeries(self.name, sources), step, faults)

    def is_met_by(self, found: Available) -> bool:
        """Tell whether what there is covers the span without a gap."""
        if found.series is None:
            return False
        times = found.series.times
        inside = times[0] <= self.earlier() and times[-1] >= self.later()
        return bool(inside and (np.diff(times) == found.step).all())

    def _by_time(self, files: Sequence[MetFile], ranks: Mapping[str, int]) -> dict[np.datetime64, Source]:
        """Pick the file that serves each time."""
        by_time: dict[np.datetime64, Source] = {}
        unique = {file.path: file for file in files}
        for file in sorted(
            unique.values(), key=lambda file: (ranks.get(str(file.path), 0), file.name, str(file.path))
        ):
            for period, time in enumerate(file.times):
                held = by_time.get(time)
                if held is None or file.forecast_hours[period] < held[0].forecast_hours[held[1]]:
                    by_time[time] = (file, period)
        return by_time

    def _select(self, files: Sequence[MetFile], ranks: Mapping[str, int]) -> MetSeries:
        by_time = self._by_time(files, ranks)
        if not by_time:
            raise MetCoverageError(
                f"met '{self.name}' has no file with a name near {self.span()}. Add the files."
            )
        times = np.array(sorted(by_time), dtype="datetime64[s]")
        first, last = self._bracket(times)
        chosen = times[first : last + 1]
        sources = tuple(by_time[time] for time in chosen)
        self._check_same_grid(sources)
        self._check_interval(times, first, last)
        return MetSeries(self.name, sources)

    def _bracket(self, times: np.ndarray) -> tuple[int, int]:
        if self.start is None and self.end is None:
            return 0, len(times) - 1
        low, high = self.earlier(), self.later()
        if low < times[0] or high > times[-1]:
            missing = low if low < times[0] else high
            where = "earlier" if low < times[0] else "later"
            both = " (and an earlier one)" if low < times[0] and high > times[-1] else ""
            needs = f"{show(missing)}" if not both else f"{show(low)} to {show(high)}"
            raise MetCoverageError(
                f"met '{self.name}' covers {show(times[0])} to {show(times[-1])} UTC, but {self.who} "
                f"needs {needs}. Add the {where} file or shorten n_hours."
            )
        first = int(np.searchsorted(times, low, side="right")) - 1
        last = int(np.searchsorted(times, high, side="left"))
        if first == last:  # one instant that is an analysis time: an interval needs two
            if last + 1 < len(times):
                last += 1
            elif first > 0:
                first -= 1
            else:
                raise MetCoverageError(
                    f"met '{self.name}' has only {show(times[0])} UTC, but {self.who} needs two "
                    "analyses around it. Add the file before or after."
                )
        return first, last

    def _check_interval(self, times: np.ndarray, first: int, last: int) -> None:
        """Refuse a gap or an uneven interval; what is usual is told by all the times that were found."""
        if last == first:
            return
        steps = np.diff(times)
        usual = _usual_minutes(times)
        for k in range(first, last):
            step = int(steps[k] / _MINUTE)
            if step != usual or steps[k] % _MINUTE:
                gap = step > usual
                what = "a gap" if gap else "an uneven interval"
                remedy = (
                    "Add what is missing."
                    if gap
                    else "Use one interval, or a `file_format` that picks one set."
                )
                raise MetIntervalError(
                    f"met '{self.name}' has {what}: {show(times[k])} is followed by {show(times[k + 1])} UTC "
                    f"({step} min, otherwise {usual} min), and {self.who} needs {self._needed()}. {remedy}"
                )

    def _needed(self) -> str:
        if self.start is None and self.end is None:
            return "all times"
        return f"{show(self.earlier())} to {show(self.later())}"

    def _check_same_grid(self, sources: tuple[Source, ...]) -> None:
        first = sources[0][0]
        for file, _ in sources:
            if file.grid is first.grid and file.levels is first.levels:
                continue
            for what, one, other in (
                ("grids", first.grid, file.grid),
                ("levels", first.levels, file.levels),
                ("models", first.model_id, file.model_id),
            ):
                if one != other:
                    raise MetFormatError(
                        f"met '{self.name}' mixes {what}: {first.path} and {file.path} differ. "
                        "Use a `file_format` that picks one set of files."
                    )


def _usual_minutes(times: np.ndarray) -> int:
    """Return the most frequent time between analyses [min], the shortest of equally frequent ones."""
    counts = Counter(int(step / _MINUTE) for step in np.diff(times))
    most = max(counts.values())
    return min(step for step, count in counts.items() if count == most)


def show(time: np.datetime64) -> str:
    """
    Write a time to the minute (to the second when it has any).

    >>> show(np.datetime64("2019-05-30T06:00:00"))
    '2019-05-30 06:00'
    """
    text = str(time.astype("datetime64[s]")).replace("T", " ")
    return text[:-3] if text.endswith(":00") else text
