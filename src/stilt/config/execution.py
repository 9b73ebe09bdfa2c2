"""
How work reaches workers: one section per backend.

The backend never changes a result. What each of them does with its keys is decided in
``stilt.execution``; here they are only read, so that a misspelt one is found on any machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, model_validator

from stilt.sections import Int, Section
from stilt.spelling import did_you_mean


def _to_text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Text = Annotated[str, BeforeValidator(_to_text)]
"""Text that may be written as a bare number, such as a memory size."""


class LocalExecution(Section):
    """Processes on this machine."""

    backend: Literal["local"] = Field(default="local", description="Where workers run [name].")
    n_workers: Int = Field(
        default=1, ge=1, description="Number of worker processes [1]; 1 runs in this process."
    )


class SlurmExecution(Section):
    """An array job on a Slurm cluster; keys may be written with ``-`` or ``_``."""

    backend: Literal["slurm"] = Field(default="slurm", description="Where workers run [name].")
    n_workers: Int = Field(default=1, ge=1, description="Number of array tasks [1].")
    array_parallelism: Int | None = Field(default=None, ge=1, description="Most array tasks at once [1].")
    cpus_per_task: Int = Field(default=1, ge=1, description="Processor cores of one array task [1].")
    setup: tuple[str, ...] = Field(
        default=(), description="Shell lines run before the worker, such as module load."
    )
    account: Text | None = Field(default=None, description="Account charged [name].")
    partition: Text | None = Field(default=None, description="Partition [name].")
    qos: Text | None = Field(default=None, description="Quality of service [name].")
    time: Text | None = Field(default=None, description="Time limit [HH:MM:SS or minutes].")
    mem: Text | None = Field(default=None, description="Memory of one array task [MB, or with unit].")
    mem_per_cpu: Text | None = Field(default=None, description="Memory per core [MB, or with unit].")
    constraint: Text | None = Field(default=None, description="Node features required [names].")
    clusters: Text | None = Field(default=None, description="Clusters to submit to [names].")
    reservation: Text | None = Field(default=None, description="Reservation [name].")
    exclude: Text | None = Field(default=None, description="Nodes not to use [names].")
    nodelist: Text | None = Field(default=None, description="Nodes to use [names].")
    job_name: Text | None = Field(default=None, description="Name of the job [name].")
    mail_type: Text | None = Field(default=None, description="When to send mail [events].")
    mail_user: Text | None = Field(default=None, description="Whom to send mail [address].")

    @model_validator(mode="before")
    @classmethod
    def _accept_hyphens(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        return {
            key.replace("-", "_") if isinstance(key, str) else key: value for key, value in values.items()
        }

    @classmethod
    def _key_names(cls) -> frozenset[str]:
        names = frozenset(cls.model_fields)
        return names | {name.replace("_", "-") for name in names}


class KubernetesExecution(Section):
    """Pods on a Kubernetes cluster."""

    backend: Literal["kubernetes"] = Field(default="kubernetes", description="Where workers run [name].")
    n_workers: Int = Field(default=1, ge=1, description="Number of pods [1].")
    mode: Literal["indexed", "pull"] = Field(
        default="indexed", description="One chunk per pod of an Indexed Job, or workers on the queue [name]."
    )
    image: str | None = Field(default=None, description="Container image [reference].")
    namespace: str = Field(default="default", description="Namespace [name].")
    service_account: str | None = Field(default=None, description="Service account [name].")
    cpu: Text | None = Field(default=None, description="Cores requested by one pod [cores or millicores].")
    memory: Text | None = Field(
        default=None, description="Memory requested by one pod [bytes, or with unit]."
    )
    env_from_secret: str | None = Field(
        default=None, description="Secret whose keys become environment [name]."
    )
    node_selector: dict[str, str] = Field(default_factory=dict, description="Node labels required [labels].")


class DaskExecution(Section):
    """A Dask cluster that is already running, or one started on this machine."""

    backend: Literal["dask"] = Field(default="dask", description="Where workers run [name].")
    address: str | None = Field(default=None, description="Address of the scheduler [URL].")
    scheduler_file: Path | None = Field(default=None, description="Scheduler file [path].")
    n_workers: Int = Field(default=1, ge=1, description="Number of workers of a cluster started here [1].")


BACKENDS = ("local", "slurm", "kubernetes", "dask")


def _default_backend(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    backend = value.get("backend", "local")
    if backend not in BACKENDS:
        raise ValueError(f"unknown backend {backend!r}, {did_you_mean(str(backend), BACKENDS)}")
    return {"backend": backend, **value}


ExecutionConfig = Annotated[
    Annotated[
        LocalExecution | SlurmExecution | KubernetesExecution | DaskExecution,
        Discriminator("backend"),
    ],
    BeforeValidator(_default_backend),
]
"""The ``execution`` section: a union on ``backend``."""
