"""
What the existing outputs were made with, and what to do when the settings changed since.

``.stilt/settings.json`` records the result-changing settings of each kind of output.
A configuration that would make an existing output differently is *stale*: it is
reported field by field, nothing is deleted, and nothing is written beside it until
`remove_stale` is called. Only then are the stale outputs removed and the new settings
recorded. The record is replaced after the last removal, so a refresh that was
interrupted is simply still due; a marker meanwhile keeps workers from writing.

::

    {"format": 1,
     "trajectories":       {"<met>":  {"hash": "...", "settings": {...}}},
     "error_trajectories": {"<met>":  {"hash": "...", "settings": {...}}},
     "footprints":         {"<name>": {"hash": "...", "settings": {...}}},
     "refreshing":         {"since": "...", "to": "<hash>"}}          only during a refresh

Entries of removed footprints and meteorologies stay, so that one that comes back with
other settings is recognised. Outputs of which nothing is recorded are taken as made
with the current settings.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from stilt.config import (
    ErrorParams,
    ModelConfig,
    default_setting,
    footprint_settings,
    settings_hash,
    trajectory_settings,
)
from stilt.errors import MissingObjectError, ProjectError, StaleOutputsError
from stilt.ids import SimID
from stilt.storage import Store, concurrently
from stilt.storage.layout import (
    BY_ID,
    CONFIG,
    ERROR_SUFFIX,
    ERROR_TRAJECTORY,
    FOOTPRINT_PREFIX,
    SETTINGS,
    TRAJECTORY,
    failure_key,
    parse_output_key,
)

FORMAT = 1
Kind = Literal["trajectories", "error_trajectories", "footprints"]
KINDS: tuple[Kind, ...] = ("trajectories", "error_trajectories", "footprints")
_ERROR_KEYS = frozenset(ErrorParams.model_fields)
_PARTICLES = (TRAJECTORY, ERROR_TRAJECTORY)
_PUBLISHED = "# settings: "
_LOOKED_AT = 3
"""Trajectories of a meteorology looked into when nothing is recorded about it."""


@dataclass(frozen=True)
class Fingerprint:
    """
    The result-changing settings of a configuration; small, and cheap to send to workers.

    Parameters
    ----------
    trajectories, error_trajectories, footprints : dict of str to dict
        Settings by meteorology or footprint name.
    """

    trajectories: Mapping[str, Mapping[str, Any]]
    error_trajectories: Mapping[str, Mapping[str, Any]]
    footprints: Mapping[str, Mapping[str, Any]]
    agrees_with: bytes | None = field(default=None, init=False, repr=False, compare=False)
    """Recorded settings that were last found to be these, as they were read."""

    @classmethod
    def of(cls, config: ModelConfig) -> Fingerprint:
        """
        Take the fingerprint of a configuration.

        Parameters
        ----------
        config : ModelConfig
            The configuration.
        """
        trajectories: dict[str, dict[str, Any]] = {}
        errors: dict[str, dict[str, Any]] = {}
        for met in config.run_mets:
            settings = trajectory_settings(config, met)
            # the unperturbed particles do not depend on the error parameters
            trajectories[met] = {name: value for name, value in settings.items() if name not in _ERROR_KEYS}
            if config.is_error:
                errors[met] = {name: value for name, value in settings.items() if name in _ERROR_KEYS}
        return cls(
            trajectories, errors, {name: footprint_settings(config, name) for name in config.footprints}
        )

    @property
    def hash(self) -> str:
        """12 hex digits over all of it; chunks and claims carry it."""
        return settings_hash({kind: self.of_kind(kind) for kind in KINDS})

    def of_kind(self, kind: Kind) -> Mapping[str, Mapping[str, Any]]:
        """Settings of one kind of output, by name."""
        return {
            "trajectories": self.trajectories,
            "error_trajectories": self.error_trajectories,
            "footprints": self.footprints,
        }[kind]


@dataclass(frozen=True)
class FieldChange:
    """One setting that differs: its name (dotted inside sections), the old and the new value."""

    field: str
    old: Any
    new: Any

    def __str__(self) -> str:
        return f"{self.field} {_brief(self.old)} -> {_brief(self.new)}"


@dataclass(frozen=True)
class StaleKind:
    """
    Outputs of one kind that were made with other settings.

    Parameters
    ----------
    kind : {"trajectories", "error_trajectories", "footprints"}
        What changed.
    name : str
        Meteorology or footprint.
    changes : tuple of FieldChange
        Field by field.
    """

    kind: Kind
    name: str
    changes: tuple[FieldChange, ...]

    def __str__(self) -> str:
        fields = ", ".join(str(change) for change in self.changes[:6])
        more = f" and {len(self.changes) - 6} more" if len(self.changes) > 6 else ""
        what = "footprint" if self.kind == "footprints" else "met"
        return f"{fields}{more} ({what} {self.name})"


@dataclass(frozen=True)
class StaleReport:
    """
    Which existing outputs the configuration would make differently; false when none.

    Parameters
    ----------
    stale : tuple of StaleKind
        What changed, with at least one existing output each.
    outputs : dict of str to int
        Number of stale outputs, by ``trajectory``, ``error_trajectory`` and ``footprint:<name>``;
        footprints of stale trajectories are among them.
    """

    stale: tuple[StaleKind, ...] = ()
    outputs: Mapping[str, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.stale)

    @property
    def total(self) -> int:
        """Number of stale outputs."""
        return sum(self.outputs.values())

    @property
    def message(self) -> str:
        """One line: what changed, what is stale, what to do."""
        if not self:
            return "existing outputs were made with these settings."
        counts = ", ".join(f"{count} {artifact}" for artifact, count in self.outputs.items())
        return (
            f"existing outputs were made with other settings: {'; '.join(map(str, self.stale))}; "
            f"stale: {counts}. Use --refresh to remove and make them again, or restore the settings."
        )

    def to_dict(self) -> dict[str, Any]:
        """The report in words JSON knows."""
        return {
            "stale": [
                {
                    "kind": stale.kind,
                    "name": stale.name,
                    "changes": [{"field": c.field, "old": c.old, "new": c.new} for c in stale.changes],
                }
                for stale in self.stale
            ],
            "outputs": dict(self.outputs),
        }


def check_settings(store: Store, config: ModelConfig | Fingerprint) -> StaleReport:
    """
    Compare the configuration with what existing outputs were made with. Nothing is written.

    Parameters
    ----------
    store : Store
        The output root.
    config : ModelConfig or Fingerprint
        The configuration.

    Returns
    -------
    StaleReport
        False when no existing output is stale. A new footprint or meteorology is pending,
        not stale; one that was removed from the configuration is left alone.
    """
    return _check(store, _fingerprint(config), _read(store)[0])


def record_settings(store: Store, config: ModelConfig | Fingerprint) -> None:
    """
    Record what outputs are from now on made with.

    Parameters
    ----------
    store : Store
        The output root.
    config : ModelConfig or Fingerprint
        The configuration.

    Raises
    ------
    StaleOutputsError
        When existing outputs were made with other settings; see `remove_stale`.
    """
    fingerprint = _fingerprint(config)
    while True:
        document, data = _read(store)
        report = _check(store, fingerprint, document)
        if report:
            raise StaleOutputsError(report.message)
        if _replace(store, data, _recorded(document, fingerprint)):
            return


def remove_stale(store: Store, config: ModelConfig | Fingerprint) -> int:
    """
    Remove the outputs that the configuration would make differently, then record it.

    With a stale trajectory go its footprints and its failure record; with a changed
    footprint only that footprint's outputs. This is the only function that deletes results.

    Parameters
    ----------
    store : Store
        The output root.
    config : ModelConfig or Fingerprint
        The configuration.

    Returns
    -------
    int
        Number of outputs removed.
    """
    fingerprint = _fingerprint(config)
    removed = 0
    while True:
        document, data = _read(store)
        changed = _changes(fingerprint, document) + unrecorded_changes(store, fingerprint, document)
        if not changed:
            record_settings(store, fingerprint)
            return removed
        marker = {"since": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", "to": fingerprint.hash}
        marked = {**document, "refreshing": marker}
        if not _replace(store, data, marked):
            continue
        again = {stale.name for stale in changed if stale.kind == "trajectories"}
        found = list(_stale_outputs(store, changed))
        # footprints first: one without its trajectory could not be told from a good one
        for particles in (False, True):
            keys = [key for _, artifact, key in found if (artifact in _PARTICLES) is particles]
            for _ in concurrently(store, store.delete, keys):
                removed += 1
        sim_ids = dict.fromkeys(sim_id for sim_id, _, _ in found if _met(sim_id) in again)
        for _ in concurrently(store, store.delete, map(failure_key, sim_ids)):
            pass
        if _replace(store, _encode(marked), _recorded(document, fingerprint)):
            return removed


def ensure_settings(store: Store, config: ModelConfig | Fingerprint) -> None:
    """
    Make sure, before writing an output, that nobody has since recorded other settings.

    Costs one small read; pass a `Fingerprint` when calling it often.

    Parameters
    ----------
    store : Store
        The output root.
    config : ModelConfig or Fingerprint
        What the output was made with.

    Raises
    ------
    StaleOutputsError
        When other settings are recorded, or outputs are being removed.
    """
    fingerprint = _fingerprint(config)
    try:
        data = store.read(SETTINGS)
    except MissingObjectError:
        return
    if data == fingerprint.agrees_with:  # as at the write before, nearly always
        return
    document = _parse(store, data)
    changed = _changes(fingerprint, document)
    if changed:
        raise StaleOutputsError(
            f"another run has changed the settings of this project: {'; '.join(map(str, changed))}; "
            "nothing was written, start again with the settings you want."
        )
    if "refreshing" in document:
        since = document["refreshing"].get("since", "")
        raise StaleOutputsError(
            f"stale outputs of this project are being removed (since {since}); nothing was written, "
            "wait for that run or repeat it with --refresh if it was interrupted."
        )
    object.__setattr__(fingerprint, "agrees_with", data)


def publish_config(store: Store, config: ModelConfig) -> str:
    """
    Leave the configuration where workers find it; the user's own file is never touched.

    Parameters
    ----------
    store : Store
        The output root.
    config : ModelConfig
        The configuration, with absolute folders.

    Returns
    -------
    str
        Hash of its result-changing settings.
    """
    hashed = Fingerprint.of(config).hash
    text = (
        f"{_PUBLISHED}{hashed}\n# written by stilt for its workers; edit the project's config.yaml instead\n"
    )
    data = (text + config.to_yaml()).encode()
    if not store.exists(CONFIG) or store.read(CONFIG) != data:
        store.write(CONFIG, data)
    return hashed


def load_published_config(store: Store) -> tuple[ModelConfig, str]:
    """
    Read the configuration that was published for workers.

    Parameters
    ----------
    store : Store
        The output root.

    Returns
    -------
    config : ModelConfig
        The configuration.
    hash : str
        Hash of its result-changing settings.
    """
    where = f"{store.uri}/{CONFIG}"
    try:
        text = store.read(CONFIG).decode("utf-8", errors="replace")
    except MissingObjectError as error:
        raise ProjectError(f"{where} does not exist; run `stilt register` or `stilt run` first.") from error
    config = ModelConfig.from_yaml_text(text, source=where)
    return config, Fingerprint.of(config).hash


def _fingerprint(config: ModelConfig | Fingerprint) -> Fingerprint:
    return config if isinstance(config, Fingerprint) else Fingerprint.of(config)


def _read(store: Store) -> tuple[dict[str, Any], bytes | None]:
    try:
        data = store.read(SETTINGS)
    except MissingObjectError:
        return {"format": FORMAT}, None
    return _parse(store, data), data


def _parse(store: Store, data: bytes) -> dict[str, Any]:
    where = f"{store.uri}/{SETTINGS}"
    try:
        document: dict[str, Any] = json.loads(data)
        if document["format"] > FORMAT:
            raise ProjectError(f"{where} was written by a newer version of stilt; update this installation.")
        for kind in KINDS:
            for entry in document.get(kind, {}).values():
                dict(entry["settings"])
        return document
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        if isinstance(error, ProjectError):
            raise
        raise ProjectError(
            f"{where} is damaged ({error}); restore a copy, or delete it to take the existing outputs as "
            "made with the current settings."
        ) from error


def _encode(document: Mapping[str, Any]) -> bytes:
    return (json.dumps(document, indent=1, sort_keys=True) + "\n").encode()


def _replace(store: Store, seen: bytes | None, document: Mapping[str, Any]) -> bool:
    """Write unless someone else has written since; say whether the document is now in place."""
    new = _encode(document)
    if new == seen:
        return True
    data, version = store.read_versioned(SETTINGS)
    return data == seen and store.compare_and_swap(SETTINGS, version, new)


def _recorded(document: Mapping[str, Any], fingerprint: Fingerprint) -> dict[str, Any]:
    recorded: dict[str, Any] = {"format": FORMAT}
    for kind in KINDS:
        new = {
            name: {"hash": settings_hash(settings), "settings": settings}
            for name, settings in fingerprint.of_kind(kind).items()
        }
        recorded[kind] = {**document.get(kind, {}), **new}
    return recorded


def _changes(fingerprint: Fingerprint, document: Mapping[str, Any]) -> tuple[StaleKind, ...]:
    """Settings that differ from the recorded ones, whether or not there are outputs."""
    changed = []
    for kind in KINDS:
        for name, settings in fingerprint.of_kind(kind).items():
            entry = document.get(kind, {}).get(name)
            if entry is None:
                continue
            old, new = dict(_flat(entry["settings"])), dict(_flat(json.loads(json.dumps(settings))))
            fields = tuple(
                FieldChange(field, old.get(field), new.get(field))
                for field in {**old, **new}
                if old.get(field, default_setting(field)) != new.get(field)
            )
            if fields:
                changed.append(StaleKind(kind, name, fields))
    return tuple(changed)


def _check(store: Store, fingerprint: Fingerprint, document: Mapping[str, Any]) -> StaleReport:
    changed = _changes(fingerprint, document) + unrecorded_changes(store, fingerprint, document)
    if not changed:
        return StaleReport()
    counts: Counter[str] = Counter()
    hit: set[int] = set()
    for sim_id, artifact, _ in _stale_outputs(store, changed):
        counts[artifact] += 1
        hit.update(place for place, stale in enumerate(changed) if _concerns(stale, sim_id, artifact))
    return StaleReport(
        tuple(stale for place, stale in enumerate(changed) if place in hit),
        dict(sorted(counts.items(), reverse=True)),
    )


def unrecorded_changes(
    store: Store, fingerprint: Fingerprint, document: Mapping[str, Any]
) -> tuple[StaleKind, ...]:
    """
    Compare outputs that no record speaks of with what they say of themselves.

    Outputs copied into a project, or left after `settings.json` was lost, carry their own settings. A few
    trajectories of each meteorology are looked at; footprints follow their trajectories.
    """
    unknown = {met for met in fingerprint.trajectories if met not in document.get("trajectories", {})}
    looked_at: Counter[str] = Counter()
    found: dict[str, StaleKind] = {}
    if not unknown:
        return ()
    for key in store.list(BY_ID + "/"):
        parsed = parse_output_key(key)
        if parsed is None or parsed[1] != TRAJECTORY:
            continue
        met = SimID(parsed[0]).met
        if met not in unknown or met in found or looked_at[met] >= _LOOKED_AT:
            continue
        looked_at[met] += 1
        made_with = _settings_inside(store.read(key))
        new = dict(_flat(json.loads(json.dumps(fingerprint.trajectories[met]))))
        old = dict(_flat(made_with))
        fields = tuple(
            FieldChange(field, old[field], new[field])
            for field in old
            if field in new and field not in _ERROR_KEYS and old[field] != new[field]
        )
        if fields:
            found[met] = StaleKind("trajectories", met, fields)
    return tuple(found.values())


def _settings_inside(table: bytes) -> Mapping[str, Any]:
    """Return the settings a trajectory file was made with, as it tells; nothing where it cannot."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        metadata = pq.read_schema(pa.BufferReader(table)).metadata or {}
        return json.loads(metadata.get(b"stilt:params", b"{}"))
    except (pa.ArrowException, ValueError):
        return {}


def _stale_outputs(store: Store, changed: tuple[StaleKind, ...]) -> Iterator[tuple[str, str, str]]:
    # a listing rather than the manifest: outputs count even when their row is gone
    for key in store.list(BY_ID + "/"):
        found = parse_output_key(key)
        if found and any(_concerns(stale, *found) for stale in changed):
            yield *found, key


def _concerns(stale: StaleKind, sim_id: str, artifact: str) -> bool:
    """Whether a change makes one output stale."""
    if stale.kind == "footprints":
        name = artifact.removeprefix(FOOTPRINT_PREFIX)
        return artifact != name and name.removesuffix(ERROR_SUFFIX) == stale.name
    if _met(sim_id) != stale.name:
        return False
    if stale.kind == "error_trajectories":
        return artifact == ERROR_TRAJECTORY or (artifact != TRAJECTORY and artifact.endswith(ERROR_SUFFIX))
    return True


def _met(sim_id: str) -> str:
    return sim_id.partition("_")[0]


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _brief(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
