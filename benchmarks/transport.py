"""
CPU of the transport engine per particle and minute, beside NOAA's program on the same cases.

::

    STILT_REFERENCE_DIR=... python benchmarks/transport.py                 # ours only
    STILT_REFERENCE_DIR=... python benchmarks/transport.py --hysplit DIR   # and hycs_std, in the same run
    python benchmarks/transport.py                                         # generated meteorology only

``DIR`` holds ``hycs_std`` and its ``ROUGLEN.ASC LANDUSE.ASC TERRAIN.ASC``. The engine is timed
alone (meteorology prepared, nothing written) on one thread, as the smallest user CPU of three runs
after one that compiles; the program as a whole, with the twelve default output columns, once.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path

os.environ.setdefault("PYSTILT_THREADS", "1")

import numpy as np

from stilt.config import HysplitConfig, TransportParams
from stilt.meteorology import synthetic
from stilt.meteorology.catalog import open_series
from stilt.receptors import PointReceptor, Receptor
from stilt.transport.hysplit.engine import HysplitEngine
from stilt.transport.native.recipe import column_source
from stilt.transport.native.release import release_particles
from stilt.transport.native.simulate import simulate
from stilt.transport.native.tiles import ColumnPool
from stilt.transport.protocol import TransportRequest

CASES = ("t01", "t03", "t09", "t13")


def user_cpu() -> float:
    return os.times().user


def time_native(receptor: Receptor, met: list[Path], n_hours: int, numpar: int, repeats: int = 3) -> float:
    """Return microseconds of user CPU per particle and minute."""
    params = TransportParams(n_hours=n_hours, numpar=numpar)
    start = np.datetime64(receptor.time, "s")
    series = open_series(met, name="bench", start=start, end=start + np.timedelta64(n_hours, "h"))
    source = column_source(series, params)
    release = release_particles(receptor, numpar, series, params.z_top)
    pool = ColumnPool()
    best = np.inf
    for repeat in range(repeats + 1):
        began = user_cpu()
        recorded = simulate(source, release, start, params, pool, seed=repeat, key=1)
        spent = (user_cpu() - began) / recorded.alive.sum() * 1e6
        if repeat:
            best = min(best, spent)
    return float(best)


def time_program(folder: Path, receptor: Receptor, met: list[Path], n_hours: int, numpar: int) -> float:
    """Return microseconds of user CPU that ``hycs_std`` takes per particle and minute."""
    engine = HysplitEngine(HysplitConfig(exe=folder))
    engine.warm_up()
    before = os.times()
    request = TransportRequest(
        receptor, "bench", tuple(met), TransportParams(n_hours=n_hours, numpar=numpar, seed=1)
    )
    rows = len(engine.run(request).particles)
    after = os.times()
    return (after.children_user - before.children_user) / rows * 1e6


def reference_cases(root: Path) -> list[tuple[str, dict, list[Path]]]:
    found = []
    for start in CASES:
        (path,) = (root / "transport").glob(f"{start}*/case.json")
        case = json.loads(path.read_text())
        found.append((case["id"], case, [root / "met" / name for name in case["met"]]))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hysplit", type=Path, help="folder with hycs_std and its tables")
    parser.add_argument("--numpar", type=int, default=1000)
    parser.add_argument("--generated", action="store_true", help="generated meteorology only")
    arguments, _ = parser.parse_known_args()
    print("microseconds of user CPU per particle and minute, one thread")
    print(f"{'case':28} {'stilt':>8} {'hycs_std':>9} {'ratio':>6}")
    with tempfile.TemporaryDirectory() as name:
        for kind, flux, height in (
            ("convective", 250.0, 20.0),
            ("stable", -20.0, 20.0),
            ("free", 0.0, 4000.0),
        ):
            world = synthetic.uniform(hours=8, flux=flux, ustar=0.3, pbl_height=1000.0 if flux > 0 else 250.0)
            path = world.write(Path(name) / f"{kind}.arl")
            receptor = PointReceptor("2020-06-01 07:00", *world.center, height)
            print(f"{'generated, ' + kind:28} {time_native(receptor, [path], -6, arguments.numpar):8.3f}")
    root = os.environ.get("STILT_REFERENCE_DIR")
    if root is None or arguments.generated:
        return
    for title, case, met in reference_cases(Path(root)):
        where = case["receptor"]
        receptor = PointReceptor(where["time"], where["longitude"], where["latitude"], where["altitude"])
        ours = time_native(receptor, met, case["n_hours"], arguments.numpar)
        line = f"{title:28} {ours:8.3f}"
        if arguments.hysplit:
            theirs = time_program(arguments.hysplit, receptor, met, case["n_hours"], arguments.numpar)
            line += f" {theirs:9.2f} {theirs / ours:6.1f}"
        print(line, flush=True)


if __name__ == "__main__":
    main()
