"""
Processor time of a run that is not physics: everything but engine, footprints and encoding of outputs.

::

    python benchmarks/run_overhead.py [N]        N simulations of 2 h x 50 particles, default 1000
    python benchmarks/run_overhead.py N --plan   what manifest, chunks and counting cost for N simulations

Processor time, so that other work on the machine does not count; one process.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from valley_project import project, write_met

import stilt
from stilt.execution import worker
from stilt.execution.tasks import TaskList, chunk_sizes, in_running_order, write_chunks
from stilt.footprint import Footprint
from stilt.outputs import Fingerprint
from stilt.storage import open_store
from stilt.trajectory import Trajectories
from stilt.transport.native.engine import NativeEngine

SPENT: dict[str, float] = defaultdict(float)


def timed(owner: Any, name: str, what: str) -> None:
    """Count the processor time of a method."""
    inner = getattr(owner, name)

    def outer(*args: Any, **options: Any) -> Any:
        began = time.process_time()
        try:
            return inner(*args, **options)
        finally:
            SPENT[what] += time.process_time() - began

    setattr(owner, name, staticmethod(outer) if isinstance(owner.__dict__[name], classmethod) else outer)


def small(folder: Path, n: int) -> stilt.Model:
    hours = ("2024-07-10 20", "2024-07-10 21", "2024-07-10 22")
    return project(folder / "project", write_met(folder, 5), n, hours=hours, n_hours=-2, numpar=50)


def overhead(folder: Path, n: int) -> None:
    model = small(folder, n)
    stilt.Model(model.project, model.receptors[:3], model.config, output_dir=folder / "warm").run(
        progress=False
    )
    timed(NativeEngine, "run", "engine")
    timed(Footprint, "calculate", "footprints")
    timed(Footprint, "to_bytes", "encoding")
    timed(Trajectories, "to_bytes", "encoding")
    timed(Trajectories, "from_particles", "table")
    timed(worker, "ensure_settings", "of which settings guard")
    store = type(model.store)
    timed(store, "write", "of which writing")
    timed(worker, "missing_artifacts", "of which looking")
    began = time.process_time()
    handle = model.run(progress=False)
    total = time.process_time() - began
    assert handle.exit_code == 0, handle
    print(f"{n} simulations: {1e3 * total / n:.2f} ms each")
    for what, seconds in SPENT.items():
        print(f"  {what:26s} {1e3 * seconds / n:7.2f} ms")
    rest = total - SPENT["engine"] - SPENT["footprints"] - SPENT["encoding"]
    print(f"  overhead                   {1e3 * rest / n:7.2f} ms (all but engine, footprints and encoding)")


def plan(folder: Path, n: int) -> None:
    model = small(folder, 1)
    began = time.process_time()

    def lap(what: str) -> None:
        nonlocal began
        spent = time.process_time() - began
        print(f"  {what:34s} {spent:8.2f} s  {1e6 * spent / n:8.2f} us each")
        began = time.process_time()

    receptors = [
        stilt.PointReceptor(
            f"2024-{1 + i % 12:02d}-{1 + i // 12 % 28:02d} {i // 336 % 24:02d}:00",
            -111.6 + 1e-5 * i,
            41.0,
            10,
        )
        for i in range(n)
    ]
    lap("build receptors")
    sim_ids = model.register(receptors)
    lap("register")
    table = model.manifest.load()
    lap("load the manifest")
    tasks = TaskList(table, in_running_order(sim_ids), error_trajectory=False)
    sizes = chunk_sizes(tasks.sim_ids, max(1, n // 100))
    write_chunks(open_store(model.project), "b", tasks, Fingerprint.of(model.config).hash, sizes)
    lap(f"write {len(sizes)} chunk files")
    model.status()
    lap("status, nothing complete")
    size = sum(path.stat().st_size for path in Path(model.project, ".stilt/chunks").rglob("*.jsonl"))
    print(f"  manifest {(Path(model.project, '.stilt/manifest.parquet').stat().st_size) / n:.0f} bytes each")
    print(f"  chunks   {size / n:.0f} bytes each")


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:] if word.isdigit()]
    with tempfile.TemporaryDirectory() as where:
        (plan if "--plan" in sys.argv else overhead)(Path(where), numbers[0] if numbers else 1000)
