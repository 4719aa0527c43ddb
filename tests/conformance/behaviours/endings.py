"""How connections end: in order, half, cut, and reset."""

from __future__ import annotations

import os
import select
import signal
import socket
from collections.abc import Iterator
from typing import Any

from tests.conformance.behaviour import Deviation, behaviour, in_both_roles
from tests.conformance.world import (
    ERROR,
    PATIENCE_MS,
    TLS,
    VERSION,
    World,
    digest,
    hear_end,
    in_child,
    outcome,
    pattern,
    polled,
    readable,
    receive,
    so_error,
    string,
    talk,
)

SHUTDOWN = "2 shutdown(SHUT_WR), close"
SIZE = 3_000_000


@in_both_roles(
    "end.half-close",
    "After shutdown(SHUT_WR) the peer sees an end in order, and the program still reads the whole answer.",
    SHUTDOWN,
    peer="answers_with_a_digest",
    seen={"received": digest(pattern(SIZE)), "end": "in order"},
    plain=True,
)
def half_close(world: World) -> Iterator[tuple[Any, ...]]:
    with world.connected() as s:
        s.sendall(pattern(SIZE))
        s.shutdown(socket.SHUT_WR)
        yield "send afterwards", outcome(s.send, b"x"), "EPIPE"
        data, end = hear_end(s)
        yield "answer", data.decode(), digest(pattern(SIZE))
        yield "end", end, "end"
        if world.tls:
            yield "still known", s.getsockopt(TLS, VERSION) == world.version, True


@in_both_roles(
    "end.half-closed-by-the-peer",
    "After the peer has ended its side, recv says end of file again and again, and the program may still send.",
    SHUTDOWN,
    peer="half_closes",
    seen={"received": "still here", "end": "in order"},
    plain=True,
)
def half_closed_by_the_peer(world: World) -> Iterator[tuple[Any, ...]]:
    with world.connected() as s:
        data, end = hear_end(s)
        yield "data", data.decode(), "last words"
        yield "end", end, "end"
        yield "end again", s.recv(1).decode(), ""
        yield "events", polled(s), ["IN", "OUT", "RDHUP"]
        s.sendall(b"still here")


def delivers(world: World, how: str) -> Iterator[tuple[Any, ...]]:
    if how == "exit":

        def act() -> str:
            s = world.connected()
            s.sendall(pattern(SIZE))
            s.detach()  # the kernel closes it
            return "sent"

        yield "child", in_child(act), "sent"
        return
    s = world.connected()
    s.sendall(pattern(SIZE))
    s.close()
    yield "sent", SIZE


for _how in ("close", "exit"):
    in_both_roles(
        f"end.{_how}-delivers",
        f"Everything written before {'the process ends' if _how == 'exit' else 'close'} reaches the peer, then"
        " close_notify, then FIN.",
        SHUTDOWN,
        peer="sees_the_end",
        seen={"received": digest(pattern(SIZE)), "end": "in order"},
        arguments={"how": _how},
        plain=True,
    )(delivers)


@behaviour(
    "end.killed",
    "A program that is killed leaves a wire that ends, after everything it had written.",
    SHUTDOWN,
    peer="sees_the_end",
    seen={"received": digest(b"last words"), "end": "in order"},
    plain=True,
)
def killed(world: World) -> Iterator[tuple[Any, ...]]:
    read, write = os.pipe()
    if (pid := os.fork()) == 0:
        s = world.connected()
        s.sendall(b"last words")
        os.write(write, b"+")
        signal.pause()
    os.read(read, 1)
    os.kill(pid, signal.SIGKILL)
    yield "status", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), -signal.SIGKILL
    os.close(read)
    os.close(write)


@in_both_roles(
    "end.truncation",
    "FIN without close_notify is ECONNRESET after what had arrived, never an end of file.",
    "2 truncation",
    peer="truncates",
)
def truncation(world: World) -> Iterator[tuple[Any, ...]]:
    with world.connected() as s:
        data, end = hear_end(s)
        yield "data", data.decode(), "half"
        yield "end", end, "ECONNRESET"
        yield "SO_ERROR", so_error(s), "ECONNRESET"
        yield "TLS_ERROR names close_notify", "close_notify" in string(s, ERROR), True


CANNOT_RESET = "a unix socket whose sending side is shut down can no longer be reset; SO_ERROR and TLS_ERROR tell"


@behaviour(
    "end.truncation-after-half-close",
    "Truncation after shutdown(SHUT_WR) is ECONNRESET too, and SO_ERROR tells.",
    "2 truncation",
    peer="truncates_when_the_program_has_ended",
    deviations=(Deviation("seccomp", "end", "end", CANNOT_RESET),),
)
def truncation_after_half_close(world: World) -> Iterator[tuple[Any, ...]]:
    with world.connected() as s:
        s.shutdown(socket.SHUT_WR)
        data, end = hear_end(s)
        yield "data", data.decode(), "half"
        yield "end", end, "ECONNRESET"
        yield "SO_ERROR", so_error(s), "ECONNRESET"


@in_both_roles(
    "end.reset",
    "The peer's RST is ECONNRESET for who reads, and EPIPE for who writes.",
    "3 TCP failure",
    peer="resets",
    plain=True,
)
def reset(world: World) -> Iterator[tuple[Any, ...]]:
    with world.connected() as s:
        yield "first", receive(s, 4).decode(), "half"
        s.sendall(b"x")
        data, end = hear_end(s)
        yield "data", data.decode(), ""
        yield "end", end, "ECONNRESET"
        yield "send", outcome(s.send, b"x"), "EPIPE"


@behaviour(
    "end.reset-is-polled",
    "A reset wakes poll, with an error or the end of both sides.",
    "3 TCP failure",
    peer="resets",
    plain=True,
)
def reset_is_polled(world: World) -> Iterator[tuple[Any, ...]]:
    with world.connected() as s:
        receive(s, 4)
        s.sendall(b"x")
        events = polled(s, select.POLLIN | select.POLLRDHUP, PATIENCE_MS)
        yield "readable", "IN" in events, True
        yield "hung up", "RDHUP" in events, True


@behaviour(
    "end.shut-down-for-reading",
    "After shutdown(SHUT_RD) recv says end of file, and the program may still send.",
    SHUTDOWN,
    peer="sees_the_end",
    seen={"received": digest(b"still here"), "end": "in order"},
    plain=True,
)
def shut_down_for_reading(world: World) -> Iterator[tuple[Any, ...]]:
    with world.connected() as s:
        s.shutdown(socket.SHUT_RD)
        yield "recv", s.recv(1).decode(), ""
        s.sendall(b"still here")


@behaviour(
    "end.shut-down-twice",
    "shutdown may be repeated, and SHUT_RDWR ends both sides.",
    SHUTDOWN,
    peer="stays_when_the_program_has_ended",
    seen={"received": "x", "end": "in order"},
    plain=True,
)
def shut_down_twice(world: World) -> Iterator[tuple[Any, ...]]:
    with world.connected() as s:
        s.sendall(b"x")
        yield "once", outcome(s.shutdown, socket.SHUT_WR), "ok"
        yield "twice", outcome(s.shutdown, socket.SHUT_WR), "ok"
        yield "both", outcome(s.shutdown, socket.SHUT_RDWR), "ok"
        yield "recv", s.recv(1).decode(), ""
        world.tell("done")


@behaviour(
    "end.the-peer-has-gone",
    "What the peer sent before it closed is read, then end of file; writing on gives EPIPE or ECONNRESET in the end.",
    SHUTDOWN,
    peer="ends_before_the_program",
    plain=True,
)
def the_peer_has_gone(world: World) -> Iterator[tuple[Any, ...]]:
    with world.connected() as s:
        world.wait()
        yield "data", receive(s, 3).decode(), "bye"
        yield "end", s.recv(1).decode(), ""
        word = "ok"
        while word == "ok":
            word = outcome(s.send, b"x")
        yield "writing on", word in {"EPIPE", "ECONNRESET"}, True


@behaviour(
    "end.idle",
    "A connection that says nothing stays open.",
    "2 read, write, send*, recv*",
    peer="echoes",
    plain=True,
)
def idle(world: World) -> Iterator[tuple[Any, ...]]:
    with world.connected() as s:
        yield "nothing comes", readable(s, 300), False
        yield "echo", talk(s), "hello"
