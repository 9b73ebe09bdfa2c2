"""Tasks and chunk files."""

from __future__ import annotations

import pickle

import pytest

from stilt.errors import ProjectError, StaleOutputsError
from stilt.execution.entrypoints import push_chunk
from stilt.execution.tasks import Chunk, Task, chunk_sizes, read_chunk, write_chunks
from stilt.outputs import Fingerprint, publish_config
from stilt.storage.layout import chunk_key


def test_a_task_survives_json_and_pickle(make_context, task_for):
    """A line of a chunk file gives back an equal task."""
    task = task_for(make_context())
    assert Task.from_json(task.to_json()) == task
    assert pickle.loads(pickle.dumps(task)) == task
    assert task.artifacts == ("trajectory", "footprint:default", "footprint:fine")
    assert str(task.build_receptor().id) in task.sim_id


def test_chunks_are_written_once(make_context, task_for):
    """Chunks carry the settings and are never replaced."""
    context = make_context()
    task = task_for(context)
    write_chunks(context.store, "job-1", [task] * 5, "abc", [2, 2, 1])
    key = chunk_key("job-1", 2)
    chunk = read_chunk(context.store, key)
    assert chunk == Chunk("abc", (task,))
    assert read_chunk(context.store, str(context.store.local_path(key))) == chunk
    with pytest.raises(ProjectError, match="exists already"):
        write_chunks(context.store, "job-1", [task], "abc", [1])


def test_chunks_begin_where_met_windows_do():
    """Bounds move a little to where another hour begins; sizes stay near each other and none is empty."""
    ids = [f"m_20230101{hour:02d}{5 * k:02d}_x" for hour in range(10) for k in range(11)]
    sizes = chunk_sizes(ids, 10)
    assert sizes == [11] * 10
    assert chunk_sizes(ids[:3], 10) == [1, 1, 1]
    assert chunk_sizes(["m_202301010000_x"] * 7, 2) == [3, 4]
    for n_chunks in range(1, 40):
        sizes = chunk_sizes(ids, n_chunks)
        assert sum(sizes) == len(ids)
        assert len(sizes) == n_chunks
        assert min(sizes) >= 0.5 * len(ids) // n_chunks > 0


@pytest.mark.parametrize(
    ("damage", "line"),
    [
        (lambda data: b"", 1),
        (lambda data: data.replace(b'"count": 1', b'"count": 2'), 2),
        (lambda data: data.replace(b"hrrr_", b"../hrrr_"), 2),
        (lambda data: data[:-20], 2),
    ],
)
def test_a_damaged_chunk_names_its_line(make_context, task_for, damage, line):
    """Truncated, wrong or dangerous lines are refused."""
    data = Chunk("abc", (task_for(make_context()),)).to_bytes()
    with pytest.raises(ProjectError, match=f"chunk.jsonl, line {line}"):
        Chunk.from_bytes(damage(data), "chunk.jsonl")


def test_a_chunk_runs_only_under_its_own_settings(make_context, task_for, straight_engine):
    """A worker refuses work that was submitted for other settings."""
    context = make_context()
    task = task_for(context)
    publish_config(context.store, context.config)
    write_chunks(context.store, "job-1", [task], Fingerprint.of(context.config).hash, [1])
    key = chunk_key("job-1", 0)
    handle = push_chunk(context.store, key)
    assert [result.status for result in handle.results] == ["complete"]
    assert handle.exit_code == 0
    publish_config(context.store, context.config.replace(numpar=99))
    with pytest.raises(StaleOutputsError, match="submit it again"):
        push_chunk(context.store, key)
    with pytest.raises(ProjectError, match="no chunk"):
        push_chunk(context.store, "nowhere.jsonl")
