"""The commands as a user types them, when all goes well."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from stilt import __version__

COMMANDS = (
    "init",
    "check",
    "run",
    "register",
    "compare-engines",
    "push-worker",
    "pull-worker",
    "serve",
    "rebuild",
    "status",
    "cancel",
)


def outputs_of(project: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(project.glob("simulations/by-id/*/*.parquet"))}


def test_help_lists_every_command_and_every_option(type_stilt):
    """Each command explains itself; the options of the contract are there."""
    listed = type_stilt("--help")
    assert listed.code == 0
    options = {
        "init": ["--demo"],
        "check": ["--json", "--output-dir", "--estimate"],
        "run": [
            "--config",
            "--backend",
            "--n-workers",
            "--no-skip",
            "--refresh",
            "--wait",
            "--no-wait",
            "--compute-root",
            "--dry-run",
        ],
        "register": ["--receptors", "--scene-id", "--output-dir"],
        "push-worker": ["--chunk", "--cpus", "--skip-existing", "--no-skip-existing", "--output-dir"],
        "pull-worker": ["--follow", "--max-rows", "--output-dir"],
        "serve": ["--output-dir"],
        "rebuild": ["--prune", "--output-dir"],
        "compare-engines": ["--receptors", "--seeds", "--met", "--json", "--output-dir"],
        "cancel": ["--output-dir"],
        "status": ["--scene-id", "--by-scene", "--failures", "--json", "--output-dir"],
    }
    for name in COMMANDS:
        assert name in listed.out
        said = type_stilt(name, "--help")
        assert said.code == 0
        for option in [*options[name], "--debug"]:
            assert option in said.out, (name, option)


def test_version(type_stilt):
    """``--version`` prints the version and nothing else."""
    assert type_stilt("--version").out.strip() == __version__


def test_help_loads_nothing_heavy():
    """``stilt --help`` starts at once: no numpy, pydantic or rich, let alone numba."""
    script = (
        "import sys; from stilt.cli import main; code = main(['--help']); "
        "heavy = {'numpy', 'numba', 'pandas', 'xarray', 'pyarrow', 'pydantic', 'yaml'}; "
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_init_writes_files_that_are_valid_and_leaves_existing_ones_alone(type_stilt, tmp_path):
    """The template is a valid config; a second init is refused and changes nothing."""
    from stilt.config import ModelConfig

    folder = tmp_path / "new"
    assert type_stilt("init", folder).code == 0
    config = ModelConfig.from_yaml(folder / "config.yaml")
    assert config.footprint_grid("default").shape == (200, 200)
    (folder / "config.yaml").write_text("mine")
    assert "exists already" in type_stilt("init", folder).complaint
    assert "exists already" in type_stilt("init", "--demo", folder).complaint
    assert (folder / "config.yaml").read_text() == "mine"


def test_a_project_runs_once_and_knows_it(type_stilt, cli_project, monkeypatch):
    """Run, status, run again: complete is complete; one deleted footprint is one simulation to run."""
    checked = type_stilt("check", cli_project)
    assert (checked.code, "nothing would stop a run" in checked.out) == (0, True), checked
    first = type_stilt("run", cli_project)
    assert first.code == 0, first
    assert "3 run" in first.out
    assert "3/3 simulations" in first.err
    tables = outputs_of(cli_project)
    assert len(tables) == 3
    counted = json.loads(type_stilt("status", cli_project, "--json").out)
    assert (counted["total"], counted["completed"], counted["differing"]) == (3, 3, [])
    # also from inside the folder, with no argument
    monkeypatch.chdir(cli_project)
    again = type_stilt("run")
    assert "0 run, 3 complete before" in again.out
    footprint = next(cli_project.glob("simulations/by-id/*/*_default_foot.nc"))
    footprint.unlink()
    assert json.loads(type_stilt("status", "--json").out)["pending"] == 1
    assert "1 run, 2 complete before" in type_stilt("run").out
    assert footprint.exists()
    assert outputs_of(cli_project) == tables
    # user files are never rewritten
    assert not (cli_project / "config.yaml").read_text().startswith("#")


def test_a_project_can_be_moved(type_stilt, cli_project, tmp_path):
    """Nothing in a project names its own folder, so a moved one goes on as it was."""
    assert type_stilt("run", cli_project).code == 0
    moved = tmp_path / "elsewhere"
    shutil.move(cli_project, moved)
    assert json.loads(type_stilt("status", moved, "--json").out)["completed"] == 3
    next(moved.glob("simulations/by-id/*/*_traj.parquet")).unlink()
    assert "1 run" in type_stilt("run", moved).out


def test_outputs_elsewhere(type_stilt, cli_project, tmp_path):
    """``--output-dir`` means the same to every command."""
    elsewhere = tmp_path / "outputs"
    assert type_stilt("run", cli_project, "--output-dir", elsewhere).code == 0
    assert not (cli_project / ".stilt").exists()
    assert (
        json.loads(type_stilt("status", cli_project, "--output-dir", elsewhere, "--json").out)["completed"]
        == 3
    )
    assert json.loads(type_stilt("status", cli_project, "--json").out)["total"] == 0


def test_register_and_push(type_stilt, cli_project, tmp_path):
    """Scenes are registered one after another; a push worker runs what is left."""
    more = tmp_path / "more.csv"
    more.write_text("time,longitude,latitude,zagl\n2024-07-10 22:00,-111.5,41.0,10\n")
    said = type_stilt("register", cli_project, "--scene-id", "first")
    assert said.out.startswith("3 simulations registered, 3 of them not complete")
    assert type_stilt("register", cli_project, "--receptors", more, "--scene-id", "second").code == 0
    pushed = type_stilt("push-worker", cli_project, "--cpus", "1")
    assert pushed.code == 0, pushed
    assert "4 run" in pushed.out
    by_scene = json.loads(type_stilt("status", cli_project, "--by-scene", "--json").out)["scenes"]
    assert [(scene["scene_id"], scene["completed"]) for scene in by_scene] == [("first", 3), ("second", 1)]
    assert json.loads(type_stilt("status", cli_project, "--scene-id", "second", "--json").out)["total"] == 1
    assert "first, second" in type_stilt("status", cli_project, "--scene-id", "third").complaint
    shown = type_stilt("status", cli_project, "--by-scene").out
    assert "second" in shown


def test_a_scene_of_several_lines_stays_in_its_row(type_stilt, cli_project):
    """Labels may hold anything; a terminal is shown escapes, programs the label as it is."""
    label = "new\nline \x1b[31m \u00e9\u2603"
    assert type_stilt("register", cli_project, "--scene-id", label).code == 0
    shown = type_stilt("status", cli_project, "--by-scene").out
    (row,) = [line for line in shown.splitlines() if line.startswith("new")]
    assert row.startswith("new\\nline \\x1b[31m \u00e9\u2603  ")
    assert row.split()[-5:] == ["3", "0", "0", "3", "0"]
    assert (
        json.loads(type_stilt("status", cli_project, "--by-scene", "--json").out)["scenes"][0]["scene_id"]
        == label
    )


def test_rebuild_reports_locally(type_stilt, cli_project):
    """Without a queue there is nothing to rebuild."""
    said = type_stilt("rebuild", cli_project, "--prune")
    assert (said.code, "nothing to rebuild" in said.out) == (0, True)


@pytest.mark.parametrize("command", ["pull-worker", "serve"])
def test_no_queue_is_one_line(type_stilt, cli_project, command):
    """Pulling without a queue ends with exit code 2."""
    assert "no work queue" in type_stilt(command, cli_project).complaint


def test_changed_settings_stop_a_run_until_refresh(type_stilt, cli_project):
    """Stale outputs are named with the field that changed; --refresh makes them again, and only those."""
    assert type_stilt("run", cli_project).code == 0
    config = cli_project / "config.yaml"
    config.write_text(config.read_text().replace("xres: 0.1", "xres: 0.2"))
    tables = {path: path.stat().st_mtime_ns for path in cli_project.glob("simulations/by-id/*/*.parquet")}
    refused = type_stilt("run", cli_project).complaint
    assert "xres" in refused
    assert "--refresh" in refused
    assert "xres" in type_stilt("register", cli_project).complaint
    checked = type_stilt("check", cli_project)
    assert (checked.code, "stale_outputs" in checked.out) == (1, True)
    assert type_stilt("run", cli_project, "--refresh").code == 0
    # a changed grid reuses the trajectories
    assert {path: path.stat().st_mtime_ns for path in tables} == tables
    # a new footprint is pending, not stale
    config.write_text(
        config.read_text().replace(
            "footprints:",
            "footprints:\n  coarse: {xmin: -112, xmax: -111, ymin: 40.5, ymax: 41.5, xres: 0.5, yres: 0.5}",
        )
    )
    assert len(json.loads(type_stilt("status", cli_project, "--json").out)["differing"]) == 3
    assert "3 run" in type_stilt("run", cli_project).out
    assert len(list(cli_project.glob("simulations/by-id/*/*_coarse_foot.*"))) == 3


def test_a_reader_that_has_had_enough_is_no_error(cli_project):
    """``stilt status | true`` ends quietly."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "stilt", "status", str(cli_project)],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writer)
    assert done.stderr == ""


def test_a_run_is_not_done_while_a_row_of_removed_meteorology_is_incomplete(type_stilt, cli_project):
    """What is registered counts: exit code 0 means that all of it is complete."""
    config = cli_project / "config.yaml"
    whole = config.read_text()
    config.write_text(whole.replace("mets:\n", "mets:\n  gone: {directory: nowhere, file_format: '%Y'}\n", 1))
    type_stilt("register", cli_project)
    config.write_text(whole)
    ended = type_stilt("run", cli_project)
    assert ended.code == 1
    assert "no longer has (gone)" in " ".join(ended.out.split())


def test_without_arguments_the_help_is_shown(type_stilt):
    bare = type_stilt()
    assert bare.code == 0
    assert bare.out.startswith("Usage")


def test_where_it_runs_is_overridden_for_one_run(type_stilt, cli_project, monkeypatch):
    """--backend and --n-workers; the other keys of the same backend stay, and so does the file."""
    monkeypatch.setenv("PATH", "/nonexistent")
    config = cli_project / "config.yaml"
    config.write_text(
        config.read_text() + "execution: {backend: slurm, partition: notchpeak, n_workers: 3}\n"
    )
    before = config.read_bytes()
    said = type_stilt("run", cli_project, "--dry-run").out
    assert "#SBATCH --partition=notchpeak" in said
    assert "--array=0-2 " in said
    said = type_stilt("run", cli_project, "--dry-run", "--n-workers", "2").out
    assert "#SBATCH --partition=notchpeak" in said
    assert "--array=0-1 " in said
    said = type_stilt("run", cli_project, "--dry-run", "--backend", "local", "--n-workers", "2").out
    assert "3 simulations in 2 worker processes" in said
    said = type_stilt("run", cli_project, "--dry-run", "--n-workers", "auto")
    assert "execution.n_workers: " in said.complaint
    assert "sbatch is not on PATH" in type_stilt("run", cli_project).complaint
    assert config.read_bytes() == before
    assert not (cli_project / ".stilt").exists()


@pytest.mark.slow
def test_an_estimate_is_measured_and_changes_nothing(type_stilt, cli_project):
    """Simulations, processor time, meteorology, memory and size, from a few runs elsewhere."""
    done = type_stilt("check", cli_project, "--estimate")
    assert done.code == 0
    for words in ("simulations            3", "processor time of all", "meteorology to read", "1 worker"):
        assert words in done.out
    assert sorted(path.name for path in cli_project.iterdir()) == ["config.yaml", "met", "receptors.csv"]
    found = json.loads(type_stilt("check", cli_project, "--estimate", "--json").out)["estimate"]
    assert found["simulations"] == 3
    assert 0.0 < found["cpu_seconds"] < 60.0
    assert found["met_bytes"] == sum(path.stat().st_size for path in (cli_project / "met").iterdir())
    assert 50e6 < found["memory_bytes"] < 5e9
    assert type_stilt("run", cli_project).code == 0
    made = sum(path.stat().st_size for path in cli_project.glob("simulations/by-id/*/*"))
    assert abs(found["output_bytes"] - made) < 0.2 * made
    assert "nothing to estimate" in type_stilt("check", cli_project, "--estimate").out
