"""
CPU and memory of one footprint, beside the same footprint by PYSTILT 0.1.0a25.

::

    python benchmarks/footprint.py                                     # ours only
    python benchmarks/footprint.py --peer-python PEER/bin/python       # and the ratio
    STILT_REFERENCE_DIR=... python benchmarks/footprint.py ...         # with the tables of the reference bank

The peer lives in an environment of its own (``python3 -m venv PEER; PEER/bin/pip install
pystilt==0.1.0a25``), because both packages are called ``stilt``. Each case is timed there and here one after
the other, on one thread, as the median CPU time of several calls after one that compiles and fills caches.
Targets: 5 times less CPU, 10 times where kernels are small (half of the rows spread over at most 49 cells);
memory below 3 times the output plus the particle columns used.

What profiling taught: the arithmetic of the kernels is a small part. Sorting rows, making index arrays in
numpy and, on projected grids, PROJ itself were most of the time. Engines write rows step by step, and in that
order nothing has to be sorted or copied: each age is a stretch of every column. Kernels of up to 49 cells are
stamped as rows come, because sorting them into strips takes longer.
"""

from __future__ import annotations

import os

for _name in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import argparse
import json
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

GRID_KEYS = ("xmin", "xmax", "ymin", "ymax", "xres", "yres", "projection")
SMALL_KERNEL = 49
"""Cells of a small kernel, at most."""

REPEATS = 7
LEAST_SECONDS = 0.3

TARGETS = {True: 10.0, False: 5.0}
"""Ratio wanted for small kernels and for others."""


def reference_cases() -> list[dict]:
    """Cases of the reference bank; none when it is not there."""
    root = os.environ.get("STILT_REFERENCE_DIR")
    if not root:
        print("STILT_REFERENCE_DIR is not set: synthetic tables only", file=sys.stderr)
        return []
    cases = []
    for path in sorted(Path(root).glob("footprint/f*/case.json")):
        case = json.loads(path.read_text())
        cases.append(
            {
                "name": case["id"],
                "table": str((path.parent / case["particles"]).resolve()),
                "grid": {key: case[key] for key in GRID_KEYS},
                "smooth_factor": case["smooth_factor"],
                "time_integrate": case["time_integrate"],
                "time": case["time"],
            }
        )
    return cases


def synthetic_cases(folder: Path, *, quick: bool) -> list[dict]:
    """Random walks of 0.05 to 1.5 million rows on grids of 0.002 to 0.1 degrees."""
    cases = []
    sizes = ((100, 500), (200, 1440)) if quick else ((100, 500), (200, 1440), (1000, 1500))
    for n_particles, n_minutes in sizes:
        path = folder / f"walk_{n_particles}_{n_minutes}.parquet"
        synthetic_table(n_particles, n_minutes).to_parquet(path)
        for size, smooth_factor in ((0.1, 1.0), (0.01, 0.25), (0.01, 1.0), (0.005, 1.0), (0.002, 0.25)):
            half = 2.0 if size >= 0.01 else 1.0
            grid = {
                "xmin": -112.0 - half, "xmax": -112.0 + half, "ymin": 40.0 - half, "ymax": 40.0 + half,
                "xres": size, "yres": size, "projection": "+proj=longlat",
            }  # fmt: skip
            cases.append(
                {
                    "name": f"{n_particles * n_minutes / 1e6:.2f}M {size:g} deg sf {smooth_factor:g}",
                    "table": str(path),
                    "grid": grid,
                    "smooth_factor": smooth_factor,
                    "time_integrate": False,
                    "time": "2020-07-01T12:00:00",
                }
            )
    return cases


def synthetic_table(n_particles: int, n_minutes: int) -> pd.DataFrame:
    """Backward random walk with a mean wind, spreading to about a degree in a day; 60 % near the ground."""
    rng = np.random.default_rng(1)
    shape = (n_minutes, n_particles)

    def walk(drift: float) -> np.ndarray:
        velocity = rng.normal(0.0, 0.003, shape)
        for k in range(1, n_minutes):  # velocities remember some minutes
            velocity[k] += 0.9 * (velocity[k - 1] - velocity[k] * 0.1)
        return np.cumsum(velocity * 0.25 + drift, axis=0)

    return pd.DataFrame(
        {
            "time": -np.repeat(np.arange(1.0, n_minutes + 1), n_particles),
            "indx": np.tile(np.arange(1, n_particles + 1), n_minutes),
            "long": -112.0 + walk(-0.0005).ravel(),
            "lati": 40.0 + walk(0.0004).ravel(),
            "foot": np.where(rng.random(shape) < 0.6, rng.random(shape) * 1e-3, 0.0).ravel(),
        }
    )


def caller(case: dict, *, is_peer: bool):
    """Load a case and return a function that makes its footprint."""
    import stilt

    table = pd.read_parquet(case["table"])
    grid = stilt.Grid(**case["grid"])
    receptor = stilt.PointReceptor(time=case["time"], longitude=-112.0, latitude=40.0, altitude=5.0)
    options = {"smooth_factor": case["smooth_factor"], "time_integrate": case["time_integrate"]}
    if is_peer:
        names = {"indx": "particle", "time": "age", "long": "lon", "lati": "lat"}
        table = table.rename(columns=names).assign(zagl=5.0)
        return lambda: stilt.calc_footprint(table, receptor, grid, **options)
    return lambda: stilt.calc_footprint(table, grid, receptor=receptor, **options).data


def measure(case: dict, *, is_peer: bool) -> dict:
    """Time one case: the median of several calls, more of short ones and fewer of long ones."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        call = caller(case, is_peer=is_peer)
        call()
        times: list[float] = []
        while len(times) < 2 or (len(times) < REPEATS and sum(times) < 3) or sum(times) < LEAST_SECONDS:
            started = time.process_time()
            out = call()
            times.append(time.process_time() - started)
    return {"cpu": float(np.median(times)), "total": float(out.sum()), "shape": list(out.shape)}


def kernel_cells(case: dict) -> float:
    """Cells the influence of a row is spread over: the median over rows."""
    import stilt
    from stilt.footprint.axes import GridAxes
    from stilt.footprint.gridding import parity_bandwidth
    from stilt.footprint.particles import ParticleColumns, frozen

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        axes = GridAxes.of(stilt.Grid(**case["grid"]))
        columns = ParticleColumns.prepare(pd.read_parquet(case["table"]))
        x, y = axes.project(axes.map_longitude(columns.lon), columns.lat)
        sigma = parity_bandwidth(columns, axes, frozen(x), frozen(y), case["smooth_factor"])
    size = np.array([[case["grid"]["xres"]], [case["grid"]["yres"]]])
    widths = 2 * (3 * sigma / size).astype(int) + 1
    return float(np.median(np.repeat(widths.prod(axis=0), np.diff(columns.offsets))))


def peak_memory(case: dict) -> dict:
    """Peak of the resident size during one call, above what was there before [bytes]."""
    grid = case["grid"]
    coarse = {"xres": (grid["xmax"] - grid["xmin"]) / 8, "yres": (grid["ymax"] - grid["ymin"]) / 8}
    small = dict(case, grid={**grid, **coarse})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        caller(small, is_peer=False)()
        call = caller(case, is_peer=False)
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
        before = resident("VmRSS")
        out = call()
        peak = resident("VmHWM") - before
    rows = len(pd.read_parquet(case["table"], columns=["time"]))
    allowed = 3 * out.size * 8 + rows * 5 * 8
    return {"peak": peak, "allowed": allowed}


def resident(key: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) * 1024
    return 0


class Peer:
    """The other package in its own process, asked case by case."""

    def __init__(self, python: str) -> None:
        # PYTHONPATH may lead to our package of the same name
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        self.process = subprocess.Popen(
            [python, __file__, "--serve-peer"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip

    def measure(self, case: dict) -> dict:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(case) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


def serve_peer() -> None:
    for line in sys.stdin:
        try:
            answer = measure(json.loads(line), is_peer=True)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"[:60]}
        print(json.dumps(answer), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peer-python", help="python of an environment with pystilt 0.1.0a25")
    parser.add_argument("--quick", action="store_true", help="leave out 1.5 million rows")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--memory", action="store_true", help="also the peak of memory (Linux)")
    parser.add_argument("--serve-peer", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--peak-of", help=argparse.SUPPRESS)
    given, _ = parser.parse_known_args()
    if given.serve_peer:
        serve_peer()
        return
    if given.peak_of:
        print(json.dumps(peak_memory(json.loads(given.peak_of))))
        return
    peer = Peer(given.peer_python) if given.peer_python else None
    ratios: dict[bool, list[float]] = {True: [], False: []}
    short = []
    with tempfile.TemporaryDirectory() as folder:
        cases = reference_cases() + synthetic_cases(Path(folder), quick=given.quick)
        print(
            f"{'case':28s} {'layers x cells':>14s} {'kernel':>6s} {'ours ms':>8s} {'peer ms':>8s} "
            f"{'ratio':>6s} {'wanted':>6s}  total  memory"
        )
        for case in cases:
            if given.only not in case["name"]:
                continue
            ours = measure(case, is_peer=False)
            theirs = peer.measure(case) if peer else {}
            ratio = theirs.get("cpu", np.nan) / ours["cpu"]
            cells = kernel_cells(case)
            is_small = cells <= SMALL_KERNEL
            ratios[is_small].append(ratio)
            if ratio < TARGETS[is_small]:
                short.append(case["name"])
            same = abs(theirs.get("total", np.nan) / ours["total"] - 1.0) if ours["total"] else np.nan
            shape = "x".join(str(n) for n in ours["shape"])
            note = theirs.get("error", "")
            if given.memory and "M " in case["name"]:  # small tables drown in the noise of the allocator
                found = subprocess.run(
                    [sys.executable, __file__, "--peak-of", json.dumps(case)],
                    capture_output=True, text=True, check=True,
                )  # fmt: skip
                memory = json.loads(found.stdout)
                note += f" {memory['peak'] / 1e6:.0f} of {memory['allowed'] / 1e6:.0f} MB allowed"
            print(
                f"{case['name']:28s} {shape:>14s} {cells:6.0f} {ours['cpu'] * 1e3:8.2f} "
                f"{theirs.get('cpu', np.nan) * 1e3:8.1f} {ratio:6.1f} {TARGETS[is_small]:6.0f}  "
                f"{same:.0e} {note}",
                flush=True,
            )
    for is_small, found in ratios.items():
        known = np.array([ratio for ratio in found if np.isfinite(ratio)])
        if known.size:
            print(
                f"{'small' if is_small else 'other'} kernels: {known.size} cases, ratio smallest "
                f"{known.min():.1f}, median {np.median(known):.1f}, largest {known.max():.1f}; "
                f"wanted {TARGETS[is_small]:g}"
            )
    if peer:
        print(f"below what is wanted: {', '.join(short) or 'none'}")


if __name__ == "__main__":
    main()
