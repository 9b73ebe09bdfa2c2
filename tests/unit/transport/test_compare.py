"""The measures of `stilt compare-engines` see a difference that is there, and none that is not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from stilt.errors import FootprintError
from stilt.receptors import PointReceptor
from stilt.transport.measures import compare_ensembles, path_differences

RECEPTOR = PointReceptor("2020-06-01 04:00", -100.0, 40.0, 50.0)


def cloud(seed, n=300, hours=3, height=400.0, foot=1.0, drift=0.05):
    """Particles on a random walk west, with a lognormal height and influence below half of 1000 m."""
    rng = np.random.default_rng(seed)
    steps = 60 * hours
    z = height * np.exp(0.6 * rng.standard_normal(n) + np.cumsum(rng.normal(0, 0.02, (steps, n)), axis=0))
    x = -np.cumsum(drift / 60 + rng.normal(0, 0.002, (steps, n)), axis=0)
    y = np.cumsum(rng.normal(0, 0.002, (steps, n)), axis=0)
    minute = -np.repeat(np.arange(1.0, steps + 1), n)
    return pd.DataFrame(
        {
            "time": minute.astype(np.float32),
            "indx": np.tile(np.arange(1, n + 1, dtype=np.int32), steps),
            "long": -100.0 + x.ravel(),
            "lati": 40.0 + y.ravel(),
            "zagl": z.ravel().astype(np.float32),
            "foot": (foot * 0.01 * (z.ravel() < 500)).astype(np.float32),
            "mlht": np.full(minute.size, 1000.0, dtype=np.float32),
        }
    )


@pytest.fixture(scope="module")
def reference():
    return [cloud(seed) for seed in (1, 2, 3)]


def test_another_seed_is_as_far_as_other_seeds_are(reference):
    """The mean over several seeds is one, and few lie outside what chance gives."""
    found = [compare_ensembles(cloud(seed), reference, RECEPTOR) for seed in range(10, 16)]
    overall = np.array([each.overall for each in found])
    assert 0.75 < np.sqrt(np.mean(overall**2)) < 1.35
    assert sum(each.overall > each.bounds[1] for each in found) <= 2
    assert {"height mean", "foot total", "map of foot", "spread"} <= set(found[0].groups)


@pytest.mark.parametrize(
    ("change", "group"),
    [
        ({"height": 550.0}, "height mean"),
        ({"foot": 1.3}, "foot total"),
        ({"drift": 0.055}, "position"),
    ],
)
def test_a_difference_is_seen_where_it_is(reference, change, group):
    found = compare_ensembles(cloud(20, **change), reference, RECEPTOR)
    assert found.overall > found.bounds[1]
    ratio, _, high = found.groups[group]
    assert ratio > high
    worst = max(found.statistics, key=lambda each: each.ratio)
    assert worst.candidate != worst.reference


def test_fewer_particles_are_compared_with_as_many(reference):
    """A small candidate is noisier, not different."""
    found = compare_ensembles(cloud(30, n=60), reference, RECEPTOR)
    assert found.overall < 1.6


def test_one_reference_run_is_not_enough(reference):
    with pytest.raises(FootprintError, match="two or more"):
        compare_ensembles(reference[0], reference[1:2], RECEPTOR)


def test_paths_are_compared_particle_by_particle():
    one = cloud(1, n=3)
    other = one.assign(lati=one["lati"] + 0.01, zagl=one["zagl"] + 2.0)
    found = path_differences(other, one)
    assert found.index.tolist() == [1, 2, 3]
    np.testing.assert_allclose(found["mean_km"], 0.01 * np.pi / 180 * 6371.2, rtol=1e-6)
    np.testing.assert_allclose(found["largest_m"], 2.0, atol=1e-3)
