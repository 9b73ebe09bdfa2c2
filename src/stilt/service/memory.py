"""A queue in memory: the twin of the Postgres queue for tests and single processes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

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

_LOOK_EVERY = 0.5
"""Seconds between two questions whether to stop."""

_shared: dict[str, dict[str, MemoryQueue]] = {}
_shared_lock = threading.Lock()


@dataclass
class _Row:
    sim_id: str
    settings: str
    position: int
    max_attempts: int
    status: Status = "pending"
    scene: str | None = None
    priority: int = 0
    attempts: int = 0
    worker: str | None = None
    lease_until: float = 0.0
    claimed_at: float = 0.0
    has_begun: bool = False
    reason: str = ""
    message: str = ""

    def let_go(self, status: Status) -> None:
        self.status, self.worker, self.has_begun = status, None, False

    def has_killed(self) -> bool:
        return self.has_begun and self.attempts >= self.max_attempts


class MemoryQueue:
    """
    The work of one project, for the threads of one process.

    Parameters
    ----------
    project : str
        Address of the output root.
    lease : float
        Seconds a claim lasts unless renewed.
    max_attempts : int
        How often a simulation may take its worker down.
    clock : callable
        Gives the time [s].
    """

    def __init__(
        self,
        project: str,
        *,
        lease: float = LEASE,
        max_attempts: int = MAX_ATTEMPTS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.project = project
        self.lease = lease
        self.max_attempts = max_attempts
        self._clock = clock
        self._rows: dict[str, _Row] = {}
        self._positions = 0
        self._changed = threading.Condition()
        self._news = 0

    def __repr__(self) -> str:
        return f"MemoryQueue({self.project!r}, {len(self._rows)} rows)"

    @classmethod
    def shared(cls, name: str, project: str, *, lease: float, max_attempts: int) -> MemoryQueue:
        """Return the queue of a project under a name, the same one for everybody in this process."""
        with _shared_lock:
            queues = _shared.setdefault(name, {})
            if project not in queues:
                queues[project] = cls(project, lease=lease, max_attempts=max_attempts)
            return queues[project]

    def open(self) -> None:
        """Nothing stands in the way."""

    def close(self) -> None:
        """There is nothing to let go of."""

    # --- asking -----------------------------------------------------------------------------------

    def enqueue(self, scenes: Mapping[str, str | None], *, settings: str, priority: int | None = None) -> int:
        """Ask for simulations; see `Queue.enqueue`."""
        for scene in scenes.values():
            check_label(scene)
        check_priority(priority)
        changed = 0
        with self._changed:
            for sim_id, scene in scenes.items():
                row = self._rows.get(sim_id)
                if row is None:
                    self._rows[sim_id] = _Row(
                        sim_id,
                        settings,
                        self._next_position(),
                        self.max_attempts,
                        scene=scene,
                        priority=priority or 0,
                    )
                    changed += 1
                    continue
                before = (row.status, row.settings, row.scene, row.priority)
                if row.status in ("done", "failed"):
                    row.let_go("pending")
                    row.attempts, row.reason, row.message = 0, "", ""
                    row.position = self._next_position()
                row.settings = settings
                row.scene = row.scene if scene is None else scene
                row.priority = row.priority if priority is None else priority
                row.max_attempts = self.max_attempts
                changed += before != (row.status, row.settings, row.scene, row.priority)
            self._notify(bool(changed))
        return changed

    def record_done(self, scenes: Mapping[str, str | None], *, settings: str) -> int:
        """Note simulations as done; see `Queue.record_done`."""
        changed = 0
        with self._changed:
            for sim_id, scene in scenes.items():
                check_label(scene)
                row = self._rows.get(sim_id)
                if row is None:
                    row = self._rows[sim_id] = _Row(
                        sim_id, settings, self._next_position(), self.max_attempts
                    )
                elif row.status == "running":
                    continue
                before = (row.status, row.settings, row.scene)
                row.let_go("done")
                row.settings, row.reason, row.message = settings, "", ""
                row.scene = row.scene if scene is None else scene
                changed += before != (row.status, row.settings, row.scene)
        return changed

    def remove(self, sim_ids: Iterable[str]) -> int:
        """Remove rows."""
        with self._changed:
            return sum(self._rows.pop(sim_id, None) is not None for sim_id in sim_ids)

    # --- working ----------------------------------------------------------------------------------

    def claim(self, worker: str, rows: int = 1, *, settings: str, begin: bool = False) -> list[Claim]:
        """Take the next rows; see `Queue.claim`."""
        with self._changed:
            waiting = [
                row for row in self._rows.values() if row.status == "pending" and row.settings == settings
            ]
            waiting.sort(key=lambda row: (-row.priority, row.position))
            return [self._give(row, worker, begin=begin) for row in waiting[:rows]]

    def claim_ids(self, worker: str, sim_ids: Iterable[str], *, settings: str) -> list[Claim]:
        """Take these rows; see `Queue.claim_ids`."""
        with self._changed:
            found = []
            for sim_id in dict.fromkeys(sim_ids):
                if sim_id not in self._rows:
                    self._rows[sim_id] = _Row(sim_id, settings, self._next_position(), self.max_attempts)
                found.append(self._rows[sim_id])
            free = [row for row in found if row.status != "running" or self._is_expired(row)]
            for row in free:
                if row.status in ("done", "failed"):
                    row.attempts = 0
                row.settings, row.reason, row.message = settings, "", ""
            return [self._give(row, worker, begin=False) for row in free]

    def begin(self, claim: Claim) -> bool:
        """Count an attempt; False when the claim is lost."""
        with self._changed:
            row = self._held(claim)
            if row is None or row.has_begun:
                return False
            row.has_begun = True
            row.attempts += 1
            row.lease_until = self._clock() + self.lease
            return True

    def heartbeat(self, claims: Sequence[Claim]) -> list[str]:
        """Renew leases; return the ids of claims that are lost."""
        lost = []
        with self._changed:
            for claim in claims:
                row = self._held(claim)
                if row is None:
                    lost.append(claim.sim_id)
                else:
                    row.lease_until = self._clock() + self.lease
        return lost

    def done(self, claims: Sequence[Claim]) -> list[str]:
        """Finish claims; see `Queue.done`."""
        held = []
        with self._changed:
            for claim in claims:
                row = self._held(claim)
                if row is None:
                    continue
                held.append(row.sim_id)
                is_current = row.settings == claim.settings
                row.let_go("done" if is_current else "pending")
                row.attempts = row.attempts if is_current else 0
                row.reason = row.message = ""
        return held

    def failed(self, claim: Claim, reason: str, message: str, *, retry: bool = False) -> Status | None:
        """Give a claim up because it failed; see `Queue.failed`."""
        with self._changed:
            row = self._held(claim)
            if row is None:
                return None
            again = row.settings != claim.settings or (retry and row.attempts < row.max_attempts)
            row.let_go("pending" if again else "failed")
            row.position = self._next_position()
            row.reason, row.message = storable(reason), storable(message)
            return row.status

    def release(self, claims: Sequence[Claim]) -> list[str]:
        """Return claims as if they had never been made."""
        held = []
        with self._changed:
            for claim in claims:
                row = self._held(claim)
                if row is not None:
                    held.append(row.sim_id)
                    row.attempts -= row.has_begun
                    row.let_go("pending")
            self._notify(bool(held))
        return held

    def reap(self) -> list[Watched]:
        """Take rows from workers that are not heard of any more; see `Queue.reap`."""
        reaped = []
        with self._changed:
            for row in self._rows.values():
                if row.status != "running" or not self._is_expired(row):
                    continue
                if row.has_begun:
                    row.position = self._next_position()
                    row.reason = "WORKER_DIED"
                    row.message = (
                        f"worker {row.worker} was not heard of again in attempt {row.attempts} of "
                        f"{row.max_attempts}; it may have run out of memory or been killed."
                    )
                row.let_go("failed" if row.has_killed() else "pending")
                reaped.append(self._watch(row))
            self._notify(bool(reaped))
        return reaped

    def wait(self, timeout: float, *, settings: str, should_stop: Callable[[], bool] | None = None) -> bool:
        """Sleep until there may be something to claim; see `Queue.wait`."""
        until = time.monotonic() + timeout
        with self._changed:
            seen = self._news
            while not any(
                row.status == "pending" and row.settings == settings for row in self._rows.values()
            ):
                left = until - time.monotonic()
                if left <= 0.0 or (should_stop is not None and should_stop()):
                    return False
                self._changed.wait(min(left, _LOOK_EVERY))
                if self._news != seen:
                    return True
        return True

    def be_patient(
        self,
        seconds: float,
        should_stop: Callable[[], bool] | None = None,
        say: Callable[[str], None] | None = None,
    ) -> None:
        """Memory does not go away."""

    # --- looking ----------------------------------------------------------------------------------

    def next_expiry(self) -> float | None:
        """Seconds until the first lease is over; None when nothing is running."""
        with self._changed:
            ends = [row.lease_until for row in self._rows.values() if row.status == "running"]
        return max(min(ends) - self._clock(), 0.0) if ends else None

    def counts(self, scene: str | None = None, *, settings: str | None = None) -> QueueCounts:
        """Rows by status."""
        tally = Tally()
        with self._changed:
            for row in self._rows.values():
                if scene is None or row.scene == scene:
                    tally.add(
                        self._now_is(row), 1, other_settings=settings is not None and row.settings != settings
                    )
        return tally.counts()

    def counts_by_scene(self, *, settings: str | None = None) -> dict[str | None, QueueCounts]:
        """Rows by status for each scene."""
        tallies: dict[str | None, Tally] = {}
        with self._changed:
            for row in self._rows.values():
                tallies.setdefault(row.scene, Tally()).add(
                    self._now_is(row), 1, other_settings=settings is not None and row.settings != settings
                )
        return {scene: tally.counts() for scene, tally in tallies.items()}

    def watched(self) -> list[Watched]:
        """Rows that somebody works on or that have failed."""
        with self._changed:
            rows = sorted(self._rows.values(), key=lambda row: row.sim_id)
            return [self._watch(row) for row in rows if row.status in ("running", "failed")]

    def waiting(self, sim_ids: Iterable[str]) -> set[str]:
        """Those of some simulations whose rows are pending."""
        with self._changed:
            rows = [self._rows[sim_id] for sim_id in sim_ids if sim_id in self._rows]
            return {row.sim_id for row in rows if self._now_is(row) == "pending"}

    def sim_ids(self) -> set[str]:
        """Ids of all rows."""
        return set(self._rows)

    # --- small things -----------------------------------------------------------------------------

    def _next_position(self) -> int:
        self._positions += 1
        return self._positions

    def _notify(self, really: bool) -> None:
        if really:
            self._news += 1
            self._changed.notify_all()

    def _is_expired(self, row: _Row) -> bool:
        return row.lease_until < self._clock()

    def _now_is(self, row: _Row) -> Status:
        if row.status != "running" or not self._is_expired(row):
            return row.status
        return "failed" if row.has_killed() else "pending"

    def _held(self, claim: Claim) -> _Row | None:
        row = self._rows.get(claim.sim_id)
        return row if row is not None and row.status == "running" and row.worker == claim.worker else None

    def _give(self, row: _Row, worker: str, *, begin: bool) -> Claim:
        now = self._clock()
        row.status, row.worker = "running", worker
        row.lease_until, row.claimed_at = now + self.lease, now
        row.has_begun = begin
        row.attempts += begin
        return Claim(row.sim_id, worker, row.settings, row.scene, row.attempts, row.max_attempts)

    def _watch(self, row: _Row) -> Watched:
        return Watched(
            row.sim_id,
            self._now_is(row),
            row.worker,
            self._clock() - row.claimed_at if row.status == "running" else None,
            row.attempts,
            row.max_attempts,
            row.reason,
            row.message,
        )
