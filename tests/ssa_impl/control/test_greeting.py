"""The greeting: every address both ways, and what happens to descriptors when it is none."""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssa_impl.control.codec import MalformedMessage
from ssa_impl.control.greeting import GREETING_BYTES, decode_greeting, encode_greeting, take_greeting
from ssa_impl.sockets.addresses import build_sockaddr, parse_sockaddr
from tests.ssa_impl.outcomes import open_descriptors

_TIMEVAL = struct.Struct("@ll")
ADDRESS = build_sockaddr(socket.AF_INET, ("127.0.0.1", 4433))

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """A connection that was just accepted, and the daemon's end of it."""
    accepted, daemon = socket.socketpair()
    with accepted, daemon:
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _TIMEVAL.pack(20, 0))
        yield accepted, daemon


@pytest.fixture
def channel() -> Iterator[Pair]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        yield ours, theirs


# -- bytes


@given(st.binary(max_size=28))
def test_round_trip(address: bytes) -> None:
    greeting = encode_greeting(address)
    assert len(greeting) == GREETING_BYTES == 32
    assert decode_greeting(greeting) == address


@given(st.ip_addresses(), st.integers(0, 65_535))
def test_addresses_of_both_families_fit(address: object, port: int) -> None:
    text = str(address).partition("%")[0]
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    pair: tuple[object, ...] = (text, port, 0, 0) if ":" in text else (text, port)
    raw = build_sockaddr(family, pair)
    assert parse_sockaddr(family, decode_greeting(encode_greeting(raw))) == parse_sockaddr(family, raw)


@given(st.binary(max_size=64))
def test_garbage_is_malformed_or_a_greeting(data: bytes) -> None:
    try:
        address = decode_greeting(data)
    except MalformedMessage:
        return
    assert len(data) == GREETING_BYTES
    assert len(address) <= 28


@given(st.binary(max_size=28), st.data())
def test_a_part_is_no_greeting(address: bytes, data: st.DataObject) -> None:
    whole = encode_greeting(address)
    with pytest.raises(MalformedMessage):
        decode_greeting(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(MalformedMessage):
        decode_greeting(whole + b"\0")


@given(st.integers(29, 65_535))
def test_a_length_beyond_the_room_is_malformed(length: int) -> None:
    with pytest.raises(MalformedMessage):
        decode_greeting(length.to_bytes(2, "little") + bytes(30))


def test_an_address_that_is_too_long_is_not_cut() -> None:
    """``struct`` would cut it silently; the length in front then says more than there is, and nobody believes it."""
    with pytest.raises(MalformedMessage):
        decode_greeting(encode_greeting(bytes(29)))


# -- taking it off a connection


def test_taking_leaves_what_follows(pair: Pair, channel: Pair) -> None:
    accepted, daemon = pair
    ours, theirs = channel
    socket.send_fds(daemon, [encode_greeting(ADDRESS)], [theirs.fileno()])
    daemon.sendall(b"plain text")
    address, received = take_greeting(accepted)
    with received:
        assert address == ADDRESS
        assert received.type == socket.SOCK_SEQPACKET
        assert not os.get_inheritable(received.fileno())
        received.send(b"asked")
        assert ours.recv(100) == b"asked"
    assert accepted.recv(100) == b"plain text"


def test_one_byte_at_a_time(pair: Pair, channel: Pair) -> None:
    """However the kernel cuts it up: the descriptor comes with the first byte, the rest when it will."""
    accepted, daemon = pair
    greeting = encode_greeting(ADDRESS)

    def send() -> None:
        socket.send_fds(daemon, [greeting[:1]], [channel[1].fileno()])
        for position in range(1, len(greeting)):
            daemon.send(greeting[position : position + 1])
        daemon.send(b"plain text")

    sending = threading.Thread(target=send)
    sending.start()
    address, received = take_greeting(accepted)
    sending.join()
    received.close()
    assert address == ADDRESS
    assert accepted.recv(100) == b"plain text"


def test_without_a_channel_it_is_none(pair: Pair) -> None:
    before = open_descriptors()
    pair[1].sendall(encode_greeting(ADDRESS))
    with pytest.raises(MalformedMessage, match="without a control channel"):
        take_greeting(pair[0])
    assert open_descriptors() == before


@pytest.mark.parametrize("sent", [0, 1, 31], ids=["nothing", "one byte", "all but one"])
def test_a_daemon_that_ends_in_the_middle(pair: Pair, channel: Pair, sent: int) -> None:
    before = open_descriptors()
    if sent:
        socket.send_fds(pair[1], [encode_greeting(ADDRESS)[:sent]], [channel[1].fileno()])
    pair[1].shutdown(socket.SHUT_WR)
    with pytest.raises(MalformedMessage):
        take_greeting(pair[0])
    assert open_descriptors() == before


@given(st.binary(min_size=32, max_size=32), st.integers(0, 3))
def test_garbage_leaves_nothing_open(data: bytes, count: int) -> None:
    accepted, daemon = socket.socketpair()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with accepted, daemon, ours, theirs:
        before = open_descriptors()
        if count:
            socket.send_fds(daemon, [data], [theirs.fileno()] * count)
        else:
            daemon.sendall(data)
        try:
            _, received = take_greeting(accepted)
        except MalformedMessage:
            pass
        else:
            received.close()
        assert open_descriptors() == before


def test_a_daemon_that_says_nothing_meets_the_receive_time_out(pair: Pair) -> None:
    pair[0].setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _TIMEVAL.pack(0, 1000))
    with pytest.raises(BlockingIOError):
        take_greeting(pair[0])
