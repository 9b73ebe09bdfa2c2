"""
CPU, bytes and memory to turn a full-size hour of HRRR into what particles read.

::

    python benchmarks/meteorology.py             # 1799 x 1059 cells, 40 levels, generated
    python benchmarks/meteorology.py --quick     # a quarter of the cells each way, 20 levels

Wanted: unpacking at 1 GB of packed bytes per second and core; a window of 300 x 300 columns of one hour
prepared in less than a second of CPU; memory that does not grow with the length of a run. All on one
thread, files in the page cache, kernels compiled before. ``read`` counts the bytes asked of the system. The
system's part of the window is printed too: it clears and copies 0.6 GB of pages, which takes 0.2 to 0.6 s,
more where a virtual machine has not touched its memory before.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

for _name in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "PYSTILT_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np

from stilt.config import TransportParams
from stilt.kernels import arl as kernels
from stilt.meteorology.arl.writer import pack, write_arl
from stilt.meteorology.catalog import open_series
from stilt.meteorology.columns import sigma_levels, standard_pressure
from stilt.meteorology.frame import Box, MetFrame
from stilt.meteorology.projection import HorizontalGrid
from stilt.transport.native.recipe import ColumnSource, column_source
from stilt.transport.native.tiles import ColumnPool, TileCache, TimeColumns, grid_shape
from stilt.transport.native.warmup import compile_kernels

START = np.datetime64("2024-07-01T12", "s")
WINDOW = 300


class Stack:
    """Levels of a field made when they are asked for, since all of them do not fit in memory."""

    def __init__(self, level: Callable[[int], np.ndarray]) -> None:
        self._level = level

    def __getitem__(self, k: int) -> np.ndarray:
        return self._level(k).astype(np.float32)


def frames(grid: HorizontalGrid, sigmas: np.ndarray, n_hours: int) -> Iterator[MetFrame]:
    """Yield smooth weather over hilly ground."""
    y, x = np.mgrid[0 : grid.ny, 0 : grid.nx].astype(np.float32)
    large = np.sin(x / 190.0) * np.cos(y / 130.0)
    small = np.sin(x / 9.0 + y / 13.0) * np.cos(x / 17.0 - y / 7.0)
    terrain = 600.0 + 400.0 * large + 60.0 * small
    pressure = standard_pressure(terrain)
    for hour in range(n_hours):
        swing = np.float32(np.cos(hour / 4.0))
        cold = 62.0 * (1.0 - sigmas)
        surface = {
            "SHGT": terrain, "PRSS": pressure, "T02M": 293.0 - 3.0 * large + swing + 0.3 * small,
            "U10M": 3.0 + 2.0 * large + 0.5 * small, "V10M": 1.0 - 2.0 * large, "USTR": 0.35 + 0.1 * large,
            "SHTF": 120.0 * swing + 40.0 * large, "RGHS": 0.1 + 0.05 * large, "PBLH": 900.0 + 200.0 * large,
        }  # fmt: skip
        upper = {
            "TEMP": Stack(
                lambda k, cold=cold, swing=swing: 292.0 - cold[k] - 3.0 * large + swing + 0.2 * small
            ),
            "UWND": Stack(lambda k: 4.0 + 20.0 * (1.0 - sigmas[k]) + 3.0 * large + 0.7 * small),
            "VWND": Stack(lambda k: 2.0 - 3.0 * large + 0.7 * small),
            "WWND": Stack(lambda k: 1e-3 * sigmas[k] * small),
            "SPHU": Stack(lambda k: 1e-2 * sigmas[k] ** 3 * (1.0 + 0.2 * large + 0.05 * small)),
            "PRES": Stack(lambda k: sigmas[k] * pressure),
        }
        yield MetFrame(
            START + hour * np.timedelta64(1, "h"),
            Box(0, grid.nx, 0, grid.ny),
            {name: field.astype(np.float32) for name, field in surface.items()},
            upper,
        )


def write_hours(path: Path, *, quick: bool, n_hours: int) -> None:
    nx, ny, n_levels = (449, 264, 20) if quick else (1799, 1059, 40)
    grid = HorizontalGrid.lambert(38.5, -97.5, 12.0 if quick else 3.0, nx, ny)
    sigmas = np.round(1.0 - 0.95 * np.linspace(0.04, 1.0, n_levels) ** 2, 4)
    write_arl(path, grid, sigma_levels(tuple(sigmas)), frames(grid, sigmas, n_hours), difw=True)


def cpu(action: Callable[[], object], repeats: int = 5) -> float:
    """Return the median CPU of an action [s]."""
    action()
    times = []
    for _ in range(repeats):
        began = time.process_time()
        action()
        times.append(time.process_time() - began)
    return float(np.median(times))


def bytes_read() -> int:
    """Return the bytes this process has asked of files so far; 0 where the system does not say."""
    try:
        lines = Path("/proc/self/io").read_text().splitlines()
    except OSError:
        return 0
    return int(lines[0].split()[1])


def resident() -> float:
    """Return the memory in use [MB]; 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    except OSError:
        return 0.0


def row(what: str, seconds: float, figure: str, wanted: str = "", is_met: bool | None = None) -> None:
    verdict = "" if is_met is None else ("yes" if is_met else "NO")
    print(f"{what:52s} {seconds * 1e3:9.1f} {figure:>24s} {wanted:>12s} {verdict:>4s}", flush=True)


def tiles_of_window(source: ColumnSource) -> list[tuple[int, int]]:
    """Tiles over a window in the middle of the grid, aligned as a user's window would be: not at all."""
    shape = grid_shape(source)
    x0, y0 = (max(0, (n - WINDOW) // 2) for n in (shape.nx, shape.ny))
    x1, y1 = min(shape.nx, x0 + WINDOW), min(shape.ny, y0 + WINDOW)
    return [
        (j, i)
        for j in range(y0 // shape.tile_ny, (y1 - 1) // shape.tile_ny + 1)
        for i in range(x0 // shape.tile_nx, (x1 - 1) // shape.tile_nx + 1)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--peer-python", help="ignored; other benchmarks take it")
    given, _ = parser.parse_known_args()
    compile_kernels()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "20240701_hrrr"
        n_hours = 2
        write_hours(path, quick=given.quick, n_hours=n_hours)
        print(f"{n_hours} generated hours, {path.stat().st_size / 1e6:.0f} MB; all on one thread")
        print(f"{'':52s} {'CPU ms':>9s} {'':>24s} {'wanted':>12s}")
        series = open_series([path], name="bench", start=START, end=START + np.timedelta64(1, "h"))
        nx, ny = series.grid.nx, series.grid.ny

        field = next(frames(series.grid, np.array([0.9]), 1)).upper["TEMP"][0]
        packed = pack(field)
        precision = np.float32(packed.precision)
        for what, box in (("whole record", (0, nx, 0, ny)), ("its window", _window(nx, ny))):
            x0, x1, y0, y1 = box
            out = np.empty((y1 - y0, x1 - x0), dtype=np.float32)
            spent = cpu(
                lambda box=box, out=out: kernels.unpack_box(
                    packed.data, nx, *box, packed.exponent, precision, packed.first_value, out
                )
            )
            rate = x1 * (y1 - y0) / spent / 1e9
            row(f"unpack, {what}", spent, f"{rate:.2f} GB/s", "1 GB/s", rate >= 1.0)

        source = column_source(series, TransportParams(n_hours=-1, numpar=10))
        tiles = tiles_of_window(source)
        columns = len(tiles) * grid_shape(source).tile_nx * grid_shape(source).tile_ny
        cache = TileCache(folder / "columns")
        for what in ("first tiles of an hour", "the rest of its window"):
            wanted = tiles[:1] if what.startswith("first") else tiles
            if what.startswith("first"):
                times = TimeColumns(source, 0, 1.0, cache)
            before, began = bytes_read(), time.process_time()
            times.load(wanted)
            spent, read = time.process_time() - began, bytes_read() - before
            row(f"prepare {what}", spent, f"read {read / 1e6:.0f} MB")
        is_whole = not given.quick
        costs = []
        for repeat in range(3):
            # everything anew: another cache, and a file of another age, of which no record is remembered
            os.utime(path, ns=(repeat, repeat))
            series = open_series([path], name="bench", start=START, end=START + np.timedelta64(1, "h"))
            source = column_source(series, TransportParams(n_hours=-1, numpar=10))
            cache = TileCache(folder / f"columns-{repeat}")
            fresh = TimeColumns(source, 1, 1.0, cache)
            before, began = bytes_read(), os.times()
            fresh.load(tiles)
            ended, read = os.times(), bytes_read() - before
            costs.append((ended.user - began.user, ended.system - began.system))
        user, system = np.median(np.array(costs), axis=0)
        row(
            f"prepare {WINDOW} x {WINDOW} of the next hour ({columns} columns)", user + system,
            f"read {read / 1e6:.0f} MB", "1000 ms" if is_whole else "",
            user + system < 1.0 if is_whole else None,
        )  # fmt: skip
        row("  the system's part of it", system, "")
        spent = cpu(lambda: TimeColumns(source, 1, 1.0, cache).load(tiles), 3)
        row("the same found in the cache", spent, f"{fresh.nbytes / 1e6:.0f} MB")
        one = fresh.nbytes
        del times, fresh

        pool = ColumnPool(cache, limit=0)
        before_memory, largest = resident(), 0.0
        for repeat in range(12):
            pool.at(source, repeat % 2, 1.0 + 0.01 * (repeat // 2)).load(tiles[:6])
            largest = max(largest, resident() - before_memory)
        held = sum(entry.nbytes for entry in pool._times.values())
        row(
            "12 analysis times one after the other", 0.0, f"{held / 1e6:.0f} MB held", "2 times",
            held <= 2 * one * 6 / len(tiles) * 2,
        )  # fmt: skip


def _window(nx: int, ny: int) -> tuple[int, int, int, int]:
    x0, y0 = max(0, (nx - WINDOW) // 2), max(0, (ny - WINDOW) // 2)
    return x0, min(nx, x0 + WINDOW), y0, min(ny, y0 + WINDOW)


if __name__ == "__main__":
    main()
