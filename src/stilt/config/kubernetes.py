"""The ``kubernetes`` execution section: what pods look like and where they run."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from stilt.sections import Int, Section

_DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?").fullmatch
_DNS_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*").fullmatch
_SECRET = re.compile(
    r"SECRET|PASSWORD|(TOKEN|ACCESS_KEY|ACCOUNT_KEY|API_KEY|CONNECTION_STRING)$|^PYSTILT_DB_URL$",
    re.IGNORECASE,
).search
_QUANTITY = re.compile(r"[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?").fullmatch


def _quantity(value: Any) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = f"{value:g}"
    if isinstance(value, str) and not _QUANTITY(value):
        raise ValueError(f"{value!r} is no quantity; write one like 2, 500m or 4Gi")
    return value


def _label(value: str) -> str:
    if not _DNS_LABEL(value):
        raise ValueError(f"{value!r} should be lower-case letters, digits and hyphens, at most 63")
    return value


def _name(value: str) -> str:
    if not _DNS_NAME(value) or len(value) > 253:
        raise ValueError(f"{value!r} should be lower-case letters, digits, hyphens and dots")
    return value


def _image(value: str) -> str:
    if not value or any(sign.isspace() for sign in value):
        raise ValueError(f"{value!r} is no image; write one like registry.example.org/stilt:1")
    return value


def _absolute(value: str) -> str:
    if not value.startswith("/"):
        raise ValueError(f"{value!r} should begin with /, as pods see it")
    return value


Quantity = Annotated[str, BeforeValidator(_quantity)]
Label = Annotated[str, AfterValidator(_label)]
Name = Annotated[str, AfterValidator(_name)]


class Volume(Section):
    """A persistent volume that pods see."""

    claim: Name = Field(description="Persistent volume claim [name].")
    path: Annotated[str, AfterValidator(_absolute)] = Field(
        description="Where pods see it [path]; the same path as on the machine that submits."
    )
    read_only: bool = Field(default=False, description="Whether pods may not write to it.")


class KubernetesExecution(Section):
    """Pods on a Kubernetes cluster."""

    backend: Literal["kubernetes"] = Field(default="kubernetes", description="Where workers run [name].")
    n_workers: Int = Field(
        default=1, ge=1, description="Number of pods: indexes of the job, or the most pull workers [1]."
    )
    mode: Literal["indexed", "pull"] = Field(
        default="indexed",
        description="One chunk per index of an Indexed Job, or workers on the queue [name].",
    )
    parallelism: Int | None = Field(
        default=None, ge=1, description="Most pods of an Indexed Job at once [1]; none: all of them."
    )
    image: Annotated[str, AfterValidator(_image)] | None = Field(
        default=None, description="Container image [reference]."
    )
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = Field(
        default="IfNotPresent", description="When nodes fetch the image [name]."
    )
    namespace: Label = Field(default="default", description="Namespace [name].")
    context: str | None = Field(
        default=None, description="Context of the kubeconfig [name]; default: the current one."
    )
    service_account: Name | None = Field(default=None, description="Service account [name].")
    cpu: Quantity = Field(default="1", description="Cores of one pod, and so its workers [cores].")
    memory: Quantity = Field(
        default="2Gi", description="Memory of one pod, request and limit [bytes, or with unit]."
    )
    scratch: Quantity | None = Field(
        default=None,
        description="Size of the scratch volume of one pod [bytes, or with unit]; none: no limit.",
    )
    env: dict[str, str] = Field(
        default_factory=dict, description="Environment of pods, nothing secret [names]."
    )
    env_from_secret: Name | None = Field(
        default=None,
        description="Secret whose keys become environment, such as credentials of a bucket [name].",
    )
    volumes: tuple[Volume, ...] = Field(default=(), description="Persistent volumes that pods see.")
    node_selector: dict[str, str] = Field(default_factory=dict, description="Node labels required [labels].")
    ttl_seconds: Int = Field(
        default=86400, ge=0, description="How long a job that has ended stays listed in the cluster [s]."
    )
    backoff_limit: Int = Field(
        default=3,
        ge=0,
        description="How often one index may be lost (out of memory, killed) before it fails [1].",
    )
    deadline_seconds: Int | None = Field(
        default=None, ge=1, description="How long a job may take altogether [s]; none: no limit."
    )
    min_workers: Int = Field(
        default=0, ge=0, description="Least pull workers that are kept while the queue is empty [1]."
    )
    rows_per_worker: Int = Field(
        default=20, ge=1, description="Waiting queue rows for which one more pull worker is started [1]."
    )

    @property
    def cpus(self) -> int:
        """Worker processes of a pod: its whole cores, at least one."""
        return max(
            1, math.floor(float(self.cpu[:-1]) / 1000.0 if self.cpu.endswith("m") else float(self.cpu))
        )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.min_workers > self.n_workers:
            raise ValueError(f"min_workers {self.min_workers} is above n_workers {self.n_workers}")
        paths = [volume.path for volume in self.volumes]
        if len(set(paths)) < len(paths):
            raise ValueError("two volumes have the same path")
        secret = [name for name in self.env if _SECRET(name)]
        if secret:
            raise ValueError(
                f"env: {secret[0]} is a secret; put it into a Secret and name it in env_from_secret"
            )
        return self
