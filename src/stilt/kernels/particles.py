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
from stilt.kernels.advection import advect
from stilt.kernels.boundaries import ACTIVE, NEEDS_COLUMNS
from stilt.kernels.compiler import kernel
from stilt.kernels.dispersion import density_at, disperse
from stilt.kernels.interpolation import (
    Profile,
    bilinear,
    column_value,
    fill_mean,
    fill_prescribed_turbulence,
    find_place,
    mean_value,
    nearest_value,
    new_profile,
    want_tiles,
)

F = np.float32
N = np.uint64
_ZERO, _HALF, _ONE, _60 = F(0.0), F(0.5), F(1.0), F(60.0)
_NO_RAIN_FIELD, _NO_CONVECTIVE_RAIN_FIELD = F(-0.001 / 60.0), F(-0.9)
"""What ``hycs_std`` prints where the meteorology has no precipitation."""

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
    RAIN_OUT,
    CRAI_OUT,
) = range(20)
N_RECORDED = 20
N_DEFAULT = TEMP
"""The columns before this one cost nothing extra."""


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


@kernel(allocates=False, forceinline=False)
def correlated_profiles(kind, state, spare, levels, depth, length, out):
    """
    Fill pairs (u, v) of profiles with standard normal deviates correlated over a length in height.

    Parameters
    ----------
    kind, state, spare
        Stream of random numbers.
    levels : Levels
        Internal levels.
    depth, length : float32
        Depth of the coordinate and the correlation length [m].
    out : ndarray of float32, shape (2 * n_pairs, n_levels)
        Filled.
    """
    n_pairs = out.shape[0] // 2
    for row in range(2 * n_pairs):
        out[row, 0] = rng.normal(kind, state, spare)
    for k in range(1, levels.sigma.size):
        a = math.exp(-depth * (levels.sigma[k - 1] - levels.sigma[k]) / length)
        rest = math.sqrt(_ONE - a * a)
        # in the program's stream: u of every pair, then v of every pair; pair by pair at the first level
        for component in range(2):
            for pair in range(n_pairs):
                row = 2 * pair + component
                out[row, k] = a * out[row, k - 1] + rest * rng.normal(kind, state, spare)


@kernel
def release_all(kind, state, spare, physics, levels, depth, ensemble):
    """
    Draw what particles carry from their release: vertical velocity and, if asked, errors.

    The one stream of ``hycs_std`` gives the vertical velocities of all particles first, then their wind
    errors, then their PBL-height errors.
    """
    n = ensemble.x.size
    for p in range(n):
        rng.start_draws(kind, state, p, rng.RELEASE_STEP)
        ensemble.w_ratio[p] = rng.normal(kind, state, spare)
    if physics.has_wind_error:
        for p in range(n):
            rng.start_draws(kind, state, p, rng.WIND_ERROR_STEP)
            correlated_profiles(
                kind, state, spare, levels, depth[p], physics.zcoruverr, ensemble.wind_error[p]
            )
    if physics.has_zi_error:
        for p in range(n):
            rng.start_draws(kind, state, p, rng.ZI_ERROR_STEP)
            ensemble.zi_error[p] = physics.sigzierr * rng.normal(kind, state, spare)


@kernel(allocates=False, forceinline=False)
def perturb_winds(
    kind, state, spare, a, b, start_place, end_place, levels, physics, work, stamp, depth, gx, gy, km, errors
):
    """Add the wind error to the start and end profiles and carry it on by one step."""
    n = levels.sigma.size
    for k in range(n):
        fill_mean(a, b, start_place, k, work.start, stamp)
        fill_mean(a, b, end_place, k, work.end, stamp)
    in_time = math.exp(-_ONE / physics.tluverr)
    in_space = math.exp(-km / physics.horcoruverr)
    fresh = work.fresh
    correlated_profiles(kind, state, spare, levels, depth, physics.zcoruverr, fresh)
    time_rest = math.sqrt(_ONE - in_time * in_time)
    space_rest = math.sqrt(_ONE - in_space * in_space)
    for c in range(2):
        cells = _60 / (gx if c == 0 else gy)
        at = layout.U if c == 0 else layout.V
        for k in range(n):
            error = physics.siguverr * errors[c, k]
            work.start.mean[k * layout.MEAN_VARIABLES + at] += error * cells
            error = in_time * error + time_rest * physics.siguverr * fresh[c, k]
            error = in_space * error + space_rest * physics.siguverr * fresh[2 + c, k]
            work.end.mean[k * layout.MEAN_VARIABLES + at] += error * cells
            errors[c, k] = error / physics.siguverr


@kernel(allocates=False, forceinline=False)
def next_zi_error(kind, state, spare, physics, km, error):
    """Carry the PBL-height error [percent] on by one step over a distance [km]."""
    for memory in (math.exp(-_ONE / physics.tlzierr), math.exp(-km / physics.horcorzierr)):
        rest = math.sqrt(_ONE - memory * memory) * physics.sigzierr
        error = memory * error + rest * rng.normal(kind, state, spare)
    return error


@kernel(allocates=False)
def distance_km(gx, gy, dx, dy):
    """Return the length [km] of a displacement in grid cells."""
    x = gx * dx
    y = gy * dy
    return math.sqrt(x * x + y * y) / F(1000.0)


@kernel(allocates=False)
def step_particle(kind, state, spare, a, b, grid, levels, physics, tf0, tf1, work, stamp, ens, p):
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
    work : Work
        Working memory; ``record`` is filled with what the step found, without ``FOOT`` and ``SAMT``.
    stamp : int
        Distinguishes this step in the working memory.
    ens : Ensemble
        The particles.
    p : int
        Which one.

    Returns
    -------
    status : int
        ACTIVE, the side left by, or NEEDS_COLUMNS with nothing changed.
    x, y : float
        Where the particle is, or where meteorology is needed when NEEDS_COLUMNS.
    place : Place
        Place of the mean-advected point.
    layer : int
        Entry of the level list the particle ends in.
    """
    x, y, sigma = ens.x[p], ens.y[p], ens.sigma[p]
    # the program's mean wind moves particles in the coordinates of the window it has loaded
    west, south = F(grid.west), F(grid.south)
    wx = x - west
    wy = y - south
    start_place, loaded = find_place(a, b, grid, wx, wy, tf0)
    side = boundaries.side_left(x, y, grid)
    if side != ACTIVE:
        return side, x, y, start_place, np.int64(0)
    if not loaded:
        return NEEDS_COLUMNS, wx, wy, start_place, np.int64(0)
    n = levels.sigma.size
    base = N(n * layout.PER_LEVEL)
    sign = physics.time_sign
    start, end = work.start, work.end

    status, xm, ym, sigma_m, index_mean, end_place = advect(
        a, b, grid, levels, sign, start_place, tf1, wx, wy, sigma, work.velocity
    )
    if status != ACTIVE:
        return status, xm, ym, start_place, np.int64(0)
    zi_start = nearest_value(a, b, start_place, base + N(layout.ZI))
    zi_end = nearest_value(a, b, end_place, base + N(layout.ZI))
    terrain = column_value(a, b, end_place, base + N(layout.TERRAIN))
    depth = levels.top - terrain

    minutes = _ZERO
    influence = _ZERO
    sigma_w = _ZERO
    tl = _ZERO
    layer = ens.layer[p]
    if physics.turbulence:
        gx = a.values[end_place.near_a + base + N(layout.GX)]
        gy = a.values[end_place.near_a + base + N(layout.GY)]
        km = _ZERO
        if physics.has_wind_error or physics.has_zi_error:
            km = distance_km(gx, gy, F(xm - wx), F(ym - wy))
        if physics.has_wind_error:
            perturb_winds(
                kind, state, spare, a, b, start_place, end_place, levels, physics, work, stamp, depth,
                gx, gy, km, ens.wind_error[p],
            )  # fmt: skip
        if physics.has_zi_error:
            ens.zi_error[p] = next_zi_error(kind, state, spare, physics, km, ens.zi_error[p])
        index = max(_ONE, index_mean)
        low = min(int(index), n - 1)
        at = N((low - 1) * layout.PER_LEVEL + layout.VARIANCE_H)
        variance = column_value(a, b, end_place, at)
        above = column_value(a, b, end_place, at + N(layout.PER_LEVEL))
        spread = math.sqrt((above - variance) * (index - F(low)) + variance)
        g1 = rng.normal(kind, state, spare)
        g2 = rng.normal(kind, state, spare)
        u_turb = spread * g1
        v_turb = spread * g2
        if not math.isnan(ens.u_turb[p]):
            u_turb = physics.h_memory * ens.u_turb[p] + physics.h_rest * spread * g1
            v_turb = physics.h_memory * ens.v_turb[p] + physics.h_rest * spread * g2
        ens.u_turb[p] = u_turb
        ens.v_turb[p] = v_turb
        # the mean wind is redone inside the dispersion loop, from where the step began
        x = x + u_turb * _60 / gx
        y = y + v_turb * _60 / gy
        if levels.prescribed_tl:
            # both halves then see the turbulence of the end of the step
            for k in range(n):
                start.turbulence_stamp[k] = stamp
                fill_prescribed_turbulence(a, b, end_place, k, base, start)
        zv = physics.veght * zi_start if physics.veght <= _ONE else physics.veght
        x, y, sigma, ratio, minutes, influence, sigma_w, tl, layer, m = disperse(
            kind, state, spare, a, b, start_place, levels, start, stamp, False, zi_start, depth, zv,
            physics.tlfrac, sign, _HALF, x, y, sigma_m, ens.w_ratio[p], layer, ens.top_level[p],
            minutes, influence,
        )  # fmt: skip
        zv = physics.veght * zi_end if physics.veght <= _ONE else physics.veght
        x, y, sigma, ratio, minutes, influence, sigma_w, tl, layer, m = disperse(
            kind, state, spare, a, b, end_place, levels, end, stamp, True, zi_end, depth, zv,
            physics.tlfrac, sign, _HALF, x, y, sigma, ratio, layer, m, minutes, influence,
        )  # fmt: skip
        ens.w_ratio[p] = ratio
        ens.layer[p] = layer
        ens.top_level[p] = m
        if physics.has_zi_error:
            influence = influence * max(_ZERO, (F(100.0) + ens.zi_error[p]) / F(100.0))
    else:
        x, y, sigma = xm + west, ym + south, sigma_m

    x, y, crossed = boundaries.fold_at_pole(x, y, grid)
    if crossed:
        ens.u_turb[p] = -ens.u_turb[p]
        ens.v_turb[p] = -ens.v_turb[p]
    ens.x[p] = boundaries.wrap_x(x, grid)
    ens.y[p] = y
    ens.sigma[p] = sigma
    ens.samt[p] += minutes
    ens.foot[p] += influence

    record = work.record
    record[ZAGL] = (_ONE - sigma) * depth
    record[MLHT] = _HALF * (zi_start + zi_end)
    record[SIGW] = sigma_w
    record[TLGR] = tl
    record[ZSFC] = terrain
    return ACTIVE, x, y, end_place, layer


@kernel(allocates=False, forceinline=False)
def record_precipitation(a, b, place, base, interval, work):
    """Record precipitation [m min-1] from what has accumulated at the two analyses, as the program does."""
    record = work.record
    at = N(base) + N(layout.RAIN)
    first = a.values[place.near_a + at]
    second = b.values[place.near_b + at]
    if first == layout.MISSING or second == layout.MISSING:
        record[RAIN_OUT] = _NO_RAIN_FIELD
        record[CRAI_OUT] = _NO_CONVECTIVE_RAIN_FIELD
        return
    # a fall from the first to the second means that the accumulation began anew
    fallen = second - first if second >= first else second
    cloud = record[TCLD_OUT]
    if cloud >= _ZERO:
        fallen = fallen * cloud
    record[RAIN_OUT] = fallen / interval
    at = N(base) + N(layout.CRAI)
    convective = bilinear(
        b.values, place.b00 + at, place.b10 + at, place.b01 + at, place.b11 + at, place.fx, place.fy
    )
    record[CRAI_OUT] = convective / interval


@kernel(allocates=False)
def record_surroundings(a, b, place, levels, physics, work, stamp, sigma, layer, depth, interval):
    """Record the air around a particle at the end of a step, at the mean-advected point."""
    n = levels.sigma.size
    end, record = work.end, work.record
    low = 1
    while low < n - 1 and levels.sigma[low] > sigma:
        low += 1
    fill_mean(a, b, place, low - 1, end, stamp)
    density = density_at(a, b, place, end, stamp, low - 1, True)
    pressure = mean_value(end, low - 1, layout.PRESSURE)
    temperature = mean_value(end, low - 1, layout.TEMPERATURE)
    humidity = mean_value(end, low - 1, layout.HUMIDITY)
    if sigma <= levels.sigma[0]:
        fill_mean(a, b, place, low, end, stamp)
        part = (sigma - levels.sigma[low - 1]) / (levels.sigma[low] - levels.sigma[low - 1])
        density = (density_at(a, b, place, end, stamp, low, True) - density) * part + density
        pressure = (mean_value(end, low, layout.PRESSURE) - pressure) * part + pressure
        temperature = (mean_value(end, low, layout.TEMPERATURE) - temperature) * part + temperature
        humidity = (mean_value(end, low, layout.HUMIDITY) - humidity) * part + humidity
    record[PRES] = pressure
    record[DENS] = density
    record[TEMZ] = temperature
    record[RHFR] = humidity
    if physics.records_all:
        base = N(n * layout.PER_LEVEL)
        fill_mean(a, b, place, 0, end, stamp)
        record[TEMP] = mean_value(end, 0, layout.TEMPERATURE)
        # the program finds humidity while it disperses, and prints 0 where it does not
        record[SPHU] = _ZERO
        if physics.turbulence:
            level = min(layer, n) - 1
            fill_mean(a, b, place, level, end, stamp)
            record[SPHU] = dilution.specific_humidity(
                density_at(a, b, place, end, stamp, level, True),
                mean_value(end, level, layout.TEMPERATURE),
                mean_value(end, level, layout.HUMIDITY),
            )
        record[WOUT] = -physics.time_sign * work.velocity[2] * depth / _60
        record[SHTF_OUT] = column_value(a, b, place, base + N(layout.SHTF))
        record[WHTF_OUT] = column_value(a, b, place, base + N(layout.WHTF))
        record[TCLD_OUT] = nearest_value(a, b, place, base + N(layout.TCLD)) / F(100.0)
        record[LCLD_OUT] = column_value(a, b, place, base + N(layout.LCLD))
        record_precipitation(a, b, place, base, interval, work)


@kernel(allocates=False)
def one_step(kind, state, spare, a, b, grid, levels, physics, clock, work, ens, p, s, out, xy, wanted):
    """Do step ``s`` of particle ``p`` and record it; return whether the particle waits for a tile."""
    stamp = work.stamp[0] + 1
    work.stamp[0] = stamp
    minutes = clock.offset + F(s - clock.first_step)
    tf0 = minutes / clock.interval
    tf1 = min(_ONE, (minutes + _ONE) / clock.interval)
    rng.start_draws(kind, state, p, s)
    status, x, y, place, layer = step_particle(
        kind, state, spare, a, b, grid, levels, physics, tf0, tf1, work, stamp, ens, p
    )
    if status == NEEDS_COLUMNS:
        want_tiles(wanted, grid, boundaries.wrap_x(x, grid), y)
        return True
    ens.status[p] = status
    if status != ACTIVE:
        return False
    ens.steps[p] = s + 1
    if (s + 1) % physics.record_every == 0:
        at = (s + 1) // physics.record_every - 1
        depth = levels.top - work.record[ZSFC]
        record_surroundings(
            a, b, place, levels, physics, work, stamp, ens.sigma[p], layer, depth, clock.interval
        )
        work.record[FOOT] = ens.foot[p]
        work.record[SAMT] = ens.samt[p]
        columns = N_RECORDED if physics.records_all else N_DEFAULT
        for c in range(columns):
            out[c, p, at] = work.record[c]
        ens.foot[p] = _ZERO
        ens.samt[p] = _ZERO
        xy[0, p, at] = ens.x[p]
        xy[1, p, at] = ens.y[p]
    return False


@kernel
def terrain_one_minute_away(a, b, grid, levels, sign, tf0, tf1, x, y, sigma, out):
    """
    Fill the terrain [m MSL] a minute of mean wind away from points; points that lead off the grid stay.

    Parameters
    ----------
    a, b : Columns
        The analyses around the release.
    grid, levels
        Grid and internal levels.
    sign, tf0, tf1 : float32
        Direction of the run, fraction of the way from ``a`` to ``b`` at its start and a minute on.
    x, y, sigma : ndarray of float32, shape (n,)
        Points.
    out : ndarray of float32, shape (n,)
        Filled.

    Returns
    -------
    missing : int
        How many points lack a tile.
    """
    velocity = np.zeros(4, dtype=np.float32)
    at = N(levels.sigma.size * layout.PER_LEVEL + layout.TERRAIN)
    missing = 0
    for i in range(x.size):
        place, loaded = find_place(a, b, grid, x[i], y[i], tf0)
        status = NEEDS_COLUMNS
        end = place
        if loaded:
            status, _, _, _, _, end = advect(
                a, b, grid, levels, sign, place, tf1, x[i], y[i], sigma[i], velocity
            )
        if status == ACTIVE:
            out[i] = column_value(a, b, end, at)
        elif status == NEEDS_COLUMNS:
            missing += 1
    return missing


@kernel
def advance(kind, state, spare, a, b, grid, levels, physics, clock, work, ens, first, last, out, xy, wanted):
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
    work : Work
        Working memory of this thread.
    ens : Ensemble
        The particles; each knows how many steps it has done.
    first, last : int
        Half-open range of particles.
    out : ndarray of float32, shape (N_RECORDED, n_particles, n_records)
        Recorded values, filled; a particle's times lie side by side.
    xy : ndarray of float64, shape (2, n_particles, n_records)
        Recorded positions in grid coordinates, filled.
    wanted : ndarray of uint8, shape (n_tiles_y, n_tiles_x)
        Tiles that are missing are set to 1.

    Returns
    -------
    int
        Particles that wait for a tile.
    """
    waiting = 0
    # counter-based streams carry one particle through the whole interval, which keeps its columns in the
    # processor's cache; the one stream of hycs_std goes minute by minute, particle by particle
    by_minute = kind == rng.HYSPLIT
    steps = clock.last_step - clock.first_step
    outer, inner = (steps, last - first) if by_minute else (last - first, steps)
    for i in range(outer):
        for j in range(inner):
            p, s = (first + j, clock.first_step + i) if by_minute else (first + i, clock.first_step + j)
            if ens.status[p] != ACTIVE or ens.steps[p] != s:
                continue
            if one_step(
                kind, state, spare, a, b, grid, levels, physics, clock, work, ens, p, s, out, xy, wanted
            ):
                if by_minute:
                    return 1
                waiting += 1
                break
    return waiting
