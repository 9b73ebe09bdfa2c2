"""What an examination of a project finds: problems, facts about meteorologies, and the report of all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from stilt.receptors import Receptor

if TYPE_CHECKING:
    from stilt.execution.chain_report import ChainReport
    from stilt.execution.met_report import MetReport
    from stilt.meteorology.download import Plan

_EXAMPLES = 3
"""Receptors named in a problem."""


@dataclass(frozen=True)
class Problem:
    """
    Something that would stop a run or some of its simulations.

    Parameters
    ----------
    kind : str
        Short stable name, such as ``met_coverage``.
    message : str
        One line.
    receptors : tuple of str
        Some of the receptors concerned.
    count : int
        How many are concerned; 0 where it is not about receptors.
    """

    kind: str
    message: str
    receptors: tuple[str, ...] = ()
    count: int = 0


@dataclass(frozen=True)
class MetFacts:
    """What the files of one meteorology hold, as far as the receptors need them."""

    name: str
    files: int
    first: str
    last: str
    hours: float
    interval_minutes: int
    model: str
    levels: int
    box: str


@dataclass
class Report:
    """
    What an examination found.

    Parameters
    ----------
    receptors, simulations : int
        How many there are.
    engine : str
        What computes trajectories, with the program and version where it runs one.
    mets : list of MetFacts
        What the meteorology holds.
    coverage : list of MetReport
        What it means for each receptor.
    chains : list of ChainReport
        The same for meteorologies that particles go through one after another.
    problems : list of Problem
        What is wrong; none: the run can start.
    downloads : list of Plan
        What is here of archives, and what would be downloaded.
    """

    receptors: int = 0
    simulations: int = 0
    engine: str = ""
    mets: list[MetFacts] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    coverage: list[MetReport] = field(default_factory=list)
    chains: list[ChainReport] = field(default_factory=list)
    downloads: list[Plan] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing stands in the way."""
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        """The report in words JSON knows."""
        return {
            "ok": self.ok,
            "receptors": self.receptors,
            "simulations": self.simulations,
            "mets": [asdict(met) for met in self.mets],
            "problems": [asdict(problem) for problem in self.problems],
            "coverage": [each.to_dict() for each in self.coverage],
            "chains": [each.to_dict() for each in self.chains],
            "downloads": [each.to_dict() for each in self.downloads],
        }


def about(kind: str, message: str, receptors: Sequence[Receptor]) -> Problem:
    """Make a problem of some receptors: their number, and the first few by name."""
    if len(receptors) > 1 and "receptors" not in message:
        message = f"{message} ({len(receptors)} receptors are concerned.)"
    return Problem(
        kind, message, tuple(str(receptor.id) for receptor in receptors[:_EXAMPLES]), len(receptors)
    )
