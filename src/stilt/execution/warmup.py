"""
Compiling before the work is handed out.

Kernels compile once per machine and release. When several workers start, the parent
compiles first and they load the result; processes that know nothing of each other, such as
pull workers, take turns under a lock beside the compiled kernels, and the first one compiles.
The user is told why the first run begins late.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from stilt.locks import FileLock
from stilt.transport.registry import get_engine

if TYPE_CHECKING:
    from stilt.config import ModelConfig
    from stilt.execution.progress import Reporter


_LONGEST_WAIT = 600.0
"""Seconds to wait for another process that compiles."""


def warm_up(
    config: ModelConfig,
    reporter: Reporter,
    *,
    share: bool,
    should_stop: Callable[[], bool] | None = None,
) -> None:
    """
    Compile the kernels of a run, unless this machine has them already.

    Where the result can be kept, the kernels of footprints are compiled by a second process meanwhile.

    Parameters
    ----------
    config : ModelConfig
        Engine, settings and whether there are footprints.
    reporter : Reporter
        Told when there is something to wait for.
    share : bool
        Whether worker processes will want them; one process alone that cannot keep them compiles what it
        needs as it goes.
    should_stop : callable, optional
        Asked while another process compiles; True ends the wait.

    Raises
    ------
    Interrupted
        When asked to stop.
    """
    if not _compiles():
        return
    marker = _marker(config)
    if marker is not None and marker.exists():
        return
    with _alone(marker, reporter, should_stop):
        if marker is not None and marker.exists():
            reporter.say("kernels were compiled by another process meanwhile")
            return
        reporter.say("compiling kernels, once per machine and version (about half a minute) ...")
        if marker is None and not share:
            return
        with _compiling_footprints(None if marker is None else marker.parent):
            get_engine(config.engine, config.engine_section).warm_up(config.transport_params())
        note_warm(config)


@contextlib.contextmanager
def _alone(marker: Path | None, reporter: Reporter, should_stop: Callable[[], bool] | None) -> Iterator[None]:
    """Keep others that share the compiled kernels from compiling the same; None: nothing is shared."""
    with contextlib.ExitStack() as held:
        if marker is not None:
            lock = FileLock(str(marker), timeout=_LONGEST_WAIT, should_stop=should_stop)
            if Path(lock.path).exists():
                reporter.say("another process is compiling the kernels; waiting for it ...")
            try:
                held.enter_context(lock)
            except OSError as error:
                reporter.say(f"not waiting for other processes to compile: {error}")
        yield


@contextlib.contextmanager
def _compiling_footprints(folder: Path | None) -> Iterator[None]:
    """Compile the kernels of footprints in a process of their own, started in a folder; None: after."""
    if folder is None:
        yield
        status = 1
    else:
        from stilt.kernels.compiler import cache_root

        # started elsewhere, so that no file of the user's own folder is imported
        paths = os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path)
        environment = {**os.environ, "PYTHONPATH": paths, "PYSTILT_CACHE_DIR": str(cache_root().absolute())}
        command = [sys.executable, "-c", "from stilt.footprint import warm_up; warm_up()"]
        silent = subprocess.DEVNULL
        with subprocess.Popen(  # noqa: S603 - our own interpreter
            command, cwd=folder, env=environment, stdin=silent, stdout=silent, stderr=silent
        ) as process:
            try:
                yield
            except BaseException:
                process.kill()
                raise
            status = process.wait()
    if status:
        from stilt.footprint import warm_up as warm_up_footprints

        warm_up_footprints()


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
    # following the mass of the air is a time loop of its own, which other runs do without
    variant = f"{config.engine}-dmas" if "dmas" in config.varsiwant else config.engine
    return None if folder is None else folder / f"{variant}.warm"


if __name__ == "__main__":
    compile_all()
