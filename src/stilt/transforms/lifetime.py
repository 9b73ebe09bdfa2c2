"""Decay of a tracer on its way from the surface to the receptor."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray


def decay(table: pd.DataFrame, lifetime_hours: float) -> NDArray[np.float64]:
    r"""
    Return what is left at the receptor of a tracer picked up at each row.

    Parameters
    ----------
    table : DataFrame
        Needs ``time`` [min] and ``indx``.
    lifetime_hours : float
        e-folding lifetime of the tracer [h].

    Returns
    -------
    ndarray, shape (n_rows,)
        Factors between 0 and 1.

    Notes
    -----
    .. math:: e^{-a / \tau}

    with the transport age a: minutes between the row and the release of its particle. Particles released
    later than the first ones (``emisshrs``) are younger by as much.
    """
    minutes = np.abs(table["time"].to_numpy(dtype=np.float64))
    first = pd.Series(minutes).groupby(table["indx"].to_numpy()).transform("min").to_numpy()
    age = minutes - (first - np.nanmin(first)) if minutes.size else minutes
    return np.asarray(np.exp(-age / (60.0 * lifetime_hours)), dtype=np.float64)
