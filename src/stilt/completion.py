"""
Which outputs exist: the one definition of "complete".

A simulation is complete when every artifact it is expected to produce is in the
store, found by key. Nothing else keeps track of presence, so the command line,
workers and Python always agree, whoever deleted or copied what.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from stilt.storage import Store
from stilt.storage.layout import (
    BY_ID,
    ERROR_SUFFIX,
    ERROR_TRAJECTORY,
    TRAJECTORY,
    artifact_keys,
    check_sim_id,
    failure_keys_of_many,
    footprint_artifact,
    keys_of_many,
)
from stilt.storage.local import LocalStore

if TYPE_CHECKING:
    from stilt.config import ModelConfig


@dataclass(frozen=True)
class StatusCounts:
    """
    How far a set of simulations is.

    Parameters
    ----------
    total : int
        Simulations asked for.
    completed : int
        All expected artifacts exist.
    running : int
        Claimed by a worker (0 without a queue or a detached job).
    pending : int
        Neither complete, running nor failed.
    failed : int
        Incomplete, and the last attempt left a failure record.
    """

    total: int = 0
    completed: int = 0
    running: int = 0
    pending: int = 0
    failed: int = 0

    def __add__(self, other: StatusCounts) -> StatusCounts:
        return StatusCounts(
            **{name: value + getattr(other, name) for name, value in self.to_dict().items()},
        )

    def to_dict(self) -> dict[str, int]:
        """The counts by name."""
        return asdict(self)


@dataclass(frozen=True)
class Survey:
    """
    State of many simulations, from one pass over their keys.

    Parameters
    ----------
    complete, failed, pending : frozenset of str
        Simulation ids; every id asked for is in exactly one.
    """

    complete: frozenset[str]
    failed: frozenset[str]
    pending: frozenset[str]

    def __len__(self) -> int:
        return len(self.complete) + len(self.failed) + len(self.pending)

    def __contains__(self, sim_id: object) -> bool:
        return sim_id in self.complete or sim_id in self.pending or sim_id in self.failed

    def asked_again(self, sim_ids: Iterable[str]) -> Survey:
        """Return the same with some failed simulations pending, as a queue has them again."""
        again = self.failed.intersection(sim_ids)
        return Survey(self.complete, self.failed - again, self.pending | again) if again else self

    def counts(
        self,
        sim_ids: Iterable[str] | None = None,
        *,
        running: Iterable[str] = (),
        failed: Iterable[str] = (),
    ) -> StatusCounts:
        """
        Count states, of all or of some of the simulations.

        Parameters
        ----------
        sim_ids : iterable of str, optional
            Count only these.
        running, failed : iterable of str
            Ids that a queue or job says are being worked on, or have failed; a complete one counts as
            complete, a running one as running.
        """
        if sim_ids is None:
            wanted: Survey | frozenset[str] = self
            done = len(self.complete)
        else:
            wanted = frozenset(sim_ids)
            done = len(self.complete & wanted)
        busy = {each for each in running if each in wanted and each not in self.complete}
        fallen = {each for each in self.failed.union(failed) if each in wanted} - busy - self.complete
        left = len(wanted) - done - len(busy) - len(fallen)
        return StatusCounts(len(wanted), done, len(busy), left, len(fallen))


def expected_artifacts(footprints: Iterable[str] = (), *, error_trajectory: bool = False) -> tuple[str, ...]:
    """
    Artifacts of a simulation that is to make these footprints.

    Parameters
    ----------
    footprints : iterable of str
        Names as a manifest row lists them (error footprints as ``<name>_error``).
    error_trajectory : bool
        Whether wind- or PBL-error parameters are set.

    Returns
    -------
    tuple of str
        ``trajectory`` first, footprints last, in the order in which they are made.

    Examples
    --------
    >>> expected_artifacts(["default"])
    ('trajectory', 'footprint:default')
    """
    trajectories = (TRAJECTORY, ERROR_TRAJECTORY) if error_trajectory else (TRAJECTORY,)
    return trajectories + tuple(footprint_artifact(name) for name in footprints)


def expected_footprints(config: ModelConfig) -> tuple[str, ...]:
    """
    Footprints every simulation of a configuration is to make, as its manifest row lists them.

    Parameters
    ----------
    config : ModelConfig
        The configuration.

    Returns
    -------
    tuple of str
        Names in the order of the configuration, each followed by ``<name>_error`` where it
        asks for ``error: true``.
    """
    names: list[str] = []
    for name, footprint in config.footprints.items():
        names.append(name)
        if footprint.error:
            names.append(name + ERROR_SUFFIX)
    return tuple(names)


def expected_for_config(config: ModelConfig) -> tuple[str, ...]:
    """
    Artifacts that make a simulation of this configuration complete.

    Parameters
    ----------
    config : ModelConfig
        The configuration.

    Returns
    -------
    tuple of str
        ``trajectory``, ``error_trajectory`` when error parameters are set, and
        ``footprint:<name>`` for each footprint.
    """
    return expected_artifacts(
        expected_footprints(config), error_trajectory=config.transport_params().is_error
    )


def present_artifacts(store: Store, sim_id: str, expected: Iterable[str]) -> frozenset[str]:
    """
    Those of the expected artifacts that exist.

    Parameters
    ----------
    store : Store
        The output root.
    sim_id : str
        Simulation id.
    expected : iterable of str
        Artifacts to look for.
    """
    keys = {artifact: artifact_keys(sim_id, artifact) for artifact in expected}
    found = store.exists_many(key for candidates in keys.values() for key in candidates)
    return frozenset(artifact for artifact, candidates in keys.items() if not found.isdisjoint(candidates))


def missing_artifacts(store: Store, sim_id: str, expected: Iterable[str]) -> tuple[str, ...]:
    """Those of the expected artifacts that do not exist, in the order given."""
    expected = tuple(expected)
    present = present_artifacts(store, sim_id, expected)
    return tuple(artifact for artifact in expected if artifact not in present)


def is_complete(store: Store, sim_id: str, expected: Iterable[str]) -> bool:
    """
    Whether every expected artifact of a simulation exists.

    Parameters
    ----------
    store : Store
        The output root.
    sim_id : str
        Simulation id.
    expected : iterable of str
        See `expected_for_config`.
    """
    return not missing_artifacts(store, sim_id, expected)


def having(store: Store, sim_ids: Sequence[str], artifact: str) -> list[str]:
    """
    Those of many simulations that have one artifact, in the order given.

    Parameters
    ----------
    store : Store
        The output root.
    sim_ids : sequence of str
        Checked simulation ids.
    artifact : str
        The artifact.
    """
    first, *others = keys_of_many(sim_ids, artifact)
    there = store.exists_many(first)
    if others and len(there) < len(sim_ids):
        # the marker of an empty footprint is looked for only where there is no NetCDF
        seconds = [other for key, other in zip(first, others[0]) if key not in there]
        marked = store.exists_many(seconds)
        rows = zip(sim_ids, first, others[0])
        return [sim_id for sim_id, key, marker in rows if key in there or marker in marked]
    return [sim_id for sim_id, key in zip(sim_ids, first) if key in there]


def complete_ids(store: Store, sim_ids: Iterable[str], expected: Iterable[str]) -> list[str]:
    """
    Those of many simulations that are complete, in the order given.

    Each artifact is looked for only where the ones before it exist, so a project that has
    hardly begun costs one look per simulation.

    Parameters
    ----------
    store : Store
        The output root.
    sim_ids : iterable of str
        Simulation ids.
    expected : iterable of str
        Artifacts, the same for all of these simulations.
    """
    return _complete(store, [check_sim_id(sim_id) for sim_id in sim_ids], expected)


def _complete(store: Store, sim_ids: Sequence[str], expected: Iterable[str]) -> list[str]:
    left = list(sim_ids)
    for artifact in expected:
        if not left:
            break
        left = having(store, left, artifact)
    return left


def survey(store: Store, groups: Mapping[tuple[str, ...], Sequence[str]]) -> Survey:
    """
    Find the state of many simulations in one pass.

    Parameters
    ----------
    store : Store
        The output root.
    groups : mapping of tuple of str to sequence of str
        Checked simulation ids (a loaded manifest's are) by the artifacts expected of them.

    Returns
    -------
    Survey
        Ids by state.
    """
    if store.is_remote:
        return _survey_at_once(store, groups)
    # one listing tells what has begun; only there is anything to look for
    begun = store.folders(BY_ID) if isinstance(store, LocalStore) else None
    complete: set[str] = set()
    pending: set[str] = set()
    failed: set[str] = set()
    for expected, sim_ids in groups.items():
        here = sim_ids if begun is None or not expected else [each for each in sim_ids if each in begun]
        done = _complete(store, here, expected)
        complete.update(done)
        if len(done) < len(here):
            failed.update(failed_ids(store, [sim_id for sim_id in here if sim_id not in complete]))
        if len(done) < len(sim_ids):
            pending.update(sim_id for sim_id in sim_ids if sim_id not in complete)
    return Survey(frozenset(complete), frozenset(failed), frozenset(pending - failed if failed else pending))


def _survey_at_once(store: Store, groups: Mapping[tuple[str, ...], Sequence[str]]) -> Survey:
    """Ask for everything together: over a network each further look is another journey."""
    keys: list[str] = []
    for expected, sim_ids in groups.items():
        keys += failure_keys_of_many(sim_ids)
        for artifact in expected:
            for candidates in keys_of_many(sim_ids, artifact):
                keys += candidates
    there = store.exists_many(keys)
    complete: set[str] = set()
    failed: set[str] = set()
    pending: set[str] = set()
    for expected, sim_ids in groups.items():
        done = set(sim_ids)
        for artifact in expected:
            found = [[key in there for key in candidates] for candidates in keys_of_many(sim_ids, artifact)]
            done &= {sim_id for sim_id, *exists in zip(sim_ids, *found) if any(exists)}
        complete |= done
        for sim_id, key in zip(sim_ids, failure_keys_of_many(sim_ids)):
            if sim_id not in done:
                (failed if key in there else pending).add(sim_id)
    return Survey(frozenset(complete), frozenset(failed), frozenset(pending))


def failed_ids(store: Store, sim_ids: Sequence[str]) -> list[str]:
    """Those of many simulations (checked ids) whose last attempt left a failure record."""
    keys = failure_keys_of_many(sim_ids)
    found = store.exists_many(keys)
    return [sim_id for sim_id, key in zip(sim_ids, keys) if key in found] if found else []
