"""Registrations are never lost, whoever registers at the same time."""

from __future__ import annotations

import io
import json
import re
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stilt.errors import ManifestError, ProjectError, ReceptorError
from stilt.ids import SimID
from stilt.manifest import Manifest, ManifestRow
from stilt.receptors import ColumnReceptor, MultiPointReceptor, PointReceptor
from stilt.storage import MemoryStore
from stilt.storage.layout import MANIFEST, REGISTRATIONS


def receptors_at(count, *, first=0, time="2023-01-01 12:00"):
    return [PointReceptor(time, -111.85 + 1e-4 * (first + number), 40.77, 5.0) for number in range(count)]


def row_of(receptor, **values):
    return ManifestRow(f"hrrr_{receptor.id}", "hrrr", receptor.to_dict(), **values)


@pytest.fixture
def manifest():
    return Manifest(MemoryStore())


def test_nothing_registered(manifest):
    table = manifest.load()
    assert not manifest.exists()
    assert (len(table), table.sim_ids, table.rows(), table.by_scene()) == (0, [], [], {})
    assert table.select(mets="hrrr", footprint="a", time_range=("2023-01-01", None), location_ids="x") == []
    assert table.by_footprints() == {}
    assert table.differing(["a"], ["hrrr"]) == []
    assert manifest.register([]).added == 0
    assert not manifest.exists()


def test_every_kind_of_receptor_comes_back(manifest):
    kinds = [
        PointReceptor("2023-01-01 12:00:07", -111.85, 40.77, 5.0),
        ColumnReceptor("2023-01-01 12:00", 0.0, 0.0, 0.0, 3000.0, altitude_ref="msl"),
        MultiPointReceptor("2023-01-01 12:00", [1.0, 2.0], [3.0, 4.0], [5.0, 6.0]),
    ]
    done = manifest.register_receptors(kinds, ["hrrr", "gfs"], scene="s", footprints=["a", "a_error"])
    table = manifest.load()
    assert (done.added, len(table)) == (6, 6)
    assert table.sim_ids == sorted(done.sim_ids)
    for receptor in kinds:
        sim_id = f"gfs_{receptor.id}"
        assert table.receptor(sim_id) == receptor
        assert table.row(sim_id) == ManifestRow(sim_id, "gfs", receptor.to_dict(), "s", ("a", "a_error"))


def test_the_documented_columns(manifest):
    manifest.register([row_of(receptors_at(1)[0], scene="s", footprints=("a",))])
    table = pq.read_table(io.BytesIO(manifest.store.read(MANIFEST)))
    assert table.column_names == ["sim_id", "met", "receptor", "scene", "footprints"]
    (row,) = table.to_pylist()
    assert json.loads(row["footprints"]) == ["a"]
    assert json.loads(row["receptor"])["type"] == "point"


def test_registering_again_changes_nothing(manifest):
    receptors = receptors_at(5)
    manifest.register_receptors(receptors, ["hrrr"], scene="s", footprints=["a"])
    before = manifest.store.read_versioned(MANIFEST)
    done = manifest.register_receptors(receptors, ["hrrr"], footprints=["a"])
    assert (done.added, done.updated, len(done.sim_ids)) == (0, 0, 5)
    assert manifest.store.read_versioned(MANIFEST) == before


def test_a_later_registration_keeps_the_scene_and_renews_the_footprints(manifest):
    receptors = receptors_at(5)
    manifest.register_receptors(receptors[:3], ["hrrr"], scene="one", footprints=["a"])
    done = manifest.register_receptors(receptors[2:], ["hrrr"], footprints=["b"])
    assert (done.added, done.updated) == (2, 1)
    done = manifest.register_receptors(receptors[1:2], ["hrrr"], scene="two", footprints=["a"])
    assert (done.added, done.updated) == (0, 1)
    rows = manifest.load().rows([f"hrrr_{receptor.id}" for receptor in receptors])
    assert [row.scene for row in rows] == ["one", "two", "one", None, None]
    assert [row.footprints for row in rows] == [("a",), ("a",), ("b",), ("b",), ("b",)]


def test_duplicates_are_registered_once(manifest):
    receptor = receptors_at(1)[0]
    done = manifest.register([row_of(receptor), row_of(receptor, scene="s"), row_of(receptor)])
    assert (done.sim_ids, done.added, done.duplicates) == ([SimID(f"hrrr_{receptor.id}")], 1, 2)
    assert manifest.load().row(done.sim_ids[0]).scene == "s"


def test_select(manifest):
    early = receptors_at(2, time="2023-01-01 12:00")
    late = receptors_at(2, time="2023-01-01 12:00:30")
    manifest.register_receptors(early, ["hrrr"], footprints=["a"], scene="s")
    manifest.register_receptors(late, ["gfs2"], footprints=["b"])
    table = manifest.load()
    ids_early, ids_late = sorted(f"hrrr_{r.id}" for r in early), sorted(f"gfs2_{r.id}" for r in late)
    assert table.select() == sorted(ids_early + ids_late)
    assert table.select(mets=["hrrr", "none"]) == ids_early
    assert table.select(footprint="b") == ids_late
    assert table.select(footprint="c") == []
    assert table.select(scene="s") == ids_early
    assert table.select(time_range=("2023-01-01 12:00", "2023-01-01 12:00")) == ids_early
    assert table.select(time_range=("2023-01-01 12:00:01", None)) == ids_late
    assert table.select(location_ids=early[0].location_id) == sorted(
        [f"hrrr_{early[0].id}", f"gfs2_{late[0].id}"]
    )
    assert table.select(mets="gfs2", location_ids=[early[1].location_id]) == [f"gfs2_{late[1].id}"]
    assert table.by_scene() == {"s": ids_early, None: ids_late}
    assert table.differing(["a"], ["hrrr"]) == ids_late
    assert table.differing(["a"], ["gfs2"]) == sorted(ids_early + ids_late)


@pytest.mark.parametrize("bad", ["../../x", "hrrr_2023", "a'b", ""])
def test_only_ids_are_registered(manifest, bad):
    with pytest.raises(ReceptorError):
        manifest.register([ManifestRow(bad, "hrrr", {})])


def parquet_of(**columns):
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


GOOD = {"sim_id": ["a_1"], "met": ["a"], "receptor": ["{}"], "scene": [None], "footprints": ["[]"]}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PAR1",
        b"no parquet at all",
        parquet_of(sim_id=["a"]),
        parquet_of(**{**GOOD, "sim_id": ["../../etc"]}),
        parquet_of(**{**GOOD, "sim_id": ["a\nb"]}),
        parquet_of(**{**GOOD, "sim_id": [None]}),
        parquet_of(**{**GOOD, "footprints": [None]}),
        parquet_of(**{**GOOD, "met": [b"\xff"]}),
    ],
)
def test_a_damaged_manifest_is_one_line_with_a_remedy_and_is_left_alone(manifest, data):
    manifest.store.write(MANIFEST, data)
    for action in (manifest.load, lambda: manifest.register([row_of(receptors_at(1)[0])])):
        with pytest.raises(ManifestError, match=r"stilt rebuild|register the receptors again") as caught:
            action()
        assert "\n" not in str(caught.value)
    assert manifest.store.read(MANIFEST) == data


@pytest.mark.parametrize("footprints", ["{", '["../x"]', "[1]", "3"])
def test_damaged_footprints(manifest, footprints):
    manifest.store.write(MANIFEST, parquet_of(**{**GOOD, "footprints": [footprints]}))
    with pytest.raises((ManifestError), match="damaged"):
        manifest.load().by_footprints()


def test_a_truncated_manifest_is_damaged(manifest):
    manifest.register_receptors(receptors_at(50), ["hrrr"])
    data = manifest.store.read(MANIFEST)
    for size in (len(data) // 2, len(data) - 1):
        manifest.store.write(MANIFEST, data[:size])
        with pytest.raises(ManifestError):
            manifest.load()


def test_a_newer_manifest_asks_for_an_update(manifest):
    sink = io.BytesIO()
    pq.write_table(pa.table(GOOD).replace_schema_metadata({"stilt:manifest_format": "2"}), sink)
    manifest.store.write(MANIFEST, sink.getvalue())
    with pytest.raises(ManifestError, match="newer"):
        manifest.load()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.one_of(st.none(), st.text()), min_size=1, max_size=4))
def test_no_scene_label_escapes_its_row(scenes):
    """Quotes, newlines, slashes and Unicode are only text."""
    manifest = Manifest(MemoryStore())
    receptors = receptors_at(len(scenes))
    for receptor, scene in zip(receptors, scenes):
        try:
            manifest.register_receptors([receptor], ["hrrr"], scene=scene, footprints=["a"])
        except ProjectError:  # lone surrogates are no text
            return
    table = manifest.load()
    keys = list(manifest.store.list())
    assert keys[0] == MANIFEST
    assert all(re.fullmatch(REGISTRATIONS + "/[0-9a-f]{32}.parquet", key) for key in keys[1:])
    assert [row.scene for row in table.rows([f"hrrr_{r.id}" for r in receptors])] == scenes
    for scene in set(scenes):
        members = [f"hrrr_{r.id}" for r, label in zip(receptors, scenes) if label == scene]
        assert table.by_scene()[scene] == sorted(members)
        if scene is not None:
            assert table.select(scene=scene) == sorted(members)


def test_a_hundred_thousand_at_once_are_cheap(manifest):
    receptors = receptors_at(100_000)
    start = time.process_time()
    assert manifest.register_receptors(receptors, ["hrrr"], footprints=["a"]).added == 100_000
    assert time.process_time() - start < 6  # about 1.3 s; the margin is for a busy machine


@pytest.mark.parametrize(
    "values", [[], ["a"], [None], ["", None, "é", "ab", None, "\U0001f30d"], [None] * 9 + ["z"]]
)
def test_columns_made_by_hand_are_those_of_arrow(values):
    import pyarrow as pa

    from stilt.manifest.arrow import COLUMNS, rows_of, schema

    made = rows_of([values] * len(COLUMNS))
    made.validate(full=True)
    assert made.equals(pa.table([pa.array(values, pa.string())] * len(COLUMNS), schema=schema()))
