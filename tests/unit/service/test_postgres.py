"""The Postgres queue itself: tables and their versions, trouble with the server, and secrets."""

from __future__ import annotations

import os
import threading
import time
import warnings

import pytest

from databases import PASSWORD, with_user
from stilt.errors import ConfigError, QueueError, StiltError
from stilt.service import PostgresQueue, open_queue
from stilt.service.connections import _essence
from stilt.service.postgres import _BEGINNING
from stilt.service.schema import migrate, migrations, queries

pytestmark = pytest.mark.postgres


def one_line(error: BaseException) -> str:
    text = str(error)
    assert "\n" not in text
    for secret in (PASSWORD, "hunter2"):
        assert secret not in text
    assert error.__cause__ is None
    return text


def test_migrations_are_numbered_without_gaps_and_ship_with_the_package():
    """Each is applied once, in order."""
    assert list(migrations()) == list(range(1, len(migrations()) + 1))


def test_every_statement_is_complete_and_takes_values_as_parameters():
    """Nothing is pasted into SQL: the only braces and percent signs are those of parameters."""
    import re

    for name, text in queries().items():
        assert text, name
        assert "{" not in text
        assert re.sub(r"%\(\w+\)s|%%", "", text).count("%") == 0, name


def test_tables_are_made_once_also_by_many_at_once(database):
    """Workers that start together on an empty database do not get in each other's way."""
    errors = []

    def start():
        queue = PostgresQueue(database, "file:///p")
        try:
            queue.enqueue({"m_1": None}, settings="s")
        except StiltError as error:
            errors.append(error)
        finally:
            queue.close()

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    queue = PostgresQueue(database, "file:///p")
    assert queue.counts().pending == 1
    queue.close()


def test_a_later_migration_is_applied_to_existing_rows(database):
    """Rows survive; the version is recorded."""
    import psycopg

    queue = PostgresQueue(database, "file:///p")
    queue.enqueue({"m_1": None}, settings="s")
    newer = max(migrations()) + 1
    later = {**migrations(), newer: "ALTER TABLE stilt_simulation ADD COLUMN note text; SELECT 1"}
    with psycopg.connect(database, autocommit=True) as connection:
        assert migrate(connection, later) == newer
        assert migrate(connection, later) == newer
        assert connection.execute("SELECT sim_id, note FROM stilt_simulation").fetchall() == [("m_1", None)]
    queue.close()


def test_tables_of_a_newer_version_are_refused(database):
    """An older program cannot know what their rows mean."""
    import psycopg

    queue = PostgresQueue(database, "file:///p")
    queue.open()
    queue.close()
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("INSERT INTO stilt_schema (version) VALUES (99)")
    with pytest.raises(QueueError, match=r"version 99 .* update this installation") as caught:
        PostgresQueue(database, "file:///p").counts()
    one_line(caught.value)


def test_a_failed_migration_leaves_nothing_behind(database):
    """All of it or none."""
    import psycopg

    broken = {1: "CREATE TABLE half (id integer); SELECT nonsense"}
    with psycopg.connect(database, autocommit=True) as connection:
        with pytest.raises(psycopg.Error):
            migrate(connection, broken)
        assert connection.execute("SELECT to_regclass('half'), to_regclass('stilt_schema')").fetchone() == (
            None,
            None,
        )


def test_a_user_without_rights_is_told(locked_role, database):
    """Which right is missing, and what to do."""
    with pytest.raises(QueueError, match=r"permission denied .* grant") as caught:
        PostgresQueue(with_user(database, "locked", PASSWORD), "file:///p").open()
    one_line(caught.value)


def test_the_rights_that_are_documented_suffice(locked_role, database):
    """Once the tables are there, nothing but these is needed."""
    import psycopg

    PostgresQueue(database, "file:///p").open()
    with psycopg.connect(database, autocommit=True) as connection:
        for right in (
            "SELECT, INSERT, UPDATE, DELETE ON stilt_project, stilt_simulation",
            "SELECT ON stilt_schema, stilt_depth",
            "USAGE ON ALL SEQUENCES IN SCHEMA public",
        ):
            connection.execute(f"GRANT {right} TO locked")  # type: ignore[arg-type]
    queue = PostgresQueue(with_user(database, "locked", PASSWORD), "file:///q")
    assert queue.enqueue({"m_1": None, "m_2": "s"}, settings="s") == 2
    claims = queue.claim("w", 2, settings="s", begin=True)
    assert queue.heartbeat(claims) == []
    assert queue.failed(claims[0], "STORE", "busy", retry=True) == "pending"
    assert len(queue.done(claims[1:])) == 1
    assert queue.reap() == []
    assert queue.wait(1.0, settings="s")
    assert queue.counts_by_scene()["s"].done == 1
    assert queue.remove(queue.sim_ids()) == 2
    queue.close()


def test_wrong_password_missing_database_and_no_server_are_one_line_each(locked_role, postgres_server):
    """With the reason, and never the password."""
    good = with_user(postgres_server.dsn, "locked", PASSWORD)
    for dsn, reason in (
        (with_user(postgres_server.dsn, "locked", PASSWORD + "x"), "password authentication failed"),
        (good.replace("/postgres?", "/no_such_database?"), '"no_such_database" does not exist'),
        (good.replace("host=", "host=/nowhere"), "No such file"),
        ("postgresql://me:hunter2@127.0.0.1:1/db", "refused"),
    ):
        queue = PostgresQueue(dsn, "file:///p")
        with pytest.raises(QueueError, match=reason) as caught:
            queue.counts()
        assert "PYSTILT_DB_URL" in one_line(caught.value)
        assert "hunter2" not in repr(queue)


@pytest.mark.parametrize(
    "address",
    [
        "mysql://me:hunter2@host/db",
        "postgresql://me:hunter2@host:port:5/db",
        "hunter2",
        " ",
        "memory:/hunter2",
    ],
)
def test_what_is_no_address_is_refused_without_repeating_it(address):
    """It may hold a password."""
    with pytest.raises(StiltError) as caught:
        open_queue(address, "file:///p").open()
    assert isinstance(caught.value, ConfigError | QueueError)
    assert "PYSTILT_DB_URL" in one_line(caught.value)


def test_the_servers_message_is_picked_from_the_drivers():
    """The last attempt of several, without addresses and hints."""
    said = (
        'connection failed: connection to server at "::1", port 1 failed: Connection refused\n'
        "\tIs the server running on that host and accepting TCP/IP connections?\n"
        'connection to server at "127.0.0.1", port 1 failed: FATAL:  the database system is starting up\n'
    )
    assert _essence(said) == "the database system is starting up"
    assert _essence("") == "no reason given"


def test_a_restarted_server_is_found_again(new_postgres, monkeypatch):
    """Connections mend; a patient queue waits while the server is away, an impatient one says so."""
    monkeypatch.setattr("stilt.service.connections._CHECKOUT_TIMEOUT", 1.0)
    server = new_postgres()
    queue = PostgresQueue(server.dsn, "file:///p")
    queue.enqueue({"m_1": None, "m_2": None}, settings="s")
    (claim,) = queue.claim("w", settings="s")
    server.stop()
    with pytest.raises(QueueError, match="cannot be reached"):
        queue.done([claim])
    queue.be_patient(60.0)
    starter = threading.Timer(1.0, server.start)
    starter.start()
    assert queue.done([claim]) == ["m_1"]
    starter.join()
    assert queue.counts().done == 1
    server.stop()
    queue.be_patient(60.0, should_stop=lambda: True)
    with pytest.raises(QueueError):
        queue.counts()
    queue.close()


def test_a_claim_holds_no_transaction_and_little_else(database):
    """While simulations run nothing is locked: everybody sees the status, and registrars are not blocked."""
    import psycopg

    queue = PostgresQueue(database, "file:///p")
    queue.enqueue({f"m_{n}": None for n in range(5)}, settings="s")
    claims = queue.claim("w", 3, settings="s")
    with psycopg.connect(database, autocommit=True) as connection:
        states = connection.execute(
            "SELECT state FROM pg_stat_activity "
            "WHERE application_name = 'stilt' AND backend_type = 'client backend' "
            "AND datname = current_database()"
        ).fetchall()
        assert {state for (state,) in states} == {"idle"}
        assert len(states) <= 2
        connection.execute("SET lock_timeout = '100ms'")
        connection.execute("SELECT * FROM stilt_simulation FOR UPDATE")
        row = connection.execute("SELECT pending, running FROM stilt_depth").fetchone()
        assert row == (2, 3)
    assert len(queue.done(claims)) == 3
    queue.close()


def test_claims_stay_cheap_in_a_project_the_statistics_do_not_know(database):
    """The planner expects no rows of a project registered a moment ago; it must not scan them all."""
    import psycopg

    old, new = (PostgresQueue(database, f"file:///{name}") for name in ("old", "new"))
    old.enqueue({f"m_{n}": None for n in range(3000)}, settings="s")
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("ANALYZE stilt_simulation")
        new.enqueue({f"m_{n}": None for n in range(20_000)}, settings="s")
        connection.execute("SET plan_cache_mode = force_generic_plan")
        values = {"project": 2, "settings": "s", "worker": "w", "begin": False, "lease": 60.0, "rows": 16}
        values |= {"rank": -(2**40), "position": 0}
        for name in ("claim", "done", "heartbeat", "release", "reap"):
            found = connection.execute(
                f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {queries()[name]}",  # type: ignore[arg-type]
                {**values, "sim_ids": [f"m_{n}" for n in range(16)]},
            ).fetchone()
            assert found is not None
            plan = found[0][0]["Plan"]
            assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 1000, (name, plan)
    assert new.counts().running == 0
    old.close()
    new.close()


def test_claims_do_not_step_over_what_was_taken(database):
    """Taken rows stay in the index until a vacuum, which somebody's open transaction keeps away."""
    import psycopg

    queue = PostgresQueue(database, "file:///p")
    queue.enqueue({f"m_{n}": None for n in range(6000)}, settings="s")
    with psycopg.connect(database, autocommit=True) as connection, psycopg.connect(database) as somebody:
        connection.execute("ALTER TABLE stilt_simulation SET (autovacuum_enabled = off)")
        somebody.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        somebody.execute("SELECT count(*) FROM stilt_simulation")

        def pages(rank, position):
            values = {"project": 1, "settings": "s", "worker": "w", "begin": False, "lease": 60.0, "rows": 1}
            with connection.transaction(force_rollback=True):
                found = connection.execute(
                    f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {queries()['claim']}",  # type: ignore[arg-type]
                    {**values, "rank": rank, "position": position},
                ).fetchone()
            assert found is not None
            return found[0][0]["Plan"]["Shared Hit Blocks"]

        at_first = pages(*_BEGINNING)
        for _ in range(11):
            assert len(queue.done(queue.claim("w", 500, settings="s"))) == 500
        assert len(queue.claim("w", 1, settings="s")) == 1
        assert pages(*_BEGINNING) > 100 + at_first
        queue._start = None
        queue.claim("w", 1, settings="s")
        start = queue._start
        assert start is not None
        assert pages(*start[1]) < 30 + at_first
        # whoever returns a row, or asks for one that is more urgent, is not overlooked for long
        other = PostgresQueue(database, "file:///p")
        urgent = next(iter(other.sim_ids()))
        other.enqueue({urgent: None}, settings="s", priority=1)
        until = time.monotonic() + 10.0
        while queue.claim("w", 1, settings="s")[0].sim_id != urgent:
            assert time.monotonic() < until
    queue.close()
    other.close()


def test_a_locked_row_is_waited_for_and_named(database, monkeypatch):
    """Somebody's open transaction does not hang a worker for good."""
    import psycopg

    monkeypatch.setattr("stilt.service.connections._LOCK_TIMEOUT", 1)
    queue = PostgresQueue(database, "file:///p")
    queue.enqueue({"m_1": None, "m_2": None}, settings="s")
    claims = queue.claim("w", 1, settings="s")
    with psycopg.connect(database) as somebody:
        somebody.execute("SELECT * FROM stilt_simulation FOR UPDATE")
        assert queue.claim("w", 1, settings="s") == []
        with pytest.raises(QueueError, match=r"lock timeout \(1 s\); .* pg_stat_activity") as caught:
            queue.done(claims)
        one_line(caught.value)
    assert len(queue.done(claims)) == 1
    queue.close()


def test_a_database_that_takes_no_changes_is_named(database):
    """A standby, or one that was set so."""
    import psycopg

    PostgresQueue(database, "file:///p").open()
    with psycopg.connect(database, autocommit=True) as connection:
        row = connection.execute("SELECT current_database()").fetchone()
        assert row is not None
        connection.execute(f"ALTER DATABASE {row[0]} SET default_transaction_read_only = on")  # type: ignore[arg-type]
    queue = PostgresQueue(database, "file:///p")
    with pytest.raises(QueueError, match="takes no changes") as caught:
        queue.enqueue({"m_1": None}, settings="s")
    one_line(caught.value)
    queue.close()


def test_a_forked_child_leaves_the_connections_of_its_parent_alone(database):
    """It opens its own; the parent goes on with those it has."""
    queue = PostgresQueue(database, "file:///p")
    queue.enqueue({"m_1": None, "m_2": None}, settings="s")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads
        child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if len(queue.claim("child", settings="s")) == 1 else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert len(queue.claim("parent", settings="s")) == 1
    assert queue.counts().running == 2
    queue.close()


def test_trouble_with_the_server_is_told_once_and_its_end_too(new_postgres, monkeypatch):
    """A worker that waits for its database says so; an outage does not slow down what follows it."""
    monkeypatch.setattr("stilt.service.connections._CHECKOUT_TIMEOUT", 1.0)
    server = new_postgres()
    queue = PostgresQueue(server.dsn, "file:///p")
    queue.enqueue({"m_1": None}, settings="s")
    said: list[str] = []
    queue.be_patient(60.0, say=said.append)
    server.stop()
    starter = threading.Timer(4.0, server.start)
    starter.start()
    assert len(queue.claim("w", settings="s")) == 1
    starter.join()
    assert len(said) == 2
    assert said[0].startswith("the work queue cannot be reached")
    assert said[0].endswith("Trying again.")
    assert said[1] == "the work queue can be used again"
    queue.close()


def test_no_password_reaches_a_row(locked_role, database):
    """Not even when an error message repeats it."""
    import psycopg

    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("GRANT ALL ON SCHEMA public TO locked")
    queue = PostgresQueue(with_user(database, "locked", PASSWORD), "file:///p")
    queue.enqueue({"m_1": None}, settings="s")
    (claim,) = queue.claim("w", settings="s", begin=True)
    queue.failed(claim, "STORE", f"cannot reach {with_user(database, 'locked', PASSWORD)} with {PASSWORD}")
    (row,) = queue.watched()
    assert "hunter2" not in row.message
    assert row.message.count("***") == 2
    queue.close()
