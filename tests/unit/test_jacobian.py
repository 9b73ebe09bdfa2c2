"""The Jacobian of a project: rows for all observations, labelled columns, the forms other packages take."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from numpy.testing import assert_allclose

from stilt.collections import FootprintCollection, Simulations
from stilt.errors import FootprintError, ProjectError
from stilt.footprint import Footprint, Jacobian, calc_footprint
from stilt.manifest import Manifest
from stilt.model import Model
from stilt.receptors import PointReceptor
from stilt.spatial import Grid
from stilt.storage import LocalStore
from stilt.storage.layout import empty_key, footprint_key

GRID = Grid(xmin=-113, xmax=-111, ymin=40, ymax=42, xres=0.1, yres=0.1)
COARSE = Grid(xmin=-114, xmax=-110, ymin=39, ymax=43, xres=1, yres=1)
RECEPTORS = [PointReceptor(f"2023-01-01 {hour}:30", -112.0, 41.0, 5.0) for hour in (12, 13, 14, 15)]
EMPTY = RECEPTORS[1]


def drift(receptor: PointReceptor, **options: object) -> Footprint:
    rng = np.random.default_rng(receptor.time.hour)
    time = np.repeat(np.arange(1.0, 121.0), 6)
    table = {
        "time": -time,
        "indx": np.tile(np.arange(6), 120),
        "long": -112 + rng.normal(0, 0.2, time.size),
        "lati": 41 + rng.normal(0, 0.2, time.size),
        "foot": rng.random(time.size) * (receptor != EMPTY),
    }
    return calc_footprint(table, GRID, receptor=receptor, name="slv", **options)


def write(store: LocalStore, receptor: PointReceptor, **options: object) -> None:
    footprint = drift(receptor, **options)
    sim_id = f"hrrr_{receptor.id}"
    if footprint.is_empty:
        store.write(empty_key(sim_id, "slv"), footprint.empty_marker())
    else:
        store.write(footprint_key(sim_id, "slv"), footprint.to_bytes())


@pytest.fixture
def collection(tmp_path):
    store = LocalStore(tmp_path)
    Manifest(store).register_receptors(RECEPTORS, ["hrrr"], footprints=["slv"])
    for receptor in RECEPTORS:
        write(store, receptor)
    return FootprintCollection(Simulations(store), "slv")


@pytest.fixture
def matrix(collection) -> Jacobian:
    return collection.jacobian(COARSE)


def test_rows_are_observations_and_empty_ones_are_zeros(matrix):
    """Every simulation has a row, in id order; that of an empty footprint holds nothing."""
    assert matrix.obs == [f"hrrr_{receptor.id}" for receptor in RECEPTORS]
    assert np.diff(matrix.indptr).tolist()[1] == 0
    assert matrix.rows.name == "obs"
    sums = matrix.to_scipy().sum(axis=1)
    assert_allclose(sums, [drift(receptor).data.sum() for receptor in RECEPTORS], rtol=1e-6)


def test_columns_are_clock_hours_and_cells(matrix):
    """Hours from the first to the last influence; receptors at half past share theirs among two."""
    assert [str(t)[11:16] for t in matrix.starts] == ["10:00", "11:00", "12:00", "13:00", "14:00", "15:00"]
    assert matrix.columns.names == ["time", "lat", "lon"]
    assert matrix.shape == (4, 6 * 16) == (4, len(matrix.columns))
    expected = drift(RECEPTORS[0]).aggregate(COARSE, "1h")
    first = matrix.to_frame().iloc[0]
    for when in expected.time.values:
        ours = first.xs(pd.Timestamp(when), level="time").to_numpy()
        assert_allclose(ours, expected.sel(time=when).values.ravel(), rtol=1e-6)


def test_all_forms_hold_the_same_numbers(matrix):
    """scipy, a dense table, a long series, a sparse xarray."""
    dense = matrix.to_scipy().toarray()
    frame = matrix.to_frame()
    assert (frame.to_numpy() == dense).all()
    series = matrix.to_series()
    assert series.index.names == ["obs", "time", "lat", "lon"]
    assert (series == frame.stack(["time", "lat", "lon"], future_stack=True).loc[series.index]).all()
    sparse = pytest.importorskip("sparse")
    labelled = matrix.to_xarray()
    assert isinstance(labelled.data, sparse.COO)
    assert labelled.dims == ("obs", "time", "lat", "lon")
    assert (labelled.data.todense().reshape(4, -1) == dense).all()
    assert "4 observations x 96" in repr(matrix)


def test_fluxes_give_enhancements(matrix, collection):
    """The product is that of each footprint with the flux; labels are matched, units converted."""
    values = np.random.default_rng(1).random((6, 4, 4))
    flux = xr.DataArray(
        values,
        dims=("time", "lat", "lon"),
        coords={"time": matrix.starts, "lat": COARSE.y_centers(), "lon": COARSE.x_centers()},
        attrs={"units": "umol m-2 s-1"},
    )
    ours = matrix.dot(flux)
    expected = [each.enhancement(flux, regrid="conservative") for each in collection.load()]
    assert_allclose(ours, expected, rtol=1e-6)
    assert ours.index.tolist() == matrix.obs
    assert_allclose(matrix.dot(values), ours)
    assert_allclose(matrix.dot(values.ravel()), matrix.to_scipy() @ values.ravel())
    assert_allclose(
        matrix.dot((flux / 1e3).assign_attrs(units="mmol m-2 s-1").isel(lat=slice(None, None, -1))), ours
    )
    assert_allclose(matrix.dot(np.full((4, 4), 2.0)), 2 * matrix.to_scipy().sum(axis=1))
    with pytest.raises(FootprintError, match="3 numbers"):
        matrix.dot([1, 2, 3])
    with pytest.raises(FootprintError, match="not known"):
        matrix.dot(flux.isel(time=slice(0, 2)))


def test_time_bins_and_cells_are_free(collection):
    """Days, edges, the footprints' own cells, polygons."""
    total = sum(drift(receptor).data.sum().item() for receptor in RECEPTORS)
    daily = collection.jacobian(None, "1D")
    assert daily.shape == (4, 400)
    assert_allclose(daily.data.sum(), total, rtol=1e-6)
    edges = collection.jacobian(COARSE, ["2023-01-01 00:00", "2023-01-01 12:00", "2023-01-02 00:00"])
    assert edges.shape == (4, 32)
    assert_allclose(edges.data.sum(), total, rtol=1e-6)
    pytest.importorskip("exactextract")
    shapely = pytest.importorskip("shapely")
    zones = collection.jacobian([shapely.box(-113, 40, -112, 42), shapely.box(-112, 40, -111, 42)], "1D")
    assert zones.columns.names == ["time", "zone"]
    assert_allclose(zones.data.sum(), total, rtol=1e-6)


def test_integrated_footprints_have_one_bin(tmp_path):
    """Without hours there is one column for each cell."""
    store = LocalStore(tmp_path)
    Manifest(store).register_receptors(RECEPTORS, ["hrrr"], footprints=["slv"])
    for receptor in RECEPTORS:
        write(store, receptor, time_integrate=True)
    matrix = FootprintCollection(Simulations(store), "slv").jacobian(COARSE)
    assert matrix.shape == (4, 16)
    assert matrix.starts.size == 1


def test_a_flux_finer_than_the_bins_is_refused(collection):
    """A daily bin is no hour; the mean over it is taken when asked for."""
    daily = collection.jacobian(COARSE, "1D")
    hours = pd.date_range("2023-01-01", periods=24, freq="1h")
    rng = np.random.default_rng(2)
    flux = xr.DataArray(
        rng.random((24, 4, 4)),
        dims=("time", "lat", "lon"),
        coords={"time": hours, "lat": COARSE.y_centers(), "lon": COARSE.x_centers()},
        attrs={"units": "umol m-2 s-1"},
    )
    with pytest.raises(FootprintError, match=r"not the time bins.*time='mean'"):
        daily.dot(flux)
    mean = flux.mean("time", keep_attrs=True)
    assert_allclose(daily.dot(flux, time="mean"), daily.dot(mean), rtol=1e-12)
    with pytest.raises(FootprintError, match="not known"):
        daily.dot(flux.isel(time=slice(0, 20)), time="mean")
    with pytest.raises(FootprintError, match="time = 'nearest'"):
        daily.dot(flux, time="nearest")
    hourly = collection.jacobian(COARSE)
    coarser = flux.isel(time=slice(None, None, 3))
    with pytest.raises(FootprintError, match="not the time bins"):
        hourly.dot(coarser)
    assert_allclose(
        hourly.dot(coarser, time="mean"),
        [each.enhancement(coarser, regrid="conservative") for each in collection.load()],
        rtol=1e-6,
    )


def test_a_flux_on_other_cells_is_refused(matrix):
    """Cells are matched as for an enhancement, longitudes in either count."""

    def on(grid: Grid) -> xr.DataArray:
        return xr.DataArray(
            np.random.default_rng(3).random(grid.shape),
            dims=("lat", "lon"),
            coords={"lat": grid.y_centers(), "lon": grid.x_centers()},
            attrs={"units": "umol m-2 s-1"},
        )

    finer = Grid(xmin=-114, xmax=-110, ymin=39, ymax=43, xres=0.2, yres=0.2)
    with pytest.raises(FootprintError, match="not those of the footprint"):
        matrix.dot(on(finer))
    with pytest.raises(FootprintError, match=r"shifted|not those"):
        matrix.dot(on(COARSE).assign_coords(lon=COARSE.x_centers() + 0.3))
    flux = on(COARSE)
    assert_allclose(matrix.dot(flux.assign_coords(lon=flux.lon + 360.0)), matrix.dot(flux), rtol=1e-12)
    with pytest.raises(FootprintError, match="projection"):
        matrix.dot(flux.assign_attrs(projection="EPSG:32612"))
    with pytest.raises(FootprintError, match="dimensions"):
        matrix.dot(flux.expand_dims(sector=2))


def test_uneven_cells_are_matched_too(collection):
    """Columns of a target with edges of its own take a flux with the same centres."""
    x, y = np.array([-113.0, -112.2, -111.8, -111.0]), np.array([40.0, 40.5, 42.0])
    matrix = collection.jacobian((x, y), axes="edges")
    flux = xr.DataArray(
        np.random.default_rng(4).random((2, 3)),
        dims=("lat", "lon"),
        coords={"lat": matrix.coords["lat"][1], "lon": matrix.coords["lon"][1]},
        attrs={"units": "umol m-2 s-1"},
    )
    assert_allclose(matrix.dot(flux), matrix.dot(flux.values), rtol=1e-12)


def test_integrated_footprints_take_no_hourly_flux_and_no_finer_bins(tmp_path):
    """What an integrated footprint saw when is not known."""
    store = LocalStore(tmp_path)
    Manifest(store).register_receptors(RECEPTORS, ["hrrr"], footprints=["slv"])
    for receptor in RECEPTORS:
        write(store, receptor, time_integrate=True)
    footprints = FootprintCollection(Simulations(store), "slv")
    matrix = footprints.jacobian(COARSE)
    flux = xr.DataArray(
        np.ones((24, 4, 4)),
        dims=("time", "lat", "lon"),
        coords={
            "time": pd.date_range("2023-01-01", periods=24, freq="1h"),
            "lat": COARSE.y_centers(),
            "lon": COARSE.x_centers(),
        },
        attrs={"units": "umol m-2 s-1"},
    )
    with pytest.raises(FootprintError, match="not the time bins"):
        matrix.dot(flux)
    assert_allclose(matrix.dot(flux.isel(time=0, drop=True)), matrix.to_scipy().sum(axis=1))
    with pytest.raises(FootprintError, match="integrated over time"):
        footprints.jacobian(COARSE, "1h")
    assert footprints.jacobian(COARSE, "1D").shape == (4, 16)


def test_only_empty_footprints_still_have_columns(tmp_path):
    """A row of zeros over the cells of the target, at the receptor's hour."""
    store = LocalStore(tmp_path)
    Manifest(store).register_receptors([EMPTY], ["hrrr"], footprints=["slv"])
    write(store, EMPTY)
    footprints = FootprintCollection(Simulations(store), "slv")
    assert footprints.jacobian(COARSE, "1D").shape == (1, 16)
    matrix = footprints.jacobian(COARSE)
    assert matrix.shape == (1, 2 * 16)
    assert matrix.dot(np.ones((4, 4))).tolist() == [0.0]


def test_missing_footprints_are_listed(collection):
    """An observation without a row would shift all others, so it is an error that names it."""
    store = collection._simulations.store
    gone = f"hrrr_{RECEPTORS[2].id}"
    store.delete(footprint_key(gone, "slv"))
    with pytest.raises(ProjectError, match=f"1 of 4 footprints 'slv' are missing.*{gone}"):
        collection.jacobian(COARSE)
    others = collection.jacobian(COARSE, time_range=("2023-01-01 12:00", "2023-01-01 14:00"))
    assert len(others.obs) == 2


def test_workers_make_the_same_matrix(collection, matrix, monkeypatch):
    """Two processes, one footprint at a time, give the same arrays."""
    monkeypatch.setattr("stilt.collections._BATCH", 1)
    parallel = collection.jacobian(COARSE, n_workers=2)
    for name in ("indptr", "indices", "data", "starts"):
        assert (getattr(parallel, name) == getattr(matrix, name)).all()


def test_models_have_it(tmp_path, collection):
    """model.jacobian is that of the footprint collection."""
    grid = {name: getattr(GRID, name) for name in ("xmin", "xmax", "ymin", "ymax", "xres", "yres")}
    model = Model(
        output_dir=collection._simulations.store.root,
        project=tmp_path,
        mets={"hrrr": {"directory": tmp_path, "file_format": "%Y"}},
        footprints={"slv": grid},
    )
    assert model.jacobian("slv", COARSE, "1D").shape == (4, 16)
    with pytest.raises(KeyError, match="no footprint named 'far'"):
        model.jacobian("far")
