"""
What a chunk of work need not do again after it was interrupted.

::

    .stilt/chunks/<batch>/<number>.done
    {"sim_id": "...", "status": "complete"}
    {"sim_id": "...", "status": "failed", "reason": "...", "message": "..."}

Only an attempt that is asked to stop writes it; one that is killed is simply repeated, and finds
complete simulations by their outputs.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable

from stilt.errors import MissingObjectError, StoreError
from stilt.execution.results import SimulationResult
from stilt.storage import Store
from stilt.storage.layout import CHUNKS, done_key


def read_done(store: Store, chunk: str) -> dict[str, SimulationResult]:
    """
    Read what earlier attempts at a chunk noted.

    Parameters
    ----------
    store : Store
        The output root.
    chunk : str
        Key of the chunk; a chunk that is a file elsewhere has no notes.

    Returns
    -------
    dict of SimulationResult
        By simulation; complete ones made nothing this time.
    """
    found: dict[str, SimulationResult] = {}
    if not _has_notes(chunk):
        return found
    with contextlib.suppress(MissingObjectError):
        for line in store.read(done_key(chunk)).splitlines():
            with contextlib.suppress(ValueError, TypeError):  # a line cut short is done again
                result = SimulationResult(**json.loads(line))
                found[result.sim_id] = result
    return found


def write_done(store: Store, chunk: str, results: Iterable[SimulationResult]) -> None:
    """
    Note what a chunk need not do again.

    Parameters
    ----------
    store : Store
        The output root.
    chunk : str
        Key of the chunk.
    results : iterable of SimulationResult
        What this attempt and earlier ones came to.
    """
    if not _has_notes(chunk):
        return
    lines = []
    for result in results:
        line: dict[str, str] = {"sim_id": result.sim_id, "status": result.status}
        if result.status == "failed":
            line |= {"reason": str(result.reason), "message": result.message}
        lines.append(json.dumps(line))
    with contextlib.suppress(StoreError):  # a full disk: the work is repeated
        store.write(done_key(chunk), "".join(line + "\n" for line in lines).encode())


def _has_notes(chunk: str) -> bool:
    return chunk.startswith(CHUNKS + "/")
