"""The administrator's end of the administration socket (blocking)."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from .answers import Answer
from .protocol import MAX_ANSWER_BYTES, Command, MalformedLine, decode_answer, encode_command

ANSWER_S = 120.0
"""a reload reads every file that the policy names, and waits for all workers"""


class NoDaemon(Exception):
    """Nobody answers at the socket; the text says why and what to do."""


def admin_path(control: Path) -> Path:
    """Return where the daemon with this control socket answers its administrator."""
    return Path(f"{control}.admin")


def ask(path: Path, command: Command, patience_s: float = ANSWER_S) -> Answer:
    """Ask once.  Raises Refused, and NoDaemon when there is no answer."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(patience_s)
            connection.connect(str(path))
            connection.sendall(encode_command(command))
            return decode_answer(command.name, _line(connection))
    except TimeoutError:
        raise NoDaemon(f"the daemon at {path} has not answered within {patience_s:g} s") from None
    except MalformedLine as error:
        raise NoDaemon(f"what answers at {path} is no ssad of this version: {error}") from None
    except PermissionError:
        raise NoDaemon(f"user {os.geteuid()} may not talk to {path}; only root and the daemon's user may") from None
    except OSError as error:
        why = error.strerror or error
        raise NoDaemon(
            f"no daemon answers at {path}: {why}; start ssad, or name its control socket with --socket"
        ) from None


def _line(connection: socket.socket) -> bytes:
    received = bytearray()
    while not received.endswith(b"\n"):
        data = connection.recv(1 << 20)
        if not data:
            raise MalformedLine("the connection ended in the middle of an answer")
        received += data
        if len(received) > MAX_ANSWER_BYTES:
            raise MalformedLine(f"an answer of more than {MAX_ANSWER_BYTES} bytes")
    return bytes(received)
