"""The near-field correction: where it acts, what it keeps, which heights it takes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from stilt.constants import MOLAR_MASS_DRY_AIR_STILT_R
from stilt.errors import FootprintError
from stilt.footprint import correct_near_field
from stilt.kernels.near_field import plume_growth
from stilt.receptors import ColumnReceptor, PointReceptor
from stilt.trajectory import Trajectories
from stilt.transforms import apply_transforms

POINT = PointReceptor("2023-01-01 12:00", 0.0, 40.0, 10.0)


def turbulent_table(sign: int = -1, n_minutes: int = 60) -> pd.DataFrame:
    minutes = np.tile(np.arange(1.0, n_minutes + 1), 2)
    return pd.DataFrame(
        {
            "time": sign * minutes,
            "indx": np.repeat([1, 2], n_minutes),
            "long": 0.0,
            "lati": 40.0,
            "foot": 0.01,
            "mlht": 1000.0,
            "dens": 1.2,
            "samt": 1.0,
            "sigw": 0.4,
            "tlgr": 60.0,
        }
    )


def test_first_minute_by_hand():
    """One minute after release the plume is release height plus one step's growth."""
    growth = 1.0 * np.sqrt(2.0) * 0.4 * np.sqrt(60.0 * 60.0 + 60.0**2 * np.exp(-1.0) - 1.0)
    assert plume_growth(60.0, 1.0, 0.4, 60.0) == pytest.approx(growth, rel=1e-14)
    corrected = correct_near_field(turbulent_table(), receptor=POINT)
    expected = MOLAR_MASS_DRY_AIR_STILT_R / ((10.0 + growth) * 1.2) * 60.0
    assert_allclose(corrected.loc[corrected["time"] == -1, "foot"], expected, rtol=1e-14)


def test_correction_ends_where_the_plume_fills_the_dilution_depth():
    """Once the plume is deeper than veght times the mixed layer the influence is left alone."""
    corrected = correct_near_field(turbulent_table(), receptor=POINT)
    changed = corrected["foot"] != corrected["foot_no_hnf_dilution"]
    last = -corrected.loc[changed, "time"].min()
    assert 3 < last < 30
    assert changed[corrected["time"] >= -last].all()


def test_applying_it_twice_changes_nothing():
    """The second time starts from the uncorrected influence, also with another depth."""
    trajectories = Trajectories.from_particles(turbulent_table(), POINT)
    once = correct_near_field(trajectories)
    pd.testing.assert_frame_equal(correct_near_field(once).data, once.data)
    pd.testing.assert_frame_equal(
        correct_near_field(once, 0.9).data, correct_near_field(trajectories, 0.9).data
    )
    assert list(once.data.columns)[-2:] == ["foot_no_hnf_dilution", "datetime"]
    assert trajectories.data["foot"].unique().tolist() == [0.01]


def test_transforms_and_the_correction_may_come_in_any_order():
    """Correcting between two transforms keeps the correction and the weights."""
    table = turbulent_table()
    decay = [{"kind": "first_order_lifetime", "lifetime_hours": 1}]
    expected = apply_transforms(correct_near_field(table, receptor=POINT), decay)
    between = correct_near_field(apply_transforms(table, decay), receptor=POINT)
    assert_allclose(between["foot"], expected["foot"], rtol=1e-12)
    assert_allclose(apply_transforms(between, decay)["foot"], expected["foot"], rtol=1e-12)
    again = correct_near_field(expected, receptor=POINT)
    assert_allclose(again["foot"], expected["foot"], rtol=1e-12)


def test_forward_and_backward_runs_are_mirror_images():
    """The plume grows with time since release in either direction."""
    back = correct_near_field(turbulent_table(-1), receptor=POINT)
    ahead = correct_near_field(turbulent_table(1), receptor=POINT)
    assert (back["foot"].to_numpy() == ahead["foot"].to_numpy()).all()


def test_order_of_rows_does_not_matter():
    """Rows come back in the order they were given."""
    table = turbulent_table()
    shuffled = table.sample(frac=1, random_state=0)
    ours = correct_near_field(shuffled, receptor=POINT)
    assert (ours.index == shuffled.index).all()
    assert (ours["foot"].sort_index() == correct_near_field(table, receptor=POINT)["foot"]).all()


@pytest.mark.parametrize("tl_w", [0.0, 1e-9, 0.5, np.nan])
def test_a_radicand_below_zero_adds_nothing(tl_w):
    """
    With a vanishing time scale the plume does not grow, and later rows are still corrected.

    STILT-R makes such a row and all later ones of the particle missing.
    """
    table = turbulent_table()
    table.loc[table["time"] == -1, "tlgr"] = tl_w
    corrected = correct_near_field(table, receptor=POINT)
    assert np.isfinite(corrected["foot"]).all()
    assert (corrected["foot"] != corrected["foot_no_hnf_dilution"])[corrected["time"] == -2].all()


def test_release_heights_of_a_column_are_taken_from_xhgt():
    """The higher particle has the deeper plume, hence the smaller influence."""
    column = ColumnReceptor("2023-01-01 12:00", 0.0, 40.0, 0.0, 200.0)
    table = turbulent_table().assign(xhgt=np.repeat([50.0, 150.0], 60))
    first = correct_near_field(table, receptor=column)
    low, high = first.loc[first["time"] == -1, "foot"]
    assert low > high
    with pytest.raises(FootprintError, match="lacks the column xhgt"):
        correct_near_field(turbulent_table(), receptor=column)


def test_heights_above_sea_level_have_the_ground_subtracted():
    """A receptor at 1510 m above sea level over ground at 1500 m is one at 10 m."""
    high = PointReceptor("2023-01-01 12:00", 0.0, 40.0, 1510.0, altitude_ref="msl")
    table = turbulent_table()
    ground = np.where(table["time"] == -1, 1500.0, 1400.0)
    ours = correct_near_field(table.assign(zsfc=ground), receptor=high)
    assert (ours["foot"] == correct_near_field(table, receptor=POINT)["foot"]).all()
    with pytest.raises(FootprintError, match="lacks the column zsfc"):
        correct_near_field(table, receptor=high)


def test_a_depth_above_one_means_metres():
    """A depth of 500 is half of a mixed layer of 1000 m."""
    ours = correct_near_field(turbulent_table(), 500.0, receptor=POINT)
    assert (ours["foot"] == correct_near_field(turbulent_table(), 0.5, receptor=POINT)["foot"]).all()


def test_time_above_the_dilution_depth_gives_no_influence():
    """A step spent above the depth keeps none of its influence while the plume is shallow."""
    ours = correct_near_field(turbulent_table().assign(samt=0.0, foot=0.0), receptor=POINT)
    assert (ours["foot"] == 0.0).all()


def test_what_is_missing_is_named():
    """The first column that is not there is named."""
    with pytest.raises(FootprintError, match="lacks the column sigw"):
        correct_near_field(turbulent_table().drop(columns="sigw"), receptor=POINT)
    with pytest.raises(FootprintError, match="needs release heights"):
        correct_near_field(turbulent_table())
