"""
Make the tables of ``test_exactness.py`` with the real program.

Run as ``PYTHONPATH=tests python -m parity.make_exactness [case ...]``, with STILT_TEST_HYSPLIT_DIR set.
The program runs with a seeded generator (``KRAND=2``) on the meteorology of ``exact_met.py``; its printed
numbers are kept as integers in units of the last printed digit.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pandas as pd

from parity.exact_met import CASES, MASS_CASES, ExactCase

DIGITS = {
    "long": 4, "lati": 4, "zagl": 4, "foot": 7, "samt": 4, "sigw": 3, "tlgr": 4, "mlht": 2, "pres": 2,
    "dens": 5, "dmas": 3,
}  # fmt: skip
COLUMNS = ("time", "indx", *DIGITS)
TABLES = Path(__file__).parent / "exactness"

_SETUP = {
    "capemin": -1, "cmass": 0, "conage": 48, "cpack": 1, "delt": 1, "dxf": 1, "dyf": 1, "dzf": 0.01,
    "frhmax": 3,
    "frhs": 1, "frme": 0.1, "frmr": 0, "frts": 0.1, "frvs": 0.01, "hscale": 10800, "ichem": 8, "idsp": 2,
    "initd": 0, "k10m": 1, "kagl": 1, "kbls": 1, "kblt": 5, "kdef": 0, "khinp": 0, "khmax": 9999,
    "kmix0": 150,
    "kmixd": 3, "kmsl": 0, "kpuff": 0, "krand": 2, "krnd": 6, "kspl": 1, "kwet": 1, "kzmix": 0, "maxdim": 1,
    "mgmin": 10, "mhrs": 9999, "nbptyp": 1, "ncycl": 0, "ndump": 0, "ninit": 1, "nstr": 0, "nturb": 0,
    "nver": 0,
    "outdt": 0, "p10f": 1, "qcycle": 0, "rhb": 80, "rht": 60, "splitf": 1, "tkerd": 0.18, "tkern": 0.18,
    "tlfrac": 0.1, "tout": 0, "tratio": 0.75, "tvmix": 1, "veght": 0.5, "vscale": 200, "vscaleu": 200,
    "vscales": -1, "wbbh": 0, "wbwf": 0, "wbwr": 0, "winderrtf": 0, "wvert": ".FALSE.", "zicontroltf": 0,
}  # fmt: skip


def run_program(
    case: ExactCase, program: Path, met: Path | None = None, *, w_option: int = 0
) -> pd.DataFrame:
    """Run the program for a case, on a file given or on the case's own, and return its rows."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if met is None:
            met = case.write_met(folder)
        else:
            (folder / met.name).symlink_to(met)
        for data in ("ROUGLEN.ASC", "LANDUSE.ASC", "TERRAIN.ASC"):
            (folder / data).symlink_to(program / data)
        settings = _SETUP | {"numpar": case.numpar, "maxpar": case.numpar, "seed": -(case.seed + 1)}
        settings |= {"ivmax": len(COLUMNS)}
        settings |= case.params
        wanted = ",".join(f"'{column}'" for column in COLUMNS)
        lines = [
            "&SETUP",
            *(f" {key}={value}," for key, value in settings.items()),
            f" varsiwant={wanted},",
            "/",
        ]
        (folder / "SETUP.CFG").write_text("\n".join(lines) + "\n")
        start = pd.Timestamp(case.start)
        heights = [case.height, case.top] if case.top else [case.height]
        control = [
            start.strftime("%y %m %d %H %M"), str(len(heights)),
            *(f"{case.lat:.6f} {case.lon:.6f} {height:.4f}" for height in heights),
            str(case.n_hours), str(w_option), "25000.0", "1", "./", met.name, "1", "test", "1", "0.01",
            "00 00 00 00 00", "1",
            "0.0 0.0", "0.5 0.5", "30.0 30.0", "./", "cdump", "1", "100", "00 00 00 00 00", "00 00 00 00 00",
            "00 12 00", "1", "0.0 0.0 0.0", "0.0 0.0 0.0 0.0 0.0", "0.0 0.0 0.0", "0.0", "0.0",
        ]  # fmt: skip
        (folder / "CONTROL").write_text("\n".join(control) + "\n")
        (folder / "ASCDATA.CFG").write_text("-90.0 -180.0\n1.0 1.0\n180 360\n2\n0.2\n'./'\n")
        subprocess.run([program / "hycs_std"], cwd=folder, check=True, capture_output=True)
        return pd.read_csv(folder / "PARTICLE_STILT.DAT", sep=r"\s+", skiprows=1, names=list(COLUMNS))


def starts(case: ExactCase, program: Path) -> list[float]:
    """
    Return the heights [m AGL] at which the program releases the particles of a line.

    Without turbulence and vertical motion a particle stays at its height above flat ground, and the same
    seed gives the same heights.
    """
    rows = run_program(replace(case, params=case.params | {"nturb": 1}), program, w_option=4)
    first = rows[rows["time"].abs() == 1].sort_values("indx")
    return first["zagl"].round(4).tolist()


def main(names: list[str]) -> None:
    """Make the tables of the named cases, or of all."""
    program = Path(os.environ["STILT_TEST_HYSPLIT_DIR"])
    TABLES.mkdir(exist_ok=True)
    for case in [*CASES, *MASS_CASES]:
        if names and case.name not in names:
            continue
        rows = run_program(case, program)
        packed = {"time": rows["time"].astype("int16"), "indx": rows["indx"].astype("int16")}
        packed |= {name: (rows[name] * 10**digits).round().astype("int32") for name, digits in DIGITS.items()}
        path = TABLES / f"{case.name}.parquet"
        # one particle after the other, as differences: a third of the size
        table = pd.DataFrame(packed).sort_values(["indx", "time"])
        encoding = dict.fromkeys(DIGITS, "DELTA_BINARY_PACKED")
        table.to_parquet(
            path,
            compression="zstd",
            compression_level=19,
            index=False,
            use_dictionary=False,
            column_encoding=encoding,
        )
        print(f"{case.name}: {len(rows)} rows, {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main(sys.argv[1:])
