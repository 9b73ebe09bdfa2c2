"""
The Kubernetes objects we make, as typed models: the few fields we use, spelled once.

Names are Python's here and camelCase in the manifest; what is None is left out. The tests hold
what comes out against the official schemas.
"""

from __future__ import annotations

from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel


class Manifest(BaseModel):
    """A part of a manifest."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)

    def to_dict(self) -> dict[str, Any]:
        """The part in Kubernetes' words."""
        return self.model_dump(by_alias=True, exclude_none=True, mode="json")

    def to_yaml(self) -> str:
        """The part as a YAML document."""
        return yaml.safe_dump(self.to_dict(), sort_keys=False, default_flow_style=False)


class Metadata(Manifest):
    """Name and labels."""

    name: str | None = None
    namespace: str | None = None
    labels: dict[str, str] | None = None


class FieldRef(Manifest):
    """A field of the pod itself."""

    field_path: str


class EnvSource(Manifest):
    """Where the value of an environment variable comes from."""

    field_ref: FieldRef


class Env(Manifest):
    """An environment variable."""

    name: str
    value: str | None = None
    value_from: EnvSource | None = None


class SecretRef(Manifest):
    """A Secret by name."""

    name: str


class EnvFrom(Manifest):
    """A Secret whose keys become environment variables."""

    secret_ref: SecretRef


class Resources(Manifest):
    """What a container asks for and may use."""

    requests: dict[str, str]
    limits: dict[str, str]


class Mount(Manifest):
    """A volume as a container sees it."""

    name: str
    mount_path: str
    read_only: bool | None = None


class Capabilities(Manifest):
    """Linux capabilities."""

    drop: list[str]


class ContainerSecurity(Manifest):
    """What a container may not do."""

    allow_privilege_escalation: bool = False
    capabilities: Capabilities = Capabilities(drop=["ALL"])


class Container(Manifest):
    """A container of a pod."""

    name: str
    image: str
    image_pull_policy: str
    args: list[str]
    env: list[Env]
    env_from: list[EnvFrom] | None = None
    resources: Resources
    volume_mounts: list[Mount]
    security_context: ContainerSecurity = ContainerSecurity()
    termination_message_policy: str = "FallbackToLogsOnError"


class Claim(Manifest):
    """A persistent volume claim by name."""

    claim_name: str
    read_only: bool | None = None


class EmptyDir(Manifest):
    """Scratch that lives as long as the pod."""

    size_limit: str | None = None


class Volume(Manifest):
    """A volume of a pod."""

    name: str
    persistent_volume_claim: Claim | None = None
    empty_dir: EmptyDir | None = None


class Seccomp(Manifest):
    """Filter of system calls."""

    type: str = "RuntimeDefault"


class PodSecurity(Manifest):
    """Whom a pod runs as."""

    run_as_non_root: bool = True
    fs_group: int = 10001
    seccomp_profile: Seccomp = Seccomp()


class PodSpec(Manifest):
    """A pod."""

    restart_policy: Literal["Never", "Always"]
    service_account_name: str | None = None
    automount_service_account_token: bool | None = None
    node_selector: dict[str, str] | None = None
    termination_grace_period_seconds: int
    security_context: PodSecurity = PodSecurity()
    containers: list[Container]
    volumes: list[Volume]


class PodTemplate(Manifest):
    """What every pod of a job or deployment looks like."""

    metadata: Metadata
    spec: PodSpec


class OnExitCodes(Manifest):
    """Exit codes a rule is about."""

    container_name: str
    operator: Literal["In"]
    values: list[int]


class OnPodCondition(Manifest):
    """A condition of the pod a rule is about."""

    type: str
    status: str = "True"


class FailureRule(Manifest):
    """What the end of a pod means for its job."""

    action: Literal["FailJob", "FailIndex", "Ignore", "Count"]
    on_exit_codes: OnExitCodes | None = None
    on_pod_conditions: list[OnPodCondition] | None = None


class FailurePolicy(Manifest):
    """Rules, the first that matches counts."""

    rules: list[FailureRule]


class JobSpec(Manifest):
    """An Indexed Job."""

    completion_mode: Literal["Indexed"] = "Indexed"
    completions: int
    parallelism: int
    backoff_limit_per_index: int
    max_failed_indexes: int
    pod_failure_policy: FailurePolicy
    ttl_seconds_after_finished: int
    active_deadline_seconds: int | None = None
    template: PodTemplate


class Job(Manifest):
    """A batch of work."""

    api_version: Literal["batch/v1"] = "batch/v1"
    kind: Literal["Job"] = "Job"
    metadata: Metadata
    spec: JobSpec


class Selector(Manifest):
    """Pods by their labels."""

    match_labels: dict[str, str]


class DeploymentSpec(Manifest):
    """Pods that are kept running."""

    replicas: int
    selector: Selector
    template: PodTemplate


class Deployment(Manifest):
    """Workers that pull from the queue."""

    api_version: Literal["apps/v1"] = "apps/v1"
    kind: Literal["Deployment"] = "Deployment"
    metadata: Metadata
    spec: DeploymentSpec


class ScaleTarget(Manifest):
    """What is scaled."""

    api_version: Literal["apps/v1"] = "apps/v1"
    kind: Literal["Deployment"] = "Deployment"
    name: str


class Trigger(Manifest):
    """What KEDA looks at; its metadata are all text."""

    type: Literal["postgresql"] = "postgresql"
    metadata: dict[str, str]


class ScaledObjectSpec(Manifest):
    """How many workers for how much work."""

    scale_target_ref: ScaleTarget
    polling_interval: int
    cooldown_period: int
    min_replica_count: int
    max_replica_count: int
    triggers: list[Trigger] = Field(min_length=1)


class ScaledObject(Manifest):
    """KEDA's object that scales a deployment."""

    api_version: Literal["keda.sh/v1alpha1"] = "keda.sh/v1alpha1"
    kind: Literal["ScaledObject"] = "ScaledObject"
    metadata: Metadata
    spec: ScaledObjectSpec
