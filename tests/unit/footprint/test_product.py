"""Footprint files and markers hold what a footprint knows."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import netCDF4
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from stilt.config import FootprintConfig
from stilt.errors import FootprintError
from stilt.footprint import Footprint, calc_footprint
from stilt.receptors import PointReceptor
from stilt.spatial import Grid
from stilt.trajectory import Trajectories

RECEPTOR = PointReceptor("2023-01-01 12:15", -3.0, 40.0, 5.0)
LONGLAT = Grid(xmin=-4, xmax=-2, ymin=39, ymax=41, xres=0.1, yres=0.1)
UTM = Grid(xmin=-4, xmax=-2, ymin=39, ymax=41, xres=5000, yres=5000, projection="EPSG:32630")


def some_particles() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(2)
    time, indx = np.meshgrid(np.arange(1.0, 121.0), np.arange(1, 9), indexing="ij")
    return {
        "time": -time.ravel(),
        "indx": indx.ravel(),
        "long": -3.0 + 0.003 * time.ravel() + rng.normal(0, 0.05, time.size),
        "lati": 40.0 + rng.normal(0, 0.05, time.size),
        "foot": rng.random(time.size),
    }


def some_footprint(grid: Grid = LONGLAT, **options: object) -> Footprint:
    return calc_footprint(
        some_particles(), grid, receptor=RECEPTOR, name="default", settings_hash="abc", **options
    )


@pytest.mark.parametrize("grid", [LONGLAT, UTM], ids=["longlat", "utm"])
@pytest.mark.parametrize("time_integrate", [False, True])
def test_a_file_gives_back_the_footprint(tmp_path, grid, time_integrate):
    """Values to float32, everything else exactly."""
    footprint = some_footprint(grid, time_integrate=time_integrate, smooth_factor=2.0)
    back = Footprint.from_netcdf(footprint.to_netcdf(tmp_path / "foot.nc"))
    np.testing.assert_allclose(back.data.values, footprint.data.values, rtol=1e-6)
    for name in footprint.data.dims:
        assert (back.data[name].values == footprint.data[name].values).all()
    for name in (
        "grid",
        "receptor",
        "name",
        "smooth_factor",
        "time_integrate",
        "time_range",
        "settings_hash",
    ):
        assert getattr(back, name) == getattr(footprint, name)
    assert not back.is_empty
    assert back.config == FootprintConfig(grid=grid, smooth_factor=2.0, time_integrate=time_integrate)
    assert (Footprint.from_netcdf(back.to_bytes()).data.values == back.data.values).all()
    assert [path.name for path in tmp_path.iterdir()] == ["foot.nc"]


def test_files_are_plain_cf_netcdf(tmp_path):
    """Times and coordinates are read by xarray, the attributes are there, values are compressed float32."""
    path = some_footprint().to_netcdf(tmp_path / "foot.nc")
    with xr.open_dataset(path) as dataset:
        assert dataset["foot"].dims == ("time", "lat", "lon")
        assert dataset["foot"].attrs["units"] == "ppm m2 s umol-1"
        assert str(dataset["time"].values[0])[:16] == "2023-01-01T10:15"
        assert dataset.attrs["Conventions"] == "CF-1.8"
    with netCDF4.Dataset(path) as file:
        assert file["foot"].dtype == np.float32
        assert file["foot"].filters()["zlib"]
        assert json.loads(file.receptor) == RECEPTOR.to_dict()
        assert file["lon_bnds"][0].tolist() == pytest.approx([-4.0, -3.9])
        names = "name projection xmin xmax ymin ymax xres yres smooth_factor time_integrate transforms "
        names += "settings_hash stilt_version engine time_created"
        assert set(names.split()) <= set(file.ncattrs())


def late_particles() -> dict[str, np.ndarray]:
    """Influence in the third hour back only, and in the first, so that the hour between is a zero layer."""
    particles = some_particles()
    particles["time"] = np.where(particles["time"] < -60, particles["time"] - 60, particles["time"])
    return particles


CF_CASES = {
    "longlat": (some_particles, LONGLAT, {}),
    "utm": (some_particles, UTM, {}),
    "empty-hour": (late_particles, LONGLAT, {}),
    "integrated": (some_particles, LONGLAT, {"time_integrate": True}),
    "bins": (some_particles, LONGLAT, {"time_bins": [-2, -0.5, 0], "align": "clock"}),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CF_CASES)
def test_a_cf_checker_finds_no_fault(tmp_path, case):
    """The compliance checker of IOOS has nothing to say under CF-1.8."""
    pytest.importorskip("compliance_checker")
    particles, grid, options = CF_CASES[case]
    path = calc_footprint(particles(), grid, receptor=RECEPTOR, **options).to_netcdf(tmp_path / "foot.nc")
    program = Path(sys.executable).with_name("compliance-checker")
    done = subprocess.run([program, "--test", "cf:1.8", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "All tests passed!" in done.stdout


def test_empty_footprints_have_a_marker_and_no_file(tmp_path):
    """The marker tells the reason and gives the empty footprint back; no NetCDF file is written."""
    particles = some_particles() | {"foot": np.zeros(960)}
    empty = calc_footprint(particles, LONGLAT, receptor=RECEPTOR, name="default")
    with pytest.raises(FootprintError, match="is empty"):
        empty.to_netcdf(tmp_path / "foot.nc")
    assert list(tmp_path.iterdir()) == []
    content = empty.empty_marker()
    assert json.loads(content)["reason"] == "above_pbl"
    back = Footprint.from_empty_marker(content)
    assert back.is_empty
    for name in ("empty_reason", "empty_message", "fractions", "grid", "receptor", "name", "time_created"):
        assert getattr(back, name) == getattr(empty, name)
    assert back.empty_marker() == content
    assert back.data.shape == empty.data.shape
    with pytest.raises(FootprintError, match="is not empty"):
        some_footprint().empty_marker()


def test_other_files_are_refused_in_one_line(tmp_path):
    """Bytes that are no NetCDF, NetCDF that is no footprint, JSON that is no marker, no file at all."""
    with pytest.raises(FootprintError, match="cannot be read as a NetCDF footprint"):
        Footprint.from_netcdf(b"not netcdf")
    xr.Dataset({"a": ("x", [1.0])}).to_netcdf(tmp_path / "other.nc", engine="netcdf4")
    with pytest.raises(FootprintError, match="is no footprint file"):
        Footprint.from_netcdf(tmp_path / "other.nc")
    with pytest.raises(FootprintError, match="no marker"):
        Footprint.from_empty_marker(b"{}")
    with pytest.raises(FileNotFoundError):
        Footprint.from_netcdf(tmp_path / "absent.nc")


def test_calculate_uses_the_values_a_file_holds():
    """A footprint made before storing equals the one made from the stored trajectories."""
    trajectories = Trajectories.from_particles(pd.DataFrame(some_particles()), RECEPTOR)
    config = FootprintConfig(grid=LONGLAT, smooth_factor=0.5)
    before = Footprint.calculate(trajectories, config, name="fine")
    after = Footprint.calculate(Trajectories.from_parquet(trajectories.to_bytes()), config, LONGLAT, "fine")
    assert (before.data.values == after.data.values).all()
    assert before.smooth_factor == 0.5
    assert before.name == "fine"
