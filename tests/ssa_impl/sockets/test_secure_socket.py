"""One secure socket as a dialogue: options in their phases, outcomes, errnos of SSA_SPEC section 3."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssa_impl.abi import OPTIONS, Opt, Phase
from ssa_impl.errors import ApplicationError, NetworkError, PeerError, PolicyError, SsaError
from ssa_impl.policy.model import Profile
from ssa_impl.sockets.secure_socket import SecureSocket
from ssa_impl.sockets.states import Event, State
from ssa_impl.tls.negotiated import Negotiated
from ssa_impl.validation.model import REVOCATION_SOURCES
from tests.certificates import authority
from tests.ssa_impl.credentials import issued, self_signed
from tests.ssa_impl.outcomes import outcome

AGREED = Negotiated(0x0304, "TLS_AES_128_GCM_SHA256", "x25519", "h2", resumed=False, server_name="", peer_chain=())
CHAIN = b"".join(pem.bytes() for pem in authority().credentials().cert_chain_pems)
KEY = authority().credentials().private_key_pem.bytes()
VALID = {
    Opt.TLS_REMOTE_HOSTNAME: b"example.com\0",
    Opt.TLS_TRUSTED_PEER_CERTIFICATES: b"-----BEGIN CERTIFICATE-----",
    Opt.TLS_ALPN: b"h2,http/1.1\0",
    Opt.TLS_VERSION_MIN: struct.pack("=i", 0x0304),
    Opt.TLS_VERSION_MAX: struct.pack("=i", 0x0304),
    Opt.TLS_HOSTNAME: b"www.example.com\0",
    Opt.TLS_CERTIFICATE_CHAIN: CHAIN,
    Opt.TLS_PRIVATE_KEY: KEY,
    Opt.TLS_SESSION_TTL: struct.pack("=q", 60),
    Opt.TLS_SESSION_REUSE: struct.pack("=i", 1),
    Opt.TLS_DISABLE_CIPHER: b"ECDHE-RSA-AES256-GCM-SHA384\0",
    Opt.TLS_ENABLE_CIPHER: b"ECDHE-RSA-AES256-GCM-SHA384\0",
    Opt.TLS_REQUEST_PEER_AUTH: struct.pack("=i", 1),
    Opt.TLS_REVOCATION_CHECKS: struct.pack("=i", 0),
    Opt.TLS_OCSP_STAPLED_CHECKS: struct.pack("=i", 0),
    Opt.TLS_OCSP_CHECKS: struct.pack("=i", 0),
    Opt.TLS_CRL_CHECKS: struct.pack("=i", 0),
    Opt.TLS_CACHED_REV_CHECKS: struct.pack("=i", 0),
    Opt.TLS_SERVER_OCSP_STAPLING: struct.pack("=i", 0),
    Opt.TLS_CONTEXT: struct.pack("=Q", 7),
}
AFTER_ONLY = [Opt.TLS_CHOSEN_CIPHER, Opt.TLS_RESUMED_SESSION, Opt.TLS_VERSION_CONN, Opt.TLS_CHOSEN_GROUP]


def new(profile: Profile = Profile()) -> SecureSocket:  # noqa: B008
    return SecureSocket(7, profile)


def connected() -> SecureSocket:
    made = new()
    made.happen(Event.CONNECT)
    made.established(AGREED)
    return made


def failed() -> SecureSocket:
    made = new()
    made.happen(Event.CONNECT_ASYNC)
    made.broken(PeerError("no"))
    return made


def code_of(call: Callable[..., object], *arguments: object) -> int:
    with pytest.raises(SsaError) as caught:
        call(*arguments)
    assert caught.value.text
    return caught.value.errno


@pytest.mark.parametrize("option", VALID, ids=lambda option: option.name)
def test_options_are_set_before_connect(option: Opt) -> None:
    made = new()
    made.set_option(option, VALID[option])
    if OPTIONS[option].get is not None:
        assert made.get_option(option) == VALID[option]


@pytest.mark.parametrize("option", VALID, ids=lambda option: option.name)
@pytest.mark.parametrize("event", [Event.CONNECT, Event.CONNECT_ASYNC])
def test_options_are_refused_while_connecting(option: Opt, event: Event) -> None:
    made = new()
    made.happen(event)
    assert code_of(made.set_option, option, VALID[option]) == errno.EOPNOTSUPP


@pytest.mark.parametrize("option", VALID, ids=lambda option: option.name)
def test_options_are_refused_once_connected(option: Opt) -> None:
    assert code_of(connected().set_option, option, VALID[option]) == errno.EOPNOTSUPP


@pytest.mark.parametrize("option", VALID, ids=lambda option: option.name)
def test_options_are_refused_for_good_after_a_failure_that_cannot_be_mended(option: Opt) -> None:
    assert code_of(failed().set_option, option, VALID[option]) == errno.EBADFD


@pytest.mark.parametrize("number", [-(2**31), -1, 0, 1, 84, 99, 124, 2**31 - 1])
def test_unknown_option(number: int) -> None:
    for made in (new(), connected(), failed()):
        assert code_of(made.set_option, number, b"") == errno.ENOPROTOOPT
        assert code_of(made.get_option, number) == errno.ENOPROTOOPT


@pytest.mark.parametrize("option", sorted(set(Opt) - set(VALID)), ids=lambda option: option.name)
def test_what_can_only_be_read_cannot_be_set(option: Opt) -> None:
    for made in (new(), connected(), failed()):
        assert code_of(made.set_option, option, b"\0" * 4) == errno.ENOPROTOOPT


def test_anchors_cannot_be_read() -> None:
    made = new()
    made.set_option(Opt.TLS_TRUSTED_PEER_CERTIFICATES, b"secret")
    assert code_of(made.get_option, Opt.TLS_TRUSTED_PEER_CERTIFICATES) == errno.ENOPROTOOPT


@pytest.mark.parametrize(
    "option", [*AFTER_ONLY, Opt.TLS_PEER_IDENTITY, Opt.TLS_PEER_CERTIFICATE_CHAIN], ids=lambda option: option.name
)
def test_results_are_not_there_before_the_handshake(option: Opt) -> None:
    connecting = new()
    connecting.happen(Event.CONNECT_ASYNC)
    for made in (new(), connecting, failed()):
        assert code_of(made.get_option, option) == errno.ENOTCONN


def test_results_after_the_handshake() -> None:
    made = connected()
    assert made.get_option(Opt.TLS_CHOSEN_CIPHER) == b"TLS_AES_128_GCM_SHA256\0"
    assert made.get_option(Opt.TLS_CHOSEN_GROUP) == b"x25519\0"
    assert made.get_option(Opt.TLS_VERSION_CONN) == struct.pack("=i", 0x0304)
    assert made.get_option(Opt.TLS_RESUMED_SESSION) == struct.pack("=i", 0)
    assert made.get_option(Opt.TLS_ID) == struct.pack("=Q", 7)


def test_alpn_is_what_was_offered_then_what_was_selected() -> None:
    made = new()
    assert code_of(made.get_option, Opt.TLS_ALPN) == errno.ENOTCONN
    made.set_option(Opt.TLS_ALPN, b"h2,http/1.1\0")
    assert made.get_option(Opt.TLS_ALPN) == b"h2,http/1.1\0"
    made.happen(Event.CONNECT)
    made.established(AGREED)
    assert made.get_option(Opt.TLS_ALPN) == b"h2\0"


def test_no_alpn_selected_is_an_empty_string_not_what_was_offered() -> None:
    made = new()
    made.set_option(Opt.TLS_ALPN, b"h2\0")
    made.happen(Event.CONNECT)
    made.established(Negotiated(0x0303, "c", "", "", resumed=False, server_name="", peer_chain=()))
    assert made.get_option(Opt.TLS_ALPN) == b"\0"


def test_versions_default_to_the_policys() -> None:
    assert new().get_option(Opt.TLS_VERSION_MIN) == struct.pack("=i", 0x0303)
    assert new().get_option(Opt.TLS_VERSION_MAX) == struct.pack("=i", 0x0304)


def test_a_version_below_the_policys_is_a_weakening() -> None:
    made = new(Profile(version_min=0x0304))
    with pytest.raises(PolicyError) as caught:
        made.set_option(Opt.TLS_VERSION_MIN, struct.pack("=i", 0x0303))
    assert caught.value.errno == errno.EPROTO
    assert made.get_option(Opt.TLS_VERSION_MIN) == struct.pack("=i", 0x0304)


def test_a_bad_value_is_einval_and_leaves_the_old_one() -> None:
    made = new()
    made.set_option(Opt.TLS_REMOTE_HOSTNAME, b"example.com\0")
    assert code_of(made.set_option, Opt.TLS_REMOTE_HOSTNAME, b"not a name\0") == errno.EINVAL
    assert made.get_option(Opt.TLS_REMOTE_HOSTNAME) == b"example.com\0"


def test_request_says_what_was_asked_for() -> None:
    made = new()
    for option, value in VALID.items():
        made.set_option(option, value)
    request = made.request()
    assert (request.hostname, request.anchors_pem, request.alpn, request.version_min, request.version_max) == (
        "example.com",
        b"-----BEGIN CERTIFICATE-----",
        ("h2", "http/1.1"),
        0x0304,
        0x0304,
    )
    made.forget(Opt.TLS_TRUSTED_PEER_CERTIFICATES)
    assert made.request().anchors_pem is None


def test_a_stand_in_hostname_never_replaces_the_real_one() -> None:
    made = new()
    assert made.request().hostname is None
    assert made.request(hostname="unset").hostname == "unset"
    made.set_option(Opt.TLS_REMOTE_HOSTNAME, b"example.com\0")
    assert made.request(hostname="unset").hostname == "example.com"


def test_error_text_is_remembered_until_the_next() -> None:
    made = new()
    assert made.get_option(Opt.TLS_ERROR) == b"\0"
    with pytest.raises(ApplicationError), made.remembering():
        raise ApplicationError("first")
    assert made.get_option(Opt.TLS_ERROR) == b"first\0"
    with made.remembering():
        made.set_option(Opt.TLS_REMOTE_HOSTNAME, b"example.com\0")
    assert made.get_option(Opt.TLS_ERROR) == b"first\0"


def test_a_blocking_connect_that_fails_may_be_tried_again() -> None:
    made = new()
    made.happen(Event.CONNECT)
    made.broken(NetworkError("refused", errno.ECONNREFUSED))
    assert made.state is State.OPEN
    assert made.get_option(Opt.TLS_ERROR) == b"refused\0"
    assert made.take_pending_errno() == errno.ENOTCONN  # the caller was told by the call itself
    made.happen(Event.CONNECT)


def test_no_connection_is_never_taken_for_success() -> None:
    """After EINTR, poll and SO_ERROR say whether connect succeeded; it may not even have begun."""
    assert new().take_pending_errno() == errno.ENOTCONN
    assert connected().take_pending_errno() == 0


def test_a_background_failure_is_told_once_by_so_error() -> None:
    made = new()
    made.happen(Event.CONNECT_ASYNC)
    assert made.take_pending_errno() == 0
    made.broken(PeerError("no"))
    assert made.state is State.FAILED
    assert made.take_pending_errno() == errno.EPROTO
    assert made.take_pending_errno() == 0


def test_an_established_connection_that_breaks_keeps_what_was_agreed() -> None:
    made = connected()
    made.broken(NetworkError("reset", errno.ECONNRESET))
    assert made.take_pending_errno() == errno.ECONNRESET
    assert made.get_option(Opt.TLS_CHOSEN_CIPHER) == b"TLS_AES_128_GCM_SHA256\0"
    assert made.get_option(Opt.TLS_ERROR) == b"reset\0"
    assert code_of(made.happen, Event.CONNECT) == errno.EISCONN


@given(st.lists(st.tuples(st.booleans(), st.integers(80, 130) | st.integers(), st.binary(max_size=20)), max_size=20))
def test_no_sequence_of_calls_raises_anything_but_an_errno(calls: list[tuple[bool, int, bytes]]) -> None:
    made = new()
    for setting, number, data in calls:
        value, error = outcome(made.set_option, number, data) if setting else outcome(made.get_option, number)
        assert error is None or error.errno in errno.errorcode
        assert error is not None or setting or isinstance(value, bytes)


# -- ciphers

FIRST, SECOND, THIRD = "TLS_AES_256_GCM_SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-AES256-GCM-SHA384"
THREE = Profile(ciphers=(FIRST, SECOND, THIRD))


def in_force(made: SecureSocket) -> list[str]:
    return made.get_option(Opt.TLS_TRUSTED_CIPHERS).decode().rstrip("\0").split(":")


def test_the_policys_ciphers_are_in_force() -> None:
    assert in_force(new()) == list(Profile().ciphers)
    assert in_force(new(THREE)) == [FIRST, SECOND, THIRD]


@given(st.lists(st.tuples(st.booleans(), st.sampled_from([FIRST, SECOND, THIRD])), max_size=10))
def test_what_was_disabled_last_is_not_in_force(calls: list[tuple[bool, str]]) -> None:
    made, left = new(THREE), {FIRST, SECOND, THIRD}
    for enable, name in calls:
        made.set_option(Opt.TLS_ENABLE_CIPHER if enable else Opt.TLS_DISABLE_CIPHER, name.encode() + b"\0")
        (left.add if enable else left.discard)(name)
    assert made.request().disabled_ciphers == {FIRST, SECOND, THIRD} - left
    assert in_force(made) == [name for name in (FIRST, SECOND, THIRD) if name in left] or not left


@pytest.mark.parametrize("option", [Opt.TLS_ENABLE_CIPHER, Opt.TLS_DISABLE_CIPHER])
@pytest.mark.parametrize("name", [b"no-such-cipher", b"ALL", b"HIGH:!aNULL", b"!AES128-SHA", b"@SECLEVEL=0"])
def test_only_names_of_single_ciphers_are_known(option: Opt, name: bytes) -> None:
    made = new()
    assert code_of(made.set_option, option, name + b"\0") == errno.EINVAL
    assert made.request().disabled_ciphers == frozenset()


def test_a_cipher_beyond_the_policy_can_be_disabled_and_not_enabled() -> None:
    made = new(THREE)
    made.set_option(Opt.TLS_DISABLE_CIPHER, b"AES128-SHA\0")
    assert code_of(made.set_option, Opt.TLS_ENABLE_CIPHER, b"AES128-SHA\0") == errno.EPROTO
    assert in_force(made) == [FIRST, SECOND, THIRD]


# -- sessions, contexts


def test_sessions_are_as_the_policy_says_until_the_application_says_less() -> None:
    made = new(Profile(session_ttl_s=100))
    assert made.get_option(Opt.TLS_SESSION_REUSE) == struct.pack("=i", 0)
    assert made.get_option(Opt.TLS_SESSION_TTL) == struct.pack("=q", 100)
    assert made.request().session_ttl_s is None
    made.set_option(Opt.TLS_SESSION_TTL, struct.pack("=q", 99))
    assert made.get_option(Opt.TLS_SESSION_TTL) == struct.pack("=q", 99)
    assert (made.request().session_reuse, made.request().session_ttl_s) == (False, 99)
    made.set_option(Opt.TLS_SESSION_REUSE, struct.pack("=i", 1))
    assert made.request().session_reuse


@pytest.mark.parametrize("seconds", [101, 2**63 - 1])
def test_a_session_is_never_kept_for_longer_than_the_policy_says(seconds: int) -> None:
    made = new(Profile(session_ttl_s=100))
    assert code_of(made.set_option, Opt.TLS_SESSION_TTL, struct.pack("=q", seconds)) == errno.EPROTO
    assert made.get_option(Opt.TLS_SESSION_TTL) == struct.pack("=q", 100)


def test_no_sessions_where_the_policy_allows_none() -> None:
    made = new(Profile(session_reuse_allowed=False))
    assert code_of(made.set_option, Opt.TLS_SESSION_REUSE, struct.pack("=i", 1)) == errno.EPROTO
    made.set_option(Opt.TLS_SESSION_REUSE, struct.pack("=i", 0))
    assert not made.request().session_reuse


def test_a_context_is_the_sockets_own_until_another_is_joined() -> None:
    made = new()
    assert made.get_option(Opt.TLS_CONTEXT) == made.get_option(Opt.TLS_ID) == struct.pack("=Q", 7)
    assert made.context_is_own
    assert made.check_context(struct.pack("=Q", 2**64 - 1)) == 2**64 - 1
    assert made.context_is_own  # it was only looked at
    made.set_option(Opt.TLS_CONTEXT, struct.pack("=Q", 9))
    assert made.get_option(Opt.TLS_CONTEXT) == struct.pack("=Q", 9)
    assert made.get_option(Opt.TLS_ID) == struct.pack("=Q", 7)
    assert not made.context_is_own


def test_a_context_is_looked_at_in_the_phase_in_which_it_can_be_set() -> None:
    assert code_of(new().check_context, bytes(4)) == errno.EINVAL
    assert code_of(connected().check_context, bytes(8)) == errno.EOPNOTSUPP
    assert code_of(failed().check_context, bytes(8)) == errno.EBADFD


# -- revocation

REVOCATION = [
    Opt.TLS_REVOCATION_CHECKS,
    Opt.TLS_OCSP_STAPLED_CHECKS,
    Opt.TLS_OCSP_CHECKS,
    Opt.TLS_CRL_CHECKS,
    Opt.TLS_CACHED_REV_CHECKS,
]


@pytest.mark.parametrize("option", REVOCATION, ids=lambda option: option.name)
def test_a_check_that_is_not_made_does_not_seem_to_be_made(option: Opt) -> None:
    made = new()
    assert code_of(made.set_option, option, struct.pack("=i", 1)) == errno.EPROTO
    assert made.get_option(option) == struct.pack("=i", 0)
    able = new(Profile(revocation_sources=frozenset({option})))
    able.set_option(option, struct.pack("=i", 1))
    assert able.get_option(option) == struct.pack("=i", 1)
    master = {Opt.TLS_REVOCATION_CHECKS} if option in REVOCATION_SOURCES else set()  # it stands for what there is
    for other in set(REVOCATION) - {option} - master:
        assert code_of(able.set_option, other, struct.pack("=i", 1)) == errno.EPROTO


# -- servers


def test_a_server_staples_when_it_says_so_or_the_policy_does() -> None:
    option, on, off = Opt.TLS_SERVER_OCSP_STAPLING, struct.pack("=i", 1), struct.pack("=i", 0)
    made = new()
    assert (made.get_option(option), made.request().staple) == (off, False)
    made.set_option(option, on)
    assert (made.get_option(option), made.request().staple) == (on, True)
    made.set_option(option, off)
    assert (made.get_option(option), made.request().staple) == (off, False)
    governed = new(Profile(staple=True))
    assert governed.get_option(option) == on
    assert code_of(governed.set_option, option, off) == errno.EPROTO
    assert governed.get_option(option) == on


def test_a_server_answers_to_every_name_it_was_given() -> None:
    made = new()
    assert made.request().server_names == ()
    for name in (b"a.test\0", b"B.test\0", b"c.test.\0"):
        made.set_option(Opt.TLS_HOSTNAME, name)
    assert made.request().server_names == ("a.test", "B.test", "c.test.")
    assert made.get_option(Opt.TLS_HOSTNAME) == b"c.test.\0"


def test_certificates_and_keys_come_in_pairs_and_in_any_order() -> None:
    made, pairs = new(), (issued(is_rsa=True), issued())
    for pair in pairs:
        made.set_option(Opt.TLS_PRIVATE_KEY, pair.key)
    assert code_of(made.request) == errno.EPROTO
    assert made.request(with_identities=False).identities == ()
    for pair in pairs:
        made.set_option(Opt.TLS_CERTIFICATE_CHAIN, pair.chain)
    assert made.request().identities == tuple(pair.identity for pair in pairs)


def test_a_key_for_another_certificate_is_eproto() -> None:
    made = new()
    made.set_option(Opt.TLS_CERTIFICATE_CHAIN, issued().chain)
    assert code_of(made.set_option, Opt.TLS_PRIVATE_KEY, self_signed("P-256", "a.test").key) == errno.EPROTO


def listening() -> SecureSocket:
    made = new(THREE)
    for option in (Opt.TLS_HOSTNAME, Opt.TLS_CERTIFICATE_CHAIN, Opt.TLS_PRIVATE_KEY, Opt.TLS_ALPN):
        made.set_option(option, VALID[option])
    made.set_option(Opt.TLS_DISABLE_CIPHER, SECOND.encode() + b"\0")
    made.set_option(Opt.TLS_VERSION_MIN, struct.pack("=i", 0x0304))
    made.happen(Event.LISTEN)
    return made


@pytest.mark.parametrize("state", ["open", "listening", "connected", "failed", "accepted"])
def test_a_key_is_never_given_back(state: str) -> None:
    made = {
        "open": new,
        "listening": listening,
        "connected": connected,
        "failed": failed,
        "accepted": lambda: SecureSocket.accepted(8, listening(), AGREED),
    }[state]()
    if state == "open":
        made.set_option(Opt.TLS_PRIVATE_KEY, KEY)
    assert code_of(made.get_option, Opt.TLS_PRIVATE_KEY) == errno.ENOPROTOOPT


@pytest.mark.parametrize("option", VALID, ids=lambda option: option.name)
def test_options_are_refused_once_listening(option: Opt) -> None:
    assert code_of(listening().set_option, option, VALID[option]) == errno.EOPNOTSUPP


def test_an_accepted_socket_knows_its_own_handshake_and_its_listeners_options() -> None:
    listener = listening()
    listener.context = 99
    agreed = replace(AGREED, server_name="www.example.com")
    made = SecureSocket.accepted(8, listener, agreed)
    assert made.state is State.CONNECTED
    assert made.get_option(Opt.TLS_ID) == struct.pack("=Q", 8)
    assert made.get_option(Opt.TLS_CONTEXT) == struct.pack("=Q", 99)
    assert made.get_option(Opt.TLS_HOSTNAME) == b"www.example.com\0"
    assert made.get_option(Opt.TLS_ALPN) == b"h2\0"
    assert made.get_option(Opt.TLS_VERSION_CONN) == struct.pack("=i", 0x0304)
    assert made.get_option(Opt.TLS_VERSION_MIN) == struct.pack("=i", 0x0304)
    assert in_force(made) == [FIRST, THIRD]
    assert made.get_option(Opt.TLS_ERROR) == b"\0"
    assert made.take_pending_errno() == 0


def test_an_accepted_socket_has_no_key_of_its_listener() -> None:
    assert SecureSocket.accepted(8, listening(), AGREED).request().identities == ()


def test_a_peer_that_named_nobody_and_presented_nothing() -> None:
    made = SecureSocket.accepted(8, listening(), AGREED)
    assert made.get_option(Opt.TLS_HOSTNAME) == b"\0"  # not the name that the listener answers to
    assert code_of(made.get_option, Opt.TLS_PEER_IDENTITY) == errno.ENOTCONN
    assert code_of(made.get_option, Opt.TLS_PEER_CERTIFICATE_CHAIN) == errno.ENOTCONN


def test_one_accepted_socket_does_not_change_another_or_its_listener() -> None:
    listener = listening()
    first, second = (SecureSocket.accepted(number, listener, AGREED) for number in (8, 9))
    first.broken(NetworkError("reset", errno.ECONNRESET))
    assert first.end_errno == errno.ECONNRESET
    assert second.end_errno == listener.end_errno == 0
    assert second.error_text == listener.error_text == ""


# -- ends and names


def test_an_end_that_was_no_end_is_told_apart() -> None:
    made = connected()
    assert made.end_errno == 0
    made.broken(PeerError("cut"))
    assert made.end_errno == errno.ECONNRESET
    assert failed().end_errno == 0


def test_the_name_that_is_connected_to_stands_in_for_one_that_was_not_set() -> None:
    made = new()
    made.default_hostname(b"connected.example\0")
    assert made.request().hostname == "connected.example"
    other = new()
    other.set_option(Opt.TLS_REMOTE_HOSTNAME, b"set.example\0")
    other.default_hostname(b"connected.example\0")
    assert other.request().hostname == "set.example"
    assert code_of(new().default_hostname, b"not a name\0") == errno.EINVAL


def test_everything_that_can_be_set_was_tried() -> None:
    assert set(VALID) == {number for number, row in OPTIONS.items() if row.set is not None}
    assert all(row.set is Phase.BEFORE for row in OPTIONS.values() if row.set is not None)
