"""Databases of a test's own on the Postgres of the tests, and a user who needs a password."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from urllib.parse import quote

import pytest

PASSWORD = "hunter2 &/@"


def with_user(dsn: str, user: str, password: str) -> str:
    """Put a user into the address of a server of the tests' own."""
    return dsn.replace("//postgres:@", f"//{user}:{quote(password, safe='')}@").replace(
        "postgresql:///", f"postgresql://{user}:{quote(password, safe='')}@/"
    )


@pytest.fixture
def database(postgres_server) -> Iterator[str]:
    """Address of a database of the test's own."""
    import psycopg

    name = f"t{uuid.uuid4().hex}"
    with psycopg.connect(postgres_server.dsn, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")  # type: ignore[arg-type]
    yield postgres_server.dsn.replace("/postgres?", f"/{name}?")
    with psycopg.connect(postgres_server.dsn, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")  # type: ignore[arg-type]


@pytest.fixture
def locked_role(postgres_server) -> Iterator[str]:
    """Address with a user who needs a password, without it."""
    import psycopg

    rules = postgres_server.folder / "pg_hba.conf"
    before = rules.read_text()
    with psycopg.connect(postgres_server.dsn, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS locked")
        connection.execute(f"CREATE ROLE locked LOGIN PASSWORD '{PASSWORD}'")
        rules.write_text("local all locked scram-sha-256\n" + before)
        connection.execute("SELECT pg_reload_conf()")
        time.sleep(0.3)
        yield postgres_server.dsn
        rules.write_text(before)
        connection.execute("SELECT pg_reload_conf()")
