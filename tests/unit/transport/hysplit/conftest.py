"""Small worlds for the real program, and a short way to run the engine over them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from stilt.config import HysplitConfig, TransportParams
from stilt.meteorology import synthetic
from stilt.receptors import PointReceptor, Receptor
from stilt.transport.hysplit.engine import HysplitEngine
from stilt.transport.protocol import TransportRequest, TransportResult


@pytest.fixture
def engine(hysplit_dir: Path) -> HysplitEngine:
    return HysplitEngine(HysplitConfig(exe=hysplit_dir / "hycs_std"))


@pytest.fixture
def run_hysplit(engine: HysplitEngine, tmp_path: Path) -> Callable[..., TransportResult]:
    """Run the program: ``run_hysplit(path or paths, receptor, n_hours=..., ...)``."""

    def run(met, receptor: Receptor, *, error: bool = False, **settings) -> TransportResult:
        controls = {name: settings.pop(name) for name in ("deadline", "should_stop") if name in settings}
        say = settings.pop("say", None)
        other = settings.pop("engine", engine)
        files = (met,) if isinstance(met, Path) else tuple(met)
        params = TransportParams(**{"n_hours": -2, "numpar": 10, **settings})
        request = TransportRequest(receptor, "test", files, params, error=error, say=say)
        return other.run(request, **controls)

    return run


@pytest.fixture
def spot(centre: tuple[float, float]) -> PointReceptor:
    return PointReceptor("2020-06-01 04:00", *centre, 50.0)


@pytest.fixture(scope="session")
def eight_hours() -> synthetic.World:
    return synthetic.uniform(hours=8)


@pytest.fixture
def fake_program(tmp_path: Path, hysplit_dir: Path) -> Callable[[str], HysplitEngine]:
    """A shell script in the program's place, which calls the real one as ``$REAL`` if it likes."""

    def make(script: str) -> HysplitEngine:
        exe = tmp_path / "fake" / "hycs_std"
        exe.parent.mkdir()
        asks_version = f'[ -e CONTROL ] || exec "{hysplit_dir}/hycs_std"'
        exe.write_text(f'#!/bin/sh\nREAL="{hysplit_dir}/hycs_std"\n{asks_version}\n{script}\n')
        exe.chmod(0o755)
        return HysplitEngine(HysplitConfig(exe=exe, data_dir=hysplit_dir))

    return make
