"""
Backends by name: those that come with stilt, and those of other packages.

A package brings a backend as an entry point of the group ``stilt.backends``: a class that is
built like ours, ``cls(section, context, reporter)``, with its configuration section as the class
attribute ``section``; with the class method ``attach`` if its jobs are detached::

    [project.entry-points."stilt.backends"]
    pbs = "stilt_pbs:PbsBackend"
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from stilt.config.execution import PluginExecution, plugin_entry_points
from stilt.errors import ConfigError, ProjectError
from stilt.spelling import did_you_mean

if TYPE_CHECKING:
    from stilt.execution.jobs import JobRecord
    from stilt.execution.progress import Reporter
    from stilt.execution.protocol import Backend, JobControl
    from stilt.execution.worker import WorkContext
    from stilt.sections import Section

_CLASSES = {
    "local": "stilt.execution.backends.local:LocalBackend",
    "dask": "stilt.execution.backends.dask:DaskBackend",
    "kubernetes": "stilt.execution.backends.kubernetes.backend:KubernetesBackend",
    "slurm": "stilt.execution.backends.slurm.backend:SlurmBackend",
}


def backend_names() -> tuple[str, ...]:
    """Names that may be asked for."""
    return (*_CLASSES, *plugin_entry_points())


def get_backend(section: Section, context: WorkContext, reporter: Reporter | None = None) -> Backend:
    """
    Build the backend that a section describes.

    Parameters
    ----------
    section : Section
        The ``execution`` section.
    context : WorkContext
        Store and settings.
    reporter : Reporter, optional
        Hears how it goes.

    Returns
    -------
    Backend
        Ready to submit; nothing has been started.

    Raises
    ------
    ConfigError
        For a name nobody has registered.
    """
    from stilt.execution.progress import Silent

    name: str = section.backend  # type: ignore[attr-defined]
    if isinstance(section, PluginExecution):
        section = section.section()
    backend: Backend = _class_of(name)(section, context, reporter or Silent())
    return backend


def attach(record: JobRecord) -> JobControl:
    """
    Return the control of a detached job from its record.

    Raises
    ------
    ProjectError
        When the backend it was submitted with is not installed here.
    """
    try:
        found: JobControl = _class_of(record.backend).attach(record)
    except ConfigError as error:
        raise ProjectError(f"job {record.name} cannot be asked about: {error}") from error
    return found


def _class_of(name: str) -> Any:
    if name in _CLASSES:
        module, _, attribute = _CLASSES[name].partition(":")
        return getattr(importlib.import_module(module), attribute)
    plugins = plugin_entry_points()
    if name not in plugins:
        raise ConfigError(f"there is no backend '{name}', {did_you_mean(name, backend_names())}")
    return plugins[name].load()
