"""
Downloading meteorology: each file once for all workers, checked before anybody reads it.

Of several workers that want one file the first gets it and the others wait. A file appears under its
name only when every byte has arrived, every record has the checksum that its index gives it, and,
where ``subgrid_*`` asks for it, it has been cut; then the whole file goes again. A worker that was
killed leaves a part, with which the next goes on.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import math
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stilt.errors import (
    MetCoverageError,
    MetDownloadError,
    MetError,
    MetFormatError,
    MetNotFoundError,
)
from stilt.locks import FileLock
from stilt.meteorology import transfer
from stilt.meteorology.archive import (
    Note,
    Wanted,
    address,
    cut_of,
    folder,
    merged,
    note_path,
    wanted_files,
    write_note,
)
from stilt.meteorology.arl.file import ArlFile, open_arl
from stilt.meteorology.arl.index import NotArlError
from stilt.meteorology.catalog import show
from stilt.meteorology.crop import crop_arl

if TYPE_CHECKING:
    from stilt.config import MetConfig

AT_ONCE = 4
"""Files downloaded at once by one command."""
ASKED_AT_ONCE = 16
"""Sizes asked for at once."""
REMEMBERED = 60.0
"""How long a worker does not ask again for what was not to be had [s]."""
_TWICE = 2
"""Times a file that arrives damaged is fetched."""

_had_not: dict[str, tuple[float, MetError]] = {}
_lock = threading.Lock()


def forget_failures() -> None:
    """Ask again for what was not to be had."""
    with _lock:
        _had_not.clear()


def _recall(key: str) -> None:
    with _lock:
        found = _had_not.get(key)
    if found is not None and time.monotonic() - found[0] < REMEMBERED:
        raise type(found[1])(str(found[1]))


def _remember(key: str, error: MetError) -> MetError:
    with _lock:
        _had_not[key] = time.monotonic(), error
    return error


def downloaded(
    met: MetConfig, name: str, start: np.datetime64, end: np.datetime64, who: str
) -> list[ArlFile]:
    """
    Return the files around a span of time, downloading those that are not here.

    Parameters
    ----------
    met : MetConfig
        A section with the name of an archive as ``source``.
    name : str
        Its name in the configuration, for messages.
    start, end : datetime64
        The two ends of a run [UTC] in either order.
    who : str
        What needs them, for messages.

    Raises
    ------
    MetNotFoundError
        When the archive lacks a file.
    MetCoverageError
        When the archive begins later.
    MetDownloadError
        When the archive cannot be reached, refuses, or sends damaged files.
    """
    files = []
    for wanted in wanted_files(met, name, start, end):
        try:
            get(met, name, wanted)
        except MetNotFoundError as error:
            raise MetNotFoundError(
                f"{error} {who[:1].upper()}{who[1:]} needs {show(min(start, end))} to "
                f"{show(max(start, end))} UTC: choose another source, or run it when the file is there."
            ) from error
        files.append(open_arl(wanted.path))
    return files


def downloadable(met: MetConfig, name: str, start: np.datetime64, end: np.datetime64) -> list[ArlFile]:
    """
    Return those files around a span of time that the archive has, downloading what is not here.

    Parameters
    ----------
    met, name, start, end
        As for `downloaded`.

    Raises
    ------
    MetDownloadError
        When the archive cannot be reached, refuses, or sends damaged files.
    """
    files = []
    with contextlib.suppress(MetCoverageError):  # begins later
        for wanted in wanted_files(met, name, start, end):
            with contextlib.suppress(MetNotFoundError):
                get(met, name, wanted)
                files.append(open_arl(wanted.path))
    return files


def get(
    met: MetConfig, name: str, wanted: Wanted, *, verify: bool = False, stop: threading.Event | None = None
) -> bool:
    """
    Have one file here.

    Parameters
    ----------
    met : MetConfig
        Its section.
    name : str
        Name of the section, for messages.
    wanted : Wanted
        The file.
    verify : bool
        Also compare the bytes of a file that is here with its checksum, and replace it if they differ.
    stop : Event, optional
        Set by a caller who wants no more.

    Returns
    -------
    bool
        Whether it was downloaded now.

    Raises
    ------
    MetNotFoundError, MetDownloadError
    """
    if _is_good(wanted, verify):
        return False
    _recall(wanted.url)
    _recall(address(met))
    try:
        wanted.path.parent.mkdir(parents=True, exist_ok=True)
        wanted.whole.parent.mkdir(parents=True, exist_ok=True)
        # with the whole file, which several cuts share; the lock says by itself when its holder is dead
        with FileLock(str(wanted.whole), timeout=math.inf):
            if _is_good(wanted, verify):
                return False
            _recall(wanted.url)
            _recall(address(met))
            _bring(met, name, wanted, stop)
    except MetError:
        raise
    except OSError as error:
        full = error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
        what = "no space is left" if full else (error.strerror or str(error))
        raise MetDownloadError(
            f"met '{name}': {wanted.key} cannot be kept under {folder(met)} ({what}). "
            f"{'Make room, or give' if full else 'Give'} another `download_dir`."
        ) from error
    return True


def _is_good(wanted: Wanted, verify: bool) -> bool:
    note = wanted.note()
    return note is not None and (not verify or _sha256(wanted.path) == note.sha256)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _bring(met: MetConfig, name: str, wanted: Wanted, stop: threading.Event | None) -> None:
    cut = cut_of(met)
    whole = Wanted(wanted.key, wanted.url, wanted.whole, wanted.whole)
    if note_path(wanted.path).exists():  # ours, and not what its note says
        wanted.path.unlink(missing_ok=True)
        note_path(wanted.path).unlink()
    note = whole.note() or _adopt(name, whole)
    kept = note is not None
    if note is None:
        note = _fetch(met, name, whole, stop)
    if cut is None:
        return
    try:
        crop_arl(open_arl(wanted.whole), cut, wanted.path)
    finally:
        if not kept:
            note_path(wanted.whole).unlink(missing_ok=True)
            wanted.whole.unlink(missing_ok=True)
    size = wanted.path.stat().st_size
    write_note(wanted.path, Note(note.url, size, _sha256(wanted.path), note.etag, note.modified))


def _adopt(name: str, wanted: Wanted) -> Note | None:
    """Take a whole file that somebody else has put here, once it is checked."""
    if not wanted.whole.exists():
        return None
    if note_path(wanted.whole).exists():  # ours, and changed since
        wanted.whole.unlink()
        return None
    try:
        ArlFile(wanted.whole).verify()
    except MetFormatError as error:
        raise MetDownloadError(
            f"met '{name}': {wanted.whole} is not from the archive and cannot be used ({error}). Remove it."
        ) from error
    note = Note(wanted.whole.as_uri(), wanted.whole.stat().st_size, _sha256(wanted.whole))
    write_note(wanted.whole, note)
    return note


def _fetch(met: MetConfig, name: str, wanted: Wanted, stop: threading.Event | None) -> Note:
    """Get the whole file, check it, and give it its name."""
    part = wanted.whole.with_name(wanted.whole.name + ".part")
    for attempt in range(1, _TWICE + 1):
        with _explained(met, name, wanted):
            remote = transfer.transfer(wanted.url, part, stop=stop)
        try:
            ArlFile(part).verify()
            break
        except MetFormatError as error:
            size = part.stat().st_size
            transfer.discard(part)
            if isinstance(error, NotArlError):
                raise _remember(
                    wanted.url,
                    MetDownloadError(
                        f"met '{name}': what {wanted.url} sends ({size} bytes) is no ARL file; a proxy or "
                        "the login page of a network may stand between. Look at the address in a browser."
                    ),
                ) from error
            if attempt == _TWICE:
                raise _remember(
                    wanted.url,
                    MetDownloadError(
                        f"met '{name}': {wanted.url} arrived damaged {_TWICE} times "
                        f"({str(error).removeprefix(f'{part}').lstrip(': ')}). Choose another archive_url "
                        "or source."
                    ),
                ) from error
    note = Note(wanted.url, part.stat().st_size, _sha256(part), remote.etag, remote.modified)
    write_note(wanted.whole, note)
    part.replace(wanted.whole)
    return note


@contextlib.contextmanager
def _explained(met: MetConfig, name: str, wanted: Wanted) -> Any:
    """Say in one line why a file is not to be had, and remember it for the next receptors."""
    try:
        yield
    except transfer.AbsentError as error:
        raise _remember(
            wanted.url, MetNotFoundError(f"met '{name}': the archive has no {wanted.url} ({error}).")
        ) from error
    except transfer.RefusedError as error:
        raise _remember(
            wanted.url,
            MetDownloadError(
                f"met '{name}': the archive refuses {wanted.url} ({error}). Correct archive_url, or get the "
                "files another way and give `directory`."
            ),
        ) from error
    except transfer.UnreachableError as error:
        raise _remember(address(met), unreachable(met, name, str(error))) from error


def unreachable(met: MetConfig, name: str, why: str) -> MetDownloadError:
    """Return the error for an archive that does not answer."""
    return MetDownloadError(
        f"met '{name}': the archive at {address(met)} cannot be reached ({why}). Run `stilt met download` "
        "where there is a network, with a download_dir that both machines see, or give `directory`."
    )


def check_reachable(met: MetConfig, name: str) -> None:
    """
    Raise when nothing is here and the archive does not answer either.

    Raises
    ------
    MetDownloadError, MissingExtraError
    """
    wanted = wanted_files(met, name, np.datetime64("2024-01-01"), np.datetime64("2024-01-01"))[0]
    for root in {folder(met), *([met.subgrid_dir] if met.subgrid_dir else [])}:
        if any(not path.name.endswith(".part.json") for path in root.rglob("*.json")):
            return
    try:
        transfer.look(wanted.url, attempts=2)
    except (transfer.AbsentError, transfer.RefusedError):
        pass  # somebody answers
    except transfer.UnreachableError as error:
        raise unreachable(met, name, str(error)) from error


# --- before a run


@dataclass
class Plan:
    """
    What of an archive runs need.

    Attributes
    ----------
    name, archive, folder : str
        The meteorology, the address of its archive, and where downloads lie.
    here : list of Wanted
        Files that are here.
    to_get : list of Wanted
        Files that would be downloaded.
    absent : list of Wanted
        Files the archive does not have.
    bytes_here, bytes_to_get : int
        Their sizes; whole files, also where only a cut of them stays.
    cuts : bool
        Whether files are cut on arrival.
    error : str
        Why the archive could not be asked.
    """

    name: str
    archive: str
    folder: str
    here: list[Wanted] = field(default_factory=list)
    to_get: list[Wanted] = field(default_factory=list)
    absent: list[Wanted] = field(default_factory=list)
    bytes_here: int = 0
    bytes_to_get: int = 0
    cuts: bool = False
    error: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The plan in words JSON knows."""
        return {
            "name": self.name,
            "archive": self.archive,
            "folder": self.folder,
            "files_here": len(self.here),
            "bytes_here": self.bytes_here,
            "to_download": [wanted.key for wanted in self.to_get],
            "bytes_to_download": self.bytes_to_get,
            "absent": [wanted.key for wanted in self.absent],
            "cut_on_arrival": self.cuts,
            "error": self.error,
        }


def plan(met: MetConfig, name: str, spans: Iterable[tuple[np.datetime64, np.datetime64]]) -> Plan:
    """
    Find out what runs over these spans need, without downloading it.

    Parameters
    ----------
    met : MetConfig
        A section with the name of an archive as ``source``.
    name : str
        Its name in the configuration.
    spans : iterable of (datetime64, datetime64)
        The two ends of each run [UTC].

    Returns
    -------
    Plan
        What is here, what would be downloaded, what is nowhere.

    Raises
    ------
    MetCoverageError, MissingExtraError
    """
    made = Plan(name, address(met), str(folder(met)), cuts=cut_of(met) is not None)
    every: dict[str, Wanted] = {}
    for low, high in merged(spans):
        every |= {wanted.key: wanted for wanted in wanted_files(met, name, low, high)}
    missing = []
    for wanted in every.values():
        note = wanted.note()
        if note is None:
            missing.append(wanted)
        else:
            made.here.append(wanted)
            made.bytes_here += note.size

    def ask(wanted: Wanted) -> int | None:
        _recall(address(met))
        try:
            with _explained(met, name, wanted):
                return transfer.look(wanted.url).size or 0
        except MetNotFoundError:
            return None

    with ThreadPoolExecutor(ASKED_AT_ONCE) as pool:
        asked = [pool.submit(ask, wanted) for wanted in missing]
        for wanted, answer in zip(missing, asked, strict=True):
            try:
                size = answer.result()
            except MetDownloadError as error:
                made.error = str(error)
                made.to_get.append(wanted)
                continue
            if size is None:
                made.absent.append(wanted)
            else:
                made.to_get.append(wanted)
                made.bytes_to_get += size
    return made


@dataclass(frozen=True)
class Arrival:
    """
    What became of one file.

    Parameters
    ----------
    wanted : Wanted
        The file.
    fetched : bool
        Whether it was downloaded now; else it was here, or there is a problem.
    problem : str
        Why it is not here.
    """

    wanted: Wanted
    fetched: bool = False
    problem: str = ""


def get_all(
    met: MetConfig,
    name: str,
    files: Sequence[Wanted],
    *,
    verify: bool = False,
    told: Callable[[Arrival], object] = lambda arrival: None,
) -> list[Arrival]:
    """
    Have many files here, several at once.

    Parameters
    ----------
    met : MetConfig
        Their section.
    name : str
        Its name in the configuration.
    files : sequence of Wanted
        The files.
    verify : bool
        Also check those that are here.
    told : callable
        Called with each file as it is done.

    Returns
    -------
    list of Arrival
        As they were done.
    """
    stop = threading.Event()

    def one(wanted: Wanted) -> Arrival:
        try:
            return Arrival(wanted, get(met, name, wanted, verify=verify, stop=stop))
        except transfer.StoppedError:
            return Arrival(wanted, problem="stopped")
        except MetError as error:
            return Arrival(wanted, problem=str(error))

    done = []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        running = [pool.submit(one, wanted) for wanted in files]
        try:
            for each in as_completed(running):
                done.append(each.result())
                told(done[-1])
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise
    return done


def free_bytes(met: MetConfig) -> int:
    """Return how much fits into the folder of downloads."""
    where = folder(met)
    while not where.exists() and where != where.parent:
        where = where.parent
    return shutil.disk_usage(where).free
