"""Put the particles at the receptor: grid coordinates and height of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stilt.errors import ReceptorOffGridError
from stilt.meteorology.series import MetSeries
from stilt.receptors import Receptor
from stilt.transport.native.program_grid import program_coordinates


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
    minute : ndarray of int64, shape (n,)
        Minutes from the start of the run to the release of each particle.
    lowest : ndarray of float64, shape (n,)
        Lowest height released at the particle's point [m].
    """

    x: np.ndarray
    y: np.ndarray
    height: np.ndarray
    is_msl: bool
    minute: np.ndarray
    lowest: np.ndarray

    def heights_agl(self, terrain: np.ndarray) -> np.ndarray:
        """
        Return heights above ground [m AGL]; a height below the model's ground starts at the ground.

        Parameters
        ----------
        terrain : ndarray, shape (n,)
            Model terrain under each particle [m MSL].
        """
        return np.maximum(self.height - terrain, 0.0) if self.is_msl else self.height


def release_particles(
    receptor: Receptor,
    numpar: int,
    series: MetSeries,
    z_top: float,
    *,
    hours: float = 0.0,
    as_program: bool = False,
) -> Release:
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
    hours : float
        Duration of the release (``emisshrs``) [h].
    as_program : bool
        Follow ``hycs_std`` in how it rounds coordinates. Its heights in a column come from its
        compiler's own generator and its blocks over several points from how it counts; both stay ours.

    Raises
    ------
    ReceptorOffGridError
        A release point is outside the usable part of the grid or above the model top.
    """
    lon, lat = points_of(receptor)
    grid = series.grid
    x, y = grid.to_xy(lon, lat)
    usable = np.atleast_1d(grid.usable(x, y))
    if not usable.all():
        worst = int(np.argmin(usable))
        raise ReceptorOffGridError(
            f"receptor {receptor.id} at {lon[worst]:g}, {lat[worst]:g} is outside met '{series.name}', "
            f"which covers {grid.describe()}. Move the receptor or use meteorology that covers it."
        )
    if as_program:
        x, y = program_coordinates(grid, lon, lat)
    return release_at(receptor, numpar, x, y, z_top, hours=hours)


def points_of(receptor: Receptor) -> tuple[np.ndarray, np.ndarray]:
    """Return longitudes and latitudes of the points of a receptor [degrees]."""
    return np.asarray(receptor.longitudes, dtype=float), np.asarray(receptor.latitudes, dtype=float)


def release_at(
    receptor: Receptor, numpar: int, x: np.ndarray, y: np.ndarray, z_top: float, *, hours: float = 0.0
) -> Release:
    """
    Spread particles over a receptor whose points have grid coordinates.

    Parameters
    ----------
    receptor, numpar, z_top, hours
        As for `release_particles`.
    x, y : ndarray, shape (n_points,)
        1-based grid coordinates of the receptor's points.

    Raises
    ------
    ReceptorOffGridError
        A release point is above the model top.
    """
    heights = np.asarray(receptor.release_heights(numpar), dtype=float)
    if heights.max() > z_top:
        raise ReceptorOffGridError(
            f"receptor {receptor.id} at {heights.max():g} m is above the model top z_top = {z_top:g} m. "
            "Lower the receptor or raise z_top."
        )
    points = np.asarray(receptor.release_points(numpar))
    lowest = np.full(points.max() + 1, np.inf)
    np.minimum.at(lowest, points, heights)
    return Release(
        x=np.asarray(x, dtype=float)[points],
        y=np.asarray(y, dtype=float)[points],
        height=heights,
        is_msl=receptor.altitude_ref == "msl",
        minute=release_minutes(receptor, numpar, hours),
        lowest=lowest[points],
    )


def release_minutes(receptor: Receptor, numpar: int, hours: float) -> np.ndarray:
    """
    Spread a release over time: as many particles a minute as it takes, until all are out.

    Parameters
    ----------
    receptor : Receptor
        From a point they leave in order; from a column or several points each minute takes
        particles from all over it.
    numpar : int
        Number of particles.
    hours : float
        Duration [h]; anything below two minutes is one instant.

    Returns
    -------
    ndarray of int64, shape (numpar,)
        Minutes from the start of the run.
    """
    minutes = max(1, int(60.0 * hours + 1e-6))
    per_minute = -(-numpar // minutes)
    order = np.arange(numpar, dtype=np.int64)
    if receptor.kind == "point":
        return order // per_minute
    return order % -(-numpar // per_minute)
