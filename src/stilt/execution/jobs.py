"""
Records of detached jobs: which scheduler has what, so that any later process can ask and cancel.

::

    .stilt/jobs/<batch>.json
    {"format": 1, "batch": "...", "backend": "slurm", "job_ids": ["1234"], "submitted": "...Z",
     "settings": "<12 hex>", "chunks": 40, "simulations": 4000, "skip_existing": true,
     "where": {what the backend needs to find them}, "ended": ""}

The work itself is in the chunk files of the same batch. A record says nothing about results;
those are found in the outputs.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from stilt.errors import MissingObjectError, ProjectError
from stilt.storage import Store
from stilt.storage.layout import JOBS, job_key

FORMAT = 1


@dataclass(frozen=True)
class JobRecord:
    """
    A batch that was handed to a scheduler.

    Parameters
    ----------
    batch : str
        Its name within the project.
    backend : str
        Name of the backend.
    job_ids : tuple of str
        The scheduler's names for it.
    settings : str
        Hash of the result-changing settings.
    chunks, simulations : int
        How much was handed over.
    skip_existing : bool
        Whether only missing outputs are made.
    where : dict
        What the backend needs to find the jobs again; nothing secret.
    submitted, ended : str
        When, ISO 8601 [UTC]; ``ended`` is empty until somebody saw the end.
    """

    batch: str
    backend: str
    job_ids: tuple[str, ...]
    settings: str
    chunks: int
    simulations: int
    skip_existing: bool = True
    where: Mapping[str, Any] = field(default_factory=dict)
    submitted: str = ""
    ended: str = ""

    @property
    def name(self) -> str:
        """The scheduler's names, for people."""
        return ",".join(self.job_ids)

    def to_bytes(self) -> bytes:
        """The record as a file."""
        return (json.dumps({"format": FORMAT, **asdict(self)}, indent=1) + "\n").encode()

    @classmethod
    def from_bytes(cls, data: bytes, where: str) -> JobRecord:
        """
        Read a record.

        Parameters
        ----------
        data : bytes
            Its content.
        where : str
            Its address, for messages.
        """
        try:
            values = json.loads(data)
            if values.pop("format") > FORMAT:
                raise ProjectError(
                    f"{where} was written by a newer version of stilt; update this installation."
                )
            values["job_ids"] = tuple(str(job_id) for job_id in values["job_ids"])
            return cls(**values)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            if isinstance(error, ProjectError):
                raise
            raise ProjectError(
                f"{where} is damaged ({error}); delete it if the job is over or cancelled."
            ) from error


def new_batch() -> str:
    """Name a batch: when it was submitted, and something that two submissions at once do not share."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"


def now() -> str:
    """Return the time as records have it."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


def write_record(store: Store, record: JobRecord) -> None:
    """Keep a record, replacing an earlier one of the batch."""
    store.write(job_key(record.batch), record.to_bytes())


def read_records(store: Store, *, active: bool = False) -> list[JobRecord]:
    """
    Read the records of a project, oldest first.

    Parameters
    ----------
    store : Store
        The output root.
    active : bool
        Only those whose end nobody has seen.
    """
    records = []
    for key in sorted(store.list(JOBS + "/")):
        if not key.endswith(".json"):
            continue
        try:
            record = JobRecord.from_bytes(store.read(key), f"{store.uri}/{key}")
        except MissingObjectError:
            continue
        if not (active and record.ended):
            records.append(record)
    return sorted(records, key=lambda record: (record.submitted, record.batch))


def mark_ended(store: Store, record: JobRecord) -> JobRecord:
    """Note that the scheduler has nothing left of a job, so that nobody asks again."""
    ended = replace(record, ended=now())
    write_record(store, ended)
    return ended
