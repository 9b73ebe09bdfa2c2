"""NetCDF and Zarr through xarray: the fields of an ARL file, whatever order, sign and unit they come in."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from stilt.config import MetConfig, TransportParams
from stilt.errors import (
    ConfigError,
    MetFormatError,
    MetIntervalError,
    MetNotFoundError,
    MetVariableError,
    MissingExtraError,
    UnsupportedSettingError,
)
from stilt.meteorology import synthetic
from stilt.meteorology.arl.file import ArlFile
from stilt.meteorology.catalog import open_series
from stilt.meteorology.convert import convert_to_arl
from stilt.meteorology.frame import Box
from stilt.meteorology.gridded.file import open_gridded
from stilt.meteorology.projection import HorizontalGrid
from stilt.meteorology.synthetic import Contents
from stilt.receptors import PointReceptor
from stilt.transport.measures import compare_ensembles
from stilt.transport.native.engine import NativeEngine
from stilt.transport.native.tiles import ColumnPool, TileCache
from stilt.transport.protocol import TransportRequest

_spec = importlib.util.spec_from_file_location("gridded_data", Path(__file__).with_name("gridded_data.py"))
data = importlib.util.module_from_spec(_spec)
sys.modules["gridded_data"] = data
_spec.loader.exec_module(data)

LATLON = HorizontalGrid.latlon(-112.0, 35.0, 0.25, 0.25, 41, 33)
SECANT = (33.0, 45.0)
TANGENT = round(data.cone_tangent(*SECANT), 4)
LAMBERT = HorizontalGrid.conformal(
    TANGENT, -100.0, 12.0, 41, 37, center_lat=39.0, center_lon=-99.0, ref_lat=SECANT[0]
)


@pytest.fixture(scope="module")
def swirl():
    """A vortex on pressure levels over a lat-lon grid, by day."""
    return synthetic.vortex(levels=synthetic.pressure_levels(), grid=LATLON, hours=4, flux=80.0)


@pytest.fixture(scope="module")
def sheared():
    """Wind that grows with height on sigma levels over a Lambert grid."""
    return synthetic.shear(grid=LAMBERT, hours=4, flux=80.0, contents=Contents(pres=True))


@pytest.fixture(scope="module")
def era5_files(swirl, tmp_path_factory):
    folder = tmp_path_factory.mktemp("era5")
    above, below = data.era5(swirl)
    above.to_netcdf(folder / "pl.nc")
    below.to_netcdf(folder / "sfc.nc")
    return folder


@pytest.fixture(scope="module")
def wrf_file(sheared, tmp_path_factory):
    path = tmp_path_factory.mktemp("wrf") / "wrfout_d01_2020-06-01"
    data.wrf(sheared, secant=SECANT).to_netcdf(path)
    return path


def era5_met(folder, **changes):
    return MetConfig(**{"source": "xarray", "path": str(folder / "*.nc"), "preset": "era5", **changes})


BOX = Box(3, 20, 5, 30)


def assert_fields(file, world, tolerance=0.0, period=2, box=BOX):
    """Compare all fields of a box with those of the world."""
    frame = file.decode(period, box, file.variables[0], file.variables[1])
    rows, columns = slice(box.y0, box.y1), slice(box.x0, box.x1)
    for fields, truth in (
        (frame.surface, world.frames[period].surface),
        (frame.upper, world.frames[period].upper),
    ):
        for name, values in fields.items():
            if name in truth:
                wanted = truth[name][..., rows, columns]
                scale = max(1.0, float(np.abs(wanted).max()))
                assert np.abs(values - wanted).max() <= tolerance * scale, name
    assert frame.time == world.times[period]


def test_era5_gives_the_fields_of_the_world(era5_files, swirl):
    """Descending latitudes, 0..360, levels from the top, Pa, geopotential, J m-2 downward: all undone."""
    file = open_gridded(era5_met(era5_files), "era5")
    assert_fields(file, swirl, 1e-6)
    assert set(file.variables[0]) == {"SHGT", "PRSS", "T02M", "U10M", "V10M", "USTR", "SHTF", "PBLH", "RGHS"}
    assert set(file.variables[1]) == {"TEMP", "UWND", "VWND", "WWND", "SPHU", "HGTS"}
    assert file.levels.heights == swirl.levels.heights
    x, y = file.grid.to_xy(*LATLON.to_lonlat([1.0, 41.0], [1.0, 33.0]))
    assert np.abs(x - [1, 41]).max() < 1e-6
    assert np.abs(y - [1, 33]).max() < 1e-6


def test_ascending_latitudes_and_minus_180_are_as_good(swirl, tmp_path):
    above, below = data.era5(swirl, descending=False, from_zero=False)
    above.to_netcdf(tmp_path / "a.nc")
    below.to_netcdf(tmp_path / "b.nc")
    assert_fields(open_gridded(era5_met(tmp_path), "era5"), swirl, 1e-6)


def test_zarr_is_read_like_netcdf(swirl, tmp_path):
    pytest.importorskip("zarr")
    above, below = data.era5(swirl)
    whole = xr.merge([above, below.rename({"z": "orog"})], compat="no_conflicts", join="outer")
    whole.to_zarr(tmp_path / "era5.zarr", zarr_format=2, consolidated=False)
    assert_fields(open_gridded(era5_met(tmp_path, path=str(tmp_path / "era5.zarr")), "era5"), swirl, 1e-6)


def test_wrf_is_destaggered_and_put_on_its_map(wrf_file, sheared):
    """Two true latitudes, another radius of the Earth, perturbation fields, potential temperature."""
    file = open_gridded(MetConfig(source="xarray", path=str(wrf_file), preset="wrf"), "wrf")
    assert_fields(file, sheared, 1e-5)
    assert {"TEMP", "UWND", "VWND", "DZDT", "SPHU", "PRES"} == set(file.variables[1])
    corners = np.array([1.0, 41.0, 1.0, 41.0]), np.array([1.0, 1.0, 37.0, 37.0])
    x, y = file.grid.to_xy(*LAMBERT.to_lonlat(*corners))
    assert np.abs(x - corners[0]).max() < 0.01
    assert np.abs(y - corners[1]).max() < 0.01


@pytest.fixture(scope="module")
def turning():
    """A vortex on sigma levels over a Lambert grid whose north is up to 6 degrees off its y axis."""
    grid = HorizontalGrid.lambert(40.0, -105.0, 12.0, 41, 37, center_lat=39.0, center_lon=-97.0)
    return synthetic.vortex(grid=grid, hours=3, flux=80.0, contents=Contents(pres=True))


@pytest.mark.parametrize("earth_relative", [False, True])
@pytest.mark.parametrize(("descending", "radius"), [(False, 6371200.0), (True, 6371229.0)])
def test_projected_data_keep_their_directions(turning, tmp_path, earth_relative, descending, radius):
    """Winds along the grid stay, winds to east and north are turned; rows may go south, Earths differ."""
    made = data.projected(turning, earth_relative=earth_relative, descending=descending, radius=radius)
    made.to_netcdf(tmp_path / "lcc.nc")
    file = open_gridded(MetConfig(source="xarray", path=str(tmp_path / "lcc.nc")), "lcc")
    assert_fields(file, turning, 2e-6)
    assert {"UWND", "VWND", "WWND", "TEMP", "SPHU", "PRES"} == set(file.variables[1])
    assert {"U10M", "V10M", "T02M", "PRSS"} <= set(file.variables[0])
    assert file.levels.heights == turning.levels.heights
    corners = np.array([1.0, 41.0, 1.0, 41.0]), np.array([1.0, 1.0, 37.0, 37.0])
    x, y = file.grid.to_xy(*turning.grid.to_lonlat(*corners))
    assert max(np.abs(x - corners[0]).max(), np.abs(y - corners[1]).max()) < 1e-5
    # one component alone, over a box, is that of the whole
    some = file.decode(1, Box(5, 9, 6, 11), (), ("VWND",)).upper["VWND"]
    whole = file.decode(1, Box(0, 41, 0, 37), (), ("UWND", "VWND")).upper["VWND"]
    np.testing.assert_array_equal(some, whole[:, 6:11, 5:9])


def test_directions_that_are_not_said_are_not_guessed(turning, tmp_path):
    made = data.projected(turning, earth_relative=True)
    for name in ("uu", "vv", "uas", "vas"):
        del made[name].attrs["standard_name"]
    made = made.rename(uu="ua", vv="va")
    made.to_netcdf(tmp_path / "lcc.nc")
    met = MetConfig(source="xarray", path=str(tmp_path / "lcc.nc"))
    with pytest.raises(MetFormatError, match=r"ua does not say whether .* give winds: grid or winds: earth"):
        open_gridded(met, "lcc")
    assert_fields(open_gridded(met.replace(winds="earth"), "lcc"), turning, 2e-6)
    away = open_gridded(met.replace(winds="grid"), "lcc").decode(0, BOX, (), ("UWND",)).upper["UWND"]
    assert np.abs(away - turning.frames[0].upper["UWND"][:, 5:30, 3:20]).max() > 0.1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda made: made["crs"].attrs.update(grid_mapping_name="rotated_latitude_longitude"),
            "of projections",
        ),
        (
            lambda made: made["crs"].attrs.update(earth_radius=6400000.0),
            "latitudes and longitudes put points up to .* cells apart",
        ),
        (lambda made: made["x"].attrs.pop("units"), "x has no units; x and y of a projection"),
        (lambda made: made["x"].attrs.update(units="degrees"), "x has units 'degrees'"),
        (
            lambda made: made["crs"].attrs.pop("longitude_of_central_meridian"),
            "has no longitude_of_central_meridian",
        ),
        (lambda made: made["crs"].attrs.clear(), "not understood"),
    ],
)
def test_a_projection_that_cannot_be_read_is_refused(turning, tmp_path, change, message):
    made = data.projected(turning, earth_relative=False)
    change(made)
    made.to_netcdf(tmp_path / "lcc.nc")
    with pytest.raises(MetFormatError, match=message):
        open_gridded(MetConfig(source="xarray", path=str(tmp_path / "lcc.nc")), "lcc")


def test_cells_that_are_not_square_are_refused(turning, tmp_path):
    made = data.projected(turning, earth_relative=False)
    made = made.assign_coords(x=made["x"] * 2.0)
    made["x"].attrs = {"units": "m", "standard_name": "projection_x_coordinate"}
    made.to_netcdf(tmp_path / "lcc.nc")
    with pytest.raises(MetFormatError, match="square cells"):
        open_gridded(MetConfig(source="xarray", path=str(tmp_path / "lcc.nc")), "lcc")


def test_sigma_levels_make_their_pressure(turning, tmp_path):
    made = data.projected(turning, earth_relative=False).drop_vars("press")
    made["ptop"] = ((), 5000.0, {"units": "Pa"})
    made.to_netcdf(tmp_path / "lcc.nc")
    file = open_gridded(MetConfig(source="xarray", path=str(tmp_path / "lcc.nc")), "lcc")
    frame = file.decode(0, BOX, ("PRSS",), ("PRES",))
    sigma = np.array(file.levels.heights[1:])[:, None, None]
    np.testing.assert_allclose(frame.upper["PRES"], 50.0 + sigma * (frame.surface["PRSS"] - 50.0), rtol=1e-6)


def plain_cf(world):
    """The same data under names of their own, known by standard names only."""
    above, below = data.era5(world)
    above = above.rename({"valid_time": "time", "pressure_level": "plev", "t": "temp", "u": "uu", "v": "vv"})
    below = below.rename({"valid_time": "time", "sp": "psurf", "sshf": "heat"})
    below["heat"] = below["heat"] / 3600.0
    below["heat"].attrs = {"units": "W m-2", "standard_name": "surface_downward_sensible_heat_flux"}
    below["z"].attrs["standard_name"] = "surface_altitude"
    above["w"].attrs["units"] = "Pa s-1"
    return above, below


@pytest.fixture
def write(tmp_path):
    """Write two datasets and name them as a section."""

    def write_them(above, below, **changes):
        folder = tmp_path / f"{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        above.to_netcdf(folder / "above.nc")
        below.to_netcdf(folder / "below.nc")
        return MetConfig(**{"source": "xarray", "path": str(folder / "*.nc"), **changes})

    return write_them


def test_cf_data_are_known_by_their_standard_names(swirl, write):
    """Names say nothing, attributes do; a downward flux is turned."""
    assert_fields(open_gridded(write(*plain_cf(swirl)), "cf"), swirl, 1e-6)


def test_upward_velocity_is_not_omega(swirl, write):
    """A w in m s-1 becomes DZDT."""
    above, below = plain_cf(swirl)
    above["w"] = (above["w"] * 0.0).assign_attrs(units="m s-1", standard_name="upward_air_velocity")
    file = open_gridded(write(above, below), "cf")
    assert "DZDT" in file.variables[1]
    assert "WWND" not in file.variables[1]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda a, b: a["temp"].attrs.pop("units"), MetFormatError, "temp has no units; add the attribute"),
        (
            lambda a, b: a["temp"].attrs.update(units="Pa"),
            MetFormatError,
            "units 'Pa', which are not those of a temp",
        ),
        (lambda a, b: a["plev"].attrs.pop("units"), MetFormatError, "plev has no units"),
        (
            lambda a, b: b["heat"].attrs.update(units="J m-2"),
            MetFormatError,
            "heat is accumulated .*give hours",
        ),
        (lambda a, b: a["w"].attrs.update(units="m"), MetVariableError, None),
    ],
)
def test_what_is_not_said_is_not_guessed(swirl, write, change, error, message):
    above, below = plain_cf(swirl)
    change(above, below)
    met = write(above, below)
    if message is None:
        assert "WWND" not in open_gridded(met, "cf").variables[1]
        return
    with pytest.raises(error, match=message):
        open_gridded(met, "cf")


def test_the_configuration_says_what_attributes_do_not(swirl, write):
    """Name, units, direction and hours of accumulation."""
    above, below = plain_cf(swirl)
    above["temp"].attrs.clear()
    below["heat"].attrs = {"units": "J m-2"}
    below["heat"] = below["heat"].copy(data=below["heat"].values * 7200.0)
    below = below.rename(heat="h")
    variables = {
        "TEMP": {"name": "temp", "units": "K"},
        "SHTF": {"name": "h", "positive": "down", "hours": 2, "units": "J m-2"},
    }
    file = open_gridded(write(above, below, variables=variables), "cf")
    assert_fields(file, swirl, 1e-6)
    with pytest.raises(MetVariableError, match="no file has the variable 'nothing' named for TEMP"):
        open_gridded(write(above, below, variables={**variables, "TEMP": "nothing"}), "cf")
    with pytest.raises(MetFormatError, match="in which direction it counts"):
        open_gridded(
            write(above, below, variables={"SHTF": {"name": "h", "hours": 2}, "TEMP": variables["TEMP"]}),
            "cf",
        )


def test_bad_data_end_with_one_sentence(swirl, write, tmp_path):
    above, below = plain_cf(swirl)
    met = write(above.isel(latitude=[0, 1, 3, 4, 9]), below.isel(latitude=[0, 1, 3, 4, 9]))
    with pytest.raises(MetFormatError, match=r"latitude does not have even steps .* remap"):
        open_gridded(met, "cf")
    above["uu"].values[0, 0, 0, 0] = np.nan
    file = open_gridded(write(above, below), "cf")
    with pytest.raises(MetFormatError, match="uu has 1 missing values at 2020-06-01T00:00:00 UTC"):
        file.decode(0, Box(0, 41, 0, 33), (), ("UWND",))
    (tmp_path / "empty.nc").write_bytes(b"")
    with pytest.raises(MetFormatError, match=r"empty.nc is empty \(0 bytes\)"):
        open_gridded(met.replace(path=str(tmp_path / "empty.nc")), "cf")
    (tmp_path / "other.nc").write_bytes(b"CDF?? something else")
    with pytest.raises(MetFormatError, match="cannot be read by xarray"):
        open_gridded(met.replace(path=str(tmp_path / "other.nc")), "cf")
    with pytest.raises(MetNotFoundError, match="nothing is called"):
        open_gridded(met.replace(path=str(tmp_path / "*.grib")), "cf")
    with pytest.raises(MissingExtraError, match="engine 'nonsense' is not installed"):
        open_gridded(met.replace(path=str(tmp_path / "other.nc"), engine="nonsense"), "cf")


def test_a_file_that_changes_while_in_use_is_noticed(swirl, write, tmp_path):
    file = open_gridded(write(*plain_cf(swirl)), "cf")
    with (tmp_path / "0" / "below.nc").open("ab") as stream:
        stream.write(b"more")
    with pytest.raises(MetFormatError, match="has changed while it was in use"):
        file.decode(0, Box(0, 5, 0, 5), ("PRSS",), ())


def test_an_hour_in_two_files_is_read_from_the_first(era5_files, swirl, tmp_path):
    for name in ("pl.nc", "sfc.nc"):
        with xr.open_dataset(era5_files / name) as whole:
            whole.isel(valid_time=slice(0, 3)).to_netcdf(tmp_path / f"a_{name}")
            whole.isel(valid_time=slice(2, 5)).to_netcdf(tmp_path / f"b_{name}")
    file = open_gridded(era5_met(tmp_path), "era5")
    assert file.times.tolist() == swirl.times.tolist()
    assert_fields(file, swirl, 1e-6, period=2)
    assert_fields(file, swirl, 1e-6, period=4)


def test_an_hour_that_is_missing_is_a_gap(era5_files, tmp_path):
    for name in ("pl.nc", "sfc.nc"):
        with xr.open_dataset(era5_files / name) as whole:
            whole.isel(valid_time=[0, 1, 2, 4]).to_netcdf(tmp_path / name)
    span = {"start": np.datetime64("2020-06-01T01:30"), "end": np.datetime64("2020-06-01T03:30")}
    with pytest.raises(MetIntervalError, match="has a gap: 2020-06-01 02:00 is followed by 2020-06-01 04:00"):
        open_series(era5_met(tmp_path), name="era5", **span)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda data: data.assign_coords(longitude=data["longitude"] + 1.0), "grids"),
        (lambda data: data.isel(longitude=slice(0, 30)), "grids"),
        (lambda data: data.isel(latitude=slice(None, None, -1)), "directions of rows and columns"),
    ],
)
def test_two_grids_at_one_path_are_refused(era5_files, tmp_path, change, what):
    """Also where rows go north in one file and south in the other, or a box was moved by a degree."""
    with xr.open_dataset(era5_files / "pl.nc") as above, xr.open_dataset(era5_files / "sfc.nc") as below:
        above.to_netcdf(tmp_path / "pl.nc")
        made = change(below)
        if "longitude" in made and not made["longitude"].attrs:
            made["longitude"].attrs = below["longitude"].attrs
        made.to_netcdf(tmp_path / "sfc.nc")
    with pytest.raises(MetFormatError, match=rf"met 'era5' mixes {what}: .*pl.nc and .*sfc.nc differ"):
        open_gridded(era5_met(tmp_path), "era5")


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"source": "xarray"}, "source xarray needs path"),
        ({"directory": "met", "path": "x.nc"}, "path belongs to source xarray"),
        ({"directory": "met", "preset": "wrf"}, "preset belongs to source xarray"),
        (
            {"source": "xarray", "path": "x", "variables": {"TMEP": "t"}},
            "unknown field 'TMEP', did you mean 'TEMP'",
        ),
    ],
)
def test_settings_that_do_not_go_together_are_refused(section, message):
    with pytest.raises(ConfigError, match=message):
        MetConfig(**section)


def receptor_of(name, height=300.0):
    lon, lat = (-107.4, 38.6) if "era5" in name else (-99.0, 38.9)
    return PointReceptor("2020-06-01 04:00", lon, lat, height)


def run(met, cache, height=300.0, **settings):
    params = TransportParams(**{"n_hours": -3, "numpar": 100, "nturb": 1, **settings})
    receptor = receptor_of(cache.name, height)
    request = TransportRequest(receptor, "m", met, params)
    return NativeEngine(ColumnPool(TileCache(cache))).run(request).particles


def distance_km(a, b):
    east = (a["long"] - b["long"]) * np.cos(np.radians(a["lati"]))
    return 111.2 * np.hypot(east, a["lati"] - b["lati"]).max()


def test_particles_go_the_same_way_through_netcdf_and_through_arl(era5_files, wrf_file, tmp_path):
    """
    Without turbulence, three hours: apart by no more than packing to one byte explains.

    Winds of this world are packed to 0.02 m/s and less; times three hours that is 0.2 km.
    """
    for name, met in (
        ("era5", era5_met(era5_files)),
        ("wrf", MetConfig(source="xarray", path=str(wrf_file), preset="wrf")),
    ):
        source = open_gridded(met, name)
        arl = convert_to_arl(source, tmp_path / f"{name}.arl")
        written = ArlFile(arl)
        written.verify()
        assert written.times.tolist() == source.times.tolist()
        a = run(met, tmp_path / f"{name}-xarray")
        b = run((arl,), tmp_path / f"{name}-arl")
        assert len(a) == len(b) == 180 * 100
        moved = 111.2 * np.hypot(np.ptp(a["long"]) * 0.78, np.ptp(a["lati"]))
        assert moved > 10.0
        assert distance_km(a, b) < 0.2
        assert np.abs(a["zagl"] - b["zagl"]).max() < 5.0


def test_known_winds_carry_particles_where_they_should(wrf_file, tmp_path):
    """Shear of 0.005 per second above 2 m/s: at 300 m three hours back are 38 km, as on the map."""
    table = run(MetConfig(source="xarray", path=str(wrf_file), preset="wrf"), tmp_path / "cache")
    end = table[table["time"] == -180].iloc[0]
    x, _ = LAMBERT.to_xy([-99.0, end["long"]], [38.9, end["lati"]])
    gx, _ = LAMBERT.spacing(x.mean(), 18.0)
    travelled = float((x[0] - x[1]) * gx)
    assert travelled == pytest.approx((2.0 + 0.005 * 300.0) * 3 * 3600, rel=0.03)


def test_a_series_reads_only_the_times_it_needs(era5_files):
    met = era5_met(era5_files)
    span = {"start": np.datetime64("2020-06-01T01:30"), "end": np.datetime64("2020-06-01T02:30")}
    series = open_series(met, name="era5", **span)
    assert [str(time)[11:13] for time in series.times] == ["01", "02", "03"]
    assert series.interval == 60
    assert series.identity(0) != series.identity(1)


def test_the_hysplit_engine_says_that_it_needs_arl_files(era5_files):
    from stilt.transport.hysplit.engine import _series

    receptor = PointReceptor("2020-06-01 04:00", -107.4, 38.6, 300.0)
    request = TransportRequest(receptor, "era5", era5_met(era5_files), TransportParams(n_hours=-1))
    with pytest.raises(UnsupportedSettingError, match=r"met 'era5': source xarray .*stilt met convert"):
        _series(request)


@pytest.mark.slow
def test_ensembles_through_netcdf_and_through_arl_are_two_seeds_of_one(era5_files, wrf_file, tmp_path):
    """With turbulence: as far from runs through packed ARL files as another of their seeds."""
    for name, met in (
        ("era5", era5_met(era5_files)),
        ("wrf", MetConfig(source="xarray", path=str(wrf_file), preset="wrf")),
    ):
        arl = convert_to_arl(open_gridded(met, name), tmp_path / f"{name}.arl")
        settings = {"height": 50.0, "numpar": 300, "nturb": 0}
        reference = [run((arl,), tmp_path / f"{name}-arl", seed=seed, **settings) for seed in (1, 2, 3, 4)]
        scores = [
            [
                compare_ensembles(
                    run(each, tmp_path / f"{name}-{how}", seed=seed, **settings),
                    reference,
                    receptor_of(name, 50.0),
                ).overall
                for seed in (7, 8, 9)
            ]
            for how, each in (("nc", met), ("arl", (arl,)))
        ]
        print(name, "scores through NetCDF, through ARL", scores)
        assert np.mean(scores[0]) <= 1.5
        # each seed stands where it stands through the ARL file
        np.testing.assert_allclose(scores[0], scores[1], atol=0.1)


# --- model levels, and GRIB


@pytest.fixture(scope="module")
def hybrid_shear():
    """Wind that grows with height, u = 2 + 0.005 z, on hybrid levels with offsets."""
    world = synthetic.shear(
        grid=LATLON, levels=synthetic.hybrid_levels(), hours=4, flux=80.0, contents=Contents(pres=True)
    )
    assert any(height >= 1.0 for height in world.levels.heights[1:])
    return world


def assert_model_levels(met, world, tmp_path, tolerance):
    file = open_gridded(met, "era5ml")
    assert_fields(file, world, tolerance)
    assert "PRES" in file.variables[1]
    again = ArlFile(convert_to_arl(file, tmp_path / "ml.arl"))
    again.verify()
    for name, each in (("era5-nc", met), ("era5-arl", (again.path,))):
        table = run(each, tmp_path / name)
        end = table[table["time"] == -180].iloc[0]
        x, _ = LATLON.to_xy([-107.4, end["long"]], [38.6, 38.6])
        gx, _ = LATLON.spacing(x.mean(), 15.4)
        assert float((x[0] - x[1]) * gx) == pytest.approx((2.0 + 0.005 * 300.0) * 3 * 3600, rel=0.03)


def test_model_levels_carry_particles_where_they_should(hybrid_shear, tmp_path):
    """ECMWF's a and b with surface pressure: pressures to rounding, and 38 km in three hours at 300 m."""
    above, below = data.model_levels(hybrid_shear)
    above.to_netcdf(tmp_path / "ml.nc")
    below.to_netcdf(tmp_path / "sfc.nc")
    assert_model_levels(era5_met(tmp_path), hybrid_shear, tmp_path, 2e-6)
    above.drop_vars("hyam").to_netcdf(tmp_path / "bare.nc")
    bare = era5_met(tmp_path, path=[str(tmp_path / "bare.nc"), str(tmp_path / "sfc.nc")])
    with pytest.raises(MetFormatError, match="the pressure of its model levels is not given; add hyam"):
        open_gridded(bare, "era5")


@pytest.fixture
def write_grib():
    import pyproj  # noqa: F401 - before eccodes, whose PROJ would break it

    pytest.importorskip("eccodes", reason="cfgrib and eccodes are not installed")
    pytest.importorskip("cfgrib", reason="cfgrib and eccodes are not installed")
    return data.write_grib


@pytest.mark.parametrize("engine", ["cfgrib", None])
def test_grib_is_read_like_netcdf(swirl, write_grib, tmp_path, engine):
    """ERA5 on pressure levels as GRIB of 24 bits; no index files are left beside the data."""
    above, below = data.era5(swirl)
    write_grib(above, tmp_path / "pl.grib")
    write_grib(below, tmp_path / "sfc.grib")
    met = era5_met(tmp_path, path=str(tmp_path / "*.grib"), engine=engine)
    file = open_gridded(met, "era5")
    assert_fields(file, swirl, 1e-5)
    assert {"SHGT", "PRSS", "T02M", "U10M", "V10M", "USTR", "SHTF", "PBLH", "RGHS"} == set(file.variables[0])
    assert {"TEMP", "UWND", "VWND", "WWND", "SPHU", "HGTS"} == set(file.variables[1])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pl.grib", "sfc.grib"]


def test_grib_on_model_levels_brings_its_coefficients(hybrid_shear, write_grib, tmp_path):
    above, below = data.model_levels(hybrid_shear)
    write_grib(above, tmp_path / "ml.grib")
    write_grib(below, tmp_path / "sfc.grib")
    met = era5_met(tmp_path, path=str(tmp_path / "*.grib"), engine="cfgrib")
    assert_model_levels(met, hybrid_shear, tmp_path, 2e-5)


@pytest.mark.parametrize("earth_relative", [False, True])
def test_grib_says_itself_where_its_winds_point(turning, write_grib, tmp_path, earth_relative):
    """As HRRR's: cfgrib calls every u eastward_wind, the message may say that it lies along the grid."""
    world = synthetic.vortex(grid=turning.grid, levels=synthetic.pressure_levels(), hours=1)
    for number, path in enumerate(("upper.grib2", "surface.grib2")):
        data.write_lambert_grib(world, tmp_path / path, earth_relative=earth_relative, surface=bool(number))
    file = open_gridded(MetConfig(source="xarray", path=str(tmp_path / "*.grib2")), "lambert")
    assert {"UWND", "VWND"} <= set(file.variables[1])
    assert_fields(file, world, 1e-5, period=1)


def test_grib_and_projections_live_in_one_process(hybrid_shear, write_grib, tmp_path):
    """Eccodes brings a PROJ of its own; a process of its own shows what it does to pyproj, and its end."""
    _, below = data.era5(hybrid_shear)
    write_grib(below, tmp_path / "sfc.grib")
    code = (
        "import sys; from stilt.meteorology.gridded import datasets as d\n"
        "assert 'pyproj' not in sys.modules; d.open_dataset(sys.argv[1], None)\n"
        "import pyproj; print(pyproj.CRS.from_epsg(4326).name)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "sfc.grib")], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout.strip()) == (0, "WGS 84"), ended.stderr


def test_grib_of_several_kinds_in_one_file_says_to_split_it(swirl, write_grib, tmp_path):
    above, below = data.era5(swirl)
    write_grib(above[["t"]], tmp_path / "a.grib")
    write_grib(below[["z"]], tmp_path / "b.grib")
    write_grib(above[["z"]], tmp_path / "c.grib")
    both = tmp_path / "both.grib"
    both.write_bytes(b"".join((tmp_path / f"{name}.grib").read_bytes() for name in "abc"))
    with pytest.raises(MetFormatError, match=r"both.grib (holds several kinds|cannot be read)"):
        open_gridded(era5_met(tmp_path, path=str(both), engine="cfgrib"), "era5")
