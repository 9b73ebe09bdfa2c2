"""Early-minute interpolation: when it acts, what it adds, what it keeps."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from stilt.footprint.axes import GridAxes
from stilt.footprint.densify import densify, outruns_cells, typical_step
from stilt.footprint.particles import ParticleColumns
from stilt.spatial import Grid


def straight_paths(
    n_particles: int = 5, n_minutes: int = 130, speed: float = 0.02, sign: int = -1
) -> pd.DataFrame:
    minutes = np.tile(np.arange(1.0, n_minutes + 1), n_particles)
    indx = np.repeat(np.arange(1, n_particles + 1), n_minutes)
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "time": sign * minutes,
            "indx": indx,
            "long": speed * minutes + 0.001 * indx,
            "lati": 40.0 + 0.3 * speed * minutes,
            "foot": rng.random(minutes.size),
        }
    )


def grid_of(cell: float, west: float = -5.0) -> GridAxes:
    grid = Grid(xmin=west, xmax=west + 10, ymin=38, ymax=43, xres=cell, yres=cell)
    return GridAxes.of(grid, warn=False)


def by_the_book(table: pd.DataFrame) -> pd.DataFrame:
    """Do the same with pandas, one particle at a time, as the algorithm is written down."""
    sign = np.sign(table["time"].median())
    wanted = np.concatenate([np.arange(101) * 0.1, 10.2 + np.arange(50) * 0.2, 20.5 + np.arange(160) * 0.5])
    parts = []
    for indx, rows in table.groupby("indx"):
        known = rows.sort_values("time")
        times = np.union1d(known["time"], sign * wanted)
        times = times[(times >= known["time"].min()) & (times <= known["time"].max())]
        columns = {name: np.interp(times, known["time"], known[name]) for name in ("long", "lati", "foot")}
        parts.append(pd.DataFrame({"time": times, "indx": indx, **columns}))
    dense = pd.concat(parts)
    dense["time"] = dense["time"].round(1)
    for low, high in ((-1, 10), (10, 20), (20, 100)):
        before = table.loc[(table["time"].abs() > low) & (table["time"].abs() <= high), "foot"].sum()
        inside = (dense["time"].abs() > low) & (dense["time"].abs() <= high)
        dense.loc[inside, "foot"] *= before / dense.loc[inside, "foot"].sum()
    return dense


@pytest.mark.parametrize("sign", [-1, 1])
def test_rows_are_those_of_the_written_algorithm(sign):
    """Times, positions and influence agree with a plain implementation."""
    table = straight_paths(sign=sign)
    dense = densify(ParticleColumns.prepare(table), grid_of(0.01))
    expected = by_the_book(table)
    order = np.lexsort((expected["time"].abs(), expected["indx"]))
    expected = expected.iloc[order]
    assert len(dense) == len(expected)
    by_particle = np.lexsort((dense.elapsed, dense.slot))
    assert (dense.time[by_particle] == expected["time"].to_numpy()).all()
    assert_allclose(dense.lon[by_particle], expected["long"], rtol=1e-13)
    assert_allclose(dense.lat[by_particle], expected["lati"], rtol=1e-13)
    assert_allclose(dense.foot[by_particle], expected["foot"], rtol=1e-12)


def test_slow_particles_are_left_alone():
    """Nothing is added unless the typical step exceeds a cell, strictly."""
    columns = ParticleColumns.prepare(straight_paths(speed=0.02))
    assert densify(columns, grid_of(0.05)) is columns
    assert densify(columns, grid_of(0.01)) is not columns


@pytest.mark.parametrize("n_minutes", [2, 3, 4, 5, 99])
def test_counting_steps_decides_as_their_medians_do(n_minutes):
    """For even and odd numbers of steps and particles, and cells around the typical step."""
    rng = np.random.default_rng(n_minutes)
    answers = set()
    for n_particles in (1, 2, 3, 6, 7):
        table = straight_paths(n_particles, n_minutes)
        walk = rng.normal(0, 0.02, (n_particles, n_minutes)).cumsum(axis=1)
        table["long"] = walk.ravel()
        columns = ParticleColumns.prepare(table)
        dx, dy = typical_step(columns, grid_of(1.0))
        steps = table.groupby("indx")["long"].diff().abs().dropna().to_numpy()
        for cell in [dx, np.nextafter(dx, 0), *rng.choice(steps, 4), *rng.uniform(0.5, 1.5, 4) * dx]:
            axes = grid_of(float(cell))
            is_faster = dx > cell or dy > cell
            answers.add(is_faster)
            assert outruns_cells(columns, axes, columns.lon, columns.lat) == is_faster
    assert answers == {True, False}


def test_each_window_keeps_its_total():
    """Influence is neither made nor lost in any of the three windows."""
    columns = ParticleColumns.prepare(straight_paths())
    dense = densify(columns, grid_of(0.01))
    for low, high in ((0, 10), (10, 20), (20, 100), (100, 1000)):
        before = columns.foot[(columns.elapsed > low) & (columns.elapsed <= high)].sum()
        after = dense.foot[(dense.elapsed > low) & (dense.elapsed <= high)].sum()
        assert_allclose(after, before, rtol=1e-12)


def test_nothing_is_extrapolated():
    """No row lies before the first or after the last one of its particle."""
    table = straight_paths()
    table = table[(table["indx"] != 2) | (table["time"] > -30)]
    dense = densify(ParticleColumns.prepare(table), grid_of(0.01))
    assert dense.elapsed.min() == 1.0
    second = np.sort(dense.elapsed[dense.slot == 1])
    assert second.max() == 29.0


def test_steps_across_the_date_line_are_short():
    """A path across 180 degrees is interpolated across it, and its steps are not 360 degrees."""
    table = straight_paths()
    moved = table.assign(long=(table["long"] + 179.5 + 180) % 360 - 180)
    here, there = ParticleColumns.prepare(table), ParticleColumns.prepare(moved)
    assert_allclose(typical_step(there, grid_of(0.01)), typical_step(here, grid_of(0.01)), rtol=1e-9)
    dense = densify(there, grid_of(0.01, west=-180.0))
    expected = densify(here, grid_of(0.01)).lon + 179.5
    assert_allclose((dense.lon - expected + 180) % 360 - 180, 0.0, atol=1e-9)


def test_projected_grids_compare_metres_with_metres():
    """
    On a projected grid steps are measured in its units.

    STILT-R compares degrees with a cell size in metres there, so it never interpolates.
    """
    columns = ParticleColumns.prepare(straight_paths())

    def utm(cell: float) -> GridAxes:
        corner = {"xmin": 0.5, "xmax": 3, "ymin": 39, "ymax": 42}
        return GridAxes.of(Grid(**corner, xres=cell, yres=cell, projection="EPSG:32631"))

    assert densify(columns, utm(1000.0)) is not columns
    assert densify(columns, utm(3000.0)) is columns
    assert typical_step(columns, utm(1000.0))[0] == pytest.approx(1700, rel=0.1)


def test_unknown_influence_is_bridged():
    """A missing value between known ones is interpolated; at the end of a path its row is dropped."""
    table = straight_paths(2, 10)
    table.loc[table["time"] == -5, "foot"] = np.nan
    table.loc[(table["time"] == -10) & (table["indx"] == 1), "foot"] = np.nan
    dense = densify(ParticleColumns.prepare(table), grid_of(0.001))
    assert not np.isnan(dense.foot).any()
    assert dense.elapsed[dense.slot == 0].max() == 9.0
