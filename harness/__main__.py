"""``python -m harness``."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    try:
        from harness.cli import app

        app()
    except KeyboardInterrupt:  # before or after the commands' own care for signals
        sys.exit(130)
