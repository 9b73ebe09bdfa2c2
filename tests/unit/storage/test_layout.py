"""Names become keys, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stilt.errors import ProjectError
from stilt.storage import layout

SIM = "hrrr_202301011200_-111.85_40.77_5"
MAKERS = [
    layout.trajectory_key,
    layout.error_key,
    layout.log_key,
    layout.failure_key,
    layout.simulation_prefix,
    lambda sim_id: layout.footprint_key(sim_id, "x"),
    lambda sim_id: layout.empty_key(sim_id, "x"),
    lambda sim_id: layout.chunk_key(sim_id, 1),
]


def test_the_documented_names():
    folder = f"simulations/by-id/{SIM}/"
    assert layout.trajectory_key(SIM) == f"{folder}{SIM}_traj.parquet"
    assert layout.error_key(SIM) == f"{folder}{SIM}_error.parquet"
    assert layout.footprint_key(SIM, "slv") == f"{folder}{SIM}_slv_foot.nc"
    assert layout.empty_key(SIM, "slv") == f"{folder}{SIM}_slv_foot.empty"
    assert layout.log_key(SIM) == f"{folder}stilt.log"
    assert layout.failure_key(SIM) == f"{folder}failure.json"
    assert layout.MANIFEST == ".stilt/manifest.parquet"


@given(st.text(max_size=40))
def test_no_text_escapes_its_folder(text):
    for make in MAKERS:
        try:
            key = make(text)
        except ProjectError:
            continue
        layout.check_key(key.rstrip("/"))
        assert key.isascii()
        assert "\n" not in key
        assert key.startswith((layout.BY_ID + "/" + text, layout.CHUNKS + "/" + text))


@given(st.text(max_size=20))
def test_no_footprint_name_escapes(text):
    try:
        key = layout.footprint_key(SIM, text)
    except ProjectError:
        return
    assert key.count("/") == 3
    assert layout.parse_output_key(key) == (SIM, f"footprint:{text}")


@pytest.mark.parametrize(
    "bad",
    ["", ".", "..", "a..b", "a/b", "a\\b", "a\n", "é", "a b", "-a", ".tmp.a", "a.", "a" * 250, "a'b", 'a"b'],
)
def test_bad_ids(bad):
    for make in MAKERS:
        with pytest.raises(ProjectError):
            make(bad)


def test_long_footprint_names_are_refused_before_the_disk_does():
    with pytest.raises(ProjectError, match="shorter"):
        layout.footprint_key(SIM, "a" * 230)


@pytest.mark.parametrize(
    "artifact",
    ["trajectory", "error_trajectory", "footprint:slv", "footprint:slv_error", "footprint:a-b_foot"],
)
def test_keys_tell_their_artifact(artifact):
    for key in layout.artifact_keys(SIM, artifact):
        assert layout.parse_output_key(key) == (SIM, artifact)


@pytest.mark.parametrize(
    "key",
    [layout.MANIFEST, layout.log_key(SIM), layout.failure_key(SIM), "a", f"{layout.BY_ID}/a/b_traj.parquet"],
)
def test_other_keys_are_no_artifacts(key):
    assert layout.parse_output_key(key) is None


def test_unknown_artifacts_are_refused():
    with pytest.raises(ProjectError, match="no artifact"):
        layout.artifact_keys(SIM, "plume")
