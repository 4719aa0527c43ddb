"""One secure socket as a dialogue: options in their phases, outcomes, errnos of SSA_SPEC section 3."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssa_impl.abi import OPTIONS, Opt
from ssa_impl.errors import ApplicationError, NetworkError, PeerError, PolicyError, SsaError
from ssa_impl.policy.model import Policy
from ssa_impl.sockets.secure_socket import SecureSocket
from ssa_impl.sockets.states import Event, State
from ssa_impl.tls.negotiated import Negotiated
from tests.certificates import authority
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


def new(policy: Policy = Policy()) -> SecureSocket:  # noqa: B008
    return SecureSocket(7, policy)


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
    made = new(Policy(version_min=0x0304))
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
