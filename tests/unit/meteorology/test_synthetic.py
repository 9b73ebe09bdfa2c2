"""The made-up worlds are what they say, and the valley hangs together physically."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from stilt.constants import GRAVITY, POISSON, R_DRY
from stilt.meteorology import synthetic
from stilt.meteorology.catalog import open_series
from stilt.meteorology.frame import Box
from stilt.meteorology.projection import HorizontalGrid


def read_back(world, path, time_index=0):
    series = open_series([world.write(path)], name="world")
    box = Box(0, series.grid.nx, 0, series.grid.ny)
    return series, series.decode(time_index, box, series.surface_names, series.upper_names)


def reader_heights(world, frame):
    """Heights above ground of the levels as a reader of the file works them out [m]."""
    sigma = np.array(world.levels.heights[1:])[:, None, None]
    pressure = world.levels.offset + sigma * (frame.surface["PRSS"].astype(float) - world.levels.offset)
    q = frame.upper["SPHU"].astype(float)
    virtual = frame.upper["TEMP"] * (1 + 0.61 * q)
    ground = (frame.surface["T02M"] * (1 + 0.61 * q[0]))[None]
    logs = np.log(np.concatenate([frame.surface["PRSS"].astype(float)[None], pressure]))
    virtual = np.concatenate([ground, virtual])
    return np.cumsum(
        -np.diff(logs, axis=0) * R_DRY * 0.5 * (virtual[1:] + virtual[:-1]) / GRAVITY, axis=0
    ), pressure


@pytest.fixture(scope="module")
def valley():
    return synthetic.valley()


def test_uniform_wind_is_uniform(tmp_path):
    """Every wind of the uniform world is the one asked for, to the packing."""
    series, frame = read_back(synthetic.uniform(u=5.0, v=-2.0, hours=1), tmp_path / "w")
    for u, v in ((frame.upper["UWND"], frame.upper["VWND"]), (frame.surface["U10M"], frame.surface["V10M"])):
        assert_allclose(u, 5.0, atol=1e-6)
        assert_allclose(v, -2.0, atol=1e-6)
    assert not frame.upper["WWND"].any()
    assert series.model_id == "UNIF"


def test_shear_grows_with_the_readers_height(tmp_path):
    """The wind at each level is that of the height a reader gives the level, to a few metres."""
    world = synthetic.shear(u0=2.0, per_metre=0.005, hours=0)
    _, frame = read_back(world, tmp_path / "w")
    heights, _ = reader_heights(world, frame)
    assert_allclose(frame.upper["UWND"], 2.0 + 0.005 * heights, atol=0.15)
    assert_allclose(frame.upper["UWND"][:8], (2.0 + 0.005 * heights)[:8], atol=0.02)


def test_vortex_turns_once_a_day():
    """Speed over distance from the middle is the angular velocity everywhere."""
    world = synthetic.vortex(hours=0)
    x, y = np.meshgrid(np.arange(1.0, 42), np.arange(1.0, 42))
    gx, _ = world.grid.spacing(x, y)
    distance = np.hypot(x - 21, y - 21) * gx
    speed = np.hypot(world.frames[0].upper["UWND"][0], world.frames[0].upper["VWND"][0])
    assert_allclose(speed, distance * 2 * np.pi / 86400, atol=1e-4)


def test_global_rotation_is_cyclic_and_nondivergent():
    """The rotating globe covers all longitudes and blows along its own equator at full speed."""
    world = synthetic.global_rotation(hours=0)
    assert world.grid.is_global
    u, v = world.frames[0].upper["UWND"][3], world.frames[0].upper["VWND"][3]
    assert np.hypot(u, v).max() == pytest.approx(2 * np.pi * 6371200 / 864000, rel=0.01)


@pytest.mark.parametrize("flux", [350.0, -20.0])
def test_convective_world_is_mixed_or_inverted(flux):
    """Potential temperature is constant below the mixed-layer top when heated, rising when cooled."""
    world = synthetic.convective(flux=flux, hours=0)
    frame = world.frames[0]
    heights, pressure = reader_heights(world, frame)
    theta = (frame.upper["TEMP"] * (1000 / pressure) ** POISSON)[:, 5, 5]
    mixed = heights[:, 5, 5] < 1400
    if flux > 0:
        assert np.ptp(theta[mixed]) < 0.05
        assert theta[heights[:, 5, 5] > 1800].min() > theta[0] + 4
        assert frame.surface["T02M"][5, 5] > theta[0]
    else:
        assert (np.diff(theta) > 0).all()


@pytest.mark.parametrize(
    "levels",
    [
        synthetic.sigma_levels(top=50.0),
        synthetic.pressure_levels(),
        synthetic.hybrid_levels(),
        synthetic.terrain_levels(),
    ],
    ids=["sigma", "pressure", "hybrid", "terrain"],
)
def test_every_vertical_coordinate_can_be_written(tmp_path, levels):
    """The same air goes into sigma, pressure, hybrid and terrain-height files; pressures fall with height."""
    world = synthetic.convective(
        levels=levels, hours=0, contents=synthetic.Contents(pres=True, moisture="RELH")
    )
    series, frame = read_back(world, tmp_path / "w")
    assert series.levels == levels
    pressure = frame.upper["PRES"][:, 3, 3]
    assert (np.diff(pressure) < 0).all()
    assert 100 < pressure[-1] < 350
    assert (frame.upper["RELH"] <= 100).all()
    theta = (frame.upper["TEMP"][:, 3, 3] * (1000 / pressure) ** POISSON)[(pressure < 999) & (pressure > 880)]
    assert np.ptp(theta) < 0.15


@pytest.mark.parametrize(
    ("fluxes", "names"), [("USTR", {"USTR"}), ("UMOF", {"UMOF", "VMOF"}), ("EXCO", {"EXCO"})]
)
def test_contents_decide_the_fields(fluxes, names):
    """Stress comes in the chosen form and optional fields can be left out."""
    contents = synthetic.Contents(
        fluxes=fluxes, t2m=False, wind10m=False, roughness=False, pblh=False, moisture=""
    )
    frame = synthetic.uniform(hours=0, contents=contents).frames[0]
    assert set(frame.surface) == {"SHGT", "PRSS", "SHTF"} | names
    assert set(frame.upper) == {"TEMP", "UWND", "VWND", "WWND"}
    with pytest.raises(ValueError, match="EXCO"):
        synthetic.uniform(hours=0, contents=synthetic.Contents(fluxes="TKE"))


def test_valley_has_a_day(valley):
    """Heat flux, friction velocity and 2 m temperature follow the sun."""
    hours = (valley.times.astype("datetime64[h]").astype(int) - 7) % 24
    flux = np.array([frame.surface["SHTF"].mean() for frame in valley.frames])
    t2m = np.array([frame.surface["T02M"].mean() for frame in valley.frames])
    assert (flux[(hours <= 4) | (hours >= 20)] < 0).all()
    assert flux[(hours >= 11) & (hours <= 14)].min() > 250
    assert t2m[(hours >= 13) & (hours <= 15)].min() > t2m[(hours >= 1) & (hours <= 5)].max() + 5
    ustar = np.stack([frame.surface["USTR"] for frame in valley.frames])
    assert ustar.min() >= 0.0999
    assert ustar.max() <= 0.5001
    assert all(
        frame.surface["SHTF"].min() >= -31 and frame.surface["SHTF"].max() <= 375 for frame in valley.frames
    )


def test_valley_is_superadiabatic_by_day_and_inverted_by_night(valley):
    """At 2 m it is warmer than the first level at noon and colder before dawn; aloft air is stable."""
    for index, sign in ((7, 1.0), (23, -1.0)):
        frame = valley.frames[index]
        _, pressure = reader_heights(valley, frame)
        theta = frame.upper["TEMP"] * (1000 / pressure) ** POISSON
        ground = frame.surface["T02M"] * (1000 / frame.surface["PRSS"]) ** POISSON
        assert (sign * (ground - theta[0]) > 0.3).all()
        assert (np.diff(theta[14:], axis=0) > 0).all()
        assert np.diff(theta, axis=0).min() > -0.1


def test_valley_wind_turns_and_reverses(valley):
    """Aloft the wind veers by 100 degrees; on the floor it blows up the valley by day, down by night."""
    direction = []
    for frame in valley.frames[:31]:
        u, v = frame.upper["UWND"][16].mean(), frame.upper["VWND"][16].mean()
        direction.append(np.degrees(np.arctan2(-u, -v)) % 360)
    assert 80 < direction[-1] - direction[0] < 120
    floor = np.s_[1, 18:24, 19:22]
    assert valley.frames[8].upper["VWND"][floor].mean() > 1
    assert valley.frames[22].upper["VWND"][floor].mean() < -0.5


def test_valley_vertical_motion_is_small_and_vanishes_at_the_ground(valley):
    """Vertical velocity is centimetres per second; it is what the horizontal flow leaves over."""
    for frame in valley.frames[::6]:
        assert np.abs(frame.upper["WWND"]).max() < 0.03
        assert np.abs(frame.upper["WWND"]).std() < 0.006
        assert np.abs(frame.upper["WWND"][0]).max() < 0.002


def test_heights_agree_with_a_reader(valley):
    """The wind profile is sampled where a reader puts the levels: pressure differences are hydrostatic."""
    frame = valley.frames[12]
    heights, _ = reader_heights(valley, frame)
    assert (np.diff(heights, axis=0) > 0).all()
    assert heights[0].min() > 10
    assert heights[0].max() < 25
    assert heights[-1].min() > 10000


def test_demo_files_are_small_and_the_same_every_time(tmp_path):
    """Six-hour files, over 30 hours, below 10 MB, readable as one series, equal bytes each time."""
    paths = synthetic.write_demo_met(tmp_path / "a")
    assert [path.name for path in paths][:2] == ["20240710_12_valley", "20240710_18_valley"]
    assert sum(path.stat().st_size for path in paths) < 10e6
    series = open_series(paths, name="valley")
    assert len(series.times) >= 30
    assert series.interval == 60
    again = synthetic.write_demo_met(tmp_path / "b", hours=5)
    assert again[0].read_bytes() == paths[0].read_bytes()


def test_fields_can_be_taken_away():
    """A world without a field is the same world otherwise."""
    world = synthetic.uniform(hours=0)
    poorer = world.without("T02M", "SPHU")
    assert "T02M" not in poorer.frames[0].surface
    assert "SPHU" not in poorer.frames[0].upper
    assert poorer.grid == world.grid
    assert world.center == pytest.approx((-100.0, 40.0), abs=1e-9)
    assert isinstance(world.grid, HorizontalGrid)
