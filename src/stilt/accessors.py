"""
The ``plot`` property of receptors, trajectories, footprints, simulations and models.

Data do not depend on pictures: the classes that have a ``plot`` lie below the plotting
code and must work without matplotlib. So the plotting class is found by name when it is
asked for, and a missing matplotlib is reported then, with what to install.
"""

from __future__ import annotations

import importlib
from typing import Any

from stilt.errors import MissingExtraError

PLOTS = {
    "receptor": "stilt.visualization.receptor:ReceptorPlots",
    "trajectories": "stilt.visualization.trajectories:TrajectoryPlots",
    "footprint": "stilt.visualization.footprint:FootprintPlots",
    "simulation": "stilt.visualization.simulation:SimulationPlots",
    "model": "stilt.visualization.availability:ModelPlots",
}
"""Module and class that draw each kind of object."""


def plots_of(kind: str, subject: Any) -> Any:
    """
    Return the plots of an object.

    Parameters
    ----------
    kind : str
        What the object is: a key of :data:`PLOTS`.
    subject : object
        What to draw.

    Returns
    -------
    object
        Its methods draw.

    Raises
    ------
    MissingExtraError
        When matplotlib is not installed.
    """
    module_name, class_name = PLOTS[kind].split(":")
    try:
        importlib.import_module("matplotlib")
    except ImportError as error:
        raise MissingExtraError(
            f"{kind}.plot needs matplotlib, which is not installed; pip install '.[plot]' in the checkout"
        ) from error
    return getattr(importlib.import_module(module_name), class_name)(subject)
