"""Submitting a batch as an Indexed Job: of its chunks, or of workers that pull it from the queue."""

from __future__ import annotations

from collections.abc import Collection

from stilt.config import KubernetesExecution
from stilt.errors import ConfigError, NoQueueError
from stilt.execution.backends.kubernetes.client import JobsClient
from stilt.execution.backends.kubernetes.control import KubernetesControl, PullControl
from stilt.execution.backends.kubernetes.manifests import Job
from stilt.execution.backends.kubernetes.render import check_section, indexed_job, pull_job
from stilt.execution.detached import Accepted, DetachedJob, hand_over
from stilt.execution.jobs import JobRecord
from stilt.execution.protocol import Built
from stilt.execution.tasks import Task
from stilt.service import Queue


class KubernetesBackend(Built[KubernetesExecution]):
    """Divides the work among the indexes of a job."""

    def check(self) -> None:
        """Let the API server say, without creating anything, whether the job is good here."""
        check_section(self.section, self.context)
        if self._is_pull:
            self._queue()
            if not self.context.skip_existing:
                raise ConfigError(
                    "pull workers make only what is missing; to make everything again use mode: indexed."
                )
        self._client().create(self._job("check", 1).to_dict(), dry_run=True)

    def preview(self, tasks: Collection[Task]) -> str:
        """Return the manifest."""
        check_section(self.section, self.context)
        job = self._job("batch", min(self.section.n_workers, len(tasks)))
        return f"# {len(tasks)} simulations; nothing was created\n{job.to_yaml()}"

    def submit(self, tasks: Collection[Task]) -> DetachedJob:
        """Write the chunks, or fill the queue, and create the job."""
        if self._is_pull:
            n_workers = min(self.section.n_workers, len(tasks))
            return hand_over(
                "kubernetes",
                tasks,
                self.context,
                self.reporter,
                n_chunks=1,  # for us, to know later what was asked for; workers ask the queue
                start=lambda batch, _: self._start_pulling(batch, tasks, n_workers),
            )
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
        return (PullControl if "queue" in record.where else KubernetesControl)(record)

    @property
    def _is_pull(self) -> bool:
        return self.section.mode == "pull"

    def _job(self, batch: str, completions: int) -> Job:
        make = pull_job if self._is_pull else indexed_job
        return make(self.section, self.context, batch, completions)

    def _start(self, batch: str, n_chunks: int) -> Accepted:
        job = self._job(batch, n_chunks)
        self._client().create(job.to_dict())
        where: dict[str, object] = {"namespace": self.section.namespace}
        if self.section.context is not None:
            where["context"] = self.section.context
        return Accepted((str(job.metadata.name),), n_chunks, where)

    def _start_pulling(self, batch: str, tasks: Collection[Task], n_workers: int) -> Accepted:
        # rows before workers, which end when they find none
        asked = dict.fromkeys(task.sim_id for task in tasks)
        self._queue().enqueue(asked, settings=self.context.fingerprint.hash)
        started = self._start(batch, n_workers)
        where = {**started.where, "queue": self.context.store.identity}
        return Accepted(started.job_ids, 1, where, said=f"for {n_workers} pull workers")

    def _queue(self) -> Queue:
        if self.context.queue is None:
            raise NoQueueError(
                "mode pull hands out work through the queue, but PYSTILT_DB_URL is not set here; set it to "
                "the database that the Secret of the workers names, or use mode: indexed."
            )
        return self.context.queue

    def _client(self) -> JobsClient:
        return JobsClient(self.section.namespace, self.section.context)
