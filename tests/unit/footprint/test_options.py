"""The named options beside STILT-R's way: bandwidth in kilometres, clock hours, time bins, Taylor's plume."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from stilt.config import FootprintConfig, ModelConfig, footprint_settings, trajectory_settings
from stilt.errors import ConfigError, FootprintError
from stilt.footprint import Footprint, calc_footprint, correct_near_field
from stilt.footprint.axes import GridAxes
from stilt.footprint.gridding import COEFFICIENT_KM, KM_PER_DEGREE, consistent_bandwidth
from stilt.footprint.particles import ParticleColumns
from stilt.kernels.near_field import plume_spread
from stilt.receptors import PointReceptor
from stilt.spatial import Grid


def cloud(lat: float = 40.0, lon: float = 0.0, n: int = 60, minutes: int = 120) -> pd.DataFrame:
    """Particles that spread alike in kilometres wherever they are."""
    rng = np.random.default_rng(4)
    shape = (minutes, n)
    north = np.cumsum(rng.normal(0, 0.3, shape), axis=0)
    east = np.cumsum(rng.normal(0, 0.3, shape), axis=0)
    lati = lat + north / KM_PER_DEGREE
    return pd.DataFrame(
        {
            "time": -np.repeat(np.arange(1.0, minutes + 1), n),
            "indx": np.tile(np.arange(n), minutes),
            "long": (lon + east / KM_PER_DEGREE / np.cos(np.radians(lat))).ravel(),
            "lati": lati.ravel(),
            "foot": rng.random(shape).ravel(),
        }
    )


def receptor_at(minute: int = 0) -> PointReceptor:
    return PointReceptor(f"2023-01-01 12:{minute:02d}", 0.0, 40.0, 5.0)


def around(lat: float, half: float = 2.0, cell: float = 0.05) -> Grid:
    wide = cell * np.ceil(half / np.cos(np.radians(lat)) / cell)
    return Grid(xmin=-wide, xmax=wide, ymin=lat - half, ymax=lat + half, xres=cell, yres=cell)


WIDE = around(40.0)


# --- smoothing -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("lat", [0.0, 40.0, 70.0])
def test_the_bandwidth_in_kilometres_does_not_depend_on_latitude(lat):
    """The same cloud has the same bandwidth on the ground, which in degrees is wider in longitude."""
    columns = ParticleColumns.prepare(cloud(lat))
    sigma = consistent_bandwidth(columns, GridAxes.of(around(lat)), 1.0)
    equator = consistent_bandwidth(ParticleColumns.prepare(cloud(0.0)), GridAxes.of(around(0.0)), 1.0)
    assert_allclose(sigma[1], equator[1], rtol=1e-2)
    assert_allclose(sigma[0] * np.cos(np.radians(lat)), sigma[1], rtol=1e-2)


def test_the_bandwidth_in_kilometres_does_not_depend_on_the_projection():
    """On a UTM grid it is the same number of metres; STILT-R's would be hundreds of times smaller."""
    columns = ParticleColumns.prepare(cloud(lon=3.0))
    degrees = consistent_bandwidth(
        columns, GridAxes.of(Grid(xmin=1, xmax=5, ymin=38, ymax=42, xres=1, yres=1)), 1.0
    )
    utm = Grid(xmin=1, xmax=5, ymin=38, ymax=42, xres=1000, yres=1000, projection="EPSG:32631")
    metres = consistent_bandwidth(columns, GridAxes.of(utm), 1.0)
    assert_allclose(metres / 1000.0, degrees[1] * KM_PER_DEGREE * np.ones((2, 1)), rtol=5e-3)
    by_hand = COEFFICIENT_KM * np.sqrt(columns.ages / 1440.0)
    variance = KM_PER_DEGREE**2 * np.array(
        [
            columns.lon[a:b].var(ddof=1) * np.cos(np.radians(columns.lat[a:b].mean())) ** 2
            + columns.lat[a:b].var(ddof=1)
            for a, b in zip(columns.offsets, columns.offsets[1:], strict=False)
        ]
    )
    assert_allclose(degrees[1] * KM_PER_DEGREE, by_hand * variance**0.25, rtol=1e-4)


@pytest.mark.parametrize("pole", [90.0, -90.0])
def test_the_bandwidth_in_kilometres_is_the_same_on_a_pole(pole):
    """A cloud of 50 km around a pole has the bandwidth of the same cloud at 40 N."""
    pyproj = pytest.importorskip("pyproj")
    rng = np.random.default_rng(0)
    x, y = rng.normal(0, 50e3, (2, 400))
    found = []
    for lat, projection in ((pole, "EPSG:3995" if pole > 0 else "EPSG:3031"), (40.0, "EPSG:32631")):
        local = pyproj.Proj(f"+proj=aeqd +lat_0={lat} +lon_0=3 +R=6371000")
        lon, lati = local(x, y, inverse=True)
        table = pd.DataFrame(
            {"time": -1.0, "indx": np.arange(400), "long": lon, "lati": lati, "foot": 1.0}, index=range(400)
        )
        later = pd.concat([table, table.assign(time=-721.0)])
        grid = Grid(
            xmin=-10, xmax=10, ymin=min(lat, 80.0), ymax=min(lat + 5, 90.0), xres=5000, yres=5000,
            projection=projection,
        )  # fmt: skip
        if pole < 0 and lat == pole:
            grid = Grid(xmin=-10, xmax=10, ymin=-90, ymax=-80, xres=5000, yres=5000, projection=projection)
        sigma = consistent_bandwidth(ParticleColumns.prepare(later), GridAxes.of(grid), 1.0)
        scale = 0.972 if abs(lat) == 90.0 else 1.0  # of the polar stereographic maps at their pole
        found.append(sigma[:, -1] / scale)
    assert_allclose(found[0], found[1], rtol=1e-2)
    variance = (x.var(ddof=1) + y.var(ddof=1)) / 1e6
    assert_allclose(found[1] / 1000.0, COEFFICIENT_KM * variance**0.25 * np.sqrt(0.5), rtol=5e-3)


def test_both_bandwidths_agree_at_the_equator():
    """The coefficient in kilometres is STILT-R's where a degree is a degree."""
    table = cloud(0.0)
    one, other = (
        calc_footprint(
            table, around(0.0), receptor=receptor_at(), smoothing=kind, smooth_factor=3.0
        ).data.values
        for kind in ("rstilt", "consistent")
    )
    assert_allclose(one.sum(), other.sum(), rtol=1e-12)
    assert np.abs(one - other).sum() < 0.02 * one.sum()


@pytest.mark.parametrize("lon", [179.9, -60.0])
def test_the_bandwidth_in_kilometres_knows_no_seam(lon):
    """A cloud across the date line is as wide as one elsewhere, on any grid."""
    table = cloud()
    moved = table.assign(long=(table["long"] + lon + 180) % 360 - 180)
    here = consistent_bandwidth(ParticleColumns.prepare(table), GridAxes.of(WIDE), 1.0)
    there = consistent_bandwidth(ParticleColumns.prepare(moved), GridAxes.of(WIDE), 1.0)
    assert_allclose(there, here, rtol=1e-9)


def test_unknown_options_are_refused():
    """Each error names the option."""
    for option in ("smoothing", "align"):
        with pytest.raises(FootprintError, match=f"{option} = 'odd' is unknown"):
            calc_footprint(cloud(), WIDE, receptor=receptor_at(), **{option: "odd"})
    with pytest.raises(FootprintError, match="hnf_mode"):
        correct_near_field(cloud(), mode="odd", receptor=receptor_at())


# --- hours and bins --------------------------------------------------------------------------------------


def test_clock_hours_begin_at_the_full_hour():
    """A receptor at 12:30 has half an hour in 12:00; the sum is that of hours from half past."""
    ours = calc_footprint(cloud(), WIDE, receptor=receptor_at(30), align="clock")
    assert [str(t)[11:16] for t in ours.data.time.values] == ["10:00", "11:00", "12:00"]
    assert_allclose(ours.data.sum(), calc_footprint(cloud(), WIDE, receptor=receptor_at(30)).data.sum())
    table = cloud()
    first = table[table["time"] >= -30]
    assert_allclose(ours.data.isel(time=-1).sum(), first["foot"].sum() / 60)
    same = calc_footprint(table, WIDE, receptor=receptor_at(0), align="clock")
    assert (same.data.values == calc_footprint(table, WIDE, receptor=receptor_at(0)).data.values).all()


def test_time_bins_take_hours_or_instants():
    """Edges in hours from the receptor time, or as instants; influence beyond them is left out."""
    table = cloud()
    hours = calc_footprint(table, WIDE, receptor=receptor_at(), time_bins=[-3, -1.5, -0.5])
    instants = calc_footprint(
        table,
        WIDE,
        receptor=receptor_at(),
        time_bins=["2023-01-01 09:00", "2023-01-01 10:30", np.datetime64("2023-01-01T11:30")],
    )
    assert (hours.data.values == instants.data.values).all()
    assert [str(t)[11:16] for t in hours.data.time.values] == ["09:00", "10:30"]
    inside = table[(table["time"] >= -90) & (table["time"] < -30)]
    assert_allclose(hours.data.isel(time=1).sum(), inside["foot"].sum() / 60)
    assert hours.intervals.astype(str)[1].tolist() == [
        "2023-01-01T10:30:00.000000000",
        "2023-01-01T11:30:00.000000000",
    ]
    assert hours.time_bins == instants.time_bins == (-3.0, -1.5, -0.5)


def test_bins_without_influence_are_zero_and_bins_beyond_it_empty():
    """All bins are layers; when none has influence the footprint is empty."""
    ours = calc_footprint(cloud(), WIDE, receptor=receptor_at(), time_bins=[-9, -6, -3, 0])
    assert (ours.data.sum(("lat", "lon")).values > 0).tolist() == [False, False, True]
    assert ours.time_range[0].hour == 9
    assert calc_footprint(cloud(), WIDE, receptor=receptor_at(), time_bins=[-9, -6]).is_empty


def test_hourly_bins_are_the_hours():
    """Edges at whole hours give the hourly footprint."""
    ours = calc_footprint(cloud(), WIDE, receptor=receptor_at(30), time_bins=[-2, -1, 0])
    assert (ours.data.values == calc_footprint(cloud(), WIDE, receptor=receptor_at(30)).data.values).all()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"time_bins": [0, -1]}, "ascending"),
        ({"time_bins": [0]}, "at least two"),
        ({"time_bins": [-1, 0], "time_integrate": True}, "keep one|give one"),
        ({"align": "clock", "time_integrate": True}, "keep one|give one"),
    ],
)
def test_bins_that_make_no_sense_are_refused(keys, message):
    """In Python and in a config."""
    with pytest.raises(FootprintError, match=message):
        calc_footprint(cloud(), WIDE, receptor=receptor_at(), **keys)
    with pytest.raises(ConfigError, match=message):
        FootprintConfig(grid=WIDE, **keys)


def test_options_survive_files_and_configs(tmp_path):
    """A footprint file and a config hold the options; a marker does too."""
    config = FootprintConfig(grid=WIDE, smoothing="consistent", align="clock", time_bins=[-2, 0])
    footprint = calc_footprint(
        cloud(), WIDE, receptor=receptor_at(), smoothing="consistent", align="clock", time_bins=[-2, 0]
    )
    assert footprint.config == config
    back = Footprint.from_netcdf(footprint.to_netcdf(tmp_path / "foot.nc"))
    assert back.config == config
    assert (back.intervals == footprint.intervals).all()
    nothing = calc_footprint(cloud().assign(foot=0.0), WIDE, receptor=receptor_at(), time_bins=[-2, 0])
    assert Footprint.from_empty_marker(nothing.empty_marker()).time_bins == (-2.0, 0.0)


def test_options_are_part_of_the_fingerprint():
    """Each option changes the settings of what it changes, and of nothing else."""
    base = {"mets": {"m": {"directory": "x", "file_format": "y"}}}
    grid = {"xmin": 0, "xmax": 1, "ymin": 0, "ymax": 1, "xres": 1, "yres": 1}
    plain = ModelConfig(**base, footprints={"a": grid})
    for option in ({"smoothing": "consistent"}, {"align": "clock"}, {"time_bins": [-1, 0]}):
        changed = ModelConfig(**base, footprints={"a": {**grid, **option}})
        assert footprint_settings(changed, "a") != footprint_settings(plain, "a")
        assert trajectory_settings(changed, "m") == trajectory_settings(plain, "m")
    taylor = ModelConfig(**base, footprints={"a": grid}, hnf_mode="taylor")
    assert trajectory_settings(taylor, "m") != trajectory_settings(plain, "m")
    assert footprint_settings(taylor, "a") == footprint_settings(plain, "a")


# --- cells ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", [0.0005, 0.002, 0.5, 5.0])
@pytest.mark.parametrize("smoothing", ["rstilt", "consistent"])
def test_cells_from_metres_to_hundreds_of_kilometres(cell, smoothing):
    """Grids much finer than the kernel and coarser than the plume keep the influence of rows well inside."""
    table = cloud(minutes=60)
    half = max(0.4, 2 * cell)
    table[["long", "lati"]] = table[["long", "lati"]].to_numpy() * 0.3 + [0.0, 40.0 * 0.7]
    grid = Grid(xmin=-half, xmax=half, ymin=40 - half, ymax=40 + half, xres=cell, yres=cell)
    footprint = calc_footprint(table, grid, receptor=receptor_at(), smoothing=smoothing)
    assert_allclose(footprint.data.sum(), table["foot"].sum() / 60, rtol=1e-9)


def test_finer_cells_hold_the_same_influence_in_smaller_pieces():
    """Summing nine fine cells gives about the coarse one, once kernels are wider than cells."""
    table = cloud()
    coarse = calc_footprint(
        table,
        Grid(xmin=-1.5, xmax=1.5, ymin=38.5, ymax=41.5, xres=0.3, yres=0.3),
        receptor=receptor_at(),
        time_integrate=True,
    )
    fine = calc_footprint(
        table,
        Grid(xmin=-1.5, xmax=1.5, ymin=38.5, ymax=41.5, xres=0.1, yres=0.1),
        receptor=receptor_at(),
        time_integrate=True,
    )
    summed = fine.aggregate(coarse.grid).values
    assert_allclose(summed.sum(), coarse.data.values.sum(), rtol=1e-9)
    assert np.abs(summed - coarse.data.values).sum() < 0.1 * summed.sum()


# --- near field ------------------------------------------------------------------------------------------


def test_a_young_plume_spreads_with_the_wind_and_an_old_one_with_its_root():
    """Taylor's formula: sigma_w t at first, sigma_w sqrt(2 TL t) later."""
    assert_allclose(plume_spread(0.1, 0.5, 100.0), 0.05, rtol=1e-3)
    assert_allclose(plume_spread(1e6, 0.5, 100.0), 0.5 * np.sqrt(2e8), rtol=1e-3)
    assert plume_spread(60.0, 0.5, 0.0) == 0.0


def test_taylors_plume_is_the_spread_itself_not_a_sum():
    """The depth is release height plus the spread at the age of the row, so the correction lasts longer."""
    minutes = np.arange(1.0, 31.0)
    table = pd.DataFrame(
        {
            "time": -minutes, "indx": 1, "long": 0.0, "lati": 0.0, "foot": 1e-3, "dens": 1.2, "samt": 1.0,
            "sigw": 0.5, "tlgr": 60.0, "mlht": 1500.0,
        }
    )  # fmt: skip
    taylor = correct_near_field(table, mode="taylor", receptor=receptor_at())
    plume = 5.0 + np.array([plume_spread(60.0 * t, 0.5, 60.0) for t in minutes])
    assert_allclose(taylor["foot"], 0.02897 / (plume * 1.2) * 60.0, rtol=1e-12)
    summed = correct_near_field(table, receptor=receptor_at())
    changed = (taylor["foot"] != table["foot"]).sum(), (summed["foot"] != table["foot"]).sum()
    assert changed[0] > changed[1]
    again = correct_near_field(summed, mode="taylor", receptor=receptor_at())
    assert_allclose(again["foot"], taylor["foot"])
