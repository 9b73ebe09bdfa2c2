"""Prepared columns: whatever the cache holds, the particles are the same."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from stilt.config import TransportParams
from stilt.errors import MetVariableError
from stilt.meteorology import synthetic
from stilt.meteorology.catalog import open_series
from stilt.meteorology.projection import HorizontalGrid
from stilt.receptors import PointReceptor
from stilt.transport.native import tiles
from stilt.transport.native.engine import NativeEngine
from stilt.transport.native.recipe import column_source
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


def test_tiles_decoded_together_or_apart_are_the_same(wide, tmp_path, monkeypatch):
    """Reading is shared by neighbours within a bound on memory, which changes nothing."""
    path, _ = wide
    series = open_series([path], name="wide")
    source = column_source(series, TransportParams(n_hours=-1, numpar=1))
    shape = tiles.grid_shape(source)
    wanted = [(y, x) for y in range(-(-shape.ny // 64)) for x in range(-(-shape.nx // 64))]
    assert len({y for y, _ in wanted}) > 1
    found = []
    for name, limit in (("a", tiles.DECODE_LIMIT), ("b", 1)):
        monkeypatch.setattr(tiles, "DECODE_LIMIT", limit)
        columns = tiles.TimeColumns(source, 0, 1.0, TileCache(tmp_path / name))
        groups = columns._groups(wanted)
        assert sorted(tile for group in groups for tile in group) == wanted
        assert columns.load(wanted) == len(wanted)
        assert columns.load(wanted) == 0
        found.append({tile.name: tile.read_bytes() for tile in (tmp_path / name).glob("*/*.npy")})
    assert len(groups) == len({y for y, _ in wanted})
    assert found[0] == found[1]
    again = tiles.TimeColumns(source, 0, 1.0, TileCache(tmp_path / "a"))
    assert again.load(wanted[::-1]) == 0
    size = shape.tile_ny * shape.tile_nx * shape.row_length
    for tile in wanted:
        old, new = (times.columns.slots[tile] * size for times in (columns, again))
        np.testing.assert_array_equal(
            columns.columns.values[old : old + size], again.columns.values[new : new + size]
        )


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


def flagged(path, folder, name):
    """Copy a file with a variable marked missing at its second time: a forecast hour of -1 in its labels."""
    raw = bytearray(path.read_bytes())
    grid = open_series([path], name="wide").grid
    size = 50 + grid.nx * grid.ny
    labels = {offset: bytes(raw[offset : offset + 50]) for offset in range(0, len(raw), size)}
    hours = sorted({label[6:8] for label in labels.values()})
    for offset, label in labels.items():
        if label[14:18] == name.encode() and label[6:8] == hours[1]:
            raw[offset + 8 : offset + 10] = b"-1"
    copy = folder / f"{name}.arl"
    copy.write_bytes(raw)
    return copy


@pytest.mark.parametrize(
    ("name", "said"),
    [("UWND", r"UWND \(level 1, 2, 3, 4, 5, \.\.\.\)"), ("SHGT", "SHGT"), ("USTR", "USTR"), ("SHTF", "SHTF")],
)
def test_a_field_marked_missing_ends_a_run_that_needs_it(tmp_path, name, said):
    """Particles do not go on with what is no number; the program takes it for zero."""
    world = synthetic.uniform(u=8.0, v=2.0, hours=4)
    path = flagged(world.write(tmp_path / "whole.arl"), tmp_path, name)
    with pytest.raises(MetVariableError, match=f"no value of {said} at .* at 2020-06-01T01:00:00 UTC"):
        tables(path, world.center, tmp_path / "cache")


@pytest.mark.parametrize("name", ["U10M", "T02M", "WWND", "SPHU"])
def test_a_field_marked_missing_that_has_a_substitute_is_none(tmp_path, name):
    """As where the file never had it."""
    world = synthetic.uniform(u=8.0, v=2.0, hours=4)
    path = flagged(world.write(tmp_path / "whole.arl"), tmp_path, name)
    table = tables(path, world.center, tmp_path / "cache")
    assert np.isfinite(table[["long", "lati", "zagl", "foot", "mlht"]].to_numpy()).all()
    assert len(table) == 40 * 180
