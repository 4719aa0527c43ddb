"""What all tests share: none depends on how fast the machine is, and where CI runs, a skipped test is a failure."""

from __future__ import annotations

import signal

import pytest
from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):  # ignored in a shell's background, by children then too
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if number is signal.SIGINT else signal.SIG_DFL)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--forbid-skips", action="store_true", help="fail when a test was skipped, and say why it was")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if config.getoption("--forbid-skips"):
        for report in terminalreporter.stats.get("skipped", []):
            terminalreporter.write_line(f"skipped, which is forbidden here: {report.nodeid}: {report.longrepr[-1]}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    forbidden = session.config.getoption("--forbid-skips") and reporter is not None and reporter.stats.get("skipped")
    if forbidden and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
