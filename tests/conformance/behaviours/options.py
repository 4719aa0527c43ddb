"""setsockopt() and getsockopt(): values, phases, rooms, and everything that is refused."""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.conformance import calls
from tests.conformance.behaviour import ONCE, behaviour
from tests.conformance.world import (
    ALPN,
    ANCHORS,
    CACHED,
    CHAIN,
    CIPHER,
    CONTEXT,
    CRL,
    DISABLE_CIPHER,
    ENABLE_CIPHER,
    ERROR,
    GROUP,
    HOSTNAME,
    ID,
    IDENTITY,
    KEY,
    NAME,
    OCSP,
    PATIENCE_MS,
    PEER_CHAIN,
    REMOTE_HOSTNAME,
    REQUEST_PEER_AUTH,
    RESUMED,
    REVOCATION,
    SESSION_REUSE,
    SESSION_TTL,
    STAPLED,
    STAPLING,
    TLS,
    TRUSTED_CIPHERS,
    VERSION,
    VERSION_MAX,
    VERSION_MIN,
    World,
    in_child,
    outcome,
    path,
    polled,
    string,
    talk,
    text,
)

OPTIONS = "1 numbers, 3 errors"
SET_ONLY = {
    "TLS_TRUSTED_PEER_CERTIFICATES": ANCHORS,
    "TLS_CERTIFICATE_CHAIN": CHAIN,
    "TLS_PRIVATE_KEY": KEY,
    "TLS_DISABLE_CIPHER": DISABLE_CIPHER,
    "TLS_ENABLE_CIPHER": ENABLE_CIPHER,
    "TLS_REQUEST_PEER_AUTH": REQUEST_PEER_AUTH,
}
GET_ONLY = {
    "TLS_PEER_IDENTITY": IDENTITY,
    "TLS_PEER_CERTIFICATE_CHAIN": PEER_CHAIN,
    "TLS_ID": ID,
    "TLS_TRUSTED_CIPHERS": TRUSTED_CIPHERS,
    "TLS_CHOSEN_CIPHER": CIPHER,
    "TLS_ERROR": ERROR,
    "TLS_RESUMED_SESSION": RESUMED,
    "TLS_VERSION_CONN": VERSION,
    "TLS_CHOSEN_GROUP": GROUP,
}
AFTER = {name: GET_ONLY[name] for name in GET_ONLY if name not in {"TLS_ID", "TLS_TRUSTED_CIPHERS", "TLS_ERROR"}}
FLAGS = {
    "TLS_REQUEST_PEER_AUTH": REQUEST_PEER_AUTH,
    "TLS_SESSION_REUSE": SESSION_REUSE,
    "TLS_REVOCATION_CHECKS": REVOCATION,
    "TLS_OCSP_STAPLED_CHECKS": STAPLED,
    "TLS_OCSP_CHECKS": OCSP,
    "TLS_CRL_CHECKS": CRL,
    "TLS_CACHED_REV_CHECKS": CACHED,
    "TLS_SERVER_OCSP_STAPLING": STAPLING,
}
READABLE = [name for name in FLAGS if name not in SET_ONLY]


@behaviour(
    "options.unknown",
    "A number that is no option is ENOPROTOOPT, for set and get.",
    OPTIONS,
    versions=ONCE,
)
def unknown(world: World) -> Iterator[tuple[Any, ...]]:
    with world.bare() as s:
        for number in (0, 1, 84, 99, 101, 114, 124, -1, 2**31 - 1):
            yield f"set {number}", outcome(s.setsockopt, TLS, number, 1), "ENOPROTOOPT"
            yield f"get {number}", outcome(s.getsockopt, TLS, number, 16), "ENOPROTOOPT"


@behaviour(
    "options.elsewhere",
    "Sockets of other kinds have no TLS options: ENOPROTOOPT to set, EOPNOTSUPP to get, as the kernel says.",
    OPTIONS,
    plain=True,
    versions=ONCE,
)
def elsewhere(world: World) -> Iterator[tuple[Any, ...]]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        yield "set", outcome(s.setsockopt, TLS, SESSION_TTL, struct.pack("=q", 1)), "ENOPROTOOPT"
        yield "get", outcome(s.getsockopt, TLS, ID, 8), "EOPNOTSUPP"
        yield "a pipe's end", outcome(calls.with_bad_pointer, "getsockname", sys.stderr, -8, -8), "ENOTSOCK"


@behaviour(
    "socket.tcp-beside",
    "TCP sockets beside secure ones work as ever, with their own names and options.",
    "2 socket",
    plain=True,
    versions=ONCE,
)
def tcp_beside(world: World) -> Iterator[tuple[Any, ...]]:
    with (
        world.bare(),
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as s,
    ):
        accepted, address = listener.accept()
        with accepted:
            s.sendall(b"plain")
            yield "data", accepted.recv(5, socket.MSG_WAITALL).decode(), "plain"
            names = s.getsockname(), s.getpeername()
            yield "names", names == (address, listener.getsockname()), True
            yield "protocol", s.getsockopt(socket.SOL_SOCKET, socket.SO_PROTOCOL), socket.IPPROTO_TCP
            yield "TCP_NODELAY", s.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY), 0
            yield "unknown TCP option", outcome(s.getsockopt, socket.IPPROTO_TCP, 200), "ENOPROTOOPT"


@behaviour(
    "options.set-only",
    "What is only set cannot be read: ENOPROTOOPT.",
    OPTIONS,
    versions=ONCE,
)
def set_only(world: World) -> Iterator[tuple[Any, ...]]:
    with world.bare() as s:
        for name, number in SET_ONLY.items():
            yield name, outcome(calls.get, s, TLS, number), "ENOPROTOOPT"


@behaviour(
    "options.get-only",
    "What the handshake tells cannot be set: ENOPROTOOPT.",
    OPTIONS,
    versions=ONCE,
)
def get_only(world: World) -> Iterator[tuple[Any, ...]]:
    with world.bare() as s:
        for name, number in GET_ONLY.items():
            yield name, outcome(s.setsockopt, TLS, number, b"x\0"), "ENOPROTOOPT"


@behaviour(
    "options.too-early",
    "What only the handshake tells is ENOTCONN before it.",
    "3 information not there yet",
    versions=ONCE,
)
def too_early(world: World) -> Iterator[tuple[Any, ...]]:
    with world.bare() as s:
        for name, number in AFTER.items():
            yield name, outcome(calls.get, s, TLS, number), "ENOTCONN"


@behaviour(
    "options.too-late",
    "Once connected nothing can be set any more: EOPNOTSUPP, and the connection goes on.",
    "3 option in the wrong phase",
    peer="echoes",
)
def too_late(world: World) -> Iterator[tuple[Any, ...]]:
    with world.connected() as s:
        for name, number, value in settings(world):
            yield name, outcome(s.setsockopt, TLS, number, value), "EOPNOTSUPP"
        yield "echo", talk(s), "hello"


def settings(world: World) -> list[tuple[str, int, Any]]:
    """Return a good value for every option that can be set."""
    values: list[tuple[str, int, Any]] = [
        ("TLS_REMOTE_HOSTNAME", REMOTE_HOSTNAME, text(NAME)),
        ("TLS_HOSTNAME", HOSTNAME, text(NAME)),
        ("TLS_ALPN", ALPN, text("h2")),
        ("TLS_SESSION_TTL", SESSION_TTL, struct.pack("=q", 10)),
        ("TLS_VERSION_MIN", VERSION_MIN, 0x0303),
        ("TLS_VERSION_MAX", VERSION_MAX, 0x0304),
        ("TLS_CONTEXT", CONTEXT, struct.pack("=Q", 1)),
        ("TLS_TRUSTED_PEER_CERTIFICATES", ANCHORS, path(world.file("ca.pem"))),
        ("TLS_CERTIFICATE_CHAIN", CHAIN, path(world.file("server.chain.pem"))),
        ("TLS_PRIVATE_KEY", KEY, path(world.file("server.key.pem"))),
        ("TLS_DISABLE_CIPHER", DISABLE_CIPHER, text("TLS_CHACHA20_POLY1305_SHA256")),
        ("TLS_ENABLE_CIPHER", ENABLE_CIPHER, text("TLS_CHACHA20_POLY1305_SHA256")),
    ]
    return values + [(name, number, 0) for name, number in FLAGS.items()]


@behaviour(
    "options.late-on-a-listener",
    "On a listening socket nothing can be set any more either.",
    "3 option in the wrong phase",
    versions=ONCE,
)
def late_on_a_listener(world: World) -> Iterator[tuple[Any, ...]]:
    with world.listener() as s:
        for name, number, value in settings(world):
            yield name, outcome(s.setsockopt, TLS, number, value), "EOPNOTSUPP"


@behaviour(
    "options.after-a-failure",
    "After an unrecoverable failure options are EBADFD, and TLS_ERROR can still be read.",
    "3 option in the wrong phase",
)
def after_a_failure(world: World) -> Iterator[tuple[Any, ...]]:
    with world.client() as s:
        s.setblocking(False)
        outcome(s.connect, world.nowhere)
        polled(s, wait_ms=PATIENCE_MS)
        yield "set", outcome(s.setsockopt, TLS, REMOTE_HOSTNAME, text(NAME)), "EBADFD"
        yield "TLS_ERROR", string(s, ERROR) != "", True


@behaviour(
    "options.malformed",
    "A value of the wrong length, range or form is EINVAL, and leaves what was set before.",
    "3 malformed value",
    versions=ONCE,
)
def malformed(world: World) -> Iterator[tuple[Any, ...]]:
    with world.bare() as s:
        s.setsockopt(TLS, REMOTE_HOSTNAME, text("before.example"))
        for what, value in {
            "no NUL": b"a.example",
            "empty": b"",
            "only NUL": b"\0",
            "256 bytes": b"a" * 255 + b"\0",
            "label of 64": b"a" * 64 + b".example\0",
            "space": b"a b\0",
            "NUL inside": b"a\0b\0",
            "not UTF-8": b"\xff\xfe\0",
            "slash": b"a/b\0",
        }.items():
            yield f"hostname, {what}", outcome(s.setsockopt, TLS, REMOTE_HOSTNAME, value), "EINVAL"
        yield "hostname is the one before", string(s, REMOTE_HOSTNAME), "before.example"
        for what, value in {"empty name": b"h2,,h3\0", "name of 256": b"a" * 256 + b"\0", "no NUL": b"h2"}.items():
            yield f"ALPN, {what}", outcome(s.setsockopt, TLS, ALPN, value), "EINVAL"
        for name, number in FLAGS.items():
            for what, number_value in {"2": 2, "-1": -1, "3 bytes": b"\0\0\0", "no bytes": b""}.items():
                yield f"{name}, {what}", outcome(s.setsockopt, TLS, number, number_value), "EINVAL"
        for version in (0x0300, 0x0301, 0x0302, 0x0305, 0):
            yield f"version {version:#06x}", outcome(s.setsockopt, TLS, VERSION_MIN, version), "EINVAL"
        for what, ttl in {"an int": 1, "negative": struct.pack("=q", -1), "9 bytes": bytes(9)}.items():
            yield f"TTL, {what}", outcome(s.setsockopt, TLS, SESSION_TTL, ttl), "EINVAL"
        for what, cipher in {
            "unknown": text("NO-SUCH-CIPHER"),
            "empty": b"\0",
            "a list": text("AES128-SHA:AES256-SHA"),
        }.items():
            yield f"cipher, {what}", outcome(s.setsockopt, TLS, DISABLE_CIPHER, cipher), "EINVAL"
        for what, context in {"nobody's": struct.pack("=Q", 2**63 + 5), "an int": 1}.items():
            yield f"context, {what}", outcome(s.setsockopt, TLS, CONTEXT, context), "EINVAL"
        yield "huge", outcome(s.setsockopt, TLS, ANCHORS, b"-----BEGIN " + bytes(300_000)), "EINVAL"
        yield "garbage", outcome(s.setsockopt, TLS, ANCHORS, world.content("garbage.pem")), "EINVAL"


@behaviour(
    "options.kept",
    "What was set can be read back, and what was not set reads as the policy's default.",
    OPTIONS,
    versions=ONCE,
)
def kept(world: World) -> Iterator[tuple[Any, ...]]:
    with world.bare() as s:
        yield "default versions", [s.getsockopt(TLS, VERSION_MIN), s.getsockopt(TLS, VERSION_MAX)], [0x0303, 0x0304]
        yield "default flags", [s.getsockopt(TLS, FLAGS[name]) for name in READABLE], [0] * len(READABLE)
        yield "default hostname", outcome(s.getsockopt, TLS, REMOTE_HOSTNAME, 256), "ENOTCONN"
        s.setsockopt(TLS, REMOTE_HOSTNAME, text("a.example"))
        s.setsockopt(TLS, REMOTE_HOSTNAME, text("b.example"))
        s.setsockopt(TLS, ALPN, text("h2,http/1.1"))
        s.setsockopt(TLS, SESSION_TTL, struct.pack("=q", 17))
        s.setsockopt(TLS, VERSION_MIN, 0x0304)
        s.setsockopt(TLS, SESSION_REUSE, 1)
        yield "hostname, the last one", string(s, REMOTE_HOSTNAME), "b.example"
        yield "ALPN", string(s, ALPN), "h2,http/1.1"
        yield "TTL", struct.unpack("=q", s.getsockopt(TLS, SESSION_TTL, 8))[0], 17
        yield "lowest version", s.getsockopt(TLS, VERSION_MIN), 0x0304
        yield "reuse", s.getsockopt(TLS, SESSION_REUSE), 1


@behaviour(
    "options.room",
    "A room that is too small is ERANGE and tells the length that is needed: no value is ever cut.",
    OPTIONS,
    peer="echoes",
)
def rooms(world: World) -> Iterator[tuple[Any, ...]]:
    with world.connected() as s:
        for name, number in {"identity": IDENTITY, "cipher": CIPHER, "chain": PEER_CHAIN, "id": ID}.items():
            word, value, needed = calls.getsockopt(s, TLS, number, 0)
            yield f"{name}, no room", [word, value.hex()], ["ERANGE", ""]
            word, value, told = calls.getsockopt(s, TLS, number, needed - 1)
            yield f"{name}, one too few", [word, value.strip(b"\0").hex(), told == needed], ["ERANGE", "", True]
            word, value, told = calls.getsockopt(s, TLS, number, needed)
            yield f"{name}, exactly", [word, len(value) == told == needed], ["ok", True]
        yield "negative room", calls.getsockopt(s, TLS, CIPHER, -1)[0], "EINVAL"


@behaviour(
    "options.pointers",
    "Pointers to nowhere are EFAULT, and the socket goes on to work.",
    OPTIONS,
    peer="echoes",
)
def pointers(world: World) -> Iterator[tuple[Any, ...]]:
    with world.client() as s:
        yield "setsockopt", outcome(calls.with_bad_pointer, "setsockopt", s, TLS, ALPN, -8, 10), "EFAULT"
        yield "a path", outcome(calls.with_bad_pointer, "setsockopt", s, TLS, ANCHORS, -8, 10), "EFAULT"
        yield "getsockopt", outcome(calls.with_bad_pointer, "getsockopt", s, TLS, ID, -8, -8), "EFAULT"
        s.connect(world.peer)
        yield "echo", talk(s), "hello"


@behaviour(
    "options.id",
    "TLS_ID is the socket's own, the same through every copy of the descriptor, and TLS_CONTEXT is readable.",
    "1 TLS_ID",
    versions=ONCE,
)
def identity(world: World) -> Iterator[tuple[Any, ...]]:
    def number(s: socket.socket) -> int:
        value: int = struct.unpack("=Q", s.getsockopt(TLS, ID, 8))[0]
        return value

    with world.bare() as first, world.bare() as second, first.dup() as copy:
        yield "own", number(first) != number(second), True
        yield "through a copy", number(first) == number(copy), True
        yield "in a child", in_child(lambda: number(first)) == str(number(first)), True
        yield "context", len(first.getsockopt(TLS, CONTEXT, 8)), 8


@behaviour(
    "options.error-text",
    "TLS_ERROR is empty until something fails, and then a sentence about the last failure.",
    "1 TLS_ERROR",
    versions=ONCE,
)
def error_text(world: World) -> Iterator[tuple[Any, ...]]:
    with world.client() as s:
        yield "before", string(s, ERROR), ""
        outcome(s.setsockopt, TLS, ANCHORS, path("/no/such/file"))
        yield "a file", "/no/such/file" in string(s, ERROR), True
        outcome(s.connect, world.nowhere)
        yield "connect", "refused" in string(s, ERROR).lower(), True


@behaviour(
    "options.one-socket-only",
    "What one socket sets changes no other socket, not even in the same process.",
    "5 one application's options changing another's",
    peer="echoes",
)
def one_socket_only(world: World) -> Iterator[tuple[Any, ...]]:
    with world.client() as s, world.bare() as other:
        before = string(s, TRUSTED_CIPHERS)
        for cipher in before.split(":")[1:]:
            other.setsockopt(TLS, DISABLE_CIPHER, text(cipher))
        other.setsockopt(TLS, VERSION_MIN, 0x0304)
        other.setsockopt(TLS, VERSION_MAX, 0x0304)
        other.setsockopt(TLS, REMOTE_HOSTNAME, text("other.example"))
        yield "ciphers of the other", ":" in string(other, TRUSTED_CIPHERS), False
        yield "own ciphers", string(s, TRUSTED_CIPHERS) == before, True
        yield "own versions", s.getsockopt(TLS, VERSION_MIN), 0x0303
        yield "own name", string(s, REMOTE_HOSTNAME), NAME
        s.connect(world.peer)
        yield "echo", talk(s), "hello"


@behaviour(
    "options.policy",
    "A wish that is weaker than the policy, or that it cannot grant, is EPROTO: it must not seem to be granted.",
    "3 request weaker than the policy",
    versions=ONCE,
)
def policy(world: World) -> Iterator[tuple[Any, ...]]:
    with world.bare() as s:
        yield "TTL beyond the policy's", outcome(s.setsockopt, TLS, SESSION_TTL, struct.pack("=q", 10**9)), "EPROTO"
        yield "a cipher beyond the policy's", outcome(s.setsockopt, TLS, ENABLE_CIPHER, text("NULL-SHA256")), "EPROTO"
        for name in ("TLS_REVOCATION_CHECKS", "TLS_OCSP_CHECKS", "TLS_CRL_CHECKS"):
            yield f"{name} without a source", outcome(s.setsockopt, TLS, FLAGS[name], 1), "EPROTO"
            yield f"{name} is still off", s.getsockopt(TLS, FLAGS[name]), 0
        yield "TLS_ERROR says so", "policy" in string(s, ERROR), True


def anchored(world: World, form: str) -> Iterator[tuple[Any, ...]]:
    with world.bare() as s:
        s.setsockopt(TLS, REMOTE_HOSTNAME, text(NAME))
        value = {
            "file": path(world.file("ca.pem")),
            "directory": path(world.file("anchors")),
            "bytes": world.content("ca.pem"),
            "bytes with NUL": world.content("ca.pem") + b"\0",
            "several": world.content("stranger.ca.pem") + world.content("ca.pem"),
        }[form]
        yield "set", outcome(s.setsockopt, TLS, ANCHORS, value), "ok"
        yield "connect", outcome(s.connect, world.peer), "ok"
        yield "echo", talk(s), "hello"


for _form in ("file", "directory", "bytes", "bytes with NUL", "several"):
    behaviour(
        f"anchors.{_form.replace(' ', '-')}",
        f"TLS_TRUSTED_PEER_CERTIFICATES takes anchors in the form: {_form}.",
        "1 TLS_TRUSTED_PEER_CERTIFICATES",
        peer="echoes",
        arguments={"form": _form},
    )(anchored)


@behaviour(
    "anchors.relative",
    "A relative path means the program's own working directory, and /proc/self/fd its own descriptors.",
    "1 TLS_TRUSTED_PEER_CERTIFICATES",
    versions=ONCE,
)
def relative(world: World) -> Iterator[tuple[Any, ...]]:
    import os

    with world.bare() as s, Path(world.file("ca.pem")).open("rb") as file:
        os.chdir(world.file("anchors"))
        yield "relative", outcome(s.setsockopt, TLS, ANCHORS, path("one.pem")), "ok"
        yield "up", outcome(s.setsockopt, TLS, ANCHORS, path("../ca.pem")), "ok"
        yield "own descriptor", outcome(s.setsockopt, TLS, ANCHORS, path(f"/proc/self/fd/{file.fileno()}")), "ok"
        yield "missing", outcome(s.setsockopt, TLS, ANCHORS, path("two.pem")), "ENOENT"
        yield "no certificate", outcome(s.setsockopt, TLS, ANCHORS, path("note.txt")), "EINVAL"
