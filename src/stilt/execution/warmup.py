"""
Compiling before the work is handed out.

Kernels compile once per machine and release. When several workers start, the parent
compiles first and they load the result; the user is told why the first run begins late.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from stilt.transport.registry import get_engine

if TYPE_CHECKING:
    from stilt.config import ModelConfig
    from stilt.execution.progress import Reporter


def warm_up(config: ModelConfig, reporter: Reporter, *, share: bool) -> None:
    """
    Compile the kernels of a run, unless this machine has them already.

    Parameters
    ----------
    config : ModelConfig
        Engine, settings and whether there are footprints.
    reporter : Reporter
        Told when there is something to wait for.
    share : bool
        Whether worker processes will want them; one process alone compiles what it needs as it goes.
    """
    if not _compiles():
        return
    marker = _marker(config)
    if marker is not None and marker.exists():
        return
    reporter.say("compiling kernels, once per machine and version (about a minute) ...")
    if not share:
        return
    from stilt.footprint import warm_up as warm_up_footprints

    get_engine(config.engine, config.engine_section).warm_up(config.transport_params())
    warm_up_footprints()
    note_warm(config)


def note_warm(config: ModelConfig) -> None:
    """Remember that a run with this engine has compiled what it needed."""
    marker = _marker(config) if _compiles() else None
    if marker is not None:
        with contextlib.suppress(OSError):
            marker.touch()


def _compiles() -> bool:
    from stilt.kernels.compiler import is_compiling

    return is_compiling()


def compile_all() -> None:
    """Compile every kernel of the native engine and of footprints, as building a container image does."""
    from stilt.footprint import warm_up as warm_up_footprints

    get_engine("native").warm_up(None)
    warm_up_footprints()


def _marker(config: ModelConfig) -> Path | None:
    """Return the file whose existence says that all kernels are there; None where nothing can be kept."""
    from stilt.kernels.compiler import kernel_cache_dir

    folder = kernel_cache_dir()
    return None if folder is None else folder / f"{config.engine}.warm"


if __name__ == "__main__":
    compile_all()
