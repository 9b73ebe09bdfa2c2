"""receptors.csv, as people write it."""

from __future__ import annotations

import warnings
from datetime import datetime

import pytest

from stilt.errors import ReceptorError
from stilt.receptors import (
    ColumnReceptor,
    MultiPointReceptor,
    PointReceptor,
    as_receptors,
    read_receptors,
)

NOON = datetime(2023, 1, 1, 12)
HEADER = "time,longitude,latitude,altitude\n"


@pytest.fixture
def csv_file(tmp_path):
    def write(text: str, encoding: str = "utf-8"):
        path = tmp_path / "receptors.csv"
        path.write_bytes(text.encode(encoding))
        return path

    return write


@pytest.mark.parametrize("time", ["time", "run_time", "Run_Time"])
@pytest.mark.parametrize("lat", ["latitude", "lat", "lati", "LATI"])
@pytest.mark.parametrize("lon", ["longitude", "lon", "long", "Lon"])
@pytest.mark.parametrize("alt", ["altitude", "z", "zagl", "ZAGL"])
def test_every_alias_is_understood(csv_file, time, lat, lon, alt):
    """In any case and in any order."""
    path = csv_file(f"{alt},{lat},{lon},{time}\n5,40.77,-111.85,2023-01-01 12:00:00\n")
    assert read_receptors(path) == [PointReceptor(NOON, -111.85, 40.77, 5)]


def test_comments_blank_lines_and_other_columns_are_skipped(csv_file):
    """Also with a byte-order mark, Windows line ends, quotes, remarks and a site name with a '#'."""
    path = csv_file(
        "# towers\r\n\r\nsite,time,lon,lat,zagl\r\n  # the first\r\n"
        '"UOU, #1",2023-01-01 12:00, -111.85 ,40.77,5 # up\r\n,,,,\r\n',
        "utf-8-sig",
    )
    assert read_receptors(path) == [PointReceptor(NOON, -111.85, 40.77, 5)]


def test_times_with_zones_are_converted(csv_file):
    """Five in Denver is noon in UTC."""
    path = csv_file(HEADER + "2023-01-01T05:00:00-07:00,1,2,3\n")
    assert read_receptors(path)[0].time == NOON


@pytest.mark.parametrize(
    ("header", "row", "ref"),
    [
        ("zmsl", "1500", "msl"),
        ("zagl", "1500", "agl"),
        ("z", "1500", "agl"),
        ("altitude,altitude_ref", "1500,MSL", "msl"),
        ("altitude,height_ref", "1500,agl", "agl"),
        ("altitude,altitude_ref", "1500,", "agl"),
        ("zmsl,altitude_ref", "1500,msl", "msl"),
        ("zmsl,altitude_ref", "1500,", "msl"),
    ],
)
def test_heights_refer_to_what_the_column_says(csv_file, header, row, ref):
    """``zmsl`` is above sea level, ``zagl`` above ground, plain heights above ground unless said."""
    path = csv_file(f"time,lon,lat,{header}\n202301011200,1,2,{row}\n")
    assert read_receptors(path)[0].altitude_ref == ref


def test_rows_with_one_index_form_one_receptor(csv_file):
    """Two heights above one spot are a column, other groups are multipoint; rows need not be adjacent."""
    path = csv_file(
        "r_idx,time,lon,lat,zagl\n"
        "a,202301011200,1,2,100\n"
        "b,202301011200,1,2,10\n"
        "a,202301011200,1,2,5\n"
        ",202301011200,9,9,9\n"
        "b,202301011200,1.5,2,20\n"
        "c,202301011200,3,3,3\n"
    )
    assert read_receptors(path) == [
        ColumnReceptor(NOON, 1, 2, 5, 100),
        MultiPointReceptor(NOON, [1, 1.5], [2, 2], [10, 20]),
        PointReceptor(NOON, 9, 9, 9),
        PointReceptor(NOON, 3, 3, 3),
    ]


def test_repeated_receptors_are_reported_once_and_run_once(csv_file):
    """Also when they are spelt differently."""
    path = csv_file(
        HEADER
        + "202301011200,1,2,3\n202301011200,4,5,6\n2023-01-01 12:00,1.0,2.00,3\n202301011200,361e0,2,3\n"
    )
    path = csv_file(path.read_text().replace("361e0", "1e0"))
    with pytest.warns(UserWarning, match=r"2 repeated receptors dropped.*line 4 repeats line 2") as caught:
        receptors = read_receptors(path)
    assert len(caught) == 1
    assert [receptor.longitudes[0] for receptor in receptors] == [1, 4]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("# nothing\n", "is empty"),
        (HEADER, "holds no receptor"),
        ("time,lon,zagl\n", "line 1: no column for latitude.*may be named latitude or lat or lati"),
        ("time;lon;lat;zagl\n", "no column for time, latitude, longitude, altitude"),
        ("time,lon,lat,zagl,zmsl\n", "columns 'zagl' and 'zmsl' both give the altitude"),
        ("time,lon,lat,zagl,altitude_reff\n", "unknown column 'altitude_reff'; did you mean 'altitude_ref'"),
        ("time,lon,latitud,zagl\n", "unknown column 'latitud'; did you mean 'latitude'"),
        (HEADER + "\n# c\n202301011200,1,2,x\n", "line 4, column 'altitude': altitude 'x' is not a number"),
        (HEADER + "202301011200,1,2,\n", "line 2, column 'altitude': altitude is missing"),
        (HEADER + "202301011200,1,2\n", "line 2, column 'altitude': altitude is missing"),
        (HEADER + "202301011200,1,2,NaN\n", "line 2, column 'altitude': altitude is nan"),
        (HEADER + "202301011200,1,2,1_000\n", "altitude '1_000' is not a number"),
        (HEADER + "202301011200,1,2,-3\n", "line 2, column 'altitude': altitude -3 m lies below the ground"),
        (HEADER + "202301011200,1,200,3\n", "line 2, column 'latitude': latitude 200 is outside"),
        (HEADER + "202301011200,1,2,3,4\n", "line 2: 5 values for 4 columns"),
        (HEADER + "1672576200,1,2,3\n", "line 2, column 'time': time '1672576200' is a plain number"),
        (HEADER + ",1,2,3\n", "line 2, column 'time': time is empty"),
        ("TIME,Lon,lat,z\nx,1,2,3\n", "line 2, column 'TIME': time 'x' cannot be read"),
        (
            "time,lon,lat,zmsl,height_ref\n202301011200,1,2,3,agl\n",
            "column 'height_ref': 'agl' contradicts .*'zmsl'",
        ),
        ("time,lon,lat,z,height_ref\n202301011200,1,2,3,asl\n", "column 'height_ref': 'asl' is unknown"),
        (HEADER + '202301011200,1,2,"3\n', "line 2: not a CSV line"),
        (
            "r_idx,time,lon,lat,z\n1,202301011200,1,2,3\n1,202301011300,1,2,4\n",
            "line 3, column 'time': 2023-01-01 13:00:00 differs from 2023-01-01 12:00:00.*r_idx '1'",
        ),
        (
            "r_idx,time,lon,lat,z,altitude_ref\n1,202301011200,1,2,3,agl\n1,202301011200,1,2,4,msl\n",
            "line 3, column 'altitude_ref': msl differs from agl",
        ),
        (
            "r_idx,time,lon,lat,z\n1,202301011200,1,2,3\n1,202301011200,1,2,3\n",
            "line 3, column 'r_idx': the point repeats line 2",
        ),
    ],
)
def test_errors_name_file_line_and_column(csv_file, text, message):
    """In one line, with the value."""
    with pytest.raises(ReceptorError, match=message) as caught:
        read_receptors(csv_file(text))
    assert "receptors.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path, csv_file):
    """Missing, a folder, not text."""
    with pytest.raises(ReceptorError, match="no such file"):
        read_receptors(tmp_path / "none.csv")
    with pytest.raises(ReceptorError, match="cannot be read"):
        read_receptors(tmp_path)
    with pytest.raises(ReceptorError, match="cannot be read as UTF-8"):
        read_receptors(csv_file(HEADER + "é", "latin-1"))


def test_many_receptors_are_read(csv_file):
    """Twenty thousand rows, each a receptor of its own."""
    rows = (
        f"2023-01-{1 + i % 28:02d} {i % 24:02d}:00,{-100 + i * 1e-5:.5f},40,{i % 50}\n" for i in range(20_000)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(read_receptors(csv_file(HEADER + "".join(rows)))) == 20_000


def test_receptors_may_be_given_in_many_ways(csv_file):
    """One, several, tuples, dicts, a generator, or a file."""
    one = PointReceptor(NOON, 1, 2, 3)
    other = ColumnReceptor(NOON, 1, 2, 3, 9)
    assert as_receptors(one) == [one]
    assert as_receptors([one, other]) == [one, other]
    assert as_receptors((one, other, one.to_dict() | {"altitude": 7}))[2].altitudes == (7.0,)
    assert as_receptors(("2023-01-01 12:00", 1, 2, 3)) == [one]
    assert as_receptors([("2023-01-01 12:00", 1, 2, 3), (NOON, 1, 2, 3, 9)]) == [one, other]
    assert as_receptors(receptor for receptor in (one, other)) == [one, other]
    assert as_receptors(one.to_dict()) == [one]
    assert as_receptors(str(csv_file(HEADER + "202301011200,1,2,3\n"))) == [one]
    assert as_receptors([]) == []


@pytest.mark.parametrize("given", [None, 5, [5], ["receptors.csv"], [(1, 2)], [None]])
def test_what_is_no_receptor_is_refused(given):
    """With what would be one."""
    with pytest.raises(ReceptorError):
        as_receptors(given)


def test_a_repeated_receptor_in_a_list_is_dropped():
    """As in a file."""
    one = PointReceptor(NOON, 1, 2, 3)
    with pytest.warns(UserWarning, match="1 repeated receptor dropped.*number 2 repeats number 1"):
        assert as_receptors([one, one]) == [one]
