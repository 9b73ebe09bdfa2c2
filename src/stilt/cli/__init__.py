"""
The command ``stilt``: parse, call, print.

::

    app        the commands and their options        entry      errors to one line, exit codes
    scaffold   what ``stilt init`` writes            show       tables and reports as text
"""

from __future__ import annotations

from stilt.cli.entry import main

__all__ = ["main"]
