"""Whatever a boundary says, in whatever order and with whatever descriptors: no defect, and nothing left behind.

A boundary runs with the application's rights; a program may speak on the control channel as it likes.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import ssl
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssa_impl.abi import IPPROTO_TLS, Opt
from ssa_impl.control import channel as control
from ssa_impl.control import messages as m
from ssa_impl.control.codec import MAX_MESSAGE_BYTES
from ssa_impl.sockets.addresses import build_sockaddr
from tests.certificates import authority
from tests.system.daemons import Daemon, Zygote
from tests.system.holdings import comes_back_to, descriptors
from tests.system.rogues import mute
from tests.system.servers import Server, serving, tls

LAST = 1_000_000
"""the number of the request that ends each conversation"""


class House:
    """A daemon, the port of a peer that never answers, and that of an honest one."""

    def __init__(self, daemon: Daemon, port: int, echo_port: int) -> None:
        self.daemon = daemon
        self.port = port
        self.echo_port = echo_port
        self.processes = [daemon.process.pid, *daemon.workers]
        self.before = descriptors(self.processes)
        self._heard = 0

    def has_no_new_complaint(self) -> None:
        """Nothing in the log since the last look is a defect."""
        log = self.daemon.log()
        new, self._heard = log[self._heard :], len(log)
        assert "defect" not in new, new
        assert "Traceback" not in new, new


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    daemon = Daemon()
    with serving(mute) as silent, serving(whoever_comes) as honest:
        yield House(daemon, silent.port, honest.port)
    assert sorted(daemon.worker_pids()) == sorted(daemon.workers)
    assert daemon.stop() == 0
    daemon.close()


def whoever_comes(connection: socket.socket, server: Server) -> None:
    """A TLS server, short of patience: an application may keep its own packets back (TCP_CORK, TCP_WINDOW_CLAMP)."""
    connection.settimeout(10)
    with contextlib.suppress(TimeoutError):
        tls(until_the_end)(connection, server)


def until_the_end(secured: ssl.SSLSocket, _server: Server) -> str:
    """Listen until there is nothing more to hear, however it ends."""
    with contextlib.suppress(ssl.SSLError):
        while secured.recv(65_536):
            pass
    return "ended"


# -- descriptors that may come along


@contextlib.contextmanager
def _pair(take: int) -> Iterator[int]:
    ends = socket.socketpair()
    with ends[0], ends[1]:
        yield ends[take].fileno()


@contextlib.contextmanager
def _connected_tcp() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as near:
        yield near.fileno()


@contextlib.contextmanager
def _file(content: bytes) -> Iterator[int]:
    descriptor = os.memfd_create("file")
    os.write(descriptor, content)
    yield descriptor
    os.close(descriptor)


@contextlib.contextmanager
def _socket(family: int, kind: int) -> Iterator[int]:
    with socket.socket(family, kind) as made:
        yield made.fileno()


@contextlib.contextmanager
def _pipe() -> Iterator[int]:
    read, write = os.pipe()
    yield read
    os.close(read)
    os.close(write)


@contextlib.contextmanager
def _directory() -> Iterator[int]:
    descriptor = os.open("/", os.O_RDONLY | os.O_PATH)
    yield descriptor
    os.close(descriptor)


THINGS: dict[str, Callable[[], contextlib.AbstractContextManager[int]]] = {
    "application": lambda: _socket(socket.AF_UNIX, socket.SOCK_STREAM),
    "unix pair": lambda: _pair(0),
    "datagrams": lambda: _socket(socket.AF_UNIX, socket.SOCK_DGRAM),
    "packets": lambda: _socket(socket.AF_UNIX, socket.SOCK_SEQPACKET),
    "TCP": lambda: _socket(socket.AF_INET, socket.SOCK_STREAM),
    "TCP, IPv6": lambda: _socket(socket.AF_INET6, socket.SOCK_STREAM),
    "TCP, connected": _connected_tcp,
    "UDP": lambda: _socket(socket.AF_INET, socket.SOCK_DGRAM),
    "pipe": _pipe,
    "anchors": lambda: _file(authority().anchors_pem),
    "chain": lambda: _file(b"".join(part.bytes() for part in authority().credentials().cert_chain_pems)),
    "key": lambda: _file(authority().credentials().private_key_pem.bytes()),
    "nonsense": lambda: _file(b"\0\xff nonsense"),
    "empty file": lambda: _file(b""),
    "path only": _directory,
}


# -- what may be said


INTS = st.integers(-(2**31), 2**31 - 1)
LEVELS = st.sampled_from([IPPROTO_TLS, IPPROTO_TLS, IPPROTO_TLS, socket.SOL_SOCKET, socket.IPPROTO_TCP, 0]) | INTS
NUMBERS = st.sampled_from([*Opt, socket.SO_ERROR, socket.SO_LINGER, 1, 33]) | INTS
VALUES = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([b"server.ssa.test\0", b"127.0.0.1\0", b"a,b\0", b"h2\0", bytes(4), b"\1\0\0\0", bytes(8)]),
    st.sampled_from([0x0303, 0x0304]).map(lambda version: version.to_bytes(4, "little")),
    st.sampled_from([authority().anchors_pem, authority().credentials().private_key_pem.bytes(), b"DEFAULT\0"]),
)


def addresses(port: int) -> st.SearchStrategy[bytes]:
    known = [("127.0.0.1", port), ("127.0.0.1", 1), ("0.0.0.0", 0)]
    ipv6 = build_sockaddr(socket.AF_INET6, ("::1", 1, 0, 0))
    host = (715).to_bytes(2, "little") + port.to_bytes(2, "big") + b"localhost".ljust(255, b"\0")
    return st.binary(max_size=300) | st.sampled_from(
        [*(build_sockaddr(socket.AF_INET, address) for address in known), ipv6, host, host[:-1]]
    )


def requests(port: int) -> st.SearchStrategy[m.Message]:
    number = st.integers(1, 100)
    return st.one_of(
        st.builds(m.Hello, number, st.sampled_from([2, 2, 2, 10, 1, 0, -1]), INTS, st.booleans()),
        st.builds(m.SetOption, number, LEVELS, NUMBERS, VALUES, st.booleans()),
        st.builds(m.SetOption, number, LEVELS, NUMBERS, VALUES),
        st.builds(m.GetOption, number, LEVELS, NUMBERS, st.sampled_from([0, 1, 4, 8, 1024, 2**32 - 1])),
        st.builds(m.Bind, number, addresses(port)),
        st.builds(m.Connect, number, addresses(port), st.booleans()),
        st.builds(m.Listen, number, INTS),
        st.builds(m.Upgrade, number, VALUES, st.booleans()),
        st.builds(m.Claim, number),
        st.builds(m.AskEnd, number),
        st.builds(m.GetName, number, st.booleans()),
        st.builds(m.Refusal, number, INTS, st.text(st.characters(codec="utf-8"), max_size=20)),
        st.builds(m.Reply, number, INTS, VALUES),
        st.builds(m.Reset, number),
        st.builds(m.Keep, number),
    )


LUGGAGE = st.lists(st.sampled_from(list(THINGS)), max_size=3) | st.sampled_from(
    [["application"], ["TCP, connected", "unix pair"], ["TCP, connected", "unix pair", "application"]]
)


Conversation = list[tuple[m.Message, list[str]]]
TLS = IPPROTO_TLS
HELLO: Conversation = [(m.Hello(101, socket.AF_INET, 1), ["application"])]


def openings(house: House) -> st.SearchStrategy[Conversation]:
    """How a conversation begins: with a socket of some kind, so that what follows means something."""
    client: Conversation = [
        *HELLO,
        (m.SetOption(102, TLS, Opt.TLS_TRUSTED_PEER_CERTIFICATES, authority().anchors_pem), []),
        (m.SetOption(103, TLS, Opt.TLS_REMOTE_HOSTNAME, b"server.ssa.test\0"), []),
    ]
    echo_address = build_sockaddr(socket.AF_INET, ("127.0.0.1", house.echo_port))
    server: Conversation = [
        *HELLO,
        (m.SetOption(102, TLS, Opt.TLS_CERTIFICATE_CHAIN, b"", by_file=True), ["chain"]),
        (m.SetOption(103, TLS, Opt.TLS_PRIVATE_KEY, b"", by_file=True), ["key"]),
        (m.Bind(104, build_sockaddr(socket.AF_INET, ("127.0.0.1", 0))), []),
    ]
    return st.sampled_from(
        [
            [],
            HELLO,
            client,
            [*client, (m.Connect(104, echo_address, True), ["application"])],
            [*client, (m.Connect(104, echo_address, False), ["application"])],
            server,
            [*server, (m.Listen(105, 1), ["application"])],
        ]
    )


def speak(house: House, conversation: Conversation) -> None:
    """Say it all, and one last thing; wait until that is answered, or the daemon has hung up."""
    with contextlib.ExitStack() as luggage, control.dial(house.daemon.path) as end:
        end.setblocking(True)
        end.settimeout(30)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for message, things in conversation:
                control.send(end, message, [luggage.enter_context(THINGS[thing]()) for thing in things])
            control.send(end, m.GetOption(LAST, IPPROTO_TLS, Opt.TLS_ID, 8))
            while (received := control.receive(end)) is not None:
                reply, descriptors_received = received
                control.close_all(descriptors_received)
                if reply.request == LAST:
                    break


@settings(max_examples=200)
@given(data=st.data())
def test_any_conversation(data: st.DataObject, house: House) -> None:
    conversation = data.draw(st.lists(st.tuples(requests(house.port), LUGGAGE), max_size=6))
    speak(house, data.draw(openings(house)) + conversation)
    house.has_no_new_complaint()


@pytest.mark.parametrize(
    ("level", "name"),
    [*((socket.SOL_SOCKET, name) for name in (26, 27, 47, 50, 51, 52)), (socket.IPPROTO_TCP, 35)],
)
def test_no_option_holds_an_address_or_a_descriptor_of_the_daemons(level: int, name: int, house: House) -> None:
    """SO_ATTACH_FILTER, SO_DETACH_FILTER, SO_MAX_PACING_RATE, SO_ATTACH_BPF, SO_ATTACH_REUSEPORT_CBPF and _EBPF,
    TCP_ZEROCOPY_RECEIVE.
    """
    with THINGS["application"]() as thing, control.dial(house.daemon.path) as end:
        end.setblocking(True)
        end.settimeout(30)
        for message, things in [
            (m.Hello(1, socket.AF_INET, 1), [thing]),
            (m.SetOption(2, level, name, bytes(16)), []),
            (m.GetOption(3, level, name, 16), []),
        ]:
            control.send(end, message, things)
        codes = {}
        while 3 not in codes:
            received = control.receive(end)
            assert received is not None
            codes[received[0].request] = received[0].errno  # type: ignore[union-attr]
    assert (codes[2], codes[3]) == (errno.ENOPROTOOPT, errno.ENOPROTOOPT)


@pytest.mark.parametrize("what", [b"", b"\0", bytes(16), bytes(100), b"\xff" * 16, bytes(MAX_MESSAGE_BYTES)])
def test_what_is_no_message(what: bytes, house: House) -> None:
    with control.dial(house.daemon.path) as end:
        end.setblocking(True)
        end.settimeout(30)
        end.send(what)
        with contextlib.suppress(ConnectionResetError):
            assert end.recv(100) == b""
    house.has_no_new_complaint()


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Files of a server's certificate and key."""
    directory = tmp_path_factory.mktemp("own")
    issued = authority().credentials()
    (directory / "chain.pem").write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
    (directory / "key.pem").write_bytes(issued.private_key_pem.bytes())
    return {"chain": str(directory / "chain.pem"), "key": str(directory / "key.pem")}


USUAL_ERRNOS = {
    "EACCES", "EADDRINUSE", "EADDRNOTAVAIL", "EAFNOSUPPORT", "EAGAIN", "EALREADY", "EBADF", "EBADFD", "ECONNREFUSED",
    "ECONNABORTED", "ECONNRESET", "EDESTADDRREQ", "EFAULT", "EINPROGRESS", "EINVAL", "EISCONN", "EISDIR", "ENOENT",
    "ENOPROTOOPT", "ENOTCONN", "ENOTSOCK", "ENOTSUPP", "EOPNOTSUPP", "EPERM", "EPIPE", "EPROTO", "EPROTONOSUPPORT",
    "EPROTOTYPE", "ERANGE", "ESOCKTNOSUPPORT", "ENETUNREACH", "ENODEV", "EDOM", "ENOBUFS", "EHOSTUNREACH", "ENOTDIR",
}  # fmt: skip
"""what the man pages of these calls, and SSA_SPEC section 3, know"""


@pytest.mark.parametrize("boundary", ["seccomp", "preload"])
def test_any_system_calls(boundary: str, house: House, own: dict[str, str]) -> None:
    """A program whose every argument may be wrong hears errnos, and its boundary goes on."""
    zygote = Zygote(house.daemon.path, "tests.system.crowds", boundary)
    calls = {"count": 1500, "ports": [house.port, house.echo_port], "wild": boundary == "seccomp", **own}
    met = set()
    for seed in range(6):
        met |= set(zygote.run("random_calls", seed=seed, **calls))
    assert zygote.run("open_and_close", count=10) == 10
    zygote.stop()
    assert "defect" not in zygote.said, zygote.said
    assert met - USUAL_ERRNOS == set()
    assert met >= {"EINVAL", "ENOPROTOOPT", "EPROTO", "EINPROGRESS"}
    house.has_no_new_complaint()


def test_afterwards_nothing_is_left(house: House) -> None:
    comes_back_to(house.before)
    house.has_no_new_complaint()
