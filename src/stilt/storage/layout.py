"""
Where everything lives under an output root, as pure functions from names to keys.

A key is a relative path with ``/`` on every platform; no other module spells one
out. Names that come from users pass through here before they become part of a
key, so none can leave its folder.

::

    <output root>/
      .stilt/
        manifest.parquet            what was asked for
        manifest.damaged.parquet    a damaged manifest that was put together again
        registrations/<hash>.parquet  what one registration asked for
        settings.json               what the existing outputs were made with
        config.yaml                 the configuration as published for workers
        chunks/<batch>/<number>.jsonl   work lists of push workers, never changed
        chunks/<batch>/<number>.done    what a list need not do again, after an interruption
        jobs/<batch>.json               which scheduler has a batch
      simulations/by-id/<sim_id>/
        <sim_id>_traj.parquet       particles
        <sim_id>_error.parquet      particles of the perturbed ensemble
        <sim_id>_<name>_foot.nc     footprint, or
        <sim_id>_<name>_foot.empty  why it is empty (JSON)
        stilt.log                   log of the last attempt
        failure.json                only while the last attempt failed

An *artifact* is one expected output, named ``trajectory``, ``error_trajectory``
or ``footprint:<name>``; the footprint of the error ensemble of ``<name>`` is
``footprint:<name>_error``. A footprint artifact has two possible keys, its NetCDF
and its empty marker.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from stilt.errors import ProjectError, StoreError

STATE = ".stilt"
MANIFEST = ".stilt/manifest.parquet"
DAMAGED_MANIFEST = ".stilt/manifest.damaged.parquet"
REGISTRATIONS = ".stilt/registrations"
SETTINGS = ".stilt/settings.json"
CONFIG = ".stilt/config.yaml"
CHUNKS = ".stilt/chunks"
JOBS = ".stilt/jobs"
BY_ID = "simulations/by-id"

TRAJECTORY = "trajectory"
ERROR_TRAJECTORY = "error_trajectory"
FOOTPRINT_PREFIX = "footprint:"
ERROR_SUFFIX = "_error"

# file names of every file system we know end at 255 bytes; ids and names are ASCII
MAX_NAME = 255

SIM_ID_PATTERN = r"[A-Za-z0-9][A-Za-z0-9_.+-]*"
FOOTPRINT_PATTERN = r"[a-z0-9][a-z0-9_-]*"

_sim_id = re.compile(SIM_ID_PATTERN).fullmatch
_forbidden = re.compile(r"[\\:\x00-\x1f\x7f]").search
_footprint_name = re.compile(FOOTPRINT_PATTERN).fullmatch


RESERVED = (".tmp.", ".lock.")
"""File names that begin like this are writes in progress and locks, never outputs."""


def check_key(key: str) -> str:
    """
    Refuse a key that could leave the output root or mean different files on different systems.

    Parameters
    ----------
    key : str
        Relative, with ``/`` between its parts.

    Returns
    -------
    str
        The same key.
    """
    parts = key.split("/")
    if any(part in ("", ".", "..") for part in parts) or _forbidden(key):
        raise StoreError(f"{key!r} is not a key; keys are relative, use '/' and stay inside the output root.")
    if parts[-1].startswith(RESERVED):
        raise StoreError(f"{key!r} is not a key; its name is reserved for files being written.")
    return key


def check_sim_id(sim_id: str) -> str:
    """
    Refuse a simulation id that could not safely be a folder name.

    Parameters
    ----------
    sim_id : str
        Simulation id.

    Returns
    -------
    str
        The same id.

    Raises
    ------
    ProjectError
        When the id holds anything but ASCII letters, digits and ``_ . + -``, or is too long.
    """
    if not _sim_id(sim_id) or ".." in sim_id or sim_id[-1] == ".":
        raise ProjectError(
            f"{sim_id!r} is not a simulation id; ids hold only letters, digits and _ . + -, "
            "SimID.build makes them."
        )
    if len(sim_id) > MAX_NAME - len("_error.parquet"):
        raise ProjectError(
            f"simulation id {sim_id[:40]!r}... has {len(sim_id)} characters, too many for a file name."
        )
    return sim_id


def check_footprint_name(name: str) -> str:
    """
    Refuse a footprint name that could not safely be part of a file name.

    Parameters
    ----------
    name : str
        Name of a footprint; of an error footprint with ``_error`` appended.

    Returns
    -------
    str
        The same name.
    """
    if not _footprint_name(name):
        raise ProjectError(
            f"footprint name {name!r} is not allowed; use a-z, 0-9, _ and -, starting with a letter or digit."
        )
    return name


def _file(sim_id: str, name: str) -> str:
    if len(name) > MAX_NAME:
        raise ProjectError(
            f"file name {name[:60]!r}... would have {len(name)} characters; choose a shorter footprint name."
        )
    return f"{BY_ID}/{sim_id}/{name}"


def simulation_prefix(sim_id: str) -> str:
    """Key prefix (with a closing ``/``) of everything one simulation writes."""
    return f"{BY_ID}/{check_sim_id(sim_id)}/"


def trajectory_key(sim_id: str) -> str:
    """Key of the particle table."""
    return _file(check_sim_id(sim_id), f"{sim_id}_traj.parquet")


def error_key(sim_id: str) -> str:
    """Key of the particle table of the perturbed (wind or PBL error) ensemble."""
    return _file(check_sim_id(sim_id), f"{sim_id}_error.parquet")


def footprint_key(sim_id: str, name: str) -> str:
    """Key of the footprint ``name`` as NetCDF."""
    return _file(check_sim_id(sim_id), f"{sim_id}_{check_footprint_name(name)}_foot.nc")


def empty_key(sim_id: str, name: str) -> str:
    """Key of the marker that says why the footprint ``name`` is empty."""
    return _file(check_sim_id(sim_id), f"{sim_id}_{check_footprint_name(name)}_foot.empty")


def log_key(sim_id: str) -> str:
    """Key of the log of the last attempt."""
    return _file(check_sim_id(sim_id), "stilt.log")


def failure_key(sim_id: str) -> str:
    """Key of the failure record, present only while the last attempt failed."""
    return _file(check_sim_id(sim_id), "failure.json")


def registration_key(digest: str) -> str:
    """
    Key of what one registration asked for.

    Parameters
    ----------
    digest : str
        Hexadecimal hash of its rows.
    """
    return f"{REGISTRATIONS}/{check_sim_id(digest)}.parquet"


def chunk_key(batch: str, number: int) -> str:
    """
    Key of one work list of a batch.

    Parameters
    ----------
    batch : str
        Name of the batch: ASCII letters, digits and ``_ . + -``.
    number : int
        Position of the list in the batch, counted from 0.
    """
    return f"{CHUNKS}/{check_sim_id(batch)}/{int(number)}.jsonl"


def done_key(chunk: str) -> str:
    """Key of the record of what a work list need not do again; ``chunk`` is a key of `chunk_key`."""
    return chunk.removesuffix(".jsonl") + ".done"


def job_key(batch: str) -> str:
    """Key of the record of a batch that a scheduler has."""
    return f"{JOBS}/{check_sim_id(batch)}.json"


def footprint_artifact(name: str) -> str:
    """Artifact name of a footprint: ``footprint:<name>``."""
    return FOOTPRINT_PREFIX + check_footprint_name(name)


def artifact_keys(sim_id: str, artifact: str) -> tuple[str, ...]:
    """
    Keys that prove an artifact exists: any one of them is enough.

    Parameters
    ----------
    sim_id : str
        Simulation id.
    artifact : str
        ``trajectory``, ``error_trajectory`` or ``footprint:<name>``.

    Returns
    -------
    tuple of str
        One key for a particle table; NetCDF and empty marker for a footprint.
    """
    check_sim_id(sim_id)
    return tuple(keys[0] for keys in keys_of_many([sim_id], artifact))


def keys_of_many(sim_ids: Iterable[str], artifact: str) -> tuple[list[str], ...]:
    """
    Keys of one artifact for many simulations at once.

    The ids are taken as they are: check them first (`check_sim_id`).

    Parameters
    ----------
    sim_ids : iterable of str
        Simulation ids, already checked.
    artifact : str
        ``trajectory``, ``error_trajectory`` or ``footprint:<name>``.

    Returns
    -------
    tuple of list of str
        One list per possible key, each in the order of ``sim_ids``.
    """
    if artifact == TRAJECTORY:
        return ([f"{BY_ID}/{sim_id}/{sim_id}_traj.parquet" for sim_id in sim_ids],)
    if artifact == ERROR_TRAJECTORY:
        return ([f"{BY_ID}/{sim_id}/{sim_id}_error.parquet" for sim_id in sim_ids],)
    if not artifact.startswith(FOOTPRINT_PREFIX):
        raise ProjectError(
            f"{artifact!r} is no artifact; use {TRAJECTORY}, {ERROR_TRAJECTORY} or {FOOTPRINT_PREFIX}<name>."
        )
    name = check_footprint_name(artifact.removeprefix(FOOTPRINT_PREFIX))
    sim_ids = list(sim_ids)
    tail = f"_{name}_foot"
    return (
        [f"{BY_ID}/{sim_id}/{sim_id}{tail}.nc" for sim_id in sim_ids],
        [f"{BY_ID}/{sim_id}/{sim_id}{tail}.empty" for sim_id in sim_ids],
    )


def failure_keys_of_many(sim_ids: Iterable[str]) -> list[str]:
    """Keys of the failure records of many simulations, whose ids are already checked."""
    return [f"{BY_ID}/{sim_id}/failure.json" for sim_id in sim_ids]


def parse_output_key(key: str) -> tuple[str, str] | None:
    """
    Tell which artifact a key holds.

    Parameters
    ----------
    key : str
        Any key.

    Returns
    -------
    (sim_id, artifact) or None
        None for keys that hold no artifact, such as logs.

    Examples
    --------
    >>> parse_output_key("simulations/by-id/a_1/a_1_slv_foot.empty")
    ('a_1', 'footprint:slv')
    """
    parts = key.split("/")
    if len(parts) != 4 or "/".join(parts[:2]) != BY_ID or not parts[3].startswith(parts[2] + "_"):
        return None
    sim_id, kind = parts[2], parts[3][len(parts[2]) + 1 :]
    if kind == "traj.parquet":
        return sim_id, TRAJECTORY
    if kind == "error.parquet":
        return sim_id, ERROR_TRAJECTORY
    for ending in ("_foot.nc", "_foot.empty"):
        name = kind.removesuffix(ending)
        if name != kind and _footprint_name(name):
            return sim_id, FOOTPRINT_PREFIX + name
    return None
