"""
What a backend is: something that takes tasks and gives back a job.

A backend is built from its section of the configuration, what all tasks have in common, and
somebody to tell how it goes. Jobs of *detached* backends go on without the process that submitted
them; a `JobRecord` under ``.stilt/jobs`` names them, and a `JobControl` made from the record
asks about them and cancels them, in this process or a later one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar, runtime_checkable

from stilt.execution.handle import JobHandle
from stilt.execution.jobs import JobRecord
from stilt.execution.progress import Reporter
from stilt.execution.tasks import Task

if TYPE_CHECKING:
    from stilt.execution.worker import WorkContext

S = TypeVar("S")


@runtime_checkable
class Backend(Protocol):
    """Hands simulations to workers somewhere."""

    def check(self) -> None:
        """Raise ConfigError, in one line, for what makes submitting from here impossible."""
        ...

    def preview(self, tasks: Collection[Task]) -> str:
        """Say what `submit` would do, as text to read: a job script, a manifest. Nothing is changed."""
        ...

    def submit(self, tasks: Collection[Task]) -> JobHandle:
        """
        Hand out the tasks.

        The settings are published before. A detached job is returned at once; any other is over
        when it is returned.
        """
        ...


class Built(Generic[S]):
    """
    What a backend is built from.

    Parameters
    ----------
    section : Section
        Its keys, the ``execution`` section of the configuration.
    context : WorkContext
        Store and settings.
    reporter : Reporter
        Hears how it goes.
    """

    def __init__(self, section: S, context: WorkContext, reporter: Reporter) -> None:
        self.section = section
        self.context = context
        self.reporter = reporter


@dataclass(frozen=True)
class JobView:
    """
    What a scheduler says about a job at one moment.

    Parameters
    ----------
    running, waiting : frozenset of int
        Chunks whose worker runs, or will.
    ended : dict of int to str
        Chunks whose worker ended other than by itself, and how: ``TIMEOUT``, ``NODE_FAIL``.
    note : str
        Why nothing runs yet, in the scheduler's words.
    said : str
        How it goes, where chunks say nothing of it.
    trouble : str
        Why the scheduler could not be asked; nothing else is known then.
    """

    running: frozenset[int] = frozenset()
    waiting: frozenset[int] = frozenset()
    ended: Mapping[int, str] = field(default_factory=dict)
    note: str = ""
    said: str = ""
    trouble: str = ""

    @property
    def is_over(self) -> bool:
        """Whether no worker runs or will."""
        return not (self.trouble or self.running or self.waiting)


@runtime_checkable
class JobControl(Protocol):
    """Asks about a detached job and ends it."""

    def look(self) -> JobView:
        """Ask the scheduler; does not raise."""
        ...

    def cancel(self) -> None:
        """Stop the job; raise StiltError when the scheduler refuses."""
        ...

    def last_words(self, chunk: int) -> str:
        """Return the last line that the worker of a chunk printed; empty when unknown."""
        ...


@runtime_checkable
class Watching(Protocol):
    """A control that is told of changes instead of having to ask."""

    def pause(self, seconds: float) -> None:
        """Wait until the job changes, but not longer than this."""
        ...


@runtime_checkable
class Withdrawing(Protocol):
    """A control whose work lies in a queue, and has to be taken back when the job is cancelled."""

    def withdraw(self, sim_ids: Collection[str]) -> None:
        """Take back these simulations."""
        ...


class DetachedBackend(Backend, Protocol):
    """A backend whose jobs go on without the process that submitted them."""

    @classmethod
    def attach(cls, record: JobRecord) -> JobControl:
        """Return the control of a job that was submitted earlier, perhaps by another process."""
        ...
