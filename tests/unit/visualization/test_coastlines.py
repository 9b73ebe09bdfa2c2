"""The lines that ship with the package."""

from __future__ import annotations

from importlib import resources

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from stilt.visualization import coastlines


def inside(lines, x0, x1, y0, y1):
    points = np.concatenate(lines)
    return (points[:, 0] >= x0) & (points[:, 0] <= x1) & (points[:, 1] >= y0) & (points[:, 1] <= y1)


def test_the_file_is_small_and_names_its_source():
    """It travels with every wheel."""
    file = resources.files("stilt.visualization").joinpath("data/coastlines.json")
    assert len(file.read_bytes()) < 200_000
    assert "Natural Earth" in file.read_text()[:200]


@pytest.mark.parametrize("name", coastlines.LAYERS)
def test_every_layer_lies_on_the_globe_without_lines_across_it(name):
    """Lines are cut at the date line, so no piece is long, except straight borders."""
    points = coastlines.layer(name)
    assert np.nanmin(points[:, 0]) >= -180.0
    assert np.nanmax(points[:, 0]) <= 180.0
    assert np.nanmax(np.abs(points[:, 1])) <= 90.0
    assert np.nanmax(np.abs(np.diff(points, axis=0))) < 30.0
    assert not points.flags.writeable


@pytest.mark.parametrize(
    ("name", "lon", "lat"),
    [
        ("coast", -9.50, 38.78),  # Cabo da Roca
        ("coast", 18.47, -34.36),  # Cape of Good Hope
        ("country", -114.8, 49.0),  # 49th parallel
        ("province", -109.05, 37.0),  # Four Corners
        ("lake", -87.6, 41.88),  # Chicago
    ],
)
def test_known_places_lie_on_a_line(name, lon, lat):
    """To a tenth of a degree."""
    lines = coastlines.lines_in_degrees(name, (lon - 1.0, lon + 1.0, lat - 1.0, lat + 1.0))
    points = np.concatenate([line[np.isfinite(line).all(axis=1)] for line in lines])
    a, b = points[:-1], points[1:]
    share = np.clip(
        ((np.array([lon, lat]) - a) * (b - a)).sum(1) / np.maximum(((b - a) ** 2).sum(1), 1e-12), 0, 1
    )
    assert np.hypot(*(a + share[:, None] * (b - a) - [lon, lat]).T).min() < 0.1


def test_lines_are_cut_to_the_view():
    """Only pieces that touch it, so nothing is far away."""
    lines = coastlines.lines_in_degrees("coast", (-10.0, 5.0, 45.0, 60.0))
    assert lines
    assert inside(lines, -15.0, 10.0, 40.0, 65.0).all()
    assert inside(lines, -10.0, 5.0, 45.0, 60.0).mean() > 0.9


def test_longitudes_are_counted_as_in_the_view():
    """Fiji lies on both sides of 180 degrees, and a view across it finds both."""
    lines = coastlines.lines_in_degrees("coast", (175.0, 185.0, -20.0, -15.0))
    x = np.concatenate(lines)[:, 0]
    assert x.min() > 170.0
    assert (x < 180.0).any()
    assert (x > 180.0).any()


def test_projected_lines_bend_and_do_not_cross_the_map():
    """The 49th parallel is not straight in a conic projection."""
    from stilt.visualization.maps import MapPlane

    plane = MapPlane("+proj=lcc +lat_1=33 +lat_2=45 +lat_0=40 +lon_0=-97")
    view = (-2500.0, 2500.0, -1500.0, 1500.0)
    lines = coastlines.lines_projected("country", plane.project, view)
    assert max(np.abs(np.diff(line, axis=0)).max() for line in lines) < 200.0
    lon, lat = plane.locate(*np.concatenate(lines).T)
    on_parallel = np.abs(lat - 49.0) < 0.02
    assert on_parallel.sum() > 30
    assert lon[on_parallel].min() < -120.0
