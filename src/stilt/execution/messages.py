"""Sentences that both Python and the command line say, without loading what runs simulations."""

from __future__ import annotations

import os


def no_queue_message() -> str:
    """Say that there is no queue, and what to use instead."""
    if os.environ.get("PYSTILT_DB_URL"):
        return (
            "PYSTILT_DB_URL is set, but this version has no work queue yet; use `stilt run` or push workers."
        )
    return "no work queue is configured (PYSTILT_DB_URL is not set); use `stilt run` or push workers."
