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
    st.builds(m.Hello, NUMBERS, INTS, INTS),
    st.builds(m.SetOption, NUMBERS, INTS, INTS, VALUES, st.booleans()),
    st.builds(m.GetOption, NUMBERS, INTS, INTS, NUMBERS),
    st.builds(m.Bind, NUMBERS, VALUES),
    st.builds(m.Connect, NUMBERS, VALUES, st.booleans()),
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


def test_text_that_is_no_text_is_still_a_refusal() -> None:
    assert decode(HEADER.pack(1, MessageKind.REFUSAL, 0, 2, 0) + b"\xff") == m.Refusal(1, 2, "\ufffd")
