"""Where and when we measure: receptor classes and the ``receptors.csv`` table."""

from __future__ import annotations

from stilt.receptors.base import Receptor
from stilt.receptors.coordinates import AltitudeRef
from stilt.receptors.kinds import ColumnReceptor, MultiPointReceptor, PointReceptor
from stilt.receptors.table import as_receptors, read_receptors
from stilt.receptors.times import to_utc

__all__ = [
    # classes
    "AltitudeRef",
    "ColumnReceptor",
    "MultiPointReceptor",
    "PointReceptor",
    "Receptor",
    # reading
    "as_receptors",
    "read_receptors",
    "to_utc",
]
