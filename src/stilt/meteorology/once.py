"""
Files that appear whole, made once for all workers that want them.

The first of several takes a claim, an empty file beside what it makes, and renews it while it
works; the others wait. The claim of a worker that died is void after a minute, and making a file
twice does no harm, because files appear whole.
"""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

Made = TypeVar("Made")
Alive = Callable[[], object]
"""Called now and then during long work."""

_STALE = 60.0
"""A claim that has not been renewed for this long is void [s]."""


def made_once(path: Path, make: Callable[[Alive], object], read: Callable[[], Made | None]) -> Made:
    """
    Return what a file holds, making it where it is not there.

    Parameters
    ----------
    path : Path
        The file.
    make : callable
        Writes it, whole or not at all; calls its argument now and then.
    read : callable
        Returns what the file holds; None when it is damaged, and then it is made anew.

    Returns
    -------
    object
        What ``read`` returned.
    """
    claim = path.with_name(f".{path.name}.claim")
    while True:
        if path.is_file():
            made = read()
            if made is not None:
                return made
            path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        if not _take(claim):
            time.sleep(0.2)
            continue
        try:
            if not path.is_file():
                make(lambda: _renew(claim))
        finally:
            claim.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """
    Give a name to write to; the file appears under its own when the block ends, or not at all.

    Parameters
    ----------
    path : Path
        Its own name.

    Yields
    ------
    Path
        The name for the time being, beside it.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.tmp")
    try:
        yield temporary
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def _take(claim: Path) -> bool:
    """Try to be the one who makes the file."""
    try:
        with claim.open("x"):
            return True
    except FileExistsError:
        with contextlib.suppress(OSError):
            if time.time() - claim.stat().st_mtime > _STALE:
                claim.unlink(missing_ok=True)
        return False


def _renew(claim: Path) -> None:
    with contextlib.suppress(OSError):
        claim.touch()
