"""Failure records: short, safe to share, gone after success."""

from __future__ import annotations

from stilt.errors import MetCoverageError
from stilt.storage import MemoryStore
from stilt.storage.failures import clear_failure, read_failure, record_failure
from stilt.storage.layout import failure_key
from stilt.storage.secrets import without_secrets

SIM = "hrrr_202301011200_-111.85_40.77_5"


def test_attempts_are_counted_until_success():
    store = MemoryStore()
    assert read_failure(store, SIM) is None
    record_failure(store, SIM, MetCoverageError("met 'hrrr' ends too early."))
    record = record_failure(store, SIM, ValueError("two\nlines"), detail="a\nb")
    assert read_failure(store, SIM) == record
    assert (record.reason, record.message, record.attempt) == ("UNKNOWN", "ValueError: two lines", 2)
    assert record.time.endswith("Z")
    clear_failure(store, SIM)
    assert record_failure(store, SIM, MetCoverageError("x")).reason == "MET_COVERAGE"
    assert read_failure(store, SIM).attempt == 1


def test_secrets_stay_out():
    store = MemoryStore()
    text = "postgresql://me:hush@db/x PASSWORD=hush AWS_SECRET_ACCESS_KEY: hush token = hush password: hush"
    record_failure(store, SIM, RuntimeError(text), detail=text)
    assert b"hush" not in store.read(failure_key(SIM))
    assert without_secrets("s3://bucket/key at 12:30") == "s3://bucket/key at 12:30"


def test_damaged_records_do_not_stop_anyone():
    store = MemoryStore()
    for data in (b"", b"[]", b"{}", b'{"reason": "X", "message": "y", "attempt": "z"}', b"\xff"):
        store.write(failure_key(SIM), data)
        record = read_failure(store, SIM)
        assert record is not None
        assert record_failure(store, SIM, RuntimeError("again")).attempt >= 1
