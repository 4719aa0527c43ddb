"""An application may tighten, never weaken: whatever it asks for, the settings stay inside the profile."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssa_impl.abi import Opt
from ssa_impl.errors import ApplicationError, PolicyError, SsaError
from ssa_impl.policy.ciphers import default_ciphers, is_tls_1_3
from ssa_impl.policy.model import Origin, Profile, Request, Role, Settings
from ssa_impl.policy.resolve import (
    check_cipher,
    check_peer_auth,
    check_protocols,
    check_revocation,
    check_session,
    check_staple,
    check_version,
    is_checked,
    resolve,
)
from ssa_impl.policy.schema import KEYS
from ssa_impl.validation.model import OPENSSL_ALONE, REVOCATION, REVOCATION_SOURCES, Choice, Validation
from tests.ssa_impl.credentials import self_signed
from tests.ssa_impl.outcomes import outcome

VERSIONS = st.sampled_from([0x0300, 0x0301, 0x0302, 0x0303, 0x0304, 0x0305])
MAYBE_VERSION = st.none() | VERSIONS
NEW, OLD = "TLS_AES_128_GCM_SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"
IDENTITY = self_signed("P-256", "a.test").identity
CIPHERS = st.lists(st.sampled_from([*default_ciphers()[:5], NEW, OLD]), unique=True)
PROTOCOLS = st.lists(st.sampled_from(["h2", "http/1.1", "imap"]), unique=True).map(tuple)
SOURCES = st.frozensets(st.sampled_from([Opt.TLS_REVOCATION_CHECKS, *REVOCATION_SOURCES]))
VALIDATIONS = st.none() | st.sampled_from(
    [
        Validation((Choice("webpki", "webpki"),)),
        Validation((Choice(REVOCATION, REVOCATION, (("sources", ("ocsp",)),)),)),
    ]
)
POLICIES = st.builds(
    Profile,
    name=st.sampled_from(["default", "web"]),
    origins=st.sampled_from([{}, {key: Origin("/etc/ssa/ssa.toml", 7) for key in KEYS}]),
    version_min=st.sampled_from([0x0303, 0x0304]),
    version_max=st.just(0x0304),
    groups=st.sampled_from([(), ("X25519",)]),
    signature_algorithms=st.sampled_from([(), ("ed25519",)]),
    security_level=st.integers(0, 5),
    alpn_allowed=st.none() | PROTOCOLS,
    send_server_name=st.booleans(),
    trust_store=st.sampled_from([("system",), ("/ca.pem",), ("system", "/ca.pem")]),
    trust_anchors_pem=st.sampled_from([b"", b"the policy's"]),
    honour_application_anchors=st.booleans(),
    hostname_required=st.booleans(),
    truncation_allowed=st.booleans(),
    verify_depth=st.integers(0, 100),
    handshake_timeout_s=st.floats(0.1, 100),
    accept_timeout_s=st.floats(0.1, 100),
    ciphers=CIPHERS.map(lambda names: tuple({NEW: 0, OLD: 0} | dict.fromkeys(names))),
    session_reuse_allowed=st.booleans(),
    session_ttl_s=st.integers(0, 1000),
    revocation_sources=SOURCES,
    session_scope=st.sampled_from(["application", "user"]),
    client_certificate_required=st.booleans(),
    key_log=st.sampled_from(["", "/var/log/keys"]),
    staple=st.booleans(),
    validation=VALIDATIONS,
)
REQUESTS = st.builds(
    Request,
    hostname=st.none() | st.just("example.com"),
    anchors_pem=st.none() | st.just(b"pem"),
    alpn=PROTOCOLS,
    version_min=MAYBE_VERSION,
    version_max=MAYBE_VERSION,
    identities=st.sampled_from([(), (IDENTITY,)]),
    server_names=st.sampled_from([(), ("a.test",)]),
    request_peer_auth=st.booleans(),
    disabled_ciphers=CIPHERS.map(frozenset),
    session_reuse=st.booleans(),
    session_ttl_s=st.none() | st.integers(0, 2000),
    revocation=SOURCES,
    staple=st.booleans(),
)
ROLES = st.sampled_from(Role)


def settled(profile: Profile, request: Request, role: Role) -> Settings | None:
    """Return the settings, None for a request that the policy refuses."""
    settings, error = outcome(resolve, profile, request, role)
    if settings is None:
        assert isinstance(error, PolicyError)
        assert error.errno == errno.EPROTO
        assert names_the_rule(profile, error.text) or error.text.startswith("a server needs")
    return settings


def names_the_rule(profile: Profile, text: str) -> bool:
    """Whether a refusal ends with the profile, the key, and where it stands."""
    return any(text.endswith(profile.rule(key)) for key in (*KEYS, "validation"))


@given(POLICIES, REQUESTS, ROLES)
def test_settings_are_never_weaker_than_the_policy(profile: Profile, request: Request, role: Role) -> None:
    settings = settled(profile, request, role)
    if settings is None:
        return
    assert profile.version_min <= settings.version_min <= settings.version_max <= profile.version_max
    assert settings.ciphers
    assert set(settings.ciphers) <= set(profile.ciphers)
    assert sorted(settings.ciphers, key=profile.ciphers.index) == list(settings.ciphers)
    own = (profile.trust_anchors_pem or None, profile.trust_system)
    assert profile.honour_application_anchors or (settings.anchors_pem, settings.trust_system) == own
    assert set(settings.alpn) <= set(request.alpn if profile.alpn_allowed is None else profile.alpn_allowed)
    assert settings.profile == profile.name
    for copied in ("groups", "signature_algorithms", "security_level", "send_server_name", "key_log"):
        assert getattr(settings, copied) == getattr(profile, copied)
    if settings.authenticate_peer:
        assert set((profile.validation or Validation()).choices()) <= set(
            (settings.validation or Validation()).choices()
        )
    assert settings.validation is None or settings.session_ttl_s == 0
    assert settings.truncation_allowed == profile.truncation_allowed
    assert settings.verify_depth == profile.verify_depth
    assert settings.session_ttl_s <= (profile.session_ttl_s if profile.session_reuse_allowed else 0)
    if role is Role.INITIATOR:
        assert settings.authenticate_peer
        assert settings.hostname is not None or not profile.hostname_required
        assert settings.handshake_timeout_s == profile.handshake_timeout_s
        assert settings.staple is None
    else:
        assert settings.staple is not None or not profile.staple
        assert settings.authenticate_peer or not profile.client_certificate_required
        assert settings.identities
        assert settings.handshake_timeout_s == profile.accept_timeout_s


@given(POLICIES, REQUESTS, ROLES)
def test_what_was_asked_for_is_given_or_stricter_or_refused(profile: Profile, request: Request, role: Role) -> None:
    settings = settled(profile, request, role)
    if settings is None:
        return
    accepting = role is Role.ACCEPTOR
    assert settings.role is role
    assert settings.hostname == (None if accepting else request.hostname)
    assert settings.server_names == (request.server_names if accepting else ())
    if request.anchors_pem is not None:
        assert (settings.anchors_pem, settings.trust_system) == (request.anchors_pem, False)
    if request.revocation and settings.authenticate_peer:
        assert settings.validation is not None
        assert len(settings.validation.necessary) > len((profile.validation or OPENSSL_ALONE).necessary)
    assert settings.alpn == request.alpn
    assert settings.identities == request.identities
    assert settings.authenticate_peer or not request.request_peer_auth
    assert (settings.staple is not None) is (accepting and (profile.staple or request.staple))
    assert settings.version_min >= (request.version_min or profile.version_min)
    assert settings.version_max <= (request.version_max or profile.version_max)
    assert set(settings.ciphers) == set(profile.ciphers) - request.disabled_ciphers
    if not request.session_reuse:
        assert settings.session_ttl_s == 0
    elif request.session_ttl_s is not None:
        assert settings.session_ttl_s <= request.session_ttl_s


@given(POLICIES, REQUESTS, ROLES)
def test_every_version_that_is_left_has_a_cipher(profile: Profile, request: Request, role: Role) -> None:
    if (settings := settled(profile, request, role)) is not None:
        generations = {is_tls_1_3(name) for name in settings.ciphers}
        assert {version == 0x0304 for version in (settings.version_min, settings.version_max)} <= generations


@given(POLICIES)
def test_asking_for_a_name_alone_is_always_possible(profile: Profile) -> None:
    assert resolve(profile, Request(hostname="example.com")).hostname == "example.com"


@pytest.mark.parametrize(
    ("profile", "request_", "text"),
    [
        (Profile(), Request(), "TLS_REMOTE_HOSTNAME is not set"),
        (Profile(), Request("a", version_min=0x0302), "outside the policy's range"),
        (Profile(), Request("a", version_max=0x0305), "outside the policy's range"),
        (Profile(version_min=0x0304), Request("a", version_min=0x0303), "outside the policy's range"),
        (Profile(version_min=0x0304), Request("a", version_max=0x0303), "outside the policy's range"),
        (Profile(), Request("a", version_min=0x0304, version_max=0x0303), "no version is left"),
        (Profile(honour_application_anchors=False), Request("a", b"pem"), "trust anchors"),
        (Profile(ciphers=(NEW,)), Request("a", disabled_ciphers=frozenset({NEW})), "no cipher is left"),
        (Profile(ciphers=(NEW,)), Request("a", version_max=0x0303), "no cipher is left"),
        (Profile(ciphers=(OLD,)), Request("a", version_min=0x0304), "no cipher is left"),
        (Profile(), Request("a", version_min=0x0304, disabled_ciphers=frozenset(default_ciphers()[:3])), "no cipher"),
    ],
)
def test_refusals_say_why(profile: Profile, request_: Request, text: str) -> None:
    with pytest.raises(PolicyError, match=text):
        resolve(profile, request_)


def test_a_server_needs_somebody_to_be() -> None:
    with pytest.raises(PolicyError, match="a server needs TLS_CERTIFICATE_CHAIN"):
        resolve(Profile(), Request(), Role.ACCEPTOR)


def test_a_server_needs_no_hostname() -> None:
    assert resolve(Profile(), Request(identities=(IDENTITY,)), Role.ACCEPTOR).identities == (IDENTITY,)


@pytest.mark.parametrize("asked", [True, False])
def test_a_server_asks_for_certificates_when_the_application_does(asked: bool) -> None:
    request = Request(identities=(IDENTITY,), request_peer_auth=asked)
    assert resolve(Profile(), request, Role.ACCEPTOR).authenticate_peer is asked


@pytest.mark.parametrize(
    ("disabled", "versions"),
    [(set(), (0x0303, 0x0304)), ({NEW}, (0x0303, 0x0303)), ({OLD}, (0x0304, 0x0304))],
    ids=["none", "the new one", "the old one"],
)
def test_versions_without_a_cipher_are_left_out(disabled: set[str], versions: tuple[int, int]) -> None:
    settings = resolve(Profile(ciphers=(NEW, OLD)), Request("a", disabled_ciphers=frozenset(disabled)))
    assert (settings.version_min, settings.version_max) == versions


@pytest.mark.parametrize(
    ("profile", "reuse", "asked_s", "given_s"),
    [
        (Profile(session_ttl_s=100), False, None, 0),
        (Profile(session_ttl_s=100), False, 50, 0),
        (Profile(session_ttl_s=100), True, None, 100),
        (Profile(session_ttl_s=100), True, 50, 50),
        (Profile(session_ttl_s=100), True, 0, 0),
        (Profile(session_ttl_s=100), True, 200, 100),
        (Profile(session_ttl_s=100, session_reuse_allowed=False), True, 50, 0),
    ],
)
def test_how_long_sessions_may_be_resumed(profile: Profile, reuse: bool, asked_s: int | None, given_s: int) -> None:
    settings = resolve(profile, Request("a", session_reuse=reuse, session_ttl_s=asked_s))
    assert settings.session_ttl_s == given_s


# -- what is refused when it is set


def refusal(check: object, *arguments: object, **named: object) -> SsaError | None:
    _, error = outcome(lambda: check(*arguments, **named))  # type: ignore[operator]
    return error


@pytest.mark.parametrize(
    ("version", "fits"), [(0x0302, False), (0x0303, True), (0x0304, True), (0x0305, False)], ids=hex
)
def test_versions_one_by_one(version: int, fits: bool) -> None:
    assert (refusal(check_version, Profile(), version) is None) is fits


@pytest.mark.parametrize("enable", [True, False])
def test_ciphers_one_by_one(enable: bool) -> None:
    profile = Profile(ciphers=(NEW,))
    assert refusal(check_cipher, profile, NEW, enable=enable) is None
    assert isinstance(refusal(check_cipher, profile, OLD, enable=enable), PolicyError) is enable
    assert isinstance(refusal(check_cipher, profile, "nobody", enable=enable), ApplicationError)


def test_sessions_one_by_one() -> None:
    profile = Profile(session_ttl_s=100, session_reuse_allowed=False)
    assert refusal(check_session, profile, Opt.TLS_SESSION_REUSE, 0) is None
    assert refusal(check_session, profile, Opt.TLS_SESSION_TTL, 100) is None
    assert isinstance(refusal(check_session, profile, Opt.TLS_SESSION_REUSE, 1), PolicyError)
    assert isinstance(refusal(check_session, profile, Opt.TLS_SESSION_TTL, 101), PolicyError)


def test_protocols_one_by_one() -> None:
    assert refusal(check_protocols, Profile(), ["anything"]) is None
    profile = Profile("web", alpn_allowed=("h2",))
    assert refusal(check_protocols, profile, ["h2"]) is None
    refused = refusal(check_protocols, profile, ["h2", "imap"])
    assert isinstance(refused, PolicyError)
    assert refused.text == "the policy does not allow the protocol imap (profile web, alpn built in)"


def test_client_certificates_one_by_one() -> None:
    profile = Profile(client_certificate_required=True)
    assert refusal(check_peer_auth, profile, 1) is None
    assert refusal(check_peer_auth, Profile(), 0) is None
    assert isinstance(refusal(check_peer_auth, profile, 0), PolicyError)


def test_stapling_of_the_policy_cannot_be_switched_off() -> None:
    assert refusal(check_staple, Profile(), 0) is refusal(check_staple, Profile(), 1) is None
    profile = Profile("web", staple=True)
    assert refusal(check_staple, profile, 1) is None
    refused = refusal(check_staple, profile, 0)
    assert isinstance(refused, PolicyError)
    assert refused.text == "the policy has servers staple OCSP answers (profile web, staple built in)"


@pytest.mark.parametrize("ours", [True, False], ids=["policy", ""])
@pytest.mark.parametrize("theirs", [True, False], ids=["application", ""])
def test_a_server_staples_when_policy_or_application_says_so_and_a_client_never(ours: bool, theirs: bool) -> None:
    profile, request = Profile(staple=ours), Request("a.test", identities=(IDENTITY,), staple=theirs)
    assert (resolve(profile, request, Role.ACCEPTOR).staple is not None) is (ours or theirs)
    assert resolve(profile, request).staple is None


def test_responders_are_asked_for_staples_as_the_table_of_revocation_says() -> None:
    table = Choice(REVOCATION, REVOCATION, (("private_addresses", True),), timeout_s=2)
    request = Request(identities=(IDENTITY,), staple=True)
    assert resolve(Profile(validation=Validation(for_applications=table)), request, Role.ACCEPTOR).staple == table
    assert resolve(Profile(), request, Role.ACCEPTOR).staple == Choice(REVOCATION, REVOCATION)


def test_a_check_of_the_policy_cannot_be_switched_off() -> None:
    validation = Validation((Choice("ours", REVOCATION, (("sources", ("stapled", "ocsp")),)),))
    profile = Profile(validation=validation)
    for option in (Opt.TLS_REVOCATION_CHECKS, Opt.TLS_OCSP_CHECKS, Opt.TLS_OCSP_STAPLED_CHECKS):
        assert isinstance(refusal(check_revocation, profile, option, 0), PolicyError)
        assert is_checked(profile, option)
    assert refusal(check_revocation, profile, Opt.TLS_CRL_CHECKS, 0) is None
    assert refusal(check_revocation, profile, Opt.TLS_OCSP_CHECKS, 1) is None
    assert not is_checked(Profile(), Opt.TLS_REVOCATION_CHECKS)


@given(POLICIES, st.sampled_from(list(REVOCATION_SOURCES)), st.integers(0, 1))
def test_every_refusal_when_something_is_set_names_its_rule(profile: Profile, option: Opt, value: int) -> None:
    tried = [
        refusal(check_version, profile, 0x0301 + 2 * value),
        refusal(check_cipher, profile, "AES128-SHA", enable=True),
        refusal(check_protocols, profile, ["imap"]),
        refusal(check_peer_auth, profile, value),
        refusal(check_session, profile, Opt.TLS_SESSION_REUSE, value),
        refusal(check_session, profile, Opt.TLS_SESSION_TTL, 1001),
        refusal(check_revocation, profile, option, value),
        refusal(check_staple, profile, value),
    ]
    assert any(tried)
    assert all(names_the_rule(profile, error.text) for error in tried if error is not None)


def test_revocation_one_by_one() -> None:
    profile = Profile(revocation_sources=frozenset({Opt.TLS_CRL_CHECKS}))
    assert refusal(check_revocation, profile, Opt.TLS_CRL_CHECKS, 1) is None
    assert refusal(check_revocation, profile, Opt.TLS_OCSP_CHECKS, 0) is None
    assert isinstance(refusal(check_revocation, profile, Opt.TLS_OCSP_CHECKS, 1), PolicyError)
