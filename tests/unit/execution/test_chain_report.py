"""What meteorologies cover together, receptor by receptor."""

from __future__ import annotations

import time

import numpy as np
import pytest

from stilt.config import TransportParams
from stilt.execution.chain_report import chain_report
from stilt.execution.met_report import met_report
from stilt.meteorology import synthetic
from stilt.meteorology.arl.file import open_arl
from stilt.meteorology.projection import HorizontalGrid
from stilt.receptors import PointReceptor

FINE = synthetic.uniform(hours=9, grid=HorizontalGrid.lambert(40.0, -100.0, 12.0, 15, 15))
WIDE = synthetic.uniform(hours=24, interval=180)
LON, LAT = FINE.center


def together(folder, receptors, n_hours, hours=range(10)):
    params = TransportParams(n_hours=n_hours)
    found = []
    for name, world, kept in (("fine", FINE, hours), ("wide", WIDE, range(9))):
        frames = tuple(world.frames[k] for k in kept)
        file = open_arl(synthetic.World(world.grid, world.levels, frames).write(folder / f"{name}.arl"))
        found.append((met_report(name, [file], receptors, params), file.times))
    return chain_report(found, receptors, n_hours)


def test_hours_of_each_and_of_none(tmp_path):
    """Fine from 00 to 09 without 05, wide from 00 to 24."""
    receptors = [
        PointReceptor("2020-06-01 08:00", LON, LAT, 10.0),
        PointReceptor("2020-06-01 12:30", LON, LAT, 10.0),
        PointReceptor("2020-06-01 02:00", LON + 2.0, LAT, 10.0),
        PointReceptor("2020-06-01 05:00", LON, LAT, 10.0),
        PointReceptor("2020-06-02 01:00", LON, LAT, 10.0),
    ]
    found = together(tmp_path, receptors, -4, hours=[0, 1, 2, 3, 4, 6, 7, 8, 9])
    np.testing.assert_allclose(found.hours[0], [2.0, 0.5, 2.0, 3.0, 0.0])
    np.testing.assert_allclose(found.hours[1], [4.0, 4.0, 2.0, 4.0, 3.0])
    np.testing.assert_allclose(found.hours_missing, [0.0, 0.0, 2.0, 0.0, 1.0])
    assert found.begins_in.tolist() == [0, 1, 1, 1, -1]
    assert found.km_to_edge[0] == pytest.approx([60.0, 60.0, -110.0, 60.0, 60.0], abs=5.0)
    row = found.to_dict()["receptors"][4]
    assert row["begins_in"] is None
    assert row["mets"][0] == {"met": "fine", "hours": 0.0, "km_to_edge": pytest.approx(60.0, abs=5.0)}


def test_ten_thousand_receptors_take_no_time(tmp_path):
    receptors = [PointReceptor("2020-06-01 08:00", LON + 1e-5 * k, LAT, 10.0) for k in range(10_000)]
    few = together(tmp_path, receptors[:2], -4)
    began = time.process_time()
    found = together(tmp_path, receptors, -4)
    assert time.process_time() - began < 5.0
    assert (found.hours[:, :2] == few.hours).all()
