"""
Servers that speak the languages of S3, Azure and Google Cloud Storage, on this machine.

Each runs in its own process (Google's in a thread), listens on the loopback interface only
and is stopped by its own handle. A test asks for the fixture ``live_stores`` and gets roots
of its own, with the environment that reaches them. Where a server is not installed the test
skips with the reason, or fails when ``STILT_REQUIRE_LIVE=1``.
"""

from __future__ import annotations

import base64
import contextlib
import email.utils
import hashlib
import hmac
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NoReturn
from xml.sax.saxutils import escape

import pytest

SECRET = "c3RpbHRodXNoaHVzaA=="
"""Part of every password and key the tests use; it must never be printed."""

AZURE_ACCOUNT = "stilttest"
AZURE_KEY = base64.b64encode(b"stilt hush " * 5).decode()
CREDENTIAL_VARIABLES = ("AWS_", "AZURE_", "GOOGLE_", "STORAGE_EMULATOR_HOST")


def not_here(reason: str) -> NoReturn:
    """Skip, or fail where everything is meant to be installed."""
    if os.environ.get("STILT_REQUIRE_LIVE") == "1":
        pytest.fail(f"STILT_REQUIRE_LIVE=1, but {reason}")
    pytest.skip(reason)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A kind of object store: how to start it, how to reach it, what can be done to its buckets."""

    scheme = ""

    def environment(self, *, key: str | None = None) -> dict[str, str]:
        """Variables that give access, with another key if one is given."""
        raise NotImplementedError

    def make_bucket(self, name: str) -> None:
        raise NotImplementedError

    def drop_bucket(self, name: str) -> None:
        raise NotImplementedError

    def read_only(self, name: str) -> contextlib.AbstractContextManager[dict[str, str]]:
        """Variables that give access for reading only."""
        raise NotImplementedError

    def stop(self) -> None:
        raise NotImplementedError


def _await_port(port: int, process: subprocess.Popen[bytes], name: str) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if process.poll() is not None:
            raise RuntimeError(f"{name} ended with {process.returncode} while it started")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.5):
            return
        time.sleep(0.05)
    process.kill()
    raise RuntimeError(f"{name} does not listen after a minute")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(10)


# moto looks at If-Match and stores in two steps; between them another thread's put may fall, which no
# real S3 lets happen, so what changes objects goes one request at a time
_MOTO = """
import sys, threading
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple

app, lock = DomainDispatcherApplication(create_backend_app), threading.Lock()

def in_turn(environ, start_response):
    if environ["REQUEST_METHOD"] in ("GET", "HEAD"):
        return app(environ, start_response)
    with lock:
        return app(environ, start_response)

run_simple("127.0.0.1", int(sys.argv[1]), in_turn, threaded=True)
"""


class S3(Server):
    """moto."""

    scheme = "s3"

    def __init__(self, folder: Path) -> None:
        if importlib.util.find_spec("moto") is None:
            not_here("moto is not installed (pip install 'moto[server,s3]')")
        self.port = free_port()
        self.log = (folder / "moto.log").open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "-c", _MOTO, str(self.port)], stdout=self.log, stderr=self.log
        )
        _await_port(self.port, self.process, "moto_server")

    def environment(self, *, key: str | None = None) -> dict[str, str]:
        return {
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": key or SECRET,
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
        }

    def client(self) -> Any:
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{self.port}",
            region_name="us-east-1",
            aws_access_key_id="testing",
            aws_secret_access_key=SECRET,
        )

    def make_bucket(self, name: str) -> None:
        self.client().create_bucket(Bucket=name)

    def drop_bucket(self, name: str) -> None:
        client = self.client()
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=name)
        for key in [entry["Key"] for page in pages for entry in page.get("Contents", [])]:
            client.delete_object(Bucket=name, Key=key)
        client.delete_bucket(Bucket=name)

    @contextlib.contextmanager
    def read_only(self, name: str) -> Iterator[dict[str, str]]:
        import json

        statement = {
            "Effect": "Deny",
            "Principal": "*",
            "Action": ["s3:PutObject", "s3:DeleteObject"],
            "Resource": f"arn:aws:s3:::{name}/*",
        }
        client = self.client()
        client.put_bucket_policy(
            Bucket=name, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        )
        try:
            yield self.environment()
        finally:
            client.delete_bucket_policy(Bucket=name)

    def stop(self) -> None:
        _end(self.process)
        self.log.close()


class Azure(Server):
    """Azurite, from npm: where STILT_TEST_AZURITE says, or on the path."""

    scheme = "az"

    def __init__(self, folder: Path) -> None:
        node = shutil.which("node")
        script = self._script()
        if node is None or script is None:
            not_here("Azurite is not installed (npm install azurite; STILT_TEST_AZURITE names the folder)")
        self.port = free_port()
        self.log = (folder / "azurite.log").open("wb")
        self.process = subprocess.Popen(
            [
                *(node, script, "--blobHost", "127.0.0.1", "--blobPort", str(self.port)),
                *("--inMemoryPersistence", "--skipApiVersionCheck", "--silent", "--disableTelemetry"),
            ],
            stdout=self.log,
            stderr=self.log,
            env={**os.environ, "AZURITE_ACCOUNTS": f"{AZURE_ACCOUNT}:{AZURE_KEY}"},
        )
        _await_port(self.port, self.process, "azurite")

    @staticmethod
    def _script() -> str | None:
        named = os.environ.get("STILT_TEST_AZURITE")
        inside = Path("azurite", "dist", "src", "blob", "main.js")
        for folder in filter(None, (named, named and f"{named}/node_modules", "node_modules")):
            if (Path(folder) / inside).is_file():
                return str(Path(folder) / inside)
        return shutil.which("azurite-blob")

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}/{AZURE_ACCOUNT}"

    def environment(self, *, key: str | None = None) -> dict[str, str]:
        return {
            "AZURE_STORAGE_CONNECTION_STRING": f"DefaultEndpointsProtocol=http;AccountName={AZURE_ACCOUNT};"
            f"AccountKey={key or AZURE_KEY};BlobEndpoint={self.endpoint};"
        }

    def _signed(self, text: str) -> str:
        digest = hmac.new(base64.b64decode(AZURE_KEY), text.encode(), hashlib.sha256).digest()
        return base64.b64encode(digest).decode()

    def _container(self, method: str, name: str) -> None:
        date, version = email.utils.formatdate(usegmt=True), "2021-08-06"
        account = f"/{AZURE_ACCOUNT}/{AZURE_ACCOUNT}/{name}"
        text = f"{method}{chr(10) * 12}x-ms-date:{date}\nx-ms-version:{version}\n{account}\nrestype:container"
        headers = {
            "x-ms-date": date,
            "x-ms-version": version,
            "Authorization": f"SharedKey {AZURE_ACCOUNT}:{self._signed(text)}",
            "Content-Length": "0",
        }
        request = urllib.request.Request(
            f"{self.endpoint}/{name}?restype=container", method=method, headers=headers
        )
        urllib.request.urlopen(request, timeout=30).close()

    def make_bucket(self, name: str) -> None:
        self._container("PUT", name)

    def drop_bucket(self, name: str) -> None:
        self._container("DELETE", name)

    @contextlib.contextmanager
    def read_only(self, name: str) -> Iterator[dict[str, str]]:
        expiry = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
        version = "2020-12-06"
        fields = ["rl", "", expiry, f"/blob/{AZURE_ACCOUNT}/{name}", "", "", "", version, "c", *[""] * 7]
        query = {"sv": version, "sr": "c", "sp": "rl", "se": expiry, "sig": self._signed("\n".join(fields))}
        yield {
            "AZURE_STORAGE_ACCOUNT_NAME": AZURE_ACCOUNT,
            "AZURE_STORAGE_SAS_TOKEN": urllib.parse.urlencode(query),
            "AZURE_STORAGE_ENDPOINT": self.endpoint,
        }

    def stop(self) -> None:
        _end(self.process)
        self.log.close()


class Google(Server):
    """
    gcp-storage-emulator behind the XML interface that obstore uses.

    The emulator keeps buckets and objects; this front adds what its own front lacks: listing,
    HEAD, DELETE, generations as headers and the preconditions of real Google Cloud Storage.
    """

    scheme = "gs"

    def __init__(self, folder: Path) -> None:
        try:
            from gcp_storage_emulator.server import create_server
        except ImportError:
            not_here("gcp-storage-emulator is not installed (pip install gcp-storage-emulator)")
        from http.server import ThreadingHTTPServer

        self.storage = create_server("127.0.0.1", 0, in_memory=True)._storage
        # it writes its whole index to a file after each change, which nobody reads here
        self.storage._write_config_to_file = lambda: None
        self.denied: set[str] = set()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_google_front(), self))
        self.server.daemon_threads = True
        self.lock = threading.Lock()
        self.generation = 0
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def environment(self, *, key: str | None = None) -> dict[str, str]:
        return {"STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{self.server.server_address[1]}"}

    def make_bucket(self, name: str) -> None:
        self.storage.create_bucket(
            name, {"name": name, "softDeletePolicy": {"retentionDurationSeconds": "0"}}
        )

    def drop_bucket(self, name: str) -> None:
        with self.lock:
            self.storage.objects.pop(name, None)
            self.storage.buckets.pop(name)

    @contextlib.contextmanager
    def read_only(self, name: str) -> Iterator[dict[str, str]]:
        self.denied.add(name)
        try:
            yield self.environment()
        finally:
            self.denied.discard(name)

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(10)


def _google_front() -> type:
    from http.server import BaseHTTPRequestHandler

    from gcp_storage_emulator.exceptions import NotFound

    class Front(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def __init__(self, google: Google, *args: Any) -> None:
            self.google = google
            super().__init__(*args)

        def log_message(self, *_: Any) -> None:
            pass

        def answer(self, status: int, content: bytes = b"", **headers: str) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            length = headers.get("Content_Length")
            if length is None:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def refuse(self, status: int, code: str, message: str) -> None:
            self.answer(status, f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode())

        def handle_object(self) -> None:
            parts = urllib.parse.urlsplit(self.path)
            bucket, _, name = parts.path.lstrip("/").partition("/")
            bucket, name = urllib.parse.unquote(bucket), urllib.parse.unquote(name)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            storage = self.google.storage
            with self.google.lock:
                if bucket not in storage.buckets:
                    return self.refuse(404, "NoSuchBucket", "The specified bucket does not exist.")
                if self.command in ("PUT", "DELETE", "POST") and bucket in self.google.denied:
                    return self.refuse(403, "AccessDenied", "Access denied.")
                if not name:
                    return self.list_bucket(bucket, urllib.parse.parse_qs(parts.query))
                try:
                    present = storage.get_file_obj(bucket, name)
                except NotFound:
                    present = None
                generation = present["generation"] if present else "0"
                if self.command == "PUT":
                    wanted = self.headers.get("x-goog-if-generation-match")
                    if wanted is not None and wanted != generation:
                        return self.refuse(412, "PreconditionFailed", "A precondition failed.")
                    self.google.generation += 1
                    entry = {
                        "name": name,
                        "generation": str(self.google.generation),
                        "etag": f'"{hashlib.md5(body).hexdigest()}"',
                        "size": len(body),
                    }
                    storage.create_file(bucket, name, body, entry)
                    return self.answer(200, ETag=entry["etag"], x_goog_generation=entry["generation"])
                if present is None:
                    return self.refuse(404, "NoSuchKey", "The specified key does not exist.")
                if self.command == "DELETE":
                    storage.delete_file(bucket, name)
                    return self.answer(204)
                content = storage.get_file(bucket, name)
            return self.answer(
                200,
                content,
                ETag=present["etag"],
                x_goog_generation=generation,
                Last_Modified=email.utils.formatdate(usegmt=True),
                Content_Length=str(len(content)),
            )

        def list_bucket(self, bucket: str, query: dict[str, list[str]]) -> None:
            def given(*names: str) -> str:
                return next((query[name][0] for name in names if name in query), "")

            entries = self.google.storage.get_file_list(bucket, given("prefix"))[0]
            after = given("continuation-token", "start-after")
            entries = [entry for entry in entries if entry["name"] > after]
            size = int(given("max-keys") or 1000)
            more = len(entries) > size
            entries = entries[:size]
            listed = "".join(
                f"<Contents><Key>{escape(entry['name'])}</Key><Size>{entry['size']}</Size>"
                f"<LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>{entry['etag']}</ETag></Contents>"
                for entry in entries
            )
            token = escape(entries[-1]["name"]) if more else ""
            token = token and f"<NextContinuationToken>{token}</NextContinuationToken>"
            text = (
                f"<ListBucketResult><IsTruncated>{str(more).lower()}</IsTruncated>{token}"
                f"{listed}</ListBucketResult>"
            )
            self.answer(200, text.encode(), Content_Type="application/xml")

        do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = handle_object

    return Front


KINDS: dict[str, Callable[[Path], Server]] = {"s3": S3, "az": Azure, "gs": Google}


@pytest.fixture(scope="session")
def object_store_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Server]]:
    """Give servers by scheme, each started when first asked for and stopped at the end."""
    running: dict[str, Server] = {}

    def get(scheme: str) -> Server:
        if scheme not in running:
            running[scheme] = KINDS[scheme](tmp_path_factory.mktemp(scheme))
        return running[scheme]

    try:
        yield get
    finally:
        for server in running.values():
            server.stop()


class Bucket:
    """A bucket of one test, with the environment set so that it can be used."""

    def __init__(self, server: Server, name: str) -> None:
        self.server = server
        self.name = name
        self.uri = f"{server.scheme}://{name}/project"


@pytest.fixture
def bucket_at(
    object_store_servers: Callable[[str], Server], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[[str], Bucket]:
    """Make a bucket of its own for a test, by scheme; the environment then reaches it."""

    def make(scheme: str) -> Bucket:
        server = object_store_servers(scheme)
        use_environment(monkeypatch, server.environment())
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
        monkeypatch.setenv("PYSTILT_CACHE_DIR", str(own_cache(tmp_path)))
        name = f"test-{uuid.uuid4().hex[:20]}"
        server.make_bucket(name)
        return Bucket(server, name)

    return make


def own_cache(folder: Path) -> Path:
    """Make a cache of copies for one test; compiled kernels are shared, they take minutes."""
    import platformdirs

    shared = os.environ.get("PYSTILT_CACHE_DIR") or platformdirs.user_cache_dir("pystilt", appauthor=False)
    own = folder / "cache"
    own.mkdir(exist_ok=True)
    if not (own / "kernels").exists():
        with contextlib.suppress(OSError):
            (Path(shared) / "kernels").mkdir(parents=True, exist_ok=True)
            (own / "kernels").symlink_to(Path(shared) / "kernels", target_is_directory=True)
    return own


def use_environment(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    """Replace whatever the environment says about object stores."""
    for name in list(os.environ):
        if name.startswith(CREDENTIAL_VARIABLES):
            monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
