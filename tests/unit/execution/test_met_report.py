"""What a meteorology means for each receptor, before anything runs."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from stilt.config import TransportParams
from stilt.execution.met_report import met_report
from stilt.meteorology import synthetic
from stilt.meteorology.arl.file import open_arl
from stilt.receptors import ColumnReceptor, PointReceptor

WORLD = synthetic.uniform(hours=9, pbl_height=1234.0)
LON, LAT = WORLD.center


def write(folder, world=WORLD, hours=range(10)):
    frames = tuple(world.frames[hour] for hour in hours)
    return open_arl(replace(world, frames=frames).write(folder / "world.arl"))


def report(file, receptors, **settings):
    return met_report("m", [file], receptors, TransportParams(**{"n_hours": -3, **settings}))


def at(clock, lon=LON, lat=LAT):
    return PointReceptor(f"2020-06-01 {clock}", lon, lat, 10.0)


def test_hours_needed_and_missing_are_counted_for_each_receptor(tmp_path):
    """Files from 00 to 09 without 05: a run needs both ends of its span and all between."""
    file = write(tmp_path, hours=[0, 1, 2, 3, 4, 6, 7, 8, 9])
    found = report(file, [at("04:00"), at("04:30"), at("07:00"), at("09:30"), at("01:00"), at("12:00")])
    assert found.hours_needed.tolist() == [4, 5, 4, 5, 4, 4]
    assert found.hours_missing.tolist() == [0, 1, 1, 1, 2, 3]
    assert found.analyses == 9
    # nine surface fields, and temperature, two winds, vertical motion and moisture on twenty levels
    assert found.bytes == 9 * (9 + 5 * 20) * file.layout.record_bytes


def test_distance_to_the_edge_is_that_of_the_usable_grid(tmp_path):
    """Forty-one points of 12 km: 18 cells from the middle to where particles end in the north-east."""
    file = write(tmp_path)
    corner = file.grid.to_lonlat(1.5, 1.5)
    column = ColumnReceptor("2020-06-01 05:00", LON, LAT, 0.0, 500.0)
    found = report(file, [at("05:00"), column, at("05:00", float(corner[0]), float(corner[1]))])
    assert found.km_to_edge[:2] == pytest.approx([18 * 12, 18 * 12], rel=0.01)
    assert found.km_to_edge[2] == pytest.approx(-0.5 * 12, rel=0.05)


def test_mixed_layers_and_the_levels_above_them_are_seen(tmp_path):
    found = report(write(tmp_path), [at("05:00"), at("09:00")])
    assert found.pbl_height == pytest.approx([1234.0, 1234.0], abs=10.0)
    assert found.looked_at == 2
    assert 5 < found.levels_above < 20
    assert not found.warnings
    shallow = synthetic.uniform(hours=3, levels=synthetic.sigma_levels((0.99, 0.95, 0.9)), pbl_height=1234.0)
    (tmp_path / "shallow").mkdir()
    low = report(write(tmp_path / "shallow", shallow, range(4)), [at("03:00")])
    assert "levels above a mixed layer of 12" in low.warnings[0]


def test_what_is_missing_is_named_only_where_the_settings_use_it(tmp_path):
    bare = WORLD.without("RGHS", "USTR", "SHTF", "PBLH", "T02M")
    file = write(tmp_path, bare)
    notes = " | ".join(
        report(file, [at("05:00")], varsiwant=("time", "indx", "long", "lati", "foot", "tcld")).notes
    )
    for words in ("no T02M", "stability from the profiles", "no RGHS", "no TCLD: column tcld is -99"):
        assert words in notes
    assert "T02M" not in " ".join(report(file, [at("05:00")], k10m=0).notes)
    assert report(file, [at("05:00")]).deepest == 3000.0
    (tmp_path / "dry").mkdir()
    windless = report(write(tmp_path / "dry", WORLD.without("UWND")), [at("05:00")])
    assert "no wind UWND" in windless.error


def test_ten_thousand_receptors_take_seconds(tmp_path):
    """Less than three seconds of CPU, JSON included."""
    file = write(tmp_path)
    rng = np.random.default_rng(1)
    receptors = [
        at(f"{h:02d}:{m:02d}", LON + a, LAT + b)
        for h, m, a, b in zip(
            rng.integers(3, 9, 10000),
            rng.integers(0, 60, 10000),
            *rng.uniform(-1, 1, (2, 10000)),
            strict=True,
        )
    ]
    began = time.process_time()
    rows = report(file, receptors).to_dict()["receptors"]
    assert time.process_time() - began < 3.0
    assert len(rows) == 10000
