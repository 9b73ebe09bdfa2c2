"""The benchmarks are run together by one command, which must know them all."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


def test_every_benchmark_is_run_by_just_bench():
    """A new script is listed with its sizes, and none that is gone."""
    spec = importlib.util.spec_from_file_location("all_benchmarks", FOLDER / "all.py")
    together = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(together)
    # what some of them share is no script
    scripts = {path.stem for path in FOLDER.glob("*.py") if "__main__" in path.read_text()}
    assert set(together.SCRIPTS) == scripts - {"all"}


@pytest.mark.slow
def test_small_benchmarks_run_and_end_in_a_table():
    """What ``just bench --quick`` does with some of its scripts."""
    done = subprocess.run(
        [sys.executable, FOLDER / "all.py", "--quick", "--only", "transport", "met_catalogue"],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line.split()[-1] for line in done.stdout.splitlines()[-2:]] == ["ok", "ok"]
