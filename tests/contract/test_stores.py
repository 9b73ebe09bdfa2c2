"""Every store passes the contract: on a disk, in memory, and in buckets of three providers."""

from __future__ import annotations

import pytest

from stilt.storage import LocalStore, MemoryStore, Store, open_store
from stilt.testing.stores import StoreContract


class TestLocalStore(StoreContract):
    @pytest.fixture
    def store(self, tmp_path) -> Store:
        return LocalStore(tmp_path / "root")

    def test_reading_creates_nothing(self, store, tmp_path):
        store.exists_many(["a/b", "c"])
        list(store.list())
        store.read_versioned("a/b")
        assert list(tmp_path.iterdir()) == []


class TestMemoryStore(StoreContract):
    test_survives_a_pickle = None

    @pytest.fixture
    def store(self) -> Store:
        return MemoryStore()


@pytest.mark.live_s3
class TestS3(StoreContract):
    @pytest.fixture
    def store(self, bucket_at) -> Store:
        return open_store(bucket_at("s3").uri)


@pytest.mark.live_azure
class TestAzure(StoreContract):
    @pytest.fixture
    def store(self, bucket_at) -> Store:
        return open_store(bucket_at("az").uri)


@pytest.mark.live_gcs
class TestGoogle(StoreContract):
    @pytest.fixture
    def store(self, bucket_at) -> Store:
        return open_store(bucket_at("gs").uri)
