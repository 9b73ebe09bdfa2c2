"""Ids have one spelling for one thing, and cannot name anything outside their folder."""

from __future__ import annotations

import pickle
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stilt.errors import ConfigError, ReceptorError
from stilt.ids import (
    LocationID,
    ReceptorID,
    SimID,
    check_footprint_name,
    check_met_key,
    format_number,
    format_time,
)

NOON = datetime(2023, 1, 1, 12)


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [
        (-111.85, 6, "-111.85"),
        (5.0, 2, "5"),
        (-0.0, 6, "0"),
        (-0.0000001, 6, "0"),
        (1e-5, 6, "0.00001"),
        (25000.0, 2, "25000"),
        (100.0, 0, "100"),
    ],
)
def test_a_number_has_one_spelling(value, decimals, text):
    """No exponent, no trailing zeros, no negative zero."""
    assert format_number(value, decimals) == text


def test_seconds_are_appended_only_when_not_zero():
    """12:00:00 and 12:00:30 differ, and the usual case stays short."""
    assert format_time(NOON) == "202301011200"
    assert format_time(NOON.replace(second=30)) == "20230101120030"
    assert format_time(datetime(987, 1, 1)) == "098701010000"


@pytest.mark.parametrize(
    "location",
    [
        "-111.85_40.77_5",
        "-111.85_40.77_5msl",
        "-180_-90_0",
        "0_0_0-1000",
        "10_20_-5-10msl",
        "10_20_-5--2.5msl",
        "multi_0123456789",
        "multi_0123456789msl",
    ],
)
@pytest.mark.parametrize("time", [NOON, NOON.replace(minute=7, second=9)])
def test_a_simulation_id_says_its_parts(location, time):
    """Met, time and location can be read back from the id."""
    sim_id = SimID.build("hrrr", time, location)
    assert SimID.parse(str(sim_id)) == sim_id
    assert (sim_id.met, sim_id.time, sim_id.location) == ("hrrr", time, location)
    assert sim_id == f"hrrr_{sim_id.receptor_id}"
    assert sim_id.receptor_id.time == time
    assert sim_id.receptor_id.location == location
    assert isinstance(pickle.loads(pickle.dumps(sim_id)), SimID)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hrrr",
        "hrrr_202301011200",
        "HRRR_202301011200_1_2_3",
        "hr_rr_202301011200_1_2_3",
        "hrrr_202313011200_1_2_3",
        "hrrr_20230101120000_1_2_3",
        "hrrr_2023010112_1_2_3",
        "hrrr_202301011200_1.0_2_3",
        "hrrr_202301011200_-0_2_3",
        "hrrr_202301011200_1_2_-0",
        "hrrr_202301011200_1e3_2_3",
        "hrrr_202301011200_01_2_3",
        "hrrr_202301011200_1_2_3agl",
        "hrrr_202301011200_1_2_3\n",
        "hrrr_202301011200_1_2_٣",
        "hrrr_202301011200_multi_012345678",
        "hrrr_202301011200_multi_012345678G",
        "../hrrr_202301011200_1_2_3",
        "hrrr_202301011200_1_2_3/../x",
    ],
)
def test_anything_else_is_no_simulation_id(text):
    """A second spelling would be a second folder; a path would be a way out."""
    with pytest.raises(ReceptorError, match="is not a simulation id"):
        SimID(text)


@given(st.text(max_size=60))
def test_no_text_becomes_a_path(text):
    """Whatever is written, an accepted id holds no separator and no dot-dot."""
    for build in (SimID, ReceptorID, LocationID):
        try:
            accepted = build(text)
        except ReceptorError:
            continue
        assert not set(accepted) & set("/\\:\n\0 ")
        assert ".." not in accepted


@pytest.mark.parametrize("name", ["hrrr", "gfs0p25", "1"])
def test_met_names_are_lower_case_letters_and_digits(name):
    """They are the first part of an id, up to the first underscore."""
    assert check_met_key(name) == name


@pytest.mark.parametrize("name", ["", "HRRR", "hr_rr", "hr-rr", "../x", "hrrr\n", "ü", 1, None])
def test_other_met_names_are_refused(name):
    """The message shows the value and an example."""
    with pytest.raises(ConfigError, match="met name"):
        check_met_key(name)


@pytest.mark.parametrize("name", ["default", "slv", "a-b_c", "0", "error"])
def test_footprint_names_become_part_of_file_names(name):
    """Lower-case letters, digits, '_' and '-'."""
    assert check_footprint_name(name) == name


@pytest.mark.parametrize("name", ["", "A", "_a", "-a", "a b", "a/b", "slv_error", "a.nc", "a\n"])
def test_other_footprint_names_are_refused(name):
    """The ending _error belongs to error footprints."""
    with pytest.raises(ConfigError, match="footprint name"):
        check_footprint_name(name)
