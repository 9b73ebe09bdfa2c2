"""Settings of the machine come from the environment and keep their secret."""

from __future__ import annotations

import pickle
from pathlib import Path

import platformdirs
import pytest

from stilt.config import RuntimeSettings
from stilt.errors import ConfigError

DSN = "postgresql://me:hunter2@host/db"


@pytest.fixture(autouse=True)
def _no_cache_dir(monkeypatch):
    monkeypatch.delenv("PYSTILT_CACHE_DIR", raising=False)


def test_without_variables_there_is_no_queue_and_the_usual_cache():
    """The platform's cache folder, a temporary scratch, one row at a time."""
    settings = RuntimeSettings.from_env()
    assert settings == RuntimeSettings()
    assert not settings.has_queue
    assert settings.cache_dir == Path(platformdirs.user_cache_dir("pystilt", appauthor=False))
    assert (settings.compute_root, settings.max_rows, settings.threads) == (None, 1, None)


def test_each_variable_is_read(monkeypatch, tmp_path):
    """Empty ones count as unset."""
    monkeypatch.setenv("PYSTILT_DB_URL", DSN)
    monkeypatch.setenv("PYSTILT_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("PYSTILT_COMPUTE_ROOT", "~/scratch")
    monkeypatch.setenv("PYSTILT_MAX_ROWS", "16")
    monkeypatch.setenv("PYSTILT_THREADS", "")
    settings = RuntimeSettings.from_env()
    assert settings.db_url.get_secret_value() == DSN
    assert settings.cache_dir == tmp_path
    assert settings.compute_root == Path.home() / "scratch"
    assert (settings.max_rows, settings.threads) == (16, None)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("PYSTILT_MAX_ROWS", "0", "PYSTILT_MAX_ROWS should be greater than or equal to 1"),
        ("PYSTILT_THREADS", "two", r"PYSTILT_THREADS should be a whole number \(got 'two'\)"),
    ],
)
def test_a_bad_variable_is_named(monkeypatch, name, value, message):
    """In one line, and without the queue's password."""
    monkeypatch.setenv("PYSTILT_DB_URL", DSN)
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=message) as caught:
        RuntimeSettings.from_env()
    assert "hunter2" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_the_password_is_never_printed():
    """In no form that a log or an error would use."""
    settings = RuntimeSettings(db_url=DSN)
    for text in (repr(settings), str(settings), repr(settings.model_dump()), settings.model_dump_json()):
        assert "hunter2" not in text
    assert pickle.loads(pickle.dumps(settings)) == settings
