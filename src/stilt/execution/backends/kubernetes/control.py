"""Asking about a job and cancelling it, from its record alone."""

from __future__ import annotations

from collections.abc import Collection

from stilt.config import RuntimeSettings
from stilt.errors import NoQueueError, QueueError
from stilt.execution.backends.kubernetes.client import (
    JobsClient,
    JobState,
    KubernetesError,
    MissingJobError,
)
from stilt.execution.jobs import JobRecord
from stilt.execution.protocol import JobView
from stilt.service import Queue, queue_for


class KubernetesControl:
    """
    The Indexed Job of a batch.

    Parameters
    ----------
    record : JobRecord
        The batch.
    """

    def __init__(self, record: JobRecord) -> None:
        self.record = record
        context = record.where.get("context")
        self._client = JobsClient(str(record.where["namespace"]), None if context is None else str(context))

    def look(self) -> JobView:
        """Ask the API server; a job that is gone was deleted, by its time to live or by somebody."""
        try:
            state = self._client.read(self.record.job_ids[0])
        except MissingJobError:
            return JobView(ended=dict.fromkeys(range(self.record.chunks), "CANCELLED, the job was deleted"))
        except KubernetesError as error:
            return JobView(trouble=str(error).rstrip("."))
        return self._view(state)

    def _view(self, state: JobState) -> JobView:
        return view_of(state)

    def cancel(self) -> None:
        """Delete the job and its pods."""
        self._client.delete(self.record.job_ids[0])

    def pause(self, seconds: float) -> None:
        """Wait until the job changes, but not longer than this; used between two looks."""
        try:
            state = self._client.read(self.record.job_ids[0])
            if state.ended:
                return
            for _ in self._client.changes(self.record.job_ids[0], state.version, max(1, int(seconds))):
                return
        except KubernetesError:
            return

    def last_words(self, chunk: int) -> str:
        """Say where the log is; pods are not asked for theirs."""
        name, namespace = self.record.job_ids[0], self.record.where["namespace"]
        labels = f"job-name={name},batch.kubernetes.io/job-completion-index={chunk}"
        return f"see kubectl logs -n {namespace} -l {labels}"


class PullControl(KubernetesControl):
    """
    Pull workers on one batch in the queue; all of it counts as one chunk.

    Parameters
    ----------
    record : JobRecord
        The batch.
    """

    def __init__(self, record: JobRecord) -> None:
        super().__init__(record)
        self._opened: Queue | None = None

    def cancel(self) -> None:
        """Delete the workers; `withdraw` takes their work back."""
        self._queue()  # not half a cancellation
        super().cancel()

    def withdraw(self, sim_ids: Collection[str]) -> None:
        """Take rows that nobody asks for any more out of the queue; who works on one is told to stop."""
        self._queue().remove(sim_ids)

    def last_words(self, chunk: int) -> str:
        """Say where the logs are; pods are not asked for theirs."""
        return f"see kubectl logs -n {self.record.where['namespace']} -l job-name={self.record.job_ids[0]}"

    def _view(self, state: JobState) -> JobView:
        if state.ended:
            return JobView()
        try:
            rows = self._queue().counts()
            queued = f"queue: {rows.pending} pending, {rows.running} running"
        except (QueueError, NoQueueError) as error:
            queued = str(error).rstrip(".")
        note = "pods wait for a node" if state.active and not state.ready else ""
        said = f"{state.ready} of {state.completions} pull workers run; {queued}"
        return JobView(waiting=frozenset({0}), note=note, said=said)

    def _queue(self) -> Queue:
        if self._opened is None:
            self._opened = queue_for(RuntimeSettings.from_env(), str(self.record.where["queue"]))
        if self._opened is None:
            raise NoQueueError(
                f"the work of job {self.record.name} is in the queue, but PYSTILT_DB_URL is not set here."
            )
        return self._opened


def view_of(state: JobState) -> JobView:
    """
    Turn the state of a job into what we ask of every scheduler.

    Parameters
    ----------
    state : JobState
        What the API server says.

    Returns
    -------
    JobView
        Indexes are chunks. An index that was given up because its worker ended with failed simulations
        (exit code 1) looks like one that died; the outputs tell them apart.
    """
    rest = sorted(set(range(state.completions)) - state.completed - state.failed)
    if state.ended:
        how = f"not run, the job ended: {state.reason}" if state.reason else "not run"
        return JobView(ended=dict.fromkeys(rest, how))
    # which of them run is not said; the lowest begin first
    ready = min(state.ready, len(rest))
    note = "pods wait for a node" if state.active and not ready else ""
    return JobView(frozenset(rest[:ready]), frozenset(rest[ready:]), {}, note)
