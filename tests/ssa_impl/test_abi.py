"""The one table of numbers against SSA_SPEC section 1, and what is generated from it."""

from __future__ import annotations

import pytest

from ssa_impl import abi
from ssa_impl.abi import IPPROTO_TLS, MAX_HOSTNAME_BYTES, MAX_VALUE_BYTES, OPTIONS, Kind, Opt, Phase
from ssa_impl.cli import generate
from ssa_impl.sockets.values import WIRE_VERSIONS

SPECIFIED = {  # number: name, may be set, may be got; of the whole specification, served or not yet
    85: ("TLS_REMOTE_HOSTNAME", True, True),
    86: ("TLS_HOSTNAME", True, True),
    87: ("TLS_TRUSTED_PEER_CERTIFICATES", True, False),
    88: ("TLS_CERTIFICATE_CHAIN", True, False),
    89: ("TLS_PRIVATE_KEY", True, False),
    90: ("TLS_ALPN", True, True),
    91: ("TLS_SESSION_TTL", True, True),
    92: ("TLS_DISABLE_CIPHER", True, False),
    93: ("TLS_PEER_IDENTITY", False, True),
    94: ("TLS_REQUEST_PEER_AUTH", True, False),
    95: ("TLS_PEER_CERTIFICATE_CHAIN", False, True),
    96: ("TLS_ID", False, True),
    97: ("TLS_TRUSTED_CIPHERS", False, True),
    98: ("TLS_CHOSEN_CIPHER", False, True),
    100: ("TLS_ERROR", False, True),
    102: ("TLS_REVOCATION_CHECKS", True, True),
    103: ("TLS_OCSP_STAPLED_CHECKS", True, True),
    104: ("TLS_OCSP_CHECKS", True, True),
    105: ("TLS_CRL_CHECKS", True, True),
    106: ("TLS_CACHED_REV_CHECKS", True, True),
    107: ("TLS_CONTEXT", True, True),
    108: ("TLS_SESSION_REUSE", True, True),
    109: ("TLS_RESUMED_SESSION", False, True),
    110: ("TLS_ENABLE_CIPHER", True, False),
    111: ("TLS_VERSION_MIN", True, True),
    112: ("TLS_VERSION_MAX", True, True),
    113: ("TLS_VERSION_CONN", False, True),
    122: ("TLS_SERVER_OCSP_STAPLING", True, True),
    123: ("TLS_CHOSEN_GROUP", False, True),  # this project's own
}


def test_protocol_number_is_the_published_one() -> None:
    assert IPPROTO_TLS == 715 % 255 == 205


def test_no_number_is_given_twice() -> None:
    assert len(abi._ROWS) == len(OPTIONS)
    assert len(Opt.__members__) == len(list(Opt))  # an enum would make the second name an alias, silently


def test_every_option_has_a_row_and_every_row_an_option() -> None:
    assert set(OPTIONS) == set(Opt)


@pytest.mark.parametrize("row", list(OPTIONS.values()), ids=lambda row: row.number.name)
def test_row_is_as_specified(row: abi.Option) -> None:
    assert SPECIFIED[int(row.number)] == (row.number.name, row.set is not None, row.get is not None)


@pytest.mark.parametrize("row", list(OPTIONS.values()), ids=lambda row: row.number.name)
def test_what_steers_a_handshake_can_only_be_set_before_it(row: abi.Option) -> None:
    assert row.set in {None, Phase.BEFORE}


def test_limits_leave_room_for_what_they_bound() -> None:
    assert MAX_HOSTNAME_BYTES == 255
    assert MAX_VALUE_BYTES > 100 * 1024 * 4 / 3  # OpenSSL takes chains of 100 KiB; PEM makes them a third longer


def test_versions_are_wire_numbers() -> None:
    assert WIRE_VERSIONS == (0x0303, 0x0304)
    assert {row.number for row in OPTIONS.values() if row.kind is Kind.VERSION} == {111, 112, 113}


def test_generated_files_are_not_stale(capsys: pytest.CaptureFixture[str]) -> None:
    assert generate.main(["--check"]) == 0, capsys.readouterr().err


def test_header_defines_every_number() -> None:
    lines = generate.header().splitlines()
    defined = {
        words[1]: int(words[2]) for words in map(str.split, lines) if words[:1] == ["#define"] and len(words) > 2
    }
    beside = {"IPPROTO_TLS": IPPROTO_TLS, "AF_HOSTNAME": abi.AF_HOSTNAME, "TCP_UPGRADE_TLS": abi.TCP_UPGRADE_TLS}
    assert defined == {**beside, **{option.name: int(option) for option in Opt}}


def test_a_stale_file_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(generate, "header", lambda: "something else")
    assert generate.main(["--check"]) == 1
    assert "in_tls.h is stale" in capsys.readouterr().err
