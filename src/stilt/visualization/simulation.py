"""Pictures of one simulation: those of its outputs, found by themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stilt.errors import MissingObjectError
from stilt.visualization.footprint import FootprintPlots
from stilt.visualization.trajectories import TrajectoryPlots

if TYPE_CHECKING:
    from stilt.simulation import Simulation


class SimulationPlots:
    """
    Plots of a simulation.

    Parameters
    ----------
    simulation : Simulation
        Whose outputs to draw.
    """

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation

    def map(self, ax: Any = None, *, footprint: str | None = None, **options: Any) -> Axes:
        """
        Draw a footprint, or the particles where there is none.

        Parameters
        ----------
        ax : Axes or GeoAxes, optional
            Where; default: a new figure.
        footprint : str, optional
            Its name; default: the first that is configured.
        **options
            As for ``footprint.plot.map`` or ``trajectories.plot.map``.

        Returns
        -------
        Axes
        """
        names = (footprint,) if footprint is not None else self._simulation.footprint_names[:1]
        for name in names:
            found = self._simulation.get_footprint(name)
            if found is not None:
                return FootprintPlots(found).map(ax, **options)
            if footprint is not None:
                raise self._nothing(f"footprint '{footprint}'")
        return self._trajectories().map(ax, **options)

    def facet(self, hours: Any = None, *, footprint: str | None = None, **options: Any) -> Figure:
        """
        Draw a footprint by groups of hours.

        Parameters
        ----------
        hours : int or sequence of float, optional
            As for ``footprint.plot.facet``.
        footprint : str, optional
            Its name; default: the first that is configured.
        **options
            As for ``footprint.plot.facet``.

        Returns
        -------
        Figure
        """
        name = footprint or next(iter(self._simulation.footprint_names), "default")
        found = self._simulation.get_footprint(name)
        if found is None:
            raise self._nothing(f"footprint '{name}'")
        return FootprintPlots(found).facet(hours, **options)

    def section(self, ax: Axes | None = None, **options: Any) -> Axes:
        """
        Draw heights of the particles against time.

        Parameters
        ----------
        ax : Axes, optional
            Where; default: a new figure.
        **options
            As for ``trajectories.plot.section``.

        Returns
        -------
        Axes
        """
        return self._trajectories().section(ax, **options)

    def _trajectories(self) -> TrajectoryPlots:
        found = self._simulation.trajectories
        if found is None:
            raise self._nothing("trajectories")
        return TrajectoryPlots(found)

    def _nothing(self, what: str) -> MissingObjectError:
        return MissingObjectError(
            f"simulation {self._simulation.id} has no {what} to draw "
            f"(it is {self._simulation.status}); run it first."
        )
