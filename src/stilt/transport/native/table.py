"""Turn what the time loop recorded into the trajectory table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from stilt.kernels import recording
from stilt.meteorology.projection import HorizontalGrid
from stilt.transport.native.simulate import Recorded

_RECORDED_COLUMNS = {
    "zagl": recording.ZAGL,
    "foot": recording.FOOT,
    "samt": recording.SAMT,
    "mlht": recording.MLHT,
    "sigw": recording.SIGW,
    "tlgr": recording.TLGR,
    "pres": recording.PRES,
    "dens": recording.DENS,
    "temz": recording.TEMZ,
    "rhfr": recording.RHFR,
    "zsfc": recording.ZSFC,
    "temp": recording.TEMP,
    "sphu": recording.SPHU,
    "wout": recording.WOUT,
    "shtf": recording.SHTF_OUT,
    "whtf": recording.WHTF_OUT,
    "tcld": recording.TCLD_OUT,
    "lcld": recording.LCLD_OUT,
    "rain": recording.RAIN_OUT,
    "crai": recording.CRAI_OUT,
    "dmas": recording.DMAS,
}

_CONSTANT_COLUMNS = {"dswf": 0.0, "icdx": 2.0, "zloc": -999.0}
"""What ``hycs_std`` prints without convection and deposition, whatever the meteorology has."""


def particle_table(
    recorded: Recorded,
    grid: HorizontalGrid | Sequence[HorizontalGrid | None],
    names: Sequence[str],
    heights: np.ndarray | None,
) -> pd.DataFrame:
    """
    Build the table of a run.

    Parameters
    ----------
    recorded : Recorded
        What the time loop left.
    grid : HorizontalGrid or sequence of it
        Turns grid coordinates into degrees; of several meteorologies one each.
    names : sequence of str
        Columns, in order (``varsiwant``).
    heights : ndarray, shape (n_particles,), optional
        Release height of each particle, written as ``xhgt`` [m].

    Returns
    -------
    DataFrame
        One row per particle and output time, by time from release, then particle; ``met`` is added where
        there are several meteorologies: the number of the one that moved the particle, from 0.
    """
    alive = recorded.alive
    step, particle = np.nonzero(alive)
    lon, lat = recorded.xy[0].T[alive], recorded.xy[1].T[alive]
    if isinstance(grid, HorizontalGrid):
        lon, lat = grid.to_lonlat(lon, lat)
    columns: dict[str, np.ndarray] = {}
    met = None if recorded.met is None else recorded.met.T[alive]
    if met is not None and not isinstance(grid, HorizontalGrid):
        for number, each in enumerate(grid):
            mine = met == number
            if each is not None and mine.any():
                lon[mine], lat[mine] = each.to_lonlat(lon[mine], lat[mine])
    for name in names:
        if name == "time":
            columns[name] = recorded.minutes[step].astype(np.float32)
        elif name == "indx":
            columns[name] = (particle + 1).astype(np.int32)
        elif name == "long":
            columns[name] = lon
        elif name == "lati":
            columns[name] = lat
        elif name in _CONSTANT_COLUMNS:
            columns[name] = np.full(step.size, _CONSTANT_COLUMNS[name], dtype=np.float32)
        else:
            columns[name] = recorded.values[_RECORDED_COLUMNS[name]].T[alive]
    if heights is not None:
        columns["xhgt"] = heights[particle].astype(np.float32)
    if met is not None:
        columns["met"] = met
    return pd.DataFrame(columns)
