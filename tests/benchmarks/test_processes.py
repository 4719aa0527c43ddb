"""What is started says who it is, fails in a sentence, and ends."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from benchmarks.machine import CpuMeter, descriptors, is_listening, parent_of, pss_bytes
from benchmarks.processes import guarded, speaking, wait_until
from benchmarks.records import BenchmarkError, Role, Subject
from benchmarks.rounds import Cell, Findings, alternate
from benchmarks.scenes import FULL, scene
from tests.system.daemons import is_alive

BUSY = "import os; print('{\"pid\": %d}' % os.getpid(), flush=True)\nwhile True: pass"


def python(text: str) -> list[str]:
    return [sys.executable, "-c", text]


def test_a_speaker_that_ends_is_a_sentence_with_its_last_words(tmp_path: Path) -> None:
    with speaking("program", python("raise SystemExit('no luck')"), tmp_path / "log") as speaker:
        with pytest.raises(BenchmarkError, match=r"the program ended \(1\)\. It said: no luck"):
            speaker.expect()
        assert speaker.hear() is None


def test_a_speaker_that_says_nothing_is_not_waited_for_forever(tmp_path: Path) -> None:
    silent = pytest.raises(BenchmarkError, match=r"the program has not answered for 0\.01 s")
    with speaking("program", python("input()"), tmp_path / "log") as speaker, silent:
        speaker.hear(0.01)
    assert speaker.process.returncode is not None


def test_waiting_ends_with_the_process(tmp_path: Path) -> None:
    in_vain = pytest.raises(BenchmarkError, match="it never came")
    with speaking("program", python("pass"), tmp_path / "log") as speaker, in_vain:
        wait_until(lambda: False, speaker, "it never came")


def test_what_the_guard_guards_is_gone_afterwards(tmp_path: Path) -> None:
    with guarded("program", python(BUSY), tmp_path / "log") as speaker:
        pid = speaker.expect()["pid"]
        assert parent_of(pid) == speaker.process.pid
        assert is_alive(pid)
    assert not is_alive(pid)


def test_a_process_is_measured(tmp_path: Path) -> None:
    with guarded("program", python(BUSY), tmp_path / "log") as speaker:
        pid = speaker.expect()["pid"]
        meter = CpuMeter({"busy": (pid,)})
        wait_until(lambda: meter.read()["busy"] > 0.01, speaker, "it used no CPU time")
        assert pss_bytes([pid]) > 1_000_000
        assert descriptors([pid, pid]) >= 6
    with pytest.raises(BenchmarkError, match="a process of the busy ended"):
        meter.read()
    for look in (pss_bytes, descriptors):
        with pytest.raises(BenchmarkError, match=f"process {pid} cannot be looked at: No such"):
            look([pid])


def test_listening_is_seen_without_connecting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert is_listening(port)
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()
    assert not is_listening(port)


def test_rounds_alternate_and_leave_out_what_fails() -> None:
    measured: list[Subject] = []

    def measure(cell: Cell) -> None:
        measured.append(cell.subject)
        if cell.subject is Subject.STUNNEL:
            raise BenchmarkError("broken")

    findings = Findings(lambda _text: None)
    cells = [Cell(Subject.STUNNEL), Cell(Subject.HAPROXY), Cell(Subject.IN_PROCESS)]
    alternate(cells, 3, measure, findings)
    assert measured == ["stunnel", "haproxy", "in-process", "in-process", "haproxy", "haproxy", "in-process"]
    assert [(missing.subject, missing.reason) for missing in findings.missing] == [(Subject.STUNNEL, "broken")]


def test_an_endpoint_counts_what_fails_and_tells_the_first_reason() -> None:
    with scene(Subject.IN_PROCESS, Role.CLIENT) as running:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        answer = running.connector.ask(do="open", port=port, count=3, threads=2)
        assert (answer["done"], answer["failed"]) == (0, 3)
        assert "ConnectionRefusedError" in answer["reason"]
        assert running.connector.ask(do="open", port=running.ports[FULL], count=2, threads=2)["done"] == 2
        assert running.listeners[FULL].ask(do="counts")["served"] == 2
        moved = running.connector.ask(do="move", direction="up", size=200_000, threads=2)
        assert (moved["done"], moved["reason"]) == (2, "")
