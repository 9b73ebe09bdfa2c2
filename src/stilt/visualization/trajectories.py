"""Pictures of the particles of one receptor: from above, and height against time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.ticker import MaxNLocator

from stilt.errors import FootprintError
from stilt.spatial import LONGLAT
from stilt.visualization import style
from stilt.visualization.coastlines import FloatArray
from stilt.visualization.maps import draw_map, mark_receptor
from stilt.visualization.plane import MapPlane, coordinates_of, new_map, plane_for, view_around

if TYPE_CHECKING:
    from stilt.trajectory import Trajectories

_BINS = 96


class TrajectoryPlots:
    """
    Plots of trajectories.

    Parameters
    ----------
    trajectories : Trajectories
        What to draw.
    """

    def __init__(self, trajectories: Trajectories) -> None:
        self._trajectories = trajectories

    def map(
        self,
        ax: Any = None,
        *,
        max_points: int = 12_000,
        mean_path: bool = True,
        projection: str = LONGLAT,
        cmap: Any = None,
        coastlines: bool = True,
        colorbar: bool = True,
        title: str | None = None,
    ) -> Axes:
        """
        Draw particles from above, coloured by time.

        Parameters
        ----------
        ax : Axes or GeoAxes, optional
            Where; default: a new figure.
        max_points : int
            Positions to draw, taken evenly over time; the same ones in every call.
        mean_path : bool
            Draw the centre of the particles, with a dot at full hours.
        projection : str
            PROJ string or EPSG code.
        cmap : colour map, optional
            Of matplotlib.
        coastlines, colorbar : bool
            Whether to draw them.
        title : str, optional
            Instead of the receptor.

        Returns
        -------
        Axes
        """
        receptor = self._trajectories.receptor
        data = _with_columns(self._trajectories, "time", "indx", "long", "lati")
        plane = plane_for(ax, MapPlane(projection, center_lon=receptor.longitudes[0]))
        hours = data["time"].to_numpy(dtype=float) / 60.0
        some = _subsample(hours, max_points)
        x, y = plane.project(data["long"].to_numpy()[some], data["lati"].to_numpy()[some])
        here_x, here_y = plane.project(receptor.longitudes, receptor.latitudes)
        # a few stray particles do not make the map small
        box = _bulk(x, y)
        view = view_around(
            np.concatenate([x[box], here_x]), np.concatenate([y[box], here_y]), plane, at_least=10.0
        )
        if ax is None:
            ax = new_map(view, plane, colorbar=colorbar)
        more = coordinates_of(ax, plane)
        points = ax.scatter(
            x, y, c=np.abs(hours[some]), cmap=style.sequential("viridis", 0.0, 0.9) if cmap is None else cmap,
            s=4.0, linewidth=0.0, alpha=0.7, rasterized=True, zorder=3, gid="stilt-particles",
            vmin=0.0, vmax=max(float(np.abs(hours).max(initial=0.0)), 1e-6), **more,
        )  # fmt: skip
        draw_map(ax, plane, view, coastlines=coastlines)
        if mean_path:
            _draw_mean_path(ax, plane, data, hours, receptor.longitudes[0], more)
        mark_receptor(ax, plane, receptor)
        if colorbar:
            _time_bar(ax, points, hours)
        handles, labels = ax.get_legend_handles_labels()
        legend = ax.legend(
            handles, labels, loc="best", fontsize=style.SMALL, framealpha=0.85, edgecolor="none"
        )
        legend.set_zorder(9)
        style.put_title(ax, self._headline() if title is None else title, style.where(receptor))
        return ax

    def section(
        self,
        ax: Axes | None = None,
        *,
        n_particles: int = 6,
        top: float | None = None,
        title: str | None = None,
    ) -> Axes:
        """
        Draw heights above ground against time, with the mixed layer where the table has it.

        Parameters
        ----------
        ax : Axes, optional
            Where; default: a new figure.
        n_particles : int
            How many single particles to draw, evenly by number.
        top : float, optional
            Upper end of the axis [m AGL]; default: what nearly all particles need.
        title : str, optional
            Instead of the receptor.

        Returns
        -------
        Axes
            Bands hold 50 and 90 % of the particles at a time; the mixed layer's height (``mlht``) is
            that at the particles, its band from their 10th to their 90th percentile.
        """
        receptor = self._trajectories.receptor
        data = _with_columns(self._trajectories, "time", "indx", "zagl")
        hours = data["time"].to_numpy(dtype=float) / 60.0
        if ax is None:
            ax = style.new_axes(7.0, 3.9)
        heights = data["zagl"].to_numpy(dtype=float)
        at, bands = _quantiles(hours, heights, (0.05, 0.25, 0.5, 0.75, 0.95))
        if "mlht" in data:
            at_mixed, mixed = _quantiles(hours, data["mlht"].to_numpy(dtype=float), (0.1, 0.5, 0.9))
            ax.fill_between(
                at_mixed, mixed[0], mixed[2], color=style.ORANGE, alpha=0.22, linewidth=0, zorder=1
            )
            ax.plot(
                at_mixed, mixed[1], color=style.VERMILION, linewidth=1.6, linestyle=(0, (5, 1.5)), zorder=4,
                label="mixed-layer height",
            )  # fmt: skip
        ax.fill_between(
            at,
            bands[0],
            bands[4],
            color=style.SKY,
            alpha=0.28,
            linewidth=0,
            zorder=2,
            label="90 % of particles",
        )
        ax.fill_between(
            at,
            bands[1],
            bands[3],
            color=style.BLUE,
            alpha=0.35,
            linewidth=0,
            zorder=2.1,
            label="50 % of particles",
        )
        ax.plot(at, bands[2], color=style.BLUE, linewidth=1.8, zorder=4.1, label="median height")
        _draw_some(ax, data, hours, heights, n_particles)
        if receptor.altitude_ref == "agl":
            low, high = min(receptor.altitudes), max(receptor.altitudes)
            if receptor.kind == "column":
                ax.plot([0, 0], [low, high], color=style.INK, linewidth=3.5, zorder=7, clip_on=False,
                        solid_capstyle="butt", label="receptor")  # fmt: skip
            else:
                ax.scatter(
                    np.zeros(len(receptor)), receptor.altitudes, marker="*", s=110, facecolor="white",
                    edgecolor=style.INK, linewidth=1.0, zorder=8, clip_on=False, label="receptor",
                )  # fmt: skip
        needed = float(np.nanmax(bands[4])) if at.size else 1.0
        if "mlht" in data and at.size:
            needed = max(needed, float(np.nanmax(mixed[1])))
        ax.set_ylim(0.0, top if top is not None else 1.12 * max(needed, 10.0))
        ax.set_xlim(min(float(hours.min(initial=0.0)), 0.0), max(float(hours.max(initial=0.0)), 0.0))
        ax.xaxis.set_major_locator(MaxNLocator(nbins=9, steps=[1, 2, 3, 6, 10], integer=True))
        ax.set_xlabel(f"Hours from {style.when(receptor.time)} UTC", fontsize=style.NORMAL, color=style.INK)
        ax.set_ylabel("Height above ground [m]", fontsize=style.NORMAL, color=style.INK)
        ax.tick_params(labelsize=style.SMALL, color=style.SOFT, labelcolor=style.INK)
        for side in ("top", "right"):
            ax.spines[side].set_visible(False)
        ax.grid(axis="y", color="#e4e4e4", linewidth=0.6)
        ax.set_axisbelow(True)
        ax.legend(
            loc="upper left",
            bbox_to_anchor=(1.01, 1.0),
            fontsize=style.SMALL,
            frameon=False,
            borderaxespad=0.0,
        )
        style.put_title(ax, self._headline() if title is None else title, style.where(receptor))
        return ax

    def _headline(self) -> str:
        trajectories = self._trajectories
        kind = "Error trajectories" if trajectories.is_error else "Trajectories"
        return (
            f"{kind} of {trajectories.n_particles} particles · {style.when(trajectories.receptor.time)} UTC"
        )


def _with_columns(trajectories: Trajectories, *names: str) -> pd.DataFrame:
    absent = [name for name in names if name not in trajectories.data.columns]
    if absent:
        raise FootprintError(
            f"this plot needs the column(s) {', '.join(absent)} and the trajectories hold "
            f"{', '.join(map(str, trajectories.data.columns))}; add them to varsiwant or read them too."
        )
    if len(trajectories) == 0:
        raise FootprintError(
            f"the trajectories of {trajectories.receptor.id} hold no rows, so there is nothing to draw."
        )
    return trajectories.data


def _subsample(hours: FloatArray, most: int) -> np.ndarray:
    """Choose rows evenly over time, and shuffle them so that no time lies on top; always the same way."""
    order = np.argsort(np.abs(hours), kind="stable")
    random = np.random.default_rng(0)
    if order.size > most:
        # early minutes have as many rows as late ones but fill little of the map
        weight = np.sqrt(np.abs(hours[order]) + 0.05)
        ticks = (np.arange(most) + random.random(most)) / most
        chosen = np.unique(np.searchsorted(np.cumsum(weight) / weight.sum(), ticks).clip(0, order.size - 1))
        order = order[chosen]
    return random.permutation(order)


def _bulk(x: FloatArray, y: FloatArray) -> np.ndarray:
    """Tell which positions lie where all but a thousandth on each side do."""
    finite = np.isfinite(x) & np.isfinite(y)
    if finite.sum() < 1000:
        return finite
    x0, x1 = np.quantile(x[finite], (0.001, 0.999))
    y0, y1 = np.quantile(y[finite], (0.001, 0.999))
    inside: np.ndarray = finite & (x >= x0) & (x <= x1) & (y >= y0) & (y <= y1)
    return inside


def _bins(hours: FloatArray) -> tuple[FloatArray, np.ndarray]:
    """Put rows into bins of equal time; return the bins' middles and the bin of each row."""
    low, high = float(hours.min()), float(hours.max())
    n = int(max(1, min(_BINS, round((high - low) * 60.0))))
    which = np.clip(((hours - low) / max(high - low, 1e-9) * n).astype(int), 0, n - 1)
    return low + (np.arange(n) + 0.5) * (high - low) / n, which


def _quantiles(
    hours: FloatArray, values: FloatArray, shares: tuple[float, ...]
) -> tuple[FloatArray, FloatArray]:
    """Return quantiles of rows by time, shape (n_shares, n_bins)."""
    middles, which = _bins(hours)
    grouped = pd.Series(values).groupby(which).quantile(np.array(shares)).unstack()
    return middles[grouped.index.to_numpy()], grouped.to_numpy().T


def _draw_mean_path(
    ax: Any, plane: MapPlane, data: pd.DataFrame, hours: FloatArray, lon0: float, more: dict[str, Any]
) -> None:
    """Draw the centre of the particles through time, from the receptor on."""
    middles, which = _bins(hours)
    away = (data["long"].to_numpy(dtype=float) - lon0 + 180.0) % 360.0 - 180.0
    table = pd.DataFrame(
        {"lon": lon0 + away, "lat": data["lati"].to_numpy(dtype=float), "indx": data["indx"]}
    )
    grouped = table.groupby(which)
    # the centre of the few that stayed longest says where the others left, not where the air came from
    present = grouped["indx"].nunique()
    means = grouped[["lon", "lat"]].mean()[present >= 0.5 * present.max()]
    at = middles[means.index.to_numpy()]
    x, y = plane.project(means["lon"], means["lat"])
    ax.plot(x, y, color=style.INK, linewidth=1.6, path_effects=style.line_halo(3.2), zorder=6,
            label="mean path", gid="stilt-mean-path", **more)  # fmt: skip
    span = float(np.abs(at).max())
    step = next((each for each in (1, 2, 3, 6, 12, 24, 48) if span / each <= 8.0), 72)
    stops = np.arange(step, span + 1e-6, step) * (1.0 if at.mean() > 0 else -1.0)
    if stops.size == 0:
        return
    order = np.argsort(at)
    stop_x, stop_y = (np.interp(stops, at[order], values[order]) for values in (x, y))
    ax.scatter(stop_x, stop_y, s=18.0, color=style.INK, edgecolor="white", linewidth=0.7, zorder=6.5,
               label=f"every {step} h", **more)  # fmt: skip


def _draw_some(ax: Axes, data: pd.DataFrame, hours: FloatArray, heights: FloatArray, n: int) -> None:
    particles = np.unique(data["indx"].to_numpy())
    if n <= 0 or particles.size == 0:
        return
    chosen = particles[
        np.unique(np.linspace(0, particles.size - 1, min(n, particles.size)).round().astype(int))
    ]
    indx = data["indx"].to_numpy()
    lines = []
    for particle in chosen:
        rows = np.flatnonzero(indx == particle)
        rows = rows[np.argsort(hours[rows], kind="stable")]
        lines.append(np.column_stack([hours[rows], heights[rows]]))
    ax.add_collection(
        LineCollection(
            lines, color=style.SOFT, linewidth=0.5, alpha=0.55, zorder=3, label="single particles"
        ),
        autolim=False,
    )


def _time_bar(ax: Any, points: Any, hours: FloatArray) -> None:
    bar = ax.figure.colorbar(points, cax=ax.inset_axes((1.025, 0.0, 0.035, 1.0)))
    bar.solids.set_alpha(1.0)
    word = "before" if float(np.mean(hours)) < 0.0 else "after"
    bar.set_label(f"Hours {word} the receptor time", fontsize=style.NORMAL, color=style.INK)
    bar.ax.yaxis.set_major_locator(MaxNLocator(nbins=7, steps=[1, 2, 3, 6, 10], integer=True))
    bar.ax.tick_params(labelsize=style.SMALL, labelcolor=style.INK)
    bar.outline.set_linewidth(0.6)
