"""Asking about a job and cancelling it, from its record alone."""

from __future__ import annotations

import contextlib
from collections import Counter
from pathlib import Path

from stilt.execution.backends.slurm import client
from stilt.execution.backends.slurm.client import SlurmError
from stilt.execution.jobs import JobRecord
from stilt.execution.protocol import JobView

_RUNS = frozenset({"RUNNING", "COMPLETING", "SUSPENDED", "CONFIGURING", "STOPPED", "SIGNALING", "STAGE_OUT"})
_TAIL = 4096


class SlurmControl:
    """
    The array jobs of a batch.

    Parameters
    ----------
    record : JobRecord
        The batch.
    """

    def __init__(self, record: JobRecord) -> None:
        self.record = record
        self._cluster = str(record.where.get("cluster", ""))
        self._firsts = dict(zip(record.job_ids, record.where.get("firsts", []), strict=False))

    def look(self) -> JobView:
        """Ask squeue; when nothing is left, ask how the tasks ended."""
        try:
            rows = client.tasks_in_queue(self.record.job_ids, self._cluster)
        except SlurmError as error:
            return JobView(trouble=f"Slurm does not answer ({str(error).rstrip('.')})")
        running, waiting = set(), set()
        reasons: Counter[str] = Counter()
        for task, state, reason in rows:
            job_id, _, index = task.partition("_")
            if not index.isdigit() or job_id not in self._firsts:
                continue
            chunk = self._firsts[job_id] + int(index)
            if state in _RUNS:
                running.add(chunk)
            else:
                waiting.add(chunk)
                reasons[reason] += reason != "None"
        note = ", ".join(reason for reason, count in reasons.most_common(3) if count)
        ended = {} if running or waiting else self._ends()
        return JobView(frozenset(running), frozenset(waiting), ended, note)

    def _ends(self) -> dict[int, str]:
        """Chunks whose task did not end by itself; exit code 1 says that some simulations failed."""
        found = {}
        for job_id, first in self._firsts.items():
            for index, (state, code) in client.ends_of_tasks(job_id, self._cluster).items():
                state = state.split()[0] if state else ""
                if state == "COMPLETED" or (state == "FAILED" and code == "1:0"):
                    continue
                ended = f"{state}, exit code {code}" if state == "FAILED" else state
                found[first + index] = f"{ended}, array task {job_id}_{index}"
        return {chunk: text for chunk, text in found.items() if not text.startswith(("PENDING", "RUNNING"))}

    def cancel(self) -> None:
        """Let scancel end all tasks, running and waiting."""
        options = ("-M", self._cluster) if self._cluster else ()
        client.call("scancel", *options, *self.record.job_ids)

    def last_words(self, chunk: int) -> str:
        """Return the last line of the task's log."""
        logs = self.record.where.get("logs")
        for job_id, first in reversed(self._firsts.items()):
            if chunk >= first and logs:
                return _last_line(Path(str(logs), f"{job_id}_{chunk - first}.out"))
        return ""


def _last_line(path: Path) -> str:
    with contextlib.suppress(OSError), path.open("rb") as stream:
        stream.seek(0, 2)
        stream.seek(max(0, stream.tell() - _TAIL))
        lines = stream.read().decode(errors="replace").strip().splitlines()
        return lines[-1].strip()[:300] if lines else ""
    return ""
