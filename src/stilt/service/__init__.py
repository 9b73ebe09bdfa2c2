"""
The work queue that pull workers share.

::

    queue        what every queue promises        postgres     rows in a database, for many machines
    memory       its twin for one process         connections  few, mended, silent about passwords
    schema       tables, from the files in sql/

Completion is never read from here: the outputs are the state.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from stilt.config import RuntimeSettings
from stilt.service.queue import (
    LEASE,
    MAX_ATTEMPTS,
    Claim,
    Queue,
    QueueCounts,
    Watched,
    check_label,
    check_priority,
)

if TYPE_CHECKING:
    from stilt.service.memory import MemoryQueue
    from stilt.service.postgres import PostgresQueue

__all__ = [
    "Claim",
    "MemoryQueue",
    "PostgresQueue",
    "Queue",
    "QueueCounts",
    "Watched",
    "check_label",
    "check_priority",
    "open_queue",
    "queue_for",
]


def open_queue(
    address: str,
    project: str,
    *,
    lease: float = LEASE,
    max_attempts: int = MAX_ATTEMPTS,
    patience: float = 0.0,
) -> Queue:
    """
    Choose the queue behind an address; nothing is connected yet.

    Parameters
    ----------
    address : str
        Of a Postgres database, or ``memory://name`` for one that lives in this process.
    project : str
        Address of the output root.
    lease, max_attempts, patience
        See `PostgresQueue`.

    Examples
    --------
    >>> open_queue("memory://example", "file:///project").counts().total
    0
    """
    match = re.fullmatch(r"memory://([\w.-]*)", address)
    if match:
        from stilt.service.memory import MemoryQueue

        return MemoryQueue.shared(match[1], project, lease=lease, max_attempts=max_attempts)
    from stilt.service.postgres import PostgresQueue

    return PostgresQueue(address, project, lease=lease, max_attempts=max_attempts, patience=patience)


def queue_for(runtime: RuntimeSettings, project: str) -> Queue | None:
    """
    Open the queue that the environment names.

    Parameters
    ----------
    runtime : RuntimeSettings
        Settings of the machine.
    project : str
        Address of the output root.

    Returns
    -------
    Queue or None
        None when ``PYSTILT_DB_URL`` is not set; nothing is connected yet.
    """
    if runtime.db_url is None:
        return None
    return open_queue(
        runtime.db_url.get_secret_value(),
        project,
        lease=float(runtime.lease),
        max_attempts=runtime.max_attempts,
    )


def __getattr__(name: str) -> Any:
    if name == "PostgresQueue":
        from stilt.service.postgres import PostgresQueue

        return PostgresQueue
    if name == "MemoryQueue":
        from stilt.service.memory import MemoryQueue

        return MemoryQueue
    raise AttributeError(f"module 'stilt.service' has no attribute '{name}'")
