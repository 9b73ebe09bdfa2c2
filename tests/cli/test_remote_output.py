"""Outputs in a bucket: the same commands, and what is said when the bucket cannot be used."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from object_stores import AZURE_KEY, SECRET, free_port, use_environment
from stilt.model import Model
from stilt.storage import open_store
from stilt.storage.layout import CONFIG, MANIFEST, SETTINGS, chunk_key

S3 = pytest.param("s3", marks=pytest.mark.live_s3)
AZ = pytest.param("az", marks=pytest.mark.live_azure)
GS = pytest.param("gs", marks=pytest.mark.live_gcs)
KINDS = [S3, AZ, GS]


def without_secrets(said):
    text = said.out + said.err
    for secret in (SECRET, AZURE_KEY, "sig=", "hush"):
        assert secret not in text
    return said


@pytest.mark.live_s3
def test_every_command_works_with_a_bucket(type_stilt, cli_project, bucket_at):
    uri = bucket_at("s3").uri
    here = ("--output-dir", uri)
    assert type_stilt("check", cli_project, *here).code == 0
    done = type_stilt("register", cli_project, *here, "--scene-id", "a 'scene'/\n")
    assert (done.code, done.out) == (0, "3 simulations registered, 3 of them not complete\n")
    done = type_stilt("run", cli_project, *here)
    assert done.code == 0, done.err
    counted = json.loads(type_stilt("status", cli_project, *here, "--json", "--by-scene").out)
    assert (counted["total"], counted["completed"]) == (3, 3)
    assert counted["output_dir"] == uri
    assert type_stilt("rebuild", cli_project, *here).code == 0
    assert type_stilt("push-worker", cli_project, *here).code == 0
    # workers, and everyone who has no project folder, need the address alone
    assert json.loads(type_stilt("status", uri, "--json").out)["completed"] == 3
    assert type_stilt("push-worker", uri).code == 0
    assert type_stilt("run", uri).code == 0
    store = open_store(uri)
    assert store.exists_many([CONFIG, MANIFEST, SETTINGS]) == {CONFIG, MANIFEST, SETTINGS}
    assert not (cli_project / ".stilt").exists()
    assert not (cli_project / "simulations").exists()

    model = Model(project=uri)
    paths = model.trajectories.paths() + model.footprints["default"].paths()
    assert [path.name.partition("_2024")[0] for path in paths] == ["valley"] * 6
    assert all(path.is_file() and "cache" in path.parts for path in paths)
    assert paths == model.trajectories.paths() + model.footprints["default"].paths()
    assert [len(each) > 0 for each in model.trajectories.load()] == [True] * 3
    assert [float(each.data.sum()) > 0 for each in model.footprints["default"].load()] == [True] * 3
    simulation = model.simulations[model.simulations.ids()[0]]
    assert simulation.status == "complete"
    assert "complete" in simulation.log
    assert simulation.footprint_path("default").is_file()

    # settings guard and refresh
    config = (cli_project / "config.yaml").read_text()
    (cli_project / "config.yaml").write_text(config.replace("numpar: 10", "numpar: 20"))
    assert "numpar 10 -> 20" in type_stilt("run", cli_project, *here).complaint
    assert type_stilt("check", cli_project, *here).code == 1
    assert type_stilt("run", cli_project, *here, "--refresh").code == 0
    assert [len(each.data.indx.unique()) for each in model.trajectories.load()] == [20] * 3

    # one that fails leaves its record; nothing is half there
    rows = (cli_project / "receptors.csv").read_text()
    (cli_project / "receptors.csv").write_text(rows + "2024-07-10 20:00,20.0,41.0,10\n")
    assert type_stilt("run", cli_project, *here).code == 1
    counted = json.loads(type_stilt("status", uri, "--json", "--failures").out)
    assert (counted["completed"], counted["failed"]) == (3, 1)
    assert "RECEPTOR_OFF_GRID" in json.dumps(counted["failures"])

    # a lost manifest
    store.delete(MANIFEST)
    done = type_stilt("rebuild", uri)
    assert done.code == 0
    assert "put together again: 4 simulations" in done.out
    assert json.loads(type_stilt("status", uri, "--json").out)["completed"] == 3


@pytest.mark.parametrize("kind", KINDS)
def test_a_vanished_bucket_is_one_line(type_stilt, cli_project, bucket_at, kind):
    """Not an empty project: everything would be run again."""
    bucket = bucket_at(kind)
    here = ("--output-dir", bucket.uri)
    assert type_stilt("register", cli_project, *here).code == 0
    bucket.server.drop_bucket(bucket.name)
    for command in ("run", "register", "status", "rebuild", "push-worker", "check"):
        said = without_secrets(type_stilt(command, cli_project, *here)).complaint
        assert bucket.name in said
        assert "does not exist; create it" in said
    assert "does not exist; create it" in type_stilt("run", bucket.uri).complaint


@pytest.mark.parametrize("kind", KINDS)
def test_a_read_only_bucket_is_one_line_and_can_be_looked_at(
    type_stilt, cli_project, bucket_at, monkeypatch, kind
):
    bucket = bucket_at(kind)
    here = ("--output-dir", bucket.uri)
    assert type_stilt("register", cli_project, *here).code == 0
    with bucket.server.read_only(bucket.name) as environment:
        use_environment(monkeypatch, environment)
        for command in ("run", "push-worker"):
            said = without_secrets(type_stilt(command, cli_project, *here)).complaint
            assert "refused to write" in said
            assert bucket.uri in said
        assert json.loads(type_stilt("status", cli_project, *here, "--json").out)["total"] == 3
    use_environment(monkeypatch, bucket.server.environment())
    assert not any(key.endswith("failure.json") for key in open_store(bucket.uri).list())


@pytest.mark.live_azure
def test_a_wrong_key_is_one_line(type_stilt, cli_project, bucket_at, monkeypatch):
    bucket = bucket_at("az")
    use_environment(monkeypatch, bucket.server.environment(key="d3JvbmdodXNod3Jvbmc="))
    for command in ("run", "status", "register"):
        said = without_secrets(type_stilt(command, cli_project, "--output-dir", bucket.uri)).complaint
        assert "refused to" in said
        assert "check the credentials" in said
        assert "d3Jvbmdo" not in said
    debugged = without_secrets(type_stilt("status", cli_project, "--output-dir", bucket.uri, "--debug"))
    assert "d3Jvbmdo" not in debugged.err


@pytest.mark.parametrize(
    ("uri", "variable"),
    [
        ("s3://bucket/project", "AWS_ENDPOINT_URL"),
        ("az://container/project", "AZURE_STORAGE_ENDPOINT"),
        ("gs://bucket/project", "STORAGE_EMULATOR_HOST"),
    ],
)
def test_an_endpoint_out_of_reach_is_one_line_soon(type_stilt, cli_project, monkeypatch, uri, variable):
    port = free_port()
    use_environment(
        monkeypatch,
        {
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AZURE_STORAGE_ACCOUNT_NAME": "stilttest",
            "AZURE_STORAGE_ACCOUNT_KEY": AZURE_KEY,
            variable: f"http://127.0.0.1:{port}",
        },
    )
    began = time.monotonic()
    said = without_secrets(type_stilt("run", cli_project, "--output-dir", uri)).complaint
    assert time.monotonic() - began < 30
    assert f"127.0.0.1:{port} cannot be reached" in said


@pytest.mark.live_s3
def test_a_bucket_that_vanishes_in_the_middle_stops_the_run(type_stilt, cli_project, bucket_at, monkeypatch):
    """The other simulations would compute for nothing."""
    import stilt.execution.worker as worker

    bucket = bucket_at("s3")
    begun = []
    real = worker._Attempt._make_trajectories

    def vanish(self, *arguments, **options):
        begun.append(self.task.sim_id)
        if len(begun) == 1:
            bucket.server.drop_bucket(bucket.name)
        return real(self, *arguments, **options)

    monkeypatch.setattr(worker._Attempt, "_make_trajectories", vanish)
    done = without_secrets(type_stilt("run", cli_project, "--output-dir", bucket.uri))
    assert done.code in (1, 2)
    assert "does not exist; create it" in done.err + done.out
    assert "Traceback" not in done.err
    assert len(begun) == 1


@pytest.mark.live_s3
def test_no_secret_is_kept_anywhere(type_stilt, cli_project, bucket_at, monkeypatch):
    bucket = bucket_at("s3")
    monkeypatch.setenv("PYSTILT_DB_URL", "")
    assert type_stilt("run", cli_project, "--output-dir", bucket.uri).code == 0
    store = open_store(bucket.uri)
    for key in store.list():
        content = store.read(key)
        for secret in (SECRET, bucket.server.environment()["AWS_ENDPOINT_URL"]):
            assert secret.encode() not in content, key


@pytest.mark.live_s3
def test_chunks_are_found_by_key_and_by_address(type_stilt, cli_project, bucket_at):
    from stilt.completion import expected_artifacts
    from stilt.execution.tasks import Task, write_chunks
    from stilt.outputs import load_published_config

    bucket = bucket_at("s3")
    assert type_stilt("register", cli_project, "--output-dir", bucket.uri).code == 0
    store = open_store(bucket.uri)
    rows = Model(project=bucket.uri).manifest.load().rows()
    tasks = [Task(row.sim_id, row.met, row.receptor, expected_artifacts(row.footprints)) for row in rows]
    write_chunks(store, "job", tasks, load_published_config(store)[1], [2, 1])
    keys = [chunk_key("job", number) for number in range(2)]
    assert type_stilt("push-worker", bucket.uri, "--chunk", keys[0]).code == 0
    assert type_stilt("push-worker", bucket.uri, "--chunk", f"{bucket.uri}/{keys[1]}").code == 0
    assert json.loads(type_stilt("status", bucket.uri, "--json").out)["completed"] == 3
    assert "no chunk" in type_stilt("push-worker", bucket.uri, "--chunk", "elsewhere.jsonl").complaint
    assert not list(Path(cli_project).glob("simulations"))
