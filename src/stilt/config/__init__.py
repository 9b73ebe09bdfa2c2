"""
What a project asks for: ``config.yaml`` as frozen, strict sections.

Each section lists its own keys with their unit; a misspelt key is refused with the
nearest valid name. Settings of the machine come from the environment (``RuntimeSettings``).
"""

from __future__ import annotations

from stilt.config.chain import chain_section, met_chain
from stilt.config.execution import (
    DaskExecution,
    ExecutionConfig,
    LocalExecution,
    PluginExecution,
)
from stilt.config.fingerprint import (
    default_setting,
    footprint_settings,
    settings_hash,
    trajectory_settings,
    transport_settings,
)
from stilt.config.footprint import FootprintConfig
from stilt.config.hysplit import HysplitConfig
from stilt.config.kubernetes import KubernetesExecution, Volume
from stilt.config.met import GriddedVariable, MetConfig
from stilt.config.model import ModelConfig
from stilt.config.runtime import RuntimeSettings
from stilt.config.slurm import SlurmExecution
from stilt.config.transforms import (
    FirstOrderLifetimeTransform,
    ImportedTransform,
    TransformConfig,
    VerticalOperatorTransform,
)
from stilt.config.transport import OUTPUT_COLUMNS, ErrorParams, PhysicsParams, RunParams, TransportParams
from stilt.spatial import Bounds, Grid

__all__ = [
    # the whole file
    "ModelConfig",
    # its sections
    "Bounds",
    "FootprintConfig",
    "Grid",
    "HysplitConfig",
    "GriddedVariable",
    "MetConfig",
    "chain_section",
    "met_chain",
    # run, transport and error keys
    "OUTPUT_COLUMNS",
    "ErrorParams",
    "PhysicsParams",
    "RunParams",
    "TransportParams",
    # transforms
    "FirstOrderLifetimeTransform",
    "ImportedTransform",
    "TransformConfig",
    "VerticalOperatorTransform",
    # execution
    "DaskExecution",
    "ExecutionConfig",
    "KubernetesExecution",
    "LocalExecution",
    "PluginExecution",
    "SlurmExecution",
    "Volume",
    # machine
    "RuntimeSettings",
    # fingerprints
    "default_setting",
    "footprint_settings",
    "settings_hash",
    "trajectory_settings",
    "transport_settings",
]
