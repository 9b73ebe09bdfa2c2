"""Particles that go from one meteorology to another: the same winds must give the same way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stilt.config import MetConfig, TransportParams
from stilt.errors import (
    ConfigError,
    MetCoverageError,
    ReceptorOffGridError,
    UnsupportedSettingError,
)
from stilt.meteorology import synthetic
from stilt.meteorology.projection import HorizontalGrid
from stilt.receptors import ColumnReceptor, MultiPointReceptor, PointReceptor
from stilt.transport.native import nested
from stilt.transport.native.engine import NativeEngine
from stilt.transport.native.simulate import released_sigma
from stilt.transport.native.tiles import ColumnPool, TileCache
from stilt.transport.protocol import TransportRequest

WIDE = HorizontalGrid.lambert(40.0, -100.0, 12.0, 61, 61)
FINE = HorizontalGrid.lambert(40.0, -100.0, 12.0, 21, 21)
MERIDIANS = HorizontalGrid.latlon(-110.0, 32.0, 0.25, 0.25, 81, 65)
START = "2020-06-01 20:00"
MIDDLE = (-100.0, 40.0)
KM_PER_DEGREE = 111.2
DENSE = synthetic.sigma_levels(tuple(np.round(np.linspace(0.995, 0.02, 40), 3)))
"""So many that the engine takes finer levels of its own."""


def blowing(u: float, v: float, grid: HorizontalGrid, turns: float | None = None) -> Callable:
    """Wind of u to the east and v to the north, along the axes of a grid; turning round after some hours."""
    x, y = np.meshgrid(np.arange(1.0, grid.nx + 1), np.arange(1.0, grid.ny + 1))
    lon, lat = grid.to_lonlat(x, y)
    east_x, east_y = grid.to_xy(lon + 1e-3, lat)
    gx, gy = grid.spacing(x, y)
    angle = np.arctan2((east_y - y) * gy, (east_x - x) * gx)

    def wind(_x, _y, z, hours):
        sign = -1.0 if turns is not None and hours > turns else 1.0
        along = sign * (u * np.cos(angle) - v * np.sin(angle))
        across = sign * (u * np.sin(angle) + v * np.cos(angle))
        return along + 0.0 * z, across + 0.0 * z

    return wind


class Nest:
    """Meteorologies in folders of their own, and runs through them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.engine = NativeEngine(ColumnPool(TileCache(folder / "columns")))

    def write(self, name: str, world: synthetic.World, part: str = "a") -> None:
        (self.folder / name).mkdir(exist_ok=True)
        world.write(self.folder / name / f"{part}.arl")

    def blow(self, name: str, grid: HorizontalGrid, u: float, v: float, **options) -> None:
        turns = options.pop("turns", None)
        part = options.pop("part", "a")
        # a steady wind needs few analyses of the large grids
        options = {"hours": 24, "interval": 60 if grid is FINE or turns else 180, **options}
        options["model_id"] = "NEST"
        self.write(name, synthetic.analytic(blowing(u, v, grid, turns), grid=grid, **options), part)

    def run(self, *names: str, receptor=None, error=False, height=300.0, **settings):
        mets = [(name, MetConfig(directory=self.folder / name)) for name in names]
        receptor = receptor or PointReceptor(START, *MIDDLE, height)
        settings = {"n_hours": -12, "nturb": 1, "numpar": 1, **settings}
        request = TransportRequest(
            receptor, *mets[0], TransportParams(**settings), error=error, fallbacks=tuple(mets[1:])
        )
        return self.engine.run(request)


@pytest.fixture
def nest(tmp_path: Path) -> Nest:
    return Nest(tmp_path)


def km_apart(one, other):
    assert len(one) == len(other)
    north = (one["lati"] - other["lati"]).to_numpy()
    east = (one["long"] - other["long"]).to_numpy() * np.cos(np.radians(one["lati"].to_numpy()))
    return KM_PER_DEGREE * np.hypot(north, east)


def moves(result):
    return {(move["from"], move["to"], move["why"]): move["count"] for move in result.nesting["handed_over"]}


@pytest.mark.parametrize("n_hours", [-12, 12])
def test_the_way_is_that_of_the_wide_grid_alone(nest, n_hours):
    """A cut of a grid inside that grid: the same winds, so the same way, to the rounding of float32."""
    nest.blow("fine", FINE, 7.0, 4.0)
    nest.blow("wide", WIDE, 7.0, 4.0)
    receptor = PointReceptor("2020-06-01 12:00", *MIDDLE, 300.0)
    nested = nest.run("fine", "wide", receptor=receptor, n_hours=n_hours)
    alone = nest.run("wide", receptor=receptor, n_hours=n_hours)
    assert moves(nested) == {("fine", "wide", "edge"): 1}
    apart = km_apart(nested.particles, alone.particles)
    # 1e-6 of a cell of 12 km at each of 720 steps
    assert apart.max() < 0.02
    # nothing jumps at the edge: every minute is 60 s of the one wind
    x, y = WIDE.to_xy(nested.particles["long"], nested.particles["lati"])
    steps = np.hypot(np.diff(x), np.diff(y)) * 12.0
    np.testing.assert_allclose(steps, np.hypot(7.0, 4.0) * 0.06, rtol=0.02)
    np.testing.assert_allclose(nested.particles["zagl"], 300.0, atol=0.1)


def test_grids_of_other_projection_and_interval_carry_on_the_same_wind(nest):
    """Lambert every hour inside meridians every three: wind to the east stays wind to the east."""
    nest.blow("fine", FINE, -9.0, 5.0)
    nest.blow("globe", MERIDIANS, -9.0, 5.0)
    nested, alone = nest.run("fine", "globe"), nest.run("globe")
    assert 0.2 < nested.nesting["share"][0] < 0.6
    # 0.3 km after some 440 km is how bilinear winds differ between the grids
    assert km_apart(nested.particles, alone.particles).max() < 0.3


@pytest.mark.parametrize(
    ("height", "kept"),
    [(200.0, "agl"), (2500.0, "agl"), (7500.0, "half"), (13000.0, "msl")],
)
def test_height_above_ground_is_kept_below_and_above_sea_level_aloft(nest, height, kept):
    """The fine model's ground is 600 m higher."""
    nest.blow("fine", FINE, 9.0, 0.0, terrain=600.0)
    nest.blow("wide", WIDE, 9.0, 0.0, terrain=0.0)
    table = nest.run("fine", "wide", height=height, hnf_plume=False).particles
    before, after = table[table["met"] == 0].iloc[-1], table[table["met"] == 1].iloc[0]
    # half way between 3 and 12 km the share of the terrain is a half
    zeta = {"agl": 0.0, "half": 600.0 * (height - 3000.0) / (9000.0 - 600.0), "msl": 600.0}[kept]
    assert after["zagl"] - before["zagl"] == pytest.approx(zeta, abs=3.0)


def test_particles_go_on_when_hours_end_and_return_when_they_are_there_again(nest):
    """Backward from 20 UTC: fine hours from 20 to 15 and from 12 to 10; none between and before."""
    whole = synthetic.analytic(blowing(1.0, 0.5, FINE), grid=FINE, hours=24, model_id="NEST")
    for part, hours in (("a", range(15, 25)), ("b", range(10, 13))):
        frames = tuple(whole.frames[hour] for hour in hours)
        nest.write("fine", synthetic.World(whole.grid, whole.levels, frames, "NEST"), part)
    nest.blow("wide", WIDE, 1.0, 0.5)
    nested, alone = nest.run("fine", "wide"), nest.run("wide")
    assert moves(nested) == {("fine", "wide", "hours"): 2, ("wide", "fine", "return"): 1}
    met = nested.particles["met"].to_numpy()
    assert [int(minute) for minute in np.flatnonzero(np.diff(met)) + 1] == [300, 480, 600]
    assert nested.nesting["share"] == pytest.approx([7 / 12, 5 / 12])
    assert km_apart(nested.particles, alone.particles).max() < 0.01
    # forward from 09 UTC, when there is no fine hour yet
    early = PointReceptor("2020-06-01 09:00", *MIDDLE, 300.0)
    forward = nest.run("fine", "wide", receptor=early, n_hours=10)
    assert moves(forward) == {("wide", "fine", "return"): 2, ("fine", "wide", "hours"): 1}
    assert forward.nesting["share"] == pytest.approx([0.6, 0.4])


def test_a_particle_that_left_returns_once_it_is_well_inside(nest):
    """The wind turns at 10 UTC: going back from 20 UTC the way leads out of the fine grid and in again."""
    nest.blow("fine", FINE, 8.0, 0.0, turns=13.0)
    nest.blow("wide", WIDE, 8.0, 0.0, turns=13.0)
    nested, alone = nest.run("fine", "wide", n_hours=-14), nest.run("wide", n_hours=-14)
    assert moves(nested) == {("fine", "wide", "edge"): 1, ("wide", "fine", "return"): 1}
    # looked at every full hour, and two cells away from where it would leave
    back = int(np.flatnonzero(np.diff(nested.particles["met"].to_numpy()) < 0)[0]) + 1
    assert back % 60 == 0
    row = nested.particles.iloc[back - 1]
    x, y = FINE.to_xy(row["long"], row["lati"])
    assert FINE.usable(x - 2.0, y)
    assert FINE.usable(x + 2.0, y)
    assert km_apart(nested.particles, alone.particles).max() < 0.05


def test_three_grids_of_other_levels_and_tops(nest):
    """Sigma levels, pressure levels, twice as many sigma levels: on to the next where one ends."""
    middle = HorizontalGrid.lambert(40.0, -100.0, 12.0, 35, 35)
    nest.blow("fine", FINE, 12.0, 0.0)
    nest.blow("middle", middle, 12.0, 0.0, interval=120, levels=synthetic.pressure_levels())
    nest.blow("wide", WIDE, 12.0, 0.0, levels=DENSE)
    nested = nest.run("fine", "middle", "wide", n_hours=-6)
    assert moves(nested) == {("fine", "middle", "edge"): 1, ("middle", "wide", "edge"): 1}
    assert nested.particles["met"].is_monotonic_increasing
    assert sorted(set(nested.particles["met"])) == [0, 1, 2]
    assert sum(nested.nesting["share"]) == pytest.approx(1.0, abs=1e-5)
    assert {entry["met"] for entry in nested.met_files} == {"fine", "middle", "wide"}
    ends = nest.run("wide", n_hours=-6).particles.iloc[[-1]]
    assert km_apart(nested.particles.iloc[[-1]], ends)[0] < 1.0


def day(nest, grid, name, **options):
    options = {"interval": 60 if grid is FINE else 180, **options}
    nest.write(name, synthetic.convective(4.0, 1.0, grid=grid, start="2020-06-01T06", hours=18, **options))


def test_with_turbulence_nothing_depends_on_threads_or_company(nest, monkeypatch):
    day(nest, FINE, "fine")
    day(nest, WIDE, "wide")
    run = {"nturb": 0, "n_hours": -10, "height": 100.0}
    one = nest.run("fine", "wide", numpar=40, **run)
    assert 0.05 < one.nesting["share"][1] < 0.95
    monkeypatch.setenv("PYSTILT_THREADS", "3")
    several = nest.run("fine", "wide", numpar=40, **run)
    assert one.particles.equals(several.particles)
    assert one.nesting == several.nesting
    few = nest.run("fine", "wide", numpar=15, **run).particles
    first = one.particles[one.particles["indx"] <= 15].reset_index(drop=True)
    assert first.equals(few)


def test_what_never_leaves_is_as_if_there_were_no_other_meteorology(nest):
    """And until it leaves: bit for bit."""
    day(nest, FINE, "fine")
    day(nest, WIDE, "wide")
    run = {"nturb": 0, "numpar": 30, "height": 100.0}
    alone, nested = (nest.run(*names, n_hours=-3, **run) for names in (("fine",), ("fine", "wide")))
    assert nested.nesting["share"] == [1.0, 0.0]
    assert alone.nesting is None
    assert alone.particles.equals(nested.particles.drop(columns="met"))
    alone, nested = (nest.run(*names, n_hours=-10, **run) for names in (("fine",), ("fine", "wide")))
    assert alone.exits["west"] + alone.exits["south"] > 0
    assert nested.exits["end of run"] == 30
    kept = nested.particles.merge(alone.particles[["time", "indx"]], on=["time", "indx"])
    assert kept.drop(columns="met").equals(alone.particles)


def test_the_footprint_goes_on_at_the_edge(nest):
    """The same mixed layer on both sides: the sensitivity in all, and by hour, is that of the wide grid."""
    day(nest, FINE, "fine")
    day(nest, WIDE, "wide")
    run = {"nturb": 0, "n_hours": -9, "numpar": 400, "height": 100.0}
    nested, alone = nest.run("fine", "wide", **run).particles, nest.run("wide", **run).particles
    assert 0.1 < (nested["met"] == 1).mean() < 0.9
    hourly = [table.groupby((-table["time"] - 1) // 60)["foot"].sum() for table in (nested, alone)]
    # the same random numbers on all but rounding; 400 particles in a mixed layer are good to some percent
    np.testing.assert_allclose(hourly[0], hourly[1], rtol=0.08)
    assert nested["foot"].sum() == pytest.approx(alone["foot"].sum(), rel=0.03)
    np.testing.assert_allclose(nested["mlht"].mean(), alone["mlht"].mean(), rtol=0.01)


def test_wind_errors_and_mixed_layer_errors_go_along(nest):
    """Levels differ, so the profiles of errors are told anew; spread grows as in the wide grid alone."""
    day(nest, FINE, "fine")
    day(nest, WIDE, "wide", levels=DENSE)
    errors = {"siguverr": 3.0, "tluverr": 120.0, "zcoruverr": 500.0, "horcoruverr": 50.0,
              "sigzierr": 30.0, "tlzierr": 100.0, "horcorzierr": 50.0}  # fmt: skip
    run = {"nturb": 0, "n_hours": -9, "numpar": 150, "height": 100.0, "error": True, **errors}
    nested, alone = nest.run("fine", "wide", **run).particles, nest.run("wide", **run).particles
    ends = [table[table["time"] == -540.0] for table in (nested, alone)]
    assert len(ends[0]) > 140
    for column in ("long", "lati"):
        assert ends[0][column].std() == pytest.approx(ends[1][column].std(), rel=0.3)


def test_receptors_outside_the_fine_grid_begin_in_the_wide_one(nest):
    nest.blow("fine", FINE, 5.0, 0.0)
    nest.blow("wide", WIDE, 5.0, 0.0)
    away = WIDE.to_lonlat(12.0, 31.0)
    both = MultiPointReceptor(START, [MIDDLE[0], float(away[0])], [MIDDLE[1], float(away[1])], [200.0, 400.0])
    table = nest.run("fine", "wide", receptor=both, n_hours=-2, numpar=4).particles
    first = table[table["time"] == -1.0]
    assert first["met"].tolist() == [0, 0, 1, 1]
    assert first["xhgt"].tolist() == [200.0, 200.0, 400.0, 400.0]
    np.testing.assert_allclose(first["zagl"], first["xhgt"], atol=1.0)
    column = ColumnReceptor(START, float(away[0]), float(away[1]), 0.0, 900.0)
    assert (nest.run("fine", "wide", receptor=column, n_hours=-1, numpar=9).particles["met"] == 1).all()
    beyond = PointReceptor(START, -150.0, 10.0, 100.0)
    with pytest.raises(
        ReceptorOffGridError, match=r"outside met 'fine', which covers .*'wide', which covers"
    ):
        nest.run("fine", "wide", receptor=beyond)


def test_each_release_point_counts_from_its_own_lowest_height(nest, monkeypatch):
    """The program's terrain is sought from there; points of one meteorology are only some of all."""
    nest.blow("fine", FINE, 5.0, 0.0)
    nest.blow("wide", WIDE, 5.0, 0.0)
    away = WIDE.to_lonlat(12.0, 31.0)
    both = MultiPointReceptor(START, [MIDDLE[0], float(away[0])], [MIDDLE[1], float(away[1])], [200.0, 400.0])
    seen = []

    def noted(source, a, b, clock, release, params):
        seen.append(release.lowest.tolist())
        return released_sigma(source, a, b, clock, release, params)

    monkeypatch.setattr(nested, "released_sigma", noted)
    nest.run("fine", "wide", receptor=both, n_hours=-1, numpar=4)
    assert seen == [[200.0, 200.0], [400.0, 400.0]]


def test_coverage_fails_only_where_the_last_meteorology_ends(nest):
    nest.blow("fine", FINE, 9.0, 0.0)
    nest.blow("short", WIDE, 9.0, 0.0, start="2020-06-01T15", hours=9)
    # leaves the fine grid at 17 UTC, and at 15 UTC the other ends
    with pytest.raises(MetCoverageError, match=r"'short' has no .*15:00 UTC.*particles are there"):
        nest.run("fine", "short")
    nest.blow("slow", FINE, 5.0, 0.0)
    with pytest.raises(MetCoverageError, match=r"'short' has no .*a particle left 'slow'"):
        nest.run("slow", "short")
    # with little wind it never leaves, and what the other lacks does not matter
    nest.blow("calm", FINE, 0.5, 0.0)
    assert nest.run("calm", "short").nesting["share"] == [1.0, 0.0]
    with pytest.raises(MetCoverageError, match="'fine', 'short' has no analyses around 2020-06-01 00:00"):
        nest.run("fine", "short", n_hours=-30)
    # a fine meteorology without any hour of the run is left out, and the log says so
    nest.blow("wide", WIDE, 9.0, 0.0)
    nest.blow("later", FINE, 9.0, 0.0, start="2020-06-03T00")
    late = nest.run("later", "wide")
    assert late.nesting["share"] == [0.0, 1.0]
    assert "met 'later' has no analyses between" in late.log
    # a coarse one without any does not matter either, unless it is needed: where it ends nobody knows
    nest.blow("after", WIDE, 9.0, 0.0, start="2020-06-03T00")
    assert nest.run("calm", "after").nesting["share"] == [1.0, 0.0]
    with pytest.raises(MetCoverageError, match=r"'after' has no .*a particle left 'fine'"):
        nest.run("fine", "after")
    assert nest.run("fine", "after", "wide").nesting["share"][2] > 0.0
    away = PointReceptor(START, *map(float, WIDE.to_lonlat(12.0, 31.0)), 300.0)
    with pytest.raises(MetCoverageError, match="'after' has no analyses"):
        nest.run("fine", "after", receptor=away)


def test_leaving_the_last_grid_is_an_end_like_any_other(nest):
    nest.blow("fine", FINE, 14.0, 0.0)
    nest.blow("wide", WIDE, 14.0, 0.0)
    ended = nest.run("fine", "wide", n_hours=-18)
    assert ended.exits["west"] == 1
    assert len(ended.particles) < 18 * 60
    assert "went over: 1 from 'fine' to 'wide' (edge)" in ended.log


def test_what_cannot_be_nested_is_refused_by_name(nest):
    nest.blow("fine", FINE, 5.0, 0.0)
    nest.blow("wide", WIDE, 5.0, 0.0)
    with pytest.raises(UnsupportedSettingError, match="random: hysplit"):
        nest.run("fine", "wide", random="hysplit")
    met = MetConfig(directory=nest.folder / "wide")
    files = (nest.folder / "fine" / "a.arl",)
    receptor = PointReceptor(START, *MIDDLE, 10.0)
    request = TransportRequest(
        receptor, "fine", files, TransportParams(n_hours=-1), fallbacks=(("wide", met),)
    )
    with pytest.raises(ConfigError, match="files given one by one have no fallback"):
        nest.engine.run(request)


def test_the_mass_of_the_air_goes_along(nest):
    """A particle handed on keeps the mass it has, and goes on from there."""
    columns = ("time", "indx", "long", "lati", "zagl", "foot", "dmas")
    nest.blow("fine", FINE, 7.0, 4.0)
    nest.blow("wide", WIDE, 7.0, 4.0)
    nested = nest.run("fine", "wide", varsiwant=columns, height=3000.0).particles
    alone = nest.run("wide", varsiwant=columns, height=3000.0).particles
    handed = nested["met"].to_numpy().argmax()
    assert 60 < handed < len(nested) - 60
    assert np.ptp(alone["dmas"]) > 1e-3
    np.testing.assert_allclose(nested["dmas"], alone["dmas"], atol=0.02 * np.ptp(alone["dmas"]))
