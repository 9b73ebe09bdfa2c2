"""
The record that a failed attempt leaves beside the outputs of its simulation.

``failure.json`` exists only while the last attempt failed; it answers "why" without
opening a log. It must be safe to show and to share, so nothing that looks like a
credential enters it::

    {"reason": "MET_COVERAGE", "message": one line, "detail": longer text or "",
     "time": "2023-01-01T12:00:00Z", "attempt": 1, "version": "...", "engine": "..."}
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime

from stilt._version import __version__
from stilt.errors import FailureReason, MissingObjectError, StiltError
from stilt.storage.layout import failure_key
from stilt.storage.secrets import without_secrets
from stilt.storage.store import Store

MAX_MESSAGE = 500
MAX_DETAIL = 20000


@dataclass(frozen=True)
class FailureRecord:
    """
    Why the last attempt of a simulation failed.

    Parameters
    ----------
    reason : str
        A `stilt.errors.FailureReason`.
    message : str
        One line for people.
    time : str
        When it failed, ISO 8601 [UTC].
    attempt : int
        How many attempts in a row have failed.
    version : str
        Version of stilt.
    engine : str
        Transport engine.
    detail : str
        Longer text, such as the end of a program's output.
    """

    reason: str
    message: str
    time: str = ""
    attempt: int = 1
    version: str = __version__
    engine: str = ""
    detail: str = ""


def record_failure(
    store: Store,
    sim_id: str,
    error: BaseException | None = None,
    *,
    reason: str | FailureReason | None = None,
    message: str | None = None,
    detail: str = "",
    engine: str = "",
) -> FailureRecord:
    """
    Write the failure record of a simulation, counting the attempts that failed in a row.

    Parameters
    ----------
    store : Store
        The output root.
    sim_id : str
        Simulation id.
    error : exception, optional
        What went wrong; gives reason and message unless they are passed.
    reason, message, detail, engine : str, optional
        See `FailureRecord`.

    Returns
    -------
    FailureRecord
        What was written.
    """
    if reason is None:
        reason = error.reason if isinstance(error, StiltError) else FailureReason.UNKNOWN
    if message is None:
        message = str(error) if isinstance(error, StiltError) else f"{type(error).__name__}: {error}"
    previous = read_failure(store, sim_id)
    record = FailureRecord(
        reason=str(reason),
        message=without_secrets(" ".join(message.split()))[:MAX_MESSAGE],
        time=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        attempt=previous.attempt + 1 if previous else 1,
        engine=engine,
        detail=without_secrets(detail)[-MAX_DETAIL:],
    )
    # a record torn by a power failure is still a record that it failed
    store.write(failure_key(sim_id), (json.dumps(asdict(record), indent=1) + "\n").encode(), flush=False)
    return record


def read_failure(store: Store, sim_id: str) -> FailureRecord | None:
    """
    Why the last attempt failed.

    Returns
    -------
    FailureRecord or None
        None when it did not fail. A damaged record gives reason ``UNKNOWN``.
    """
    try:
        data = store.read(failure_key(sim_id))
    except MissingObjectError:
        return None
    try:
        values = json.loads(data)
        known = {field.name for field in fields(FailureRecord)}
        record = FailureRecord(**{name: value for name, value in values.items() if name in known})
        if not isinstance(record.attempt, int):
            raise TypeError(record.attempt)
        return record
    except (ValueError, TypeError, AttributeError):
        return FailureRecord(
            reason=FailureReason.UNKNOWN, message="the failure record cannot be read; see stilt.log."
        )


def clear_failure(store: Store, sim_id: str) -> None:
    """Remove the failure record, because the simulation succeeded or its settings changed."""
    store.delete(failure_key(sim_id))
