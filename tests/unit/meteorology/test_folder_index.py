"""Index records of a folder's files are read once, and again only for what has changed."""

from __future__ import annotations

import io
import os
from dataclasses import replace

import numpy as np
import pytest

from stilt.config import MetConfig
from stilt.errors import MetCoverageError, MetFormatError, MetNotFoundError
from stilt.meteorology import catalog, folder_index
from stilt.meteorology.catalog import open_series
from stilt.meteorology.folder_index import FolderIndex
from stilt.meteorology.inventory import inventory
from stilt.meteorology.projection import HorizontalGrid
from stilt.meteorology.synthetic import World, uniform

GRID = HorizontalGrid.lambert(40.0, -100.0, 12.0, 13, 12)
WORLD = uniform(hours=5, start="2019-05-30T00", grid=GRID)


def settle(*paths):
    """Make files look as if they had been written an hour ago."""
    for path in paths:
        then = path.stat().st_mtime - 3600
        os.utime(path, (then, then))


def write_hours(folder, hours, suffix="", world=WORLD, forecast=0):
    paths = []
    for hour in hours:
        frame = replace(world.frames[hour], forecast_hour=forecast)
        part = World(world.grid, world.levels, (frame,), world.model_id)
        paths.append(part.write(folder / f"20190530_{hour:02d}{suffix}"))
    settle(*paths)
    return paths


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """Give every test a cache of its own for what was read."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setattr(folder_index, "cache_root", lambda: folder)
    catalog.forget_listings()
    yield folder
    catalog.forget_listings()


@pytest.fixture
def opens(monkeypatch, tmp_path):
    """Count the opens of files below the test's folder."""
    counted = []
    plain = io.open

    def counting(file, *args, **kwargs):
        if str(file).startswith(str(tmp_path)):
            counted.append(str(file))
        return plain(file, *args, **kwargs)

    monkeypatch.setattr(io, "open", counting)
    return counted


def test_files_are_opened_once_and_by_no_later_process(tmp_path, opens):
    """Six files, six opens; a new process (a new index) opens none and describes the same."""
    paths = [str(path) for path in write_hours(tmp_path, range(6))]
    opens.clear()
    first = FolderIndex(tmp_path).describe(paths)
    assert sorted(opens) == sorted(paths)
    assert first.opened == 6
    opens.clear()
    again = FolderIndex(tmp_path).describe(paths)
    assert opens == []
    assert again.opened == 0
    for a, b in zip(first.files, again.files, strict=True):
        assert (a.path, a.size, a.mtime_ns, a.layout) == (b.path, b.size, b.mtime_ns, b.layout)
        assert a.times.tolist() == b.times.tolist()
        assert a.forecast_hours == b.forecast_hours
    assert again.files[0].layout is again.files[5].layout


def test_of_twenty_thousand_files_only_those_near_the_run_are_opened(tmp_path, opens, monkeypatch):
    """A slow disk: each open takes a while, names are listed once, a second receptor opens nothing."""
    write_hours(tmp_path, range(6))
    for number in range(20_000):
        day, hour = divmod(number, 24)
        date = np.datetime64("2015-01-01") + day
        (tmp_path / f"{str(date).replace('-', '')}_{hour:02d}").touch()
    listings = []
    plain = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: listings.append(path) or plain(path))
    opens.clear()
    met = MetConfig(directory=tmp_path, file_format="%Y%m%d_%H", file_tres="1h")
    for start in ("01:30", "01:30", "02:30"):
        first = np.datetime64(f"2019-05-30T{start}")
        assert len(open_series(met, name="m", start=first, end=first + np.timedelta64(2, "h")).times) == 4
    assert len(opens) <= 6, opens
    assert len(listings) == 1


def test_what_changed_is_read_again(tmp_path, opens):
    """A file with another size or time of change is opened again, the others are not."""
    paths = write_hours(tmp_path, range(4))
    FolderIndex(tmp_path).describe(map(str, paths))
    (changed,) = write_hours(tmp_path, [2], world=uniform(hours=5, start="2020-01-01T00", grid=GRID))
    opens.clear()
    found = FolderIndex(tmp_path).describe(map(str, paths))
    assert opens == [str(changed)]
    assert str(found.files[2].times[0]).startswith("2020-01-01T02")


def test_a_file_that_may_still_grow_is_not_remembered(tmp_path):
    """What was written a moment ago is read again next time."""
    (path,) = write_hours(tmp_path, [0])
    os.utime(path)
    assert FolderIndex(tmp_path).describe([str(path)]).opened == 1
    assert FolderIndex(tmp_path).describe([str(path)]).opened == 1
    settle(path)
    FolderIndex(tmp_path).describe([str(path)])
    assert FolderIndex(tmp_path).describe([str(path)]).opened == 0


@pytest.mark.parametrize("damage", ["", "{", '{"version": 1}', '{"version": 1, "folder": 3, "layouts": 0}'])
def test_a_damaged_cache_costs_reading_and_nothing_else(tmp_path, cache, damage):
    paths = [str(path) for path in write_hours(tmp_path, range(2))]
    FolderIndex(tmp_path).describe(paths)
    (kept,) = (cache / "met-index").iterdir()
    kept.write_text(damage)
    assert FolderIndex(tmp_path).describe(paths).opened == 2
    assert FolderIndex(tmp_path).describe(paths).opened == 0


def test_faults_are_remembered_with_the_file(tmp_path):
    """Empty, cut and foreign files say what they are, without a traceback and without a second look."""
    good, cut = write_hours(tmp_path, [0, 1])
    cut.write_bytes(cut.read_bytes()[:-7])
    empty, foreign = tmp_path / "20190530_03", tmp_path / "20190530_04"
    empty.write_bytes(b"")
    foreign.write_text("not meteorology at all, just a page of text")
    settle(cut, empty, foreign)
    paths = [str(path) for path in (good, cut, empty, foreign)]
    for opened in (4, 0):
        found = FolderIndex(tmp_path).describe(paths)
        assert found.opened == opened
        assert [file.name for file in found.files] == ["20190530_00"]
        assert "is truncated" in str(found.faults[0])
        assert "7 are missing" in str(found.faults[0])
        assert "is empty (0 bytes)" in str(found.faults[1])
        assert "It is not an ARL file" in str(found.others[0])


def test_a_file_that_is_still_arriving_is_named_as_such(tmp_path):
    """A cut file that was written to just now may only need patience."""
    (path,) = write_hours(tmp_path, [0])
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(MetFormatError, match=r"1 are missing\. It was written to \d+ s ago and may still"):
        open_series([path], name="m")
    settle(path)
    with pytest.raises(MetFormatError, match=r"1 are missing\. Get the file again\."):
        open_series([path], name="m")


def test_links_count_once(tmp_path):
    """Symbolic links, links to folders that lead in a circle, and hard links are one file."""
    (path,) = write_hours(tmp_path, [0])
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "20190530_00.again").symlink_to(path)
    (tmp_path / "below" / "up").symlink_to(tmp_path)
    os.link(path, tmp_path / "20190530_00.hard")
    found = inventory(tmp_path, "%Y%m%d_%H")
    assert found.kinds[0].n_files == 1
    assert found.links == 1
    assert found.kinds[0].duplicates == 0


def test_without_a_pattern_a_folder_of_one_meteorology_is_enough(tmp_path):
    """Names without times do; notes beside the files do no harm."""
    for hour, path in enumerate(write_hours(tmp_path, range(4))):
        path.rename(tmp_path / f"part{hour}")
    (tmp_path / "README").write_text("meteorology of a test")
    span = {"start": np.datetime64("2019-05-30T01:30"), "end": np.datetime64("2019-05-30T02:10")}
    series = open_series(MetConfig(directory=tmp_path), name="m", **span)
    assert [file.name for file in series.files] == ["part1", "part2", "part3"]
    span["start"] = np.datetime64("2019-05-30T09")
    with pytest.raises(MetCoverageError, match="covers 2019-05-30 00:00 to 2019-05-30 03:00"):
        open_series(MetConfig(directory=tmp_path), name="m", **span)


def test_without_a_pattern_a_mixture_is_refused_by_kind(tmp_path):
    """Two grids in one folder: say which, how many, and what to do."""
    write_hours(tmp_path, range(3), ".big")
    small = uniform(hours=5, grid=HorizontalGrid.lambert(40.0, -100.0, 12.0, 15, 12), start="2019-05-30T00")
    write_hours(tmp_path, [4], ".small", small)
    with pytest.raises(
        MetFormatError,
        match=r"2 kinds of meteorology \(3 of model UNIF on 13 x 12 points .* such as 20190530_00.big; "
        r"1 of .*15 x 12 .*small\)\. Give a `file_format`",
    ):
        open_series(MetConfig(directory=tmp_path), name="m")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes").write_text("nothing to see here, move along")
    with pytest.raises(MetNotFoundError, match="none of the files"):
        open_series(MetConfig(directory=tmp_path / "empty"), name="m")


def test_where_files_overlap_the_rule_decides(tmp_path):
    """The shorter forecast, then the earlier pattern, then the name."""
    write_hours(tmp_path, range(4), ".f01", forecast=1)
    write_hours(tmp_path, range(1, 4), ".b")
    write_hours(tmp_path, range(2, 4), ".a")
    everything = MetConfig(directory=tmp_path, file_format="%Y%m%d_%H")
    assert [file.name[11:] for file in open_series(everything, name="m").files] == [".f01", ".b", ".a", ".a"]
    ranked = MetConfig(directory=tmp_path, file_format=["%Y%m%d_%H.b", "%Y%m%d_%H"])
    assert [file.name[11:] for file in open_series(ranked, name="m").files] == [".f01", ".b", ".b", ".b"]
    assert inventory(tmp_path).kinds[0].duplicates == 3


def test_an_inventory_names_gaps(tmp_path):
    write_hours(tmp_path, [0, 1, 2, 5])
    (kind,) = inventory(tmp_path).kinds
    assert kind.gaps == [("2019-05-30 02:00", "2019-05-30 05:00")]
    assert (kind.interval_minutes, kind.n_times, kind.n_files) == (60, 4, 4)
