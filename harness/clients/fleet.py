"""The warmed parent of one stack's clients: ``python -m harness.clients.fleet --stack openssl|ssa``.

It imports everything once, then obeys one JSON object a line on stdin and answers each with one on stdout:

- when started: ``{"event": "hello", "pid", "stack", "openssl", "start_line"}``
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
from collections.abc import Callable
from typing import Any

from harness.clients.client import Client
from harness.clients.crew import Crew, OrphanedError
from harness.clients.stages import StartLine
from harness.clients.target import Target


def main() -> int:
    """Serve until stdin ends."""
    parser = argparse.ArgumentParser(description="Warmed parent of one stack's clients (started by the harness).")
    parser.add_argument("--stack", choices=("openssl", "ssa"), required=True)
    stack = parser.parse_args().stack
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a pipe for each client
    make, build = _maker(stack)
    gc.collect()
    gc.freeze()  # the children share these pages; a collection would copy them
    _say(
        {
            "event": "hello",
            "pid": os.getpid(),
            "stack": stack,
            "openssl": build,
            "start_line": StartLine.kind(),
        }
    )
    try:
        Fleet(make).serve()
    except (OrphanedError, BrokenPipeError):
        return 0
    except OSError as error:  # no memory, processes or descriptors for that many clients
        sys.stderr.write(f"The clients could not be started: {error.strerror}.\n")
        return 1
    return 0


def _maker(stack: str) -> tuple[Callable[[Target], Client], str | None]:
    """The client's class, and the OpenSSL build inside it (None: TLS is not in here)."""
    if stack == "openssl":
        from OpenSSL import SSL

        from harness.clients.openssl_client import OpensslClient

        SSL.Context(SSL.TLS_CLIENT_METHOD)  # loads OpenSSL's providers once; each client makes its own context
        return OpensslClient, SSL.OpenSSL_version(SSL.OPENSSL_VERSION).decode()
    from harness.clients.ssa_client import SsaClient

    return SsaClient, None


class Fleet:
    """Obeys, one trial at a time."""

    def __init__(self, make: Callable[[Target], Client]) -> None:
        self._make = make
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
            self._crew = Crew(self._make, Target(**order["target"]), order["n"], sys.stdin.fileno())
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
