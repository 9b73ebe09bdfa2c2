"""The internal vertical grid."""

from __future__ import annotations

import numpy as np
import pytest

from stilt.kernels import vertical
from stilt.meteorology import synthetic
from stilt.meteorology.vertical import VerticalLevels
from stilt.transport.native.levels import estimated_height, internal_levels, levels_needed


def heights(levels) -> np.ndarray:
    k = np.arange(1, levels.sigma.size + 1)
    return levels.a * k**2 + levels.b * k + levels.c


def test_thirty_levels_serve_the_usual_files():
    levels = internal_levels(synthetic.sigma_levels(), 25000.0)
    assert levels.sigma.size == 30
    np.testing.assert_allclose(heights(levels)[:5], [10, 75, 200, 385, 630])
    assert levels.surface_index == 2


def test_more_data_levels_give_a_finer_grid():
    many = VerticalLevels(1, tuple(np.linspace(1.0, 0.02, 36)), 0.0)
    assert internal_levels(many, 25000.0).sigma.size > 36


def test_a_lower_model_top_keeps_the_coordinate_and_still_outnumbers_the_data():
    """The coordinate's top stays at 25 km; fewer coarse levels fit below 10 km, so a finer set is taken."""
    data = synthetic.sigma_levels()
    low = internal_levels(data, 10000.0)
    assert low.top == 25000.0
    assert low.sigma.size > levels_needed(data, 10000.0)
    assert heights(low)[-1] == pytest.approx(10000.0, abs=1000.0)


@pytest.mark.parametrize(("pressure", "height"), [(1013.0, 0.0), (500.0, 5720.0), (100.0, 16415.0)])
def test_heights_estimated_from_pressure_are_those_of_the_atmosphere(pressure, height):
    levels = VerticalLevels(2, (0.0, pressure), 0.0)
    assert estimated_height(levels, 1) == pytest.approx(height, abs=150)


def test_the_index_of_a_level_is_its_number():
    levels = internal_levels(synthetic.sigma_levels(), 25000.0)
    for k, sigma in enumerate(levels.sigma, start=1):
        index = vertical.index_of_sigma(sigma, levels.a, levels.b, levels.c, levels.top, levels.sigma.size)
        assert index == pytest.approx(k, abs=2e-3)
