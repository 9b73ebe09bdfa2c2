"""Outputs by key: the layout of an output root and the stores that hold one."""

from __future__ import annotations

from stilt.storage.local import LocalStore
from stilt.storage.memory import MemoryStore
from stilt.storage.store import Store, concurrently, is_remote_address, open_store, place, read_copy

__all__ = [
    "LocalStore",
    "MemoryStore",
    "Store",
    "concurrently",
    "is_remote_address",
    "open_store",
    "place",
    "read_copy",
]
