r"""
One minute of one particle, and the time loop over many.

Each process says what it would do; positions change here and nowhere else. A
step either happens whole or, when a tile of meteorology is missing, not at all:
the particle waits, the caller loads the tile and calls again, and nothing about
the result depends on when that was.
"""

from __future__ import annotations

import math

import numpy as np

from stilt.kernels import boundaries, layout, rng
from stilt.kernels.advection import advect
from stilt.kernels.air_mass import bounded, box_of_sigma, grown, growth_at, is_across_seam
from stilt.kernels.boundaries import ACTIVE, NEEDS_COLUMNS
from stilt.kernels.compiler import kernel
from stilt.kernels.dispersion import disperse
from stilt.kernels.interpolation import (
    column_value,
    fill_prescribed_turbulence,
    find_place,
    nearest_value,
    want_tiles,
)
from stilt.kernels.met_error import correlated_profiles, distance_km, next_zi_error, perturb_winds
from stilt.kernels.recording import (
    DMAS,
    FOOT,
    MLHT,
    N_DEFAULT,
    N_RECORDED,
    SAMT,
    SIGW,
    TLGR,
    ZAGL,
    ZSFC,
    record_surroundings,
)

F = np.float32
N = np.uint64
_ZERO, _HALF, _ONE, _60 = F(0.0), F(0.5), F(1.0), F(60.0)


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


@kernel(allocates=False)
def step_particle(kind, state, spare, a, b, grid, levels, physics, tf0, tf1, work, stamp, ens, p, air):
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
    air : AirMass or None
        Working memory for the mass of the particle; None where that is not followed.

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
    start_place, loaded = find_place(a, b, grid, boundaries.lookup_x(wx, grid), wy, tf0)
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
    if air is not None:
        air.across_seam[0] = is_across_seam(boundaries.lookup_x(wx, grid), grid)
        air.across_seam[1] = is_across_seam(boundaries.lookup_x(xm, grid), grid)

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
            minutes, influence, air, ens, p,
        )  # fmt: skip
        zv = physics.veght * zi_end if physics.veght <= _ONE else physics.veght
        x, y, sigma, ratio, minutes, influence, sigma_w, tl, layer, m = disperse(
            kind, state, spare, a, b, end_place, levels, end, stamp, True, zi_end, depth, zv,
            physics.tlfrac, sign, _HALF, x, y, sigma, ratio, layer, m, minutes, influence, air, ens, p,
        )  # fmt: skip
        ens.w_ratio[p] = ratio
        ens.layer[p] = layer
        ens.top_level[p] = m
        if physics.has_zi_error:
            influence = influence * max(_ZERO, (F(100.0) + ens.zi_error[p]) / F(100.0))
    else:
        # back from the window in this order, which rounds where a power of two is crossed
        x = (xm + (west + _ONE)) - _ONE
        y = (ym + (south + _ONE)) - _ONE
        sigma = sigma_m
        if air is not None:
            box = box_of_sigma(levels, sigma)
            rate = growth_at(air, False, a, b, start_place, levels, box, sign, stamp)
            rate = _HALF * (rate + growth_at(air, True, a, b, end_place, levels, box, sign, stamp))
            ens.mass[p] = grown(ens.mass[p], rate, _ONE)

    if air is not None:
        ens.mass[p] = bounded(ens.mass[p])
    x, y, crossed = boundaries.fold_at_pole(x, y, grid)
    if crossed:
        ens.u_turb[p] = -ens.u_turb[p]
        ens.v_turb[p] = -ens.v_turb[p]
    # where turbulence moves a particle across the seam of a cyclic grid, the program lets x go on counting
    ens.x[p] = x if physics.turbulence else boundaries.wrap_x(x, grid)
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


@kernel(allocates=False)
def one_step(kind, state, spare, a, b, grid, levels, physics, clock, work, ens, p, s, out, xy, wanted, air):
    """Do step ``s`` of particle ``p`` and record it; return whether the particle waits for a tile."""
    stamp = work.stamp[0] + 1
    work.stamp[0] = stamp
    minutes = clock.offset + F(s - clock.first_step)
    tf0 = minutes / clock.interval
    tf1 = min(_ONE, (minutes + _ONE) / clock.interval)
    rng.start_draws(kind, state, p, s)
    status, x, y, place, layer = step_particle(
        kind, state, spare, a, b, grid, levels, physics, tf0, tf1, work, stamp, ens, p, air
    )
    if status == NEEDS_COLUMNS:
        want_tiles(wanted, grid, boundaries.lookup_x(x, grid), y)
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
        if air is not None:
            out[DMAS, p, at] = ens.mass[p]
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
def advance(
    kind, state, spare, a, b, grid, levels, physics, clock, work, ens, first, last, out, xy, wanted, air
):
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
    out : ndarray of float32, shape (N_RECORDED or one more for the mass, n_particles, n_records)
        Recorded values, filled; a particle's times lie side by side.
    xy : ndarray of float64, shape (2, n_particles, n_records)
        Recorded positions in grid coordinates, filled.
    wanted : ndarray of uint8, shape (n_tiles_y, n_tiles_x)
        Tiles that are missing are set to 1.
    air : AirMass or None
        Working memory for the mass of particles; None, which compiles to less, where that is not followed.

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
                kind, state, spare, a, b, grid, levels, physics, clock, work, ens, p, s, out, xy, wanted, air
            ):
                if by_minute:
                    return 1
                waiting += 1
                break
    return waiting
