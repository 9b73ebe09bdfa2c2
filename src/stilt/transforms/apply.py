"""Apply transforms in order, those of stilt and those of users."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from pydantic import TypeAdapter, ValidationError

from stilt.config import (
    FirstOrderLifetimeTransform,
    ImportedTransform,
    TransformConfig,
    VerticalOperatorTransform,
)
from stilt.errors import ConfigError, FootprintError
from stilt.receptors import Receptor
from stilt.trajectory import REQUIRED_COLUMNS, Trajectories
from stilt.transforms.lifetime import decay
from stilt.transforms.vertical import particle_weights

ORIGINAL = "foot_before_weight"
"""Column that keeps the influence as it was before any transform."""

Step = VerticalOperatorTransform | FirstOrderLifetimeTransform | ImportedTransform | Callable[..., Any]
_SECTIONS = (VerticalOperatorTransform, FirstOrderLifetimeTransform, ImportedTransform)


def resolve(transforms: Iterable[Any]) -> tuple[Step, ...]:
    """
    Read transforms in any of the forms they may be given in.

    Parameters
    ----------
    transforms : iterable
        Sections of a config, mappings like them, import paths (``package.module:function``) or functions.

    Returns
    -------
    tuple
        Sections and functions, in order.
    """
    steps: list[Step] = []
    for given in transforms:
        if isinstance(given, _SECTIONS) or (callable(given) and not isinstance(given, type)):
            steps.append(given)
            continue
        try:
            steps.append(_adapter().validate_python(given))
        except ValidationError as error:
            said = error.errors()[0]
            key = ".".join(str(part) for part in said["loc"] if not str(part).startswith("<"))
            raise ConfigError(f"transform {given!r}: {key + ': ' if key else ''}{said['msg']}.") from error
    return tuple(steps)


@cache
def _adapter() -> TypeAdapter[Any]:
    # making one takes longer than gridding a small table
    return TypeAdapter(TransformConfig)


def describe(step: Step) -> dict[str, Any]:
    """Return what a footprint records of a transform: plain values that a config takes."""
    if isinstance(step, _SECTIONS):
        return step.model_dump(mode="json", exclude_defaults=True) | {"kind": step.kind}
    name = re.sub(r"\W", "_", getattr(step, "__qualname__", type(step).__name__))
    return {"kind": f"{getattr(step, '__module__', 'unknown')}:{name}"}


def changes_influence_only(steps: Iterable[Step]) -> bool:
    """Whether rows, times and places are certain to stay as they are."""
    return all(isinstance(step, (VerticalOperatorTransform, FirstOrderLifetimeTransform)) for step in steps)


def apply_transforms(particles: Any, transforms: Iterable[Any], *, receptor: Receptor | None = None) -> Any:
    """
    Change particles as the transforms say, in order.

    Parameters
    ----------
    particles : Trajectories, DataFrame or mapping of arrays
        Needs ``time indx long lati foot`` and what each transform reads. Where ``foot_before_weight`` is
        present, it is where the influence starts from.
    transforms : iterable
        As in :func:`resolve`. A user's function is called with the table (a DataFrame), the receptor and the
        ``options`` of its section by name, and returns a table of the same kind.
    receptor : Receptor, optional
        Whose particles these are; trajectories know theirs.

    Returns
    -------
    Trajectories or DataFrame
        With a new ``foot`` and the old one in ``foot_before_weight``.

    Examples
    --------
    >>> table = pd.DataFrame({"time": [-60.0], "indx": [1], "long": [0.0], "lati": [0.0], "foot": [1.0]})
    >>> decayed = apply_transforms(table, [{"kind": "first_order_lifetime", "lifetime_hours": 1}])
    >>> decayed["foot"].round(4).item()
    0.3679
    """
    steps = resolve(transforms)
    if isinstance(particles, Trajectories):
        receptor = particles.receptor if receptor is None else receptor
        return particles.with_data(apply_transforms(particles.data, steps, receptor=receptor))
    table = particles if isinstance(particles, pd.DataFrame) else pd.DataFrame(dict(particles))
    if not steps:
        return table
    _check_table(table, "the particle table")
    original = table[ORIGINAL if ORIGINAL in table.columns else "foot"].to_numpy()
    table = table.assign(foot=original.astype(np.float64), **{ORIGINAL: original})
    for step in steps:
        if isinstance(step, VerticalOperatorTransform):
            table = table.assign(foot=table["foot"] * particle_weights(table, step, receptor))
        elif isinstance(step, FirstOrderLifetimeTransform):
            table = table.assign(foot=table["foot"] * decay(table, step.lifetime_hours))
        else:
            table = _call(step, table, receptor)
    return table


def _call(
    step: ImportedTransform | Callable[..., Any], table: pd.DataFrame, receptor: Receptor | None
) -> pd.DataFrame:
    """Call a user's function and look at what it returns."""
    options: Mapping[str, Any] = {}
    name = describe(step)["kind"]
    function: Any = step
    if isinstance(step, ImportedTransform):
        options = step.options
        function = load(step.kind)
    changed = function(table.copy(), receptor, **options)
    if not isinstance(changed, pd.DataFrame):
        raise FootprintError(
            f"transform {name} returned {type(changed).__name__}; return the particle table (a DataFrame)."
        )
    _check_table(changed, f"the table that transform {name} returned")
    if ORIGINAL not in changed.columns and len(changed) == len(table):
        changed = changed.assign(**{ORIGINAL: table[ORIGINAL].to_numpy()})
    return changed


def load(path: str) -> Callable[..., Any]:
    """
    Import a user's function.

    Parameters
    ----------
    path : str
        ``package.module:function``.

    Returns
    -------
    callable
    """
    module_name, _, name = path.replace(":", ".").rpartition(".")
    try:
        found = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"transform '{path}' cannot be imported ({error}); name it package.module:function and "
            f"install the "
            "package, or put its folder on PYTHONPATH, where stilt runs."
        ) from error
    if not callable(found):
        raise ConfigError(f"transform '{path}' is a {type(found).__name__}, not a function.")
    return found


def check_imports(transforms: Iterable[Any], where: str) -> None:
    """
    Import users' functions, so that one that is not there is found before the first simulation.

    Parameters
    ----------
    transforms : iterable
        As in :func:`resolve`.
    where : str
        Key of the config, for messages.
    """
    for step in resolve(transforms):
        if isinstance(step, ImportedTransform):
            try:
                load(step.kind)
            except ConfigError as error:
                raise ConfigError(f"{where}: {error}") from error


def _check_table(table: pd.DataFrame, what: str) -> None:
    missing = [name for name in REQUIRED_COLUMNS if name not in table.columns]
    if missing:
        raise FootprintError(f"{what} lacks the column(s) {', '.join(missing)}, which a footprint needs.")
