"""
What was asked for: one row per simulation, in ``.stilt/manifest.parquet``.

The manifest holds only what cannot be read off the outputs. Registering is an
upsert that may be repeated and may run in many processes at once: each one reads,
merges and writes the whole table under the store's protection against lost
updates. Tables stay Arrow columns throughout, so a hundred thousand rows cost
milliseconds; the file is read into memory, never mapped, because it is replaced
while others read it.

::

    sim_id      string   met x receptor
    met         string   key of the meteorology
    receptor    string   JSON of Receptor.to_dict
    scene       string   label given at registration, or null
    footprints  string   JSON list of the footprints to make, error footprints as <name>_error
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from stilt.errors import ManifestError, MissingObjectError, ProjectError
from stilt.ids import SimID
from stilt.receptors import Receptor
from stilt.storage import Store
from stilt.storage.layout import MANIFEST, SIM_ID_PATTERN, check_footprint_name

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = ("sim_id", "met", "receptor", "scene", "footprints")
FORMAT = 1
_FORMAT_KEY = b"stilt:manifest_format"


@dataclass(frozen=True)
class ManifestRow:
    """
    One simulation that was asked for.

    Parameters
    ----------
    sim_id : str
        Simulation id.
    met : str
        Key of its meteorology.
    receptor : dict
        What `Receptor.to_dict` gives.
    scene : str, optional
        Label of the scene it belongs to.
    footprints : tuple of str
        Footprints it is to make, error footprints as ``<name>_error``.
    """

    sim_id: str
    met: str
    receptor: Mapping[str, Any]
    scene: str | None = None
    footprints: tuple[str, ...] = ()


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

    def exists(self) -> bool:
        """Whether anything was ever registered."""
        return self.store.exists(MANIFEST)

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
        try:
            data = self.store.read(MANIFEST)
        except MissingObjectError:
            data = None
        return ManifestTable(data, where=f"{self.store.uri}/{MANIFEST}")

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
        mets = list(mets)
        receptors = list(receptors)
        names = _names(footprints)
        sim_ids = [SimID(f"{met}_{receptor.id}") for receptor in receptors for met in mets]
        described = [_compact(receptor.to_dict()) for receptor in receptors]
        return self._merge(
            sim_ids,
            mets * len(receptors),
            described if len(mets) == 1 else [text for text in described for _ in mets],
            [scene] * len(sim_ids),
            [names] * len(sim_ids),
        )

    def _merge(
        self,
        sim_ids: list[SimID],
        mets: list[str],
        receptors: list[str],
        scenes: list[str | None],
        footprints: list[str],
    ) -> Registration:
        import pyarrow as pa

        once: dict[SimID, int] = {}
        for position, sim_id in enumerate(sim_ids):
            first = once.setdefault(sim_id, position)
            if scenes[position] is not None:
                scenes[first] = scenes[position]
        if not once:
            return Registration([])
        columns: list[list[Any]] = [sim_ids, mets, receptors, scenes, footprints]
        if len(once) < len(sim_ids):
            columns = [[column[position] for position in once.values()] for column in columns]
        for scene in {scene for scene in scenes if scene is not None}:
            if not _is_text(scene):
                raise ProjectError(f"scene label {scene!r} is not text; give letters that Unicode knows.")
        new = pa.table(
            {name: pa.array(values, pa.string()) for name, values in zip(COLUMNS, columns)}, schema=_schema()
        )
        result = Registration(list(once), duplicates=len(sim_ids) - len(once))
        counts = {"added": 0, "updated": 0}

        def change(data: bytes | None) -> bytes | None:
            old = _parse(data, f"{self.store.uri}/{MANIFEST}")
            merged, counts["added"], counts["updated"] = _upsert(old, new)
            return None if merged is None else _serialise(merged)

        self.store.update(MANIFEST, change)
        return Registration(result.sim_ids, counts["added"], counts["updated"], result.duplicates)


class ManifestTable:
    """
    The rows of a manifest at one moment.

    Light columns are read at once, receptors when first asked for.

    Parameters
    ----------
    data : bytes or None
        The Parquet file; None for no rows.
    where : str
        Its address, for messages.
    """

    def __init__(self, data: bytes | None, *, where: str = MANIFEST) -> None:
        self._data = data
        self._where = where
        self._table = _parse(data, where, columns=("sim_id", "met", "scene", "footprints"))

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def __contains__(self, sim_id: object) -> bool:
        return sim_id in self._positions

    def __iter__(self) -> Iterator[ManifestRow]:
        return iter(self.rows())

    @cached_property
    def sim_ids(self) -> list[str]:
        """Ids in id order."""
        return sorted(self._ids)

    @cached_property
    def _ids(self) -> list[str]:
        return _strings(self._table["sim_id"])

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {sim_id: position for position, sim_id in enumerate(self._ids)}

    @cached_property
    def _receptors(self) -> pa.ChunkedArray:
        return _parse(self._data, self._where, columns=("receptor",))["receptor"]

    @cached_property
    def _footprints(self) -> tuple[np.ndarray, list[tuple[str, ...]]]:
        """Codes of each row and the few distinct lists they stand for."""
        encoded = self._table["footprints"].combine_chunks().dictionary_encode()
        if hasattr(encoded, "chunks"):
            encoded = encoded.combine_chunks()
        lists = []
        for text in encoded.dictionary.to_pylist():
            try:
                names = json.loads(text)
                lists.append(tuple(check_footprint_name(name) for name in names))
            except (ValueError, TypeError) as error:
                raise _damaged(self._where, f"footprints {text!r}") from error
        return encoded.indices.to_numpy(zero_copy_only=False), lists

    def row(self, sim_id: str) -> ManifestRow:
        """
        One row.

        Parameters
        ----------
        sim_id : str
            Simulation id.

        Raises
        ------
        KeyError
            When it is not registered.
        """
        position = self._positions[sim_id]
        codes, lists = self._footprints
        return ManifestRow(
            sim_id=sim_id,
            met=self._table["met"][position].as_py(),
            receptor=self._describe(position),
            scene=self._table["scene"][position].as_py(),
            footprints=lists[codes[position]],
        )

    def rows(self, sim_ids: Iterable[str] | None = None) -> list[ManifestRow]:
        """
        Rows of some or all simulations.

        Parameters
        ----------
        sim_ids : iterable of str, optional
            Which, in which order; all in id order when None.
        """
        return [self.row(sim_id) for sim_id in (self.sim_ids if sim_ids is None else sim_ids)]

    def receptor(self, sim_id: str) -> Receptor:
        """The receptor of one simulation; ``KeyError`` when it is not registered."""
        return Receptor.from_dict(self._describe(self._positions[sim_id]))

    def _describe(self, position: int) -> dict[str, Any]:
        text = self._receptors[position].as_py()
        try:
            values = json.loads(text)
            if not isinstance(values, dict):
                raise TypeError(text)
        except (ValueError, TypeError) as error:
            raise _damaged(self._where, f"receptor {text!r}") from error
        return values

    def select(
        self,
        *,
        mets: str | Iterable[str] | None = None,
        footprint: str | None = None,
        time_range: tuple[Any, Any] | None = None,
        location_ids: str | Iterable[str] | None = None,
        scene: str | None = None,
    ) -> list[str]:
        """
        Ids of the rows that meet every condition given.

        Parameters
        ----------
        mets : str or iterable of str, optional
            Keys of the meteorology.
        footprint : str, optional
            Only simulations that are to make this footprint.
        time_range : (start, end), optional
            Receptor times [UTC], both ends included; either may be None.
        location_ids : str or iterable of str, optional
            Where the receptors are.
        scene : str, optional
            Label given at registration.

        Returns
        -------
        list of str
            In id order.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        keep = np.ones(len(self), dtype=bool)

        def require(mask: Any) -> None:
            np.logical_and(keep, pc.fill_null(mask, False).to_numpy(), out=keep)

        ids = self._table["sim_id"]
        if mets is not None:
            require(pc.is_in(self._table["met"], value_set=pa.array(_listed(mets), pa.string())))
        if scene is not None:
            require(pc.equal(self._table["scene"], scene))
        if footprint is not None:
            codes, lists = self._footprints
            np.logical_and(
                keep, np.array([footprint in names for names in lists] or [False])[codes], out=keep
            )
        if time_range is not None:
            start, end = (_stamp(bound) for bound in time_range)
            stamps = pc.utf8_rpad(
                pc.replace_substring_regex(ids, r"^[^_]*_([0-9]*)_.*$", r"\1"), 14, padding="0"
            )
            if start:
                require(pc.greater_equal(stamps, start))
            if end:
                require(pc.less_equal(stamps, end))
        if location_ids is not None:
            places = pc.replace_substring_regex(ids, r"^[^_]*_[0-9]*_(.*)$", r"\1")
            require(pc.is_in(places, value_set=pa.array(_listed(location_ids), pa.string())))
        if keep.all():
            return list(self.sim_ids)
        return sorted(_strings(ids.filter(pa.array(keep))))

    def by_footprints(self, sim_ids: Iterable[str] | None = None) -> dict[tuple[str, ...], list[str]]:
        """
        Group simulations by the footprints they are to make.

        Parameters
        ----------
        sim_ids : iterable of str, optional
            Only these; all, in the order of registration, when None.

        Returns
        -------
        dict of tuple of str to list of str
            Ids by list of footprints.
        """
        codes, lists = self._footprints
        if sim_ids is None:
            if len(lists) == 1:
                return {lists[0]: list(self._ids)}
            sim_ids = self._ids
        groups: dict[tuple[str, ...], list[str]] = {}
        positions = self._positions
        for sim_id in sim_ids:
            groups.setdefault(lists[codes[positions[sim_id]]], []).append(sim_id)
        return groups

    def by_scene(self) -> dict[str | None, list[str]]:
        """Ids by scene label, None for those without; labels in alphabetical order."""
        groups: dict[str | None, list[str]] = {}
        for sim_id, scene in sorted(
            zip(self._ids, _strings(self._table["scene"]), strict=True), key=lambda pair: pair[0]
        ):
            groups.setdefault(scene, []).append(sim_id)
        return dict(sorted(groups.items(), key=lambda item: (item[0] is None, item[0] or "")))

    def differing(self, footprints: Sequence[str], mets: Iterable[str]) -> list[str]:
        """
        Ids of rows that a configuration would not register like this any more.

        Parameters
        ----------
        footprints : sequence of str
            Footprints the configuration asks for, as rows list them.
        mets : iterable of str
            Keys of its meteorology.

        Returns
        -------
        list of str
            Rows with other footprints or an unknown meteorology, in id order.
        """
        wanted = frozenset(footprints)
        known = set(self.select(mets=mets)) if len(self) else set()
        return sorted(
            sim_id
            for names, sim_ids in self.by_footprints().items()
            for sim_id in sim_ids
            if frozenset(names) != wanted or sim_id not in known
        )


def _schema() -> pa.Schema:
    import pyarrow as pa

    return pa.schema([pa.field(name, pa.string()) for name in COLUMNS], metadata={_FORMAT_KEY: str(FORMAT)})


def _serialise(table: pa.Table) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    # Many small registrations rewrite the whole table: these settings write and read it
    # fastest (dictionaries only where values repeat, no statistics nobody asks for).
    pq.write_table(
        table,
        sink,
        compression="snappy",
        use_dictionary=["met", "scene", "footprints"],
        write_statistics=False,
        row_group_size=1 << 20,
    )
    return bytes(sink.getvalue())


def _parse(data: bytes | None, where: str, columns: Sequence[str] = COLUMNS) -> pa.Table:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    if data is None:
        return _schema().empty_table().select(list(columns))
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        version = (file.schema_arrow.metadata or {}).get(_FORMAT_KEY, b"1")
        missing = [name for name in COLUMNS if name not in file.schema_arrow.names]
        if missing:
            raise _damaged(where, f"column {missing[0]!r} is missing")
        if not version.isdigit() or int(version) > FORMAT:
            raise ManifestError(f"{where} was written by a newer version of stilt; update this installation.")
        table = file.read(columns=list(columns), use_threads=False)
        table = table.select(list(columns)).replace_schema_metadata(None)
        table = table.cast(pa.schema([(name, pa.string()) for name in columns]))
        if "sim_id" in columns:
            good = pc.match_substring_regex(table["sim_id"], f"^{SIM_ID_PATTERN}$")
            if table.num_rows and not pc.all(good, skip_nulls=False, min_count=0).as_py():
                raise _damaged(where, "a simulation id that cannot be one")
        if "footprints" in columns and table["footprints"].null_count:
            raise _damaged(where, "a row without a list of footprints")
    except (pa.ArrowException, OSError) as error:
        raise _damaged(where, str(error)) from error
    return table


def _damaged(where: str, what: str) -> ManifestError:
    what = " ".join(what.split())[:200].rstrip(".")
    return ManifestError(
        f"{where} is damaged ({what}); restore a copy, or move it away and register the receptors again "
        "(finished outputs are found by key and kept)."
    )


def _upsert(old: pa.Table, new: pa.Table) -> tuple[pa.Table | None, int, int]:
    """Merge new rows into old ones; None when nothing changes."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not old.num_rows:
        return new, new.num_rows, 0
    # one lookup of every old id among the (usually few) new ones
    match = pc.index_in(old["sim_id"], value_set=new["sim_id"].combine_chunks()).combine_chunks()
    if match.null_count == len(match):
        return pa.concat_tables([old, new.cast(old.schema)]), new.num_rows, 0
    matched = pc.is_valid(match).to_numpy(zero_copy_only=False)
    rows = match.drop_null().to_numpy()
    theirs = old.filter(pa.array(matched))
    ours = new.take(pa.array(rows))
    scene = pc.coalesce(ours["scene"], theirs["scene"])
    changed = np.zeros(len(rows), dtype=bool)
    for name, values in (
        ("scene", scene),
        ("footprints", ours["footprints"]),
        ("receptor", ours["receptor"]),
    ):
        same = pc.fill_null(pc.equal(values, theirs[name]), False)
        both_null = pc.and_(pc.is_null(values), pc.is_null(theirs[name]))
        changed |= ~pc.or_(same, both_null).to_numpy()
    seen = np.zeros(new.num_rows, dtype=bool)
    seen[rows] = True
    added = new.filter(pa.array(~seen))
    if not changed.any() and not added.num_rows:
        return None, 0, 0
    columns = {}
    for name in COLUMNS:
        if changed.any() and name in ("scene", "footprints", "receptor"):
            values = scene if name == "scene" else ours[name]
            column = old[name].combine_chunks() if hasattr(old[name], "combine_chunks") else old[name]
            columns[name] = pc.replace_with_mask(column, pa.array(matched), values.combine_chunks())
        else:
            columns[name] = old[name]
    merged = pa.table(columns, schema=_schema())
    if added.num_rows:
        merged = pa.concat_tables([merged, added.cast(merged.schema)])
    return merged, int(added.num_rows), int(changed.sum())


def _strings(column: Any) -> list[Any]:
    # several times faster than to_pylist
    return list(column.to_numpy(zero_copy_only=False)) if len(column) else []


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def _names(footprints: Iterable[str]) -> str:
    return _compact([check_footprint_name(name) for name in footprints])


def _is_text(scene: str) -> bool:
    try:
        scene.encode()
    except (UnicodeEncodeError, AttributeError):
        return False  # half a character pair, as a shell passes on bytes it cannot decode
    return True


def _listed(values: str | Iterable[str]) -> list[str]:
    return [values] if isinstance(values, str) else [str(value) for value in values]


def _stamp(bound: Any) -> str | None:
    if bound is None:
        return None
    from stilt.receptors.times import to_utc

    when: datetime = to_utc(bound)
    return f"{when:%Y%m%d%H%M%S}"
