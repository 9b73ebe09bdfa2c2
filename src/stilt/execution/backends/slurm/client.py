r"""
Slurm's commands: called with arguments, never through a shell, and understood in one place.

What they print need not be UTF-8: job names, working folders and messages of a site are bytes to
Slurm. A byte that is none is read as ``\xe9``, which can be printed anywhere.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence

from stilt.errors import ConfigError

PATIENCE = 120.0
"""Seconds a command of Slurm may take; controllers of large sites can be slow."""

_NOISE = re.compile(r"^(sbatch|squeue|scontrol|scancel|sacct): (error|fatal): ")

_UNPRINTABLE = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")
"""Colours and control characters, as messages of the day have them."""

_JOB_ID = re.compile(r"^(\d+)(;[^;\s]+)?$", re.MULTILINE)


class SlurmError(ConfigError):
    """Slurm refused, or did not answer."""


class NoSlurmError(SlurmError):
    """Slurm's commands are not here."""


class UnknownJobError(SlurmError):
    """Slurm took a job, perhaps, and did not say which."""


def call(*command: str, stdin: str | None = None) -> str:
    """
    Run one of Slurm's commands.

    Parameters
    ----------
    *command : str
        Program and arguments.
    stdin : str, optional
        What it reads.

    Returns
    -------
    str
        What it printed.

    Raises
    ------
    SlurmError
        With what it complained about, in one line.
    """
    program = shutil.which(command[0])
    if program is None:
        raise NoSlurmError(
            f"{command[0]} is not on PATH, so there is no Slurm here; run this on a login node of the "
            "cluster, or use another backend (--backend local)."
        )
    try:
        done = subprocess.run(  # noqa: S603 - a program of Slurm, arguments as a list
            [program, *command[1:]],
            input=stdin,
            capture_output=True,
            encoding="utf-8",
            errors="backslashreplace",
            timeout=PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise SlurmError(f"{command[0]} did not answer within {PATIENCE:.0f} s.") from error
    except OSError as error:
        raise SlurmError(f"{command[0]} cannot be run ({error.strerror}).") from error
    if done.returncode:
        raise SlurmError(f"{command[0]}: {complaint(done.stderr) or 'failed without a word'}")
    return done.stdout


def complaint(stderr: str) -> str:
    """
    Pick what matters from what a command of Slurm complained about.

    Examples
    --------
    >>> complaint("sbatch: error: invalid partition specified: nope")
    'invalid partition specified: nope'
    """
    lines = (_UNPRINTABLE.sub("", line) for line in stderr.splitlines())
    said = [_NOISE.sub("", line).strip() for line in lines if line.strip()]
    return "; ".join(dict.fromkeys(line for line in said if not line.startswith("Try ")))


def submit(*arguments: str) -> str:
    """
    Submit a job.

    Parameters
    ----------
    *arguments : str
        Options of sbatch and the script.

    Returns
    -------
    str
        Number of the job.

    Raises
    ------
    SlurmError
        Refused.
    UnknownJobError
        No number was said: a site may have put a program of its own in sbatch's place.
    """
    said = call("sbatch", "--parsable", *arguments)
    found = _JOB_ID.findall(said)
    if not found:
        text = " ".join(said.split())[:200]
        raise UnknownJobError(
            f"sbatch said {text!r} instead of the number of a job; cancel what `squeue --me` has of it, and "
            "ask the site which sbatch takes --parsable."
        )
    number: str = found[-1][0]
    return number


def max_array_size(cluster: str = "") -> int:
    """
    Ask how large an array may be: indexes run from 0 to one less.

    Parameters
    ----------
    cluster : str
        Name of the cluster; default: this one.
    """
    shown = call("scontrol", *_cluster(cluster), "show", "config")
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", shown, re.MULTILINE)
    return max(1, int(found.group(1))) if found else 1001


def tasks_in_queue(job_ids: Sequence[str], cluster: str = "") -> list[tuple[str, str, str]]:
    """
    List what the queue has of some jobs.

    Parameters
    ----------
    job_ids : sequence of str
        Array jobs.
    cluster : str
        Name of the cluster; default: this one.

    Returns
    -------
    list of (task, state, reason)
        One for each array task, such as ``("12_3", "PENDING", "Resources")``.
    """
    try:
        shown = call("squeue", *_cluster(cluster), "-h", "-r", "-j", ",".join(job_ids), "-o", "%i|%T|%r")
    except SlurmError as error:
        if "Invalid job id" in str(error):
            return []  # forgotten: over for a while
        raise
    rows = [line.split("|", 2) for line in shown.splitlines() if line.count("|") >= 2]
    return [(task.strip(), state.strip(), reason.strip()) for task, state, reason in rows]


def ends_of_tasks(job_id: str, cluster: str = "") -> dict[int, tuple[str, str]]:
    """
    Ask how the tasks of an array ended: ``sacct`` where it works, else what ``scontrol`` still knows.

    Parameters
    ----------
    job_id : str
        Array job.
    cluster : str
        Name of the cluster; default: this one.

    Returns
    -------
    dict of int to (state, exit code)
        By index, such as ``("FAILED", "1:0")``; indexes nobody remembers are missing.
    """
    try:
        fields = "--format=JobID,State,ExitCode"
        shown = call("sacct", *_cluster(cluster), "-X", "-n", "-P", "-j", job_id, fields)
        found = {}
        for line in shown.splitlines():
            task, state, code = line.split("|")
            for index in _indexes(task.partition("_")[2].strip("[]")):
                found[index] = state, code
        if found:
            return found
    except (SlurmError, ValueError):
        pass  # no accounting here, as on many sites
    try:
        shown = call("scontrol", *_cluster(cluster), "-o", "show", "job", job_id)
    except SlurmError:
        return {}
    found = {}
    for line in shown.splitlines():
        values = dict(part.partition("=")[::2] for part in line.split() if "=" in part)
        for index in _indexes(values.get("ArrayTaskId", "")):
            found[index] = values.get("JobState", ""), values.get("ExitCode", "")
    return found


def _indexes(text: str) -> list[int]:
    """
    Read indexes as Slurm writes them.

    Examples
    --------
    >>> _indexes("3,5-7%2")
    [3, 5, 6, 7]
    """
    found: list[int] = []
    for part in text.partition("%")[0].split(","):
        first, _, last = part.partition("-")
        if first.isdigit():
            found += range(int(first), int(last) + 1 if last.isdigit() else int(first) + 1)
    return found


def _cluster(name: str) -> tuple[str, ...]:
    return ("-M", name) if name else ()
