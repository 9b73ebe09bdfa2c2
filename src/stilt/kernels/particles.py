r"""
One minute of one particle, and the time loop over many.

Each process says what it would do; positions change here and nowhere else. A
step either happens whole or, when a tile of meteorology is missing, not at all:
the particle waits, the caller loads the tile and calls again, and nothing about
the result depends on when that was.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from stilt.kernels import boundaries, dilution, layout, rng
from stilt.kernels.advection import mean_velocity
from stilt.kernels.boundaries import ACTIVE, NEEDS_COLUMNS
from stilt.kernels.compiler import kernel
from stilt.kernels.dispersion import disperse, end_density
from stilt.kernels.interpolation import (
    Profile,
    column_value,
    fill_mean,
    find_place,
    nearest_value,
    want_tiles,
)

F = np.float32
_ZERO, _HALF, _ONE, _60 = F(0.0), F(0.5), F(1.0), F(60.0)

# what is recorded for each particle and output time, beside its position
(
    ZAGL,
    FOOT,
    SAMT,
    MLHT,
    SIGW,
    TLGR,
    PRES,
    DENS,
    TEMZ,
    RHFR,
    ZSFC,
    TEMP,
    SPHU,
    WOUT,
    SHTF_OUT,
    WHTF_OUT,
    TCLD_OUT,
    LCLD_OUT,
    DSWF_OUT,
) = range(19)
N_RECORDED = 19


class Ensemble(NamedTuple):
    """State of all particles."""

    x: np.ndarray
    """1-based grid coordinate, float64 (float32 to follow hycs_std)."""
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


class Physics(NamedTuple):
    """Settings the time loop needs."""

    time_sign: np.float32
    turbulence: bool
    """False: mean wind only (``nturb: 1``)."""
    veght: np.float32
    """Dilution height: fraction of zi up to 1, metres above."""
    tlfrac: np.float32
    hscale: np.float32
    """Time scale of horizontal turbulence [s]."""
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


@kernel
def new_profile(n_levels):
    """Make an empty profile."""
    return Profile(
        np.empty((n_levels, layout.MEAN_VARIABLES), dtype=np.float32),
        np.full(n_levels, -1, dtype=np.int64),
        np.empty((n_levels, 2), dtype=np.float32),
        np.full(n_levels, -1, dtype=np.int64),
        np.empty(n_levels, dtype=np.float32),
        np.full(n_levels, -1, dtype=np.int64),
    )


@kernel
def correlated_profile(kind, state, spare, levels, depth, length, out):
    """Fill ``out`` with standard normal deviates correlated over ``length`` [m] in height."""
    for k in range(levels.sigma.size):
        draw = rng.normal(kind, state, spare)
        if k == 0:
            out[k] = draw
        else:
            a = math.exp(-depth * (levels.sigma[k - 1] - levels.sigma[k]) / length)
            out[k] = a * out[k - 1] + math.sqrt(_ONE - a * a) * draw


@kernel
def release(kind, state, spare, physics, levels, depth, ensemble, p):
    """Draw what a particle carries from its release: vertical velocity and, if asked, errors."""
    rng.start_draws(kind, state, p, rng.RELEASE_STEP)
    ensemble.w_ratio[p] = rng.normal(kind, state, spare)
    if physics.has_wind_error:
        correlated_profile(kind, state, spare, levels, depth[p], physics.zcoruverr, ensemble.wind_error[p, 0])
        correlated_profile(kind, state, spare, levels, depth[p], physics.zcoruverr, ensemble.wind_error[p, 1])
    if physics.has_zi_error:
        ensemble.zi_error[p] = physics.sigzierr * rng.normal(kind, state, spare)


@kernel
def release_all(kind, state, spare, physics, levels, depth, ensemble):
    """Draw the release of every particle, in order."""
    for p in range(ensemble.x.size):
        release(kind, state, spare, physics, levels, depth, ensemble, p)


@kernel
def perturb_winds(
    kind,
    state,
    spare,
    a,
    b,
    start_place,
    end_place,
    levels,
    physics,
    start,
    end,
    stamp,
    depth,
    gx,
    gy,
    km,
    errors,
):
    """Add the wind error to the start and end profiles and carry it on by one step."""
    n = levels.sigma.size
    for k in range(n):
        fill_mean(a, b, start_place, k, start, stamp)
        fill_mean(a, b, end_place, k, end, stamp)
    in_time = math.exp(-_ONE / physics.tluverr)
    in_space = math.exp(-km / physics.horcoruverr)
    fresh = np.empty((4, n), dtype=np.float32)
    for i in range(4):
        correlated_profile(kind, state, spare, levels, depth, physics.zcoruverr, fresh[i])
    time_rest = math.sqrt(_ONE - in_time * in_time)
    space_rest = math.sqrt(_ONE - in_space * in_space)
    for c in range(2):
        cells = _60 / (gx if c == 0 else gy)
        at = layout.U if c == 0 else layout.V
        for k in range(n):
            error = physics.siguverr * errors[c, k]
            start.mean[k, at] += error * cells
            error = in_time * error + time_rest * physics.siguverr * fresh[c, k]
            error = in_space * error + space_rest * physics.siguverr * fresh[2 + c, k]
            end.mean[k, at] += error * cells
            errors[c, k] = error / physics.siguverr


@kernel
def step_particle(
    kind, state, spare, a, b, grid, levels, physics, tf0, tf1, start, end, stamp, ens, p, record
):
    """
    Move one particle by one minute.

    Parameters
    ----------
    kind, state, spare
        Stream of random numbers, pointed at this particle and step.
    a, b : Columns
        The analyses around the step.
    grid, levels, physics
        Grid, internal levels and settings.
    tf0, tf1 : float32
        Fraction of the way from ``a`` to ``b`` at the start and the end of the step.
    start, end : Profile
        Working memory.
    stamp : int
        Distinguishes this step in the working memory.
    ens : Ensemble
        The particles.
    p : int
        Which one.
    record : ndarray of float32, shape (N_RECORDED,)
        Filled with what the step found, without ``FOOT`` and ``SAMT``.

    Returns
    -------
    status : int
        ACTIVE, the side left by, or NEEDS_COLUMNS with nothing changed.
    x, y : float
        Where meteorology is needed when NEEDS_COLUMNS.
    """
    x, y, sigma = ens.x[p], ens.y[p], ens.sigma[p]
    side = boundaries.side_left(x, y, grid)
    if side != ACTIVE:
        return side, x, y
    base = levels.sigma.size * layout.PER_LEVEL
    n = levels.sigma.size
    sign = physics.time_sign

    place, loaded = find_place(a, b, grid, x, y, tf0)
    if not loaded:
        return NEEDS_COLUMNS, x, y
    start_place = place
    zi_start = nearest_value(a, b, place, base + layout.ZI)

    # mean wind: first guess, then the average with the velocity found there
    u1, v1, w1, _ = mean_velocity(a, b, place, levels, sigma)
    x1 = x + u1 * sign
    y1 = y + v1 * sign
    sigma1 = sigma + w1 * sign
    side = boundaries.side_outside(x1, y1, grid)
    if side != ACTIVE:
        return side, x1, y1
    place, loaded = find_place(a, b, grid, boundaries.wrap_x(x1, grid), y1, tf1)
    if not loaded:
        return NEEDS_COLUMNS, boundaries.wrap_x(x1, grid), y1
    u2, v2, w2, index_mean = mean_velocity(a, b, place, levels, sigma1)
    xm = _HALF * (x1 + x + u2 * sign)
    ym = _HALF * (y1 + y + v2 * sign)
    sigma_m = _HALF * (sigma1 + sigma + w2 * sign)
    side = boundaries.side_outside(xm, ym, grid)
    if side != ACTIVE:
        return side, xm, ym
    wrapped = boundaries.wrap_x(xm, grid)
    end_place, loaded = find_place(a, b, grid, wrapped, ym, tf1)
    if not loaded:
        return NEEDS_COLUMNS, wrapped, ym
    sigma_m = max(levels.sigma[n - 1], min(_ONE, sigma_m))

    terrain = column_value(a, b, end_place, base + layout.TERRAIN)
    depth = levels.top - terrain
    zi_end = nearest_value(a, b, end_place, base + layout.ZI)
    gx = a.rows[end_place.near_a, base + layout.GX]
    gy = a.rows[end_place.near_a, base + layout.GY]

    minutes = _ZERO
    influence = _ZERO
    sigma_w = _ZERO
    tl = _ZERO
    layer = 1
    if physics.turbulence:
        if physics.has_wind_error:
            dx = gx * F(xm - x)
            dy = gy * F(ym - y)
            km = math.sqrt(dx * dx + dy * dy) / F(1000.0)
            perturb_winds(
                kind,
                state,
                spare,
                a,
                b,
                start_place,
                end_place,
                levels,
                physics,
                start,
                end,
                stamp,
                depth,
                gx,
                gy,
                km,
                ens.wind_error[p],
            )
        index = max(_ONE, index_mean)
        low = min(int(index), n - 1)
        at = (low - 1) * layout.PER_LEVEL + layout.VARIANCE_H
        variance = column_value(a, b, end_place, at)
        variance = (column_value(a, b, end_place, at + layout.PER_LEVEL) - variance) * (
            index - F(low)
        ) + variance
        spread = math.sqrt(variance)
        g1 = rng.normal(kind, state, spare)
        g2 = rng.normal(kind, state, spare)
        if math.isnan(ens.u_turb[p]):
            u_turb = spread * g1
            v_turb = spread * g2
        else:
            memory = math.exp(-_60 / physics.hscale)
            rest = math.sqrt(_ONE - memory * memory)
            u_turb = memory * ens.u_turb[p] + rest * spread * g1
            v_turb = memory * ens.v_turb[p] + rest * spread * g2
        ens.u_turb[p] = u_turb
        ens.v_turb[p] = v_turb
        # the mean wind is redone inside the dispersion loop, from where the step began
        x = x + u_turb * _60 / gx
        y = y + v_turb * _60 / gy
        zv = physics.veght * zi_start if physics.veght <= _ONE else physics.veght
        x, y, sigma, ratio, minutes, influence, sigma_w, tl, layer = disperse(
            kind,
            state,
            spare,
            a,
            b,
            start_place,
            levels,
            start,
            stamp,
            False,
            zi_start,
            depth,
            zv,
            physics.tlfrac,
            sign,
            _HALF,
            x,
            y,
            sigma_m,
            ens.w_ratio[p],
        )
        zv = physics.veght * zi_end if physics.veght <= _ONE else physics.veght
        x, y, sigma, ratio, minutes2, influence2, sigma_w, tl, layer = disperse(
            kind,
            state,
            spare,
            a,
            b,
            end_place,
            levels,
            end,
            stamp,
            True,
            zi_end,
            depth,
            zv,
            physics.tlfrac,
            sign,
            _HALF,
            x,
            y,
            sigma,
            ratio,
        )
        minutes += minutes2
        influence += influence2
        ens.w_ratio[p] = ratio
        if physics.has_zi_error:
            dx = gx * F(xm - ens.x[p])
            dy = gy * F(ym - ens.y[p])
            km = math.sqrt(dx * dx + dy * dy) / F(1000.0)
            error = ens.zi_error[p]
            memory = math.exp(-_ONE / physics.tlzierr)
            error = memory * error + math.sqrt(_ONE - memory * memory) * physics.sigzierr * rng.normal(
                kind, state, spare
            )
            memory = math.exp(-km / physics.horcorzierr)
            error = memory * error + math.sqrt(_ONE - memory * memory) * physics.sigzierr * rng.normal(
                kind, state, spare
            )
            ens.zi_error[p] = error
            influence = influence * max(_ZERO, (F(100.0) + error) / F(100.0))
    else:
        x, y, sigma = xm, ym, sigma_m

    ens.x[p] = boundaries.wrap_x(x, grid)
    ens.y[p] = y
    ens.sigma[p] = sigma
    ens.samt[p] += minutes
    ens.foot[p] += influence

    # what is written of the end of the step, at the mean-advected point
    here = sigma
    low = 1
    while low < n - 1 and levels.sigma[low] > here:
        low += 1
    fill_mean(a, b, end_place, low - 1, end, stamp)
    below = end.mean[low - 1]
    record[ZAGL] = (_ONE - here) * depth
    record[MLHT] = _HALF * (zi_start + zi_end)
    record[SIGW] = sigma_w
    record[TLGR] = tl
    if here > levels.sigma[0]:
        record[PRES] = below[layout.PRESSURE]
        record[DENS] = end_density(below)
        record[TEMZ] = below[layout.TEMPERATURE]
        record[RHFR] = below[layout.HUMIDITY]
    else:
        fill_mean(a, b, end_place, low, end, stamp)
        above = end.mean[low]
        part = (here - levels.sigma[low - 1]) / (levels.sigma[low] - levels.sigma[low - 1])
        record[PRES] = (above[layout.PRESSURE] - below[layout.PRESSURE]) * part + below[layout.PRESSURE]
        d0 = end_density(below)
        record[DENS] = (end_density(above) - d0) * part + d0
        record[TEMZ] = (above[layout.TEMPERATURE] - below[layout.TEMPERATURE]) * part + below[
            layout.TEMPERATURE
        ]
        record[RHFR] = (above[layout.HUMIDITY] - below[layout.HUMIDITY]) * part + below[layout.HUMIDITY]
    record[ZSFC] = terrain
    if physics.records_all:
        fill_mean(a, b, end_place, 0, end, stamp)
        record[TEMP] = end.mean[0, layout.TEMPERATURE]
        level = min(layer, n) - 1
        fill_mean(a, b, end_place, level, end, stamp)
        mean = end.mean[level]
        record[SPHU] = dilution.specific_humidity(
            end_density(mean), mean[layout.TEMPERATURE], mean[layout.HUMIDITY]
        )
        record[WOUT] = -sign * _HALF * (w1 + w2) * depth / _60
        record[SHTF_OUT] = column_value(a, b, end_place, base + layout.SHTF)
        record[WHTF_OUT] = column_value(a, b, end_place, base + layout.WHTF)
        record[TCLD_OUT] = column_value(a, b, end_place, base + layout.TCLD)
        record[LCLD_OUT] = column_value(a, b, end_place, base + layout.LCLD)
        record[DSWF_OUT] = column_value(a, b, end_place, base + layout.DSWF)
    return ACTIVE, x, y


@kernel
def _one_step(
    kind, state, spare, a, b, grid, levels, physics, clock, start, end, stamp, ens, p, s, out, xy, wanted
):
    """Do step ``s`` of particle ``p`` and record it; return whether the particle waits for a tile."""
    minutes = clock.offset + F(s - clock.first_step)
    tf0 = minutes / clock.interval
    tf1 = min(_ONE, (minutes + _ONE) / clock.interval)
    record = np.empty(N_RECORDED, dtype=np.float32)
    rng.start_draws(kind, state, p, s)
    status, x, y = step_particle(
        kind, state, spare, a, b, grid, levels, physics, tf0, tf1, start, end, stamp, ens, p, record
    )
    if status == NEEDS_COLUMNS:
        want_tiles(wanted, grid, x, y)
        return True
    ens.status[p] = status
    if status != ACTIVE:
        return False
    ens.steps[p] = s + 1
    if (s + 1) % physics.record_every == 0:
        at = (s + 1) // physics.record_every - 1
        for c in range(N_RECORDED):
            out[at, p, c] = record[c]
        out[at, p, FOOT] = ens.foot[p]
        out[at, p, SAMT] = ens.samt[p]
        ens.foot[p] = _ZERO
        ens.samt[p] = _ZERO
        xy[at, p, 0] = ens.x[p]
        xy[at, p, 1] = ens.y[p]
    return False


@kernel
def advance(kind, state, spare, a, b, grid, levels, physics, clock, ens, first, last, out, xy, wanted):
    """
    Carry particles ``first`` to ``last`` through the steps of a clock, as far as tiles allow.

    Parameters
    ----------
    kind, state, spare
        Stream of random numbers; the state is this thread's own.
    a, b : Columns
        The analyses around the steps.
    grid, levels, physics, clock
        Grid, internal levels, settings and time.
    ens : Ensemble
        The particles; each knows how many steps it has done.
    first, last : int
        Half-open range of particles.
    out : ndarray of float32, shape (n_records, n_particles, N_RECORDED)
        Recorded values, filled.
    xy : ndarray of float64, shape (n_records, n_particles, 2)
        Recorded positions in grid coordinates, filled.
    wanted : ndarray of uint8, shape (n_tiles_y, n_tiles_x)
        Tiles that are missing are set to 1.

    Returns
    -------
    int
        Particles that wait for a tile.
    """
    n = levels.sigma.size
    start = new_profile(n)
    end = new_profile(n)
    stamp = np.int64(0)
    waiting = 0
    if kind == rng.HYSPLIT:
        # one stream for all: minute by minute, particle by particle
        for s in range(clock.first_step, clock.last_step):
            for p in range(first, last):
                if ens.status[p] != ACTIVE or ens.steps[p] != s:
                    continue
                stamp += 1
                if _one_step(
                    kind,
                    state,
                    spare,
                    a,
                    b,
                    grid,
                    levels,
                    physics,
                    clock,
                    start,
                    end,
                    stamp,
                    ens,
                    p,
                    s,
                    out,
                    xy,
                    wanted,
                ):
                    return 1
        return 0
    for p in range(first, last):
        while ens.status[p] == ACTIVE and ens.steps[p] < clock.last_step:
            stamp += 1
            if _one_step(
                kind,
                state,
                spare,
                a,
                b,
                grid,
                levels,
                physics,
                clock,
                start,
                end,
                stamp,
                ens,
                p,
                ens.steps[p],
                out,
                xy,
                wanted,
            ):
                waiting += 1
                break
    return waiting
