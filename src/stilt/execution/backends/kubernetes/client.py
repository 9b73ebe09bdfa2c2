"""The few calls to the API server, and its complaints in one line."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from stilt.errors import ConfigError, MissingExtraError

TIMEOUT = 30
"""Seconds a call may take."""


class KubernetesError(ConfigError):
    """The API server refused, or did not answer."""


class MissingJobError(KubernetesError):
    """There is no such job, or not any longer."""


@dataclass(frozen=True)
class JobState:
    """
    What the API server says about a job.

    Parameters
    ----------
    completions : int
        Indexes altogether.
    active : int
        Pods that run or wait for a node.
    ready : int
        Those that run.
    completed, failed : frozenset of int
        Indexes that ended well, and those given up.
    ended : str
        ``Complete`` or ``Failed``; empty while it goes on.
    reason : str
        Why it failed, in the server's words.
    version : str
        Version of the object, from which a watch goes on.
    """

    completions: int
    active: int
    ready: int
    completed: frozenset[int]
    failed: frozenset[int]
    ended: str = ""
    reason: str = ""
    version: str = ""


class JobsClient:
    """
    Jobs in one namespace.

    Parameters
    ----------
    namespace : str
        Where.
    context : str, optional
        Context of the kubeconfig; default: the current one, or the pod's own account inside a cluster.
    """

    def __init__(self, namespace: str, context: str | None = None) -> None:
        self.namespace = namespace
        kubernetes = _kubernetes()
        try:
            try:
                api = kubernetes.config.new_client_from_config(
                    config_file=os.environ.get("KUBECONFIG") or None, context=context
                )
            except kubernetes.config.ConfigException:
                if context is not None:
                    raise
                configuration = kubernetes.client.Configuration()
                kubernetes.config.load_incluster_config(client_configuration=configuration)
                api = kubernetes.client.ApiClient(configuration)
        except (kubernetes.config.ConfigException, OSError, TypeError) as error:
            raise KubernetesError(
                f"no Kubernetes cluster is configured ({_line(error)}); set KUBECONFIG, or change backend."
            ) from error
        self._api = kubernetes.client.BatchV1Api(api)
        self._watch = kubernetes.watch.Watch
        self._errors = (
            kubernetes.client.ApiException,
            kubernetes.client.rest.urllib3.exceptions.HTTPError,
            ValidationError,  # the client checks bodies itself
        )

    def create(self, manifest: dict[str, Any], *, dry_run: bool = False) -> None:
        """Create a job; with ``dry_run`` only let the server check it."""
        options = {"dry_run": "All"} if dry_run else {}
        self._call(
            self._api.create_namespaced_job,
            self.namespace,
            manifest,
            field_validation="Strict",
            **options,
        )

    def read(self, name: str) -> JobState:
        """Ask about a job; MissingJobError when there is none."""
        return _state(self._call(self._api.read_namespaced_job, name, self.namespace))

    def delete(self, name: str) -> None:
        """Delete a job and its pods; one that is gone is fine."""
        try:
            self._call(self._api.delete_namespaced_job, name, self.namespace, propagation_policy="Background")
        except MissingJobError:
            return

    def changes(self, name: str, version: str, seconds: int) -> Iterator[JobState | None]:
        """
        Yield the states of a job as they change.

        Parameters
        ----------
        name : str
            The job.
        version : str
            Version it was last seen in.
        seconds : int
            How long to look.

        Yields
        ------
        JobState or None
            None: it was deleted.
        """
        watch = self._watch()
        try:
            for event in watch.stream(
                self._api.list_namespaced_job,
                self.namespace,
                field_selector=f"metadata.name={name}",
                resource_version=version,
                timeout_seconds=seconds,
                _request_timeout=seconds + TIMEOUT,
            ):
                if event["type"] == "DELETED":
                    yield None
                    return
                yield _state(event["object"])
        except self._errors as error:
            if getattr(error, "status", None) == 410:
                return  # the server has forgotten that version; read again
            raise self._told(error) from error
        finally:
            watch.stop()

    def _call(self, function: Any, *args: Any, **options: Any) -> Any:
        try:
            return function(*args, _request_timeout=TIMEOUT, **options)
        except self._errors as error:
            raise self._told(error) from error

    def _told(self, error: Exception) -> KubernetesError:
        status = getattr(error, "status", None)
        if status is None:
            if isinstance(error, ValidationError):
                return KubernetesError(f"the manifest is not one ({_line(error)}).")
            why = getattr(error, "reason", None) or error
            return KubernetesError(f"the Kubernetes API server does not answer ({_line(why)}).")
        try:
            said = json.loads(getattr(error, "body", "") or "{}").get("message", "")
        except ValueError:
            said = ""
        kind = MissingJobError if status == 404 else KubernetesError
        return kind(f"the Kubernetes API server refused ({status}: {said or _line(error)}).")


def _state(job: Any) -> JobState:
    status = job.status
    ended, reason = "", ""
    for condition in status.conditions or []:
        if condition.status == "True" and condition.type in ("Complete", "Failed"):
            ended = condition.type
            reason = ": ".join(part for part in (condition.reason, condition.message) if part)
    return JobState(
        completions=job.spec.completions or 0,
        active=status.active or 0,
        ready=status.ready or 0,
        completed=frozenset(read_indexes(status.completed_indexes or "")),
        failed=frozenset(read_indexes(status.failed_indexes or "")),
        ended=ended,
        reason=reason,
        version=job.metadata.resource_version or "",
    )


def read_indexes(text: str) -> list[int]:
    """
    Read indexes as Kubernetes writes them.

    Examples
    --------
    >>> read_indexes("1,3-5")
    [1, 3, 4, 5]
    """
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        if first:
            found += range(int(first), int(last or first) + 1)
    return found


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


def _kubernetes() -> Any:
    try:
        import kubernetes.client
        import kubernetes.config
        import kubernetes.watch
    except ImportError as error:
        raise MissingExtraError(
            "backend kubernetes needs the package kubernetes; install it with: "
            "pip install 'pystilt[kubernetes]'."
        ) from error
    return kubernetes
