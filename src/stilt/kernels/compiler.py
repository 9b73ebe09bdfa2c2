"""
The one decorator of all kernels: how they are compiled and where the result is kept.

numba's own on-disk cache looks only at the file a function is written in, so an
edit in a callee in another file goes unnoticed. Ours lives in a directory named
after a hash of *all* kernel sources, the numba and numpy versions and the CPU::

    <PYSTILT_CACHE_DIR or the user's cache>/kernels/<hash>/

so an edit anywhere is noticed, and a release compiles once per machine. A cache
that cannot be written (read-only, full) costs a warning and a compilation, never
the run.
"""

from __future__ import annotations

import functools
import hashlib
import os
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite.binding
import numba
import numpy as np
import platformdirs
from numba.core.registry import CPUDispatcher


def cache_root() -> Path:
    """Return the folder under which everything that can be made again is kept."""
    configured = os.environ.get("PYSTILT_CACHE_DIR")
    return Path(configured) if configured else Path(platformdirs.user_cache_dir("pystilt", appauthor=False))


@functools.cache
def sources_hash() -> str:
    """Hash all kernel sources, the constants they freeze, the compiler versions and the CPU."""
    digest = hashlib.sha256()
    here = Path(__file__).parent
    for source in [*sorted(here.glob("*.py")), here.parent / "constants.py"]:
        digest.update(source.name.encode())
        digest.update(source.read_bytes())
    digest.update(f"{numba.__version__} {np.__version__}".encode())
    # numba compiles for these instead of the host where they are set, as in a container image
    name = os.environ.get("NUMBA_CPU_NAME") or llvmlite.binding.get_host_cpu_name()
    features = os.environ.get("NUMBA_CPU_FEATURES") or llvmlite.binding.get_host_cpu_features().flatten()
    digest.update(name.encode())
    digest.update(features.encode())
    return digest.hexdigest()[:16]


@functools.cache
def kernel_cache_dir() -> Path | None:
    """Return the folder of compiled kernels, or None (with one warning) when it cannot be written."""
    folder = cache_root() / "kernels" / sources_hash()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        warnings.warn(
            f"compiled kernels cannot be kept under {folder} ({error.strerror or error}); they are compiled "
            "again in every process. Point PYSTILT_CACHE_DIR at a folder that can be written.",
            RuntimeWarning,
            stacklevel=2,
        )
        return None
    return folder


def is_compiling() -> bool:
    """Tell whether kernels are compiled at all; with ``NUMBA_DISABLE_JIT=1`` they are plain Python."""
    return not numba.config.DISABLE_JIT


def is_warm() -> bool:
    """Tell whether an earlier run has left compiled kernels for exactly these sources."""
    folder = cache_root() / "kernels" / sources_hash()
    return folder.is_dir() and any(folder.rglob("*.nbc"))


def _keep_going_when_full(dispatcher: Any) -> None:
    """Make a full disk while saving a compiled kernel a warning instead of the end of the run."""
    cache = dispatcher._cache
    save = cache.save_overload

    @functools.wraps(save)
    def save_if_possible(*args: Any, **kwargs: Any) -> None:
        try:
            save(*args, **kwargs)
        except OSError as error:
            warnings.warn(
                f"a compiled kernel could not be kept ({error.strerror or error}); going on without.",
                RuntimeWarning,
                stacklevel=2,
            )

    cache.save_overload = save_if_possible


class _Kernel(CPUDispatcher):
    """A compiled function that other kernels see as its twin."""

    @property
    def _numba_type_(self) -> Any:
        return self.called_by_kernels._type


def _called_bare(dispatcher: Any, function: Callable, options: dict[str, Any]) -> Any:
    """
    Let other kernels call a twin of this one that Python cannot call, and that is not kept on disk.

    What unpacks the arguments of a call from Python is longer than most kernels and holds a copy of each;
    a kernel that only other kernels call never needs it, and those hold its code already.
    """
    twin = numba.njit(**options, no_cpython_wrapper=True)(function)
    dispatcher.called_by_kernels = twin
    dispatcher.__class__ = _Kernel
    return dispatcher


def kernel(function: Callable | None = None, *, allocates: bool = True, **options: Any) -> Any:
    """
    Compile a function with numba: no GIL, cached on disk, no fast-math unless asked.

    Use as ``@kernel`` or ``@kernel(allocates=False)``: a kernel that makes no arrays is compiled
    without reference counting, whose atomic operations otherwise cost more than the arithmetic of a
    small kernel. With ``NUMBA_DISABLE_JIT=1`` the plain Python function comes back.
    """
    if function is None:
        return functools.partial(kernel, allocates=allocates, **options)
    if not is_compiling():
        return function
    folder = kernel_cache_dir()
    options = {"nogil": True, "error_model": "numpy", **options}
    if not allocates:
        options["_nrt"] = False
        options.setdefault("forceinline", True)
    options["no_cfunc_wrapper"] = True  # no kernel is handed to C code
    if folder is None:
        return _called_bare(numba.njit(**options)(function), function, options)
    # numba reads the folder when the function is decorated; the user's own functions keep theirs
    previous = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(folder)
    try:
        dispatcher = numba.njit(cache=True, **options)(function)
    finally:
        numba.config.CACHE_DIR = previous
    _keep_going_when_full(dispatcher)
    return _called_bare(dispatcher, function, options)
