"""The mass of the air a particle stands for: what winds and density lack in mass conservation."""

from __future__ import annotations

import numpy as np
import pytest

from stilt.meteorology import synthetic
from stilt.meteorology.projection import HorizontalGrid

GRID = HorizontalGrid.lambert(40.0, -100.0, 12.0, 41, 41)
COLUMNS = ("time", "indx", "long", "lati", "zagl", "foot", "dens", "dmas")
PARTING = 2e-5
"""Divergence of the made winds [s-1]."""


@pytest.fixture(scope="module")
def parting() -> synthetic.World:
    """Winds along x that part at the middle of the grid; no vertical motion makes up for it."""
    gx, _ = GRID.spacing(*np.meshgrid(np.arange(1.0, GRID.nx + 1), np.arange(1.0, GRID.ny + 1)))
    middle = 0.5 * (GRID.nx + 1)

    def wind(x, y, z, hours):
        return PARTING * (x - middle) * gx + 0.0 * z, np.zeros(z.shape)

    return synthetic.analytic(wind, grid=GRID, hours=6, model_id="PART")


@pytest.mark.parametrize("nturb", [1, 0])
@pytest.mark.parametrize("n_hours", [-1, 1])
def test_where_winds_part_the_mass_grows_forward_and_falls_backward(travel, parting, n_hours, nturb):
    """By the divergence at the start of each minute, and by divergence over density at its end."""
    table = travel(
        parting, "2020-06-01 03:00", *parting.center, 3000.0,
        n_hours=n_hours, numpar=5, nturb=nturb, varsiwant=COLUMNS, hnf_plume=False,
    )  # fmt: skip
    last = table[table["time"].abs() == 60]
    rate = np.log(last["dmas"].to_numpy(float)) / 3600.0
    expected = np.sign(n_hours) * PARTING * 0.5 * (1.0 + 1.0 / last["dens"].to_numpy(float))
    np.testing.assert_allclose(rate, expected, rtol=0.05)


def test_steady_winds_leave_the_mass_alone(travel):
    """A uniform wind over flat ground conserves mass, but for how a map stretches."""
    world = synthetic.uniform(u=5.0, v=2.0, hours=6)
    table = travel(world, "2020-06-01 05:00", *world.center, 20.0, n_hours=-4, numpar=20, varsiwant=COLUMNS)
    assert np.abs(table["dmas"] - 1.0).max() < 0.01


def test_the_mass_is_kept_over_the_whole_way_whatever_the_output_interval(travel, parting):
    """Every tenth minute shows what every minute shows then."""
    settings = {"n_hours": -1, "numpar": 3, "varsiwant": COLUMNS, "seed": 4, "hnf_plume": False}
    each = travel(parting, "2020-06-01 03:00", *parting.center, 500.0, **settings)
    some = travel(parting, "2020-06-01 03:00", *parting.center, 500.0, outdt=10, **settings)
    both = each.merge(some, on=["time", "indx"])
    assert len(both) == 18
    np.testing.assert_array_equal(both["dmas_x"], both["dmas_y"])
