"""Where a receptor is, on a map."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from stilt.receptors import Receptor
from stilt.spatial import LONGLAT
from stilt.visualization import style
from stilt.visualization.maps import draw_map, mark_receptor
from stilt.visualization.plane import MapPlane, coordinates_of, new_map, plane_for, view_around


class ReceptorPlots:
    """
    Plots of a receptor.

    Parameters
    ----------
    receptor : Receptor
        What to draw.
    """

    def __init__(self, receptor: Receptor) -> None:
        self._receptor = receptor

    def map(
        self,
        ax: Any = None,
        *,
        width: float | None = None,
        projection: str = LONGLAT,
        coastlines: bool = True,
        title: str | None = None,
    ) -> Axes:
        """
        Draw the place on a map; the points of a multipoint receptor are coloured by height.

        Parameters
        ----------
        ax : Axes or GeoAxes, optional
            Where; default: a new figure.
        width : float, optional
            Width of the map [km]; default 1000, or what several points need.
        projection : str
            PROJ string or EPSG code.
        coastlines : bool
            Whether to draw them.
        title : str, optional
            Instead of the place.

        Returns
        -------
        Axes
        """
        receptor = self._receptor
        longitude = receptor.longitudes[0]
        plane = plane_for(ax, MapPlane(projection, center_lon=longitude))
        x, y = plane.project(receptor.longitudes, receptor.latitudes)
        spread = float(max(np.ptp(x) * plane.km_per_unit(float(x[0]), float(y[0])), np.ptp(y) * 111.0))
        if not plane.is_longlat:
            spread = float(max(np.ptp(x), np.ptp(y))) * plane.km_per_unit(0.0, 0.0)
        view = view_around(
            x, y, plane, at_least=width or max(1000.0 if spread == 0.0 else 300.0, 3.0 * spread)
        )
        if ax is None:
            ax = new_map(view, plane, colorbar=receptor.kind == "multipoint", longest=4.4)
        draw_map(ax, plane, view, coastlines=coastlines)
        mark_receptor(ax, plane, receptor)
        if receptor.kind == "multipoint":
            points = ax.scatter(
                x, y, c=receptor.altitudes, cmap=style.sequential("viridis", 0.0, 0.95), s=30.0, zorder=9,
                edgecolor="white", linewidth=0.4, **coordinates_of(ax, plane),
            )  # fmt: skip
            bar = ax.figure.colorbar(points, cax=ax.inset_axes((1.025, 0.0, 0.035, 1.0)))
            bar.set_label(f"Height [m {receptor.altitude_ref.upper()}]", fontsize=style.NORMAL)
            bar.ax.tick_params(labelsize=style.SMALL)
        kind = {"point": "Receptor", "column": "Column receptor", "multipoint": "Multipoint receptor"}[
            receptor.kind
        ]
        style.put_title(
            ax, f"{kind} · {style.when(receptor.time)} UTC" if title is None else title, style.where(receptor)
        )
        return ax
