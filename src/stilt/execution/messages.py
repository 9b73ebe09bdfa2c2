"""Sentences that both Python and the command line say, without loading what runs simulations."""

from __future__ import annotations


def no_queue_message() -> str:
    """Say that there is no queue, and what to use instead."""
    return "no work queue is configured (PYSTILT_DB_URL is not set); use `stilt run` or push workers."
