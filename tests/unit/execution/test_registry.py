"""Backends by name, and those of other packages."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest
from pydantic import Field

from stilt.config import ModelConfig
from stilt.config import execution as execution_module
from stilt.errors import ConfigError
from stilt.execution.handle import JobHandle
from stilt.execution.registry import backend_names, get_backend
from stilt.sections import Section


class OtherParty(Section):
    """A section of a package of its own."""

    backend: str = Field(default="moon", description="Name.")
    n_workers: int = Field(default=1, description="Workers.")
    crater: str = Field(default="tycho", description="Where.")


class MoonBackend:
    """Runs nothing, and says so."""

    section = OtherParty

    def __init__(self, section, context, reporter):
        self.filled = section

    def check(self):
        return

    def preview(self, tasks):
        return f"{len(tasks)} simulations on the moon"

    def submit(self, tasks):
        return JobHandle(f"moon-{self.filled.crater}")


@pytest.fixture
def moon(monkeypatch):
    point = EntryPoint("moon", "a.module:Moon", "stilt.backends")
    monkeypatch.setattr(EntryPoint, "load", lambda self: MoonBackend)
    monkeypatch.setattr(execution_module, "entry_points", lambda group: [point])


def config(execution):
    return ModelConfig(mets={"h": {"source": "hrrr"}}, execution=execution)


def test_a_backend_of_another_package(moon):
    """Its keys are checked by its own section, and survive YAML."""
    section = config({"backend": "moon", "crater": "kepler"}).execution
    assert get_backend(section, None).submit([]).job_id == "moon-kepler"
    again = ModelConfig.from_yaml_text(config({"backend": "moon", "crater": "kepler"}).to_yaml(), source="x")
    assert again.execution == section
    assert "moon" in backend_names()
    with pytest.raises(ConfigError, match="unknown key 'crate', did you mean 'crater'"):
        config({"backend": "moon", "crate": "kepler"})


def test_an_unknown_backend_names_the_known_ones(moon):
    """Also those of other packages."""
    with pytest.raises(ConfigError, match="unknown backend 'mooon', did you mean 'moon'"):
        config({"backend": "mooon"})
