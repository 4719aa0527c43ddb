"""The parties to a trial as processes: the fleets of clients, the SSA's daemon, the proxies.

Each is started in a session of its own, so that Ctrl-C reaches the harness only, and ends when the harness
ends, however that happens: fleets and proxies when their standard input closes, the daemon by the guard in
front of it.  A party that ends, or does not answer, while it is needed raises PartyLostError with the tail of
what it said.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import trio

from harness.clients.target import Target
from harness.errors import EXIT_CANNOT, CannotError, PartyLostError
from harness.proxies.kinds import Settings
from harness.records import Stack
from harness.routes import Route
from webservers import guard

_START_S = 30.0
_ANSWER_SLACK_S = 15.0  # beyond the time that a fleet gives its clients
_STOP_GRACE_S = 3.0
_TAIL_LINES = 6
_LINE_LIMIT_BYTES = 64 * 1024 * 1024


class Party(ABC):
    """One process that says JSON lines on stdout, and its log."""

    _grace_s = _STOP_GRACE_S

    def __init__(self, name: str, log: Path) -> None:
        self.name = name
        self._log = log
        self._process: trio.Process | None = None
        self._buffer = bytearray()

    @abstractmethod
    def _argv(self) -> list[str]: ...

    @property
    def pid(self) -> int:
        """Of the process that was started.  RuntimeError when there is none."""
        return self._running().pid

    @property
    def alive(self) -> bool:
        """Whether it has been started and has not ended."""
        return self._process is not None and self._process.poll() is None

    async def _start(self, **stdin: Any) -> dict[str, Any]:
        with self._log.open("ab") as log:
            self._process = await trio.lowlevel.open_process(
                self._argv(), stdout=subprocess.PIPE, stderr=log, start_new_session=True, **stdin
            )
        try:
            return await self._hear(_START_S)
        except PartyLostError as error:
            code = self._process.returncode
            if code == EXIT_CANNOT:
                raise CannotError(f"The {self.name} cannot run here: {self._last_line()}") from error
            raise

    async def watch(self) -> str:
        """Wait until it ends, and say so in one sentence."""
        await self._running().wait()
        return f"The {self.name} {self._ending()}"

    async def stop(self) -> None:
        """End it and everything that it started; harmless when there is nothing to end."""
        if self._process is None:
            return
        with trio.CancelScope(shield=True):
            self._ask_to_end()
            with trio.move_on_after(self._grace_s):
                await self._process.wait()
            _kill_group(self._process.pid)
            await self._process.wait()
            for stream in (self._process.stdin, self._process.stdout):
                if stream is not None:
                    await stream.aclose()
        self._process = None
        self._buffer.clear()

    def _ask_to_end(self) -> None:
        self._running().terminate()

    async def _hear(self, seconds: float) -> dict[str, Any]:
        """One line.  PartyLostError when it does not come, or is not JSON."""
        with trio.move_on_after(seconds):
            line = await self._line()
            try:
                answer: dict[str, Any] = json.loads(line)
            except ValueError as error:
                raise PartyLostError(f"The {self.name} said {line[:100]!r}, which is not JSON.") from error
            return answer
        raise PartyLostError(f"The {self.name} has not answered for {seconds:g} s.{self._tail()}")

    async def _line(self) -> bytes:
        stdout = self._running().stdout
        assert stdout is not None
        seen = 0
        while (end := self._buffer.find(b"\n", seen)) < 0:
            seen = len(self._buffer)
            data = await stdout.receive_some(1 << 20)
            if not data or seen > _LINE_LIMIT_BYTES:
                await self._running().wait()
                raise PartyLostError(f"The {self.name} {self._ending()}")
            self._buffer += data
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line

    def _running(self) -> trio.Process:
        if self._process is None:
            raise RuntimeError(f"the {self.name} has not been started")
        return self._process

    def _ending(self) -> str:
        code = self._running().returncode
        how = f"was ended by {signal.Signals(-code).name}" if code is not None and code < 0 else f"ended ({code})"
        return f"{how} while it was needed.{self._tail()}"

    def _tail(self) -> str:
        lines = self._log.read_text(errors="replace").strip().splitlines()[-_TAIL_LINES:]
        return f" It said: {' | '.join(lines)}" if lines else " It said nothing."

    def _last_line(self) -> str:
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it did not say why."


class Daemon(Party):
    """ssad and its workers, behind the guard.  ``policy``: instead of the system's."""

    _grace_s = _STOP_GRACE_S + 3.0  # the guard's own, and time to bury everybody

    def __init__(self, directory: Path, workers: int, argv_prefix: Sequence[str], policy: Path | None = None) -> None:
        super().__init__("SSA daemon", directory / "ssad.log")
        self._policy = policy
        self.socket = directory / "ssad.sock"
        self._workers = workers
        self._prefix = argv_prefix
        self.openssl: str | None = None
        self.version: str | None = None
        self.workers = 0
        self._first: frozenset[int] = frozenset()

    def _argv(self) -> list[str]:
        program = [sys.executable, "-m", "ssa_impl.cli.ssad", "--socket", str(self.socket)]
        if self._workers:
            program += ["--workers", str(self._workers)]
        if self._policy is not None:
            program += ["--policy", str(self._policy)]
        light = [sys.executable, "-I", "-S", guard.__file__, str(_STOP_GRACE_S), "--"]
        return [*self._prefix, *light, *program]

    async def start(self) -> None:
        """Start it and wait until it says that it is ready."""
        lifeline_read, self._lifeline = os.pipe2(os.O_CLOEXEC)
        try:
            ready = await self._start(stdin=lifeline_read)
        finally:
            os.close(lifeline_read)
        self.openssl, self.version = ready.get("openssl"), ready.get("version")
        self.workers = len(ready.get("workers", ()))
        self._first = frozenset(self.pids)

    @property
    def intact(self) -> bool:
        """Whether it lives, and each of its first workers: one that it has itself put in another's place is cold."""
        return self.alive and self._first <= set(self.pids)

    @property
    def pids(self) -> tuple[int, ...]:
        """All processes of it now: a worker that ends is replaced by another, under another number."""
        return tuple(guard.descendants(self.pid))

    def _ask_to_end(self) -> None:
        os.close(self._lifeline)


class Answering(Party):
    """A party that answers one JSON object a line with another, and ends when its standard input does."""

    idle = False  # in step: every question has had its answer

    async def _greet(self) -> dict[str, Any]:
        greeting = await self._start(stdin=subprocess.PIPE)
        self.idle = True
        return greeting

    def _ask_to_end(self) -> None:
        stdin = self._running().stdin
        assert isinstance(stdin, trio.lowlevel.FdStream)
        stdin.close()

    async def _ask(self, order: dict[str, Any]) -> dict[str, Any]:
        self.idle = False
        stdin = self._running().stdin
        assert stdin is not None
        try:
            await stdin.send_all(json.dumps(order).encode() + b"\n")
        except trio.BrokenResourceError:
            await self._running().wait()
            raise PartyLostError(f"The {self.name} {self._ending()}") from None
        answer = await self._hear(order["seconds"] + _ANSWER_SLACK_S)
        self.idle = True
        return answer


class Proxy(Answering):
    """A local proxy that does the TLS of one stack's clients, and the program that runs it."""

    def __init__(self, stack: Stack, settings: Settings, argv_prefix: Sequence[str]) -> None:
        super().__init__(f"{stack} proxy", Path(f"{settings.directory}.log"))
        self._stack = stack
        self._settings = settings
        self._prefix = argv_prefix
        self.ready: dict[str, Any] = {}

    def _argv(self) -> list[str]:
        program = [sys.executable, "-m", "harness.proxies.program", self._stack.value]
        return [*self._prefix, *program, json.dumps(asdict(self._settings))]

    async def start(self) -> None:
        """Start it and wait until it listens."""
        self.ready = await self._greet()

    @property
    def port(self) -> int:
        """Where it listens, on loopback at the clients' end."""
        return int(self.ready["port"])

    @property
    def server_port(self) -> int:
        """To which it connects."""
        return self._settings.port

    @property
    def pids(self) -> tuple[int, ...]:
        """Of the proxy itself."""
        return (int(self.ready["pid"]),)

    async def tell(self, ports: Sequence[int], seconds: float) -> tuple[dict[int, dict[str, Any]], list[str]]:
        """What was negotiated for the connections from these ports; what it complained about since the last time."""
        told = await self._ask({"do": "tell", "ports": ports, "seconds": seconds})
        return {int(port): terms for port, terms in told["terms"].items()}, told["complaints"]


class Fleet(Answering):
    """The warmed parent of one route's clients.

    ``socket``: the daemon's, for the SSA's fleets; ``program``: what its clients are, for those of C.
    """

    def __init__(
        self,
        route: Route,
        log: Path,
        argv_prefix: Sequence[str],
        socket: Path | None = None,
        program: Path | None = None,
    ) -> None:
        super().__init__(f"{route.name} fleet", log)
        self.route = route
        self._prefix = argv_prefix
        self._socket = socket
        self._program = program
        self.hello: dict[str, Any] = {}

    def _argv(self) -> list[str]:
        fleet = [sys.executable, "-m", "harness.clients.fleet", "--stack", self.route.stack.value]
        if self._program is not None:
            fleet += ["--program", str(self._program)]
        if self.route.boundary is None:
            return [*self._prefix, *fleet]
        ssa = [sys.executable, "-m", "ssa_impl.cli.ssa", "run", "--boundary", self.route.boundary.value]
        return [*self._prefix, *ssa, "--socket", str(self._socket), "--", *fleet]

    async def start(self) -> None:
        """Start it and wait until everything is imported."""
        self.hello = await self._greet()

    async def prepare(self, target: Target, n: int, seconds: float) -> dict[str, Any]:
        """Fork n clients and wait until they are ready."""
        return await self._ask({"do": "prepare", "target": target.as_dict(), "n": n, "seconds": seconds})

    async def release(self, seconds: float) -> dict[str, Any]:
        """Release them and wait until all are done, dead or late."""
        return await self._ask({"do": "release", "seconds": seconds})

    async def collect(self, seconds: float) -> list[dict[str, Any]]:
        """Let them hash and report; afterwards none of them is left."""
        reports: list[dict[str, Any]] = (await self._ask({"do": "collect", "seconds": seconds}))["reports"]
        return reports


def _kill_group(leader: int) -> None:
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        return  # the last of them has ended
