"""
One simulation as its outputs show it: a view that only reads.

Looking at a simulation never creates a folder, starts a run or writes a file; what it
says is what is in the store at that moment.
"""

from __future__ import annotations

import contextlib
import io
import logging
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from stilt.accessors import plots_of
from stilt.completion import expected_artifacts, missing_artifacts
from stilt.errors import MissingObjectError, UnknownFootprintError
from stilt.ids import SimID
from stilt.manifest import ManifestRow
from stilt.receptors import Receptor
from stilt.storage import Store, read_copy
from stilt.storage.failures import FailureRecord, read_failure
from stilt.storage.layout import empty_key, error_key, footprint_key, log_key, trajectory_key

if TYPE_CHECKING:
    from stilt.footprint import Footprint
    from stilt.trajectory import Trajectories

Status = Literal["complete", "failed", "pending"]
DEFAULT_FOOTPRINT = "default"
NO_DEFAULT = (
    "no footprint named 'default' is configured, so there is none; add one under footprints in config.yaml."
)

logger = logging.getLogger(__name__)


class Simulation:
    """
    One receptor with one meteorology, and what became of it.

    Parameters
    ----------
    store : Store
        The output root.
    row : ManifestRow
        What was asked for.
    error_trajectory : bool
        Whether wind- or PBL-error parameters are set, so that an error trajectory is expected.
    """

    def __init__(self, store: Store, row: ManifestRow, *, error_trajectory: bool = False) -> None:
        self._store = store
        self._row = row
        self._error_trajectory = error_trajectory

    def __repr__(self) -> str:
        return f"Simulation({str(self.id)!r})"

    @property
    def id(self) -> SimID:
        """Simulation id."""
        return SimID(self._row.sim_id)

    @property
    def met(self) -> str:
        """Key of the meteorology."""
        return self._row.met

    @property
    def scene(self) -> str | None:
        """Label of the scene it was registered with."""
        return self._row.scene

    @cached_property
    def receptor(self) -> Receptor:
        """Where and when."""
        return Receptor.from_dict(self._row.receptor)

    @property
    def footprint_names(self) -> tuple[str, ...]:
        """Footprints it is to make; error footprints as ``<name>_error``."""
        return self._row.footprints

    @property
    def expected(self) -> tuple[str, ...]:
        """Artifacts that make it complete."""
        return expected_artifacts(self._row.footprints, error_trajectory=self._error_trajectory)

    @property
    def status(self) -> Status:
        """``complete``, ``failed`` (the last attempt left a failure record) or ``pending``."""
        if not missing_artifacts(self._store, self.id, self.expected):
            return "complete"
        return "failed" if self.failure is not None else "pending"

    @property
    def failure(self) -> FailureRecord | None:
        """Why the last attempt failed, None when it did not."""
        return read_failure(self._store, self.id)

    @property
    def log(self) -> str:
        """Log of the last attempt, empty when there is none."""
        try:
            return self._store.read(log_key(self.id)).decode("utf-8", errors="replace")
        except MissingObjectError:
            return ""

    @property
    def plot(self) -> Any:
        """Pictures of the outputs (extra ``plot``): ``map``, ``section`` and ``facet``."""
        return plots_of("simulation", self)

    @property
    def trajectories_path(self) -> Path:
        """Where the particle table is, or will be."""
        return self._store.local_path(trajectory_key(self.id))

    @property
    def error_trajectories_path(self) -> Path:
        """Where the particle table of the error ensemble is, or will be."""
        return self._store.local_path(error_key(self.id))

    def footprint_path(self, name: str = DEFAULT_FOOTPRINT) -> Path:
        """
        Where the NetCDF of a footprint is, or will be; an empty footprint has none.

        Parameters
        ----------
        name : str
            Name of the footprint.
        """
        check_known(name, self._row.footprints)
        return self._store.local_path(footprint_key(self.id, name))

    @property
    def trajectories(self) -> Trajectories | None:
        """The particles, None when they do not exist (yet)."""
        return self._read_trajectories(trajectory_key(self.id))

    @property
    def error_trajectories(self) -> Trajectories | None:
        """The particles of the error ensemble, None when they do not exist."""
        return self._read_trajectories(error_key(self.id))

    def get_footprint(self, name: str = DEFAULT_FOOTPRINT) -> Footprint | None:
        """
        Read a footprint.

        Parameters
        ----------
        name : str
            Name of the footprint; of an error footprint ``<name>_error``.

        Returns
        -------
        Footprint or None
            An empty footprint when its marker says so; None when there is none (yet).

        Raises
        ------
        KeyError
            When no footprint of that name is configured; ``default`` may always be asked for.
        """
        if not check_known(name, self._row.footprints):
            logger.warning(NO_DEFAULT)
            return None
        return read_footprint(self._store, self.id, name)

    def _read_trajectories(self, key: str) -> Trajectories | None:
        from stilt.trajectory import Trajectories

        try:
            data = read_copy(self._store, key)
        except MissingObjectError:
            return None
        return Trajectories.from_parquet(io.BytesIO(data))


def read_footprint(store: Store, sim_id: str, name: str) -> Footprint | None:
    """
    Read a footprint or its empty marker by key.

    Parameters
    ----------
    store : Store
        The output root.
    sim_id : str
        Simulation id.
    name : str
        Name of the footprint.

    Returns
    -------
    Footprint or None
        None when there is neither.
    """
    return parse_footprint(*fetch_footprint(store, sim_id, name))


def fetch_footprint(store: Store, sim_id: str, name: str) -> tuple[bytes | None, bool]:
    """
    Read the bytes of a footprint or of its empty marker by key; any thread may.

    Returns
    -------
    data : bytes or None
        For `parse_footprint`; None when there is neither.
    is_marker : bool
        Whether it is the marker.
    """
    for is_marker, key in ((False, footprint_key(sim_id, name)), (True, empty_key(sim_id, name))):
        with contextlib.suppress(MissingObjectError):
            return read_copy(store, key), is_marker
    return None, False


def parse_footprint(data: bytes | None, is_marker: bool) -> Footprint | None:
    """Understand what `fetch_footprint` found; in one thread, as the NetCDF library asks for."""
    from stilt.footprint import Footprint

    if data is None:
        return None
    return Footprint.from_empty_marker(data) if is_marker else Footprint.from_netcdf(data)


def check_known(name: str, names: tuple[str, ...]) -> bool:
    """
    Apply the rule for footprint names.

    Parameters
    ----------
    name : str
        Name asked for.
    names : tuple of str
        Names that are configured.

    Returns
    -------
    bool
        Whether it is configured; ``default`` may be asked for in any case.

    Raises
    ------
    UnknownFootprintError
        A ``KeyError`` that lists the names.
    """
    if name in names:
        return True
    if name == DEFAULT_FOOTPRINT:
        return False
    listed = ", ".join(names) if names else "none"
    raise UnknownFootprintError(f"no footprint named {name!r} is configured; configured: {listed}.")
