"""
Tables of the queue: numbered ``.sql`` files, each applied once, in order.

Whoever opens a queue first after an installation or update brings its tables up to date. A
database that a newer version has already changed is refused, because an older one cannot know
what its rows mean.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from stilt.errors import QueueError

if TYPE_CHECKING:
    from psycopg import Connection

_LOCK = 0x5711_7001
"""Key of the lock under which tables are changed."""


@cache
def migrations() -> dict[int, str]:
    """Return the text of each migration by its number, in order."""
    found = {}
    for file in resources.files("stilt.service").joinpath("sql").iterdir():
        match = re.fullmatch(r"(\d{4})_\w+\.sql", file.name)
        if match:
            found[int(match[1])] = file.read_text(encoding="utf-8")
    return dict(sorted(found.items()))


@cache
def queries() -> dict[str, str]:
    """Return the statements of ``queries.sql`` by name."""
    text = resources.files("stilt.service").joinpath("sql", "queries.sql").read_text(encoding="utf-8")
    parts = re.split(r"^-- name: (\w+)$", text, flags=re.MULTILINE)
    return {
        name: re.sub(r"^--.*\n", "", statement, flags=re.MULTILINE).strip()
        for name, statement in zip(parts[1::2], parts[2::2], strict=True)
    }


def migrate(connection: Connection[Any], steps: Mapping[int, str] | None = None) -> int:
    """
    Bring the tables up to date.

    Parameters
    ----------
    connection : Connection
        In autocommit mode.
    steps : mapping of int to str, optional
        The migrations; default: those of this version.

    Returns
    -------
    int
        Version of the tables.

    Raises
    ------
    QueueError
        When a newer version of stilt has changed them.
    """
    steps = migrations() if steps is None else steps
    newest = max(steps)
    version = _version(connection, newest)
    if version == newest:
        return version
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        connection.execute(
            "CREATE TABLE IF NOT EXISTS stilt_schema "
            "(version integer PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        # somebody else may have been quicker
        version = _version(connection, newest)
        for number, text in steps.items():
            if number > version:
                connection.execute(text.encode())
                connection.execute("INSERT INTO stilt_schema (version) VALUES (%s)", [number])
    return newest


def _version(connection: Connection[Any], newest: int) -> int:
    row = connection.execute("SELECT to_regclass('stilt_schema') IS NOT NULL").fetchone()
    if row is None or not row[0]:
        return 0
    row = connection.execute("SELECT COALESCE(max(version), 0) FROM stilt_schema").fetchone()
    version = int(row[0]) if row else 0
    if version > newest:
        raise QueueError(
            f"the tables of this work queue have version {version} and this stilt knows versions up to "
            f"{newest}: a newer stilt uses the same database; update this installation, or use another one."
        )
    return version
