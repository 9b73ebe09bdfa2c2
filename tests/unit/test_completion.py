"""Complete means: every expected artifact is there, by key."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from stilt import completion
from stilt.completion import (
    StatusCounts,
    complete_ids,
    expected_artifacts,
    expected_footprints,
    expected_for_config,
    is_complete,
    missing_artifacts,
    present_artifacts,
    survey,
)
from stilt.errors import ProjectError
from stilt.storage import LocalStore, MemoryStore
from stilt.storage.failures import record_failure
from stilt.storage.layout import artifact_keys

IDS = [f"hrrr_202301011200_-111.85_40.77_{height}" for height in range(1, 6)]
EXPECTED = expected_artifacts(["slv"])


@pytest.fixture(params=["local", "memory"])
def store(request, tmp_path):
    return LocalStore(tmp_path) if request.param == "local" else MemoryStore()


def make(store, sim_id, *artifacts, empty=False):
    for artifact in artifacts:
        store.write(artifact_keys(sim_id, artifact)[-1 if empty else 0], b"x")


def test_expected_of_a_config():
    footprints = {"slv": SimpleNamespace(error=True), "far": SimpleNamespace(error=False)}
    config = SimpleNamespace(footprints=footprints, transport_params=lambda: SimpleNamespace(is_error=True))
    assert expected_footprints(config) == ("slv", "slv_error", "far")
    assert expected_for_config(config) == (
        "trajectory",
        "error_trajectory",
        "footprint:slv",
        "footprint:slv_error",
        "footprint:far",
    )


@pytest.mark.parametrize("empty", [True, False])
def test_an_empty_marker_is_as_good_as_a_footprint(store, empty):
    make(store, IDS[0], "trajectory")
    assert missing_artifacts(store, IDS[0], EXPECTED) == ("footprint:slv",)
    make(store, IDS[0], "footprint:slv", empty=empty)
    assert present_artifacts(store, IDS[0], EXPECTED) == set(EXPECTED)
    assert is_complete(store, IDS[0], EXPECTED)


def test_a_footprint_without_its_trajectory_is_incomplete(store):
    make(store, IDS[0], "footprint:slv")
    assert not is_complete(store, IDS[0], EXPECTED)
    assert complete_ids(store, IDS, EXPECTED) == []


def test_one_pass_agrees_with_one_by_one(store):
    make(store, IDS[0], "trajectory", "footprint:slv")
    make(store, IDS[1], "trajectory", "footprint:slv", empty=True)
    make(store, IDS[2], "trajectory")
    record_failure(store, IDS[2], RuntimeError("x"))
    record_failure(store, IDS[3], RuntimeError("x"))
    found = survey(store, {EXPECTED: IDS})
    assert (
        found.complete == {sim_id for sim_id in IDS if is_complete(store, sim_id, EXPECTED)} == set(IDS[:2])
    )
    assert found.failed == {IDS[2], IDS[3]}
    assert found.pending == {IDS[4]}
    assert found.counts() == StatusCounts(5, 2, 0, 1, 2)
    assert found.counts(IDS[1:3]) == StatusCounts(2, 1, 0, 0, 1)
    assert found.counts(running=[IDS[0], IDS[3], IDS[4]]) == StatusCounts(5, 2, 2, 0, 1)


def test_a_failure_record_beside_complete_outputs_does_not_count(store):
    make(store, IDS[0], *EXPECTED)
    record_failure(store, IDS[0], RuntimeError("x"))
    assert survey(store, {EXPECTED: IDS[:1]}).counts() == StatusCounts(1, 1, 0, 0, 0)


def test_temporary_files_are_no_outputs(tmp_path):
    """What a killed writer leaves is never mistaken for an artifact."""
    store = LocalStore(tmp_path)
    make(store, IDS[0], *EXPECTED)
    for path in list((tmp_path / "simulations" / "by-id" / IDS[0]).iterdir()):
        path.rename(path.with_name(".tmp.0.1." + path.name))
    assert not present_artifacts(store, IDS[0], EXPECTED)


def test_ids_are_checked():
    with pytest.raises(ProjectError):
        complete_ids(MemoryStore(), ["../../etc"], EXPECTED)


def test_counts_add_up():
    total = StatusCounts(3, 1, 1, 1, 0) + StatusCounts(2, 0, 0, 0, 2)
    assert total == StatusCounts(5, 1, 1, 1, 2)
    assert completion.StatusCounts() == StatusCounts(0, 0, 0, 0, 0)
