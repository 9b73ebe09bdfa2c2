"""
What a worker holds of a queue: claims, a heartbeat that renews them, and how they end.

A thread renews the leases while the engine computes; it runs because compiled kernels release
the interpreter. When the queue says that a claim is lost (its lease was over before it was
renewed, or its row was removed), the simulation is told to stop and its outcome is not
reported: the row belongs to somebody else.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterable
from types import TracebackType

from stilt.errors import FailureReason, QueueError
from stilt.execution.results import SimulationResult
from stilt.service import Claim, Queue
from stilt.service.queue import Status
from stilt.storage.secrets import without_secrets

_BEATS_PER_LEASE = 3.0
"""Renewals in one lease, so that one or two may fail."""

PATIENCE = 300.0
"""Seconds to wait for a queue that went away in the middle of the work."""

_TICK = 1.0
"""Longest sleep of the heartbeat [s]."""

_TROUBLE_OF_THE_WORKER = frozenset({FailureReason.STORE_FULL, FailureReason.STORE_UNAVAILABLE})
"""Failures that say nothing about the simulation; they also end the worker."""

_WORTH_ANOTHER_TRY = frozenset({FailureReason.STORE})
"""Failures that may be gone next time, up to the attempts a row has."""


def worker_name() -> str:
    """Return a name that no other worker has: host, process and a random ending."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(6)}"


class Leases:
    """
    The claims of one worker, renewed by a thread while this is entered.

    Parameters
    ----------
    queue : Queue
        Where they come from.
    worker : str
        Whose they are.
    tick : callable, optional
        Called about once a second by the thread, for signs of life.
    patience : float
        Seconds to wait for a queue that went away in the middle of the work.
    should_stop : callable, optional
        Whether not to wait any longer.
    say : callable, optional
        Told of trouble with the queue, and of its end.
    """

    def __init__(
        self,
        queue: Queue,
        worker: str,
        *,
        tick: Callable[[], None] | None = None,
        patience: float = PATIENCE,
        should_stop: Callable[[], bool] | None = None,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self.queue = queue
        self.worker = worker
        self._patience = patience
        self._should_stop = should_stop
        self._say = say or (lambda text: None)
        self._trouble = ""
        self._tick = tick
        self._held: dict[str, Claim] = {}
        self._lost: set[str] = set()
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Leases:
        self._ending.clear()
        self.queue.be_patient(self._patience, self._should_stop, self._say)
        self._thread = threading.Thread(target=self._beat, name="stilt-heartbeat", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ending.set()
        if self._thread is not None:
            self._thread.join()
        self.queue.be_patient(0.0)
        # what cannot be returned now returns when its lease is over
        with contextlib.suppress(QueueError):
            self.release()

    def __len__(self) -> int:
        return len(self._held)

    def hold(self, claims: Iterable[Claim]) -> None:
        """Take care of these claims from now on."""
        with self._lock:
            for claim in claims:
                self._held[claim.sim_id] = claim
                self._lost.discard(claim.sim_id)

    def begin(self, sim_id: str) -> bool:
        """Count an attempt; False when the claim is lost."""
        claim = self._held.get(sim_id)
        if claim is None or self.is_lost(sim_id):
            return False
        if self.queue.begin(claim):
            return True
        self._drop([sim_id])
        return False

    def is_lost(self, sim_id: str) -> bool:
        """Whether somebody else may have the row by now."""
        return sim_id in self._lost

    def complete(self, sim_ids: Iterable[str]) -> None:
        """Finish claims whose outputs are all in place."""
        claims = self._drop(sim_ids)
        if claims:
            self.queue.done(claims)

    def settle(self, result: SimulationResult, *, retry: bool = False) -> Status | None:
        """
        End a claim as its simulation ended.

        Parameters
        ----------
        result : SimulationResult
            What became of it. Interrupted and refused ones are returned to the queue, and so is one whose
            outputs could not go anywhere (disk full, store out of reach): another worker may do better.
        retry : bool
            Whether a failure that may be gone next time is tried again.

        Returns
        -------
        {"pending", "done", "failed"} or None
            What the row is now; None when it belongs to somebody else.
        """
        claims = self._drop([result.sim_id])
        if not claims:
            return None
        if result.ok:
            return "done" if self.queue.done(claims) else None
        if result.status != "failed" or result.reason in _TROUBLE_OF_THE_WORKER:
            return "pending" if self.queue.release(claims) else None
        again = retry and result.reason in _WORTH_ANOTHER_TRY
        return self.queue.failed(claims[0], result.reason, result.message, retry=again)

    def refuse(self, sim_id: str, reason: str, message: str) -> None:
        """End a claim that cannot even begin."""
        for claim in self._drop([sim_id]):
            self.queue.failed(claim, reason, message)

    def release(self) -> None:
        """Return everything that is still held."""
        claims = self._drop(list(self._held))
        if claims:
            self.queue.release(claims)

    def _drop(self, sim_ids: Iterable[str]) -> list[Claim]:
        """Stop renewing; return the claims that are not lost."""
        with self._lock:
            dropped = [self._held.pop(sim_id) for sim_id in sim_ids if sim_id in self._held]
            return [claim for claim in dropped if claim.sim_id not in self._lost]

    def _beat(self) -> None:
        pause = self.queue.lease / _BEATS_PER_LEASE
        due = time.monotonic() + pause
        while not self._ending.wait(min(_TICK, pause)):
            try:
                if self._tick is not None:
                    self._tick()
                if time.monotonic() < due:
                    continue
                self._renew()
            except QueueError:
                continue  # the queue says so itself; at the next tick again, the lease may outlast it
            except Exception as error:  # this thread must never end unnoticed, or every claim would be lost
                self._complain(f"{type(error).__name__}: {error}")
                continue
            due = time.monotonic() + pause
            self._trouble = ""

    def _renew(self) -> None:
        with self._lock:
            claims = list(self._held.values())
        lost = set(self.queue.heartbeat(claims)) if claims else set()
        with self._lock:
            # one that ended while its renewal was under way is not lost
            self._lost |= lost & set(self._held)

    def _complain(self, text: str) -> None:
        if text != self._trouble:
            self._trouble = text
            self._say(f"the heartbeat is in trouble and goes on: {without_secrets(text)}")
