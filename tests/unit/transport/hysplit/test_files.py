"""What is written for the program: CONTROL, SETUP.CFG, error files, links. No program is needed."""

from __future__ import annotations

import dataclasses
import os
import time
from types import SimpleNamespace

import numpy as np
import pytest

from stilt.config import PhysicsParams, TransportParams
from stilt.errors import MetCoverageError, ReceptorError, UnsupportedSettingError
from stilt.meteorology.catalog import open_series
from stilt.meteorology.projection import HorizontalGrid
from stilt.receptors import ColumnReceptor, MultiPointReceptor, PointReceptor
from stilt.transport.hysplit import staging
from stilt.transport.hysplit.control import control_text
from stilt.transport.hysplit.error_files import error_files
from stilt.transport.hysplit.namelist import setup_text
from stilt.transport.hysplit.release import block_size, plan_release
from stilt.transport.hysplit.settings import check_settings, randomness
from stilt.transport.hysplit.staging import MAX_FILES, TABLES, join, stage

GRID = HorizontalGrid.lambert(40.0, -100.0, 3.0, 400, 400, center_lat=40.0, center_lon=-100.0)
SPOT = PointReceptor("2020-06-01 04:07", -100.0, 40.0, 50.0)


def setup_of(params, receptor=SPOT, *, error=False):
    chance = randomness(params, receptor, error=error)
    text = setup_text(
        params,
        plan_release(receptor, params, GRID),
        kmsl=params.kmsl_for(receptor.altitude_ref),
        krand=chance.krand,
        seed=chance.written,
        error=error,
    )
    assert text.startswith("&SETUP\n")
    assert text.endswith("/\n")
    lines = (line.strip().removesuffix(",") for line in text.splitlines()[1:-1])
    return dict(line.split(" = ", 1) for line in lines)


def test_every_key_of_the_namelist_is_written():
    """Each transport key stands in SETUP.CFG, but those of CONTROL and ZICONTROL."""
    found = setup_of(TransportParams())
    elsewhere = {"emisshrs", "w_option", "z_top", "ziscale"}
    assert set(PhysicsParams.model_fields) - elsewhere <= set(found)
    assert found["varsiwant"].split(",")[:3] == ["'time'", "'indx'", "'long'"]
    assert found["ivmax"] == "12"
    assert found["efile"] == "''"
    assert found["wvert"] == ".FALSE."
    assert found["hscale"] == "10800"
    assert found["tlfrac"] == "0.1"
    assert (found["numpar"], found["maxpar"]) == ("200", "200")


def test_a_seed_stands_as_it_is_and_none_is_one_per_receptor():
    seeded = setup_of(TransportParams(seed=3))
    assert (seeded["krand"], seeded["seed"]) == ("2", "-4")
    own = setup_of(TransportParams())
    assert own == setup_of(TransportParams())
    assert own["krand"] == "2"
    other = PointReceptor("2020-06-01 04:07", -100.0, 40.0, 51.0)
    assert setup_of(TransportParams(), other)["seed"] != own["seed"]
    assert setup_of(TransportParams(), error=True)["seed"] != own["seed"]
    assert setup_of(TransportParams(krand=1))["krand"] == "1"


def test_error_files_hold_one_number_a_line():
    params = TransportParams(
        siguverr=1.5, tluverr=60, zcoruverr=500, horcoruverr=40, sigzierr=20, tlzierr=30, horcorzierr=100
    )
    assert error_files(params, error=False) == {}
    assert setup_of(params)["winderrtf"] == "0"
    files = error_files(params, error=True)
    assert files == {"WINDERR": "1.5\n60.0\n500.0\n40.0\n", "ZIERR": "20.0\n30.0\n100.0\n"}
    assert setup_of(params, error=True)["winderrtf"] == "3"
    scaled = TransportParams(n_hours=-3, ziscale=0.8)
    assert error_files(scaled, error=False) == {"ZICONTROL": "3\n0.8\n0.8\n0.8\n"}
    assert setup_of(scaled)["zicontroltf"] == "1"
    assert setup_of(TransportParams(zicontroltf=1))["zicontroltf"] == "0"


def test_control_says_where_when_and_what():
    params = TransportParams(n_hours=-6, z_top=12000.0, w_option=4, emisshrs=0.02)
    release = plan_release(SPOT, params, GRID)
    lines = control_text(SPOT, release.lines, params, ["met_000.arl", "met_001.arl"]).splitlines()
    assert lines[:7] == ["20 06 01 04 07", "1", "40.000000 -100.000000 50.00", "-6", "4", "12000.0", "2"]
    assert lines[7:11] == ["./", "met_000.arl", "./", "met_001.arl"]
    assert lines[14] == "0.02"


@pytest.mark.parametrize(
    ("numpar", "points", "block"),
    [(10, 3, 4), (10, 4, 2), (8, 4, 2), (50, 7, 8), (3, 3, 1), (1000, 8, 126), (64, 1, 64), (100, 1, 101)],
)
def test_blocks_are_what_the_program_was_seen_to_release(numpar, points, block):
    assert block_size(numpar, points) == block
    receptor = MultiPointReceptor(SPOT.time, np.linspace(-100, -99, points), [40.0] * points, range(points))
    release = plan_release(receptor, TransportParams(numpar=numpar), GRID)
    assert release.counts == (block,) * points
    assert release.heights.tolist() == [float(k) for k in range(points) for _ in range(block)]


def test_maxpar_cuts_the_last_block():
    receptor = MultiPointReceptor(SPOT.time, [-100, -99, -98], [40.0] * 3, [10, 20, 30])
    release = plan_release(receptor, TransportParams(numpar=10, maxpar=10), GRID)
    assert release.counts == (4, 4, 2)


def test_a_column_is_one_source_between_two_heights():
    column = ColumnReceptor(SPOT.time, -100.0, 40.0, 100.0, 1100.0)
    release = plan_release(column, TransportParams(numpar=8), GRID)
    assert len(release.lines) == 2
    assert release.heights.tolist() == [162.5 + 125.0 * k for k in range(8)]
    # 10 asked for are 11 in the program's arithmetic, of which maxpar lets 10 go
    ten = plan_release(column, TransportParams(numpar=10), GRID).heights
    np.testing.assert_allclose(ten, 100.0 + 1000.0 * (np.arange(10) + 0.5) / 11)


def test_points_above_one_spot_are_set_apart_by_a_metre():
    """The first stays; the next is another spot to the program; a point elsewhere starts anew."""
    spots = [-100.0, -100.0, -100.000001, -99.0, -100.0]
    receptor = MultiPointReceptor(SPOT.time, spots, [40.0] * 5, [5, 10, 20, 30, 40])
    release = plan_release(receptor, TransportParams(numpar=5), GRID)
    assert 1.0 < release.moved < 3.0
    lat, lon, height = np.array([line.split() for line in release.lines], dtype=float).T
    assert height.tolist() == [5, 10, 20, 30, 40]
    np.testing.assert_allclose(lon, spots, atol=1e-6)
    assert (lat[[0, 2, 3, 4]] == 40.0).all()
    assert 2e-4 < abs(np.diff(GRID.to_xy(lon[:2], lat[:2])[1])[0]) < 1e-3


@pytest.mark.parametrize(
    ("receptor", "settings", "message"),
    [
        (PointReceptor("2020-06-01 04:07:30", -100, 40, 5), {}, "whole minutes"),
        (PointReceptor("1935-06-01 04:07", -100, 40, 5), {}, "1941 to 2039"),
        (MultiPointReceptor(SPOT.time, [-100, -99], [40, 40], [5, 5]), {"numpar": 1}, "2 points"),
        (ColumnReceptor(SPOT.time, -100, 40, 0, 100), {"emisshrs": 1.0}, "emisshrs"),
    ],
)
def test_receptors_the_program_would_release_otherwise_are_refused(receptor, settings, message):
    with pytest.raises((ReceptorError, UnsupportedSettingError), match=message):
        plan_release(receptor, TransportParams(**settings), GRID)


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"varsiwant": "time indx long lati foot zfx1"}, "zfx1"),
        ({"ichem": 0}, "ichem"),
        ({"idsp": 1}, "idsp"),
        ({"initd": 1}, "initd"),
        ({"outdt": 0.5}, "outdt"),
        ({"efile": "EMITIMES"}, "efile"),
        ({"seed": 2**31}, "seed"),
        ({"seed": 1, "krand": 3}, "krand"),
    ],
)
def test_settings_the_program_stops_on_or_ignores_are_refused_by_name(settings, key):
    with pytest.raises(UnsupportedSettingError, match=key):
        check_settings(TransportParams(**settings))


# --- staging ------------------------------------------------------------------------------------------


@pytest.fixture
def tables(tmp_path):
    folder = tmp_path / "tables"
    folder.mkdir()
    for name in TABLES:
        (folder / name).write_text("1")
    return folder


def stage_files(tmp_path, tables, paths, start="2020-06-01T04:30", hours=-3):
    folder = tmp_path / "scratch"
    folder.mkdir()
    begin = np.datetime64(start, "s")
    series = open_series(paths, name="m", start=begin, end=begin + np.timedelta64(hours, "h"))
    return folder, stage(folder, tables, {"SETUP.CFG": "x"}, series)


def write(world, path, *frames):
    return dataclasses.replace(world, frames=frames).write(path)


def test_whole_files_are_linked_under_short_names(tmp_path, tables, eight_hours):
    """Spaces and long names stay outside."""
    frames = eight_hours.frames
    there = tmp_path / ("a long folder with spaces " * 4)
    paths = [
        write(eight_hours, there / f"{'x' * 150} b.arl", *frames[3:6]),
        write(eight_hours, there / "a.arl", *frames[:3]),
    ]
    folder, names = stage_files(tmp_path, tables, paths)
    assert names == ["met_000.arl", "met_001.arl"]
    assert (folder / names[0]).is_symlink()
    assert (folder / names[0]).resolve() == paths[1].resolve()
    assert {path.name for path in folder.iterdir()} == {*names, *TABLES, "ASCDATA.CFG", "SETUP.CFG"}


@pytest.fixture
def single_times(tmp_path, eight_hours, monkeypatch):
    """Files of one time each, and an empty cache."""
    monkeypatch.setenv("PYSTILT_CACHE_DIR", str(tmp_path / "cache"))
    return [write(eight_hours, tmp_path / f"{k}.arl", frame) for k, frame in enumerate(eight_hours.frames)]


def contents(folder, names):
    return [(folder / name).read_bytes() for name in names]


def test_files_of_one_time_are_put_together(tmp_path, tables, single_times):
    """The program takes no file with a single time; their bytes in a row are a file it takes."""
    folder, names = stage_files(tmp_path, tables, single_times)
    assert names == ["met_000.arl", "met_001.arl"]
    hours = [path.read_bytes() for path in single_times[1:6]]
    assert contents(folder, names) == [b"".join(hours[:3]), b"".join(hours[3:])]


def test_receptors_share_what_was_put_together(tmp_path, tables, single_times, monkeypatch):
    """Only what lies before and after the blocks of the clock is copied again for another hour."""
    (tmp_path / "first").mkdir()
    stage_files(tmp_path / "first", tables, single_times)
    (block,) = (tmp_path / "cache/met-joined").iterdir()
    assert block.read_bytes() == b"".join(path.read_bytes() for path in single_times[4:6])
    joined = []
    monkeypatch.setattr(
        staging, "join", lambda sources, *rest: joined.append(len(sources)) or join(sources, *rest)
    )
    folder, names = stage_files(tmp_path, tables, single_times, "2020-06-01T05:30")
    assert joined == [2, 3]  # of hours 2 to 6: hours 2 and 3 for all, 4 to 6 for itself
    assert b"".join(contents(folder, names)) == b"".join(path.read_bytes() for path in single_times[2:7])


def test_a_damaged_block_is_put_together_again(tmp_path, tables, single_times):
    (tmp_path / "first").mkdir()
    first, names = stage_files(tmp_path / "first", tables, single_times)
    whole = contents(first, names)
    (block,) = (tmp_path / "cache/met-joined").iterdir()
    block.unlink()
    block.write_bytes(whole[1][:100])
    folder, names = stage_files(tmp_path, tables, single_times)
    assert contents(folder, names) == whole


def test_a_cache_that_cannot_be_written_costs_only_time(tmp_path, tables, single_times):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/met-joined").write_text("in the way")
    with pytest.warns(RuntimeWarning, match="every run makes its own"):
        folder, names = stage_files(tmp_path, tables, single_times)
    assert b"".join(contents(folder, names)) == b"".join(path.read_bytes() for path in single_times[1:6])


def test_blocks_unused_for_longest_go_first(tmp_path, tables, single_times, monkeypatch):
    """Unless they were used within the hour, since a run may be about to open them."""
    cache = tmp_path / "cache/met-joined"
    cache.mkdir(parents=True)
    for name, age in (("old", 9000), ("older", 10_000), ("recent", 60)):
        (cache / name).write_bytes(bytes(100))
        os.utime(cache / name, (time.time() - age,) * 2)
    size = sum(path.stat().st_size for path in single_times[4:6])
    monkeypatch.setattr(staging, "JOINED_LIMIT", size + 250)
    stage_files(tmp_path, tables, single_times)
    assert {path.name for path in cache.iterdir()} >= {"old", "recent"}
    assert not (cache / "older").exists()


def test_many_times_make_no_more_files_than_the_program_opens():
    """Blocks grow with the run."""
    hours = np.datetime64("2020-06-01T01", "s") + np.arange(1000) * np.timedelta64(1, "h")
    long = SimpleNamespace(times=hours)
    blocks = [block for block, _ in staging._blocks([(long, k) for k in range(1000)], 60)]
    assert len(blocks) <= MAX_FILES
    assert [period for block in blocks for _, period in block] == list(range(1000))
    assert min(map(len, blocks)) >= 2


def test_times_in_two_files_are_taken_once(tmp_path, tables, eight_hours, monkeypatch):
    monkeypatch.setenv("PYSTILT_CACHE_DIR", str(tmp_path / "cache"))
    frames = eight_hours.frames
    paths = [
        write(eight_hours, tmp_path / "a.arl", *frames[:5]),
        write(eight_hours, tmp_path / "b.arl", *frames[3:]),
    ]
    folder, names = stage_files(tmp_path, tables, paths)
    whole = write(eight_hours, tmp_path / "whole.arl", *frames[1:6])
    assert b"".join(contents(folder, names)) == whole.read_bytes()


def test_a_single_time_of_another_layout_is_refused(tmp_path, tables, eight_hours):
    frames = eight_hours.frames
    other = eight_hours.without("PBLH")
    paths = [
        write(eight_hours, tmp_path / "a.arl", *frames[:5]),
        write(other, tmp_path / "b.arl", other.frames[5]),
    ]
    with pytest.raises(MetCoverageError, match="alone with its layout"):
        stage_files(tmp_path, tables, paths)


def test_without_links_files_are_copied(tmp_path, tables, eight_hours, monkeypatch):
    """As on systems that give links to administrators only."""
    from pathlib import Path

    def refuse(self, target, target_is_directory=False):
        raise OSError(1, "Operation not permitted")

    path = eight_hours.write(tmp_path / "a.arl")
    monkeypatch.setattr(Path, "symlink_to", refuse)
    folder, names = stage_files(tmp_path, tables, [path])
    assert not (folder / names[0]).is_symlink()
    assert (folder / names[0]).read_bytes() == path.read_bytes()
