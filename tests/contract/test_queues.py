"""What every queue promises, tried on each of them."""

from __future__ import annotations

import threading
import time
import uuid

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stilt.errors import ProjectError
from stilt.service import Claim, MemoryQueue, PostgresQueue, Queue
from stilt.service.queue import MAX_LABEL

NOW = "aaaaaaaaaaaa"
LATER = "bbbbbbbbbbbb"


def ids(n: int) -> dict[str, None]:
    return {f"m_202301010000_{number}_40_5": None for number in range(n)}


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(params=["memory", pytest.param("postgres", marks=pytest.mark.postgres)])
def kind(request) -> str:
    return request.param


@pytest.fixture
def make_queue(kind, request):
    """Build queues; those of one project see the same rows."""
    made = []

    def make(project: str, **options) -> Queue:
        if kind == "memory":
            queue = MemoryQueue(project, clock=Clock(), **options)
        else:
            queue = PostgresQueue(request.getfixturevalue("postgres_dsn"), project, **options)
        made.append(queue)
        return queue

    yield make
    for queue in made:
        queue.close()


@pytest.fixture
def queue(make_queue):
    return make_queue(f"file:///{uuid.uuid4().hex}")


def end_leases(queue) -> None:
    """Let every lease be over."""
    if isinstance(queue, MemoryQueue):
        queue._clock.now += queue.lease + 1.0
        return
    queue.connections.call(
        lambda connection: connection.execute(
            "UPDATE stilt_simulation SET lease_until = now() - interval '1 second' "
            "WHERE status = 'running' AND project = (SELECT id FROM stilt_project WHERE uri = %s)",
            [queue.project],
        )
    )


def drain(queue, worker="w", settings=NOW) -> list[str]:
    """Claim one by one until nothing is left."""
    claimed = []
    while claims := queue.claim(worker, settings=settings):
        claimed += [claim.sim_id for claim in claims]
    return claimed


class TestQueueContract:
    def test_an_untouched_queue_is_empty(self, queue):
        assert queue.counts().total == 0
        assert queue.counts_by_scene() == {}
        assert queue.watched() == []
        assert queue.sim_ids() == set()
        assert queue.claim("w", settings=NOW) == []
        assert queue.reap() == []
        assert queue.next_expiry() is None
        assert not queue.wait(0.01, settings=NOW)

    def test_rows_are_claimed_once_in_the_order_asked_for(self, queue):
        assert queue.enqueue(ids(5), settings=NOW) == 5
        first = queue.claim("a", 2, settings=NOW)
        second = queue.claim("b", 10, settings=NOW)
        assert [claim.sim_id for claim in first + second] == list(ids(5))
        assert {claim.worker for claim in second} == {"b"}
        assert queue.claim("c", settings=NOW) == []
        assert queue.counts().running == 5

    def test_higher_priority_first_also_within_a_batch(self, queue):
        rows = list(ids(4))
        queue.enqueue(dict.fromkeys(rows[:2]), settings=NOW)
        queue.enqueue(dict.fromkeys(rows[2:]), settings=NOW, priority=5)
        assert [claim.sim_id for claim in queue.claim("w", 3, settings=NOW)] == [*rows[2:], rows[0]]
        queue.enqueue({rows[1]: None}, settings=NOW, priority=9)
        assert queue.counts().pending == 1

    def test_finished_rows_are_done_and_only_for_who_holds_them(self, queue):
        queue.enqueue(ids(2), settings=NOW)
        (mine,) = queue.claim("w", settings=NOW, begin=True)
        stranger = Claim(mine.sim_id, "x", NOW)
        assert queue.done([stranger]) == []
        assert queue.failed(stranger, "STORE", "no") is None
        assert queue.release([stranger]) == []
        assert queue.heartbeat([stranger]) == [mine.sim_id]
        assert not queue.begin(stranger)
        assert queue.counts().running == 1
        assert queue.done([mine]) == [mine.sim_id]
        assert queue.done([mine]) == []
        assert (queue.counts().done, queue.counts().pending) == (1, 1)

    def test_failures_keep_their_reason_in_one_line(self, queue):
        queue.enqueue(ids(1), settings=NOW)
        (claim,) = queue.claim("w", settings=NOW, begin=True)
        assert queue.failed(claim, "MET_COVERAGE", "no\0 hour\n12 " + "x" * 1000) == "failed"
        (row,) = queue.watched()
        assert (row.status, row.reason, row.attempts) == ("failed", "MET_COVERAGE", 1)
        assert row.message.startswith("no hour 12 xxx")
        assert len(row.message) == 500
        assert queue.claim("w", settings=NOW) == []

    def test_a_retried_failure_goes_to_the_end_until_its_attempts_are_used_up(self, make_queue):
        queue = make_queue(f"file:///{uuid.uuid4().hex}", max_attempts=2)
        queue.enqueue(ids(2), settings=NOW)
        bad, good = ids(2)
        (claim,) = queue.claim("w", settings=NOW, begin=True)
        assert queue.failed(claim, "STORE", "busy", retry=True) == "pending"
        (claim,) = queue.claim("w", settings=NOW, begin=True)
        assert claim.sim_id == good
        queue.done([claim])
        (claim,) = queue.claim("w", settings=NOW, begin=True)
        assert (claim.sim_id, claim.attempts) == (bad, 2)
        assert queue.failed(claim, "STORE", "busy", retry=True) == "failed"

    def test_released_rows_are_as_if_never_claimed(self, queue):
        queue.enqueue(ids(3), settings=NOW)
        claims = queue.claim("w", 2, settings=NOW)
        assert queue.begin(claims[0])
        assert not queue.begin(claims[0])
        assert set(queue.release(claims)) == {claim.sim_id for claim in claims}
        again = queue.claim("v", 3, settings=NOW)
        assert [claim.sim_id for claim in again] == list(ids(3))
        assert {claim.attempts for claim in again} == {0}

    def test_a_dead_workers_rows_return_and_only_the_begun_one_pays(self, queue):
        queue.enqueue(ids(3), settings=NOW)
        claims = queue.claim("dead", 2, settings=NOW)
        queue.begin(claims[0])
        assert queue.reap() == []
        end_leases(queue)
        assert queue.counts().pending == 3
        assert queue.watched()[0].status == "pending"
        reaped = {row.sim_id: row for row in queue.reap()}
        begun, unbegun = (reaped[claim.sim_id] for claim in claims)
        assert begun.reason == "WORKER_DIED"
        assert "dead" in begun.message
        assert unbegun.reason == ""
        assert queue.heartbeat(claims) == [claim.sim_id for claim in claims]
        assert queue.done(claims) == []
        order = queue.claim("w", 3, settings=NOW)
        assert [claim.sim_id for claim in order] == [*list(ids(3))[1:], claims[0].sim_id]
        assert [claim.attempts for claim in order] == [0, 0, 1]

    def test_who_lost_a_claim_cannot_end_it_for_its_next_holder(self, queue):
        """Outcomes count only from who holds the row, also when the row has been given to somebody else."""
        queue.enqueue(ids(1), settings=NOW)
        (late,) = queue.claim("late", settings=NOW, begin=True)
        end_leases(queue)
        queue.reap()
        (held,) = queue.claim("next", settings=NOW, begin=True)
        assert (held.attempts, late.attempts) == (2, 1)
        assert queue.heartbeat([late]) == [late.sim_id]
        assert not queue.begin(late)
        assert queue.done([late]) == queue.release([late]) == []
        assert queue.failed(late, "TIMEOUT", "slow") is None
        (row,) = queue.watched()
        assert (row.status, row.worker, row.attempts) == ("running", "next", 2)
        assert queue.done([held]) == [held.sim_id]
        assert queue.done([late]) == []
        assert queue.counts().done == 1

    def test_what_always_kills_its_worker_fails_in_the_end(self, make_queue):
        queue = make_queue(f"file:///{uuid.uuid4().hex}", max_attempts=3)
        queue.enqueue(ids(4), settings=NOW)
        killer = next(iter(ids(4)))
        for _ in range(20):
            for claim in queue.claim("w", 4, settings=NOW):
                assert queue.begin(claim)
                if claim.sim_id == killer:
                    break  # the worker is dead; the rest of its batch was never begun
                queue.done([claim])
            end_leases(queue)
            queue.reap()
        (row,) = queue.watched()
        assert (row.sim_id, row.status, row.reason, row.attempts) == (killer, "failed", "WORKER_DIED", 3)
        assert queue.counts().done == 3

    def test_a_heartbeat_keeps_a_claim(self, make_queue):
        queue = make_queue(f"file:///{uuid.uuid4().hex}", lease=30.0)
        queue.enqueue(ids(1), settings=NOW)
        claims = queue.claim("w", settings=NOW)
        end_leases(queue)
        assert queue.heartbeat(claims) == []
        assert queue.reap() == []
        assert 25.0 < queue.next_expiry() <= 30.0
        assert queue.heartbeat([]) == []
        assert queue.done([]) == queue.release([]) == []

    def test_asking_again_leaves_done_and_running_rows_to_their_own(self, queue):
        """Pending stays, running keeps its worker; done and failed are asked for anew only by enqueue."""
        rows = list(ids(4))
        queue.enqueue(dict.fromkeys(rows[:3]), settings=NOW)
        done, failed, running = queue.claim("w", 3, settings=NOW)
        queue.done([done])
        queue.begin(failed)
        queue.failed(failed, "TIMEOUT", "slow")
        assert queue.record_done({done.sim_id: None}, settings=NOW) == 0
        assert queue.enqueue({running.sim_id: None, rows[3]: None}, settings=NOW) == 1
        assert queue.counts() == queue.counts(settings=NOW)
        counts = queue.counts()
        assert (counts.pending, counts.running, counts.done, counts.failed) == (1, 1, 1, 1)
        assert queue.heartbeat([running]) == []
        assert queue.enqueue({done.sim_id: None, failed.sim_id: None}, settings=NOW) == 2
        assert queue.counts().pending == 3
        (again,) = [c for c in queue.claim("w", 9, settings=NOW) if c.sim_id == failed.sim_id]
        assert again.attempts == 0

    def test_found_outputs_are_recorded_but_not_over_a_worker(self, queue):
        rows = list(ids(3))
        queue.enqueue(dict.fromkeys(rows[:2]), settings=NOW)
        (held,) = queue.claim("w", settings=NOW)
        assert queue.record_done(ids(3), settings=NOW) == 2
        counts = queue.counts()
        assert (counts.running, counts.done) == (1, 2)
        assert queue.done([held]) == [held.sim_id]

    def test_workers_claim_only_rows_of_their_settings(self, queue):
        rows = list(ids(3))
        queue.enqueue(dict.fromkeys(rows[:2]), settings=NOW)
        queue.enqueue({rows[2]: None}, settings=LATER)
        assert drain(queue, settings=LATER) == [rows[2]]
        assert queue.counts(settings=LATER).other_settings == 2
        assert not queue.wait(0.01, settings=LATER)
        assert queue.wait(0.01, settings=NOW)
        assert queue.enqueue(dict.fromkeys(rows[:2]), settings=LATER) == 2
        assert queue.claim("w", settings=NOW) == []
        assert len(drain(queue, settings=LATER)) == 2

    def test_work_under_older_settings_is_not_done_under_newer_ones(self, queue):
        """Settings changed while a worker was at it: what it finished may not be all that is wanted."""
        queue.enqueue(ids(2), settings=NOW)
        first, second = queue.claim("w", 2, settings=NOW)
        queue.enqueue(ids(2), settings=LATER)
        assert queue.done([first]) == [first.sim_id]
        assert queue.failed(second, "TIMEOUT", "slow") == "pending"
        assert queue.counts(settings=LATER).pending == 2
        assert queue.counts(settings=LATER).other_settings == 0

    def test_push_workers_claim_by_id_whatever_nobody_holds(self, queue):
        rows = list(ids(5))
        queue.enqueue(dict.fromkeys(rows[:4]), settings=NOW)
        done, failed, running = queue.claim("pull", 3, settings=NOW)
        queue.done([done])
        queue.failed(failed, "TIMEOUT", "slow")
        mine = queue.claim_ids("push", reversed(rows), settings=LATER)
        assert [claim.sim_id for claim in mine] == [rows[4], rows[3], rows[1], rows[0]]
        assert {claim.settings for claim in mine} == {LATER}
        assert queue.heartbeat([running]) == []
        assert set(queue.done(mine)) == {claim.sim_id for claim in mine}
        end_leases(queue)
        assert [claim.sim_id for claim in queue.claim_ids("push", rows, settings=NOW)] == rows
        assert queue.done([running]) == []

    def test_scenes_are_kept_and_counted(self, queue):
        rows = list(ids(4))
        queue.enqueue({rows[0]: "a", rows[1]: "a", rows[2]: "b", rows[3]: None}, settings=NOW)
        assert queue.enqueue({rows[0]: None}, settings=NOW) == 0
        assert queue.enqueue({rows[3]: "b"}, settings=NOW) == 1
        by_scene = queue.counts_by_scene()
        assert {scene: counts.pending for scene, counts in by_scene.items()} == {"a": 2, "b": 2}
        (held,) = queue.claim("w", settings=NOW)
        assert queue.waiting([*rows, "never_there"]) == set(rows) - {held.sim_id}
        assert queue.release([held]) == [held.sim_id]
        assert queue.counts("a").total == 2
        assert queue.counts("nowhere").total == 0
        assert queue.claim("w", settings=NOW)[0].scene == "a"

    def test_rows_can_be_removed_even_from_under_a_worker(self, queue):
        queue.enqueue(ids(3), settings=NOW)
        (claim,) = queue.claim("w", settings=NOW)
        assert queue.remove([claim.sim_id, "never_there"]) == 1
        assert queue.heartbeat([claim]) == [claim.sim_id]
        assert queue.done([claim]) == []
        assert len(queue.sim_ids()) == 2

    def test_two_projects_do_not_see_each_other(self, make_queue):
        one, two = (make_queue(f"file:///{uuid.uuid4().hex}") for _ in range(2))
        one.enqueue(ids(2), settings=NOW)
        assert two.claim("w", 9, settings=NOW) == []
        assert two.counts().total == 0
        two.enqueue(ids(1), settings=NOW)
        (claim,) = two.claim("w", 9, settings=NOW)
        assert one.counts().pending == 2
        assert one.done([claim]) == []
        assert one.watched() == []
        assert two.remove(ids(2)) == 1
        assert one.sim_ids() == set(ids(2))
        end_leases(two)
        assert one.reap() == []

    def test_many_workers_share_the_rows_without_overlap(self, queue):
        queue.enqueue(ids(120), settings=NOW)
        taken: list[str] = []

        def work(name):
            while claims := queue.claim(name, 7, settings=NOW):
                taken.extend(queue.done(claims))

        threads = [threading.Thread(target=work, args=(f"w{number}",)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(taken) == sorted(ids(120))
        assert queue.counts().done == 120

    def test_sleepers_wake_at_once(self, make_queue, kind):
        queue = make_queue(f"file:///{uuid.uuid4().hex}")
        woken: list[tuple[bool, float]] = []

        def sleep():
            began = time.monotonic()
            woken.append((queue.wait(20.0, settings=NOW), time.monotonic() - began))

        sleeper = threading.Thread(target=sleep)
        sleeper.start()
        time.sleep(0.3)
        other = make_queue(queue.project) if kind == "postgres" else queue
        other.enqueue(ids(1), settings=NOW)
        sleeper.join(10.0)
        assert not sleeper.is_alive()
        ((has_news, seconds),) = woken
        assert has_news
        assert seconds < 5.0
        assert not make_queue("file:///quiet").wait(9.0, settings=NOW, should_stop=lambda: True)

    def test_labels_no_database_can_keep_are_refused(self, queue):
        for label in ("a\0b", "half \ud800", "x" * (MAX_LABEL + 1)):
            with pytest.raises(ProjectError, match="cannot be kept"):
                queue.enqueue({"m_1": label}, settings=NOW)
            with pytest.raises(ProjectError, match="cannot be kept"):
                queue.record_done({"m_1": label}, settings=NOW)
        with pytest.raises(ProjectError, match="priority 10000000000 is not between"):
            queue.enqueue({"m_1": None}, settings=NOW, priority=10**10)
        assert queue.counts().total == 0

    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        rows=st.dictionaries(
            st.text(
                st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=30
            ),
            st.none()
            | st.sampled_from(["'; DROP TABLE stilt_simulation; --", '"', "\\", "%s %(x)s", "a/../b", "\n\t"])
            | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=MAX_LABEL),
            min_size=1,
            max_size=6,
        ),
        project=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1),
    )
    def test_any_text_stays_in_its_row(self, make_queue, rows, project):
        """Quotes, newlines, separators and any script come back as they went in, and touch nothing else."""
        queue = make_queue(f"file:///{uuid.uuid4().hex}/{project}")
        neighbour = make_queue(f"file:///{uuid.uuid4().hex}")
        try:
            neighbour.enqueue(ids(1), settings=NOW)
            assert queue.enqueue(rows, settings=NOW) == len(rows)
            claims = queue.claim("w'\"\\", len(rows), settings=NOW)
            assert {claim.sim_id: claim.scene for claim in claims} == rows
            assert queue.begin(claims[0])
            assert queue.failed(claims[0], "O'Reason", 'it\'s "bad" %s') == "failed"
            (failure,) = (row for row in queue.watched() if row.status == "failed")
            assert (failure.sim_id, failure.reason) == (claims[0].sim_id, "O'Reason")
            assert failure.message == 'it\'s "bad" %s'
            assert len(queue.done(claims[1:])) == len(claims) - 1
            assert neighbour.counts().pending == 1
        finally:
            queue.close()
            neighbour.close()
