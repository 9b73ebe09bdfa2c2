"""
What a meteorology means for each receptor: hours, room to the edge, levels, bytes.

Everything comes from index records, but for mixed-layer heights, of which a few hours are
looked at; so ten thousand receptors take seconds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from stilt.errors import MetError
from stilt.meteorology.frame import Box
from stilt.meteorology.series import MetFile, MetSeries
from stilt.meteorology.vertical import PRESSURE
from stilt.receptors import Receptor
from stilt.transport.native.levels import estimated_height
from stilt.transport.native.notes import met_notes
from stilt.transport.native.recipe import column_source

if TYPE_CHECKING:
    from stilt.config import TransportParams

_PBL_PREFIXES = ("PBL", "HPB", "MXH")
_LOOKED_AT = 12
"""Analyses whose mixed-layer heights are read."""
_DEEP = 3000.0
"""Depth of mixed layer assumed where the files have none [m AGL]."""
_ENOUGH_ABOVE = 3
"""Levels wanted above the mixed layer."""


@dataclass
class MetReport:
    """
    One meteorology beside all receptors.

    Attributes
    ----------
    name : str
        Name of the meteorology.
    receptors : list of str
        Ids, in the order of the arrays.
    hours_needed, hours_missing : ndarray of int, shape (n_receptors,)
        Analyses each run needs, and those that no file holds.
    km_to_edge : ndarray of float, shape (n_receptors,)
        From the receptor to where particles end [km]: negative outside, infinite on a globe.
    pbl_height : ndarray of float, shape (n_receptors,)
        Mixed layer at the receptor and its time [m AGL]; NaN where it was not looked at.
    top : float
        Height of the highest level, from its number in the header [m].
    levels_above : int
        Levels above the deepest mixed layer seen, or above 3000 m where the files have none.
    deepest : float
        That mixed layer [m AGL].
    looked_at : int
        Analyses whose mixed layer was read.
    notes : list of str
        What is done without missing variables.
    analyses, bytes : int
        Analyses that all runs need together, and the bytes of the records read for them, at most.
    error : str
        Why no run can use the files, such as a variable that has to be there.
    """

    name: str
    receptors: list[str]
    hours_needed: np.ndarray
    hours_missing: np.ndarray
    km_to_edge: np.ndarray
    pbl_height: np.ndarray
    top: float = math.nan
    levels_above: int = 0
    deepest: float = math.nan
    looked_at: int = 0
    notes: list[str] = field(default_factory=list)
    analyses: int = 0
    bytes: int = 0
    error: str = ""

    @property
    def warnings(self) -> list[str]:
        """What is wrong with the levels, if anything."""
        if self.levels_above < _ENOUGH_ABOVE and not math.isnan(self.top):
            return [
                f"met '{self.name}' has {self.levels_above} levels above a mixed layer of "
                f"{self.deepest:.0f} m (the highest is at about {self.top:.0f} m). "
                "Use meteorology that reaches higher."
            ]
        return []

    def to_dict(self) -> dict[str, Any]:
        """The report in words JSON knows, one entry for each receptor."""
        rows = [
            {
                "receptor": receptor,
                "hours_needed": int(needed),
                "hours_missing": int(missing),
                "km_to_edge": None if math.isinf(km) else round(float(km), 1),
                "pbl_height": None if math.isnan(pbl) else round(float(pbl)),
            }
            for receptor, needed, missing, km, pbl in zip(
                self.receptors, self.hours_needed, self.hours_missing, self.km_to_edge, self.pbl_height,
                strict=True,
            )
        ]  # fmt: skip
        plain = {
            "top": None if math.isnan(self.top) else round(self.top),
            "levels_above_pbl": self.levels_above,
            "deepest_pbl": None if math.isnan(self.deepest) else round(self.deepest),
            "analyses_looked_at": self.looked_at,
        }
        return {
            "name": self.name, **plain, "notes": self.notes, "analyses": self.analyses,
            "bytes_to_read": self.bytes, "error": self.error, "receptors": rows,
        }  # fmt: skip


def met_report(
    name: str, files: Sequence[MetFile], receptors: Sequence[Receptor], params: TransportParams
) -> MetReport:
    """
    Compare one meteorology with all receptors.

    Parameters
    ----------
    name : str
        Name of the meteorology.
    files : sequence of MetFile
        Its files around the times of the runs, at least one.
    receptors : sequence of Receptor
        Where and when.
    params : TransportParams
        The settings.
    """
    starts = np.array([receptor.time for receptor in receptors], dtype="datetime64[s]")
    ends = starts + np.timedelta64(params.n_hours, "h")
    low, high = np.minimum(starts, ends), np.maximum(starts, ends)
    times = np.unique(np.concatenate([file.times for file in files]))
    needed, missing, used = _hours(times, low, high)
    counts = np.array([len(receptor) for receptor in receptors])
    first_point = np.concatenate([[0], np.cumsum(counts)[:-1]])
    lon = np.array([value for receptor in receptors for value in receptor.longitudes])
    lat = np.array([value for receptor in receptors for value in receptor.latitudes])
    grid = files[0].grid
    x, y = grid.to_xy(lon, lat)
    report = MetReport(
        name=name,
        receptors=[str(receptor.id) for receptor in receptors],
        hours_needed=needed,
        hours_missing=missing,
        km_to_edge=np.minimum.reduceat(_km_to_edge(grid, x, y), first_point),
        pbl_height=np.full(len(receptors), np.nan),
        analyses=int(used.sum()),
    )
    report.notes = met_notes(
        files[0].variables[0], {each for names in files[0].variables[1:] for each in names}, params
    )
    try:
        source = column_source(MetSeries(name, ((files[0], 0),)), params)
    except MetError as error:
        report.error = str(error)
        return report
    wanted = [(0, each) for each in source.surface_names]
    for level in range(1, len(files[0].variables)):
        wanted += [(level, each) for each in (*source.upper_names, "DIFW")]
    held = sum(each in files[0].variables[level] for level, each in wanted)
    report.bytes = report.analyses * held * (50 + grid.nx * grid.ny)
    ground = _look_at_mixed_layers(report, files, starts, (x[first_point], y[first_point]))
    heights = [estimated_height(files[0].levels, k) for k in range(1, len(files[0].levels.heights))]
    if files[0].levels.flag == PRESSURE:
        heights = [height - ground for height in heights]
    report.top = max(heights)
    report.levels_above = sum(height > report.deepest for height in heights)
    return report


def _hours(times: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Count the analyses runs over [low, high] need and lack; tell which of those there are get used."""
    step = np.timedelta64(3600, "s")
    if times.size > 1:
        steps, counts = np.unique(np.diff(times), return_counts=True)
        step = steps[np.argmax(counts)]
    seconds = int(step.astype(np.int64))
    zero = times[0]
    first = np.floor((low - zero).astype(np.int64) / seconds).astype(np.int64)
    last = np.ceil((high - zero).astype(np.int64) / seconds).astype(np.int64)
    last = np.maximum(last, first + 1)
    there = (times - zero).astype(np.int64)
    on_grid = there[there % seconds == 0] // seconds
    # how many of the regular times up to each one are there
    span_first, span_last = int(first.min()), int(last.max())
    have = np.zeros(span_last - span_first + 1, dtype=np.int64)
    inside = on_grid[(on_grid >= span_first) & (on_grid <= span_last)]
    have[inside - span_first] = 1
    sums = np.concatenate([[0], np.cumsum(have)])
    found = sums[last - span_first + 1] - sums[first - span_first]
    marks = np.zeros(have.size + 1, dtype=np.int64)
    np.add.at(marks, first - span_first, 1)
    np.add.at(marks, last - span_first + 1, -1)
    used = (np.cumsum(marks)[:-1] > 0) & (have > 0)
    return last - first + 1, last - first + 1 - found, used


def _km_to_edge(grid: Any, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Distance [km] to where particles end, negative outside."""
    clipped_x, clipped_y = np.clip(x, 1, grid.nx), np.clip(y, 1, grid.ny)
    gx, gy = grid.spacing(clipped_x, clipped_y)
    far = np.full(x.shape, np.inf)
    if not grid.is_cyclic:
        far = np.minimum(far, np.minimum(x - 2.0, grid.nx - 2.0 - x) * gx / 1000.0)
    if not grid.is_global:
        far = np.minimum(far, np.minimum(y - 2.0, grid.ny - 2.0 - y) * gy / 1000.0)
    return far


def _look_at_mixed_layers(
    report: MetReport, files: Sequence[MetFile], starts: np.ndarray, at: tuple[np.ndarray, np.ndarray]
) -> float:
    """Read the mixed layer at receptors for some of their hours; return the mean terrain there [m MSL]."""
    report.deepest = _DEEP
    inside = report.km_to_edge >= 0
    if not inside.any():
        return 0.0
    grid = files[0].grid
    i = np.clip(np.rint(at[0]).astype(int) - 1, 0, grid.nx - 1)
    j = np.clip(np.rint(at[1]).astype(int) - 1, 0, grid.ny - 1)
    box = Box(int(i[inside].min()), int(i[inside].max()) + 1, int(j[inside].min()), int(j[inside].max()) + 1)
    names = [name for name in files[0].variables[0] if name.startswith(_PBL_PREFIXES)][:1]
    sources = {time: (file, period) for file in files for period, time in enumerate(file.times)}
    times = np.array(sorted(sources))
    nearest = np.clip(np.searchsorted(times, starts), 0, times.size - 1)
    # receptors' hours by the hour of the day, afternoons and nights alike
    hours = np.unique(nearest[inside & (starts >= times[0]) & (starts <= times[-1])])
    chosen = hours[np.unique(np.linspace(0, hours.size - 1, _LOOKED_AT).astype(int))] if hours.size else []
    ground, seen = 0.0, []
    for number, index in enumerate(chosen if names else chosen[:1]):
        file, period = sources[times[index]]
        try:
            fields = (*names, "SHGT") if number == 0 and "SHGT" in file.variables[0] else tuple(names)
            frame = file.decode(period, box, fields, ())
        except MetError:
            continue  # damage is told elsewhere
        if "SHGT" in frame.surface:
            ground = float(np.nanmean(frame.surface["SHGT"][j[inside] - box.y0, i[inside] - box.x0]))
        if names:
            here = np.flatnonzero(inside & (nearest == index))
            report.pbl_height[here] = frame.surface[names[0]][j[here] - box.y0, i[here] - box.x0]
            seen.append(report.pbl_height[here])
            report.looked_at += 1
    if seen and not np.isnan(np.concatenate(seen)).all():
        report.deepest = float(np.nanmax(np.concatenate(seen)))
    return ground
