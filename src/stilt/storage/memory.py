"""Outputs kept in memory: the twin of a local folder for tests and throw-away runs."""

from __future__ import annotations

import shutil
import tempfile
import threading
import uuid
import weakref
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from stilt.errors import MissingObjectError
from stilt.storage.layout import check_key


class MemoryStore:
    """A store that lives and dies with this process; safe to share between its threads."""

    def __init__(self) -> None:
        self._objects: dict[str, tuple[bytes, int]] = {}
        self._writes = 0
        self._lock = threading.RLock()
        self._name = uuid.uuid4().hex
        self._folder: Path | None = None

    def __repr__(self) -> str:
        return f"MemoryStore({len(self._objects)} objects)"

    is_remote = False
    """Looking is cheap here."""

    @property
    def uri(self) -> str:
        """A ``memory://`` address, different for each store."""
        return f"memory://{self._name}"

    @property
    def identity(self) -> str:
        """The address, which is different for each store."""
        return self.uri

    def read(self, key: str) -> bytes:
        """Return the whole object."""
        data = self.read_versioned(key)[0]
        if data is None:
            raise MissingObjectError(f"{self.uri}/{key} does not exist; run the simulation that writes it.")
        return data

    def write(self, key: str, data: bytes, *, flush: bool = True) -> None:
        """Write the whole object, replacing what was there."""
        with self._lock:
            self._writes += 1
            self._objects[check_key(key)] = (bytes(data), self._writes)

    def create(self, key: str, data: bytes) -> bool:
        """Write the object only if the key is free; say whether this call did."""
        return self.compare_and_swap(key, None, data)

    def exists(self, key: str) -> bool:
        """Whether the key holds an object."""
        return check_key(key) in self._objects

    def exists_many(self, keys: Iterable[str]) -> set[str]:
        """Those of many keys that hold an object."""
        return {key for key in keys if key in self._objects}

    def delete(self, key: str) -> None:
        """Remove the object; a free key is left as it is."""
        with self._lock:
            self._objects.pop(check_key(key), None)

    def list(self, prefix: str = "") -> Iterator[str]:
        """Keys that begin with the prefix."""
        with self._lock:
            keys = sorted(key for key in self._objects if key.startswith(prefix))
        yield from keys

    def read_versioned(self, key: str) -> tuple[bytes | None, str | None]:
        """Return the object and a token of its state; ``(None, None)`` when the key is free."""
        data, version = self._objects.get(check_key(key), (None, None))
        return data, None if version is None else str(version)

    def compare_and_swap(self, key: str, expected_version: str | None, data: bytes) -> bool:
        """Write only if the object is still in the state of the token (None: free); say whether it was."""
        with self._lock:
            if self.read_versioned(key)[1] != expected_version:
                return False
            self.write(key, data)
            return True

    def update(self, key: str, change: Callable[[bytes | None], bytes | None]) -> None:
        """Replace an object by ``change(its bytes)`` without losing a concurrent change."""
        with self._lock:
            new = change(self.read_versioned(key)[0])
            if new is not None:
                self.write(key, new)

    def local_path(self, key: str) -> Path:
        """Path of a temporary copy of the object; the path does not exist when the key is free."""
        check_key(key)
        with self._lock:
            if self._folder is None:
                self._folder = Path(tempfile.mkdtemp(prefix="stilt-memory-"))
                weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
            path = self._folder / key
            data = self.read_versioned(key)[0]
            if data is None:
                path.unlink(missing_ok=True)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
            return path

    def clean(self, prefix: str = "", *, older_than: float = 86400.0) -> int:
        """Nothing to do: a write in memory cannot be left half done."""
        return 0
