# The front door: `just` lists what there is. Recipes run in the active environment.

set windows-shell := ["bash", "-uc"]

# list the recipes
default:
    @just --list --unsorted

# install the package for development
setup:
    python -m pip install -e ".[dev]"

# all tests, on all cores
test *args:
    python -m pytest -n auto {{ args }}

# tests that take less than a few seconds each
test-quick *args:
    python -m pytest -n auto -m "not slow" {{ args }}

# kernels without compilation: numba switched off, so that coverage and debuggers see into them
test-nojit *args:
    NUMBA_DISABLE_JIT=1 python -m pytest -m "not slow" tests/unit/kernels tests/unit/footprint {{ args }}

# style and likely mistakes
lint:
    python -m ruff check
    python -m ruff format --check
    python -m codespell_lib

# put code into the house format
format:
    python -m ruff check --fix
    python -m ruff format

# types
types:
    python -m mypy

# import contracts: which part may import which
arch:
    lint-imports

# everything that needs no tests to run
checks: lint types arch

# speed, as tables: a quarter of an hour, `--quick` a few minutes
bench *args:
    python benchmarks/all.py {{ args }}

# write docs/reference from the code
docs:
    python docs/generate_reference.py

# what the next release says, from the fragments in changes/
news:
    towncrier build --draft --version "next"

# what CI runs, in an environment of its own
ci:
    bash .ci/run
