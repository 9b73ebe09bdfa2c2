"""Random numbers: the published answers, the right distributions, and no memory of who drew before."""

from __future__ import annotations

import numpy as np
import pytest

from stilt.kernels import rng


def draws(state: np.ndarray, particle: int, step: int, n: int) -> list[float]:
    spare = np.zeros(1, dtype=np.float32)
    rng.start_draws(rng.COUNTER, state, particle, step)
    return [float(rng.normal(rng.COUNTER, state, spare)) for _ in range(n)]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        (0x00000000, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        (0xFFFFFFFF, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    ],
)
def test_philox_gives_the_published_answers(word, expected):
    """Known-answer vectors of Philox 4x32-10 from Random123 (Salmon et al. 2011)."""
    state = np.zeros(rng.STATE_SIZE, dtype=np.int64)
    rng.philox(*[np.uint64(word)] * 6, state)
    assert tuple(int(value) for value in state[:4]) == expected


def test_a_step_draws_the_same_whatever_was_drawn_before():
    """Particle 5's step 7 does not depend on the order of the others."""
    first = rng.new_state(rng.COUNTER, 1, 2)
    second = rng.new_state(rng.COUNTER, 1, 2)
    draws(second, 3, 1, 11)
    draws(second, 5, 6, 4)
    assert draws(first, 5, 7, 20) == draws(second, 5, 7, 20)


def test_seed_receptor_particle_and_step_each_change_the_numbers():
    base = draws(rng.new_state(rng.COUNTER, 1, 2), 3, 4, 8)
    others = [
        draws(rng.new_state(rng.COUNTER, 2, 2), 3, 4, 8),
        draws(rng.new_state(rng.COUNTER, 1, 3), 3, 4, 8),
        draws(rng.new_state(rng.COUNTER, 1, 2), 4, 4, 8),
        draws(rng.new_state(rng.COUNTER, 1, 2), 3, 5, 8),
    ]
    for other in others:
        assert not set(base) & set(other)


def test_normal_deviates_have_the_moments_of_a_standard_normal():
    state = rng.new_state(rng.COUNTER, 11, 0)
    values = np.array([x for p in range(400) for x in draws(state, p, 0, 50)])
    assert abs(values.mean()) < 4 / np.sqrt(values.size)
    assert abs(values.var() - 1) < 4 * np.sqrt(2 / values.size)
    assert abs((values**3).mean()) < 4 * np.sqrt(15 / values.size)
    assert abs((values**4).mean() - 3) < 4 * np.sqrt(96 / values.size)
    # the tail beyond the ziggurat's edge is there, on both sides of one standard deviation the right share
    assert abs((np.abs(values) < 1).mean() - 0.6827) < 0.015


def test_uniform_deviates_stay_below_one():
    state = rng.new_state(rng.COUNTER, 3, 4)
    rng.start_draws(rng.COUNTER, state, 0, 0)
    values = np.array([float(rng.uniform(rng.COUNTER, state)) for _ in range(5000)])
    assert values.min() >= 0
    assert values.max() < 1
    assert abs(values.mean() - 0.5) < 4 * np.sqrt(1 / 12 / values.size)


def test_the_program_stream_is_the_minimal_standard_generator_shuffled():
    """Park and Miller (1988): starting from 1, the 10,000th number is 1043618065."""
    state = np.zeros(rng.STATE_SIZE, dtype=np.int64)
    rng.seed_hysplit(state, 0)
    filled = 40  # numbers drawn while the shuffle table is filled
    for _ in range(10_000 - filled):
        rng.uniform(rng.HYSPLIT, state)
    assert state[10] == 1043618065


def test_the_polar_method_keeps_its_second_deviate():
    state = rng.new_state(rng.HYSPLIT, 1)
    spare = np.zeros(1, dtype=np.float32)
    values = [float(rng.normal(rng.HYSPLIT, state, spare)) for _ in range(4000)]
    again = rng.new_state(rng.HYSPLIT, 1)
    assert values == [float(rng.normal(rng.HYSPLIT, again, spare)) for _ in range(4000)]
    assert abs(np.mean(values)) < 0.07
    assert abs(np.var(values) - 1) < 0.1
