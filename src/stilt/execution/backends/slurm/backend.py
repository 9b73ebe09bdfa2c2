"""Submitting a batch: one array job, or as many as the site's MaxArraySize makes necessary."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from stilt.config import SlurmExecution
from stilt.errors import ConfigError, StoreError
from stilt.execution.backends.slurm import client
from stilt.execution.backends.slurm.client import NoSlurmError, SlurmError
from stilt.execution.backends.slurm.control import SlurmControl
from stilt.execution.backends.slurm.script import job_script
from stilt.execution.detached import Accepted, DetachedJob, hand_over
from stilt.execution.jobs import JobRecord
from stilt.execution.protocol import Built
from stilt.execution.tasks import Task
from stilt.storage.layout import CHUNKS

SCRIPT_FILE = "job.sh"
LOG_FOLDER = "logs"


class SlurmBackend(Built[SlurmExecution]):
    """Divides the work among the tasks of an array job."""

    @property
    def _cluster(self) -> str:
        return self.section.clusters or ""

    def check(self) -> None:
        """Let sbatch say, without submitting, whether the options are good here."""
        script = job_script(self.section, self.context, "check", 1, None)
        try:
            client.call("sbatch", "--test-only", "--array=0", stdin=script)
        except SlurmError as error:
            raise self._explained(error) from error

    def preview(self, tasks: Collection[Task]) -> str:
        """Return the job script, and how it would be submitted."""
        n_chunks = min(self.section.n_workers, len(tasks))
        script = job_script(self.section, self.context, "BATCH", n_chunks, self._logs("BATCH"))
        lines = [f"# {len(tasks)} simulations, {n_chunks} array tasks; nothing was submitted"]
        try:
            self.check()
            arrays = self._arrays(n_chunks)
            lines.append("# sbatch --test-only takes these options")
        except NoSlurmError:
            # the script can be read on any machine
            arrays = [(0, n_chunks)]
            lines.append("# no Slurm here: neither its options nor MaxArraySize were asked for")
        for first, count in arrays:
            lines.append(f"# sbatch {self._array(count)} {SCRIPT_FILE} {first}")
        return "\n".join([script.rstrip(), "", *lines])

    def submit(self, tasks: Collection[Task]) -> DetachedJob:
        """Write chunks and script, and submit."""
        return hand_over(
            "slurm", tasks, self.context, self.reporter, n_chunks=self.section.n_workers, start=self._start
        )

    @classmethod
    def attach(cls, record: JobRecord) -> SlurmControl:
        """Return the control of a job that was submitted earlier."""
        return SlurmControl(record)

    def _start(self, batch: str, n_chunks: int) -> Accepted:
        folder = self._folder(batch)
        logs = self._logs(batch)
        script = job_script(self.section, self.context, batch, n_chunks, logs)
        try:
            if logs is not None:
                logs.mkdir(parents=True, exist_ok=True)
            path = folder / SCRIPT_FILE
            path.parent.mkdir(parents=True, exist_ok=True)
            # names of folders are bytes; sbatch and the shell take them as they are
            path.write_text(script, encoding="utf-8", errors="surrogateescape")
        except OSError as error:
            raise StoreError(f"{folder}: the job script cannot be written ({error.strerror}).") from error
        job_ids: list[str] = []
        firsts: list[int] = []
        where: dict[str, object] = {"cluster": self._cluster, "logs": str(logs or ""), "firsts": firsts}
        accepted = 0
        refused = ""
        for first, count in self._arrays(n_chunks):
            try:
                number = client.submit(self._array(count), str(path), str(first))
            except SlurmError as error:
                if not job_ids:
                    raise self._explained(error) from error
                refused = str(error)
                break
            job_ids.append(number)
            firsts.append(first)
            accepted += count
        return Accepted(tuple(job_ids), accepted, where, refused)

    def _arrays(self, n_chunks: int) -> list[tuple[int, int]]:
        """First chunk and length of each array."""
        try:
            longest = client.max_array_size(self._cluster)
        except SlurmError as error:
            raise self._explained(error) from error
        return [(first, min(longest, n_chunks - first)) for first in range(0, n_chunks, longest)]

    def _array(self, count: int) -> str:
        limit = self.section.array_parallelism
        return f"--array=0-{count - 1}{f'%{limit}' if limit is not None else ''}"

    def _folder(self, batch: str) -> Path:
        """Folder of script and logs: beside the chunks, or in the cache where Slurm cannot name that."""
        root = getattr(self.context.store, "root", None)
        # in a bucket; or sbatch's directives, lines of text with escapes of their own, cannot spell it
        if root is None or not str(root).isprintable() or "\\" in str(root):
            from stilt.config import RuntimeSettings

            return Path(RuntimeSettings.from_env().cache_dir) / "slurm" / batch
        return Path(root) / CHUNKS / batch

    def _logs(self, batch: str) -> Path | None:
        return self._folder(batch) / LOG_FOLDER

    def _explained(self, error: SlurmError) -> ConfigError:
        if isinstance(error, NoSlurmError | client.UnknownJobError):
            return error
        said = str(error).rstrip(".")
        return SlurmError(f"{said}; nothing was submitted. Correct `execution`, or see `sinfo`.")
