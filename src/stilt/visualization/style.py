"""
What all plots share: figures outside pyplot, colours that everybody can tell apart, and words.

Nothing here touches matplotlib's settings, because those belong to the user and to other threads.
"""

from __future__ import annotations

import io
import math
from datetime import datetime
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, ListedColormap
from matplotlib.figure import Figure
from matplotlib.patheffects import Normal, Stroke, withStroke

from stilt.receptors import Receptor

SMALL, NORMAL, LARGE = 8.0, 9.0, 11.0
"""Font sizes [pt], for a figure printed at its size."""

INK, SOFT, FAINT = "#1a1a1a", "#555555", "#9a9a9a"
BLUE, SKY, ORANGE, VERMILION, GREEN = "#0072B2", "#56B4E9", "#E69F00", "#D55E00", "#009E73"
"""Colours of Okabe and Ito, which the colour-blind can tell apart."""

FOOTPRINT_UNITS = "ppm / (µmol m$^{-2}$ s$^{-1}$)"


class PictureAxes(Axes):
    """Axes that a notebook shows when they are the last value of a cell."""

    def _repr_png_(self) -> bytes:
        return png_bytes(self.get_figure(root=True))


class Picture(Figure):
    """A figure unknown to pyplot that a notebook shows all the same."""

    def _repr_png_(self) -> bytes:
        return png_bytes(self)


def png_bytes(figure: Any) -> bytes:
    """Return a figure as PNG."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=120, bbox_inches="tight")
    return content.getvalue()


def new_figure(width: float, height: float, *, layout: Any = None) -> Picture:
    """Return an empty figure [inches]."""
    return Picture(figsize=(width, height), dpi=150, layout=layout)


def new_axes(width: float, height: float) -> Axes:
    """Return the one axes of a new figure [inches] that lays itself out."""
    return new_figure(width, height, layout="constrained").add_subplot(axes_class=PictureAxes)


def add_axes(figure: Picture, left: float, bottom: float, width: float, height: float) -> Axes:
    """Return new axes at a place of a figure, all in inches."""
    across, up = figure.get_size_inches()
    place = (left / across, bottom / up, width / across, height / up)
    return figure.add_axes(PictureAxes(figure, place))


def sequential(name: str = "magma_r", low: float = 0.04, high: float = 0.92) -> Colormap:
    """
    Return part of a perceptually uniform colour map; what lies below the scale is left blank.

    Parameters
    ----------
    name : str
        Colour map of matplotlib.
    low, high : float
        Part of it to use, 0 to 1.
    """
    colours = mpl.colormaps[name](np.linspace(low, high, 256))
    return ListedColormap(colours, name=f"{name}_part").with_extremes(under=(0.0, 0.0, 0.0, 0.0))


def halo(width: float = 2.0, colour: str = "white") -> list[Any]:
    """Return path effects that keep a text or line readable on any background."""
    return [withStroke(linewidth=width, foreground=colour)]


def line_halo(width: float, colour: str = "white", alpha: float = 0.8) -> list[Any]:
    """Return path effects for a line with an edge; ``width`` [pt] counts both."""
    return [Stroke(linewidth=width, foreground=colour, alpha=alpha), Normal()]


def put_title(ax: Axes, title: str, subtitle: str = "") -> None:
    """Write a title at the left, with an optional second line in smaller print."""
    ax.set_title(
        title, loc="left", fontsize=LARGE, fontweight="bold", color=INK, pad=18.0 if subtitle else 6.0
    )
    if subtitle:
        ax.annotate(
            subtitle,
            (0.0, 1.0),
            xycoords="axes fraction",
            xytext=(0.0, 5.0),
            textcoords="offset points",
            fontsize=NORMAL,
            color=SOFT,
            annotation_clip=False,
        )


def round_down(value: float) -> float:
    """
    Return the largest 1, 2 or 5 times a power of ten that is not above a positive number.

    Examples
    --------
    >>> round_down(0.0037), round_down(70.0)
    (0.002, 50.0)
    """
    return _nice(value, (5.0, 2.0, 1.0), lambda nice: nice <= value * (1.0 + 1e-9))


def round_up(value: float) -> float:
    """Return the smallest 1, 2, 5 or 10 times a power of ten that is not below a positive number."""
    return _nice(value, (1.0, 2.0, 5.0, 10.0), lambda nice: nice >= value * (1.0 - 1e-9))


def _nice(value: float, factors: tuple[float, ...], fits: Any) -> float:
    exponent = math.floor(math.log10(value) + 1e-12)
    for factor in factors:
        nice = float(f"{factor * 10.0**exponent:.6g}")
        if fits(nice):
            return nice
    return float(f"{10.0**exponent:.6g}")


# --- words ------------------------------------------------------------------------------------------


def when(time: datetime) -> str:
    """Return a time to the minute, or to the second where it has one."""
    return f"{time:%Y-%m-%d %H:%M}" if time.second == 0 else f"{time:%Y-%m-%d %H:%M:%S}"


def hours_between(start: datetime, end: datetime) -> str:
    """Return a range of times without saying the same day twice."""
    if start.date() == end.date():
        return f"{start:%Y-%m-%d} {start:%H:%M}–{end:%H:%M} UTC"
    later = f"{end:%m-%d %H:%M}" if start.year == end.year else when(end)
    return f"{when(start)} to {later} UTC"


def degrees_east(lon: float, digits: int | None = None) -> str:
    """
    Return a longitude in words a map uses.

    Examples
    --------
    >>> degrees_east(190.0), degrees_east(-180.0), degrees_east(0.0)
    ('170° W', '180°', '0°')
    """
    lon = (round(lon, 9) + 180.0) % 360.0 - 180.0
    side = "" if lon in (0.0, -180.0) else " E" if lon > 0.0 else " W"
    return f"{_number(abs(lon), digits)}°{side}"


def degrees_north(lat: float, digits: int | None = None) -> str:
    """Return a latitude in words a map uses."""
    lat = round(lat, 9)
    side = "" if lat == 0.0 else " N" if lat > 0.0 else " S"
    return f"{_number(abs(lat), digits)}°{side}"


def _number(value: float, digits: int | None) -> str:
    return f"{round(value, 6):g}" if digits is None else f"{value:.{digits}f}"


def where(receptor: Receptor) -> str:
    """Return the place of a receptor in words."""
    heights = receptor.altitudes
    ref = receptor.altitude_ref.upper()
    if min(heights) == max(heights):
        height = f"{heights[0]:g} m {ref}"
    else:
        height = f"{min(heights):g}–{max(heights):g} m {ref}"
    if receptor.kind == "multipoint":
        return f"{len(receptor)} points, {height}"
    lon, lat = receptor.longitudes[0], receptor.latitudes[0]
    return f"{degrees_north(lat)}, {degrees_east(lon)}, {height}"
