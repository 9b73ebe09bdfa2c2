"""Meteorologies that name others: every way to write it, and one line for every mistake."""

from __future__ import annotations

import pytest

from stilt.config import MetConfig, ModelConfig, trajectory_settings
from stilt.errors import ConfigError


def read(mets: str) -> ModelConfig:
    return ModelConfig.from_yaml_text(f"mets: {mets}\n")


@pytest.mark.parametrize(
    ("mets", "chain", "run"),
    [
        ("{hrrr: {directory: a, fallback: gfs}, gfs: {directory: b}}", ["hrrr", "gfs"], ("hrrr",)),
        (
            "{hrrr: {directory: a, fallback: gfs}, gfs: {directory: b, standalone: true}}",
            ["hrrr", "gfs"],
            ("hrrr", "gfs"),
        ),
        ("{hrrr: [{directory: a}, {directory: b}]}", ["hrrr", "hrrr.2"], ("hrrr",)),
        (
            "{hrrr: [{directory: a}, nam12, {source: xarray, path: c}], nam12: {directory: b}}",
            ["hrrr", "nam12", "hrrr.3"],
            ("hrrr",),
        ),
        ("{hrrr: {directory: a, fallback: {directory: b}}}", ["hrrr", "hrrr.2"], ("hrrr",)),
        (
            "{hrrr: {directory: a, fallback: [nam12, gfs]}, nam12: {directory: n, fallback: gfs}, "
            "gfs: {directory: b}}",
            ["hrrr", "nam12", "gfs"],
            ("hrrr",),
        ),
        ("{hrrr: {directory: a}, gfs: {directory: b}}", ["hrrr"], ("hrrr", "gfs")),
    ],
)
def test_a_chain_is_read_and_written(mets, chain, run):
    config = read(mets)
    assert [name for name, _ in config.met_chain("hrrr")] == chain
    assert config.run_mets == run
    assert ModelConfig.from_yaml_text(config.to_yaml()) == config


def test_folders_of_fallbacks_count_from_the_config(tmp_path):
    config = read("{hrrr: [{directory: a}, {directory: b}]}").resolved(tmp_path)
    assert [met.directory for _, met in config.met_chain("hrrr")] == [tmp_path / "a", tmp_path / "b"]


@pytest.mark.parametrize(
    ("mets", "said"),
    [
        (
            "{hrrr: {directory: a, fallback: gsf}, gfs: {directory: b}}",
            "hrrr.fallback: unknown met 'gsf', did you mean 'gfs'?",
        ),
        ("{hrrr: {directory: a, fallback: hrrr}}", "hrrr -> hrrr goes round in a circle"),
        (
            "{hrrr: {directory: a, fallback: gfs}, "
            "gfs: {directory: b, fallback: {directory: c, fallback: hrrr}}}",
            "hrrr -> gfs -> hrrr.3 -> hrrr goes round in a circle",
        ),
        ("{hrrr: [gfs, {directory: a}], gfs: {directory: b}}", "begins with the keys of 'hrrr' itself"),
        ("{hrrr: []}", "begins with the keys of 'hrrr' itself"),
        (
            "{hrrr: [{directory: a, fallback: gfs}, {directory: c}], gfs: {directory: b}}",
            "both a list and fallback",
        ),
        (
            "{hrrr: {directory: a, fallback: {directoryy: b}}}",
            "mets.hrrr.fallback[0]: unknown key 'directoryy'",
        ),
        ("{hrrr: {directory: a, fallback: 3}}", "mets.hrrr.fallback: should be a list (got 3)"),
    ],
)
def test_mistakes_are_told_in_one_line(mets, said):
    with pytest.raises(ConfigError) as caught:
        read(mets)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_fingerprint_has_the_chain_and_nothing_new_without():
    alone = read("{hrrr: {directory: a}}")
    assert "fallback" not in trajectory_settings(alone, "hrrr")
    two = read("{hrrr: {directory: a, fallback: gfs}, gfs: {directory: b, file_format: '%Y'}}")
    settings = trajectory_settings(two, "hrrr")
    assert [entry["met_name"] for entry in settings["fallback"]] == ["gfs"]
    assert settings["fallback"][0]["met"]["file_format"] == "%Y"
    # a folder is where bytes come from, not what they are
    moved = read("{hrrr: {directory: x, fallback: gfs}, gfs: {directory: y, file_format: '%Y'}}")
    assert trajectory_settings(moved, "hrrr") == settings


def test_sections_may_be_given_in_python():
    first, second = MetConfig(directory="/a"), MetConfig(directory="/b")
    listed = ModelConfig(mets={"hrrr": [first, second]})
    assert [met for _, met in listed.met_chain("hrrr")][1] == second
    assert listed == ModelConfig(mets={"hrrr": first.replace(fallback=second)})
