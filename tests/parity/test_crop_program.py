"""Cut files in NOAA's own program: it reads them, and goes where it goes with the whole files."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stilt.meteorology.arl.file import open_arl
from stilt.meteorology.crop import Cut, crop_arl
from stilt.spatial import Bounds

pytestmark = [pytest.mark.hysplit, pytest.mark.reference]

FILES = ("20190530_00-05_hrrr", "20190530_06-11_hrrr")
NAMES = ("time", "indx", "long", "lati", "zagl", "temp", "mlht", "shtf")
SETUP = """&SETUP
 capemin=-1., cmass=0, conage=48, cpack=1, delt=1, dxf=1, dyf=1, dzf=0.01, frhmax=3, frhs=1, frme=0.1, frmr=0,
 frts=0.1, frvs=0.01, hscale=10800, ichem=8, idsp=2, initd=0, isot=0, k10m=1, kagl=1, kbls=1, kblt=5, kdef=0,
 khinp=0, khmax=9999, kmixd=3, kmix0=150, kmsl=0, kpuff=0, krand=2, krnd=6, kspl=1, kwet=1, kzmix=0, maxdim=1,
 maxpar=20, mgmin=10, mhrs=9999, nbptyp=1, ncycl=0, ndump=0, ninit=1, nstr=0, nturb=1, numpar=20, nver=0,
 outdt=0, p10f=1, qcycle=0, rhb=80, rht=60, seed=-1, splitf=1, tkerd=0.18, tkern=0.18, tlfrac=0.1, tout=0,
 tratio=0.75, tvmix=1, veght=0.5, vscale=200, vscaleu=200, vscales=-1, winderrtf=0, wvert=.FALSE.,
 zicontroltf=0, ivmax={count}, varsiwant={names}
/
"""


@pytest.fixture(scope="module")
def program() -> Path:
    folder = os.environ.get("STILT_TEST_HYSPLIT_DIR")
    if not folder or not (Path(folder) / "hycs_std").is_file():
        if os.environ.get("STILT_REQUIRE_LIVE") == "1":
            pytest.fail("STILT_TEST_HYSPLIT_DIR names no folder with hycs_std")
        pytest.skip("STILT_TEST_HYSPLIT_DIR names no folder with hycs_std")
    return Path(folder)


def run_program(program: Path, folder: Path, met: list[Path]) -> pd.DataFrame:
    """Six hours back from Salt Lake City, mean wind only."""
    folder.mkdir()
    for name in ("ROUGLEN.ASC", "LANDUSE.ASC", "TERRAIN.ASC"):
        (folder / name).symlink_to(program / name)
    lines = [
        "19 05 30 10 00",
        "3",
        *(f"40.766 -111.848 {z}" for z in (10.0, 500.0, 2000.0)),
        "-6",
        "0",
        "25000.0",
    ]
    lines.append(str(len(met)))
    for path in met:
        (folder / path.name).symlink_to(path.resolve())
        lines += ["./", path.name]
    lines += [
        "1",
        "test",
        "1",
        "0.01",
        "00 00 00 00 00",
        "1",
        "0.0 0.0",
        "0.5 0.5",
        "30.0 30.0",
        "./",
        "cdump",
    ]
    lines += [
        "1",
        "100",
        "00 00 00 00 00",
        "00 00 00 00 00",
        "00 12 00",
        "1",
        "0.0 0.0 0.0",
        "0.0 0.0 0.0 0.0 0.0",
    ]
    lines += ["0.0 0.0 0.0", "0.0", "0.0"]
    (folder / "CONTROL").write_text("\n".join(lines) + "\n")
    (folder / "ASCDATA.CFG").write_text("-90.0 -180.0\n1.0 1.0\n180 360\n2\n0.2\n'./'\n")
    names = ",".join(f"'{name}'" for name in NAMES)
    (folder / "SETUP.CFG").write_text(SETUP.format(count=len(NAMES), names=names))
    subprocess.run([str(program / "hycs_std")], cwd=folder, capture_output=True, check=False, timeout=300)
    table = folder / "PARTICLE_STILT.DAT"
    table = table if table.exists() else folder / "PARTICLE.DAT"
    assert table.exists(), (folder / "MESSAGE").read_text()[-500:]
    return pd.read_csv(table, sep=r"\s+", skiprows=1, names=list(NAMES)).set_index(["time", "indx"])


def test_the_program_goes_the_same_way_through_cut_files(reference_dir, program, tmp_path):
    """
    Real HRRR cut to a box with all levels: every position as with the whole files.

    What is left is the program's own float32 arithmetic on grid coordinates that count from another
    corner, and the last bit of some values.
    """
    whole = [reference_dir / "met" / name for name in FILES]
    cut = Cut(Bounds(xmin=-112.4, xmax=-111.3, ymin=40.3, ymax=41.2), 0.1)
    parts = [crop_arl(open_arl(path), cut, tmp_path / path.name) for path in whole]
    assert all(any(name.startswith("XC") for name in open_arl(path).variables[0]) for path in parts)
    a = run_program(program, tmp_path / "whole", whole)
    b = run_program(program, tmp_path / "parts", parts)
    assert len(a) > 5000
    a, b = a.align(b, join="inner")
    assert len(b) > 0.98 * len(a)
    assert np.abs(a["long"] - b["long"]).max() < 2e-4
    assert np.abs(a["lati"] - b["lati"]).max() < 2e-4
    assert np.abs(a["zagl"] - b["zagl"]).max() < 0.1
    assert np.abs(a["temp"] - b["temp"]).max() < 0.02
