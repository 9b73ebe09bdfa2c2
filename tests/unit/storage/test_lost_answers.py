"""A conditional put whose answer is lost on the way is neither lost nor done twice."""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from stilt.errors import StoreError
from stilt.manifest import Manifest
from stilt.receptors import PointReceptor
from stilt.storage import open_store
from stilt.storage.layout import MANIFEST

pytest.importorskip("obstore")


class Faulty(BaseHTTPRequestHandler):
    """A small S3 with conditional puts; the answers to some puts are lost, before or after storing."""

    protocol_version = "HTTP/1.1"

    def do_PUT(self):
        data = self.rfile.read(int(self.headers["Content-Length"]))
        objects, faults = self.server.objects, self.server.faults
        fault = faults.popleft() if faults and self.path.endswith(self.server.key) else ""
        self.server.puts += 1
        if fault == "cut before":
            return self._cut()
        if fault == "500 before":
            return self._answer(500)
        tag = _tag(objects.get(self.path))
        if self.headers.get("If-None-Match") == "*" and tag:
            return self._answer(412)
        if "If-Match" in self.headers and self.headers["If-Match"] != tag:
            return self._answer(412)
        objects[self.path] = data
        if fault == "overwritten and cut":
            objects[self.path] = self.server.others(data)
        if fault.endswith("cut"):
            return self._cut()
        if fault == "500 after":
            return self._answer(500)
        return self._answer(200, tag=_tag(data))

    def do_GET(self):
        if "list-type=" in self.path:
            return self._answer(200, b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>")
        data = self.server.objects.get(self.path)
        if data is None:
            return self._answer(404)
        return self._answer(200, data, _tag(data))

    do_HEAD = do_GET

    def _cut(self):
        self.close_connection = True
        self.connection.close()

    def _answer(self, status, data=b"", tag=""):
        self.send_response(status)
        if tag:
            self.send_header("ETag", tag)
            self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *_):
        """Say nothing."""


def _tag(data):
    return "" if data is None else f'"{hashlib.md5(data).hexdigest()}"'


@pytest.fixture
def faulty(monkeypatch, tmp_path):
    """Give a store and the server behind it."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Faulty)
    server.daemon_threads = True
    server.handle_error = lambda *_: None
    server.objects, server.faults, server.puts, server.key = {}, deque(), 0, "k"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    yield open_store("s3://bucket/project", cache_dir=tmp_path), server
    server.shutdown()
    thread.join()
    server.server_close()


AFTER = ["stored and cut", "500 after"]
BEFORE = ["cut before", "500 before"]


@pytest.mark.parametrize("fault", AFTER + BEFORE)
def test_the_winner_is_told_that_it_won(faulty, fault):
    store, server = faulty
    server.faults.append(fault)
    assert store.create("k", b"1")
    assert server.puts == 2
    version = store.read_versioned("k")[1]
    server.faults.append(fault)
    assert store.compare_and_swap("k", version, b"2")
    assert store.read("k") == b"2"


@pytest.mark.parametrize("fault", AFTER + BEFORE)
def test_the_loser_is_told_that_it_lost(faulty, fault):
    store, server = faulty
    assert store.create("k", b"1")
    stale = '{"e_tag": "\\"0\\""}'
    for attempt in (lambda: store.create("k", b"2"), lambda: store.compare_and_swap("k", stale, b"2")):
        server.faults.append(fault)
        assert not attempt()
    assert not store.create("k", b"1"), "an equal object of someone else is no success"
    assert store.read("k") == b"1"


@pytest.mark.parametrize("fault", [*AFTER, *BEFORE, "overwritten and cut"])
def test_a_registration_is_neither_lost_nor_doubled(faulty, fault, tmp_path):
    store, server = faulty
    server.key = "manifest.parquet"
    receptors = [PointReceptor(datetime(2023, 1, day), -111.85, 40.77, 5.0) for day in range(1, 7)]
    here, there = Manifest(store), Manifest(open_store(tmp_path / "other"))
    here.register_receptors(receptors[:2], ["hrrr"], scene="first")

    def others(data):
        there.store.write(MANIFEST, data)
        there.register_receptors(receptors[4:], ["hrrr"], scene="others")
        return there.store.read(MANIFEST)

    server.others = others
    server.faults.extend([fault, fault] if fault in BEFORE else [fault])
    result = here.register_receptors(receptors[2:4], ["hrrr"], scene="ours")
    scenes = {scene: len(ids) for scene, ids in here.load().by_scene().items()}
    if fault == "overwritten and cut":
        assert scenes == {"first": 2, "others": 2, "ours": 2}
    else:
        assert result.added == 2
        assert scenes == {"first": 2, "ours": 2}


def test_a_store_that_stays_silent_is_an_error(faulty, monkeypatch):
    store, server = faulty
    assert store.create("a", b"1")
    monkeypatch.setattr("stilt.storage.remote.AT_WORK", type(store._patience)(0, store._patience.total / 400))
    server.faults.extend(["cut before"] * 9)
    with pytest.raises(StoreError, match="cannot be reached"):
        store.create("k", b"1")
    assert server.puts < 6
