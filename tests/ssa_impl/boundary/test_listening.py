"""listen and accept at the seccomp boundary: every peer is given once, its greeting read, to who waits for it."""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ssa_impl.boundary.seccomp.entry import Entry
from ssa_impl.boundary.seccomp.listening import Listening
from ssa_impl.boundary.seccomp.notify import Notification
from ssa_impl.boundary.seccomp.processes import Process
from ssa_impl.control import channel
from ssa_impl.control.greeting import encode_greeting
from ssa_impl.control.messages import GetName, Listen
from ssa_impl.daemon.inner import is_open
from ssa_impl.sockets.addresses import build_sockaddr
from tests.ssa_impl.boundary.kernel import Daemon, Kernel, Memory, this_process
from tests.ssa_impl.outcomes import open_descriptors

ADDRESS = build_sockaddr(socket.AF_INET, ("192.0.2.1", 4711))
ADDRESS_V6 = build_sockaddr(socket.AF_INET6, ("2001:db8::1", 4711, 0, 0))


class Scene:
    """An application that listens, the daemon behind it, and the supervisor's handlers between the two."""

    def __init__(self, process: Process, path: Path) -> None:
        self.kernel = Kernel()
        self.process = process
        self.daemon = Daemon()
        self.entry = self.daemon.entry
        self.adopted: list[Entry] = []
        self.watched: list[Entry] = []
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.handlers = Listening(
            self.kernel,
            self.adopted.append,
            self._watch,
            self._unwatch,
            lambda seconds, back: self.timers.append((seconds, back)),
        )
        self.application = socket.socket(socket.AF_UNIX)
        self.entry.inode = os.fstat(self.application.fileno()).st_ino
        self.path = str(path / "listener")
        self._theirs: list[socket.socket] = []

    def _watch(self, entry: Entry) -> None:
        if entry not in self.watched:
            self.watched.append(entry)

    def _unwatch(self, entry: Entry) -> None:
        if entry in self.watched:
            self.watched.remove(entry)

    def start_listen(self, backlog: int = 5) -> Notification:
        """Make the call; the daemon has not answered yet."""
        call = self.kernel.call(self.application.fileno(), backlog)
        self.handlers.listen(call, self.process, self.entry)
        return call

    def listen(self) -> None:
        """listen(), as far as it goes well."""
        call = self.start_listen()
        message, (passed,) = self.daemon.hear()
        with passed:
            passed.bind(self.path)
            passed.listen(5)
        self.daemon.reply(message)
        assert self.kernel.answers[call.id] == 0

    def present(self, address: bytes = ADDRESS, words: bytes = b"") -> socket.socket:
        """Put a peer into the queue, as the daemon does; return the daemon's end of its channel."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        connection = self.connect()
        with theirs:
            socket.send_fds(connection, [encode_greeting(address)], [theirs.fileno()])
        connection.send(words)
        self._theirs.append(ours)
        return ours

    def connect(self) -> socket.socket:
        """Connect to the application's listener, and say nothing."""
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(self.path)
        self._theirs.append(connection)
        return connection

    def accept(self, *pointers: int, flags: int = 0) -> Notification:
        """Make the call; refusals are answered as the supervisor does it."""
        call = self.kernel.call(self.application.fileno(), *(pointers or (0, 0)))
        try:
            self.handlers.accept(call, self.process, self.entry, flags)
        except OSError as error:
            self.kernel.answer(call.id, error=error.errno or 0)
        return call

    def hears(self, call: Notification) -> bytes:
        """Return what the accepted socket has to read."""
        return self.kernel.given[call.id][0].recv(100, socket.MSG_DONTWAIT)

    def close(self) -> None:
        for given, _ in self.kernel.given.values():
            given.close()
        for entry in self.adopted:
            entry.hang_up()
        for end in (self.application, *self._theirs):
            end.close()
        self.entry.let_go()
        self.daemon.close()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    before = open_descriptors()
    with this_process() as process:
        made = Scene(process, tmp_path)
        yield made
        made.close()
    assert open_descriptors() == before


@pytest.fixture
def listening(scene: Scene) -> Scene:
    scene.listen()
    return scene


# -- listen


@pytest.mark.parametrize(
    ("backlog", "passed_on"),
    [(0, 0), (5, 5), (socket.SOMAXCONN + 1, socket.SOMAXCONN), (0xFFFFFFFF, socket.SOMAXCONN), (5 | 1 << 32, 5)],
)
def test_listen_passes_the_applications_own_socket_on(scene: Scene, backlog: int, passed_on: int) -> None:
    call = scene.start_listen(backlog)
    message, (passed,) = scene.daemon.hear()
    with passed:
        assert message == Listen(message.request, passed_on)
        assert os.fstat(passed.fileno()).st_ino == scene.entry.inode
    assert call.id in scene.kernel.waiting
    assert not scene.entry.listens
    scene.daemon.reply(message)
    assert scene.kernel.answers[call.id] == 0
    assert scene.entry.listens


def test_a_refused_listen_may_be_tried_again(scene: Scene) -> None:
    call = scene.start_listen()
    message, (passed,) = scene.daemon.hear()
    passed.close()
    scene.daemon.reply(message, errno.EPROTO)
    assert scene.kernel.answers[call.id] == errno.EPROTO
    assert not scene.entry.listens
    scene.listen()


def test_a_second_listen_is_told_to_the_daemon_too(listening: Scene) -> None:
    call = listening.start_listen(9)
    message, (passed,) = listening.daemon.hear()
    passed.close()
    assert message == Listen(message.request, 9)
    listening.daemon.reply(message)
    assert listening.kernel.answers[call.id] == 0


def test_a_descriptor_that_means_another_socket_meanwhile_is_ebadf(scene: Scene) -> None:
    scene.entry.inode += 1
    with pytest.raises(OSError, match="Bad file descriptor") as caught:
        scene.start_listen()
    assert caught.value.errno == errno.EBADF


def test_listen_without_a_daemon_is_enotconn(scene: Scene) -> None:
    call = scene.start_listen()
    _, (passed,) = scene.daemon.hear()
    passed.close()
    scene.entry.hang_up()
    assert scene.kernel.answers[call.id] == errno.ENOTCONN


# -- accept


def test_a_peer_that_waits_is_given_at_once_without_its_greeting(listening: Scene) -> None:
    theirs = listening.present(words=b"GET /")
    room, length = Memory(bytes(16)), Memory(struct.pack("=i", 16))
    call = listening.accept(room.address, length.address)
    assert listening.hears(call) == b"GET /"
    assert (room.content, length.content) == (ADDRESS, struct.pack("=i", 16))
    (adopted,) = listening.adopted
    given, flags = listening.kernel.given[call.id]
    assert adopted.inode == os.fstat(given.fileno()).st_ino
    assert (adopted.connected, flags, os.get_blocking(given.fileno())) == (True, 0, True)
    adopted.ask(lambda number: GetName(number, True), lambda _: None)
    assert channel.receive(theirs) == (GetName(1, True), [])


def test_a_receive_time_out_of_the_greeting_is_not_the_applications(listening: Scene) -> None:
    listening.present()
    given, _ = listening.kernel.given[listening.accept().id]
    assert given.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, 16) == bytes(16)


@pytest.mark.parametrize("room_bytes", [0, 2, 16, 27, 28, 100])
def test_any_room_for_the_address(listening: Scene, room_bytes: int) -> None:
    listening.present(ADDRESS_V6)
    room, length = Memory(b"#" * 100), Memory(struct.pack("=i", room_bytes))
    assert listening.accept(room.address, length.address).id in listening.kernel.given
    written = ADDRESS_V6[:room_bytes]
    assert room.content == written + b"#" * (100 - len(written))
    assert length.content == struct.pack("=i", 28)


@pytest.mark.parametrize(
    ("flags", "blocking", "descriptor_flags"),
    [
        (socket.SOCK_NONBLOCK, False, 0),
        (socket.SOCK_CLOEXEC, True, os.O_CLOEXEC),
        (socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, False, os.O_CLOEXEC),
    ],
)
def test_accept4(listening: Scene, flags: int, blocking: bool, descriptor_flags: int) -> None:
    listening.present()
    given, given_flags = listening.kernel.given[listening.accept(flags=flags).id]
    assert (os.get_blocking(given.fileno()), given_flags) == (blocking, descriptor_flags)


@pytest.mark.parametrize("flags", [1, socket.SOCK_NONBLOCK | 4, 1 << 31])
def test_unknown_flags_are_einval_and_no_peer_is_lost(listening: Scene, flags: int) -> None:
    listening.present(words=b"me")
    assert listening.kernel.answers[listening.accept(flags=flags).id] == errno.EINVAL
    assert listening.hears(listening.accept()) == b"me"


def test_who_does_not_listen_hears_it_from_the_kernel(scene: Scene) -> None:
    call = scene.accept()
    assert scene.kernel.passed == [call.id]


BAD_POINTERS = {
    "address": (lambda _: 8, lambda length: length.address, errno.EFAULT),
    "length": (lambda room: room.address, lambda _: 8, errno.EFAULT),
}


@pytest.mark.parametrize("which", BAD_POINTERS)
def test_a_bad_pointer_is_efault_and_no_peer_is_lost(listening: Scene, which: str) -> None:
    make_room, make_length, code = BAD_POINTERS[which]
    room, length = Memory(bytes(16)), Memory(struct.pack("=i", 16))
    listening.present(words=b"me")
    assert listening.kernel.answers[listening.accept(make_room(room), make_length(length)).id] == code
    assert listening.hears(listening.accept()) == b"me"


def test_a_negative_room_is_einval_and_no_peer_is_lost(listening: Scene) -> None:
    length = Memory(struct.pack("=i", -1))
    listening.present(words=b"me")
    assert listening.kernel.answers[listening.accept(length.address, length.address).id] == errno.EINVAL
    assert listening.hears(listening.accept()) == b"me"


def test_no_descriptor_left_is_said_and_no_peer_is_lost(listening: Scene) -> None:
    listening.present(words=b"me")
    listening.kernel.out_of_descriptors = True
    for _ in range(2):
        assert listening.kernel.answers[listening.accept().id] == errno.EMFILE
    listening.kernel.out_of_descriptors = False
    assert listening.hears(listening.accept()) == b"me"


# -- waiting


@pytest.mark.parametrize("waits", [False, True])
def test_a_listener_is_closed_when_the_application_closes_it(listening: Scene, waits: bool) -> None:
    if waits:
        listening.accept()
    assert is_open(listening.path)
    listening.application.close()
    assert not is_open(listening.path)


def test_a_call_whose_descriptor_was_closed_meanwhile_is_ebadf(listening: Scene) -> None:
    call, elsewhere = listening.accept(), listening.application.dup()
    with elsewhere:
        listening.application.close()
        listening.present(words=b"me")
        assert readable(listening.entry.queue)
        listening.handlers.peers_are_there(listening.entry)
    assert listening.kernel.answers[call.id] == errno.EBADF
    assert not listening.watched


def readable(queue: select.epoll | None) -> bool:
    assert queue is not None
    return bool(select.select([queue], [], [], 0)[0])


def test_a_non_blocking_listener_is_not_waited_for(listening: Scene) -> None:
    listening.application.setblocking(False)
    assert listening.kernel.answers[listening.accept().id] == errno.EAGAIN
    assert not listening.watched
    listening.present(words=b"me")
    assert listening.hears(listening.accept()) == b"me"


def test_who_waited_first_is_served_first(listening: Scene) -> None:
    calls = [listening.accept() for _ in range(3)]
    assert listening.watched
    assert not listening.kernel.given
    for words in (b"1", b"2"):
        listening.present(words=words)
    listening.handlers.peers_are_there(listening.entry)
    assert [listening.hears(call) for call in calls[:2]] == [b"1", b"2"]
    assert calls[2].id in listening.kernel.waiting
    listening.present(words=b"3")
    listening.handlers.peers_are_there(listening.entry)
    assert listening.hears(calls[2]) == b"3"
    assert not listening.watched


def test_who_was_interrupted_takes_no_peer(listening: Scene) -> None:
    first, second = listening.accept(), listening.accept()
    listening.kernel.interrupt(first)
    listening.present(words=b"me")
    listening.handlers.peers_are_there(listening.entry)
    assert listening.hears(second) == b"me"
    assert first.id not in listening.kernel.given


def test_an_interrupted_call_that_is_made_again_waits_again(listening: Scene) -> None:
    listening.kernel.interrupt(listening.accept())
    again = listening.accept()
    listening.present(words=b"me")
    listening.handlers.peers_are_there(listening.entry)
    assert listening.hears(again) == b"me"


def test_a_peer_that_came_too_late_for_one_call_is_kept_for_the_next(listening: Scene) -> None:
    listening.present(words=b"1")
    listening.present(words=b"2")
    listening.kernel.interrupting = True
    assert listening.accept().id not in listening.kernel.given
    assert [listening.hears(listening.accept()) for _ in range(2)] == [b"1", b"2"]


def test_peers_that_were_kept_stay_in_their_order(listening: Scene) -> None:
    for words in (b"1", b"2", b"3"):
        listening.present(words=words)
    for _ in range(2):
        listening.kernel.interrupting = True
        listening.accept()
    assert [listening.hears(listening.accept()) for _ in range(3)] == [b"1", b"2", b"3"]


def test_a_connection_without_a_whole_greeting_is_no_peer(listening: Scene) -> None:
    listening.connect().close()
    half = listening.connect()
    half.send(encode_greeting(ADDRESS)[:10])
    half.close()
    unaccompanied = listening.connect()
    unaccompanied.send(encode_greeting(ADDRESS))
    nonsense = listening.connect()
    socket.send_fds(nonsense, [b"\xff" * 32], [0])
    listening.present(words=b"me")
    assert listening.hears(listening.accept()) == b"me"
    assert unaccompanied.recv(1) == b""


def test_a_time_out_of_the_applications_is_kept(listening: Scene) -> None:
    listening.application.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", 2, 500_000))
    late, early = listening.accept(), listening.accept()
    assert [seconds for seconds, _ in listening.timers] == [2.5, 2.5]
    listening.present(words=b"me")
    listening.handlers.peers_are_there(listening.entry)
    for _, ring in listening.timers:
        ring()
    assert listening.hears(late) == b"me"
    assert listening.kernel.answers == {**listening.kernel.answers, early.id: errno.EAGAIN}
    assert late.id not in listening.kernel.answers


def test_without_a_time_out_nobody_gives_up(listening: Scene) -> None:
    listening.accept()
    assert listening.timers == []


def test_a_daemon_that_is_gone_is_told_to_who_waits_who_polls_and_who_calls(listening: Scene) -> None:
    call = listening.accept()
    assert not select.select([listening.application], [], [], 0)[0]
    listening.entry.hang_up()
    listening.handlers.daemon_is_gone(listening.entry, listening.application.dup())
    assert listening.kernel.answers[call.id] == errno.ENOTCONN
    assert not listening.watched
    assert select.select([listening.application], [], [], 0)[0]
    assert listening.kernel.answers[listening.accept().id] == errno.ENOTCONN
