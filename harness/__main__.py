"""``python -m harness``."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    try:
        from harness.cli import main
        from harness.streams import standard_streams

        with standard_streams():
            main()
    except KeyboardInterrupt:  # while this was being imported
        sys.exit(130)
