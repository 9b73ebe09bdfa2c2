"""Gridded data as ARL files, for programs that read nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from stilt.meteorology.arl.writer import write_arl
from stilt.meteorology.frame import Box, MetFrame
from stilt.meteorology.series import MetFile


def convert_to_arl(source: MetFile, path: str | os.PathLike[str]) -> Path:
    """
    Write all times of a source to one ARL file.

    Values are packed into one byte each and read back within the precision in their label, the
    largest step between neighbours over 254; of vertical motion ``DIFW`` keeps the rest.

    Parameters
    ----------
    source : MetFile
        Gridded data, or anything a series reads.
    path : path-like
        The file to write; it appears when it is complete.

    Returns
    -------
    Path
        The path written.

    Raises
    ------
    MetFormatError
        When the format cannot carry the grid, such as steps that do not fit seven characters.
    """
    surface = source.variables[0]
    upper = tuple(dict.fromkeys(name for names in source.variables[1:] for name in names))
    whole = Box(0, source.grid.nx, 0, source.grid.ny)

    def frames() -> Iterator[MetFrame]:
        for period in range(len(source.times)):
            yield source.decode(period, whole, surface, upper)

    return write_arl(
        path,
        source.grid,
        source.levels,
        frames(),
        model_id=source.model_id,
        grid_id="99",
        difw="WWND" in upper,
    )
