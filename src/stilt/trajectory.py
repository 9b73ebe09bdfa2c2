"""
The particle table of one simulation, in memory and as a Parquet file.

A trajectory file holds everything needed to make footprints again later, and
nothing that would differ between two equal runs: no clock time, no host, no
folder. The file is drawn here, because this module owns it::

    <sim_id>_traj.parquet                     zstd
      time indx long lati zagl foot ...       one row per particle and output time, as the engine gave them
      xhgt                                    column and multipoint receptors: release height of the particle
      foot_no_hnf_dilution                    when the near-field correction replaced ``foot``
      met                                     several meteorologies: number, from 0, of the one that moved
                                              the particle, in the list ``mets`` of ``stilt:nesting``
      datetime                                receptor time + ``time``, naive UTC, milliseconds
    file metadata (each value JSON)
      stilt:receptor  stilt:params  stilt:met_files  stilt:is_error
      stilt:engine    stilt:version stilt:seed       stilt:exits
      stilt:nesting                           several meteorologies only
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from stilt._version import __version__
from stilt.accessors import plots_of
from stilt.errors import FootprintError
from stilt.receptors import Receptor

__all__ = ["REQUIRED_COLUMNS", "TRAJECTORY_DTYPES", "Trajectories"]

REQUIRED_COLUMNS = ("time", "indx", "long", "lati", "foot")
"""Columns without which a table holds no trajectories."""

TRAJECTORY_DTYPES: dict[str, np.dtype] = {
    "indx": np.dtype(np.int32),
    "long": np.dtype(np.float64),
    "lati": np.dtype(np.float64),
    "datetime": np.dtype("datetime64[ms]"),
    "met": np.dtype(np.int8),
}
"""Stored dtypes of the columns that are not float32."""

_TRAILING_COLUMNS = ("xhgt", "foot_no_hnf_dilution", "met")
_METADATA_KEYS = (
    "receptor", "params", "met_files", "is_error", "engine", "version", "seed", "exits", "nesting",
)  # fmt: skip
_WHOLE_NUMBERS = ("indx", "met")
_REPEATING = ("time", "indx", "xhgt", "met", "datetime")
"""Columns in which one value stands many times, which Parquet keeps as a dictionary."""


@dataclass(frozen=True, eq=False)
class Trajectories:
    """
    Trajectories of the particles of one receptor.

    Parameters
    ----------
    data : DataFrame
        One row per particle and output time: ``time`` [min from the receptor time, negative backward],
        ``indx`` (particle number, from 1), ``long`` and ``lati`` [degrees], ``foot`` [ppm / (umol m-2 s-1)]
        and whatever else the run was asked for. Use :meth:`from_particles` to build one with checks.
    receptor : Receptor
        Where and when the particles were released.
    params : dict
        Settings of the run, JSON-able.
    met_files : list of dict
        Meteorology that was read: name, size and times; no folders.
    is_error : bool
        Whether these are the perturbed trajectories of a transport-error run.
    engine, version : str
        What computed them.
    seed : int, optional
        Seed of the random numbers.
    exits : dict, optional
        How particles ended (counts by reason), as the engine reports it.
    nesting : dict, optional
        Of a run through several meteorologies: their names ``mets`` (which the column ``met`` counts),
        the ``share`` of particle minutes each moved, and how often particles were ``handed_over``.
    """

    data: pd.DataFrame
    receptor: Receptor
    params: dict[str, Any] = field(default_factory=dict)
    met_files: list[dict[str, Any]] = field(default_factory=list)
    is_error: bool = False
    engine: str = ""
    version: str = ""
    seed: int | None = None
    exits: dict[str, Any] | None = None
    nesting: dict[str, Any] | None = None

    def __repr__(self) -> str:
        """Say whose trajectories these are and how many."""
        kind = " of a transport-error run" if self.is_error else ""
        return (
            f"<Trajectories{kind}: {self.receptor.id}, {self.n_particles} particles, {len(self.data)} rows>"
        )

    def __len__(self) -> int:
        """Count rows."""
        return len(self.data)

    @property
    def n_particles(self) -> int:
        """How many particles the table holds."""
        return int(pd.unique(self.data["indx"]).size)

    @property
    def plot(self) -> Any:
        """Pictures of the particles (extra ``plot``): ``trajectories.plot.map()`` and ``.section()``."""
        return plots_of("trajectories", self)

    # --- building ---------------------------------------------------------------------------------

    @classmethod
    def from_particles(
        cls,
        frame: pd.DataFrame,
        receptor: Receptor,
        params: Mapping[str, Any] | None = None,
        *,
        met_files: Sequence[Mapping[str, Any]] = (),
        is_error: bool = False,
        engine: str = "",
        version: str = __version__,
        seed: int | None = None,
        exits: Mapping[str, Any] | None = None,
        nesting: Mapping[str, Any] | None = None,
    ) -> Trajectories:
        """
        Build trajectories from a particle table.

        Parameters
        ----------
        frame : DataFrame
            Needs ``time indx long lati foot``; every other column is optional and kept.
            float64 columns keep their precision in memory; a file holds float32 (see :meth:`as_stored`).
        receptor : Receptor
            Where and when the particles were released.
        params : mapping, optional
            Settings of the run.
        met_files, is_error, engine, version, seed, exits, nesting
            See the class.

        Returns
        -------
        Trajectories
        """
        missing = [name for name in REQUIRED_COLUMNS if name not in frame.columns]
        if missing:
            raise FootprintError(
                f"the particle table lacks the column(s) {', '.join(missing)}; trajectories need "
                f"{' '.join(REQUIRED_COLUMNS)} (it has {', '.join(map(str, frame.columns))})."
            )
        names = [str(name) for name in frame.columns if name != "datetime"]
        names = [n for n in names if n not in _TRAILING_COLUMNS] + [
            n for n in _TRAILING_COLUMNS if n in names
        ]
        columns = {name: _in_memory(name, frame[name].to_numpy()) for name in names}
        columns["datetime"] = _datetimes(receptor, columns["time"])
        return cls(
            data=pd.DataFrame(columns, copy=False),
            receptor=receptor,
            params=dict(params or {}),
            met_files=[dict(entry) for entry in met_files],
            is_error=is_error,
            engine=engine,
            version=version,
            seed=seed,
            exits=None if exits is None else dict(exits),
            nesting=None if nesting is None else dict(nesting),
        )

    def with_data(self, data: pd.DataFrame) -> Trajectories:
        """Return the same trajectories with another table."""
        return replace(self, data=data)

    def as_stored(self) -> Trajectories:
        """
        Return the trajectories with exactly the values a file would give back.

        Footprints of a project are computed from these, so that a footprint made
        again from the file is the same footprint.
        """
        wanted = {name: _stored_dtype(name) for name in self.data.columns}
        if all(self.data[name].dtype == dtype for name, dtype in wanted.items()):
            return self
        columns = {
            name: self.data[name].to_numpy().astype(dtype, copy=False) for name, dtype in wanted.items()
        }
        if "datetime" in columns and "time" in columns:
            columns["datetime"] = _datetimes(self.receptor, columns["time"])
        return self.with_data(pd.DataFrame(columns, copy=False))

    # --- reading -----------------------------------------------------------------------------------

    def endpoints(self) -> pd.DataFrame:
        """
        Return the last row of each particle: the one farthest in time from the release.

        Returns
        -------
        DataFrame
            One row per particle, in order of ``indx``. Particles that left the domain early
            end there, so ``time`` differs between rows.
        """
        order = np.lexsort((np.abs(self.data["time"].to_numpy()), self.data["indx"].to_numpy()))
        indx = self.data["indx"].to_numpy()[order]
        is_last = np.ones(indx.size, dtype=bool)
        is_last[:-1] = indx[1:] != indx[:-1]
        return self.data.iloc[order[is_last]].reset_index(drop=True)

    @classmethod
    def from_parquet(
        cls, path: str | os.PathLike[str] | IO[bytes] | bytes, columns: Sequence[str] | None = None
    ) -> Trajectories:
        """
        Read trajectories from a file.

        Parameters
        ----------
        path : path, bytes or binary file
            What :meth:`to_parquet` or :meth:`to_bytes` wrote.
        columns : sequence of str, optional
            Read only these columns.

        Returns
        -------
        Trajectories
        """
        source = pa.BufferReader(path) if isinstance(path, bytes) else path
        try:
            with pq.ParquetFile(source) as file:
                metadata = {key.decode(): value for key, value in (file.schema_arrow.metadata or {}).items()}
                names = file.schema_arrow.names
                absent = [name for name in columns or () if name not in names]
                if absent:
                    raise FootprintError(
                        f"the trajectories hold no column {', '.join(absent)}; they hold {', '.join(names)}."
                    )
                table = file.read(columns=None if columns is None else list(columns))
        except pa.ArrowInvalid as error:
            where = "the bytes given" if isinstance(path, bytes) else path
            raise FootprintError(f"{where} cannot be read as trajectories: {error}") from error
        meta = {
            key: json.loads(metadata[f"stilt:{key}"]) for key in _METADATA_KEYS if f"stilt:{key}" in metadata
        }
        if "receptor" not in meta:
            raise FootprintError(
                "this Parquet file names no receptor (key stilt:receptor), so it is not a trajectory file."
            )
        return cls(
            data=table.to_pandas(ignore_metadata=True),
            receptor=Receptor.from_dict(meta["receptor"]),
            params=meta.get("params") or {},
            met_files=meta.get("met_files") or [],
            is_error=bool(meta.get("is_error", False)),
            engine=meta.get("engine") or "",
            version=meta.get("version") or "",
            seed=meta.get("seed"),
            exits=meta.get("exits"),
            nesting=meta.get("nesting"),
        )

    # --- writing -----------------------------------------------------------------------------------

    def to_bytes(self) -> bytes:
        """Return the Parquet file as bytes; equal trajectories give equal bytes."""
        frame = self.as_stored().data
        meta: dict[str, Any] = {
            "receptor": self.receptor.to_dict(),
            "params": self.params,
            "met_files": self.met_files,
            "is_error": self.is_error,
            "engine": self.engine,
            "version": self.version,
            "seed": self.seed,
        }
        if self.exits is not None:
            meta["exits"] = self.exits
        if self.nesting is not None:
            meta["nesting"] = self.nesting
        metadata = {f"stilt:{key}": json.dumps(value, sort_keys=True) for key, value in meta.items()}
        arrays = [pa.array(frame[name].to_numpy()) for name in frame.columns]
        schema = pa.schema(
            [pa.field(str(name), array.type) for name, array in zip(frame.columns, arrays, strict=True)],
            metadata=metadata,
        )
        sink = io.BytesIO()
        # measured numbers hardly ever repeat: a dictionary of them costs more than all the rest, and their
        # bytes, sorted by significance, compress better (700,000 rows: 0.12 s for 0.31, 23 MB for 28)
        repeating = [name for name in schema.names if name in _REPEATING]
        measured = [
            column.name
            for column in schema
            if pa.types.is_floating(column.type) and column.name not in _REPEATING
        ]
        pq.write_table(
            pa.Table.from_arrays(arrays, schema=schema),
            sink,
            compression="zstd",
            use_dictionary=repeating,
            use_byte_stream_split=measured,
        )
        return sink.getvalue()

    def to_parquet(self, path: str | os.PathLike[str]) -> Path:
        """Write the Parquet file, first under a temporary name beside it, and return its path."""
        target = Path(path)
        temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        try:
            temporary.write_bytes(self.to_bytes())
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
        return target


def _stored_dtype(name: str) -> np.dtype:
    return TRAJECTORY_DTYPES.get(name, np.dtype(np.float32))


def _in_memory(name: str, values: np.ndarray) -> np.ndarray:
    """Give a column its dtype, or say why that cannot be."""
    try:
        numbers = np.asarray(values) if values.dtype.kind in "fiub" else np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise FootprintError(f"column {name} of the particle table does not hold numbers: {error}") from error
    if name in _WHOLE_NUMBERS:
        dtype = TRAJECTORY_DTYPES[name]
        whole = numbers.astype(dtype, copy=False) if np.isfinite(numbers).all() else None
        if whole is None or (whole != numbers).any():
            what = "whole particle numbers" if name == "indx" else "whole numbers of meteorologies"
            raise FootprintError(f"column {name} of the particle table must hold {what}.")
        return whole
    if name in TRAJECTORY_DTYPES or numbers.dtype not in (np.float32, np.float64):
        return numbers.astype(np.float64, copy=False)
    return numbers


def _datetimes(receptor: Receptor, minutes: np.ndarray) -> np.ndarray:
    """Return receptor time plus minutes as datetime64[ms]; NaT where the time is missing."""
    milliseconds = np.asarray(minutes, dtype=np.float64) * 60_000.0
    known = np.isfinite(milliseconds)
    offsets = np.where(known, np.round(np.where(known, milliseconds, 0.0)), 0).astype("timedelta64[ms]")
    when = np.datetime64(receptor.time, "ms") + offsets
    when[~known] = np.datetime64("NaT")
    return when
