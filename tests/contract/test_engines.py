"""Every engine gives the same kind of answer to the same question, and the right one where it is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stilt.config import HysplitConfig, TransportParams
from stilt.errors import (
    ConfigError,
    Interrupted,
    MetCoverageError,
    MetIntervalError,
    MetNotFoundError,
    ReceptorOffGridError,
    TransportTimeoutError,
    UnsupportedSettingError,
)
from stilt.meteorology import synthetic
from stilt.meteorology.projection import HorizontalGrid
from stilt.receptors import ColumnReceptor, MultiPointReceptor, PointReceptor
from stilt.transport import TransportRequest, TransportResult, get_engine

COLUMNS = (
    "time indx long lati zagl foot mlht pres dens samt sigw tlgr zsfc temp temz rhfr sphu shtf wout".split()
)
Run = Callable[..., TransportResult]


@pytest.fixture(params=["native", pytest.param("hysplit", marks=pytest.mark.hysplit)])
def engine(request, tmp_path, monkeypatch):
    """Each engine, as the registry gives it."""
    section = None
    if request.param == "hysplit":
        section = HysplitConfig(exe=request.getfixturevalue("hysplit_dir") / "hycs_std")
        return get_engine("hysplit", section)
    from stilt.transport.native.engine import NativeEngine
    from stilt.transport.native.tiles import ColumnPool, TileCache

    return NativeEngine(ColumnPool(TileCache(tmp_path / "columns")))


@pytest.fixture
def run(engine) -> Run:
    """Run an engine: ``run(path, receptor, n_hours=..., ...)``."""

    def go(path: Path, receptor, *, error: bool = False, **settings) -> TransportResult:
        controls = {name: settings.pop(name) for name in ("deadline", "should_stop") if name in settings}
        params = TransportParams(**{"n_hours": -2, "numpar": 10, **settings})
        files = (path,) if isinstance(path, Path) else tuple(path)
        return engine.run(TransportRequest(receptor, "test", files, params, error=error), **controls)

    return go


@pytest.fixture(scope="session")
def breeze(tmp_path_factory) -> Path:
    world = synthetic.uniform(u=5.0, v=2.0, hours=8, flux=150.0, ustar=0.35, pbl_height=1000.0)
    return world.write(tmp_path_factory.mktemp("engines") / "breeze.arl")


@pytest.fixture(scope="session")
def centre() -> tuple[float, float]:
    return synthetic.uniform(hours=1).center


@pytest.fixture
def spot(centre) -> PointReceptor:
    return PointReceptor("2020-06-01 04:00", *centre, 50.0)


# --- the table ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_hours", [-2, 2])
def test_rows_go_by_time_and_particle_in_the_columns_asked_for(run, breeze, spot, n_hours):
    """One row per particle and minute, with the same dtypes whatever the engine."""
    result = run(breeze, spot, varsiwant=COLUMNS, n_hours=n_hours)
    table = result.particles
    assert list(table.columns) == COLUMNS
    assert {name: table[name].dtype for name in COLUMNS} == {
        name: np.dtype({"indx": "int32", "long": "float64", "lati": "float64"}.get(name, "float32"))
        for name in COLUMNS
    }
    sign = np.sign(n_hours)
    assert table["time"].tolist() == [sign * (1.0 + k) for k in range(120) for _ in range(10)]
    assert table["indx"].tolist() == list(range(1, 11)) * 120
    assert np.isfinite(table.to_numpy(dtype=float)).all()
    assert result.exits == {"end of run": 10, "west": 0, "east": 0, "south": 0, "north": 0, "top": 0}
    (met,) = result.met_files
    assert set(met) == {"name", "size", "first", "last"}
    assert met["name"] == "breeze.arl"


def test_seeded_runs_repeat_and_receptors_draw_their_own_numbers(run, breeze, spot, centre):
    first = run(breeze, spot)
    pd.testing.assert_frame_equal(first.particles, run(breeze, spot).particles)
    seeded = run(breeze, spot, seed=5)
    assert seeded.seed == 5
    pd.testing.assert_frame_equal(seeded.particles, run(breeze, spot, seed=5).particles)
    assert not seeded.particles.equals(run(breeze, spot, seed=6).particles)
    other = run(breeze, PointReceptor(spot.time, *centre, 50.01)).particles
    assert ((first.particles["zagl"] - other["zagl"]).abs() > 1).mean() > 0.5


def test_influence_is_where_the_time_below_the_dilution_height_is(run, breeze, spot):
    table = run(breeze, spot, numpar=50).particles
    assert (table["foot"] >= 0).all()
    assert ((table["foot"] > 0) == (table["samt"] > 0)).mean() > 0.999
    assert table["zagl"].between(0, 25000).all()


def test_rows_every_few_minutes_carry_the_sum_since_the_last(run, breeze, spot):
    every = run(breeze, spot, seed=1, numpar=3, n_hours=-1).particles
    tenth = run(breeze, spot, seed=1, numpar=3, n_hours=-1, outdt=10).particles
    assert sorted(tenth["time"].unique()) == [-60, -50, -40, -30, -20, -10]
    block = np.ceil(-every["time"] / 10)
    sums = every.groupby(["indx", block])["foot"].sum().to_numpy()
    ours = tenth.sort_values(["indx", "time"], ascending=[True, False])["foot"]
    np.testing.assert_allclose(ours, sums, rtol=1e-5, atol=2e-6)


# --- release ------------------------------------------------------------------------------------------


def test_a_column_is_released_from_bottom_to_top(run, breeze, centre):
    """Each particle within half a slice of the height it is said to come from."""
    column = ColumnReceptor("2020-06-01 04:00", *centre, 100.0, 1100.0)
    table = run(breeze, column, numpar=20, nturb=1, n_hours=-1).particles
    start = table[table["time"] == -1]
    assert len(start) == 20
    assert (np.diff(start["xhgt"]) > 0).all()
    assert start["xhgt"].iloc[0] < 130
    assert start["xhgt"].iloc[-1] > 1020
    assert (start["zagl"] - start["xhgt"]).abs().max() <= 25.5


@pytest.mark.parametrize(("numpar", "points"), [(10, 3), (10, 4), (8, 4), (50, 7), (9, 9), (40, 3), (36, 2)])
def test_particles_of_several_points_know_theirs(run, breeze, centre, numpar, points):
    """Blocks in the order of the points; a particle appears first where it is said to come from."""
    lon, lat = centre
    receptor = MultiPointReceptor(
        "2020-06-01 04:00", lon + 0.1 * np.arange(points), [lat] * points, 50.0 + 100.0 * np.arange(points)
    )
    table = run(breeze, receptor, numpar=numpar, nturb=1, n_hours=-1).particles
    start = table[table["time"] == -1]
    # in whole blocks: hycs_std makes 8 of 10 for 4 points
    assert numpar - points < len(start) < numpar + points
    np.testing.assert_allclose(start["zagl"], start["xhgt"], atol=0.5)
    point = np.rint((start["xhgt"].to_numpy() - 50.0) / 100.0)
    np.testing.assert_allclose(start["long"], lon + 0.1 * point, atol=0.01)
    counts = np.bincount(point.astype(int), minlength=points)
    assert counts.min() >= 1
    assert np.ptp(counts) <= 1
    assert (np.diff(point) >= 0).all()


def test_heights_above_sea_level_are_taken_off_the_terrain(run, tmp_path, centre):
    path = synthetic.uniform(u=0.0, v=0.0, hours=6, terrain=300.0).write(tmp_path / "plateau.arl")
    receptor = PointReceptor("2020-06-01 04:00", *centre, 1000.0, altitude_ref="msl")
    table = run(path, receptor, nturb=1, n_hours=-1, varsiwant=COLUMNS).particles
    np.testing.assert_allclose(table["zagl"], 700.0, atol=0.05)
    np.testing.assert_allclose(table["zsfc"], 300.0, atol=0.05)


# --- analytic worlds ----------------------------------------------------------------------------------


@pytest.mark.parametrize("n_hours", [-5, 5])
def test_uniform_wind_carries_particles_at_wind_speed(run, tmp_path, n_hours):
    world = synthetic.uniform(u=5.0, v=2.0, hours=12)
    lon, lat = world.center
    receptor = PointReceptor("2020-06-01 06:00", lon, lat, 300.0)
    end = run(world.write(tmp_path / "u.arl"), receptor, n_hours=n_hours, nturb=1, numpar=1).particles.iloc[
        -1
    ]
    x, y = world.grid.to_xy(end["long"], end["lati"])
    x0, y0 = world.grid.to_xy(lon, lat)
    spacing, _ = world.grid.spacing(x0, y0)
    assert (x - x0) * spacing == pytest.approx(5.0 * 3600 * n_hours, rel=2e-3)
    assert (y - y0) * spacing == pytest.approx(2.0 * 3600 * n_hours, rel=2e-3)
    assert end["zagl"] == pytest.approx(300.0, abs=0.05)


def test_wind_that_grows_with_height_carries_high_particles_farther(run, tmp_path):
    world = synthetic.shear(u0=2.0, per_metre=0.005, hours=8)
    lon, lat = world.center
    path = world.write(tmp_path / "s.arl")
    x0, y0 = world.grid.to_xy(lon, lat)
    spacing, _ = world.grid.spacing(x0, y0)
    for height in (200.0, 1000.0):
        receptor = PointReceptor("2020-06-01 06:00", lon, lat, height)
        end = run(path, receptor, n_hours=-4, nturb=1, numpar=1).particles.iloc[-1]
        x, _ = world.grid.to_xy(end["long"], end["lati"])
        assert (x - x0) * spacing == pytest.approx(-(2.0 + 0.005 * height) * 4 * 3600, rel=0.01)


def test_a_backward_run_reverses_a_forward_one(run, tmp_path):
    world = synthetic.vortex(hours=12)
    path = world.write(tmp_path / "v.arl")
    lon, lat = world.center
    still = {"nturb": 1, "numpar": 1}
    out = run(
        path, PointReceptor("2020-06-01 02:00", lon + 1.0, lat, 500.0), n_hours=6, **still
    ).particles.iloc[-1]
    there = PointReceptor("2020-06-01 08:00", out["long"], out["lati"], 500.0)
    back = run(path, there, n_hours=-6, **still).particles.iloc[-1]
    assert back["long"] == pytest.approx(lon + 1.0, abs=2e-3)
    assert back["lati"] == pytest.approx(lat, abs=2e-3)


def test_the_globe_has_no_edge(run, tmp_path):
    """Solid rotation about a tilted axis carries particles across the date line on a circle."""
    world = synthetic.global_rotation(tilt=60.0, days=10.0, hours=36)
    path = world.write(tmp_path / "g.arl")
    lon, lat = 179.5, -30.0
    receptor = PointReceptor("2020-06-02 08:00", lon, lat, 500.0)
    result = run(path, receptor, n_hours=-30, nturb=1, numpar=1)
    end = result.particles.iloc[-1]
    assert result.exits["end of run"] == 1

    def vector(longitude, latitude):
        a, b = np.radians(longitude), np.radians(latitude)
        return np.array([np.cos(b) * np.cos(a), np.cos(b) * np.sin(a), np.sin(b)])

    axis, start = vector(180.0, 30.0), vector(lon, lat)
    angle = np.radians(-45.0)
    turned = (
        start * np.cos(angle)
        + np.cross(axis, start) * np.sin(angle)
        + axis * (axis @ start) * (1 - np.cos(angle))
    )
    assert 6371.2 * np.arccos(np.clip(vector(end["long"], end["lati"]) @ turned, -1, 1)) < 5.0


@pytest.mark.parametrize(
    ("u", "v", "side"), [(20, 0, "west"), (-20, 0, "east"), (0, 20, "south"), (0, -20, "north")]
)
def test_particles_end_at_the_side_they_reach(run, tmp_path, u, v, side):
    grid = HorizontalGrid.lambert(40.0, -100.0, 3.0, 40, 40, center_lat=40.0, center_lon=-100.0)
    world = synthetic.uniform(u=u, v=v, grid=grid, hours=6)
    receptor = PointReceptor("2020-06-01 05:00", *world.center, 200.0)
    result = run(world.write(tmp_path / "small.arl"), receptor, n_hours=-4)
    assert result.exits[side] == 10
    assert (result.particles.groupby("indx")["time"].min() > -240).all()


def test_scaling_the_mixed_layer_scales_it(run, breeze, spot):
    usual = run(breeze, spot, seed=1).particles
    halved = run(breeze, spot, seed=1, ziscale=[0.5, 0.5, 0.5]).particles
    np.testing.assert_allclose(halved["mlht"], 0.5 * usual["mlht"], rtol=1e-3)


def test_wind_errors_spread_particles(run, breeze, spot):
    errors = {"siguverr": 3.0, "tluverr": 60.0, "zcoruverr": 500.0, "horcoruverr": 40.0}
    plain = run(breeze, spot, numpar=150, n_hours=-2, **errors).particles
    perturbed = run(breeze, spot, numpar=150, n_hours=-2, error=True, **errors).particles
    at_end = plain["time"] == -120
    assert perturbed.loc[at_end, "long"].std() > 1.5 * plain.loc[at_end, "long"].std()


def test_mixed_layer_errors_change_only_the_influence(run, breeze, spot):
    errors = {"sigzierr": 20.0, "tlzierr": 60.0, "horcorzierr": 100.0, "seed": 3}
    plain = run(breeze, spot, numpar=40, **errors).particles
    perturbed = run(breeze, spot, numpar=40, error=True, **errors).particles
    assert not np.allclose(plain["foot"], perturbed["foot"])
    assert perturbed["foot"].sum() == pytest.approx(plain["foot"].sum(), rel=0.4)
    np.testing.assert_allclose(perturbed["mlht"].mean(), plain["mlht"].mean(), rtol=2e-3)


# --- refusals -----------------------------------------------------------------------------------------


def test_times_files_and_places_that_are_not_there(run, breeze, spot, tmp_path):
    with pytest.raises(MetCoverageError, match="2020-06-01"):
        run(breeze, spot, n_hours=-12)
    with pytest.raises(MetNotFoundError):
        run(tmp_path / "none.arl", spot)
    with pytest.raises(ReceptorOffGridError):
        run(breeze, PointReceptor("2020-06-01 04:00", 20.0, 40.0, 20.0))
    with pytest.raises(ReceptorOffGridError, match="z_top"):
        run(breeze, PointReceptor(spot.time, spot.longitude, spot.latitude, 12000.0), z_top=10000.0)


def test_a_gap_in_the_meteorology(run, spot, tmp_path):
    from dataclasses import replace

    world = synthetic.uniform(hours=6)
    path = replace(world, frames=world.frames[:2] + world.frames[3:]).write(tmp_path / "gap.arl")
    with pytest.raises(MetIntervalError, match="gap"):
        run(path, spot, n_hours=-4)


def test_settings_that_cannot_be_honoured_are_named(run, engine, breeze, spot):
    with pytest.raises(UnsupportedSettingError, match="zfx1"):
        engine.check(TransportParams(varsiwant=(*COLUMNS, "zfx1")))
    with pytest.raises(ConfigError, match="kmsl"):
        run(breeze, spot, kmsl=1)


def test_a_timeout_and_a_stop_end_the_run(run, breeze, spot):
    with pytest.raises(TransportTimeoutError, match="timeout"):
        run(breeze, spot, timeout=0.001, numpar=2000, n_hours=-4)
    with pytest.raises(Interrupted):
        run(breeze, spot, should_stop=lambda: True)
