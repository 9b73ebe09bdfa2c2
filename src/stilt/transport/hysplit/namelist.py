"""SETUP.CFG: the namelist with every key of the configuration that the program knows."""

from __future__ import annotations

from typing import Any

from stilt.config import PhysicsParams, TransportParams
from stilt.transport.hysplit.release import Release

_ELSEWHERE = frozenset({"emisshrs", "w_option", "z_top", "ziscale"})
"""Keys of CONTROL and ZICONTROL."""

WIND_ERROR, ZI_ERROR = 1, 2


def setup_text(
    params: TransportParams, release: Release, *, kmsl: int, krand: int, seed: int, error: bool
) -> str:
    """
    Write SETUP.CFG.

    Parameters
    ----------
    params : TransportParams
        The settings.
    release : Release
        ``numpar`` and ``maxpar``.
    kmsl, krand, seed : int
        Heights above ground (0) or sea level (1), generator, and the seed as the program takes it.
    error : bool
        Whether WINDERR or ZIERR are to be read.

    Returns
    -------
    str
    """
    values: dict[str, Any] = {
        name: getattr(params, name) for name in PhysicsParams.model_fields if name not in _ELSEWHERE
    }
    values |= {
        "numpar": release.numpar,
        "maxpar": release.maxpar,
        "kmsl": kmsl,
        "krand": krand,
        "seed": seed,
        "zicontroltf": int(bool(params.ziscale_factors)),
        "winderrtf": error * (WIND_ERROR * params.has_wind_error + ZI_ERROR * params.has_zi_error),
        "ivmax": len(params.varsiwant),
        "varsiwant": params.varsiwant,
    }
    lines = [f" {name} = {_fortran(value)}," for name, value in values.items()]
    return "\n".join(["&SETUP", *lines, "/", ""])


def _fortran(value: Any) -> str:
    if isinstance(value, bool):
        return ".TRUE." if value else ".FALSE."
    if isinstance(value, (tuple, list)):
        return ",".join(_fortran(entry) for entry in value)
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    if isinstance(value, float):
        # some keys we take as numbers with a fraction are whole ones to the program
        return str(int(value)) if value == int(value) else repr(value)
    return str(value)
