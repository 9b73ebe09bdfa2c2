"""
Whether a run of the program is what it should be.

The program ends with status 0 and the words ``Complete Hysplit`` also when the meteorology ran out half
way, when a point of several lay off the grid, or when it printed stars for numbers. So four things are
looked at, and the first that is wrong gives the reason: what it printed (``PHRASES``), its exit status, its
closing words, and the particles themselves: every one released is there, and each is followed to the end
of the run or to the edge of the domain.
"""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from stilt.errors import (
    ForecastMetError,
    InvalidOutputError,
    MetCoverageError,
    MetFormatError,
    MetIntervalError,
    MetNotFoundError,
    ProgramCrashedError,
    ProgramFailedError,
    ReceptorOffGridError,
    StiltError,
    TruncatedRunError,
)
from stilt.kernels.boundaries import EXIT_NAMES, LEFT_EAST, LEFT_NORTH, LEFT_SOUTH, LEFT_WEST
from stilt.meteorology.projection import HorizontalGrid

FILES = ("hycs_std.log", "WARNING", "MESSAGE")
"""Where the program says what is wrong."""

CLOSING_WORDS = "Complete Hysplit"

PHRASES: tuple[tuple[str, type[StiltError], str], ...] = (
    (
        r"use of forecast meteorological data",
        ForecastMetError,
        "an unregistered hycs_std takes no forecast for times still to come; use analyses or engine: native",
    ),
    (
        r"Unable to find file|file not found",
        MetNotFoundError,
        "a file the run needs is gone; put it back",
    ),
    (
        r"meteorological data time interval varies",
        MetIntervalError,
        "the interval between the times of the meteorology changes; use one interval without gaps",
    ),
    (
        r"source point off grid|all source points off all meteo grids|start point not within \(x,y",
        ReceptorOffGridError,
        "",
    ),
    (
        r"Start height above mdl domain",
        ReceptorOffGridError,
        "a release height is above the model top; lower it or raise z_top",
    ),
    (
        r"no meteo data at current time|no more meteorology|too much time between files|"
        r"no data at current time on any grid|Only one time period of meteo data|"
        r"2nd time period INDX record missing",
        MetCoverageError,
        "the meteorology does not cover the run; add files or shorten n_hours",
    ),
    (
        r"too many missing times|trying to read (?:before file start|past end-of-file)|"
        r"reading (?:index|data) record in meteo|exceeding compiled header length|"
        r"meteo data file first record",
        MetFormatError,
        "the meteorology is damaged, marked missing or not as the program expects it; get it again",
    ),
    (
        r"Fortran runtime error|Program received signal|Backtrace for this error",
        ProgramCrashedError,
        "the program stopped with an error of its own; its log has more",
    ),
)
"""What the program says, what that means, what to do; looked for in this order."""

_OUT_OF_TIME = re.compile(r"start time (?:before start|after end) of meteorology data")
_LAST_LINES = 4
_FASTEST = 120.0
"""No particle is faster [m/s]: a jet stream and its gusts."""
_EDGE = 0.02
"""Printed positions are good to this much of a grid cell."""
_SIDES = np.array([LEFT_WEST, LEFT_EAST, LEFT_SOUTH, LEFT_NORTH])


@dataclass(frozen=True)
class Expected:
    """
    What a whole run looks like.

    Parameters
    ----------
    who : str
        Whose run it is, for messages.
    particles : int
        Released.
    last_minute : float
        Of the output, counted from the release, positive.
    every : float
        Minutes between rows of a particle.
    grid : HorizontalGrid
        Of the meteorology; a particle may end early only at its edge.
    lon, lat : ndarray of float64, shape (particles,)
        Where each is released [degrees]; one may be gone before its first row only from near the edge.
    """

    who: str
    particles: int
    last_minute: float
    every: float
    grid: HorizontalGrid
    lon: np.ndarray
    lat: np.ndarray


def judge_ending(folder: Path, code: int, who: str) -> None:
    """
    Look at what the program said and how it ended.

    Parameters
    ----------
    folder : Path
        Where it ran.
    code : int
        Exit status, or minus the number of a signal.
    who : str
        Whose run it was.

    Raises
    ------
    StiltError
        With the reason, unless all is well so far.
    """
    said = {name: _text(folder / name) for name in FILES}
    everything = "\n".join(said.values())
    for pattern, kind, remedy in PHRASES:
        match = re.search(pattern, everything)
        if match is None:
            continue
        line = _line_around(everything, match.start())
        if _OUT_OF_TIME.search(everything):
            kind, remedy = MetCoverageError, "the meteorology does not cover the start; add files"
        remedy = remedy or "the receptor lies outside the meteorology; move it or use other files"
        raise kind(f"{who}: hycs_std says '{line}': {remedy}.")
    if code < 0:
        name = _signal_name(-code)
        raise TruncatedRunError(
            f"{who}: hycs_std was ended by {name} from outside (out of memory, or someone stopped it); "
            "run again."
        )
    if code or CLOSING_WORDS not in said[FILES[0]]:
        lines = [line.strip() for line in said[FILES[0]].splitlines() if line.strip()]
        last = " | ".join(lines[-_LAST_LINES:]) or "nothing"
        raise ProgramFailedError(f"{who}: hycs_std ended with status {code}; its last lines: {last}")


def judge_particles(table: pd.DataFrame, expected: Expected) -> dict[str, int]:
    """
    Look at the particles.

    Parameters
    ----------
    table : DataFrame
        With ``time indx long lati``.
    expected : Expected
        What a whole run has.

    Returns
    -------
    dict
        How the particles ended: counts by side of the domain and end of the run.

    Raises
    ------
    TruncatedRunError, InvalidOutputError
        Particles are missing, or end early inside the domain.
    """
    if table.empty:
        raise TruncatedRunError(f"{expected.who}: hycs_std ended without printing a single particle.")
    particle = table["indx"].to_numpy()
    minute = np.abs(table["time"].to_numpy())
    if particle.min() < 1 or particle.max() > expected.particles:
        raise InvalidOutputError(
            f"{expected.who}: hycs_std printed particle {particle.min()} to {particle.max()}, but was to "
            f"release {expected.particles}."
        )
    if (np.diff(minute) < 0).any() or minute[-1] > expected.last_minute:
        raise InvalidOutputError(
            f"{expected.who}: the times hycs_std printed do not run from 0 to {expected.last_minute:g} min."
        )
    last = _last_rows(particle, np.arange(minute.size), expected.particles)
    sides = np.zeros(expected.particles, dtype=np.int64)
    unseen = last < 0
    if unseen.any():
        sides[unseen] = _sides_near(expected, unseen)
    early = ~unseen & (minute[last] < expected.last_minute)
    if early.any():
        others = np.ones(minute.size, dtype=bool)
        others[last] = False
        rows = np.flatnonzero(others)
        before = _last_rows(particle[rows], rows, expected.particles)
        sides[early] = _sides_left(table, last[early], before[early], expected)
    names = ["end of run", *EXIT_NAMES.values()]
    counts = np.bincount(sides, minlength=len(names))
    exits = {name: int(count) for name, count in zip(names, counts, strict=True)}
    return exits | {"top": 0}  # where the program reflects particles


def _sides_near(expected: Expected, unseen: np.ndarray) -> np.ndarray:
    """
    Say across which side particles without a row left; one that was too far from it is a broken run.

    Rows come every ``outdt`` minutes, and a particle that leaves before its first has none.
    """
    grid = expected.grid
    x, y = grid.to_xy(expected.lon[unseen], expected.lat[unseen])
    reach_x, reach_y = (60.0 * _FASTEST * expected.every / cell for cell in grid.spacing(x, y))
    beyond = _beyond(grid, x, y, reach_x, reach_y)
    lost = int((beyond.max(axis=0) < 0).sum())
    if lost:
        raise TruncatedRunError(
            f"{expected.who}: hycs_std printed only {expected.particles - lost} of "
            f"{expected.particles} particles."
        )
    return _SIDES[np.argmax(beyond, axis=0)]


def _beyond(
    grid: HorizontalGrid, x: np.ndarray, y: np.ndarray, margin_x: np.ndarray, margin_y: np.ndarray
) -> np.ndarray:
    """Return how far beyond each edge positions may be, in the order of ``_SIDES`` [cells], shape (4, n)."""
    beyond = np.full((4, x.size), -np.inf)
    if not grid.is_cyclic:
        beyond[0] = 2.0 + margin_x - x
        beyond[1] = x + margin_x - (grid.nx - 2)
    if not grid.is_global:
        beyond[2] = 2.0 + margin_y - y
        beyond[3] = y + margin_y - (grid.ny - 2)
    return beyond


def _last_rows(particle: np.ndarray, rows: np.ndarray, count: int) -> np.ndarray:
    """Return the last of the rows of each particle, -1 where it has none."""
    last = np.full(count, -1, dtype=np.int64)
    last[particle - 1] = rows  # of several rows of one particle the last is kept
    return last


def _sides_left(table: pd.DataFrame, rows: np.ndarray, before: np.ndarray, expected: Expected) -> np.ndarray:
    """Say across which side particles left, from their last two rows; one that did not is a broken run."""
    grid = expected.grid
    lon, lat = table["long"].to_numpy(), table["lati"].to_numpy()
    x, y = grid.to_xy(lon[rows], lat[rows])
    # after its last row a particle may go on unprinted: for one fast step, or until rows are due again
    known = np.where(before < 0, rows, before)
    x0, y0 = grid.to_xy(lon[known], lat[known])
    unprinted = 1.0 if expected.every <= 1.0 else 0.0
    margin_x, margin_y = (
        np.where(np.abs(step) > unprinted, 1.5 * np.abs(step), 0.0) + _EDGE for step in (x - x0, y - y0)
    )
    beyond = _beyond(grid, x, y, margin_x, margin_y)
    inside = beyond.max(axis=0) < 0
    if inside.any():
        row = rows[int(np.argmax(inside))]
        raise TruncatedRunError(
            f"{expected.who}: {int(inside.sum())} particles end inside the domain, such as particle "
            f"{int(table['indx'].to_numpy()[row])} after {abs(float(table['time'].to_numpy()[row])):g} of "
            f"{expected.last_minute:g} minutes."
        )
    return _SIDES[np.argmax(beyond, axis=0)]


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""


def _line_around(text: str, at: int) -> str:
    begin = text.rfind("\n", 0, at) + 1
    end = text.find("\n", at)
    return " ".join(text[begin : end if end >= 0 else len(text)].split())


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
