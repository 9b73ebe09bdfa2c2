"""Compile every kernel of the native engine once, by a run too small to cost anything else."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import numpy as np

from stilt.config import TransportParams
from stilt.meteorology.catalog import open_series
from stilt.meteorology.synthetic import uniform
from stilt.receptors import PointReceptor
from stilt.transport.native.recipe import column_source
from stilt.transport.native.release import release_particles
from stilt.transport.native.simulate import simulate
from stilt.transport.native.table import particle_table
from stilt.transport.native.tiles import ColumnPool, TileCache


@functools.cache
def compile_kernels(*, follows_mass: bool = False) -> None:
    """
    Run two particles for an hour through a made-up wind, so that all kernels are compiled or loaded.

    With an empty kernel cache this takes some ten seconds, with a warm one well under a second.

    Parameters
    ----------
    follows_mass : bool
        Compile the time loop that follows the mass of the air (column ``dmas``) instead of the one without.
    """
    with tempfile.TemporaryDirectory(prefix="stilt-warm-up-") as name:
        folder = Path(name)
        world = uniform(u=3.0, v=1.0, hours=2)
        path = world.write(folder / "warm_up.arl")
        start = world.times[1]
        receptor = PointReceptor(str(start), *world.center, 10.0)
        params = TransportParams(n_hours=-1, numpar=2)
        if follows_mass:
            params = params.model_copy(update={"varsiwant": (*params.varsiwant, "dmas")})
        series = open_series([path], name="warm-up", start=world.times[0], end=start)
        source = column_source(series, params)
        release = release_particles(receptor, params.numpar, series, params.z_top)
        pool = ColumnPool(TileCache(folder / "columns"))
        recorded = simulate(source, release, np.datetime64(start), params, pool, seed=0, key=0)
        particle_table(recorded, series.grid, params.varsiwant, None)
