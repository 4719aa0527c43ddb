"""What the command line tells a user, and with which exit code.  Nothing else is printed of such an error."""

from __future__ import annotations

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_CANNOT = 3


class HarnessError(Exception):
    """One clear sentence: what, where, what to do.  The work itself failed (exit code 1)."""

    exit_code = EXIT_FAILED


class UsageError(HarnessError):
    """A plan, an argument or an input file is wrong (exit code 2)."""

    exit_code = EXIT_USAGE


class CannotError(HarnessError):
    """The machine cannot do it; the text says what would make it work (exit code 3)."""

    exit_code = EXIT_CANNOT


class PartyLostError(HarnessError):
    """A fleet, the daemon or the server ended or went silent while it was needed.

    The trial in flight is aborted.
    """
