"""Meteorology that is downloaded, from the command line."""

from __future__ import annotations

import json
import signal
import time

import pytest

from archive_server import Answer, serving
from stilt.meteorology import download, transfer

pytest.importorskip("arlmet", reason="the extra download is not installed")

KEY = "hrrr/2024/07/20240710_18-23_hrrr"


@pytest.fixture
def project(cli_project, tmp_path, monkeypatch):
    """The valley's five hours behind a server, under the name of an archive's file."""
    root = tmp_path / "noaa"
    (root / KEY).parent.mkdir(parents=True)
    (file,) = (cli_project / "met").iterdir()
    file.rename(root / KEY)
    monkeypatch.setattr(transfer, "PAUSE", 0.01)
    download.forget_failures()
    with serving(root) as server:
        config = cli_project / "config.yaml"
        lines = config.read_text().splitlines()
        lines[1] = f"  valley: {{source: hrrr, archive_url: '{server.url}', download_dir: got}}"
        config.write_text("\n".join(lines) + "\n")
        yield cli_project, server


def test_check_says_what_would_be_downloaded_and_downloads_nothing(type_stilt, project):
    folder, server = project
    said = type_stilt("check", folder)
    assert said.code == 0, said
    assert f"from {server.url}: 0 files are here (0 B), 1 would be downloaded (" in said.out
    told = json.loads(type_stilt("check", folder, "--json").out)["downloads"][0]
    assert told["to_download"] == [KEY]
    assert told["bytes_to_download"] == (server.root / KEY).stat().st_size
    assert not server.gets
    assert not (folder / "got").exists()


def test_download_before_the_run_and_run_without_a_network(type_stilt, project):
    folder, server = project
    said = type_stilt("met", "download", folder)
    assert said.code == 0, said
    assert "1 files needed, 1 downloaded, 0 were here, 0 missing" in said.out
    again = type_stilt("met", "download", folder, "--verify")
    assert "1 files needed, 0 downloaded, 1 were here, 0 missing" in again.out
    server.answers = lambda path, number: Answer(status=503)
    checked = type_stilt("check", folder)
    assert checked.code == 0, checked
    assert "1 files are here" in checked.out
    assert "hours: 2 to 3 analyses each, all there" in checked.out
    said = type_stilt("run", folder)
    assert said.code == 0, said
    assert dict(server.gets) == {KEY: 1}
    assert dict(server.heads) == {}


def test_a_fallback_without_a_name_is_downloaded_too(type_stilt, project):
    folder, server = project
    config = folder / "config.yaml"
    section = config.read_text().splitlines()[1].partition(": ")[2]
    (folder / "other").mkdir()
    config.write_text(config.read_text().replace(section, f"[{{directory: other}}, {section}]"))
    said = type_stilt("met", "download", folder)
    assert "met 'valley.2': 1 files needed, 1 downloaded" in said.out
    assert dict(server.gets) == {KEY: 1}


def test_a_run_without_a_network_does_not_start(type_stilt, project):
    folder, server = project
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace(server.url, "http://127.0.0.1:9"))
    assert "Run `stilt met download`" in type_stilt("run", folder).complaint
    checked = type_stilt("check", folder)
    assert checked.code == 1
    assert "cannot be reached (Connection refused)" in checked.out
    got = type_stilt("met", "download", folder)
    assert got.code == 1
    assert "1 files needed, 0 downloaded, 0 were here, 1 missing" in got.out


def test_an_hour_the_archive_lacks_fails_its_receptor_and_no_other(type_stilt, project):
    """Three receptors run, the fourth needs a file that is not there."""
    folder, _ = project
    with (folder / "receptors.csv").open("a") as table:
        table.write("2024-07-11 02:30,-111.5,41.0,10\n")
    checked = type_stilt("check", folder)
    assert checked.code == 1
    assert "missing_met_files: the archive of met 'valley' lacks 1 files" in checked.out
    said = type_stilt("run", folder)
    assert said.code == 1, said
    assert "3 run" in said.out
    told = type_stilt("status", folder, "--failures").out
    assert "MISSING_MET_FILES" in told
    assert "hrrr/2024/07/20240711_00-05_hrrr" in told


def test_an_interrupted_download_goes_on_the_next_time(type_stilt, start_stilt, project):
    """Ctrl-C in the middle ends at once with exit code 3; what had arrived is not asked for again."""
    folder, server = project
    server.answers = lambda path, number: Answer(pause=0.3)
    child = start_stilt("met", "download", folder)
    deadline = time.monotonic() + 60
    while server.sent < 200_000:
        assert child.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    child.send_signal(signal.SIGINT)
    assert "interrupted" in child.communicate(timeout=30)[1]
    assert child.returncode == 3
    held = (folder / "got" / f"{KEY}.part").stat().st_size
    server.answers = lambda path, number: Answer()
    assert type_stilt("met", "download", folder).code == 0
    assert server.ranges == [f"bytes={held}-"]


def test_only_an_archive_is_downloaded_from(type_stilt, cli_project):
    assert (
        "no meteorology of this project is downloaded (valley)"
        in type_stilt("met", "download", cli_project).complaint
    )
