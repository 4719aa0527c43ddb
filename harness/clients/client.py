"""One client process, from its fork to its report.

What stands on which side of the clock.  A client takes these steps:

1. make: *openssl*: Context, CA file loaded, socket(), TCP_NODELAY; *ssa*: socket(..., 205),
   TLS_TRUSTED_PEER_CERTIFICATES; *plain* and proxies: socket(), TCP_NODELAY.
2. dial: *openssl*, *plain*: connect; *ssa*: nothing; proxies: connect to the proxy.
3. handshake: *openssl*: SSL object, name, handshake, chain and name verified; *ssa*: TLS_REMOTE_HOSTNAME and
   connect, in which the daemon does TCP, handshake and verification; *plain* and proxies: nothing.
4. Both alike: the request, the response to its last byte.

Before the release, and not timed, are imports and, by profile (EXPERIMENT.md section 3):

- *sound*: make.
- *transfer*: make, dial, handshake.
- *cold-start*: nothing.
- *paper-2018*: make, dial, one process after the other; the SSA's handshake too, OpenSSL's not.

After everybody is done, all alike: SHA-256 of the body, what was negotiated, exit.

The response's buffer exists, and its pages are touched, before the release; its size and the size of the
reads are the same for both.  CPU time is taken at the release and at the last byte.

A plan may inject a delay (``held_back_ns``): the process then begins so much later, and the clock does not.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from harness.clients.http import Response, request
from harness.clients.stages import Baton, Board, Gate, Muster, Phase, StartLine
from harness.clients.target import Target

Report = dict[str, "str | int | bool | None"]

MAKE, DIAL, HANDSHAKE = 1, 2, 3
"""The steps of a client until it can send its request."""


class Client(Protocol):
    """What every stack's client can do."""

    connected_in_2018: bool  # whether the published harness shook hands before its clock ran

    def dial(self) -> bool:
        """Connect TCP; false where that is one with the handshake."""
        ...

    def handshake(self) -> bool:
        """Until the server is verified; false where that is not the client's work (plain HTTP, proxies)."""
        ...

    def send_all(self, data: bytes) -> None: ...

    @property
    def receive_into(self) -> Callable[[memoryview], int]: ...

    def explain(self, error: Exception) -> tuple[str, int | None]: ...

    def terms(self) -> dict[str, str | bool | int | None]: ...


def before_release(profile: str, client: Client | None) -> int:
    """How many of the steps are taken before the clock runs (see above)."""
    if profile == "paper-2018":
        return HANDSHAKE if client is not None and client.connected_in_2018 else DIAL
    return {"sound": MAKE, "transfer": HANDSHAKE, "cold-start": 0}[profile]


@dataclass(frozen=True)
class Stations:
    """Where the processes of one trial meet."""

    board: Board
    ready: Muster
    release: Gate
    done: Muster
    afterwards: Gate
    baton: Baton | None = None  # None: nobody waits for another to be ready


class ClientKind(Protocol):
    """What the processes of a crew are."""

    def live(self, process: int, at: Stations, target: Target, report_fd: int) -> None:
        """In a child: one process's life, from the fork to its report."""

    def read(self, text: bytes) -> Report:
        """What it wrote."""
        ...


class Python:
    """Forked, and no other program."""

    def __init__(self, make: Callable[[Target], Client]) -> None:
        self._make = make

    def live(self, process: int, at: Stations, target: Target, report_fd: int) -> None:
        """Until the report is written."""
        Life(process, at, self._make, target).run(report_fd)

    def read(self, text: bytes) -> Report:
        """One JSON object."""
        report: Report = json.loads(text)
        return report


class Life:
    """One process of a trial; the names in its report are those of :class:`harness.records.Sample`."""

    def __init__(self, process: int, stations: Stations, make: Callable[[Target], Client], target: Target) -> None:
        self._process = process
        self._at = stations
        self._make = make
        self._target = target
        self._client: Client | None = None
        self._is_ready = False
        self._taken = 0  # how many steps
        self._report: Report = {
            "process": process,
            "pid": os.getpid(),
            "ok": False,
            "error": "",
            "errno": None,
        }

    def run(self, report_fd: int) -> None:
        """Go through all stages and write the report, one JSON object, into ``report_fd``."""
        gc.disable()
        self._guarded(self._prepare)
        if self._at.baton is not None:
            self._at.baton.hand_on()
        self._at.ready.arrive()
        if self._is_ready:
            self._guarded(self._timed)
        self._at.board.reached(self._process, Phase.DONE)
        self._at.done.arrive()
        self._at.afterwards.wait()
        if self._report["ok"]:
            self._guarded(self._account)
        os.write(report_fd, json.dumps(self._report).encode())

    def _guarded(self, stage: Callable[[], None]) -> None:
        try:
            stage()
        except Exception as error:  # whatever it is, it belongs in the report
            self._report["ok"] = False
            self._report["error"], self._report["errno"] = self._explain(error)

    def _explain(self, error: Exception) -> tuple[str, int | None]:
        if self._client is not None:
            return self._client.explain(error)
        code = error.errno if isinstance(error, OSError) else None
        return f"The client could not be made ready: {error}.", code

    def _prepare(self) -> None:
        if self._at.baton is not None:
            self._at.baton.wait()
        self._response = Response(self._target.size_bytes, self._target.read_size_bytes)
        self._request = request(self._target.server_name, self._target.port, self._target.path)
        while self._taken < before_release(self._target.profile, self._client):
            self._step()
        self._at.board.reached(self._process, Phase.READY)
        self._is_ready = True

    def _timed(self) -> None:
        board = self._at.board
        line = StartLine()
        line.step_up()
        self._at.release.wait()
        self._release_ns = board.release_ns
        self._report["released_offset_ns"] = (
            line.run(board, self._process, self._target.held_back_ns) - self._release_ns
        )
        before = resource.getrusage(resource.RUSAGE_SELF)  # what standing at the line costs is nobody's way to TLS
        try:
            self._download()
        finally:
            self._count_cpu(before)
        self._report["ok"] = True

    def _download(self) -> None:
        while self._taken < HANDSHAKE:
            if (name := self._step()) is not None:
                self._mark(name, Phase.TCP if name == "tcp_offset_ns" else Phase.TLS)
        client, response = self._client, self._response
        assert client is not None
        self._at.board.reached(self._process, Phase.TLS)
        client.send_all(self._request)
        receive_into = client.receive_into
        complete = response.received(receive_into(response.window()))
        self._mark("first_byte_offset_ns", Phase.FIRST_BYTE)
        while not complete:
            complete = response.received(receive_into(response.window()))
        self._mark("last_byte_offset_ns", Phase.DONE)

    def _step(self) -> str | None:
        """Take the next of the steps; returns what its end is called, if it is worth a note."""
        self._taken += 1
        if self._client is None:
            self._client = self._make(self._target)
            return None
        if self._taken == DIAL:
            return "tcp_offset_ns" if self._client.dial() else None
        return "tls_offset_ns" if self._client.handshake() else None

    def _mark(self, name: str, phase: Phase) -> None:
        self._report[name] = time.monotonic_ns() - self._release_ns
        self._at.board.reached(self._process, phase)

    def _count_cpu(self, before: resource.struct_rusage) -> None:
        after = resource.getrusage(resource.RUSAGE_SELF)
        self._report["cpu_user_ns"] = round((after.ru_utime - before.ru_utime) * 1e9)
        self._report["cpu_system_ns"] = round((after.ru_stime - before.ru_stime) * 1e9)
        self._report["peak_rss_bytes"] = after.ru_maxrss * 1024

    def _account(self) -> None:
        assert self._client is not None
        self._report["body_bytes"] = len(self._response.body)
        self._report["body_sha256"] = hashlib.sha256(self._response.body).hexdigest()
        self._report.update(self._client.terms())
