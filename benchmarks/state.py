"""
What keeping track costs: registering, completion, and the puts of one simulation.

    python benchmarks/state.py [--n 100000] [--batches 1000] [--s3 5000] [--folder DIR]

Figures are CPU seconds of this process (of the command, for commands: user and system, from starting the
interpreter to its end), with peak memory where it was asked for. Like pip, it compiles the package's modules
to bytecode before commands are run. S3 is moto on this machine, whose own time counts as waiting here.
"""

from __future__ import annotations

import argparse
import compileall
import contextlib
import os
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from bisect import bisect_left
from datetime import datetime, timedelta
from pathlib import Path

CONFIG = """\
mets:
  hrrr: {directory: met, file_format: "%Y%m%d_%H"}
footprints:
  default: {xmin: -113, xmax: -111, ymin: 40, ymax: 41, xres: 0.01, yres: 0.01}
"""
T0 = datetime(2023, 1, 1)


def report(what, value, unit="s CPU", target=""):
    print(f"{what:<66} {value:>9.2f} {unit:<7} {target}", flush=True)


@contextlib.contextmanager
def cpu(what, target=""):
    start = time.process_time()
    yield
    report(what, time.process_time() - start, target=target)


def command(what, *arguments, target="", times=1):
    """Run a command; print its CPU time (median of some times) and its peak memory."""
    program = (
        "import resource, sys, subprocess\n"
        "code = subprocess.call([sys.executable, '-m', 'stilt', *sys.argv[1:]], stdout=subprocess.DEVNULL)\n"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "print(code, used.ru_utime + used.ru_stime, used.ru_maxrss)"
    )
    started = [sys.executable, "-c", program, *map(str, arguments)]
    seconds, kilobytes = [], []
    for _ in range(times):
        done = subprocess.run(started, capture_output=True, text=True, check=True)
        code, spent, most = done.stdout.split()
        if code != "0":
            raise SystemExit(f"stilt {' '.join(map(str, arguments))} ended with {code}: {done.stderr}")
        seconds.append(float(spent))
        kilobytes.append(int(most))
    report(what, statistics.median(seconds), target=target)
    report(f"{what}: memory", max(kilobytes) / 1000, "MB", "< 300" if target else "")


def compile_modules():
    import stilt

    compileall.compile_dir(Path(stilt.__file__).parent, quiet=1)


def receptors_of(count):
    from stilt.receptors import PointReceptor

    return [
        PointReceptor(T0 + timedelta(minutes=10 * (n % 5000)), -111.85 + 0.01 * (n // 5000), 40.77, 5.0)
        for n in range(count)
    ]


def write_project(folder, receptors):
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(CONFIG)
    rows = [f"{r.time:%Y-%m-%d %H:%M},{r.longitude},{r.latitude},{r.altitude}" for r in receptors]
    (folder / "receptors.csv").write_text("\n".join(["time,longitude,latitude,zagl", *rows]) + "\n")


def registering(folder, n, batches):
    from stilt.manifest import Manifest
    from stilt.storage import LocalStore

    receptors = receptors_of(n)
    manifest = Manifest(LocalStore(folder / "once"))
    with cpu(f"register {n} receptors at once (Python)", "< 3"):
        manifest.register_receptors(receptors, ["hrrr"], footprints=["default"])
    with cpu(f"register the same {n} again"):
        manifest.register_receptors(receptors, ["hrrr"], footprints=["default"])
    write_project(folder / "project", receptors)
    command(f"stilt register, {n} lines of receptors.csv", "register", folder / "project", target="< 3")
    manifest = Manifest(LocalStore(folder / "batches"))
    size = n // batches
    with cpu(f"register {batches} batches of {size}", "< 60"):
        for at in range(0, size * batches, size):
            manifest.register_receptors(
                receptors[at : at + size], ["hrrr"], scene=str(at), footprints=["default"]
            )
    size = (folder / "batches" / ".stilt" / "manifest.parquet").stat().st_size
    report("manifest", size / 1e6, "MB")


def completing(folder):
    """Status of a project of which half is complete."""
    from stilt.model import Model
    from stilt.storage.layout import footprint_key, trajectory_key

    project = folder / "project"
    model = Model(project)
    sim_ids = model.simulations.ids()
    for sim_id in sim_ids[::2]:
        for key in (trajectory_key(sim_id), footprint_key(sim_id, "default")):
            path = project / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    what = f"stilt status, {len(sim_ids)} simulations, half complete"
    command(what, "status", project, target="< 1", times=5)
    simulations = Model(project).simulations
    with cpu("model.simulations.incomplete()", "< 1"):
        assert len(simulations.incomplete()) == len(sim_ids) - len(sim_ids[::2])
    report("this process: memory", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000, "MB")


def putting(folder):
    """Trajectory, footprint and log of one simulation, as a worker writes them."""
    from stilt.storage import LocalStore
    from stilt.storage.layout import footprint_key, log_key, trajectory_key

    store = LocalStore(folder / "puts")
    trajectory, footprint, log = os.urandom(300_000), os.urandom(60_000), b"x" * 2000
    for label, flush in (("flushed", True), ("not flushed", False)):
        took = []
        start = time.process_time()
        for number in range(100):
            sim_id = f"hrrr_202301010000_{number}_{int(flush)}_5"
            began = time.perf_counter()
            store.write(trajectory_key(sim_id), trajectory, flush=flush)
            store.write(footprint_key(sim_id, "default"), footprint, flush=flush)
            store.write(log_key(sim_id), log, flush=False)
            took.append(time.perf_counter() - began)
        spent = time.process_time() - start
        report(f"puts of one simulation, outputs {label}: median wall", 1e3 * statistics.median(took), "ms")
        report(f"puts of one simulation, outputs {label}: mean wall", 1e3 * statistics.mean(took), "ms")
        report(f"puts of one simulation, outputs {label}: CPU", 1e3 * spent / len(took), "ms")


@contextlib.contextmanager
def moto():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    places = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    program = shutil.which("moto_server", path=places)
    if program is None:
        raise SystemExit("moto_server is not installed: pip install 'moto[server,s3]', or --s3 0")
    server = subprocess.Popen(
        [program, "-H", "127.0.0.1", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(600):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
                break
            time.sleep(0.05)
        os.environ.update(
            AWS_ACCESS_KEY_ID="testing",
            AWS_SECRET_ACCESS_KEY="testing",
            AWS_REGION="us-east-1",
            AWS_ENDPOINT_URL=f"http://127.0.0.1:{port}",
        )
        import boto3

        boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"]).create_bucket(Bucket="bench")
        yield "s3://bench/project"
    finally:
        server.terminate()
        server.wait()


def remote(n):
    """Completion in a bucket, half of it complete: by listings, and by asking for each key."""
    from stilt.completion import expected_artifacts, survey
    from stilt.manifest import Manifest
    from stilt.storage import concurrently, open_store
    from stilt.storage import remote as module
    from stilt.storage.layout import trajectory_key

    with moto() as uri:
        store = open_store(uri)
        manifest = Manifest(store)
        sim_ids = manifest.register_receptors(receptors_of(n), ["hrrr"], footprints=["default"]).sim_ids
        keys = [make(sim_id) for sim_id in sim_ids[::2] for make in (trajectory_key, _default)]
        for _ in concurrently(store, lambda key: store.write(key, b"x"), keys):
            pass
        groups = {expected_artifacts(["default"]): sorted(sim_ids)}
        for label, list_from in (("listings", module.LIST_FROM), ("one HEAD for each key", 1 << 60)):
            module.LIST_FROM = list_from
            began, start = time.perf_counter(), time.process_time()
            assert len(survey(store, groups).complete) == len(sim_ids[::2])
            report(f"S3, {n} simulations, half complete, {label}", time.process_time() - start)
            report(f"S3, {n} simulations, half complete, {label}: wall", time.perf_counter() - began, "s")


def requests(n):
    """How many requests it takes to find the state of some of n simulations, half of them complete."""
    import random

    from stilt.completion import expected_artifacts, survey
    from stilt.storage.layout import log_key, trajectory_key
    from stilt.storage.remote import RemoteStore

    class Counted(RemoteStore):
        """A bucket of which only the names exist."""

        def __init__(self, names):
            super().__init__("s3://counted/project")
            self.names, self.known, self.heads, self.pages = names, set(names), 0, 0

        def _head(self, key, *, sure=False):
            self.heads += 1
            return "tag" if key in self.known else None

        def _pages(self, folder, *, after=None, size=1000):
            at = bisect_left(self.names, after or "")
            while at < len(self.names):
                self.pages += 1
                yield [self._path(name) for name in self.names[at : at + size]]
                at += size

        def _must_be_there(self):
            pass

    sim_ids = sorted(f"hrrr_{receptor.id}" for receptor in receptors_of(n))
    made = (trajectory_key, _default, log_key)
    store = Counted(sorted(make(sim_id) for sim_id in sim_ids[::2] for make in made))
    pick = random.Random(1)
    for count in sorted({min(count, n) for count in (10, 100, 1000, 10_000, n)}):
        chosen = sorted(pick.sample(sim_ids, count))
        keys = 4 * count  # trajectory, footprint or empty marker, failure record
        for label, some in (("spread over all", chosen), ("side by side", sim_ids[:count])):
            store.heads = store.pages = 0
            survey(store, {expected_artifacts(["default"]): some})
            what = f"S3, {count} of {n} simulations {label} ({keys} keys)"
            report(what, store.heads, "HEADs", f"{store.pages} pages of a listing")


def _default(sim_id):
    from stilt.storage.layout import footprint_key

    return footprint_key(sim_id, "default")


def main():
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--n", type=int, default=100_000, help="simulations on the disk")
    parser.add_argument("--batches", type=int, default=1000)
    parser.add_argument("--s3", type=int, default=5000, help="simulations in the bucket; 0: none")
    parser.add_argument("--folder", help="a folder on the disk to measure")
    chosen = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="stilt-state-", dir=chosen.folder))
    compile_modules()
    try:
        registering(folder, chosen.n, chosen.batches)
        completing(folder)
        putting(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    requests(chosen.n)
    if chosen.s3:
        remote(chosen.s3)


if __name__ == "__main__":
    main()
