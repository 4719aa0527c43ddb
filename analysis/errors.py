"""What ends an analysis, by fault; each message is one sentence: what, where, and what to do."""

from __future__ import annotations

EXIT_FAILED = 1
EXIT_BAD_INPUT = 2


class AnalysisError(Exception):
    """The command cannot be done; ``exit_code`` says whose fault it is."""

    exit_code = EXIT_FAILED


class DataError(AnalysisError):
    """A campaign's files are missing, torn, foreign or edited, or do not belong together (exit code 2)."""

    exit_code = EXIT_BAD_INPUT


class NotEnoughDataError(AnalysisError):
    """The files are sound but too few trials ended well for what was asked (exit code 1)."""
