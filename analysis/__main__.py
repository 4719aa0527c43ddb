"""``python -m analysis``; see ``analysis.cli``.  Ctrl-C ends with 130 and SIGTERM with 143, without a traceback."""

from __future__ import annotations

import signal
import sys
from types import FrameType

from analysis.arithmetic import settle
from harness.streams import standard_streams

SIGINT_EXIT = 130
SIGTERM_EXIT = 143


def _terminated(_number: int, _frame: FrameType | None) -> None:
    sys.exit(SIGTERM_EXIT)


def main() -> None:
    """Run the command line."""
    signal.signal(signal.SIGTERM, _terminated)
    settle()
    try:
        from analysis.cli import app

        with standard_streams():
            app(prog_name="python -m analysis")
    except KeyboardInterrupt:
        sys.exit(SIGINT_EXIT)


if __name__ == "__main__":
    main()
