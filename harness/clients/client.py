"""One client process, from its fork to its report.

What stands on which side of the clock (profile *sound*):

- Before the release, not timed: imports; *openssl*: Context, CA file loaded, socket(), TCP_NODELAY; *ssa*:
  socket(..., 205), TLS_TRUSTED_PEER_CERTIFICATES.
- Inside the clock: *openssl*: connect, SSL object, name, handshake, chain and name verified; *ssa*:
  TLS_REMOTE_HOSTNAME and connect, in which the daemon does TCP, handshake and verification.
- Inside the clock, both alike: the request, the response to its last byte.
- After everybody is done, both alike: SHA-256 of the body, what was negotiated, exit.

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
from harness.clients.stages import Board, Gate, Muster, Phase, StartLine
from harness.clients.target import Target

Report = dict[str, "str | int | bool | None"]


class Client(Protocol):
    """What both stacks' clients can do."""

    def connect(self, tcp_connected: Callable[[], None]) -> None: ...

    def send_all(self, data: bytes) -> None: ...

    @property
    def receive_into(self) -> Callable[[memoryview], int]: ...

    def explain(self, error: Exception) -> tuple[str, int | None]: ...

    def terms(self) -> dict[str, str | bool | None]: ...


@dataclass(frozen=True)
class Stations:
    """Where the processes of one trial meet."""

    board: Board
    ready: Muster
    release: Gate
    done: Muster
    afterwards: Gate


class Life:
    """One process of a trial; the names in its report are those of :class:`harness.records.Sample`."""

    def __init__(self, process: int, stations: Stations, make: Callable[[Target], Client], target: Target) -> None:
        self._process = process
        self._at = stations
        self._make = make
        self._target = target
        self._client: Client | None = None
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
        self._at.ready.arrive()
        if self._client is not None:
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
        self._at.board.reached(self._process, Phase.DONE)  # nobody waits for one that fails here
        self._response = Response(self._target.size_bytes, self._target.read_size_bytes)
        self._request = request(self._target.server_name, self._target.port, self._target.path)
        self._client = self._make(self._target)
        self._at.board.reached(self._process, Phase.READY)

    def _timed(self) -> None:
        board = self._at.board
        line = StartLine()
        line.step_up()
        self._at.release.wait()
        before = resource.getrusage(resource.RUSAGE_SELF)
        self._release_ns = board.release_ns
        self._report["released_offset_ns"] = (
            line.run(board, self._process, self._target.held_back_ns) - self._release_ns
        )
        try:
            self._download()
        finally:
            self._count_cpu(before)
        self._report["ok"] = True

    def _download(self) -> None:
        client, response = self._client, self._response
        assert client is not None
        client.connect(self._tcp_connected)
        self._mark("tls_offset_ns", Phase.TLS)
        client.send_all(self._request)
        receive_into = client.receive_into
        complete = response.received(receive_into(response.window()))
        self._mark("first_byte_offset_ns", Phase.FIRST_BYTE)
        while not complete:
            complete = response.received(receive_into(response.window()))
        self._mark("last_byte_offset_ns", Phase.DONE)

    def _tcp_connected(self) -> None:
        self._mark("tcp_offset_ns", Phase.TCP)

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
