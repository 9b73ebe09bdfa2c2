"""The queue that many machines share: rows in Postgres, one short transaction per call."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stilt.service.connections import Connections
from stilt.service.queue import (
    LEASE,
    MAX_ATTEMPTS,
    Claim,
    QueueCounts,
    Status,
    Tally,
    Watched,
    check_label,
    check_priority,
    storable,
)
from stilt.service.schema import migrate, queries

if TYPE_CHECKING:
    from psycopg import Connection

_ROWS_AT_ONCE = 5000
"""Rows of one statement, so that none takes long."""

_LOOK_BACK_EVERY = 1.0
"""Seconds for which a claim starts where pending rows were seen to begin; see `claim` in queries.sql."""

_BEGINNING = (-(2**40), 0)
"""Before every row, as (-priority, position)."""

_LOOK_EVERY = 0.5
"""Seconds between two questions whether to stop; nothing is sent to the server."""


class PostgresQueue:
    """
    The work of one project in a Postgres database.

    Nothing is connected before the first call, which also creates or updates the tables.

    Parameters
    ----------
    dsn : str
        Address of the database, ``postgresql://user:password@host/database``.
    project : str
        Address of the output root; rows of other projects are invisible.
    lease : float
        Seconds a claim lasts unless renewed.
    max_attempts : int
        How often a simulation may take its worker down before it has failed.
    patience : float
        Seconds to keep trying when the server goes away in the middle of the work.

    Raises
    ------
    ConfigError
        When the address cannot be one.
    MissingExtraError
        When psycopg is not installed.
    """

    def __init__(
        self,
        dsn: str,
        project: str,
        *,
        lease: float = LEASE,
        max_attempts: int = MAX_ATTEMPTS,
        patience: float = 0.0,
    ) -> None:
        self.project = project
        self.lease = float(lease)
        self.max_attempts = max_attempts
        self.connections = Connections(dsn, patience=patience)
        self._sql = queries()
        self._project_id: int | None = None
        self._is_open = False
        self._lock = threading.Lock()
        self._start: tuple[str, tuple[int, int], float] | None = None

    def __repr__(self) -> str:
        return f"PostgresQueue({self.connections!r}, {self.project!r})"

    def open(self) -> None:
        """
        Connect, and bring the tables up to date.

        Raises
        ------
        QueueError
            In one line: wrong password, missing database, tables of a newer version, ...
        """
        with self._lock:
            if not self._is_open:
                self.connections.connect_once(migrate)
                self._is_open = True

    def close(self) -> None:
        """Let go of all connections; the next call opens new ones."""
        self.connections.close()

    # --- asking -----------------------------------------------------------------------------------

    def enqueue(self, scenes: Mapping[str, str | None], *, settings: str, priority: int | None = None) -> int:
        """Ask for simulations; see `Queue.enqueue`."""
        return self._upsert("enqueue", scenes, settings, priority=priority, max_attempts=self.max_attempts)

    def record_done(self, scenes: Mapping[str, str | None], *, settings: str) -> int:
        """Note simulations as done; see `Queue.record_done`."""
        return self._upsert("record_done", scenes, settings)

    def _upsert(self, query: str, scenes: Mapping[str, str | None], settings: str, **words: Any) -> int:
        for scene in set(scenes.values()):
            check_label(scene)
        check_priority(words.get("priority"))
        self._start = None
        changed = 0
        for batch in _batches(scenes.items()):
            values = {
                "project": self._id(),
                "settings": settings,
                "sim_ids": [sim_id for sim_id, _ in batch],
                "scenes": [scene for _, scene in batch],
                **words,
            }

            def put(connection: Connection[Any], values: dict[str, Any] = values) -> int:
                with connection.transaction():
                    connection.execute("SET LOCAL synchronous_commit TO on")
                    count = connection.execute(self._sql[query], values).rowcount
                    if count and query == "enqueue":
                        connection.execute(self._sql["notify"], values)
                return count

            changed += self.connections.call(put)
        return changed

    def remove(self, sim_ids: Iterable[str]) -> int:
        """Remove rows."""
        self._id()
        removed = 0
        for batch in _batches(sim_ids):
            values = {"project": self._id(), "sim_ids": batch}
            removed += self.connections.call(
                lambda connection, values=values: connection.execute(self._sql["remove"], values).rowcount  # type: ignore[misc]
            )
        return removed

    # --- working ----------------------------------------------------------------------------------

    def claim(self, worker: str, rows: int = 1, *, settings: str, begin: bool = False) -> list[Claim]:
        """
        Take the next rows; see `Queue.claim`.

        What another worker returns, or asks for with a higher priority, is seen within a second.
        """
        start = self._start_of(settings)
        found = self._claim_from(start, worker, rows, settings, begin=begin)
        if not found and start != _BEGINNING:
            start = _BEGINNING
            found = self._claim_from(start, worker, rows, settings, begin=begin)
        if start == _BEGINNING:
            until = time.monotonic() + _LOOK_BACK_EVERY
            self._start = (settings, _place(found[0]), until) if found else None
        return [_claim(worker, row) for row in found]

    def _start_of(self, settings: str) -> tuple[int, int]:
        """Where pending rows of these settings were seen to begin a moment ago."""
        known = self._start
        return known[1] if known and known[0] == settings and time.monotonic() < known[2] else _BEGINNING

    def _claim_from(
        self, start: tuple[int, int], worker: str, rows: int, settings: str, *, begin: bool
    ) -> list[Any]:
        rank, position = start
        words = {"rank": rank, "position": position, "begin": begin, "lease": self.lease}
        return sorted(self._fetch("claim", worker=worker, rows=rows, settings=settings, **words), key=_place)

    def claim_ids(self, worker: str, sim_ids: Iterable[str], *, settings: str) -> list[Claim]:
        """Take these rows; see `Queue.claim_ids`."""
        order = {sim_id: place for place, sim_id in enumerate(dict.fromkeys(sim_ids))}
        found = self._fetch(
            "claim_by_id",
            worker=worker,
            sim_ids=list(order),
            settings=settings,
            lease=self.lease,
            max_attempts=self.max_attempts,
        )
        return sorted((_claim(worker, row) for row in found), key=lambda claim: order[claim.sim_id])

    def begin(self, claim: Claim) -> bool:
        """Count an attempt; False when the claim is lost."""
        return bool(self._fetch("begin", worker=claim.worker, sim_id=claim.sim_id, lease=self.lease))

    def heartbeat(self, claims: Sequence[Claim]) -> list[str]:
        """Renew leases; return the ids of claims that are lost."""
        if not claims:
            return []
        kept = {row[0] for row in self._of_claims("heartbeat", claims, lease=self.lease, patience=0.0)}
        return [claim.sim_id for claim in claims if claim.sim_id not in kept]

    def done(self, claims: Sequence[Claim]) -> list[str]:
        """Finish claims; see `Queue.done`."""
        held: list[str] = []
        for settings in dict.fromkeys(claim.settings for claim in claims):
            same = [claim for claim in claims if claim.settings == settings]
            held += [row[0] for row in self._of_claims("done", same, settings=settings)]
        return held

    def failed(self, claim: Claim, reason: str, message: str, *, retry: bool = False) -> Status | None:
        """Give a claim up because it failed; see `Queue.failed`."""
        self._start = None
        rows = self._fetch(
            "failed",
            worker=claim.worker,
            sim_id=claim.sim_id,
            settings=claim.settings,
            reason=storable(reason),
            message=storable(self.connections.scrub(message)),
            retry=retry,
        )
        return rows[0][0] if rows else None

    def release(self, claims: Sequence[Claim]) -> list[str]:
        """Return claims as if they had never been made."""
        if not claims:
            return []
        self._start = None
        released = [row[0] for row in self._of_claims("release", claims)]
        if released:
            self._fetch("notify")
        return released

    def reap(self) -> list[Watched]:
        """Take rows from workers that are not heard of any more; see `Queue.reap`."""
        rows = self._fetch("reap")
        if rows:
            self._start = None
            self._fetch("notify")
        return [
            Watched(sim_id, status, attempts=attempts, reason=reason or "", message=message or "")
            for sim_id, status, reason, message, attempts in rows
        ]

    def wait(self, timeout: float, *, settings: str, should_stop: Callable[[], bool] | None = None) -> bool:
        """Sleep until there may be something to claim; see `Queue.wait`."""
        until = time.monotonic() + timeout
        project = self._id()

        def listen(connection: Connection[Any]) -> bool:
            connection.execute("LISTEN stilt_queue")
            try:
                # asked after listening began, so that nothing can be missed in between
                if self._execute(connection, "has_pending", settings=settings)[0][0]:
                    return True
                while (left := until - time.monotonic()) > 0.0:
                    if should_stop is not None and should_stop():
                        return False
                    for note in connection.notifies(timeout=min(left, _LOOK_EVERY), stop_after=1):
                        if note.payload == str(project):
                            return True
                return False
            finally:
                if not connection.broken:
                    connection.execute("UNLISTEN stilt_queue")

        return self.connections.call(listen)

    def be_patient(
        self,
        seconds: float,
        should_stop: Callable[[], bool] | None = None,
        say: Callable[[str], None] | None = None,
    ) -> None:
        """Keep trying for so long when the queue goes away; see `Queue.be_patient`."""
        self.connections.patience = seconds
        self.connections.should_stop = should_stop or (lambda: False)
        self.connections.say = say or (lambda text: None)

    # --- looking ----------------------------------------------------------------------------------

    def next_expiry(self) -> float | None:
        """Seconds until the first lease is over; None when nothing is running."""
        rows = self._look("next_expiry")
        return max(rows[0][0], 0.0) if rows and rows[0][0] is not None else None

    def counts(self, scene: str | None = None, *, settings: str | None = None) -> QueueCounts:
        """Rows by status, of all scenes or of one."""
        tally = Tally()
        for of, asked, status, number in self._look("counts"):
            if scene is None or of == scene:
                tally.add(status, number, other_settings=settings is not None and asked != settings)
        return tally.counts()

    def counts_by_scene(self, *, settings: str | None = None) -> dict[str | None, QueueCounts]:
        """Rows by status for each scene; None for rows without one."""
        tallies: dict[str | None, Tally] = {}
        for scene, asked, status, number in self._look("counts"):
            tallies.setdefault(scene, Tally()).add(
                status, number, other_settings=settings is not None and asked != settings
            )
        return {scene: tally.counts() for scene, tally in tallies.items()}

    def watched(self) -> list[Watched]:
        """Rows that somebody works on or that have failed, in id order."""
        return [_watched(row) for row in self._look("watched")]

    def waiting(self, sim_ids: Iterable[str]) -> set[str]:
        """Those of some simulations whose rows are pending."""
        return {row[0] for batch in _batches(sim_ids) for row in self._look("waiting", sim_ids=batch)}

    def sim_ids(self) -> set[str]:
        """Ids of all rows."""
        return {row[0] for row in self._look("all_ids")}

    # --- small things -----------------------------------------------------------------------------

    def _id(self) -> int:
        """Number of the project's rows, given when it is first needed."""
        self.open()
        if self._project_id is None:

            def add(connection: Connection[Any]) -> int | None:
                connection.execute(self._sql["add_project"], {"uri": self.project})
                return self._find(connection)

            self._project_id = self.connections.call(self._find) or self.connections.call(add)
        if self._project_id is None:
            raise AssertionError("a row that was just added is there")
        return self._project_id

    def _find(self, connection: Connection[Any]) -> int | None:
        row = connection.execute(self._sql["find_project"], {"uri": self.project}).fetchone()
        return row[0] if row else None

    def _execute(self, connection: Connection[Any], query: str, **words: Any) -> list[Any]:
        return connection.execute(self._sql[query], {"project": self._project_id, **words}).fetchall()

    def _fetch(self, query: str, *, patience: float | None = None, **words: Any) -> list[Any]:
        self._id()
        return self.connections.call(
            lambda connection: self._execute(connection, query, **words), patience=patience
        )

    def _of_claims(self, query: str, claims: Sequence[Claim], **words: Any) -> list[Any]:
        return self._fetch(
            query, worker=claims[0].worker, sim_ids=[claim.sim_id for claim in claims], **words
        )

    def _look(self, query: str, **words: Any) -> list[Any]:
        """Read without leaving a trace: a project nobody has asked anything for has no rows."""
        self.open()
        if self._project_id is None:
            self._project_id = self.connections.call(self._find)
            if self._project_id is None:
                return []
        return self._fetch(query, **words)


def _batches(items: Iterable[Any]) -> Iterator[list[Any]]:
    iterator = iter(items)
    while batch := list(itertools.islice(iterator, _ROWS_AT_ONCE)):
        yield batch


def _place(row: Sequence[Any]) -> tuple[int, int]:
    """Place of a claimed row in the order of claims."""
    return -row[5], row[6]


def _claim(worker: str, row: Sequence[Any]) -> Claim:
    sim_id, settings, scene, attempts, max_attempts, *_ = row
    return Claim(sim_id, worker, settings, scene, attempts, max_attempts)


def _watched(row: Sequence[Any]) -> Watched:
    sim_id, status, worker, attempts, max_attempts, reason, message, seconds, is_expired, has_begun = row
    if is_expired:
        status = "failed" if has_begun and attempts >= max_attempts else "pending"
    return Watched(
        sim_id,
        status,
        worker,
        seconds if worker is not None else None,
        attempts,
        max_attempts,
        reason or "",
        message or "",
    )
