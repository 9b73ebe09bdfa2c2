"""Turbulence profiles: two ways to the same number must give the same bits."""

from __future__ import annotations

import math

import numpy as np
from numpy.testing import assert_array_equal

from stilt.kernels.turbulence import FREE_TROPOSPHERE_TL, fill_stable_mixing, free_mixing


def stable_columns(n_columns: int, n_levels: int):
    """Yield wind, potential temperature and height of air from hardly to extremely stable."""
    rng = np.random.default_rng(5)
    for _ in range(n_columns):
        z = np.cumsum(rng.uniform(20.0, 300.0, n_levels)).astype(np.float32)
        u, v = rng.normal(0.0, 4.0, (2, n_levels)).astype(np.float32)
        lapse = rng.uniform(0.0, 0.08, n_levels - 1)
        theta = (290.0 + np.concatenate([[0.0], np.cumsum(lapse * np.diff(z))])).astype(np.float32)
        yield u, v, theta, z


def test_very_stable_air_mixes_the_same_with_and_without_a_branch():
    """What is filled for eight levels at a time has the bits of the one formula that HYSPLIT has."""
    f = np.float32
    filled = between = 0
    for u, v, theta, z in stable_columns(600, 40):
        sigma_w = np.empty(z.size, dtype=np.float32)
        fill_stable_mixing(1, u, v, theta, z, sigma_w)
        level_by_level = sigma_w.copy()
        for k in np.flatnonzero(sigma_w[1:] >= 0.0) + 1:
            mixing = f(free_mixing(k, u, v, theta, z, f(10.0), f(0.1), f(0.01), f(0.0)))
            level_by_level[k] = f(math.sqrt(mixing / f(FREE_TROPOSPHERE_TL)))
            filled += 1
            between += mixing > f(0.01)
        assert_array_equal(level_by_level[1:], sigma_w[1:])
    assert filled > 1000
    assert between > 100  # where neither bound of the coefficient hides the last bit
