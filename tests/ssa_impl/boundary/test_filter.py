"""The filter, executed: its BPF against the rule in plain words."""

from __future__ import annotations

import errno
import platform
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssa_impl.boundary.seccomp import filter as f
from tests.ssa_impl.boundary import bpf

TLS = 205
SOL_SOCKET, TCP, IP, IPV6 = 1, 6, 0, 41
OF_THE_WIRE = {
    socket.SO_ERROR,
    socket.SO_KEEPALIVE,
    socket.SO_REUSEADDR,
    socket.SO_REUSEPORT,
    socket.SO_PRIORITY,
    socket.SO_DOMAIN,
    socket.SO_PROTOCOL,
}
WORD = st.integers(0, 2**32 - 1)
ARCHES = st.sampled_from(sorted(f.ARCHITECTURES))


def numbers(arch: f.Architecture) -> dict[int, str]:
    names = (
        *("socket", "connect", "bind", "listen", "accept", "accept4"),
        *("getsockname", "getpeername", "setsockopt", "getsockopt"),
    )
    return {getattr(arch, name): name for name in names}


def must_notify(arch: f.Architecture, audit: int, number: int, arguments: tuple[int, ...]) -> bool:
    """The rule, in plain words; the kernel takes these arguments as int, so the high halves mean nothing."""
    if audit != arch.audit:
        return False
    first, second, third = (argument & 0xFFFFFFFF for argument in arguments[:3])
    match numbers(arch).get(number):
        case "socket":
            return first in {socket.AF_INET, socket.AF_INET6} and second & 0xF == socket.SOCK_STREAM and third == TLS
        case "setsockopt" | "getsockopt":
            return second in {TLS, TCP, IP, IPV6} or (second == SOL_SOCKET and third in OF_THE_WIRE)
        case None:
            return False
    return True


@st.composite
def calls(draw: st.DrawFn) -> tuple[f.Architecture, int, int, tuple[int, ...]]:
    """Calls near the rule's borders, and calls from anywhere."""
    arch = f.ARCHITECTURES[draw(ARCHES)]
    audit = draw(st.just(arch.audit) | st.sampled_from([a.audit for a in f.ARCHITECTURES.values()]) | WORD)
    number = draw(st.sampled_from(sorted(numbers(arch))) | st.integers(0, 2**31 - 1))
    near = (
        st.sampled_from([0, 1, 2, 3, 4, 6, 9, 10, 12, 15, 38, 39, 41, TLS, TLS - 1, 1 | socket.SOCK_NONBLOCK, 1 << 31])
        | WORD
    )
    high = st.sampled_from([0, 1 << 32, 0xFFFFFFFF << 32])
    arguments = [draw(near) | draw(high) for _ in range(6)]
    return arch, audit, number, tuple(arguments)


@given(calls())
def test_filter_is_the_rule(call: tuple[f.Architecture, int, int, tuple[int, ...]]) -> None:
    arch, audit, number, arguments = call
    answer = bpf.run(f.build(arch), bpf.seccomp_data(number, audit, arguments))
    expected = f.RET_USER_NOTIF if must_notify(arch, audit, number, arguments) else f.RET_ALLOW
    assert answer == expected


@pytest.mark.parametrize("machine", sorted(f.ARCHITECTURES))
@pytest.mark.parametrize(
    "extra", [0, socket.SOCK_NONBLOCK, socket.SOCK_CLOEXEC, socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC]
)
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_secure_sockets_are_notified_whatever_their_flags(machine: str, extra: int, family: int) -> None:
    arch = f.ARCHITECTURES[machine]
    data = bpf.seccomp_data(arch.socket, arch.audit, (family, socket.SOCK_STREAM | extra, TLS, 0, 0, 0))
    assert bpf.run(f.build(arch), data) == f.RET_USER_NOTIF


@pytest.mark.parametrize("machine", sorted(f.ARCHITECTURES))
def test_plain_sockets_are_not(machine: str) -> None:
    arch = f.ARCHITECTURES[machine]
    for arguments in ((2, 1, 0), (2, 1, 6), (2, 2, TLS), (1, 1, 0), (17, 3, TLS), (2, 3, TLS)):
        data = bpf.seccomp_data(arch.socket, arch.audit, (*arguments, 0, 0, 0))
        assert bpf.run(f.build(arch), data) == f.RET_ALLOW


@pytest.mark.parametrize("machine", sorted(f.ARCHITECTURES))
@pytest.mark.parametrize("call", ["connect", "bind", "listen", "accept", "accept4", "getsockname", "getpeername"])
def test_calls_on_any_descriptor_are_looked_at(machine: str, call: str) -> None:
    arch = f.ARCHITECTURES[machine]
    data = bpf.seccomp_data(getattr(arch, call), arch.audit, (7, 0, 0, 0, 0, 0))
    assert bpf.run(f.build(arch), data) == f.RET_USER_NOTIF


@pytest.mark.parametrize("machine", sorted(f.ARCHITECTURES))
@pytest.mark.parametrize("call", ["setsockopt", "getsockopt"])
def test_options_of_the_descriptor_itself_go_straight_to_the_kernel(machine: str, call: str) -> None:
    arch = f.ARCHITECTURES[machine]
    seen = {
        name
        for name in range(100)
        if bpf.run(f.build(arch), bpf.seccomp_data(getattr(arch, call), arch.audit, (7, SOL_SOCKET, name, 0, 0, 0)))
        == f.RET_USER_NOTIF
    }
    assert seen == OF_THE_WIRE
    assert not {socket.SO_SNDBUF, socket.SO_RCVBUF, socket.SO_RCVTIMEO, socket.SO_SNDTIMEO, socket.SO_TYPE} & seen


def test_no_two_calls_have_one_number() -> None:
    for arch in f.ARCHITECTURES.values():
        assert len(numbers(arch)) == 10


def test_calls_of_the_32_bit_interface_pass() -> None:
    arch = f.ARCHITECTURES["x86_64"]
    i386, x32 = 0x40000003, 0x40000000
    assert bpf.run(f.build(arch), bpf.seccomp_data(arch.connect, i386, (0,) * 6)) == f.RET_ALLOW
    assert bpf.run(f.build(arch), bpf.seccomp_data(arch.connect | x32, arch.audit, (0,) * 6)) == f.RET_ALLOW


@pytest.mark.parametrize("machine", sorted(f.ARCHITECTURES))
def test_program_has_a_shape_that_the_kernel_takes(machine: str) -> None:
    program = f.build(f.ARCHITECTURES[machine])
    lines = list(struct.iter_unpack("=HBBI", program))
    assert 0 < len(lines) <= 4096
    for index, (code, true, false, _) in enumerate(lines):
        if code == 0x15:
            assert index + 1 + max(true, false) < len(lines)
    assert lines[-1][0] == 0x06


def test_this_machines_numbers_are_known() -> None:
    assert f.architecture() is f.ARCHITECTURES[platform.machine()]


def test_what_is_not_notified_fails_closed() -> None:
    """The kernel itself knows no such protocol."""
    with pytest.raises(OSError, match="Protocol not supported") as caught:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, TLS)
    assert caught.value.errno == errno.EPROTONOSUPPORT
