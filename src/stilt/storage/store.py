"""
The one way in which bytes reach and leave an output root.

Everything above says *what* to keep, under a key of `stilt.storage.layout`; a
`Store` says *where*. All writes are of whole objects and atomic: a reader sees the
old bytes, the new bytes or nothing, never a part. Local folders and memory are
implemented here; object stores join through the same protocol.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Protocol, runtime_checkable
from urllib.parse import unquote, urlsplit

from stilt.errors import StoreError

REMOTE_SCHEMES = ("s3", "gs", "az")


@runtime_checkable
class Store(Protocol):
    """
    Bytes by key, written whole.

    Keys are relative, use ``/`` and are made by `stilt.storage.layout`. A missing
    object raises `stilt.errors.MissingObjectError`, any other trouble a
    `stilt.errors.StoreError` whose message names the path and the remedy.
    """

    @property
    def uri(self) -> str:
        """Address of the output root, the same for everyone who opens it."""
        ...

    def read(self, key: str) -> bytes:
        """Return the whole object."""
        ...

    def write(self, key: str, data: bytes) -> None:
        """Write the whole object, replacing what was there."""
        ...

    def create(self, key: str, data: bytes) -> bool:
        """Write the object only if the key is free; say whether this call did."""
        ...

    def exists(self, key: str) -> bool:
        """Whether the key holds an object."""
        ...

    def exists_many(self, keys: Iterable[str]) -> set[str]:
        """Those of many keys that hold an object."""
        ...

    def delete(self, key: str) -> None:
        """Remove the object; a free key is left as it is."""
        ...

    def list(self, prefix: str = "") -> Iterator[str]:
        """Keys that begin with the prefix, in no particular order."""
        ...

    def read_versioned(self, key: str) -> tuple[bytes | None, str | None]:
        """Return the object and a token of its state; ``(None, None)`` when the key is free."""
        ...

    def compare_and_swap(self, key: str, expected_version: str | None, data: bytes) -> bool:
        """Write only if the object is still in the state of the token (None: free); say whether it was."""
        ...

    def update(self, key: str, change: Callable[[bytes | None], bytes | None]) -> None:
        """
        Replace an object by ``change(its bytes)`` without losing a concurrent change.

        ``change`` gets None for a free key and returns None to leave things as they are.
        It may be called more than once and must have no other effect.
        """
        ...

    def local_path(self, key: str) -> Path:
        """Path at which programs that need a file find the object (it may not exist)."""
        ...

    def clean(self, prefix: str = "", *, older_than: float = 86400.0) -> int:
        """Remove what killed writers left under a prefix; return how many files."""
        ...


def open_store(location: str | os.PathLike[str] | Store) -> Store:
    """
    Open the store at a folder or an address.

    Opening creates nothing; folders appear with the first write.

    Parameters
    ----------
    location : str or path or Store
        A local folder, a ``file://`` address, or a store, which is returned as it is.

    Returns
    -------
    Store
        The store.

    Raises
    ------
    StoreError
        For an address that this version cannot open.

    Examples
    --------
    >>> open_store("results").root.name
    'results'
    """
    from stilt.storage.local import LocalStore

    if not isinstance(location, str | os.PathLike):
        return location
    text = os.fspath(location)
    # one letter before the colon is a Windows drive
    match = re.match(r"([A-Za-z][A-Za-z0-9+.-]+)://", text)
    if not match:
        return LocalStore(text)
    scheme = match.group(1).lower()
    if scheme == "file":
        path = unquote(urlsplit(text).path)
        if os.name == "nt":
            path = path.lstrip("/")
        return LocalStore(path)
    if scheme in REMOTE_SCHEMES:
        raise StoreError(
            f"{scheme}:// cannot be opened: this version has no object stores; use a local folder."
        )
    raise StoreError(f"cannot open an output root at {scheme}://; use a local folder.")
