"""Option values: what is taken, what is refused, and that both ways agree."""

from __future__ import annotations

import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssa_impl.abi import Kind
from ssa_impl.errors import ApplicationError
from ssa_impl.names import is_ip_address
from ssa_impl.sockets.values import parse, serialize
from tests.ssa_impl.credentials import issued
from tests.ssa_impl.outcomes import outcome

READABLE = [Kind.HOSTNAME, Kind.STRING, Kind.NAMES, Kind.CIPHER, Kind.SECONDS, Kind.FLAG, Kind.VERSION, Kind.ULONG]


def refused(kind: Kind, data: bytes) -> str:
    with pytest.raises(ApplicationError) as caught:
        parse(kind, data)
    assert caught.value.errno == errno.EINVAL
    return caught.value.text


@given(st.sampled_from(list(Kind)), st.binary(max_size=300))
def test_any_bytes_are_a_value_or_einval(kind: Kind, data: bytes) -> None:
    value, error = outcome(parse, kind, data)
    if value is None:
        assert error is not None
        assert error.errno == errno.EINVAL
        assert error.text
    elif kind in READABLE:
        assert parse(kind, serialize(kind, value)) == value


@pytest.mark.parametrize(
    "name",
    [
        "example.com",
        "example.com.",
        "localhost",
        "a-b.example",
        "_dmarc.example.com",
        "xn--bcher-kva.example",
        "3com.com",
        "a" * 63 + ".example",
        "127.0.0.1",
        "::1",
        "2001:DB8::1",
        ".".join(["a" * 49] * 5) + ".abcd",
    ],
)
def test_hostname_is_taken(name: str) -> None:
    assert parse(Kind.HOSTNAME, name.encode() + b"\0") == name


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"example.com",  # no NUL: the length must count it
        b"a\0b\0",
        b".\0",
        b"a..b\0",
        b".a\0",
        b"-a.com\0",
        b"a-.com\0",
        b"a b\0",
        b"a\n\0",
        b"*.example.com\0",
        b"b\xc3\xbccher.example\0",
        b"\xff\0",
        b"user@example.com\0",
        b"example.com:443\0",
        b"[::1]\0",
        b"a" * 64 + b".com\0",
        b"a." * 127 + b"a\0",  # 256 bytes with the NUL
    ],
)
def test_hostname_is_refused(data: bytes) -> None:
    assert refused(Kind.HOSTNAME, data)


def test_hostname_of_255_bytes_with_its_nul_is_the_longest() -> None:
    longest = "a." * 126 + "ab"
    assert parse(Kind.HOSTNAME, longest.encode() + b"\0") == longest
    assert "255 bytes" in refused(Kind.HOSTNAME, b"a" + longest.encode() + b"\0")


def test_padding_after_the_nul_is_no_harm() -> None:
    assert parse(Kind.HOSTNAME, b"example.com\0\0\0\0") == "example.com"


@pytest.mark.parametrize("name", ["127.0.0.1", "::1", "fe80::1", "2001:db8::abcd", "::ffff:1.2.3.4"])
def test_addresses_are_told_from_names(name: str) -> None:
    assert is_ip_address(name)


@pytest.mark.parametrize("name", ["example.com", "1.2.3", "1.2.3.4.example", "1.2.3.4.", "3com", "127.1", "dead.beef1"])
def test_names_are_told_from_addresses(name: str) -> None:
    assert not is_ip_address(name)


def test_names() -> None:
    assert parse(Kind.NAMES, b"h2,http/1.1\0") == ("h2", "http/1.1")
    assert parse(Kind.NAMES, b"\0") == ()
    assert serialize(Kind.NAMES, ("h2", "http/1.1")) == b"h2,http/1.1\0"
    assert serialize(Kind.NAMES, ()) == b"\0"


@pytest.mark.parametrize("data", [b"h2", b"h2,,x\0", b",\0", b"h2,\0", b"h\x01\0", "hé\0".encode(), b"a" * 256 + b"\0"])
def test_names_are_refused(data: bytes) -> None:
    assert refused(Kind.NAMES, data)


def test_more_names_than_a_client_hello_can_carry_are_refused() -> None:
    one = b"a" * 255 + b","
    assert len(parse(Kind.NAMES, one * 127 + b"h2\0")) == 128  # type: ignore[arg-type]
    assert "32768 bytes" in refused(Kind.NAMES, one * 128 + b"h2\0")


@pytest.mark.parametrize("kind", [Kind.FLAG, Kind.VERSION])
@pytest.mark.parametrize("data", [b"", b"\1", b"\1\0\0", b"\1\0\0\0\0", bytes(8)])
def test_an_int_has_four_bytes(kind: Kind, data: bytes) -> None:
    assert refused(kind, data)


@given(st.integers(-(2**31), 2**31 - 1))
def test_flag_and_version_take_nothing_else(number: int) -> None:
    data = struct.pack("=i", number)
    for kind, allowed in ((Kind.FLAG, {0, 1}), (Kind.VERSION, {0x0303, 0x0304})):
        if number in allowed:
            assert parse(kind, data) == number
        else:
            assert refused(kind, data)


@given(st.integers(0, 2**64 - 1))
def test_ulong(number: int) -> None:
    assert parse(Kind.ULONG, serialize(Kind.ULONG, number)) == number


@given(st.binary(max_size=100))
def test_pem_is_left_for_the_one_who_reads_it(data: bytes) -> None:
    assert parse(Kind.PEM, data) == data


def test_strings_end_with_a_nul() -> None:
    assert serialize(Kind.STRING, "") == b"\0"
    assert serialize(Kind.STRING, "ü") == b"\xc3\xbc\0"


@given(st.integers(-(2**63), 2**63 - 1))
def test_seconds_are_a_long_that_is_not_negative(number: int) -> None:
    data = struct.pack("=q", number)
    if number >= 0:
        assert parse(Kind.SECONDS, data) == number
        assert serialize(Kind.SECONDS, number) == data
    else:
        assert "negative" in refused(Kind.SECONDS, data)


@pytest.mark.parametrize("kind", [Kind.SECONDS, Kind.ULONG])
@pytest.mark.parametrize("size", [0, 1, 4, 7, 9, 16])
def test_a_long_has_eight_bytes(kind: Kind, size: int) -> None:
    assert refused(kind, bytes(size))


@pytest.mark.parametrize("name", ["AES128-SHA", "TLS_AES_128_GCM_SHA256", "no such cipher"])
def test_the_name_of_a_cipher_is_looked_up_by_the_policy(name: str) -> None:
    assert parse(Kind.CIPHER, name.encode() + b"\0") == name


@pytest.mark.parametrize("data", [b"", b"\0", b"AES128-SHA", b"AES\n128\0", "Ä128\0".encode(), b"\xff\0", b"A\0B\0"])
def test_no_name_of_a_cipher(data: bytes) -> None:
    assert refused(Kind.CIPHER, data)


def test_chains_and_keys_are_read_at_once() -> None:
    made = issued(deep=True)
    assert parse(Kind.CHAIN, made.chain) == made.chain
    assert parse(Kind.KEY, made.key) == parse(Kind.KEY, made.key_der) == made.key_der
    assert refused(Kind.CHAIN, made.key)
    assert refused(Kind.KEY, made.chain)
