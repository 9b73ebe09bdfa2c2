"""
Opens, seconds and CPU to index a folder of thousands of ARL files, on a slow disk too.

::

    python benchmarks/met_catalogue.py                    # 20,000 files
    python benchmarks/met_catalogue.py --files 2000 --delay 5

``--delay`` adds that many milliseconds to every open, as a busy network disk does. Printed are
the opens and the time of the first look, of a second one in the same process, of one in a new
process (which finds what the first left under ``PYSTILT_CACHE_DIR``), and of a run's search by name.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CHILD = """
import io, os, resource, sys, time
folder, delay, kind = sys.argv[1], float(sys.argv[2]), sys.argv[3]
import numpy as np
from stilt.config import MetConfig
from stilt.meteorology.catalog import open_series
from stilt.meteorology.inventory import inventory
opens, plain = [0], io.open
def slow(file, *args, **kwargs):
    if str(file).startswith(folder):
        opens[0] += 1
        time.sleep(delay)
    return plain(file, *args, **kwargs)
io.open = slow
def look(what, action):
    opens[0], wall, cpu = 0, time.perf_counter(), time.process_time()
    action()
    print(f"{what:40s} {opens[0]:6d} opens {time.perf_counter() - wall:7.2f} s"
          f" {time.process_time() - cpu:7.2f} s CPU", flush=True)
met = MetConfig(directory=folder, file_format="%Y%m%d_%H", file_tres="1h")
start = np.datetime64("2018-01-20T12")
search = lambda: open_series(met, name="m", start=start, end=start - np.timedelta64(24, "h"))
if kind == "search":
    look("one run of 24 h, by name, nothing known", search)
else:
    look(f"everything, {kind}", lambda: inventory(folder))
    look(f"everything again, {kind}", lambda: inventory(folder))
    look("one run of 24 h, by name", search)
print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")
"""


def fill(folder: Path, count: int) -> None:
    """Write one small world many times, with the hours in labels and names."""
    import numpy as np

    from stilt.meteorology.projection import HorizontalGrid
    from stilt.meteorology.synthetic import uniform

    grid = HorizontalGrid.lambert(40.0, -100.0, 12.0, 13, 12)
    world = uniform(hours=0, grid=grid, start="2018-01-01T00")
    data = bytearray(world.write(folder / "first").read_bytes())
    (folder / "first").unlink()
    record = 50 + grid.nx * grid.ny
    then = time.time() - 86400
    for number in range(count):
        when = (np.datetime64("2018-01-01T00", "h") + number).item()
        stamp = f"{when.year % 100:2d}{when.month:2d}{when.day:2d}{when.hour:2d}".encode()
        for at in range(0, len(data), record):
            data[at : at + 8] = stamp
        path = folder / f"{when:%Y}" / f"{when:%Y%m%d_%H}_small"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        os.utime(path, (then, then))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--files", type=int, default=20000)
    parser.add_argument("--delay", type=float, default=0.0, help="added to every open [ms]")
    given, _ = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "met")
        folder.mkdir()
        fill(folder, given.files)
        print(f"{given.files} files, {given.delay:g} ms added to every open", flush=True)
        for cache, kind in (("one", "first look"), ("one", "new process"), ("two", "search")):
            subprocess.run(
                [sys.executable, "-c", CHILD, str(folder), str(given.delay / 1000), kind],
                env={**os.environ, "PYSTILT_CACHE_DIR": str(Path(scratch, cache))},
                check=True,
            )


if __name__ == "__main__":
    main()
