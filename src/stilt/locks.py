"""
An exclusive lock that is a file, for folders that several machines share.

Advisory locks of the operating system are not honoured on every network file
system, so the lock is the existence of ``.lock.<name>`` beside the object it
protects. The file is created with its content in one step (hard link, or rename on
Windows) and says who holds it::

    {"host": ..., "pid": ..., "start": ..., "token": ...}

The holder touches the file every few seconds. Waiters take the lock over when its
holder is known to have died (same machine: no such process any more) or has not
touched it for `STALE_AFTER` seconds on the *waiter's* clock, so clocks need not agree.
A holder that was only asleep finds out in `FileLock.confirm` and does not write.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import random
import sys
import threading
import time
import uuid
from collections.abc import Callable
from functools import cache
from types import TracebackType
from typing import Self

from stilt.errors import Interrupted, StoreError

HEARTBEAT = 5.0
"""Seconds between two touches by the holder."""

STALE_AFTER = 30.0
"""Seconds without a touch after which a lock counts as abandoned."""

TIMEOUT = 300.0
"""Seconds a waiter gives one and the same holder before it gives up."""

TEMPORARY = ".tmp."
LOCK = ".lock."


@cache
def host_identity() -> str:
    """
    Name the space in which a process id means something.

    Two containers may share a host name, and a machine reuses process ids after a
    restart; the boot and the process namespace are told apart where the system says.
    """
    import platform

    parts = [platform.node() or "unknown"]
    for read in (_boot, _pid_namespace):
        try:
            parts.append(read())
        except OSError:
            parts.append("")
    return "/".join(parts)


def _boot() -> str:
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def _pid_namespace() -> str:
    return os.readlink("/proc/self/ns/pid")


def process_start(pid: int) -> str | None:
    """
    Start of a process in a form that tells two users of one process id apart.

    Returns
    -------
    str or None
        None when the process has ended (a zombie has), "" when the system does not say.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # the command name in parentheses may hold anything, spaces included
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return ""
    state, start = fields[0], fields[19]
    return None if state in (b"Z", b"X") else start.decode()


def process_is_gone(pid: int, start: str) -> bool:
    """
    Whether a process of this machine is known to have ended.

    Parameters
    ----------
    pid : int
        Process id.
    start : str
        What `process_start` said while it ran; "" when unknown.

    Returns
    -------
    bool
        False when in doubt.
    """
    if sys.platform == "win32":
        # os.kill would end the process there; psutil asks politely
        import psutil

        return not psutil.pid_exists(pid)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError, ValueError):
        return False
    now = process_start(pid)
    if now is None:
        return True
    return bool(now and start and now != start)


def publish_exclusively(temporary: str, final: str) -> bool:
    """
    Give a complete temporary file its final name unless that name is taken.

    Parameters
    ----------
    temporary : str
        Existing file; gone afterwards in any case.
    final : str
        Name to take, in the same folder.

    Returns
    -------
    bool
        Whether the name was free.
    """
    try:
        if os.name == "nt":
            try:
                os.rename(temporary, final)
            except FileExistsError:
                return False
            return True
        try:
            os.link(temporary, final)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in (
                errno.EPERM,
                errno.ENOTSUP,
                errno.EOPNOTSUPP,
                errno.ENOSYS,
                errno.EMLINK,
                errno.EACCES,
            ):
                raise
            # no hard links here (FAT, some FUSE mounts): the name is still taken by one
            # process only, but it may be seen before its content
            with open(temporary, "rb") as source:
                data = source.read()
            try:
                target = os.open(final, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            except FileExistsError:
                return False
            with open(target, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        return True
    finally:
        remove_quietly(temporary)


def remove_quietly(path: str) -> None:
    """Remove a file if it is there and may be removed."""
    with contextlib.suppress(OSError):
        os.unlink(path)


class FileLock:
    """
    Exclusive access to the object beside the lock file, as a context manager.

    Parameters
    ----------
    path : str
        Path of the object to protect; its folder must exist. Creating the lock file in
        the *same* folder also makes NFS clients look at that folder anew, so the holder
        reads the newest object.
    stale_after, heartbeat, timeout : float
        Seconds; see the module's constants.
    should_stop : callable, optional
        Asked while waiting; True ends the wait with `Interrupted`.
    """

    def __init__(
        self,
        path: str,
        *,
        stale_after: float | None = None,
        heartbeat: float | None = None,
        timeout: float | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> None:
        folder, name = os.path.split(path)
        self.path = os.path.join(folder, LOCK + name)
        self.stale_after = STALE_AFTER if stale_after is None else stale_after
        self.heartbeat = HEARTBEAT if heartbeat is None else heartbeat
        self.timeout = TIMEOUT if timeout is None else timeout
        self._should_stop = should_stop
        self._token = ""
        self._stop = threading.Event()

    def __enter__(self) -> Self:
        self._token = uuid.uuid4().hex
        self._acquire(_card(self._token))
        self._stop.clear()
        self._pulse = threading.Thread(target=self._beat, name="stilt-lock", daemon=True)
        self._pulse.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop.set()
        self._pulse.join()
        if self._is_ours():
            remove_quietly(self.path)

    def confirm(self) -> None:
        """
        Make sure the lock is still ours, immediately before writing.

        Raises
        ------
        StoreError
            When another process took the lock over because this one was silent too long.
        """
        if not self._is_ours():
            raise StoreError(
                f"lost the lock {self.path} after being suspended; nothing was written, run again."
            )

    def _is_ours(self) -> bool:
        state = _look(self.path)
        return state is not None and self._token.encode() in state[0]

    def _beat(self) -> None:
        while not self._stop.wait(self.heartbeat):
            if not self._is_ours():
                return
            try:
                os.utime(self.path)
            except OSError:
                return

    def _acquire(self, content: bytes) -> None:
        seen: tuple[bytes, int] | None = None
        holder = b""
        unchanged_since = holder_since = time.monotonic()
        pause = 0.0005
        while True:
            if _create(self.path, content):
                return
            state = _look(self.path)
            now = time.monotonic()
            if state is None:
                continue
            if state != seen:
                seen, unchanged_since = state, now
            if state[0] != holder:
                holder, holder_since = state[0], now
                pause = 0.0005
                if _holder_died(holder):
                    self._break(holder)
                    continue
            elif now - unchanged_since > self.stale_after or (pause >= 0.05 and _holder_died(holder)):
                self._break(holder)
                continue
            if self._should_stop is not None and self._should_stop():
                raise Interrupted(f"stopped while waiting for {_describe(holder)}, which holds {self.path}.")
            if now - holder_since > self.timeout:
                raise StoreError(
                    f"{self.path} has been held for {self.timeout:.0f} s by {_describe(holder)}; "
                    "wait for that process or, if it no longer exists, delete the file."
                )
            time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - spreading waiters, no secret
            pause = min(pause * 1.5, 0.05)

    def _break(self, holder: bytes) -> None:
        """Remove a dead holder's lock; one waiter at a time, or it might hit a successor's."""
        breaker = self.path + ".break"
        if _create(breaker, _card("")):
            state = _look(self.path)
            if state is not None and state[0] == holder:
                remove_quietly(self.path)
            remove_quietly(breaker)
            return
        other = _look(breaker)
        if other is not None and (_holder_died(other[0]) or is_abandoned(breaker, 10 * self.stale_after)):
            # its owner was killed within these few lines
            remove_quietly(breaker)
        time.sleep(0.001)


def _card(token: str) -> bytes:
    """What a lock file says about its holder."""
    pid = os.getpid()
    return json.dumps(
        {"host": host_identity(), "pid": pid, "start": process_start(pid) or "", "token": token}
    ).encode()


def _create(path: str, content: bytes) -> bool:
    temporary = os.path.join(os.path.dirname(path), temporary_name())
    with open(temporary, "xb") as file:
        file.write(content)
    return publish_exclusively(temporary, path)


def _look(path: str) -> tuple[bytes, int] | None:
    # opening (not only stat) makes NFS fetch the current state
    try:
        with open(path, "rb") as file:
            return file.read(4096), os.fstat(file.fileno()).st_mtime_ns
    except FileNotFoundError:
        return None
    except PermissionError:
        # Windows, while another process removes it
        return b"", 0


def _holder_died(content: bytes) -> bool:
    try:
        owner = json.loads(content)
        return owner["host"] == host_identity() and process_is_gone(int(owner["pid"]), str(owner["start"]))
    except (ValueError, KeyError, TypeError):
        return False


def _describe(content: bytes) -> str:
    try:
        owner = json.loads(content)
        return f"process {owner['pid']} on {str(owner['host']).split('/')[0]}"
    except (ValueError, KeyError, TypeError):
        return "an unknown process"


def temporary_name() -> str:
    """Name of a file being written: ``.tmp.<host>.<pid>.<random>``, which no output ever has."""
    return f"{TEMPORARY}{_host_digest()}.{os.getpid()}.{os.urandom(6).hex()}"


@cache
def _host_digest() -> str:
    import hashlib

    return hashlib.sha256(host_identity().encode()).hexdigest()[:8]


def is_temporary(name: str) -> bool:
    """Whether a file name belongs to a write in progress (or one that was killed) or to a lock."""
    return name.startswith((TEMPORARY, LOCK))


def is_abandoned(path: str, older_than: float) -> bool:
    """
    Whether the writer of a temporary file is known or presumed dead.

    Parameters
    ----------
    path : str
        Path of a file named by `temporary_name`.
    older_than : float
        Age [s] from which a file of an unknown writer counts as abandoned.
    """
    parts = os.path.basename(path).removeprefix(TEMPORARY).split(".")
    if (
        len(parts) == 3
        and parts[0] == _host_digest()
        and parts[1].isdigit()
        and process_is_gone(int(parts[1]), "")
    ):
        return True
    try:
        return time.time() - os.stat(path).st_mtime > older_than
    except OSError:
        return False
