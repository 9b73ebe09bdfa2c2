"""What a run will cost: how many simulations run at once on each backend."""

from __future__ import annotations

import pytest

from stilt.config import ModelConfig
from stilt.execution import estimate


@pytest.mark.parametrize(
    ("execution", "n_workers"),
    [
        ({}, 1),
        ({"n_workers": 3}, 3),
        ({"n_workers": "auto"}, 8),
        ({"backend": "slurm", "n_workers": 10, "cpus_per_task": 4}, 40),
        ({"backend": "slurm", "n_workers": 10, "cpus_per_task": 4, "array_parallelism": 5}, 20),
        ({"backend": "dask", "n_workers": 6}, 6),
        ({"backend": "kubernetes", "n_workers": 10}, 10),
        ({"backend": "kubernetes", "n_workers": 10, "parallelism": 2, "cpu": "2500m"}, 4),
        ({"backend": "kubernetes", "n_workers": 10, "mode": "pull"}, 10),
    ],
)
def test_simulations_at_once(execution, n_workers, monkeypatch):
    """Tasks or pods at once, times the cores of each."""
    monkeypatch.setattr(estimate, "cores", lambda: 8)
    config = ModelConfig(mets={"h": {"source": "hrrr"}}, execution=execution)
    assert estimate.workers_at_once(config) == n_workers
