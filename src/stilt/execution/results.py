"""What became of a task: a small record that is cheap to send between processes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

Status = Literal["complete", "failed", "interrupted", "refused"]


@dataclass(frozen=True)
class SimulationResult:
    """
    What became of one simulation.

    Parameters
    ----------
    sim_id : str
        Simulation id.
    status : {"complete", "failed", "interrupted", "refused"}
        ``interrupted``: asked to stop, nothing written beyond what was finished. ``refused``: other
        settings were recorded meanwhile, so nothing was written.
    reason : str
        A `stilt.errors.FailureReason`; empty when complete.
    message : str
        One line; empty when complete.
    made : tuple of str
        Artifacts written by this attempt; none when everything was there.
    timings : dict of float
        Seconds by step: ``engine``, ``footprints``, ``writing``, ``total``.
    warnings : tuple of str
        What the attempt warned about.
    detail : str
        Traceback of a failure, for ``--debug`` and logs.
    """

    sim_id: str
    status: Status
    reason: str = ""
    message: str = ""
    made: tuple[str, ...] = ()
    timings: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    detail: str = field(default="", repr=False)

    @property
    def ok(self) -> bool:
        """Whether the simulation is complete."""
        return self.status == "complete"

    @property
    def skipped(self) -> bool:
        """Whether everything was there already."""
        return self.ok and not self.made


def count_reasons(results: Iterable[SimulationResult]) -> dict[str, int]:
    """Failures by reason, most frequent first."""
    return dict(Counter(result.reason for result in results if result.status == "failed").most_common())
