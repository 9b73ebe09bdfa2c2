"""
Connections to Postgres: kept few, mended when the server restarts, and silent about passwords.

A worker uses one or two connections, each only for the milliseconds of a statement, so a
database with the usual hundred of them serves many workers. What the server says when it
refuses is passed on in one line, without the address it was reached by.
"""

from __future__ import annotations

import contextlib
import logging
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

_QUICK_TRIES = 3
"""Attempts at a statement whose connection broke or that lost a deadlock, before patience counts."""

_MAX_PAUSE = 2.0
"""Longest pause between two attempts [s]."""

_MAX_CONNECTIONS = 2
"""One for the work, one for the heartbeat."""

_SHOWN = ("host", "port", "dbname", "user")
"""Words of an address that may be shown."""

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
        self._psycopg = _import_psycopg()
        self._dsn, self._shown, self._secrets = _parse(self._psycopg, dsn)
        self._pool: ConnectionPool[Connection[Any]] | None = None
        self._lock = threading.Lock()

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
                    return action(connection)
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                tries += 1
                is_out_of_time = time.monotonic() - began >= patience or self.should_stop()
                if is_out_of_time and (tries >= _QUICK_TRIES or _is_pool_timeout(error)):
                    raise self._reason(error) from None
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
                    num_workers=1,
                    name="stilt",
                    open=True,
                )
                weakref.finalize(self, _close_quietly, self._pool)
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
    password = str(words.get("password") or "")
    secrets = sorted({password, quote(password, safe=""), quote_plus(password)} - {""}, key=len, reverse=True)
    words.setdefault("connect_timeout", _CONNECT_TIMEOUT)
    words.setdefault("application_name", "stilt")
    shown = " ".join(
        f"{name}={words[name]}" for name in ("host", "port", "dbname", "user") if words.get(name)
    )
    return psycopg.conninfo.make_conninfo(**words), f"<Postgres {shown}>", secrets


def _configure(connection: Connection[Any]) -> None:
    # A crash of the server may forget the last moments of work status. The outputs are the truth,
    # so at worst a finished simulation is claimed again and found complete. Registrations do wait.
    connection.execute("SET synchronous_commit TO off")


def _close_quietly(pool: ConnectionPool[Connection[Any]]) -> None:
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
