import os
import select
import signal
import time
from collections.abc import Callable

import pytest

from harness.clients.stages import Board, Gate, Muster, Phase, StartLine

TIMEOUT_S = 60


def in_child(work: Callable[[], None]) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(0)
    return pid


def is_readable(descriptor: int, timeout_s: float) -> bool:
    return bool(select.select([descriptor], [], [], timeout_s)[0])


@pytest.fixture
def gate():
    gate = Gate()
    yield gate
    gate.close()


@pytest.fixture
def muster():
    muster = Muster()
    yield muster
    muster.close()


def test_a_gate_holds_everybody_and_opens_for_everybody(gate: Gate, muster: Muster) -> None:
    def child() -> None:
        gate.in_child()
        muster.in_child()
        gate.wait()
        muster.arrive()

    pids = [in_child(child) for _ in range(3)]
    muster.all_forked()
    assert not is_readable(muster.read_end, 0)
    gate.open()
    gate.open()
    assert is_readable(muster.read_end, TIMEOUT_S)
    for pid in pids:
        os.waitpid(pid, 0)


def test_a_muster_is_complete_also_when_somebody_dies(gate: Gate, muster: Muster) -> None:
    def arrives() -> None:
        muster.in_child()
        muster.arrive()

    def waits() -> None:
        gate.in_child()
        gate.wait()

    arrived, waiting = in_child(arrives), in_child(waits)
    muster.all_forked()
    os.waitpid(arrived, 0)
    assert not is_readable(muster.read_end, 0)
    os.kill(waiting, signal.SIGKILL)
    assert is_readable(muster.read_end, TIMEOUT_S)
    os.waitpid(waiting, 0)


def test_a_board_is_shared() -> None:
    board = Board(3)
    assert {board.phase(process) for process in range(3)} == {Phase.FORKED}
    board.release_ns = 2**62 + 5
    pid = in_child(lambda: board.reached(1, Phase.READY) if board.release_ns == 2**62 + 5 else None)
    os.waitpid(pid, 0)
    assert [board.phase(process) for process in range(3)] == [Phase.FORKED, Phase.READY, Phase.FORKED]
    assert board.somebody_is_ready()
    board.reached(1, Phase.RELEASED)
    assert not board.somebody_is_ready()
    board.close()


@pytest.mark.parametrize("phase", Phase)
def test_every_phase_can_be_said(phase: Phase) -> None:
    assert phase.doing.split()[0] in {"while", "in", "after"}


@pytest.mark.parametrize("privileged", [True, False])
def test_nobody_leaves_the_start_line_before_the_release(privileged: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def set_scheduler(pid: int, policy: int, _: os.sched_param) -> None:
        asked.append(policy)
        if not privileged:
            raise PermissionError

    monkeypatch.setattr(os, "sched_setscheduler", set_scheduler)
    board = Board(2)
    board.reached(0, Phase.READY)
    board.release_ns = time.monotonic_ns() + 2_000_000
    line = StartLine()
    line.step_up()
    assert line.run(board, 0) >= board.release_ns
    assert board.phase(0) is Phase.RELEASED
    assert asked == ([os.SCHED_FIFO, os.SCHED_OTHER] if privileged else [os.SCHED_FIFO])
    board.close()


def test_the_kind_of_start_line_is_what_this_machine_allows() -> None:
    assert StartLine.kind() in {"fifo", "yield"}
    assert os.sched_getscheduler(0) == os.SCHED_OTHER
