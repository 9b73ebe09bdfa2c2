"""Sums over other cells and intervals conserve what they cover, whatever the order, origin or projection."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from stilt.errors import FootprintError
from stilt.footprint import Footprint, aggregate_array, calc_footprint
from stilt.footprint.cells import CellAxes
from stilt.footprint.regrid import make_regridder
from stilt.footprint.regridders import overlap_shares
from stilt.receptors import PointReceptor
from stilt.spatial import Grid

RECEPTOR = PointReceptor("2023-01-01 12:30", -3.0, 40.0, 5.0)
LONGLAT = Grid(xmin=-4, xmax=-2, ymin=39, ymax=41, xres=0.1, yres=0.1)
UTM = Grid(xmin=-4, xmax=-2, ymin=39, ymax=41, xres=5000, yres=5000, projection="EPSG:32630")
DATELINE = Grid(xmin=179, xmax=-179, ymin=39, ymax=41, xres=0.1, yres=0.1)
RELAXED = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def walk(lon: float = -3.0, seed: int = 1, n: int = 8) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    time = np.repeat(np.arange(1.0, 121.0), n)
    return pd.DataFrame(
        {
            "time": -time,
            "indx": np.tile(np.arange(n), 120),
            "long": (lon + rng.normal(0, 0.2, time.size) + 180.0) % 360.0 - 180.0,
            "lati": 40.0 + rng.normal(0, 0.2, time.size),
            "foot": rng.random(time.size),
        }
    )


def made(grid: Grid = LONGLAT, lon: float = -3.0, **options: object) -> Footprint:
    return calc_footprint(walk(lon), grid, receptor=RECEPTOR, **options)


FOOTPRINT = made()
TOTAL = FOOTPRINT.data.sum().item()


def test_cells_of_a_coarser_grid_hold_sums():
    """Five by five cells become one."""
    coarse = FOOTPRINT.aggregate(Grid(xmin=-4, xmax=-2, ymin=39, ymax=41, xres=0.5, yres=0.5))
    blocks = FOOTPRINT.data.values.reshape(2, 4, 5, 4, 5).sum(axis=(2, 4))
    assert_allclose(coarse.values, blocks, rtol=1e-12)
    assert coarse.dims == ("time", "lat", "lon")
    assert coarse.attrs["units"] == "ppm m2 s umol-1"
    assert_allclose(coarse.lon, [-3.75, -3.25, -2.75, -2.25])
    assert (coarse.time.values == FOOTPRINT.data.time.values).all()


def test_cells_that_are_cut_share():
    """A cell half inside gives half of itself; what is outside is left out."""
    half = FOOTPRINT.aggregate(([-4.0, -2.95], [39.0, 41.0]), axes="edges")
    cut = FOOTPRINT.data.values[:, :, :10].sum() + 0.5 * FOOTPRINT.data.values[:, :, 10].sum()
    assert_allclose(half.sum(), cut, rtol=1e-12)


def test_axes_are_centres_unless_they_are_edges():
    """Centres get edges in the middle; descending axes and longitudes from 0 give the same numbers."""
    x, y = np.arange(-3.75, -2, 0.5), np.arange(39.25, 41, 0.5)
    expected = FOOTPRINT.aggregate(Grid(xmin=-4, xmax=-2, ymin=39, ymax=41, xres=0.5, yres=0.5)).values
    assert_allclose(FOOTPRINT.aggregate((x, y)).values, expected)
    edges = np.arange(-4, -1.9, 0.5), np.arange(39, 41.1, 0.5)
    assert_allclose(FOOTPRINT.aggregate(edges, axes="edges").values, expected)
    turned = FOOTPRINT.aggregate((x + 360.0, y[::-1]))
    assert_allclose(turned.values, expected[:, ::-1])
    assert_allclose(turned.lon, x + 360.0)
    assert_allclose(turned.lat, y[::-1])
    assert_allclose(FOOTPRINT.aggregate((x[::-1], y)).values, expected[:, :, ::-1])


def test_xarray_grids_are_taken_with_their_edges():
    """A dataset's bounds count where it has them, else the middle between centres."""
    x, y = np.array([-3.5, -2.5]), np.array([39.5, 40.5])
    plain = xr.Dataset(coords={"longitude": x, "latitude": y})
    assert_allclose(FOOTPRINT.aggregate(plain).sum(), TOTAL, rtol=1e-12)
    bounds = xr.Dataset(
        {
            "lon_bnds": (("lon", "nv"), [[-4.0, -3.8], [-3.8, -2.0]]),
            "lat_bnds": (("lat", "nv"), [[39.0, 39.5], [39.5, 41.0]]),
        },
        coords={"lon": [-3.9, -2.9], "lat": [39.25, 40.25]},
    )
    uneven = FOOTPRINT.aggregate(bounds)
    assert_allclose(uneven.sum(), TOTAL, rtol=1e-12)
    assert_allclose(uneven.isel(lon=0).sum(), FOOTPRINT.data.values[:, :, :2].sum(), rtol=1e-12)


def test_a_footprint_across_the_date_line_reaches_targets_on_either_side():
    """Cells at 179.5 and -179.5 get what lies there, whichever way longitudes are counted."""
    footprint = made(DATELINE, lon=180.0)
    total = footprint.data.sum().item()
    expected = footprint.data.values[:, :, :10].sum(), footprint.data.values[:, :, 10:].sum()
    for axis in ([179.5, 180.5], [179.5, -179.5], [-180.5, -179.5]):
        sums = footprint.aggregate((axis, [39.5, 40.5])).sum(("time", "lat"))
        assert_allclose(sums, expected, rtol=1e-12)
    world = Grid(xmin=-180, xmax=180, ymin=-90, ymax=90, xres=1, yres=1)
    assert_allclose(footprint.aggregate(world).sum(), total, rtol=1e-12)


def test_another_projection_keeps_the_sum():
    """From UTM to degrees and back nothing is lost, and cells agree to a part of a source cell."""
    utm = made(UTM)
    total = utm.data.sum().item()
    wide = Grid(xmin=-5, xmax=-1, ymin=38, ymax=42, xres=0.5, yres=0.5)
    there = utm.aggregate(wide)
    assert there.dims == ("time", "lat", "lon")
    assert_allclose(there.sum(), total, rtol=1e-12)
    exact = made(wide).data.sum("time")
    assert np.abs(there.sum("time") - exact).sum() < 0.1 * total
    back = FOOTPRINT.aggregate(
        Grid(xmin=-5, xmax=-1, ymin=38, ymax=42, xres=20000, yres=20000, projection="EPSG:32630")
    )
    assert back.dims == ("time", "y", "x")
    assert_allclose(back.sum(), TOTAL, rtol=1e-12)


def test_polygons_get_exact_shares():
    """Two halves add up to the whole, on any grid; the index names them; a hole is left out."""
    geopandas = pytest.importorskip("geopandas")
    pytest.importorskip("exactextract")
    import shapely

    west, east = shapely.box(-5, 38, -3.03, 42), shapely.box(-3.03, 38, -1, 42)
    frame = geopandas.GeoDataFrame(geometry=[west, east], index=["west", "east"], crs="EPSG:4326")
    zones = FOOTPRINT.aggregate(frame)
    assert zones.dims == ("time", "zone")
    assert zones.zone.values.tolist() == ["west", "east"]
    edges = FOOTPRINT.aggregate(([-5, -3.03, -1], [38, 42]), axes="edges").values[:, 0]
    assert_allclose(zones.values, edges, rtol=1e-6)
    assert_allclose(zones.sum(), TOTAL, rtol=1e-9)
    utm = made(UTM)
    assert_allclose(utm.aggregate([west, east]).sum(), utm.data.sum(), rtol=1e-9)
    assert_allclose(FOOTPRINT.aggregate(frame.to_crs("EPSG:32630")).values, zones.values, rtol=1e-2)
    ring = shapely.box(-4, 39, -2, 41).difference(shapely.box(-3.5, 39.5, -2.5, 40.5))
    inner = FOOTPRINT.aggregate(([-3.5, -2.5], [39.5, 40.5]), axes="edges").sum()
    assert_allclose(FOOTPRINT.aggregate(ring).sum() + inner, TOTAL, rtol=1e-9)
    line = made(DATELINE, lon=180.0)
    assert_allclose(
        line.aggregate([shapely.box(-180, 38, -170, 42)]).sum(), line.data.values[:, :, 10:].sum(), rtol=1e-9
    )


def test_polygons_without_their_packages_say_what_to_install():
    """The extra is named."""
    shapely = pytest.importorskip("shapely")
    code = (
        "import sys; sys.modules['exactextract'] = None\n"
        "import shapely\nfrom stilt.footprint.cells import CellAxes\n"
        "from stilt.footprint.regrid import make_regridder\nfrom stilt.spatial import Grid\n"
        "cells = CellAxes.of_grid(Grid(xmin=0, xmax=1, ymin=0, ymax=1, xres=1, yres=1))\n"
        "try:\n    make_regridder(cells, shapely.box(0, 0, 1, 1))\nexcept ImportError as error:\n    "
        "print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pystilt[geometry]" in done.stdout
    assert shapely is not None


def test_time_bins_share_hours():
    """Hours from half past give half to each clock hour; days and edges work too."""
    hourly = FOOTPRINT.aggregate(None, "1h")
    layers = FOOTPRINT.data.sum(("lat", "lon")).values
    assert [str(t)[11:16] for t in hourly.time.values] == ["10:00", "11:00", "12:00"]
    assert_allclose(hourly.sum(("lat", "lon")), [layers[0] / 2, layers.sum() / 2, layers[1] / 2])
    assert_allclose(FOOTPRINT.aggregate(None, "1D").sum(), TOTAL)
    edges = pd.date_range("2023-01-01 10:30", periods=3, freq="1h")
    assert_allclose(FOOTPRINT.aggregate(None, edges).values, FOOTPRINT.data.values)
    assert_allclose(
        FOOTPRINT.aggregate(None, ["2023-01-01 11:30", "2023-01-02"]).values[0], FOOTPRINT.data.values[1]
    )
    intervals = pd.IntervalIndex.from_breaks(edges, closed="left")
    assert_allclose(FOOTPRINT.aggregate(None, intervals).values, FOOTPRINT.data.values)


def test_integrated_footprints_are_not_split():
    """Nobody knows how a run's influence is spread over its hours; a bin that holds all of it is fine."""
    whole = made(time_integrate=True)
    with pytest.raises(FootprintError, match="integrated over time"):
        whole.aggregate(None, "1h")
    with pytest.raises(FootprintError, match="integrated over time"):
        whole.aggregate(None, ["2023-01-01 12:00", "2023-01-02"])
    days = whole.aggregate(None, ["2022-12-31", "2023-01-01", "2023-01-02"])
    assert_allclose(days.sum(("lat", "lon")), [0.0, TOTAL])
    with pytest.raises(FootprintError, match="integrated over time"):
        aggregate_array(whole.aggregate(), None, "1h")


@pytest.mark.parametrize("times", [4, 25])
def test_finer_targets_in_another_projection_have_no_holes(times):
    """Points are as dense as the target needs; targets much finer are refused."""
    grid = Grid(xmin=-4, xmax=-2, ymin=39, ymax=41, xres=0.5, yres=0.5)
    footprint = made(grid)
    even = xr.full_like(footprint.data[:1], 1.0)
    cells = CellAxes.of_grid(grid)
    size = 0.5 / times
    fine = Grid(
        xmin=-3.9,
        xmax=-2.1,
        ymin=39.1,
        ymax=40.9,
        xres=85e3 * size,
        yres=111e3 * size,
        projection="EPSG:32630",
    )
    summed = make_regridder(cells, fine).apply(even.to_numpy())[0]
    inner = summed[summed.shape[0] // 4 : -summed.shape[0] // 4, summed.shape[1] // 4 : -summed.shape[1] // 4]
    assert inner.min() > 0.3 * inner.mean()
    tiny = Grid(
        xmin=-3.1, xmax=-3.0, ymin=40, ymax=40.1, xres=400, yres=400, projection="EPSG:32630"
    )  # fmt: skip
    with pytest.raises(FootprintError, match="pass subcells="):
        footprint.aggregate(tiny)
    assert footprint.aggregate(tiny, subcells=300).sum() > 0.0


def test_empty_footprints_sum_to_nothing():
    """No layers stay no layers; given bins are zero."""
    empty = calc_footprint(walk().assign(foot=0.0), LONGLAT, receptor=RECEPTOR)
    assert empty.aggregate(LONGLAT).shape == (0, 20, 20)
    bins = empty.aggregate(LONGLAT, ["2023-01-01", "2023-01-02"])
    assert bins.shape == (1, 20, 20)
    assert bins.sum() == 0.0


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (([-3.0], [39.5, 40.5]), "one centre"),
        (([-3.0, -2.0, -2.5], [39.5, 40.5]), "neither ascends nor descends"),
        ((np.arange(-200.0, 200.0), [39.5, 40.5]), "more than a turn"),
        (xr.Dataset(coords={"a": [1.0]}), "rename yours"),
        ("states", "cannot be summed over a str"),
    ],
)
def test_targets_that_make_no_sense_are_refused(target, message):
    """In one line that says what is wrong."""
    with pytest.raises(FootprintError, match=message):
        FOOTPRINT.aggregate(target)


def test_bins_that_make_no_sense_are_refused():
    """Descending edges, a negative length, intervals closed on the right."""
    for bins, message in (
        (["2023-01-02", "2023-01-01"], "ascending"),
        ("-1h", "no length"),
        ("soon", "no length"),
        (pd.interval_range(pd.Timestamp("2023-01-01"), periods=2), "closed 'right'"),
    ):
        with pytest.raises(FootprintError, match=message):
            FOOTPRINT.aggregate(None, bins)


# --- properties ----------------------------------------------------------------------------------------


def edges_that_cover(low: float, high: float) -> st.SearchStrategy[list[float]]:
    inner = st.lists(st.floats(low, high, allow_nan=False), max_size=12, unique_by=lambda v: round(v, 3))
    return inner.map(lambda values: sorted({low, high, *(round(v, 3) for v in values)}))


@RELAXED
@given(
    x=edges_that_cover(-4.5, -1.5),
    y=edges_that_cover(38.5, 41.5),
    flip=st.booleans(),
    turn=st.sampled_from([0, 360]),
)
def test_mass_is_conserved_where_targets_cover(x, y, flip, turn):
    """Whatever the cells, in whatever order."""
    x, y = np.array(x) + turn, np.array(y)
    summed = FOOTPRINT.aggregate((x[::-1], y) if flip else (x, y), axes="edges")
    assert_allclose(summed.sum(), TOTAL, rtol=1e-9)
    assert (summed.values >= 0).all()


@RELAXED
@given(x=edges_that_cover(-4.5, -1.5), y=edges_that_cover(38.5, 41.5), step=st.integers(2, 4))
def test_an_aggregate_of_an_aggregate_is_the_aggregate(x, y, step):
    """Going by way of finer cells changes nothing."""
    once = FOOTPRINT.aggregate((x, y), "1h", axes="edges")
    coarse_x, coarse_y = [*x[:-1][::step], x[-1]], [*y[:-1][::step], y[-1]]
    twice = aggregate_array(once, (coarse_x, coarse_y), "1D", axes="edges")
    direct = FOOTPRINT.aggregate((coarse_x, coarse_y), "1D", axes="edges")
    assert_allclose(twice.values, direct.values, rtol=1e-9, atol=1e-9 * TOTAL)


@RELAXED
@given(
    seed=st.integers(0, 1000),
    smooth=st.sampled_from([0.0, 1.0, 4.0]),
    kind=st.sampled_from(["rstilt", "consistent"]),
)
def test_the_order_of_particles_does_not_matter(seed, smooth, kind):
    """Shuffled rows give the same footprint to the last bit."""
    table = walk(seed=seed % 5)
    shuffled = table.sample(frac=1, random_state=seed)
    one, other = (
        calc_footprint(rows, LONGLAT, receptor=RECEPTOR, smooth_factor=smooth, smoothing=kind).data.values
        for rows in (table, shuffled)
    )
    assert (one == other).all()


@RELAXED
@given(a=st.floats(0.0, 1e3), b=st.floats(1e-3, 1e3), seed=st.integers(0, 100))
def test_footprints_are_linear_in_the_influence(a, b, seed):
    """
    A footprint of a sum is the sum of footprints.

    But where rows are interpolated: the totals that are then restored are those of all particles together.
    """
    table = walk()
    plain = {"receptor": RECEPTOR, "interpolate_early": False}
    first = calc_footprint(table, LONGLAT, **plain).data.values
    other = np.random.default_rng(seed).random(len(table))
    both = calc_footprint(table.assign(foot=a * table["foot"] + b * other), LONGLAT, **plain).data.values
    second = calc_footprint(table.assign(foot=other), LONGLAT, **plain).data.values
    assert_allclose(both, a * first + b * second, rtol=1e-9, atol=1e-12)


@RELAXED
@given(edges=edges_that_cover(-10.0, 10.0))
def test_shares_of_covered_cells_add_up_to_one(edges):
    """Along one axis every source cell is handed out whole."""
    source = CellAxes.of_axes([-9.5, -4.0, 0.5, 7.0], [0.0, 1.0]).x
    source = np.clip(source, -10.0, 10.0)
    target = np.stack([edges[:-1], edges[1:]], axis=1)
    shares = overlap_shares(source, target, is_cyclic=True)
    assert_allclose(shares.sum(axis=0), 1.0, rtol=1e-9)
