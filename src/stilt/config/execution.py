"""
How work reaches workers: one section per backend.

The backend never changes a result. What each of them does with its keys is decided in
``stilt.execution``; here they are only read, so that a misspelt one is found on any machine.
Backends of other packages join through the entry points ``stilt.backends``; their keys are
checked by the section that their entry point brings.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from stilt.config.kubernetes import KubernetesExecution
from stilt.config.slurm import SlurmExecution
from stilt.errors import ConfigError
from stilt.sections import Int, Section
from stilt.spelling import did_you_mean

BACKENDS = ("local", "slurm", "kubernetes", "dask")
"""Backends that come with stilt."""

ENTRY_POINTS = "stilt.backends"
"""Group under which other packages bring backends (see `stilt.execution.registry`)."""


def _workers(value: Any) -> Any:
    if isinstance(value, str) and value.strip().lower() == "auto":
        return "auto"
    try:
        number = None if isinstance(value, bool) or value != int(value) else int(value)
    except (TypeError, ValueError):
        number = int(value) if isinstance(value, str) and value.strip().isdecimal() else None
    if number is None:
        raise PydanticCustomError("workers", "should be a whole number or 'auto'")
    if number < 1:
        raise PydanticCustomError("workers", "should be greater than or equal to 1")
    return number


Workers = Annotated[int | Literal["auto"], BeforeValidator(_workers)]
"""A number of processes, or ``auto``."""


class LocalExecution(Section):
    """Processes on this machine."""

    backend: Literal["local"] = Field(default="local", description="Where workers run [name].")
    n_workers: Workers = Field(
        default=1,
        description="Number of worker processes [1]; 1 runs in this process; `auto`: one for each physical "
        "core that may be used, fewer where memory is short.",
    )


def _address(value: str) -> str:
    if not re.fullmatch(r"([a-z]+://)?(\[[0-9a-fA-F:]+\]|[^\s:/\[\]]+):[0-9]+", value):
        raise ValueError(f"{value!r} is no address; write one like tcp://host:8786")
    return value


class DaskExecution(Section):
    """A Dask cluster: a running one, one on this machine, or one that `dask_jobqueue` starts."""

    backend: Literal["dask"] = Field(default="dask", description="Where workers run [name].")
    address: Annotated[str, AfterValidator(_address)] | None = Field(
        default=None, description="Address of a running scheduler [URL]."
    )
    scheduler_file: Path | None = Field(
        default=None, description="Scheduler file of a running scheduler [path]."
    )
    cluster: Literal["local", "slurm", "pbs", "sge", "lsf", "oar", "htcondor", "moab"] | None = Field(
        default=None,
        description="Cluster to start for the run [name]: `local` on this machine, the others by "
        "`dask_jobqueue`; default: `local` where neither address nor scheduler_file is given.",
    )
    cluster_options: dict[str, Any] = Field(
        default_factory=dict, description="Arguments of the cluster's class, such as cores, memory and queue."
    )
    n_workers: Int = Field(default=1, ge=1, description="Number of workers of a cluster started here [1].")
    retries: Int = Field(
        default=1, ge=0, description="How often a simulation whose worker was lost runs again [1]."
    )

    @model_validator(mode="after")
    def _one_cluster(self) -> Self:
        given = [name for name in ("address", "scheduler_file", "cluster") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} name different clusters; keep one of them")
        if self.cluster_options and (self.address is not None or self.scheduler_file is not None):
            raise ValueError("cluster_options belong to a cluster started here; remove them or the address")
        return self


class PluginExecution(Section):
    """A backend that another package brings; its keys are checked by that package."""

    model_config = ConfigDict(extra="allow")

    backend: str = Field(description="Name under which the package registered it [name].")
    n_workers: Int = Field(default=1, ge=1, description="Number of workers [1].")

    @model_validator(mode="after")
    def _keys_of_the_plugin(self) -> Self:
        self.section()
        return self

    @model_validator(mode="before")
    @classmethod
    def _known_keys_only(cls, values: Any) -> Any:
        return values  # the package's own section decides

    def section(self) -> Section:
        """Return the package's own section, filled in."""
        plugin = plugin_entry_points()[self.backend].load()
        values = self.model_dump(exclude_unset=True)
        try:
            filled: Section = plugin.section(**values)
        except ConfigError as error:
            raise ValueError(str(error)) from error
        return filled


def plugin_entry_points() -> dict[str, EntryPoint]:
    """Backends that other packages bring, by name; none of stilt's own can be replaced."""
    return {point.name: point for point in entry_points(group=ENTRY_POINTS) if point.name not in BACKENDS}


def _default_backend(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    backend = value.get("backend", "local")
    if backend not in BACKENDS:
        names = (*BACKENDS, *plugin_entry_points())
        if backend not in names:
            raise ValueError(f"unknown backend {backend!r}, {did_you_mean(str(backend), names)}")
    return {"backend": backend, **value}


def _kind(value: Any) -> str:
    backend = value.get("backend", "local") if isinstance(value, Mapping) else getattr(value, "backend", "")
    return backend if backend in BACKENDS else "plugin"


ExecutionConfig = Annotated[
    Annotated[
        Annotated[LocalExecution, Tag("local")]
        | Annotated[SlurmExecution, Tag("slurm")]
        | Annotated[KubernetesExecution, Tag("kubernetes")]
        | Annotated[DaskExecution, Tag("dask")]
        | Annotated[PluginExecution, Tag("plugin")],
        Discriminator(_kind),
    ],
    BeforeValidator(_default_backend),
]
"""The ``execution`` section: a union on ``backend``."""
