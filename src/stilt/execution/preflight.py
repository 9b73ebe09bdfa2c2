"""
What makes every simulation impossible, found out before a run begins.

`must_start` raises for no meteorology at all, a setting nobody implements, an output root or a scratch
folder that cannot be written. What stops only some simulations is for ``examination``.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stilt.errors import ProjectError, StoreError
from stilt.storage import Store
from stilt.storage.layout import STATE

if TYPE_CHECKING:
    from stilt.config import MetConfig, ModelConfig


def must_start(config: ModelConfig, store: Store, *, compute_root: Path | None = None) -> None:
    """
    Raise if no simulation could possibly run.

    Parameters
    ----------
    config : ModelConfig
        The settings, with absolute folders.
    store : Store
        The output root.
    compute_root : Path, optional
        Where scratch folders go.

    Raises
    ------
    StiltError
        In one line: which setting, folder or file, and what to do.
    """
    check_engine(config)
    for name, met in config.every_met.items():
        check_met_exists(name, met)
    check_writable(store)
    check_scratch(compute_root)


def check_engine(config: ModelConfig) -> None:
    """Raise for settings that the engine or the footprints do not implement."""
    from stilt.transforms import check_imports
    from stilt.transport.protocol import check_nesting
    from stilt.transport.registry import get_engine

    for name, footprint in config.footprints.items():
        check_imports(footprint.transforms, f"footprints.{name}.transforms")
    engine = get_engine(config.engine, config.engine_section)
    engine.check(config.transport_params())
    for name in config.run_mets:
        check_nesting(engine, [each for each, _ in config.met_chain(name)], config.transport_params())


def describe_engine(config: ModelConfig) -> str:
    """Name the engine, and the program it runs if it runs one; StiltError when that is missing."""
    from stilt.transport.protocol import ProgramEngine
    from stilt.transport.registry import get_engine

    engine = get_engine(config.engine, config.engine_section)
    return f"{engine.name}: {engine.describe()}" if isinstance(engine, ProgramEngine) else engine.name


def check_met_exists(name: str, met: MetConfig) -> None:
    """Raise when a meteorology has no files at all; their times are not looked at."""
    from stilt.meteorology.catalog import open_series
    from stilt.meteorology.search import list_files, patterns_of

    if met.is_gridded:
        from stilt.meteorology.gridded.file import open_gridded

        open_gridded(met, name)
        return
    if met.is_download:
        from stilt.meteorology.download import check_reachable

        check_reachable(met, name)
        return
    assert met.directory is not None  # noqa: S101 - the third way, for the type checker
    if not list_files(met.directory, patterns_of(met.file_format), name).files:
        now = np.datetime64("2000-01-01T00", "s")
        open_series(met, name=name, start=now, end=now)


def check_writable(store: Store) -> None:
    """Raise when the output root cannot take a small file."""
    key = f"{STATE}/probe-{os.getpid()}"
    store.write(key, bytes(1 << 16))
    store.delete(key)


def check_scratch(compute_root: Path | None) -> None:
    """Raise when no scratch folder can be made."""
    where = compute_root or Path(tempfile.gettempdir())
    try:
        if compute_root is not None:
            compute_root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=where):
            pass
    except OSError as error:
        raise ProjectError(
            f"no scratch folder can be made under {where} ({error.strerror or error}); choose another with "
            "--compute-root or PYSTILT_COMPUTE_ROOT."
        ) from error


def check_would_write(store: Store) -> None:
    """Raise when the output root could not be written, without creating it."""
    if store.is_remote:
        check_writable(store)
        return
    probe = store.local_path(f"{STATE}/probe")
    folder = probe.parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if folder == probe.parent:
        check_writable(store)
    elif not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        what = "cannot be written" if folder.is_dir() else "is not a folder"
        raise StoreError(f"{folder} {what}; make it writable or choose another folder with --output-dir.")
