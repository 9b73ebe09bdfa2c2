"""Local copies of remote objects, and how many requests looking for objects takes."""

from __future__ import annotations

import contextlib
import os
import threading
import time

import pytest

from stilt.errors import MissingObjectError, StoreError
from stilt.storage import MemoryStore, concurrently, open_store, read_copy
from stilt.storage.copies import Copies, copy_of
from stilt.storage.remote import KEYS_PER_PAGE, RemoteStore


def kept(copies, name, size, age):
    path = copies.path("s3://b/p", f"a/{name}", "tag")
    copies.keep(path, bytes(size))
    then = time.time() - age
    os.utime(path, (then, then))
    return path


def test_the_oldest_copies_go_first_and_those_in_use_stay(tmp_path):
    copies = Copies(tmp_path / "remote", limit=2500)
    old, older, fresh = (kept(copies, name, 1000, age) for name, age in (("a", 8000), ("b", 9000), ("c", 5)))
    copies.prune()
    assert [path.exists() for path in (old, older, fresh)] == [True, False, True]
    assert copies.size() == 2000
    copies.limit = 0
    copies.prune()
    assert [path.exists() for path in (old, fresh)] == [False, True]
    assert not old.parent.exists()


def test_asking_for_a_copy_keeps_it(tmp_path):
    copies = Copies(tmp_path)
    first, second = kept(copies, "a", 1000, 9000), kept(copies, "b", 1000, 8000)
    copies.limit = 1500
    assert copies.find(first)
    copies.prune()
    assert first.exists()
    assert not second.exists()


def test_a_copy_asked_for_while_another_process_prunes_stays(tmp_path, monkeypatch):
    copies = Copies(tmp_path, limit=500)
    path = kept(copies, "a", 1000, 9000)
    seen = copies._entries()
    assert copies.find(path)
    monkeypatch.setattr(copies, "_entries", lambda: seen)
    copies.prune()
    assert path.exists()


def test_many_readers_share_a_cache_within_its_bound(tmp_path, monkeypatch):
    """Each reader gets whole objects, whatever is pruned meanwhile."""
    monkeypatch.setattr("stilt.storage.copies.IN_USE", 0.05)
    objects = {f"a/{number}": bytes([number]) * 1000 for number in range(40)}
    shared = [Copies(tmp_path, limit=5000) for _ in range(4)]  # as processes have them
    wrong = []

    def read(copies):
        for turn in range(120):
            key = f"a/{turn * 7 % 40}"
            path = copy_of(copies, "s3://b/p", key, "tag", lambda key=key: (objects[key], "tag"))
            with contextlib.suppress(FileNotFoundError):  # pruned since: `read_copy` asks the store then
                if path.read_bytes() != objects[key]:
                    wrong.append(key)
            time.sleep(0.001)

    readers = [threading.Thread(target=read, args=(copies,)) for copies in shared]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert wrong == []
    time.sleep(0.06)
    shared[0].prune()
    assert shared[0].size() <= 5000


def test_keeping_prunes_by_itself(tmp_path):
    copies = Copies(tmp_path, limit=10_000)
    for number in range(60):
        kept(copies, str(number), 1000, 9000 - number)
    assert copies.size() <= 11_000


def test_states_and_roots_never_share_a_copy(tmp_path):
    copies = Copies(tmp_path)
    paths = {
        copies.path(uri, key, tag)
        for uri in ("s3://b/p", "gs://b/p", "s3://b/q")
        for key in ("x/a.nc", "y/a.nc")
        for tag in ("1", "2")
    }
    assert len(paths) == 12
    assert {path.name for path in paths} == {"a.nc"}


def test_a_cache_that_cannot_be_written_is_explained(tmp_path):
    (tmp_path / "file").write_text("")
    copies = Copies(tmp_path / "file" / "remote")
    with pytest.raises(StoreError, match="PYSTILT_CACHE_DIR"):
        copies.keep(copies.path("s3://b", "a", "1"), b"")


@pytest.mark.live_s3
def test_an_unchanged_object_is_fetched_once(bucket_at, monkeypatch):
    store = open_store(bucket_at("s3").uri)
    store.write("a/b.nc", b"one")
    fetched = []
    real = RemoteStore._get
    monkeypatch.setattr(RemoteStore, "_get", lambda self, key: fetched.append(key) or real(self, key))
    paths = [store.local_path("a/b.nc") for _ in range(3)]
    assert len(set(paths)) == 1
    assert fetched == ["a/b.nc"]
    store.write("a/b.nc", b"two")
    assert store.local_path("a/b.nc").read_bytes() == b"two"
    assert paths[0].read_bytes() == b"one"


class Counting(RemoteStore):
    """Counts the requests it makes."""

    def __init__(self, uri):
        super().__init__(uri)
        self.heads = self.pages = 0
        self.counting = threading.Lock()

    def _head(self, key, **options):
        with self.counting:
            self.heads += 1
        return super()._head(key, **options)

    def _pages(self, folder, **options):
        for page in super()._pages(folder, **options):
            with self.counting:
                self.pages += 1
            yield page


@pytest.mark.live_s3
def test_many_keys_are_listed_and_few_are_asked_for(bucket_at):
    store = Counting(bucket_at("s3").uri)
    names = [f"s/{number:05d}" for number in range(6000)]
    list(concurrently(store, lambda name: store.write(f"{name}/x", b""), names[:3000]))
    few = [f"{name}/x" for name in names[2990:3010]]
    assert store.exists_many(few) == set(few[:10])
    assert (store.heads, store.pages) == (20, 0)
    store.heads = 0
    many = [f"{name}/x" for name in names]
    assert store.exists_many(many) == set(many[:3000])
    assert store.heads == 0
    assert store.pages <= 8
    # keys thinly spread over many other objects are not worth listing all of those
    store.heads = store.pages = 0
    thin = [f"s/{number:05d}/y{part}" for number in (0, 1, 2, 2998, 2999) for part in range(120)]
    assert store.exists_many([*thin, "s/02999/x"]) == {"s/02999/x"}
    assert store.heads + store.pages * KEYS_PER_PAGE < 2 * len(thin)


class Elsewhere(MemoryStore):
    """A store over a network, as far as readers can tell; counts what is fetched."""

    is_remote = True

    def __init__(self, folder):
        super().__init__()
        self.copies = Copies(folder)
        self.fetched = 0

    def local_path(self, key):
        if not self.exists(key):
            return copy_of(self.copies, self.uri, key, None, None)
        data, tag = self.read_versioned(key)

        def fetch():
            self.fetched += 1
            return data, tag

        return copy_of(self.copies, self.uri, key, tag, fetch)


def test_what_is_read_twice_is_fetched_once(tmp_path):
    store = Elsewhere(tmp_path / "copies")
    with pytest.raises(MissingObjectError):
        read_copy(store, "a/b")
    store.write("a/b", b"one")
    assert [read_copy(store, "a/b") for _ in range(3)] == [b"one"] * 3
    assert store.fetched == 1
    store.write("a/b", b"other")
    assert read_copy(store, "a/b") == b"other"
    assert store.fetched == 2


def test_without_a_place_for_copies_objects_are_read_all_the_same(tmp_path):
    (tmp_path / "file").write_text("no folder")
    store = Elsewhere(tmp_path / "file")
    store.write("a/b", b"one")
    assert read_copy(store, "a/b") == b"one"
