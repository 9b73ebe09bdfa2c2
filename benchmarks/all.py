"""
Every benchmark, one after the other, each with its own table, and what each took.

::

    python benchmarks/all.py             # a quarter of an hour on two quiet cores
    python benchmarks/all.py --quick     # small sizes, to see that all of them run
    python benchmarks/all.py --only transport run --hysplit DIR --peer-python PEER/bin/python

Without ``STILT_REFERENCE_DIR``, ``--hysplit`` and ``--peer-python`` only our own column is printed. A script
that fails or takes longer than its time ends as such in the last table, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent

# sizes of each script: when all is measured, and when only whether it runs
SCRIPTS: dict[str, tuple[list[str], list[str]]] = {
    "transport": ([], ["--numpar", "20", "--generated"]),
    "receptors": ([], ["--quick"]),
    "meteorology": ([], ["--quick"]),
    "met_bytes": ([], ["--hours", "2", "--levels", "2"]),
    "met_catalogue": ([], ["--files", "600"]),
    "footprint": ([], ["--quick", "--only", "f01"]),
    "particle_reader": ([], []),
    "run": ([], ["--compiled"]),
    "run_overhead": (["300"], ["10"]),
    "scaling": (["-n", "48", "--rounds", "1"], ["-n", "2", "--rounds", "1"]),
    "backends": (["local"], ["local", "-n", "4"]),
    "state": (["--n", "20000", "--batches", "200"], ["--n", "200", "--batches", "3"]),
    "work_queue": ([], ["--rows", "200", "--workers", "2", "--seconds", "1"]),
}
REFERENCE = {"transport": "--hysplit", "run": "--peer-python", "footprint": "--peer-python"}
"""The option by which a script is given what it compares with."""

LONGEST = 400.0
"""Time after which a script is ended [s]."""


def run(name: str, options: list[str]) -> tuple[str, float, float]:
    """Run one script; return how it ended, its CPU and its wall time [s]."""
    print(f"\n== {name} {' '.join(options)}", flush=True)
    before, began = os.times(), time.monotonic()
    try:
        code = subprocess.run(
            [sys.executable, str(HERE / f"{name}.py"), *options], timeout=LONGEST, check=False
        ).returncode
        ended = "ok" if code == 0 else f"exit {code}"
    except subprocess.TimeoutExpired:
        ended = f"longer than {LONGEST:.0f} s"
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return ended, cpu, time.monotonic() - began


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--only", nargs="+", choices=SCRIPTS, metavar="SCRIPT", help="some of the scripts")
    parser.add_argument("--hysplit", help="folder with hycs_std and its tables")
    parser.add_argument("--peer-python", help="python of an environment with PYSTILT 0.1.0a25")
    given = parser.parse_args()
    theirs = {"--hysplit": given.hysplit, "--peer-python": given.peer_python}
    rows = []
    for name in given.only or SCRIPTS:
        whole, quick = SCRIPTS[name]
        options = list(quick if given.quick else whole)
        option = REFERENCE.get(name)
        if option and theirs[option]:
            options += [option, theirs[option]]
        rows.append((name, *run(name, options)))
    print(f"\n{'script':16} {'CPU s':>7} {'wall s':>7}  ended")
    for name, ended, cpu, wall in rows:
        print(f"{name:16} {cpu:7.1f} {wall:7.1f}  {ended}")
    return 0 if all(ended == "ok" for _, ended, _, _ in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
