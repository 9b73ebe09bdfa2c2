"""
One piece of work, in words that travel: to another process, or in a chunk file to another machine.

A task says what a simulation is to produce, never how: the settings live in the published
configuration. So that work is not done under other settings than it was meant for, a chunk
names their hash::

    {"format": 1, "settings": "<12 hex>", "count": 2}                                 first line
    {"sim_id": ..., "met": ..., "receptor": {...}, "artifacts": ["trajectory", ...]}  one line per task

Chunk files are written once and never changed.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from stilt.completion import complete_ids, expected_artifacts
from stilt.errors import ProjectError, ReceptorError, StoreUnavailableError
from stilt.manifest import ManifestTable
from stilt.receptors import Receptor
from stilt.storage import Store
from stilt.storage.layout import check_key, check_sim_id, chunk_key

FORMAT = 1


@dataclass(frozen=True)
class Task:
    """
    One simulation to run.

    Parameters
    ----------
    sim_id : str
        Simulation id.
    met : str
        Key of its meteorology.
    receptor : dict
        What ``Receptor.to_dict`` gives.
    artifacts : tuple of str
        Everything it is to have in the end; what exists already is found by key when it runs.
    """

    sim_id: str
    met: str
    receptor: Mapping[str, Any]
    artifacts: tuple[str, ...]

    def to_json(self) -> str:
        """The task as one line."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, line: str | bytes) -> Task:
        """
        Read a line that `to_json` wrote.

        Raises
        ------
        ValueError
            When it is no such line.
        """
        values = json.loads(line)
        if not isinstance(values, dict) or set(values) != {"sim_id", "met", "receptor", "artifacts"}:
            raise ValueError("not a task")
        return cls(
            check_sim_id(values["sim_id"]),
            str(values["met"]),
            dict(values["receptor"]),
            tuple(values["artifacts"]),
        )

    def build_receptor(self) -> Receptor:
        """Where and when."""
        return Receptor.from_dict(self.receptor)


@dataclass(frozen=True)
class Chunk:
    """
    Tasks that one push worker runs, and the settings they are meant for.

    Parameters
    ----------
    settings : str
        Hash of the result-changing settings.
    tasks : tuple of Task
        The work.
    """

    settings: str
    tasks: tuple[Task, ...]

    def to_bytes(self) -> bytes:
        """The chunk file."""
        header = {"format": FORMAT, "settings": self.settings, "count": len(self.tasks)}
        lines = [json.dumps(header), *(task.to_json() for task in self.tasks)]
        return ("\n".join(lines) + "\n").encode()

    @classmethod
    def from_bytes(cls, data: bytes, where: str) -> Chunk:
        """
        Read a chunk file.

        Parameters
        ----------
        data : bytes
            Its content.
        where : str
            Its address, for messages.
        """
        lines = data.splitlines()
        number = 1
        try:
            header = json.loads(lines[0])
            if header["format"] > FORMAT:
                raise ProjectError(
                    f"{where} was written by a newer version of stilt; update this installation."
                )
            tasks = []
            for number, line in enumerate(lines[1:], 2):  # noqa: B007 - kept for the message
                tasks.append(Task.from_json(line))
            if len(tasks) != header["count"]:
                raise ValueError(f"{len(tasks)} tasks instead of {header['count']}")
            return cls(str(header["settings"]), tuple(tasks))
        except ProjectError as error:
            raise ProjectError(f"{where}, line {number}: {error}") from error
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise ProjectError(
                f"{where}, line {number}: this is no chunk of work ({error}); submit the run again."
            ) from error


def tasks_for(table: ManifestTable, sim_ids: Iterable[str], *, error_trajectory: bool) -> Iterator[Task]:
    """
    Describe registered simulations as tasks, one at a time.

    Parameters
    ----------
    table : ManifestTable
        The manifest.
    sim_ids : iterable of str
        Which, in the order in which they are to run.
    error_trajectory : bool
        Whether wind- or PBL-error parameters are set.
    """
    artifacts: dict[tuple[str, ...], tuple[str, ...]] = {}
    for sim_id in sim_ids:
        row = table.row(sim_id)
        wanted = artifacts.get(row.footprints)
        if wanted is None:
            wanted = expected_artifacts(row.footprints, error_trajectory=error_trajectory)
            artifacts[row.footprints] = wanted
        yield Task(row.sim_id, row.met, row.receptor, wanted)


class TaskList(Collection[Task]):
    """
    Registered simulations as tasks, described when they are asked for: a million take little memory.

    Parameters
    ----------
    table : ManifestTable
        The manifest.
    sim_ids : sequence of str
        Which, in the order in which they are to run.
    error_trajectory : bool
        Whether wind- or PBL-error parameters are set.
    """

    def __init__(self, table: ManifestTable, sim_ids: Sequence[str], *, error_trajectory: bool) -> None:
        self.sim_ids = sim_ids
        self._table = table
        self._error_trajectory = error_trajectory

    def __len__(self) -> int:
        return len(self.sim_ids)

    def __iter__(self) -> Iterator[Task]:
        return tasks_for(self._table, self.sim_ids, error_trajectory=self._error_trajectory)

    def __contains__(self, task: object) -> bool:
        return isinstance(task, Task) and task.sim_id in self.sim_ids


def chunk_sizes(sim_ids: Sequence[str], n_chunks: int) -> list[int]:
    """
    Divide simulations into chunks of about one size whose bounds are, where possible, those of met windows.

    Parameters
    ----------
    sim_ids : sequence of str
        In running order.
    n_chunks : int
        How many chunks at most.

    Returns
    -------
    list of int
        Length of each chunk; they add up to the number of simulations and none is empty.

    Examples
    --------
    >>> chunk_sizes(["m_202301010000_a", "m_202301010000_b", "m_202301010100_a", "m_202301010100_b"], 2)
    [2, 2]
    """
    total = len(sim_ids)
    n_chunks = max(1, min(n_chunks, total))
    # a bound may move by a quarter of a chunk to where another hour or meteorology begins
    slack = total // (4 * n_chunks)
    bounds = [0]
    for number in range(1, n_chunks):
        ideal = number * total // n_chunks
        found = ideal
        for shift in range(slack + 1):
            near = [
                at
                for at in (ideal - shift, ideal + shift)
                if _window(sim_ids[at - 1]) != _window(sim_ids[at])
            ]
            if near:
                found = near[0]
                break
        bounds.append(found)
    bounds.append(total)
    return [after - before for before, after in itertools.pairwise(bounds)]


def _begins_window(sim_ids: Sequence[str], at: int) -> bool:
    return _window(sim_ids[at - 1]) != _window(sim_ids[at])


def _window(sim_id: str) -> str:
    """Met and hour of an id; simulations that share them read the same meteorology."""
    met, _, rest = sim_id.partition("_")
    return f"{met}_{rest[:10]}"


def write_chunks(
    store: Store, batch: str, tasks: Iterable[Task], settings: str, sizes: Sequence[int]
) -> None:
    """
    Write the work of a batch as chunk files.

    Parameters
    ----------
    store : Store
        The output root.
    batch : str
        Name of the batch; each is used once.
    tasks : iterable of Task
        The work.
    settings : str
        Hash of the result-changing settings.
    sizes : sequence of int
        Tasks in each chunk.
    """
    stream = iter(tasks)
    for number, size in enumerate(sizes):
        key = chunk_key(batch, number)
        if not store.create(key, Chunk(settings, tuple(itertools.islice(stream, size))).to_bytes()):
            raise ProjectError(
                f"{store.uri}/{key} exists already; chunks never change, use another batch name."
            )


def read_chunk(store: Store, name: str) -> Chunk:
    """
    Read a chunk by path or by key.

    Parameters
    ----------
    store : Store
        The output root.
    name : str
        A local file, or a key such as ``.stilt/chunks/<batch>/0.jsonl``, or its full address.
    """
    path = Path(name)
    try:
        if path.is_file():
            return Chunk.from_bytes(path.read_bytes(), name)
    except OSError as error:
        raise ProjectError(f"{name} cannot be read: {error.strerror}; check --chunk.") from error
    try:
        data = store.read(check_key(name.removeprefix(store.uri + "/")))
    except StoreUnavailableError:
        raise
    except OSError as error:
        raise ProjectError(
            f"there is no chunk {name}, neither as a file nor in {store.uri}; check --chunk."
        ) from error
    return Chunk.from_bytes(data, name)


def complete_among(store: Store, tasks: Iterable[Task]) -> set[str]:
    """
    Find those of some tasks whose outputs all exist, with as few requests as possible.

    Parameters
    ----------
    store : Store
        The output root.
    tasks : iterable of Task
        The work.
    """
    groups: dict[tuple[str, ...], list[str]] = {}
    for task in tasks:
        groups.setdefault(task.artifacts, []).append(task.sim_id)
    return {sim_id for expected, ids in groups.items() for sim_id in complete_ids(store, ids, expected)}


def describe_receptor(task: Task) -> str:
    """Say in a few words whose simulation it is, for messages."""
    try:
        return f"receptor {task.build_receptor().id}"
    except ReceptorError:
        return f"simulation {task.sim_id}"


def in_running_order(sim_ids: Sequence[str]) -> list[str]:
    """
    Order simulations so that those that share meteorology follow each other.

    Ids begin with met and time, so their alphabetical order is the order of the met windows.
    """
    return sorted(sim_ids)
