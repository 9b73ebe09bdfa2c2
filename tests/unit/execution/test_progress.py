"""What a run says: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import sys

import pytest

from stilt.execution.handle import JobHandle
from stilt.execution.progress import Bar, PlainLines, Silent, reporter_for
from stilt.execution.results import SimulationResult
from stilt.execution.worker import died
from stilt.storage.failures import read_failure


def ended(status="complete", reason=""):
    return SimulationResult("hrrr_202301011200_0_0_5", status, reason, made=("trajectory",))


def test_plain_lines_are_few_and_end_with_the_total(capsys):
    """A thousand simulations in no time are a line or two; the last one counts all."""
    lines = PlainLines()
    lines.start(1000)
    for number in range(1000):
        lines.advance(ended("failed" if number == 3 else "complete"))
    lines.finish()
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) <= 3
    assert said[-1].startswith("1000/1000 simulations, 1 failed, ")


def test_an_interrupted_run_says_where_it_ended(capsys):
    """The last line tells how far it came."""
    lines = PlainLines()
    lines.start(1000)
    lines.advance(ended())
    lines.finish()
    assert "1/1000 simulations" in capsys.readouterr().err


def test_a_terminal_gets_a_bar(monkeypatch):
    """Progress goes to stderr, and a bar only where someone sees it."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert isinstance(reporter_for(None), Bar)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    assert isinstance(reporter_for(True), PlainLines)
    assert isinstance(reporter_for(None), Silent)
    assert isinstance(reporter_for(False), Silent)


def test_the_bar_shows_rate_and_failures(capsys):
    """The bar counts, and lines go above it."""
    bar = Bar()
    bar.start(2)
    bar.advance(ended("failed"))
    bar.say("[not markup]")
    bar.advance(ended())
    bar.finish()
    said = capsys.readouterr().err
    assert "[not markup]" in said
    assert "2/2" in said


@pytest.mark.parametrize(
    ("handle", "code"),
    [
        (JobHandle("a", results=[ended()]), 0),
        (JobHandle("a", results=[ended(), ended("failed", "TIMEOUT")]), 1),
        (JobHandle("a", results=[ended()], interrupted=True), 3),
        (JobHandle("a", stopped_because="disk full"), 1),
        (JobHandle("a"), 0),
    ],
)
def test_exit_codes(handle, code):
    """0 all complete, 1 some failed, 3 interrupted."""
    assert handle.exit_code == code


def test_a_culprit_is_recorded(make_context, task_for):
    """A simulation that kills its workers has a failure record like any other."""
    context = make_context()
    task = task_for(context)
    assert died(task, context.store, "native").reason == "WORKER_DIED"
    assert read_failure(context.store, task.sim_id).reason == "WORKER_DIED"
