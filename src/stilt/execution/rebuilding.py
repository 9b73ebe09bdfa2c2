"""Bringing the queue in line with the outputs: what is complete is done, what is not is pending."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from stilt.completion import Survey, expected_artifacts, survey
from stilt.execution.tasks import in_running_order
from stilt.manifest import Manifest, ManifestTable
from stilt.outputs import load_published_config
from stilt.service import Queue, QueueCounts
from stilt.storage import Store


@dataclass(frozen=True)
class RebuildReport:
    """
    What a rebuild found and did.

    Parameters
    ----------
    queued, recorded : int
        Rows that became pending, and rows that became done.
    unknown : list of str
        Rows whose simulation is not in the manifest.
    pruned : int
        How many of those were removed.
    counts : QueueCounts
        The queue afterwards.
    """

    queued: int
    recorded: int
    unknown: list[str] = field(repr=False)
    pruned: int
    counts: QueueCounts


def enqueue_registered(
    store: Store,
    queue: Queue,
    settings: str,
    table: ManifestTable,
    sim_ids: Iterable[str],
    *,
    is_error: bool,
    priority: int | None = None,
) -> tuple[int, int]:
    """
    Ask the queue for registered simulations that lack an output, and note the complete ones.

    Parameters
    ----------
    store : Store
        The output root.
    queue : Queue
        Its queue.
    settings : str
        Hash of the settings they are to be made with.
    table : ManifestTable
        The manifest.
    sim_ids : iterable of str
        Which.
    is_error : bool
        Whether wind- or PBL-error parameters are set.
    priority : int, optional
        Higher first.

    Returns
    -------
    queued, recorded : int
        Rows that changed.
    """
    found = _look(store, table, sim_ids, is_error=is_error)
    scene_of = {sim_id: scene for scene, ids in table.by_scene().items() for sim_id in ids}

    def labelled(ids: Iterable[str]) -> dict[str, str | None]:
        return {sim_id: scene_of[sim_id] for sim_id in in_running_order(list(ids))}

    queued = queue.enqueue(labelled(found.failed | found.pending), settings=settings, priority=priority)
    return queued, queue.record_done(labelled(found.complete), settings=settings)


def heed_queue(found: Survey, queue: Queue | None) -> Survey:
    """
    Count failed simulations that the queue has been asked for again as pending.

    Parameters
    ----------
    found : Survey
        What the outputs say.
    queue : Queue, optional
        The project's queue.
    """
    if queue is None or not found.failed:
        return found
    return found.asked_again(queue.waiting(found.failed))


def rebuild_queue(store: Store, queue: Queue, *, prune: bool = False) -> RebuildReport:
    """
    Rescan the outputs of a project by key into its queue.

    Failed rows are asked for anew, and pending ones under the settings that are published now. What a
    worker holds is left to it.

    Parameters
    ----------
    store : Store
        The output root.
    queue : Queue
        Its queue.
    prune : bool
        Remove rows whose simulation is not in the manifest any more.

    Returns
    -------
    RebuildReport
        What changed.
    """
    queue.open()
    config, settings = load_published_config(store)
    table = Manifest(store).load()
    queued, recorded = enqueue_registered(
        store, queue, settings, table, table.select(mets=config.run_mets), is_error=config.is_error
    )
    unknown = sorted(queue.sim_ids().difference(table.sim_ids))
    pruned = queue.remove(unknown) if prune and unknown else 0
    return RebuildReport(queued, recorded, unknown, pruned, queue.counts(settings=settings))


def _look(store: Store, table: ManifestTable, sim_ids: Iterable[str], *, is_error: bool) -> Survey:
    groups = table.by_footprints(sim_ids)
    return survey(
        store, {expected_artifacts(names, error_trajectory=is_error): ids for names, ids in groups.items()}
    )
