"""TCP_UPGRADE_TLS at the seccomp boundary: another socket behind the same numbers, in epoll instances too."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from ssa_impl.abi import AF_HOSTNAME, IPPROTO_TLS, TCP_UPGRADE_TLS, Opt
from ssa_impl.boundary.seccomp.calls import Calls
from ssa_impl.boundary.seccomp.entry import Entry
from ssa_impl.boundary.seccomp.notify import Notification
from ssa_impl.boundary.seccomp.processes import Process
from ssa_impl.boundary.seccomp.upgrade import Registration, Upgrades, move_registrations, registrations
from ssa_impl.control.messages import GetOption, Hello, Message, SetOption, Upgrade
from tests.ssa_impl.boundary.kernel import Daemon, Kernel, Memory, this_process
from tests.ssa_impl.daemon.lines import tcp_pair
from tests.ssa_impl.outcomes import open_descriptors

NAME = b"server.ssa.test\0"
BOTH = pytest.mark.parametrize("blocking", [True, False], ids=["blocking", "non-blocking"])


class Scene:
    """An application with a TCP connection, the daemon, and the supervisor's handlers between the two."""

    def __init__(self, process: Process) -> None:
        self.kernel = Kernel()
        self.process = process
        self.daemon = Daemon()
        self.adopted: list[Entry] = []
        self.dropped: list[Entry] = []
        self.dialled = 0
        calls = Calls(self.kernel, Path("/nowhere"), self.adopted.append, lambda _: False)
        self.handlers = Upgrades(self.kernel, calls, self._dial, self.adopted.append, self.dropped.append)
        self.tcp, self.far = tcp_pair()
        self.inode = os.fstat(self.tcp.fileno()).st_ino
        self._memory: list[Memory] = []

    def _dial(self) -> Entry:
        self.dialled += 1
        return self.daemon.entry

    def set(self, level: int, name: int, value: bytes, number: int | None = None) -> Notification:
        """Make a setsockopt call; refusals are answered as the supervisor does it."""
        memory = Memory(value + b"\0")
        self._memory.append(memory)
        number = self.tcp.fileno() if number is None else number
        call = self.kernel.call(number, level, name, memory.address, len(value))
        try:
            self.handlers.set_option(call, self.process, os.fstat(number).st_ino)
        except OSError as error:
            self.kernel.answer(call.id, error=error.errno or 0)
        return call

    def upgrade(self, hostname: bytes = NAME) -> Notification:
        return self.set(socket.IPPROTO_TCP, TCP_UPGRADE_TLS, hostname)

    def hear_upgrade(self) -> tuple[Message, list[socket.socket]]:
        """Take the greeting and the request; answer the first."""
        message, passed = self.daemon.hear()
        if isinstance(message, Hello):
            self.daemon.reply(message)
            message, passed = self.daemon.hear()
        assert isinstance(message, Upgrade)
        return message, passed

    def close(self) -> None:
        self.tcp.close()
        self.far.close()
        self.daemon.close()


@pytest.fixture
def scene() -> Iterator[Scene]:
    before = open_descriptors()
    with this_process() as process:
        made = Scene(process)
        yield made
        made.close()
    assert open_descriptors() == before


def close(ends: list[socket.socket]) -> None:
    for end in ends:
        end.close()


def answer(scene: Scene, code: int = 0) -> socket.socket:
    """Let the daemon answer the request; return its end of the new connection."""
    message, (tcp, daemons, *application) = scene.hear_upgrade()
    close([tcp, *application])
    scene.daemon.reply(message, code)
    return daemons


# -- what concerns us


@pytest.mark.parametrize(
    ("level", "name", "meant"),
    [
        (IPPROTO_TLS, Opt.TLS_ALPN, True),
        (IPPROTO_TLS, 9999, True),
        (socket.IPPROTO_TCP, TCP_UPGRADE_TLS, True),
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, False),
        (socket.SOL_SOCKET, TCP_UPGRADE_TLS, False),
    ],
)
def test_what_is_meant_for_us(level: int, name: int, meant: bool) -> None:
    assert Upgrades.is_meant(level, name) is meant


def test_no_option_of_linux_is_taken() -> None:
    """TCP's own options count up from 1, families of socket() too."""
    with socket.socket() as tcp, pytest.raises(OSError, match="Protocol not available") as caught:
        tcp.getsockopt(socket.IPPROTO_TCP, TCP_UPGRADE_TLS)
    assert caught.value.errno == errno.ENOPROTOOPT
    with pytest.raises(OSError, match="not supported"):
        socket.socket(AF_HOSTNAME)


@pytest.mark.parametrize("kind", ["unix", "udp"])
@pytest.mark.parametrize("level", [IPPROTO_TLS, socket.IPPROTO_TCP])
def test_sockets_of_another_kind_know_no_such_option(scene: Scene, kind: str, level: int) -> None:
    other = socket.socket(socket.AF_UNIX) if kind == "unix" else socket.socket(type=socket.SOCK_DGRAM)
    with other:
        call = scene.set(level, TCP_UPGRADE_TLS, NAME, other.fileno())
    assert scene.kernel.answers[call.id] == errno.ENOPROTOOPT
    assert scene.dialled == 0


# -- options before the upgrade


def test_options_of_a_tcp_socket_are_told_to_the_daemon(scene: Scene) -> None:
    first = scene.set(IPPROTO_TLS, Opt.TLS_ALPN, b"h2\0")
    second = scene.set(IPPROTO_TLS, Opt.TLS_REMOTE_HOSTNAME, NAME)
    hello, _ = scene.daemon.hear()
    assert hello == Hello(hello.request, socket.AF_INET, os.getpid())
    scene.daemon.reply(hello)
    for call, name, value, code in (
        (first, Opt.TLS_ALPN, b"h2\0", 0),
        (second, Opt.TLS_REMOTE_HOSTNAME, NAME, errno.EINVAL),
    ):
        message, _ = scene.daemon.hear()
        assert message == SetOption(message.request, IPPROTO_TLS, name, value)
        scene.daemon.reply(message, code)
        assert scene.kernel.answers[call.id] == code
    assert scene.dialled == 1
    scene.far.send(b"still in the clear")
    assert scene.tcp.recv(100) == b"still in the clear"


def test_options_can_be_read_before_the_upgrade_and_not_of_other_sockets(scene: Scene) -> None:
    length = Memory(struct.pack("=i", 100))
    call = scene.kernel.call(scene.tcp.fileno(), IPPROTO_TLS, Opt.TLS_ALPN, 0, length.address)
    assert not scene.handlers.get_option(call, scene.process, scene.inode)
    scene.set(IPPROTO_TLS, Opt.TLS_ALPN, b"h2\0")
    assert scene.handlers.get_option(call, scene.process, scene.inode)
    messages = [scene.daemon.hear()[0] for _ in range(3)]
    assert messages[2] == GetOption(messages[2].request, IPPROTO_TLS, Opt.TLS_ALPN, 100)


def test_a_tcp_socket_that_was_closed_is_forgotten(scene: Scene) -> None:
    scene.set(IPPROTO_TLS, Opt.TLS_ALPN, b"h2\0")
    assert len(scene.handlers) == 1
    scene.handlers.forget_but({scene.inode})
    assert scene.dropped == []
    scene.handlers.forget_but(set())
    assert scene.dropped == [scene.daemon.entry]
    assert len(scene.handlers) == 0


# -- the upgrade


@BOTH
def test_the_same_number_means_the_secure_socket(scene: Scene, blocking: bool) -> None:
    scene.tcp.setblocking(blocking)
    number = scene.tcp.fileno()
    call = scene.upgrade()
    message, (tcp, daemons, *application) = scene.hear_upgrade()
    assert message == Upgrade(message.request, NAME, blocking)
    assert len(application) == (0 if blocking else 1)
    assert os.fstat(tcp.fileno()).st_ino == scene.inode
    assert call.id in scene.kernel.waiting
    assert scene.tcp.getpeername() == scene.far.getsockname()  # nothing has changed yet
    scene.daemon.reply(message, 0 if blocking else errno.EINPROGRESS)
    assert scene.kernel.answers[call.id] == (0 if blocking else errno.EINPROGRESS)
    (entry,) = scene.adopted
    assert entry.inode == os.fstat(number).st_ino != scene.inode
    assert os.get_blocking(number) is blocking
    assert len(scene.handlers) == 0
    os.write(number, b"plain text")
    assert daemons.recv(100) == b"plain text"
    close([tcp, daemons, *application])
    assert os.read(number, 1) == b""  # nobody else has the daemon's end


def test_every_number_of_the_socket_is_replaced_with_its_own_flags(scene: Scene) -> None:
    plain, closing = os.dup(scene.tcp.fileno()), os.dup(scene.tcp.fileno())
    os.set_inheritable(plain, True)
    scene.upgrade()
    answer(scene).close()
    inodes = {os.fstat(number).st_ino for number in (plain, closing, scene.tcp.fileno())}
    assert inodes == {scene.adopted[0].inode}
    assert dict(scene.kernel.replaced)[plain] == 0
    assert dict(scene.kernel.replaced)[closing] == os.O_CLOEXEC
    assert fcntl.fcntl(plain, fcntl.F_GETFD) == 0
    os.close(plain)
    os.close(closing)


@pytest.mark.parametrize("code", [errno.EPROTO, errno.ECONNRESET, errno.EOPNOTSUPP])
def test_an_upgrade_that_failed_leaves_the_number_alone_and_may_be_tried_again(scene: Scene, code: int) -> None:
    for _ in range(2):
        call = scene.upgrade()
        answer(scene, code).close()
        assert scene.kernel.answers[call.id] == code
        assert scene.adopted == []
        assert os.fstat(scene.tcp.fileno()).st_ino == scene.inode
    call = scene.upgrade()
    answer(scene).close()
    assert scene.kernel.answers[call.id] == 0
    assert scene.dialled == 1


def test_a_hostname_that_is_too_long_is_einval(scene: Scene) -> None:
    assert scene.kernel.answers[scene.upgrade(b"a" * 255 + b"\0").id] == errno.EINVAL
    call = scene.upgrade(b"a" * 254 + b"\0")
    answer(scene).close()
    assert scene.kernel.answers[call.id] == 0


def test_a_second_call_while_one_waits_is_ealready(scene: Scene) -> None:
    first, second = scene.upgrade(), scene.upgrade()
    assert scene.kernel.answers[second.id] == errno.EALREADY
    answer(scene).close()
    assert scene.kernel.answers[first.id] == 0


def test_an_interrupted_upgrade_goes_on_and_the_next_call_hears_of_it(scene: Scene) -> None:
    scene.kernel.interrupt(scene.upgrade())
    again = scene.upgrade()
    answer(scene).close()
    assert scene.kernel.answers[again.id] == 0
    assert len(scene.adopted) == 1


def test_a_result_that_nobody_waited_for_is_kept_for_the_next_call(scene: Scene) -> None:
    scene.kernel.interrupt(scene.upgrade())
    answer(scene).close()
    assert scene.adopted == []
    assert os.fstat(scene.tcp.fileno()).st_ino == scene.inode
    again = scene.upgrade()
    assert scene.kernel.answers[again.id] == 0
    assert os.fstat(scene.tcp.fileno()).st_ino == scene.adopted[0].inode


def test_a_daemon_that_goes_away_in_the_middle_is_no_success(scene: Scene) -> None:
    call = scene.upgrade()
    close(scene.hear_upgrade()[1])
    scene.daemon.entry.hang_up()
    assert scene.kernel.answers[call.id] in {errno.ECONNRESET, errno.ENOTCONN}
    assert scene.adopted == []


# -- epoll


@pytest.fixture
def process() -> Iterator[Process]:
    with this_process() as made:
        yield made


IN, OUT, EDGE = select.EPOLLIN, select.EPOLLOUT, select.EPOLLET


@pytest.mark.parametrize("first", ["instance", "socket"])
def test_where_a_descriptor_is_registered(process: Process, first: str) -> None:
    instance = select.epoll() if first == "instance" else None
    tcp, far = tcp_pair()
    instance = instance or select.epoll()
    with tcp, far, instance:
        assert registrations(process, tcp.fileno()) == []
        instance.register(far, IN)
        instance.register(tcp, IN | EDGE)
        (found,) = registrations(process, tcp.fileno())
        assert (found.instance, found.number) == (instance.fileno(), tcp.fileno())
        assert found.events & ~(select.EPOLLERR | select.EPOLLHUP) == IN | EDGE
        assert found.data & 0xFFFFFFFF == tcp.fileno()
        assert isinstance(found, Registration)


def test_registrations_move_with_their_events_and_data(process: Process) -> None:
    before = open_descriptors()
    low = select.epoll()
    tcp, far = tcp_pair()
    application, daemons = socket.socketpair()
    high = select.epoll()
    with low, high, tcp, far, application, daemons:
        number, other = tcp.fileno(), daemons.fileno()
        low.register(number, IN)
        high.register(number, IN | OUT | EDGE)
        high.register(other, IN)
        move_registrations(process, number, application)
        os.dup2(application.fileno(), number)
        application.close()
        assert low.poll(0) == []
        assert high.poll(0) == [(number, OUT)]
        assert high.poll(0) == []  # an edge, once
        daemons.send(b"word")
        assert low.poll(0) == low.poll(0) == [(number, IN)]
        assert (number, IN | OUT) in high.poll(0)
        tcp_end = socket.socket(fileno=os.dup(number))
        with tcp_end:
            assert tcp_end.recv(4) == b"word"
        assert low.poll(0) == []
        low.unregister(number)  # under its number, as the application knows it
        high.modify(number, IN)
    assert open_descriptors() == before


def test_nothing_registered_is_nothing_to_move(process: Process) -> None:
    tcp, far = tcp_pair()
    with tcp, far, select.epoll() as instance:
        instance.register(far, IN)
        move_registrations(process, tcp.fileno(), far)
        assert len(registrations(process, far.fileno())) == 1


def test_an_upgrade_moves_what_is_in_an_epoll_set(scene: Scene) -> None:
    number = scene.tcp.fileno()
    with select.epoll() as instance:
        instance.register(number, IN)
        scene.upgrade()
        daemons = answer(scene)
        with daemons:
            scene.far.send(b"not this")
            assert instance.poll(0) == []
            daemons.send(b"this")
            assert instance.poll(0) == [(number, IN)]
            assert os.read(number, 100) == b"this"
