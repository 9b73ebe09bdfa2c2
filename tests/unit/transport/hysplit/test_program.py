"""Finding the program, and what its absence says."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from stilt.config import HysplitConfig
from stilt.errors import Interrupted, ProgramNotFoundError, TransportTimeoutError
from stilt.transport.hysplit.program import find_program, run_program

unix = pytest.mark.skipif(sys.platform == "win32", reason="shell scripts stand in for the program")


@pytest.fixture(autouse=True)
def _not_on_path(monkeypatch):
    monkeypatch.setenv("PATH", "/usr/bin:/bin")


def script(folder: Path, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    exe = folder / "hycs_std"
    exe.write_text(f"#!/bin/sh\n{text}\n")
    exe.chmod(0o755)
    return exe


def tables(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("ROUGLEN.ASC", "LANDUSE.ASC", "TERRAIN.ASC"):
        (folder / name).write_text("1\n")
    return folder


def test_nowhere_says_where_to_get_it_and_that_native_needs_none():
    with pytest.raises(
        ProgramNotFoundError, match=r"needs hycs_std.*ready\.noaa\.gov.*engine: native needs no program"
    ):
        find_program()


@unix
def test_config_comes_before_the_variable_and_that_before_the_path(tmp_path, monkeypatch):
    for name in ("config", "variable", "path"):
        tables(tmp_path / name)
        script(
            tmp_path / name,
            f'echo "HYSPLIT version: hysplit.v5.{name}"; echo "Last Changed Date: 2021-05-13"; exit 2',
        )
    monkeypatch.setenv("PATH", f"{tmp_path / 'path'}:{os.environ['PATH']}")
    assert find_program().version == "v5.path (2021-05-13)"
    monkeypatch.setenv("PYSTILT_HYSPLIT_DIR", str(tmp_path / "variable"))
    assert find_program().version == "v5.variable (2021-05-13)"
    for exe in (tmp_path / "config", tmp_path / "config" / "hycs_std"):
        found = find_program(HysplitConfig(exe=exe))
        assert found.version == "v5.config (2021-05-13)"
        assert found.tables == tmp_path / "config"


@unix
def test_tables_are_found_as_hysplit_is_installed(tmp_path):
    """exec/hycs_std beside bdyfiles/."""
    exe = script(tmp_path, "")
    (tmp_path / "exec").mkdir()
    exe = exe.rename(tmp_path / "exec" / "hycs_std")
    exe.write_text('#!/bin/sh\necho "HYSPLIT version: v5"\n')
    with pytest.raises(ProgramNotFoundError, match=r"ROUGLEN\.ASC.*data_dir"):
        find_program(HysplitConfig(exe=exe))
    tables(tmp_path / "bdyfiles")
    (tmp_path / "bdyfiles/TERRAIN.ASC").unlink()
    with pytest.raises(ProgramNotFoundError, match=r"^TERRAIN\.ASC is not beside"):
        find_program(HysplitConfig(exe=exe))
    tables(tmp_path / "bdyfiles")
    assert find_program(HysplitConfig(exe=tmp_path)).tables == tmp_path / "bdyfiles"
    with pytest.raises(ProgramNotFoundError, match=r"data_dir: .*exec lacks ROUGLEN"):
        find_program(HysplitConfig(exe=exe, data_dir=tmp_path / "exec"))


@unix
@pytest.mark.parametrize(
    ("content", "mode", "message"),
    [
        (b"\x7fELF not really", 0o755, "does not run here"),
        (b"#!/bin/sh\necho hello\n", 0o755, r"does not say which HYSPLIT it is \(hello\)"),
        (b"#!/bin/sh\necho hello\n", 0o644, "does not run here .Permission denied"),
        (b"", 0o755, "does not run here|does not say which"),
    ],
)
def test_what_is_no_program_is_said_so(tmp_path, content, mode, message):
    tables(tmp_path)
    exe = tmp_path / "hycs_std"
    exe.write_bytes(content)
    exe.chmod(mode)
    with pytest.raises(ProgramNotFoundError, match=message):
        find_program(HysplitConfig(exe=exe))


@pytest.mark.hysplit
def test_the_real_program_says_its_version(hysplit_dir):
    assert find_program(HysplitConfig(exe=hysplit_dir)).version == "v5.1.0 (2021-05-13)"


@pytest.mark.hysplit
def test_a_damaged_copy_of_the_real_program_does_not_run(hysplit_dir, tmp_path):
    tables(tmp_path)
    exe = tmp_path / "hycs_std"
    exe.write_bytes((hysplit_dir / "hycs_std").read_bytes()[:100_000])
    exe.chmod(0o755)
    with pytest.raises(ProgramNotFoundError, match="does not"):
        find_program(HysplitConfig(exe=exe))


# --- ending it ----------------------------------------------------------------------------------------


def children_named(marker: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if marker in (process.info["cmdline"] or []):
            found.append(process)
    return found


@unix
def test_a_timeout_ends_the_program_and_what_it_started(tmp_path):
    """SIGTERM for all of them, SIGKILL for those that do not heed it."""
    marker = str(os.getpid() + 7_000_000)
    exe = script(tmp_path / "bin", f"trap '' TERM\nsleep {marker} &\necho started\nsleep {marker}\n")
    said = []
    began = time.monotonic()
    with pytest.raises(TransportTimeoutError, match="the timeout of 1 s is over"):
        run_program(exe, tmp_path, deadline=began + 1, limit=1, say=said.append, who="receptor x")
    assert time.monotonic() - began < 15
    assert said == ["started"]
    assert not children_named(marker)


@unix
def test_lines_are_heard_while_it_runs_and_a_stop_ends_it(tmp_path):
    exe = script(tmp_path / "bin", "echo one\nprintf 'half a '\nsleep 0.3\necho line\nsleep 60\n")
    said = []
    with pytest.raises(Interrupted):
        run_program(exe, tmp_path, say=said.append, should_stop=lambda: "half a line" in said)
    assert said == ["one", "half a line"]


@pytest.mark.skipif(sys.platform != "linux", reason="the system does this on Linux only")
def test_a_killed_worker_takes_the_program_with_it(tmp_path):
    """SIGKILL leaves the worker no time to end anything."""
    marker = str(os.getpid() + 8_000_000)
    exe = script(tmp_path / "bin", f"echo started\nexec sleep {marker}\n")
    code = (
        "from pathlib import Path; from stilt.transport.hysplit.program import run_program; "
        f"run_program(Path({str(exe)!r}), Path({str(tmp_path)!r}), say=lambda line: print(line, flush=True))"
    )
    worker = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert worker.stdout.readline() == b"started\n"
    worker.kill()
    worker.communicate()
    limit = time.monotonic() + 5
    while children_named(marker) and time.monotonic() < limit:
        time.sleep(0.02)
    assert not children_named(marker)


@unix
def test_one_that_cannot_be_started_is_no_success(tmp_path):
    exe = tmp_path / "hycs_std"
    exe.write_bytes(b"\x7fELF")
    exe.chmod(0o755)
    with pytest.raises(ProgramNotFoundError, match="cannot be started"):
        run_program(exe, tmp_path)


def test_the_package_holds_nothing_of_the_program():
    """Neither the binary nor its tables are shipped."""
    import stilt

    root = Path(stilt.__file__).parent
    assert not [path for path in root.rglob("*") if path.name.startswith("hycs") or path.suffix == ".ASC"]
