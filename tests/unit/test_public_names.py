"""What ``import stilt`` offers, and what it costs."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

import stilt

PUBLIC = """
    Model Simulation SimID StatusCounts
    ColumnReceptor MultiPointReceptor PointReceptor Receptor read_receptors
    Bounds FootprintConfig Grid HysplitConfig MetConfig ModelConfig RuntimeSettings
    Footprint Trajectories
    calc_footprint correct_near_field run_trajectories
    ConfigError FailureReason FootprintError Interrupted ManifestError MetCoverageError MetError
    MetDownloadError MetFormatError MetIntervalError MetNotFoundError MetVariableError MissingExtraError
    MissingObjectError NoQueueError ProjectError QueueError ReceptorError ReceptorOffGridError
    StaleOutputsError StiltError StoreError StoreFullError StoreUnavailableError
    TransportError TransportTimeoutError
    UnknownFootprintError UnsupportedSettingError
    ForecastMetError InvalidOutputError ProgramCrashedError ProgramFailedError ProgramNotFoundError
    TruncatedRunError
    __version__
""".split()

HEAVY = """
    numba pandas xarray pyarrow scipy matplotlib pyproj netCDF4 pydantic numpy shapely obstore joblib
""".split()


def test_exported_names_are_exactly_the_intended_ones():
    """A new public name is a promise, so it is made on purpose."""
    assert sorted(stilt.__all__) == sorted(PUBLIC)
    assert set(stilt.__all__) <= set(dir(stilt))


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_found(name):
    """Each is loaded from its module on first use."""
    assert getattr(stilt, name) is not None


@pytest.mark.parametrize("name", sorted(stilt._SUBMODULES))
def test_submodules_are_reachable_without_importing_them(name):
    """``stilt.execution.push_simulations`` works after ``import stilt``."""
    assert importlib.util.find_spec(f"stilt.{name}") is not None
    assert getattr(stilt, name).__name__ == f"stilt.{name}"


def test_every_error_is_public():
    """Whatever is raised on purpose can be caught by name."""
    from stilt import errors

    tree = {name for name, value in vars(errors).items() if isinstance(value, type) and name != "StrEnum"}
    assert tree <= set(stilt.__all__)


def test_an_unknown_name_is_an_attribute_error():
    """So that hasattr and typing errors behave as usual."""
    with pytest.raises(AttributeError, match="no attribute 'modle'"):
        stilt.modle  # noqa: B018


@pytest.mark.parametrize(
    ("module", "allowed"),
    [
        ("stilt", ()),
        ("stilt.errors", ()),
        ("stilt.constants", ()),
        ("stilt.ids", ()),
        ("stilt.spatial", ("pydantic",)),
        ("stilt.config", ("pydantic",)),
        ("stilt.receptors", ("numpy",)),
    ],
)
def test_importing_loads_nothing_heavy(module, allowed):
    """Libraries load when they are used."""
    code = f"import {module}, sys; print(*(name for name in {HEAVY!r} if name in sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert set(loaded) <= set(allowed)
