"""The model: what it reads, what it publishes, what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import stilt
from stilt.errors import ConfigError, NoQueueError, ProjectError, ReceptorError, StaleOutputsError, StoreError
from stilt.execution.handle import JobHandle
from stilt.outputs import load_published_config
from stilt.transport import registry
from stilt.transport.protocol import TransportRequest, TransportResult

INLINE_GRID = {"xmin": -113, "xmax": -111, "ymin": 40, "ymax": 41.5, "xres": 0.1, "yres": 0.1}
YAML = """\
mets:
  hrrr: {directory: met, file_format: "%Y"}
footprints:
  default: {xmin: -113, xmax: -111, ymin: 40, ymax: 41.5, xres: 0.1, yres: 0.1}
n_hours: -1
numpar: 5
"""
RECEPTORS = (
    "time,longitude,latitude,zagl\n2023-01-01 12:00,-111.85,40.77,5\n2023-01-01 13:00,-111.85,40.77,5\n"
)


class DriftingWest:
    """A made-up engine; receptors at 14 UTC fail."""

    name = "native"

    def check(self, params):
        return

    def warm_up(self, params=None):
        return

    def run(self, request: TransportRequest, *, deadline=None, should_stop=None) -> TransportResult:
        if request.receptor.time.hour == 14:
            raise stilt.MetCoverageError("no met at 14 UTC.")
        n = request.params.numpar
        minutes = np.repeat(-np.arange(1.0, 61.0), n)
        columns = dict.fromkeys(request.params.varsiwant, np.ones(minutes.size)) | {
            "time": minutes,
            "indx": np.tile(np.arange(1, n + 1), 60),
            "long": request.receptor.longitudes[0] + minutes / 1440,
            "lati": np.full(minutes.size, request.receptor.latitudes[0]),
        }
        return TransportResult(pd.DataFrame(columns), "drifting", [], {}, 0)


@pytest.fixture(autouse=True)
def drifting_engine(monkeypatch):
    monkeypatch.setitem(registry._FACTORIES, "native", DriftingWest)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project folder as a user has it."""
    project = tmp_path / "case"
    (project / "met").mkdir(parents=True)
    (project / "met" / "2023").write_bytes(b"")
    (project / "config.yaml").write_text(YAML)
    (project / "receptors.csv").write_text(RECEPTORS)
    return project


def settings(folder: Path, **fields):
    return {
        "mets": {"hrrr": {"directory": str(folder / "met"), "file_format": "%Y"}},
        "n_hours": -1,
        "numpar": 5,
        **fields,
    }


def test_a_project_is_read_run_and_looked_at(folder):
    """Config and receptors come from the folder; the user's files stay as they are."""
    model = stilt.Model(folder)
    handle = model.run()
    assert isinstance(handle, JobHandle)
    assert (handle.detached, handle.exit_code, len(handle.wait())) == (False, 0, 2)
    assert handle.job_id.startswith("local-")
    ids = model.simulations.ids()
    assert [str(sim_id) for sim_id in ids] == [
        "hrrr_202301011200_-111.85_40.77_5",
        "hrrr_202301011300_-111.85_40.77_5",
    ]
    assert model.simulations.incomplete() == []
    assert [path.exists() for path in model.trajectories.paths()] == [True, True]
    assert len(model.footprints["default"].load()) == 2
    with pytest.raises(KeyError, match="default"):
        model.footprints["other"]
    assert model.status() == stilt.StatusCounts(total=2, completed=2)
    assert model.queue is None
    assert (folder / "config.yaml").read_text() == YAML
    assert (folder / "receptors.csv").read_text() == RECEPTORS
    again = model.run()
    assert (again.results, again.skipped) == ([], 2)
    assert len(model.run(skip_existing=False).results) == 2


def test_a_project_made_in_python_publishes_its_config(folder, tmp_path):
    """No config.yaml appears; the published one is enough to open the project again."""
    receptor = stilt.PointReceptor(
        time="2023-01-01 12:00:00", longitude=-111.85, latitude=40.77, altitude=5.0
    )
    project = tmp_path / "python"
    model = stilt.Model(project=project, receptors=receptor, **settings(folder))
    model.run()
    assert not (project / "config.yaml").exists()
    assert load_published_config(model.store)[0].numpar == 5
    assert stilt.Model(project).status().completed == 1
    # default may always be asked for
    assert model.footprints["default"].load() == []


@pytest.mark.parametrize("form", ["one", "list", "tuple", "tuples", "csv"])
def test_receptors_in_many_forms(folder, tmp_path, form):
    """One receptor, an iterable, tuples, or the path of a CSV file."""
    receptor = stilt.PointReceptor("2023-01-01 12:00", -111.85, 40.77, 5.0)
    plain = ("2023-01-01 12:00", -111.85, 40.77, 5.0)
    given = {
        "one": receptor,
        "list": iter([receptor]),
        "tuple": plain,
        "tuples": [plain],
        "csv": folder / "receptors.csv",
    }[form]
    model = stilt.Model(tmp_path / "out", given, **settings(folder))
    assert model.receptors[0] == receptor


def test_config_and_fields_exclude_each_other(folder):
    """Both is a TypeError; an unknown field names the nearest one."""
    config = stilt.ModelConfig(**settings(folder))
    with pytest.raises(TypeError, match="numpar"):
        stilt.Model(folder, config=config, numpar=3)
    with pytest.raises(ConfigError, match="numpar"):
        stilt.Model(folder, **settings(folder, numpars=3))


def test_no_project_is_a_temporary_one_that_is_shown(folder, tmp_path, capsys, monkeypatch):
    """The path of the temporary project is printed."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    model = stilt.Model(receptors=[("2023-01-01 12:00", -111.85, 40.77, 5.0)], **settings(folder))
    assert str(model.project) in capsys.readouterr().err
    assert model.run().exit_code == 0


def test_folders_of_a_config_count_from_where_it_is(folder, tmp_path, monkeypatch):
    """Relative folders count from config.yaml; in Python from the project, else the working directory."""
    assert stilt.Model(folder).config.met("hrrr").directory == folder / "met"
    assert (
        stilt.Model(tmp_path / "x", config=folder / "config.yaml").config.met("hrrr").directory
        == folder / "met"
    )
    config = stilt.ModelConfig.from_yaml(folder / "config.yaml")
    assert stilt.Model(folder, config=config).config.met("hrrr").directory == folder / "met"
    monkeypatch.chdir(folder)
    assert stilt.Model(tmp_path / "x", config=config).config.met("hrrr").directory == folder / "met"


def test_projects_that_cannot_be(tmp_path, folder):
    """A missing folder, a missing config, no receptors, an address of another version."""
    with pytest.raises(ProjectError, match="stilt init"):
        stilt.Model(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ProjectError, match="stilt init"):
        _ = stilt.Model(tmp_path / "empty").config
    with pytest.raises(StoreError):
        stilt.Model("s3://bucket/project")
    (folder / "receptors.csv").unlink()
    with pytest.raises(ProjectError, match=r"receptors\.csv"):
        stilt.Model(folder).run()
    with pytest.raises(ReceptorError):
        _ = stilt.Model(folder, receptors=42).receptors


def test_scenes_are_registered_one_after_another_and_all_run(folder):
    """Receptors of registered simulations come from the manifest."""
    first = stilt.Model(folder)
    with pytest.raises(ProjectError, match="scene label 5 cannot be kept: it is no text"):
        first.register_pending(scene_id=5)
    assert len(first.register_pending(scene_id="one")) == 2
    second = stilt.Model(folder, receptors=("2023-01-01 15:00", -111.85, 40.77, 5.0))
    ids = second.register(scene_id="two")
    assert [sim_id.location for sim_id in ids] == ["-111.85_40.77_5"]
    (folder / "receptors.csv").unlink()
    third = stilt.Model(folder)
    assert len(third.run().results) == 3
    counts = third.scene_counts()
    assert {scene: each.completed for scene, each in counts.items()} == {"one": 2, "two": 1}
    assert third.status(scene_id="two").total == 1
    assert second.register_pending() == []


def test_failures_are_results_not_exceptions(folder):
    """One receptor fails with its reason; the others finish; running again tries it again."""
    with (folder / "receptors.csv").open("a") as stream:
        stream.write("2023-01-01 14:00,-111.85,40.77,5\n")
    model = stilt.Model(folder)
    handle = model.run()
    assert handle.exit_code == 1
    assert handle.reasons == {"MET_COVERAGE": 1}
    assert model.status() == stilt.StatusCounts(total=3, completed=2, failed=1)
    assert model.run().skipped == 2


def test_changed_settings_are_refused_until_refresh(folder):
    """The changed field is named; refresh makes stale outputs again; a new footprint is only pending."""
    stilt.Model(folder).run()
    (folder / "config.yaml").write_text(YAML.replace("numpar: 5", "numpar: 6"))
    model = stilt.Model(folder)
    with pytest.raises(StaleOutputsError, match="numpar 5 -> 6"):
        model.run()
    with pytest.raises(StaleOutputsError, match="numpar"):
        model.register()
    assert model.trajectories.load()[0].n_particles == 5
    assert len(model.run(refresh=True).results) == 2
    assert model.trajectories.load()[0].n_particles == 6
    (folder / "config.yaml").write_text(YAML.replace("numpar: 5", "numpar: 6").replace("default:", "other:"))
    renamed = stilt.Model(folder)
    assert [result.made for result in renamed.run().results] == [("footprint:other",)] * 2


def test_executor_forms(folder):
    """A number of workers, a name, a mapping, a section."""
    model = stilt.Model(folder)
    for executor in (
        1,
        "local",
        {"n_workers": 1},
        {"n_workers": "auto"},
        stilt.config.LocalExecution(n_workers=1),
    ):
        assert model.run(executor=executor).exit_code == 0
    with pytest.raises(ConfigError):
        model.run(executor={"n_wokers": 2})


def test_push_and_pull(folder):
    """Pushing runs exactly what it is told; pulling needs a queue."""
    model = stilt.Model(folder)
    sim_ids = model.register_pending()
    handle = stilt.execution.push_simulations(model, sim_ids[:1], n_cores=1)
    assert [result.sim_id for result in handle.results] == [sim_ids[0]]
    assert model.simulations.incomplete() == [sim_ids[1]]
    with pytest.raises(ProjectError, match="not registered"):
        stilt.execution.push_simulations(model, ["hrrr_202301011200_0_0_5"])
    with pytest.raises(NoQueueError, match="PYSTILT_DB_URL"):
        stilt.execution.pull_simulations(model, follow=False)


def test_run_trajectories_needs_no_project(folder):
    """Any run, transport or error key; unknown keys name the nearest; no near-field correction."""
    receptor = stilt.PointReceptor("2023-01-01 12:00", -111.85, 40.77, 5.0)
    for met in (
        stilt.MetConfig(directory="met", file_format="%Y"),
        {"directory": "met", "file_format": "%Y"},
        "a.arl",
        ["a", "b"],
        folder,
    ):
        found = stilt.run_trajectories(receptor, met, numpar=7, n_hours=-1)
        assert (found.n_particles, found.is_error, "foot_no_hnf_dilution" in found.data) == (7, False, False)
    errors = {"siguverr": 1.0, "tluverr": 60.0, "zcoruverr": 500.0, "horcoruverr": 50.0}
    assert stilt.run_trajectories(receptor, "a.arl", **errors).is_error
    with pytest.raises(ConfigError, match="did you mean 'numpar'"):
        stilt.run_trajectories(receptor, "a.arl", numpars=7)
    with pytest.raises(ConfigError, match="correct_near_field"):
        stilt.run_trajectories(receptor, "a.arl", hnf_plume=True)
    footprint = stilt.calc_footprint(found, stilt.Grid(**INLINE_GRID))
    assert not footprint.is_empty
