import os
import subprocess
import sys
import time

import pytest

from harness import cpu

WORKS = "import sys\nx = 0\nfor i in range(3_000_000): x += i\nprint('done', flush=True)\nsys.stdin.read()"


@pytest.fixture
def worker():
    with subprocess.Popen([sys.executable, "-c", WORKS], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield process
        process.kill()


def test_another_processs_time_is_its_own_clock(worker: subprocess.Popen[bytes]) -> None:
    before = cpu.snapshot([worker.pid])
    assert worker.stdout is not None
    worker.stdout.readline()
    used = cpu.used(before, cpu.snapshot([worker.pid]), 5)
    assert used is not None
    assert used.total_ns > 0
    assert used.peak_rss_bytes == 5
    ticks_ns = 2 * 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    assert abs(used.user_ns + used.system_ns - used.total_ns) <= ticks_ns


def test_the_clock_is_the_one_that_the_process_reads() -> None:
    mine = cpu.read_times(os.getpid())
    assert mine is not None
    assert mine.total_ns <= time.process_time_ns()


def test_a_process_that_ended_makes_the_sum_unknown(worker: subprocess.Popen[bytes]) -> None:
    before = cpu.snapshot([os.getpid(), worker.pid])
    worker.communicate()
    assert cpu.read_times(worker.pid) is None
    assert cpu.used(before, cpu.snapshot([os.getpid(), worker.pid])) is None
    assert cpu.peak_rss_bytes([worker.pid]) is None
    cpu.reset_peak_rss([worker.pid])


def test_a_process_that_came_counts_from_its_beginning() -> None:
    late = {1: cpu.CpuTimes(5, 6, 12), 2: cpu.CpuTimes(1, 1, 2)}
    used = cpu.used({1: cpu.CpuTimes(4, 4, 9)}, late)
    assert used is not None
    assert (used.user_ns, used.system_ns, used.total_ns) == (2, 3, 5)


def test_nobody_used_nothing_known() -> None:
    assert cpu.used({}, {}) is None
    assert cpu.peak_rss_bytes([]) is None


def test_the_peak_begins_anew(worker: subprocess.Popen[bytes]) -> None:
    assert worker.stdout is not None
    worker.stdout.readline()
    cpu.reset_peak_rss([worker.pid])
    peak = cpu.peak_rss_bytes([worker.pid])
    assert peak is not None
    assert peak > 1_000_000
