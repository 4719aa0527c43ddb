"""Every benchmark, quickly, with the real daemon, boundaries, proxies and programs: are the records complete?"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

import pytest

from benchmarks.policies import POLICIES
from benchmarks.recording import BENCHMARKS
from benchmarks.records import Recording, Role, Subject, read
from tests.system.waiting import eventually

pytestmark = pytest.mark.system

ALWAYS_THERE = {Subject.SECCOMP, Subject.IN_PROCESS}
ROLES = (Role.CLIENT, Role.SERVER)


def run(name: str, directory: Path) -> Recording:
    command = [sys.executable, "-m", "benchmarks", "run", name, "--quick", "--rounds", "1", "--out", str(directory)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(directory / f"{name}.json")
    found = read(directory / f"{name}.json")
    assert found.command == f"python -m benchmarks run {name} --quick --rounds 1"
    assert (found.quick, found.sizes) == (True, BENCHMARKS[name].quick)
    assert all(len(row.rounds) == found.sizes["rounds"] for row in found.rows)
    assert all(missing.reason for missing in found.missing)
    return found


def by_cell(found: Recording, subject: Subject, role: Role | None) -> dict[tuple[str, str], float]:
    """The numbers of one subject; for one that this machine does not have, why must be said instead."""
    rows = {(row.case, row.quantity): row.median for row in found.rows if (row.subject, row.role) == (subject, role)}
    reasons = [missing.reason for missing in found.missing if (missing.subject, missing.role) == (subject, role)]
    assert bool(rows) != bool(reasons), (subject, role, reasons)
    assert rows or subject not in ALWAYS_THERE, reasons
    return rows


def test_calls(tmp_path: Path) -> None:
    found = run("calls", tmp_path)
    for subject in (Subject.IN_PROCESS, Subject.SECCOMP, Subject.PRELOAD):
        rows = by_cell(found, subject, None)
        plain = {"socket", "setsockopt", "getsockopt", "connect", "accept", "getsockname", "write and read"}
        secure = {
            "socket",
            "setsockopt TLS_REMOTE_HOSTNAME",
            "getsockopt TLS_REMOTE_HOSTNAME",
            "connect, handshake included",
            "getpeername",
            "accept, peer ready",
        }
        expected = {"plain": plain, "secure": set() if subject is Subject.IN_PROCESS else secure}
        for language in ("C", "Python") if rows else ():
            for on, calls in expected.items():
                assert {call for case, call in rows if case == f"{language}, {on}"} == calls
        assert all(microseconds > 0 for microseconds in rows.values())


def test_connections(tmp_path: Path) -> None:
    found = run("connections", tmp_path)
    for subject in Subject:
        for role in ROLES:
            if rows := by_cell(found, subject, role):
                assert rows["20 connections", "open at once"] == 20
                assert rows["20 connections", "time to open all"] > 0
                assert rows["20 connections", "descriptors per connection"] > 0
                assert ("20 connections", "memory per idle connection") in rows


def test_handshakes(tmp_path: Path) -> None:
    found = run("handshakes", tmp_path)
    for subject in Subject:
        for role in ROLES:
            if rows := by_cell(found, subject, role):
                for case in ("full", "resumed"):
                    assert rows[case, "handshakes per second"] > 0
                    assert 0 < rows[case, "CPU per handshake, application"] <= rows[case, "CPU per handshake"]
                assert rows["full", "resumed"] == 0
                assert rows["resumed", "resumed"] > 0


def test_policies(tmp_path: Path) -> None:
    found = run("policies", tmp_path)
    rows = by_cell(found, Subject.SECCOMP, Role.CLIENT)
    assert {case for case, _ in rows} == set(POLICIES)
    for case in POLICIES:
        parts = [rows[case, f"CPU per handshake, {party}"] for party in ("application", "boundary", "daemon")]
        engine = rows.get((case, "CPU per handshake, engine"), 0)
        assert (engine > 0) == (case == "an engine outside")  # the others do not ask it, and it is asked
        assert sum(parts) + engine == pytest.approx(rows[case, "CPU per handshake"])


def test_relay(tmp_path: Path) -> None:
    found = run("relay", tmp_path)
    cases = {
        f"{direction}, {how_many}" for direction in ("down", "up") for how_many in ("1 connection", "2 connections")
    }
    for subject in Subject:
        for role in ROLES:
            if rows := by_cell(found, subject, role):
                assert {case for case, _ in rows} == cases
                assert all(rows[case, "throughput"] > 0 and rows[case, "CPU per GB"] > 0 for case in cases)


def test_a_benchmark_that_cannot_be_run_does_not_keep_the_others_from_running(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks", "run", "calls", "relay", "--quick", "--out", str(tmp_path)]
    without_compiler = {**os.environ, "PATH": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=150, check=False, env=without_compiler)
    assert done.returncode == 1
    assert done.stderr == "error: there is no C compiler here (looked for cc, gcc, clang)\n"
    found = read(tmp_path / "relay.json")
    absent = {missing.reason for missing in found.missing if missing.subject in {Subject.STUNNEL, Subject.HAPROXY}}
    assert absent == {f"{name} is not installed (Debian package {name})" for name in ("stunnel4", "haproxy")}


def marked(mark: str) -> list[str]:
    """Command lines of the processes that have this mark in their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and mark.encode() in (entry / "environ").read_bytes():
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return [line for line in found if line]


def test_nothing_outlives_a_benchmark_that_is_killed(tmp_path: Path) -> None:
    mark = uuid.uuid4().hex
    command = [sys.executable, "-m", "benchmarks", "run", "relay", "--out", str(tmp_path)]
    with tempfile.TemporaryDirectory(prefix="ssa-t-") as temporary:  # short: there are sockets in it
        environment = {**os.environ, "SSA_TEST_MARK": mark, "TMPDIR": temporary}
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            eventually(lambda: sum("endpoint.py" in line for line in marked(mark)) > 6 or None)
            assert any("ssa_impl.cli.ssad" in line for line in marked(mark))
        finally:
            process.kill()
            process.wait()
        eventually(lambda: not marked(mark) or None)
