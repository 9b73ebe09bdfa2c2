"""The contract of stores: what every store promises."""

from __future__ import annotations

import os
import pickle
import threading

import pytest

from stilt.errors import MissingObjectError, StoreError
from stilt.storage import Store, concurrently, open_store


class StoreContract:
    """
    Tests of a store.

    A subclass gives a fixture ``store``: an empty store whose root does not exist yet.
    """

    def test_is_a_store(self, store: Store) -> None:
        assert isinstance(store, Store)
        assert open_store(store) is store
        assert "://" in store.uri
        assert store.identity.startswith(store.uri)

    def test_reading_an_empty_store_has_no_side_effects(self, store: Store) -> None:
        assert not store.exists("a/b")
        assert list(store.list()) == []
        assert store.exists_many(["a/b", "c"]) == set()
        assert store.read_versioned("a/b") == (None, None)
        store.delete("a/b")
        assert list(store.list()) == []

    def test_missing_object_is_named(self, store: Store) -> None:
        with pytest.raises(MissingObjectError, match="a/b"):
            store.read("a/b")
        with pytest.raises(FileNotFoundError):
            store.read("a/b")

    def test_write_replaces(self, store: Store) -> None:
        store.write("a/b/c", b"one")
        store.write("a/b/c", b"", flush=False)
        assert store.read("a/b/c") == b""
        assert store.exists("a/b/c")

    def test_create_is_exclusive(self, store: Store) -> None:
        assert store.create("a/b", b"first")
        assert not store.create("a/b", b"second")
        assert store.read("a/b") == b"first"

    def test_one_of_many_creators_wins(self, store: Store) -> None:
        won: list[int] = []

        def work(number: int) -> None:
            if store.create("a/b", str(number).encode()):
                won.append(number)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        assert store.read("a/b") == str(won[0]).encode()

    def test_compare_and_swap(self, store: Store) -> None:
        assert store.compare_and_swap("k/v", None, b"1")
        assert not store.compare_and_swap("k/v", None, b"2")
        data, version = store.read_versioned("k/v")
        assert data == b"1"
        assert store.compare_and_swap("k/v", version, b"2")
        assert not store.compare_and_swap("k/v", version, b"3")
        assert store.read("k/v") == b"2"

    def test_concurrent_updates_lose_nothing(self, store: Store) -> None:
        def work() -> None:
            for _ in range(10):
                store.update("n/n", lambda old: str(int(old or b"0") + 1).encode())

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert store.read("n/n") == b"40"

    def test_update_may_decline_and_may_fail(self, store: Store) -> None:
        store.update("n/n", lambda old: None)
        assert not store.exists("n/n")

        def broken(old: bytes | None) -> bytes | None:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            store.update("n/n", broken)
        store.update("n/n", lambda old: b"fine")
        assert store.read("n/n") == b"fine"

    def test_exists_many_few_and_very_many(self, store: Store) -> None:
        for number in range(3):
            store.write(f"s/{number}/{number}.x", b"")
        store.write("s/direct", b"")
        store.write("top", b"")
        keys = [f"s/{number}/{number}.{end}" for number in range(700) for end in "xy"]
        keys += ["s/direct", "top", "s/0/0.x/deeper", "elsewhere/a/b", "s/1"]
        expected = {"s/0/0.x", "s/1/1.x", "s/2/2.x", "s/direct", "top"}
        assert store.exists_many(iter(keys)) - {"s/1"} == expected
        assert store.exists_many(keys[:4]) == {"s/0/0.x", "s/1/1.x"}
        assert store.exists_many([]) == set()

    def test_list_by_prefix(self, store: Store) -> None:
        for key in ("a/1", "a/2", "ab/1", "c"):
            store.write(key, b"")
        assert sorted(store.list()) == ["a/1", "a/2", "ab/1", "c"]
        assert sorted(store.list("a/")) == ["a/1", "a/2"]
        assert sorted(store.list("a")) == ["a/1", "a/2", "ab/1"]
        assert list(store.list("none/")) == []

    def test_delete(self, store: Store) -> None:
        store.write("a/1", b"")
        store.delete("a/1")
        store.delete("a/1")
        assert not store.exists("a/1")

    def test_local_path_holds_the_bytes(self, store: Store) -> None:
        store.write("a/1", b"bytes")
        assert store.local_path("a/1").read_bytes() == b"bytes"
        assert not store.local_path("a/2").exists()

    @pytest.mark.parametrize(
        "key",
        [
            "",
            "/a",
            "a//b",
            "../a",
            "a/../b",
            ".",
            "a/.",
            "a\\b",
            "C:/a",
            "a\0b",
            "a\nb",
            "a\tb",
            "a\x7f",
            "a/.tmp.x",
            "a/.lock.b",
        ],
    )
    def test_keys_stay_inside(self, store: Store, key: str) -> None:
        for action in (store.read, store.exists, store.delete, store.local_path):
            with pytest.raises(StoreError, match="not a key"):
                action(key)
        with pytest.raises(StoreError, match="not a key"):
            store.write(key, b"")

    def test_readers_see_whole_objects(self, store: Store) -> None:
        done = threading.Event()
        seen: set[tuple[int, int]] = set()

        def read() -> None:
            while not done.is_set():
                data = store.read_versioned("a/b")[0]
                if data is not None:
                    seen.add((len(data), len(set(data))))

        reader = threading.Thread(target=read)
        reader.start()
        for number in range(20):
            store.write("a/b", bytes([number]) * 100_000)
        done.set()
        reader.join()
        assert seen <= {(100_000, 1)}

    def test_many_keys_among_many_others(self, store: Store) -> None:
        """What is found does not depend on how it is looked for."""
        names = [f"m/{number:05d}" for number in range(1500)]
        for _ in concurrently(store, lambda key: store.write(key + "/x", b"1"), names[::3]):
            pass
        wanted = [f"{name}/x" for name in names]
        assert store.exists_many(wanted) == {f"{name}/x" for name in names[::3]}
        assert store.exists_many([f"m/{number:05d}/y" for number in range(1500)]) == set()
        sparse = [f"m/{number:05d}/x" for number in range(0, 90000, 60)]
        assert store.exists_many(sparse) == set(sparse) & {f"{name}/x" for name in names[::3]}

    def test_listing_is_complete_beyond_a_page(self, store: Store) -> None:
        keys = {f"p/{number}" for number in range(1203)}
        for _ in concurrently(store, lambda key: store.write(key, b""), sorted(keys)):
            pass
        assert set(store.list("p/")) == keys

    def test_a_copy_follows_its_object(self, store: Store) -> None:
        store.write("a/1.nc", b"old")
        first = store.local_path("a/1.nc")
        assert first.name == "1.nc"
        assert first.read_bytes() == b"old"
        store.write("a/1.nc", b"new")
        assert store.local_path("a/1.nc").read_bytes() == b"new"
        store.delete("a/1.nc")
        assert not store.local_path("a/1.nc").exists()

    def test_compare_and_swap_sees_an_object_that_was_removed(self, store: Store) -> None:
        store.write("k/v", b"1")
        version = store.read_versioned("k/v")[1]
        store.delete("k/v")
        assert not store.compare_and_swap("k/v", version, b"2")
        assert not store.exists("k/v")

    def test_one_of_many_swaps_wins(self, store: Store) -> None:
        store.write("k/v", b"0")
        version = store.read_versioned("k/v")[1]
        won: list[int] = []

        def work(number: int) -> None:
            if store.compare_and_swap("k/v", version, f"by {number}".encode()):
                won.append(number)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        assert store.read("k/v") == f"by {won[0]}".encode()

    def test_large_objects(self, store: Store) -> None:
        data = bytes(range(256)) * (9 << 12)
        store.write("a/large", data)
        assert store.read("a/large") == data
        assert store.create("a/other", data)

    @pytest.mark.parametrize(
        "name", ["a b", "a+b", "100%", "%2F", "q'\"q", "#?&=", "é", "日本", "~*|<>[]{}^`"]
    )
    def test_unusual_names_are_kept(self, store: Store, name: str) -> None:
        store.write(f"u/{name}/{name}", b"1")
        assert store.read(f"u/{name}/{name}") == b"1"
        assert list(store.list("u/")) == [f"u/{name}/{name}"]
        assert store.exists_many([f"u/{name}/{name}", "u/a/b"]) == {f"u/{name}/{name}"}
        assert store.local_path(f"u/{name}/{name}").read_bytes() == b"1"
        store.delete(f"u/{name}/{name}")
        assert not store.exists(f"u/{name}/{name}")

    def test_survives_a_pickle(self, store: Store) -> None:
        """Workers get their store that way, and no credentials travel with it."""
        data = pickle.dumps(store)
        for name, value in os.environ.items():
            if "KEY" in name or "CONNECTION_STRING" in name:
                assert value.encode() not in data
        store.write("a/b", b"1")
        assert pickle.loads(data).read("a/b") == b"1"
