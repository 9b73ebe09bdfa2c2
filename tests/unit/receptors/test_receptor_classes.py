"""Receptors are values: checked, rounded, unchanging, and each with a name of its own."""

from __future__ import annotations

import copy
import json
import pickle
import sys
from datetime import datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from stilt.errors import MissingExtraError, ReceptorError
from stilt.receptors import ColumnReceptor, MultiPointReceptor, PointReceptor, Receptor

NOON = "2023-01-01 12:00:00"


def point(lon=-111.85, lat=40.77, alt=5.0, time=NOON, **keywords) -> PointReceptor:
    return PointReceptor(time, lon, lat, alt, **keywords)


def test_a_point_receptor_as_the_documentation_writes_it():
    """Keywords, a string time, and the id everyone expects."""
    receptor = PointReceptor(time=NOON, longitude=-111.85, latitude=40.77, altitude=5.0)
    assert receptor.id == "202301011200_-111.85_40.77_5"
    assert receptor.location_id == "-111.85_40.77_5"
    assert receptor.time == datetime(2023, 1, 1, 12)
    assert receptor.altitude_ref == "agl"
    assert list(receptor) == [(40.77, -111.85, 5.0)]
    assert repr(receptor) == (
        "PointReceptor('2023-01-01 12:00:00', longitude=-111.85, latitude=40.77, altitude=5.0, "
        "altitude_ref='agl')"
    )


def test_ids_of_the_other_kinds():
    """A column has a range of heights, a multipoint receptor a hash; MSL is appended for any kind."""
    assert ColumnReceptor(NOON, -111.85, 40.77, 0, 1500.5).location_id == "-111.85_40.77_0-1500.5"
    assert ColumnReceptor(NOON, 1, 2, -5, -2, altitude_ref="msl").location_id == "1_2_-5--2msl"
    assert point(altitude_ref="MSL").location_id == "-111.85_40.77_5msl"
    multi = MultiPointReceptor(NOON, [1, 2], [3, 4], [5, 6], altitude_ref="msl")
    assert multi.location_id.startswith("multi_")
    assert multi.location_id.endswith("msl")
    assert len(multi.location_id) == len("multi_") + 10 + len("msl")


def test_the_hash_of_several_points_is_fixed():
    """Names of existing outputs depend on it: it never changes."""
    receptor = MultiPointReceptor(NOON, [-111.85, -111.9], [40.77, 40.8], [5, 10.25])
    assert receptor.location_id == "multi_5582105a31"


def test_the_order_of_points_is_part_of_the_identity():
    """It fixes which particles belong to which point."""
    forward = MultiPointReceptor(NOON, [1, 2], [3, 4], [5, 6])
    reverse = MultiPointReceptor(NOON, [2, 1], [4, 3], [6, 5])
    assert forward != reverse
    assert forward.id != reverse.id


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (point(lon=-180), point(lon=180)),
        (point(lon=-111.85), point(lon=248.15)),
        (point(lon=0), point(lon=-0.0)),
        (point(lon=0), point(lon=360)),
        (point(lon=179.9999999), point(lon=-180)),
        (point(lon=-0.0000001), point(lon=0)),
        (point(lat=-0.0), point(lat=0.0)),
        (point(alt=5), point(alt=np.float32(5))),
        (point(alt=5.001), point(alt=5.0)),
        (point(alt=-0.0), point(alt=0)),
        (point(time="202301011200"), point(time=np.datetime64("2023-01-01T12:00"))),
    ],
)
def test_one_place_has_one_id(one, other):
    """Different spellings of one place and time are one receptor."""
    assert one == other
    assert hash(one) == hash(other)
    assert one.id == other.id
    assert json.dumps(one.to_dict()) == json.dumps(other.to_dict())


_COORDINATES = st.tuples(st.floats(-180, 360), st.floats(-90, 90), st.floats(0, 30000))
_TIMES = st.datetimes(datetime(1950, 1, 1), datetime(2100, 1, 1))


@st.composite
def any_receptor(draw) -> Receptor:
    ref = draw(st.sampled_from(["agl", "msl"]))
    time = draw(_TIMES)
    kind = draw(st.sampled_from(["point", "column", "multipoint"]))
    if kind == "multipoint":
        points = draw(st.lists(_COORDINATES, min_size=1, max_size=4))
        return MultiPointReceptor(time, *zip(*points, strict=True), altitude_ref=ref)
    x, y, z = draw(_COORDINATES)
    if kind == "point":
        return PointReceptor(time, x, y, z, altitude_ref=ref)
    return ColumnReceptor(time, x, y, z, z + draw(st.floats(0.02, 1000)), altitude_ref=ref)


@given(any_receptor(), any_receptor())
def test_two_different_receptors_never_share_an_id(one, other):
    """Equal ids and equal receptors are the same thing."""
    assert (one.id == other.id) == (one == other)


_NEAR = st.sampled_from([0.0, -0.0, 1e-6, -1e-6, 1e-7, 0.1, 1.0, 10.0, 100.0, 179.999999, -180.0, 180.0])


@settings(max_examples=300)
@given(
    st.tuples(_NEAR, _NEAR),
    st.tuples(_NEAR, _NEAR),
    st.sampled_from(["agl", "msl"]),
    st.sampled_from(["agl", "msl"]),
)
def test_ids_tell_apart_what_nearly_looks_alike(one, other, ref, other_ref):
    """Signs of zero, the last digit kept, both spellings of the date line, both height references."""
    first = PointReceptor(NOON, one[0], 1.0, abs(one[1]), altitude_ref=ref)
    second = PointReceptor(NOON, other[0], 1.0, abs(other[1]), altitude_ref=other_ref)
    assert (first.id == second.id) == (first == second)


@given(any_receptor())
def test_a_receptor_survives_a_round_trip(receptor):
    """Through a dict, through JSON and through another process."""
    assert Receptor.from_dict(receptor.to_dict()) == receptor
    assert Receptor.from_dict(json.loads(json.dumps(receptor.to_dict()))).id == receptor.id
    assert pickle.loads(pickle.dumps(receptor)) == receptor
    assert copy.deepcopy(receptor) is receptor


@given(any_receptor())
def test_values_are_already_rounded(receptor):
    """Building a receptor from its own values changes nothing, so ids and values agree."""
    assert all(-180 <= x < 180 for x in receptor.longitudes)
    assert all(round(x, 6) == x for x in (*receptor.longitudes, *receptor.latitudes))
    assert all(round(z, 2) == z for z in receptor.altitudes)
    assert receptor.time.microsecond == 0


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: point(lon=361), "longitude 361 is outside"),
        (lambda: point(lon=-180.5), "longitude -180.5 is outside"),
        (lambda: point(lat=91), "latitude 91 is outside .* exchanged"),
        (lambda: point(alt=float("nan")), "altitude is nan"),
        (lambda: point(alt=float("inf")), "altitude is inf"),
        (lambda: point(lon=np.nan), "longitude is nan"),
        (lambda: point(alt=-1), "altitude -1 m lies below the ground"),
        (lambda: point(alt="5"), "altitude '5' is not a number"),
        (lambda: point(alt=True), "altitude True is not a number"),
        (lambda: point(alt=None), "altitude None is not a number"),
        (lambda: point(alt=[5]), r"altitude \[5\] is not a number"),
        (lambda: point(altitude_ref="asl"), "altitude_ref 'asl' is unknown"),
        (lambda: point(altitude_ref=None), "altitude_ref None is unknown"),
        (lambda: ColumnReceptor(NOON, 1, 2, 5, 5), "bottom 5 m must lie below its top 5 m"),
        (lambda: ColumnReceptor(NOON, 1, 2, 5, 5.001), "bottom 5 m must lie below its top 5 m"),
        (lambda: ColumnReceptor(NOON, 1, 2, 9, 5), "bottom 9 m must lie below its top 5 m"),
        (lambda: MultiPointReceptor(NOON, [1, 2], [3], [4, 5]), "2 longitudes, 1 latitudes and 2 altitudes"),
        (lambda: MultiPointReceptor(NOON, [], [], []), "at least one point"),
        (lambda: MultiPointReceptor(NOON, 1, [2], [3]), "1 is not a list"),
        (lambda: Receptor.from_points(NOON, []), "at least one point"),
        (lambda: Receptor.from_points(NOON, [(1, 2)]), r"point \(1, 2\) is not"),
        (lambda: Receptor.from_dict({"type": "tower"}), "receptor type 'tower' is unknown"),
        (lambda: Receptor.from_dict({"type": "point", "time": NOON}), "missing .* PointReceptor"),
        (lambda: Receptor.from_dict("point"), "does not describe a receptor"),
    ],
)
def test_what_cannot_be_a_receptor_is_refused_in_one_line(build, message):
    """With the value, and what to do."""
    with pytest.raises(ReceptorError, match=message) as caught:
        build()
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, ValueError)


def test_heights_above_sea_level_may_be_negative():
    """The Dead Sea is a place."""
    assert point(alt=-430, altitude_ref="msl").altitude == -430


def test_from_points_chooses_the_class():
    """One point, two heights above one spot, anything else."""
    assert Receptor.from_points(NOON, [(1, 2, 3)]) == PointReceptor(NOON, 1, 2, 3)
    assert Receptor.from_points(NOON, [(1, 2, 9), (361 - 360, 2, 3)]) == ColumnReceptor(NOON, 1, 2, 3, 9)
    slant = Receptor.from_points(NOON, [(1, 2, 3), (1.1, 2, 9)])
    assert slant == MultiPointReceptor(NOON, [1, 1.1], [2, 2], [3, 9])
    three = Receptor.from_points(NOON, [(1, 2, 3), (1, 2, 5), (1, 2, 9)], altitude_ref="msl")
    assert three.kind == "multipoint"
    assert three.altitude_ref == "msl"


def test_a_receptor_never_changes():
    """It is a key of dicts and an identity of files."""
    receptor = point()
    with pytest.raises(AttributeError, match="never changes"):
        receptor.time = datetime(2020, 1, 1)
    with pytest.raises(AttributeError):
        receptor.site = "tower"
    with pytest.raises(AttributeError):
        del receptor.time


def test_column_particles_sit_in_the_middle_of_equal_slices():
    """From bottom to top, so the mean height is the middle of the column."""
    column = ColumnReceptor(NOON, 1, 2, 100, 200)
    assert_array_equal(column.release_heights(4), [112.5, 137.5, 162.5, 187.5])
    assert_array_equal(column.release_points(4), [0, 0, 0, 0])
    assert_array_equal(point(alt=7).release_heights(3), [7, 7, 7])


@given(st.integers(1, 7), st.integers(1, 500))
def test_points_get_contiguous_blocks_as_equal_as_possible(n_points, numpar):
    """Block sizes differ by one at most, and every point has particles."""
    receptor = MultiPointReceptor(NOON, range(n_points), [0] * n_points, range(n_points))
    if numpar < n_points:
        with pytest.raises(ReceptorError, match="cannot be shared"):
            receptor.release_points(numpar)
        return
    points = receptor.release_points(numpar)
    counts = np.bincount(points, minlength=n_points)
    assert len(points) == numpar
    assert np.all(np.diff(points) >= 0)
    assert counts.max() - counts.min() <= 1
    assert_array_equal(receptor.release_heights(numpar), points.astype(float))


def test_geometry_has_heights():
    """A point, a vertical line and several points, for use with shapely and geopandas."""
    pytest.importorskip("shapely")
    assert point().geometry.wkt == "POINT Z (-111.85 40.77 5)"
    assert ColumnReceptor(NOON, 1, 2, 3, 4).geometry.geom_type == "LineString"
    assert len(MultiPointReceptor(NOON, [1, 2], [3, 4], [5, 6]).geometry.geoms) == 2


def test_geometry_without_shapely_says_what_to_install(monkeypatch):
    """It is an extra."""
    monkeypatch.setitem(sys.modules, "shapely", None)
    with pytest.raises(MissingExtraError, match=r"pip install '\.\[geometry\]'"):
        _ = point().geometry
