"""
Being asked to stop: the first Ctrl-C or SIGTERM asks, the second insists.

Work is stopped by a flag that everyone looks at, never by an exception in the middle of a
write. The flag is a file, so that workers see it whoever started them and on any platform,
and nobody holds a lock that a killed process could leave behind.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

TIME_LIMIT_SIGNAL = "SIGUSR1"
"""Name of the signal by which a scheduler says that the time limit is near."""

_LOOK_EVERY = 0.2
"""Seconds between two looks at the flag file."""


class StopFlag:
    """
    A flag that this process raises and its workers see.

    Workers look for a file, so a process without workers makes none.

    Parameters
    ----------
    folder : Path, optional
        A folder all of them see; none: a temporary one, removed by `close`.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._own = folder is None
        self._folder = folder
        self._raised = threading.Event()
        self.signal = ""
        """Name of the signal that raised it; empty when none did."""

    @property
    def path(self) -> Path:
        """The file that exists once the flag is raised; asking for it makes its folder."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="stilt-run-"))
        return self._folder / "stop"

    def raise_flag(self) -> None:
        """Ask everyone to stop."""
        self._raised.set()
        if self._folder is None:
            return  # nobody else looks
        with contextlib.suppress(OSError):
            self.path.touch()

    def is_raised(self) -> bool:
        """Whether this process has been asked to stop."""
        return self._raised.is_set()

    def close(self) -> None:
        """Remove the temporary folder."""
        if self._own and self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


class FlagWatcher:
    """
    A worker's view of the flag of another process.

    Parameters
    ----------
    path : Path
        The flag file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen = False
        self._next_look = 0.0

    def __call__(self) -> bool:
        """Whether to stop."""
        now = time.monotonic()
        if not self._seen and now >= self._next_look:
            self._next_look = now + _LOOK_EVERY
            self._seen = os.path.exists(self.path)
        return self._seen


@contextlib.contextmanager
def heeding_signals(flag: StopFlag, said: Callable[[str], None] | None = None) -> Iterator[None]:
    """
    Let SIGINT, SIGTERM and SIGUSR1 raise the flag; a second one raises KeyboardInterrupt.

    SIGUSR1 is how a scheduler says that the time limit is near; it never insists.
    Outside the main thread, where Python handles no signals, nothing changes.

    Parameters
    ----------
    flag : StopFlag
        The flag.
    said : callable, optional
        Told once, in words for people.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        if flag.is_raised():
            if name == TIME_LIMIT_SIGNAL:
                return
            raise KeyboardInterrupt
        flag.signal = name
        flag.raise_flag()
        if said is not None:
            said(f"{name}: stopping; what is finished is kept (once more to force).")

    previous = {}
    for name in ("SIGINT", "SIGTERM", TIME_LIMIT_SIGNAL):
        number = getattr(signal, name, None)
        if number is None:
            continue
        with contextlib.suppress(ValueError, OSError):
            previous[number] = signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in previous.items():
            with contextlib.suppress(ValueError, OSError, TypeError):
                signal.signal(number, handler)
