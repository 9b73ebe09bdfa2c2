"""What of a project is done: a grid of simulations over receptor time."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.patches import Patch

from stilt.errors import ConfigError
from stilt.ids import SimID
from stilt.visualization import style

STATES = {"complete": style.BLUE, "failed": style.VERMILION, "pending": "#d4d4d4"}
"""Colours of the states; dark, bright and pale also without colour vision."""

_MOST_COLUMNS = 240
_MOST_ROWS = 40


class _Survey(Protocol):
    complete: frozenset[str]
    failed: frozenset[str]
    pending: frozenset[str]


class _Simulations(Protocol):
    def survey(self) -> _Survey: ...


class _Project(Protocol):
    @property
    def simulations(self) -> Any: ...


class ModelPlots:
    """
    Plots of a project.

    Parameters
    ----------
    model : Model
        What to draw.
    """

    def __init__(self, model: _Project) -> None:
        self._model = model

    def availability(
        self,
        ax: Axes | None = None,
        *,
        by: str = "met",
        title: str | None = None,
        **conditions: Any,
    ) -> Axes:
        """
        Draw which simulations are complete, failed and pending.

        Parameters
        ----------
        ax : Axes, optional
            Where; default: a new figure.
        by : {"met", "location"}
            One row for each meteorology, or for each meteorology and receptor location.
        title : str, optional
            Instead of the counts.
        **conditions
            Only some of them; see `Simulations.select`.

        Returns
        -------
        Axes
            Receptor time runs to the right. A cell holds the simulations of one row and one time (or
            of a stretch of time where there are very many) and is divided by their states.
        """
        if by not in ("met", "location"):
            raise ConfigError(f"by = {by!r} is no way to arrange simulations; use 'met' or 'location'.")
        simulations: _Simulations = self._model.simulations
        if conditions:
            simulations = self._model.simulations.select(**conditions)
        survey = simulations.survey()
        found: dict[str, frozenset[str]] = {state: getattr(survey, state) for state in STATES}
        ids = [SimID(sim_id) for group in found.values() for sim_id in group]
        row_of = {sim_id: sim_id.met if by == "met" else f"{sim_id.met}  {sim_id.location}" for sim_id in ids}
        rows = sorted(set(row_of.values()))
        shown = rows[:_MOST_ROWS]
        if ax is None:
            ax = style.new_axes(8.0, 1.5 + 0.36 * max(len(shown), 1))
        edges = _columns([sim_id.time for sim_id in ids])
        counts = {state: np.zeros((len(rows), max(edges.shape[0], 1))) for state in STATES}
        for state, group in found.items():
            for sim_id in map(SimID, group):
                k = int(np.searchsorted(edges[:, 0], date2num(sim_id.time), side="right")) - 1
                counts[state][rows.index(row_of[sim_id]), max(k, 0)] += 1
        _draw_cells(ax, counts, edges, len(shown))
        totals = {state: len(group) for state, group in found.items()}
        _dress(ax, shown, counts, edges, totals)
        everything = sum(totals.values())
        headline = (
            f"{totals['complete']} of {everything} simulations complete" if everything else "No simulations"
        )
        note = f"first {len(shown)} of {len(rows)} rows" if len(rows) > len(shown) else ""
        style.put_title(ax, headline if title is None else title, note)
        return ax


def _columns(times: Iterable[datetime]) -> np.ndarray:
    """Return the ends of the columns in matplotlib's days, shape (n, 2); one for each if they are few."""
    days = np.unique(np.asarray(date2num(sorted(set(times))), dtype=float))
    if days.size == 0:
        return np.zeros((0, 2))
    if days.size > _MOST_COLUMNS:
        ends = np.linspace(days[0], days[-1] + 1e-6, _MOST_COLUMNS + 1)
        return np.column_stack([ends[:-1], ends[1:]])
    steps = np.diff(days)
    width = float(np.min(steps)) if steps.size else 1.0 / 24.0
    # columns never overlap, and rare times stay wide enough to be seen
    width = max(width, float(days[-1] - days[0]) / _MOST_COLUMNS)
    right = np.minimum(days + width, np.append(days[1:], np.inf))
    return np.column_stack([days, right])


def _draw_cells(ax: Axes, counts: dict[str, np.ndarray], edges: np.ndarray, n_rows: int) -> None:
    total = sum(counts.values(), np.zeros_like(next(iter(counts.values()))))
    floor = np.zeros_like(total)
    for state, colour in STATES.items():
        share = np.divide(counts[state], total, out=np.zeros_like(total), where=total > 0)
        boxes = []
        for row, column in np.argwhere(share[:n_rows] > 0.0):
            x0, x1 = edges[column]
            y0 = row + 0.42 - 0.84 * floor[row, column]
            y1 = y0 - 0.84 * share[row, column]
            boxes.append([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])
        floor += share
        if boxes:
            # thin white edges tell neighbouring times apart while there is room for them
            line = 0.4 if len(edges) <= 80 else 0.0
            ax.add_collection(
                PolyCollection(
                    boxes, facecolor=colour, edgecolor="white", linewidth=line, gid=f"stilt-{state}"
                ),
                autolim=False,
            )


def _dress(
    ax: Axes, rows: list[str], counts: dict[str, np.ndarray], edges: np.ndarray, totals: dict[str, int]
) -> None:
    ax.set_ylim(max(len(rows), 1) - 0.5, -0.5)
    ax.set_yticks(range(len(rows)), rows)
    if len(edges):
        margin = 0.01 * float(edges[-1, 1] - edges[0, 0])
        ax.set_xlim(edges[0, 0] - margin, edges[-1, 1] + margin)
    ax.xaxis.axis_date()
    locator = AutoDateLocator(minticks=3, maxticks=8)
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    ax.xaxis.get_offset_text().set_fontsize(style.SMALL)
    ax.set_xlabel("Receptor time (UTC)", fontsize=style.NORMAL, color=style.INK)
    ax.tick_params(labelsize=style.SMALL, color=style.SOFT, labelcolor=style.INK)
    ax.tick_params(axis="y", length=0)
    for side in ("top", "right", "left"):
        ax.spines[side].set_visible(False)
    done = counts["complete"].sum(axis=1)
    asked = sum(grid.sum(axis=1) for grid in counts.values())
    for k in range(len(rows)):
        ax.annotate(
            f"{done[k]:.0f} / {asked[k]:.0f}", (1.0, k), xycoords=("axes fraction", "data"), xytext=(4, 0),
            textcoords="offset points", va="center", fontsize=style.SMALL, color=style.SOFT,
            annotation_clip=False,
        )  # fmt: skip
    ax.legend(
        handles=[Patch(color=colour, label=f"{state} ({totals[state]})") for state, colour in STATES.items()],
        loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3, fontsize=style.SMALL, frameon=False,
        borderaxespad=0.2, handlelength=1.2, columnspacing=1.2,
    )  # fmt: skip
