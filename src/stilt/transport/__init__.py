"""
Transport engines: from a receptor and meteorology to particles.

An engine is anything with the three methods of
:class:`~stilt.transport.protocol.TransportEngine`. Engines are found by name in
:mod:`stilt.transport.registry` and never import each other.
"""

from stilt.transport.protocol import TransportEngine, TransportRequest, TransportResult
from stilt.transport.registry import engine_names, get_engine, register_engine

__all__ = [
    "TransportEngine",
    "TransportRequest",
    "TransportResult",
    "engine_names",
    "get_engine",
    "register_engine",
]
