"""Small worlds written to ARL files, and a short way to run the native engine over them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from stilt.config import TransportParams
from stilt.meteorology import synthetic
from stilt.receptors import PointReceptor, Receptor
from stilt.transport.native.engine import NativeEngine
from stilt.transport.native.tiles import ColumnPool, TileCache
from stilt.transport.protocol import TransportRequest, TransportResult

Run = Callable[..., TransportResult]


@pytest.fixture(scope="session")
def breeze(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a world with a steady 5 m/s wind and a convective boundary layer."""
    world = synthetic.uniform(u=5.0, v=2.0, hours=6, flux=150.0, ustar=0.35, pbl_height=1000.0)
    return world.write(tmp_path_factory.mktemp("breeze") / "breeze.arl")


@pytest.fixture(scope="session")
def centre() -> tuple[float, float]:
    return synthetic.uniform(hours=1).center


@pytest.fixture
def pool(tmp_path: Path) -> ColumnPool:
    return ColumnPool(TileCache(tmp_path / "columns"))


@pytest.fixture
def run(pool: ColumnPool) -> Run:
    """Run the native engine: ``run(path, receptor, n_hours=..., ...)``."""

    def run_native(
        path: Path, receptor: Receptor, *, error: bool = False, **settings: object
    ) -> TransportResult:
        controls = {name: settings.pop(name) for name in ("deadline", "should_stop") if name in settings}
        params = TransportParams(**{"n_hours": -2, "numpar": 20, **settings})
        request = TransportRequest(receptor, "test", (path,), params, error=error)
        return NativeEngine(pool).run(request, **controls)

    return run_native


@pytest.fixture
def receptor(centre: tuple[float, float]) -> PointReceptor:
    return PointReceptor("2020-06-01 04:00", *centre, 20.0)
