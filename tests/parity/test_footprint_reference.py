"""Footprints and near-field corrections agree with those of STILT-R, cell by cell and row by row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pandas as pd
import pytest

from stilt.footprint import Footprint, calc_footprint, correct_near_field
from stilt.receptors import ColumnReceptor, PointReceptor, Receptor
from stilt.spatial import Grid

pytestmark = pytest.mark.reference

CASES = (
    "f02_evening_005_int f03_evening_01_sf0 f04_day_002_sf05 f05_day_002_sf2 f06_day_offgrid "
    "f07_column_hnf f08_forward f09_forward_hnf f10_dateline_east f11_dateline_wrapped f12_global "
    "f13_single f14_fencepost_sf0 f15_fencepost_sf1 f16_dateline_walk f17_arctic f18_fast_interp "
    "f19_early f20_utm f21_anisotropic f22_evening_001 f23_midlat_01 f24_midlat_long f25_plume_001 "
    "f26_plume_005_sf05 f27_plume_01_sf0 f28_plume_utm f29_plume_fwd_sf2 f30_plume_aniso"
).split()

# where the program that is right is not STILT-R; each has a test of its own below
PREFERRED_VARIABLE = {
    "f09_forward_hnf": "foot_pystilt",
    "f13_single": "foot_pystilt",
    "f30_plume_aniso": "foot_pystilt",
}
NEAR_FIELD_CASES = ["f04_day_002_sf05", "f07_column_hnf", "f22_evening_001"]


def load_case(bank: Path, name: str) -> tuple[dict[str, Any], pd.DataFrame, Grid, Receptor]:
    folder = bank / "footprint" / name
    case = json.loads((folder / "case.json").read_text())
    particles = pd.read_parquet(folder / case["particles"])
    grid = Grid(**{key: case[key] for key in ("xmin", "xmax", "ymin", "ymax", "xres", "yres", "projection")})
    if "xhgt" in particles:
        receptor: Receptor = ColumnReceptor(case["time"], -112, 40.7, 0, 1000)
    else:
        receptor = PointReceptor(case["time"], -112, 40.7, case.get("r_zagl", 5.0))
    return case, particles, grid, receptor


def reference_layers(bank: Path, name: str, variable: str) -> tuple[np.ndarray, np.ndarray]:
    with netCDF4.Dataset(bank / "footprint" / name / "footprint.nc") as file:
        file.set_auto_mask(False)
        return file[variable][:].astype(float), file["time"][:].astype(float)


def on_reference_hours(footprint: Footprint, shape: tuple[int, ...], seconds: np.ndarray) -> np.ndarray:
    """Put layers where the reference has them; hours it leaves out must hold nothing."""
    values = np.zeros(shape)
    ours = footprint.data.time.values.astype("datetime64[s]").astype(float)
    for layer, second in zip(footprint.data.values, ours, strict=True):
        at = np.flatnonzero(np.abs(seconds - second) < 1.0)
        if at.size:
            values[at[0]] = layer
        else:
            assert layer.sum() == 0.0
    return values


def run_case(bank: Path, name: str, **options: Any) -> tuple[np.ndarray, np.ndarray]:
    case, particles, grid, receptor = load_case(bank, name)
    if case["hnf_plume"]:
        particles = correct_near_field(particles, case["veght"], receptor=receptor)
    footprint = calc_footprint(
        particles,
        grid,
        smooth_factor=case["smooth_factor"],
        time_integrate=case["time_integrate"],
        receptor=receptor,
        **options,
    )
    variable = PREFERRED_VARIABLE.get(name, case["reference"])
    expected, seconds = reference_layers(bank, name, variable)
    return on_reference_hours(footprint, expected.shape, seconds), expected


@pytest.mark.parametrize("name", [name for name in CASES if name != "f18_fast_interp"])
def test_every_cell_agrees_with_the_reference(reference_dir, name):
    """Relative error at most 1e-7 in every cell, the same cells nonzero, the same total."""
    ours, expected = run_case(reference_dir, name)
    assert ((ours > 0) == (expected > 0)).all()
    np.testing.assert_allclose(ours, expected, rtol=1e-7, atol=0)
    np.testing.assert_allclose(ours.sum(), expected.sum(), rtol=1e-9)


def test_fast_particles_without_early_interpolation_agree_with_the_reference(reference_dir):
    """The stored footprint of the fast particles holds no interpolated rows, so neither may ours here."""
    ours, expected = run_case(reference_dir, "f18_fast_interp", interpolate_early=False)
    assert ((ours > 0) == (expected > 0)).all()
    np.testing.assert_allclose(ours, expected, rtol=1e-7, atol=0)


def test_early_interpolation_takes_effect_on_fast_particles(reference_dir):
    """
    By default the fast particles reach more cells, and no influence is made or lost.

    The stored footprint equals the one without interpolated rows. That happens to STILT-R and PYSTILT alike
    when the table has a sixth column: the new rows are incomplete in it and are all dropped. STILT-R itself
    hands over five columns and keeps them.
    """
    ours, expected = run_case(reference_dir, "f18_fast_interp")
    assert (ours > 0).sum() > 1.1 * (expected > 0).sum()
    np.testing.assert_allclose(ours.sum(), expected.sum(), rtol=1e-9)


@pytest.mark.parametrize("name", NEAR_FIELD_CASES)
def test_near_field_correction_agrees_row_by_row(reference_dir, name):
    """The corrected influence agrees with STILT-R to 1e-9 in every row of a backward run."""
    case, particles, _, receptor = load_case(reference_dir, name)
    expected = pd.read_parquet(reference_dir / "footprint" / name / case["files"]["hnf"])
    merged = particles[["time", "indx"]].assign(
        ours=correct_near_field(particles, case["veght"], receptor=receptor)["foot"]
    )
    merged = merged.merge(expected, on=["time", "indx"], validate="one_to_one")
    assert len(merged) == len(expected) > 100
    np.testing.assert_allclose(merged["ours"], merged["foot_hnf"], rtol=1e-9, atol=0)


def test_forward_runs_grow_the_plume_outward(reference_dir):
    """
    In a forward run the plume grows with time since release.

    STILT-R sums in order of falling time, so it starts a forward plume at its far end: the reference's
    corrected rows differ from ours, while the footprint of PYSTILT, which orders by elapsed time, agrees.
    """
    case, particles, _, receptor = load_case(reference_dir, "f09_forward_hnf")
    ours = correct_near_field(particles, case["veght"], receptor=receptor)
    stilt_r = pd.read_parquet(reference_dir / "footprint/f09_forward_hnf" / case["files"]["hnf"])
    merged = ours[["time", "indx", "foot"]].merge(stilt_r, on=["time", "indx"])
    assert not np.allclose(merged["foot"], merged["foot_hnf"], rtol=1e-3)
    # the first row of each particle has the narrowest plume, hence is corrected most
    first = ours[ours.time == 1]
    last = ours[ours.time == ours.time.max()]
    assert (first.foot > first.foot_no_hnf_dilution)[first.samt > 0].mean() > 0.5
    assert (last.foot == last.foot_no_hnf_dilution).all()


def test_non_square_cells_keep_the_mass_that_stilt_r_does_not(reference_dir):
    """
    Wide kernels on cells that are not square lose nothing inside the grid.

    STILT-R hands its kernel matrix to Fortran with the axes exchanged and reads beyond it, so its own
    footprint holds NaN.
    """
    case, _, _, _ = load_case(reference_dir, "f30_plume_aniso")
    ours, expected = run_case(reference_dir, "f30_plume_aniso")
    assert case["r_status"] == "not finite"
    np.testing.assert_allclose(ours.sum(), expected.sum(), rtol=1e-9)
