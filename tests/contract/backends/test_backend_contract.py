"""What every backend promises, tried on each of them with real simulations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import stilt
from stilt.execution.handle import Job
from stilt.execution.protocol import Backend
from stilt.execution.registry import get_backend
from stilt.execution.tasks import TaskList
from stilt.execution.worker import WorkContext
from stilt.outputs import publish_config, record_settings

BACKENDS = [
    pytest.param({"backend": "local"}, id="local"),
    pytest.param({"backend": "local", "n_workers": 2}, id="local-2"),
    pytest.param(
        {"backend": "slurm", "n_workers": 2}, id="slurm", marks=[pytest.mark.slow, pytest.mark.slurm]
    ),
    pytest.param({"backend": "dask", "n_workers": 2}, id="dask", marks=[pytest.mark.slow, pytest.mark.dask]),
    pytest.param(
        {
            "backend": "kubernetes",
            "n_workers": 2,
            "image": "stilt:test",
            "volumes": [{"claim": "all", "path": "/"}],
        },
        id="kubernetes",
        marks=[pytest.mark.slow, pytest.mark.kubernetes],
    ),
    pytest.param(
        {
            "backend": "kubernetes",
            "mode": "pull",
            "image": "stilt:test",
            "env_from_secret": "stilt-queue",
            "volumes": [{"claim": "all", "path": "/"}],
        },
        id="kubernetes-pull",
        marks=[pytest.mark.slow, pytest.mark.kubernetes, pytest.mark.postgres],
    ),
]
NEEDS = {
    "kubernetes": "kubernetes_api",
    "kubernetes-pull": "kubernetes_queue",
    "slurm": "slurm",
    "dask": "dask_installed",
}
"""Fixtures that bring the clusters up."""


@pytest.fixture(params=BACKENDS)
def execution(request: pytest.FixtureRequest) -> Mapping[str, Any]:
    """The ``execution`` section of one backend."""
    name = "-".join(request.param[key] for key in ("backend", "mode") if key in request.param)
    if name in NEEDS:
        request.getfixturevalue(NEEDS[name])
    return dict(request.param)


@pytest.fixture
def inline(make_project: Callable[..., Path]) -> stilt.Model:
    """What the backends are compared with: the same simulations, one after another in this process."""
    model = stilt.Model(make_project(4, name="inline", outside=1))
    model.run(progress=False)
    return model


class TestBackendContract:
    def test_the_same_outputs_table_and_exit_code(self, execution, make_project, inline, outputs_of, capsys):
        """Bytes of tables, values of footprints, counts, reasons and exit code are those of one process."""
        from stilt.cli import show

        model = stilt.Model(make_project(4, outside=1))
        handle = model.run(executor=execution, progress=False)
        assert isinstance(handle, Job)
        tables, arrays = outputs_of(model.project)
        same_tables, same_arrays = outputs_of(inline.project)
        assert tables == same_tables
        assert len(tables) == 4
        assert sorted(arrays) == sorted(same_arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(array, same_arrays[name])
        assert model.status().to_dict() == {
            "total": 5,
            "completed": 4,
            "running": 0,
            "pending": 0,
            "failed": 1,
        }
        assert sorted(result.status for result in handle.results) == ["complete"] * 4 + ["failed"]
        assert handle.reasons == {"RECEPTOR_OFF_GRID": 1}
        assert handle.exit_code == 1
        capsys.readouterr()
        show.run_summary(model, handle, "X")
        said = capsys.readouterr().out
        assert "4 run, 1 failed" in said
        assert "RECEPTOR_OFF_GRID 1, such as valley_202407102100_10_50_10: " in said

    def test_what_is_complete_is_left_alone(self, execution, make_project):
        """A second run makes only what is missing."""
        model = stilt.Model(make_project(2))
        assert model.run(executor=execution, progress=False).exit_code == 0
        sim_id = model.simulations.ids()[0]
        path = model.simulations[sim_id].footprint_path("default")
        before = model.simulations[sim_id].trajectories_path.stat().st_mtime_ns
        path.unlink()
        handle = model.run(executor=execution, progress=False)
        assert (handle.skipped, len(handle.results), handle.exit_code) == (1, 1, 0)
        assert path.exists()
        assert model.simulations[sim_id].trajectories_path.stat().st_mtime_ns == before

    def test_the_handle(self, execution, make_project):
        """Waiting twice gives the same; cancelling what is over does nothing."""
        model = stilt.Model(make_project(1))
        handle = model.run(executor=execution, progress=False)
        assert handle.job_id
        assert [result.sim_id for result in handle.wait()] == model.simulations.ids()
        assert handle.wait() == handle.results
        handle.cancel()
        assert model.status().completed == 1

    def test_a_preview_changes_nothing(self, execution, make_project):
        """It can be read, and nothing is written or started."""
        model = stilt.Model(make_project(3))
        sim_ids = model.register()
        record_settings(model.store, model.config)
        publish_config(model.store, model.config)
        before = sorted(model.store.list())
        context = WorkContext(model.store, model.config, queue=model.queue)
        backend = get_backend(model.config.replace(execution=dict(execution)).execution, context)
        assert isinstance(backend, Backend)
        backend.check()
        tasks = TaskList(model.manifest.load(), sim_ids, error_trajectory=False)
        assert "3 simulations" in backend.preview(tasks)
        assert sorted(model.store.list()) == before
        assert model.status().pending == 3
