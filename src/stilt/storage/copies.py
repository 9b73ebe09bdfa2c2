"""
Local copies of remote objects, for programs that need a file.

A copy is kept under the state (entity tag) of the object it was made from, so an object
that has changed since never shows its old content. The folder may be shared by processes
and removed at any time::

    <PYSTILT_CACHE_DIR>/remote/<2 hex>/<hash of address, key and tag>/<file name>
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from stilt.errors import StoreError, StoreFullError
from stilt.locks import publish_exclusively, remove_quietly, temporary_name

COPIES_LIMIT = 20_000_000_000
"""Bytes of copies kept."""

IN_USE = 3600.0
"""Seconds for which a copy is kept after it was last asked for, even beyond the limit."""

FOLDER = "remote"


class Copies:
    """
    Copies of remote objects in one folder.

    Parameters
    ----------
    folder : Path, optional
        Default: ``remote`` under ``PYSTILT_CACHE_DIR``.
    limit : int
        Bytes kept; those not asked for longest go first.
    """

    def __init__(self, folder: Path | None = None, limit: int = COPIES_LIMIT) -> None:
        self._folder = folder
        self.limit = limit
        self._lock = threading.Lock()
        self._until_pruning = 0

    @property
    def folder(self) -> Path:
        """Where the copies are; it need not exist."""
        if self._folder is None:
            from stilt.config import RuntimeSettings

            self._folder = Path(RuntimeSettings.from_env().cache_dir) / FOLDER
        return self._folder

    def path(self, uri: str, key: str, tag: str) -> Path:
        """
        Where the copy of one state of an object is, or would be.

        Parameters
        ----------
        uri : str
            Address of the output root.
        key : str
            Key of the object; its last part is the file's name.
        tag : str
            Token of its state.
        """
        digest = hashlib.sha256("\0".join((uri, key, tag)).encode()).hexdigest()[:40]
        return self.folder / digest[:2] / digest / key.rpartition("/")[2]

    def find(self, path: Path) -> bool:
        """Whether a copy is there; it then counts as just used."""
        try:
            os.utime(path)
        except OSError:
            return path.is_file()
        return True

    def keep(self, path: Path, data: bytes) -> None:
        """
        Keep a copy.

        Parameters
        ----------
        path : Path
            Given by `path`.
        data : bytes
            The object.
        """
        try:
            try:
                self._publish(path, data)
            except FileNotFoundError:
                # another process pruned the folder this moment
                self._publish(path, data)
        except OSError as error:
            kind = StoreFullError if error.errno == 28 else StoreError
            raise kind(
                f"no copy of {path.name} can be kept in {self.folder} ({error.strerror}); make room there or "
                "point PYSTILT_CACHE_DIR at another folder."
            ) from error
        with self._lock:
            self._until_pruning -= len(data)
            due = self._until_pruning <= 0
            if due:
                self._until_pruning = self.limit // 50
        if due:
            self.prune()

    @staticmethod
    def _publish(path: Path, data: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = str(path.parent / temporary_name())
        try:
            Path(temporary).write_bytes(data)
            publish_exclusively(temporary, str(path))
        finally:
            remove_quietly(temporary)

    def size(self) -> int:
        """Bytes of all copies."""
        return sum(size for _, size, _ in self._entries())

    def prune(self) -> None:
        """Remove the copies not asked for longest until they are below the limit; those in use stay."""
        entries = sorted(self._entries())
        total = sum(size for _, size, _ in entries)
        before = time.time() - IN_USE
        for used, size, path in entries:
            if total <= self.limit or used > before:
                return
            with contextlib.suppress(OSError):
                if path.stat().st_mtime > used:
                    continue  # someone has asked for it since the list was made
            shutil.rmtree(path.parent, ignore_errors=True)
            total -= size

    def _entries(self) -> list[tuple[float, int, Path]]:
        """When each copy was last asked for, its size, its path."""
        return list(_files(self.folder, 2))


def _files(folder: str | os.PathLike[str], below: int) -> Iterator[tuple[float, int, Path]]:
    """Yield the files some folders below; others prune meanwhile, so anything may vanish."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if below:
                yield from _files(entry.path, below - 1)
                continue
            with contextlib.suppress(OSError):
                status = entry.stat()
                yield status.st_mtime, status.st_size, Path(entry.path)


def copy_of(
    copies: Copies, uri: str, key: str, tag: str | None, fetch: Callable[[], tuple[bytes, str]]
) -> Path:
    """
    Find or make the copy of an object.

    Parameters
    ----------
    copies : Copies
        Where copies are.
    uri, key : str
        The object.
    tag : str or None
        Token of its present state; None when it does not exist.
    fetch : callable
        Returns the object and the token of its state.

    Returns
    -------
    Path
        The copy; a path at which there is nothing when the object does not exist.
    """
    if tag is None:
        return copies.path(uri, key, "missing")
    path = copies.path(uri, key, tag)
    if not copies.find(path):
        data, tag = fetch()
        path = copies.path(uri, key, tag)
        copies.keep(path, data)
    return path
