"""Sessions: resumed where both sides want it, and never elsewhere."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any

from tests.conformance.behaviour import behaviour
from tests.conformance.behaviours.accepting import serve
from tests.conformance.behaviours.certificates import listening
from tests.conformance.world import (
    ANCHORS,
    CONTEXT,
    NAME,
    REMOTE_HOSTNAME,
    RESUMED,
    SESSION_REUSE,
    SESSION_TTL,
    TLS,
    World,
    in_child,
    outcome,
    path,
    string,
    talk,
    text,
)

SESSIONS = "1 TLS_SESSION_REUSE"


def connect(world: World, reuse: int = 1, ttl: int | None = None) -> int:
    """Connect, talk, and say whether the session was resumed."""
    with world.client() as s:
        s.setsockopt(TLS, SESSION_REUSE, reuse)
        if ttl is not None:
            s.setsockopt(TLS, SESSION_TTL, struct.pack("=q", ttl))
        s.connect(world.peer)
        talk(s)
        return s.getsockopt(TLS, RESUMED)


def until_resumed(world: World, connect_once: Callable[[], int]) -> bool:
    """Connect until a session is resumed: it is kept when its connection ends, which close() does not wait for."""
    for _ in range(20):
        world.tell("one more")
        resumed = bool(connect_once())
        world.tell("ended")
        if bool(world.wait()) != resumed:
            return False  # the peer sees it otherwise
        if resumed:
            return True
    return False


@behaviour(
    "sessions.resumed",
    "With TLS_SESSION_REUSE a later connection to the same peer resumes the session: TLS_RESUMED_SESSION is 1.",
    SESSIONS,
    peer="resumes_until_told",
    seen={"first": False},
)
def resumed(world: World) -> Iterator[tuple[Any, ...]]:
    yield "first", connect(world), 0
    yield "resumed", until_resumed(world, lambda: connect(world)), True
    yield "resumed again", until_resumed(world, lambda: connect(world)), True
    world.tell("")


@behaviour(
    "sessions.across-processes",
    "Processes of one program share their sessions.",
    SESSIONS,
    peer="resumes_until_told",
    seen={"first": False},
)
def across_processes(world: World) -> Iterator[tuple[Any, ...]]:
    yield "first", in_child(lambda: connect(world)), "0"
    yield "resumed", until_resumed(world, lambda: int(in_child(lambda: connect(world)))), True
    world.tell("")


@behaviour(
    "sessions.not-asked-for",
    "Without TLS_SESSION_REUSE no session is kept or resumed.",
    SESSIONS,
    peer="resumes",
    peer_arguments={"count": 3},
    seen={"resumed": [False, False, False]},
)
def not_asked_for(world: World) -> Iterator[tuple[Any, ...]]:
    yield "resumed", [connect(world, reuse) for reuse in (0, 0, 1)], [0, 0, 0]


@behaviour(
    "sessions.ttl-0",
    "TLS_SESSION_TTL 0 disables caching.",
    "1 TLS_SESSION_TTL",
    peer="resumes",
    peer_arguments={"count": 3},
    seen={"resumed": [False, False, False]},
)
def ttl_0(world: World) -> Iterator[tuple[Any, ...]]:
    yield "resumed", [connect(world, ttl=0) for _ in range(2)] + [connect(world)], [0, 0, 0]


@behaviour(
    "sessions.other-settings",
    "A session is not resumed by a socket whose settings are others: a version, a name, anchors.",
    SESSIONS,
    peer="resumes",
    peer_arguments={"count": 2},
    seen={"resumed": [False, False]},
)
def other_settings(world: World) -> Iterator[tuple[Any, ...]]:
    yield "first", connect(world), 0
    with world.bare() as s:
        s.setsockopt(TLS, SESSION_REUSE, 1)
        s.setsockopt(TLS, ANCHORS, world.content("stranger.ca.pem") + world.content("ca.pem"))
        s.setsockopt(TLS, REMOTE_HOSTNAME, text(NAME))
        s.connect(world.peer)
        talk(s)
        yield "other anchors", s.getsockopt(TLS, RESUMED), 0


@behaviour(
    "sessions.untrusted-is-not-resumed",
    "A session does not carry trust to a socket that does not trust the peer.",
    SESSIONS,
    peer="misbehaves_after_a_session",
    seen={"application data": 0},
)
def untrusted_is_not_resumed(world: World) -> Iterator[tuple[Any, ...]]:
    yield "first", connect(world), 0
    with world.bare() as s:
        s.setsockopt(TLS, SESSION_REUSE, 1)
        s.setsockopt(TLS, ANCHORS, path(world.file("stranger.ca.pem")))
        s.setsockopt(TLS, REMOTE_HOSTNAME, text(NAME))
        yield "connect", outcome(s.connect, world.peer), "EPROTO"


@behaviour(
    "context.shared",
    "A socket that takes over another's TLS_CONTEXT, in another process too, has its settings and resumes its"
    " sessions.",
    "1 TLS_CONTEXT",
    peer="resumes_until_told",
    seen={"first": False},
)
def shared(world: World) -> Iterator[tuple[Any, ...]]:
    first = world.client()
    first.setsockopt(TLS, SESSION_REUSE, 1)
    handle = first.getsockopt(TLS, CONTEXT, 8)
    first.connect(world.peer)
    talk(first)
    first.close()

    def second() -> int:
        with world.bare() as s:
            s.setsockopt(TLS, CONTEXT, handle)
            assert string(s, REMOTE_HOSTNAME) == NAME
            assert s.getsockopt(TLS, CONTEXT, 8) == handle
            s.connect(world.peer)
            talk(s)
            return s.getsockopt(TLS, RESUMED)

    yield "in the same process", until_resumed(world, second), True
    yield "in another", until_resumed(world, lambda: int(in_child(second))), True
    world.tell("")


@behaviour(
    "context.many",
    "A context may be taken over again and again: its settings do not depend on which of the daemon's workers serves.",
    "1 TLS_CONTEXT",
    peer="echoes_again_and_again",
    peer_arguments={"count": 8},
)
def many(world: World) -> Iterator[tuple[Any, ...]]:
    with world.client() as first:
        handle = first.getsockopt(TLS, CONTEXT, 8)
        words = []
        for _ in range(8):
            with world.bare() as s:
                s.setsockopt(TLS, CONTEXT, handle)
                s.connect(world.peer)
                words.append(talk(s))
    yield "echoes", words, ["hello"] * 8


def serves_sessions(world: World, reuse: int, ttl: int | None, expected: list[int]) -> Iterator[tuple[Any, ...]]:
    with world.with_credentials() as listener:
        listener.setsockopt(TLS, SESSION_REUSE, reuse)
        if ttl is not None:
            listener.setsockopt(TLS, SESSION_TTL, struct.pack("=q", ttl))
        listening(listener, world)
        seen = []
        for _ in range(6):
            s, _ = listener.accept()
            seen.append(s.getsockopt(TLS, RESUMED))
            serve(s)
        yield "resumed", seen, expected


for _name, _reuse, _ttl, _expected, _sentence in (
    (
        "resumed",
        1,
        None,
        [0, 1, 1, 1, 1, 1],
        "A server with TLS_SESSION_REUSE lets its peers resume, whichever worker they meet.",
    ),
    ("not-asked-for", 0, None, [0] * 6, "A server without TLS_SESSION_REUSE lets nobody resume."),
    ("ttl-0", 1, 0, [0] * 6, "A server with TLS_SESSION_TTL 0 lets nobody resume."),
):
    behaviour(
        f"sessions.server.{_name}",
        _sentence,
        SESSIONS,
        peer="resumes_as_client",
        peer_arguments={"count": 6},
        seen={"resumed": [bool(value) for value in _expected]},
        arguments={"reuse": _reuse, "ttl": _ttl, "expected": _expected},
    )(serves_sessions)
