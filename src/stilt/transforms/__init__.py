"""
What may happen to particles between transport and gridding.

::

    apply      in order, starting from the influence before any weight      user      functions by import path
    vertical   averaging kernels and pressure weights of columns            lifetime  first-order decay

A transform is a pure function of the particle table and the receptor. Weights multiply ``foot`` on every row
of a particle; ``foot_before_weight`` keeps what was there, and weighting again starts from it.
"""

from __future__ import annotations

from stilt.transforms.apply import apply_transforms, changes_influence_only, check_imports, describe, resolve
from stilt.transforms.lifetime import decay
from stilt.transforms.vertical import ColumnAir, column_air, particle_weights

__all__ = [
    "ColumnAir",
    "apply_transforms",
    "changes_influence_only",
    "check_imports",
    "column_air",
    "decay",
    "describe",
    "particle_weights",
    "resolve",
]
