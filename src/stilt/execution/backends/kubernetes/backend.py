"""Submitting a batch as an Indexed Job."""

from __future__ import annotations

from collections.abc import Collection

from stilt.config import KubernetesExecution
from stilt.errors import ConfigError
from stilt.execution.backends.kubernetes.client import JobsClient
from stilt.execution.backends.kubernetes.control import KubernetesControl
from stilt.execution.backends.kubernetes.render import check_section, indexed_job, render
from stilt.execution.detached import Accepted, DetachedJob, hand_over
from stilt.execution.jobs import JobRecord
from stilt.execution.progress import Reporter
from stilt.execution.tasks import Task
from stilt.execution.worker import WorkContext


class KubernetesBackend:
    """
    Divides the work among the indexes of a job.

    Parameters
    ----------
    section : KubernetesExecution
        Image, namespace, resources.
    context : WorkContext
        Store and settings.
    reporter : Reporter
        Hears how it goes.
    """

    def __init__(self, section: KubernetesExecution, context: WorkContext, reporter: Reporter) -> None:
        self.section = section
        self.context = context
        self.reporter = reporter

    def check(self) -> None:
        """Let the API server say, without creating anything, whether the job is good here."""
        check_section(self.section, self.context)
        if self.section.mode == "pull":
            raise ConfigError(
                "in mode pull the cluster keeps workers: `stilt kubernetes render | kubectl apply -f -` "
                "once, then `stilt register` hands them work through the queue."
            )
        self._client().create(indexed_job(self.section, self.context, "check", 1).to_dict(), dry_run=True)

    def preview(self, tasks: Collection[Task]) -> str:
        """Return the manifest."""
        n_chunks = min(self.section.n_workers, len(tasks))
        text = render(self.section, self.context, "batch", n_chunks)
        return f"# {len(tasks)} simulations; nothing was created\n{text}"

    def submit(self, tasks: Collection[Task]) -> DetachedJob:
        """Write the chunks and create the job."""
        return hand_over(
            "kubernetes",
            tasks,
            self.context,
            self.reporter,
            n_chunks=self.section.n_workers,
            start=self._start,
        )

    @classmethod
    def attach(cls, record: JobRecord) -> KubernetesControl:
        """Return the control of a job that was created earlier."""
        return KubernetesControl(record)

    def _start(self, batch: str, n_chunks: int) -> Accepted:
        job = indexed_job(self.section, self.context, batch, n_chunks)
        self._client().create(job.to_dict())
        where: dict[str, object] = {"namespace": self.section.namespace}
        if self.section.context is not None:
            where["context"] = self.section.context
        return Accepted((str(job.metadata.name),), n_chunks, where)

    def _client(self) -> JobsClient:
        return JobsClient(self.section.namespace, self.section.context)
