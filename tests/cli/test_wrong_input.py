"""Wrong input, each tried as a user would: one line, the right exit code, nothing lost."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from stilt.errors import StoreFullError
from stilt.storage.local import LocalStore


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "nowhere"], ["no project", "stilt init"]),
        (["status", "nowhere"], ["no project", "stilt init"]),
        (["check", "nowhere"], ["no project"]),
        (["cancel", "nowhere"], ["no project"]),
        (["register", "nowhere"], ["no project"]),
        (["push-worker", "nowhere"], ["does not exist"]),
        (["frobnicate"], ["No such command", "--help"]),
        (["run", "--frobnicate"], ["No such option", "--help"]),
        (["run", "--n-workers", "none"], ["none", "--help"]),
        (["register"], ["PROJECT", "--help"]),
        (["run", "ftp://host/project"], ["cannot open", "s3://"]),
        (["run", "s3://me:hush@bucket/project"], ["credentials", "environment"]),
        (["status", "s3:///project"], ["names no bucket"]),
        (["status", "gs://bucket/../project"], ["no place for outputs"]),
    ],
)
def test_usage_errors_are_one_line(type_stilt, tmp_path, monkeypatch, arguments, words):
    """Unknown commands, options, projects and addresses."""
    monkeypatch.chdir(tmp_path)
    said = type_stilt(*arguments).complaint
    for word in words:
        assert word.lower() in said.lower()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("numpar:", "numpars:", ["config.yaml", "numpars", "numpar"]),
        ("numpar: 10", "numpar: many", ["numpar", "many"]),
        ("numpar: 10", "numpar: [", ["config.yaml, line"]),
        ("numpar: 10", "numpar: 10\nkblt: 1", ["kblt", "native"]),
        ("numpar: 10", "numpar: 10\nengine: hysplit", ["hysplit"]),
        ("numpar: 10", "numpar: 10\nexecution: {backend: slum}", ["slum", "did you mean 'slurm'"]),
        ("directory: met", "directory: nometh", ["nometh", "does not exist"]),
        ("%Y%m%d_%H", "hrrr_%Y", ["hrrr_%Y", "file_format"]),
        (
            'directory: met, file_format: "%Y%m%d_%H", file_tres: 6h',
            'source: hrrr, archive_url: "http://127.0.0.1:9", download_dir: got',
            ["cannot be reached", "stilt met download"],
        ),
    ],
)
def test_settings_that_cannot_run_stop_before_the_first_simulation(type_stilt, cli_project, old, new, words):
    """Bad keys and values, unsupported settings, missing meteorology: exit 2, nothing written."""
    edit(cli_project / "config.yaml", old, new)
    said = type_stilt("run", cli_project).complaint
    for word in words:
        assert word in said
    assert not list(cli_project.glob("simulations/**/*"))


def test_an_empty_met_folder_stops_the_run(type_stilt, cli_project):
    """A folder without files is named."""
    for file in (cli_project / "met").iterdir():
        file.unlink()
    assert "holds no files" in type_stilt("run", cli_project).complaint
    checked = type_stilt("check", cli_project)
    assert (checked.code, "met_missing" in checked.out) == (1, True)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("2024-07-10 20:00,-111.5,41.0,nan", ["line 5", "zagl", "nan"]),
        ("2024-07-10 20:00,-111.5,141.0,10", ["line 5", "latitude", "141"]),
        ("yesterday,-111.5,41.0,10", ["line 5", "time", "yesterday"]),
        ("2024-07-10 20:00,-111.5,41.0,-10", ["line 5", "below the ground"]),
    ],
)
def test_unreadable_receptors_name_their_line(type_stilt, cli_project, row, words):
    """A wrong value in receptors.csv is found before anything runs."""
    with (cli_project / "receptors.csv").open("a") as stream:
        stream.write(row + "\n")
    said = type_stilt("run", cli_project).complaint
    for word in words:
        assert word in said


def test_a_project_without_receptors_says_so(type_stilt, cli_project):
    """Nothing to do is not success."""
    (cli_project / "receptors.csv").unlink()
    assert "receptors.csv" in type_stilt("run", cli_project).complaint


def test_time_zones_are_converted(type_stilt, cli_project):
    """An aware time and the same time in UTC are one receptor, reported once."""
    with (cli_project / "receptors.csv").open("a") as stream:
        stream.write("2024-07-10T14:00:00-06:00,-111.5,41.0,10\n")
    said = type_stilt("run", cli_project)
    assert (said.code, "3 run" in said.out) == (0, True)
    assert "warning: " in said.err
    assert "repeated" in said.err


def test_one_bad_receptor_of_many_fails_alone(type_stilt, cli_project):
    """Outside the grid, outside the times: those fail with their reason, the others finish, exit 1."""
    with (cli_project / "receptors.csv").open("a") as stream:
        stream.write("2024-07-10 20:00,-100,41,10\n2024-07-12 20:00,-111.5,41,10\n")
    checked = type_stilt("check", cli_project, "--json")
    assert checked.code == 1
    kinds = {problem["kind"] for problem in json.loads(checked.out)["problems"]}
    assert {"receptor_off_grid", "met_coverage", "receptor_outside_footprint_grid"} <= kinds
    said = type_stilt("run", cli_project)
    assert said.code == 1
    assert "Traceback" not in said.err + said.out
    assert "RECEPTOR_OFF_GRID 1" in said.out
    assert "MET_COVERAGE 1" in said.out
    assert "3 run, 2 failed" in said.out
    listed = type_stilt("status", cli_project, "--failures")
    assert listed.code == 0
    assert "valley_202407122000_-111.5_41_10  MET_COVERAGE" in listed.out
    counted = json.loads(type_stilt("status", cli_project, "--failures", "--json").out)
    assert (counted["completed"], counted["failed"], len(counted["failures"])) == (3, 2, 2)
    # the same again: the complete ones are left alone
    assert "0 run, 3 complete before, 2 failed" in type_stilt("run", cli_project).out


def test_a_truncated_met_file_fails_those_that_need_it(type_stilt, cli_project):
    """A cut-off ARL file is named with its reason."""
    file = next((cli_project / "met").iterdir())
    data = file.read_bytes()
    file.write_bytes(data[: len(data) * 2 // 3 - 100])
    said = type_stilt("run", cli_project)
    assert said.code == 1
    assert file.name in said.out
    assert "MET_CORRUPT" in said.out
    assert "Traceback" not in said.err
    assert type_stilt("check", cli_project).code == 1


@pytest.mark.parametrize("command", ["run", "register", "check"])
def test_an_output_folder_that_cannot_be_written(type_stilt, cli_project, tmp_path, command):
    """A file in the way: found before anything runs."""
    (tmp_path / "file").write_text("")
    where = tmp_path / "file" / "outputs"
    said = type_stilt(command, cli_project, "--output-dir", where)
    if command == "check":
        assert (said.code, "output_dir" in said.out) == (1, True)
    else:
        assert str(where) in said.complaint


def test_a_full_disk_before_the_start(type_stilt, cli_project, monkeypatch):
    """No space for the first small file: exit 2."""

    def full(self, key, data):
        raise StoreFullError(f"no space left to write {key}; free some.")

    monkeypatch.setattr(LocalStore, "write", full)
    assert "no space left" in type_stilt("run", cli_project).complaint


def test_a_full_disk_in_the_middle_stops_the_run(type_stilt, cli_project, monkeypatch):
    """The first simulation that cannot be written ends the run; what was written stays; exit 1."""
    write = LocalStore.write

    def full(self, key, data, **options):
        if "202407102030" in key:
            raise StoreFullError(f"no space left to write {key}; free some.")
        write(self, key, data, **options)

    monkeypatch.setattr(LocalStore, "write", full)
    said = type_stilt("run", cli_project)
    assert said.code == 1
    assert "STORE_FULL 1" in said.out
    assert "stopped early" in said.out
    assert "no space left" in said.out
    monkeypatch.undo()
    counted = json.loads(type_stilt("status", cli_project, "--json").out)
    assert (counted["completed"], counted["pending"]) == (1, 2)
    assert "2 run, 1 complete before" in type_stilt("run", cli_project).out


def test_a_bug_is_one_line_unless_debugging(type_stilt, cli_project, monkeypatch):
    """Tracebacks are shown with --debug only."""

    def broken(self):
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("stilt.model.Model.check", broken)
    assert "unexpected ZeroDivisionError: oops" in type_stilt("check", cli_project).complaint
    assert "Traceback" in type_stilt("check", cli_project, "--debug").err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_output_to_a_full_disk(cli_project):
    """Printing to a full disk is told in one line."""
    import subprocess
    import sys

    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "stilt", "status", str(cli_project)],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env={**os.environ},
        )
    assert done.returncode == 2
    assert "No space left" in done.stderr
    assert "Traceback" not in done.stderr
