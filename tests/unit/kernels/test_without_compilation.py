"""The kernels as plain Python (``NUMBA_DISABLE_JIT=1``, ``just test-nojit``) do what they do compiled."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from stilt.config import TransportParams
from stilt.kernels import rng
from stilt.meteorology import synthetic
from stilt.meteorology.catalog import open_series
from stilt.meteorology.projection import HorizontalGrid
from stilt.receptors import PointReceptor
from stilt.transport.native.recipe import column_source
from stilt.transport.native.release import release_particles
from stilt.transport.native.simulate import simulate
from stilt.transport.native.table import particle_table
from stilt.transport.native.tiles import ColumnPool, TileCache

MINUTES = 10


def ten_minutes(folder: Path) -> dict[str, list]:
    """Random integers of a stream, and two particles in a convective layer for ten minutes."""
    state = rng.new_state(rng.COUNTER, 5, 6)
    rng.start_draws(rng.COUNTER, state, 3, 4)
    integers = [int(rng.next_word(state)) for _ in range(12)]
    seeded = rng.new_state(rng.HYSPLIT, 5)
    for _ in range(12):
        rng.uniform(rng.HYSPLIT, seeded)
    grid = HorizontalGrid.lambert(40.0, -100.0, 3.0, 13, 13, center_lat=40.0, center_lon=-100.0)
    levels = synthetic.sigma_levels((0.998, 0.98, 0.93, 0.8, 0.5))
    world = synthetic.uniform(u=4.0, v=1.0, hours=1, flux=150.0, grid=grid, levels=levels)
    path = world.write(folder / "small.arl")
    start = world.times[1]
    params = TransportParams(n_hours=-1, numpar=2, z_top=5000.0)
    receptor = PointReceptor(str(start), *world.center, 20.0)
    series = open_series([path], name="small", start=world.times[0], end=start)
    release = release_particles(receptor, params.numpar, series, params.z_top)
    pool = ColumnPool(TileCache(folder / "columns"))
    recorded = simulate(column_source(series, params), release, start, params, pool, seed=1, key=2)
    table = particle_table(recorded, series.grid, params.varsiwant, None)
    table = table[table["time"] >= -MINUTES]
    return {
        "integers": integers + [int(number) for number in seeded],
        "long": table["long"].tolist(),
        "lati": table["lati"].tolist(),
        "zagl": table["zagl"].astype(float).tolist(),
    }


def test_plain_python_gives_the_same_integers_and_places(tmp_path):
    """Random integers are equal, positions agree to 1e-5 degree over ten minutes."""
    here = ten_minutes(tmp_path)
    other = "0" if os.environ.get("NUMBA_DISABLE_JIT") == "1" else "1"
    (tmp_path / "other").mkdir()
    printed = subprocess.run(
        [sys.executable, __file__, str(tmp_path / "other")],
        env={**os.environ, "NUMBA_DISABLE_JIT": other},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    there = json.loads(printed)
    assert here["integers"] == there["integers"]
    assert len(here["long"]) == 2 * MINUTES
    np.testing.assert_allclose(here["long"], there["long"], atol=1e-5, rtol=0)
    np.testing.assert_allclose(here["lati"], there["lati"], atol=1e-5, rtol=0)
    np.testing.assert_allclose(here["zagl"], there["zagl"], atol=0.1, rtol=0)


if __name__ == "__main__":
    print(json.dumps(ten_minutes(Path(sys.argv[1]))))
