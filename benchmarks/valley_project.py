"""The project that several benchmarks run: points in the generated valley, with one footprint each."""

from __future__ import annotations

from pathlib import Path

import stilt

GRID = stilt.Grid(xmin=-112.4, xmax=-110.6, ymin=40.4, ymax=41.6, xres=0.05, yres=0.05)


def write_met(folder: Path, n_hours: int) -> Path:
    """Write the valley's meteorology from 2024-07-10 18 UTC on, and return its folder."""
    from stilt.meteorology.valley import write_demo_met

    write_demo_met(folder / "met", "2024-07-10T18:00:00", n_hours)
    return folder / "met"


def project(
    folder: Path, met: Path, n: int, *, hours: tuple[str, ...], n_hours: int, numpar: int
) -> stilt.Model:
    """
    Make a project of points close together, their times spread over some hours.

    Parameters
    ----------
    folder, met : Path
        Of the project, and of the meteorology.
    n : int
        Simulations.
    hours : tuple of str
        Hours of the receptors, such as ``2024-07-10 20``; minutes differ [UTC].
    n_hours, numpar : int
        Length [h] and particles of a simulation.

    Returns
    -------
    stilt.Model
        Not run.
    """
    receptors = [
        stilt.PointReceptor(
            f"{hours[i % len(hours)]}:{i // len(hours) % 60:02d}",
            round(-111.6 + 0.0005 * (i % 400), 4),
            round(41.0 + 1e-4 * (i // 400), 4),
            10,
        )
        for i in range(n)
    ]
    return stilt.Model(
        folder,
        receptors,
        mets={"valley": {"directory": met, "file_format": "%Y%m%d_%H"}},
        footprints={"default": {"grid": "g"}},
        grids={"g": GRID},
        n_hours=n_hours,
        numpar=numpar,
    )
