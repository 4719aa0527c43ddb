"""Signals: a timer that never stops, and a user who breaks off."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from typing import Any

from tests.conformance.behaviour import ONCE, Deviation, behaviour
from tests.conformance.behaviours.accepting import serve
from tests.conformance.world import (
    PATIENCE_MS,
    Ticking,
    World,
    digest,
    outcome,
    pattern,
    receive,
    so_error,
    talk,
    writable,
)

SIGNALS = "issue 3: signals"
COUNT = 15
SIZE = 2 * 1024 * 1024


@behaviour(
    "signals.timer-while-connecting",
    f"{COUNT} connects under a 1 kHz timer make {COUNT} connections: no livelock, none doubled.",
    SIGNALS,
    peer="echoes_again_and_again",
    peer_arguments={"count": COUNT},
    seen={"connections": COUNT, "ends": ["in order"]},
    plain=True,
)
def timer_while_connecting(world: World) -> Iterator[tuple[Any, ...]]:
    words = []
    with Ticking(restart=True) as timer:
        for _ in range(COUNT):
            with world.client() as s:
                s.connect(world.peer)
                words.append(talk(s))
        while not timer.ticks:
            pass
    yield "echoes", words, ["hello"] * COUNT


@behaviour(
    "signals.timer-while-accepting",
    f"{COUNT} accepts under a 1 kHz timer take {COUNT} peers: no livelock, none lost or doubled.",
    SIGNALS,
    peer="connects_one_by_one",
    peer_arguments={"count": COUNT},
    seen={"echoes": [str(number) for number in range(COUNT)], "ends": ["in order"]},
    plain=True,
)
def timer_while_accepting(world: World) -> Iterator[tuple[Any, ...]]:
    words = []
    with Ticking(restart=True), world.listener() as listener:
        world.tell(listener.getsockname()[1])
        for _ in range(COUNT):
            s, _ = listener.accept()
            words.append(serve(s))
    yield "heard", words, [str(number) for number in range(COUNT)]


@behaviour(
    "signals.timer-while-transferring",
    "A transfer and control calls under a 1 kHz timer are whole.",
    SIGNALS,
    peer="answers_with_a_digest",
    seen={"received": digest(pattern(SIZE)), "end": "in order"},
    plain=True,
)
def timer_while_transferring(world: World) -> Iterator[tuple[Any, ...]]:
    with world.connected() as s, Ticking(restart=True):
        data = memoryview(pattern(SIZE))
        names = set()
        while data:
            data = data[s.send(data[:65_536]) :]
            names.add(s.getpeername())
        s.shutdown(socket.SHUT_WR)
        yield "answer", receive(s, 100).decode(), digest(pattern(SIZE))
        yield "names", [name == world.peer for name in names], [True]


@behaviour(
    "signals.options-under-a-timer",
    "socket, setsockopt and getsockopt under a timer without SA_RESTART work as TCP's: they never fail with EINTR.",
    SIGNALS,
    plain=True,
    versions=ONCE,
    deviations=(
        Deviation("seccomp", "outcomes", ["EINTR", "ok"], "the kernel interrupts a notified call; make it again"),
    ),
)
def options_under_a_timer(world: World) -> Iterator[tuple[Any, ...]]:
    outcomes = {"ok"}

    def calls() -> None:
        with world.bare() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            s.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            s.getsockname()

    with Ticking(restart=False) as timer:
        while timer.ticks < 300 and outcomes == {"ok"}:
            outcomes.add(outcome(calls))
    yield "outcomes", sorted(outcomes), ["ok"]


@behaviour(
    "signals.interrupted-connect",
    "A blocking connect that a handler without SA_RESTART interrupts goes on: poll and SO_ERROR tell how it ends.",
    SIGNALS,
    peer="holds_back",
    plain=True,
)
def interrupted_connect(world: World) -> Iterator[tuple[Any, ...]]:
    from tests.conformance import calls

    world.wait()
    with world.client() as s:
        signal.signal(signal.SIGALRM, lambda *_: None)
        signal.siginterrupt(signal.SIGALRM, True)
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        yield "connect", outcome(calls.connect, s, calls.sockaddr(socket.AF_INET, *world.peer)), "EINTR"
        world.tell("looked")
        word = outcome(s.connect, world.peer)
        yield "connect again", word in {"ok", "EISCONN"}, True
        yield "echo", talk(s), "hello"


@behaviour(
    "signals.break-off-connect",
    "SIGINT breaks off a blocking connect at once, and closing the descriptor closes the wire.",
    SIGNALS,
    peer="interrupts_a_connect",
    seen={"the wire ended": True},
)
def break_off_connect(world: World) -> Iterator[tuple[Any, ...]]:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    world.tell(os.getpid())
    with world.client() as s:
        yield "connect", interrupted(s.connect, world.peer), "interrupted"


def interrupted(call: Callable[..., object], *arguments: object) -> str:
    """Say whether the user broke a call off."""
    try:
        call(*arguments)
    except KeyboardInterrupt:
        return "interrupted"
    return "ok"


@behaviour(
    "signals.break-off-accept",
    "SIGINT breaks off a blocking accept at once; the listener goes on to work, and no peer is lost.",
    SIGNALS,
    peer="interrupts_an_accept",
    seen={"echoes": ["hello", "hello"]},
    plain=True,
)
def break_off_accept(world: World) -> Iterator[tuple[Any, ...]]:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with world.listener() as listener:
        for number in range(2):
            world.tell(os.getpid())
            yield f"accept {number}", interrupted(listener.accept), "interrupted"
            world.tell(listener.getsockname()[1])
            s, _ = listener.accept()
            yield f"heard {number}", serve(s), "hello"


@behaviour(
    "signals.nonblocking-under-a-timer",
    "A non-blocking connect, poll and SO_ERROR under a 1 kHz timer come to one connection.",
    SIGNALS,
    peer="echoes",
    seen={"end": "in order"},
    plain=True,
)
def nonblocking_under_a_timer(world: World) -> Iterator[tuple[Any, ...]]:
    with world.client() as s, Ticking(restart=True):
        s.setblocking(False)
        yield "connect", outcome(s.connect, world.peer), "EINPROGRESS"
        yield "writable", writable(s, PATIENCE_MS), True
        yield "SO_ERROR", so_error(s), ""
        s.setblocking(True)
        yield "echo", talk(s), "hello"
