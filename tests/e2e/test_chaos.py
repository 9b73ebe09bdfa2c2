"""
Pull workers that are killed at random, on a Postgres that is restarted: nothing is lost or stuck.

A lean version runs with the suite. The full one::

    STILT_CHAOS_WORKERS=8 STILT_CHAOS_SIMULATIONS=400 python -m pytest tests/e2e/test_chaos.py -s

``STILT_CHAOS_STORE=s3`` puts the outputs into a bucket (moto).
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

import stilt
from stilt.completion import expected_artifacts, survey
from stilt.config import RuntimeSettings
from stilt.meteorology.valley import write_demo_met
from stilt.service import PostgresQueue
from stilt.storage.failures import read_failure
from stilt.storage.layout import artifact_keys

pytestmark = [pytest.mark.slow, pytest.mark.postgres]

N_WORKERS = int(os.environ.get("STILT_CHAOS_WORKERS", "3"))
N_SIMULATIONS = int(os.environ.get("STILT_CHAOS_SIMULATIONS", "30"))
MAX_STRIKES = max(8, N_SIMULATIONS // 5)
MAX_ATTEMPTS = 5
STORE = os.environ.get("STILT_CHAOS_STORE", "local")
LEASE = 6
# the native engine, but slower, and one receptor always takes its process down
WORKER = """\
import os, signal, sys, time
from stilt.transport import registry
from stilt.transport.native.engine import NativeEngine

class Dangerous(NativeEngine):
    def run(self, request, **options):
        time.sleep(0.3)
        if request.receptor.latitudes[0] == 41.2:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().run(request, **options)

registry.register_engine("native", Dangerous)
from stilt.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def chaos_met(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("chaos-met")
    write_demo_met(folder, "2024-07-10T18:00:00", 5)
    return folder


def build(folder: Path, met: Path, dsn: str | None, root: str | None = None) -> stilt.Model:
    places = [stilt.PointReceptor("2024-07-10 20:00", -111.5, 41.2, 10.0)]
    places += [
        stilt.PointReceptor(
            f"2024-07-10 {20 + n % 3}:{n % 4}0", -111.6 + 0.002 * (n // 12), 41.0, 5.0 + n % 12
        )
        for n in range(N_SIMULATIONS - 1)
    ]
    runtime = {"lease": LEASE, "max_attempts": MAX_ATTEMPTS}
    return stilt.Model(
        project=folder,
        output_dir=root,
        receptors=places,
        mets={"valley": {"directory": str(met), "file_format": "%Y%m%d_%H", "file_tres": "6h"}},
        footprints={
            "default": {"xmin": -112.4, "xmax": -110.6, "ymin": 40.4, "ymax": 41.6, "xres": 0.1, "yres": 0.1}
        },
        n_hours=-1,
        numpar=10,
        runtime=RuntimeSettings(db_url=dsn, **runtime),
    )


class Crowd:
    """Workers that are started again whenever one is gone."""

    def __init__(self, address: str, dsn: str, logs: Path) -> None:
        self._command = [sys.executable, "-c", WORKER, "serve", address, "--max-rows", "4"]
        self._environment = {
            **os.environ,
            "PYSTILT_DB_URL": dsn,
            "PYSTILT_LEASE": str(LEASE),
            "PYSTILT_MAX_ATTEMPTS": str(MAX_ATTEMPTS),
        }
        self._log = logs.open("a")
        self._workers: list[subprocess.Popen[str]] = []
        self.started = 0
        self.codes: Counter[int] = Counter()

    def refill(self) -> None:
        for worker in [worker for worker in self._workers if worker.poll() is not None]:
            self.codes[worker.returncode] += 1
            self._workers.remove(worker)
        while len(self._workers) < N_WORKERS:
            self.started += 1
            self._workers.append(
                subprocess.Popen(self._command, env=self._environment, stderr=self._log, text=True)
            )

    def strike(self, number: int) -> None:
        random.choice(self._workers).send_signal(number)

    def end(self) -> None:
        for worker in self._workers:
            worker.terminate()
        for worker in self._workers:
            self.codes[worker.wait(60)] += 1
        self._log.close()

    def kill(self) -> None:
        for worker in self._workers:
            if worker.poll() is None:
                worker.kill()
                worker.wait()


def test_every_simulation_ends_complete_whatever_dies(tmp_path, chaos_met, new_postgres, capsys, request):
    """SIGKILL, SIGTERM and a restart of the database; one simulation always crashes its worker."""
    random.seed(7)
    # first, so that kernels are compiled by one process that nobody kills
    calm = build(tmp_path / "calm", chaos_met, None)
    assert calm.run().exit_code == 0
    server = new_postgres()
    dsn = server.dsn.replace("//postgres:@", "//postgres:hunter2@")
    root = request.getfixturevalue("bucket_at")("s3").uri if STORE == "s3" else None
    model = build(tmp_path / "project", chaos_met, dsn, root)
    sim_ids = model.register_pending()
    killer = next(sim_id for sim_id in sim_ids if "_41.2_" in sim_id)
    assert len(sim_ids) == N_SIMULATIONS
    queue = PostgresQueue(dsn, model.store.identity, lease=LEASE, patience=60.0)

    struck: Counter[str] = Counter()
    crowd = Crowd(root or str(tmp_path / "project"), dsn, tmp_path / "workers.log")
    began, restarted = time.monotonic(), False
    most, moved = 0, began
    try:
        while True:
            crowd.refill()
            time.sleep(0.5)
            counts = queue.counts()  # visible at all times
            assert counts.total == N_SIMULATIONS
            # a lease that is over counts as failed or pending already, but somebody has to act on it
            if not counts.pending and queue.next_expiry() is None:
                break
            if counts.done > most:
                most, moved = counts.done, time.monotonic()
            assert time.monotonic() - moved < 240.0, f"stuck: {counts}"
            if counts.done > N_SIMULATIONS // 2 and not restarted:
                server.stop()
                time.sleep(1.0)
                server.start()
                restarted = True
            # a worker needs seconds to load, on a busy machine more: wait until some have something to lose,
            # and strike as often for each simulation however long all of it takes
            allowed = min(MAX_STRIKES, 3 + counts.done * MAX_STRIKES // N_SIMULATIONS)
            if counts.running and sum(struck.values()) < allowed and random.random() < 0.3:
                number = random.choice((signal.SIGKILL, signal.SIGTERM))
                crowd.strike(number)
                struck[number.name] += 1
        crowd.end()
    finally:
        crowd.kill()

    log = (tmp_path / "workers.log").read_text()
    ran = Counter(line.split()[1] for line in log.splitlines() if " complete: " in line)
    with capsys.disabled():
        print(
            f"\nchaos: {N_WORKERS} workers, {N_SIMULATIONS} simulations, store {STORE}, "
            f"{time.monotonic() - began:.0f} s; "
            f"{dict(struck)}, {crowd.started} workers started, exit codes {dict(crowd.codes)}; "
            f"database restarted: {restarted}; {sum(ran.values())} attempts made outputs of {len(ran)}; "
            f"{log.count(' returned to the queue: ')} returned, {log.count('given to another')} lost"
        )

    # every simulation complete once by key, but for the one that cannot be
    artifacts = expected_artifacts(["default"])
    found = survey(model.store, {artifacts: sim_ids})
    assert found.complete == {*sim_ids} - {killer}
    counts = queue.counts()
    assert (counts.done, counts.failed, counts.pending, counts.running) == (N_SIMULATIONS - 1, 1, 0, 0)
    (row,) = queue.watched()
    assert (row.sim_id, row.reason, row.attempts) == (killer, "WORKER_DIED", MAX_ATTEMPTS)
    record = read_failure(model.store, killer)
    assert record is not None
    assert record.reason == "WORKER_DIED"
    status = model.status()
    assert (status.completed, status.failed, status.running) == (N_SIMULATIONS - 1, 1, 0)

    # no output half written, none made twice under two names, and all what an undisturbed run makes
    for sim_id in found.complete:
        for artifact in artifacts:
            keys = [key for key in artifact_keys(sim_id, artifact) if model.store.exists(key)]
            assert len(keys) == 1
            if artifact == "trajectory":
                assert model.store.read(keys[0]) == calm.store.read(keys[0]), sim_id
    assert len(model.footprints["default"].load()) == N_SIMULATIONS - 1
    assert restarted
    assert sum(struck.values()) >= 3
    assert "Traceback" not in log
    assert "hunter2" not in log
    queue.close()
