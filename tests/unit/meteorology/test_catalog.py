"""Files are found by their names and chosen by their times; what is missing is said."""

from __future__ import annotations

import numpy as np
import pytest

from stilt.config import MetConfig
from stilt.errors import (
    ConfigError,
    MetCoverageError,
    MetFormatError,
    MetIntervalError,
    MetNotFoundError,
)
from stilt.meteorology import catalog
from stilt.meteorology.catalog import open_available, open_series
from stilt.meteorology.search import FilePattern
from stilt.meteorology.synthetic import World, uniform

WORLD = uniform(hours=23, start="2019-05-30T00", levels=None)


def hour(text):
    return np.datetime64(f"2019-05-30T{text}")


def archive_file(folder, first, last, suffix="_hrrr", world=WORLD):
    """Write the hours first to last of a day as one file named after the first."""
    part = World(world.grid, world.levels, world.frames[first : last + 1], world.model_id)
    return part.write(folder / f"20190530_{first:02d}-{last:02d}{suffix}")


@pytest.fixture
def archive(tmp_path):
    """Two files of six hours."""
    catalog.forget_listings()
    archive_file(tmp_path, 0, 5)
    archive_file(tmp_path, 6, 11)
    return tmp_path


def config(folder, **changes):
    return MetConfig(**{"directory": folder, "file_format": "%Y%m%d_%H", "file_tres": "1h", **changes})


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize(
    ("span", "first", "last", "names"),
    [
        (("09:00", "08:30"), 8, 9, ["20190530_06-11_hrrr"]),
        (("03:10", "07:00"), 3, 7, ["20190530_00-05_hrrr", "20190530_06-11_hrrr"]),
        (("05:20", "05:40"), 5, 6, ["20190530_00-05_hrrr", "20190530_06-11_hrrr"]),
        (("11:00", "11:00"), 10, 11, ["20190530_06-11_hrrr"]),
        (("04:00", "04:00"), 4, 5, ["20190530_00-05_hrrr"]),
        (("00:00", "11:00"), 0, 11, ["20190530_00-05_hrrr", "20190530_06-11_hrrr"]),
    ],
)
def test_the_analyses_around_the_run_are_chosen(archive, span, first, last, names, order):
    """Times bracket the span in either direction; a file named 06 that holds 06 to 11 serves 09."""
    start, end = span[::order]
    series = open_series(config(archive), name="hrrr", start=hour(start), end=hour(end))
    assert series.times[0] == hour(f"{first:02d}")
    assert series.times[-1] == hour(f"{last:02d}")
    assert len(series.times) == last - first + 1
    assert series.interval == 60
    assert [file.name for file in series.files] == names


def test_without_a_span_everything_is_taken(archive):
    """No start and end: the whole archive, and explicit paths do as well as a directory."""
    assert len(open_series(config(archive), name="hrrr").times) == 12
    assert len(open_series(sorted(archive.iterdir()), name="hrrr").times) == 12
    assert len(open_series(sorted(map(str, archive.iterdir()), reverse=True), name="hrrr").times) == 12


def test_a_run_beyond_the_last_time_names_times_and_receptor(archive):
    """The message has the coverage, the time needed, the receptor and the remedy."""
    with pytest.raises(
        MetCoverageError,
        match=r"met 'hrrr' covers 2019-05-30 00:00 to 2019-05-30 11:00 UTC, but receptor r1 needs "
        r"2019-05-30 13:00. Add the later file or shorten n_hours.",
    ):
        open_series(config(archive), name="hrrr", start=hour("13:00"), end=hour("09:00"), who="receptor r1")
    with pytest.raises(MetCoverageError, match=r"needs 2019-05-29 23:30. Add the earlier"):
        open_series(config(archive), name="hrrr", start=hour("03"), end=np.datetime64("2019-05-29T23:30"))


def test_a_directory_that_has_been_filled_since_is_listed_again(archive):
    """A file that arrives after the first search is found without a new process."""
    with pytest.raises(MetCoverageError):
        open_series(config(archive), name="hrrr", start=hour("13:00"), end=hour("09:00"))
    archive_file(archive, 12, 17)
    series = open_series(config(archive), name="hrrr", start=hour("13:00"), end=hour("09:00"))
    assert len(series.files) == 2


def test_a_gap_names_the_times_around_it(archive):
    """A missing hour in the span is an error; outside the span it is nobody's business."""
    archive_file(archive, 13, 17)
    with pytest.raises(
        MetIntervalError, match=r"a gap: 2019-05-30 11:00 is followed by 2019-05-30 13:00.*receptor r1"
    ):
        open_series(config(archive), name="hrrr", start=hour("14"), end=hour("10"), who="receptor r1")
    assert open_series(config(archive), name="hrrr", start=hour("14"), end=hour("16")).interval == 60


def test_an_uneven_interval_is_refused(tmp_path):
    """An extra half hour among hourly analyses is named."""
    archive_file(tmp_path, 0, 5)
    half = uniform(hours=0, start="2019-05-30T02:30").frames
    World(WORLD.grid, WORLD.levels, half, WORLD.model_id).write(tmp_path / "20190530_02.30")
    with pytest.raises(
        MetIntervalError, match=r"uneven interval: 2019-05-30 02:00 is followed by 2019-05-30 02:30"
    ):
        open_series(config(tmp_path), name="m", start=hour("01"), end=hour("04"))


def test_nothing_found_says_where_and_what_there_was(tmp_path):
    """A missing directory, an empty one, and one without a match have their own words."""
    with pytest.raises(MetNotFoundError, match="nowhere does not exist"):
        open_series(config(tmp_path / "nowhere"), name="hrrr", start=hour("01"), end=hour("02"))
    with pytest.raises(MetNotFoundError, match="holds no files"):
        open_series(config(tmp_path), name="hrrr", start=hour("01"), end=hour("02"))
    archive_file(tmp_path, 0, 5)
    with pytest.raises(
        MetNotFoundError, match=r"'hrrr_%Y%m%d' \(such as 'hrrr_20190530'\).*'20190530_00-05_hrrr'"
    ):
        open_series(
            config(tmp_path, file_format="hrrr_%Y%m%d"), name="hrrr", start=hour("01"), end=hour("02")
        )
    with pytest.raises(MetNotFoundError, match="no files"):
        open_series([], name="hrrr")


def test_files_in_folders_are_found_and_links_count_once(archive):
    """The search is recursive; a link to a file already seen, or a copy of it, adds nothing."""
    deeper = archive / "2019" / "may"
    deeper.mkdir(parents=True)
    archive_file(deeper, 12, 17)
    (deeper / "20190530_06_link").symlink_to(archive / "20190530_06-11_hrrr")
    (deeper / "loop").symlink_to(archive)
    (archive / "20190530_06-11_hrrr_copy").write_bytes((archive / "20190530_06-11_hrrr").read_bytes())
    series = open_series(config(archive), name="hrrr", start=hour("07"), end=hour("14"))
    assert [file.name for file in series.files] == ["20190530_06-11_hrrr", "20190530_12-17_hrrr"]


def test_two_grids_in_one_stream_are_refused(archive):
    """Files of different grids do not make a series; both are named."""
    other = uniform(u=1.0, hours=17, start="2019-05-30T00", levels=None)
    moved = World(
        type(WORLD.grid).lambert(40.0, -101.0, 12.0, 41, 41), other.levels, other.frames, WORLD.model_id
    )
    archive_file(archive, 12, 17, world=moved)
    with pytest.raises(MetFormatError, match=r"mixes grids: .*06-11_hrrr and .*12-17_hrrr"):
        open_series(config(archive), name="hrrr", start=hour("10"), end=hour("13"))
    open_series(config(archive), name="hrrr", start=hour("13"), end=hour("15"))


def test_a_damaged_file_stops_only_the_runs_that_need_it(archive):
    """A truncated file is the answer where its times are needed, and ignored elsewhere."""
    bad = archive / "20190530_06-11_hrrr"
    bad.write_bytes(bad.read_bytes()[:-1000])
    with pytest.raises(MetFormatError, match=r"06-11_hrrr is truncated.*2019-05-30T11.*1000 are missing"):
        open_series(config(archive), name="hrrr", start=hour("08"), end=hour("07"))
    assert len(open_series(config(archive), name="hrrr", start=hour("04"), end=hour("02")).times) == 3


def test_fewer_files_than_asked_for_is_a_failure(archive):
    """n_min counts the files that are used."""
    open_series(config(archive, n_min=2), name="hrrr", start=hour("04"), end=hour("07"))
    with pytest.raises(MetNotFoundError, match=r"1 files.*n_min: 2"):
        open_series(config(archive, n_min=2), name="hrrr", start=hour("02"), end=hour("04"))


def test_files_named_after_a_long_stretch_are_found(tmp_path):
    """A file named by its month holds the day although its name is weeks away from it."""
    WORLD.write(tmp_path / "hrrr201905")
    series = open_series(
        config(tmp_path, file_format="hrrr%Y%m"), name="hrrr", start=hour("04"), end=hour("02")
    )
    assert len(series.times) == 3


def test_downloads_beside_the_data_are_not_looked_at(archive):
    """Partial downloads, checksums and hidden files that match the pattern are no meteorology."""
    for name in ("20190530_06.part", "20190530_06.md5", ".20190530_06.tmp"):
        (archive / name).write_text("x")
    open_series(config(archive), name="hrrr", start=hour("04"), end=hour("07"))


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("%Y%m%d_%H", "deep/20190530_06-11_hrrr", "2019-05-30T06:00"),
        ("hysplit.%Y%m%d.%Hz.hrrra", "hysplit.20150401.18z.hrrra", "2015-04-01T18:00"),
        ("gdas1.%b%y.w", "gdas1.jan19.w2", "2019-01-01T00:00"),
        ("RP%Y%m.gbl", "RP195507.gbl", "1955-07-01T00:00"),
        ("%Y/%m/nam_%d", "a/2020/02/nam_29.arl", "2020-02-29T00:00"),
        ("%Y%j", "2020060.arl", "2020-02-29T00:00"),
        ("wrf_*_%y%m%d", "wrf_d01_180203", "2018-02-03T00:00"),
        ("%Y%m%d", "20191330", None),
        ("%Y%m%d", "x20190530", None),
        ("%Y/%Y%m", "2019/202001", None),
        ("%Y.arl", "2019xarl", None),
    ],
)
def test_patterns_read_times_from_names(pattern, name, expected):
    """Names match when they begin with a formatted time that exists."""
    matches, time = FilePattern(pattern).time_of(name)
    assert matches == (expected is not None)
    assert (np.datetime64(time, "s") if matches else None) == (
        np.datetime64(expected, "s") if expected else None
    )


def test_a_pattern_with_an_unknown_directive_is_refused():
    """%q means nothing; the message lists what does."""
    with pytest.raises(ConfigError, match=r"%q.*%Y"):
        FilePattern("%Y%q")


def available(folder, first, last, **changes):
    return open_available(config(folder, **changes), name="hrrr", start=hour(first), end=hour(last))


def test_what_there_is_of_a_span_is_found_with_its_gaps(archive):
    found = available(archive, "09:30", "14:00")
    assert [int(str(time)[11:13]) for time in found.series.times] == [9, 10, 11]
    archive_file(archive, 13, 15)
    catalog.forget_listings()
    found = available(archive, "14:20", "04:30")
    assert [int(str(time)[11:13]) for time in found.series.times] == [4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15]
    # the usual interval is known from hours outside the span too
    assert available(archive, "11:10", "12:50").step == np.timedelta64(3600, "s")
    assert available(archive, "20:00", "23:00").series is None
    assert not found.faults
    with pytest.raises(MetNotFoundError, match="fewer than n_min: 4"):
        available(archive, "09:30", "14:00", n_min=4)


def test_a_damaged_file_near_the_span_is_named_where_hours_may_be_missing(archive):
    damaged = archive_file(archive, 12, 15)
    damaged.write_bytes(damaged.read_bytes()[:-100])
    catalog.forget_listings()
    found = available(archive, "09:30", "14:00")
    assert found.series.times[-1] == hour("11:00")
    assert "20190530_12-15_hrrr" in found.faults[0]


def test_hours_that_came_since_the_listing_are_found_after_a_minute(archive, monkeypatch):
    assert available(archive, "09:30", "14:00").series.times[-1] == hour("11:00")
    archive_file(archive, 12, 15)
    assert available(archive, "09:30", "14:00").series.times[-1] == hour("11:00")
    monkeypatch.setattr(catalog, "_STALE_LISTING", 0.0)
    assert available(archive, "09:30", "14:00").series.times[-1] == hour("14:00")
