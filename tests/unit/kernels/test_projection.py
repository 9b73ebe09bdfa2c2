"""Grid coordinates agree with PROJ, and there and back is the same place."""

from __future__ import annotations

import numpy as np
import pyproj
import pytest
from numpy.testing import assert_allclose

from stilt.constants import EARTH_RADIUS_KM
from stilt.errors import MetFormatError
from stilt.kernels import projection as kernels
from stilt.meteorology.projection import HorizontalGrid

SPHERE = f"+R={EARTH_RADIUS_KM * 1000:.0f} +units=m +no_defs"
make = HorizontalGrid.conformal
CONFORMAL = {
    "lambert": HorizontalGrid.lambert(38.5, -97.5, 3.0, 60, 40, center_lat=40.7, center_lon=-111.9),
    "polar": make(90, -105, 10.0, 50, 50, center_lat=52, center_lon=-100, ref_lat=60),
    "south polar": make(-90, 20, 10.0, 50, 50, center_lat=-71, center_lon=40, ref_lat=-60),
    "mercator": make(0, 100, 20.0, 50, 40, center_lat=-4, center_lon=106, ref_lat=20),
}
PROJ = {
    "lambert": "+proj=lcc +lat_1=38.5 +lat_0=38.5 +lon_0=-97.5",
    "polar": "+proj=stere +lat_0=90 +lat_ts=60 +lon_0=-105",
    "south polar": "+proj=stere +lat_0=-90 +lat_ts=-60 +lon_0=20",
    "mercator": "+proj=merc +lat_ts=20 +lon_0=100",
}


@pytest.mark.parametrize("name", CONFORMAL)
def test_conformal_grids_agree_with_proj(name):
    """Positions on Lambert, polar stereographic and Mercator grids are PROJ's to a centimetre."""
    grid = CONFORMAL[name]
    rng = np.random.default_rng(1)
    x, y = rng.uniform(1, grid.nx, 50), rng.uniform(1, grid.ny, 50)
    lon, lat = grid.to_lonlat(x, y)
    to_map = pyproj.Proj(f"{PROJ[name]} {SPHERE}")
    map_x, map_y = to_map(lon, lat)
    sync_x, sync_y = to_map(grid.sync_lon, grid.sync_lat)
    metres = grid.size * 1000.0
    assert_allclose(map_x - sync_x, (x - grid.sync_x) * metres, atol=0.01)
    assert_allclose(map_y - sync_y, (y - grid.sync_y) * metres, atol=0.01)


@pytest.mark.parametrize("name", CONFORMAL)
def test_there_and_back_is_the_same_place(name):
    """to_lonlat undoes to_xy to 1e-9 cells, for grids turned by any angle."""
    straight = CONFORMAL[name]
    for turn in (0.0, 17.0):
        numbers = list(straight.numbers)
        numbers[5] = turn
        grid = HorizontalGrid.from_numbers(numbers, straight.nx, straight.ny)
        x, y = np.meshgrid(np.linspace(1, grid.nx, 7), np.linspace(1, grid.ny, 6))
        back_x, back_y = grid.to_xy(*grid.to_lonlat(x, y))
        assert_allclose(back_x, x, atol=1e-9)
        assert_allclose(back_y, y, atol=1e-9)


@pytest.mark.parametrize("name", CONFORMAL)
def test_cell_size_is_the_distance_between_neighbours(name):
    """The spacing at a point is the ground distance of one cell there, along x and along y."""
    grid = CONFORMAL[name]
    sphere = pyproj.Geod(a=EARTH_RADIUS_KM * 1000, b=EARTH_RADIUS_KM * 1000)
    x, y = np.array([5.0, 20.0, 33.0]), np.array([7.0, 30.0, 18.0])
    gx, gy = grid.spacing(x, y)
    for dx, dy, size in ((0.05, 0.0, gx), (0.0, 0.05, gy)):
        lon0, lat0 = grid.to_lonlat(x - dx, y - dy)
        lon1, lat1 = grid.to_lonlat(x + dx, y + dy)
        _, _, metres = sphere.inv(lon0, lat0, lon1, lat1)
        assert_allclose(np.array(metres) / 0.1, size, rtol=1e-5)


def test_the_pole_lies_on_a_polar_grid():
    """The pole of a stereographic grid has finite coordinates and comes back as latitude 90."""
    grid = HorizontalGrid.conformal(90, 0, 50.0, 41, 41, center_lat=90, center_lon=0, ref_lat=60)
    x, y = grid.to_xy(12.0, 90.0)
    assert_allclose([x, y], [21.0, 21.0], atol=1e-6)
    assert_allclose(grid.to_lonlat(21.0, 21.0)[1], 90.0, atol=1e-6)


def test_mercator_is_the_limit_of_lambert():
    """A Lambert grid tangent almost at the equator is the Mercator grid."""
    made = [
        HorizontalGrid.conformal(tangent, 10, 20.0, 40, 40, center_lat=5, center_lon=12)
        for tangent in (0.0, 1e-5)
    ]
    (x0, y0), (x1, y1) = (grid.to_xy([11.0, 14.0], [3.0, 7.0]) for grid in made)
    assert_allclose(x0, x1, atol=1e-4)
    assert_allclose(y0, y1, atol=1e-4)


@pytest.mark.parametrize("shift", [-360.0, 0.0, 360.0])
def test_latlon_grids_take_longitudes_of_any_turn(shift):
    """360 degrees more or less is the same place, and just west of a grid is just below x = 1."""
    grid = HorizontalGrid.latlon(-112.0, 40.0, 0.5, 0.25, nx=20, ny=30)
    x, y = grid.to_xy(np.array([-112.0, -111.0, -112.1]) + shift, 41.0)
    assert_allclose(x, [1.0, 3.0, 0.8], atol=1e-9)
    assert_allclose(y, 5.0)


def test_latlon_grid_across_the_date_line():
    """A grid from 170 E to 170 W is one stretch; longitudes come out in [-180, 180)."""
    grid = HorizontalGrid.latlon(170.0, -10.0, 1.0, 1.0, nx=21, ny=21)
    assert_allclose(grid.to_xy([-175.0, 185.0], 0.0)[0], [16.0, 16.0])
    assert_allclose(grid.to_lonlat([11.0, 21.0], 1.0)[0], [-180.0, -170.0])
    assert grid.describe() in ("171.00 to 188.00 E, -9.00 to 8.00 N", "-189.00 to -172.00 E, -9.00 to 8.00 N")


def test_global_grid_is_cyclic_and_reaches_the_poles():
    """A 2.5 degree globe is cyclic; x lies in [1, nx + 1)."""
    grid = HorizontalGrid.latlon(0.0, -90.0, 2.5, 2.5, nx=144, ny=73)
    assert grid.is_cyclic
    assert grid.is_global
    x, _ = grid.to_xy([0.0, 359.999, -1e-15, -2.5], 10.0)
    assert (x >= 1.0).all()
    assert (x < 145.0).all()
    assert grid.contains([0.0, 179.9, -180.0], [89.0, -89.9, 0.0]).all()


def test_increments_cut_to_seven_characters_still_close_the_circle():
    """1080 columns of .333333 degrees are global although they sum to 359.99964."""
    grid = HorizontalGrid.latlon(0.0, -90.0, 0.333333, 0.333333, nx=1080, ny=541)
    assert grid.is_global
    assert_allclose(grid.to_xy(180.0, 0.0)[0], 541.0, atol=1e-6)


def test_band_around_the_earth_is_cyclic_but_not_global():
    """Without the poles a grid still has no edge in x, but it has one in y."""
    grid = HorizontalGrid.latlon(0.0, -30.0, 3.0, 3.0, nx=120, ny=21)
    assert grid.is_cyclic
    assert not grid.is_global
    assert list(grid.contains([0.0, 359.0, 0.0], [0.0, 0.0, 29.9])) == [True, True, False]


def test_cell_size_at_a_pole_is_that_a_quarter_row_inward():
    """A pole row has the width of latitude 90 - step / 4, not zero."""
    grid = HorizontalGrid.latlon(0.0, -90.0, 4.0, 4.0, nx=90, ny=46)
    degree = EARTH_RADIUS_KM * 1000 * np.pi / 180
    gx, gy = grid.spacing([3.0, 3.0, 3.0], [1.0, 46.0, 23.5])
    assert_allclose(gx, 4 * degree * np.cos(np.radians([89.0, 89.0, 0.0])), rtol=1e-12)
    assert_allclose(gy, 4 * degree, rtol=1e-12)


def test_particles_may_use_all_but_the_rim():
    """Usable are 2 <= x < nx - 2 and 2 <= y < ny - 2; NaN is nowhere."""
    grid = HorizontalGrid.lambert(40.0, -100.0, 12.0, 20, 10)
    x = [1.99, 2.0, 17.99, 18.0, 5.0, 5.0, np.nan]
    y = [5.0, 5.0, 5.0, 5.0, 1.99, 8.0, 5.0]
    assert list(grid.usable(x, y)) == [False, True, True, False, False, False, False]


def test_longitudes_wrap_into_the_half_open_range():
    """180 is -180, and tiny negative rounding does not reach 180."""
    assert kernels.wrap_longitude(180.0) == -180.0
    assert kernels.wrap_longitude(-180.0 - 1e-14) < 180.0
    assert kernels.wrap_longitude(539.0) == pytest.approx(179.0)


@pytest.mark.parametrize(
    "change", [{"nx": 1}, {"size": -3.0}, {"sync_lat": float("nan")}, {"size": 0.0, "ref_lat": -1.0}]
)
def test_impossible_grids_are_refused(change):
    """A header with impossible grid numbers is a damaged one."""
    good = HorizontalGrid.lambert(40.0, -100.0, 12.0, 20, 20)
    fields = {name: getattr(good, name) for name in good.__dataclass_fields__} | change
    with pytest.raises(MetFormatError):
        HorizontalGrid(**fields)
