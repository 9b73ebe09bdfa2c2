"""The rows of a manifest at one moment, and how to find some of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from stilt.errors import ReceptorError
from stilt.manifest.arrow import damaged, parse, strings
from stilt.receptors import Receptor
from stilt.storage.layout import MANIFEST, check_footprint_name

if TYPE_CHECKING:
    import pyarrow as pa


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
        columns = "sim_id", "met", "scene", "footprints"
        self._table = parse(data, where, columns, coded=("met", "footprints"))

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
        return strings(self._table["sim_id"])

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {sim_id: position for position, sim_id in enumerate(self._ids)}

    @cached_property
    def _receptors(self) -> pa.ChunkedArray:
        return parse(self._data, self._where, columns=("receptor",))["receptor"]

    @cached_property
    def _footprints(self) -> tuple[np.ndarray, list[tuple[str, ...]]]:
        """Codes of each row and the few distinct lists they stand for."""
        codes, values = self._coded("footprints")
        lists = []
        for text in values:
            try:
                names = json.loads(text)
                lists.append(tuple(check_footprint_name(name) for name in names))
            except (ValueError, TypeError) as error:
                raise damaged(self._where, f"footprints {text!r}") from error
        return codes, lists

    def _coded(self, name: str) -> tuple[np.ndarray, list[str]]:
        """Return a column as the number of each row's value, and the few distinct values; none is null."""
        encoded = self._table[name].combine_chunks()
        # not to_numpy, which loads pandas
        return np.from_dlpack(encoded.indices), encoded.dictionary.to_pylist()

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

    def check(self) -> None:
        """
        Read every row, also what is otherwise read when it is first asked for.

        Raises
        ------
        ManifestError
            When one is damaged.
        """
        _ = self._footprints
        for position in range(len(self)):
            values = self._describe(position)
            try:
                Receptor.from_dict(values)
            except ReceptorError as error:
                raise damaged(self._where, f"receptor {values!r}") from error

    def _describe(self, position: int) -> dict[str, Any]:
        text = self._receptors[position].as_py()
        try:
            values = json.loads(text)
            if not isinstance(values, dict):
                raise TypeError(text)
        except (ValueError, TypeError) as error:
            raise damaged(self._where, f"receptor {text!r}") from error
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
        Ids of the rows that meet every condition given, in id order.

        Parameters
        ----------
        mets, footprint, time_range, location_ids, scene : optional
            As in `stilt.collections.Simulations.ids`, where ``scene`` is called ``scene_id``.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        keep = np.ones(len(self), dtype=bool)

        def require(mask: Any) -> None:
            np.logical_and(keep, pc.fill_null(mask, False).to_numpy(), out=keep)

        ids = self._table["sim_id"]
        if mets is not None:
            codes, known = self._coded("met")
            keep &= np.isin(known, _listed(mets))[codes]
        if scene is not None:
            require(pc.equal(self._table["scene"], scene))
        if footprint is not None:
            codes, lists = self._footprints
            keep &= np.array([footprint in names for names in lists], dtype=bool)[codes]
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
        return sorted(strings(ids.filter(pa.array(keep))))

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
            zip(self._ids, strings(self._table["scene"]), strict=True), key=lambda pair: pair[0]
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
        import pyarrow as pa

        if not len(self):
            return []
        wanted, known = frozenset(footprints), frozenset(mets)
        codes, lists = self._footprints
        differs = np.array([frozenset(names) != wanted for names in lists])[codes]
        codes, mets_here = self._coded("met")
        differs |= np.array([met not in known for met in mets_here])[codes]
        if not differs.any():
            return []
        return sorted(strings(self._table["sim_id"].filter(pa.array(differs))))


def _listed(values: str | Iterable[str]) -> list[str]:
    return [values] if isinstance(values, str) else [str(value) for value in values]


def _stamp(bound: Any) -> str | None:
    if bound is None:
        return None
    from stilt.receptors.times import to_utc

    when: datetime = to_utc(bound)
    return f"{when:%Y%m%d%H%M%S}"
