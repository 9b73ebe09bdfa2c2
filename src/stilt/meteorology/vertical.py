"""
The levels of a meteorology file.

A level's ``height`` is a number whose meaning depends on the file's vertical flag,
so the two belong together and travel together.
"""

from __future__ import annotations

from dataclasses import dataclass

SIGMA = 1
"""Height is p/p_surface (after subtracting the offset from both)."""
PRESSURE = 2
"""Height is a pressure [hPa]."""
TERRAIN = 3
"""Height is metres above ground under a fixed lid."""
HYBRID = 4
"""Height is pressure offset [hPa] (whole part) plus sigma (fraction)."""

_KINDS = {SIGMA: "sigma", PRESSURE: "pressure", TERRAIN: "terrain height", HYBRID: "hybrid"}


@dataclass(frozen=True)
class VerticalLevels:
    """
    The vertical coordinate of a meteorology file.

    Parameters
    ----------
    flag : int
        1 sigma, 2 pressure, 3 height above terrain, 4 hybrid.
    heights : tuple of float
        Heights from the bottom up, *the surface level first*, in the unit of ``flag``.
    offset : float
        Top pressure of sigma levels [hPa]; the twelfth grid number of the header.
    """

    flag: int
    heights: tuple[float, ...]
    offset: float = 0.0

    @property
    def kind(self) -> str:
        """Name of the coordinate, for people."""
        return _KINDS.get(self.flag, f"unknown ({self.flag})")

    @property
    def n_upper(self) -> int:
        """Number of levels above the surface level."""
        return len(self.heights) - 1
