"""The job script: plain shell that a user can read, keep and submit by hand."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from stilt.config import SlurmExecution
from stilt.execution.worker import WorkContext
from stilt.storage.layout import CHUNKS

_SCRIPT = """\
#!/bin/bash
{directives}
# Batch {batch}: chunk N of {chunks} is {folder}/N.jsonl, and stays as it is.
# {signal_seconds} s before the time limit Slurm sends USR1: the worker stops, and goes back to the queue.
# On preemption Slurm sends TERM and requeues. Either way the task later goes on where it stopped.
trap '' USR1
{setup}
# the argument is the chunk of the array's first task: 0, unless the site's arrays are shorter than the batch
chunk=$((${{1:-0}} + SLURM_ARRAY_TASK_ID))
exec {worker} --chunk "{folder}/$chunk.jsonl" --cpus {cpus} --isolate{options}
"""


def job_script(
    section: SlurmExecution, context: WorkContext, batch: str, n_chunks: int, logs: Path | None
) -> str:
    """
    Write the job script of a batch.

    Parameters
    ----------
    section : SlurmExecution
        Options and setup lines.
    context : WorkContext
        Store and settings.
    batch : str
        Name of the batch.
    n_chunks : int
        Array tasks altogether.
    logs : Path, optional
        Folder of what tasks print; none: it is thrown away.

    Returns
    -------
    str
        The script.
    """
    command = section.command or (sys.executable, "-m", "stilt")
    options: dict[str, str | bool] = {
        "job-name": "stilt",
        # Slurm replaces %-words, also in the names of folders
        "output": "/dev/null" if logs is None else f"{str(logs).replace('%', '%%')}/%A_%a.out",
        "open-mode": "append",
        "requeue": True,
        "signal": f"B:USR1@{section.signal_seconds}",
        **section.options,
    }
    directives = [
        f"#SBATCH --{name}" if value is True else f"#SBATCH --{name}={_quoted(str(value))}"
        for name, value in options.items()
    ]
    extra = "" if context.skip_existing else " --no-skip-existing"
    if context.compute_root is not None:
        extra += f" --compute-root {shlex.quote(str(context.compute_root))}"
    return _SCRIPT.format(
        directives="\n".join(directives),
        batch=batch,
        chunks=n_chunks,
        folder=f"{CHUNKS}/{batch}",
        signal_seconds=section.signal_seconds,
        setup="\n".join(("", *section.setup, "")) if section.setup else "",
        worker=shlex.join([*command, "push-worker", location(context)]),
        cpus=section.cpus_per_task,
        options=extra,
    )


def location(context: WorkContext) -> str:
    """Address of the output root as a worker on another machine is told it."""
    root = getattr(context.store, "root", None)
    return context.store.uri if root is None else str(root)


def _quoted(value: str) -> str:
    """Quote a value as sbatch reads its directives: double quotes around what has blanks."""
    if not any(sign in value for sign in " \t#\"'"):
        return value
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
