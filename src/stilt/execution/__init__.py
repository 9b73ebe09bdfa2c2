"""
How simulations get run.

::

    tasks        work that travels               worker      runs one task, the only writer of results
    results      what became of it               backends/   where workers are (local processes)
    runner       drives a run on this machine    stopping    signals           progress   what is shown
    preflight    what makes a run impossible     warmup      compile first     handle     what run() returns
    examination  what would stop some of it (met_examination, problems)
    entrypoints  push_simulations, pull_simulations

Names are loaded when used, because most of them bring numba along.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stilt.execution.entrypoints import pull_simulations, push_simulations
    from stilt.execution.handle import JobHandle
    from stilt.execution.results import SimulationResult
    from stilt.execution.tasks import Task

__all__ = ["JobHandle", "SimulationResult", "Task", "pull_simulations", "push_simulations"]

_MODULE_OF_NAME = {
    "JobHandle": "handle",
    "SimulationResult": "results",
    "Task": "tasks",
    "pull_simulations": "entrypoints",
    "push_simulations": "entrypoints",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF_NAME:
        raise AttributeError(f"module 'stilt.execution' has no attribute '{name}'")
    return getattr(importlib.import_module(f"stilt.execution.{_MODULE_OF_NAME[name]}"), name)
