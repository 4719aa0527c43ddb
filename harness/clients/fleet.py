"""The warmed parent of one stack's clients: ``python -m harness.clients.fleet --stack STACK [--program FILE]``.

It imports everything once, then obeys one JSON object a line on stdin and answers each with one on stdout:

- when started: ``{"event": "hello", "pid", "stack", "openssl", "compiler", "start_line"}``
- ``{"do": "prepare", "target", "n", "seconds"}``: ``{"event": "ready", "pids", "in_time"}``
- ``{"do": "release", "seconds"}``: when all are done, ``{"event": "done", "release_ns", "in_time"}``
- ``{"do": "collect", "seconds"}``: ``{"event": "reports", "reports": [...]}``

Between "done" and "collect" nothing happens: whoever commands reads the CPU clocks of the other parties.
``seconds`` limits each step; what is not finished then is killed.  When stdin ends, the fleet kills its
processes and ends.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

from harness.clients.client import ClientKind, Python
from harness.clients.crew import Crew, OrphanedError
from harness.clients.stages import StartLine
from harness.clients.target import Target


def main() -> int:
    """Serve until stdin ends."""
    parser = argparse.ArgumentParser(description="Warmed parent of one stack's clients (started by the harness).")
    parser.add_argument("--stack", required=True)
    parser.add_argument("--program", type=Path, help="what its clients are, when they are of C")
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a pipe for each client
    kind, build, compiler = _kind(options.stack, options.program)
    gc.collect()
    gc.freeze()  # the children share these pages; a collection would copy them
    _say(
        {
            "event": "hello",
            "pid": os.getpid(),
            "stack": options.stack,
            "openssl": build,
            "compiler": compiler,
            "start_line": StartLine.kind(),
        }
    )
    try:
        Fleet(kind).serve()
    except (OrphanedError, BrokenPipeError):
        return 0
    except OSError as error:  # no memory, processes or descriptors for that many clients
        sys.stderr.write(f"The clients could not be started: {error.strerror}.\n")
        return 1
    return 0


def _kind(stack: str, program: Path | None) -> tuple[ClientKind, str | None, str | None]:
    """What the clients are, the OpenSSL build inside (None: TLS is not in here), and their compiler."""
    if program is not None:
        from harness.clients.native import Native

        native = Native(program)
        return native, native.openssl, native.compiler
    if stack == "openssl":
        from OpenSSL import SSL

        from harness.clients.openssl_client import OpensslClient

        SSL.Context(SSL.TLS_CLIENT_METHOD)  # loads OpenSSL's providers once; each client makes its own context
        return Python(OpensslClient), SSL.OpenSSL_version(SSL.OPENSSL_VERSION).decode(), None
    if stack == "ssa":
        from harness.clients.ssa_client import SsaClient

        return Python(SsaClient), None, None
    from harness.clients.plain_client import PlainClient

    return Python(PlainClient), None, None


class Fleet:
    """Obeys, one trial at a time."""

    def __init__(self, kind: ClientKind) -> None:
        self._kind = kind
        self._crew: Crew | None = None

    def serve(self) -> None:
        """One order a line, until there are no more."""
        try:
            for line in sys.stdin:
                _say(self._obey(json.loads(line)))
        finally:
            self._dismiss()

    def _obey(self, order: dict[str, Any]) -> dict[str, Any]:
        deadline_ns = time.monotonic_ns() + round(order["seconds"] * 1e9)
        if order["do"] == "prepare":
            self._crew = Crew(self._kind, Target(**order["target"]), order["n"], sys.stdin.fileno())
            pids = self._crew.pids
            return {"event": "ready", "pids": pids, "in_time": self._crew.wait_ready(deadline_ns)}
        if self._crew is None:
            raise ValueError(f"{order['do']} without prepare")
        if order["do"] == "release":
            release_ns = self._crew.release()
            return {"event": "done", "release_ns": release_ns, "in_time": self._crew.wait_done(deadline_ns)}
        reports = self._crew.collect(deadline_ns)
        self._dismiss()
        return {"event": "reports", "reports": reports}

    def _dismiss(self) -> None:
        if self._crew is not None:
            self._crew.bury()
            self._crew = None


def _say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
