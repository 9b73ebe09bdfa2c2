"""``python -m stilt`` is the command ``stilt``."""

from __future__ import annotations

import sys

from stilt.cli import main

if __name__ == "__main__":
    sys.exit(main())
