"""
The one way in which bytes reach and leave an output root.

Everything above says *what* to keep, under a key of `stilt.storage.layout`; a
`Store` says *where*. All writes are of whole objects and atomic: a reader sees the
old bytes, the new bytes or nothing, never a part. `LocalStore` keeps them in a folder,
`RemoteStore` in a bucket (S3, Google Cloud Storage, Azure), `MemoryStore` nowhere.
"""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable
from urllib.parse import unquote, urlsplit

from stilt.errors import StoreError, StoreUnavailableError

T = TypeVar("T")

REMOTE_SCHEMES = ("s3", "gs", "az")

REQUESTS_AT_ONCE = 32
"""Requests one process makes of an object store at the same time."""


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

    @property
    def identity(self) -> str:
        """
        Address that tells this output root from all others, for whoever keeps track of several.

        The same as ``uri`` where that says it all; with the endpoint or account that the
        environment names where buckets of one name may be many. Without credentials.
        """
        ...

    @property
    def is_remote(self) -> bool:
        """Whether each call is a request over a network, so that asking for much at once pays."""
        ...

    def read(self, key: str) -> bytes:
        """Return the whole object."""
        ...

    def write(self, key: str, data: bytes, *, flush: bool = True) -> None:
        """
        Write the whole object, replacing what was there.

        After a power failure the object is the old one or the new one. Without ``flush`` it may
        also be empty or torn: for logs and the like, which nothing relies on.
        """
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


def open_store(
    location: str | os.PathLike[str] | Store, *, cache_dir: str | os.PathLike[str] | None = None
) -> Store:
    """
    Open the store at a folder or an address.

    Opening creates nothing and asks nobody; folders appear with the first write.

    Parameters
    ----------
    location : str or path or Store
        A local folder, a ``file://`` address, ``s3://bucket/prefix``, ``gs://bucket/prefix``,
        ``az://container/prefix``, or a store, which is returned as it is.
    cache_dir : str or path, optional
        Where local copies of remote objects go; default: ``PYSTILT_CACHE_DIR``.

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
    >>> open_store("s3://bucket/project/").uri
    's3://bucket/project'
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
        from stilt.storage.remote import RemoteStore

        return RemoteStore(text, cache_dir=cache_dir)
    raise StoreError(f"cannot open an output root at {scheme}://; use a local folder, s3://, gs:// or az://.")


def is_remote_address(location: str | os.PathLike[str]) -> bool:
    """Whether a location is an address of an object store rather than a folder."""
    return os.fspath(location).partition("://")[0].lower() in REMOTE_SCHEMES


def place(store: Store, key: str) -> str:
    """Where an object is, in words for people: a path, or an address."""
    return f"{store.uri}/{key}" if store.is_remote else str(store.local_path(key))


def read_copy(store: Store, key: str) -> bytes:
    """
    Return a whole object; of an object store, from the local copy that is made when there is none.

    Parameters
    ----------
    store : Store
        Where it is.
    key : str
        Its key.

    Raises
    ------
    MissingObjectError
        When the key is free.
    """
    if not store.is_remote:
        return store.read(key)
    try:
        return store.local_path(key).read_bytes()
    except StoreUnavailableError:
        raise
    except (OSError, StoreError):
        # it does not exist, was pruned this moment, or there is no room for copies
        return store.read(key)


def concurrently(store: Store, action: Callable[[str], T], keys: Iterable[str]) -> Iterator[T]:
    """
    Do one thing with each of many keys: one after another on a disk, several at once over a network.

    Parameters
    ----------
    store : Store
        Where the keys are.
    action : callable
        What is done with a key, such as ``store.read``.
    keys : iterable of str
        The keys; no more than a few dozen are taken ahead of the results that were used.

    Yields
    ------
    object
        What ``action`` returned, in the order of the keys; its exceptions are raised here.
    """
    if not store.is_remote:
        yield from map(action, keys)
        return
    ahead: deque[Future[T]] = deque()
    with ThreadPoolExecutor(REQUESTS_AT_ONCE, thread_name_prefix="stilt-store") as pool:
        try:
            for key in keys:
                ahead.append(pool.submit(action, key))
                if len(ahead) >= 2 * REQUESTS_AT_ONCE:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()
