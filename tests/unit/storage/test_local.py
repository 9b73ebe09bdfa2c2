"""The local store when the disk or the neighbours misbehave."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from stilt import locks
from stilt.errors import StoreError, StoreFullError
from stilt.locks import FileLock
from stilt.storage import LocalStore, open_store

HOLD = """
import sys, time
from stilt.locks import FileLock
with FileLock(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


def hold_lock_elsewhere(path):
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
@pytest.mark.parametrize("reaped", [True, False])
def test_a_killed_holder_does_not_block_the_next(tmp_path, reaped):
    """Also while the killed process is still a zombie."""
    store = LocalStore(tmp_path)
    holder = hold_lock_elsewhere(tmp_path / "n")
    holder.send_signal(signal.SIGKILL)
    if reaped:
        holder.wait()
    start = time.monotonic()
    store.update("n", lambda old: b"1")
    assert time.monotonic() - start < 5
    holder.wait()
    holder.stdout.close()
    assert [path.name for path in tmp_path.iterdir()] == ["n"]


def test_a_living_holder_is_waited_for(tmp_path):
    order = []

    def second():
        with FileLock(str(tmp_path / "n")):
            order.append("second")

    with FileLock(str(tmp_path / "n")):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.2)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


@pytest.mark.parametrize(
    "content", [b'{"host": "another", "pid": 1, "start": "1", "token": "x"}', b"", b"\xff{"]
)
def test_a_silent_holder_elsewhere_is_replaced_after_a_while(tmp_path, content):
    (tmp_path / ".lock.n").write_bytes(content)
    start = time.monotonic()
    with FileLock(str(tmp_path / "n"), stale_after=0.4):
        assert 0.3 < time.monotonic() - start < 5
    assert list(tmp_path.iterdir()) == []


def test_a_heartbeat_from_elsewhere_keeps_the_lock(tmp_path):
    path = tmp_path / ".lock.n"
    path.write_bytes(b'{"host": "another", "pid": 1, "start": "1", "token": "x"}')
    stop = threading.Event()

    def beat():
        while not stop.wait(0.05):
            os.utime(path)

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        with (
            pytest.raises(StoreError, match="process 1 on another"),
            FileLock(str(tmp_path / "n"), stale_after=0.5, timeout=1.2),
        ):
            pass
    finally:
        stop.set()
        thread.join()


def test_a_reused_process_id_is_not_the_holder(tmp_path):
    """The process id is ours, its start is not."""
    if not locks.process_start(os.getpid()):
        pytest.skip("the system does not tell when a process started")
    card = {"host": locks.host_identity(), "pid": os.getpid(), "start": "1", "token": "x"}
    (tmp_path / ".lock.n").write_text(json.dumps(card))
    with FileLock(str(tmp_path / "n")):
        pass


def test_a_holder_that_lost_its_lock_does_not_write(tmp_path):
    store = LocalStore(tmp_path)
    store.write("n", b"theirs")

    def slow(old):
        (tmp_path / ".lock.n").write_text('{"token": "somebody else"}')
        return b"ours"

    with pytest.raises(StoreError, match="lost the lock"):
        store.update("n", slow)
    assert store.read("n") == b"theirs"


@pytest.mark.parametrize(
    ("number", "kind", "words"),
    [
        (errno.ENOSPC, StoreFullError, "no space left"),
        (getattr(errno, "EDQUOT", errno.ENOSPC), StoreFullError, "no space left"),
        (errno.EROFS, StoreError, "read-only"),
        (errno.EIO, StoreError, "check the folder"),
    ],
)
@pytest.mark.parametrize("failing", ["fsync", "open"])
def test_trouble_is_one_line_and_leaves_the_old_object(tmp_path, monkeypatch, number, kind, words, failing):
    store = LocalStore(tmp_path)
    store.write("a/b", b"old")

    def fail(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(kind, match=words) as caught:
        store.write("a/b", b"new")
    monkeypatch.undo()
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "a" / "b") in str(caught.value)
    assert caught.value.errno == number
    assert store.read("a/b") == b"old"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]


def test_a_folder_that_is_a_file_is_explained(tmp_path):
    (tmp_path / "a").write_text("")
    with pytest.raises(StoreError, match="cannot write"):
        LocalStore(tmp_path).write("a/b", b"")
    with pytest.raises(StoreError, match="cannot write"):
        LocalStore(tmp_path).update("a/b", lambda old: b"")
    assert LocalStore(tmp_path).exists_many(["a/b"]) == set()


@pytest.mark.parametrize("link_error", [errno.EPERM, errno.ENOTSUP])
def test_exclusive_creation_without_hard_links(tmp_path, monkeypatch, link_error):
    def no_links(*args, **kwargs):
        raise OSError(link_error, os.strerror(link_error))

    monkeypatch.setattr(os, "link", no_links)
    store = LocalStore(tmp_path)
    assert store.create("a", b"1")
    assert not locks.publish_exclusively(str(_file(tmp_path / ".tmp.x")), str(tmp_path / "a"))
    store.update("a", lambda old: old + b"2")
    assert store.read("a") == b"12"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def _file(path):
    path.write_bytes(b"")
    return path


def test_leftovers_are_invisible_and_cleaned(tmp_path):
    """Files of dead writers here go at once, those of unknown writers when they are old."""
    store = LocalStore(tmp_path)
    store.write("s/a", b"")
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    mine = locks.temporary_name()
    host = mine.split(".")[2]
    names = [mine, f".tmp.{host}.{process.pid}.abc", ".tmp.00000000.1.abc", ".tmp.00000000.1.old"]
    for name in names:
        _file(tmp_path / "s" / name)
    os.utime(tmp_path / "s" / names[3], (0, 0))
    assert list(store.list()) == ["s/a"]
    assert store.clean("s/") == 2
    assert sorted(path.name for path in (tmp_path / "s").iterdir()) == sorted(["a", mine, names[2]])


def test_open_store(tmp_path):
    assert open_store(tmp_path).root == tmp_path
    assert open_store(str(tmp_path)) == open_store(tmp_path.as_uri())
    for uri in ("http://x", "ftp://bucket/x", "s4://bucket"):
        with pytest.raises(StoreError, match=r"use a local folder, s3://"):
            open_store(uri)


def test_a_store_travels_to_workers(tmp_path):
    import pickle

    assert pickle.loads(pickle.dumps(LocalStore(tmp_path))) == LocalStore(tmp_path)
