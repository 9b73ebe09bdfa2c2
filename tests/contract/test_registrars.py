"""Twenty processes registering at once lose nothing, on a disk and in a bucket, whatever is killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from datetime import datetime, timedelta

import pytest

from stilt.manifest import Manifest
from stilt.receptors import PointReceptor
from stilt.storage import open_store
from stilt.storage.layout import MANIFEST, REGISTRATIONS

PROCESSES, EACH = 20, 500
T0 = datetime(2023, 1, 1)
CONTEXT = multiprocessing.get_context("spawn" if sys.platform == "win32" else "forkserver")
CONTEXT.set_forkserver_preload(
    ["stilt.manifest", "stilt.storage.local", "pyarrow.parquet", "pyarrow.compute"]
)


def receptors_of(number, count=EACH):
    start = T0 + timedelta(days=number)
    return [PointReceptor(start + timedelta(minutes=n), -111.85, 40.77, 5.0) for n in range(count)]


def register(uri, number, environment, barrier, parts):
    os.environ.update(environment)
    manifest = Manifest(open_store(uri))
    found = receptors_of(number)
    if barrier is not None:
        barrier.wait(300)
    for part in range(parts):
        manifest.register_receptors(found[part::parts], ["hrrr"], scene=str(number), footprints=["a"])


def twenty_at_once(uri, environment):
    barrier = CONTEXT.Barrier(PROCESSES)
    workers = [
        CONTEXT.Process(target=register, args=(uri, number, environment, barrier, 2))
        for number in range(PROCESSES)
    ]
    for worker in workers:
        worker.start()
    manifest, sizes = Manifest(open_store(uri)), [0]
    while any(worker.is_alive() for worker in workers):
        sizes.append(len(manifest.load()))
        time.sleep(0.02)
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * PROCESSES
    assert sizes == sorted(sizes), "rows went away"
    table = manifest.load()
    assert len(table) == PROCESSES * EACH
    assert sorted(map(len, table.by_scene().values())) == [EACH] * PROCESSES
    return manifest


@pytest.mark.slow
def test_on_a_disk(tmp_path):
    manifest = twenty_at_once(str(tmp_path), {})
    left = sorted(path.name for path in (tmp_path / ".stilt").iterdir())
    assert left == ["manifest.parquet", "registrations"], "locks or temporary files were left"
    manifest.store.delete(MANIFEST)
    assert manifest.restore().rows == PROCESSES * EACH


@pytest.mark.slow
@pytest.mark.live_s3
def test_in_a_bucket(bucket_at):
    bucket = bucket_at("s3")
    manifest = twenty_at_once(bucket.uri, bucket.server.environment())
    assert len(list(manifest.store.list(REGISTRATIONS + "/"))) == 2 * PROCESSES


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_registrars_that_are_killed_stop_nobody_and_damage_nothing(tmp_path):
    """Killed at any moment, also while they hold the lock: others go on, what was merged stays."""
    manifest = Manifest(open_store(str(tmp_path)))
    manifest.register_receptors(receptors_of(90), ["hrrr"], scene="90")
    victims = []
    for number in range(12):
        process = CONTEXT.Process(target=register, args=(str(tmp_path), number, {}, None, 50))
        process.start()
        victims.append(process)
    until = time.monotonic() + 60
    while len(manifest.load()) < EACH + 200 and time.monotonic() < until:
        time.sleep(0.01)
    for place, process in enumerate(victims):
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        before = len(manifest.load())
        began = time.monotonic()
        manifest.register_receptors(receptors_of(100 + place, 3), ["hrrr"], scene="after")
        assert time.monotonic() - began < 20
        assert len(manifest.load()) >= before + 3
    assert len(manifest.load().by_scene()["after"]) == 36
    assert len(manifest.load().by_scene()["90"]) == EACH
    manifest.store.clean()
    # a waiter may have been killed while it removed a lock, all else is gone
    left = {path.name for path in (tmp_path / ".stilt").iterdir()} - {".lock.manifest.parquet.break"}
    assert left == {"manifest.parquet", "registrations"}
