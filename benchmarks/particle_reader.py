"""
Reading PARTICLE_STILT.DAT, straight to columns.

::

    python benchmarks/particle_reader.py [FILE]

Without a file one is written in the program's format: the twelve default columns, then all 28. The figure
is CPU, file and all, of the best of five readings after one that compiles; beside it pandas.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from stilt.transport.hysplit.particles import read_particles

FORMATS = {
    "time": "%10.0f.", "indx": "%8.0f.", "long": " %10.4f", "lati": " %10.4f", "zagl": " %10.4f",
    "sigw": " %10.3f", "tlgr": " %13.4f", "zsfc": " %10.4f", "icdx": " %3.0f.", "temp": " %9.2f",
    "samt": " %9.4f", "foot": " %12.7f", "shtf": " %9.2f", "tcld": " %12.7f", "dmas": " %16.3f",
    "dens": " %8.5f", "rhfr": " %8.5f", "sphu": " %13.10f", "lcld": " %12.7f", "zloc": " %9.2f",
    "dswf": " %10.2f", "wout": " %12.6f", "mlht": " %12.2f", "rain": " %11.4e", "crai": " %7.4f",
    "pres": " %13.2f", "whtf": " %9.2f", "temz": " %9.2f",
}  # fmt: skip
DEFAULT = "time indx long lati zagl foot mlht pres dens samt sigw tlgr".split()


def write(path: Path, names: list[str], rows: int) -> None:
    """Write made-up particles as the program prints them."""
    rng = np.random.default_rng(0)
    values = {name: rng.normal(0.0, 30.0, rows) for name in names}
    values |= {
        "time": -np.repeat(np.arange(1.0, rows // 500 + 2), 500)[:rows],
        "indx": np.arange(rows) % 500 + 1.0,
    }
    values |= {
        "zagl": rng.lognormal(6, 1, rows),
        "dens": rng.uniform(0, 2, rows),
        "rhfr": rng.uniform(0, 1, rows),
    }
    with path.open("w") as out:
        out.write("   40.7659988      -111.848000       10.0000000    \n")
        np.savetxt(
            out, np.stack([values[name] for name in names], axis=1), fmt="".join(FORMATS[n] for n in names)
        )


def report(path: Path, names: list[str]) -> None:
    size = path.stat().st_size / 1e6
    best = np.inf
    for repeat in range(6):
        began = time.process_time()
        ours = read_particles(path, names)
        spent = time.process_time() - began
        best = min(best, spent) if repeat else np.inf
    began = time.process_time()
    theirs = pd.read_csv(path, sep=r"\s+", skiprows=1, names=names)
    slow = time.process_time() - began
    equal = all(np.array_equal(ours[n].to_numpy(np.float32), theirs[n].to_numpy(np.float32)) for n in names)
    print(
        f"{len(names)} columns, {len(ours)} rows, {size:.0f} MB: {size / best:.0f} MB/s, "
        f"pandas {size / slow:.0f} MB/s, "
        f"{'equal' if equal else 'NOT equal'}"
    )


def main() -> None:
    if len(sys.argv) > 1:
        path = Path(sys.argv[1])
        with path.open() as stream:
            stream.readline()
            count = len(stream.readline().split())
        report(path, list(FORMATS) if count == len(FORMATS) else DEFAULT[:count])
        return
    with tempfile.TemporaryDirectory() as folder:
        for names, rows in ((DEFAULT, 500_000), (list(FORMATS), 200_000)):
            path = Path(folder) / "PARTICLE_STILT.DAT"
            write(path, names, rows)
            report(path, names)


if __name__ == "__main__":
    main()
