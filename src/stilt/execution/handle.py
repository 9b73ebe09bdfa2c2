"""What `Model.run` gives back: the job, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from stilt.execution.results import SimulationResult, count_reasons


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
    """

    job_id: str
    detached: bool = False
    results: list[SimulationResult] = field(default_factory=list, repr=False)
    skipped: int = 0
    interrupted: bool = False
    stopped_because: str = ""

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
