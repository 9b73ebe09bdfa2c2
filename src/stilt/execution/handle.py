"""What `Model.run` gives back: the job, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from stilt.execution.results import SimulationResult, count_reasons


@runtime_checkable
class Job(Protocol):
    """What every backend gives back for submitted work."""

    @property
    def job_id(self) -> str:
        """Its name."""
        ...

    @property
    def detached(self) -> bool:
        """Whether it goes on without this process."""
        ...

    @property
    def results(self) -> list[SimulationResult]:
        """What became of simulations so far."""
        ...

    def wait(self) -> list[SimulationResult]:
        """Wait until the job is over."""
        ...

    def cancel(self) -> None:
        """Stop the job; finished outputs are kept."""
        ...


@dataclass
class JobHandle:
    """
    A run that was handed out.

    Parameters
    ----------
    job_id : str
        Its name.
    detached : bool
        Whether it goes on without this process; local runs do not.
    results : list of SimulationResult
        What became of the simulations that ran, in the order in which they ended.
    skipped : int
        Simulations that were complete before.
    interrupted : bool
        Whether it was asked to stop before the end.
    stopped_because : str
        Why it gave up by itself, such as a full disk; empty otherwise.
    stop_signal : str
        Name of the signal that interrupted it; empty when none did.
    dropped : list of str
        Simulations that had begun when it was interrupted.
    elsewhere : list of str
        Simulations left alone because a pull worker or another run holds them.
    """

    job_id: str
    detached: bool = False
    results: list[SimulationResult] = field(default_factory=list, repr=False)
    skipped: int = 0
    interrupted: bool = False
    stopped_because: str = ""
    stop_signal: str = ""
    dropped: list[str] = field(default_factory=list, repr=False)
    elsewhere: list[str] = field(default_factory=list, repr=False)

    def wait(self) -> list[SimulationResult]:
        """
        Wait until the job is over.

        Returns
        -------
        list of SimulationResult
            Local jobs are over when their handle is given back.
        """
        return self.results

    def cancel(self) -> None:
        """Stop the job; a local one is over already."""

    @property
    def is_over(self) -> bool:
        """Whether it has ended, as far as this process knows; a local one has."""
        return True

    @property
    def failed(self) -> list[SimulationResult]:
        """The simulations that failed."""
        return [result for result in self.results if result.status == "failed"]

    @property
    def reasons(self) -> dict[str, int]:
        """Failures by reason, most frequent first."""
        return count_reasons(self.results)

    @property
    def exit_code(self) -> int:
        """0 all complete, 1 some failed, 3 interrupted."""
        if self.interrupted:
            return 3
        return 1 if self.failed or self.stopped_because else 0


class JoinedJobs(JobHandle):
    """
    Several jobs as one.

    Parameters
    ----------
    jobs : sequence of JobHandle
        In the order in which they were submitted.
    """

    def __init__(self, jobs: Sequence[JobHandle]) -> None:
        super().__init__(",".join(job.job_id for job in jobs), any(job.detached for job in jobs), skipped=0)
        self.jobs = list(jobs)
        self._gather()

    def wait(self) -> list[SimulationResult]:
        """Wait for all of them, unless asked to stop."""
        for job in self.jobs:
            job.wait()
            self._gather()
            if self.interrupted:
                break
        return self.results

    @property
    def is_over(self) -> bool:
        """Whether all of them have ended."""
        return all(job.is_over for job in self.jobs)

    def cancel(self) -> None:
        """Stop all of them."""
        for job in self.jobs:
            job.cancel()

    def _gather(self) -> None:
        self.results = [result for job in self.jobs for result in job.results]
        self.elsewhere = [sim_id for job in self.jobs for sim_id in job.elsewhere]
        self.interrupted = any(job.interrupted for job in self.jobs)
        self.stopped_because = next((job.stopped_because for job in self.jobs if job.stopped_because), "")
