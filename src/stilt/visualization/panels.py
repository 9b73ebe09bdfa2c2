"""Where several maps of one shape go on a page."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from matplotlib.axes import Axes

from stilt.visualization import style
from stilt.visualization.plane import MapPlane, margins


def columns_for(n: int, shape: float) -> int:
    """Return how many maps of a shape to put beside each other."""
    if shape < 0.65:
        return min(n, 2)
    return n if n <= 3 else 2 if n == 4 else 3 if n <= 6 else 4


@dataclass(frozen=True)
class Panels:
    """Places of equal maps on a page, in inches; the first at the top left."""

    n: int
    columns: int
    shape: float
    plane: MapPlane

    page = 8.6
    gap = 0.18
    head = 0.62
    title = 0.28
    bar = 1.2

    @property
    def left(self) -> float:
        """Room at the left [inches]."""
        return margins(self.plane)[0]

    @cached_property
    def width(self) -> float:
        """Width of a map [inches]."""
        width = (self.page - self.left - self.bar - self.gap * (self.columns - 1)) / self.columns
        return min(width, 3.4, 4.0 / self.shape)

    @property
    def rows(self) -> int:
        """Number of rows."""
        return math.ceil(self.n / self.columns)

    @cached_property
    def figure(self) -> style.Picture:
        """The page."""
        across = self.left + self.columns * self.width + (self.columns - 1) * self.gap + self.bar
        up = self.head + self.rows * (self.width * self.shape + self.title) + margins(self.plane)[1]
        return style.new_figure(max(across, 5.6), up)

    def add(self, k: int) -> Axes:
        """Return axes at the k-th place."""
        row, column = divmod(k, self.columns)
        height = self.width * self.shape
        left = self.left + column * (self.width + self.gap)
        bottom = margins(self.plane)[1] + (self.rows - 1 - row) * (height + self.title)
        return style.add_axes(self.figure, left, bottom, self.width, height)

    def add_bar(self) -> Axes:
        """Return axes for a colour bar at the right of all maps."""
        left = self.left + self.columns * self.width + (self.columns - 1) * self.gap + 0.12
        height = self.rows * (self.width * self.shape + self.title) - self.title
        return style.add_axes(self.figure, left, margins(self.plane)[1], 0.15, height)
