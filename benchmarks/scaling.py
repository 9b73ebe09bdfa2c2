"""
What a second worker of the local pool brings: engine-bound work with one and with two workers.

::

    python benchmarks/scaling.py             about three minutes on a quiet machine of two cores
    python benchmarks/scaling.py -n 4        fewer simulations, to see that it works

Two numbers. The wall clock counts and needs a quiet machine (its load is printed). The other holds on a
busy one, because it is made of processor time: what one process needs for everything, against what the
parent and the busiest of two workers need, one after the other, as if none of the parent's work
overlapped.
Wanted: 1.8.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import tempfile
import time
from pathlib import Path

import psutil

import stilt

WANTED = 1.8


class Watch:
    """A reporter that notes how much processor time each worker has used."""

    def __init__(self) -> None:
        self.spent: dict[int, float] = {}

    def start(self, total: int) -> None:
        return

    def advance(self, result: object) -> None:
        self.look()

    def say(self, text: str) -> None:
        return

    def finish(self) -> None:
        self.look()

    def look(self) -> None:
        for child in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                user, system, *_ = child.cpu_times()
                self.spent[child.pid] = user + system


def project(folder: Path, met: Path, n: int) -> stilt.Model:
    """Points in the generated valley; nearly all of the time is the engine's."""
    receptors = [
        stilt.PointReceptor(f"2024-07-11 0{i % 4}:00", -111.6 + 0.002 * i, 41.0, 10) for i in range(n)
    ]
    grid = stilt.Grid(xmin=-112.4, xmax=-110.6, ymin=40.4, ymax=41.6, xres=0.05, yres=0.05)
    return stilt.Model(
        folder,
        receptors,
        mets={"valley": {"directory": met, "file_format": "%Y%m%d_%H"}},
        footprints={"default": {"grid": "g"}},
        grids={"g": grid},
        n_hours=-6,
        numpar=2000,
    )


def measure(model: stilt.Model, n_workers: int) -> tuple[float, float, list[float]]:
    """Run it; wall time, processor time of this process, and of each worker [s]."""
    watch = Watch()
    wall, own = time.perf_counter(), time.process_time()
    handle = model.run(n_workers, progress=watch)
    wall, own = time.perf_counter() - wall, time.process_time() - own
    assert handle.exit_code == 0, handle.reasons
    return wall, own, sorted(watch.spent.values(), reverse=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-n", type=int, default=48, help="simulations")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        from stilt.meteorology.valley import write_demo_met

        write_demo_met(folder / "met", "2024-07-10T18:00:00", 11)
        project(folder / "warm", folder / "met", 4).run(progress=False)
        load = os.getloadavg()[0]
        print(f"{given.n} simulations of 6 h x 2000 particles; {os.cpu_count()} cores, load {load:.1f}")
        one_wall, one_cpu, _ = measure(project(folder / "one", folder / "met", given.n), 1)
        print(f"  1 worker : {one_wall:7.1f} s wall, {one_cpu:7.1f} s CPU")
        two_wall, parent, workers = measure(project(folder / "two", folder / "met", given.n), 2)
        listed = " + ".join(f"{spent:.1f}" for spent in workers[:2])
        print(f"  2 workers: {two_wall:7.1f} s wall, {parent:7.1f} s CPU here and {listed} s in workers")
        print(f"  faster by the wall clock      {one_wall / two_wall:5.2f}   (wanted {WANTED})")
        print(f"  faster by the processor time  {one_cpu / (parent + workers[0]):5.2f}   (at least)")


if __name__ == "__main__":
    main()
