"""A tiny engine: particles on straight lines, so that everything around the physics can be tested."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stilt.completion import expected_footprints
from stilt.config import ModelConfig, TransportParams
from stilt.errors import Interrupted, TransportTimeoutError
from stilt.execution.tasks import Task, tasks_for
from stilt.execution.worker import WorkContext
from stilt.manifest import Manifest
from stilt.outputs import record_settings
from stilt.receptors import PointReceptor
from stilt.storage import open_store
from stilt.transport import registry
from stilt.transport.protocol import TransportRequest, TransportResult

GRID = {"xmin": -113.0, "xmax": -111.0, "ymin": 40.0, "ymax": 41.5, "xres": 0.1, "yres": 0.1}


class StraightLines:
    """Particles drift west at one degree a day; what happens first can be replaced by a test."""

    name = "native"

    def __init__(self) -> None:
        self.requests: list[TransportRequest] = []
        self.before: Callable[[TransportRequest], None] = lambda request: None
        self.foot = 1e-3

    def check(self, params: TransportParams) -> None:
        return

    def warm_up(self, params: TransportParams | None = None) -> None:
        return

    def run(
        self,
        request: TransportRequest,
        *,
        deadline: float | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> TransportResult:
        self.requests.append(request)
        self.before(request)
        if should_stop is not None and should_stop():
            raise Interrupted("stopped.")
        if deadline is not None and time.monotonic() > deadline:
            raise TransportTimeoutError("too slow.")
        params, receptor = request.params, request.receptor
        n, steps = params.numpar, 60 * abs(params.n_hours)
        minutes = np.repeat(params.time_sign * np.arange(1.0, steps + 1.0), n)
        indx = np.tile(np.arange(1, n + 1), steps)
        columns: dict[str, Any] = dict.fromkeys(params.varsiwant, np.full(minutes.size, 1.0))
        columns |= {
            "time": minutes,
            "indx": indx,
            "long": receptor.longitudes[0] + minutes / 1440.0 + 0.001 * indx / n + 0.1 * request.error,
            "lati": receptor.latitudes[0] + 0.001 * indx / n,
            "foot": np.full(minutes.size, self.foot),
            "mlht": np.full(minutes.size, 1000.0),
        }
        met_file = {"name": "made-up", "size": 1, "first": "", "last": ""}
        return TransportResult(pd.DataFrame(columns), "straight lines", [met_file], {"end of run": n}, 7)


@pytest.fixture
def straight_engine(monkeypatch: pytest.MonkeyPatch) -> StraightLines:
    """The made-up engine under the name ``native``."""
    engine = StraightLines()
    monkeypatch.setitem(registry._FACTORIES, "native", lambda: engine)
    return engine


@pytest.fixture
def make_context(tmp_path: Path, straight_engine: StraightLines) -> Callable[..., WorkContext]:
    """Build a project around the made-up engine."""
    (tmp_path / "met").mkdir()
    (tmp_path / "met" / "2023").touch()

    def make(**fields: Any) -> WorkContext:
        options = {key: fields.pop(key) for key in ("skip_existing", "compute_root") if key in fields}
        settings = {
            "mets": {"hrrr": {"directory": str(tmp_path / "met"), "file_format": "%Y"}},
            "footprints": {"default": GRID, "fine": {**GRID, "xres": 0.05}},
            "n_hours": -3,
            "numpar": 10,
            **fields,
        }
        context = WorkContext(open_store(tmp_path / "out"), ModelConfig(**settings), **options)
        record_settings(context.store, context.config)
        return context

    return make


@pytest.fixture
def task_for(make_context: Callable[..., WorkContext]) -> Callable[[WorkContext], Task]:
    """Register a receptor and give its task."""

    def make(context: WorkContext) -> Task:
        receptor = PointReceptor("2023-01-01 12:00", -111.85, 40.77, 5.0)
        manifest = Manifest(context.store)
        found = manifest.register_receptors(
            [receptor], ["hrrr"], footprints=expected_footprints(context.config)
        )
        return next(tasks_for(manifest.load(), found.sim_ids, error_trajectory=context.params.is_error))

    return make
