"""The kubernetes backend: manifests against the official schemas, the client against a stateful server."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest
import yaml

import stilt
from stilt.config import KubernetesExecution, ModelConfig
from stilt.errors import ConfigError
from stilt.execution.backends.kubernetes.client import JobsClient, KubernetesError, MissingJobError
from stilt.execution.backends.kubernetes.render import indexed_job, pull_workers, render
from stilt.execution.detached import find_jobs

pytestmark = [pytest.mark.kubernetes]

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
VERSIONS = ("1.29", "1.30", "1.33")
FULL = {
    "image": "registry.example.org/stilt:1",
    "n_workers": 20,
    "parallelism": 5,
    "namespace": "carbon",
    "service_account": "stilt",
    "cpu": "2",
    "memory": "4Gi",
    "scratch": "10Gi",
    "env": {"AWS_REGION": "us-west-2"},
    "env_from_secret": "stilt-bucket",
    "volumes": [{"claim": "met", "path": "/", "read_only": True}],
    "node_selector": {"kubernetes.io/arch": "amd64"},
    "deadline_seconds": 3600,
}
SLOW = ("numpar: 10", "numpar: 1500"), ("n_hours: -1", "n_hours: -2")


def section(**keys):
    return KubernetesExecution(**{**FULL, **keys})


@pytest.fixture
def strictly():
    """Validate a manifest against the official schemas."""
    validator = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")

    def check(manifest):
        for version in VERSIONS:
            validator.validate(manifest, version, strict=True)

    return check


@pytest.mark.parametrize("keys", [{}, {"service_account": None, "env_from_secret": None, "scratch": None}])
def test_the_job_is_what_kubernetes_expects(make_context, strictly, keys):
    """Strict schemas of three versions; every key arrives where it belongs."""
    job = indexed_job(section(**keys), make_context(), "20260101T000000-abc123", 20).to_dict()
    strictly(job)
    spec = job["spec"]
    assert (spec["completions"], spec["parallelism"], spec["completionMode"]) == (20, 5, "Indexed")
    assert spec["backoffLimitPerIndex"] == 3
    assert job["metadata"]["namespace"] == "carbon"
    pod = spec["template"]["spec"]
    assert pod["restartPolicy"] == "Never"
    assert pod["nodeSelector"] == {"kubernetes.io/arch": "amd64"}
    container = pod["containers"][0]
    assert container["args"][2:6] == [
        "--chunk", ".stilt/chunks/20260101T000000-abc123/$(STILT_INDEX).jsonl", "--cpus", "2",
    ]  # fmt: skip
    assert container["resources"]["limits"] == {"memory": "4Gi"}
    assert pod["securityContext"]["runAsNonRoot"] is True
    rules = spec["podFailurePolicy"]["rules"]
    assert [rule["action"] for rule in rules] == ["Ignore", "FailIndex"]
    assert rules[1]["onExitCodes"]["values"] == [1, 2]


OTHER = {
    "n_workers": 12,
    "parallelism": 6,
    "image": "a/b:2",
    "image_pull_policy": "Always",
    "namespace": "nitrogen",
    "service_account": "other",
    "cpu": "3",
    "memory": "5Gi",
    "scratch": "11Gi",
    "env": {"AWS_REGION": "eu"},
    "env_from_secret": "other-secret",
    "node_selector": {"zone": "b"},
    "ttl_seconds": 77,
    "backoff_limit": 9,
    "volumes": [{"claim": "other", "path": "/"}],
    "deadline_seconds": 60,
}
"""Another value for every key that shapes a job."""
NOT_THE_JOBS = {"backend", "mode", "context", "min_workers", "rows_per_worker"}


def test_every_key_changes_the_job(make_context, strictly):
    """No key is read and then forgotten, and what comes out is strictly valid."""
    assert set(OTHER) | NOT_THE_JOBS == set(KubernetesExecution.model_fields)

    def job(**keys):
        each = section(**keys)
        return indexed_job(each, make_context(), "b1", each.n_workers).to_dict()

    plain = job()
    for key, value in OTHER.items():
        changed = job(**{key: value})
        strictly(changed)
        assert changed != plain, key
        said = json.dumps(changed)
        for word in value.values() if isinstance(value, dict) else [value]:
            assert isinstance(word, list) or str(word) in said, key
    spec = job(ttl_seconds=77, backoff_limit=9, deadline_seconds=60)["spec"]
    assert spec["ttlSecondsAfterFinished"] == 77
    assert spec["backoffLimitPerIndex"] == 9
    assert spec["activeDeadlineSeconds"] == 60
    pod = spec["template"]["spec"]
    assert pod["serviceAccountName"] == "stilt"
    container = pod["containers"][0]
    assert container["envFrom"] == [{"secretRef": {"name": "stilt-bucket"}}]
    assert {"name": "AWS_REGION", "value": "us-west-2"} in container["env"]


def test_the_workers_on_the_queue_and_their_scaling(make_context, strictly):
    """A deployment by the official schemas, a scaled object by ours; the query counts this project's rows."""
    import jsonschema

    context = make_context()
    deployment, scaled = pull_workers(section(mode="pull", cpu=1, min_workers=1, rows_per_worker=7), context)
    strictly(deployment.to_dict())
    schema = json.loads((HERE / "keda_scaledobject.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(scaled.to_dict(), schema)
    assert scaled.spec.scale_target_ref.name == deployment.metadata.name
    assert deployment.spec.template.spec.containers[0].args == ["serve", str(context.store.root)]
    trigger = scaled.spec.triggers[0].metadata
    assert trigger["targetQueryValue"] == "7"
    assert f"project = '{context.store.identity}'" in trigger["query"]
    broken = scaled.to_dict()
    del broken["spec"]["scaleTargetRef"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, schema)
    documents = list(yaml.safe_load_all(render(section(mode="pull", cpu=1), context, "", 0)))
    assert [document["kind"] for document in documents] == ["Deployment", "ScaledObject"]
    with pytest.raises(ConfigError, match="PYSTILT_DB_URL"):
        pull_workers(section(mode="pull", cpu=1, env_from_secret=None), context)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"image": None}, "needs an image"),
        ({"volumes": ()}, "pods cannot see the outputs at "),
        ({"cpu": "two"}, "no quantity"),
        ({"namespace": "Carbon"}, "lower-case"),
        ({"env": {"AWS_SECRET_ACCESS_KEY": "hush"}}, "env_from_secret"),
        ({"env": {"AWS_SESSION_TOKEN": "hush"}}, "AWS_SESSION_TOKEN is a secret"),
        ({"env": {"AZURE_STORAGE_ACCOUNT_KEY": "hush"}}, "env_from_secret"),
        ({"mode": "pull"}, "1 of 2 cores of each pod would idle"),
        ({"min_workers": 30}, "min_workers 30 is above n_workers 20"),
        ({"volumes": [{"claim": "a", "path": "/x"}, {"claim": "b", "path": "/x"}]}, "same path"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(make_context, keys, words):
    """Before a pod would find out, and without repeating a secret."""
    with pytest.raises(ConfigError, match=words) as caught:
        render(section(**keys), make_context(), "b", 1)
    assert "hush" not in str(caught.value)


def test_render_prints_yaml(make_project, capsys):
    """`stilt kubernetes render` needs no cluster and changes nothing."""
    from stilt.cli import main

    extra = "execution: {backend: kubernetes, image: a/b:1, n_workers: 2, volumes: [{claim: c, path: /}]"
    project = make_project(3, ("numpar: 10", f"numpar: 10\n{extra}}}"))
    assert main(["kubernetes", "render", str(project)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("# 3 simulations")
    assert yaml.safe_load(said)["spec"]["completions"] == 2
    assert not (project / ".stilt").exists()
    text = (project / "config.yaml").read_text()
    (project / "config.yaml").write_text(text.replace("n_workers: 2", "mode: pull, env_from_secret: s"))
    assert main(["kubernetes", "render", str(project)]) == 0
    assert "kind: ScaledObject" in capsys.readouterr().out
    assert main(["run", str(project), "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert yaml.safe_load(said)["spec"]["template"]["spec"]["containers"][0]["args"][0] == "pull-worker"
    # without a queue there is nothing to pull from
    assert main(["run", str(project)]) == 2
    assert "PYSTILT_DB_URL is not set here" in capsys.readouterr().err
    (project / "config.yaml").write_text(text.partition("execution")[0])
    assert main(["kubernetes", "render", str(project)]) == 2


def test_the_section_survives_yaml():
    """What is published for workers reads back equal."""
    config = ModelConfig(mets={"h": {"source": "hrrr"}}, execution={"backend": "kubernetes", **FULL})
    assert ModelConfig.from_yaml_text(config.to_yaml(), source="x").execution == config.execution


def test_the_dockerfile_is_clean(hadolint):
    """By hadolint, without a single remark."""
    done = subprocess.run(
        [hadolint, "--no-color", str(ROOT / "Dockerfile")], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stdout


# --- against the server ---------------------------------------------------------------------------------


@pytest.fixture
def quiet_api(kubernetes_api_of):
    """A server whose jobs never run by themselves."""
    return kubernetes_api_of(runs_pods=False)


def test_the_client_creates_watches_and_deletes(quiet_api, make_context):
    """Each call, and the server's complaints in one line."""
    client = JobsClient("carbon")
    job = indexed_job(section(), make_context(), "b1", 4).to_dict()
    client.create(job, dry_run=True)
    assert quiet_api.jobs == {}
    client.create(job)
    with pytest.raises(KubernetesError, match=r'409: jobs.batch "stilt-b1" already exists'):
        client.create(job)
    with pytest.raises(KubernetesError, match="complitions"):
        client.create({**job, "spec": {**job["spec"], "complitions": 3}})
    state = client.read("stilt-b1")
    assert (state.completions, state.ended, state.completed) == (4, "", frozenset())
    stored = quiet_api.jobs["stilt-b1"]
    stored["status"] = {"active": 2, "ready": 1, "completedIndexes": "0-1", "failedIndexes": "3"}
    quiet_api._note("MODIFIED", stored)
    seen = next(client.changes("stilt-b1", state.version, 5))
    assert (seen.completed, seen.failed, seen.ready) == (frozenset({0, 1}), frozenset({3}), 1)
    client.delete("stilt-b1")
    assert next(client.changes("stilt-b1", seen.version, 5)) is None
    client.delete("stilt-b1")
    with pytest.raises(MissingJobError, match="not found"):
        client.read("stilt-b1")
    with pytest.raises(KubernetesError, match="cannot create resource"):
        JobsClient("forbidden").create(job)


def test_waiting_failing_and_deleting(quiet_api, make_project):
    """Indexes that failed or never ran, and a job somebody deleted; nothing is claimed done."""
    execution = {"backend": "kubernetes", **FULL, "n_workers": 2}
    model = stilt.Model(make_project(2))
    job = model.run(execution, wait=False, progress=False)
    assert job.detached
    assert [found.job_id for found in find_jobs(model.store)] == [job.job_id]
    stored = quiet_api.jobs[job.job_id]
    stored["status"] = {
        "failedIndexes": "1",
        "completedIndexes": "",
        "conditions": [{"type": "Failed", "status": "True", "reason": "DeadlineExceeded"}],
    }
    quiet_api._note("MODIFIED", stored)
    job.wait()
    assert (job.exit_code, job.reasons) == (1, {"WORKER_DIED": 2})
    assert "DeadlineExceeded" in job.results[0].message
    assert "kubectl logs -n carbon" in job.results[1].message
    again = model.run(execution, wait=False, progress=False)
    find_jobs(model.store)[0].cancel()
    assert again.wait() == []
    assert (again.interrupted, again.exit_code) == (True, 3)


def test_a_server_that_is_away_is_waited_for_but_not_submitted_to(quiet_api, make_project):
    """The job is not lost; a new one is refused before anything is written."""
    model = stilt.Model(make_project(1))
    execution = {"backend": "kubernetes", **FULL}
    job = model.run(execution, wait=False, progress=False)
    quiet_api.stop()
    view = job.control.look()
    assert "does not answer" in view.trouble
    assert not view.is_over
    other = stilt.Model(make_project(1, name="other"))
    with pytest.raises(ConfigError, match="does not answer"):
        other.run(execution, progress=False)
    assert not (other.project / ".stilt").exists()


PULL = {**FULL, "backend": "kubernetes", "mode": "pull", "cpu": 1, "env_from_secret": "stilt-queue"}


@pytest.fixture
def memory_queue(monkeypatch, request):
    """A queue in this process, under a name of its own."""
    monkeypatch.setenv("PYSTILT_DB_URL", f"memory://{request.node.name.partition('[')[0]}")


def test_work_for_pull_workers(quiet_api, memory_queue, make_project, capsys):
    """Rows before workers, one job for them; status tells both, a second run adds nothing, cancel clears."""
    from stilt.cli import main

    model = stilt.Model(make_project(5))
    elsewhere, *_ = model.register([stilt.PointReceptor("2024-07-10 21:00", -111.6, 41.1, 10)])
    model.queue.claim("another", settings=_settings(model))
    job = model.run({**PULL, "n_workers": 2}, wait=False, progress=False)
    assert job.detached
    spec = quiet_api.jobs[job.job_id]["spec"]
    assert (spec["completions"], spec["completionMode"]) == (2, "Indexed")
    container = spec["template"]["spec"]["containers"][0]
    assert container["args"][:3] == ["pull-worker", str(model.store.root), "--until-done"]
    assert container["envFrom"] == [{"secretRef": {"name": "stilt-queue"}}]
    assert model.queue.counts().pending == 5

    capsys.readouterr()
    assert main(["status", str(model.project)]) == 0
    said = capsys.readouterr().out
    assert "0 of 2 pull workers run; queue: 5 pending, 1 running" in said
    assert model.status().running == 1
    again = model.run(PULL, wait=False, progress=False)
    assert (again.job_id, len(quiet_api.jobs)) == (job.job_id, 1)

    assert main(["cancel", str(model.project)]) == 0
    assert quiet_api.jobs == {}
    assert model.queue.sim_ids() == set()
    assert job.wait() == []
    assert (job.interrupted, job.exit_code) == (True, 3)
    assert elsewhere in model.simulations.incomplete()


def _settings(model):
    from stilt.outputs import Fingerprint

    return Fingerprint.of(model.config).hash


def test_what_pull_workers_cannot_do_is_said_first(quiet_api, memory_queue, make_project, monkeypatch):
    """No queue here, and making again what is complete; cancelling needs the queue too."""
    model = stilt.Model(make_project(2))
    with pytest.raises(ConfigError, match="make only what is missing"):
        model.run(PULL, skip_existing=False, progress=False)
    job = model.run(PULL, wait=False, progress=False)
    monkeypatch.delenv("PYSTILT_DB_URL")
    with pytest.raises(stilt.StiltError, match="is in the queue, but PYSTILT_DB_URL is not set here"):
        find_jobs(model.store)[0].cancel()
    assert list(quiet_api.jobs) == [job.job_id]
    assert "PYSTILT_DB_URL is not set here" in job.control.look().said
    other = stilt.Model(make_project(1, name="other"))
    with pytest.raises(stilt.StiltError, match="hands out work through the queue, but PYSTILT_DB_URL"):
        other.run(PULL, progress=False)
    assert not (other.project / ".stilt").exists()


@pytest.mark.slow
@pytest.mark.postgres
def test_what_a_killed_pull_worker_held_is_made(kubernetes_queue, make_project, outputs_of):
    """SIGKILL of a worker in the middle: its row comes back after its lease, the same bytes come out."""
    undisturbed = stilt.Model(make_project(6, *SLOW, name="undisturbed"))
    undisturbed.run(progress=False)
    model = stilt.Model(make_project(6, *SLOW))
    job = model.run({**PULL, "n_workers": 2}, wait=False, progress=False)
    _until_one_table(model)
    kubernetes_queue.kill_one(job.job_id, range(2))
    job.wait()
    assert (job.exit_code, len(job.results)) == (0, 6)
    _must_be_equal(outputs_of(model.project), outputs_of(undisturbed.project))


@pytest.mark.postgres
def test_the_scaling_query_counts_what_waits_and_runs(postgres_dsn, make_context):
    """KEDA's query on a real Postgres: a number for a project that asked for work, 0 for others."""
    import psycopg

    from stilt.service import PostgresQueue

    context = make_context()
    _, scaled = pull_workers(section(mode="pull", cpu=1), context)
    query = scaled.spec.triggers[0].metadata["query"]
    queue = PostgresQueue(postgres_dsn, context.store.identity)
    queue.open()
    with psycopg.connect(postgres_dsn) as connection:
        assert connection.execute(query).fetchall() == [(0,)]
        queue.enqueue(dict.fromkeys("abc"), settings="s")
        queue.claim("me", settings="s")
        queue.done(queue.claim("you", settings="s"))
        connection.rollback()
        assert connection.execute(query).fetchall() == [(2,)]
    queue.close()


@pytest.mark.slow
def test_a_killed_pod_runs_again(kubernetes_api, make_project, outputs_of):
    """SIGKILL of a pod in the middle: another one takes its index, the same bytes come out."""
    module_kill = kubernetes_api.kill_one
    undisturbed = stilt.Model(make_project(6, *SLOW, name="undisturbed"))
    undisturbed.run(progress=False)
    model = stilt.Model(make_project(6, *SLOW))
    job = model.run({"backend": "kubernetes", **FULL, "n_workers": 2, "cpu": "1"}, wait=False, progress=False)
    _until_one_table(model)
    module_kill(job.job_id, range(2))
    job.wait()
    assert (job.exit_code, len(job.results)) == (0, 6)
    _must_be_equal(outputs_of(model.project), outputs_of(undisturbed.project))


def _until_one_table(model):
    until = time.monotonic() + 120
    while not list(model.project.glob("simulations/by-id/*/*_traj.parquet")) and time.monotonic() < until:
        time.sleep(0.05)


def _must_be_equal(found, expected):
    assert found[0] == expected[0]
    assert found[1].keys() == expected[1].keys()
    assert all((found[1][name] == array).all() for name, array in expected[1].items())
