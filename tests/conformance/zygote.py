"""The process from which the programs fork, one at each boundary: a program costs a fork, not a start of Python.

``python -m tests.conformance.zygote FD``: each connection to the listening socket FD asks for one behaviour.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import traceback
from typing import Any, TextIO

from tests.conformance.behaviour import Behaviour, behaviours
from tests.conformance.world import World


class Talk:
    """A program's line to its test."""

    def __init__(self, line: socket.socket, lines: TextIO) -> None:
        self._line = line
        self._lines = lines

    def request(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self._lines.readline())
        return message

    def send(self, kind: str, value: object = None) -> None:
        self._line.sendall(json.dumps({kind: value}).encode() + b"\n")

    def tell(self, value: object = None) -> None:
        """Tell the peer something."""
        self.send("told", value)

    def wait(self) -> Any:
        """Wait until the peer says something."""
        return json.loads(self._lines.readline())["say"]


def perform(talk: Talk, wanted: Behaviour, given: dict[str, Any]) -> None:
    """Run one program to its end and report what it saw."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    talk.send("pid", os.getpid())
    try:
        for entry in wanted.program(World(talk, given), **wanted.arguments):
            talk.send("saw", entry)
    except BaseException:
        talk.send("error", traceback.format_exc())
    else:
        talk.send("end")


def main() -> None:
    """Fork a child for each request until one asks for nothing, or until standard input ends: our test is gone."""
    known = behaviours()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(fileno=int(sys.argv[1])) as listener:
        while listener in select.select([listener, sys.stdin], [], [])[0] and serve_next(listener, known):
            pass


def serve_next(listener: socket.socket, known: dict[str, Behaviour]) -> bool:
    """Take one request; False when it was the last."""
    line, _ = listener.accept()
    with line, line.makefile("r") as lines:
        talk = Talk(line, lines)
        request = talk.request()
        if request["behaviour"] is None:
            return False
        if os.fork() == 0:
            listener.close()
            with open(os.devnull, "rb") as nothing:  # noqa: PTH123
                os.dup2(nothing.fileno(), 0)
            try:
                perform(talk, known[request["behaviour"]], request["world"])
            finally:
                os._exit(0)
    return True


if __name__ == "__main__":
    main()
