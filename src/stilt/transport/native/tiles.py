"""
Prepared columns: made once per file, hour and tile, kept on disk, shared by all receptors.

A tile is up to 32 x 32 columns of one analysis time. It is prepared when a particle
first comes near, written to the cache under a name that says everything it depends
on, and never changed::

    <PYSTILT_CACHE_DIR>/columns/<first 2 of hash>/<hash>_<tile y>_<tile x>.npy

Workers of one machine find each other's tiles there, so a thousand receptors over
one window cost no more meteorology than one. Reading a tile is one copy out of the
page cache into the :class:`ColumnPool` of the worker.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import tempfile
import threading
import warnings
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from stilt.errors import MetVariableError
from stilt.kernels import layout
from stilt.kernels.columns import prepare_columns
from stilt.kernels.compiler import cache_root, sources_hash
from stilt.kernels.layout import TILE, Columns, GridShape, row_length
from stilt.meteorology.frame import Box
from stilt.transport.native.recipe import ColumnSource

FORMAT_VERSION = 4
"""Raised when the arrays given to the column kernel change; the kernels themselves are hashed."""

CACHE_LIMIT = 20 * 1024**3
"""Size the tiles on disk are kept below [bytes]."""

POOL_LIMIT = 384 * 1024**2
"""Memory one worker keeps for tiles beyond the two analysis times in use [bytes]."""

DECODE_LIMIT = 128 * 1024**2
"""Memory for decoded fields while tiles are prepared [bytes]; a row of tiles is always decoded at once."""

_PRUNE_EVERY = 1024
"""Tiles written by a process between two looks at the size of the cache."""


def grid_shape(source: ColumnSource) -> GridShape:
    """Return the grid of a source as kernels see it."""
    grid = source.series.grid
    return GridShape(
        nx=grid.nx,
        ny=grid.ny,
        tile_nx=min(TILE, grid.nx),
        tile_ny=min(TILE, grid.ny),
        row_length=row_length(source.levels.sigma.size),
        is_cyclic=bool(grid.is_cyclic),
        is_global=bool(grid.is_global),
    )


class TileCache:
    """
    Tiles on disk.

    Parameters
    ----------
    folder : Path, optional
        Default: ``columns`` under ``PYSTILT_CACHE_DIR``.
    limit : int
        Size the folder is kept below [bytes].
    """

    def __init__(self, folder: Path | None = None, limit: int = CACHE_LIMIT) -> None:
        self.folder = cache_root() / "columns" if folder is None else folder
        self.limit = limit
        self._written = 0
        self._broken = False

    def path(self, key: str, tile_y: int, tile_x: int) -> Path:
        """Return where a tile lies."""
        return self.folder / key[:2] / f"{key}_{tile_y}_{tile_x}.npy"

    def read(self, key: str, tile_y: int, tile_x: int, shape: tuple[int, int]) -> np.ndarray | None:
        """Return a tile, or None when it is not there or not whole."""
        path = self.path(key, tile_y, tile_x)
        try:
            tile = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        if tile.shape != shape or tile.dtype != np.float32:
            return None
        # the time of last use decides what goes first when the cache is full
        with contextlib.suppress(OSError):
            os.utime(path)
        return tile

    def write(self, key: str, tile_y: int, tile_x: int, tile: np.ndarray) -> None:
        """Keep a tile, whole or not at all; a cache that cannot be written is a warning."""
        if self._broken:
            return
        path = self.path(key, tile_y, tile_x)
        temporary = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            number, temporary = tempfile.mkstemp(dir=path.parent, prefix=".tile")
            # a plain file, into which numpy writes without a copy
            with os.fdopen(number, "wb") as stream:
                np.save(stream, tile, allow_pickle=False)
            os.replace(temporary, path)
        except OSError as error:
            self._broken = True
            if temporary is not None:
                with contextlib.suppress(OSError):
                    os.unlink(temporary)
            warnings.warn(
                f"prepared meteorology cannot be kept under {self.folder} ({error.strerror or error}); it is "
                "prepared again where needed. Point PYSTILT_CACHE_DIR at a folder with space.",
                RuntimeWarning,
                stacklevel=2,
            )
            return
        self._written += 1
        if self._written % _PRUNE_EVERY == 1:
            self.prune()

    def size(self) -> int:
        """Return the bytes the tiles take."""
        return sum(size for _, size, _ in self._entries())

    def prune(self) -> None:
        """Remove the tiles unused for longest until the cache is below its limit."""
        entries = sorted(self._entries())
        total = sum(size for _, size, _ in entries)
        for _, size, path in entries:
            if total <= self.limit:
                break
            with contextlib.suppress(OSError):
                path.unlink()
                total -= size

    def _entries(self) -> list[tuple[float, int, Path]]:
        found = []
        if self.folder.is_dir():
            for path in self.folder.glob("*/*"):
                with contextlib.suppress(OSError):
                    status = path.stat()
                    found.append((status.st_mtime, status.st_size, path))
        return found


class TimeColumns:
    """
    Prepared columns of one analysis time: tiles side by side in one growing array.

    Parameters
    ----------
    source : ColumnSource
        How columns are made.
    time_index : int
        Which analysis of the series.
    ziscale : float
        Factor on the mixed-layer depth at this time.
    cache : TileCache
        Where tiles are kept.
    """

    def __init__(self, source: ColumnSource, time_index: int, ziscale: float, cache: TileCache) -> None:
        self._source = source
        self._time_index = time_index
        self._recipe = source.recipe._replace(ziscale=np.float32(ziscale))
        self._cache = cache
        self._shape = grid_shape(source)
        self._tile_rows = self._shape.tile_ny * self._shape.tile_nx
        self._row = row_length(source.levels.sigma.size)
        tiles = (-(-self._shape.ny // self._shape.tile_ny), -(-self._shape.nx // self._shape.tile_nx))
        self._slots = np.full(tiles, -1, dtype=np.int32)
        self._rows = np.empty((0, self._row), dtype=np.float32)
        self._count = 0
        self._key = tile_key(source, time_index, ziscale)
        self._lock = threading.Lock()

    @property
    def columns(self) -> Columns:
        """What kernels read; only tiles loaded so far."""
        return Columns(self._rows.reshape(-1), self._slots)

    @property
    def nbytes(self) -> int:
        """Memory the tiles take [bytes]."""
        return self._rows.nbytes

    def loaded(self) -> list[tuple[int, int]]:
        """Return the tiles loaded so far."""
        return [(int(j), int(i)) for j, i in np.argwhere(self._slots >= 0)]

    def missing(self, wanted: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
        """Return those tiles that are not loaded yet."""
        return [tile for tile in wanted if self._slots[tile] < 0]

    def load(self, wanted: Iterable[tuple[int, int]]) -> int:
        """
        Make tiles available.

        Returns
        -------
        int
            Tiles that had to be prepared from the files.
        """
        with self._lock:
            absent = []
            wanted = self.missing(wanted)
            self._reserve(len(wanted))
            for tile in wanted:
                stored = self._cache.read(self._key, *tile, (self._tile_rows, self._row))
                if stored is None:
                    absent.append(tile)
                else:
                    self._add(tile, stored)
            for group in self._groups(absent):
                boxes = {
                    (y, x): self._source.box_of_tile(y, x, self._shape.tile_ny, self._shape.tile_nx)
                    for y, x in group
                }
                whole = Box(
                    min(box.x0 for box in boxes.values()),
                    max(box.x1 for box in boxes.values()),
                    min(box.y0 for box in boxes.values()),
                    max(box.y1 for box in boxes.values()),
                )
                frame = self._source.series.decode(
                    self._time_index, whole, self._source.surface_names, self._source.upper_names
                )
                fields = self._source.arrays(frame)
                for tile, box in boxes.items():
                    tile_rows = self._place(tile)
                    within = (box.x0 - whole.x0, box.x1 - whole.x0, box.y0 - whole.y0, box.y1 - whole.y0)
                    if box.shape != (self._shape.tile_ny, self._shape.tile_nx):
                        # a tile at the far edge is narrower; its rows keep the places of a whole one
                        tile_rows[...] = 0.0
                    unusable = prepare_columns(
                        self._recipe,
                        self._source.heights,
                        self._source.levels,
                        *fields,
                        within,
                        self._shape.tile_nx,
                        tile_rows,
                    )
                    if unusable >= 0:
                        self._count -= 1
                        raise MetVariableError(self._source.why_unusable(frame, unusable))
                    self._slots[tile] = self._count - 1
                    self._cache.write(self._key, *tile, tile_rows)
        return len(absent)

    def _groups(self, absent: list[tuple[int, int]]) -> list[list[tuple[int, int]]]:
        """Put neighbouring rows of tiles together, which share the reading, within a bound on memory."""
        if not absent:
            return []
        columns = [x for _, x in absent]
        fields = len(self._source.upper_names) * self._source.heights.size
        band_bytes = (max(columns) - min(columns) + 1) * self._tile_rows * 4 * fields
        most = max(1, DECODE_LIMIT // band_bytes)
        groups: list[list[tuple[int, int]]] = []
        first = -math.inf
        last = -math.inf
        for tile in sorted(absent):
            if tile[0] > last + 1 or tile[0] >= first + most:
                groups.append([])
                first = tile[0]
            groups[-1].append(tile)
            last = tile[0]
        return groups

    def _reserve(self, count: int) -> None:
        """Make room for more tiles."""
        wanted = (self._count + count) * self._tile_rows
        if wanted > self._rows.shape[0]:
            # a single tile is likely to be followed by others
            room = max(wanted, min(2 * self._count, self._count + 32) * self._tile_rows)
            grown = np.empty((room, self._row), dtype=np.float32)
            used = self._count * self._tile_rows
            grown[:used] = self._rows[:used]
            self._rows = grown

    def _place(self, tile: tuple[int, int]) -> np.ndarray:
        """Return the next free place, shape (tile_rows, row_length)."""
        start = self._count * self._tile_rows
        self._count += 1
        return self._rows[start : start + self._tile_rows]

    def _add(self, tile: tuple[int, int], tile_rows: np.ndarray) -> None:
        self._place(tile)[...] = tile_rows
        self._slots[tile] = self._count - 1


def tile_key(source: ColumnSource, time_index: int, ziscale: float) -> str:
    """Hash everything the columns of one time depend on."""
    text = repr(
        (
            FORMAT_VERSION,
            sources_hash(),
            source.series.identity(time_index),
            source.key(),
            float(ziscale),
            layout.TILE,
        )
    )
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class ColumnPool:
    """
    Analysis times in the memory of one worker, the most recently used ones.

    Parameters
    ----------
    cache : TileCache, optional
        Where tiles are kept on disk.
    limit : int
        Memory beyond which the times unused for longest are let go [bytes].
    """

    def __init__(self, cache: TileCache | None = None, limit: int = POOL_LIMIT) -> None:
        self.cache = cache or TileCache()
        self.limit = limit
        self._times: OrderedDict[str, TimeColumns] = OrderedDict()
        self._lock = threading.Lock()

    def at(self, source: ColumnSource, time_index: int, ziscale: float) -> TimeColumns:
        """Return the columns of one analysis time; tiles are loaded as they are wanted."""
        key = tile_key(source, time_index, ziscale)
        with self._lock:
            entry = self._times.pop(key, None)
            if entry is None:
                entry = TimeColumns(source, time_index, ziscale, self.cache)
            self._times[key] = entry
            total = sum(times.nbytes for times in self._times.values())
            for old in list(self._times)[:-2]:
                if total <= self.limit:
                    break
                total -= self._times.pop(old).nbytes
        return entry
