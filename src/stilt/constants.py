"""
Physical constants, each once, with its unit and its source.

A constant that one reference program uses with a value of its own is named
after that program: results are reproduced only with its number, so two
"molar masses of dry air" live side by side and must not be merged.
"""

from __future__ import annotations

GRAVITY = 9.80616
"""Acceleration of gravity [m s-2], as HYSPLIT uses it (45 degrees latitude, Smithsonian tables)."""

R_DRY = 287.04
"""Gas constant of dry air [J kg-1 K-1], as HYSPLIT uses it."""

CP_DRY = 1005.0
"""Specific heat of dry air at constant pressure [J kg-1 K-1], as HYSPLIT's surface-flux code uses it."""

VON_KARMAN = 0.4
"""Von Karman constant [1]."""

POISSON = 0.286
"""R/cp exponent of potential temperature [1], the rounded value HYSPLIT uses."""

ONE_THIRD_HYSPLIT = 0.3333
"""The exponent HYSPLIT writes for a cube root [1]."""

REFERENCE_PRESSURE = 1000.0
"""Reference pressure of potential temperature [hPa]."""

EARTH_RADIUS_KM = 6371.2
"""Earth radius [km] of the ARL grid definitions (NCEP sphere)."""

MOLAR_MASS_DRY_AIR_HYSPLIT = 0.02884
"""Molar mass of air [kg mol-1] in the surface influence that hycs_std 5.1.0 writes (column ``foot``)."""

MAX_MASS_HYSPLIT = 100000.0
"""Largest mass of a particle [1] that hycs_std 5.1.0 lets grow (column ``dmas``)."""

MOLAR_MASS_DRY_AIR_STILT_R = 0.02897
"""Molar mass of dry air [kg mol-1] in STILT-R's near-field plume dilution."""

MOLAR_MASS_DRY_AIR_X_STILT = 0.029
"""Molar mass of dry air [kg mol-1] in X-STILT's pressure weights."""

GRAVITY_X_STILT = 9.8
"""Acceleration of gravity [m s-2] in X-STILT's pressure weights."""

EPSILON = 0.622
"""Ratio of the molar masses of water and dry air [1]."""

MIN_SIGMA_TOP = 25000.0
"""Smallest top of the internal sigma coordinate [m]; a larger ``z_top`` replaces it."""
