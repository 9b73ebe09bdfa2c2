"""Engine hysplit from the command line, with the real program."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
import xarray as xr

from stilt.meteorology import synthetic

pytestmark = pytest.mark.hysplit


@pytest.fixture
def with_program(cli_project, hysplit_dir):
    """Set the small project to the other engine."""
    config = cli_project / "config.yaml"
    config.write_text(config.read_text() + f"engine: hysplit\nhysplit: {{exe: {hysplit_dir / 'hycs_std'}}}\n")
    return cli_project


def test_check_says_which_program_runs(type_stilt, with_program):
    said = type_stilt("check", with_program)
    assert said.code == 0, said
    assert "engine hysplit" in said.out
    assert "HYSPLIT v5.1.0" in said.out


def test_without_a_program_nothing_starts(type_stilt, cli_project, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    config = cli_project / "config.yaml"
    config.write_text(config.read_text() + "engine: hysplit\n")
    complaint = type_stilt("run", cli_project).complaint
    assert "ready.noaa.gov" in complaint
    assert "engine: native" in complaint
    checked = type_stilt("check", cli_project)
    assert checked.code == 1
    assert "needs hycs_std" in checked.out


def test_the_same_project_yields_the_same_files_and_columns(type_stilt, with_program, tmp_path):
    """Only particles differ: names, columns, dtypes, metadata keys and footprint axes are those of native."""
    other = tmp_path / "native"
    shutil.copytree(with_program, other)
    config = other / "config.yaml"
    config.write_text(config.read_text().replace("engine: hysplit", "engine: native"))
    extra = "2024-07-10 22:00,-111.5,41.0,0,c\n2024-07-10 22:00,-111.5,41.0,900,c\n"
    extra += "2024-07-10 22:00,-111.5,41.0,5,m\n2024-07-10 22:00,-111.4,41.0,500,m\n"
    for project in (with_program, other):
        receptors = project / "receptors.csv"
        lines = receptors.read_text().splitlines()
        lines = [f"{lines[0]},r_idx", *(f"{line},{k}" for k, line in enumerate(lines[1:]))]
        receptors.write_text("\n".join(lines) + "\n" + extra)
        text = (project / "config.yaml").read_text()
        errors = "siguverr: 2.0\ntluverr: 60\nzcoruverr: 500\nhorcoruverr: 40\n"
        (project / "config.yaml").write_text(text + errors)
        ran = type_stilt("run", project)
        assert ran.code == 0, ran
    ours, theirs = (
        {path.name: path for path in project.glob("simulations/by-id/*/*")}
        for project in (other, with_program)
    )
    assert set(ours) == set(theirs)
    tables = [name for name in ours if name.endswith(".parquet")]
    assert len(tables) == 10
    for name in tables:
        a, b = pq.read_schema(ours[name]), pq.read_schema(theirs[name])
        assert a.equals(b, check_metadata=False)
        assert a.metadata.keys() == b.metadata.keys()
        assert json.loads(b.metadata[b"stilt:engine"]) == "hysplit"
        for key in (b"stilt:receptor", b"stilt:met_files", b"stilt:is_error"):
            assert a.metadata[key] == b.metadata[key]
        assert json.loads(a.metadata[b"stilt:exits"]).keys() == json.loads(b.metadata[b"stilt:exits"]).keys()
    for name in (name for name in ours if name.endswith("_foot.nc")):
        with xr.open_dataset(ours[name]) as a, xr.open_dataset(theirs[name]) as b:
            assert a["foot"].dims == b["foot"].dims
            assert a.attrs.keys() == b.attrs.keys()
            assert 0.2 < float(b["foot"].sum() / a["foot"].sum()) < 5


def test_failures_are_counted_by_reason_and_never_complete(type_stilt, with_program):
    """Stars in the output, a point off the grid and hours that are not there, beside one that works."""
    world = synthetic.uniform(hours=3, start="2024-07-12T00")
    wild = tuple(
        dataclasses.replace(
            frame, surface={**frame.surface, "PRSS": np.full_like(frame.surface["PRSS"], 1e7)}
        )
        for frame in world.frames
    )
    dataclasses.replace(world, frames=wild).write(with_program / "met" / "20240712_00_wild")
    (with_program / "receptors.csv").write_text(
        "time,longitude,latitude,zagl\n2024-07-10 21:00,-111.5,41.0,10\n2024-07-12 02:00,-100.0,40.0,10\n"
        "2024-07-10 21:00,20.0,41.0,10\n2024-07-10 12:00,-111.5,41.0,10\n"
    )
    ran = type_stilt("run", with_program)
    assert ran.code == 1
    counted = json.loads(type_stilt("status", with_program, "--failures", "--json").out)
    assert (counted["total"], counted["completed"], counted["failed"]) == (4, 1, 3)
    reasons = sorted(failure["reason"] for failure in counted["failures"])
    assert reasons == ["INVALID_OUTPUT", "MET_COVERAGE", "RECEPTOR_OFF_GRID"]
    assert "INVALID_OUTPUT  " in type_stilt("status", with_program, "--failures").out
    (log,) = with_program.glob("simulations/by-id/*20240712*/stilt.log")
    assert "Complete Hysplit" in log.read_text()
    assert not list(log.parent.glob("*.parquet"))


def test_compare_engines_says_how_alike_and_how_fast(type_stilt, with_program):
    config = with_program / "config.yaml"
    config.write_text(config.read_text().replace("numpar: 10", "numpar: 100"))
    said = type_stilt("compare-engines", with_program, "--receptors", 1, "--seeds", 2)
    assert said.code == 0, said
    assert "score" in said.out
    assert "times faster" in said.out
    found = json.loads(
        type_stilt("compare-engines", with_program, "--receptors", 2, "--seeds", 2, "--json").out
    )
    assert len(found) == 2
    assert all(0.2 < each["score"] < 4 and each["speed_ratio"] > 1 for each in found)
    config.write_text(config.read_text() + "nturb: 1\n")
    said = type_stilt("compare-engines", with_program, "--receptors", 1)
    assert "without turbulence" in said.out


def test_compare_engines_refuses_what_one_of_them_lacks(type_stilt, with_program):
    config = with_program / "config.yaml"
    config.write_text(config.read_text() + "krand: 4\nkhmax: 20\n")
    assert "khmax" in type_stilt("compare-engines", with_program).complaint
