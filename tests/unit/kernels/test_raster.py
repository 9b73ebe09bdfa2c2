"""Rows fall into the cells and groups a plain search would give."""

from __future__ import annotations

import numpy as np
import pytest

from stilt.kernels.raster import cell_index, match_ascending, order_by_group
from stilt.kernels.smoothing import gaussian_weights, stamp_ages


@pytest.mark.parametrize(("start", "size"), [(-112.5, 0.01), (-180.0, 0.1), (0.1, 0.3), (4.4e6, 2000.0)])
def test_cells_are_those_of_a_search_among_the_edges(start, size):
    """Positions on edges, just below and just above fall as a binary search among the edges says."""
    edges = start + np.arange(200) * size
    positions = np.concatenate([edges, np.nextafter(edges, -np.inf), np.nextafter(edges, np.inf)])[1:]
    positions = positions[(positions >= edges[0]) & (positions < edges[-1])]
    expected = np.searchsorted(edges, positions, side="right") - 1
    assert [cell_index(x, start, size) for x in positions] == expected.tolist()


def test_counting_sort_is_stable_and_leaves_out_negative_groups():
    """Rows of a group keep their order."""
    group = np.array([2, 0, -1, 2, 1, 0])
    offsets, order = order_by_group(group, 3)
    assert offsets.tolist() == [0, 2, 3, 5]
    assert order.tolist() == [1, 5, 4, 0, 3]


def test_unknown_values_are_noticed():
    """Walking two lists in step finds every value or says that it cannot."""
    out = np.empty(3, dtype=np.int32)
    offsets = np.array([0, 3])
    assert match_ascending(offsets, np.array([0.0, 2.0, 3.0]), np.arange(5.0), out)
    assert out.tolist() == [0, 2, 3]
    assert not match_ascending(offsets, np.array([0.0, 2.5, 3.0]), np.arange(5.0), out)


def test_weights_are_a_normalised_gaussian():
    """Weights sum to one and fall off as the Gaussian does."""
    weights = np.empty(7)
    gaussian_weights(3, 0.5, 0.6, weights)
    offsets = 0.5 * np.arange(-3, 4)
    expected = np.exp(-(offsets**2) / (2 * 0.36))
    np.testing.assert_allclose(weights, expected / expected.sum(), rtol=1e-14)


@pytest.mark.parametrize("is_cyclic", [False, True])
def test_stamping_strips_equals_stamping_cell_by_cell(is_cyclic):
    """Spreading rows together gives what one kernel per particle gives, at edges and seam as well."""
    rng = np.random.default_rng(4)
    n, nx, ny, n_layers = 300, 12, 9, 3
    cells = np.stack(
        [rng.integers(0 if is_cyclic else -6, nx + (0 if is_cyclic else 6), n), rng.integers(-6, ny + 6, n)]
    )
    layer = rng.integers(0, n_layers, n).astype(np.int32)
    foot = rng.random(n)
    age = np.sort(rng.integers(0, 4, n))
    sigma = np.array([[0.0, 0.5, 1.1, 2.0], [0.0, 0.5, 1.2, 2.5]])
    size = (1.0, 0.8)
    offsets = np.searchsorted(age, np.arange(5))
    x, y = (cells[0] + 0.3) * size[0], (cells[1] + 0.6) * size[1]
    far = 100.0
    frame = (-far, -far), (far, far), (-50 * size[0], -50 * size[1]), size, (50, 50)
    hours = 1, 0.0, np.zeros(2)
    folds = False, False
    extent = 0.0, nx * size[0], 0.0, ny * size[1]
    out = np.zeros((n_layers, ny, nx))
    counts, times = np.zeros(4, dtype=np.int64), np.array([np.inf, -np.inf])
    rows = layer * 60.0, x, y, foot
    marks = is_cyclic, folds, out, counts, times
    stamp_ages(0, 4, offsets, *rows, sigma, frame, extent, hours, 0, *marks)

    expected = np.zeros_like(out)
    for row in range(n):
        s, t = sigma[:, age[row]]
        hx, hy = int(3 * s / size[0]), int(3 * t / size[1])
        dx, dy = np.meshgrid(np.arange(-hx, hx + 1), np.arange(-hy, hy + 1))
        weight = np.ones((1, 1))
        if s:
            weight = np.exp(-((dx * size[0] / s) ** 2 + (dy * size[1] / t) ** 2) / 2)
        weight = weight / weight.sum()
        for i, j, w in zip(
            cells[0, row] + dx.ravel(), cells[1, row] + dy.ravel(), weight.ravel(), strict=True
        ):
            column = i % nx if is_cyclic else i
            if 0 <= column < nx and 0 <= j < ny:
                expected[layer[row], j, column] += w * foot[row]
    np.testing.assert_allclose(out, expected, rtol=1e-12, atol=1e-15)
    inside = (cells[0] >= 0) & (cells[0] < nx) & (cells[1] >= 0) & (cells[1] < ny)
    reach_x, reach_y = ((3 * sigma[k, age] / size[k]).astype(int) for k in (0, 1))
    near_x = (cells[0] >= -reach_x) & (cells[0] < nx + reach_x) | is_cyclic
    near = near_x & (cells[1] >= -reach_y) & (cells[1] < ny + reach_y)
    assert counts.tolist() == [near.sum(), inside.sum(), n, inside.sum()]
    assert times.tolist() == [0.0, 120.0]
