"""
The ``slurm`` execution section: a few keys of its own, everything else is an option of sbatch.

Options are written as on sbatch's command line, with ``-`` or ``_`` between the words. Those
that sbatch has had for years are known here, so a misspelt one is found on any machine; others,
such as those a site adds, are forwarded and refused by the site's own ``sbatch --test-only``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from stilt.sections import Int, Section
from stilt.spelling import nearest_name

_OPTION = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*").fullmatch

_LIMIT = re.compile(
    r"(?:(?P<days>\d+)-(?P<hours>\d+)(?::(?P<minutes>\d+)(?::(?P<seconds>\d+))?)?"
    r"|(?P<h>\d+):(?P<m>\d+):(?P<s>\d+)|(?P<only_m>\d+)(?::(?P<only_s>\d+))?)"
).fullmatch
_NO_LIMIT = ("infinite", "unlimited", "-1")

SBATCH_OPTIONS = frozenset(
    """
    account acctg_freq array batch bb bbf begin chdir cluster_constraint clusters comment constraint
    container contiguous core_spec cores_per_socket cpu_freq cpus_per_gpu cpus_per_task deadline
    delay_boot dependency distribution error exclude exclusive export export_file extra extra_node_info
    get_user_env gid gpu_bind gpu_freq gpus gpus_per_node gpus_per_socket gpus_per_task gres gres_flags
    hint hold ignore_pbs input job_name kill_on_invalid_dep licenses mail_type mail_user mcs_label mem
    mem_bind mem_per_cpu mem_per_gpu mincpus network nice no_kill no_requeue nodefile nodelist nodes
    ntasks ntasks_per_core ntasks_per_gpu ntasks_per_node ntasks_per_socket open_mode output overcommit
    oversubscribe parsable partition power prefer priority profile propagate qos quiet reboot requeue
    reservation signal sockets_per_node spread_job switches test_only thread_spec threads_per_core time
    time_min tmp tres_bind tres_per_task uid use_min_nodes verbose wait wait_all_nodes wckey wrap
    """.split()
)
"""Long options of sbatch, with ``_``."""

RESERVED: Mapping[str, str] = {
    "array": "n_workers and array_parallelism decide it",
    "wrap": "stilt writes the script; use setup for lines of your own",
    "wait": "use --wait or --no-wait of stilt run",
    "parsable": "stilt reads the job id itself",
    "test_only": "stilt run --dry-run asks sbatch, submits nothing",
    "ntasks": "one array task is one process tree; use n_workers and cpus_per_task",
    "no_requeue": "requeueing is how work goes on after preemption and time limits",
    "export": "workers need the environment; use setup to change it",
    "signal": "use signal_seconds",
    "chdir": "stilt uses absolute paths",
    "uid": "submit as that user",
    "gid": "submit as that group",
}
"""Options that belong to stilt, and what to use instead."""


def _to_text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _one_line(value: Any) -> Any:
    value = _to_text(value)
    if isinstance(value, str) and ("\n" in value or "\0" in value):
        raise ValueError("should be one line")
    return value


def limit_seconds(text: str) -> float:
    """
    Read a time limit as Slurm does.

    Parameters
    ----------
    text : str
        ``minutes``, ``minutes:seconds``, ``hours:minutes:seconds``, ``days-hours`` and so on.

    Returns
    -------
    float
        The limit [s]; infinite where there is none.

    Examples
    --------
    >>> limit_seconds("90"), limit_seconds("1:30:00"), limit_seconds("1-12")
    (5400.0, 5400.0, 129600.0)
    """
    if text.strip().lower() in _NO_LIMIT:
        return math.inf
    found = _LIMIT(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is no time limit; write minutes, HH:MM:SS or D-HH:MM:SS")
    part = {name: int(value) for name, value in found.groupdict(0).items()}
    minutes = part["days"] * 1440 + part["minutes"] + part["m"] + part["only_m"]
    minutes += 60 * (part["hours"] + part["h"])
    return float(60 * minutes + part["seconds"] + part["s"] + part["only_s"]) or math.inf


def _limit(value: Any) -> Any:
    value = _one_line(value)
    if isinstance(value, str):
        limit_seconds(value)
    return value


Text = Annotated[str, BeforeValidator(_one_line)]
"""Text that may be written as a bare number, such as a memory size."""

Limit = Annotated[str, BeforeValidator(_limit)]
"""A time limit, in one of the ways in which Slurm takes it."""


class SlurmExecution(Section):
    """An array job on a Slurm cluster; other options of sbatch may be keys too, with ``-`` or ``_``."""

    model_config = ConfigDict(extra="allow")

    backend: Literal["slurm"] = Field(default="slurm", description="Where workers run [name].")
    n_workers: Int = Field(default=1, ge=1, description="Number of array tasks the work is divided into [1].")
    array_parallelism: Int | None = Field(
        default=None, ge=1, description="Most array tasks at once, `%N` of the array [1]; none: no limit."
    )
    cpus_per_task: Int = Field(
        default=1, ge=1, description="Processor cores, and so worker processes, of one array task [1]."
    )
    setup: tuple[str, ...] = Field(
        default=(), description="Shell lines run before the worker, such as module load."
    )
    command: tuple[str, ...] = Field(
        default=(),
        description="How array tasks call stilt [words]; default: the Python that submits; `[stilt]` "
        "where `setup` brings an environment of its own.",
    )
    signal_seconds: Int = Field(
        default=60,
        ge=5,
        description="How long before the time limit a task stops and goes back to the queue [s].",
    )
    account: Text | None = Field(default=None, description="Account charged [name].")
    partition: Text | None = Field(default=None, description="Partition [name].")
    qos: Text | None = Field(default=None, description="Quality of service [name].")
    time: Limit | None = Field(
        default=None, description="Time limit of one array task [minutes, HH:MM:SS or D-HH:MM:SS]."
    )
    mem: Text | None = Field(default=None, description="Memory of one array task [MB, or with unit].")
    mem_per_cpu: Text | None = Field(default=None, description="Memory per core [MB, or with unit].")
    constraint: Text | None = Field(default=None, description="Node features required [names].")
    clusters: Text | None = Field(default=None, description="Cluster to submit to [name].")
    reservation: Text | None = Field(default=None, description="Reservation [name].")
    exclude: Text | None = Field(default=None, description="Nodes not to use [names].")
    nodelist: Text | None = Field(default=None, description="Nodes to use [names].")
    job_name: Text | None = Field(default=None, description="Name of the job [name]; default: stilt.")
    mail_type: Text | None = Field(default=None, description="When to send mail [events].")
    mail_user: Text | None = Field(default=None, description="Whom to send mail [address].")

    @model_validator(mode="before")
    @classmethod
    def _accept_hyphens(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        return {
            key.replace("-", "_") if isinstance(key, str) else key: value for key, value in values.items()
        }

    @model_validator(mode="before")
    @classmethod
    def _known_keys_only(cls, values: Any) -> Any:
        """Take own keys and plausible options of sbatch; refuse what looks like a misspelt one of either."""
        if not isinstance(values, Mapping):
            return values
        own = frozenset(cls.model_fields)
        for key, value in values.items():
            name = key.replace("-", "_") if isinstance(key, str) else key
            if name in own:
                continue
            if not isinstance(name, str) or not _OPTION(name):
                raise ValueError(f"key {key!r} is no option of sbatch")
            if name in RESERVED:
                raise ValueError(f"key '{key}' is not forwarded to sbatch: {RESERVED[name]}")
            if name not in SBATCH_OPTIONS:
                near = nearest_name(name, own | SBATCH_OPTIONS - set(RESERVED), cutoff=0.85)
                if near is not None:
                    raise ValueError(f"unknown key '{key}', did you mean '{near}'?")
            if not isinstance(value, str | int | float | None) or (
                isinstance(value, str) and ("\n" in value or "\0" in value)
            ):
                raise ValueError(f"{key}: should be one line of text, a number, true or false")
        return values

    @model_validator(mode="after")
    def _time_to_work(self) -> Self:
        if self.time is not None and limit_seconds(self.time) <= self.signal_seconds:
            raise ValueError(
                f"time {self.time} leaves no time to work: a task stops {self.signal_seconds} s before it "
                "(signal_seconds); raise time"
            )
        return self

    @property
    def options(self) -> dict[str, str | bool]:
        """What is forwarded to sbatch: option names with hyphens; True for options without a value."""
        own = ("backend", "n_workers", "array_parallelism", "setup", "command", "signal_seconds")
        given = {name: getattr(self, name) for name in type(self).model_fields if name not in own}
        given |= self.model_extra or {}
        return {
            name.replace("_", "-"): value if isinstance(value, bool) else str(value)
            for name, value in given.items()
            if value is not None and value is not False
        }
