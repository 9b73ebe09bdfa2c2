"""Inside an array task: back to the queue before the time limit."""

from __future__ import annotations

import os
from collections.abc import Callable

from stilt.execution.backends.slurm.client import SlurmError, call


def return_to_queue(say: Callable[[str], None]) -> bool:
    """
    Ask Slurm to start this task again later, on the work that is left.

    Parameters
    ----------
    say : callable
        Told how it went.

    Returns
    -------
    bool
        Whether Slurm agreed; it then ends this process.
    """
    job_id = os.environ.get("SLURM_JOB_ID")
    if not job_id:
        return False
    array = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    name = "_".join(part for part in array if part) if all(array) else job_id
    try:
        call("scontrol", "requeue", name)
    except SlurmError as error:
        say(f"array task {name} cannot go back to the queue ({error}); `stilt run` makes what is left.")
        return False
    say(f"array task {name} goes back to the queue and later goes on where it stopped.")
    return True
