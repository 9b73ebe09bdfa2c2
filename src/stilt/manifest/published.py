"""
What each registration asked for, kept by itself so that the manifest can be put together again.

Before rows are merged into the manifest they are written to an object of their own that is
never changed, named by what it says; registering the same again finds it there. They are
read only by a registration that finds no manifest, and by `Manifest.restore`::

    .stilt/registrations/<32 hex of its rows>.parquet     columns as in the manifest,
                                                          metadata stilt:registered: when [UTC]
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from stilt.errors import ManifestError
from stilt.manifest.arrow import COLUMNS, parse, registered_at, rows_of, serialise, strings
from stilt.storage import Store, concurrently, place
from stilt.storage.layout import REGISTRATIONS, registration_key

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Restored:
    """
    What came of putting a manifest together again.

    Parameters
    ----------
    rows : int
        Simulations that were restored; 0 when nothing was wrong.
    registrations : int
        Registrations they came from.
    unreadable : tuple of str
        Published registrations that are damaged themselves.
    kept : str
        Where the damaged manifest was kept; empty when it was missing.
    """

    rows: int = 0
    registrations: int = 0
    unreadable: tuple[str, ...] = ()
    kept: str = ""


def publish(store: Store, rows: pa.Table) -> str:
    """
    Write down what a registration asks for, unless the same was written before.

    Parameters
    ----------
    store : Store
        The output root.
    rows : pyarrow.Table
        Its rows, each id once.

    Returns
    -------
    str
        Where, as a key.
    """
    key = registration_key(_digest(rows))
    if not store.exists(key):
        now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
        store.write(key, serialise(rows, registered=now))
    return key


def _digest(rows: pa.Table) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name in COLUMNS:
        column = rows[name].combine_chunks()
        column = column.combine_chunks() if hasattr(column, "chunks") else column
        digest.update(f"{name}:{len(column)}:{column.null_count}:".encode())
        if 0 < column.null_count < len(column):
            # null and the empty text are different scenes
            digest.update("".join("-+"[valid] for valid in column.is_valid().to_pylist()).encode())
        lengths = np.frombuffer(column.buffers()[1], np.int32)[
            column.offset : column.offset + len(column) + 1
        ]
        digest.update((lengths - lengths[0]).tobytes())
        digest.update(memoryview(column.buffers()[2] or b"")[lengths[0] : lengths[-1]])
    return digest.hexdigest()


def read_published(store: Store, *, besides: str = "") -> tuple[pa.Table | None, int, tuple[str, ...]]:
    """
    Put together what all published registrations ask for.

    Parameters
    ----------
    store : Store
        The output root.
    besides : str
        Key of one to leave out.

    Returns
    -------
    rows : pyarrow.Table or None
        One row for each simulation, None when there are none. As with the manifest itself, the
        latest registration decides about footprints, and about the scene if it has one.
    registrations : int
        How many were read.
    unreadable : tuple of str
        Where those are that cannot be read.
    """
    tables: list[tuple[str, pa.Table]] = []
    unreadable = []
    keys = sorted(key for key in store.list(REGISTRATIONS + "/") if key != besides)
    for key, data in zip(keys, concurrently(store, store.read, keys), strict=True):
        try:
            tables.append((registered_at(data), parse(data, place(store, key))))
        except ManifestError:
            unreadable.append(place(store, key))
    merged: dict[str, tuple[str, str, str | None, str]] = {}
    for _, table in sorted(tables, key=lambda entry: entry[0]):
        for sim_id, met, receptor, scene, footprints in zip(*(strings(table[name]) for name in COLUMNS)):
            if scene is None and sim_id in merged:
                scene = merged[sim_id][2]
            merged[sim_id] = met, receptor, scene, footprints
    if not merged:
        return None, len(tables), tuple(unreadable)
    columns = [list(merged), *map(list, zip(*merged.values()))]
    return rows_of(columns), len(tables), tuple(unreadable)
