"""Compiling before the work is handed out, footprints in a second process meanwhile."""

from __future__ import annotations

import contextlib
import shutil

import pytest

import stilt.footprint
from stilt.config import ModelConfig
from stilt.execution import warmup
from stilt.execution.progress import Silent
from stilt.kernels.compiler import is_compiling, kernel_cache_dir

pytestmark = pytest.mark.skipif(not is_compiling(), reason="kernels are not compiled in this run")


@pytest.fixture
def compiled_here(monkeypatch):
    """How often this process itself had to compile the kernels of footprints."""
    calls = []
    monkeypatch.setattr(stilt.footprint, "warm_up", lambda: calls.append(1))
    return calls


def test_the_second_process_compiles_the_kernels_of_footprints(compiled_here, tmp_path):
    """It ends well, in the shared cache, with nothing left to do for the first."""
    folder = kernel_cache_dir()
    if folder is None:
        pytest.skip("the kernel cache cannot be written")
    with warmup._compiling_footprints(folder):
        pass
    assert compiled_here == []
    assert any(folder.rglob("smoothing.stamp_ages*.nbc"))


@pytest.mark.parametrize("command", ["false", "true"])
def test_where_the_second_process_fails_the_first_compiles(compiled_here, tmp_path, monkeypatch, command):
    """A child that dies (out of memory, say) costs time and not the run."""
    program = shutil.which(command)
    if program is None:
        pytest.skip(f"there is no {command} here")
    monkeypatch.setattr(warmup.sys, "executable", program)
    with warmup._compiling_footprints(tmp_path):
        pass
    assert compiled_here == ([1] if command == "false" else [])


def test_a_run_stopped_while_compiling_leaves_no_process(compiled_here, tmp_path, monkeypatch):
    """The child is ended with the parent's own work, not waited for."""
    slow = tmp_path / "slow"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setattr(warmup.sys, "executable", str(slow))
    started = []
    popen = warmup.subprocess.Popen

    def noting(*args, **kwargs):
        started.append(popen(*args, **kwargs))
        return started[-1]

    monkeypatch.setattr(warmup.subprocess, "Popen", noting)
    with pytest.raises(KeyboardInterrupt), warmup._compiling_footprints(tmp_path):
        raise KeyboardInterrupt
    assert started[0].returncode == -9
    assert compiled_here == []


def test_following_the_mass_of_the_air_is_announced_as_a_compilation_of_its_own(monkeypatch, tmp_path):
    """A run with dmas compiles another time loop, so kernels that other runs have left do not count."""
    monkeypatch.setattr(warmup, "_compiles", lambda: True)
    monkeypatch.setattr("stilt.kernels.compiler.kernel_cache_dir", lambda: tmp_path)
    met = {"m": {"directory": "met", "file_format": "%Y"}}
    plain = ModelConfig(mets=met)
    massive = ModelConfig(mets=met, varsiwant=[*plain.varsiwant, "dmas"])
    warmup.note_warm(plain)
    asked: list[tuple[str, ...]] = []

    class Engine:
        def warm_up(self, params):
            asked.append(params.varsiwant)

    monkeypatch.setattr(warmup, "get_engine", lambda name, section: Engine())
    monkeypatch.setattr(warmup, "_compiling_footprints", lambda folder: contextlib.nullcontext())
    for config in (plain, massive, massive):
        warmup.warm_up(config, Silent(), share=True)
    assert asked == [massive.varsiwant]
