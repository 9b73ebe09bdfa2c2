"""
What a pull worker tells the outside while it lives: log lines, a health file, metrics.

Log lines go to stderr with the time in UTC. The health file is rewritten every few seconds
while the worker makes progress, so that its age tells a supervisor whether the worker is
alive; it stops being rewritten when the main thread has shown no sign of life for a long time.
Metrics are served for Prometheus when a port is asked for (extra ``metrics``).
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stilt.errors import ConfigError, MissingExtraError
from stilt.execution.results import SimulationResult
from stilt.service import Claim

_HEALTH_EVERY = 5.0
"""Seconds between two health files."""

_STUCK_AFTER = 900.0
"""Seconds without a sign of life of the main thread after which the worker counts as stuck."""


class Monitor:
    """
    Hears what a pull worker does; every method may be left as it is.

    All are called by the worker's main thread, but `alive`, and `say` about trouble with the queue.
    """

    def say(self, text: str) -> None:
        """One line for people."""

    def claimed(self, claims: Sequence[Claim]) -> None:
        """Rows were claimed."""

    def began(self, claim: Claim) -> None:
        """A simulation begins."""

    def ended(self, result: SimulationResult, *, returned: bool = False) -> None:
        """A simulation has ended; ``returned``: it failed here, and is pending again."""

    def idle(self) -> None:
        """There is nothing to do at the moment."""

    def sign_of_life(self) -> None:
        """The main thread is getting on."""

    def alive(self) -> None:
        """About once a second, from the heartbeat's thread."""

    def close(self) -> None:
        """The worker ends."""


class Monitors(Monitor):
    """
    Several monitors as one.

    Parameters
    ----------
    monitors : sequence of Monitor
        Told one after another.
    """

    def __init__(self, monitors: Sequence[Monitor]) -> None:
        self._monitors = list(monitors)

    def say(self, text: str) -> None:
        """Pass it on."""
        for monitor in self._monitors:
            monitor.say(text)

    def claimed(self, claims: Sequence[Claim]) -> None:
        """Pass it on."""
        for monitor in self._monitors:
            monitor.claimed(claims)

    def began(self, claim: Claim) -> None:
        """Pass it on."""
        for monitor in self._monitors:
            monitor.began(claim)

    def ended(self, result: SimulationResult, *, returned: bool = False) -> None:
        """Pass it on."""
        for monitor in self._monitors:
            monitor.ended(result, returned=returned)

    def idle(self) -> None:
        """Pass it on."""
        for monitor in self._monitors:
            monitor.idle()

    def sign_of_life(self) -> None:
        """Pass it on."""
        for monitor in self._monitors:
            monitor.sign_of_life()

    def alive(self) -> None:
        """Pass it on."""
        for monitor in self._monitors:
            monitor.alive()

    def close(self) -> None:
        """Pass it on."""
        for monitor in self._monitors:
            monitor.close()


class LogLines(Monitor):
    """One line on stderr for each simulation, with its timings."""

    def say(self, text: str) -> None:
        """Print it with the time in UTC."""
        with contextlib.suppress(OSError, ValueError):
            print(f"{_now()} {text}", file=sys.stderr, flush=True)

    def ended(self, result: SimulationResult, *, returned: bool = False) -> None:
        """Print how it went."""
        spent = ", ".join(f"{step} {seconds:.2f} s" for step, seconds in result.timings.items())
        if result.skipped:
            self.say(f"{result.sim_id} complete before")
        elif result.ok:
            self.say(f"{result.sim_id} complete: {spent}")
        elif returned and result.status == "failed":
            self.say(
                f"{result.sim_id} returned to the queue, where it is pending again: {result.reason}: "
                f"{result.message} ({spent})"
            )
        elif result.status == "failed":
            self.say(f"{result.sim_id} failed: {result.reason}: {result.message} ({spent})")
        else:
            self.say(f"{result.sim_id} returned to the queue: {result.message}")


class HealthFile(Monitor):
    """
    A small JSON file whose age says whether the worker is alive.

    Parameters
    ----------
    path : Path
        The file; it is replaced, never half written, and removed when the worker ends.

    Raises
    ------
    ConfigError
        When it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._facts: dict[str, Any] = {
            "pid": os.getpid(),
            "state": "idle",
            "sim_id": None,
            "complete": 0,
            "failed": 0,
        }
        self._last_sign = time.monotonic()
        self._next = 0.0
        self._lock = threading.Lock()
        try:
            self._write()
        except OSError as error:
            raise ConfigError(f"the health file {path} cannot be written: {error.strerror}.") from error

    def began(self, claim: Claim) -> None:
        """Note which."""
        self._note(state="running", sim_id=claim.sim_id)

    def ended(self, result: SimulationResult, *, returned: bool = False) -> None:
        """Count it."""
        with self._lock:
            key = "complete" if result.ok else "failed"
            if result.ok or (result.status == "failed" and not returned):
                self._facts[key] += 1
        self._note(sim_id=None)

    def idle(self) -> None:
        """Note it."""
        self._note(state="idle", sim_id=None)

    def sign_of_life(self) -> None:
        """Remember when."""
        self._last_sign = time.monotonic()

    def alive(self) -> None:
        """Rewrite the file now and then, unless the main thread is stuck."""
        now = time.monotonic()
        if now >= self._next and now - self._last_sign < _STUCK_AFTER:
            self._next = now + _HEALTH_EVERY
            with contextlib.suppress(OSError):
                self._write()

    def close(self) -> None:
        """Remove the file."""
        with contextlib.suppress(OSError):
            self.path.unlink()

    def _note(self, **facts: Any) -> None:
        with self._lock:
            self._facts.update(facts)
        self.sign_of_life()

    def _write(self) -> None:
        with self._lock:
            text = json.dumps({"time": _now(), **self._facts})
        temporary = self.path.with_name(f"{self.path.name}.{os.getpid()}.tmp")
        temporary.write_text(text + "\n", encoding="utf-8")
        temporary.replace(self.path)


class Metrics(Monitor):
    """
    Counters for Prometheus, served over HTTP.

    Parameters
    ----------
    where : str
        ``PORT`` (on this machine only) or ``ADDRESS:PORT``.

    Raises
    ------
    ConfigError
        When it is no address, or in use.
    MissingExtraError
        When prometheus_client is not installed.
    """

    def __init__(self, where: str) -> None:
        try:
            import prometheus_client as prometheus
        except ImportError as error:
            raise MissingExtraError(
                "--metrics needs prometheus_client; install it with: pip install 'pystilt[metrics]'."
            ) from error
        address, _, port = where.rpartition(":")
        if not port.isdecimal() or not 0 <= int(port) < 65536:
            raise ConfigError(f"--metrics {where} is no port; write 9100 or 0.0.0.0:9100.")
        registry = prometheus.CollectorRegistry()
        prometheus.ProcessCollector(registry=registry)
        self._ended = prometheus.Counter(
            "stilt_simulations",
            "Simulations ended, by outcome and reason.",
            ["outcome", "reason"],
            registry=registry,
        )
        self._seconds = prometheus.Histogram(
            "stilt_step_seconds",
            "Time spent on a simulation, by step.",
            ["step"],
            buckets=(0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000),
            registry=registry,
        )
        self._claims = prometheus.Counter("stilt_claims", "Queue rows claimed.", registry=registry)
        self._busy = prometheus.Gauge("stilt_busy", "Whether a simulation is running.", registry=registry)
        self._beat = prometheus.Gauge(
            "stilt_last_sign_of_life_seconds", "When the main thread got on last.", registry=registry
        )
        try:
            self._server, self._thread = prometheus.start_http_server(
                int(port), addr=address.strip("[]") or "127.0.0.1", registry=registry
            )
        except OSError as error:
            raise ConfigError(f"metrics cannot be served at {where}: {error.strerror or error}.") from error

    @property
    def port(self) -> int:
        """Port they are served at."""
        return int(self._server.server_port)

    def claimed(self, claims: Sequence[Claim]) -> None:
        """Count them."""
        self._claims.inc(len(claims))

    def began(self, claim: Claim) -> None:
        """Note it."""
        self._busy.set(1)

    def ended(self, result: SimulationResult, *, returned: bool = False) -> None:
        """Count it, and its time."""
        self._busy.set(0)
        outcome = "returned" if returned else "skipped" if result.skipped else result.status
        self._ended.labels(outcome, result.reason).inc()
        for step, seconds in result.timings.items():
            self._seconds.labels(step).observe(seconds)

    def sign_of_life(self) -> None:
        """Remember when."""
        self._beat.set_to_current_time()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5.0)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
