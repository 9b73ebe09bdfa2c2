"""What every transport engine takes and gives."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from stilt.config import MetConfig, TransportParams
from stilt.errors import UnsupportedSettingError
from stilt.receptors import Receptor
from stilt.sections import Section

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class TransportRequest:
    """
    One ensemble to compute.

    Parameters
    ----------
    receptor : Receptor
        Where and when the particles are released.
    met_name : str
        Name of the meteorology in the config, for messages.
    met : MetConfig or tuple of Path
        Where the meteorology is.
    params : TransportParams
        Every run, transport and error setting.
    error : bool
        Perturb the winds or the PBL height as the error settings say; without it they are ignored.
    fallbacks : tuple of (str, MetConfig)
        Further meteorologies, by name, in which particles go on that ``met`` does not have, in order of
        preference. An engine whose attribute ``nests`` is not true is never given any.
    scratch : Path, optional
        A folder of its own the engine may write to while it runs.
    say : callable, optional
        Given each line of a running program's log at once, so that it is known also when the run fails.
    """

    receptor: Receptor
    met_name: str
    met: MetConfig | tuple[Path, ...]
    params: TransportParams
    error: bool = False
    fallbacks: tuple[tuple[str, MetConfig], ...] = ()
    scratch: Path | None = None
    say: Callable[[str], None] | None = None


@dataclass(frozen=True)
class TransportResult:
    """
    What an engine made of a request.

    Attributes
    ----------
    particles : DataFrame
        The columns of ``varsiwant`` in that order, one row per particle and output time, ordered by
        time from release and then by particle; ``xhgt`` is added for columns and multipoint receptors.
    log : str
        What the engine has to say about the run, in lines.
    met_files : list of dict
        The meteorology read: name, size and times, no folders.
    exits : dict
        How the particles ended: counts by side of the domain, top of the column and end of the run.
    seed : int
        The seed the run used, whether given or derived.
    nesting : dict, optional
        Of a run through several meteorologies: their names ``mets``, the ``share`` of particle minutes
        each moved, and how often particles were ``handed_over``, from which to which and why.
    """

    particles: pd.DataFrame
    log: str
    met_files: list[dict[str, Any]]
    exits: dict[str, int] = field(default_factory=dict)
    seed: int = 0
    nesting: dict[str, Any] | None = None


def receptor_key(receptor: Receptor, *, error: bool) -> int:
    """Turn a receptor into the 64-bit number that keys its random numbers; errors get their own stream."""
    text = f"{receptor.id}{'/error' if error else ''}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")


class TransportEngine(Protocol):
    """Computes trajectories."""

    name: str

    def check(self, params: TransportParams) -> None:
        """Raise UnsupportedSettingError, naming the key, for a setting this engine does not implement."""
        ...

    def warm_up(self, params: TransportParams | None = None) -> None:
        """Do once what every later run would otherwise wait for, such as compiling."""
        ...

    def run(
        self,
        request: TransportRequest,
        *,
        deadline: float | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> TransportResult:
        """
        Compute one ensemble.

        Parameters
        ----------
        request : TransportRequest
            What to compute.
        deadline : float, optional
            ``time.monotonic()`` value after which the run is given up with TransportTimeoutError.
        should_stop : callable, optional
            Asked about once a second; True ends the run with Interrupted.
        """
        ...


@runtime_checkable
class ConfigurableEngine(Protocol):
    """An engine with a section of its own in ``config.yaml``."""

    def configure(self, section: Section) -> None:
        """Take the section; called before anything else."""
        ...


@runtime_checkable
class ProgramEngine(Protocol):
    """An engine that runs another program."""

    def describe(self) -> str:
        """Say in one line which program, or raise ProgramNotFoundError."""
        ...


def check_nesting(engine: TransportEngine, mets: Sequence[str], params: TransportParams) -> None:
    """
    Raise UnsupportedSettingError where an engine cannot take particles from one meteorology to another.

    Parameters
    ----------
    engine : TransportEngine
        The engine.
    mets : sequence of str
        Names of the meteorologies of one run; one alone is always right.
    params : TransportParams
        The settings.
    """
    if len(mets) < 2:
        return
    chain = " and ".join([", ".join(f"'{name}'" for name in mets[:-1]), f"'{mets[-1]}'"])
    if not getattr(engine, "nests", False):
        raise UnsupportedSettingError(
            f"mets.{mets[0]}.fallback: engine '{engine.name}' stays in one meteorology and cannot go on from "
            f"{chain}. Use engine: native or remove fallback."
        )
    if params.random == "hysplit":
        raise UnsupportedSettingError(
            f"mets.{mets[0]}.fallback: random: hysplit draws as the program does in one meteorology, not in "
            f"{chain}. Use random: counter or remove fallback."
        )


@runtime_checkable
class ReceptorEngine(Protocol):
    """An engine that cannot release every receptor."""

    def check_receptor(self, receptor: Receptor, params: TransportParams) -> None:
        """Raise for a receptor that this engine cannot release as it is meant."""
        ...
