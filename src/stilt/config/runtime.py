"""
Settings of the machine, from the environment: where caches and scratch are, which queue.

They are apart from ``config.yaml`` because they never change a result and differ between
the machines that work on one project. The queue's address holds a password, so it is kept
as a secret: it shows as ``**********`` wherever settings are printed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, SecretStr, ValidationError

from stilt.errors import ConfigError
from stilt.sections import Int, Section, describe

ENVIRONMENT_PREFIX = "PYSTILT_"


def _default_cache_dir() -> Path:
    import platformdirs

    return Path(platformdirs.user_cache_dir("pystilt", appauthor=False))


_Folder = Annotated[
    Path, BeforeValidator(lambda value: Path(value).expanduser() if isinstance(value, str) else value)
]


class RuntimeSettings(Section):
    """
    Settings of the machine.

    Examples
    --------
    >>> RuntimeSettings(db_url="postgresql://me:secret@host/db").db_url
    SecretStr('**********')
    """

    db_url: SecretStr | None = Field(
        default=None, description="Address of the Postgres queue [DSN]; none: no queue."
    )
    cache_dir: _Folder = Field(
        default_factory=_default_cache_dir,
        description="Folder of decoded meteorology, downloads and compiled kernels [path].",
    )
    compute_root: _Folder | None = Field(
        default=None, description="Folder of scratch for running simulations [path]; none: a temporary one."
    )
    max_rows: Int = Field(
        default=1, ge=1, description="Queue rows a worker claims and processes in one batch [1]."
    )
    lease: Int = Field(
        default=60, ge=1, description="How long a worker's claim on a queue row lasts unless renewed [s]."
    )
    max_attempts: Int = Field(
        default=3, ge=1, description="How often a simulation may take its worker down before it fails [1]."
    )
    threads: Int | None = Field(default=None, ge=1, description="Threads of one simulation [1]; none: one.")
    hysplit_dir: _Folder | None = Field(
        default=None, description="Folder of hycs_std and its tables, for engine hysplit [path]; none: PATH."
    )

    @classmethod
    def from_env(cls) -> Self:
        """
        Read ``PYSTILT_DB_URL``, ``_CACHE_DIR``, ``_COMPUTE_ROOT``, ``_MAX_ROWS``, ``_LEASE``,
        ``_MAX_ATTEMPTS``, ``_THREADS`` and ``_HYSPLIT_DIR``.

        Returns
        -------
        RuntimeSettings
            An empty variable counts as unset.
        """
        # not pydantic-settings, which takes longer to load than ``stilt status`` to count
        given = {name.upper(): value for name, value in os.environ.items() if value}
        variables = ((key, f"{ENVIRONMENT_PREFIX}{key}".upper()) for key in cls.model_fields)
        return cls._from_environment({key: given[name] for key, name in variables if name in given})

    @classmethod
    def _from_environment(cls, found: Mapping[str, str]) -> Self:
        try:
            return cls.model_validate(found)
        except ValidationError as error:
            key = str(error.errors()[0]["loc"][0])
            problem = describe(error, "environment").removeprefix(f"environment: {key}: ")
            # not chained: the original error shows its input, which may hold a password
            raise ConfigError(f"{ENVIRONMENT_PREFIX}{key.upper()} {problem}") from None

    @property
    def has_queue(self) -> bool:
        """Whether a queue is configured."""
        return self.db_url is not None
