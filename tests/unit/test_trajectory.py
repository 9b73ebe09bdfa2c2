"""Trajectories keep what they are given, and equal trajectories make equal files."""

from __future__ import annotations

import io
import json

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from stilt.errors import FootprintError
from stilt.receptors import ColumnReceptor, PointReceptor
from stilt.trajectory import Trajectories

RECEPTOR = PointReceptor("2023-01-01 12:30", -111.85, 40.77, 5.0)


def small_table(dtype: str = "float64") -> pd.DataFrame:
    return pd.DataFrame(
        {
            "time": np.array([-1, -1, -2, -2, -3], dtype=dtype),
            "indx": [1, 2, 1, 2, 1],
            "long": [-111.8501, -111.8502, -111.86, -111.87, -111.88],
            "lati": [40.7701, 40.7702, 40.78, 40.79, 40.80],
            "zagl": np.array([5, 6, 7, 8, 9], dtype=dtype),
            "foot": np.array([0.1, 0.2, 0.0, 0.3, 0.4], dtype=dtype),
        }
    )


def test_datetime_is_receptor_time_plus_minutes():
    """Minutes count from the receptor time, whose own minutes are kept."""
    trajectories = Trajectories.from_particles(small_table(), RECEPTOR)
    assert trajectories.data["datetime"].iloc[0] == pd.Timestamp("2023-01-01 12:29")
    assert list(trajectories.data.columns)[-1] == "datetime"


def test_files_hold_the_documented_types():
    """A file holds float32, but float64 positions and int32 particle numbers."""
    back = Trajectories.from_parquet(Trajectories.from_particles(small_table(), RECEPTOR).to_bytes())
    kinds = back.data.dtypes.astype(str).to_dict()
    assert kinds == {
        "time": "float32",
        "indx": "int32",
        "long": "float64",
        "lati": "float64",
        "zagl": "float32",
        "foot": "float32",
        "datetime": "datetime64[ms]",
    }


def test_a_file_gives_back_what_as_stored_says():
    """What was written, read again, equals the stored form in every value and fact."""
    trajectories = Trajectories.from_particles(
        small_table(),
        RECEPTOR,
        {"n_hours": -1, "seed": None},
        met_files=[{"name": "a.arl", "size": 3}],
        is_error=True,
        engine="native",
        seed=42,
        exits={"end": 2},
    )
    back = Trajectories.from_parquet(io.BytesIO(trajectories.to_bytes()))
    pd.testing.assert_frame_equal(back.data, trajectories.as_stored().data)
    for name in ("receptor", "params", "met_files", "is_error", "engine", "version", "seed", "exits"):
        assert getattr(back, name) == getattr(trajectories, name)
    assert back.as_stored() is back


def test_equal_trajectories_make_equal_bytes(tmp_path):
    """Nothing in the file depends on when or where it was written."""
    one = Trajectories.from_particles(small_table(), RECEPTOR).to_parquet(tmp_path / "one.parquet")
    (tmp_path / "folder").mkdir()
    two = Trajectories.from_particles(small_table(), RECEPTOR).to_parquet(tmp_path / "folder" / "two.parquet")
    assert one.read_bytes() == two.read_bytes()
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["two.parquet"]


def test_metadata_keys_are_json():
    """Any Parquet reader can tell the receptor and the settings."""
    content = Trajectories.from_particles(small_table(), RECEPTOR, {"numpar": 2}).to_bytes()
    metadata = pq.read_schema(io.BytesIO(content)).metadata
    assert json.loads(metadata[b"stilt:params"]) == {"numpar": 2}
    assert json.loads(metadata[b"stilt:receptor"])["type"] == "point"
    assert b"pandas" not in metadata


def test_columns_can_be_chosen():
    """Only the columns asked for are read; an unknown one is named."""
    content = Trajectories.from_particles(small_table(), RECEPTOR).to_bytes()
    assert list(Trajectories.from_parquet(content, columns=["time", "foot"]).data.columns) == ["time", "foot"]
    with pytest.raises(FootprintError, match="no column mlht"):
        Trajectories.from_parquet(content, columns=["mlht"])


def test_endpoints_are_the_rows_farthest_in_time():
    """A particle that left early ends where it left; order of the rows does not matter."""
    shuffled = small_table().sample(frac=1, random_state=1)
    ends = Trajectories.from_particles(shuffled, RECEPTOR).endpoints()
    assert ends["indx"].tolist() == [1, 2]
    assert ends["time"].tolist() == [-3, -2]
    assert ends["lati"].tolist() == [40.80, 40.79]


def test_a_missing_required_column_is_named():
    """Five columns are needed; the error says which one is not there."""
    with pytest.raises(FootprintError, match=r"lacks the column\(s\) foot"):
        Trajectories.from_particles(small_table().drop(columns="foot"), RECEPTOR)


@pytest.mark.parametrize("bad", [1.5, np.nan])
def test_particle_numbers_must_be_whole(bad):
    """Half a particle is refused."""
    table = small_table().astype({"indx": float})
    table.loc[0, "indx"] = bad
    with pytest.raises(FootprintError, match="whole particle numbers"):
        Trajectories.from_particles(table, RECEPTOR)


def test_text_in_a_column_is_refused():
    """A column of words is named."""
    with pytest.raises(FootprintError, match="column zagl"):
        Trajectories.from_particles(small_table().assign(zagl="low"), RECEPTOR)


def test_release_heights_come_after_the_other_columns():
    """``xhgt`` and the uncorrected influence stand just before ``datetime``."""
    table = small_table()
    table.insert(0, "foot_no_hnf_dilution", 0.0)
    table.insert(0, "xhgt", 1.0)
    column = ColumnReceptor("2023-01-01", -111.85, 40.77, 0, 1000)
    names = list(Trajectories.from_particles(table, column).data.columns)
    assert names[-3:] == ["xhgt", "foot_no_hnf_dilution", "datetime"]


def test_other_files_are_refused_in_one_line(tmp_path):
    """Bytes that are no Parquet file, and Parquet files that are no trajectories."""
    with pytest.raises(FootprintError, match="cannot be read as trajectories"):
        Trajectories.from_parquet(b"not a parquet file")
    small_table().to_parquet(tmp_path / "other.parquet")
    with pytest.raises(FootprintError, match="names no receptor"):
        Trajectories.from_parquet(tmp_path / "other.parquet")


def test_files_are_smaller_than_with_the_defaults_of_parquet(tmp_path):
    """Measured columns are stored byte by byte, repeating ones with a dictionary; both read back equal."""
    rng = np.random.default_rng(3)
    minutes, particles = 60, 50
    n = minutes * particles
    walk = np.cumsum(rng.normal(0.0, 0.002, (minutes, particles)), axis=0)
    frame = pd.DataFrame(
        {
            "time": np.repeat(-np.arange(1.0, minutes + 1), particles),
            "indx": np.tile(np.arange(1, particles + 1), minutes),
            "long": (-111.8 + walk).ravel(),
            "lati": (40.7 + walk).ravel(),
            "zagl": np.abs(500.0 + 1e4 * walk).ravel(),
            "foot": rng.exponential(1e-3, n),
        }
    )
    stored = Trajectories.from_particles(frame, RECEPTOR)
    path = stored.to_parquet(tmp_path / "t.parquet")
    table = pq.read_table(path)
    plain = tmp_path / "plain.parquet"
    pq.write_table(table, plain, compression="zstd")
    assert path.stat().st_size < 0.9 * plain.stat().st_size
    with pq.ParquetFile(path) as file:
        of = {
            file.schema.column(i).name: file.metadata.row_group(0).column(i)
            for i in range(len(file.schema.names))
        }
    assert all(of[name].compression == "ZSTD" for name in of)
    assert "BYTE_STREAM_SPLIT" in of["zagl"].encodings
    assert "RLE_DICTIONARY" in of["indx"].encodings
    pd.testing.assert_frame_equal(Trajectories.from_parquet(path).data, stored.as_stored().data)
