"""Trajectories and footprints without a project, for notebooks and scripts."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stilt.config import (
    HysplitConfig,
    MetConfig,
    TransportParams,
    chain_section,
    met_chain,
    transport_settings,
)
from stilt.errors import ConfigError
from stilt.footprint import calc_footprint, correct_near_field
from stilt.receptors import Receptor
from stilt.spelling import did_you_mean
from stilt.trajectory import Trajectories
from stilt.transport.protocol import TransportRequest
from stilt.transport.registry import get_engine

__all__ = ["calc_footprint", "correct_near_field", "run_trajectories"]

Met = (
    MetConfig
    | Mapping[str, Any]
    | str
    | os.PathLike[str]
    | Sequence[str | os.PathLike[str]]
    | Sequence[MetConfig | Mapping[str, Any]]
)


def run_trajectories(receptor: Receptor, met: Met, **settings: Any) -> Trajectories:
    """
    Compute the trajectories of one receptor.

    The near-field correction, a setting of projects, is not applied; see `correct_near_field`.

    Parameters
    ----------
    receptor : Receptor
        Where and when.
    met : MetConfig, mapping or paths
        Meteorology: a section, a mapping like one (``directory``, ``file_format``), a folder that holds
        one meteorology, or ARL files; or a list of sections or mappings, fine before coarse, in which
        particles go on one after another.
    **settings
        ``engine`` (and ``hysplit``, where its program is) and any run, transport or error key of the
        configuration, such as ``n_hours=-24, numpar=200, seed=1``. With error keys the perturbed
        ensemble is returned.

    Returns
    -------
    Trajectories
        ``is_error`` is true when error keys were given.

    Raises
    ------
    ConfigError
        An unknown key (the nearest valid one is named) or value.
    StiltError
        What the engine or the meteorology has to say.
    """
    if not isinstance(receptor, Receptor):
        raise ConfigError(
            f"{receptor!r} is no receptor; give a PointReceptor, ColumnReceptor or MultiPointReceptor."
        )
    engine_name = settings.pop("engine", "native")
    section = settings.pop("hysplit", None)
    known = [*TransportParams.model_fields, "engine", "hysplit"]
    unknown = [name for name in settings if name not in known]
    if unknown:
        raise ConfigError(f"run_trajectories: unknown key '{unknown[0]}', {did_you_mean(unknown[0], known)}")
    for key, unset in (("hnf_plume", False), ("hnf_mode", "rstilt")):
        if settings.get(key, unset) != unset:
            raise ConfigError(
                f"run_trajectories: {key} is a setting of projects; "
                "apply stilt.correct_near_field to what is returned."
            )
    params = TransportParams(**{**settings, "hnf_plume": False})
    if receptor.altitude_ref == "msl" and "zsfc" not in params.varsiwant:
        # the near-field correction of heights above sea level needs the model's terrain
        params = params.replace(varsiwant=(*params.varsiwant, "zsfc"))
    if isinstance(section, Mapping):
        section = HysplitConfig(**section)
    engine = get_engine(engine_name, None if section is None else section.resolved(Path.cwd()))
    engine.check(params)
    where = _met(met)
    name = "met" if isinstance(where, tuple) else (where.directory.name if where.directory else "met")
    (_, first), *fallbacks = ((name, where),) if isinstance(where, tuple) else _chain(name, where)
    result = engine.run(
        TransportRequest(
            receptor=receptor,
            met_name=name,
            met=first,
            params=params,
            error=params.is_error,
            fallbacks=tuple(fallbacks),
        )
    )
    return Trajectories.from_particles(
        result.particles,
        receptor,
        transport_settings(params),
        met_files=result.met_files,
        is_error=params.is_error,
        engine=engine_name,
        seed=result.seed,
        exits=result.exits,
        nesting=result.nesting,
    )


def _chain(name: str, met: MetConfig) -> tuple[tuple[str, MetConfig], ...]:
    """Return a meteorology and its fallbacks by name; here none has a name to refer to."""
    try:
        return met_chain({name: met}, name)
    except ValueError as error:
        raise ConfigError(f"run_trajectories: {error}; give the section itself as fallback.") from error


def _met(met: Met) -> MetConfig | tuple[Path, ...]:
    if isinstance(met, MetConfig):
        return met.resolved(Path.cwd())
    if isinstance(met, Mapping):
        return MetConfig(**met).resolved(Path.cwd())
    if isinstance(met, (str, os.PathLike)):
        path = Path(met)
        if path.is_dir():
            return MetConfig(directory=path).resolved(Path.cwd())
        return (path,)
    entries = list(met)
    if any(isinstance(entry, (MetConfig, Mapping)) for entry in entries):
        try:
            section = chain_section("met", entries)
        except ValueError as error:
            raise ConfigError(f"run_trajectories: {error}") from error
        return _met(section)
    return tuple(Path(path) for path in entries)  # type: ignore[arg-type]
