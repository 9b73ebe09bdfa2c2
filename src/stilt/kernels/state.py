"""What the time loop carries from step to step: particles, working memory, settings and clock."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from stilt.kernels.interpolation import Profile, new_profile
from stilt.kernels.recording import N_RECORDED


class Ensemble(NamedTuple):
    """State of all particles."""

    x: np.ndarray
    """1-based grid coordinate, float32 as in hycs_std (``design/2026-11-22-float32-positions.md``)."""
    y: np.ndarray
    sigma: np.ndarray
    """Terrain-following height [1], float32."""
    u_turb: np.ndarray
    """Turbulent velocity along x [m s-1], float32; NaN before the first step."""
    v_turb: np.ndarray
    w_ratio: np.ndarray
    """Turbulent vertical velocity over sigma_w [1], float32."""
    foot: np.ndarray
    """Sensitivity since the last recorded time, float32."""
    samt: np.ndarray
    """Minutes below the dilution height since the last recorded time, float32."""
    status: np.ndarray
    """int64, ACTIVE or the side the particle left by."""
    steps: np.ndarray
    """int64, steps done."""
    wind_error: np.ndarray
    """float32, shape (n, 2, n_levels): normalised error profiles of u and v; (n, 2, 0) without."""
    zi_error: np.ndarray
    """float32, shape (n,): PBL-height error [percent]."""
    mass: np.ndarray
    """Mass of the air a particle stands for, 1 at its release, float32."""
    layer: np.ndarray
    """int64: layer of each particle when last seen; only where to start looking."""
    top_level: np.ndarray
    """int64: level above the mixed layer when last seen; only where to start looking."""


class Work(NamedTuple):
    """Working memory of one thread."""

    start: Profile
    end: Profile
    record: np.ndarray
    """float32, shape (N_RECORDED,): what the last step found."""
    velocity: np.ndarray
    """float32, shape (4,)."""
    fresh: np.ndarray
    """float32, shape (4, n_levels): new wind errors."""
    stamp: np.ndarray
    """int64, shape (1,): number of the current step, which says what in the profiles is valid."""


def new_work(n_levels: int) -> Work:
    """Make the working memory of one thread."""
    return Work(
        new_profile(n_levels),
        new_profile(n_levels),
        np.zeros(N_RECORDED, dtype=np.float32),
        np.zeros(4, dtype=np.float32),
        np.zeros((4, n_levels), dtype=np.float32),
        np.zeros(1, dtype=np.int64),
    )


class Physics(NamedTuple):
    """Settings the time loop needs."""

    time_sign: np.float32
    turbulence: bool
    """False: mean wind only (``nturb: 1``)."""
    veght: np.float32
    """Dilution height: fraction of zi up to 1, metres above."""
    tlfrac: np.float32
    h_memory: np.float32
    """Share of the horizontal turbulent velocity kept over a step [1]."""
    h_rest: np.float32
    """Share of the fresh one."""
    has_wind_error: bool
    siguverr: np.float32
    tluverr: np.float32
    zcoruverr: np.float32
    horcoruverr: np.float32
    has_zi_error: bool
    sigzierr: np.float32
    tlzierr: np.float32
    horcorzierr: np.float32
    record_every: int
    """Steps between recorded times."""
    records_all: bool
    """Record the columns beyond the default ones too."""
    rain_rule: int = 0
    """How to tell whether the accumulation of rain began anew (see :mod:`stilt.kernels.recording`)."""


class Clock(NamedTuple):
    """How steps map to time between the two analyses."""

    first_step: int
    """First step of this interval, counted from the release."""
    last_step: int
    """One past the last."""
    offset: np.float32
    """Minutes from the first analysis to the start of ``first_step``, positive in the run's direction."""
    interval: np.float32
    """Minutes between the analyses."""
