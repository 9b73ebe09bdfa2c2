"""Footprint times flux is ppm, or a refusal that says why not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from numpy.testing import assert_allclose

from stilt.errors import FootprintError
from stilt.footprint import Footprint, calc_footprint
from stilt.footprint.enhancement import flux_factor, flux_intervals
from stilt.receptors import PointReceptor
from stilt.spatial import Grid

GRID = Grid(xmin=-4, xmax=-2, ymin=39, ymax=41, xres=0.1, yres=0.1)
UTM = Grid(xmin=-4, xmax=-2, ymin=39, ymax=41, xres=5000, yres=5000, projection="EPSG:32630")


def footprint_at(minute: int = 0, grid: Grid = GRID, **options: object) -> Footprint:
    rng = np.random.default_rng(6)
    time = np.repeat(np.arange(1.0, 121.0), 8)
    table = {
        "time": -time,
        "indx": np.tile(np.arange(8), 120),
        "long": -3 + rng.normal(0, 0.2, time.size),
        "lati": 40 + rng.normal(0, 0.2, time.size),
        "foot": 1e-3 * rng.random(time.size),
    }
    receptor = PointReceptor(f"2023-01-01 12:{minute:02d}", -3.0, 40.0, 5.0)
    return calc_footprint(table, grid, receptor=receptor, **options)


def flux_on(
    grid: Grid = GRID, hours: int = 0, units: str | None = "umol m-2 s-1", start: str = "2023-01-01 08:00"
) -> xr.DataArray:
    lat, lon = grid.y_centers(), grid.x_centers()
    rng = np.random.default_rng(7)
    attrs = {} if units is None else {"units": units}
    if not hours:
        return xr.DataArray(
            rng.random((lat.size, lon.size)),
            dims=("lat", "lon"),
            coords={"lat": lat, "lon": lon},
            attrs=attrs,
        )
    times = pd.date_range(start, periods=hours, freq="1h")
    values = rng.random((hours, lat.size, lon.size))
    return xr.DataArray(
        values, dims=("time", "lat", "lon"), coords={"time": times, "lat": lat, "lon": lon}, attrs=attrs
    )


def test_a_static_flux_counts_for_all_hours():
    """The sum over cells and hours of footprint times flux."""
    footprint, flux = footprint_at(), flux_on()
    expected = (footprint.data.values.sum(axis=0) * flux.values).sum()
    assert_allclose(footprint.enhancement(flux), expected, rtol=1e-12)
    assert_allclose(footprint_at(time_integrate=True).enhancement(flux), expected, rtol=1e-12)
    assert_allclose(footprint.enhancement(flux.transpose("lon", "lat")), expected, rtol=1e-12)


def test_an_hourly_flux_counts_hour_by_hour():
    """Labels of both are starts of hours."""
    footprint, flux = footprint_at(), flux_on(hours=6)
    expected = (footprint.data.values * flux.sel(time=footprint.data.time).values).sum()
    assert_allclose(footprint.enhancement(flux), expected, rtol=1e-12)


def test_hours_from_half_past_take_half_of_each_clock_hour():
    """A receptor at 12:30 sees the mean of two hours of flux in each of its layers."""
    footprint, flux = footprint_at(30), flux_on(hours=6)
    means = [
        flux.sel(time=slice(f"2023-01-01 {h}:00", f"2023-01-01 {h + 1}:00")).mean("time").values
        for h in (10, 11)
    ]
    assert_allclose(footprint.enhancement(flux), (footprint.data.values * np.stack(means)).sum(), rtol=1e-12)


def test_three_hourly_fluxes_hold_for_three_hours():
    """An interval lasts until the next time; the last one as long as the one before."""
    flux = flux_on(hours=6).isel(time=[0, 3])
    footprint = footprint_at()
    expected = (footprint.data.values * np.stack([flux.values[0], flux.values[1]])).sum()
    assert_allclose(footprint.enhancement(flux), expected, rtol=1e-12)


def test_a_larger_flux_map_is_matched_whichever_way_longitudes_count():
    """More cells, descending latitudes, longitudes from 0, float32 coordinates: the same cells are found."""
    wide = Grid(xmin=-6, xmax=0, ymin=37, ymax=43, xres=0.1, yres=0.1)
    flux = flux_on(wide)
    footprint = footprint_at()
    inner = flux.sel(lat=footprint.data.lat, lon=footprint.data.lon, method="nearest").values
    expected = (footprint.data.values.sum(axis=0) * inner).sum()
    assert_allclose(footprint.enhancement(flux), expected, rtol=1e-12)
    turned = flux.isel(lat=slice(None, None, -1)).assign_coords(lon=(flux.lon + 360.0).astype(np.float32))
    assert_allclose(footprint.enhancement(turned), expected, rtol=1e-12)
    renamed = flux.rename(lat="latitude", lon="longitude")
    assert_allclose(footprint.enhancement(renamed), expected, rtol=1e-12)


def test_other_cells_need_a_word():
    """Cells that differ are refused; regridding sums the footprint over those of the flux."""
    footprint = footprint_at()
    coarse = flux_on(Grid(xmin=-5, xmax=-1, ymin=38, ymax=42, xres=0.25, yres=0.25))
    with pytest.raises(FootprintError, match="regrid="):
        footprint.enhancement(coarse)
    expected = (footprint.aggregate(coarse).sum("time").values * coarse.values).sum()
    assert_allclose(footprint.enhancement(coarse, regrid="conservative"), expected, rtol=1e-12)
    uniform = coarse.copy(data=np.full(coarse.shape, 2.0))
    assert_allclose(
        footprint.enhancement(uniform, regrid="conservative"), 2 * footprint.data.sum(), rtol=1e-12
    )
    shifted = flux_on().assign_coords(lon=GRID.x_centers() + 0.05)
    with pytest.raises(FootprintError, match=r"not those of the footprint|shifted"):
        footprint.enhancement(shifted)
    utm = footprint_at(grid=UTM)
    with pytest.raises(FootprintError, match="EPSG:32630"):
        utm.enhancement(uniform)
    assert_allclose(utm.enhancement(uniform, regrid="conservative"), 2 * utm.data.sum(), rtol=1e-9)


def test_influence_where_the_flux_is_unknown_is_refused():
    """Outside its cells, outside its hours, or NaN: an error with the share, or zero when asked for."""
    footprint, flux = footprint_at(), flux_on()
    ocean = flux.where(flux.lon < -3.0)
    for unknown in (ocean, flux.isel(lon=slice(0, 10))):
        with pytest.raises(FootprintError, match="% of the influence lies where the flux is unknown"):
            footprint.enhancement(unknown)
        west = (footprint.data.values.sum(axis=0) * flux.values)[:, :10].sum()
        assert_allclose(footprint.enhancement(unknown, missing="zero"), west, rtol=1e-12)
    late = flux_on(hours=3, start="2023-01-01 11:00")
    with pytest.raises(FootprintError, match="unknown"):
        footprint.enhancement(late)
    expected = (footprint.data.values[1] * late.values[0]).sum()
    assert_allclose(footprint.enhancement(late, missing="zero"), expected, rtol=1e-12)
    nowhere = flux.where(footprint.data.sum("time").values > 0)
    assert_allclose(footprint.enhancement(nowhere), footprint.enhancement(flux))


@pytest.mark.parametrize(
    ("units", "factor"),
    [
        ("umol m-2 s-1", 1.0), ("µmol m⁻² s⁻¹", 1.0), ("μmol/m2/s", 1.0), ("micromol m^-2 s^-1", 1.0),
        ("umol/(m^2 s)", 1.0), ("umol m**-2 s**-1", 1.0), ("umol CO2 m-2 s-1", 1.0),
        ("micromoles(CO2)/m2/s", 1.0),
        ("mol m-2 s-1", 1e6), ("mmol m-2 s-1", 1e3), ("nmol s-1 m-2", 1e-3),
    ],
)  # fmt: skip
def test_units_are_understood(units, factor):
    """Any usual spelling of moles per square metre and second."""
    assert flux_factor(xr.DataArray(1.0, attrs={"units": units})) == factor


@pytest.mark.parametrize(
    "units",
    [
        "kg m-2 s-1",
        "umol m-2",
        "umol m-2 h-1",
        "gC m-2 day-1",
        "1",
        "ppm",
        "umol m2 s-1",
        "umol m-2 s-1 %",
        None,
        "",
    ],
)
def test_other_units_are_refused(units):
    """Mass, other times and no units at all, with what to do."""
    with pytest.raises(FootprintError, match="umol m-2 s-1"):
        footprint_at().enhancement(flux_on(units=units))


def test_times_that_make_no_sense_are_refused():
    """One time, descending times, numbers instead of dates, hours with an integrated footprint."""
    flux = flux_on(hours=6)
    for wrong, message in (
        (flux.isel(time=[0]), "one time"),
        (flux.isel(time=slice(None, None, -1)), "do not ascend"),
        (flux.assign_coords(time=np.arange(6)), "decode"),
        (flux.expand_dims(sector=2), "dimensions"),
    ):
        with pytest.raises(FootprintError, match=message):
            footprint_at().enhancement(wrong)
    with pytest.raises(FootprintError, match="integrated over time"):
        footprint_at(time_integrate=True).enhancement(flux)


def test_an_empty_footprint_gives_nothing():
    """0 ppm, whatever the flux, as long as its units are right."""
    receptor = PointReceptor("2023-01-01 12:00", -3.0, 40.0, 5.0)
    particles = {"time": [-1.0], "indx": [1], "long": [50.0], "lati": [0.0], "foot": [1.0]}
    empty = calc_footprint(particles, GRID, receptor=receptor)
    assert empty.enhancement(flux_on()) == 0.0
    with pytest.raises(FootprintError, match="units"):
        empty.enhancement(flux_on(units=None))


def test_missing_hours_are_refused():
    """An hour that is not there is no reason to use the one before; ends that are given count."""
    flux, footprint = flux_on(hours=6), footprint_at()
    gap = flux.isel(time=[0, 1, 2, 4, 5])
    with pytest.raises(FootprintError, match="2023-01-01 10:00 to 2023-01-01 12:00"):
        footprint.enhancement(gap)
    ends = gap.time.values + np.timedelta64(1, "h")
    known = gap.assign_coords(time_end=("time", ends))
    with pytest.raises(FootprintError, match="unknown"):
        footprint.enhancement(known)
    full = flux.where(flux.time != gap.time.values[3] - np.timedelta64(1, "h"))
    assert footprint.enhancement(full, missing="zero") == footprint.enhancement(known, missing="zero")


def test_months_and_years_are_even():
    """Calendar months differ in length, and the last one ends where the next begins."""
    flux = flux_on(hours=3)
    for freq, end in (("MS", "2023-04-01"), ("QS", "2023-10-01"), ("YS", "2026-01-01")):
        months = flux.assign_coords(time=pd.date_range("2023-01-01", periods=3, freq=freq))
        bins = flux_intervals(months)
        assert bins.ends[-1] == np.datetime64(end)
        assert (bins.ends[:-1] == bins.starts[1:]).all()


def test_a_flux_in_another_projection_is_refused():
    """Whether an attribute or a CF grid mapping says so; the same projection in other words is fine."""
    pyproj = pytest.importorskip("pyproj")
    footprint = footprint_at(grid=UTM)
    y, x = footprint.data.y, footprint.data.x
    plain = xr.DataArray(
        np.ones((y.size, x.size)), coords={"y": y.values, "x": x.values}, dims=("y", "x"),
        attrs={"units": "umol m-2 s-1"},
    )  # fmt: skip
    total = footprint.data.sum().item()
    assert_allclose(footprint.enhancement(plain), total)
    for name in ("EPSG:32630", "+proj=utm +zone=30 +datum=WGS84", pyproj.CRS("EPSG:32630").to_wkt()):
        assert_allclose(footprint.enhancement(plain.assign_attrs(projection=name)), total)
    mapping = xr.DataArray(0, attrs=pyproj.CRS("EPSG:32630").to_cf())
    assert_allclose(footprint.enhancement(plain.assign_coords(spatial_ref=mapping)), total)
    other = xr.DataArray(0, attrs=pyproj.CRS("EPSG:32631").to_cf())
    for wrong in (
        plain.assign_attrs(projection="EPSG:32631"),
        plain.assign_coords(spatial_ref=other),
        plain.assign_coords(utm=other).assign_attrs(grid_mapping="utm"),
    ):
        with pytest.raises(FootprintError, match=r"zone 31N|32631"):
            footprint.enhancement(wrong)
    degrees = flux_on()
    assert footprint_at().enhancement(degrees.assign_attrs(projection="EPSG:4326")) > 0.0
    with pytest.raises(FootprintError, match="projection"):
        footprint_at().enhancement(degrees.assign_attrs(projection="EPSG:32630"))


def test_positions_of_every_cell_beside_the_axes_do_not_matter():
    """Projected products carry two-dimensional lat and lon; x and y are the axes."""
    footprint = footprint_at(grid=UTM)
    y, x = footprint.data.y.values, footprint.data.x.values
    field = np.ones((y.size, x.size))
    flux = xr.DataArray(
        field,
        coords={"y": y, "x": x, "lat": (("y", "x"), field), "lon": (("y", "x"), field)},
        dims=("y", "x"),
        attrs={"units": "umol m-2 s-1"},
    )
    assert_allclose(footprint.enhancement(flux), footprint.data.sum().item())
