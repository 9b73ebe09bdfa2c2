"""
One analysis time over a box of cells, as plain arrays.

This is what reading meteorology gives and what writing takes; it knows nothing of files.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Box(NamedTuple):
    """Grid cells ``[y0:y1, x0:x1]``, counted from zero, ends not included."""

    x0: int
    x1: int
    y0: int
    y1: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns: ``(y1 - y0, x1 - x0)``."""
        return self.y1 - self.y0, self.x1 - self.x0


@dataclass(frozen=True)
class MetFrame:
    """
    The fields of one analysis time.

    Parameters
    ----------
    time : numpy.datetime64
        Valid time [UTC].
    box : Box
        The cells the arrays cover.
    surface : dict of str to ndarray of float32, shape (ny, nx)
        Surface fields by ARL name, in file units, south-west corner first.
    upper : dict of str to ndarray of float32, shape (n_upper, ny, nx)
        Fields on the levels above the surface, bottom to top. A level on which the
        file lacks a variable is NaN.
    forecast_hour : int
        Hours since the forecast started (0 for an analysis).
    """

    time: np.datetime64
    box: Box
    surface: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    upper: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    forecast_hour: int = 0
