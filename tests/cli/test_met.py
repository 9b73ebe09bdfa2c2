"""Meteorology from the command line."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from stilt.meteorology import synthetic
from stilt.meteorology.projection import HorizontalGrid


def test_ls_tells_of_a_project_and_of_a_folder(type_stilt, cli_project):
    """A project's meteorology by its name, a folder's by the folder's."""
    said = type_stilt("met", "ls", cli_project)
    assert said.code == 0, said
    assert said.out.startswith(f"valley: {cli_project}/met\n")
    assert "6 times, 2024-07-10 18:00 to 2024-07-10 23:00 UTC every 60 min" in said.out
    told = json.loads(type_stilt("met", "ls", cli_project / "met", "--json").out)["met"]
    assert [kind["n_times"] for kind in told["kinds"]] == [6]
    assert type_stilt("met", "ls", cli_project, "--format", "hrrr%Y").complaint.endswith(
        "Correct `file_format`."
    )


def test_ls_names_damage_and_ends_with_1(type_stilt, cli_project):
    (file,) = (cli_project / "met").iterdir()
    file.write_bytes(file.read_bytes()[:-1])
    said = type_stilt("met", "ls", cli_project)
    assert said.code == 1
    assert "damaged:" in said.out
    assert "1 are missing" in said.out
    assert "1 are missing" in type_stilt("met", "info", file).complaint


def test_info_describes_a_file(type_stilt, cli_project):
    (file,) = (cli_project / "met").iterdir()
    said = type_stilt("met", "info", file, "--verify")
    assert said.code == 0, said
    assert "UWND VWND" in said.out
    assert ", verified" in said.out
    told = json.loads(type_stilt("met", "info", file, "--json").out)
    assert told["times"][0] == "2024-07-10 18:00"
    assert told["grid"]["nx"] * told["grid"]["ny"] > 0
    assert told["levels"]["count"] == len(told["levels"]["heights"]) - 1
    assert "No such file" in type_stilt("met", "info", cli_project / "nothing").complaint


def test_crop_cuts_and_refuses_to_overwrite(type_stilt, cli_project, tmp_path):
    (file,) = (cli_project / "met").iterdir()
    box = ("--bounds", "-112", "-111.2", "40.6", "41.3")
    said = type_stilt("met", "crop", file, *box, "--levels", "10", "--out", tmp_path / "cut")
    assert said.code == 0, said
    assert "10 levels" in said.out
    told = json.loads(type_stilt("met", "info", tmp_path / "cut" / file.name, "--json").out)
    assert told["levels"]["count"] == 10
    assert told["size"] < file.stat().st_size
    again = type_stilt("met", "crop", file, *box, "--out", tmp_path / "cut")
    assert "is there already" in again.complaint
    away = ("--bounds", "10", "12", "40.6", "41.3")
    assert "does not touch the grid" in type_stilt("met", "crop", file, *away, "--out", tmp_path).complaint


def test_mistakes_are_told_from_faults(type_stilt, cli_project, tmp_path):
    (file,) = (cli_project / "met").iterdir()
    assert "is a file; `stilt met info" in type_stilt("met", "ls", file).complaint
    swapped = ("--bounds", "-111", "-112", "40.5", "41.5", "--out", tmp_path / "cut")
    assert "359 degrees around the globe" in type_stilt("met", "crop", file, *swapped).complaint
    assert "is an ARL file already" in type_stilt("met", "convert", file, "--out", tmp_path / "x").complaint
    shown = type_stilt("met")
    assert shown.code == 0
    assert "download" in shown.out


def test_a_project_with_cut_meteorology_runs(type_stilt, cli_project):
    config = cli_project / "config.yaml"
    box = "{xmin: -112, xmax: -111, ymin: 40.6, ymax: 41.4}"
    bounds = f"subgrid_enable: true, subgrid_dir: cut, subgrid_bounds: {box}"
    config.write_text(config.read_text().replace("file_tres: 6h", f"file_tres: 6h, {bounds}"))
    assert type_stilt("check", cli_project).code == 0
    said = type_stilt("run", cli_project)
    assert said.code == 0, said
    assert len(list((cli_project / "cut").rglob("*_valley"))) == 1


@pytest.fixture(scope="module")
def data():
    """What writes gridded data of known winds."""
    spec = importlib.util.spec_from_file_location(
        "gridded_data", Path(__file__).parents[1] / "unit" / "meteorology" / "gridded_data.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_convert_is_told_where_winds_point(type_stilt, data, tmp_path):
    """Projected data that do not say it are refused with the option that does, and then converted."""
    grid = HorizontalGrid.lambert(40.0, -105.0, 12.0, 21, 17, center_lat=39.0, center_lon=-97.0)
    world = synthetic.uniform(grid=grid, hours=2, flux=50.0, contents=synthetic.Contents(pres=True))
    made = data.projected(world, earth_relative=True)
    for name in ("uu", "vv", "uas", "vas"):
        del made[name].attrs["standard_name"]
    made.rename(uu="ua", vv="va").to_netcdf(tmp_path / "lcc.nc")
    command = ("met", "convert", tmp_path / "lcc.nc", "--out", tmp_path / "lcc.arl")
    assert "ua does not say whether" in type_stilt(*command).complaint
    assert "--winds" in type_stilt(*command).complaint
    assert "winds" in type_stilt(*command, "--winds", "north").complaint
    assert not (tmp_path / "lcc.arl").exists()
    assert type_stilt(*command, "--winds", "earth").code == 0
    assert type_stilt("met", "info", tmp_path / "lcc.arl", "--verify").code == 0


def test_convert_and_run_from_netcdf(type_stilt, cli_project, data, tmp_path):
    """A project reads NetCDF as it reads ARL, and convert makes one of the other."""
    world = synthetic.uniform(
        levels=synthetic.pressure_levels(),
        grid=HorizontalGrid.latlon(-113.5, 39.5, 0.1, 0.1, 41, 33),
        start="2024-07-10T18:00",
        hours=4,
        flux=50.0,
    )
    above, below = data.era5(world)
    above.to_netcdf(tmp_path / "pl.nc")
    below.to_netcdf(tmp_path / "sfc.nc")
    both = (tmp_path / "pl.nc", tmp_path / "sfc.nc")
    said = type_stilt("met", "convert", *both, "--preset", "era5", "--out", tmp_path / "era5.arl")
    assert said.code == 0, said
    assert "21 pressure levels, 5 times" in said.out
    assert type_stilt("met", "info", tmp_path / "era5.arl", "--verify").code == 0
    refused = type_stilt("met", "convert", *both, "--preset", "era6", "--out", tmp_path / "x.arl")
    assert "preset" in refused.complaint
    config = cli_project / "config.yaml"
    lines = config.read_text().splitlines()
    lines[1] = f"  era5: {{source: xarray, path: '{tmp_path}/*.nc', preset: era5}}"
    config.write_text("\n".join(lines) + "\n")
    checked = type_stilt("check", cli_project)
    assert checked.code == 0, checked
    assert "met 'era5'" in checked.out
    said = type_stilt("run", cli_project)
    assert said.code == 0, said
    assert "3 run" in said.out
