"""
Connections to Postgres: kept few, mended when the server restarts, and silent about passwords.

A worker uses one or two connections, each only for the milliseconds of a statement, so a
database with the usual hundred of them serves many workers. What the server says when it
refuses is passed on in one line, without the address it was reached by.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, quote_plus

from stilt.errors import ConfigError, MissingExtraError, QueueError

if TYPE_CHECKING:
    from psycopg import Connection
    from psycopg_pool import ConnectionPool

T = TypeVar("T")

_CONNECT_TIMEOUT = 10
"""Seconds a server gets to answer, unless the address says otherwise."""

_CHECKOUT_TIMEOUT = 5.0
"""Seconds to wait for a connection of the pool before looking for the reason."""

_LOCK_TIMEOUT = 5
"""Seconds to wait for rows or tables that somebody else has locked, before trying anew."""

_ALIVE = {
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
"""How soon a server that has vanished without a word is noticed, [s], [s], [1], [ms]; else hours."""

_QUICK_TRIES = 3
"""Attempts at a statement whose connection broke or that lost a deadlock, before patience counts."""

_MAX_PAUSE = 2.0
"""Longest pause between two attempts [s]."""

_MAX_CONNECTIONS = 2
"""One for the work, one for the heartbeat."""

_SHOWN = ("host", "port", "dbname", "user")
"""Words of an address that may be shown."""

_SECRET = ("password", "sslpassword")
"""Words of an address that must not be."""

_REMEDY = "check PYSTILT_DB_URL (user, password, host, port, database) and that the server is running."


class Connections:
    """
    A small pool of connections that are opened when first needed.

    Parameters
    ----------
    dsn : str
        Address: ``postgresql://...`` or ``key=value`` words.
    patience : float
        Seconds to keep trying when the server goes away in the middle of the work. The first
        connection is never waited for.

    Raises
    ------
    ConfigError
        When the address cannot be one; it is not repeated in the message.
    """

    def __init__(self, dsn: str, *, patience: float = 0.0) -> None:
        self.patience = patience
        self.should_stop: Callable[[], bool] = lambda: False
        self.say: Callable[[str], None] = lambda text: None
        self._psycopg = _import_psycopg()
        self._dsn, self._shown, self._secrets = _parse(self._psycopg, dsn)
        self._pool: ConnectionPool[Connection[Any]] | None = None
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._is_away = False

    def __repr__(self) -> str:
        return self._shown

    def connect_once(self, action: Callable[[Connection[Any]], T]) -> T:
        """
        Do something on a connection of its own, without patience.

        Raises
        ------
        QueueError
            In one line: what the server says, and what to check.
        """
        try:
            with self._psycopg.connect(self._dsn, autocommit=True) as connection:
                return action(connection)
        except self._psycopg.Error as error:
            raise self.explain(error) from None

    def call(self, action: Callable[[Connection[Any]], T], *, patience: float | None = None) -> T:
        """
        Do something short on a connection of the pool, again when the connection breaks.

        Parameters
        ----------
        action : callable
            Gets the connection, in autocommit mode; may be called more than once.
        patience : float, optional
            Seconds to keep trying; default: that of the pool.

        Raises
        ------
        QueueError
            In one line.
        """
        psycopg = self._psycopg
        patience = self.patience if patience is None else patience
        began = time.monotonic()
        tries = 0
        while True:
            try:
                with self._open_pool().connection() as connection:
                    result = action(connection)
                if self._is_away:
                    self._is_away = False
                    self.say("the work queue can be used again")
                return result
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                tries += 1
                if tries >= _QUICK_TRIES or _is_pool_timeout(error):
                    is_out_of_time = time.monotonic() - began >= patience or self.should_stop()
                    if is_out_of_time or not self._is_away:
                        reason = self._reason(error)
                        if not self._is_away:
                            self._is_away = True
                            self.say(f"{reason} Trying again.")
                    if is_out_of_time:
                        raise reason from None
                time.sleep(min(0.05 * 2**tries, _MAX_PAUSE))
            except psycopg.Error as error:
                raise self.explain(error) from None

    def explain(self, error: Exception) -> QueueError:
        """Put what the server says into one line that holds no password."""
        said = self.scrub(_essence(str(error)))
        if isinstance(error, self._psycopg.errors.InsufficientPrivilege):
            return QueueError(
                f"the work queue cannot be used: {said}; grant this database user the right to create and "
                "use the stilt_ tables, or let their owner run `stilt status` once."
            )
        if isinstance(error, self._psycopg.errors.ReadOnlySqlTransaction):
            return QueueError(
                f"the work queue cannot be used: {said}; PYSTILT_DB_URL leads to a database that takes no "
                "changes, such as a standby: name the one that does."
            )
        if isinstance(error, self._psycopg.errors.LockNotAvailable):
            return QueueError(
                f"the work queue cannot be used: {said} ({_LOCK_TIMEOUT} s); somebody has locked its rows: "
                "look for an open transaction in pg_stat_activity."
            )
        if "too many clients" in said or "connection slots are reserved" in said:
            return QueueError(
                f"the work queue cannot be reached: {said}; each worker needs one or two connections: raise "
                "the server's max_connections, or start fewer workers."
            )
        if isinstance(error, self._psycopg.OperationalError | self._psycopg.InterfaceError):
            return QueueError(f"the work queue cannot be reached: {said}; {_REMEDY}")
        return QueueError(f"the work queue refused a request: {said}; please report this.")

    def scrub(self, text: str) -> str:
        """Blank the password, however it is written."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text

    def close(self) -> None:
        """Let go of all connections; the next call opens new ones."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.close(timeout=2.0)

    def _open_pool(self) -> ConnectionPool[Connection[Any]]:
        with self._lock:
            if self._process != os.getpid():
                # forked: the connections are the parent's, and so are the threads that tend them
                self._process, self._pool = os.getpid(), None
            if self._pool is None:
                from psycopg_pool import ConnectionPool

                # trouble is reported by whoever needed the connection, not by a thread of the pool
                logging.getLogger("psycopg.pool").addHandler(logging.NullHandler())
                self._pool = ConnectionPool(
                    self._dsn,
                    kwargs={"autocommit": True},
                    configure=_configure,
                    min_size=0,
                    max_size=_MAX_CONNECTIONS,
                    timeout=_CHECKOUT_TIMEOUT,
                    # pauses between its attempts double for so long; then a new call begins anew
                    reconnect_timeout=_CHECKOUT_TIMEOUT,
                    num_workers=1,
                    name="stilt",
                    open=True,
                )
                weakref.finalize(self, _close_quietly, self._pool, self._process)
            return self._pool

    def _reason(self, error: Exception) -> QueueError:
        """Ask the server itself when the pool only knows that it took too long."""
        if not _is_pool_timeout(error):
            return self.explain(error)
        try:
            self.connect_once(lambda connection: None)
        except QueueError as reason:
            return reason
        return QueueError(f"the work queue did not answer within {_CHECKOUT_TIMEOUT:.0f} s; {_REMEDY}")


def _import_psycopg() -> Any:
    try:
        import psycopg
        import psycopg_pool  # noqa: F401 - both belong to the extra
    except ImportError as error:
        raise MissingExtraError(
            "PYSTILT_DB_URL is set, and the Postgres queue needs psycopg; install it with: "
            "pip install 'pystilt[postgres]'."
        ) from error
    return psycopg


def _parse(psycopg: Any, dsn: str) -> tuple[str, str, list[str]]:
    """Return the address to use, how to show it, and what must never be shown."""
    try:
        words = psycopg.conninfo.conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        # not chained: the original message may repeat the address
        raise ConfigError(
            "PYSTILT_DB_URL is no address of a Postgres database; write "
            "postgresql://USER:PASSWORD@HOST/DATABASE (other signs than letters and digits in the password "
            "as %XX)."
        ) from None
    if not words:
        raise ConfigError("PYSTILT_DB_URL is empty; write postgresql://USER:PASSWORD@HOST/DATABASE.")
    plain = [str(words[name]) for name in _SECRET if words.get(name)]
    written = {way for secret in plain for way in (secret, quote(secret, safe=""), quote_plus(secret))}
    secrets = sorted(written, key=len, reverse=True)
    for name, value in {"connect_timeout": _CONNECT_TIMEOUT, "application_name": "stilt", **_ALIVE}.items():
        words.setdefault(name, value)
    shown = " ".join(f"{name}={words[name]}" for name in _SHOWN if words.get(name))
    return psycopg.conninfo.make_conninfo(**words), f"<Postgres {shown}>", secrets


def _configure(connection: Connection[Any]) -> None:
    # A crash of the server may forget the last moments of work status. The outputs are the truth,
    # so at worst a finished simulation is claimed again and found complete. Registrations do wait.
    connection.execute("SET synchronous_commit TO off")
    connection.execute("SELECT set_config('lock_timeout', %s, false)", [f"{_LOCK_TIMEOUT}s"])


def _close_quietly(pool: ConnectionPool[Connection[Any]], process: int) -> None:
    if process != os.getpid():
        return  # a child that was forked ends
    with contextlib.suppress(Exception):
        pool.close(timeout=2.0)


def _is_pool_timeout(error: Exception) -> bool:
    from psycopg_pool import PoolTimeout

    return isinstance(error, PoolTimeout)


def _essence(text: str) -> str:
    r"""
    Pick the one line of a driver's message that says what is wrong.

    Examples
    --------
    >>> _essence('connection failed: connection to server at "::1" failed: FATAL:  no such role\n')
    'no such role'
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if "failed:" in line or "FATAL:" in line] or lines[:1] or [""]
    said = telling[-1].rpartition("failed:")[2]
    return " ".join(said.rpartition("FATAL:")[2].split()).rstrip(".") or "no reason given"
