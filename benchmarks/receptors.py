"""
What a second, a hundredth and a thousandth receptor cost over the same meteorology, and what threads gain.

::

    python benchmarks/receptors.py              # 1, 30 and 1000 receptors x 20 particles x 3 h

Wanted: as many tiles prepared for a thousand receptors as for one that visits the same places, CPU in
proportion to the particles, and with ``PYSTILT_THREADS`` a wall time in inverse proportion to the threads (as
far as there are cores to spare), the particles being the same.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("PYSTILT_THREADS", "1")

import numpy as np

from stilt.config import TransportParams
from stilt.meteorology import synthetic
from stilt.meteorology.catalog import open_series
from stilt.meteorology.projection import HorizontalGrid
from stilt.receptors import PointReceptor
from stilt.transport.native.recipe import ColumnSource, column_source
from stilt.transport.native.release import release_particles
from stilt.transport.native.simulate import simulate
from stilt.transport.native.tiles import ColumnPool, TileCache
from stilt.transport.native.warmup import compile_kernels

START = np.datetime64("2020-06-01T06:00", "s")


def run(source: ColumnSource, params: TransportParams, pool: ColumnPool, where: tuple[float, float], key: int,
        threads: int = 1) -> tuple[int, np.ndarray]:  # fmt: skip
    """Carry the particles of one receptor; return the tiles prepared and where they went."""
    receptor = PointReceptor(str(START), *where, 50.0)
    release = release_particles(receptor, params.numpar, source.series, params.z_top)
    recorded = simulate(source, release, START, params, pool, seed=1, key=key, threads=threads)
    return recorded.tiles_prepared, recorded.xy


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="at most 100 receptors")
    given, _ = parser.parse_known_args()
    compile_kernels()
    grid = HorizontalGrid.lambert(40.0, -100.0, 3.0, 150, 140, center_lat=40.0, center_lon=-100.0)
    with tempfile.TemporaryDirectory() as name:
        world = synthetic.uniform(u=6.0, v=4.0, hours=8, grid=grid, flux=150.0, ustar=0.3, pbl_height=1000.0)
        path = world.write(Path(name) / "met.arl")
        params = TransportParams(n_hours=-3, numpar=20)
        series = open_series([path], name="bench", start=START - np.timedelta64(3, "h"), end=START)
        source = column_source(series, params)
        rng = np.random.default_rng(3)
        east, north = rng.uniform(-101.2, -98.8, 1000), rng.uniform(39.2, 40.8, 1000)
        spots = [(-100.0, 40.0), *zip(east.tolist(), north.tolist(), strict=True)]
        print(
            f"{'receptors':>10s} {'tiles':>6s} {'CPU s':>8s} {'ms each':>8s} {'us per particle minute':>24s}"
        )
        for count in (1, 30, 100) if given.quick else (1, 30, 1000):
            pool = ColumnPool(TileCache(Path(name) / f"columns_{count}"))
            began = time.process_time()
            prepared = sum(run(source, params, pool, spots[n], n)[0] for n in range(count))
            on_disk = len(list((Path(name) / f"columns_{count}").glob("*/*.npy")))
            spent = time.process_time() - began
            each = spent / count
            print(
                f"{count:10d} {on_disk:6d} {spent:8.2f} {each * 1e3:8.2f} {each / 20 / 180 * 1e6:24.2f}",
                flush=True,
            )
            assert prepared <= on_disk
        print(f"the window has {-(-grid.ny // 64) * -(-grid.nx // 64)} tiles at each of 4 analysis times\n")

        many = TransportParams(n_hours=-3, numpar=2000)
        pool = ColumnPool(TileCache(Path(name) / "threads"))
        run(source, many, pool, spots[0], 0)
        cores = os.cpu_count() or 1
        print(
            f"2000 particles, {cores} cores, load {os.getloadavg()[0]:.1f}"
            if hasattr(os, "getloadavg")
            else ""
        )
        print(f"{'threads':>10s} {'wall s':>8s} {'CPU s':>8s} {'faster':>7s}")
        alone, paths = 0.0, None
        for threads in (1, 2, 4):
            if threads > cores:
                break
            best = (np.inf, np.inf)
            for _ in range(5):
                wall, cpu = time.perf_counter(), time.process_time()
                _, xy = run(source, many, pool, spots[0], 0, threads)
                best = min(best, (time.perf_counter() - wall, time.process_time() - cpu))
            alone = alone or best[0]
            assert paths is None or np.array_equal(paths, xy, equal_nan=True)
            paths = xy
            print(f"{threads:10d} {best[0]:8.2f} {best[1]:8.2f} {alone / best[0]:7.1f}", flush=True)


if __name__ == "__main__":
    main()
