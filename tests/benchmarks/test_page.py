from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.cli import NAMES, app
from benchmarks.page import number, pivot, render
from benchmarks.recording import BENCHMARKS
from benchmarks.records import Missing, Role, Row, Subject, write
from tests.benchmarks.made import recording


def row(
    subject: Subject, case: str, quantity: str, *rounds: float, role: Role | None = Role.CLIENT, unit: str = "s"
) -> Row:
    return Row(subject=subject, role=role, case=case, quantity=quantity, unit=unit, rounds=rounds)


def test_every_benchmark_has_a_name_on_the_command_line() -> None:
    assert tuple(BENCHMARKS) == NAMES
    assert all(benchmark.sizes.keys() == benchmark.quick.keys() for benchmark in BENCHMARKS.values())


@pytest.mark.parametrize(
    ("value", "text"), [(1234.6, "1235"), (123.4, "123"), (12.345, "12.3"), (0.012345, "0.0123"), (0, "0")]
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert number(value) == text


def test_a_pivot_has_the_medians_and_a_dash_where_nothing_was_measured() -> None:
    rows = [
        row(Subject.SECCOMP, "a", "q", 1, 3, 2),
        row(Subject.HAPROXY, "b", "q", 5),
        row(Subject.HAPROXY, "no", "q", 7),
    ]
    table = pivot(rows, "who", lambda row: row.subject, lambda row: row.case if row.case != "no" else None)
    assert table.splitlines() == [
        "| who | a | b |",
        "|---|---:|---:|",
        "| ssa-seccomp | 2 | – |",
        "| haproxy | – | 5 |",
    ]


def test_no_number_is_without_its_command() -> None:
    handshakes = [
        row(Subject.STUNNEL, "full", "handshakes per second", 250, unit="1/s"),
        row(Subject.STUNNEL, "full", "CPU per handshake", 2.5, unit="ms"),
        row(Subject.STUNNEL, "full", "CPU per handshake, proxy", 2.25, unit="ms"),
        row(Subject.STUNNEL, "resumed", "resumed", 99.5, unit="%"),
    ]
    page = render([recording("handshakes", handshakes)])
    for part in (
        "## Handshakes",
        "| role: subject | full: handshakes per second, 1/s | full: CPU per handshake, ms | resumed: resumed, % |",
        "| client: stunnel | 250 | 2.5 | 99.5 |",
        "| client: stunnel | 2.25 |",
        "`python -m benchmarks run handshakes`: 3 rounds, 300 handshakes; 2026-01-02T03:04:05+00:00, 12 s; load 0.25",
        "2 cores of A CPU, Linux 6.1; revision 0123456789ab; CPython 3.13.0",
    ):
        assert part in page
    assert "Quick" not in page


def test_policies_are_set_beside_the_default_round_by_round() -> None:
    def cpu(case: str, *rounds: float, party: str = "") -> Row:
        what = f"CPU per handshake{party}"
        return Row(subject=Subject.SECCOMP, role=Role.CLIENT, case=case, quantity=what, unit="ms", rounds=rounds)

    rows = [
        cpu("the packaged default", 2, 4, 8),
        cpu("the packaged default", 1, 2, 3, party=", daemon"),
        cpu("pinning", 3, 5, 8),
        cpu("pinning", 2, 3, 4, party=", daemon"),
    ]
    page = render([recording("policies", rows)])
    assert "| policy: CPU per handshake, ms | all | of the default | daemon |" in page
    assert "| the packaged default | 4 | 1 | 2 |" in page
    assert "| pinning | 5 | 1.25 | 3 |" in page


def test_what_is_missing_and_what_is_quick_is_said() -> None:
    missing = [Missing(subject=Subject.HAPROXY, role=Role.SERVER, reason="haproxy is not installed")]
    page = render([recording("connections", [], missing, quick=True)])
    assert "Not measured: server: HAProxy: haproxy is not installed." in page
    assert "the numbers mean nothing" in page


def test_calls_stand_beside_those_without_a_boundary() -> None:
    calls = [
        row(subject, f"C, {on}", "socket", value, role=None, unit="µs")
        for subject, on, value in (
            (Subject.IN_PROCESS, "plain", 3),
            (Subject.SECCOMP, "plain", 4),
            (Subject.SECCOMP, "secure", 90),
            (Subject.PRELOAD, "secure", 50),
        )
    ]
    page = render([recording("calls", calls)])
    assert "| call | C, no boundary | C, seccomp |\n|---|---:|---:|\n| socket | 3 | 4 |" in page
    assert "| call | C, seccomp | C, preload |\n|---|---:|---:|\n| socket | 90 | 50 |" in page


def test_table_writes_checks_and_says_what_is_stale(tmp_path: Path) -> None:
    write(recording("relay", [row(Subject.SECCOMP, "down, 1 connection", "throughput", 500, unit="MB/s")]), tmp_path)
    page = tmp_path / "page.md"
    arguments = ["table", "--out", str(tmp_path), "--page", str(page)]
    assert CliRunner().invoke(app, [*arguments, "--check"]).exit_code == 1
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert "| client: SSA, seccomp | 500 |" in page.read_text("utf-8")
    assert CliRunner().invoke(app, [*arguments, "--check"]).exit_code == 0
    page.write_text("something else")
    stale = CliRunner().invoke(app, [*arguments, "--check"])
    assert (stale.exit_code, "is stale; renew it with" in stale.stderr) == (1, True)


def test_help_names_every_benchmark_and_wrong_names_are_refused() -> None:
    told = CliRunner().invoke(app, ["run", "--help"])
    assert told.exit_code == 0
    assert all(name in told.stdout for name in NAMES)
    refused = CliRunner().invoke(app, ["run", "speed"])
    assert refused.exit_code == 2
    assert "there is no benchmark 'speed'" in " ".join(refused.stderr.replace("│", " ").split())
