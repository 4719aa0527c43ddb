"""What one call costs at each boundary, in microseconds, from C and from Python; and what a boundary adds to calls on
sockets that are none of its business.

Each number of a round is the median over that round's calls.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.processes import PROGRAMS, START_S, Speaker, endpoint_command, speaking
from benchmarks.records import BenchmarkError, Subject
from benchmarks.rounds import Cell, Findings, alternate
from benchmarks.scenes import workplace
from benchmarks.subjects import ADDRESS, require, ssad, under_boundary
from webservers import Credentials

SIZES = {"rounds": 7, "calls": 200}
QUICK = {"rounds": 1, "calls": 10}
_NS_PER_US = 1000
_HEADERS = Path(__file__).resolve().parents[1] / "ssa_impl" / "include"
_COMPILERS = ("cc", "gcc", "clang")


def measure(sizes: Mapping[str, int], findings: Findings) -> None:
    """Fill the findings."""
    with workplace() as (directory, credentials), ExitStack() as stack:
        bench = _Bench(directory, credentials, stack, sizes["calls"])
        cells = [Cell(subject) for subject in (Subject.IN_PROCESS, Subject.SECCOMP, Subject.PRELOAD)]

        def one(cell: Cell) -> None:
            require(cell.subject)
            for language, program in bench.programs.items():
                bench.run(cell.subject, language, program, findings)

        alternate(cells, sizes["rounds"], one, findings)


class _Bench:
    """A daemon, a TLS server to connect to, a TLS client that connects to us, the programs whose calls are timed."""

    def __init__(self, directory: Path, credentials: Credentials, stack: ExitStack, count: int) -> None:
        self._directory, self._credentials, self._count = directory, credentials, count
        self._daemon = stack.enter_context(ssad(directory, credentials)).socket
        self._server, ready = self._peer(stack, "server", {"side": "listen", "tickets": 0})
        self._server_port = int(ready["port"])
        self._client, _ = self._peer(stack, "client", {"side": "connect"})
        self.programs = {"C": [str(_compiled(directory))], "Python": [sys.executable, str(PROGRAMS / "calls.py")]}

    def _peer(self, stack: ExitStack, name: str, setup: dict[str, object]) -> tuple[Speaker, dict[str, Any]]:
        files = {field: str(getattr(self._credentials, field)) for field in ("ca", "chain", "key")}
        whole = {**setup, **files, "transport": "tls", "address": ADDRESS, "name": self._credentials.server_name}
        speaker = stack.enter_context(speaking(f"TLS {name}", endpoint_command(whole), self._directory / f"{name}.log"))
        return speaker, speaker.expect(START_S)

    def run(self, subject: Subject, language: str, program: list[str], findings: Findings) -> None:
        """Run one program once, and add its medians."""
        plain_only = subject is Subject.IN_PROCESS
        names = (self._credentials.server_name, str(self._credentials.chain), str(self._credentials.key))
        command = [*program, "0" if plain_only else str(self._server_port), *names, str(self._count)]
        if not plain_only:
            command = under_boundary(subject, self._daemon, command)
        with speaking(f"{language} program", command, self._directory / "calls.log") as speaker:
            while (said := speaker.hear()) is not None:
                self._take(said, subject, language, findings)
            if speaker.process.wait() != 0:
                raise BenchmarkError(f"the {language} program failed.{speaker.tail()}")

    def _take(self, said: dict[str, Any], subject: Subject, language: str, findings: Findings) -> None:
        if "port" in said:  # the program is a server now, and waits for clients
            self._client.ask(do="open", port=said["port"], count=self._count, threads=1)
            self._client.ask(do="close")
            return
        microseconds = statistics.median(said["ns"]) / _NS_PER_US
        findings.rows.add(subject, None, f"{language}, {said['on']}", {(said["call"], "µs"): microseconds})


def _compiled(directory: Path) -> Path:
    compiler = next((path for name in _COMPILERS if (path := shutil.which(name))), None)
    if compiler is None:
        raise BenchmarkError(f"there is no C compiler here (looked for {', '.join(_COMPILERS)})")
    program = directory / "calls"
    command = [compiler, "-O2", "-std=gnu11", "-I", str(_HEADERS), "-o", str(program), str(PROGRAMS / "calls.c")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BenchmarkError(f"calls.c does not compile: {done.stderr.strip()}")
    return program
