"""The process from which programs fork, under ``ssa run``: see ``daemons.Zygote``.

``python -m tests.system.zygote FD``: each connection to the listening socket FD asks for one function of ``programs``.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import traceback
from typing import Any, TextIO

from tests.system import programs


class Talk:
    """A program's line to its test."""

    def __init__(self, line: socket.socket, lines: TextIO) -> None:
        self._line = line
        self._lines = lines

    def request(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self._lines.readline())
        return message

    def send(self, kind: str, value: object) -> None:
        self._line.sendall(json.dumps({kind: value}).encode() + b"\n")

    def tell(self, value: object = None) -> None:
        """Tell the test something."""
        self.send("told", value)

    def wait(self) -> Any:
        """Wait until the test says something."""
        return json.loads(self._lines.readline())["say"]


def serve(talk: Talk, function: str, arguments: dict[str, Any]) -> None:
    """Run one function and report."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    talk.send("pid", os.getpid())
    try:
        result = getattr(programs, function)(talk, **arguments)
    except BaseException:
        talk.send("error", traceback.format_exc())
    else:
        talk.send("result", result)


def main() -> None:
    """Fork a child for each request until one asks for nothing."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(fileno=int(sys.argv[1])) as listener:
        while serve_next(listener):
            pass


def serve_next(listener: socket.socket) -> bool:
    """Take one request; False when it was the last."""
    line, _ = listener.accept()
    with line, line.makefile("r") as lines:
        talk = Talk(line, lines)
        request = talk.request()
        if request["function"] is None:
            return False
        if os.fork() == 0:
            listener.close()
            try:
                serve(talk, request["function"], request["arguments"])
            finally:
                os._exit(0)
    return True


if __name__ == "__main__":
    main()
