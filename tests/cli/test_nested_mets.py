"""A project whose particles go on in a coarser meteorology, as its user meets it."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

from stilt.meteorology import synthetic
from stilt.meteorology.projection import HorizontalGrid
from stilt.trajectory import Trajectories

CONFIG = """\
mets:
  fine:
    directory: fine
    fallback: wide
  wide:
    directory: wide
footprints:
  default: {xmin: -105, xmax: -98, ymin: 38, ymax: 42, xres: 0.25, yres: 0.25}
n_hours: -8
numpar: 20
"""
RECEPTORS = """\
time,longitude,latitude,zagl
2020-06-01 20:00,-100.0,40.0,50
2020-06-01 20:00,-103.0,40.0,50
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Sixteen fine hours in a small grid, coarse ones around it."""
    root = tmp_path_factory.mktemp("nested")
    for name, size, start, interval in (
        ("fine", 21, "2020-06-01T14", 60),
        ("wide", 61, "2020-06-01T06", 180),
    ):
        grid = HorizontalGrid.lambert(40.0, -100.0, 12.0, size, size)
        hours = 10 if name == "fine" else 18
        world = synthetic.convective(8.0, 0.0, grid=grid, start=start, hours=hours, interval=interval)
        (root / name).mkdir()
        world.write(root / name / f"{name}.arl")
    return root


@pytest.fixture
def project(tmp_path, folder):
    root = tmp_path / "project"
    shutil.copytree(folder, root)
    (root / "config.yaml").write_text(CONFIG)
    (root / "receptors.csv").write_text(RECEPTORS)
    return root


def test_check_tells_what_the_two_cover_together(type_stilt, project):
    told = type_stilt("check", project)
    assert told.code == 0, told
    assert "2 receptors, 2 simulations" in told.out
    assert "fine -> wide: particles go on where the first ends" in told.out
    assert "in 'fine': 6 to 6 hours of each run, 1 receptors begin there" in told.out
    found = json.loads(type_stilt("check", project, "--json").out)
    (chain,) = found["chains"]
    inside, outside = chain["receptors"]
    assert (inside["begins_in"], outside["begins_in"]) == ("fine", "wide")
    assert [met["hours"] for met in inside["mets"]] == [6.0, 8.0]
    assert outside["mets"][0]["km_to_edge"] < 0 < inside["mets"][0]["km_to_edge"]
    assert [met["name"] for met in found["mets"]] == ["fine", "wide"]


def test_check_counts_only_what_none_has(type_stilt, project):
    (project / "config.yaml").write_text(CONFIG.replace("-8", "-16"))
    (project / "receptors.csv").write_text(RECEPTORS + "2020-06-01 20:00,30.0,40.0,50\n")
    found = json.loads(type_stilt("check", project, "--json").out)
    problems = {problem["kind"]: problem for problem in found["problems"]}
    assert problems["met_coverage"]["count"] == 3
    assert "none of met 'fine' and 'wide' covers, up to 2 h" in problems["met_coverage"]["message"]
    assert problems["receptor_off_grid"]["count"] == 1


def test_check_says_when_no_met_has_any_hour_and_each_thing_once(type_stilt, project):
    """Files lie in both folders, none near the runs; and one met may help another and run by itself."""
    (project / "receptors.csv").write_text("time,longitude,latitude,zagl\n2021-06-01 20:00,-100.0,40.0,50\n")
    dated = CONFIG
    for name in ("fine", "wide"):
        (project / name / f"{name}.arl").rename(project / name / f"20200601_{name}")
        dated = dated.replace(f"directory: {name}", f"directory: {name}\n    file_format: '%Y%m%d_'")
    (project / "config.yaml").write_text(dated)
    found = json.loads(type_stilt("check", project, "--json").out)
    (problem,) = found["problems"]
    assert "none of met 'fine' and 'wide' has analyses near the runs" in problem["message"]
    (project / "receptors.csv").write_text(RECEPTORS)
    alone = dated.replace("    directory: wide\n", "    standalone: true\n    directory: wide\n")
    (project / "config.yaml").write_text(alone)
    found = json.loads(type_stilt("check", project, "--json").out)
    assert [met["name"] for met in found["mets"]] == ["fine", "wide"]
    assert len(found["coverage"]) == 2


def test_a_run_records_which_meteorology_moved_what(type_stilt, project):
    assert type_stilt("run", project).code == 0
    (inside, outside) = sorted((project / "simulations" / "by-id").iterdir())
    assert inside.name.startswith("fine_")
    path = inside / f"{inside.name}_traj.parquet"
    table = Trajectories.from_parquet(path)
    assert table.nesting["mets"] == ["fine", "wide"]
    assert pq.read_schema(path).field("met").type == "int8"
    assert table.data["met"].dtype == np.int8
    counted = table.data["met"].value_counts(normalize=True)
    assert [counted[0], counted[1]] == pytest.approx(table.nesting["share"], abs=1e-5)
    assert {entry["met"] for entry in table.met_files} == {"fine", "wide"}
    assert "went over:" in (inside / "stilt.log").read_text()
    assert (inside / f"{inside.name}_default_foot.nc").exists()
    assert Trajectories.from_parquet(outside / f"{outside.name}_traj.parquet").nesting["share"][1] == 1.0
    # a second run has nothing to do; without the fallback the outputs are stale
    assert "0 run, 2 complete before" in type_stilt("run", project).out
    (project / "config.yaml").write_text(CONFIG.replace("    fallback: wide\n", ""))
    assert "fallback" in type_stilt("run", project).complaint


def test_what_cannot_be_nested_stops_before_the_first_simulation(type_stilt, project):
    (project / "config.yaml").write_text(CONFIG + "random: hysplit\n")
    assert "mets.fine.fallback: random: hysplit" in type_stilt("run", project).complaint
    (project / "config.yaml").write_text(CONFIG.replace("fallback: wide", "fallback: wid"))
    assert "unknown met 'wid', did you mean 'wide'?" in type_stilt("run", project).complaint
    (project / "config.yaml").write_text(CONFIG.replace("directory: wide", "directory: none"))
    assert "met 'wide'" in type_stilt("run", project).complaint


def test_simulations_of_a_met_that_became_a_fallback_are_not_forgotten(type_stilt, project):
    (project / "config.yaml").write_text(CONFIG.replace("    fallback: wide\n", ""))
    (project / "receptors.csv").write_text("\n".join(RECEPTORS.splitlines()[:2]))
    assert "2 simulations registered" in type_stilt("register", project).out
    (project / "config.yaml").write_text(CONFIG)
    ended = type_stilt("run", project)
    assert ended.code == 1
    assert "wide only serves as a fallback now; give it standalone: true" in " ".join(ended.out.split())
    both = CONFIG.replace("    directory: wide\n", "    directory: wide\n    standalone: true\n")
    (project / "config.yaml").write_text(both)
    assert type_stilt("run", project).code == 0
