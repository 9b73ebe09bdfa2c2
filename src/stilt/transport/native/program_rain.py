"""Whether precipitation began to accumulate anew, as ``hycs_std`` judges it: once for its whole window."""

from __future__ import annotations

from stilt.kernels import columns
from stilt.kernels.recording import RAIN_ANEW, RAIN_BY_COLUMN, RAIN_GOES_ON
from stilt.meteorology.frame import Box
from stilt.transport.native.program_grid import Window
from stilt.transport.native.recipe import ColumnSource


def rain_rule(source: ColumnSource, first: int, second: int, window: Window) -> int:
    """
    Tell how the program reads the precipitation between two analyses.

    It sums the field over the window it has loaded: a smaller sum at the second analysis means that the
    accumulation began anew, everywhere.

    Parameters
    ----------
    source : ColumnSource
        Meteorology.
    first, second : int
        Indices of the two analyses, ``first`` the one the run comes from.
    window : Window
        What the program has loaded; 0 cells for the whole grid.

    Returns
    -------
    int
        RAIN_ANEW or RAIN_GOES_ON; RAIN_BY_COLUMN where no precipitation is wanted.
    """
    names = tuple(name for row, name in source.surface_rows if row == columns.RAIN)
    if not names:
        return RAIN_BY_COLUMN
    grid = source.series.grid
    nx, ny = (window.cells, window.cells) if window.cells else (grid.nx, grid.ny)
    box = Box(window.west, window.west + nx, window.south, window.south + ny)
    before, after = (
        source.series.decode(index, box, names, ()).surface[names[0]].sum(dtype=float)
        for index in (first, second)
    )
    return RAIN_ANEW if after < before else RAIN_GOES_ON
