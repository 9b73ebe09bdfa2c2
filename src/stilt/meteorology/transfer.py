r"""
One file over HTTP, however often the connection breaks.

What has arrived lies in ``<name>.part``, and ``<name>.part.json`` says of which version it is::

    {"etag": "\"abc\"", "modified": "Tue, 28 May 2019 ...", "size": 3221225472}

so an interrupted transfer, also one of an earlier process, goes on where it ended, unless the file on
the server has become another one meanwhile; then it begins again. Errors that pass (a broken
connection, too many requests, a fault of the server) are waited out with growing pauses; as long
as bytes arrive the transfer goes on.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import re
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, dataclass
from email.message import Message
from pathlib import Path
from typing import IO

from stilt._version import __version__

ATTEMPTS = 6
"""Requests one after the other that may fail without a byte arriving."""
PAUSE = 1.0
"""First pause between them [s], doubled each time."""
LONGEST_PAUSE = 60.0
TIMEOUT = 60.0
"""How long a server may be silent [s]."""
CHUNK = 1 << 20

_PASSING = (408, 425, 429, 500, 502, 503, 504)
_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)")


class UnreachableError(Exception):
    """No answer from the server, or none that helps, however often it was asked."""


class RefusedError(Exception):
    """The server answers that it will not give the file."""


class AbsentError(Exception):
    """The server does not have the file."""


class StoppedError(Exception):
    """The caller wants no more."""


@dataclass(frozen=True)
class Remote:
    """
    What a server says of a file.

    Parameters
    ----------
    size : int or None
        Bytes; None where it does not say.
    etag, modified : str
        Which version it is, as far as the server says.
    """

    size: int | None = None
    etag: str = ""
    modified: str = ""

    @property
    def validator(self) -> str:
        """What tells this version from another in a request for the rest of it; empty if nothing does."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.modified


class _BrokenError(Exception):
    """Something that may pass, with the pause the server asks for."""

    def __init__(self, message: str, pause: float = 0.0) -> None:
        super().__init__(message)
        self.pause = pause


def look(url: str, *, attempts: int | None = None) -> Remote:
    """
    Ask how large a file on a server is.

    Parameters
    ----------
    url : str
        Where it is.
    attempts : int, optional
        How often to ask; default `ATTEMPTS`.

    Raises
    ------
    AbsentError, RefusedError, UnreachableError
    """

    def ask() -> Remote:
        with _open(url, method="HEAD") as answer:
            return _remote(answer.headers)

    return _patiently(ask, lambda: 0, attempts or ATTEMPTS, threading.Event())


def transfer(url: str, part: Path, *, stop: threading.Event | None = None) -> Remote:
    """
    Get a file, going on with what an earlier attempt left.

    Parameters
    ----------
    url : str
        Where it is.
    part : Path
        What has arrived; complete afterwards.
    stop : Event, optional
        Set by the caller who wants no more.

    Returns
    -------
    Remote
        What the server says of it.

    Raises
    ------
    AbsentError, RefusedError, UnreachableError, StoppedError
    OSError
        When it cannot be written.
    """
    stop = stop or threading.Event()
    found = _patiently(lambda: _go_on(url, part, stop), lambda: _size(part), ATTEMPTS, stop)
    _note_of(part).unlink(missing_ok=True)
    return found


def discard(part: Path) -> None:
    """Forget what has arrived."""
    part.unlink(missing_ok=True)
    _note_of(part).unlink(missing_ok=True)


def _patiently(
    step: Callable[[], Remote], arrived: Callable[[], int], attempts: int, stop: threading.Event
) -> Remote:
    """Repeat a step while errors may pass; what arrives in between counts as success."""
    failed, before = 0, arrived()
    while True:
        try:
            return step()
        except _BrokenError as error:
            now = arrived()
            failed = 1 if now > before else failed + 1
            before = now
            if failed >= attempts:
                raise UnreachableError(str(error)) from error
            pause = min(max(error.pause, PAUSE * 2.0 ** (failed - 1)), LONGEST_PAUSE)
            if stop.wait(pause * random.uniform(0.75, 1.25)):  # noqa: S311 - spreading clients, no secret
                raise StoppedError from None


def _go_on(url: str, part: Path, stop: threading.Event) -> Remote:
    """Ask for what is missing and write it behind what is there."""
    known, begin = _read_note(part), _size(part)
    if begin and not known.validator:
        begin = 0
    headers = {"Range": f"bytes={begin}-", "If-Range": known.validator} if begin else {}
    try:
        answer = _open(url, headers=headers)
    except _UnsatisfiableError as error:
        if error.size == begin:
            return known
        discard(part)
        raise _BrokenError("the file on the server is shorter than what has arrived") from error
    with answer:
        remote = _remote(answer.headers)
        if answer.status == http.client.PARTIAL_CONTENT:
            first, total = _content_range(answer.headers)
            if first != begin:
                discard(part)
                raise _BrokenError(f"bytes from {first} on were sent instead of from {begin}")
            remote = Remote(total, remote.etag, remote.modified)
        else:
            begin = 0
        _note_of(part).write_text(json.dumps(asdict(remote)))
        with part.open("ab" if begin else "wb") as stream:
            size = begin + _copy(answer, stream, stop)
            stream.flush()
            os.fsync(stream.fileno())
    if remote.size is not None and size != remote.size:
        raise _BrokenError(f"the connection ended after {size} of {remote.size} bytes")
    return remote


def _copy(answer: http.client.HTTPResponse, stream: IO[bytes], stop: threading.Event) -> int:
    count = 0
    while True:
        if stop.is_set():
            raise StoppedError
        try:
            data = answer.read1(CHUNK)
        except (OSError, http.client.HTTPException) as error:
            stream.flush()
            raise _BrokenError(_said(error)) from error
        if not data:
            return count
        stream.write(data)
        count += len(data)


class _UnsatisfiableError(Exception):
    """Nothing lies beyond what was asked from; the size the server says (-1: it does not)."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.size = size


def _open(
    url: str, *, method: str = "GET", headers: dict[str, str] | None = None
) -> http.client.HTTPResponse:
    if not url.startswith(("http://", "https://")):
        raise RefusedError(f"{url} is no address of the web")
    asked = {"User-Agent": f"pystilt/{__version__}", **(headers or {})}
    request = urllib.request.Request(url, method=method, headers=asked)  # noqa: S310 - checked above
    try:
        return urllib.request.urlopen(request, timeout=TIMEOUT)  # noqa: S310
    except urllib.error.HTTPError as error:
        with error:
            _refuse(error)
        raise AssertionError from error  # _refuse always raises
    except (OSError, http.client.HTTPException) as error:
        raise _BrokenError(_said(error)) from error


def _refuse(error: urllib.error.HTTPError) -> None:
    said = f"HTTP {error.code} {error.reason}".strip()
    if error.code in (404, 410):
        raise AbsentError(said) from error
    if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
        raise _UnsatisfiableError(_content_range(error.headers)[1] or -1) from error
    if error.code in _PASSING:
        pause = str(error.headers.get("Retry-After", ""))
        raise _BrokenError(said, float(pause) if pause.isdigit() else 0.0) from error
    raise RefusedError(said) from error


def _remote(headers: Message) -> Remote:
    length = str(headers.get("Content-Length", ""))
    return Remote(
        int(length) if length.isdigit() else None,
        str(headers.get("ETag", "")),
        str(headers.get("Last-Modified", "")),
    )


def _content_range(headers: Message) -> tuple[int | None, int | None]:
    match = _RANGE.fullmatch(str(headers.get("Content-Range", "")).strip())
    if match is None:
        return None, None
    first, total = match.groups()
    return (None if first is None else int(first)), (None if total == "*" else int(total))


def _said(error: BaseException) -> str:
    """Say what went wrong on the way, without the wrappings."""
    reason = getattr(error, "reason", error)
    text = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
    return " ".join(str(text).split())


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _note_of(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _read_note(part: Path) -> Remote:
    with contextlib.suppress(OSError, ValueError, TypeError):
        return Remote(**json.loads(_note_of(part).read_bytes()))
    return Remote()
