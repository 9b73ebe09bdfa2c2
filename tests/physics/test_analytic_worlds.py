"""Particles in winds whose trajectories can be written down, and in turbulence whose statistics can."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from stilt.meteorology import synthetic
from stilt.meteorology.projection import HorizontalGrid

NO_TURBULENCE = {"nturb": 1, "numpar": 1}


def track(world, table):
    return world.grid.to_xy(table["long"].to_numpy(), table["lati"].to_numpy())


@pytest.mark.parametrize("n_hours", [-5, 5])
def test_uniform_wind_carries_particles_at_wind_speed(travel, n_hours):
    """A steady 5 m/s along x moves every particle 18 km per hour of the grid's own distance."""
    world = synthetic.uniform(u=5.0, v=2.0, hours=12)
    lon, lat = world.center
    table = travel(world, "2020-06-01 06:00", lon, lat, 300.0, n_hours=n_hours, **NO_TURBULENCE)
    x, y = track(world, table)
    x0, y0 = world.grid.to_xy(lon, lat)
    spacing, _ = world.grid.spacing(x0, y0)
    assert (x[-1] - x0) * spacing == pytest.approx(5.0 * 3600 * n_hours, rel=2e-3)
    assert (y[-1] - y0) * spacing == pytest.approx(2.0 * 3600 * n_hours, rel=2e-3)
    np.testing.assert_allclose(table["zagl"], 300.0, atol=0.05)


def test_a_backward_run_reverses_a_forward_one(travel):
    """Without turbulence, going back from where a particle went ends where it came from."""
    world = synthetic.vortex(hours=12)
    lon, lat = world.center
    out = travel(world, "2020-06-01 02:00", lon + 1.0, lat, 500.0, n_hours=6, **NO_TURBULENCE).iloc[-1]
    back = travel(world, "2020-06-01 08:00", out["long"], out["lati"], 500.0, n_hours=-6, **NO_TURBULENCE)
    assert back["long"].iloc[-1] == pytest.approx(lon + 1.0, abs=2e-3)
    assert back["lati"].iloc[-1] == pytest.approx(lat, abs=2e-3)


def test_solid_rotation_of_the_globe_carries_particles_around_its_axis(travel):
    """Ten days a turn about an axis tilted by 60 degrees: 30 hours are 45 degrees of a circle."""
    world = synthetic.global_rotation(tilt=60.0, days=10.0, hours=36)
    lon, lat = 179.5, -30.0
    table = travel(world, "2020-06-02 08:00", lon, lat, 500.0, n_hours=-30, **NO_TURBULENCE)

    def vector(longitude, latitude):
        a, b = np.radians(longitude), np.radians(latitude)
        return np.array([np.cos(b) * np.cos(a), np.cos(b) * np.sin(a), np.sin(b)])

    tilt = np.radians(60.0)
    axis = np.array([-np.sin(tilt), 0.0, np.cos(tilt)])
    angle = np.radians(-30 / 240 * 360)
    start = vector(lon, lat)
    turned = (
        start * np.cos(angle)
        + np.cross(axis, start) * np.sin(angle)
        + axis * (axis @ start) * (1 - np.cos(angle))
    )
    end = vector(table["long"].iloc[-1], table["lati"].iloc[-1])
    assert 6371.2 * np.arccos(np.clip(end @ turned, -1, 1)) < 5.0


@pytest.mark.parametrize(
    ("lon", "lat", "n_hours"), [(90.0, 80.0, -24), (-90.0, -80.0, -24), (60.0, 84.0, 18)]
)
def test_particles_cross_the_poles(travel, lon, lat, n_hours):
    """A rotation about an axis in the equator carries air straight over the poles, or close by."""
    world = synthetic.global_rotation(tilt=90.0, days=10.0, step=3.0, hours=54)
    when = "2020-06-02T06:00"
    table = travel(world, when, lon, lat, 500.0, n_hours=n_hours, **NO_TURBULENCE)
    assert table["lati"].abs().max() <= 90.0

    def vector(longitude, latitude):
        a, b = np.radians(longitude), np.radians(latitude)
        return np.array([np.cos(b) * np.cos(a), np.cos(b) * np.sin(a), np.sin(b)])

    angle = np.radians(-36.0 * n_hours / 24.0)
    start, axis = vector(lon, lat), np.array([1.0, 0.0, 0.0])
    turned = (
        start * np.cos(angle)
        + np.cross(axis, start) * np.sin(angle)
        + axis * (axis @ start) * (1 - np.cos(angle))
    )
    end = vector(table["long"].iloc[-1], table["lati"].iloc[-1])
    assert 6371.2 * np.arccos(np.clip(end @ turned, -1, 1)) < 60.0
    # over the pole the grid has no direction, and turbulence must not stop there either
    moving = travel(world, when, lon, lat, 50.0, n_hours=n_hours, numpar=20)
    assert moving["lati"].abs().max() <= 90.0
    assert np.isfinite(moving[["long", "lati", "zagl", "foot"]].to_numpy()).all()


def test_going_forward_and_backward_agree_on_how_air_is_exchanged(tmp_path):
    """The mass that goes from a low to a high layer in an hour is what comes from there, seen from above."""
    from stilt.config import TransportParams
    from stilt.receptors import ColumnReceptor
    from stilt.transport.native.engine import NativeEngine
    from stilt.transport.native.tiles import ColumnPool, TileCache
    from stilt.transport.protocol import TransportRequest

    world = synthetic.convective(flux=120.0, ustar=0.3, pbl_height=1200.0, hours=4)
    path = world.write(tmp_path / "exchange.arl")
    engine = NativeEngine(ColumnPool(TileCache(tmp_path / "c")))
    low, high = (0.0, 200.0), (500.0, 900.0)
    n = 3000

    def share(source, target, n_hours):
        receptor = ColumnReceptor("2020-07-01 14:00", *world.center, *source)
        params = TransportParams(n_hours=n_hours, numpar=n, outdt=10)
        table = engine.run(TransportRequest(receptor, "exchange", (path,), params)).particles
        at = table[table["time"] == np.sign(n_hours) * 10]
        mass = np.exp(-at["xhgt"] / 8800.0)
        return mass[(at["zagl"] > target[0]) & (at["zagl"] < target[1])].sum() / n

    upward = share(low, high, 1) * (low[1] - low[0])
    seen_from_above = share(high, low, -1) * (high[1] - high[0])
    assert upward > 10.0
    noise = np.sqrt(upward * (low[1] - low[0]) / n + upward * (high[1] - high[0]) / n)
    assert abs(upward - seen_from_above) < 4.0 * noise


def test_a_receptor_alone_and_among_others_is_the_same(tmp_path):
    """Whatever ran before in the same worker, over the same tiles, a receptor's particles are the same."""
    from stilt.config import TransportParams
    from stilt.receptors import PointReceptor
    from stilt.transport.native.engine import NativeEngine
    from stilt.transport.native.tiles import ColumnPool, TileCache
    from stilt.transport.protocol import TransportRequest

    world = synthetic.uniform(u=6.0, v=3.0, hours=4, flux=150.0)
    path = world.write(tmp_path / "shared.arl")
    lon, lat = world.center
    params = TransportParams(n_hours=-2, numpar=30)
    receptors = [PointReceptor("2020-06-01 03:00", lon + 0.1 * k, lat, 20.0) for k in range(3)]

    def particles(engine, receptor):
        return engine.run(TransportRequest(receptor, "shared", (path,), params)).particles

    together = NativeEngine(ColumnPool(TileCache(tmp_path / "a")))
    among = [particles(together, receptor) for receptor in receptors]
    alone = particles(NativeEngine(ColumnPool(TileCache(tmp_path / "b"))), receptors[2])
    pd.testing.assert_frame_equal(among[2], alone)


@pytest.mark.parametrize(
    ("u", "v", "side"), [(20, 0, "west"), (-20, 0, "east"), (0, 20, "south"), (0, -20, "north")]
)
def test_particles_end_at_the_side_they_reach(tmp_path, u, v, side):
    """Backward with the wind from a side, all particles leave across that side, and are counted there."""
    from stilt.config import TransportParams
    from stilt.receptors import PointReceptor
    from stilt.transport.native.engine import NativeEngine
    from stilt.transport.native.tiles import ColumnPool, TileCache
    from stilt.transport.protocol import TransportRequest

    grid = HorizontalGrid.lambert(40.0, -100.0, 3.0, 40, 40, center_lat=40.0, center_lon=-100.0)
    world = synthetic.uniform(u=u, v=v, grid=grid, hours=6)
    path = world.write(tmp_path / "small.arl")
    receptor = PointReceptor("2020-06-01 05:00", *world.center, 200.0)
    params = TransportParams(n_hours=-4, numpar=10)
    result = NativeEngine(ColumnPool(TileCache(tmp_path / "c"))).run(
        TransportRequest(receptor, "small", (path,), params)
    )
    assert result.exits[side] == 10
    last = result.particles.groupby("indx")["time"].min()
    assert (last > -240).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flux", "ustar", "pbl"),
    [(250.0, 0.4, 1200.0), (0.0, 0.5, 700.0), (-20.0, 0.2, 300.0)],
    ids=["convective", "neutral", "stable"],
)
def test_a_well_mixed_tracer_stays_well_mixed(tmp_path, flux, ustar, pbl):
    """Particles spread evenly in mass from the ground to 2.5 km stay so for hours, whatever the stability."""
    from stilt.config import TransportParams
    from stilt.receptors import ColumnReceptor
    from stilt.transport.native.engine import NativeEngine
    from stilt.transport.native.tiles import ColumnPool, TileCache
    from stilt.transport.protocol import TransportRequest

    world = synthetic.uniform(u=3.0, v=0.0, hours=6, flux=flux, ustar=ustar, pbl_height=pbl)
    path = world.write(tmp_path / "mixed.arl")
    receptor = ColumnReceptor("2020-06-01 05:00", *world.center, 0.0, 2500.0)
    params = TransportParams(n_hours=-3, numpar=4000)
    table = (
        NativeEngine(ColumnPool(TileCache(tmp_path / "c")))
        .run(TransportRequest(receptor, "mixed", (path,), params))
        .particles
    )
    end = table[table["time"] == -180]
    # released evenly in height, so each carries the density of its release height
    scale_height = 8800.0
    weight = np.exp(-end["xhgt"].to_numpy() / scale_height)
    edges = np.linspace(0.0, 1500.0, 11)
    mass, _ = np.histogram(end["zagl"], bins=edges, weights=weight)
    expected = scale_height * (np.exp(-edges[:-1] / scale_height) - np.exp(-edges[1:] / scale_height))
    expected *= 4000 / 2500.0
    chi2 = (((mass - expected) ** 2) / expected).sum()
    assert chi2 < 35, (mass / expected).round(3)


def test_twice_the_particles_halve_the_variance_of_the_mean_footprint(travel):
    """The total influence converges as one over the root of the number of particles."""
    world = synthetic.uniform(u=5.0, v=0.0, hours=6, flux=100.0, ustar=0.3, pbl_height=800.0)
    lon, lat = world.center
    table = travel(world, "2020-06-01 05:00", lon, lat, 20.0, n_hours=-2, numpar=640)
    per_particle = table.groupby("indx")["foot"].sum().to_numpy()
    spread = {}
    for n in (10, 40):
        means = per_particle.reshape(-1, n).mean(axis=1)
        spread[n] = means.std()
    assert spread[10] / spread[40] == pytest.approx(2.0, rel=0.45)
