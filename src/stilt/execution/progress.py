"""
What a run says while it goes on: a bar on a terminal, plain lines elsewhere.

Everything goes to stderr, so that stdout holds results only.
"""

from __future__ import annotations

import contextlib
import sys
import time
from typing import TYPE_CHECKING, Protocol

from stilt.execution.results import SimulationResult

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_LINE_EVERY = 10.0
"""Seconds between plain lines."""

_LINE_SHARE = 0.1
"""Share of the work between plain lines."""


class Reporter(Protocol):
    """Hears how a run goes."""

    def start(self, total: int) -> None:
        """So many simulations are to run."""
        ...

    def advance(self, result: SimulationResult) -> None:
        """One more simulation has ended."""
        ...

    def say(self, text: str) -> None:
        """One line for people."""
        ...

    def finish(self) -> None:
        """The run is over."""
        ...


class Silent:
    """Says nothing."""

    def start(self, total: int) -> None:
        """Say nothing."""

    def advance(self, result: SimulationResult) -> None:
        """Say nothing."""

    def say(self, text: str) -> None:
        """Say nothing."""

    def finish(self) -> None:
        """Say nothing."""


class PlainLines:
    """A line every tenth of the work or every ten seconds, whichever comes later, and one at the end."""

    def __init__(self) -> None:
        self._total = 0
        self._done = 0
        self._failed = 0
        self._began = time.monotonic()
        self._said_at = self._began
        self._said = 0

    def start(self, total: int) -> None:
        """Remember how much there is."""
        self._total = total
        self._began = self._said_at = time.monotonic()

    def advance(self, result: SimulationResult) -> None:
        """Count, and say so now and then."""
        self._done += 1
        self._failed += result.status == "failed"
        now = time.monotonic()
        grown = self._done - self._said >= _LINE_SHARE * self._total
        if (
            self._done == self._total
            or (grown and now - self._said_at >= 1.0)
            or now - self._said_at >= _LINE_EVERY
        ):
            self._said_at, self._said = now, self._done
            self.say(self._line(now))

    def say(self, text: str) -> None:
        """Print a line."""
        with contextlib.suppress(BrokenPipeError, ValueError):
            print(text, file=sys.stderr, flush=True)

    def finish(self) -> None:
        """Say where it ended, unless the last line said so."""
        if self._done and self._said != self._done:
            self.say(self._line(time.monotonic()))

    def _line(self, now: float) -> str:
        seconds = max(now - self._began, 1e-9)
        rate = self._done / seconds
        failed = f", {self._failed} failed" if self._failed else ""
        line = f"{self._done}/{self._total} simulations{failed}, {_rate(rate)}"
        left = self._total - self._done
        return f"{line}, {_duration(left / rate)} left" if left else f"{line}, {_duration(seconds)}"


class Bar:
    """A bar with rate and time left, for terminals."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(stderr=True)
        self._progress: Progress | None = None
        self._bar: TaskID | None = None
        self._done = 0
        self._failed = 0
        self._began = time.monotonic()

    def start(self, total: int) -> None:
        """Show the bar."""
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._began = time.monotonic()
        self._progress = Progress(
            TextColumn("simulations"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[failed]}"),
            console=self._console,
        )
        self._bar = self._progress.add_task("", total=total, rate="", failed="")
        self._progress.start()

    def advance(self, result: SimulationResult) -> None:
        """Move the bar."""
        self._done += 1
        self._failed += result.status == "failed"
        if self._progress is None or self._bar is None:
            return
        rate = self._done / max(time.monotonic() - self._began, 1e-9)
        failed = f"{self._failed} failed" if self._failed else ""
        self._progress.update(self._bar, advance=1, rate=_rate(rate), failed=failed)

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def finish(self) -> None:
        """Leave the bar as it stands."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


def reporter_for(wanted: bool | None = None) -> Reporter:
    """
    Choose how to report.

    Parameters
    ----------
    wanted : bool, optional
        True: a bar on a terminal, else plain lines. False: silence. None: a bar on a terminal, else silence.
    """
    if wanted is False:
        return Silent()
    if sys.stderr is not None and sys.stderr.isatty():
        return Bar()
    return PlainLines() if wanted else Silent()


def _rate(per_second: float) -> str:
    if per_second >= 1.0:
        return f"{per_second:.1f}/s"
    return f"{per_second * 60.0:.1f}/min" if per_second >= 1.0 / 60.0 else f"{per_second * 3600.0:.1f}/h"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
