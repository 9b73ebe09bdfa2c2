"""
Outputs in a folder of this machine or of a shared file system.

Plain os calls, so that every promise can be traced to one: a whole-object write is
a temporary file in the same folder, flushed to disk and renamed (why no more than that
is flushed is in design/2026-11-22-remote-stores.md); a conditional
write holds a `stilt.locks.FileLock`; an existence check is one ``access``.
"""

from __future__ import annotations

import errno
import hashlib
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from stilt.errors import MissingObjectError, StoreError, StoreFullError
from stilt.locks import (
    FileLock,
    is_abandoned,
    is_temporary,
    publish_exclusively,
    remove_quietly,
    temporary_name,
)
from stilt.storage.layout import check_key

T = TypeVar("T")

# From this many keys on, listing the folder above theirs pays, even when it holds a million others.
_LIST_FROM = 1000
# So many of them, evenly spread, are looked for before: where all exist, a listing sorts out nothing.
_SAMPLE = 32

_FULL = {errno.ENOSPC, errno.EDQUOT} if hasattr(errno, "EDQUOT") else {errno.ENOSPC}
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}


class LocalStore:
    """
    A store in a local folder.

    Parameters
    ----------
    root : str or path
        The output root. It need not exist; the first write creates it.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(os.path.abspath(os.path.expanduser(os.fspath(root))))
        self._root = str(self.root)

    def __repr__(self) -> str:
        return f"LocalStore({self._root!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LocalStore) and self._root == other._root

    def __hash__(self) -> int:
        return hash(self._root)

    is_remote = False
    """Looking is cheap here."""

    @property
    def uri(self) -> str:
        """``file://`` address of the folder."""
        return self.root.as_uri()

    @property
    def identity(self) -> str:
        """The address; a folder is told from others by its path."""
        return self.uri

    def read(self, key: str) -> bytes:
        """Return the whole object."""
        path = self._path(key)
        try:
            with _patiently(lambda: open(path, "rb")) as file:
                return file.read()
        except OSError as error:
            raise _explain(error, "read", path) from error

    def write(self, key: str, data: bytes, *, flush: bool = True) -> None:
        """
        Write the whole object, replacing what was there.

        The content is flushed to the disk before the object gets its name, so a name never
        stands for less than the whole, even after a power failure. The name itself is left to
        the file system, which writes it within seconds; an output whose name was lost is made
        again. Without ``flush`` the content is left to it as well.
        """
        path = self._path(key)
        self._write(path, data, flush=flush)

    def _write(self, path: str, data: bytes, *, flush: bool = True, keep_name: bool = False) -> None:
        try:
            temporary = _write_temporary(path, data, flush=flush)
            try:
                _patiently(lambda: os.replace(temporary, path))
            except BaseException:
                remove_quietly(temporary)
                raise
            if keep_name:
                _sync_folder(os.path.dirname(path))
        except OSError as error:
            raise _explain(error, "write", path) from error

    def create(self, key: str, data: bytes) -> bool:
        """Write the object only if the key is free; say whether this call did."""
        path = self._path(key)
        try:
            if os.path.lexists(path):
                return False
            created = publish_exclusively(_write_temporary(path, data), path)
            _sync_folder(os.path.dirname(path))
        except OSError as error:
            raise _explain(error, "write", path) from error
        return created

    def exists(self, key: str) -> bool:
        """Whether the key holds an object."""
        return os.path.isfile(self._path(key))

    def exists_many(self, keys: Iterable[str]) -> set[str]:
        """
        Those of many keys that hold an object.

        One ``access`` per key. Of many keys, those in folders that do not exist are sorted
        out first, by listing the folder above them, unless all of a sample exist: a project
        that has hardly begun has hardly any folders.
        """
        wanted: Collection[str] = keys if isinstance(keys, list) else list(keys)
        root, access, there = self._root + "/", os.access, os.F_OK
        if len(wanted) >= _LIST_FROM:
            sample = list(wanted)[:: len(wanted) // _SAMPLE]
            if not all(access(root + key, there) for key in sample):
                wanted = self._in_existing_folders(wanted)
        return {key for key in wanted if access(root + key, there)}

    def folders(self, prefix: str) -> frozenset[str]:
        """
        Names directly in a folder, of which some may be files; none where it does not exist.

        Parameters
        ----------
        prefix : str
            Key of the folder, without a ``/`` at its end.
        """
        return _listing(self._path(prefix))

    def delete(self, key: str) -> None:
        """Remove the object; a free key is left as it is."""
        path = self._path(key)
        try:
            _patiently(lambda: os.unlink(path))
        except FileNotFoundError:
            return
        except OSError as error:
            raise _explain(error, "delete", path) from error

    def list(self, prefix: str = "") -> Iterator[str]:
        """Keys that begin with the prefix; files being written and locks are left out."""
        start = prefix.rpartition("/")[0]
        top = self._path(start) if start else self._root
        for folder, subfolders, names in os.walk(top):
            subfolders.sort()
            inside = folder[len(self._root) + 1 :].replace(os.sep, "/")
            inside = inside and inside + "/"
            for name in sorted(names):
                key = inside + name
                if key.startswith(prefix) and not is_temporary(name):
                    yield key

    def read_versioned(self, key: str) -> tuple[bytes | None, str | None]:
        """Return the object and a token of its state; ``(None, None)`` when the key is free."""
        try:
            data = self.read(key)
        except MissingObjectError:
            return None, None
        return data, _version(data)

    def compare_and_swap(self, key: str, expected_version: str | None, data: bytes) -> bool:
        """Write only if the object is still in the state of the token (None: free); say whether it was."""
        with self._lock(key) as lock:
            if self.read_versioned(key)[1] != expected_version:
                return False
            lock.confirm()
            self._write(self._path(key), data, keep_name=True)
            return True

    def update(self, key: str, change: Callable[[bytes | None], bytes | None]) -> None:
        """
        Replace an object by ``change(its bytes)`` without losing a concurrent change.

        The lock is held from reading to writing, so contending writers queue instead of
        repeating their work.
        """
        with self._lock(key) as lock:
            try:
                old = self.read(key)
            except MissingObjectError:
                old = None
            new = change(old)
            if new is not None and new != old:
                lock.confirm()
                self._write(self._path(key), new, keep_name=True)

    def local_path(self, key: str) -> Path:
        """Path of the object (it may not exist)."""
        return Path(self._path(key))

    def clean(self, prefix: str = "", *, older_than: float = 86400.0) -> int:
        """
        Remove what killed writers left behind.

        Parameters
        ----------
        prefix : str
            Only in folders under this key prefix (ending in ``/``).
        older_than : float
            Age [s] from which a temporary file is removed although its writer, on another
            machine, cannot be asked for. Those of dead processes of this machine go at once.

        Returns
        -------
        int
            Number of files removed.
        """
        removed = 0
        folder = prefix.rstrip("/")
        for here, _, names in os.walk(self._path(folder) if folder else self._root):
            for name in names:
                path = os.path.join(here, name)
                if name.startswith(".tmp.") and is_abandoned(path, older_than):
                    remove_quietly(path)
                    removed += 1
        return removed

    def _path(self, key: str) -> str:
        return os.path.join(self._root, *check_key(key).split("/"))

    def _lock(self, key: str) -> _ExplainedLock:
        return _ExplainedLock(self._path(key))

    def _in_existing_folders(self, keys: Collection[str]) -> Collection[str]:
        """Drop keys whose folder does not exist, as far as one listing can tell."""
        first = next(iter(keys))
        above = first.rpartition("/")[0].rpartition("/")[0]
        if not above:
            return keys
        prefix = above + "/"
        cut = len(prefix)
        here = _listing(self._path(above))
        return [
            key
            for key in keys
            if not key.startswith(prefix) or (end := key.find("/", cut)) < 0 or key[cut:end] in here
        ]


class _ExplainedLock(FileLock):
    """A file lock whose trouble is told like that of any other write."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._object = path

    def _acquire(self, content: bytes) -> None:
        try:
            try:
                super()._acquire(content)
            except FileNotFoundError:
                os.makedirs(os.path.dirname(self.path), exist_ok=True)
                super()._acquire(content)
        except StoreError:
            raise
        except OSError as error:
            raise _explain(error, "write", self._object) from error


def _version(data: bytes) -> str:
    # a version by content cannot be fooled by coarse clocks or reused inodes
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _listing(path: str) -> frozenset[str]:
    try:
        return frozenset(os.listdir(path))
    except (FileNotFoundError, NotADirectoryError):
        return frozenset()
    except OSError as error:
        raise _explain(error, "list", path) from error


def _write_temporary(path: str, data: bytes, *, flush: bool = True) -> str:
    folder = os.path.dirname(path)
    temporary = os.path.join(folder, temporary_name())
    try:
        handle = _create_file(temporary)
    except FileNotFoundError:
        os.makedirs(folder, exist_ok=True)
        handle = _create_file(temporary)
    try:
        with open(handle, "wb") as file:
            file.write(data)
            if flush:
                file.flush()
                os.fsync(file.fileno())
    except BaseException:
        remove_quietly(temporary)
        raise
    return temporary


def _create_file(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)


def _sync_folder(folder: str) -> None:
    """Make a rename survive a power failure, where folders can be flushed at all."""
    if os.name == "nt":
        return
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        pass
    finally:
        os.close(handle)


def _patiently(action: Callable[[], T]) -> T:
    """Repeat for a moment while Windows refuses because another process has the file open."""
    if os.name != "nt":
        return action()
    for attempt in range(60):
        try:
            return action()
        except PermissionError:
            if attempt == 59:
                raise
            time.sleep(0.05)
    raise AssertionError


def _explain(error: OSError, action: str, path: str) -> StoreError:
    """Turn trouble of the operating system into one line with the path and the remedy."""
    if isinstance(error, StoreError):
        return error
    what = error.strerror or type(error).__name__
    explained: StoreError
    if error.errno in _FULL:
        explained = StoreFullError(
            f"no space left to {action} {path} ({what}); free some or choose another folder "
            "with --output-dir, then run again."
        )
    elif error.errno == errno.ENOENT and action == "read":
        explained = MissingObjectError(f"{path} does not exist; run the simulation that writes it.")
    elif error.errno in _DENIED:
        why = "the file system is read-only" if error.errno == errno.EROFS else what.lower()
        explained = StoreError(
            f"cannot {action} {path}: {why}; make it accessible or choose another folder with --output-dir."
        )
    elif error.errno == errno.ENAMETOOLONG:
        explained = StoreError(
            f"cannot {action} {path}: the name is too long for this file system; use a shorter project path."
        )
    else:
        explained = StoreError(
            f"cannot {action} {path}: {what}; check the folder and its disk, then run again."
        )
    explained.errno = error.errno
    return explained
