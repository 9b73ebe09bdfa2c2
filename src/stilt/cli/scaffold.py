"""What ``stilt init`` writes: files to edit, or a complete small project to try."""

from __future__ import annotations

from pathlib import Path

from stilt.errors import ProjectError

CONFIG_FILE = "config.yaml"
RECEPTORS_FILE = "receptors.csv"

CONFIG = """\
# Settings of a STILT project. Unknown keys are refused; what is left out has its default.

mets:
  hrrr:                              # a name of your own: a-z and 0-9
    directory: met                   # ARL files, searched recursively; relative to this file
    file_format: "%Y%m%d_%H"         # how file names begin
    file_tres: 1h                    # optional: time between files

grids:
  area:
    xmin: -113.0                     # [degrees]
    xmax: -111.0
    ymin: 40.0
    ymax: 42.0
    xres: 0.01
    yres: 0.01

footprints:
  default:
    grid: area
    smooth_factor: 1.0
    time_integrate: false

n_hours: -24                         # negative: backward in time
numpar: 200                          # particles of each receptor

execution:
  backend: local
  n_workers: 1                       # processes

# engine: native                     # or hysplit, with a program of your own
# hnf_plume: true                    # near-field correction
# seed: 1                            # another set of random numbers
# timeout: 600                       # [s] for one simulation
"""

RECEPTORS = """\
# One receptor in each line; times are UTC, zagl is metres above ground (zmsl: above sea level).
time,longitude,latitude,zagl
# 2023-07-15 20:00,-111.85,40.77,5
"""

DEMO_CONFIG = """\
# A made-up mountain valley (met/ was written by `stilt init --demo`): everything runs offline.

mets:
  valley:
    directory: met                   # relative to this file
    file_format: "%Y%m%d_%H"
    file_tres: 6h

footprints:
  default:                           # hourly, 0.02 degree (about 2 km)
    xmin: -112.4
    xmax: -110.6
    ymin: 40.36
    ymax: 41.64
    xres: 0.02
    yres: 0.02

n_hours: -18
numpar: 200

execution:
  backend: local
  n_workers: 1
"""

DEMO_RECEPTORS = """\
# Noon is at about 19:30 UTC here.
time,longitude,latitude,zagl,r_idx
2024-07-11 21:00,-111.5,41.0,10,afternoon
2024-07-11 10:00,-111.5,41.0,10,night
# two heights above one spot with one r_idx are a column
2024-07-11 20:00,-111.5,41.0,0,column
2024-07-11 20:00,-111.5,41.0,2000,column
"""


def write_project(folder: Path) -> list[str]:
    """
    Write files to edit.

    Parameters
    ----------
    folder : Path
        The project; it is made if need be.

    Returns
    -------
    list of str
        Names of what was written.
    """
    return _write(folder, CONFIG, RECEPTORS)


def write_demo(folder: Path) -> list[str]:
    """
    Write a small project that runs as it is.

    Parameters
    ----------
    folder : Path
        The project; it is made if need be.

    Returns
    -------
    list of str
        Names of what was written.
    """
    from stilt.meteorology.valley import write_demo_met

    _refuse(folder)
    # the config last, so that a project interrupted here can be begun again
    write_demo_met(folder / "met")
    return ["met/", *_write(folder, DEMO_CONFIG, DEMO_RECEPTORS)]


def _write(folder: Path, config: str, receptors: str) -> list[str]:
    _refuse(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    # receptors that are there already belong to the user
    for name, text in ((RECEPTORS_FILE, receptors), (CONFIG_FILE, config)):
        path = folder / name
        if name == RECEPTORS_FILE and path.exists():
            continue
        path.write_text(text, encoding="utf-8", newline="\n")
        written.append(name)
    return written


def _refuse(folder: Path) -> None:
    path = folder / CONFIG_FILE
    if path.exists():
        raise ProjectError(f"{path} exists already; it was left as it is. Choose another folder.")
