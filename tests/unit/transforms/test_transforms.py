"""Weights before gridding: columns, decay, and functions of users."""

from __future__ import annotations

import sys
import textwrap

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from stilt.config import FootprintConfig, ModelConfig, VerticalOperatorTransform
from stilt.errors import ConfigError, FootprintError
from stilt.footprint import Footprint, ParticleColumns, calc_footprint
from stilt.receptors import ColumnReceptor, PointReceptor
from stilt.spatial import Grid
from stilt.trajectory import Trajectories
from stilt.transforms import apply_transforms, column_air, decay, particle_weights, resolve

COLUMN = ColumnReceptor("2023-01-01 12:00", 0.0, 40.0, 0.0, 4000.0)
GRID = Grid(xmin=-2, xmax=2, ymin=38, ymax=42, xres=0.1, yres=0.1)
N = 40


def column_table(n: int = N, n_minutes: int = 90, **extra: object) -> pd.DataFrame:
    """Particles released evenly over 4 km of an exponential atmosphere of 8 km scale height."""
    rng = np.random.default_rng(3)
    xhgt = (np.arange(n) + 0.5) * 4000.0 / n
    time = -np.repeat(np.arange(1.0, n_minutes + 1), n)
    zagl = np.tile(xhgt, n_minutes)
    return pd.DataFrame(
        {
            "time": time,
            "indx": np.tile(np.arange(1, n + 1), n_minutes),
            "long": rng.normal(0, 0.2, time.size),
            "lati": 40 + rng.normal(0, 0.2, time.size),
            "zagl": zagl,
            "foot": rng.random(time.size),
            "pres": 1000.0 * np.exp(-zagl / 8000.0),
            "xhgt": np.tile(xhgt, n_minutes),
            **extra,
        }
    )


def operator(mode: str, **keys: object) -> VerticalOperatorTransform:
    return VerticalOperatorTransform(kind="vertical_operator", mode=mode, **keys)


def weights_of(mode: str, table: pd.DataFrame | None = None, **keys: object) -> np.ndarray:
    """Weight of each particle, from the ground up."""
    return particle_weights(column_table() if table is None else table, operator(mode, **keys), COLUMN)[:N]


def test_pressure_weights_are_shares_of_the_air():
    """Each particle stands for the air down to the one below; together they are the air up to the highest."""
    air = column_air(column_table(), operator("pwf"), COLUMN)
    assert_allclose(air.surface_pressure, 1000.0, rtol=1e-9)
    assert_allclose(1.0 / air.decay, 8000.0, rtol=1e-9)
    top = air.pressure[-1]
    assert_allclose(air.weights.sum(), (1000.0 - top) / 1000.0, rtol=1e-9)
    assert_allclose(air.weights[1:], -np.diff(air.pressure) / 1000.0, rtol=1e-9)
    assert_allclose(weights_of("pwf"), N * air.weights)


def test_dry_air_counts_where_humidity_is_known():
    """Water vapour below makes the lower air count less; a dry column counts as before."""
    moist = column_table().assign(sphu=lambda t: 0.02 * np.exp(-t["zagl"] / 2000.0))
    ratio = weights_of("pwf", moist) / weights_of("pwf")
    assert (np.diff(ratio) > 0).all()
    assert ratio[0] < 1.0 < ratio[-1]
    assert_allclose(weights_of("pwf", moist.assign(sphu=0.0)), weights_of("pwf"))
    saturated = column_table().assign(temz=290.0, rhfr=0.8)
    assert weights_of("pwf", saturated)[0] != weights_of("pwf")[0]


def test_averaging_kernels_are_interpolated_and_held_at_the_ends():
    """By release height or pressure, whatever the order of the levels; beyond the ends the last value."""
    heights = COLUMN.release_heights(N)
    expected = np.interp(heights, [500, 3000], [1.0, 0.4])
    assert_allclose(weights_of("ak", levels=[500, 3000], values=[1.0, 0.4]), expected)
    assert_allclose(weights_of("ak", levels=[3000, 500], values=[0.4, 1.0]), expected)
    pressure = 1000.0 * np.exp(-heights / 8000.0)
    by_pressure = weights_of("ak", coordinate="pres", levels=[900, 700], values=[1.0, 0.4])
    assert_allclose(by_pressure, np.interp(pressure, [700, 900], [0.4, 1.0]), rtol=1e-9)


def test_both_weights_multiply():
    """Mode ak_pwf is the product of ak and pwf."""
    keys = {"levels": [0, 4000], "values": [1.0, 0.5]}
    assert_allclose(weights_of("ak_pwf", **keys), weights_of("ak", **keys) * weights_of("pwf"))


def test_modes_without_an_instrument():
    """Integration is the mean over the air of the column, uniform over particles; none does nothing."""
    integration = weights_of("integration")
    assert_allclose(integration.sum(), N)
    assert_allclose(integration / integration[0], weights_of("pwf") / weights_of("pwf")[0])
    assert (weights_of("uniform") == 1.0).all()
    assert (weights_of("none") == 1.0).all()


def test_weights_belong_to_the_release_not_to_where_particles_go():
    """Particles that sink later keep their weight."""
    table = column_table()
    sinking = table.assign(
        zagl=table["zagl"] * np.exp(table["time"] + 1.0),
        pres=np.where(table["time"] == -1, table["pres"], 1000.0),
    )
    assert_allclose(weights_of("pwf", sinking), weights_of("pwf"))


def test_weights_of_retrieval_levels_are_handed_down():
    """The pressure weights of a retrieval keep their sum over the pressures the column spans."""
    levels = np.linspace(1000.0, 0.0, 21)
    layer = np.full(21, 1 / 20)
    layer[[0, -1]] /= 2
    mine = weights_of("pwf", coordinate="pres", levels=levels, values=layer)
    assert_allclose(mine, weights_of("pwf"), rtol=1e-6)
    assert_allclose(
        weights_of("ak_pwf", coordinate="pres", levels=levels, values=np.ones(21), pressure_weights=layer),
        mine,
    )


def test_particles_released_together_share_their_air():
    """Two particles at each height have half the weight each."""
    table = column_table()
    pairs = table.assign(xhgt=np.floor(table["xhgt"] / 200.0) * 200.0 + 100.0)
    weights = weights_of("integration", pairs)
    assert_allclose(weights[0::2], weights[1::2])
    assert_allclose(weights.sum(), N)


def test_retrieval_surface_and_dry_column_are_used():
    """A given surface pressure is not fitted; a given dry column is what weights are shares of."""
    air = column_air(column_table(), operator("pwf", surface_pressure=1010.0, dry_column=4e5), COLUMN)
    assert air.surface_pressure == 1010.0
    assert_allclose(air.weights, air.moles / 4e5)
    table = column_table().assign(zsfc=1500.0)
    lifted = column_air(table, operator("pwf", surface_height=1400.0), COLUMN)
    assert_allclose(lifted.surface_pressure, 1000.0 * np.exp(100.0 / 8000.0), rtol=1e-9)


def test_decay_is_exponential_in_age():
    """After one lifetime one part in e is left; particles released later are younger."""
    table = pd.DataFrame({"time": [-1.0, -61.0, -6.0, -66.0], "indx": [1, 1, 2, 2]})
    assert_allclose(decay(table, 1.0), np.exp(-np.array([1.0, 61.0, 1.0, 61.0]) / 60.0))
    assert_allclose(decay(table.assign(time=-table["time"]), 1.0), decay(table, 1.0))


def test_weighting_again_starts_from_the_original():
    """The influence before weights is kept, and nothing is weighted twice."""
    step = [{"kind": "first_order_lifetime", "lifetime_hours": 2}]
    table = column_table()
    once = apply_transforms(table, step)
    assert (once["foot_before_weight"] == table["foot"]).all()
    pd.testing.assert_frame_equal(apply_transforms(once, step), once)
    assert (table.columns == column_table().columns).all()


def test_transforms_act_in_order_and_are_recorded(tmp_path):
    """A footprint is that of the weighted particles, sorted or not, and its file says what was done."""
    steps = [
        {"kind": "vertical_operator", "mode": "ak_pwf", "levels": [0, 4000], "values": [1, 0.5]},
        {"kind": "first_order_lifetime", "lifetime_hours": 3},
    ]
    trajectories = Trajectories.from_particles(column_table(), COLUMN)
    config = FootprintConfig(grid=GRID, transforms=steps)
    footprint = Footprint.calculate(trajectories, config)
    by_hand = calc_footprint(apply_transforms(trajectories.as_stored(), steps), GRID)
    assert_allclose(footprint.data.values, by_hand.data.values, rtol=1e-12)
    prepared = ParticleColumns.prepare(trajectories.as_stored())
    again = Footprint.calculate(prepared, config)
    assert (again.data.values == footprint.data.values).all()
    shuffled = trajectories.with_data(trajectories.data.sample(frac=1, random_state=1))
    other = Footprint.calculate(ParticleColumns.prepare(shuffled.as_stored()), config)
    assert_allclose(other.data.values, footprint.data.values, rtol=1e-12)
    plain = Footprint.calculate(prepared, FootprintConfig(grid=GRID))
    assert plain.data.sum() > footprint.data.sum()
    back = Footprint.from_netcdf(footprint.to_netcdf(tmp_path / "foot.nc"))
    assert back.config == config


def test_functions_of_users_are_found_by_their_path(tmp_path, monkeypatch):
    """A function gets the table, the receptor and its options; what it may not return is refused by name."""
    (tmp_path / "my_weights.py").write_text(
        textwrap.dedent(
            """
            def halve(particles, receptor, factor=0.5):
                assert receptor.kind == "column"
                particles["foot"] *= factor
                return particles
            def nothing(particles, receptor):
                return None
            number = 3
            """
        )
    )
    monkeypatch.syspath_prepend(tmp_path)
    trajectories = Trajectories.from_particles(column_table(), COLUMN)
    for path, factor in (("my_weights:halve", 0.5), ("my_weights.halve", 0.5)):
        changed = apply_transforms(trajectories, [path])
        assert_allclose(changed.data["foot"], factor * trajectories.data["foot"])
        assert (changed.data["foot_before_weight"] == trajectories.data["foot"]).all()
    config = FootprintConfig(
        grid=GRID, transforms=[{"kind": "my_weights:halve", "options": {"factor": 0.25}}]
    )
    quarter = Footprint.calculate(trajectories, config)
    whole = Footprint.calculate(trajectories, FootprintConfig(grid=GRID))
    assert_allclose(quarter.data.values, 0.25 * whole.data.values)
    assert quarter.transforms == ({"kind": "my_weights:halve", "options": {"factor": 0.25}},)
    with pytest.raises(FootprintError, match="my_weights:nothing returned NoneType"):
        apply_transforms(trajectories, ["my_weights:nothing"])
    with pytest.raises(ConfigError, match="'my_weights:absent' cannot be imported"):
        apply_transforms(trajectories, ["my_weights:absent"])
    with pytest.raises(ConfigError, match="is a int, not a function"):
        apply_transforms(trajectories, ["my_weights:number"])
    sys.modules.pop("my_weights", None)


def test_functions_may_be_handed_over_themselves():
    """Without a config a function may drop rows; the footprint records its name."""

    def without_late_rows(particles: pd.DataFrame, receptor: object) -> pd.DataFrame:
        return particles[particles["time"] > -31]

    footprint = calc_footprint(column_table(), GRID, receptor=COLUMN, transforms=[without_late_rows])
    table = column_table()
    expected = calc_footprint(table[table["time"] > -31], GRID, receptor=COLUMN)
    assert_allclose(footprint.data.values, expected.data.values)
    assert footprint.transforms[0]["kind"].endswith("without_late_rows")


def test_what_is_missing_is_named():
    """Columns, levels, a column receptor: each error says what to do."""
    table = column_table()
    with pytest.raises(FootprintError, match="lacks the column pres"):
        weights_of("pwf", table.drop(columns="pres"))
    with pytest.raises(FootprintError, match="lacks the column xhgt"):
        weights_of("ak", table.drop(columns="xhgt"), levels=[0, 1], values=[1, 1])
    point = PointReceptor("2023-01-01 12:00", 0.0, 40.0, 5.0)
    with pytest.raises(FootprintError, match="use a column receptor"):
        particle_weights(table.drop(columns="xhgt"), operator("pwf"), point)
    for keys, message in (
        ({"mode": "ak"}, "needs the averaging kernel"),
        ({"mode": "ak", "levels": [1, 2], "values": [1]}, "2 levels and 1 values"),
        ({"mode": "ak", "levels": [1, 1], "values": [1, 1]}, "more than once"),
    ):
        with pytest.raises(ConfigError, match=message):
            operator(**keys)
    with pytest.raises(ConfigError, match="first_order_lifetim"):
        resolve([{"kind": "first_order_lifetim"}])
    with pytest.raises(
        ConfigError, match=r"varsiwant: vertical_operator mode pwf of footprints.a needs zagl, pres"
    ):
        ModelConfig.from_yaml_text(
            "mets: {m: {directory: x, file_format: y}}\nhnf_plume: false\nvarsiwant: time indx long "
            "lati foot\n"
            "footprints: {a: {xmin: 0, xmax: 1, ymin: 0, ymax: 1, xres: 1, yres: 1, "
            "transforms: [{kind: vertical_operator, mode: pwf}]}}\n"
        )


def test_heights_above_sea_level_have_the_ground_subtracted():
    """A column from 1500 to 5500 m above the sea over ground at 1500 m is one from 0 to 4000 m."""
    high = ColumnReceptor("2023-01-01 12:00", 0.0, 40.0, 1500.0, 5500.0, altitude_ref="msl")
    table = column_table().assign(zsfc=1500.0, xhgt=lambda t: t["xhgt"] + 1500.0)
    assert_allclose(particle_weights(table, operator("pwf"), high)[:N], weights_of("pwf"))
