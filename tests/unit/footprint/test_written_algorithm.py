"""
Footprints agree with a slow implementation written from the description of the algorithm alone.

It shares no line with the package: one row and one kernel at a time. Where this package is right instead
of equal to STILT-R (poles, seams, projected steps) the rules are written out here once more.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pyproj
import pytest

from stilt.footprint import calc_footprint
from stilt.receptors import PointReceptor
from stilt.spatial import Grid

TIME = "2021-03-04 05:37"


def written_algorithm(table: pd.DataFrame, grid: Grid, smooth_factor: float, *, integrate: bool) -> dict:
    """Return hour (0 when integrated) -> map."""
    n_particles = table["indx"].nunique()
    sign = 1.0 if table["time"].median() > 0 else -1.0
    rows = table[["time", "indx", "long", "lati", "foot"]].astype(float)
    is_degrees = "longlat" in grid.projection
    west, east, south, north = edges_of(grid, is_degrees)
    is_round = is_degrees and east - west == 360.0
    if is_degrees:
        cut = 0.0 if east > 180.0 and not is_round else -180.0
        beyond = (rows["long"] < cut) | (rows["long"] >= cut + 360.0)  # the others keep their last bit
        rows.loc[beyond, "long"] = (rows["long"] - cut) % 360.0 + cut
    rows = with_early_rows(rows, grid, sign, is_degrees)
    rows["x"], rows["y"] = rows["long"], rows["lati"]
    if not is_degrees:
        rows["x"], rows["y"] = project(grid, rows["long"].to_numpy(), rows["lati"].to_numpy())
    first = rows["time"].abs().groupby(rows["indx"]).transform("min")
    rows["rtime"] = rows["time"] - sign * first

    bandwidths = {}
    for rtime, cloud in rows.groupby("rtime"):
        if len(cloud) > 1:
            spread = cloud["x"].var() + cloud["y"].var()
            if is_degrees:
                turned = about_their_middle(cloud["x"].to_numpy()).var(ddof=1)
                spread = min(cloud["x"].var(), turned) + cloud["y"].var() if is_round else spread
            sigma = smooth_factor * 0.06 * spread**0.25 * math.sqrt(abs(rtime) / 1440.0)
            if is_degrees:
                sigma /= math.cos(math.radians(min(abs(cloud["lati"].mean()), 89.0)))
            bandwidths[rtime] = sigma

    nx, ny = (math.floor(round(span, 6)) for span in ((east - west) / grid.xres, (north - south) / grid.yres))
    widest = max(bandwidths.values(), default=0.0)
    x_margin, y_margin = (2 * math.floor(3 * widest / size) + 1 for size in (grid.xres, grid.yres))
    layers: dict[int, np.ndarray] = {}
    for row in rows[rows["foot"] > 0].itertuples():
        sigma = 0.0
        if bandwidths:
            sigma = bandwidths[min(bandwidths, key=lambda known: (abs(known - row.rtime), known))]
        hx, hy = math.floor(3 * sigma / grid.xres), math.floor(3 * sigma / grid.yres)
        i = cell_of(row.x, west, grid.xres, x_margin)
        j = cell_of(row.y, south, grid.yres, y_margin)
        di, dj = np.meshgrid(np.arange(-hx, hx + 1), np.arange(-hy, hy + 1))
        weights = np.ones((1, 1))
        if sigma > 0.0:
            weights = np.exp(-((di * grid.xres) ** 2 + (dj * grid.yres) ** 2) / (2 * sigma**2))
        column, line = i + di, j + dj
        if is_round:
            if north == 90.0:  # over the pole
                column = np.where(line >= ny, column + nx // 2, column)
                line = np.where(line >= ny, 2 * ny - 1 - line, line)
            if south == -90.0:
                column = np.where(line < 0, column + nx // 2, column)
                line = np.where(line < 0, -1 - line, line)
            column = column % nx
        inside = (column >= 0) & (column < nx) & (line >= 0) & (line < ny)
        if inside.any():
            layer = layers.setdefault(0 if integrate else math.floor(row.time / 60.0), np.zeros((ny, nx)))
            share = row.foot * weights / weights.sum() / n_particles
            np.add.at(layer, (line[inside], column[inside]), share[inside])
    return layers


def cell_of(where: float, low: float, size: float, margin: int) -> int:
    """
    Return the cell of a position, edges being counted from the margin of the widest kernel.

    Rounded positions lie on edges, and the last bit decides on which side.
    """
    start = low - margin * size
    near = math.floor((where - start) / size) + np.arange(-1, 2)
    return int(near[start + near * size <= where].max()) - margin


def about_their_middle(lon: np.ndarray) -> np.ndarray:
    """Return longitudes from the middle of a cloud, the short way around."""
    middle = math.degrees(math.atan2(np.sin(np.radians(lon)).mean(), np.cos(np.radians(lon)).mean()))
    return (lon - middle + 180.0) % 360.0 - 180.0


def edges_of(grid: Grid, is_degrees: bool) -> tuple[float, float, float, float]:
    if not is_degrees:
        x, y = project(grid, np.array([grid.xmin, grid.xmax]), np.array([grid.ymin, grid.ymax]))
        return min(x), max(x), min(y), max(y)
    if grid.xmax - grid.xmin == 360.0:
        return -180.0, 180.0, grid.ymin, grid.ymax
    return grid.xmin, grid.xmax + (360.0 if grid.xmax < grid.xmin else 0.0), grid.ymin, grid.ymax


def project(grid: Grid, lon: np.ndarray, lat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return pyproj.Transformer.from_crs(4326, grid.projection, always_xy=True).transform(lon, lat)


def with_early_rows(rows: pd.DataFrame, grid: Grid, sign: float, is_degrees: bool) -> pd.DataFrame:
    steps = []
    for _, path in rows[rows["time"].abs() < 100].groupby("indx"):
        path = path.sort_values("time", key=abs)
        x, y = path["long"].to_numpy(), path["lati"].to_numpy()
        if not is_degrees:
            x, y = project(grid, x, y)
        dx = np.abs(np.diff(x))
        if is_degrees:
            dx = np.minimum(dx, 360.0 - dx)
        if dx.size:
            steps.append((np.median(dx), np.median(np.abs(np.diff(y)))))
    dx, dy = np.median(steps, axis=0) if steps else (0.0, 0.0)
    if not (dx > grid.xres or dy > grid.yres):
        return rows
    wanted = [0.1 * k for k in range(101)] + [10.2 + 0.2 * k for k in range(50)]
    wanted += [20.5 + 0.5 * k for k in range(160)]
    parts = []
    for indx, path in rows.groupby("indx"):
        known = path["time"].to_numpy()
        times = sorted(
            set(known) | {sign * when for when in wanted if known.min() <= sign * when <= known.max()}
        )
        new = {"time": np.array(times), "indx": indx}
        for name in ("long", "lati", "foot"):
            good = path[path[name].notna()].sort_values("time")
            new[name] = lines_between(good["time"].to_numpy(), good[name].to_numpy(), np.array(times))
        parts.append(pd.DataFrame(new).dropna())
    dense = pd.concat(parts, ignore_index=True)
    dense["time"] = dense["time"].round(1)
    for low, high in ((-1, 10), (10, 20), (20, 100)):
        before, after = ((t["time"].abs() > low) & (t["time"].abs() <= high) for t in (rows, dense))
        if dense["foot"][after].sum() > 0:
            dense.loc[after, "foot"] *= rows["foot"][before].sum() / dense["foot"][after].sum()
    return dense


def lines_between(known: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Interpolate from the smaller to the larger time, as R does: np.interp differs in the last bit."""
    right = np.searchsorted(known, wanted).clip(1, max(known.size - 1, 1))
    out = np.full(wanted.size, np.nan)
    inside = (wanted >= known.min(initial=np.inf)) & (wanted <= known.max(initial=-np.inf))
    for k in np.flatnonzero(inside):
        same = np.flatnonzero(known == wanted[k])
        if same.size:
            out[k] = values[same[0]]
        else:
            i, j = right[k] - 1, right[k]
            share = (wanted[k] - known[i]) / (known[j] - known[i])
            out[k] = values[i] + (values[j] - values[i]) * share
    return out


def walk(
    lon: float, lat: float, *, n: int = 7, minutes: int = 150, speed: float = 0.004, spread: float = 0.02,
    sign: float = -1.0, every: int = 1, seed: int = 5,
) -> pd.DataFrame:  # fmt: skip
    """Random walks that drift apart; a third of the rows are above the mixed layer."""
    rng = np.random.default_rng(seed)
    age = np.arange(1.0, minutes + 1.0, every)
    shape = (n, age.size)
    drift = np.cumsum(rng.normal(speed, spread / 3, shape), axis=1)
    rise = np.cumsum(rng.normal(-0.6 * speed, spread / 4, shape), axis=1)
    over = lat + rise
    beyond = np.abs(over) > 90.0
    longitude = lon + drift / np.cos(np.radians(min(abs(lat), 85.0))) + np.where(beyond, 180.0, 0.0)
    return pd.DataFrame(
        {
            "time": sign * np.tile(age, n),
            "indx": np.repeat(np.arange(1, n + 1), age.size),
            "long": ((longitude + 180.0) % 360.0 - 180.0).ravel(),
            "lati": np.where(beyond, np.sign(over) * 180.0 - over, over).ravel(),
            "foot": np.where(rng.random(shape) < 0.67, rng.random(shape), 0.0).ravel(),
        }
    )


def odd_numbers(table: pd.DataFrame) -> pd.DataFrame:
    """Particles numbered anyhow, minutes missing, one particle short, rows in no order."""
    numbers = dict(enumerate([7, 1_000_003, 12, 0, 99, 40_000, 5], start=1))
    rng = np.random.default_rng(11)
    table = table.assign(indx=table["indx"].map(numbers))
    table = table[rng.random(len(table)) < 0.8]
    table = table[(table["indx"] != 99) | (table["time"].abs() < 20)]
    hour = (table["time"].abs() > 60) & (table["time"].abs() <= 120)
    table.loc[hour, "foot"] = 0.0
    return table.sample(frac=1.0, random_state=3)


def late_releases(table: pd.DataFrame) -> pd.DataFrame:
    """Particles released over a quarter of an hour, some influence unknown, some negative."""
    table = table.assign(time=table["time"] - 2.0 * (table["indx"] - 1))
    table.loc[table.index % 17 == 3, "foot"] = np.nan
    table.loc[table.index % 13 == 5, "foot"] = -0.5
    return table


def grid(
    xmin: float, xmax: float, ymin: float, ymax: float, size: float, projection: str = "+proj=longlat"
) -> Grid:
    return Grid(xmin=xmin, xmax=xmax, ymin=ymin, ymax=ymax, xres=size, yres=size, projection=projection)


CASES = {
    "south, odd numbers": (odd_numbers(walk(-70.0, -33.0)), grid(-71, -69, -34, -32, 0.05), 3.0),
    "date line, wrapped": (walk(179.8, -17.0, speed=0.01), grid(179, -178, -19, -16, 0.1), 4.0),
    "date line, 0 to 360": (
        walk(179.8, 17.0).assign(long=lambda t: t["long"] % 360.0), grid(179, 182, 16, 18, 0.1), 4.0,
    ),
    "seam of the globe": (walk(179.7, 5.0, speed=0.03, spread=0.3), grid(-180, 180, -90, 90, 5.0), 6.0),
    "north pole": (walk(20.0, 88.5, speed=-0.03, spread=0.2), grid(-180, 180, 60, 90, 2.0), 3.0),
    "south pole": (walk(-140.0, -88.9, speed=0.01, spread=0.2), grid(-180, 180, -90, -70, 1.0), 2.0),
    "south polar stereographic": (
        walk(30.0, -86.0, spread=0.1), grid(10, 50, -88, -84, 10_000.0, "EPSG:3031"), 80.0,
    ),
    "cells of 0.0005 degrees": (walk(6.1, 46.2, n=3, minutes=40, speed=0.0008, spread=0.001),
                                grid(6.05, 6.18, 46.15, 46.23, 0.0005), 0.1),
    "forward": (walk(10.0, 50.0, sign=1.0), grid(9, 12, 48, 51, 0.05), 2.0),
    "forward and fast": (walk(10.0, 50.0, n=4, minutes=60, speed=0.02, sign=1.0),
                         grid(9, 13, 48, 51, 0.01), 0.3),
    "cells of 5 degrees": (walk(100.0, 2.0, speed=0.02), grid(80, 120, -20, 20, 5.0), 1.0),
    "fast on a Lambert grid": (
        walk(-97.0, 38.0, n=4, minutes=60, speed=0.03),
        grid(-98, -94, 36, 39, 2_000.0, "+proj=lcc +lat_1=33 +lat_2=45 +lat_0=39 +lon_0=-96 +datum=WGS84"),
        20.0,
    ),
    "fast, late releases, unknown influence": (
        late_releases(walk(144.0, -37.0, n=5, minutes=70, speed=0.02)), grid(143, 148, -40, -36, 0.02), 0.5,
    ),
    "late releases": (late_releases(walk(-0.2, 51.0)), grid(-1, 1, 50, 52, 0.04), 2.0),
    "every 7 minutes": (odd_numbers(walk(-3.0, 40.0, every=7, minutes=600)), grid(-5, 0, 38, 41, 0.2), 2.0),
    "one particle": (walk(-3.0, 40.0, n=1), grid(-4, -1, 38, 41, 0.1), 1.0),
    "edges of a small grid": (walk(0.0, 0.0, spread=0.06), grid(0.1, 0.5, -0.3, 0.1, 0.02), 5.0),
}  # fmt: skip


def random_case(seed: int) -> tuple[pd.DataFrame, Grid, float]:
    """Particles, a grid about where they begin and a smoothing, drawn at random."""
    rng = np.random.default_rng(seed)
    kind = ["region", "date line", "globe", "projected"][seed % 4]
    lat = rng.uniform(-60.0, 60.0)
    lon = rng.uniform(179.9, 179.99) if kind == "date line" else rng.uniform(-170.0, 170.0)
    table = walk(
        lon, lat,
        n=int(rng.choice([1, 2, 5, 9])), minutes=int(rng.choice([20, 70, 130, 200])),
        speed=rng.choice([0.001, 0.005, 0.03]), spread=rng.choice([0.002, 0.02, 0.1]),
        sign=rng.choice([-1.0, 1.0]), every=int(rng.choice([1, 2, 5])), seed=seed,
    )  # fmt: skip
    late, rounded, gaps, unknown, shuffled = rng.random(5) < 0.4
    if late:
        table["time"] += np.sign(table["time"]) * (table["indx"] - 1) * rng.choice([0.1, 0.3, 7.0])
        table["time"] = table["time"].round(1)
    if rounded:  # onto edges of the cells
        table[["long", "lati"]] = table[["long", "lati"]].round(3)
    if gaps:
        table = table[rng.random(len(table)) < 0.7]
        table.loc[table["time"].abs().between(60, 120), "foot"] = 0.0
    if unknown:
        table.loc[table.index % 11 == 3, "foot"] = np.nan
    if shuffled:
        table = table.sample(frac=1.0, random_state=seed)
    if kind == "date line" and rng.random() < 0.5:
        table["long"] %= 360.0
    smooth_factor = float(rng.choice([0.0, 0.3, 1.0, 4.0, 20.0]))
    if kind == "globe":
        west = rng.choice([-180.0, 0.0])
        return table, grid(west, west + 360.0, -90.0, 90.0, rng.choice([0.5, 1.0, 5.0])), smooth_factor
    size, half = rng.choice([0.005, 0.01, 0.05, 0.2]), rng.choice([0.31, 1.0])
    west, south = np.round([lon - half * rng.random(), lat - half * rng.random()], 2)
    smooth_factor = min(smooth_factor, 100.0 * size)  # kernels a loop gets through
    if kind == "projected":
        names = [f"EPSG:{326 if lat > 0 else 327}{int((lon + 180) // 6) + 1:02d}",
                 f"+proj=laea +lat_0={lat:.0f} +lon_0={lon:.0f}", "EPSG:3857"]  # fmt: skip
        projection = names[rng.integers(3)]
        return table, grid(west, west + half, south, south + half, 1e5 * size, projection), smooth_factor
    east = west + half + (0.1 if kind == "date line" else 0.0)
    if kind == "date line" and rng.random() < 0.5:
        east -= 360.0 if east > 180.0 else 0.0
    shape = {"xres": size, "yres": size * rng.choice([0.5, 1.0, 1.5])}
    return table, Grid(xmin=west, xmax=east, ymin=south, ymax=south + half, **shape), smooth_factor


@pytest.mark.parametrize("name", CASES)
def test_every_cell_is_that_of_the_written_algorithm(name):
    """At most 1e-9 apart in every cell, the same cells nonzero, hours labelled by their start."""
    table, where, smooth_factor = CASES[name]
    assert compare(table, where, smooth_factor, integrate=name.startswith("date line")) > 0.0


@pytest.mark.parametrize("seed", range(24))
@pytest.mark.filterwarnings("ignore:the grid .* does not hold whole cells:UserWarning")
def test_random_cases_are_those_of_the_written_algorithm(seed):
    """The same for settings that nobody chose."""
    table, where, smooth_factor = random_case(seed)
    compare(table, where, smooth_factor, integrate=seed % 3 == 0)


def compare(table: pd.DataFrame, where: Grid, smooth_factor: float, *, integrate: bool) -> float:
    """Compare every cell, which are nonzero, and the labels of the hours; return the total."""
    receptor = PointReceptor(TIME, float(table["long"].iloc[0]), float(table["lati"].iloc[0]), 5.0)
    result = calc_footprint(
        table, where, receptor=receptor, smooth_factor=smooth_factor, time_integrate=integrate
    )
    expected = written_algorithm(table, where, smooth_factor, integrate=integrate)
    total = sum(layer.sum() for layer in expected.values())
    if result.is_empty:
        assert total == 0.0
        return 0.0
    labels = pd.DatetimeIndex(result.data["time"].to_numpy())
    if integrate:
        assert labels.tolist() == [pd.Timestamp(TIME)]
    else:
        hours = range(min(expected), max(expected) + 1)
        assert labels.tolist() == [pd.Timestamp(TIME) + pd.Timedelta(hours=hour) for hour in hours]
    for hour, ours in zip([0] if integrate else hours, result.data.to_numpy(), strict=True):
        theirs = expected.get(hour, np.zeros_like(ours))
        assert ((ours > 0) == (theirs > 0)).all()
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=0)
    return total
