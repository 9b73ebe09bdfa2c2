"""The native engine as its callers see it."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from stilt.errors import (
    Interrupted,
    MetCoverageError,
    MetFormatError,
    MetVariableError,
    ReceptorOffGridError,
    TransportTimeoutError,
    UnsupportedSettingError,
)
from stilt.meteorology import synthetic
from stilt.meteorology.arl.file import open_arl
from stilt.receptors import ColumnReceptor, MultiPointReceptor, PointReceptor
from stilt.transport import get_engine
from stilt.transport.native.engine import NativeEngine

ALL_COLUMNS = (
    "time indx long lati zagl foot mlht pres dens samt sigw tlgr zsfc temp temz rhfr sphu shtf wout".split()
)


def test_the_table_has_a_row_per_particle_and_minute_in_the_order_asked_for(run, breeze, receptor):
    result = run(breeze, receptor, varsiwant=ALL_COLUMNS)
    table = result.particles
    assert list(table.columns) == ALL_COLUMNS
    assert len(table) == 20 * 120
    assert list(table["time"][:20]) == [-1.0] * 20
    assert list(table["indx"][:20]) == list(range(1, 21))
    assert table["time"].iloc[-1] == -120
    assert np.isfinite(table.to_numpy(dtype=float)).all()
    assert result.exits["end of run"] == 20
    assert [info["name"] for info in result.met_files] == ["breeze.arl"]


def test_particles_stay_between_ground_and_top(run, breeze, receptor):
    table = run(breeze, receptor, numpar=200, n_hours=-4).particles
    assert table["zagl"].min() >= 0
    assert table["zagl"].max() < 25000
    assert (table["foot"] >= 0).all()
    assert ((table["samt"] >= 0) & (table["samt"] <= 1.0001)).all()


def test_influence_ends_above_the_dilution_height(run, breeze, receptor):
    """A particle that spends no time below half the PBL height has no influence."""
    table = run(breeze, receptor, numpar=100).particles
    assert (table.loc[table["samt"] == 0, "foot"] == 0).all()
    assert (table.loc[table["samt"] > 0, "foot"] > 0).all()


def test_equal_runs_are_equal_and_seeds_differ(run, breeze, receptor):
    first = run(breeze, receptor).particles
    pd.testing.assert_frame_equal(first, run(breeze, receptor).particles)
    pd.testing.assert_frame_equal(first, run(breeze, receptor, seed=0).particles)
    assert not first.equals(run(breeze, receptor, seed=1).particles)


@pytest.mark.parametrize("threads", ["2", "5"])
def test_threads_change_nothing(run, breeze, receptor, threads, monkeypatch):
    alone = run(breeze, receptor, numpar=57).particles
    monkeypatch.setenv("PYSTILT_THREADS", threads)
    pd.testing.assert_frame_equal(alone, run(breeze, receptor, numpar=57).particles)


def test_more_particles_leave_the_first_as_they_were(run, breeze, receptor):
    few = run(breeze, receptor, numpar=5).particles
    many = run(breeze, receptor, numpar=30).particles
    pd.testing.assert_frame_equal(few, many[many["indx"] <= 5].reset_index(drop=True))


def test_receptors_draw_different_noise(run, breeze, centre):
    lon, lat = centre
    one = run(breeze, PointReceptor("2020-06-01 04:00", lon, lat, 20.0)).particles
    other = run(breeze, PointReceptor("2020-06-01 04:00", lon, lat, 20.01)).particles
    spread = (one["zagl"] - other["zagl"]).abs()
    assert (spread > 1).mean() > 0.5


def test_a_column_spreads_its_particles_evenly(run, breeze, centre):
    column = ColumnReceptor("2020-06-01 04:00", *centre, 100.0, 1100.0)
    table = run(breeze, column, numpar=10, nturb=1, n_hours=-1).particles
    assert list(table["xhgt"][:10]) == [150.0 + 100.0 * i for i in range(10)]
    np.testing.assert_allclose(table["zagl"][:10], table["xhgt"][:10], atol=1e-2)


def test_a_multipoint_receptor_releases_in_blocks_of_its_points(run, breeze, centre):
    lon, lat = centre
    points = MultiPointReceptor("2020-06-01 04:00", [lon, lon + 0.5], [lat, lat], [50.0, 400.0])
    table = run(breeze, points, numpar=5, nturb=1, n_hours=-1).particles
    assert list(table["xhgt"][:5]) == [50.0, 50.0, 50.0, 400.0, 400.0]
    assert (table["long"][:3].max() < table["long"][3:5].min()) or lon > 179


def test_heights_above_sea_level_become_heights_above_the_model_ground(run, tmp_path, centre):
    world = synthetic.uniform(u=0.0, v=0.0, hours=6, terrain=300.0)
    path = world.write(tmp_path / "plateau.arl")
    receptor = PointReceptor("2020-06-01 04:00", *centre, 1000.0, altitude_ref="msl")
    table = run(path, receptor, nturb=1, n_hours=-1).particles
    np.testing.assert_allclose(table["zagl"], 700.0, atol=0.02)


def test_rows_every_few_minutes_carry_the_sum_since_the_last(run, breeze, receptor):
    every = run(breeze, receptor, numpar=3, n_hours=-1).particles
    tenth = run(breeze, receptor, numpar=3, n_hours=-1, outdt=10).particles
    assert sorted(tenth["time"].unique()) == [-60, -50, -40, -30, -20, -10]
    block = np.ceil(-every["time"] / 10)
    sums = every.groupby(["indx", block])["foot"].sum().to_numpy()
    np.testing.assert_allclose(
        tenth.sort_values(["indx", "time"], ascending=[True, False])["foot"], sums, rtol=1e-5
    )


def test_a_receptor_at_odd_minutes_and_seconds_runs(run, breeze, centre):
    receptor = PointReceptor("2020-06-01 03:17:40", *centre, 20.0)
    table = run(breeze, receptor).particles
    assert table["time"].min() == -120
    assert np.isfinite(table["zagl"]).all()


def test_the_perturbed_ensemble_spreads_more(run, breeze, receptor):
    errors = {"siguverr": 3.0, "tluverr": 60.0, "zcoruverr": 500.0, "horcoruverr": 40.0}
    plain = run(breeze, receptor, numpar=200, n_hours=-3, **errors).particles
    perturbed = run(breeze, receptor, numpar=200, n_hours=-3, error=True, **errors).particles
    at_end = plain["time"] == -180
    assert perturbed.loc[at_end, "long"].std() > 1.5 * plain.loc[at_end, "long"].std()


def test_scaling_the_mixed_layer_scales_it(run, breeze, receptor):
    usual = run(breeze, receptor, n_hours=-2).particles
    halved = run(breeze, receptor, n_hours=-2, ziscale=[0.5, 0.5, 0.5]).particles
    np.testing.assert_allclose(halved["mlht"], 0.5 * usual["mlht"], rtol=1e-5)


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"kblt": 1}, "kblt"),
        ({"kblt": 2}, "kblt"),
        ({"kblt": 3}, "kblt"),
        ({"kblt": 4}, "kblt"),
        ({"kdef": 1}, "kdef"),
        ({"kzmix": 4}, "kzmix"),
        ({"idsp": 1}, "idsp"),
        ({"capemin": -2}, "capemin"),
        ({"w_option": 1}, "w_option"),
        ({"kmixd": 4}, "kmixd"),
        ({"khmax": 24}, "khmax"),
        ({"varsiwant": (*ALL_COLUMNS, "zfx1")}, "zfx1"),
        ({"varsiwant": (*ALL_COLUMNS, "dmas"), "w_option": 4}, "dmas"),
    ],
)
def test_settings_that_are_not_implemented_are_refused_by_name(run, breeze, receptor, settings, key):
    with pytest.raises(UnsupportedSettingError, match=key):
        run(breeze, receptor, **settings)


def test_a_receptor_off_the_grid_is_told_the_grid(run, breeze):
    with pytest.raises(ReceptorOffGridError, match=r"20\.0.*outside met 'test'|outside met 'test'.*covers"):
        run(breeze, PointReceptor("2020-06-01 04:00", 20.0, 40.0, 20.0))


def test_a_run_past_the_first_hour_is_told_the_hours(run, breeze, receptor):
    with pytest.raises(MetCoverageError, match="2020-06-01"):
        run(breeze, receptor, n_hours=-12)


def test_a_receptor_above_the_model_top_is_refused(run, breeze, centre):
    with pytest.raises(ReceptorOffGridError, match="z_top"):
        run(breeze, PointReceptor("2020-06-01 04:00", *centre, 12000.0), z_top=10000.0)


def test_a_missing_variable_is_named(run, tmp_path, receptor):
    world = synthetic.uniform(hours=6).without("SHGT")
    path = world.write(tmp_path / "flat.arl")
    with pytest.raises(MetVariableError, match="SHGT"):
        run(path, receptor)


def test_staggered_winds_are_refused(run, tmp_path, receptor):
    world = synthetic.uniform(hours=6, model_id="AWRF")
    with pytest.raises(MetFormatError, match="AWRF"):
        run(world.write(tmp_path / "wrf.arl"), receptor)


def test_a_release_takes_as_long_as_asked(run, breeze, centre):
    """Ten minutes, as many particles in each, from all over a column."""
    column = ColumnReceptor("2020-06-01 04:00", *centre, 0.0, 1000.0)
    table = run(breeze, column, numpar=100, n_hours=-1, nturb=1, emisshrs=1 / 6).particles
    first = table.groupby("indx")["time"].max()
    assert first.value_counts().to_dict() == {-float(minute): 10 for minute in range(1, 11)}
    heights = table.groupby("indx")["xhgt"].first()
    assert heights[first == -1].max() > 900.0
    assert (table.groupby("indx")["time"].min() == -60).all()


def test_heights_count_from_the_ground_that_was_asked_for(run, tmp_path, centre):
    """On a slope the program's ground is where a minute of wind leads; ours, on request, the receptor's."""
    x = np.broadcast_to(np.arange(41.0), (41, 41))
    world = synthetic.uniform(u=10.0, v=0.0, hours=6, terrain=400.0 + 20.0 * x)
    path = world.write(tmp_path / "slope.arl")
    receptor = PointReceptor("2020-06-01 04:00", *centre, 2000.0, altitude_ref="msl")
    heights = {
        choice: run(path, receptor, nturb=1, n_hours=-1, numpar=1, release_terrain=choice).particles["zagl"][
            0
        ]
        for choice in ("receptor", "program")
    }
    # 600 m west of the receptor the ground lies a metre lower
    assert heights["receptor"] == pytest.approx(1200.0, abs=0.5)
    assert heights["program"] - heights["receptor"] == pytest.approx(1.0, abs=0.1)


def test_a_deadline_ends_the_run(run, breeze, receptor):
    with pytest.raises(TransportTimeoutError, match="timeout"):
        run(breeze, receptor, timeout=1000.0, deadline=time.monotonic() - 1)


def test_a_stop_is_heard(run, breeze, receptor):
    with pytest.raises(Interrupted):
        run(breeze, receptor, should_stop=lambda: True)


def test_the_registry_knows_the_engine():
    assert isinstance(get_engine("native"), NativeEngine)


def test_a_height_far_below_the_model_ground_is_said(run, tmp_path, centre):
    path = synthetic.uniform(u=0.0, v=0.0, hours=6, terrain=900.0).write(tmp_path / "high.arl")
    receptor = PointReceptor("2020-06-01 04:00", *centre, 300.0, altitude_ref="msl")
    with pytest.warns(UserWarning, match="600 m below the ground"):
        table = run(path, receptor, nturb=1, n_hours=-1).particles
    np.testing.assert_allclose(table["zagl"], 0.0, atol=0.02)


def test_forecasts_drive_runs_like_analyses(tmp_path, run, receptor):
    """Hours 1 to 6 of a forecast, after an analysis: the same particles as with analyses alone."""
    world = synthetic.uniform(u=5.0, v=2.0, hours=6, flux=150.0, ustar=0.35, pbl_height=1000.0)
    frames = tuple(replace(frame, forecast_hour=hour) for hour, frame in enumerate(world.frames))
    analyses = world.write(tmp_path / "analyses")
    forecast = replace(world, frames=frames).write(tmp_path / "forecast")
    assert open_arl(forecast).forecast_hours == tuple(range(7))
    a = run(analyses, receptor, seed=3).particles
    b = run(forecast, receptor, seed=3).particles
    pd.testing.assert_frame_equal(a, b)
