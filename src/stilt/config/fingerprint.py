"""
Which settings a result depends on, and a short hash of them.

Only what changes a result is in: no folders, no execution, no scratch or time limits, no
package version. Defaults are filled in and equal meanings are written one way, so a
default written out, or a named grid instead of an inline one, changes nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from stilt.config.footprint import FootprintConfig
from stilt.config.met import MetConfig
from stilt.config.model import ModelConfig
from stilt.config.transport import TransportParams
from stilt.spatial import Grid

# rm_dat, timeout: how a run is handled. kmsl: the receptor's altitude_ref decides, a conflict is an error.
# zicontroltf: no effect beside ziscale.
_NO_RESULT_KEYS = frozenset({"rm_dat", "timeout", "kmsl", "zicontroltf"})

# n_min: when to give up. file_tres: narrows a search. backend, directories: where bytes come from.
_MET_KEYS = ("source", "file_format")
_GRIDDED_KEYS = ("preset", "variables")
_GRIDDED_KEYS_IF_GIVEN = ("winds",)
"""Came later: without them records of earlier releases stay what they were."""
_SUBGRID_KEYS = ("subgrid_bounds", "subgrid_buffer", "subgrid_levels")


def trajectory_settings(config: ModelConfig, met_name: str) -> dict[str, Any]:
    """
    Collect the settings that a trajectory depends on.

    Parameters
    ----------
    config : ModelConfig
        The configuration.
    met_name : str
        Key under ``mets``.

    Returns
    -------
    dict
        Plain values, JSON-able.
    """
    (_, met), *fallbacks = config.met_chain(met_name)
    values = {
        "engine": config.engine,
        "met_name": met_name,
        "met": _met_settings(met),
        **transport_settings(config.transport_params()),
    }
    if fallbacks:
        # absent without, so that records from before there were fallbacks still hold
        values["fallback"] = [{"met_name": name, "met": _met_settings(other)} for name, other in fallbacks]
    return _plain(values)


def _met_settings(met: MetConfig) -> dict[str, Any]:
    values: dict[str, Any] = {key: getattr(met, key) for key in _MET_KEYS}
    if met.subgrid_enable:
        values |= {key: getattr(met, key) for key in _SUBGRID_KEYS}
    if met.is_gridded:
        values |= {key: getattr(met, key) for key in _GRIDDED_KEYS}
        given = {key: getattr(met, key) for key in _GRIDDED_KEYS_IF_GIVEN}
        values |= {key: value for key, value in given.items() if value is not None}
    return values


def transport_settings(params: TransportParams) -> dict[str, Any]:
    """
    Collect the run, transport and error keys that a trajectory depends on.

    Parameters
    ----------
    params : TransportParams
        The keys.

    Returns
    -------
    dict
        Plain values, JSON-able, defaults filled in.
    """
    values = {
        name: getattr(params, name) for name in TransportParams.model_fields if name not in _NO_RESULT_KEYS
    }
    values["maxpar"] = params.max_particles
    values["ziscale"] = params.ziscale_factors
    return _plain(values)


def footprint_settings(config: ModelConfig, footprint_name: str) -> dict[str, Any]:
    """
    Collect the settings that a footprint depends on, beyond those of its trajectory.

    Parameters
    ----------
    config : ModelConfig
        The configuration.
    footprint_name : str
        Key under ``footprints``.

    Returns
    -------
    dict
        Plain values, JSON-able. ``error`` is not among them: it asks for one more
        artifact and leaves this one as it is.
    """
    footprint = config.footprint(footprint_name)
    values = {name: getattr(footprint, name) for name in type(footprint).model_fields if name != "error"}
    grid = config.footprint_grid(footprint_name)
    values["grid"] = {name: getattr(grid, name) for name in Grid.model_fields}
    return _plain(values)


def default_setting(field: str) -> Any:
    """
    Return the value a setting had before it existed: its default.

    A record made by an earlier release lacks the settings that came later, and its outputs were
    made as the default makes them.

    Parameters
    ----------
    field : str
        Name of a transport or footprint setting.

    Returns
    -------
    object
        The plain default, or ``...`` for a name that has none.
    """
    for model in (TransportParams, FootprintConfig):
        entry = model.model_fields.get(field)
        if entry is not None and not entry.is_required():
            return _plain(entry.get_default(call_default_factory=True))
    return ...


def settings_hash(settings: Mapping[str, Any]) -> str:
    """
    Hash settings.

    Parameters
    ----------
    settings : mapping
        Plain values, in any order.

    Returns
    -------
    str
        12 hex digits.

    Examples
    --------
    >>> settings_hash({"a": 1, "b": 2}) == settings_hash({"b": 2, "a": 1})
    True
    """
    text = json.dumps(_plain(settings), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _plain(value: Any) -> Any:
    """Write a value the one way it is hashed; -0.0 and 0.0 are one number."""
    if hasattr(value, "model_dump"):
        return _plain(value.model_dump(mode="json"))
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if isinstance(value, float):
        return value + 0.0
    return value
