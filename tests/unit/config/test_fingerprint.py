"""The fingerprint covers what changes a result, and only that."""

from __future__ import annotations

import json

import pytest

from stilt.config import ModelConfig, footprint_settings, settings_hash, trajectory_settings

GRID = {"xmin": -113, "xmax": -111, "ymin": 40, "ymax": 42, "xres": 0.01, "yres": 0.01}
MET = {"directory": "/data/hrrr", "file_format": "%Y%m%d_%H"}
BASE = {"mets": {"hrrr": MET}, "grids": {"slv": GRID}, "footprints": {"slv": {"grid": "slv"}}}


def trajectory_hash(**changes) -> str:
    return settings_hash(trajectory_settings(ModelConfig(**{**BASE, **changes}), "hrrr"))


def footprint_hash(**changes) -> str:
    footprint = {"grid": "slv", **changes}
    return settings_hash(footprint_settings(ModelConfig(**{**BASE, "footprints": {"slv": footprint}}), "slv"))


@pytest.mark.parametrize(
    "changes",
    [
        {"numpar": 200, "n_hours": -24, "delt": 1.0, "veght": 0.5, "ziscale": 1},
        {"maxpar": 200},
        {"ziscale": [1.0] * 25},
        {"kmsl": 0},
        {"rm_dat": False},
        {"timeout": 60},
        {"skip_existing": False},
        {"execution": {"backend": "slurm"}},
        {"footprints": {}},
        {"mets": {"hrrr": MET, "gdas": {"source": "gdas1"}}},
        {"mets": {"hrrr": {**MET, "directory": "elsewhere", "file_tres": "6h", "n_min": 3}}},
        {"mets": {"hrrr": {**MET, "subgrid_buffer": 0.5}}},
    ],
)
def test_what_leaves_the_particles_alone_is_not_in(changes):
    """Defaults written out, folders, execution, time limits, other mets, footprints."""
    assert trajectory_hash(**changes) == trajectory_hash()


@pytest.mark.parametrize(
    "changes",
    [
        {"numpar": 100},
        {"n_hours": -23},
        {"seed": 1},
        {"veght": 0.6},
        {"ziscale": 0.8},
        {"hnf_plume": False},
        {"varsiwant": "time indx long lati foot zagl mlht pres dens samt sigw tlgr"},
        {"engine": "hysplit"},
        {"sigzierr": 10, "tlzierr": 60, "horcorzierr": 5},
        {"mets": {"hrrr": {**MET, "file_format": "%Y%m%d_%H.hrrr"}}},
        {
            "mets": {
                "hrrr": {
                    **MET,
                    "subgrid_enable": True,
                    "subgrid_bounds": {"xmin": -120, "xmax": -100, "ymin": 30, "ymax": 50},
                }
            }
        },
    ],
)
def test_what_moves_the_particles_is_in(changes):
    """So that outputs made with other settings are noticed."""
    assert trajectory_hash(**changes) != trajectory_hash()


def test_a_scalar_and_its_list_are_one_setting():
    """|n_hours| equal factors."""
    assert trajectory_hash(ziscale=0.8) == trajectory_hash(ziscale=[0.8] * 24)
    assert trajectory_hash(ziscale=0.8) != trajectory_hash(ziscale=[0.8] * 25)


@pytest.mark.parametrize("changes", [{"smooth_factor": 1}, {"grid": GRID}, {"grid": None, **GRID}])
def test_spellings_of_one_footprint_are_one_setting(changes):
    """A named grid, an inline one, defaults written out."""
    assert footprint_hash(**changes) == footprint_hash()


@pytest.mark.parametrize(
    "changes",
    [
        {"smooth_factor": 2},
        {"time_integrate": True},
        {"grid": {**GRID, "xres": 0.02}},
        {"transforms": [{"kind": "first_order_lifetime", "lifetime_hours": 4}]},
    ],
)
def test_what_changes_a_footprint_is_in(changes):
    """Grid, smoothing, summing, transforms."""
    assert footprint_hash(**changes) != footprint_hash()


def test_settings_are_plain_and_their_hash_is_fixed():
    """They are stored as JSON beside the outputs, and read back by other versions."""
    settings = trajectory_settings(ModelConfig(**BASE), "hrrr")
    assert json.loads(json.dumps(settings)) == settings
    assert settings_hash(json.loads(json.dumps(settings))) == settings_hash(settings)
    assert len(settings_hash(settings)) == 12
    assert settings_hash({"a": 0.0, "b": [1, 2]}) == settings_hash({"b": (1, 2), "a": -0.0}) == "8e85d491638e"
