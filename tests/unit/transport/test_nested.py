"""Members of a nest: cut files, gridded data, forecasts, engines that stay in one meteorology."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import stilt
from stilt.config import HysplitConfig, MetConfig, ModelConfig, TransportParams
from stilt.errors import ConfigError, UnsupportedSettingError
from stilt.execution.preflight import check_engine
from stilt.meteorology import synthetic
from stilt.meteorology.projection import HorizontalGrid
from stilt.receptors import PointReceptor
from stilt.transport import get_engine
from stilt.transport.protocol import TransportRequest

_beside = Path(__file__).parents[1] / "meteorology" / "gridded_data.py"
_spec = importlib.util.spec_from_file_location("gridded_data", _beside)
data = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(data)

FINE = HorizontalGrid.lambert(40.0, -100.0, 12.0, 21, 21)
MERIDIANS = HorizontalGrid.latlon(-108.0, 35.0, 0.5, 0.5, 33, 21)
RECEPTOR = PointReceptor("2020-06-01 10:00", -100.0, 40.0, 200.0)
STEADY = {"n_hours": -6, "nturb": 1, "numpar": 1}


@pytest.fixture(scope="module")
def wide() -> synthetic.World:
    """Ten metres per second to the east between meridians."""
    levels = synthetic.pressure_levels()
    return synthetic.uniform(10.0, 0.0, grid=MERIDIANS, levels=levels, hours=12, interval=180)


@pytest.fixture(scope="module")
def folders(wide, tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("members")
    for name in ("fine", "wide"):
        (root / name).mkdir()
    synthetic.uniform(10.0, 0.0, grid=FINE, hours=12).write(root / "fine" / "fine.arl")
    wide.write(root / "wide" / "wide.arl")
    return root


def test_gridded_data_around_arl_files_and_the_other_way_round(folders, wide, tmp_path):
    """The outer meteorology once as ARL and once as NetCDF: the same way, to the packing of ARL."""
    above, below = data.era5(wide)
    above.to_netcdf(tmp_path / "pl.nc")
    below.to_netcdf(tmp_path / "sfc.nc")
    netcdf = MetConfig(source="xarray", path=str(tmp_path / "*.nc"), preset="era5")
    fine, arl = ({"directory": folders / name} for name in ("fine", "wide"))
    through = [stilt.run_trajectories(RECEPTOR, [fine, outer], **STEADY) for outer in (arl, netcdf)]
    assert all(0.2 < each.nesting["share"][1] < 0.8 for each in through)
    for column, apart in (("long", 1e-3), ("lati", 1e-3), ("zagl", 2.0)):
        np.testing.assert_allclose(through[0].data[column], through[1].data[column], atol=apart)
    # and gridded data may be the inner one: here it covers everything, so the other is never needed
    inside = stilt.run_trajectories(RECEPTOR, [netcdf, fine], **STEADY)
    assert inside.nesting["share"] == [1.0, 0.0]


def test_members_may_be_cut(folders, tmp_path):
    cut = {
        "directory": folders / "wide", "subgrid_enable": True, "subgrid_dir": tmp_path / "cut",
        "subgrid_bounds": {"xmin": -107, "xmax": -97, "ymin": 36, "ymax": 44},
    }  # fmt: skip
    fine = {"directory": folders / "fine"}
    whole, part = (
        stilt.run_trajectories(RECEPTOR, [fine, outer], **STEADY)
        for outer in ({"directory": folders / "wide"}, cut)
    )
    # the same bytes inside the box, counted from another corner
    np.testing.assert_allclose(whole.data["long"], part.data["long"], atol=1e-4)
    assert list((tmp_path / "cut").rglob("*.arl*")) or any((tmp_path / "cut").rglob("*"))
    assert part.nesting["handed_over"] == [{**whole.nesting["handed_over"][0]}]


def test_hours_may_come_from_forecasts(folders, tmp_path):
    """Forecast hours are meteorology like any other."""
    world = synthetic.uniform(10.0, 0.0, grid=FINE, hours=12)
    frames = tuple(replace(frame, forecast_hour=hour) for hour, frame in enumerate(world.frames))
    synthetic.World(world.grid, world.levels, frames, "FCST").write(tmp_path / "forecast.arl")
    mets = [{"directory": tmp_path, "file_format": "forecast"}, {"directory": folders / "wide"}]
    nested = stilt.run_trajectories(RECEPTOR, mets, **STEADY)
    analysed = stilt.run_trajectories(
        RECEPTOR, [{"directory": folders / "fine"}, {"directory": folders / "wide"}], **STEADY
    )
    assert nested.data.equals(analysed.data)


def test_engines_that_stay_in_one_meteorology_refuse(folders):
    mets = {
        "fine": {"directory": folders / "fine", "fallback": "wide"},
        "wide": {"directory": folders / "wide"},
    }
    config = ModelConfig(mets=mets, n_hours=-1, engine="hysplit")
    engine = get_engine("hysplit", HysplitConfig())
    (_, first), *others = config.met_chain("fine")
    request = TransportRequest(RECEPTOR, "fine", first, TransportParams(), fallbacks=tuple(others))
    with pytest.raises(UnsupportedSettingError, match=r"mets\.fine\.fallback: engine 'hysplit' stays in one"):
        engine.run(request)
    with pytest.raises(UnsupportedSettingError, match=r"random: hysplit draws"):
        check_engine(config.replace(engine="native", random="hysplit"))
    check_engine(config.replace(engine="native"))


def test_a_notebook_names_no_mets(folders):
    fine = {"directory": folders / "fine"}
    with pytest.raises(ConfigError, match=r"unknown met 'gfs'.*give the section itself"):
        stilt.run_trajectories(RECEPTOR, {**fine, "fallback": "gfs"}, **STEADY)
    with pytest.raises(ConfigError, match="begins with the keys"):
        stilt.run_trajectories(RECEPTOR, [folders / "fine", fine], **STEADY)
    inline = stilt.run_trajectories(RECEPTOR, {**fine, "fallback": {"directory": folders / "wide"}}, **STEADY)
    assert inline.nesting["mets"] == ["fine", "fine.2"]
