"""
What a second worker of the local pool brings: engine-bound work with one and with two workers.

::

    python benchmarks/scaling.py                   a quarter of an hour on a quiet machine of two cores
    python benchmarks/scaling.py -n 48 --rounds 1  three minutes
    python benchmarks/scaling.py -n 4 --rounds 1   to see that it works

Rounds of one and of two workers take turns, and the smallest of each counts: what a busy machine adds is
never negative. Two numbers. The wall clock counts and needs a quiet machine (its load is printed). The other
holds on a busy one, because it is made of processor time: what one process needs for everything, against
what the parent and the busiest of two workers need, one after the other, as if none of the parent's work
overlapped.
Wanted: 1.8.

Why it is not 2: what a worker spends before its second simulation beyond what a later one takes
(``start``: imports, compiled kernels, meteorology; one worker is this process, which has them already), and
whether simulations take longer beside another worker (processor time of one, wall time of its engine).
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import re
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, median
from typing import Any

import psutil
from valley_project import project, write_met

import stilt
from stilt.execution.results import SimulationResult

WANTED = 1.8
HOURS = ("2024-07-11 00", "2024-07-11 01", "2024-07-11 02", "2024-07-11 03")


class Watch:
    """A reporter that notes how much processor time each worker had used when a simulation ended."""

    def __init__(self) -> None:
        self.spent: dict[int, float] = {}
        self.ended: list[tuple[SimulationResult, dict[int, float]]] = []

    def start(self, total: int) -> None:
        return

    def advance(self, result: SimulationResult) -> None:
        self.look()
        self.ended.append((result, {**self.spent, os.getpid(): time.process_time()}))

    def say(self, text: str) -> None:
        return

    def finish(self) -> None:
        self.look()

    def look(self) -> None:
        for child in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                user, system, *_ = child.cpu_times()
                self.spent[child.pid] = user + system


@dataclass
class Round:
    """
    One run.

    Parameters
    ----------
    wall, own : float
        Wall time, and processor time of this process [s].
    workers : list of float
        Processor time of each worker process, most first [s].
    starts : list of float
        What each process spent until its first simulation was over beyond a later one [s].
    each : list of float
        Processor time of each later simulation [s].
    engine : list of float
        Wall time of the engine in each later simulation [s].
    """

    wall: float
    own: float
    workers: list[float]
    starts: list[float] = field(default_factory=list)
    each: list[float] = field(default_factory=list)
    engine: list[float] = field(default_factory=list)

    @property
    def critical(self) -> float:
        """Processor time of this process and of the busiest worker, one after the other [s]."""
        return self.own + max(self.workers, default=0.0)


def measure(model: stilt.Model, n_workers: int) -> Round:
    """Run it, and see what it took."""
    watch = Watch()
    wall, before = time.perf_counter(), time.process_time()
    handle = model.run(n_workers, progress=watch)
    wall, own = time.perf_counter() - wall, time.process_time() - before
    assert handle.exit_code == 0, handle.reasons
    found = Round(wall, own, sorted(watch.spent.values(), reverse=True))
    marks: dict[int, list[float]] = defaultdict(list)
    for result, spent in watch.ended:
        process = worker_of(model, result.sim_id)
        if marks[process]:
            found.engine.append(result.timings["engine"])
        marks[process].append(spent[process] - (before if process == os.getpid() else 0.0))
    for ends in marks.values():
        later = [after - before for before, after in itertools.pairwise(ends)]
        found.each += later
        if later:
            found.starts.append(ends[0] - fmean(later))
    return found


def worker_of(model: stilt.Model, sim_id: str) -> int:
    """Read from its log which process ran a simulation."""
    log = (Path(model.output_dir) / "simulations/by-id" / sim_id / "stilt.log").read_text()
    number = re.search(r"UTC, process (\d+)", log)
    assert number is not None, log
    return int(number.group(1))


def middle(values: list[float]) -> str:
    return f"{median(values):.3f} s" if values else "(too few)"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-n", type=int, default=96, help="simulations")
    parser.add_argument("--rounds", type=int, default=2, help="rounds with one and with two workers each")
    given = parser.parse_args()
    size: dict[str, Any] = {"hours": HOURS, "n_hours": -6, "numpar": 2000}
    rounds: dict[int, list[Round]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        met = write_met(folder, 11)
        project(folder / "warm", met, 4, **size).run(progress=False)
        print(f"{given.n} simulations of 6 h x 2000 particles; {os.cpu_count()} cores")
        for number in range(given.rounds):
            for n_workers in rounds:
                load = os.getloadavg()[0]
                found = measure(project(folder / f"{number}-{n_workers}", met, given.n, **size), n_workers)
                rounds[n_workers].append(found)
                listed = " + ".join(f"{spent:.1f}" for spent in found.workers[:2])
                print(
                    f"  {n_workers} worker{'s' if n_workers > 1 else ' '}: {found.wall:7.1f} s wall, "
                    f"{found.own:7.1f} s CPU here{f', {listed} s in workers' if listed else ''} "
                    f"(load {load:.1f})",
                    flush=True,
                )
    for n_workers, runs in rounds.items():
        each = [spent for run in runs for spent in run.each]
        engine = [spent for run in runs for spent in run.engine]
        starts = [spent for run in runs for spent in run.starts]
        print(
            f"  with {n_workers}: a simulation {middle(each)} CPU, its engine {middle(engine)} wall; "
            f"start {middle(starts)} CPU"
        )
    one, two = rounds.values()
    wall = min(run.wall for run in one) / min(run.wall for run in two)
    cpu = min(run.critical for run in one) / min(run.critical for run in two)
    print(f"  faster by the wall clock      {wall:5.2f}   (wanted {WANTED})")
    print(f"  faster by the processor time  {cpu:5.2f}   (at least)")


if __name__ == "__main__":
    main()
