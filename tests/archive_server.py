"""A web server of a folder, standing in for NOAA's archive, with the faults that such servers have."""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass
class Answer:
    """
    How one request is answered, beside what is right.

    Attributes
    ----------
    status : int
        Instead of 200 or 206; no body then.
    drop_after : int
        Bytes of the body after which the connection is cut.
    claim : int
        Added to the true Content-Length.
    pause : float
        Before each 64 kB [s].
    body : bytes
        Instead of the file.
    """

    status: int = 0
    drop_after: int | None = None
    claim: int = 0
    pause: float = 0.0
    body: bytes | None = None


@dataclass
class Archive:
    """
    The server's side: what it holds, what it was asked, and how it answers.

    Attributes
    ----------
    root : Path
        Folder of the files.
    url : str
        Where it listens.
    gets, heads : Counter
        Requests by path.
    ranges : list of str
        Ranges that were asked for.
    sent : int
        Bytes of bodies.
    answers : callable
        Path and number of the request (from 1) to how it is answered.
    """

    root: Path
    url: str = ""
    gets: Counter[str] = field(default_factory=Counter)
    heads: Counter[str] = field(default_factory=Counter)
    ranges: list[str] = field(default_factory=list)
    sent: int = 0
    knows_ranges: bool = True
    answers: Callable[[str, int], Answer] = lambda path, number: Answer()
    lock: threading.Lock = field(default_factory=threading.Lock)


@contextmanager
def serving(root: Path) -> Iterator[Archive]:
    """Serve a folder on a port of this machine."""
    archive = Archive(root)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def _answer(self, *, with_body: bool) -> None:
            path = self.path.lstrip("/")
            with archive.lock:
                counts = archive.gets if with_body else archive.heads
                counts[path] += 1
                answer = archive.answers(path, counts[path])
                if asked := self.headers.get("Range"):
                    archive.ranges.append(asked)
            file = archive.root / path
            if answer.status or not file.is_file():
                self.send_response(answer.status or 404)
                self.send_header("Content-Length", "0")
                if answer.status == 503:
                    self.send_header("Retry-After", "0")
                self.end_headers()
                return
            data = file.read_bytes() if answer.body is None else answer.body
            etag = f'"{hashlib.sha256(data).hexdigest()[:16]}"'
            first, status = 0, 200
            match = re.fullmatch(r"bytes=(\d+)-", asked or "")
            if match and archive.knows_ranges and self.headers.get("If-Range", etag) == etag:
                first, status = int(match[1]), 206
                if first >= len(data):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(data)}")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
            body = data[first:]
            self.send_response(status)
            self.send_header("Content-Length", str(len(body) + answer.claim))
            self.send_header("ETag", etag)
            if status == 206:
                self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
            self.end_headers()
            if not with_body:
                return
            body = body if answer.drop_after is None else body[: answer.drop_after]
            for at in range(0, len(body), 1 << 16):
                time.sleep(answer.pause)
                self.wfile.write(body[at : at + (1 << 16)])
                with archive.lock:
                    archive.sent += len(body[at : at + (1 << 16)])
            if answer.drop_after is not None or answer.claim:
                self.close_connection = True

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """Clients that go away are what the tests are about."""

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        archive.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield archive
        finally:
            server.shutdown()
            thread.join(5)
