"""A lost or damaged manifest is put together again from what registrations published."""

from __future__ import annotations

import io
from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stilt.errors import ManifestError
from stilt.manifest import Manifest, Restored
from stilt.receptors import ColumnReceptor, MultiPointReceptor, PointReceptor
from stilt.storage import LocalStore
from stilt.storage.layout import DAMAGED_MANIFEST, MANIFEST, REGISTRATIONS

T0 = datetime(2023, 1, 1, 12)


def receptors(count, start=0):
    return [PointReceptor(T0 + timedelta(hours=n), -111.85, 40.77, 5.0) for n in range(start, start + count)]


@pytest.fixture
def manifest(tmp_path):
    return Manifest(LocalStore(tmp_path))


def rows_of(manifest):
    return {row.sim_id: row for row in manifest.load().rows()}


@pytest.fixture
def registered(manifest):
    """Several registrations, the later ones over the earlier."""
    manifest.register_receptors(receptors(5), ["hrrr"], scene="one", footprints=["a"])
    manifest.register_receptors(receptors(5, start=3), ["hrrr", "gfs"], footprints=["a", "b"])
    kinds = [
        ColumnReceptor(T0, -111.85, 40.77, 5.0, 500.0),
        MultiPointReceptor(T0, [-111.85, -111.9], [40.77, 40.8], [5.0, 10.0]),
    ]
    manifest.register_receptors(kinds, ["hrrr"], scene='it\'s \n "quoted" / ü', footprints=[])
    return rows_of(manifest)


@pytest.mark.parametrize("damage", [None, b"", b"PAR1 nothing", "half"])
def test_every_row_comes_back(manifest, registered, damage):
    data = manifest.store.read(MANIFEST)
    damage = data[: len(data) // 2] if damage == "half" else damage
    if damage is None:
        manifest.store.delete(MANIFEST)
    else:
        manifest.store.write(MANIFEST, damage)
    done = manifest.restore()
    assert (done.rows, done.registrations, done.unreadable) == (len(registered), 3, ())
    assert rows_of(manifest) == registered
    if damage is None:
        assert done.kept == ""
    else:
        assert manifest.store.read(DAMAGED_MANIFEST) == damage
        assert done.kept.endswith(DAMAGED_MANIFEST)
    assert manifest.restore() == Restored()


def test_a_manifest_that_can_be_read_is_left_alone(manifest, registered):
    before = manifest.store.read_versioned(MANIFEST)
    assert manifest.restore() == Restored()
    assert manifest.store.read_versioned(MANIFEST) == before


def test_the_same_registration_is_published_once(manifest):
    for _ in range(3):
        manifest.register_receptors(receptors(4), ["hrrr"], footprints=["a"])
    assert len(list(manifest.store.list(REGISTRATIONS))) == 1
    manifest.register_receptors(receptors(4), ["hrrr"], footprints=["a"], scene="")
    assert len(list(manifest.store.list(REGISTRATIONS))) == 2


def test_a_damaged_publication_is_named_and_the_others_are_used(manifest, registered):
    keys = sorted(manifest.store.list(REGISTRATIONS + "/"))
    lost = manifest.store.read(keys[0])
    manifest.store.write(keys[0], lost[:-10])
    manifest.store.delete(MANIFEST)
    done = manifest.restore()
    assert [str(place).endswith(keys[0]) for place in done.unreadable] == [True]
    assert done.registrations == 2
    assert set(rows_of(manifest)) < set(registered)


def test_what_is_registered_meanwhile_is_kept(manifest, registered, monkeypatch):
    """Another process registers between the reading and the writing of a restore."""
    import stilt.manifest.registry as registry

    manifest.store.delete(MANIFEST)
    read = registry.read_published

    def slow(store, **options):
        found = read(store, **options)
        monkeypatch.setattr(registry, "read_published", read)
        Manifest(store).register_receptors(receptors(2, start=40), ["gfs"], scene="new", footprints=["a"])
        return found

    monkeypatch.setattr(registry, "read_published", slow)
    manifest.restore()
    rows = rows_of(manifest)
    assert len(rows) == len(registered) + 2
    assert {row.scene for row in rows.values()} >= {"one", "new"}


def test_nothing_to_restore_from(manifest):
    assert manifest.restore() == Restored()
    manifest.store.write(MANIFEST, b"damaged")
    with pytest.raises(ManifestError, match="damaged"):
        manifest.restore()
    assert manifest.store.read(MANIFEST) == b"damaged"


def test_a_newer_manifest_is_not_taken_for_a_damaged_one(manifest, registered):
    sink = io.BytesIO()
    pq.write_table(pa.table({"x": [1]}).replace_schema_metadata({"stilt:manifest_format": "9"}), sink)
    manifest.store.write(MANIFEST, sink.getvalue())
    with pytest.raises(ManifestError):
        manifest.restore()
    assert manifest.store.read(MANIFEST) == sink.getvalue()


def test_a_lost_manifest_is_told_from_one_that_never_was(manifest, registered, tmp_path):
    manifest.must_not_be_lost()
    Manifest(LocalStore(tmp_path / "never")).must_not_be_lost()
    manifest.store.delete(MANIFEST)
    with pytest.raises(ManifestError, match=r"missing.*rebuild"):
        manifest.must_not_be_lost()


def test_registering_after_the_manifest_went_away_brings_the_others_back(manifest, registered):
    manifest.store.delete(MANIFEST)
    done = manifest.register_receptors(receptors(2, start=40), ["gfs"], scene="new", footprints=["a"])
    assert (done.added, done.updated) == (2, 0)
    assert set(rows_of(manifest)) == {*registered, *done.sim_ids}
    # also when what is registered is known
    manifest.store.delete(MANIFEST)
    manifest.register_receptors(receptors(2, start=40), ["gfs"], scene="new", footprints=["a"])
    assert set(rows_of(manifest)) == {*registered, *done.sim_ids}


@pytest.mark.parametrize(("column", "text"), [("footprints", "nonsense"), ("receptor", '{"type":"point"}')])
def test_a_row_that_cannot_be_used_is_damage_too(manifest, registered, column, text):
    table = pq.read_table(io.BytesIO(manifest.store.read(MANIFEST)))
    place = table.schema.get_field_index(column)
    values = [text, *table[column].to_pylist()[1:]]
    sink = io.BytesIO()
    pq.write_table(table.set_column(place, column, pa.array(values, pa.string())), sink)
    manifest.store.write(MANIFEST, sink.getvalue())
    assert manifest.restore().rows == len(registered)
    assert rows_of(manifest) == registered
