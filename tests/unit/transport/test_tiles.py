"""Prepared columns: whatever the cache holds, the particles are the same."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from stilt.config import TransportParams
from stilt.meteorology import synthetic
from stilt.meteorology.projection import HorizontalGrid
from stilt.receptors import PointReceptor
from stilt.transport.native.engine import NativeEngine
from stilt.transport.native.tiles import ColumnPool, TileCache
from stilt.transport.protocol import TransportRequest


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """Write a world of 150 x 140 columns, nine tiles, with a wind that crosses them."""
    grid = HorizontalGrid.lambert(40.0, -100.0, 3.0, 150, 140, center_lat=40.0, center_lon=-100.0)
    world = synthetic.uniform(
        u=14.0, v=9.0, grid=grid, hours=4, levels=synthetic.sigma_levels((1.0, 0.99, 0.9, 0.7, 0.4))
    )
    return world.write(tmp_path_factory.mktemp("wide") / "wide.arl"), world.center


def tables(path, centre, folder, **limits):
    pool = ColumnPool(TileCache(folder), **limits)
    params = TransportParams(n_hours=-3, numpar=40)
    receptor = PointReceptor("2020-06-01 03:00", *centre, 300.0)
    return NativeEngine(pool).run(TransportRequest(receptor, "wide", (path,), params)).particles


def test_a_warm_cache_gives_the_same_particles(wide, tmp_path):
    cold = tables(*wide, tmp_path / "cache")
    assert list((tmp_path / "cache").glob("*/*.npy"))
    pd.testing.assert_frame_equal(cold, tables(*wide, tmp_path / "cache"))


def test_little_memory_gives_the_same_particles(wide, tmp_path):
    plenty = tables(*wide, tmp_path / "a")
    pd.testing.assert_frame_equal(plenty, tables(*wide, tmp_path / "b", limit=1))


def test_only_tiles_near_particles_are_prepared(wide, tmp_path):
    tables(*wide, tmp_path / "cache")
    times = 4
    assert len(list((tmp_path / "cache").glob("*/*.npy"))) < 9 * times


def test_a_damaged_tile_is_prepared_again(wide, tmp_path):
    whole = tables(*wide, tmp_path / "cache")
    for path in (tmp_path / "cache").glob("*/*.npy"):
        path.write_bytes(path.read_bytes()[:1000])
    pd.testing.assert_frame_equal(whole, tables(*wide, tmp_path / "cache"))


def test_a_cache_that_cannot_be_written_warns_and_goes_on(wide, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with pytest.warns(RuntimeWarning, match="PYSTILT_CACHE_DIR"):
        table = tables(*wide, blocked / "columns")
    pd.testing.assert_frame_equal(table, tables(*wide, tmp_path / "cache"))


def test_the_cache_stays_below_its_limit_oldest_first(tmp_path):
    cache = TileCache(tmp_path, limit=3000)
    for n in range(6):
        cache.write(f"{n:032d}", 0, 0, np.zeros((10, 16), dtype=np.float32))
    cache.prune()
    assert cache.size() <= 3000
    assert cache.read(f"{5:032d}", 0, 0, (10, 16)) is not None
    assert cache.read(f"{0:032d}", 0, 0, (10, 16)) is None
