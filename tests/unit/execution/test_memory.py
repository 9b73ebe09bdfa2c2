"""How many workers fit."""

from __future__ import annotations

import pytest

from stilt.config import ModelConfig
from stilt.execution import memory


@pytest.fixture
def plain():
    return ModelConfig(mets={"h": {"directory": "/nowhere", "file_format": "%Y"}})


def test_workers_are_limited_by_cores_work_and_memory(plain, monkeypatch):
    """Whichever is least, and it is said when it is not what was asked for."""
    monkeypatch.setattr(memory, "cores", lambda: 8)
    monkeypatch.setattr(memory, "available_memory", lambda: 10**12)
    assert memory.workers_that_fit("auto", 100, plain) == (8, "auto, 8 cores")
    assert memory.workers_that_fit("auto", 3, plain)[0] == 3
    assert memory.workers_that_fit(20, 100, plain) == (20, "")
    each = memory.worker_memory(plain)
    monkeypatch.setattr(memory, "available_memory", lambda: int(3.5 * each))
    n_workers, why = memory.workers_that_fit(20, 100, plain)
    assert n_workers == 3
    assert "memory for 3 of 20 workers" in why
    monkeypatch.setattr(memory, "available_memory", lambda: 0)
    assert memory.workers_that_fit("auto", 100, plain)[0] == 1
    # one worker is asked for and one is used, whatever it takes
    assert memory.workers_that_fit(1, 100, plain) == (1, "")


def test_memory_grows_with_particles_window_and_ensembles(plain, tmp_path):
    """More of each takes more; the decoded window is bounded by the domain and the pool."""
    base = memory.worker_memory(plain)
    assert base >= memory.LIBRARIES
    rows = 1000 * 24 * 60 - 200 * 24 * 60
    assert memory.worker_memory(plain.replace(numpar=1000)) - base == rows * memory.ROW
    from stilt.meteorology.valley import write_demo_met

    write_demo_met(tmp_path, "2024-07-10T18:00:00", 5)
    here = ModelConfig(mets={"h": {"directory": str(tmp_path), "file_format": "%Y%m%d_%H"}})
    window = memory.worker_memory(here) - base
    assert 1e6 < window < 500e6


def test_the_window_of_downloaded_files_counts(tmp_path):
    """As that of files in a folder; before any is here, as much as a worker ever keeps."""
    from stilt.meteorology.valley import write_demo_met
    from stilt.transport.native.tiles import POOL_LIMIT

    files = tmp_path / "hrrr" / "2024"
    files.mkdir(parents=True)
    here = ModelConfig(mets={"h": {"directory": str(files), "file_format": "%Y%m%d_%H"}})
    later = ModelConfig(mets={"h": {"source": "hrrr", "download_dir": str(tmp_path)}})
    without = memory.worker_memory(here)
    assert memory.worker_memory(later) - without == POOL_LIMIT
    for path in write_demo_met(files, "2024-07-10T18:00:00", 5):
        path.with_name(f"{path.name}.json").write_text("{}")
    assert memory.worker_memory(later) == memory.worker_memory(here) > without


@pytest.mark.parametrize(
    ("own", "folder", "limit", "used", "cache"),
    [
        ("0::/system/job_7/step\n", "system/job_7", "memory.max", "memory.current", "inactive_file"),
        (
            "5:cpu:/x\n4:memory:/slurm/job_7\n", "memory/slurm/job_7", "memory.limit_in_bytes",
            "memory.usage_in_bytes", "total_inactive_file",
        ),
    ],
)  # fmt: skip
def test_the_limit_of_a_job_counts(tmp_path, monkeypatch, own, folder, limit, used, cache):
    """Also where it is set on a group around ours; files that can be dropped are free."""
    (tmp_path / "own").write_text(own)
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    monkeypatch.setattr(memory, "_OWN_CGROUPS", tmp_path / "own")
    before = memory.available_memory()
    group = tmp_path / folder
    group.mkdir(parents=True)
    (group / limit).write_text("3000000\n")
    (group / used).write_text("2500000\n")
    assert memory.available_memory() == 500000 < before
    (group / "memory.stat").write_text(f"anon 1\n{cache} 1500000\n")
    assert memory.available_memory() == 2000000


def test_what_slurm_gave_a_job_counts_without_cgroups(monkeypatch):
    """Its environment says it: memory of the node or of each core, 0 for all there is."""
    monkeypatch.setattr(memory, "_CGROUP", memory.Path("/nonexistent"))
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "1")
    assert memory.cores() == 1
    before = memory.available_memory()
    monkeypatch.setenv("SLURM_MEM_PER_CPU", "300")
    assert memory.available_memory() < 300 * 2**20 < before
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "0")
    assert memory.available_memory() > 300 * 2**20


def test_the_limit_of_a_container_counts(tmp_path, monkeypatch):
    """What the cgroup leaves, where that is less than what is free."""
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    monkeypatch.setattr(memory, "_OWN_CGROUPS", tmp_path / "none")
    free = memory.available_memory()
    assert free > 0
    (tmp_path / "memory.max").write_text("3000000\n")
    (tmp_path / "memory.current").write_text("1000000\n")
    assert memory.available_memory() == 2000000
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.available_memory() > 2000000
    assert memory.cores() >= 1
