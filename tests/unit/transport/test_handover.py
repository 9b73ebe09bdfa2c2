"""What a particle keeps on its way from one model to another."""

from __future__ import annotations

import numpy as np
import pytest

from stilt.meteorology.projection import HorizontalGrid
from stilt.meteorology.synthetic import sigma_levels
from stilt.transport.native.handover import carried_errors, carried_height, turn_between
from stilt.transport.native.levels import internal_levels

HEIGHTS = np.linspace(0.0, 20000.0, 401)


@pytest.mark.parametrize(("terrain", "other"), [(0.0, 1500.0), (2500.0, 300.0), (-50.0, 4000.0)])
def test_heights_are_kept_above_ground_below_and_above_sea_level_aloft(terrain, other):
    there = carried_height(HEIGHTS, np.full(401, terrain), np.full(401, other))
    low, high = HEIGHTS <= 3000.0, HEIGHTS + terrain >= 12000.0
    np.testing.assert_allclose(there[low], HEIGHTS[low])
    np.testing.assert_allclose(there[high] + other, HEIGHTS[high] + terrain)
    # what lies above stays above, without a jump
    assert (np.diff(there) > 0).all()
    assert np.diff(there).max() < 2.0 * 50.0
    # and back
    back = carried_height(there, np.full(401, other), np.full(401, terrain))
    np.testing.assert_allclose(back, HEIGHTS, atol=1e-6)


def test_a_third_model_between_changes_nothing():
    a, b, c = (np.full(401, terrain) for terrain in (200.0, 1900.0, 700.0))
    np.testing.assert_allclose(
        carried_height(carried_height(HEIGHTS, a, b), b, c), carried_height(HEIGHTS, a, c), atol=1e-6
    )


@pytest.mark.parametrize("lon", [-115.0, -100.0, -82.5])
def test_axes_of_a_cone_turn_by_its_convergence(lon):
    """East lies at (longitude - reference) sin(tangent) to the columns of a Lambert grid."""
    cone = HorizontalGrid.lambert(40.0, -100.0, 12.0, 301, 201)
    meridians = HorizontalGrid.latlon(-130.0, 20.0, 0.5, 0.5, 121, 81)
    x, y = (np.atleast_1d(value) for value in cone.to_xy(lon, 38.0))
    cosine, sine = turn_between(cone, meridians, x, y)
    angle = np.radians(lon + 100.0) * np.sin(np.radians(40.0))
    assert np.arctan2(sine, cosine)[0] == pytest.approx(-angle, abs=1e-4)
    back = turn_between(meridians, cone, *(np.atleast_1d(v) for v in meridians.to_xy(lon, 38.0)))
    np.testing.assert_allclose(cosine * back[0] - sine * back[1], 1.0, atol=1e-6)


def test_axes_are_found_across_the_seam_of_a_globe_and_not_at_a_pole():
    globe = HorizontalGrid.latlon(0.0, -90.0, 1.0, 1.0, 360, 181)
    other = HorizontalGrid.latlon(-180.0, -90.0, 2.0, 2.0, 180, 91)
    x, y = globe.to_xy(np.array([0.0, 179.99, -180.0]), np.array([10.0, -40.0, 0.0]))
    cosine, sine = turn_between(globe, other, x, y)
    np.testing.assert_allclose(cosine, 1.0, atol=1e-9)
    np.testing.assert_allclose(sine, 0.0, atol=1e-9)
    assert np.isfinite(turn_between(globe, other, np.array([5.0]), np.array([181.0]))).all()


def test_profiles_of_errors_keep_their_variance_and_correlation():
    fine, coarse = (
        internal_levels(sigma_levels(tuple(np.linspace(0.995, 0.02, count))), 25000.0) for count in (60, 20)
    )
    assert fine.sigma.size > coarse.sigma.size
    rng = np.random.default_rng(4)
    n, length = 4000, 900.0
    height = (1.0 - coarse.sigma.astype(float)) * 25000.0
    errors = np.empty((n, 2, height.size), dtype=np.float32)
    errors[..., 0] = rng.normal(size=(n, 2))
    for k in range(1, height.size):
        a = np.exp(-(height[k] - height[k - 1]) / length)
        errors[..., k] = a * errors[..., k - 1] + np.sqrt(1 - a * a) * rng.normal(size=(n, 2))
    there = carried_errors(errors, coarse, np.zeros(n), fine, np.full(n, 300.0), length)
    assert there.shape == (n, 2, fine.sigma.size)
    np.testing.assert_allclose(there.std(axis=(0, 1)), 1.0, atol=0.04)
    same = carried_errors(errors, coarse, np.zeros(n), coarse, np.full(n, 300.0), length)
    assert np.array_equal(same, errors)
    assert same is not errors
