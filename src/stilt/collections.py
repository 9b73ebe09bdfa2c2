"""
Many simulations, their trajectories and their footprints, found again at every call.

Collections hold no results: each method looks at the manifest and the store when it
is called, so newly registered receptors and newly finished outputs appear by themselves.
Lists are in id order.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from stilt.completion import Survey, expected_artifacts, having, survey
from stilt.errors import ProjectError
from stilt.ids import SimID
from stilt.manifest import Manifest, ManifestTable
from stilt.simulation import (
    NO_DEFAULT,
    Simulation,
    check_known,
    fetch_footprint,
    logger,
    parse_footprint,
    read_footprint,
)
from stilt.storage import Store, concurrently, read_copy
from stilt.storage.layout import (
    ERROR_TRAJECTORY,
    FOOTPRINT_PREFIX,
    TRAJECTORY,
    footprint_key,
    keys_of_many,
)

if TYPE_CHECKING:
    from stilt.footprint import Footprint
    from stilt.footprint.jacobian import Jacobian, JacobianRow, RowMaker
    from stilt.spatial import Grid
    from stilt.trajectory import Trajectories

_BATCH = 64
"""Footprints read by one task when a Jacobian is built."""


class Simulations(Mapping[str, Simulation]):
    """
    Registered simulations by id.

    Parameters
    ----------
    store : Store
        The output root.
    error_trajectory : bool
        Whether wind- or PBL-error parameters are set.
    **conditions
        Only simulations that meet them; see `ids`.
    """

    def __init__(self, store: Store, *, error_trajectory: bool = False, **conditions: Any) -> None:
        self.store = store
        self.error_trajectory = error_trajectory
        self._conditions = tuple(_checked(conditions).items())
        self._manifest = Manifest(store)
        self._table: ManifestTable | None = None
        self._selected: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        return f"<Simulations: {len(self)} in {self.store.uri}>"

    def __getitem__(self, sim_id: str) -> Simulation:
        # look again only for what was not there before
        if self._table is None or sim_id not in self._selected:
            self._look()
        if self._table is None or sim_id not in self._selected:
            raise KeyError(sim_id)
        return Simulation(self.store, self._table.row(sim_id), error_trajectory=self.error_trajectory)

    def __iter__(self) -> Iterator[str]:
        return iter(self.ids())

    def __len__(self) -> int:
        return len(self._look())

    def __contains__(self, sim_id: object) -> bool:
        return sim_id in self._look()

    def ids(
        self,
        mets: str | Iterable[str] | None = None,
        footprint: str | None = None,
        time_range: tuple[Any, Any] | None = None,
        location_ids: str | Iterable[str] | None = None,
        scene_id: str | None = None,
    ) -> list[SimID]:
        """
        Ids of the registered simulations that meet every condition given.

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
        scene_id : str, optional
            Label given at registration.

        Returns
        -------
        list of SimID
            In id order.
        """
        extra = _given(mets, footprint, time_range, location_ids, scene_id)
        return _as_ids(self._find(self.table(), extra))

    def incomplete(self, **conditions: Any) -> list[SimID]:
        """
        Ids of those that lack an expected artifact.

        Parameters
        ----------
        **conditions
            See `ids`.

        Returns
        -------
        list of SimID
            In id order, failed ones included.
        """
        found = self._survey(self.table(), _checked(conditions))
        return _as_ids(sorted(found.failed | found.pending))

    def select(self, **conditions: Any) -> Simulations:
        """
        Those simulations that meet some conditions, as a mapping of the same kind.

        Parameters
        ----------
        **conditions
            See `ids`.
        """
        selection = Simulations(self.store, error_trajectory=self.error_trajectory)
        selection._conditions = (*self._conditions, *_checked(conditions).items())
        return selection

    def survey(self, table: ManifestTable | None = None) -> Survey:
        """
        Find the state of all of them, in one pass over their keys.

        Parameters
        ----------
        table : ManifestTable, optional
            What `table` has just returned; default: the manifest as it is now.
        """
        return self._survey(self.table() if table is None else table, {})

    def table(self) -> ManifestTable:
        """The manifest as it is now."""
        self._table = self._manifest.load()
        return self._table

    def _look(self) -> frozenset[str]:
        self._selected = frozenset(self._find(self.table(), {}))
        return self._selected

    def _find(self, table: ManifestTable, extra: Mapping[str, Any]) -> list[str]:
        found = table.select(**extra)
        for name, value in self._conditions:
            allowed = set(table.select(**{name: value}))
            found = [sim_id for sim_id in found if sim_id in allowed]
        return found

    def _survey(self, table: ManifestTable, extra: Mapping[str, Any]) -> Survey:
        chosen = self._find(table, extra) if extra or self._conditions else None
        groups: dict[tuple[str, ...], list[str]] = {
            expected_artifacts(names, error_trajectory=self.error_trajectory): ids
            for names, ids in table.by_footprints(chosen).items()
        }
        return survey(self.store, groups)


class TrajectoryCollection:
    """
    Particle tables of many simulations.

    Parameters
    ----------
    simulations : Simulations
        Whose.
    """

    def __init__(self, simulations: Simulations) -> None:
        self._simulations = simulations

    def __repr__(self) -> str:
        return f"<TrajectoryCollection in {self._simulations.store.uri}>"

    def paths(self, *, error: bool = False, **conditions: Any) -> list[Path]:
        """
        Files that exist; of an object store, local copies of them.

        Parameters
        ----------
        error : bool
            Those of the error ensemble.
        **conditions
            See `Simulations.ids`.

        Returns
        -------
        list of Path
            In id order.
        """
        store = self._simulations.store
        keys = keys_of_many(self._having(error, conditions), _artifact(error))[0]
        return list(concurrently(store, store.local_path, keys))

    def load(
        self, *, error: bool = False, columns: list[str] | None = None, **conditions: Any
    ) -> list[Trajectories]:
        """
        Read the tables that exist.

        Parameters
        ----------
        error : bool
            Those of the error ensemble.
        columns : list of str, optional
            Only these columns.
        **conditions
            See `Simulations.ids`.

        Returns
        -------
        list of Trajectories
            In id order.
        """
        from stilt.trajectory import Trajectories

        store = self._simulations.store
        keys = keys_of_many(self._having(error, conditions), _artifact(error))[0]
        return [
            Trajectories.from_parquet(io.BytesIO(data), columns=columns)
            for data in concurrently(store, partial(read_copy, store), keys)
        ]

    def missing(self, *, error: bool = False, **conditions: Any) -> list[SimID]:
        """
        Ids of simulations whose table does not exist.

        Parameters
        ----------
        error : bool
            That of the error ensemble.
        **conditions
            See `Simulations.ids`.
        """
        have = set(self._having(error, conditions))
        return [sim_id for sim_id in self._simulations.ids(**conditions) if sim_id not in have]

    def _having(self, error: bool, conditions: Mapping[str, Any]) -> list[str]:
        return having(self._simulations.store, self._simulations.ids(**conditions), _artifact(error))


class FootprintCollection:
    """
    Footprints of one name, of many simulations.

    Parameters
    ----------
    simulations : Simulations
        Whose.
    name : str
        Name of the footprint; of error footprints ``<name>_error``.
    configured : bool
        False for ``default`` where no footprint has that name; the collection is empty and says so.
    """

    def __init__(self, simulations: Simulations, name: str, *, configured: bool = True) -> None:
        self._simulations = simulations
        self.name = name
        self.note = "" if configured else NO_DEFAULT

    def __repr__(self) -> str:
        return f"<FootprintCollection {self.name!r}: {self.note or self._simulations.store.uri}>"

    def paths(self, **conditions: Any) -> list[Path]:
        """
        NetCDF files that exist (local copies, of an object store); empty footprints have none.

        Parameters
        ----------
        **conditions
            See `Simulations.ids`.

        Returns
        -------
        list of Path
            In id order.
        """
        store = self._simulations.store
        keys = [footprint_key(sim_id, self.name) for sim_id in self._expecting(conditions)]
        found = store.exists_many(keys)
        return list(concurrently(store, store.local_path, [key for key in keys if key in found]))

    def load(self, *, empty: bool = True, **conditions: Any) -> list[Footprint]:
        """
        Read the footprints that exist.

        Parameters
        ----------
        empty : bool
            Empty footprints are results and belong into averages, so they are among them
            (``is_empty``, no time layers) unless this is False.
        **conditions
            See `Simulations.ids`.

        Returns
        -------
        list of Footprint
            In id order.
        """
        store = self._simulations.store
        there = having(store, self._expecting(conditions), FOOTPRINT_PREFIX + self.name)
        fetched = concurrently(store, lambda sim_id: fetch_footprint(store, sim_id, self.name), there)
        footprints = (parse_footprint(*found) for found in fetched)
        return [each for each in footprints if each is not None and (empty or not each.is_empty)]

    def missing(self, **conditions: Any) -> list[SimID]:
        """
        Ids of simulations that are to make this footprint and have neither file nor empty marker.

        Parameters
        ----------
        **conditions
            See `Simulations.ids`.
        """
        wanted = self._expecting(conditions)
        have = set(having(self._simulations.store, wanted, FOOTPRINT_PREFIX + self.name))
        return [sim_id for sim_id in wanted if sim_id not in have]

    def jacobian(
        self,
        target: Any = None,
        time_bins: Any = None,
        *,
        axes: Literal["centers", "edges"] = "centers",
        subcells: int | None = None,
        n_workers: int | None = None,
        **conditions: Any,
    ) -> Jacobian:
        """
        Put the footprints into one sparse matrix, observations by (time, cell).

        Footprints are read and summed a batch at a time, in parallel when there are many; no more than one
        for each worker is in memory as a whole.

        Parameters
        ----------
        target, axes, subcells : optional
            Cells, as in `stilt.Footprint.aggregate`; none: those of the footprints.
        time_bins : optional
            As there; none: clock hours from the first to the last with influence, or one bin where footprints
            are integrated over time.
        n_workers : int, optional
            Processes; default: one for each core once there are some hundred footprints.
        **conditions
            See `Simulations.ids`.

        Returns
        -------
        Jacobian
            Rows in id order. Empty footprints are rows of zeros.

        Raises
        ------
        ProjectError
            Lists the simulations whose footprint is missing.
        """
        from stilt.footprint.jacobian import RowMaker
        from stilt.footprint.reproject import SUBCELLS

        store = self._simulations.store
        wanted = self._expecting(conditions)
        if not wanted:
            raise ProjectError(
                f"no simulation makes the footprint {self.name!r}, so there is no Jacobian; register some."
            )
        have = set(having(store, wanted, FOOTPRINT_PREFIX + self.name))
        missing = [sim_id for sim_id in wanted if sim_id not in have]
        if missing:
            raise ProjectError(
                f"{len(missing)} of {len(wanted)} footprints {self.name!r} are missing, so "
                f"observations would have no "
                f"row: {', '.join(missing)}. Run them, or choose others with mets=, time_range= or "
                f"location_ids=."
            )
        maker = RowMaker(target, time_bins, axes=axes, subcells=SUBCELLS if subcells is None else subcells)
        rows: list[JacobianRow] = []
        grids: dict[Grid, None] = {}
        for batch in _in_batches(store, self.name, wanted, maker, n_workers):
            rows += [row for row, _ in batch]
            grids.update(dict.fromkeys(grid for _, grid in batch))
        if target is None and len(grids) > 1:
            raise ProjectError(
                f"the footprints {self.name!r} lie on {len(grids)} grids, so their cells differ; give "
                f"a target, or make "
                "them again with `stilt run --refresh`."
            )
        return maker.assemble(
            wanted, rows, next(iter(grids)), {"units": "ppm m2 s umol-1", "footprint": self.name}
        )

    def _expecting(self, conditions: Mapping[str, Any]) -> list[SimID]:
        if self.note:
            logger.warning(self.note)
            return []
        return self._simulations.select(footprint=self.name).ids(**conditions)


class FootprintCollections(Mapping[str, FootprintCollection]):
    """
    Footprint collections by name.

    Parameters
    ----------
    simulations : Simulations
        Whose.
    names : iterable of str
        Names that are configured; see `stilt.completion.expected_footprints`.
    """

    def __init__(self, simulations: Simulations, names: Iterable[str]) -> None:
        self._simulations = simulations
        self._names = tuple(names)

    def __repr__(self) -> str:
        return f"<FootprintCollections: {', '.join(self._names) or 'none configured'}>"

    def __getitem__(self, name: str) -> FootprintCollection:
        return FootprintCollection(self._simulations, name, configured=check_known(name, self._names))

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _in_batches(
    store: Store, name: str, sim_ids: list[SimID], maker: RowMaker, n_workers: int | None
) -> Iterator[list[tuple[JacobianRow, Grid]]]:
    """Make rows of a Jacobian in id order, a batch at a time."""
    batches = [sim_ids[at : at + _BATCH] for at in range(0, len(sim_ids), _BATCH)]
    if n_workers is None:
        n_workers = min(os.cpu_count() or 1, len(batches) // 4)
    if n_workers <= 1:
        yield from (_jacobian_rows(store, name, batch, maker) for batch in batches)
        return
    import joblib

    pool = joblib.Parallel(n_jobs=n_workers, return_as="generator", pre_dispatch="2*n_jobs")
    yield from pool(joblib.delayed(_jacobian_rows)(store, name, batch, maker) for batch in batches)


def _jacobian_rows(
    store: Store, name: str, sim_ids: Iterable[str], maker: RowMaker
) -> list[tuple[JacobianRow, Grid]]:
    rows = []
    for sim_id in sim_ids:
        footprint = read_footprint(store, sim_id, name)
        if footprint is None:
            raise ProjectError(f"footprint {name!r} of {sim_id} went away while it was read; run it again.")
        rows.append((maker.row(footprint), footprint.grid))
    return rows


def _artifact(error: bool) -> str:
    return ERROR_TRAJECTORY if error else TRAJECTORY


def _as_ids(sim_ids: Iterable[str]) -> list[SimID]:
    # ids of a loaded manifest were checked when they were registered and again when it was read;
    # checking a hundred thousand a third time would be most of the work
    return [str.__new__(SimID, sim_id) for sim_id in sim_ids]


def _given(
    mets: str | Iterable[str] | None,
    footprint: str | None,
    time_range: tuple[Any, Any] | None,
    location_ids: str | Iterable[str] | None,
    scene: str | None,
) -> dict[str, Any]:
    conditions = {
        "mets": mets if mets is None or isinstance(mets, str) else tuple(mets),
        "footprint": footprint,
        "time_range": time_range,
        "location_ids": location_ids
        if location_ids is None or isinstance(location_ids, str)
        else tuple(location_ids),
        "scene": scene,
    }
    return {name: value for name, value in conditions.items() if value is not None}


def _checked(conditions: Mapping[str, Any]) -> dict[str, Any]:
    names = ("mets", "footprint", "time_range", "location_ids", "scene_id")
    unknown = [name for name in conditions if name not in names]
    if unknown:
        raise TypeError(f"unknown condition {unknown[0]!r}; use {', '.join(names)}")
    return _given(*(conditions.get(name) for name in names))
