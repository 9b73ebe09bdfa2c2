"""ARL files: what is written is read, what is damaged is named."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from stilt.errors import MetFormatError, MetNotFoundError, MetVariableError
from stilt.meteorology.arl import reader
from stilt.meteorology.arl.file import ArlFile, open_arl
from stilt.meteorology.arl.index import LABEL_BYTES, parse_header
from stilt.meteorology.arl.writer import write_arl
from stilt.meteorology.catalog import open_series
from stilt.meteorology.frame import Box, MetFrame
from stilt.meteorology.projection import HorizontalGrid
from stilt.meteorology.vertical import VerticalLevels

TIME = np.datetime64("2021-03-04T05:00:00")
LEVELS = VerticalLevels(1, (1.0, 0.99, 0.5), 10.0)
GRID = HorizontalGrid.lambert(40.0, -100.0, 12.0, 13, 11)


def little_frames(grid=GRID, n_times=3, n_upper=2, first=TIME, names=("TEMP", "UWND", "WWND"), minutes=60):
    """Make smooth random fields."""
    rng = np.random.default_rng(7)
    x, y = np.meshgrid(np.arange(grid.nx), np.arange(grid.ny))
    box = Box(0, grid.nx, 0, grid.ny)

    def field():
        return (280 + 5 * np.sin(x * rng.uniform(0.1, 0.5)) + rng.uniform(-3, 3) * y / grid.ny).astype(
            np.float32
        )

    for n in range(n_times):
        surface = {"PRSS": field(), "SHGT": field()}
        upper = {name: np.stack([field() for _ in range(n_upper)]) for name in names}
        yield MetFrame(first + n * np.timedelta64(minutes, "m"), box, surface, upper)


@pytest.fixture
def little_file(tmp_path):
    return write_arl(tmp_path / "little", GRID, LEVELS, little_frames())


def test_a_written_file_says_what_it_holds(little_file):
    """Grid, levels, names and times come back as they were given."""
    file = ArlFile(little_file)
    assert file.grid == GRID
    assert file.levels == LEVELS
    assert file.variables == (("PRSS", "SHGT"), ("TEMP", "UWND", "WWND"), ("TEMP", "UWND", "WWND"))
    assert_array_equal(file.times, TIME + np.arange(3) * np.timedelta64(1, "h"))
    assert file.records_per_time == 2 + 2 + 6  # the index text is longer than a record
    assert file.size == little_file.stat().st_size == 3 * 10 * (50 + 13 * 11)
    assert file.model_id == "STLT"
    file.verify()


def test_fields_come_back_within_the_precision(little_file):
    """Every field is read as it was written, bottom level first."""
    series = open_series([little_file], name="little")
    for n, frame in enumerate(little_frames()):
        found = series.decode(n, frame.box, ["SHGT"], ["TEMP", "WWND"])
        assert found.time == frame.time
        assert_allclose(found.surface["SHGT"], frame.surface["SHGT"], atol=0.02)
        assert_allclose(found.upper["TEMP"], frame.upper["TEMP"], atol=0.02)
        assert found.upper["WWND"].shape == (2, 11, 13)
        assert found.upper["WWND"].dtype == np.float32


def test_equal_fields_give_equal_bytes(tmp_path, little_file):
    """Writing is deterministic, and leaves nothing but the file."""
    again = write_arl(tmp_path / "again", GRID, LEVELS, little_frames())
    assert again.read_bytes() == little_file.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again", "little"]


def test_a_box_is_cut_from_the_whole(little_file):
    """Decoding a box gives the bits of the same cells of the whole grid."""
    series = open_series([little_file], name="little")
    whole = series.decode(1, Box(0, 13, 0, 11), ["PRSS"], ["UWND"])
    part = series.decode(1, Box(3, 9, 2, 7), ["PRSS"], ["UWND"])
    assert_array_equal(part.surface["PRSS"], whole.surface["PRSS"][2:7, 3:9])
    assert_array_equal(part.upper["UWND"], whole.upper["UWND"][:, 2:7, 3:9])


def test_only_its_rows_are_read_of_a_record_that_is_known(little_file, monkeypatch):
    """The second box of a time costs the bytes of its rows, and gives the same bits as the whole."""
    series = open_series([little_file], name="little")
    whole = series.decode(0, Box(0, 13, 0, 11), [], ["TEMP", "UWND"])
    asked = []
    fill = reader._Reader._fill

    def counting(self, stream, offset, first, end):
        asked.append(end - first)
        fill(self, stream, offset, first, end)

    monkeypatch.setattr(reader._Reader, "_fill", counting)
    for box in (Box(3, 9, 6, 8), Box(0, 13, 0, 1), Box(0, 1, 10, 11)):
        asked.clear()
        part = series.decode(0, box, [], ["TEMP", "UWND"])
        assert_array_equal(part.upper["TEMP"], whole.upper["TEMP"][:, box.y0 : box.y1, box.x0 : box.x1])
        assert_array_equal(part.upper["UWND"], whole.upper["UWND"][:, box.y0 : box.y1, box.x0 : box.x1])
        records = 2 * series.levels.n_upper
        assert sum(asked) <= records * (LABEL_BYTES + 13 * (box.y1 - box.y0))


def test_what_is_remembered_of_records_is_bounded():
    """Long runs keep what was read of the last times only."""
    for number in range(3 * reader._PERIODS_REMEMBERED):
        reader.remembered(f"made up {number}").corrections = {}
    assert len(reader._REMEMBERED) == reader._PERIODS_REMEMBERED
    assert reader.remembered(f"made up {3 * reader._PERIODS_REMEMBERED - 1}").corrections == {}
    assert reader.remembered("made up 0").corrections is None


def test_a_box_outside_the_grid_is_a_mistake(little_file):
    """A box beyond the last column is refused, with the grid's size."""
    with pytest.raises(ValueError, match="13 x 11"):
        open_series([little_file], name="little").decode(0, Box(0, 14, 0, 11), [], ["TEMP"])


def test_what_packing_lost_is_added_back(tmp_path):
    """With DIFW beside it WWND comes back far more exactly, and DIFW is not asked for by name."""
    (frame,) = little_frames(n_times=1)
    errors = []
    for difw in (False, True):
        path = write_arl(tmp_path / f"difw_{difw}", GRID, LEVELS, [frame], difw=difw)
        series = open_series([path], name="m")
        assert ("DIFW" in series.upper_names) == difw
        wwnd = series.decode(0, frame.box, [], ["WWND"]).upper["WWND"]
        errors.append(np.abs(wwnd - frame.upper["WWND"]).max())
    assert errors[1] < errors[0] / 20


def test_large_grids_keep_their_thousands_in_the_grid_id(tmp_path):
    """Grids over 999 points are read back with the right size, records and values."""
    grid = HorizontalGrid.lambert(38.5, -97.5, 3.0, 1203, 3)
    (frame,) = little_frames(grid, n_times=1)
    path = write_arl(tmp_path / "large", grid, LEVELS, [frame])
    assert path.read_bytes()[12:14] == b"A@"
    series = open_series([path], name="large")
    assert (series.grid.nx, series.grid.ny) == (1203, 3)
    found = series.decode(0, Box(1000, 1203, 1, 3), [], ["TEMP"]).upper["TEMP"]
    assert_allclose(found, frame.upper["TEMP"][:, 1:3, 1000:1203], atol=0.02)


def test_long_headers_go_on_in_further_index_records(tmp_path):
    """A level list longer than a record fills as many index records as it needs."""
    levels = VerticalLevels(2, (0.0, *np.linspace(1000, 50, 40)))
    names = tuple(f"VA{k:02d}" for k in range(12))
    frames = list(little_frames(n_upper=40, names=names, n_times=2))
    path = write_arl(tmp_path / "long", GRID, levels, frames)
    file = ArlFile(path)
    assert file.layout.text_length == 108 + 8 * 41 + 8 * (2 + 480)
    assert file.layout.index_records == file.layout.text_length // 143 + 1 == 31
    assert len(file.times) == 2
    assert_allclose(file.levels.heights, levels.heights, atol=0.06)
    found = open_series([path], name="long").decode(1, Box(0, 13, 0, 11), [], ["VA11"]).upper["VA11"]
    assert_allclose(found, frames[1].upper["VA11"], atol=0.02)
    file.verify()


def test_a_level_without_a_field_is_nan(tmp_path):
    """A field that is NaN on one level is left out there and reads as NaN."""
    (frame,) = little_frames(n_times=1)
    frame.upper["TEMP"][0] = np.nan
    path = write_arl(tmp_path / "holes", GRID, LEVELS, [frame])
    series = open_series([path], name="holes")
    assert series.variables[1] == ("UWND", "WWND")
    assert series.upper_names == ("UWND", "WWND", "TEMP")
    found = series.decode(0, frame.box, [], ["TEMP"]).upper["TEMP"]
    assert np.isnan(found[0]).all()
    assert np.isfinite(found[1]).all()


def test_minutes_and_old_years_are_read(tmp_path):
    """Half-hourly files and years of the last century keep their times."""
    first = np.datetime64("1979-12-31T23:30:00")
    path = write_arl(tmp_path / "old", GRID, LEVELS, little_frames(first=first, minutes=30))
    file = ArlFile(path)
    assert_array_equal(file.times, first + np.arange(3) * np.timedelta64(30, "m"))
    open_series([path], name="old").decode(1, Box(0, 13, 0, 11), ["PRSS"], ["TEMP"])


def test_a_field_marked_as_missing_is_nan(little_file):
    """A negative forecast hour in a record's label means there is no field."""
    file = ArlFile(little_file)
    offset = file.record_offset(1, 0, "PRSS")
    raw = bytearray(little_file.read_bytes())
    raw[offset + 8 : offset + 10] = b"-1"
    little_file.write_bytes(raw)
    series = open_series([little_file], name="little")
    assert np.isnan(series.decode(1, Box(0, 13, 0, 11), ["PRSS"], []).surface["PRSS"]).all()
    assert np.isfinite(series.decode(0, Box(0, 13, 0, 11), ["PRSS"], []).surface["PRSS"]).all()


@pytest.mark.parametrize("cut", [1, 60, 193 * 4 + 7, 193 * 9 - 20])
def test_a_truncated_file_says_how_much_is_missing_and_when(little_file, cut):
    """Whole times before the cut are not used in silence; the message has the time and the bytes."""
    raw = little_file.read_bytes()
    little_file.write_bytes(raw[:-cut])
    with pytest.raises(MetFormatError, match=rf"truncated.*2021-03-04T0[67]:00:00.*{cut} are missing"):
        ArlFile(little_file)


@pytest.mark.parametrize("keep", [0, 30, 170])
def test_a_stump_of_a_file_is_refused(little_file, keep):
    """An empty file and one that ends in its first record are named as such."""
    little_file.write_bytes(little_file.read_bytes()[:keep])
    with pytest.raises(MetFormatError, match=r"empty|no index record|truncated"):
        ArlFile(little_file)


def test_other_files_are_not_taken_for_meteorology(tmp_path):
    """Any other file is refused with its name and how it begins."""
    path = tmp_path / "20210304_05_notes"
    path.write_text("not meteorology at all\n" * 50)
    with pytest.raises(MetFormatError, match=r"20210304_05_notes.*not an ARL file"):
        ArlFile(path)


def test_a_missing_file_is_named(tmp_path):
    """A path to nothing is a MetNotFoundError, which is a FileNotFoundError."""
    with pytest.raises(MetNotFoundError, match="nowhere"):
        ArlFile(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError):
        open_arl(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("at", "text"),
    [(14, b"XXXX"), (0, b"2021 3 5 5"), (10, b" 4"), (22, b"  broken      "), (0, b"\xff\xfe")],
)
def test_a_record_that_is_not_the_promised_one_is_refused(little_file, at, text):
    """A wrong name, time or level, or an unreadable number, in a label is found while decoding."""
    file = ArlFile(little_file)
    offset = file.record_offset(1, 1, "UWND")
    raw = bytearray(little_file.read_bytes())
    raw[offset + at : offset + at + len(text)] = text
    little_file.write_bytes(raw)
    series = open_series([little_file], name="little")
    series.decode(0, Box(0, 13, 0, 11), [], ["UWND"])
    with pytest.raises(MetFormatError, match=rf"byte {offset}.*Get it again"):
        series.decode(1, Box(0, 13, 0, 11), [], ["UWND"])


def test_a_period_without_its_index_record_is_refused(little_file):
    """If the second time does not start with an index record the file is damaged."""
    raw = bytearray(little_file.read_bytes())
    start = 10 * 193
    raw[start + 14 : start + 18] = b"TEMP"
    little_file.write_bytes(raw)
    with pytest.raises(MetFormatError, match=rf"no index record at byte {start}"):
        ArlFile(little_file)


def test_a_damaged_header_is_refused(little_file):
    """Numbers that cannot be read, and sizes no file can have, are named."""
    raw = bytearray(little_file.read_bytes())
    for at, text in ((93, b"abc"), (93, b"  3"), (104, b"  50"), (9, b"  x.000"), (108, b"zzzzzz")):
        broken = raw.copy()
        broken[LABEL_BYTES + at : LABEL_BYTES + at + len(text)] = text
        little_file.write_bytes(broken)
        with pytest.raises(MetFormatError):
            ArlFile(little_file)


def test_flipped_bytes_are_found_by_the_checksums(little_file):
    """verify() reads everything and names the record whose bytes do not add up."""
    file = ArlFile(little_file)
    raw = bytearray(little_file.read_bytes())
    raw[file.record_offset(2, 2, "TEMP") + LABEL_BYTES + 20] ^= 5
    little_file.write_bytes(raw)
    with pytest.raises(MetFormatError, match=r"TEMP of level 2 at 2021-03-04T07.*checksum"):
        ArlFile(little_file).verify()


def test_a_file_that_changes_while_in_use_is_not_read(little_file):
    """A file that has grown since it was catalogued is refused, not read half."""
    series = open_series([little_file], name="little")
    with little_file.open("ab") as stream:
        stream.write(b"more")
    with pytest.raises(MetFormatError, match="changed while it was in use"):
        series.decode(0, Box(0, 13, 0, 11), [], ["TEMP"])
    little_file.unlink()
    with pytest.raises(MetNotFoundError, match="cannot be opened any more"):
        series.decode(0, Box(0, 13, 0, 11), [], ["TEMP"])


def test_a_variable_nobody_has_is_named_with_what_there_is(little_file):
    """Asking for SPHU where there is none lists the names there are."""
    series = open_series([little_file], name="little")
    with pytest.raises(MetVariableError, match=r"SPHU \(levels\).*PRSS SHGT.*TEMP UWND WWND"):
        series.decode(0, Box(0, 13, 0, 11), [], ["SPHU"])


def test_identities_name_bytes(little_file):
    """Each time has its own identity; it changes when the file does and not otherwise."""
    series = open_series([little_file], name="a")
    names = [series.identity(n) for n in range(3)]
    assert len(set(names)) == 3
    assert names == [open_series([little_file], name="b").identity(n) for n in range(3)]
    little_file.write_bytes(little_file.read_bytes())
    assert open_series([little_file], name="a").identity(0) != names[0]


def test_a_series_can_be_sent_to_another_process(little_file):
    """A series survives pickling and decodes the same."""
    series = open_series([little_file], name="a")
    copy = pickle.loads(pickle.dumps(series))
    box = Box(1, 5, 1, 5)
    assert_array_equal(
        copy.decode(2, box, [], ["TEMP"]).upper["TEMP"], series.decode(2, box, [], ["TEMP"]).upper["TEMP"]
    )


@pytest.mark.parametrize(
    "grid",
    [
        HorizontalGrid.latlon(248.25, 35.5, 0.25, 0.25, 21, 17),
        HorizontalGrid.latlon(0.0, -90.0, 4.5, 4.5, 80, 41),
        HorizontalGrid.conformal(90, -105, 10.0, 20, 20, center_lat=52, center_lon=-100, ref_lat=60),
        HorizontalGrid.conformal(-90, 20, 10.0, 20, 20, center_lat=-71, center_lon=40, orientation=12.5),
        HorizontalGrid.conformal(0, 100, 20.0, 20, 20, center_lat=-4, center_lon=106),
    ],
)
def test_every_kind_of_grid_goes_through_the_header(tmp_path, grid):
    """Lat-lon, polar, Mercator and turned grids are read back as they were written."""
    path = write_arl(tmp_path / "grid", grid, LEVELS, little_frames(grid, n_times=1))
    assert ArlFile(path).grid == grid
    assert ArlFile(path).grid.kind == grid.kind


def test_a_grid_the_header_cannot_hold_is_refused(tmp_path):
    """Seven characters per number: a grid that would move is refused, with the remedy."""
    grid = HorizontalGrid.latlon(-112.123456, 40.0, 0.01, 0.01, 20, 20)
    with pytest.raises(MetFormatError, match="rounder"):
        write_arl(tmp_path / "grid", grid, LEVELS, little_frames(grid, n_times=1))
    tiny = HorizontalGrid.lambert(40, -100, 12.0, 9, 9)
    with pytest.raises(MetFormatError, match="more points"):
        write_arl(tmp_path / "tiny", tiny, LEVELS, little_frames(tiny, n_times=1))
    assert not list(tmp_path.iterdir())


def test_frames_must_agree(tmp_path):
    """Frames without a field of the first, of another shape, or none at all, leave no file."""
    frames = list(little_frames())
    del frames[1].upper["UWND"]
    with pytest.raises(MetFormatError, match="no UWND on level 1"):
        write_arl(tmp_path / "f", GRID, LEVELS, frames)
    frames = list(little_frames())
    frames[2].surface["PRSS"] = frames[2].surface["PRSS"][:, 1:]
    with pytest.raises(MetFormatError, match="shape"):
        write_arl(tmp_path / "f", GRID, LEVELS, frames)
    with pytest.raises(MetFormatError, match="no frames"):
        write_arl(tmp_path / "f", GRID, LEVELS, [])
    frames = list(little_frames())
    frames[0].upper["TEMP"][1, 2, 2] = np.nan
    with pytest.raises(MetFormatError, match=r"TEMP of level 2.*NaN"):
        write_arl(tmp_path / "f", GRID, LEVELS, frames)
    assert not list(tmp_path.iterdir())


def test_times_must_ascend_within_a_file(tmp_path):
    """A file whose times go back is damaged."""
    frames = list(little_frames())
    path = write_arl(tmp_path / "f", GRID, LEVELS, [frames[1], frames[0]])
    with pytest.raises(MetFormatError, match="do not ascend"):
        ArlFile(path)


def test_an_hour_that_a_file_repeats_is_read_once(tmp_path):
    """As some files of NOAA's archive do; the same hour with other fields is refused."""
    path = write_arl(tmp_path / "f", GRID, LEVELS, little_frames())
    once = ArlFile(path)
    size = once.layout.period_bytes
    raw = path.read_bytes()
    path.write_bytes(raw[: 2 * size] + raw[size:])
    series = open_series([path], name="m")
    assert series.times.tolist() == once.times.tolist()
    assert [period for _, period in series.sources] == [0, 1, *range(3, len(once.times) + 1)]
    other = list(little_frames())
    other[1].upper["UWND"][:] += 7.0
    twice = write_arl(tmp_path / "g", GRID, LEVELS, other).read_bytes()
    path.write_bytes(raw[: 2 * size] + twice[size:])
    with pytest.raises(MetFormatError, match=r"holds .* UTC twice, with different fields"):
        ArlFile(path)


def test_header_of_a_real_file_is_understood():
    """A header with negative numbers run together, as archives write them, is split by columns."""
    label = b"19 530 6 0 099INDX   0 0.0000000E+00 0.0000000E+00"
    text = (
        b"HRRR  0 090.0000.00000038.5000262.5003.00000.00000038.5000"
        b"1.000001.0000040.1015-112.91.000000 59 41 20 11628"
    )
    header = parse_header(label + text, "hrrr")
    assert header.time == np.datetime64("2019-05-30T06:00:00")
    assert (header.nx, header.ny, header.n_levels, header.vertical_flag) == (59, 41, 20, 1)
    assert header.numbers[9:11] == (40.1015, -112.91)


def scan_record(raw, nx, ny):
    """Unpack one record as the format describes it, from its label on."""
    exponent, precision = int(raw[18:22]), np.float32(float(raw[22:36]))
    data = np.frombuffer(raw, np.uint8, offset=50).reshape(ny, nx)
    steps = ((np.arange(256) - 127) / 2.0 ** (7 - exponent)).astype(np.float32)[data]
    column = np.add.accumulate(
        np.concatenate([[np.float32(float(raw[36:50]))], steps[:, 0]]), dtype=np.float32
    )
    steps[:, 0] = column[1:]
    values = np.add.accumulate(steps, axis=1, dtype=np.float32)
    small = np.abs(values) < precision
    small[:, 0] = False
    values[small] = 0
    return values


@pytest.mark.reference
def test_real_files_decode_bit_for_bit(reference_dir):
    """Every file of the bank has matching checksums and decodes to the bits of a plain scan."""
    for path in sorted((reference_dir / "met").iterdir()):
        file = ArlFile(path)
        file.verify()
        series = open_series([path], name="real")
        grid = series.grid
        last = len(series.times) - 1
        found = series.decode(last, Box(0, grid.nx, 0, grid.ny), series.surface_names, series.upper_names)
        raw = path.read_bytes()

        def record(level, name, raw=raw, file=file, last=last, grid=grid):
            offset = file.record_offset(last, level, name)
            return scan_record(raw[offset : offset + file.layout.record_bytes], grid.nx, grid.ny)

        for name, field in found.surface.items():
            assert_array_equal(
                field.view(np.uint32), record(0, name).view(np.uint32), err_msg=f"{path} {name}"
            )
        for level, names in enumerate(file.variables[1:], start=1):
            for name in names:
                expected = record(level, name)
                if name == "WWND" and "DIFW" in names:
                    expected = expected + record(level, "DIFW")
                assert_array_equal(found.upper[name][level - 1], expected, err_msg=f"{path} {name} {level}")


@pytest.mark.reference
def test_real_files_survive_our_writer(reference_dir, tmp_path):
    """What real files hold is written and read back with the same grid, and a second time bit for bit."""
    for name in ("20190530_00-05_hrrr", "synth_conv_lcc.arl"):
        series = open_series([reference_dir / "met" / name], name="real")
        box = Box(0, series.grid.nx, 0, series.grid.ny)
        upper_names = tuple(name for name in series.upper_names if name != "DIFW")
        frames = [series.decode(n, box, series.surface_names, upper_names) for n in range(2)]
        once = open_series([write_arl(tmp_path / "once", series.grid, series.levels, frames)], name="once")
        assert (once.grid, once.levels) == (series.grid, series.levels)
        again = [once.decode(n, box, series.surface_names, upper_names) for n in range(2)]
        twice = open_series([write_arl(tmp_path / "twice", once.grid, once.levels, again)], name="twice")
        for n in range(2):
            final = twice.decode(n, box, series.surface_names, upper_names)
            for name_ in upper_names:
                assert_array_equal(final.upper[name_], again[n].upper[name_], err_msg=name_)
            assert_allclose(again[n].upper["TEMP"], frames[n].upper["TEMP"], atol=0.05)
