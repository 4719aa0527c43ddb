"""A transcript comes back as it was written, whatever the options' values are."""

from __future__ import annotations

import errno
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssa_impl.abi import IPPROTO_TLS, MAX_VALUE_BYTES
from ssa_impl.daemon.relocation import Options, Transcript, read, write
from ssa_impl.errors import DaemonError
from tests.ssa_impl.outcomes import open_descriptors

INTS = st.integers(-(2**31), 2**31 - 1)
TRANSCRIPTS = st.builds(
    Transcript,
    family=INTS,
    pid=INTS,
    watches=st.booleans(),
    uid=st.integers(0, 2**32 - 1),
    inode=st.integers(0, 2**64 - 1),
    options=st.lists(st.tuples(INTS, INTS, st.binary(max_size=100))).map(tuple),
    path=st.text(st.characters(min_codepoint=1, codec="utf-8")),
    request=st.integers(0, 2**32 - 1),
)


def there_and_back(transcript: Transcript) -> Transcript:
    file = write(transcript)
    try:
        return read(file)
    finally:
        os.close(file)


@given(TRANSCRIPTS)
def test_round_trip(transcript: Transcript) -> None:
    back = there_and_back(transcript)
    assert back == transcript
    assert hash(back) == hash(transcript)  # tuples and bytes again, not lists and text


def test_many_large_values() -> None:
    options = tuple((205, 87, os.urandom(MAX_VALUE_BYTES)) for _ in range(20))
    assert there_and_back(Transcript(2, 1, True, 0, 0, options)).options == options


def test_it_can_be_read_again_and_is_nobodys_after_the_last_copy_is_closed() -> None:
    before = open_descriptors()
    transcript = Transcript(2, 1, False, 1000, 5, ((205, 85, b"a.test\0"),), "/run/x", 3)
    file = write(transcript)
    copy = os.dup(file)
    assert read(file) == read(copy) == read(file) == transcript
    assert not os.get_inheritable(file)
    os.close(file)
    os.close(copy)
    assert open_descriptors() == before


def test_of_the_wires_options_the_last_values_are_kept_and_of_all_no_more_than_there_is_room_for() -> None:
    options = Options()
    for number in range(100_000):
        option = (6, 1, number.to_bytes(4, "little"))
        options.require_room(option)
        options.add(option)
    assert list(options) == [option]
    large = (IPPROTO_TLS, 87, bytes(MAX_VALUE_BYTES))
    for _ in range(15):
        options.require_room(large)
        options.add(large)
    with pytest.raises(DaemonError, match="options of one socket") as caught:
        options.require_room(large)
    assert caught.value.errno == errno.ENOBUFS
    assert list(options) == [option] + [large] * 15
