"""Opening datasets: which files a path means, and where their times are. One handle a process."""

from __future__ import annotations

import functools
import glob
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stilt.errors import MetFormatError, MetNotFoundError, MissingExtraError

if TYPE_CHECKING:
    import xarray as xr

_WRF_TIME = "Times"
_GRIB = (".grib", ".grib1", ".grib2", ".grb", ".grb1", ".grb2")


def expand(paths: Sequence[str], name: str) -> tuple[str, ...]:
    """
    Turn the ``path`` of a configuration into files, names ascending.

    Raises
    ------
    MetNotFoundError
        For an entry that names nothing.
    """
    found: list[str] = []
    for text in paths:
        if "://" in text:
            found.append(text)
            continue
        matches = [text] if Path(text).exists() else sorted(glob.glob(text, recursive=True))  # noqa: PTH207
        if not matches:
            raise MetNotFoundError(f"met '{name}': nothing is called {text}. Correct `path`.")
        found += matches
    return tuple(dict.fromkeys(found))


def stamp(path: str) -> tuple[int, int]:
    """Return size and time of change of a file, or of the files directly in a store's folder."""
    if "://" in path:
        return 0, 0
    try:
        status = os.stat(path)  # noqa: PTH116
        if not Path(path).is_dir():
            return status.st_size, status.st_mtime_ns
        inside = [entry.stat() for entry in os.scandir(path) if entry.is_file()]
        newest = max((each.st_mtime_ns for each in inside), default=status.st_mtime_ns)
        return sum(each.st_size for each in inside), max(newest, status.st_mtime_ns)
    except OSError as error:
        raise MetNotFoundError(f"meteorology {path} cannot be opened: {error.strerror}.") from error


@functools.lru_cache(maxsize=512)
def _open(path: str, engine: str | None, pid: int, stamp_: tuple[int, int]) -> xr.Dataset:
    import xarray as xr

    is_store = Path(path).is_dir() or path.rstrip("/").endswith(".zarr")
    engine = engine or ("zarr" if is_store else None)
    if not is_store and stamp_[0] == 0 and "://" not in path:
        raise MetFormatError(f"{path} is empty (0 bytes). Get it again or remove it.")
    if not is_store and "://" not in path:
        with Path(path).open("rb") as stream:
            if stream.read(18)[14:] == b"INDX":
                raise MetFormatError(f"{path} is an ARL file already; give its folder as `directory`.")
    more: dict[str, Any] = {}
    if engine == "cfgrib" or (engine is None and path.lower().endswith(_GRIB)):
        # eccodes may bring a PROJ of its own: loaded before pyproj's, it breaks it and the end of the process
        import pyproj  # noqa: F401

        # no index files beside the data; coefficients of model levels, directions of winds
        keys = ["pv", "uvRelativeToGrid"]
        engine, more = "cfgrib", {"backend_kwargs": {"indexpath": "", "read_keys": keys, "errors": "raise"}}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # oddities of encodings, which the user cannot mend
            return xr.open_dataset(path, engine=engine, cache=False, decode_timedelta=False, **more)
    except ImportError as error:
        raise MissingExtraError(f"{path} needs a package that is not installed: {error}.") from error
    except MemoryError:
        raise
    except Exception as error:
        # every backend has errors of its own
        if isinstance(error, ValueError) and "unrecognized engine" in str(error):
            raise MissingExtraError(
                f"xarray's engine '{engine}' is not installed; install the package that brings it (cfgrib, "
                "zarr, h5netcdf, netcdf4), or correct `engine`."
            ) from error
        said = " ".join(str(error).split())[:160]
        if engine == "cfgrib" and "multiple values for" in said:
            raise MetFormatError(
                f"{path} holds several kinds of levels or times ({said}); split it into files of one kind, "
                "such as with grib_copy, and name them all in `path`."
            ) from error
        raise MetFormatError(
            f"{path} cannot be read by xarray ({said}). Get it again or give `engine`."
        ) from error


def open_dataset(path: str, engine: str | None) -> xr.Dataset:
    """
    Open a dataset without reading its fields.

    Raises
    ------
    MetNotFoundError, MetFormatError, MissingExtraError
    """
    return _open(path, engine, os.getpid(), stamp(path))


def times_of(dataset: xr.Dataset, path: str) -> tuple[str | None, NDArray[np.datetime64]]:
    """
    Find the times of a dataset.

    Returns
    -------
    dimension : str or None
        Dimension along which they lie; None for a single time or none at all.
    times : ndarray of datetime64[s]
        Valid times [UTC]; empty for data that do not depend on time.
    """
    if _WRF_TIME in dataset:
        texts = [bytes(each).decode().strip("\0 ") for each in np.atleast_1d(dataset[_WRF_TIME].values)]
        stamps = [text.replace("_", "T") for text in texts]
        return str(dataset[_WRF_TIME].dims[0]), np.array(stamps, dtype="datetime64[s]")
    for name in ("valid_time", "time", "XTIME", *map(str, dataset.coords)):
        if name not in dataset.coords:
            continue
        coordinate = dataset[name]
        if coordinate.ndim > 1 and name == "valid_time":
            raise MetFormatError(
                f"{path}: its valid times lie in two dimensions ({', '.join(map(str, coordinate.dims))}), as "
                "those of several forecasts; choose one for each hour, such as with xarray or cdo."
            )
        if not np.issubdtype(coordinate.dtype, np.datetime64):
            if coordinate.dtype == object and str(coordinate.attrs.get("standard_name")) == "time":
                raise MetFormatError(f"{path}: {name} counts in a calendar of its own; use the standard one.")
            continue
        if coordinate.ndim <= 1:
            values = np.atleast_1d(coordinate.values).astype("datetime64[s]")
            return (str(coordinate.dims[0]) if coordinate.ndim else None), values
    return None, np.array([], dtype="datetime64[s]")
