"""
What a work queue does, for whoever hands out work and whoever does it.

A queue tracks work, never results: what is complete is read from the outputs by key. Rows belong
to one project (the address of its output root) and move like this::

                 enqueue                      claim                   begin, heartbeat
    (not there) ---------> pending ----------------------> running -----------------.
                              ^                              |                      |
                              |  release (SIGTERM), lease    |  done                |  failed, or its
                              '--- over, failed with retry --+--> done              '--> workers died
                                                                                         max_attempts times

Nothing is locked while a simulation runs. A claim is a lease that a heartbeat renews; when a
worker is not heard of any more its rows return to ``pending``. An attempt counts when its
simulation begins, so that the others of a batch do not pay for the one that killed the worker.
Rows carry the hash of the settings they were asked for under, and a worker claims only rows of
the settings it works with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from stilt.errors import ProjectError

Status = Literal["pending", "running", "done", "failed"]
STATUSES: tuple[Status, ...] = ("pending", "running", "done", "failed")

LEASE = 60.0
"""Seconds a claim lasts unless renewed."""

MAX_ATTEMPTS = 3
"""How often a simulation may take its worker down before it has failed."""

MAX_LABEL = 200
"""Characters a scene label may have; each row of manifest and queue repeats it."""

MAX_PRIORITY = 1_000_000
"""Largest priority, and smallest with a minus sign."""

MAX_TEXT = 500
"""Characters of a message that are kept."""


@dataclass(frozen=True)
class Claim:
    """
    A simulation that a worker holds for a while.

    Parameters
    ----------
    sim_id : str
        Simulation id.
    worker : str
        Who holds it.
    settings : str
        Hash of the settings it is to be made with.
    scene : str, optional
        Label of its scene.
    attempts : int
        Attempts begun before, or with this one when it has begun.
    max_attempts : int
        How many there may be.
    """

    sim_id: str
    worker: str
    settings: str
    scene: str | None = None
    attempts: int = 0
    max_attempts: int = MAX_ATTEMPTS


@dataclass(frozen=True)
class Watched:
    """
    A row that somebody works on, or that has failed.

    Parameters
    ----------
    sim_id : str
        Simulation id.
    status : {"pending", "running", "done", "failed"}
        What it is; a row whose lease is over counts as what the next worker will make of it.
    worker : str, optional
        Who holds it.
    seconds : float, optional
        Since it was claimed [s].
    attempts, max_attempts : int
        Attempts begun, and how many there may be.
    reason, message : str
        Why the last attempt failed.
    """

    sim_id: str
    status: Status
    worker: str | None = None
    seconds: float | None = None
    attempts: int = 0
    max_attempts: int = MAX_ATTEMPTS
    reason: str = ""
    message: str = ""


@dataclass(frozen=True)
class QueueCounts:
    """
    How many rows there are of each status.

    Parameters
    ----------
    pending, running, done, failed : int
        Rows.
    other_settings : int
        Pending rows among them that were asked for under settings other than those given.
    """

    pending: int = 0
    running: int = 0
    done: int = 0
    failed: int = 0
    other_settings: int = 0

    @property
    def total(self) -> int:
        """All rows."""
        return self.pending + self.running + self.done + self.failed


@dataclass
class Tally:
    """Rows of one scene as they are added up; see `QueueCounts`."""

    rows: dict[str, int] = field(default_factory=lambda: dict.fromkeys(STATUSES, 0))
    other_settings: int = 0

    def add(self, status: str, number: int, *, other_settings: bool) -> None:
        """Count rows."""
        self.rows[status] += number
        if other_settings and status == "pending":
            self.other_settings += number

    def counts(self) -> QueueCounts:
        """The sums."""
        return QueueCounts(**self.rows, other_settings=self.other_settings)


class Queue(Protocol):
    """
    The work of one project.

    Every call is one short transaction. Methods that take claims leave alone what the worker
    does not hold any more, and say so; all claims of one call belong to one worker.
    """

    @property
    def project(self) -> str:
        """Address of the output root whose rows these are."""
        ...

    @property
    def lease(self) -> float:
        """Seconds a claim lasts unless renewed."""
        ...

    def open(self) -> None:
        """Make sure that the queue can be used; raises what stands in the way."""
        ...

    def enqueue(
        self,
        scenes: Mapping[str, str | None],
        *,
        settings: str,
        priority: int | None = None,
    ) -> int:
        """
        Ask for simulations.

        Parameters
        ----------
        scenes : mapping of str to str or None
            Label of the scene by simulation id, in the order in which they are to run; a row keeps its
            scene when None is given.
        settings : str
            Hash of the settings.
        priority : int, optional
            Higher first; None: 0, or what a row has.

        Returns
        -------
        int
            Rows that are new or changed. Pending and running rows stay what they are, done and failed ones
            are asked for anew.
        """
        ...

    def record_done(self, scenes: Mapping[str, str | None], *, settings: str) -> int:
        """Note simulations whose outputs exist, except what a worker holds; return how many changed."""
        ...

    def claim(self, worker: str, rows: int = 1, *, settings: str, begin: bool = False) -> list[Claim]:
        """
        Take the next rows.

        Parameters
        ----------
        worker : str
            Who takes them; different for each worker.
        rows : int
            At most so many.
        settings : str
            Hash of the settings the worker works with; rows of others are left.
        begin : bool
            Whether their attempts begin at once.

        Returns
        -------
        list of Claim
            In the order in which they are to run; none when nothing is pending.
        """
        ...

    def claim_ids(self, worker: str, sim_ids: Iterable[str], *, settings: str) -> list[Claim]:
        """Take these rows, whatever they are, new ones too, except those that somebody else holds."""
        ...

    def begin(self, claim: Claim) -> bool:
        """Count an attempt; False when the claim is lost, so that nothing should begin."""
        ...

    def heartbeat(self, claims: Sequence[Claim]) -> list[str]:
        """Renew leases; return the ids of claims that are lost."""
        ...

    def done(self, claims: Sequence[Claim]) -> list[str]:
        """Finish claims, with all outputs in place; return the ids of those that were still held."""
        ...

    def failed(self, claim: Claim, reason: str, message: str, *, retry: bool = False) -> Status | None:
        """Give a claim up because it failed; return what the row is now, None when the claim was lost."""
        ...

    def release(self, claims: Sequence[Claim]) -> list[str]:
        """Return claims as if they had never been made; return the ids of those that were still held."""
        ...

    def reap(self) -> list[Watched]:
        """Take rows from workers that are not heard of any more; return what they are now."""
        ...

    def wait(self, timeout: float, *, settings: str, should_stop: Callable[[], bool] | None = None) -> bool:
        """
        Sleep until there may be something to claim.

        Parameters
        ----------
        timeout : float
            Longest sleep [s].
        settings : str
            Hash of the settings of interest.
        should_stop : callable, optional
            Asked twice a second; True ends the sleep.

        Returns
        -------
        bool
            Whether there is news, as opposed to the time being over.
        """
        ...

    def next_expiry(self) -> float | None:
        """Seconds until the first lease is over unless renewed; None when nothing is running."""
        ...

    def counts(self, scene: str | None = None, *, settings: str | None = None) -> QueueCounts:
        """Rows by status, of all scenes or of one."""
        ...

    def counts_by_scene(self, *, settings: str | None = None) -> dict[str | None, QueueCounts]:
        """Rows by status for each scene; None for rows without one."""
        ...

    def watched(self) -> list[Watched]:
        """Rows that somebody works on or that have failed, in id order."""
        ...

    def waiting(self, sim_ids: Iterable[str]) -> set[str]:
        """Those of some simulations whose rows are pending."""
        ...

    def sim_ids(self) -> set[str]:
        """Ids of all rows."""
        ...

    def remove(self, sim_ids: Iterable[str]) -> int:
        """Remove rows, running ones too (their workers notice); return how many."""
        ...

    def be_patient(
        self,
        seconds: float,
        should_stop: Callable[[], bool] | None = None,
        say: Callable[[str], None] | None = None,
    ) -> None:
        """
        From now on keep trying when the queue cannot be reached.

        Parameters
        ----------
        seconds : float
            For so long.
        should_stop : callable, optional
            Whether not to.
        say : callable, optional
            Told when the queue goes away and when it is back, in words for people.
        """
        ...

    def close(self) -> None:
        """Let go of connections; the queue may be used again."""
        ...


def check_label(label: str | None) -> str | None:
    """
    Refuse a scene label that not every store and database can keep.

    Parameters
    ----------
    label : str, optional
        The label; quotes, line breaks, separators and any script are fine.

    Returns
    -------
    str or None
        The same label.

    Raises
    ------
    ProjectError
        When it is no text, is too long, or holds a NUL or half a surrogate pair.
    """
    if label is None:
        return None
    if not isinstance(label, str):
        raise ProjectError(f"scene label {label!r} cannot be kept: it is no text; write {str(label)!r}.")
    if "\0" in label or any("\ud800" <= sign <= "\udfff" for sign in label):
        raise ProjectError(
            f"scene label {label!r} cannot be kept: it holds a character that is no text; choose another."
        )
    if len(label) > MAX_LABEL:
        raise ProjectError(
            f"scene label {label[:20]!r}... cannot be kept: it has {len(label)} characters, and {MAX_LABEL} "
            "are allowed; choose a shorter one."
        )
    return label


def check_priority(priority: int | None) -> int | None:
    """
    Refuse a priority that a row cannot hold.

    Parameters
    ----------
    priority : int, optional
        Higher first.

    Returns
    -------
    int or None
        The same priority.

    Raises
    ------
    ProjectError
        When it is too large or too small.
    """
    if priority is not None and abs(priority) > MAX_PRIORITY:
        raise ProjectError(f"priority {priority} is not between -{MAX_PRIORITY} and {MAX_PRIORITY}.")
    return priority


def storable(text: str) -> str:
    r"""
    Make a message fit for a row: without NUL, valid Unicode, one line of bounded length.

    Examples
    --------
    >>> storable("no\0 such\nfile")
    'no such file'
    """
    clean = " ".join(text.replace("\0", "").split())
    return clean.encode("utf-8", "replace").decode("utf-8")[:MAX_TEXT]
