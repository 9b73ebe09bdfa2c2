"""
CPU of a whole ``stilt run``, from config.yaml to footprints, beside PYSTILT 0.1.0a25 with ``hycs_std``.

::

    STILT_REFERENCE_DIR=... python benchmarks/run.py --peer-python PEER/bin/python
    python benchmarks/run.py              # generated meteorology, ours only

20 receptors x 200 particles x 6 h, one worker, near-field correction and a footprint of 0.01 degrees each.
Counted is user and system CPU of the command and all it starts. Kernels are compiled before; prepared columns
are not, except in the last line. The first lines tell what compiling costs a new installation, and loading
every later one; ``--compiled`` leaves out the first and takes the kernels that are there.
Wanted: compiled in 30 s, loaded in 1 s, 10 times less CPU than the peer.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
from datetime import datetime, timedelta
from pathlib import Path

N_RECEPTORS = 20
GRID = {"xmin": -112.6, "xmax": -111.4, "ymin": 40.3, "ymax": 41.2, "xres": 0.01, "yres": 0.01}
HRRR = ("20190530_00-05_hrrr", "20190530_06-11_hrrr")
LOAD = """
import time
import stilt.footprint.calculate, stilt.transport.native.warmup as warmup
began, wall = time.process_time(), time.perf_counter()
warmup.compile_kernels()
stilt.footprint.calculate.warm_up()
print(time.process_time() - began, time.perf_counter() - wall)
"""


def meteorology(folder: Path) -> None:
    """Put twelve hours of meteorology around Salt Lake City into a folder."""
    folder.mkdir(parents=True)
    root = os.environ.get("STILT_REFERENCE_DIR")
    if root:
        for name in HRRR:
            shutil.copy(Path(root, "met", name), folder / name)
        return
    from stilt.meteorology import synthetic
    from stilt.meteorology.projection import HorizontalGrid

    print("STILT_REFERENCE_DIR is not set: generated meteorology", file=sys.stderr)
    grid = HorizontalGrid.lambert(38.5, -97.5, 3.0, 59, 41, center_lat=40.75, center_lon=-112.0)
    synthetic.uniform(hours=11, grid=grid, start="2019-05-30T00").write(folder / "20190530_00-11_made")


def receptors() -> list[dict]:
    """Points in the middle of the crop, at different hours, minutes and heights."""
    start = datetime(2019, 5, 30, 7)
    return [
        {
            "time": f"{start + timedelta(minutes=12 * n):%Y-%m-%d %H:%M:%S}",
            "longitude": round(-112.0 + 0.03 * (n % 5), 3),
            "latitude": round(40.7 + 0.02 * (n // 5), 3),
            "height": 5 + 10 * (n % 3),
        }
        for n in range(N_RECEPTORS)
    ]


def write_project(folder: Path, met: Path, *, is_peer: bool) -> Path:
    folder.mkdir(parents=True)
    mets = {"hrrr": {"directory": str(met), "file_format": "%Y%m%d_%H", "file_tres": "6h"}}
    shared = {"mets": mets, "n_hours": -6, "numpar": 200}
    own = {
        "grids": {"area": GRID},
        "footprints": {"default": {"grid": "area"}},
        "execution": {"backend": "local", "n_workers": 1},
    }
    theirs = {"grid": GRID, "variants": {"hrrr": {}}, "output": "./output"}
    # JSON is YAML
    (folder / "config.yaml").write_text(json.dumps(shared | (theirs if is_peer else own), indent=1))
    with (folder / "receptors.csv").open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["time", "longitude", "latitude", "altitude" if is_peer else "zagl"])
        table.writerows(list(receptor.values()) for receptor in receptors())
    return folder


def cpu_of(command: list[str], environment: dict[str, str]) -> float:
    """Run a command and return the CPU of it and all it started [s]."""
    before = os.times()
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    after = os.times()
    if done.returncode:
        print(
            f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}", file=sys.stderr
        )
        return float("nan")
    return after.children_user + after.children_system - before.children_user - before.children_system


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peer-python", help="python of an environment with pystilt 0.1.0a25")
    parser.add_argument("--compiled", action="store_true", help="do not time the compilation")
    given, _ = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        meteorology(folder / "met")
        environment = dict(os.environ)
        if not given.compiled:
            environment["PYSTILT_CACHE_DIR"] = str(folder / "cache")
            print(f"{'':44s} {'CPU s':>8s} {'wall s':>8s} {'wanted':>8s}")
        steps = (("compile all kernels, once", 30), ("load them, every process", 1))
        for what, wanted in steps[int(given.compiled) :]:
            said = subprocess.run(
                [sys.executable, "-c", LOAD], env=environment, capture_output=True, text=True, check=True
            )
            spent, wall = map(float, said.stdout.split())
            print(f"{what:44s} {spent:8.2f} {wall:8.2f} {wanted:8d}", flush=True)
        print(
            f"\n{N_RECEPTORS} receptors x 200 particles x 6 h{'':10s} {'ours s':>10s} {'peer s':>8s} "
            f"{'ratio':>6s}"
        )
        stilt = [sys.executable, "-m", "stilt", "run"]
        ours = cpu_of(
            [*stilt, str(write_project(folder / "ours", folder / "met", is_peer=False))], environment
        )
        theirs = float("nan")
        if given.peer_python:
            plain = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
            command = str(Path(given.peer_python).with_name("stilt"))
            theirs = cpu_of(
                [command, "run", str(write_project(folder / "peer", folder / "met", is_peer=True))], plain
            )
        print(f"{'stilt run':44s} {ours:8.2f} {theirs:8.2f} {theirs / ours:6.1f}")
        again = cpu_of([*stilt, "--no-skip", str(folder / "ours")], environment)
        print(
            f"{'stilt run --no-skip, columns prepared':44s} {again:8.2f} {theirs:8.2f} {theirs / again:6.1f}"
        )


if __name__ == "__main__":
    main()
