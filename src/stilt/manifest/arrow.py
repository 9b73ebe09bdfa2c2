"""The manifest as Arrow columns: its Parquet file, and the merging of rows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from stilt.errors import ManifestError
from stilt.storage.layout import SIM_ID_PATTERN

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = ("sim_id", "met", "receptor", "scene", "footprints")
FORMAT = 1
_FORMAT_KEY = b"stilt:manifest_format"
_REGISTERED_KEY = b"stilt:registered"

_is_id = re.compile(SIM_ID_PATTERN).fullmatch
# which bytes an id may begin with, and which may follow
_MAY_BEGIN = np.array([bool(_is_id(chr(byte))) for byte in range(256)])
_MAY_FOLLOW = np.array([bool(_is_id("a" + chr(byte))) for byte in range(256)])


def schema() -> pa.Schema:
    """Columns of the manifest, and the version of its format."""
    import pyarrow as pa

    return pa.schema([pa.field(name, pa.string()) for name in COLUMNS], metadata={_FORMAT_KEY: str(FORMAT)})


def serialise(table: pa.Table, *, registered: str = "") -> bytes:
    """
    Write rows as a Parquet file.

    Parameters
    ----------
    table : pyarrow.Table
        The rows.
    registered : str
        When they were registered, for `registered_at`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if registered:
        table = table.replace_schema_metadata(
            {**(table.schema.metadata or {}), _REGISTERED_KEY: registered.encode()}
        )
    sink = pa.BufferOutputStream()
    # Many small registrations rewrite the whole table: these settings write and read it fastest
    # for its size (dictionaries only where values repeat, no statistics nobody asks for).
    pq.write_table(
        table,
        sink,
        compression="zstd",
        compression_level=1,
        use_dictionary=["met", "scene", "footprints"],
        write_statistics=False,
        row_group_size=1 << 20,
    )
    return bytes(sink.getvalue())


def registered_at(data: bytes) -> str:
    """When the rows of a published registration were registered; empty when it does not say."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        metadata = pq.read_schema(pa.BufferReader(data)).metadata or {}
    except (pa.ArrowException, OSError):
        return ""
    return str(metadata.get(_REGISTERED_KEY, b"").decode("ascii", "replace"))


def parse(
    data: bytes | None, where: str, columns: Sequence[str] = COLUMNS, *, coded: Sequence[str] = ()
) -> pa.Table:
    """
    Read rows from a Parquet file.

    Parameters
    ----------
    data : bytes or None
        The file; None for no rows.
    where : str
        Its address, for messages.
    columns : sequence of str
        Only these.
    coded : sequence of str
        Those of them to read as dictionaries: few values, many rows.

    Raises
    ------
    ManifestError
        When it is damaged, of an older or another program, or from a newer version.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    text = pa.string()
    wanted = pa.schema(
        [(name, pa.dictionary(pa.int32(), text) if name in coded else text) for name in columns]
    )
    if data is None:
        return wanted.empty_table()
    try:
        found = pq.read_schema(pa.BufferReader(data))
        metadata = found.metadata or {}
        missing = [name for name in COLUMNS if name not in found.names]
        if missing and _FORMAT_KEY not in metadata:
            raise ManifestError(
                f"{where} was written by an older version or another program (it has no column "
                f"{missing[0]!r}); move it away and register the receptors again (finished outputs are found "
                "by key and kept)."
            )
        if missing:
            raise damaged(where, f"column {missing[0]!r} is missing")
        if _is_beyond(metadata.get(_FORMAT_KEY, b"1")):
            raise ManifestError(f"{where} was written by a newer version of stilt; update this installation.")
        file = pq.ParquetFile(pa.BufferReader(data), read_dictionary=list(coded))
        table = file.read(columns=list(columns), use_threads=False)
        table = table.select(list(columns)).replace_schema_metadata(None)
        if table.schema != wanted:
            table = table.cast(wanted)
        if "sim_id" in columns and not _are_ids(table["sim_id"]):
            raise damaged(where, "a simulation id that cannot be one")
        for name in {"met", "footprints"}.intersection(columns):
            if table[name].null_count:
                raise damaged(where, f"a row without {name}")
    except (pa.ArrowException, OSError) as error:
        raise damaged(where, str(error)) from error
    return table


def _are_ids(column: pa.ChunkedArray) -> bool:
    """Whether every value may be a simulation id; by its bytes, as pyarrow.compute takes long to load."""
    if column.null_count:
        return False
    for chunk in filter(len, column.chunks):
        _, offsets, data = chunk.buffers()
        ends = np.frombuffer(offsets, np.int32)[chunk.offset : chunk.offset + len(chunk) + 1]
        text = np.frombuffer(data or b"", np.uint8)
        starts = ends[:-1]
        if (starts == ends[1:]).any() or not _MAY_BEGIN[text[starts]].all():
            return False
        if not _MAY_FOLLOW[text[ends[0] : ends[-1]]].all():
            return False
    return True


def is_newer(data: bytes) -> bool:
    """Whether a manifest was written by a newer version, so that this one must leave it alone."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        metadata = pq.read_schema(pa.BufferReader(data)).metadata or {}
    except (pa.ArrowException, OSError):
        return False
    return _is_beyond(metadata.get(_FORMAT_KEY, b"1"))


def _is_beyond(version: bytes) -> bool:
    return not version.isdigit() or int(version) > FORMAT


def damaged(where: str, what: str) -> ManifestError:
    """Say that a manifest cannot be used, and what to do."""
    what = " ".join(what.split())[:200].rstrip(".")
    return ManifestError(
        f"{where} is damaged ({what}); `stilt rebuild` puts it together again from the registrations "
        "published beside it (finished outputs are found by key and kept)."
    )


def upsert(old: pa.Table, new: pa.Table) -> tuple[pa.Table | None, int, int]:
    """Merge new rows into old ones; None when nothing changes."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not old.num_rows:
        return new, new.num_rows, 0
    # one lookup of every old id among the (usually few) new ones
    match = pc.index_in(old["sim_id"], value_set=new["sim_id"].combine_chunks()).combine_chunks()
    if match.null_count == len(match):
        return pa.concat_tables([old, new.cast(old.schema)]), new.num_rows, 0
    matched = pc.is_valid(match).to_numpy(zero_copy_only=False)
    rows = match.drop_null().to_numpy()
    theirs = old.filter(pa.array(matched))
    ours = new.take(pa.array(rows))
    scene = pc.coalesce(ours["scene"], theirs["scene"])
    changed = np.zeros(len(rows), dtype=bool)
    for name, values in (
        ("scene", scene),
        ("footprints", ours["footprints"]),
        ("receptor", ours["receptor"]),
    ):
        same = pc.fill_null(pc.equal(values, theirs[name]), False)
        both_null = pc.and_(pc.is_null(values), pc.is_null(theirs[name]))
        changed |= ~pc.or_(same, both_null).to_numpy()
    seen = np.zeros(new.num_rows, dtype=bool)
    seen[rows] = True
    added = new.filter(pa.array(~seen))
    if not changed.any() and not added.num_rows:
        return None, 0, 0
    columns = {}
    for name in COLUMNS:
        if changed.any() and name in ("scene", "footprints", "receptor"):
            values = scene if name == "scene" else ours[name]
            column = old[name].combine_chunks() if hasattr(old[name], "combine_chunks") else old[name]
            columns[name] = pc.replace_with_mask(column, pa.array(matched), values.combine_chunks())
        else:
            columns[name] = old[name]
    merged = pa.table(columns, schema=schema())
    if added.num_rows:
        merged = pa.concat_tables([merged, added.cast(merged.schema)])
    return merged, int(added.num_rows), int(changed.sum())


def rows_of(columns: Sequence[Sequence[str | None]]) -> pa.Table:
    """
    Make rows of the manifest.

    Parameters
    ----------
    columns : sequence of sequence of str or None
        Values of each of `COLUMNS`.
    """
    import pyarrow as pa

    return pa.table([_texts(values) for values in columns], schema=schema())


def _texts(values: Sequence[str | None]) -> pa.StringArray:
    """Put texts and None into a column; by its buffers, because ``pa.array`` loads pandas."""
    import pyarrow as pa

    absent = values.count(None)
    joined = "".join(values if not absent else [value or "" for value in values])  # type: ignore[arg-type]
    data = joined.encode()
    if len(data) == len(joined):
        lengths = np.fromiter((len(value or "") for value in values), np.int64, len(values))
    else:
        lengths = np.fromiter((len((value or "").encode()) for value in values), np.int64, len(values))
    if len(data) > np.iinfo(np.int32).max:
        raise ManifestError("this registration is longer than 2 GB; register fewer receptors at once.")
    offsets = np.zeros(len(values) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    valid = None
    if absent:
        present = np.fromiter((value is not None for value in values), bool, len(values))
        valid = pa.py_buffer(np.packbits(present, bitorder="little"))
    return pa.StringArray.from_buffers(len(values), pa.py_buffer(offsets), pa.py_buffer(data), valid, absent)


def strings(column: Any) -> list[Any]:
    """Values of a column as Python strings and None."""
    # not to_numpy, which loads pandas
    return list(column.to_pylist())
