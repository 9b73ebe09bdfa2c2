"""Outputs by key: the layout of an output root and the stores that hold one."""

from __future__ import annotations

from stilt.storage.local import LocalStore
from stilt.storage.memory import MemoryStore
from stilt.storage.store import Store, open_store

__all__ = ["LocalStore", "MemoryStore", "Store", "open_store"]
