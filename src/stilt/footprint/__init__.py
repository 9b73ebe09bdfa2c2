"""
From particles to footprints.

::

    particles   the five columns, sorted once          densify    rows between rows in the first minutes
    axes        a grid as the gridding sees it         gridding   ages, bandwidths, cells, stamping
    empties     why nothing reached the grid           product    Footprint      netcdf    its file
    calculate   all of it in one function              near_field the correction made before storing
    layers      hours, bins                            time_bins  shares of one interval in another
    regrid      shares of one cell in another          aggregate  sums over cells and intervals
    enhancement footprint times flux                   jacobian   many footprints as one matrix
"""

from __future__ import annotations

from stilt.footprint.aggregate import aggregate_array
from stilt.footprint.calculate import calc_footprint, warm_up
from stilt.footprint.empties import EmptyReason
from stilt.footprint.jacobian import Jacobian
from stilt.footprint.near_field import correct_near_field
from stilt.footprint.particles import ParticleColumns
from stilt.footprint.product import Footprint

__all__ = [
    "EmptyReason",
    "Footprint",
    "Jacobian",
    "ParticleColumns",
    "aggregate_array",
    "calc_footprint",
    "correct_near_field",
    "warm_up",
]
