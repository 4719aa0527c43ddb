"""Programs: plain sockets, the standard library, and nothing of ours.  They run under ``ssa run``.

Each takes its line to the test first and returns what the test compares; an expected failure is returned as the name of
its errno, anything unexpected is the test's failure.
"""

from __future__ import annotations

import array
import asyncio
import ctypes
import errno
import hashlib
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.system.zygote import Talk

TLS = 205
HOSTNAME, ANCHORS, ALPN, IDENTITY, CHAIN, ID, CIPHER, ERROR, RESUMED = 85, 87, 90, 93, 95, 96, 98, 100, 109
VERSION_MIN, VERSION_MAX, VERSION, GROUP = 111, 112, 113, 123
NAME = "server.ssa.test"

ERRNO_NAMES = {
    **errno.errorcode,
    errno.EOPNOTSUPP: "EOPNOTSUPP",
    errno.EAGAIN: "EAGAIN",
}  # of the two, the better known
libc = ctypes.CDLL(None, use_errno=True)


# -- tools


def code(call: Callable[..., object], *arguments: object) -> str:
    """Return the name of the errno with which a call fails, "" when it does not."""
    try:
        call(*arguments)
    except OSError as error:
        return ERRNO_NAMES[error.errno or 0]
    return ""


def string(s: socket.socket, option: int) -> str:
    value = s.getsockopt(TLS, option, 1024)
    assert value.endswith(b"\0")
    return value[:-1].decode()


def new(ca: str, name: str | None = NAME, family: int = socket.AF_INET) -> socket.socket:
    """Make a secure socket with anchors and a name."""
    s = socket.socket(family, socket.SOCK_STREAM, TLS)
    try:
        s.setsockopt(TLS, ANCHORS, ca.encode() + b"\0")
        if name is not None:
            s.setsockopt(TLS, HOSTNAME, name.encode() + b"\0")
    except OSError:
        s.close()
        raise
    return s


def connected(port: int, ca: str) -> socket.socket:
    s = new(ca)
    s.connect(("127.0.0.1", port))
    return s


def receive_exactly(s: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size and (piece := s.recv(size - len(data))):
        data += piece
    return bytes(data)


def receive_all(s: socket.socket) -> bytes:
    data = bytearray()
    while piece := s.recv(65_536):
        data += piece
    return bytes(data)


def fetch(s: socket.socket) -> str:
    """Do one request; return the body's SHA-256."""
    s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    header, _, body = receive_all(s).partition(b"\r\n\r\n")
    assert header.startswith(b"HTTP/1.1 200")
    return hashlib.sha256(body).hexdigest()


def getsockopt(s: socket.socket, option: int, room: int, length: int | None = None) -> tuple[int, bytes, int]:
    """getsockopt(2) itself: return errno, the room's content, and the length that came back."""
    buffer = ctypes.create_string_buffer(max(room, 1))
    size = ctypes.c_uint32(room if length is None else length)
    failed = libc.getsockopt(s.fileno(), TLS, option, buffer, ctypes.byref(size))
    return (ctypes.get_errno() if failed else 0), buffer.raw[:room], size.value


def so_error(s: socket.socket) -> str:
    return ERRNO_NAMES.get(s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), "")


def hear_end(s: socket.socket) -> list[str]:
    """Read to the end; return what came and the errno it ended with."""
    data = bytearray()
    try:
        while piece := s.recv(65_536):
            data += piece
    except OSError as error:
        return [data.decode(), ERRNO_NAMES[error.errno or 0]]
    return [data.decode(), ""]


# -- connect


def download(_talk: Talk, port: int, ca: str) -> dict[str, Any]:
    """The straight path, and everything that may be known after it."""
    with new(ca) as s:
        s.connect(("127.0.0.1", port))
        digest = fetch(s)
        return {
            "sha256": digest,
            "peer": s.getpeername(),
            "name": s.getsockname(),
            "proto": s.proto,
            "family": int(s.family),
            "version": s.getsockopt(TLS, VERSION),
            "resumed": s.getsockopt(TLS, RESUMED),
            "cipher": string(s, CIPHER),
            "group": string(s, GROUP),
            "alpn": string(s, ALPN),
            "identity": string(s, IDENTITY),
            "error": string(s, ERROR),
            "id": struct.unpack("=Q", s.getsockopt(TLS, ID, 8))[0],
            "so_error": so_error(s),
        }


def fail_then_retry(_talk: Talk, port: int, ca: str, name: str | None, good_port: int) -> dict[str, Any]:
    """A blocking connect that must fail; then the same socket against a good server."""
    with new(ca, name) as s:
        failed = code(s.connect, ("127.0.0.1", port))
        result = {
            "errno": failed,
            "text": string(s, ERROR),
            "so_error": so_error(s),
            "peer": code(s.getpeername),
            "send": code(s.send, b"x"),
        }
        s.setsockopt(TLS, HOSTNAME, NAME.encode() + b"\0")
        result["retry"] = code(s.connect, ("127.0.0.1", good_port))
        return {**result, "sha256": fetch(s)}


def fail_without_blocking(_talk: Talk, port: int, ca: str, name: str | None) -> dict[str, Any]:
    """The same failure, seen by a program that polls."""
    with new(ca, name) as s:
        s.setblocking(False)
        started = code(s.connect, ("127.0.0.1", port))
        poll = select.poll()
        poll.register(s, select.POLLOUT)
        ((_, events),) = poll.poll(60_000)
        return {
            "started": started,
            "error event": bool(events & select.POLLERR),
            "so_error": so_error(s),
            "so_error again": so_error(s),
            "text": string(s, ERROR),
            "read": code(s.recv, 1),
            "peer": code(s.getpeername),
            "again": code(s.connect, ("127.0.0.1", port)),
        }


def connect_ipv6(_talk: Talk, port: int, ca: str) -> list[Any]:
    with new(ca, "::1", socket.AF_INET6) as s:
        s.connect(("::1", port))
        return [fetch(s), s.getpeername(), s.getsockname()[0]]


def no_daemon(_talk: Talk) -> str:
    return code(socket.socket, socket.AF_INET, socket.SOCK_STREAM, TLS)


def other_kinds(_talk: Talk) -> list[str]:
    """Kinds of sockets that there are not, and plain ones, which nobody must disturb."""
    results = [
        code(socket.socket, socket.AF_INET, socket.SOCK_DGRAM, TLS),
        code(socket.socket, socket.AF_UNIX, socket.SOCK_STREAM, TLS),
        code(socket.socket, socket.AF_INET, socket.SOCK_STREAM, TLS + 1),
    ]
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as near:
        far, address = listener.accept()
        with far:
            assert address == near.getsockname()
            assert near.getpeername() == listener.getsockname()
            near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            near.sendall(b"plain")
            results.append(far.recv(100).decode())
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
            results.append(code(datagrams.setsockopt, TLS, HOSTNAME, b"a\0"))
        results.append(code(near.getsockopt, TLS, ERROR, 10))
    return results


# -- options


def option_errors(_talk: Talk, port: int, ca: str) -> dict[str, str]:
    """Every way to use options wrongly, with the errno it gives."""
    results: dict[str, str] = {}
    with new(ca, None) as s:
        results["unknown set"] = code(s.setsockopt, TLS, 99, 1)
        results["unknown get"] = code(s.getsockopt, TLS, 99, 10)
        results["negative set"] = code(s.setsockopt, TLS, -1, 1)
        results["negative get"] = code(s.getsockopt, TLS, -1, 10)
        results["private key get"] = code(s.getsockopt, TLS, 89, 10)
        results["anchors get"] = code(s.getsockopt, TLS, ANCHORS, 10)
        results["read-only set"] = code(s.setsockopt, TLS, CIPHER, b"x\0")
        results["too early"] = code(s.getsockopt, TLS, IDENTITY, 100)
        results["no NUL"] = code(s.setsockopt, TLS, HOSTNAME, b"a.example")
        results["empty"] = code(s.setsockopt, TLS, HOSTNAME, b"")
        results["256 bytes"] = code(s.setsockopt, TLS, HOSTNAME, b"a" * 255 + b"\0")
        results["huge"] = code(s.setsockopt, TLS, ANCHORS, b"a" * 300_000)
        results["version"] = code(s.setsockopt, TLS, VERSION_MIN, 0x0302)
        results["length of int"] = code(s.setsockopt, TLS, VERSION_MIN, b"\0\0")
        results["listen"] = code(s.listen)
        results["bind"] = code(s.bind, ("127.0.0.1", 0))
        results["bind elsewhere"] = code(s.bind, ("192.0.2.1", 0))
        s.setsockopt(TLS, HOSTNAME, NAME.encode() + b"\0")
        s.connect(("127.0.0.1", port))
        results["late"] = code(s.setsockopt, TLS, HOSTNAME, b"a\0")
        results["connect again"] = code(s.connect, ("127.0.0.1", port))
        results["bind late"] = code(s.bind, ("127.0.0.1", 0))
        results["still there"] = fetch(s)
    return results


def rooms(_talk: Talk, port: int, ca: str) -> dict[str, Any]:
    """Rooms that are too small, and exactly large enough."""
    with connected(port, ca) as s:
        needed = getsockopt(s, CIPHER, 0)
        small = getsockopt(s, CIPHER, needed[2] - 1)
        exact = getsockopt(s, CIPHER, needed[2])
        large = getsockopt(s, CIPHER, 1000)
        chain = getsockopt(s, CHAIN, getsockopt(s, CHAIN, 0)[2])
        results = {
            "needed": needed[0],
            "small": [small[0], small[1].strip(b"\0").decode(), small[2]],
            "exact": [exact[0], exact[1].decode(), exact[2]],
            "large": [large[0], large[2]],
            "chain": chain[1].decode(),
            "negative": getsockopt(s, CIPHER, 10, length=2**32 - 1)[0],
            "wire, no room": code(s.getsockopt, socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
        }
        size = ctypes.c_uint32(0)
        assert libc.getsockopt(s.fileno(), socket.IPPROTO_TCP, socket.TCP_NODELAY, None, ctypes.byref(size)) == 0
        return results


def bad_pointers(_talk: Talk, port: int, ca: str) -> dict[str, str]:
    """Pointers to nowhere."""
    nowhere = ctypes.c_void_p(8)
    room, size = ctypes.create_string_buffer(64), ctypes.c_uint32(64)

    def errno_of(call: Any, *arguments: Any) -> str:
        ctypes.set_errno(0)
        return ERRNO_NAMES[ctypes.get_errno()] if call(*arguments) else ""

    with new(ca) as s:
        fd = s.fileno()
        results = {
            "setsockopt": errno_of(libc.setsockopt, fd, TLS, HOSTNAME, nowhere, 10),
            "setsockopt path": errno_of(libc.setsockopt, fd, TLS, ANCHORS, nowhere, 10),
            "getsockopt value": errno_of(libc.getsockopt, fd, TLS, ID, nowhere, ctypes.byref(size)),
            "getsockopt length": errno_of(libc.getsockopt, fd, TLS, ID, room, nowhere),
            "connect": errno_of(libc.connect, fd, nowhere, 16),
            "getsockname": errno_of(libc.getsockname, fd, nowhere, ctypes.byref(size)),
            "getsockname length": errno_of(libc.getsockname, fd, room, nowhere),
            "connect, length": errno_of(libc.connect, fd, room, 2**31),
        }
        s.connect(("127.0.0.1", port))
        return {**results, "still there": fetch(s)}


def anchors(_talk: Talk, paths: list[str], as_nobody: bool = False, directory: str | None = None) -> list[list[str]]:
    """Set each path (or PEM text) as anchors; return errno and text of each."""
    if directory is not None:
        os.chdir(directory)
    if as_nobody:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    results = []
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, TLS) as s:
        for path in paths:
            before = string(s, ERROR)
            failed = code(s.setsockopt, TLS, ANCHORS, path.encode() + b"\0")
            text = string(s, ERROR)
            results.append([failed, "" if text == before and not failed else text])
    return results


def download_with_anchors(_talk: Talk, port: int, value: str, nul: bool = True) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, TLS) as s:
        s.setsockopt(TLS, ANCHORS, value.encode() + (b"\0" if nul else b""))
        s.setsockopt(TLS, HOSTNAME, NAME.encode() + b"\0")
        s.connect(("127.0.0.1", port))
        return fetch(s)


def download_with_anchors_in_memory(talk: Talk, port: int, pem: str, form: str) -> str:
    """Anchors in a file without a name, called by its descriptor."""
    held = os.memfd_create("anchors")
    os.write(held, pem.encode())
    return download_with_anchors(talk, port, form.format(held))


def tighten(_talk: Talk, port: int, ca: str, low: int, high: int) -> list[Any]:
    with new(ca) as s:
        s.setsockopt(TLS, VERSION_MIN, low)
        s.setsockopt(TLS, VERSION_MAX, high)
        failed = code(s.connect, ("127.0.0.1", port))
        return [failed, 0 if failed else s.getsockopt(TLS, VERSION)]


def ask_for_version(_talk: Talk, ca: str, low: int) -> list[str]:
    """Set the lowest version; say what came of it."""
    with new(ca) as s:
        return [code(s.setsockopt, TLS, VERSION_MIN, low), string(s, ERROR)]


def hold_version(talk: Talk, port: int, ca: str, high: int) -> list[Any]:
    """Connect with this version at most, tell it, and wait for the end of the connection."""
    with new(ca) as s:
        s.setsockopt(TLS, VERSION_MAX, high)
        s.connect(("127.0.0.1", port))
        talk.tell(s.getsockopt(TLS, VERSION))
        return [hear_end(s), "" if code(s.getsockopt, TLS, ERROR, 1024) else string(s, ERROR)]


def connect_when_told(talk: Talk, port: int, ca: str) -> list[Any]:
    """Open a socket, and connect it later."""
    with new(ca) as s:
        talk.tell()
        talk.wait()
        failed = code(s.connect, ("127.0.0.1", port))
        return [failed, 0 if failed else s.getsockopt(TLS, VERSION)]


def alpn(_talk: Talk, port: int, ca: str, names: str) -> str:
    with new(ca) as s:
        s.setsockopt(TLS, ALPN, names.encode() + b"\0")
        s.connect(("127.0.0.1", port))
        return string(s, ALPN)


def wire_options(talk: Talk, port: int, ca: str) -> dict[str, Any]:
    """Options of other levels, before and after connect; the test looks at the daemon's socket meanwhile."""
    with new(ca) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 77)
        s.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 0x10)
        s.connect(("127.0.0.1", port))
        result = {
            "keepalive": s.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
            "keepidle": s.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
            "tos": s.getsockopt(socket.IPPROTO_IP, socket.IP_TOS),
            "type": s.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE),
            "congestion": s.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).strip(b"\0").decode(),
            "mss": struct.unpack_from("=I", s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256), 16)[0] > 0,
        }
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)
        talk.tell(s.getsockname())
        talk.wait()
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        result["nodelay"] = s.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        return result


# -- not blocking


def poll_around_connect(talk: Talk, port: int, ca: str, how: str) -> dict[str, Any]:
    """A non-blocking connect, watched by poll, select, epoll or edge-triggered epoll."""
    s = new(ca)
    s.setblocking(False)
    edge = select.epoll()
    wanted = select.EPOLLIN | select.EPOLLOUT | (select.EPOLLET if how == "edge" else 0)
    if how == "edge":
        edge.register(s, wanted)
        edge.poll(0)  # what an unconnected socket has to say
    result: dict[str, Any] = {"started": code(s.connect, ("127.0.0.1", port))}
    if how == "epoll":
        edge.register(s, wanted)

    def ready(timeout_s: float) -> bool:
        if how == "select":
            return bool(select.select([s], [s], [], timeout_s)[1])
        if how == "poll":
            poll = select.poll()
            poll.register(s, select.POLLIN | select.POLLOUT)
            return any(events & select.POLLOUT for _, events in poll.poll(timeout_s * 1000))
        return any(events & select.EPOLLOUT for _, events in edge.poll(timeout_s))

    result["early"] = ready(0.05)
    result["second"] = code(s.connect, ("127.0.0.1", port))
    result["write early"] = code(s.send, b"x")
    result["read early"] = code(s.recv, 1)
    result["peer early"] = code(s.getpeername)
    result["so_error early"] = so_error(s)
    talk.tell(result)
    talk.wait()  # now the peer goes on
    result["late"] = ready(60)
    result["so_error"] = so_error(s)
    result["third"] = code(s.connect, ("127.0.0.1", port))
    s.setblocking(True)
    s.sendall(b"after connect")
    result["echo"] = receive_exactly(s, 13).decode()
    edge.close()
    s.close()
    return result


def for_asyncio(s: socket.socket) -> socket.socket:
    """asyncio resolves even addresses by the socket's protocol, and the resolver knows TCP and UDP only."""
    s.setblocking(False)
    return socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, fileno=s.detach())


def with_asyncio(_talk: Talk, port: int, ca: str) -> list[str]:
    """asyncio's own socket calls, ten at once."""

    async def one() -> str:
        loop = asyncio.get_running_loop()
        with for_asyncio(new(ca)) as s:
            await loop.sock_connect(s, ("127.0.0.1", port))
            await loop.sock_sendall(s, b"GET / HTTP/1.1\r\n\r\n")
            data = b""
            while piece := await loop.sock_recv(s, 65_536):
                data += piece
            return hashlib.sha256(data.partition(b"\r\n\r\n")[2]).hexdigest()

    async def all_of_them() -> list[str]:
        return await asyncio.gather(*(one() for _ in range(10)))

    return asyncio.run(all_of_them())


def with_asyncio_streams(_talk: Talk, port: int, ca: str) -> str:
    """asyncio's streams over a secure socket."""

    async def main() -> str:
        s = for_asyncio(new(ca))
        await asyncio.get_running_loop().sock_connect(s, ("127.0.0.1", port))
        reader, writer = await asyncio.open_connection(sock=s)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        data = await reader.read()
        writer.close()
        await writer.wait_closed()
        return hashlib.sha256(data.partition(b"\r\n\r\n")[2]).hexdigest()

    return asyncio.run(main())


def asyncio_failure(_talk: Talk, port: int, ca: str) -> str:
    async def main() -> str:
        with for_asyncio(new(ca, "wrong.example")) as s:
            try:
                await asyncio.get_running_loop().sock_connect(s, ("127.0.0.1", port))
            except OSError as error:
                return ERRNO_NAMES[error.errno or 0]
            return ""

    return asyncio.run(main())


def with_timeout(_talk: Talk, port: int, ca: str) -> str:
    """Python's own time-outs: a non-blocking connect and poll underneath."""
    with new(ca) as s:
        s.settimeout(0.2)
        try:
            s.connect(("127.0.0.1", port))
        except TimeoutError:
            return "timed out"
    return "connected"


# -- data


def upload_and_download(_talk: Talk, port: int, ca: str, size: int) -> list[str]:
    """Both directions at once through an echo server; return the hashes."""
    data = os.urandom(size)
    with connected(port, ca) as s:

        def send() -> None:
            s.sendall(data)
            s.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        back = receive_all(s)
        sender.join()
    return [hashlib.sha256(data).hexdigest(), hashlib.sha256(back).hexdigest()]


def write_and_close(_talk: Talk, port: int, ca: str, size: int, exit_at_once: bool) -> str:
    """Close (or end) right after a large write; the server says what arrived."""
    data = hashlib.shake_128(b"upload").digest(size)
    s = connected(port, ca)
    s.sendall(data)
    if exit_at_once:
        s.detach()  # the kernel closes it
    else:
        s.close()
    return f"{hashlib.sha256(data).hexdigest()} {len(data)}"


def half_close(_talk: Talk, port: int, ca: str, size: int) -> list[str]:
    """Write, shut down, read the answer."""
    data = os.urandom(size)
    with connected(port, ca) as s:
        s.sendall(data)
        s.shutdown(socket.SHUT_WR)
        answer = receive_all(s).decode()
        return [f"{hashlib.sha256(data).hexdigest()} {size}", answer, string(s, CIPHER)[:4], code(s.send, b"x")]


def read_to_the_end(_talk: Talk, port: int, ca: str, first: str = "", half_close: bool = False) -> dict[str, Any]:
    with connected(port, ca) as s:
        if half_close:
            s.shutdown(socket.SHUT_WR)
        if first:
            assert receive_exactly(s, len(first)).decode() == first
            s.sendall(b"x")
        ended = hear_end(s)
        result = {"ended": ended, "so_error": so_error(s), "text": string(s, ERROR)}
        return {**result, "version": s.getsockopt(TLS, VERSION)}


def greeting(_talk: Talk, port: int, ca: str, high: int) -> str:
    """Wait for a server that speaks first."""
    with new(ca) as s:
        s.setsockopt(TLS, VERSION_MAX, high)
        s.connect(("127.0.0.1", port))
        return receive_exactly(s, 11).decode()


def small_words(_talk: Talk, port: int, ca: str, count: int) -> int:
    """Many small questions and answers."""
    with connected(port, ca) as s:
        for number in range(count):
            word = struct.pack("=I", number)
            s.sendall(word)
            assert receive_exactly(s, 4) == word
    return count


# -- processes


def held(talk: Talk, port: int, ca: str) -> str:
    """Connect, tell, wait for the test's word, and say one more thing."""
    with connected(port, ca) as s:
        talk.tell([struct.unpack("=Q", s.getsockopt(TLS, ID, 8))[0], s.getsockname()[1]])
        talk.wait()
        s.sendall(b"x")
        return receive_exactly(s, 1).decode()


def held_until_cut(talk: Talk, port: int) -> list[Any]:
    """Connect under the policy's own anchors; carry a word as often as the test likes, then wait to be cut."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, TLS) as s:
        s.setsockopt(TLS, HOSTNAME, NAME.encode() + b"\0")
        s.connect(("127.0.0.1", port))
        talk.tell()
        while talk.wait() == "carry":
            s.sendall(b"x")
            talk.tell(receive_exactly(s, 1).decode())
        return [hear_end(s), string(s, ERROR)]


def hold_until_end(talk: Talk, port: int, ca: str) -> dict[str, Any]:
    """Connect, tell which worker serves, and wait for the end of the connection."""
    with connected(port, ca) as s:
        talk.tell(struct.unpack("=Q", s.getsockopt(TLS, ID, 8))[0] >> 48)
        return {
            "ended": hear_end(s),
            "send": code(s.send, b"x"),
            "option": code(s.getsockopt, TLS, CIPHER, 100),
            "new": code(open_and_close, talk, 1) if talk.wait() else "",
        }


def connect_to_a_dying_daemon(talk: Talk, port: int, ca: str, blocking: bool) -> dict[str, Any]:
    """Be in the middle of connect when the worker dies."""
    with new(ca) as s:
        s.setblocking(blocking)
        talk.tell(struct.unpack("=Q", s.getsockopt(TLS, ID, 8))[0] >> 48)
        started = code(s.connect, ("127.0.0.1", port))
        if not blocking:
            poll = select.poll()
            poll.register(s, select.POLLOUT)
            ((_, events),) = poll.poll(60_000)
            assert events & select.POLLERR
        return {
            "connect": started,
            "so_error": code(s.getsockopt, socket.SOL_SOCKET, socket.SO_ERROR),
            "read": code(s.recv, 1),
        }


def worker_of_new_socket(_talk: Talk) -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, TLS) as s:
        number: int = struct.unpack("=Q", s.getsockopt(TLS, ID, 8))[0]
    return number >> 48


def connect_and_stop(talk: Talk, port: int, ca: str, stage: str) -> None:
    """Go as far as ``stage`` says, and stay there to be killed."""
    s = socket.socket(socket.AF_INET, socket.SOCK_STREAM, TLS)
    if stage != "opened":
        s.setsockopt(TLS, ANCHORS, ca.encode() + b"\0")
        s.setsockopt(TLS, HOSTNAME, NAME.encode() + b"\0")
        s.setblocking(stage != "connecting in the background")
        if stage == "connecting":
            talk.tell()
        code(s.connect, ("127.0.0.1", port))
        if stage == "writing":
            talk.tell()
            while True:
                s.sendall(bytes(65_536))
    if stage != "connecting":
        talk.tell()
    signal.pause()


def fork_from_parent(_talk: Talk, port: int, ca: str, count: int) -> list[list[Any]]:
    """One parent, ``count`` children at once, a download each."""
    gate_read, gate_write = os.pipe()
    pipes = []
    for _ in range(count):
        read, write = os.pipe()
        if os.fork() == 0:
            os.close(gate_write)
            os.read(gate_read, 1)  # until all are there
            try:
                with new(ca) as s:
                    s.connect(("127.0.0.1", port))
                    number = struct.unpack("=Q", s.getsockopt(TLS, ID, 8))[0]
                    word = f"{fetch(s)} {number >> 48}"
            except BaseException as error:
                word = f"{error!r} -1"
            os.write(write, word.encode())
            os._exit(0)
        os.close(write)
        pipes.append(read)
    os.close(gate_write)
    results = []
    for read in pipes:
        with os.fdopen(read) as pipe:
            digest, _, worker = pipe.read().rpartition(" ")
        results.append([digest, int(worker)])
        os.wait()
    return results


def dup_and_fork(_talk: Talk, port: int, ca: str) -> list[str]:
    """The descriptor under other numbers, in other processes."""
    s = new(ca)
    copy = s.dup()
    s.close()  # before connect: the copy is the socket now
    copy.connect(("127.0.0.1", port))
    words = [copy.getpeername()[0], string(copy, CIPHER)[:4]]
    read, write = os.pipe()
    if os.fork() == 0:
        other = socket.socket(fileno=os.dup2(copy.fileno(), 200))
        copy.close()
        other.sendall(b"child")
        os.write(write, receive_exactly(other, 5) + b" " + string(other, CIPHER)[:4].encode())
        os._exit(0)
    os.wait()
    words.append(os.read(read, 100).decode())
    copy.sendall(b"parent")
    words.append(receive_exactly(copy, 6).decode())
    os.close(read)
    os.close(write)
    copy.close()
    return words


def fork_before_connect(_talk: Talk, port: int, ca: str) -> str:
    """The parent makes the socket and goes; a grandchild that never made a call connects, much later."""
    read, write = os.pipe()
    if os.fork() == 0:
        s, parent = new(ca), os.getpid()
        if os.fork() == 0:
            while os.getppid() == parent:  # until it has gone
                select.select([], [], [], 0.01)
            select.select([], [], [], 0.5)  # and whoever looks for orphans has looked
            os.write(write, (code(s.connect, ("127.0.0.1", port)) or fetch(s)).encode())
            os._exit(0)
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        result = pipe.read()
    os.wait()
    return result


def exec_with_descriptor(_talk: Talk, port: int, ca: str) -> str:
    """A connected descriptor across exec, for a program that knows nothing of it."""
    with connected(port, ca) as s:
        source = (
            "import socket, sys; s = socket.socket(fileno=int(sys.argv[1])); s.sendall(b'exec');"
            "print(s.recv(4).decode(), s.getsockopt(205, 113), s.getpeername()[0], s.family.name, s.proto)"
        )
        command = [sys.executable, "-c", source, str(s.fileno())]
        ran = subprocess.run(command, pass_fds=[s.fileno()], capture_output=True, text=True, check=True)
    return ran.stdout.strip()


def pass_descriptor(_talk: Talk, port: int, ca: str) -> str:
    """A connected descriptor to another process, by SCM_RIGHTS."""
    left, right = socket.socketpair()
    if os.fork() == 0:
        right.close()
        data, ancillary, _, _ = left.recvmsg(1, 64)
        assert data == b"+"
        found = array.array("i")
        found.frombytes(ancillary[0][2][:4])
        other = socket.socket(fileno=found[0])
        other.sendall(b"passed")
        left.sendall(receive_exactly(other, 6) + string(other, CIPHER)[:4].encode())
        os._exit(0)
    left.close()
    with connected(port, ca) as s:
        socket.send_fds(right, [b"+"], [s.fileno()])
    with right:
        word = receive_exactly(right, 10).decode()
    os.wait()
    return word


def open_and_close(_talk: Talk, count: int) -> int:
    for _ in range(count):
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, TLS).close()
    return count


def many_open(_talk: Talk, port: int, ca: str, count: int) -> int:
    """Many sockets open at once in one process, each of them alive."""
    sockets = [new(ca) for _ in range(count)]
    for s in sockets:
        s.connect(("127.0.0.1", port))
    for s in sockets:
        s.sendall(b"x")
    alive = sum(s.recv(1) == b"x" for s in sockets)
    for s in sockets:
        s.close()
    return alive


def hold_many(talk: Talk, port: int, ca: str, count: int) -> int:
    """Many connections at once; how many of them the daemon's end resets."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(connected(port, ca)) for _ in range(count)]
        talk.tell()
        return sum(hear_end(s) == ["", "ECONNRESET"] for s in sockets)


def under_a_timer(_talk: Talk, port: int, ca: str, restart: bool, count: int) -> list[Any]:
    """Connect and talk while a signal comes every millisecond.

    Without SA_RESTART only connect is tried: Python itself goes on after EINTR there, and not after setsockopt, which
    is interruptible under a boundary.
    """
    ticks = 0

    def tick(_number: int, _frame: object) -> None:
        nonlocal ticks
        ticks += 1

    signal.signal(signal.SIGALRM, tick)
    signal.siginterrupt(signal.SIGALRM, not restart)
    digests = set()
    if restart:
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    for _ in range(count):
        with new(ca) as s:
            signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
            while code(s.connect, ("127.0.0.1", port)) == "ENOTCONN":
                assert not restart  # broken off before it began, and Python does not begin again
            digests.add(fetch(s))
            if not restart:
                signal.setitimer(signal.ITIMER_REAL, 0)
    signal.setitimer(signal.ITIMER_REAL, 0)
    return [sorted(digests), ticks > 0]


def interrupted(talk: Talk, port: int, ca: str) -> str:
    """A blocking connect that the user breaks off."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with new(ca) as s:
        talk.tell()
        try:
            s.connect(("127.0.0.1", port))
        except KeyboardInterrupt:
            return "interrupted"
    return "connected"


def threads(_talk: Talk, port: int, ca: str, count: int) -> list[str]:
    """Threads of one process, a download each."""
    digests: list[str] = []

    def one() -> None:
        with new(ca) as s:
            s.connect(("127.0.0.1", port))
            digests.append(fetch(s))

    running = [threading.Thread(target=one) for _ in range(count)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return digests


def worker_of_new_socket_if_any(talk: Talk) -> int | str:
    try:
        return worker_of_new_socket(talk)
    except OSError as error:
        return ERRNO_NAMES[error.errno or 0]
