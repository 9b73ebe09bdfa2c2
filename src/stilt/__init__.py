"""
STILT in Python: where did the air at a receptor come from, and what did it touch.

``import stilt`` loads nothing but names; each is fetched when first used, so that
``stilt --help`` and small scripts start at once.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from stilt._version import __version__

if TYPE_CHECKING:
    from stilt.completion import StatusCounts
    from stilt.config import (
        FootprintConfig,
        MetConfig,
        ModelConfig,
        RuntimeSettings,
    )
    from stilt.errors import (
        ConfigError,
        FailureReason,
        FootprintError,
        ForecastMetError,
        Interrupted,
        InvalidOutputError,
        ManifestError,
        MetCoverageError,
        MetDownloadError,
        MetError,
        MetFormatError,
        MetIntervalError,
        MetNotFoundError,
        MetVariableError,
        MissingExtraError,
        MissingObjectError,
        NoQueueError,
        ProgramCrashedError,
        ProgramFailedError,
        ProgramNotFoundError,
        ProjectError,
        QueueError,
        ReceptorError,
        ReceptorOffGridError,
        StaleOutputsError,
        StiltError,
        StoreError,
        StoreFullError,
        StoreUnavailableError,
        TransportError,
        TransportTimeoutError,
        TruncatedRunError,
        UnknownFootprintError,
        UnsupportedSettingError,
    )
    from stilt.footprint import Footprint
    from stilt.functions import calc_footprint, correct_near_field, run_trajectories
    from stilt.ids import SimID
    from stilt.model import Model
    from stilt.receptors import (
        ColumnReceptor,
        MultiPointReceptor,
        PointReceptor,
        Receptor,
        read_receptors,
    )
    from stilt.simulation import Simulation
    from stilt.spatial import Bounds, Grid
    from stilt.trajectory import Trajectories

__all__ = [
    # projects
    "Model",
    "Simulation",
    "SimID",
    "StatusCounts",
    # receptors
    "ColumnReceptor",
    "MultiPointReceptor",
    "PointReceptor",
    "Receptor",
    "read_receptors",
    # settings
    "Bounds",
    "FootprintConfig",
    "Grid",
    "HysplitConfig",
    "MetConfig",
    "ModelConfig",
    "RuntimeSettings",
    # results
    "Footprint",
    "Trajectories",
    # without a project
    "calc_footprint",
    "correct_near_field",
    "run_trajectories",
    # errors
    "ConfigError",
    "FailureReason",
    "FootprintError",
    "ForecastMetError",
    "Interrupted",
    "InvalidOutputError",
    "ManifestError",
    "MetCoverageError",
    "MetDownloadError",
    "MetError",
    "MetFormatError",
    "MetIntervalError",
    "MetNotFoundError",
    "MetVariableError",
    "MissingExtraError",
    "MissingObjectError",
    "NoQueueError",
    "ProgramCrashedError",
    "ProgramFailedError",
    "ProgramNotFoundError",
    "ProjectError",
    "QueueError",
    "ReceptorError",
    "ReceptorOffGridError",
    "StaleOutputsError",
    "StiltError",
    "StoreError",
    "StoreFullError",
    "StoreUnavailableError",
    "TransportError",
    "TransportTimeoutError",
    "TruncatedRunError",
    "UnknownFootprintError",
    "UnsupportedSettingError",
    # version
    "__version__",
]

_MODULE_OF_NAME = {
    "Model": "model",
    "Simulation": "simulation",
    "SimID": "ids",
    "StatusCounts": "completion",
    "ColumnReceptor": "receptors",
    "MultiPointReceptor": "receptors",
    "PointReceptor": "receptors",
    "Receptor": "receptors",
    "read_receptors": "receptors",
    "Bounds": "spatial",
    "FootprintConfig": "config",
    "Grid": "spatial",
    "HysplitConfig": "config",
    "MetConfig": "config",
    "ModelConfig": "config",
    "RuntimeSettings": "config",
    "Footprint": "footprint",
    "Trajectories": "trajectory",
    "calc_footprint": "functions",
    "correct_near_field": "functions",
    "run_trajectories": "functions",
}

_SUBMODULES = frozenset(
    {
        "accessors",
        "collections",
        "completion",
        "config",
        "constants",
        "errors",
        "execution",
        "footprint",
        "functions",
        "ids",
        "kernels",
        "manifest",
        "meteorology",
        "model",
        "outputs",
        "receptors",
        "service",
        "simulation",
        "spatial",
        "storage",
        "trajectory",
        "transport",
        "visualization",
    }
)


def __getattr__(name: str) -> Any:
    """Fetch a public name or a submodule when it is first used (PEP 562)."""
    if name in _SUBMODULES:
        return importlib.import_module(f"stilt.{name}")
    module_name = _MODULE_OF_NAME.get(name) or ("errors" if name in __all__ else None)
    if module_name is None:
        raise AttributeError(f"module 'stilt' has no attribute '{name}'")
    value = getattr(importlib.import_module(f"stilt.{module_name}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, *_SUBMODULES})
