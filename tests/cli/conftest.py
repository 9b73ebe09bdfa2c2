"""A small project to type commands at: five hours of the made-up valley, written once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

CLI_CONFIG = """\
mets:
  valley: {directory: met, file_format: "%Y%m%d_%H", file_tres: 6h}
footprints:
  default: {xmin: -112.4, xmax: -110.6, ymin: 40.4, ymax: 41.6, xres: 0.1, yres: 0.1}
n_hours: -1
numpar: 10
"""
CLI_RECEPTORS = """\
time,longitude,latitude,zagl
2024-07-10 20:00,-111.5,41.0,10
2024-07-10 20:30,-111.5,41.0,10
2024-07-10 21:00,-111.4,41.1,10
"""


@dataclass
class Typed:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """The one line on stderr of a refused command."""
        assert self.code == 2, self
        assert "Traceback" not in self.err
        lines = self.err.strip().splitlines()
        assert len(lines) == 1, self.err
        assert lines[0].startswith("stilt: ")
        return lines[0]


@pytest.fixture
def type_stilt(capsys: pytest.CaptureFixture[str]) -> Callable[..., Typed]:
    """Type a command, in this process."""
    from stilt.cli import main

    def call(*arguments: object) -> Typed:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return Typed(code, said.out, said.err)

    return call


@pytest.fixture(scope="session")
def cli_met(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five hours of the valley, 18 to 23 UTC."""
    from stilt.meteorology.valley import write_demo_met

    folder = tmp_path_factory.mktemp("cli-met")
    write_demo_met(folder, "2024-07-10T18:00:00", 5)
    return folder


@pytest.fixture
def cli_project(tmp_path: Path, cli_met: Path) -> Path:
    """A project of three receptors, not run."""
    folder = tmp_path / "project"
    shutil.copytree(cli_met, folder / "met")
    (folder / "config.yaml").write_text(CLI_CONFIG)
    (folder / "receptors.csv").write_text(CLI_RECEPTORS)
    return folder


def stilt_process(*arguments: object, **options: object) -> subprocess.Popen[str]:
    """Type a command in a process of its own."""
    command = [sys.executable, "-m", "stilt", *(str(argument) for argument in arguments)]
    return subprocess.Popen(
        command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ}, **options
    )


@pytest.fixture
def start_stilt() -> Callable[..., subprocess.Popen[str]]:
    """Start a command in a process of its own."""
    return stilt_process
