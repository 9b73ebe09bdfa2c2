"""
Make the table of runs of the real ``hycs_std`` that the settings of the native engine are tested with.

::

    python tools/make_program_settings.py FOLDER

``FOLDER`` holds ``hycs_std`` and its ``ROUGLEN.ASC LANDUSE.ASC TERRAIN.ASC``. The runs and their
made-up meteorology are in ``tests/program_settings.py``; only numbers the program prints are kept.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from program_settings import (
    CASES,
    COLUMNS,
    KEPT_MINUTES,
    SEED,
    STARTS,
    TABLE,
    WIND_ERROR,
    ZI_ERROR,
    Case,
    settings_world,
)
from stilt.config import TransportParams
from stilt.config.transport import PhysicsParams

IN_CONTROL = ("emisshrs", "w_option", "z_top", "ziscale", "zicontroltf", "kmsl", "maxpar", "khmax")
"""Settings that do not stand in SETUP.CFG, or not under their value here."""


def setup_text(params: TransportParams, case: Case) -> str:
    """Return SETUP.CFG."""
    values = {name: getattr(params, name) for name in PhysicsParams.model_fields if name not in IN_CONTROL}
    values |= {
        "numpar": params.numpar, "maxpar": params.numpar, "krand": 2, "seed": -(SEED + 1),
        "ivmax": len(COLUMNS), "kmsl": int(case.altitude_ref == "msl"), "khmax": 9999,
        "winderrtf": int(params.has_wind_error) + 2 * int(params.has_zi_error),
        "zicontroltf": int(bool(params.ziscale_factors)),
    }  # fmt: skip
    lines = ["&SETUP"]
    for name, value in values.items():
        if isinstance(value, bool):
            text = ".TRUE." if value else ".FALSE."
        else:
            # the program reads whole numbers into integers and takes them for reals too
            text = f"'{value}'" if isinstance(value, str) else f"{value:g}"
        lines.append(f" {name} = {text},")
    wanted = ",".join(f"'{name}'" for name in COLUMNS)
    return "\n".join([*lines, f" varsiwant = {wanted},", "/", ""])


def control_text(params: TransportParams, case: Case, hour: str, met: str) -> str:
    """Return CONTROL."""
    lon, lat, height = case.place
    return "\n".join(
        [
            f"{STARTS[hour].astype(object):%y %m %d %H %M}", "1", f"{lat} {lon} {height}",
            str(case.n_hours), str(params.w_option), str(params.z_top), "1", "./", met,
            "1", "test", "1", str(params.emisshrs), "00 00 00 00 00", "1", "0.0 0.0", "0.5 0.5", "30.0 30.0",
            "./", "cdump", "1", "100", "00 00 00 00 00", "00 00 00 00 00", "00 12 00", "1", "0.0 0.0 0.0",
            "0.0 0.0 0.0 0.0 0.0", "0.0 0.0 0.0", "0.0", "0.0", "",
        ]
    )  # fmt: skip


def run_program(program: Path, case: Case, hour: str) -> pd.DataFrame:
    """Return what the program prints for one case."""
    params = TransportParams(n_hours=case.n_hours, numpar=case.numpar, varsiwant=COLUMNS, **case.params)
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        for table in ("ROUGLEN.ASC", "LANDUSE.ASC", "TERRAIN.ASC"):
            (scratch / table).symlink_to((program / table).resolve())
        settings_world(hour).write(scratch / "met.arl")
        (scratch / "ASCDATA.CFG").write_text("-90.0 -180.0\n1.0 1.0\n180 360\n2\n0.2\n'./'\n")
        (scratch / "SETUP.CFG").write_text(setup_text(params, case))
        (scratch / "CONTROL").write_text(control_text(params, case, hour, "met.arl"))
        lists = {
            "WINDERR": [getattr(params, key) for key in WIND_ERROR] if params.has_wind_error else [],
            "ZIERR": [getattr(params, key) for key in ZI_ERROR] if params.has_zi_error else [],
            "ZICONTROL": [len(params.ziscale_factors), *params.ziscale_factors]
            if params.ziscale_factors
            else [],
        }
        for file, numbers in lists.items():
            if numbers:
                (scratch / file).write_text("\n".join(str(number) for number in numbers) + "\n")
        subprocess.run(
            [str((program / "hycs_std").resolve())], cwd=scratch, check=True, stdout=subprocess.DEVNULL
        )
        rows = pd.read_csv(scratch / "PARTICLE_STILT.DAT", sep=r"\s+", skiprows=1, names=list(COLUMNS))
    rows = rows[rows["time"].abs() <= KEPT_MINUTES]
    return rows.assign(age=rows["time"].abs()).sort_values(["age", "indx"]).drop(columns="age")


def main() -> None:
    """Run every case and write the table."""
    program = Path(sys.argv[1])
    tables = [
        run_program(program, case, hour).assign(case=name, hour=hour)
        for name, case in CASES.items()
        for hour in STARTS
    ]
    table = pd.concat(tables, ignore_index=True)
    numbers = {name: "float32" for name in COLUMNS if name not in ("long", "lati")}
    table = table.astype({**numbers, "case": "category", "hour": "category"})
    TABLE.parent.mkdir(exist_ok=True)
    table.to_parquet(TABLE, compression="zstd", index=False)
    print(f"{TABLE}: {len(table)} rows, {TABLE.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
