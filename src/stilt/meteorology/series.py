"""
Meteorology as one series of analysis times, whatever files it lies in.

A series knows which file and period hold each time and has the file decode a box of cells
of one time into a `MetFrame`. Files are opened only while decoding, so a series is small,
picklable and safe to share between threads.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stilt.errors import MetVariableError
from stilt.meteorology.frame import Box, MetFrame
from stilt.meteorology.projection import HorizontalGrid
from stilt.meteorology.vertical import VerticalLevels


@dataclass(frozen=True)
class MetFileInfo:
    """
    A file that a run used, without its folder, for the metadata of outputs.

    Parameters
    ----------
    name : str
        File name.
    size : int
        Bytes.
    first, last : str
        First and last time in the file [UTC, ISO 8601].
    """

    name: str
    size: int
    first: str
    last: str


class MetFile(Protocol):
    """What a series asks of a file: what it holds, and fields of one of its times over a box."""

    @property
    def path(self) -> Path:
        """Where it is."""
        ...

    @property
    def name(self) -> str:
        """Name without folders."""
        ...

    @property
    def size(self) -> int:
        """Bytes."""
        ...

    @property
    def grid(self) -> HorizontalGrid:
        """The horizontal grid."""
        ...

    @property
    def levels(self) -> VerticalLevels:
        """The levels, surface first."""
        ...

    @property
    def model_id(self) -> str:
        """Four characters naming the model."""
        ...

    @property
    def variables(self) -> tuple[tuple[str, ...], ...]:
        """ARL names on each level, surface first."""
        ...

    @property
    def times(self) -> NDArray[np.datetime64]:
        """Valid times [UTC], datetime64[s], ascending."""
        ...

    @property
    def forecast_hours(self) -> tuple[int, ...]:
        """Forecast hour of each time."""
        ...

    def identity(self, period: int) -> str:
        """Name the stored bytes of one time, so that equal names mean equal fields."""
        ...

    def decode(
        self, period: int, box: Box, surface_names: tuple[str, ...], upper_names: tuple[str, ...]
    ) -> MetFrame:
        """Read fields of one time over a box of cells."""
        ...


@dataclass(frozen=True, eq=False)
class MetSeries:
    """
    Analyses at a constant interval on one grid.

    Parameters
    ----------
    name : str
        The meteorology's name in the configuration.
    sources : tuple of (MetFile, int)
        File and period of each time, times ascending.
    """

    name: str
    sources: tuple[tuple[MetFile, int], ...]

    @property
    def grid(self) -> HorizontalGrid:
        """The horizontal grid."""
        return self.sources[0][0].grid

    @property
    def levels(self) -> VerticalLevels:
        """The levels, surface first."""
        return self.sources[0][0].levels

    @property
    def model_id(self) -> str:
        """Four characters naming the model."""
        return self.sources[0][0].model_id

    @cached_property
    def times(self) -> NDArray[np.datetime64]:
        """Valid times [UTC], datetime64[s], ascending."""
        return np.array([file.times[period] for file, period in self.sources], dtype="datetime64[s]")

    @cached_property
    def interval(self) -> int:
        """Minutes between analyses (0 for a single one)."""
        if len(self.sources) < 2:
            return 0
        return int((self.times[1] - self.times[0]) / np.timedelta64(1, "m"))

    @cached_property
    def variables(self) -> tuple[tuple[str, ...], ...]:
        """Names on each level, surface first, that every file of the series has."""
        lists = list({id(file.variables): file.variables for file, _ in self.sources}.values())
        return tuple(
            tuple(name for name in names if all(name in other[level] for other in lists[1:]))
            for level, names in enumerate(lists[0])
        )

    @property
    def surface_names(self) -> tuple[str, ...]:
        """Names of surface fields."""
        return self.variables[0]

    @cached_property
    def upper_names(self) -> tuple[str, ...]:
        """Names found on any level above the surface, in order of first appearance."""
        return tuple(dict.fromkeys(name for names in self.variables[1:] for name in names))

    @cached_property
    def files(self) -> tuple[MetFileInfo, ...]:
        """The files that hold the series' times, in time order."""
        unique = dict.fromkeys(file for file, _ in self.sources)
        return tuple(
            MetFileInfo(file.name, file.size, str(file.times[0]), str(file.times[-1])) for file in unique
        )

    def identity(self, time_index: int) -> str:
        """
        Name the stored bytes of one time.

        Equal identities mean equal fields, so decoded meteorology may be kept under it.
        """
        file, period = self.sources[time_index]
        return file.identity(period)

    def decode(
        self,
        time_index: int,
        box: Box,
        surface_names: tuple[str, ...] | list[str],
        upper_names: tuple[str, ...] | list[str],
    ) -> MetFrame:
        """
        Unpack fields of one time over a box of cells.

        Parameters
        ----------
        time_index : int
            Index into ``times``.
        box : Box
            Cells wanted, zero-based, within the grid. Only the rows up to the box's last are read.
        surface_names, upper_names : sequence of str
            Fields wanted. ``DIFW`` is added to ``WWND`` on its own accord where both exist.

        Returns
        -------
        MetFrame
            Values as in the file; NaN where it lacks a field on a level or marks it missing.

        Raises
        ------
        MetVariableError
            A name that is on no level of the file.
        MetFormatError
            A damaged record, or a file that has changed since it was catalogued.
        """
        file, period = self.sources[time_index]
        grid = file.grid
        box = Box(*box)
        if not (0 <= box.x0 < box.x1 <= grid.nx and 0 <= box.y0 < box.y1 <= grid.ny):
            raise ValueError(f"{box} does not lie in the {grid.nx} x {grid.ny} grid of met '{self.name}'.")
        self._require(file, surface_names, upper_names)
        return file.decode(period, box, tuple(surface_names), tuple(upper_names))

    def _require(self, file: MetFile, surface_names: object, upper_names: object) -> None:
        on_surface = set(self.variables[0]) | set(file.variables[0])
        above = set(self.upper_names) | {name for names in file.variables[1:] for name in names}
        missing = [f"{name} (surface)" for name in surface_names if name not in on_surface]  # type: ignore[attr-defined]
        missing += [f"{name} (levels)" for name in upper_names if name not in above]  # type: ignore[attr-defined]
        if missing:
            raise MetVariableError(
                f"met '{self.name}' has no {', '.join(missing)} at {file.times[0]} UTC in {file.path} "
                f"(it has {' '.join(file.variables[0])} at the surface, {' '.join(sorted(above))} above). "
                "Use meteorology that has it or an option that does without."
            )
