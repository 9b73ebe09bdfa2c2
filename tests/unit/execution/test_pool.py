"""The worker pool with made-up work: order, crashes, stopping, no process left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from stilt.errors import TransportError
from stilt.execution.pool import ONE_THREAD, run_inline, run_pool
from stilt.execution.stopping import FlagWatcher, StopFlag, heeding_signals


@pytest.fixture
def stop_flag():
    flag = StopFlag()
    yield flag
    flag.close()


@pytest.fixture
def worker_children():
    """What runs below this process that did not when the test began (the session's servers may)."""
    before = set(psutil.Process().children(recursive=True))

    def alive() -> list[psutil.Process]:
        return [
            child
            for child in psutil.Process().children(recursive=True)
            if child not in before
            and child.is_running()
            and "resource_tracker" not in " ".join(child.cmdline())
        ]

    return alive


def pool(tasks, work, flag, n_workers=2):
    return list(run_pool(tasks, work, flag, n_workers=n_workers, died=lambda task: "died"))


def test_inline_runs_in_order_and_stops_between_tasks(stop_flag):
    """One worker is this process; a raised flag begins no further task."""
    seen = []

    def work(task, should_stop):
        seen.append(task)
        if task == 2:
            stop_flag.raise_flag()
        return task * 10

    assert list(run_inline(iter(range(9)), work, stop_flag)) == [(0, 0), (1, 10), (2, 20)]
    assert seen == [0, 1, 2]


def test_pool_takes_tasks_only_as_workers_become_free(stop_flag, worker_children):
    """Tasks may be a long stream: no more are taken than are running, and one thread each."""
    taken = []

    def stream():
        for number in range(12):
            taken.append(number)
            yield number

    def work(task, should_stop):
        import os

        return task, os.environ["PYSTILT_THREADS"], os.environ["NUMBA_NUM_THREADS"], os.getpid()

    done = []
    for task, (same, threads, numba_threads, pid) in run_pool(
        stream(), work, stop_flag, n_workers=2, died=lambda task: None
    ):
        assert task == same
        assert (threads, numba_threads) == ("1", "1")
        assert pid != os.getpid()
        done.append(task)
        assert len(taken) <= len(done) + 2
    assert sorted(done) == list(range(12))
    assert worker_children() == []
    assert ONE_THREAD["OMP_NUM_THREADS"] == "1"


def test_only_the_task_that_kills_its_worker_fails(stop_flag, tmp_path, worker_children):
    """A task that dies once succeeds when alone; one that always dies fails; the others never notice."""
    once = tmp_path / "once"

    def work(task, should_stop):
        import os
        import signal

        if task == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        if task == 5 and not once.exists():
            once.touch()
            os._exit(7)
        return task + 100

    results = dict(pool(range(8), work, stop_flag))
    assert results == {**{task: task + 100 for task in range(8)}, 3: "died"}
    assert worker_children() == []


def test_workers_that_cannot_even_start_end_the_run(stop_flag, worker_children):
    """When nothing but deaths comes back, the run gives up instead of trying every task twice."""

    def work(task, should_stop):
        import os

        os._exit(1)

    with pytest.raises(TransportError, match="n_workers: 1"):
        pool(range(1000), work, stop_flag, n_workers=1)
    assert worker_children() == []


def test_raised_flag_reaches_running_workers(stop_flag, worker_children):
    """Running tasks are told; no new ones begin; nobody is left."""

    def work(task, should_stop):
        import time

        until = time.monotonic() + 60
        while time.monotonic() < until:
            if should_stop():
                return "stopped"
            time.sleep(0.05)
        return "too late"

    results = []
    began = time.monotonic()
    generator = run_pool(range(100), work, stop_flag, n_workers=2, died=lambda task: "died")
    import threading

    threading.Timer(2.0, stop_flag.raise_flag).start()
    results = list(generator)
    assert time.monotonic() - began < 30
    assert [result for _, result in results] == ["stopped"] * len(results)
    assert 1 <= len(results) <= 2
    assert worker_children() == []


def test_first_signal_asks_and_second_insists():
    """SIGINT and SIGTERM raise the flag; another one raises KeyboardInterrupt; handlers come back."""
    flag = StopFlag()
    before = signal.getsignal(signal.SIGTERM)
    said = []
    watcher = FlagWatcher(flag.path)
    with heeding_signals(flag, said.append):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)
        assert flag.is_raised()
        assert watcher()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) is before
    assert len(said) == 1
    assert "SIGTERM" in said[0]
    flag.close()
    assert not watcher.path.parent.exists()


@pytest.mark.skipif(os.name == "nt", reason="kills with POSIX signals")
def test_workers_leave_when_their_parent_is_killed(tmp_path: Path):
    """SIGKILL of the parent leaves no worker behind."""
    script = tmp_path / "parent.py"
    script.write_text(
        textwrap.dedent(
            f"""
            from stilt.execution.pool import run_pool
            from stilt.execution.stopping import StopFlag

            def main():
                def work(task, should_stop):
                    import os, time
                    open(r"{tmp_path}/pid-%d" % os.getpid(), "w").close()
                    time.sleep(60)
                for _ in run_pool(range(2), work, StopFlag(), n_workers=2, died=lambda task: None):
                    pass

            if __name__ == "__main__":
                main()
            """
        )
    )
    parent = subprocess.Popen([sys.executable, str(script)])
    until = time.monotonic() + 30
    while len(list(tmp_path.glob("pid-*"))) < 2 and time.monotonic() < until:
        time.sleep(0.1)
    pids = [int(path.name.removeprefix("pid-")) for path in tmp_path.glob("pid-*")]
    assert len(pids) == 2
    parent.kill()
    parent.wait()
    until = time.monotonic() + 10
    while any(is_alive(pid) for pid in pids) and time.monotonic() < until:
        time.sleep(0.1)
    assert not any(is_alive(pid) for pid in pids)


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
