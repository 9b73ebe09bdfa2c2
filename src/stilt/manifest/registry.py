"""Registering: how rows get into the manifest, whoever else is writing it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from stilt.collector import many_objects
from stilt.errors import ManifestError, MissingObjectError
from stilt.ids import SimID, check_met_key
from stilt.manifest.arrow import is_newer, parse, rows_of, serialise, upsert
from stilt.manifest.published import Restored, publish, read_published
from stilt.manifest.table import ManifestRow, ManifestTable
from stilt.receptors import Receptor
from stilt.service import check_label
from stilt.storage import Store, place
from stilt.storage.layout import DAMAGED_MANIFEST, MANIFEST, REGISTRATIONS, check_footprint_name


@dataclass(frozen=True)
class Registration:
    """
    What one call of `Manifest.register` did.

    Parameters
    ----------
    sim_ids : list of SimID
        The simulations registered, each once, in the order given.
    added, updated : int
        New rows, and old rows whose scene or footprints changed.
    duplicates : int
        Simulations given more than once.
    """

    sim_ids: list[SimID] = field(repr=False)
    added: int = 0
    updated: int = 0
    duplicates: int = 0


class Manifest:
    """
    The manifest of one output root.

    Parameters
    ----------
    store : Store
        The output root. Nothing is read or created before it is needed.
    """

    def __init__(self, store: Store) -> None:
        self.store = store

    def __repr__(self) -> str:
        return f"Manifest({self.store.uri})"

    @property
    def _where(self) -> str:
        return place(self.store, MANIFEST)

    def exists(self) -> bool:
        """Whether there is one."""
        return self.store.exists(MANIFEST)

    def must_not_be_lost(self) -> None:
        """
        Tell a manifest that went away from one that was never written.

        Raises
        ------
        ManifestError
            When there is none, but registrations are published.
        """
        if any(True for _ in self.store.list(REGISTRATIONS + "/")) and not self.exists():
            raise ManifestError(
                f"{self._where} is missing, but what was registered is published beside it; `stilt rebuild` "
                "puts it together again."
            )

    def load(self) -> ManifestTable:
        """
        Read the manifest as it is now.

        Returns
        -------
        ManifestTable
            Its rows; none when nothing was registered.

        Raises
        ------
        ManifestError
            When the file is damaged or from a newer version.
        """
        return ManifestTable(self._read(), where=self._where)

    def copy_to(self, store: Store) -> None:
        """
        Put the manifest as it is now into another store, if anything was ever registered.

        Parameters
        ----------
        store : Store
            An empty one.
        """
        data = self._read()
        if data is not None:
            parse(data, self._where)
            store.write(MANIFEST, data)

    def _read(self) -> bytes | None:
        try:
            return self.store.read(MANIFEST)
        except MissingObjectError:
            return None

    def register(self, rows: Iterable[ManifestRow]) -> Registration:
        """
        Add rows, or bring existing ones up to date.

        A row without a scene leaves the scene of an existing row alone; its footprints
        replace those of the existing row. Repeating a registration changes nothing.

        Parameters
        ----------
        rows : iterable of ManifestRow
            What is asked for.

        Returns
        -------
        Registration
            What changed.
        """
        rows = list(rows)
        return self._merge(
            [SimID(row.sim_id) for row in rows],
            [row.met for row in rows],
            [_compact(dict(row.receptor)) for row in rows],
            [row.scene for row in rows],
            [_names(row.footprints) for row in rows],
        )

    def register_receptors(
        self,
        receptors: Iterable[Receptor],
        mets: Iterable[str],
        *,
        scene: str | None = None,
        footprints: Iterable[str] = (),
    ) -> Registration:
        """
        Register every receptor with every meteorology.

        Parameters
        ----------
        receptors : iterable of Receptor
            Where and when.
        mets : iterable of str
            Keys of the meteorology.
        scene : str, optional
            Label for all of them.
        footprints : iterable of str
            See `stilt.completion.expected_footprints`.

        Returns
        -------
        Registration
            What changed; ids receptor by receptor.
        """
        mets = [check_met_key(met) for met in mets]
        with many_objects():
            receptors = list(receptors)
            names = _names(footprints)
            # both parts were checked, so a hundred thousand ids need not be parsed
            sim_ids = [str.__new__(SimID, f"{met}_{receptor.id}") for receptor in receptors for met in mets]
            described = [receptor.to_json() for receptor in receptors]
            return self._merge(
                sim_ids,
                mets * len(receptors),
                described if len(mets) == 1 else [text for text in described for _ in mets],
                [scene] * len(sim_ids),
                [names] * len(sim_ids),
            )

    def restore(self) -> Restored:
        """
        Put a lost or damaged manifest together again from what registrations published.

        A manifest that can be read is left as it is; a damaged one is kept beside the new one.

        Returns
        -------
        Restored
            What was done; no rows when nothing was wrong or nothing was ever registered.

        Raises
        ------
        ManifestError
            When the manifest is damaged and nothing was published, or from a newer version.
        """
        data, trouble = self._damage()
        if data is None and self.exists():
            return Restored()
        rows, registrations, unreadable = read_published(self.store)
        if rows is None:
            if trouble is not None:
                raise trouble
            return Restored(unreadable=unreadable)
        if data is not None:
            self.store.write(DAMAGED_MANIFEST, data)

        def change(now: bytes | None) -> bytes | None:
            if now is None or now == data:
                return serialise(rows)
            # someone has registered meanwhile
            merged = upsert(rows, parse(now, self._where))[0]
            return serialise(rows if merged is None else merged)

        self.store.update(MANIFEST, change)
        kept = "" if data is None else place(self.store, DAMAGED_MANIFEST)
        return Restored(int(rows.num_rows), registrations, unreadable, kept)

    def _damage(self) -> tuple[bytes | None, ManifestError | None]:
        """Return the manifest and what is wrong with it, if something is."""
        try:
            data = self.store.read(MANIFEST)
            ManifestTable(data, where=self._where).check()
        except MissingObjectError:
            return None, None
        except ManifestError as error:
            if is_newer(data):
                raise
            return data, error
        return None, None

    def _merge(
        self,
        sim_ids: list[SimID],
        mets: list[str],
        receptors: list[str],
        scenes: list[str | None],
        footprints: list[str],
    ) -> Registration:
        once: dict[SimID, int] = dict.fromkeys(sim_ids, 0)
        if not once:
            return Registration([])
        columns: list[list[Any]] = [sim_ids, mets, receptors, scenes, footprints]
        if len(once) < len(sim_ids):
            once = {}
            for position, sim_id in enumerate(sim_ids):
                first = once.setdefault(sim_id, position)
                if scenes[position] is not None:
                    scenes[first] = scenes[position]
            columns = [[column[position] for position in once.values()] for column in columns]
        for scene in {scene for scene in scenes if scene is not None}:
            check_label(scene)
        new = rows_of(columns)
        result = Registration(list(once), duplicates=len(sim_ids) - len(once))
        counts = {"added": 0, "updated": 0}

        def change(data: bytes | None) -> bytes | None:
            # the first registration; or the manifest went away, and must not lose the rows it had
            before = read_published(self.store, besides=published)[0] if data is None else None
            old = parse(data, self._where) if before is None else before
            merged, counts["added"], counts["updated"] = upsert(old, new)
            if merged is None:
                return None if before is None else serialise(before)
            return serialise(merged)

        published = publish(self.store, new)
        self.store.update(MANIFEST, change)
        return Registration(result.sim_ids, counts["added"], counts["updated"], result.duplicates)


_compact = json.JSONEncoder(separators=(",", ":")).encode


def _names(footprints: Iterable[str]) -> str:
    return _compact([check_footprint_name(name) for name in footprints])
