"""A cut file has the values of the whole one, bit for bit, and is cut once."""

from __future__ import annotations

import json
import threading
import time

import numpy as np
import pytest

from stilt import locks
from stilt.config import MetConfig
from stilt.errors import MetFormatError
from stilt.meteorology import catalog, crop, synthetic
from stilt.meteorology.arl.file import ArlFile
from stilt.meteorology.arl.index import format_exact
from stilt.meteorology.catalog import open_series
from stilt.meteorology.crop import Cut, crop_arl, cropped
from stilt.meteorology.frame import Box
from stilt.meteorology.projection import HorizontalGrid
from stilt.meteorology.synthetic import World
from stilt.spatial import Bounds


def rough_world(grid, hours=1, seed=3, jump=0.0):
    """Winds with noise of all sizes, so that the sums cross many powers of two."""
    world = synthetic.uniform(hours=hours, grid=grid)
    rng = np.random.default_rng(seed)
    for frame in world.frames:
        for name, field in (*frame.surface.items(), *frame.upper.items()):
            if name in ("UWND", "VWND", "TEMP", "PRSS", "SHTF", "WWND"):
                noise = rng.normal(0.0, 1.0, field.shape) * np.geomspace(0.01, 3.0, field.shape[-1])
                noise[..., field.shape[-2] // 2 :, :] += jump
                field += noise.astype(np.float32)
    return world


def box_of_cut(whole: ArlFile, part: ArlFile, box: Box) -> Box:
    lon, lat = part.grid.to_lonlat(1.0, 1.0)
    x, y = whole.grid.to_xy(lon, lat)
    dx, dy = round(float(x)) - 1, round(float(y)) - 1
    assert (float(x), float(y)) == pytest.approx((dx + 1, dy + 1), abs=0.02)
    return Box(box.x0 - dx, box.x1 - dx, box.y0 - dy, box.y1 - dy)


def assert_same(whole: ArlFile, part: ArlFile, cut: Cut) -> int:
    """Compare every field of every time within the box; return how many there were."""
    box = cut.box(whole.grid)
    inner = box_of_cut(whole, part, box)
    surface = whole.variables[0]
    upper = tuple({name for names in part.variables[1:] for name in names})
    for period in range(len(whole.times)):
        a = whole.decode(period, box, surface, upper)
        b = part.decode(period, inner, surface, upper)
        for name in surface:
            np.testing.assert_array_equal(a.surface[name], b.surface[name], err_msg=name)
        for name in upper:
            np.testing.assert_array_equal(a.upper[name][: part.levels.n_upper], b.upper[name], err_msg=name)
    assert part.times.tolist() == whole.times.tolist()
    return len(whole.times) * (len(surface) + len(upper))


GRIDS = {
    "lambert": (HorizontalGrid.lambert(40.0, -100.0, 12.0, 61, 47), (-101.0, -98.0, 39.0, 41.0)),
    "latlon": (HorizontalGrid.latlon(-112.0, 30.0, 0.25, 0.25, 60, 44), (-105.0, -101.0, 33.0, 37.0)),
    "west edge": (HorizontalGrid.latlon(-112.0, 30.0, 0.25, 0.25, 60, 44), (-115.0, -105.0, 33.0, 37.0)),
    "globe": (HorizontalGrid.latlon(0.0, -90.0, 4.0, 4.0, 90, 46), (120.0, 170.0, -20.0, 40.0)),
    "globe, date line": (HorizontalGrid.latlon(0.0, -90.0, 4.0, 4.0, 90, 46), (170.0, -150.0, -20.0, 40.0)),
    "globe, seam": (HorizontalGrid.latlon(0.0, -90.0, 4.0, 4.0, 90, 46), (-20.0, 30.0, -20.0, 40.0)),
}


@pytest.mark.parametrize("levels", [None, 7])
@pytest.mark.parametrize("case", GRIDS)
def test_inside_the_box_every_value_is_that_of_the_whole_file(tmp_path, case, levels):
    """Whatever the grid, whichever the edge; also with DIFW records and fewer levels."""
    grid, (west, east, south, north) = GRIDS[case]
    whole = ArlFile(rough_world(grid).write(tmp_path / "whole", difw=True))
    cut = Cut(Bounds(xmin=west, xmax=east, ymin=south, ymax=north), 0.3, levels)
    part = ArlFile(crop_arl(whole, cut, tmp_path / "part"))
    part.verify()
    assert part.levels.heights == whole.levels.heights[: len(part.levels.heights)]
    assert part.levels.n_upper == (levels or whole.levels.n_upper)
    assert part.size < whole.size
    assert assert_same(whole, part, cut) > 20
    corners = cut.bounds
    if case not in ("west edge",):
        lon, lat = [corners.xmin, corners.xmax], [corners.ymin, corners.ymax]
        assert part.grid.contains(lon, lat).all()


@pytest.mark.parametrize("shift", [3, 0, -1], ids=["east", "same", "west edge"])
def test_a_cut_file_can_be_cut_again(tmp_path, shift):
    """With rows whose sums had to be corrected: the second cut has the whole file's values, too."""
    grid = HorizontalGrid.latlon(-105.0, 35.0, 0.25, 0.25, 61, 49)
    whole = ArlFile(rough_world(grid, hours=2).write(tmp_path / "whole"))
    wide = Cut(Bounds(xmin=-102.0, xmax=-93.0, ymin=37.0, ymax=45.0), buffer=0.0)
    once = ArlFile(crop_arl(whole, wide, tmp_path / "once"))
    assert any(name.startswith("XC") for name in once.variables[0])
    west = once.grid.to_lonlat(1.0, 1.0)[0] if shift < 0 else -102.0 + 0.25 * shift
    small = Cut(Bounds(xmin=float(west), xmax=-95.0, ymin=38.0, ymax=44.0), buffer=0.0, levels=12)
    twice = ArlFile(crop_arl(once, small, tmp_path / "twice"))
    assert twice.grid.nx < once.grid.nx
    inside = Cut(Bounds(xmin=-101.0, xmax=-95.0, ymin=38.0, ymax=44.0), buffer=0.0, levels=12)
    assert assert_same(whole, twice, inside) > 30


def test_steps_between_rows_that_do_not_fit_need_more_columns(tmp_path, monkeypatch):
    """A jump from one row to the next is reached over several columns west of the box."""
    grid = GRIDS["lambert"][0]
    world = rough_world(grid)
    for frame in world.frames:
        # a jump of 60 m/s at the box's western edge, none at the file's
        field = frame.upper["UWND"]
        field[:, 24:, 10:] += np.linspace(0.0, 60.0, field.shape[-1] - 10, dtype=np.float32) ** 1.0
    whole = ArlFile(world.write(tmp_path / "whole"))
    cut = Cut(Bounds(xmin=-98.5, xmax=-97.5, ymin=39.0, ymax=41.0), 0.0)
    part = ArlFile(crop_arl(whole, cut, tmp_path / "part"))
    assert_same(whole, part, cut)
    assert part.grid.nx - (cut.box(grid).x1 - cut.box(grid).x0) > 1
    monkeypatch.setattr(crop, "GUARDS", (2,))
    with pytest.raises(MetFormatError, match="steps between rows"):
        crop_arl(whole, cut, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_damage_is_noticed_and_nothing_is_left(tmp_path):
    whole = ArlFile(rough_world(GRIDS["lambert"][0]).write(tmp_path / "whole"))
    data = bytearray(whole.path.read_bytes())
    data[whole.layout.record_bytes * 5 + 100] ^= 0x20
    whole.path.write_bytes(data)
    cut = Cut(Bounds(xmin=-101.0, xmax=-98.0, ymin=39.0, ymax=41.0))
    with pytest.raises(MetFormatError, match="checksum"):
        crop_arl(ArlFile(whole.path), cut, tmp_path / "part")
    with pytest.raises(MetFormatError, match="does not touch the grid, which covers"):
        crop_arl(whole, Cut(Bounds(xmin=10.0, xmax=12.0, ymin=39.0, ymax=41.0)), tmp_path / "part")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["whole"]


@pytest.mark.parametrize(
    "value", [0.0, 1327.9642, -281.23457, 3.0517578e-05, -1.2345678e-20, 16777217.0, 0.1, 9.9999999e9, 1e30]
)
def test_a_label_holds_any_number_exactly(value):
    """Fourteen characters are enough for a float32."""
    number = np.float32(value)
    text = format_exact(number)
    assert len(text) == 14
    assert np.float32(float(text)) == number


def test_random_numbers_fit_a_label():
    bits = np.random.default_rng(0).integers(0, 2**32, 20000, dtype=np.uint32).view(np.float32)
    for number in bits[np.isfinite(bits) & (np.abs(bits) > 1e-9) & (np.abs(bits) < 1e10)]:
        assert np.float32(float(format_exact(number))) == number


@pytest.fixture
def archive(tmp_path):
    catalog.forget_listings()
    world = rough_world(GRIDS["lambert"][0], hours=3)
    folder = tmp_path / "met"
    for number, part in enumerate((world.frames[:2], world.frames[2:])):
        World(world.grid, world.levels, part, world.model_id).write(folder / f"202006010{2 * number}")
    return folder


def test_runs_read_the_cut_files(archive, tmp_path):
    """``subgrid_*`` as configured: smaller files under a name of their own, made once."""
    bounds = {"xmin": -101.0, "xmax": -98.0, "ymin": 39.0, "ymax": 41.0}
    settings = {"directory": archive, "file_format": "%Y%m%d%H", "subgrid_dir": tmp_path / "cut"}
    met = MetConfig(**settings, subgrid_enable=True, subgrid_bounds=bounds, subgrid_levels=12)
    span = {"start": np.datetime64("2020-06-01T00:30"), "end": np.datetime64("2020-06-01T02:30")}
    series = open_series(met, name="m", **span)
    whole = open_series(MetConfig(directory=archive), name="m", **span)
    assert series.times.tolist() == whole.times.tolist()
    assert series.levels.n_upper == 12
    assert series.grid.nx < whole.grid.nx
    assert [file.name for file in series.files] == [file.name for file in whole.files]
    made = sorted((tmp_path / "cut").rglob("2020*"))
    stamps = [path.stat().st_mtime_ns for path in made]
    assert len(made) == 2
    open_series(met, name="m", **span)
    assert [path.stat().st_mtime_ns for path in made] == stamps
    # another box, or a file that has changed, is another cut
    open_series(met.replace(subgrid_buffer=0.5), name="m", **span)
    assert len(sorted((tmp_path / "cut").rglob("2020*"))) == 4


def test_of_many_workers_one_cuts(archive, tmp_path, monkeypatch):
    """Eight threads ask at once: one file is made, all get it; the lock of a dead worker is void."""
    source = ArlFile(archive / "2020060100")
    cut = Cut(Bounds(xmin=-101.0, xmax=-98.0, ymin=39.0, ymax=41.0))
    calls = []
    plain = crop.crop_arl

    def slow(*args, **kwargs):
        calls.append(args)
        time.sleep(0.3)
        return plain(*args, **kwargs)

    monkeypatch.setattr(crop, "crop_arl", slow)
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(cropped(source, cut, tmp_path / "cut")))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(found) == 8
    assert len({file.path for file in found}) == 1
    assert len(calls) == 1
    (made,) = (tmp_path / "cut").rglob("2020*")
    made.unlink()
    dead = {"host": locks.host_identity(), "pid": 2**22 + 1, "start": "", "token": "x"}
    (made.parent / ".lock.2020060100").write_text(json.dumps(dead))
    assert cropped(source, cut, tmp_path / "cut").path == made
