"""What every store promises, tried on each of them."""

from __future__ import annotations

import threading

import pytest

from stilt.errors import MissingObjectError, StoreError
from stilt.storage import LocalStore, MemoryStore, Store, open_store


@pytest.fixture(params=["local", "memory"])
def store(request, tmp_path) -> Store:
    return LocalStore(tmp_path / "root") if request.param == "local" else MemoryStore()


class TestStoreContract:
    def test_is_a_store(self, store):
        assert isinstance(store, Store)
        assert open_store(store) is store
        assert "://" in store.uri

    def test_reading_an_empty_store_has_no_side_effects(self, store, tmp_path):
        assert not store.exists("a/b")
        assert list(store.list()) == []
        assert store.exists_many(["a/b", "c"]) == set()
        assert store.read_versioned("a/b") == (None, None)
        store.delete("a/b")
        assert list(tmp_path.iterdir()) == []

    def test_missing_object_is_named(self, store):
        with pytest.raises(MissingObjectError, match="a/b"):
            store.read("a/b")
        with pytest.raises(FileNotFoundError):
            store.read("a/b")

    def test_write_replaces(self, store):
        store.write("a/b/c", b"one")
        store.write("a/b/c", b"")
        assert store.read("a/b/c") == b""
        assert store.exists("a/b/c")

    def test_create_is_exclusive(self, store):
        assert store.create("a/b", b"first")
        assert not store.create("a/b", b"second")
        assert store.read("a/b") == b"first"

    def test_one_of_many_creators_wins(self, store):
        won = []

        def work(number):
            if store.create("a/b", str(number).encode()):
                won.append(number)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        assert store.read("a/b") == str(won[0]).encode()

    def test_compare_and_swap(self, store):
        assert store.compare_and_swap("k/v", None, b"1")
        assert not store.compare_and_swap("k/v", None, b"2")
        data, version = store.read_versioned("k/v")
        assert data == b"1"
        assert store.compare_and_swap("k/v", version, b"2")
        assert not store.compare_and_swap("k/v", version, b"3")
        assert store.read("k/v") == b"2"

    def test_concurrent_updates_lose_nothing(self, store):
        def work():
            for _ in range(10):
                store.update("n/n", lambda old: str(int(old or b"0") + 1).encode())

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert store.read("n/n") == b"40"

    def test_update_may_decline_and_may_fail(self, store):
        store.update("n/n", lambda old: None)
        assert not store.exists("n/n")

        def broken(old):
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            store.update("n/n", broken)
        store.update("n/n", lambda old: b"fine")
        assert store.read("n/n") == b"fine"

    def test_exists_many_few_and_very_many(self, store):
        for number in range(3):
            store.write(f"s/{number}/{number}.x", b"")
        store.write("s/direct", b"")
        store.write("top", b"")
        keys = [f"s/{number}/{number}.{end}" for number in range(700) for end in "xy"]
        keys += ["s/direct", "top", "s/0/0.x/deeper", "elsewhere/a/b", "s/1"]
        expected = {"s/0/0.x", "s/1/1.x", "s/2/2.x", "s/direct", "top"}
        if isinstance(store, LocalStore):
            expected.add("s/1")
        assert store.exists_many(iter(keys)) == expected
        assert store.exists_many(keys[:4]) == {"s/0/0.x", "s/1/1.x"}
        assert store.exists_many([]) == set()

    def test_list_by_prefix(self, store):
        for key in ("a/1", "a/2", "ab/1", "c"):
            store.write(key, b"")
        assert sorted(store.list()) == ["a/1", "a/2", "ab/1", "c"]
        assert sorted(store.list("a/")) == ["a/1", "a/2"]
        assert sorted(store.list("a")) == ["a/1", "a/2", "ab/1"]
        assert list(store.list("none/")) == []

    def test_delete(self, store):
        store.write("a/1", b"")
        store.delete("a/1")
        store.delete("a/1")
        assert not store.exists("a/1")

    def test_local_path_holds_the_bytes(self, store):
        store.write("a/1", b"bytes")
        assert store.local_path("a/1").read_bytes() == b"bytes"
        assert not store.local_path("a/2").exists()

    @pytest.mark.parametrize(
        "key",
        ["", "/a", "a//b", "../a", "a/../b", ".", "a/.", "a\\b", "C:/a", "a\0b", "a/.tmp.x", "a/.lock.b"],
    )
    def test_keys_stay_inside(self, store, key):
        for action in (store.read, store.exists, store.delete, store.local_path):
            with pytest.raises(StoreError, match="not a key"):
                action(key)
        with pytest.raises(StoreError, match="not a key"):
            store.write(key, b"")

    def test_readers_see_whole_objects(self, store):
        done = threading.Event()
        seen = set()

        def read():
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
