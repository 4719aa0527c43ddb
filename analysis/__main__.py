"""``python -m analysis``; see ``analysis.cli``.  Ctrl-C ends with 130 and SIGTERM with 143, without a traceback."""

from __future__ import annotations

import signal
import sys
from types import FrameType

from analysis.arithmetic import settle
from harness.streams import standard_streams

_signals: list[int] = []


def _end(number: int, _frame: FrameType | None) -> None:
    _signals.append(number)
    sys.exit(128 + number)


def main() -> None:
    """Run the command line."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)
    settle()
    try:
        from analysis.cli import app

        with standard_streams():
            app(prog_name="python -m analysis")
    except ImportError:  # what some libraries make of being ended while they are imported
        if not _signals:
            raise
        sys.exit(128 + _signals[0])


if __name__ == "__main__":
    main()
