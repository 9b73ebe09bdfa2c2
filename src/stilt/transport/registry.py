"""Engines by name: those built in, those registered, and those other packages bring."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points

from stilt.errors import ConfigError
from stilt.sections import Section
from stilt.transport.protocol import ConfigurableEngine, TransportEngine

ENTRY_POINT_GROUP = "stilt.engines"


def _native() -> TransportEngine:
    from stilt.transport.native.engine import NativeEngine

    return NativeEngine()


def _hysplit() -> TransportEngine:
    from stilt.transport.hysplit.engine import HysplitEngine

    return HysplitEngine()


_FACTORIES: dict[str, Callable[[], TransportEngine]] = {"native": _native, "hysplit": _hysplit}


def register_engine(name: str, factory: Callable[[], TransportEngine]) -> None:
    """
    Make an engine known under a name.

    Parameters
    ----------
    name : str
        What ``engine:`` in the config says.
    factory : callable
        Returns a new engine; called once per worker and request.
    """
    _FACTORIES[name] = factory


def engine_names() -> list[str]:
    """Return the names ``engine:`` may take, sorted."""
    return sorted({*_FACTORIES, *(point.name for point in entry_points(group=ENTRY_POINT_GROUP))})


def get_engine(name: str, section: Section | None = None) -> TransportEngine:
    """
    Return the engine of that name.

    Parameters
    ----------
    name : str
        What ``engine:`` says.
    section : Section, optional
        The part of the configuration that is the engine's own (``ModelConfig.engine_section``).

    Raises
    ------
    ConfigError
        No such engine; the message lists those there are.
    """
    engine = _factory(name)()
    if section is not None and isinstance(engine, ConfigurableEngine):
        engine.configure(section)
    return engine


def _factory(name: str) -> Callable[[], TransportEngine]:
    if name in _FACTORIES:
        return _FACTORIES[name]
    for point in entry_points(group=ENTRY_POINT_GROUP):
        if point.name == name:
            factory: Callable[[], TransportEngine] = point.load()
            return factory
    raise ConfigError(f"engine '{name}' is not available here; use one of: {', '.join(engine_names())}.")
