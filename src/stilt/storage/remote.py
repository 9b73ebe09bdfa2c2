"""
Outputs in a bucket of S3, Google Cloud Storage or Azure, through obstore.

A put of an object store is atomic by itself. Conditional writes are the store's own (by
entity tag or generation), so there are no lock files and nothing that a killed process
could leave behind. Many existence checks are made side by side, or read off listings where
those are cheaper.
"""

from __future__ import annotations

import json
import os
import random
import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from stilt.errors import MissingObjectError, StoreError, StoreUnavailableError
from stilt.storage.address import AT_WORK, FIRST_CONTACT, ONCE, Address, Patience
from stilt.storage.copies import FOLDER, Copies, copy_of
from stilt.storage.layout import check_key
from stilt.storage.store import REQUESTS_AT_ONCE
from stilt.storage.trouble import explain, may_have_arrived

LIST_FROM = 500
"""Keys from which on a listing is tried."""

KEYS_PER_PAGE = 40
"""
Keys that a page of a listing must settle to be worth its price.

A page of a thousand names takes as long as several dozen checks made side by side and is
billed like twelve.
"""

_PAGE = 1000
_KEYS_PER_LISTER = 2000
_LISTERS = 16
_IN_PARTS_FROM = 64 << 20
_UPDATE_FOR = 300.0
_LOOK_AGAIN = 30.0


Names = list[str]
"""Keys or full names, sorted; the class has a method of the name ``list``."""


class RemoteStore:
    """
    A store in a bucket.

    Parameters
    ----------
    uri : str
        ``s3://bucket/prefix``, ``gs://bucket/prefix`` or ``az://container/prefix``.
    cache_dir : str or path, optional
        Where local copies go; default: ``PYSTILT_CACHE_DIR``.
    """

    is_remote = True
    """Each call is a request."""

    def __init__(self, uri: str, *, cache_dir: str | os.PathLike[str] | None = None) -> None:
        self.address = Address.parse(uri)
        self._cache_dir = None if cache_dir is None else Path(cache_dir)
        self.copies = Copies(None if self._cache_dir is None else self._cache_dir / FOLDER)
        self._clients: dict[Patience, Any] = {}
        self._answered = False
        self._opening = threading.Lock()
        self._seen_at = float("-inf")

    def __repr__(self) -> str:
        return f"RemoteStore({self.uri!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        # clients and credentials stay in their process; another one finds its own
        return _reopen, (self.uri, self._cache_dir)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemoteStore) and self.address == other.address

    def __hash__(self) -> int:
        return hash(self.address)

    @property
    def uri(self) -> str:
        """``scheme://bucket/prefix``."""
        return str(self.address)

    @property
    def identity(self) -> str:
        """The address with the account or endpoint that the environment names, see `Address.identity`."""
        return self.address.identity()

    # --- whole objects ----------------------------------------------------------------------------

    def read(self, key: str) -> bytes:
        """Return the whole object."""
        return self._get(key)[0]

    def write(self, key: str, data: bytes, *, flush: bool = True) -> None:
        """Write the whole object, replacing what was there; an accepted put is always durable."""
        self._put(key, data)

    def create(self, key: str, data: bytes) -> bool:
        """Write the object only if the key is free; say whether this call did."""
        return self._put_if(key, data, "create")

    def delete(self, key: str) -> None:
        """Remove the object; a free key is left as it is."""
        import obstore

        path = self._path(key)
        try:
            self._ask("delete", key, lambda client: obstore.delete(client, path))
        except MissingObjectError:
            return

    def list(self, prefix: str = "") -> Iterator[str]:
        """Keys that begin with the prefix."""
        cut = len(self.address.key_prefix)
        for page in self._pages(prefix.rpartition("/")[0]):
            for path in page:
                key = path[cut:]
                if key.startswith(prefix):
                    yield key

    # --- conditions -------------------------------------------------------------------------------

    def read_versioned(self, key: str) -> tuple[bytes | None, str | None]:
        """Return the object and a token of its state; ``(None, None)`` when the key is free."""
        try:
            return self._get(key)
        except MissingObjectError:
            return None, None

    def compare_and_swap(self, key: str, expected_version: str | None, data: bytes) -> bool:
        """Write only if the object is still in the state of the token (None: free); say whether it was."""
        return self._put_if(key, data, "create" if expected_version is None else json.loads(expected_version))

    def update(self, key: str, change: Callable[[bytes | None], bytes | None]) -> None:
        """
        Replace an object by ``change(its bytes)`` without losing a concurrent change.

        Contending writers repeat their change on what the others wrote, after a pause that
        grows and differs from one to the other.
        """
        until = time.monotonic() + _UPDATE_FOR
        pause = 0.02
        while True:
            old, version = self.read_versioned(key)
            new = change(old)
            if new is None or new == old or self.compare_and_swap(key, version, new):
                return
            if time.monotonic() > until:
                raise StoreError(
                    f"{self.uri}/{key} was changed by others each time for {_UPDATE_FOR:.0f} s; run again "
                    "when fewer processes write it."
                )
            time.sleep(pause * random.uniform(0.1, 1.0))  # noqa: S311 - spreading writers, no secret
            pause = min(pause * 1.6, 2.0)

    # --- existence --------------------------------------------------------------------------------

    def exists(self, key: str) -> bool:
        """Whether the key holds an object."""
        return self._head(key) is not None

    def exists_many(self, keys: Iterable[str]) -> set[str]:
        """
        Those of many keys that hold an object.

        Few keys are asked for side by side. Many are looked up in listings of the folder they
        share, several ranges of it at once; where a range turns out to hold mostly other
        objects, the rest of its keys is asked for after all.
        """
        wanted = sorted({check_key(key) for key in keys})
        found: set[str] = set()
        if len(wanted) >= LIST_FROM:
            found, wanted = self._listed(wanted)
        if wanted:
            found.update(self._asked(wanted))
        if not found:
            self._must_be_there()
        return found

    def _asked(self, wanted: Names) -> Names:
        with ThreadPoolExecutor(min(REQUESTS_AT_ONCE, len(wanted)), thread_name_prefix="stilt-store") as pool:
            there = pool.map(lambda key: self._head(key, sure=True) is not None, wanted)
            return [key for key, exists in zip(wanted, there, strict=True) if exists]

    def _listed(self, wanted: Names) -> tuple[set[str], Names]:
        """Look keys (sorted) up in listings; return those found and those nothing is known about."""
        listers = 1
        if self.address.scheme != "az":  # its listings cannot begin in the middle
            listers = max(1, min(_LISTERS, len(wanted) // _KEYS_PER_LISTER))
        size = -(-len(wanted) // listers)
        ranges = [wanted[at : at + size] for at in range(0, len(wanted), size)]
        folder = _shared_folder(wanted[0], wanted[-1])
        found: set[str] = set()
        left: Names = []
        with ThreadPoolExecutor(len(ranges), thread_name_prefix="stilt-store") as pool:
            for there, unknown in pool.map(lambda part: self._listed_range(folder, part), ranges):
                found |= there
                left += unknown
        return found, left

    def _listed_range(self, folder: str, wanted: Names) -> tuple[set[str], Names]:
        cut = len(self.address.key_prefix)
        among = set(wanted)
        found: set[str] = set()
        in_order = self.address.scheme != "az"  # with its hierarchical accounts, another order
        for number, page in enumerate(self._pages(folder, after=wanted[0] if in_order else None), 1):
            found.update(among.intersection(path[cut:] for path in page))
            if not in_order:
                if number > 2 and number * KEYS_PER_PAGE > len(wanted):
                    return found, [key for key in wanted if key not in found]
                continue
            settled = bisect_right(wanted, page[-1][cut:])
            if settled == len(wanted):
                break
            if number > 2 and settled < number * KEYS_PER_PAGE:
                return found, wanted[settled:]
        return found, []

    def _head(self, key: str, *, sure: bool = False) -> str | None:
        """Token of the state of an object, None when there is none."""
        import obstore

        path = self._path(key)
        try:
            meta = self._ask("read", key, lambda client: obstore.head(client, path))
        except MissingObjectError:
            # the answer to this question does not say whether it is the key or the bucket that is missing
            if not sure:
                self._must_be_there()
            return None
        return _token(meta)

    def _must_be_there(self) -> None:
        """Raise when the bucket itself does not exist."""
        if time.monotonic() - self._seen_at < _LOOK_AGAIN:
            return
        for _ in self._pages("", size=1):
            break

    # --- files ------------------------------------------------------------------------------------

    def local_path(self, key: str) -> Path:
        """
        Path of a local copy of the object as it is now; the path does not exist when the key is free.

        Copies are kept under ``PYSTILT_CACHE_DIR``, see `stilt.storage.copies`.
        """
        return copy_of(self.copies, self.uri, key, self._head(key), lambda: self._get(key))

    def clean(self, prefix: str = "", *, older_than: float = 86400.0) -> int:
        """Nothing to do: a put that was cut off leaves nothing that can be seen."""
        return 0

    # --- requests ---------------------------------------------------------------------------------

    def _path(self, key: str) -> str:
        return self.address.key_prefix + check_key(key)

    def _get(self, key: str) -> tuple[bytes, str]:
        import obstore

        path = self._path(key)

        def fetch(client: Any) -> tuple[bytes, str]:
            result = obstore.get(client, path)
            return bytes(result.bytes()), _token(result.meta)

        return self._ask("read", key, fetch)

    def _put(self, key: str, data: bytes) -> None:
        import obstore

        path = self._path(key)
        in_parts = len(data) >= _IN_PARTS_FROM
        try:
            self._ask("write", key, lambda client: obstore.put(client, path, data, use_multipart=in_parts))
        except MissingObjectError as error:
            raise StoreError(f"cannot write {self.uri}/{key}: {error}") from error

    def _put_if(self, key: str, data: bytes, mode: Any) -> bool:
        """
        Put under a condition; say whether the object is now this one.

        When the answer is lost, nobody knows whether the put arrived. It is sent again as it was: if the
        first did arrive, the second is refused, and what is found there is our own.
        """
        until = time.monotonic() + self._patience.total.total_seconds()
        pause, unsure = 0.1, False
        while True:
            try:
                stored = self._put_once(key, data, mode)
            except StoreError as error:
                if not may_have_arrived(error) or time.monotonic() + pause > until:
                    raise
                unsure = True
                time.sleep(pause)
                pause = min(2 * pause, 10.0)
            else:
                return stored or (unsure and self.read_versioned(key)[0] == data)

    def _put_once(self, key: str, data: bytes, mode: Any) -> bool:
        import obstore

        path = self._path(key)
        refused = obstore.exceptions.AlreadyExistsError, obstore.exceptions.PreconditionError
        try:
            self._ask(
                "write",
                key,
                lambda client: obstore.put(client, path, data, mode=mode, use_multipart=False),
                once=True,
            )
        except refused:
            return False
        except MissingObjectError as error:
            if isinstance(mode, dict):
                return False  # removed meanwhile
            raise StoreError(f"cannot write {self.uri}/{key}: {error}") from error
        return True

    def _pages(self, folder: str, *, after: str | None = None, size: int = _PAGE) -> Iterator[Names]:
        """Yield the full names of the objects below a folder, a page at a time."""
        import obstore

        root = self.address.key_prefix
        # a listing begins behind the name it is given
        offset = None if after is None else (root + after)[:-1]
        pages = self._ask(
            "list",
            folder,
            lambda client: obstore.list(client, (root + folder) or None, offset=offset, chunk_size=size),
        )
        while True:
            page = self._ask("list", folder, lambda _: next(pages, None))
            if page is None:
                return
            yield [entry["path"] for entry in page]

    def _ask(self, action: str, key: str, request: Callable[[Any], Any], *, once: bool = False) -> Any:
        """Make a request, repeated while that may help unless ``once``; trouble is told in our words."""
        import obstore

        conditions = obstore.exceptions.AlreadyExistsError, obstore.exceptions.PreconditionError
        try:
            answer = request(self._connected(ONCE if once else self._patience))
        except conditions:
            self._note_answer()
            raise
        except StoreError:
            raise
        except (obstore.exceptions.BaseError, OSError, ValueError) as error:
            told = explain(error, self.address, action, key)
            if not isinstance(told, StoreUnavailableError):
                self._answered = True
            raise told  # noqa: B904 - its cause is set, without credentials
        self._note_answer()
        return answer

    def _note_answer(self) -> None:
        self._answered = True
        self._seen_at = time.monotonic()

    @property
    def _patience(self) -> Patience:
        return AT_WORK if self._answered else FIRST_CONTACT

    def _connected(self, patience: Patience) -> Any:
        with self._opening:
            if patience not in self._clients:
                self._clients[patience] = self.address.connect(patience)
            return self._clients[patience]


def _reopen(uri: str, cache_dir: Path | None) -> RemoteStore:
    return RemoteStore(uri, cache_dir=cache_dir)


def _shared_folder(first: str, last: str) -> str:
    shared = []
    for one, other in zip(first.split("/")[:-1], last.split("/")[:-1]):
        if one != other:
            break
        shared.append(one)
    return "/".join(shared)


def _token(meta: Any) -> str:
    """Write the state of an object as text: entity tag and, where there is one, generation."""
    return json.dumps({name: meta[name] for name in ("e_tag", "version") if meta.get(name) is not None})
