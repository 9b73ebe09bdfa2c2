"""What users read when S3 refuses: a server that answers as Amazon does, spoken to over HTTP."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from stilt.errors import StoreUnavailableError
from stilt.storage import open_store, read_copy

pytest.importorskip("obstore")

ACTIONS = {
    "read": lambda store: store.read("a/b"),
    "copy": lambda store: read_copy(store, "a/b"),
    "head": lambda store: store.exists("a/b"),
    "heads": lambda store: store.exists_many(["a/b", "a/c"]),
    "list": lambda store: list(store.list("a/")),
    "write": lambda store: store.write("a/b", b"x"),
    "create": lambda store: store.create("a/b", b"x"),
    "delete": lambda store: store.delete("a/b"),
}


class Refusing(BaseHTTPRequestHandler):
    """Answers every request with 403 and the code of the server."""

    def _refuse(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        code, message = self.server.said  # type: ignore[attr-defined]
        body = (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            f"<Error><Code>{code}</Code><Message>{message}</Message>"
            "<AWSAccessKeyId>AKIAWRONG</AWSAccessKeyId><RequestId>4442587FB7D0A2F9</RequestId></Error>"
        ).encode()
        self.server.count += 1  # type: ignore[attr-defined]
        self.send_response(403)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _refuse

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def refusing(monkeypatch, tmp_path):
    """Give a function that opens a store whose server refuses with a code."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    server.daemon_threads = True
    server.count = 0
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAWRONG")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush-hush")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")

    def opened(code, message):
        server.said = code, message
        return open_store("s3://bucket/project", cache_dir=tmp_path), server

    yield opened
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("AccessDenied", "Access Denied"),
        ("InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records."),
        ("SignatureDoesNotMatch", "The request signature we calculated does not match."),
    ],
)
def test_wrong_credentials_are_one_line_with_the_remedy(refusing, action, code, message):
    store, server = refusing(code, message)
    with pytest.raises(StoreUnavailableError) as caught:
        ACTIONS[action](store)
    text = str(caught.value)
    assert "\n" not in text
    assert "s3://bucket/project" in text
    assert "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY" in text
    # an answer to HEAD has no body, so only the status is known there
    assert (code in text) or (action in ("head", "heads", "copy") and "403" in text)
    told = f"{text} {caught.value.__cause__}"
    assert "hush" not in told
    assert "Signature=" not in told
    assert server.count <= 2  # a refusal is not repeated
