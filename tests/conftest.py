"""What all tests share: the optional reference bank, and a cache of their own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

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
