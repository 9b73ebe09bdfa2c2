"""
Bytes of meteorology read, memory and CPU for receptors on a generated full-size HRRR-like domain.

::

    python benchmarks/met_bytes.py                      # full size, 24 h; writes 7 GB
    python benchmarks/met_bytes.py --hours 6 --levels 8 # smaller
    python benchmarks/met_bytes.py --scratch DIR

The domain is packed as ARL (3 km Lambert, sigma levels); the fields are the same at all hours, the
wind is 10 m/s. Each case runs in a process of its own with an empty cache: one receptor, then a
hundred within 60 km of it at the same time of day, in one worker. ``read`` is what the process asked the
operating system for, from ``/proc/self/io``: the first time a worker needs a record it reads all of it,
because the checksum covers all of it. ``decoded`` counts the values that were unpacked, in percent of those
of the files, and says how many rows and levels they lie on.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

CHILD = """
import sys, time
from pathlib import Path
import numpy as np
from stilt.config import MetConfig, TransportParams
from stilt.meteorology.arl import reader
from stilt.receptors import PointReceptor
from stilt.transport.native.engine import NativeEngine
from stilt.transport.protocol import TransportRequest

folder, n, hours, cut = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "cut"
met = {"directory": folder, "file_format": "%Y%m%d_%H"}
if cut:
    met |= {"subgrid_enable": True, "subgrid_bounds": {"xmin": -106, "xmax": -94, "ymin": 34, "ymax": 42}}
met = MetConfig(**met)
params = TransportParams(n_hours=-hours, numpar=100)
engine = NativeEngine()
engine.warm_up()
seen = {"values": 0, "rows": set(), "levels": set()}
unpack = reader.unpack_record

def counted(packed, opening, nx, box, out):
    seen["values"] += out.size
    seen["rows"].update(range(box[2], box[3]))
    seen["levels"].add(opening.label.level)
    return unpack(packed, opening, nx, box, out)

reader.unpack_record = counted

def read():
    return int(Path("/proc/self/io").read_text().split("rchar:")[1].split()[0])

def once():
    rng = np.random.default_rng(0)
    spread = rng.uniform(-0.5, 0.5, (n, 2)) if n > 1 else np.zeros((1, 2))
    before, cpu = read(), time.process_time()
    for a, b in spread:
        receptor = PointReceptor("2020-06-02 00:00", -97.5 + a, 38.5 + b, 10.0)
        engine.run(TransportRequest(receptor, "hrrr", met, params))
    return read() - before, time.process_time() - cpu

total, cpu = once()
# not ru_maxrss, which begins with what the parent had
there = sum(path.stat().st_size for path in Path(folder).iterdir())
peak = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024
print(f"{n:4d} receptors, {hours} h{', cut first' if cut else '':11s}: read {total / 1e6:9.1f} MB,"
      f" {total / 1e6 / n / hours:8.2f} MB per receptor-hour, CPU {cpu:6.1f} s,"
      f" peak memory {peak:5.0f} MB;"
      f" decoded {100 * seen['values'] / there:.2f} % of the values, on {len(seen['rows'])} rows"
      f" and {len(seen['levels'])} levels", flush=True)
"""


def write_domain(folder: Path, hours: int, levels: int) -> int:
    """Pack one hour and write it again with the label of every hour; return its bytes."""
    import numpy as np

    from stilt.meteorology.columns import SIGMA_HEIGHTS
    from stilt.meteorology.frame import Box
    from stilt.meteorology.projection import HorizontalGrid
    from stilt.meteorology.synthetic import Contents, World, analytic, sigma_levels

    grid = HorizontalGrid.lambert(38.5, -97.5, 3.0, 1799, 1059)
    heights = SIGMA_HEIGHTS[:: max(1, len(SIGMA_HEIGHTS) // levels)][:levels]
    # one small piece of atmosphere, laid side by side
    piece = HorizontalGrid.lambert(38.5, -97.5, 3.0, 60, 60)
    small = analytic(
        lambda x, y, z, hours: (10.0 + 0.0 * z, 2.0 * np.sin(x / 9.5) + 0.0 * z),
        grid=piece,
        levels=sigma_levels(heights),
        start="2020-06-01T00",
        hours=0,
        contents=Contents(pres=True),
        flux=50.0,
    )
    frame = small.frames[0]

    def tiled(field: np.ndarray) -> np.ndarray:
        return np.tile(field, (*(1,) * (field.ndim - 2), 18, 30))[..., :1059, :1799]

    frame = replace(
        frame,
        box=Box(0, grid.nx, 0, grid.ny),
        surface={name: tiled(field) for name, field in frame.surface.items()},
        upper={name: tiled(field) for name, field in frame.upper.items()},
    )
    world = World(grid, small.levels, (frame,), small.model_id)
    path = world.write(folder / "first")
    data = bytearray(path.read_bytes())
    path.unlink()
    record = 50 + grid.nx * grid.ny
    for hour in range(hours + 1):
        when = (np.datetime64("2020-06-02T00", "h") - hours + hour).item()
        stamp = f"{when.year % 100:2d}{when.month:2d}{when.day:2d}{when.hour:2d}".encode()
        for at in range(0, len(data), record):
            data[at : at + 8] = stamp
        (folder / f"{when:%Y%m%d_%H}_hrrr").write_bytes(data)
    return len(data)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument("--levels", type=int, default=20)
    parser.add_argument("--scratch", default=None, help="where to put the domain")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.scratch) as scratch:
        folder = Path(scratch, "met")
        folder.mkdir()
        size = write_domain(folder, given.hours, given.levels)
        print(
            f"1799 x 1059 points, {given.levels} levels: {size / 1e6:.0f} MB an hour in the files, "
            f"{size / (50 + 1799 * 1059):.0f} records",
            flush=True,
        )
        for n, how in ((1, "whole"), (100, "whole"), (100, "cut")):
            cache = Path(scratch, f"cache-{n}-{how}")
            subprocess.run(
                [sys.executable, "-c", CHILD, str(folder), str(n), str(given.hours), how],
                env={**os.environ, "PYSTILT_CACHE_DIR": str(cache)},
                check=True,
            )


if __name__ == "__main__":
    main()
