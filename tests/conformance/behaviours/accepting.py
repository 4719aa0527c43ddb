"""bind(), listen() and accept()."""

from __future__ import annotations

import fcntl
import os
import select
import socket
import threading
from collections.abc import Iterator
from typing import Any

from tests.conformance import calls
from tests.conformance.behaviour import ONCE, Deviation, behaviour
from tests.conformance.behaviours.connecting import UNIX_BELOW
from tests.conformance.world import (
    MOMENT_MS,
    PATIENCE_MS,
    Child,
    World,
    in_child,
    loopback,
    outcome,
    polled,
    readable,
    receive,
    run_python,
)

ACCEPT = "2 listen, accept, accept4"
MANY = 40


def serve(s: socket.socket) -> str:
    """Echo until the end; return what came."""
    heard = bytearray()
    with s:
        while piece := s.recv(65_536):
            heard += piece
            s.sendall(piece)
    return heard.decode()


@behaviour(
    "accept.blocking",
    "A blocking accept returns a connection that carries data both ways, one for each peer.",
    ACCEPT,
    peer="connects_one_by_one",
    peer_arguments={"count": 3},
    seen={"echoes": ["0", "1", "2"], "ends": ["in order"]},
    plain=True,
)
def blocking(world: World) -> Iterator[tuple[Any, ...]]:
    with world.listener() as listener:
        world.tell(listener.getsockname()[1])
        for number in range(3):
            s, _ = listener.accept()
            yield f"connection {number}", serve(s), str(number)


@behaviour(
    "accept.nonblocking",
    "Where no peer is ready a non-blocking accept is EAGAIN; poll, select and epoll wake when one is.",
    ACCEPT,
    peer="connects_when_told",
    peer_arguments={"count": 3},
    seen={"echoes": ["hello"] * 3},
    plain=True,
)
def nonblocking(world: World) -> Iterator[tuple[Any, ...]]:
    with world.listener() as listener, select.epoll() as epoll:
        listener.setblocking(False)
        epoll.register(listener, select.EPOLLIN)
        port = listener.getsockname()[1]
        for how, wait in (
            ("poll", lambda ms: readable(listener, ms)),
            ("select", lambda ms: bool(select.select([listener], [], [], ms / 1000)[0])),
            ("epoll", lambda ms: bool(epoll.poll(ms / 1000))),
        ):
            yield f"accept before {how}", outcome(listener.accept), "EAGAIN"
            yield f"{how} early", wait(0), False
            world.tell(port)
            yield f"{how} late", wait(PATIENCE_MS), True
            s, _ = listener.accept()
            s.setblocking(True)
            yield f"{how}: heard", serve(s), "hello"


@behaviour(
    "accept.edge",
    "Edge-triggered epoll has an edge for each peer that becomes ready.",
    ACCEPT,
    peer="connects_when_told",
    peer_arguments={"count": 2},
    plain=True,
)
def edge(world: World) -> Iterator[tuple[Any, ...]]:
    with world.listener() as listener, select.epoll() as epoll:
        listener.setblocking(False)
        epoll.register(listener, select.EPOLLIN | select.EPOLLET)
        for number in range(2):
            yield f"no edge {number}", epoll.poll(0), []
            world.tell(listener.getsockname()[1])
            yield f"edge {number}", [event for _, event in epoll.poll(PATIENCE_MS / 1000)], [select.EPOLLIN]
            s, _ = listener.accept()
            s.setblocking(True)
            yield f"heard {number}", serve(s), "hello"


@behaviour(
    "accept.flags",
    "accept4's SOCK_NONBLOCK and SOCK_CLOEXEC go to the new descriptor; accept gives neither, whatever the listener has"
    " been given.",
    ACCEPT,
    peer="connects_one_by_one",
    peer_arguments={"count": 5},
    plain=True,
)
def flags(world: World) -> Iterator[tuple[Any, ...]]:
    with world.listener() as listener:
        world.tell(listener.getsockname()[1])
        for wanted in (None, 0, socket.SOCK_NONBLOCK, socket.SOCK_CLOEXEC, socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC):
            descriptor, _, _ = calls.accept(listener, flags=wanted)
            nonblocking_now = bool(fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_NONBLOCK)
            closes_on_exec = bool(fcntl.fcntl(descriptor, fcntl.F_GETFD) & fcntl.FD_CLOEXEC)
            word = {None: "accept", 0: "accept4, none"}.get(wanted, f"accept4, {wanted:#x}" if wanted else "")
            given = wanted or 0
            yield (
                word,
                [nonblocking_now, closes_on_exec],
                [
                    bool(given & socket.SOCK_NONBLOCK),
                    bool(given & socket.SOCK_CLOEXEC),
                ],
            )
            os.set_blocking(descriptor, True)
            serve(socket.socket(socket.AF_INET, socket.SOCK_STREAM, world.protocol, fileno=descriptor))
        yield "unknown flag", outcome(calls.accept, listener, 128, 1), "EINVAL"


@behaviour(
    "accept.address-room",
    "accept fills the room it is given and tells the true length; without a room it tells nothing.",
    ACCEPT,
    peer="connects_one_by_one",
    peer_arguments={"count": 3},
    plain=True,
)
def address_room(world: World) -> Iterator[tuple[Any, ...]]:
    with world.listener() as listener:
        world.tell(listener.getsockname()[1])
        for room in (None, 4, 128):
            descriptor, address, length = calls.accept(listener, room)
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM, world.protocol, fileno=descriptor) as s:
                true = calls.sockaddr(socket.AF_INET, *s.getpeername())
                yield f"room {room}", [length, address == true[: room or 0]], [0 if room is None else 16, True]
                serve(s)


@behaviour(
    "accept.only-good-peers",
    "Stalled, half-started, plain-text, anonymous and untrusted peers do not make the listening descriptor readable,"
    " and delay nobody.",
    ACCEPT,
    peer="connects_after_the_bad_ones",
    seen={
        "echo": "hello",
        "end": "in order",
        "distrusts the server": True,
        "without certificate": True,
        "untrusted certificate": True,
        "stalled one still waits": True,
    },
)
def only_good_peers(world: World) -> Iterator[tuple[Any, ...]]:
    from tests.conformance.behaviours.authenticating import ask_for_certificates

    with world.with_credentials() as listener:
        ask_for_certificates(listener, world)
        listener.bind(loopback())
        listener.listen(16)
        world.tell(listener.getsockname()[1])
        world.wait()  # the bad ones have been there
        yield "readable", readable(listener, MOMENT_MS), False
        listener.setblocking(False)
        yield "accept", outcome(listener.accept), "EAGAIN"
        world.tell()
        world.wait()  # the good one has finished its handshake
        yield "readable now", readable(listener), True
        s, _ = listener.accept()
        s.setblocking(True)
        yield "heard", serve(s), "hello"
        yield "accept after that", outcome(listener.accept), "EAGAIN"


@behaviour(
    "accept.many",
    f"{MANY} peers at once are all accepted, each with its own words.",
    ACCEPT,
    peer="connects_all_at_once",
    peer_arguments={"count": MANY},
    seen={"echoes": True},
    plain=True,
)
def many(world: World) -> Iterator[tuple[Any, ...]]:
    heard: list[int] = []
    with world.listener() as listener:
        world.tell(listener.getsockname()[1])
        threads = []
        for _ in range(MANY):
            s, _ = listener.accept()
            threads.append(threading.Thread(target=lambda s=s: heard.append(int(serve(s)))))
            threads[-1].start()
        for thread in threads:
            thread.join()
    yield "heard", sorted(heard), list(range(MANY))


@behaviour(
    "accept.a-peer-that-has-gone",
    "A peer that sent its words and ended before accept was called is accepted all the same.",
    ACCEPT,
    peer="connects_and_leaves",
    seen={"end": "in order"},
    plain=True,
)
def a_peer_that_has_gone(world: World) -> Iterator[tuple[Any, ...]]:
    with world.listener() as listener:
        world.tell(listener.getsockname()[1])
        world.wait()
        readable(listener)
        s, _ = listener.accept()
        with s:
            yield "heard", receive(s, 100).decode(), "was here"


@behaviour(
    "accept.after-close",
    "Closing the listening descriptor leaves accepted connections alone, and frees the port.",
    ACCEPT,
    peer="keeps_a_connection",
    seen={"echoes": ["hello", "hello"], "end": "in order"},
    plain=True,
)
def after_close(world: World) -> Iterator[tuple[Any, ...]]:
    with world.listener() as listener:
        world.tell(listener.getsockname()[1])
        s, _ = listener.accept()
        s.sendall(receive(s, 5))
        world.wait()
    world.tell()
    yield "heard", serve(s), "hello"


@behaviour(
    "listen.closed",
    "A port is open while the listening descriptor is, and refused soon after its last copy is closed.",
    ACCEPT,
    peer="connects_to_a_closed_port",
    seen={"ports": ["refused", "open", "open", "refused"]},
    plain=True,
    versions=ONCE,
)
def closed(world: World) -> Iterator[tuple[Any, ...]]:
    def look(port: int) -> None:
        world.tell(port)
        world.wait()

    listener = world.with_credentials()
    listener.bind(loopback())
    port = listener.getsockname()[1]
    look(port)
    listener.listen(5)
    look(port)
    copy = listener.dup()
    listener.close()
    look(port)
    copy.close()
    settled(port)
    look(port)
    world.tell(0)
    yield "port", port > 0, True


def settled(port: int) -> None:
    """Wait until a port is free again: the kernel closes a TCP listener at once, a boundary hears of it."""
    for _ in range(PATIENCE_MS // 20):
        with socket.socket() as probe:
            if outcome(probe.connect, ("127.0.0.1", port)) == "ECONNREFUSED":
                return
        select.select([], [], [], 0.02)


@behaviour(
    "listen.again",
    "The port of a listening descriptor that was closed can be bound at once, by this process and by another one.",
    ACCEPT,
    plain=True,
    versions=ONCE,
)
def again(world: World) -> Iterator[tuple[Any, ...]]:
    def listen(port: int) -> str:
        with world.with_credentials() as listener:
            return outcome(listener.bind, ("127.0.0.1", port)) + " " + outcome(listener.listen, 5)

    with world.listener() as first:
        port = first.getsockname()[1]
        yield "while it is open", listen(port), "EADDRINUSE ok"
    for who, again in (("another", lambda: in_child(lambda: listen(port))), ("this one", lambda: listen(port))):
        yield who, again(), "ok ok"


@behaviour(
    "listen.wrong-order",
    "accept before listen is EINVAL, connect on a listener EISCONN, bind after listen EINVAL; listen may be repeated.",
    "3 option in the wrong phase",
    plain=True,
    versions=ONCE,
)
def wrong_order(world: World) -> Iterator[tuple[Any, ...]]:
    with world.with_credentials() as s:
        yield "accept before bind", outcome(s.accept), "EINVAL"
        yield "bind", outcome(s.bind, loopback()), "ok"
        yield "bind again", outcome(s.bind, loopback()), "EINVAL"
        yield "accept before listen", outcome(s.accept), "EINVAL"
        yield "listen", outcome(s.listen, 5), "ok"
        yield "listen again", outcome(s.listen, 10), "ok"
        yield "bind after listen", outcome(s.bind, loopback()), "EINVAL"
        yield "connect", outcome(s.connect, world.nowhere), "EISCONN"
        yield "getpeername", outcome(s.getpeername), "ENOTCONN"
        yield "events", polled(s), []


@behaviour(
    "listen.not-for-data",
    "A listening socket carries no data: recv is ENOTCONN, send is refused.",
    "2 listen, accept, accept4",
    plain=True,
    versions=ONCE,
    deviations=(
        Deviation("seccomp", "recv", "EINVAL", UNIX_BELOW),
        Deviation("preload", "recv", "EINVAL", UNIX_BELOW),
        Deviation("plain", "send", "EPIPE", "TCP alone has EPIPE here; ENOTCONN is what send(2) documents"),
    ),
)
def not_for_data(world: World) -> Iterator[tuple[Any, ...]]:
    with world.listener() as s:
        yield "recv", outcome(s.recv, 1, socket.MSG_DONTWAIT), "ENOTCONN"
        yield "send", outcome(s.send, b"x", socket.MSG_DONTWAIT), "ENOTCONN"


@behaviour(
    "listen.after-connect",
    "listen on a connected socket is EOPNOTSUPP, bind EINVAL, and accept EINVAL.",
    "2 listen after connect",
    peer="echoes",
    plain=True,
    deviations=(Deviation("plain", "listen", "EINVAL", "TCP's own errno; the specification has another"),),
)
def after_connect(world: World) -> Iterator[tuple[Any, ...]]:
    with world.connected() as s:
        yield "listen", outcome(s.listen, 5), "EOPNOTSUPP"
        yield "bind", outcome(s.bind, loopback()), "EINVAL"
        yield "accept", outcome(s.accept), "EINVAL"


@behaviour(
    "listen.unbound",
    "listen without bind takes a free port on all addresses.",
    ACCEPT,
    peer="connects_one_by_one",
    peer_arguments={"count": 1},
    plain=True,
)
def unbound(world: World) -> Iterator[tuple[Any, ...]]:
    with world.with_credentials() as listener:
        yield "before", list(listener.getsockname()), ["0.0.0.0", 0]
        listener.listen(5)
        host, port = listener.getsockname()
        yield "after", [host, port > 0], ["0.0.0.0", True]
        world.tell(port)
        s, _ = listener.accept()
        yield "heard", serve(s), "0"


@behaviour(
    "listen.address-in-use",
    "A port that somebody listens on is EADDRINUSE, also for TCP programs beside it; an address of another machine is"
    " EADDRNOTAVAIL.",
    "3 TCP failure",
    plain=True,
    versions=ONCE,
)
def address_in_use(world: World) -> Iterator[tuple[Any, ...]]:
    with world.listener() as first, world.with_credentials() as second, socket.socket() as tcp:
        yield "second", outcome(second.bind, first.getsockname()), "EADDRINUSE"
        yield "TCP", outcome(tcp.bind, first.getsockname()), "EADDRINUSE"
        yield "elsewhere", outcome(second.bind, ("192.0.2.1", 0)), "EADDRNOTAVAIL"
        yield "another family", outcome(calls.bind, second, calls.sockaddr(socket.AF_INET6, "::1", 0)), "EAFNOSUPPORT"
        yield "free", outcome(second.bind, loopback()), "ok"


@behaviour(
    "listen.reuse-address",
    "With SO_REUSEADDR a server may be started again while connections of the last one linger in TIME_WAIT.",
    "2 setsockopt at other levels",
    peer="lets_the_program_end_first",
    seen={"end": "in order"},
    plain=True,
)
def reuse_address(world: World) -> Iterator[tuple[Any, ...]]:
    def begin(s: socket.socket, port: int, *, reuse: bool) -> None:
        if reuse:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("127.0.0.1", port))
        s.listen(5)

    with world.with_credentials() as listener:
        begin(listener, 0, reuse=True)
        yield "get", listener.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR), 1
        port = listener.getsockname()[1]
        world.tell(port)
        s, _ = listener.accept()
        s.sendall(receive(s, 1))
        s.close()  # first: the lingering side is ours
    settled(port)
    for word, reuse, expected in (("without", False, "EADDRINUSE"), ("with", True, "ok")):
        with world.with_credentials() as again:
            yield word, outcome(lambda s=again, reuse=reuse: begin(s, port, reuse=reuse)), expected


@behaviour(
    "accept.pre-fork",
    "Children that inherited the listening descriptor accept from it, each its own peers.",
    "2 dup, fork, exec, SCM_RIGHTS",
    peer="connects_one_by_one",
    peer_arguments={"count": 2},
    seen={"echoes": ["0", "1"], "ends": ["in order"]},
    plain=True,
)
def pre_fork(world: World) -> Iterator[tuple[Any, ...]]:
    with world.listener() as listener:
        world.tell(listener.getsockname()[1])
        for number in range(2):
            yield f"child {number}", in_child(lambda: serve(listener.accept()[0])), str(number)


@behaviour(
    "accept.handed-to-a-child",
    "A child serves a connection that its parent accepted and closed.",
    "2 dup, fork, exec, SCM_RIGHTS",
    peer="connects_one_by_one",
    peer_arguments={"count": 2},
    seen={"echoes": ["0", "1"], "ends": ["in order"]},
    plain=True,
)
def handed_to_a_child(world: World) -> Iterator[tuple[Any, ...]]:
    with world.listener() as listener:
        world.tell(listener.getsockname()[1])
        for number in range(2):
            s, _ = listener.accept()
            with s:
                yield f"child {number}", in_child(lambda s=s: serve(s)), str(number)


_EXECUTED = """
import socket, sys
listener = socket.socket(fileno=int(sys.argv[1]))
s, address = listener.accept()
heard = s.recv(100)
s.sendall(heard)
while s.recv(100):
    pass
print(heard.decode(), address[0], s.getsockname() == listener.getsockname())
"""


@behaviour(
    "accept.executed",
    "A program that inherits the listening descriptor by exec accepts from it, as inetd's and systemd's services do.",
    "2 dup, fork, exec, SCM_RIGHTS",
    peer="connects_one_by_one",
    peer_arguments={"count": 2},
    seen={"echoes": ["0", "1"], "ends": ["in order"]},
    plain=True,
)
def executed(world: World) -> Iterator[tuple[Any, ...]]:
    with world.listener() as listener:
        world.tell(listener.getsockname()[1])
        ran = run_python(_EXECUTED, listener.fileno(), keep=(listener.fileno(),))
        yield "executed", ran, "0 127.0.0.1 True"
        yield "afterwards", serve(listener.accept()[0]), "1"


@behaviour(
    "accept.passed",
    "A process that receives the listening descriptor by SCM_RIGHTS accepts from it.",
    "2 dup, fork, exec, SCM_RIGHTS",
    peer="connects_one_by_one",
    peer_arguments={"count": 1},
    seen={"echoes": ["0"], "ends": ["in order"]},
    plain=True,
)
def passed(world: World) -> Iterator[tuple[Any, ...]]:
    left, right = socket.socketpair()

    def receiver() -> str:
        right.close()
        _, descriptors, _, _ = socket.recv_fds(left, 1, 1)
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM, world.protocol, fileno=descriptors[0]) as listener:
            left.sendall(b"+")
            left.recv(1)  # the sender has closed its copy by then: a copy that was never used keeps the port open
            return serve(listener.accept()[0])

    child = Child(receiver)
    left.close()
    with right, world.listener() as listener:
        port = listener.getsockname()[1]
        socket.send_fds(right, [b"+"], [listener.fileno()])
        yield "received", right.recv(1).decode(), "+"
        listener.close()
        right.sendall(b"+")
        world.tell(port)
        yield "receiver", child.word(), "0"


@behaviour(
    "accept.later",
    "Peers that finished their handshakes and spoke before accept was called are all there when it is.",
    ACCEPT,
    peer="waits_in_the_queue",
    peer_arguments={"count": 20},
    seen={"echoes": True},
    plain=True,
)
def later(world: World) -> Iterator[tuple[Any, ...]]:
    with world.listener() as listener:
        world.tell(listener.getsockname()[1])
        world.wait()
        heard = sorted(int(serve(listener.accept()[0])) for _ in range(20))
        yield "heard", heard, list(range(20))


@behaviour(
    "accept.no-descriptor-left",
    "Without a free descriptor socket and accept fail with EMFILE, and the peer is there when there is one again.",
    ACCEPT,
    peer="connects_one_by_one",
    peer_arguments={"count": 1},
    seen={"echoes": ["0"], "ends": ["in order"]},
    plain=True,
)
def no_descriptor_left(world: World) -> Iterator[tuple[Any, ...]]:
    import resource

    with world.listener() as listener:
        world.tell(listener.getsockname()[1])
        yield "readable", readable(listener), True
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        free = os.dup(listener.fileno())
        os.close(free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
        yield "accept", outcome(calls.accept, listener), "EMFILE"
        yield "accept again", outcome(calls.accept, listener), "EMFILE"
        yield "socket", outcome(calls.socket_, socket.AF_INET, socket.SOCK_STREAM, world.protocol), "EMFILE"
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        yield "heard", serve(listener.accept()[0]), "0"


@behaviour(
    "accept.two-threads",
    "Two threads may wait in accept on one listener; each peer wakes one of them.",
    ACCEPT,
    peer="connects_all_at_once",
    peer_arguments={"count": 6},
    seen={"echoes": True},
    plain=True,
)
def two_threads(world: World) -> Iterator[tuple[Any, ...]]:
    heard: list[str] = []
    with world.listener() as listener:

        def accept() -> None:
            for _ in range(3):
                heard.append(serve(listener.accept()[0]))

        threads = [threading.Thread(target=accept) for _ in range(2)]
        for thread in threads:
            thread.start()
        world.tell(listener.getsockname()[1])
        for thread in threads:
            thread.join()
    yield "heard", sorted(heard), list("012345")


@behaviour(
    "accept.time-out",
    "SO_RCVTIMEO bounds accept: EAGAIN; and the listener goes on to work.",
    ACCEPT,
    peer="connects_when_told",
    plain=True,
)
def time_out(world: World) -> Iterator[tuple[Any, ...]]:
    import struct

    with world.listener() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("=qq", 0, MOMENT_MS * 1000))
        yield "accept", outcome(listener.accept), "EAGAIN"
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("=qq", 0, 0))
        world.tell(listener.getsockname()[1])
        s, _ = listener.accept()
        yield "heard", serve(s), "hello"
