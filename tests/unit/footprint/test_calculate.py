"""What is true of every footprint: mass, symmetry, hours, the date line, poles, projections."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from stilt.errors import FootprintError
from stilt.footprint import EmptyReason, Footprint, ParticleColumns, calc_footprint
from stilt.receptors import PointReceptor
from stilt.spatial import Grid
from stilt.trajectory import Trajectories

RECEPTOR = PointReceptor("2023-01-01 12:00", 0.0, 40.0, 5.0)
WIDE = Grid(xmin=-5, xmax=5, ymin=35, ymax=45, xres=0.1, yres=0.1)


def plume(
    n_particles: int = 30,
    n_minutes: int = 180,
    *,
    sign: int = -1,
    lon: float = 0.0,
    lat: float = 40.0,
    drift: float = 0.003,
    seed: int = 1,
) -> pd.DataFrame:
    """Random walk from a point; one row per minute and particle, in order of time."""
    rng = np.random.default_rng(seed)
    shape = (n_minutes, n_particles)
    x = lon + np.cumsum(rng.normal(drift, 0.004, shape), axis=0)
    return pd.DataFrame(
        {
            "time": sign * np.repeat(np.arange(1.0, n_minutes + 1), n_particles),
            "indx": np.tile(np.arange(1, n_particles + 1), n_minutes),
            "long": ((x + 180.0) % 360.0 - 180.0).ravel(),
            "lati": (lat + np.cumsum(rng.normal(0.001, 0.004, shape), axis=0)).ravel(),
            "foot": np.where(rng.random(shape) < 0.6, rng.random(shape), 0.0).ravel(),
        }
    )


def footprint_of(table: object, grid: Grid = WIDE, **options: object) -> Footprint:
    return calc_footprint(table, grid, receptor=options.pop("receptor", RECEPTOR), **options)


@pytest.mark.parametrize("smooth_factor", [0.0, 0.5, 1.0, 3.0])
@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("cell", [0.05, 0.5])
def test_mass_is_conserved_inside_the_grid(smooth_factor, sign, cell):
    """All influence of the mean particle is on the map, whatever the smoothing and the cells."""
    table = plume(sign=sign)
    grid = Grid(xmin=-5, xmax=5, ymin=35, ymax=45, xres=cell, yres=cell)
    total = footprint_of(table, grid, smooth_factor=smooth_factor).data.sum().item()
    assert_allclose(total, table["foot"].sum() / 30, rtol=1e-12)


def test_order_of_rows_does_not_matter():
    """Shuffled rows give the same footprint to the last bit."""
    table = plume()
    shuffled = table.sample(frac=1, random_state=3)
    assert (footprint_of(table).data.values == footprint_of(shuffled).data.values).all()


def test_names_of_particles_do_not_matter():
    """Renumbering particles changes rounding at most."""
    table = plume()
    renamed = table.assign(indx=100_000 - 977 * table["indx"])
    assert_allclose(
        footprint_of(renamed).data.values, footprint_of(table).data.values, rtol=1e-12, atol=1e-18
    )


def test_footprint_is_linear_in_foot():
    """Twice the influence doubles the map; the sum of two influences gives the sum of two maps."""
    table = plume()
    other = table.assign(foot=np.random.default_rng(5).random(len(table)))
    both = table.assign(foot=2 * table["foot"] + other["foot"])
    expected = 2 * footprint_of(table).data.values + footprint_of(other).data.values
    assert_allclose(footprint_of(both).data.values, expected, rtol=1e-12, atol=1e-18)


def test_other_columns_do_not_matter():
    """Only five columns count, even when another is full of NaN."""
    table = plume(drift=0.3)
    fine = Grid(xmin=-2, xmax=60, ymin=38, ymax=42, xres=0.05, yres=0.05)
    spoiled = table.assign(zagl=np.nan, dens=np.nan)
    assert (footprint_of(spoiled, fine).data.values == footprint_of(table, fine).data.values).all()


def test_all_kinds_of_tables_are_taken():
    """A DataFrame, a mapping, trajectories and prepared columns give one result."""
    table = plume()
    expected = footprint_of(table).data.values
    trajectories = Trajectories.from_particles(table, RECEPTOR)
    prepared = ParticleColumns.prepare(trajectories)
    assert (footprint_of({name: table[name].to_numpy() for name in table}).data.values == expected).all()
    assert (calc_footprint(trajectories, WIDE).data.values == expected).all()
    assert (calc_footprint(prepared, WIDE).data.values == expected).all()


def test_hours_without_influence_are_zero_layers():
    """The hourly axis is contiguous from the first to the last contributing hour."""
    table = plume(n_minutes=300)
    table.loc[(table["time"] < -60) & (table["time"] >= -240), "foot"] = 0.0
    result = footprint_of(table)
    labels = [str(t)[:16] for t in result.data.time.values]
    assert labels == [f"2023-01-01T{hour:02d}:00" for hour in (7, 8, 9, 10, 11)]
    assert [bool(layer.sum() > 0) for layer in result.data] == [True, False, False, False, True]
    assert [str(t) for t in result.time_range] == ["2023-01-01 07:00:00", "2023-01-01 12:00:00"]


def test_labels_are_the_start_of_the_hour_of_influence():
    """A two-minute backward run from 12:30 falls into the hour from 11:30, also when it is the only layer."""
    receptor = PointReceptor("2023-01-01 12:30", 0.0, 40.0, 5.0)
    result = footprint_of(plume(n_minutes=2), receptor=receptor)
    assert [str(t)[:16] for t in result.data.time.values] == ["2023-01-01T11:30"]


def test_sixty_minutes_sharp_belong_to_the_first_hour_back():
    """Minute -60 lies in the first hour before the receptor; minute 60 in the second after it."""
    one = {
        "time": [-60.0, -60.1],
        "indx": [1, 1],
        "long": [0.0, 0.0],
        "lati": [40.0, 40.0],
        "foot": [1.0, 2.0],
    }
    back = footprint_of(one).data.sum(("lat", "lon"))
    assert dict(zip(back.time.dt.hour.values.tolist(), back.values.tolist(), strict=True)) == {
        10: 2.0,
        11: 1.0,
    }
    ahead = footprint_of({**one, "time": [59.9, 60.0]}).data.sum(("lat", "lon"))
    assert dict(zip(ahead.time.dt.hour.values.tolist(), ahead.values.tolist(), strict=True)) == {
        12: 1.0,
        13: 2.0,
    }


def test_time_integration_sums_the_layers_at_the_receptor_time():
    """One layer holds the sum of all hours and is labelled with the receptor time."""
    table = plume()
    layers = footprint_of(table)
    one = footprint_of(table, time_integrate=True)
    assert [str(t)[:16] for t in one.data.time.values] == ["2023-01-01T12:00"]
    assert_allclose(one.data.values[0], layers.integrate_over_time().values, rtol=1e-12, atol=1e-18)
    assert one.time_range == layers.time_range


def test_integration_includes_both_ends():
    """Layers labelled from start to end are summed, both included."""
    result = footprint_of(plume())
    chosen = result.integrate_over_time("2023-01-01 10:00", "2023-01-01 11:00")
    assert_allclose(chosen.values, result.data.values[-2:].sum(axis=0))
    assert chosen.attrs["units"] == "ppm m2 s umol-1"
    assert result.integrate_over_time("2024-01-01").sum() == 0.0


@pytest.mark.parametrize("smoothing", ["rstilt", "consistent"])
@pytest.mark.parametrize("pole", [-1, 1])
@pytest.mark.parametrize("cell", [1.0, 5.0])
def test_global_grids_lose_nothing_over_the_poles(smoothing, pole, cell):
    """A kernel that reaches beyond a pole continues half a turn away."""
    world = Grid(xmin=-180, xmax=180, ymin=-90, ymax=90, xres=cell, yres=cell)
    rng = np.random.default_rng(3)
    n = 200
    table = pd.DataFrame(
        {
            "time": np.repeat([-1.0, -361.0], n),
            "indx": np.tile(np.arange(n), 2),
            "long": rng.uniform(-180, 180, 2 * n),
            "lati": pole * (90.0 - np.abs(rng.normal(0, 1.0, 2 * n))),
            "foot": 1.0,
        }
    )
    assert_allclose(footprint_of(table, world, smoothing=smoothing).data.sum().item(), 2.0, rtol=1e-12)


def test_what_crosses_a_pole_lies_on_the_other_side():
    """A particle near the pole at 0 E reaches cells at 180 E."""
    world = Grid(xmin=-180, xmax=180, ymin=-90, ymax=90, xres=10, yres=1)
    table = pd.DataFrame(
        {
            "time": [-1.0, -1.0, -1441.0, -1441.0],
            "indx": [1, 2, 1, 2],
            "long": [5.0, 5.0, 5.0, 5.0],
            "lati": [89.5, 89.4, 89.5, 89.4],
            "foot": [0.0, 0.0, 1.0, 1.0],
        }
    )
    field = footprint_of(table, world, smooth_factor=2.0).data.sum("time")
    assert_allclose(field.sum(), 1.0, rtol=1e-12)
    across = field.sel(lon=-175.0)
    assert across.sum() > 0.1
    assert (np.diff(across.values[across.values > 0]) > 0).all()


def test_a_day_as_the_end_is_included():
    """Without a time of day the end means all of the day, or of the month."""
    result = footprint_of(plume())
    total = result.data.sum().item()
    for end in ("2023-01-01", "2023-01", date(2023, 1, 1)):
        assert_allclose(result.integrate_over_time("2023-01-01", end).sum(), total)
    assert result.integrate_over_time("2023-01-01", "2023-01-01 00:00").sum() == 0.0
    assert result.integrate_over_time("2023-01-02", "2023-01-02").sum() == 0.0


def test_one_particle_is_not_smoothed():
    """
    A single particle has no spread, so each row falls into one cell.

    STILT-R stops there, since a variance of one number is missing.
    """
    table = plume(1)
    assert_allclose(
        footprint_of(table, smooth_factor=5.0).data.values, footprint_of(table, smooth_factor=0.0).data.values
    )


def test_two_particles_are_smoothed():
    """Two particles have a spread; the total stays."""
    table = plume(2, 600)
    fine = Grid(xmin=-5, xmax=5, ymin=35, ymax=45, xres=0.01, yres=0.01)
    smooth, rough = footprint_of(table, fine), footprint_of(table, fine, smooth_factor=0.0)
    assert (smooth.data > 0).sum() > (rough.data > 0).sum()
    assert_allclose(smooth.data.sum(), rough.data.sum(), rtol=1e-12)


def test_particles_without_a_place_count_in_the_mean():
    """Rows with a missing position or influence add nothing; the footprint is still per particle."""
    table = plume(10)
    broken = table.copy()
    broken.loc[broken["indx"] == 3, "foot"] = np.nan
    expected = table["foot"][table["indx"] != 3].sum() / 10
    assert_allclose(footprint_of(broken).data.sum(), expected, rtol=1e-12)
    broken.loc[broken["indx"] == 3, "long"] = np.nan
    assert_allclose(footprint_of(broken).data.sum(), expected, rtol=1e-12)


@pytest.mark.parametrize(("xmin", "xmax"), [(170, 190), (170, -170), (-190, -170)])
def test_grids_across_the_date_line_are_unbroken(xmin, xmax):
    """The axis ascends through 180 and the footprint is that of the same plume elsewhere."""
    grid = Grid(xmin=xmin, xmax=xmax, ymin=35, ymax=45, xres=0.1, yres=0.1)
    here = Grid(xmin=-10, xmax=10, ymin=35, ymax=45, xres=0.1, yres=0.1)
    result = footprint_of(plume(lon=179.9003), grid)
    west = -190 if xmin < 0 else 170
    assert_allclose(result.data.lon.values, west + 0.05 + 0.1 * np.arange(200))
    assert_allclose(
        result.data.values, footprint_of(plume(lon=-0.0997), here).data.values, rtol=1e-7, atol=1e-15
    )


def test_grids_across_date_line_and_greenwich_work():
    """A grid from 100 E eastward to 50 E holds a plume at either end of its gap's far side."""
    grid = Grid(xmin=100, xmax=50, ymin=35, ymax=45, xres=0.5, yres=0.5)
    for lon in (-0.1, 179.9, -100.0):
        table = plume(lon=lon)
        assert_allclose(footprint_of(table, grid).data.sum(), table["foot"].sum() / 30, rtol=1e-12)
    assert footprint_of(plume(lon=75.0), grid).is_empty


@pytest.mark.parametrize("shift", [60.0, 179.9, -120.0])
def test_global_grids_have_no_seam(shift):
    """
    A plume moved around the globe gives the footprint moved around the globe.

    STILT-R loses the part of a kernel that reaches past 180 degrees, and measures the spread of a cloud that
    lies across the seam as if it were a globe wide.
    """
    grid = Grid(xmin=-180, xmax=180, ymin=30, ymax=50, xres=0.1, yres=0.1)
    table = plume(60, 400)
    here = footprint_of(table, grid, smooth_factor=5.0).data.values
    moved = table.assign(long=(table["long"] + shift + 180) % 360 - 180)
    there = footprint_of(moved, grid, smooth_factor=5.0).data.values
    assert_allclose(there.sum(), table["foot"].sum() / 60, rtol=1e-12)
    assert_allclose(np.roll(here, round(shift / 0.1), axis=2), there, rtol=1e-6, atol=1e-7 * here.max())


def test_bandwidth_is_bounded_only_beyond_89_degrees():
    """
    At the pole the bandwidth is that of 89 degrees; below it nothing changes.

    One over the cosine of the latitude, as STILT-R has it, would spread any cloud over the whole map.
    """
    from stilt.footprint.gridding import bandwidth

    ages = np.array([-60.0])
    at = {
        lat: bandwidth(ages, np.array([[0.01, lat]]), 1.0, widen_with_latitude=True)[0]
        for lat in (60.0, 88.9, 89.0, 89.999, -90.0)
    }
    flat = bandwidth(ages, np.array([[0.01, 0.0]]), 1.0, widen_with_latitude=True)[0]
    assert_allclose(at[60.0], flat * 2.0)
    assert_allclose(at[88.9], flat / np.cos(np.radians(88.9)))
    assert at[89.0] == at[89.999] == at[-90.0]


def test_lonely_ages_take_the_bandwidth_of_the_nearest_age():
    """Ages with one particle take the nearest bandwidth; of two equally near, that of the smaller age."""
    from stilt.footprint.gridding import bandwidth

    moments = np.array([[1.0, 0.0], [np.nan, np.nan], [4.0, 0.0], [np.nan, np.nan]])
    sigma = bandwidth(np.array([-40.0, -30.0, -20.0, -10.0]), moments, 1.0, widen_with_latitude=False)
    assert sigma[1] == sigma[0] != sigma[2]
    assert sigma[3] == sigma[2]


def test_projected_grids_conserve_mass_and_give_metres():
    """On a UTM grid, by PROJ string or code, coordinates are metres and the total stays."""
    table = plume(lon=-3.0)
    total = table["foot"].sum() / 30
    for projection in ("+proj=utm +zone=30 +datum=WGS84 +units=m", "EPSG:32630"):
        grid = Grid(xmin=-5, xmax=-1, ymin=38, ymax=42, xres=2000, yres=2000, projection=projection)
        result = footprint_of(table, grid)
        assert result.data.dims == ("time", "y", "x")
        assert_allclose(result.data.sum(), total, rtol=1e-12)
        assert 200_000 < result.data.x.values[0] < 500_000


@pytest.mark.parametrize("projection", ["EPSG:4326", "+proj=latlong", "+proj=longlat +datum=WGS84"])
def test_every_name_of_longitude_and_latitude_is_understood(projection):
    """Degrees are degrees, however the projection is spelt."""
    table = plume()
    grid = Grid(xmin=-5, xmax=5, ymin=35, ymax=45, xres=0.1, yres=0.1, projection=projection)
    assert (footprint_of(table, grid).data.values == footprint_of(table).data.values).all()


def test_bounds_that_are_not_whole_cells_warn_and_use_whole_cells():
    """0 to 1 by 0.3 holds three cells, and the warning names the end at 0.9."""
    grid = Grid(xmin=0, xmax=1, ymin=39.7, ymax=40.6, xres=0.3, yres=0.3)
    with pytest.warns(UserWarning, match=r"bounds used are 0\.\.0\.9 by"):
        result = footprint_of(plume(), grid)
    assert result.data.sizes["lon"] == 3


def test_plumes_outside_contribute_through_their_kernels_only():
    """A small grid inside a large one holds the same values in the same cells."""
    table = plume(60, 600)
    large = Grid(xmin=-4, xmax=8, ymin=36, ymax=44, xres=0.05, yres=0.05)
    small = Grid(xmin=1, xmax=1.5, ymin=40, ymax=40.5, xres=0.05, yres=0.05)
    whole = footprint_of(table, large, smooth_factor=4.0, time_integrate=True).data
    part = footprint_of(table, small, smooth_factor=4.0, time_integrate=True).data
    assert_allclose(part.values, whole.values[:, 80:90, 100:110], rtol=1e-9)


def test_cells_need_not_be_square():
    """
    Wide kernels on cells that are not square conserve the total.

    STILT-R exchanges the axes of the kernel and gains or loses a fifth of it.
    """
    table = plume(60, 600)
    for xres, yres in ((0.02, 0.05), (0.05, 0.02)):
        grid = Grid(xmin=-5, xmax=9, ymin=35, ymax=45, xres=xres, yres=yres)
        total = footprint_of(table, grid, smooth_factor=3.0).data.sum()
        assert_allclose(total, table["foot"].sum() / 60, rtol=1e-12)


def test_reasons_of_empty_footprints():
    """No influence anywhere, influence elsewhere, and no particles are told apart, with fractions."""
    table = plume()
    above = footprint_of(table.assign(foot=0.0))
    assert above.empty_reason is EmptyReason.ABOVE_PBL
    assert above.fractions == {"inside": 1.0, "surface_influence": 0.0, "both": 0.0}
    elsewhere = footprint_of(table.assign(long=table["long"] + 50.0))
    assert elsewhere.empty_reason is EmptyReason.OUTSIDE_GRID
    assert elsewhere.fractions["inside"] == 0.0
    assert elsewhere.fractions["surface_influence"] > 0.5
    assert "none on the grid" in elsewhere.empty_message
    nobody = footprint_of(table.iloc[:0])
    assert nobody.empty_reason is EmptyReason.NO_PARTICLES
    for result in (above, elsewhere, nobody):
        assert result.is_empty
        assert result.time_range is None
        assert result.data.shape == (0, 100, 100)
        assert result.integrate_over_time().sum() == 0.0


def test_what_is_missing_is_named():
    """A column, the receptor, a factor: each error names it."""
    with pytest.raises(FootprintError, match="lacks the column lati"):
        footprint_of(plume().drop(columns="lati"))
    with pytest.raises(FootprintError, match="give receptor="):
        calc_footprint(plume(), WIDE)
    with pytest.raises(FootprintError, match="smooth_factor = -1"):
        footprint_of(plume(), smooth_factor=-1.0)


def test_warming_up_compiles_all_that_a_footprint_needs():
    """After a warm-up neither a footprint nor a correction compiles anything more."""
    from stilt.footprint import warm_up
    from stilt.kernels import densify, near_field, raster, smoothing

    def compiled() -> dict[str, int]:
        kernels = {name: f for m in (densify, near_field, raster, smoothing) for name, f in vars(m).items()}
        return {name: len(f.signatures) for name, f in kernels.items() if hasattr(f, "signatures")}

    warm_up()
    before = compiled()
    table = plume(drift=0.3)
    footprint_of(table.astype({"foot": "float32", "time": "float32"}))
    grid = Grid(xmin=-180, xmax=180, ymin=30, ymax=50, xres=0.1, yres=0.1)
    footprint_of(table, grid)
    assert compiled() == before


def test_footprints_on_one_grid_do_not_share_what_a_user_changes():
    """Coordinates are made once for a grid, yet attributes and names belong to each footprint."""
    one, other = footprint_of(plume()), footprint_of(plume())
    one.data["lon"].attrs["note"] = "changed"
    one.data.coords["lat"] = one.data["lat"] + 1.0
    assert other.data["lon"].attrs == {}
    assert footprint_of(plume()).data["lon"].attrs == {}
    assert (other.data["lat"].values == footprint_of(plume()).data["lat"].values).all()
    with pytest.raises(ValueError, match=r"[Rr]ead-only|read only|immutable|cannot assign"):
        other.data["lon"].values[0] = 5.0
