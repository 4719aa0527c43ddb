"""sockaddr both ways, with the kernel's own as the measure."""

from __future__ import annotations

import ctypes
import errno
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssa_impl.abi import AF_HOSTNAME, MAX_HOSTNAME_BYTES, Kind
from ssa_impl.errors import ApplicationError
from ssa_impl.sockets.addresses import build_sockaddr, parse_sockaddr, parse_sockaddr_host
from ssa_impl.sockets.values import parse
from tests.ssa_impl.outcomes import outcome

FAMILIES = st.sampled_from([socket.AF_INET, socket.AF_INET6])
PORTS = st.integers(0, 65535)


def kernel_sockaddr(bound: socket.socket) -> bytes:
    buffer = ctypes.create_string_buffer(128)
    length = ctypes.c_uint32(len(buffer))
    assert ctypes.CDLL(None).getsockname(bound.fileno(), buffer, ctypes.byref(length)) == 0
    return buffer.raw[: length.value]


@pytest.mark.parametrize(
    ("family", "host"),
    [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"), (socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")],
)
def test_agrees_with_the_kernel(family: int, host: str) -> None:
    with socket.socket(family, socket.SOCK_STREAM) as bound:
        bound.bind((host, 0))
        raw, address = kernel_sockaddr(bound), bound.getsockname()
    assert parse_sockaddr(family, raw) == address
    assert build_sockaddr(family, address) == raw


@given(st.ip_addresses(v=4), PORTS)
def test_round_trip_ipv4(ip: object, port: int) -> None:
    raw = build_sockaddr(socket.AF_INET, (str(ip), port))
    assert len(raw) == 16
    assert parse_sockaddr(socket.AF_INET, raw) == (str(ip), port)


@given(st.ip_addresses(v=6), PORTS, st.integers(0, 2**20 - 1), st.integers(0, 2**32 - 1))
def test_round_trip_ipv6(ip: object, port: int, flow: int, scope: int) -> None:
    host = socket.inet_ntop(socket.AF_INET6, socket.inet_pton(socket.AF_INET6, str(ip)))
    raw = build_sockaddr(socket.AF_INET6, (host, port, flow, scope))
    assert len(raw) == 28
    assert parse_sockaddr(socket.AF_INET6, raw) == (host, port, flow, scope)


def test_scope_is_a_number_however_the_name_is_written() -> None:
    assert build_sockaddr(socket.AF_INET6, ("fe80::1%eth0", 1, 0, 3)) == build_sockaddr(
        socket.AF_INET6, ("fe80::1", 1, 0, 3)
    )


@given(FAMILIES, st.binary(max_size=40))
def test_any_bytes_are_an_address_or_a_kernel_errno(family: int, data: bytes) -> None:
    _, error = outcome(parse_sockaddr, family, data)
    assert error is None or error.errno in {errno.EINVAL, errno.EAFNOSUPPORT}


@given(FAMILIES, st.data())
def test_short_is_einval(family: int, data: st.DataObject) -> None:
    whole = build_sockaddr(family, ("1.2.3.4", 5) if family == socket.AF_INET else ("::1", 5, 0, 0))
    needed = 16 if family == socket.AF_INET else 24  # SIN6_LEN_RFC2133: without the scope
    with pytest.raises(ApplicationError) as caught:
        parse_sockaddr(family, whole[: data.draw(st.integers(0, needed - 1))])
    assert caught.value.errno == errno.EINVAL


def test_an_ipv6_address_without_its_scope_is_taken_as_the_kernel_takes_it() -> None:
    assert parse_sockaddr(socket.AF_INET6, build_sockaddr(socket.AF_INET6, ("::1", 5, 0, 3))[:24]) == ("::1", 5, 0, 0)


def test_what_follows_the_address_is_ignored_as_the_kernel_does() -> None:
    raw = build_sockaddr(socket.AF_INET, ("1.2.3.4", 5)) + bytes(112)
    assert parse_sockaddr(socket.AF_INET, raw) == ("1.2.3.4", 5)


@pytest.mark.parametrize("other", [socket.AF_UNSPEC, socket.AF_UNIX, socket.AF_INET6])
def test_another_family_is_eafnosupport(other: int) -> None:
    with pytest.raises(ApplicationError) as caught:
        parse_sockaddr(socket.AF_INET, int(other).to_bytes(2, "little") + bytes(26))
    assert caught.value.errno == errno.EAFNOSUPPORT


# -- struct sockaddr_host


class SockaddrHost(ctypes.Structure):
    """As in_tls.h has it."""

    _fields_ = (("family", ctypes.c_uint16), ("port", ctypes.c_uint16), ("name", ctypes.c_char * 255))


def host(name: bytes, port: int, family: int = AF_HOSTNAME) -> bytes:
    return bytes(SockaddrHost(family, socket.htons(port), name))


NAMES = st.binary(min_size=1, max_size=MAX_HOSTNAME_BYTES - 1).filter(lambda name: b"\0" not in name)


@given(NAMES, PORTS)
def test_a_name_and_its_port(name: bytes, port: int) -> None:
    assert parse_sockaddr_host(host(name, port)) == (name + b"\0", port)


def test_the_name_is_a_hostnames_value() -> None:
    named = parse_sockaddr_host(host(b"server.ssa.test", 443))
    assert named is not None
    assert parse(Kind.HOSTNAME, named[0]) == "server.ssa.test"


@pytest.mark.parametrize("family", [socket.AF_UNSPEC, socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, 43])
def test_an_address_of_another_family_is_no_name(family: int) -> None:
    assert parse_sockaddr_host(host(b"server.ssa.test", 443, family)) is None


@given(st.integers(2, ctypes.sizeof(SockaddrHost)))
def test_a_short_name_is_einval(size: int) -> None:
    whole = host(b"server.ssa.test", 443)
    if size < 2 + 2 + 255:
        with pytest.raises(ApplicationError) as caught:
            parse_sockaddr_host(whole[:size])
        assert caught.value.errno == errno.EINVAL
    else:
        assert parse_sockaddr_host(whole[:size]) == (b"server.ssa.test\0", 443)


@pytest.mark.parametrize("name", [b"", b"a" * 255], ids=["empty", "no NUL"])
def test_no_name_is_einval(name: bytes) -> None:
    with pytest.raises(ApplicationError) as caught:
        parse_sockaddr_host(host(name, 443))
    assert caught.value.errno == errno.EINVAL


@given(st.binary(max_size=300) | st.binary(max_size=300).map(lambda rest: struct.pack("=H", AF_HOSTNAME) + rest))
def test_any_bytes_are_a_name_another_address_or_einval(data: bytes) -> None:
    _, error = outcome(parse_sockaddr_host, data)
    assert error is None or error.errno == errno.EINVAL
