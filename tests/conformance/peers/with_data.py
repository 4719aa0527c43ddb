"""Peers of programs that move data, in either role."""

from __future__ import annotations

import select
import ssl
from typing import Any

from tests.conformance.stage import Connection, Stage
from tests.conformance.world import digest, pattern

__all__ = [
    "answers_with_a_digest",
    "does_not_read",
    "ends_before_the_program",
    "half_closes",
    "resets",
    "sees_the_end",
    "sends_and_receives",
    "speaks_on_demand",
    "stays_when_the_program_has_ended",
    "truncates",
    "truncates_when_the_program_has_ended",
    "waits_for_the_last_copy",
    "writes_until_it_blocks",
]

_QUIET_S = 0.4
"""how long nothing must move until a writer counts as blocked"""


def answers_with_a_digest(stage: Stage) -> dict[str, Any]:
    """Read to the end, then answer with the digest and end."""
    with stage.meet() as connection:
        received = digest(connection.receive_all())
        if connection.end == "in order":
            try:
                connection.send(received.encode())
                connection.finish_sending()
            except OSError:
                pass  # the program has closed its descriptor: it wants no answer
        return {"received": received, "end": connection.end}


def sees_the_end(stage: Stage) -> dict[str, Any]:
    """Read to the end."""
    with stage.meet() as connection:
        return {"received": digest(connection.receive_all()), "end": connection.end}


def sends_and_receives(stage: Stage, size: int) -> dict[str, Any]:
    """Both directions at once: the socket library's TLS is not for two threads, so one loop does both."""
    with stage.meet() as connection:
        received = _exchange(connection, pattern(size))
        if connection.end == "in order":
            connection.finish_sending()
        return {"received": digest(received), "end": connection.end}


def _exchange(connection: Connection, outgoing: bytes) -> bytes:
    raw, view, received = connection.raw, memoryview(outgoing), bytearray()
    raw.settimeout(0)
    while True:
        wanted_write = bool(view)
        waits_to_read = waits_to_write = False
        if view:
            try:
                view = view[raw.send(view[:16_384]) :]
            except (ssl.SSLWantWriteError, BlockingIOError):
                waits_to_write = True
            except ssl.SSLWantReadError:
                wanted_write = False
        try:
            piece = connection.receive_some()
            if not piece and connection.end != "open":
                if view:
                    continue
                break
            received += piece
        except (ssl.SSLWantReadError, BlockingIOError):
            waits_to_read = True
        if waits_to_read and (waits_to_write or not wanted_write):
            select.select([raw], [raw] if waits_to_write else [], [], 20)
    raw.settimeout(20)
    return bytes(received)


def speaks_on_demand(stage: Stage) -> None:
    """Send the word that the program tells, again and again, until it tells nothing."""
    with stage.meet() as connection:
        while word := stage.hear():
            connection.send(word.encode())
            stage.say()
        connection.finish_sending()
        stage.say()
        connection.receive_all()


def does_not_read(stage: Stage) -> dict[str, Any]:
    """Read nothing until the program says so; then everything."""
    with stage.meet() as connection:
        stage.say()
        size = stage.hear()
        received = bytearray()
        while len(received) < size and (piece := connection.receive_some()):
            received += piece
        stage.say(len(received))
        received += connection.receive_all()
        return {"end": connection.end}


def writes_until_it_blocks(stage: Stage) -> dict[str, Any]:
    """Write to a program that does not read, until nothing moves any more; then tell it how much."""
    with stage.meet() as connection:
        raw, sent, block = connection.raw, 0, pattern(16_384)
        raw.settimeout(0)
        limit = 64 * 1024 * 1024
        while sent < limit:
            try:
                sent += raw.send(block[sent % len(block) :])
            except (ssl.SSLWantWriteError, BlockingIOError):  # TLS wants to be given the same bytes again
                if not select.select([], [raw], [], _QUIET_S)[1]:
                    break
        raw.settimeout(20)
        stage.say({"blocked": sent < limit, "at least": sent})
        stage.hear()  # the program reads now
        connection.send(block[sent % len(block) :])
        connection.finish_sending()
        connection.receive_all()
        return {"blocked": sent < limit}


def stays_when_the_program_has_ended(stage: Stage) -> dict[str, Any]:
    """Read to the end, and end when the program says so."""
    with stage.meet() as connection:
        received = connection.receive_all()
        stage.hear()
        return {"received": received.decode(), "end": connection.end}


def half_closes(stage: Stage) -> dict[str, Any]:
    """End the sending side first, then read what still comes."""
    with stage.meet() as connection:
        connection.send(b"last words")
        connection.finish_sending()
        received = connection.receive_all()
        return {"received": received.decode(), "end": connection.end}


def truncates(stage: Stage) -> None:
    """Send half of something, and FIN without close_notify."""
    with stage.meet() as connection:
        connection.send(b"half")
        connection.truncate()
        while True:
            try:
                if not connection.receive_some():
                    break
            except ssl.SSLError:
                break


def truncates_when_the_program_has_ended(stage: Stage) -> None:
    """Send half of something, read to the end, and only then FIN without close_notify."""
    with stage.meet() as connection:
        connection.send(b"half")
        connection.receive_all()
        connection.truncate()


def resets(stage: Stage) -> None:
    """Send half of something; once the program has read it, RST."""
    with stage.meet() as connection:
        connection.send(b"half")
        connection.receive(1)
        connection.reset()


def ends_before_the_program(stage: Stage) -> None:
    """End both directions while the program still has its descriptor."""
    connection = stage.meet()
    connection.send(b"bye")
    connection.finish_sending()
    connection.raw.close()
    stage.say()


def waits_for_the_last_copy(stage: Stage) -> dict[str, Any]:
    """See no end while a copy of the descriptor is open anywhere."""
    with stage.meet() as connection:
        stage.say()
        stage.hear()  # one of two copies is closed
        early = connection.ends_within(0.1)
        stage.say()
        connection.receive_all()
        return {"ended early": early, "end": connection.end}
