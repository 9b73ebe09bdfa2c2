"""A kernel is one function to its users, whoever calls it first."""

import pytest

from stilt.kernels import compiler
from stilt.kernels.compiler import is_compiling, kernel

pytestmark = pytest.mark.skipif(not is_compiling(), reason="numba is switched off")


@kernel(allocates=False)
def half(x):
    return 0.5 * x


@kernel(allocates=False)
def quarter(x):
    return half(half(x))


@pytest.mark.parametrize("number", [3.0, 3])
def test_a_kernel_called_by_a_kernel_can_be_called_from_python_afterwards(number):
    assert quarter(number) == 0.75
    assert half(number) == 1.5
    assert half.py_func(number) == 1.5


def test_only_what_python_called_is_kept_on_disk(monkeypatch, tmp_path):
    """With an empty cache, for what an earlier run has left there is not compiled again."""
    monkeypatch.setattr(compiler, "kernel_cache_dir", lambda: tmp_path)
    assert kernel(quarter.py_func, allocates=False)(3.0) == 0.75
    assert half.called_by_kernels.signatures
    assert half.called_by_kernels.stats.cache_path is None
    kept = {path.name.split("-")[0] for path in tmp_path.rglob("*.nbc")}
    assert kept == {"test_compiler.quarter"}
