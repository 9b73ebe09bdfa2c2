"""Boxes on the globe and the cells in them."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from stilt.errors import ConfigError
from stilt.spatial import Bounds, Grid, wrap_longitude

SLV = {"xmin": -113, "xmax": -111, "ymin": 40, "ymax": 42, "xres": 0.01, "yres": 0.01}


def grid_with(**changes) -> Grid:
    return Grid(**{**SLV, **changes})


def test_cells_fill_the_bounds():
    """A 2 by 2 degree box holds 200 by 200 cells of 0.01 degree, centres ascending."""
    grid = grid_with()
    assert grid.shape == (200, 200)
    assert grid.is_whole
    assert_allclose(grid.x_centers()[[0, -1]], [-112.995, -111.005])
    assert_allclose(grid.y_centers()[[0, -1]], [40.005, 41.995])


def test_what_is_left_beyond_the_last_whole_cell_is_cut():
    """Cells of 0.3 in a box of 1 leave the last 0.1 out."""
    grid = grid_with(xmin=0, xmax=1, ymin=0, ymax=1, xres=0.3, yres=0.5)
    assert grid.shape == (2, 3)
    assert not grid.is_whole
    assert_allclose(grid.covered_extent, (0, 0.9, 0, 1))


@pytest.mark.parametrize(("xmin", "xmax"), [(165, 195), (165, -165)])
def test_a_grid_may_cross_the_date_line(xmin, xmax):
    """Both spellings give one contiguous ascending axis."""
    grid = grid_with(xmin=xmin, xmax=xmax, xres=1, yres=1)
    assert grid.extent[:2] == (165, 195)
    assert grid.crosses_dateline
    assert not grid.is_global
    assert_allclose(np.diff(grid.x_centers()), 1.0)
    assert_allclose(grid.x_centers()[[0, -1]], [165.5, 194.5])
    assert grid.contains(-170, 41)
    assert not grid.contains(0, 41)


@pytest.mark.parametrize(("xmin", "xmax"), [(-180, 180), (0, 360)])
def test_a_global_grid_starts_at_the_date_line(xmin, xmax):
    """As in STILT, whatever the bounds were written as."""
    grid = grid_with(xmin=xmin, xmax=xmax, ymin=-90, ymax=90, xres=1, yres=1)
    assert grid.is_global
    assert grid.extent == (-180, 180, -90, 90)
    assert grid.shape == (180, 360)


@pytest.mark.parametrize(
    "projection",
    [
        "+proj=longlat",
        "+proj=longlat +datum=WGS84 +no_defs",
        "+proj=latlong",
        "EPSG:4326",
        4326,
        "4326",
        "OGC:CRS84",
    ],
)
def test_every_spelling_of_degrees_is_longlat(projection):
    """Codes as well as PROJ strings."""
    assert grid_with(projection=projection).is_longlat


@pytest.mark.parametrize("projection", ["EPSG:32612", 32612, "+proj=utm +zone=12 +datum=WGS84"])
def test_a_projected_grid_has_bounds_in_degrees_and_cells_in_metres(projection):
    """The two corners are projected."""
    grid = grid_with(projection=projection, xres=1000, yres=1000)
    assert not grid.is_longlat
    x0, x1, y0, y1 = grid.extent
    assert x1 - x0 == pytest.approx(170e3, rel=0.05)
    assert y1 - y0 == pytest.approx(222e3, rel=0.02)
    assert grid.shape == (int((y1 - y0) // 1000), int((x1 - x0) // 1000))
    assert grid.crs().to_epsg() == 32612


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"xmin": -111}, "xmin and xmax are both -111"),
        ({"xmin": float("nan")}, "xmin: should be a finite number"),
        ({"xmax": float("inf")}, "xmax: should be a finite number"),
        ({"xmax": 700}, "xmax = 700 is not a longitude"),
        ({"xmin": -200, "xmax": 170}, "wider than 360"),
        ({"ymin": 42}, "ymin = 42 must lie south of ymax = 42"),
        ({"ymax": 91}, "ymax = 91 is not a latitude"),
        ({"xres": 0}, "xres: should be greater than 0"),
        ({"yres": -1}, "yres: should be greater than 0"),
        ({"xres": 3}, "no whole cell"),
        ({"xres": True}, "xres: should be a number"),
        ({"xres": None}, "xres: should be a number"),
        ({"projection": "nowhere"}, "neither a PROJ string nor an EPSG code"),
        ({"projection": "EPSG:999999"}, "neither a PROJ string nor an EPSG code"),
        ({"projection": "EPSG:32612"}, "|"),
        ({"xre": 1}, "unknown key 'xre', did you mean 'xres'"),
    ],
)
def test_a_grid_that_makes_no_sense_is_refused_in_one_line(changes, message):
    """With the value that is wrong."""
    if message == "|":  # degrees given where the projection counts metres is many cells, but a legal grid
        assert grid_with(**changes).nx > 1000
        return
    with pytest.raises(ConfigError, match=message) as caught:
        grid_with(**changes)
    assert "\n" not in str(caught.value)


def test_grids_are_values():
    """Equal when their fields are, usable as keys, and they travel to other processes."""
    assert grid_with() == grid_with()
    assert len({grid_with(), grid_with()}) == 1
    assert pickle.loads(pickle.dumps(grid_with())) == grid_with()


def test_bounds_have_no_cells():
    """A box needs its four edges only."""
    assert Bounds(xmin=1, xmax=2, ymin=3, ymax=4).east == 2
    with pytest.raises(ConfigError, match="unknown key 'xres'"):
        Bounds(**SLV)


@given(st.floats(-1e4, 1e4), st.floats(-360, 360))
def test_wrapping_keeps_the_meridian(longitude, west):
    """The result differs by whole turns and lies in the wanted range."""
    wrapped = wrap_longitude(longitude, west)
    assert west <= wrapped < west + 360
    turns = (longitude - wrapped) / 360
    assert turns == pytest.approx(round(turns), abs=1e-9)
