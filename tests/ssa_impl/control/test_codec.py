"""The codec: every message both ways, and nothing but MalformedMessage for everything else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssa_impl.abi import MAX_VALUE_BYTES
from ssa_impl.control import messages as m
from ssa_impl.control.codec import HEADER, MAX_MESSAGE_BYTES, MalformedMessage, MessageKind, decode, encode

NUMBERS = st.integers(0, 2**32 - 1)
INTS = st.integers(-(2**31), 2**31 - 1)
VALUES = st.binary(max_size=300)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)

MESSAGES = st.one_of(
    st.builds(m.Hello, NUMBERS, INTS, INTS, st.booleans()),
    st.builds(m.SetOption, NUMBERS, INTS, INTS, VALUES, st.booleans()),
    st.builds(m.SetByPath, NUMBERS, INTS, VALUES, INTS),
    st.builds(m.GetOption, NUMBERS, INTS, INTS, NUMBERS),
    st.builds(m.Bind, NUMBERS, VALUES),
    st.builds(m.Connect, NUMBERS, VALUES, st.booleans()),
    st.builds(m.Listen, NUMBERS, INTS),
    st.builds(m.Upgrade, NUMBERS, VALUES, st.booleans()),
    st.builds(m.Claim, NUMBERS),
    st.builds(m.AskEnd, NUMBERS),
    st.builds(m.GetName, NUMBERS, st.booleans()),
    st.builds(m.Refusal, NUMBERS, INTS, TEXTS),
    st.builds(m.Reply, NUMBERS, INTS, VALUES),
    st.builds(m.Reset, NUMBERS),
    st.builds(m.Keep, NUMBERS),
)


@given(MESSAGES)
def test_round_trip(message: m.Message) -> None:
    assert decode(encode(message)) == message


def test_every_kind_of_message_has_a_strategy_here() -> None:
    assert len(MessageKind) == len(m.Message.__args__) == len(MESSAGES.original_strategies)  # type: ignore[attr-defined]


@given(MESSAGES, st.data())
def test_truncated_message_is_malformed_or_another_message(message: m.Message, data: st.DataObject) -> None:
    whole = encode(message)
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    try:
        assert type(decode(cut)) is type(message)
    except MalformedMessage:
        assert len(cut) < HEADER.size or isinstance(message, m.GetOption)


@given(st.binary(max_size=64))
def test_garbage_is_malformed_or_a_message(data: bytes) -> None:
    try:
        again = encode(decode(data))
    except MalformedMessage:
        return
    assert decode(again) == decode(data)


@given(st.integers(0, 2**16 - 1).filter(lambda kind: kind not in set(MessageKind)), VALUES)
def test_unknown_kind_is_malformed(kind: int, value: bytes) -> None:
    with pytest.raises(MalformedMessage, match="unknown kind"):
        decode(HEADER.pack(1, kind, 0, 0, 0) + value)


@pytest.mark.parametrize("size", [0, 1, HEADER.size - 1, MAX_MESSAGE_BYTES + 1])
def test_impossible_size_is_malformed(size: int) -> None:
    with pytest.raises(MalformedMessage, match=f"^{size} bytes"):
        decode(b"\7" * size)


def test_largest_value_fits_exactly() -> None:
    message = m.SetOption(1, 205, 87, bytes(MAX_VALUE_BYTES))
    assert len(encode(message)) == MAX_MESSAGE_BYTES
    assert decode(encode(message)) == message


@given(MESSAGES)
def test_a_value_grows_with_what_follows_it_and_nothing_else_does(message: m.Message) -> None:
    """One message is one packet: bytes behind it are part of its value, or the message is malformed or has none."""
    whole = encode(message)
    try:
        longer = decode(whole + b"tail")
    except MalformedMessage:
        assert isinstance(message, m.GetOption)
        return
    assert type(longer) is type(message)
    assert encode(longer) in {whole, whole + b"tail"}


@pytest.mark.parametrize("kind", list(MessageKind))
def test_a_header_alone_is_a_message_of_its_kind_or_malformed(kind: MessageKind) -> None:
    """What a boundary in C sends for an empty value."""
    header = HEADER.pack(3, kind, 1, -1, -1)
    if kind is MessageKind.GET_OPTION:
        with pytest.raises(MalformedMessage, match="without a size"):
            decode(header)
    else:
        assert decode(header).request == 3


@pytest.mark.parametrize("flag", [1, 2, 0xFFFF])
def test_every_flag_that_is_not_0_is_true(flag: int) -> None:
    assert decode(HEADER.pack(1, MessageKind.HELLO, flag, 2, 3)) == m.Hello(1, 2, 3, True)
    assert decode(HEADER.pack(1, MessageKind.UPGRADE, flag, 0, 0) + b"a") == m.Upgrade(1, b"a", True)
    assert decode(HEADER.pack(1, MessageKind.CONNECT, flag, 0, 0) + b"a") == m.Connect(1, b"a", True)


def test_the_header_is_laid_out_as_c_would() -> None:
    """u32, u16, u16, i32, i32, little-endian, no padding: a boundary in C writes it as one struct."""
    assert encode(m.Listen(0x01020304, -2)) == bytes.fromhex("04030201 0b00 0000 feffffff 00000000")
    assert encode(m.Claim(1)) == bytes.fromhex("01000000 0d00 0000 00000000 00000000")
    assert encode(m.Upgrade(2, b"a.b\0", False)) == bytes.fromhex("02000000 0c00 0000 00000000 00000000 612e6200")
    assert encode(m.Hello(5, 2, 77, False)) == bytes.fromhex("05000000 0100 0000 02000000 4d000000")


def test_text_that_is_no_text_is_still_a_refusal() -> None:
    assert decode(HEADER.pack(1, MessageKind.REFUSAL, 0, 2, 0) + b"\xff") == m.Refusal(1, 2, "\ufffd")
