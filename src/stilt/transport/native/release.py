"""Put the particles at the receptor: grid coordinates and height of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stilt.errors import ReceptorOffGridError
from stilt.meteorology.series import MetSeries
from stilt.receptors import Receptor


@dataclass(frozen=True)
class Release:
    """
    Where each particle starts.

    Attributes
    ----------
    x, y : ndarray of float64, shape (n,)
        1-based grid coordinates.
    height : ndarray of float64, shape (n,)
        Height as the receptor gives it [m].
    is_msl : bool
        Whether ``height`` counts from sea level.
    """

    x: np.ndarray
    y: np.ndarray
    height: np.ndarray
    is_msl: bool

    def heights_agl(self, terrain: np.ndarray) -> np.ndarray:
        """
        Return heights above ground [m AGL]; a height below the model's ground starts at the ground.

        Parameters
        ----------
        terrain : ndarray, shape (n,)
            Model terrain under each particle [m MSL].
        """
        return np.maximum(self.height - terrain, 0.0) if self.is_msl else self.height


def release_particles(receptor: Receptor, numpar: int, series: MetSeries, z_top: float) -> Release:
    """
    Spread particles over a receptor.

    Parameters
    ----------
    receptor : Receptor
        Point, column or several points.
    numpar : int
        Number of particles.
    series : MetSeries
        Meteorology, for its grid.
    z_top : float
        Model top [m AGL].

    Raises
    ------
    ReceptorOffGridError
        A release point is outside the usable part of the grid or above the model top.
    """
    points = receptor.release_points(numpar)
    lon = np.asarray(receptor.longitudes, dtype=float)
    lat = np.asarray(receptor.latitudes, dtype=float)
    heights = np.asarray(receptor.release_heights(numpar), dtype=float)
    grid = series.grid
    x, y = grid.to_xy(lon, lat)
    usable = np.atleast_1d(grid.usable(x, y))
    if not usable.all():
        worst = int(np.argmin(usable))
        raise ReceptorOffGridError(
            f"receptor {receptor.id} at {lon[worst]:g}, {lat[worst]:g} is outside met '{series.name}', which covers "
            f"{grid.describe()}. Move the receptor or use meteorology that covers it."
        )
    if heights.max() > z_top:
        raise ReceptorOffGridError(
            f"receptor {receptor.id} at {heights.max():g} m is above the model top z_top = {z_top:g} m. "
            "Lower the receptor or raise z_top."
        )
    return Release(
        x=np.asarray(x, dtype=float)[points],
        y=np.asarray(y, dtype=float)[points],
        height=heights,
        is_msl=receptor.altitude_ref == "msl",
    )
