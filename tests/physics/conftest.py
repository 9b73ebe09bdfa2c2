"""Run the native engine over worlds whose answers are known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from stilt.config import TransportParams
from stilt.meteorology.synthetic import World
from stilt.receptors import PointReceptor
from stilt.transport.native.engine import NativeEngine
from stilt.transport.native.tiles import ColumnPool, TileCache
from stilt.transport.protocol import TransportRequest


@pytest.fixture
def travel(tmp_path: Path) -> Callable[..., pd.DataFrame]:
    """Run particles through a world: ``travel(world, when, lon, lat, height, n_hours=...)``."""
    pool = ColumnPool(TileCache(tmp_path / "columns"))

    def run(
        world: World, when: str, lon: float, lat: float, height: float, **settings: object
    ) -> pd.DataFrame:
        path = tmp_path / f"{world.model_id.strip()}.arl"
        if not path.exists():
            world.write(path)
        params = TransportParams(**settings)
        receptor = PointReceptor(when, lon, lat, height)
        return NativeEngine(pool).run(TransportRequest(receptor, "world", (path,), params)).particles

    return run
