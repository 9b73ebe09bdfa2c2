"""The objects of a batch, or of workers on the queue, from the configuration."""

from __future__ import annotations

import hashlib
import re
from pathlib import PurePosixPath

from stilt.config import KubernetesExecution, ModelConfig
from stilt.errors import ConfigError
from stilt.execution.backends.kubernetes import manifests as k8s
from stilt.execution.worker import WorkContext
from stilt.storage.layout import CHUNKS

CONTAINER = "stilt"
SCRATCH = "/scratch"
INDEX = "STILT_INDEX"
_INDEX_ANNOTATION = "metadata.annotations['batch.kubernetes.io/job-completion-index']"
_GRACE = 60
"""Seconds between SIGTERM and SIGKILL: enough to drop a simulation and note what was done."""

_POLL = 15
_COOLDOWN = 300


def check_section(section: KubernetesExecution, context: WorkContext) -> None:
    """
    Raise ConfigError for a configuration from which no pod could work.

    Parameters
    ----------
    section : KubernetesExecution
        Image, namespace, resources.
    context : WorkContext
        Store and settings.
    """
    if section.image is None:
        raise ConfigError(
            "backend kubernetes needs an image; build one from the Dockerfile of this package, push it, and "
            "set execution: image."
        )
    if section.mode == "pull":
        _check_pull(section)
    root = getattr(context.store, "root", None)
    if root is not None:
        _must_be_mounted(section, str(root), "the outputs", "put them into a bucket (--output-dir s3://...)")
    for name, met in context.config.every_met.items():
        if met.directory is not None:
            _must_be_mounted(section, str(met.directory), f"met '{name}'", "put it on a volume")
        if met.download_dir is not None:
            _must_be_mounted(
                section, str(met.download_dir), f"download_dir of met '{name}'", "put it on a volume"
            )


def indexed_job(section: KubernetesExecution, context: WorkContext, batch: str, n_chunks: int) -> k8s.Job:
    """
    Make the job of a batch: one index for each chunk.

    Parameters
    ----------
    section : KubernetesExecution
        Image, namespace, resources.
    context : WorkContext
        Store and settings.
    batch : str
        Name of the batch.
    n_chunks : int
        How many chunks.

    Returns
    -------
    manifests.Job
        A pod that ends with some simulations failed (exit code 1) or refused (2) is not started
        again; one that is evicted or preempted is, without limit; one that dies (out of memory)
        at most ``backoff_limit`` times.
    """
    args = [
        "push-worker",
        location(context),
        "--chunk",
        f"{CHUNKS}/{batch}/$({INDEX}).jsonl",
        "--cpus",
        str(section.cpus),
        "--isolate",
        "--compute-root",
        SCRATCH,
    ]
    if not context.skip_existing:
        args.append("--no-skip-existing")
    index = k8s.Env(
        name=INDEX,
        value_from=k8s.EnvSource(field_ref=k8s.FieldRef(field_path=_INDEX_ANNOTATION)),
    )
    return _job(section, batch, n_chunks, args, [index])


def pull_job(section: KubernetesExecution, context: WorkContext, batch: str, n_workers: int) -> k8s.Job:
    """
    Make the job of a run in mode pull: one index for each worker on the queue.

    Parameters
    ----------
    section : KubernetesExecution
        Image, namespace, resources; the Secret has to hold ``PYSTILT_DB_URL``.
    context : WorkContext
        Store and settings.
    batch : str
        Name of the batch.
    n_workers : int
        How many workers.

    Returns
    -------
    manifests.Job
        Its pods end when nothing is pending nor running; else like those of `indexed_job`.
    """
    _check_pull(section)
    args = ["pull-worker", location(context), "--until-done", "--compute-root", SCRATCH]
    return _job(section, batch, n_workers, args, [])


def _job(
    section: KubernetesExecution, batch: str, completions: int, args: list[str], env: list[k8s.Env]
) -> k8s.Job:
    labels = {**_labels("batch"), "stilt.batch": batch}
    rules = [
        k8s.FailureRule(action="Ignore", on_pod_conditions=[k8s.OnPodCondition(type="DisruptionTarget")]),
        k8s.FailureRule(
            action="FailIndex",
            on_exit_codes=k8s.OnExitCodes(container_name=CONTAINER, operator="In", values=[1, 2]),
        ),
    ]
    return k8s.Job(
        metadata=k8s.Metadata(name=f"stilt-{batch.lower()}", namespace=section.namespace, labels=labels),
        spec=k8s.JobSpec(
            completions=completions,
            parallelism=min(completions, section.parallelism or completions),
            backoff_limit_per_index=section.backoff_limit,
            max_failed_indexes=completions,
            pod_failure_policy=k8s.FailurePolicy(rules=rules),
            ttl_seconds_after_finished=section.ttl_seconds,
            active_deadline_seconds=section.deadline_seconds,
            template=_pods(section, args, env, labels, restart="Never"),
        ),
    )


def pull_workers(
    section: KubernetesExecution, context: WorkContext
) -> tuple[k8s.Deployment, k8s.ScaledObject]:
    """
    Make workers that stay and follow the queue, and what scales them with it.

    Parameters
    ----------
    section : KubernetesExecution
        Image, namespace, resources; the Secret has to hold ``PYSTILT_DB_URL``.
    context : WorkContext
        Store and settings.
    """
    _check_pull(section)
    where = location(context)
    name = f"stilt-{_short(where)}"
    labels = {**_labels("worker"), "stilt.project": _short(where)}
    pods = _pods(section, ["serve", where], [], labels, restart="Always")
    metadata = k8s.Metadata(name=name, namespace=section.namespace, labels=labels)
    deployment = k8s.Deployment(
        metadata=metadata,
        spec=k8s.DeploymentSpec(
            replicas=section.min_workers, selector=k8s.Selector(match_labels=labels), template=pods
        ),
    )
    # KEDA takes no parameters, so the address is quoted here; it is the project's own. It takes no row for an
    # error, so a project that has asked for nothing yet counts as empty.
    project = context.store.identity.replace("'", "''")
    query = (
        "SELECT COALESCE((SELECT pending + running FROM stilt_depth "  # noqa: S608
        f"WHERE project = '{project}'), 0)"
    )
    scaled = k8s.ScaledObject(
        metadata=metadata,
        spec=k8s.ScaledObjectSpec(
            scale_target_ref=k8s.ScaleTarget(name=name),
            polling_interval=_POLL,
            cooldown_period=_COOLDOWN,
            min_replica_count=section.min_workers,
            max_replica_count=section.n_workers,
            triggers=[
                k8s.Trigger(
                    metadata={
                        "connectionFromEnv": "PYSTILT_DB_URL",
                        "query": query,
                        "targetQueryValue": str(section.rows_per_worker),
                    }
                )
            ],
        ),
    )
    return deployment, scaled


def location(context: WorkContext) -> str:
    """Address of the output root as a pod is told it."""
    root = getattr(context.store, "root", None)
    return context.store.uri if root is None else str(root)


def _pods(
    section: KubernetesExecution,
    args: list[str],
    env: list[k8s.Env],
    labels: dict[str, str],
    *,
    restart: str,
) -> k8s.PodTemplate:
    quantities = {"cpu": section.cpu, "memory": section.memory}
    volumes = [k8s.Volume(name="scratch", empty_dir=k8s.EmptyDir(size_limit=section.scratch))]
    mounts = [k8s.Mount(name="scratch", mount_path=SCRATCH)]
    for number, volume in enumerate(section.volumes):
        claim = k8s.Claim(claim_name=volume.claim, read_only=volume.read_only or None)
        volumes.append(k8s.Volume(name=f"volume-{number}", persistent_volume_claim=claim))
        mounts.append(
            k8s.Mount(name=f"volume-{number}", mount_path=volume.path, read_only=volume.read_only or None)
        )
    given = {"PYSTILT_COMPUTE_ROOT": SCRATCH, **section.env}
    secret = section.env_from_secret
    container = k8s.Container(
        name=CONTAINER,
        image=section.image or "",
        image_pull_policy=section.image_pull_policy,
        args=args,
        env=[*env, *(k8s.Env(name=name, value=value) for name, value in given.items())],
        env_from=None if secret is None else [k8s.EnvFrom(secret_ref=k8s.SecretRef(name=secret))],
        resources=k8s.Resources(requests=quantities, limits={"memory": section.memory}),
        volume_mounts=mounts,
    )
    return k8s.PodTemplate(
        metadata=k8s.Metadata(labels=labels),
        spec=k8s.PodSpec(
            restart_policy=restart,  # type: ignore[arg-type]
            service_account_name=section.service_account,
            # nothing in a pod talks to the API server
            automount_service_account_token=None if section.service_account else False,
            node_selector=section.node_selector or None,
            termination_grace_period_seconds=_GRACE,
            containers=[container],
            volumes=volumes,
        ),
    )


def _check_pull(section: KubernetesExecution) -> None:
    if section.env_from_secret is None:
        raise ConfigError(
            "mode pull needs env_from_secret: a Secret whose key PYSTILT_DB_URL is the address of the queue."
        )
    if section.cpus > 1:
        raise ConfigError(
            f"a pull worker is one process: {section.cpus - 1} of {section.cpus} cores of each pod "
            "would idle; set cpu: 1 and a larger n_workers, or use mode: indexed."
        )


def _labels(component: str) -> dict[str, str]:
    return {"app.kubernetes.io/name": "stilt", "app.kubernetes.io/component": component}


def _short(where: str) -> str:
    """Name a project within 63 letters: what it is called, and a few digits of its address."""
    word = re.sub(r"[^a-z0-9]+", "-", PurePosixPath(where).name.lower()).strip("-")[:30].strip("-")
    digits = hashlib.sha256(where.encode()).hexdigest()[:8]
    return f"{word}-{digits}" if word else digits


def _must_be_mounted(section: KubernetesExecution, path: str, what: str, instead: str) -> None:
    inside = any(PurePosixPath(path).is_relative_to(volume.path) for volume in section.volumes)
    if not inside:
        raise ConfigError(
            f"pods cannot see {what} at {path}; mount a volume there (execution: volumes), or {instead}."
        )


def render(section: KubernetesExecution, context: WorkContext, batch: str, n_chunks: int) -> str:
    """
    Write the objects as YAML.

    Parameters
    ----------
    section : KubernetesExecution
        The configuration; its mode decides which objects.
    context : WorkContext
        Store and settings.
    batch : str
        Name of the batch of an Indexed Job.
    n_chunks : int
        How many chunks it has.
    """
    check_section(section, context)
    if section.mode == "pull":
        return "---\n".join(each.to_yaml() for each in pull_workers(section, context))
    return indexed_job(section, context, batch, n_chunks).to_yaml()


def settings_of(config: ModelConfig) -> KubernetesExecution:
    """
    Return the section, or raise ConfigError when another backend is configured.

    Parameters
    ----------
    config : ModelConfig
        The settings.
    """
    if not isinstance(config.execution, KubernetesExecution):
        raise ConfigError(
            f"execution backend is '{config.execution.backend}'; there is something to render for kubernetes."
        )
    return config.execution
