"""Real HRRR and ERA5 and a global file, once as ARL and once as NetCDF in the conventions of their kind."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stilt.config import MetConfig, TransportParams
from stilt.meteorology.catalog import open_series
from stilt.meteorology.convert import convert_to_arl
from stilt.meteorology.frame import Box
from stilt.meteorology.gridded.file import open_gridded
from stilt.meteorology.synthetic import World
from stilt.receptors import Receptor
from stilt.transport.native.engine import NativeEngine
from stilt.transport.native.tiles import ColumnPool, TileCache
from stilt.transport.protocol import TransportRequest

pytestmark = pytest.mark.reference

_beside = Path(__file__).parents[1] / "unit" / "meteorology" / "gridded_data.py"
_spec = importlib.util.spec_from_file_location("gridded_data", _beside)
data = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(data)


def as_netcdf(files: list[Path], folder: Path) -> MetConfig:
    """Unpack ARL files and write what they hold as the Climate Data Store, or on a projection, would."""
    series = open_series(files, name="met")
    whole = Box(0, series.grid.nx, 0, series.grid.ny)
    frames = tuple(
        series.decode(k, whole, series.surface_names, [name for name in series.upper_names if name != "DIFW"])
        for k in range(len(series.times))
    )
    folder.mkdir(parents=True)
    world = World(series.grid, series.levels, frames)
    if not series.grid.is_latlon:
        # as a weather service would: winds to east and north, rows from the north
        data.projected(world, earth_relative=True, descending=True).to_netcdf(folder / "lcc.nc")
        return MetConfig(source="xarray", path=str(folder / "lcc.nc"))
    above, below = data.era5(world)
    above.to_netcdf(folder / "pl.nc")
    below.to_netcdf(folder / "sfc.nc")
    return MetConfig(source="xarray", path=str(folder / "*.nc"), preset="era5")


def load(root: Path, start: str) -> dict:
    (folder,) = (root / "transport").glob(f"{start}*")
    return {**json.loads((folder / "case.json").read_text()), "folder": folder}


def run(case: dict, met: object, cache: Path, **settings: object) -> pd.DataFrame:
    where = dict(case["receptor"])
    receptor = Receptor.from_dict({"type": where.pop("kind"), **where})
    settings = {"n_hours": case["n_hours"], "numpar": case["numpar"], **case["params"], **settings}
    request = TransportRequest(receptor, case["id"], met, TransportParams(**settings))
    return NativeEngine(ColumnPool(TileCache(cache))).run(request).particles


@pytest.mark.parametrize(("start", "limit"), [("t16", 0.005), ("t13", 0.005), ("t01", 0.005)])
def test_netcdf_and_the_arl_file_it_came_from_are_one_world(reference_dir, tmp_path, start, limit):
    """
    Mean wind only: through NetCDF of the unpacked values as through the ARL file itself.

    The values are the same numbers, but for float32 rounding of a change of unit and back; packed to
    ARL once more nothing moves beyond the precision of the packing.
    """
    case = load(reference_dir, start)
    files = [reference_dir / "met" / name for name in case["met"]]
    met = as_netcdf(files, tmp_path / "nc")
    again = convert_to_arl(open_gridded(met, "met"), tmp_path / "again.arl")
    settings = {"nturb": 1, "numpar": 20}
    tables = [
        run(case, each, tmp_path / f"cache{number}", **settings).set_index(["time", "indx"])
        for number, each in enumerate((tuple(files), met, (again,)))
    ]
    apart = []
    for other in tables[1:]:
        assert len(other) == len(tables[0])
        lon = (other["long"] - tables[0]["long"] + 180.0) % 360.0 - 180.0
        east = lon * np.cos(np.radians(other["lati"]))
        apart.append(111.2 * np.hypot(east, other["lati"] - tables[0]["lati"]).max())
    print(start, "km apart: through NetCDF", apart[0], "packed again", apart[1])
    assert max(apart) < limit


@pytest.mark.slow
@pytest.mark.parametrize("start", ["t16", "t13", "t03"])
def test_through_netcdf_ensembles_cannot_be_told_from_the_programs(reference_dir, tmp_path, start):
    """With turbulence: the distance to hycs_std's ensembles over the ARL file is that of another seed."""
    case = load(reference_dir, start)
    met = as_netcdf([reference_dir / "met" / name for name in case["met"]], tmp_path / "nc")
    scores = []
    for seed in (11, 12):
        candidate = tmp_path / f"{seed}.parquet"
        wanted = "time indx long lati zagl foot mlht pres dens samt sigw tlgr".split()
        run(case, met, tmp_path / "cache", seed=seed, varsiwant=wanted).to_parquet(candidate)
        command = [sys.executable, reference_dir / "compare_transport.py", case["folder"], candidate]
        said = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True).stdout
        scores.append(float(re.search(r"SCORE\s+([0-9.]+)", said).group(1)))
    print(start, scores)
    assert np.mean(scores) <= 1.5, scores
