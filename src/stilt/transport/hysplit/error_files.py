"""WINDERR, ZIERR and ZICONTROL: one number a line."""

from __future__ import annotations

from stilt.config import TransportParams
from stilt.config.transport import WIND_ERROR_KEYS, ZI_ERROR_KEYS


def error_files(params: TransportParams, *, error: bool) -> dict[str, str]:
    """
    Return the files that steer errors and the mixed-layer height, by name.

    Parameters
    ----------
    params : TransportParams
        The settings.
    error : bool
        Whether this is the perturbed run; without it there are neither WINDERR nor ZIERR.
    """
    files = {}
    if error and params.has_wind_error:
        files["WINDERR"] = _lines(getattr(params, key) for key in WIND_ERROR_KEYS)
    if error and params.has_zi_error:
        files["ZIERR"] = _lines(getattr(params, key) for key in ZI_ERROR_KEYS)
    factors = params.ziscale_factors
    if factors:
        files["ZICONTROL"] = _lines((len(factors), *factors))
    return files


def _lines(values: object) -> str:
    return "".join(f"{value}\n" for value in values)  # type: ignore[attr-defined]
