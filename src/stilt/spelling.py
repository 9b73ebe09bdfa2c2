"""The name that was probably meant: most mistakes in hand-written files are spelling."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest_name(name: str, valid: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """
    Find the valid name a misspelt one was probably meant to be.

    Parameters
    ----------
    name : str
        What was written.
    valid : iterable of str
        What could have been written.
    cutoff : float
        Least similarity, 0 to 1.

    Returns
    -------
    str or None
        The nearest valid name, None when nothing is near.

    Examples
    --------
    >>> nearest_name("n_hour", ["n_hours", "numpar"])
    'n_hours'
    """
    by_lower = {candidate.lower(): candidate for candidate in valid}
    matches = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=cutoff)
    return by_lower[matches[0]] if matches else None


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """
    Say which valid name was probably meant, or list the valid names.

    Parameters
    ----------
    name : str
        What was written.
    valid : iterable of str
        What could have been written.

    Returns
    -------
    str
        ``"did you mean 'n_hours'?"`` or ``"valid names: ..."``.
    """
    names = list(valid)
    nearest = nearest_name(name, names)
    if nearest is not None:
        return f"did you mean '{nearest}'?"
    return f"valid names: {', '.join(sorted(names))}" if names else "no names are defined"
