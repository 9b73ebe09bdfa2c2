"""The demo from beginning to end, and what happens to a run that is killed or stopped."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.slow


def e2e_stilt(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "stilt", *(str(argument) for argument in arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def demo_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo, as ``stilt init --demo`` writes it."""
    folder = tmp_path_factory.mktemp("demo") / "valley"
    done = e2e_stilt("init", "--demo", folder)
    assert done.returncode == 0, done.stderr
    return folder


def scaled_down(demo: Path, folder: Path, n_receptors: int = 12) -> Path:
    """The demo's meteorology with more, shorter simulations."""
    folder.mkdir()
    config = (demo / "config.yaml").read_text().replace("directory: met", f"directory: {demo / 'met'}")
    config = config.replace("n_hours: -18", "n_hours: -3").replace("numpar: 200", "numpar: 100")
    (folder / "config.yaml").write_text(config)
    rows = [
        f"2024-07-11 {18 + n % 4}:{5 * n % 60:02d},{-111.5 + 0.01 * n:.2f},41.0,10"
        for n in range(n_receptors)
    ]
    (folder / "receptors.csv").write_text("\n".join(["time,longitude,latitude,zagl", *rows]) + "\n")
    return folder


def digests(project: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in project.glob("simulations/by-id/*/*.parquet")
    }


def counted(project: Path) -> dict[str, int]:
    return json.loads(e2e_stilt("status", project, "--json").stdout)


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_for(condition, seconds: float = 180.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.fixture(scope="module")
def undisturbed(demo_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve short simulations, run in one process."""
    project = scaled_down(demo_project, tmp_path_factory.mktemp("undisturbed") / "project")
    done = e2e_stilt("run", project)
    assert done.returncode == 0, done.stderr
    return project


def test_the_demo_runs_offline_and_gives_plausible_footprints(demo_project: Path):
    """Three receptors, three footprints: positive, and within what such mixed layers allow."""
    assert sum(path.stat().st_size for path in (demo_project / "met").iterdir()) < 10e6
    checked = e2e_stilt("check", demo_project)
    assert checked.returncode == 0, checked.stdout
    done = e2e_stilt("run", demo_project)
    assert done.returncode == 0, done.stderr
    from stilt import Model

    model = Model(demo_project)
    footprints = model.footprints["default"].load()
    assert len(footprints) == 3
    totals = {}
    for footprint in footprints:
        assert float(footprint.data.min()) >= 0.0
        totals[footprint.receptor.id] = float(footprint.data.sum())
    night = totals["202407111000_-111.5_41_10"]
    afternoon = totals["202407112100_-111.5_41_10"]
    column = totals["202407112000_-111.5_41_0-2000"]
    # a shallow night boundary layer holds on to the surface, a deep column sees little of it
    assert night > afternoon > column > 0.0
    # M dt / (h rho): 18 h in half of a 100 m layer would give about 30, a moment in 2 km about 0.01
    assert 0.01 < column < afternoon < night < 40.0


@pytest.mark.skipif(os.name == "nt", reason="kills with POSIX signals")
def test_killed_in_the_middle_and_run_again_gives_the_same_bytes(demo_project, undisturbed, tmp_path):
    """Kill -9 of a run with two workers loses nothing finished; the rerun completes it identically."""
    project = scaled_down(demo_project, tmp_path / "project")
    process = subprocess.Popen(
        [sys.executable, "-m", "stilt", "run", str(project), "--n-workers", "2"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_for(lambda: len(digests(project)) >= 2)
    workers = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    wait_for(lambda: not any(is_alive(child) for child in workers), 15.0)
    assert counted(project)["completed"] < 12
    done = e2e_stilt("run", project)
    assert done.returncode == 0, done.stderr
    assert digests(project) == digests(undisturbed)
    assert counted(project)["completed"] == 12
    assert not list(project.glob("simulations/by-id/*/.tmp*"))


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize(("number", "n_workers"), [(signal.SIGINT, 1), (signal.SIGTERM, 2)])
def test_signals_stop_cleanly(demo_project, undisturbed, tmp_path, number, n_workers):
    """Exit code 3, nothing finished is lost, no worker left, no failure recorded."""
    project = scaled_down(demo_project, tmp_path / "project")
    process = subprocess.Popen(
        [sys.executable, "-m", "stilt", "run", str(project), "--n-workers", str(n_workers)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(lambda: len(digests(project)) >= 1)
    workers = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 3, out + err
    assert "interrupted" in out
    assert "Traceback" not in err
    wait_for(lambda: not any(is_alive(child) for child in workers), 10.0)
    state = counted(project)
    assert 1 <= state["completed"] < 12
    assert state["failed"] == 0
    whole = digests(undisturbed)
    assert all(whole[name] == digest for name, digest in digests(project).items())


def test_two_runs_of_one_project_at_once(demo_project, undisturbed, tmp_path):
    """Both end well and the outputs are those of one undisturbed run."""
    project = scaled_down(demo_project, tmp_path / "project")
    runs = [
        subprocess.Popen(
            [sys.executable, "-m", "stilt", "run", str(project)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for process in runs:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, out + err
    assert digests(project) == digests(undisturbed)
    assert counted(project)["completed"] == 12


def test_two_workers_give_what_one_gives(demo_project, undisturbed, tmp_path):
    """The backend never changes a result; a worker killed from outside costs nothing."""
    project = scaled_down(demo_project, tmp_path / "project")
    process = subprocess.Popen(
        [sys.executable, "-m", "stilt", "run", str(project), "--n-workers", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(lambda: len(digests(project)) >= 1)
    victims = [
        child
        for child in psutil.Process(process.pid).children(recursive=True)
        if "resource_tracker" not in " ".join(child.cmdline())
    ]
    victims[0].kill()
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, out + err
    assert "12 run" in out
    assert digests(project) == digests(undisturbed)
    shutil.rmtree(project)
