"""The package as a whole: light to import, tidy to publish."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HEAVY = {
    "numba",
    "llvmlite",
    "pandas",
    "xarray",
    "pyarrow",
    "scipy",
    "matplotlib",
    "netCDF4",
    "pyproj",
    "shapely",
    "joblib",
    "obstore",
}


def _loaded_after(code: str) -> set[str]:
    """Return the top-level modules a fresh interpreter has loaded after running some code."""
    script = f"{code}\nimport sys\nprint(' '.join({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_loads_nothing_heavy():
    """`import stilt` brings names only, not even numpy or pydantic."""
    assert not _loaded_after("import stilt") & (HEAVY | {"numpy", "pydantic", "typer", "rich", "yaml"})


@pytest.mark.parametrize(
    "module",
    ["stilt.config", "stilt.receptors", "stilt.spatial", "stilt.ids", "stilt.errors", "stilt.cli.app"],
)
def test_light_modules_stay_light(module):
    """Settings, receptors and the command line do not load what computes."""
    assert not _loaded_after(f"import {module}") & HEAVY


def test_help_loads_nothing_heavy():
    """`stilt --help` is about words."""
    code = (
        "import contextlib, io\nfrom stilt.cli import main\n"
        "with contextlib.redirect_stdout(io.StringIO()): assert main(['--help']) == 0"
    )
    assert not _loaded_after(code) & (HEAVY | {"numpy", "pydantic"})


def test_receptors_and_settings_can_be_built_without_loading_what_computes():
    """Building the objects, not only importing them, stays light."""
    code = (
        "import stilt\n"
        "stilt.PointReceptor(time='2023-01-01 12:00', longitude=-111.85, latitude=40.77, altitude=5)\n"
        "stilt.ModelConfig(mets={'m': {'directory': 'x', 'file_format': '%Y'}}, n_hours=-6)"
    )
    assert not _loaded_after(code) & HEAVY


def test_typed_marker_is_shipped():
    """Type checkers of users see our annotations."""
    import stilt

    assert (Path(stilt.__file__).parent / "py.typed").is_file()


def _tracked_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode == 0:
        names = listed.stdout.splitlines()
    else:
        names = [
            path.relative_to(ROOT).as_posix()
            for folder in ("src", "tests", "docs", "design", "changes")
            for path in (ROOT / folder).rglob("*")
            if "__pycache__" not in path.parts
        ]
    return [ROOT / name for name in names if (ROOT / name).is_file()]


def test_no_file_names_folders_outside_the_repository():
    """Only `.ci/run` knows of the optional folder of reference data beside a checkout."""
    outside = re.compile("\\.\\./" + "shared" + "|/" + "work/" + "|/" + "tmp/venv")
    for path in _tracked_files():
        if path.relative_to(ROOT).as_posix() == ".ci/run":
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        assert not outside.search(text), path
