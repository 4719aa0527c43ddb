"""Contexts: one for each distinct setting, and bad anchors are the application's mistake."""

from __future__ import annotations

import errno

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import x25519

from ssa_impl.errors import ApplicationError, PolicyError
from ssa_impl.policy.contexts import context_for
from ssa_impl.policy.model import Identity, Profile, Request, Role, Settings
from ssa_impl.policy.resolve import resolve
from tests.certificates import authority
from tests.ssa_impl.credentials import issued, self_signed
from tests.ssa_impl.outcomes import open_descriptors

BEGIN = b"-----BEGIN CERTIFICATE-----\n"


def settings(anchors_pem: bytes | None = None, version_min: int | None = None, hostname: str = "a") -> Settings:
    return resolve(Profile(), Request(hostname, anchors_pem, version_min=version_min))


def test_equal_settings_share_a_context_and_the_name_does_not_matter() -> None:
    pem = authority().anchors_pem
    assert context_for(settings(pem)) is context_for(settings(pem, hostname="b"))


def test_different_settings_do_not() -> None:
    pem = authority().anchors_pem
    made = [context_for(s) for s in (settings(pem), settings(pem + b"\n"), settings(pem, 0x0304), settings())]
    assert len({id(context) for context in made}) == 4


@pytest.mark.parametrize(
    "pem",
    [b"", b"nonsense", BEGIN, BEGIN + b"AAAA\n-----END CERTIFICATE-----\n"],
)
def test_anchors_without_a_certificate(pem: bytes) -> None:
    before = open_descriptors()
    with pytest.raises(ApplicationError, match="holds no certificate") as caught:
        context_for(settings(pem))
    assert caught.value.errno == errno.EINVAL
    assert open_descriptors() == before


def test_a_nul_after_the_anchors_is_no_harm() -> None:
    context_for(settings(authority().anchors_pem + b"\0"))


# -- servers


def serving(*identities: Identity, **request: object) -> Settings:
    return resolve(Profile(), Request(identities=identities, **request), Role.ACCEPTOR)  # type: ignore[arg-type]


A, B = issued("a.test").identity, issued("b.test", is_rsa=True).identity


def test_equal_servers_share_a_context_and_others_do_not() -> None:
    assert context_for(serving(A, B)) is context_for(serving(A, B))
    others = [
        serving(A),
        serving(B, A),
        serving(A, B, server_names=("a.test",)),
        serving(A, B, alpn=("h2",)),
        serving(A, B, request_peer_auth=True),
        serving(A, B, session_reuse=True),
        serving(A, B, version_min=0x0304),
        serving(A, B, disabled_ciphers=frozenset(Profile().ciphers[:1])),
    ]
    assert len({id(context_for(made)) for made in [serving(A, B), *others]}) == 1 + len(others)


def test_a_client_with_a_certificate_does_not_share_with_one_without() -> None:
    pem = authority().anchors_pem
    presenting = resolve(Profile(), Request("a", pem, identities=(A,)))
    assert context_for(presenting) is not context_for(settings(pem))


def refused(made: Settings) -> str:
    before = open_descriptors()
    with pytest.raises(PolicyError) as caught:
        context_for(made)
    assert caught.value.errno == errno.EPROTO
    assert open_descriptors() == before
    return caught.value.text


WEAK = self_signed("RSA-1024", "weak.test").identity


def test_a_certificate_that_is_too_weak_is_refused() -> None:
    assert "too small" in refused(serving(WEAK))
    assert "too small" in refused(resolve(Profile(), Request("a", authority().anchors_pem, identities=(WEAK,))))


@pytest.mark.parametrize("identities", [(A, WEAK), (WEAK, A)], ids=["last", "first"])
def test_one_weak_certificate_is_refused_before_anybody_asks_for_it(identities: tuple[Identity, ...]) -> None:
    assert "too small" in refused(serving(*identities))


def test_a_key_of_another_certificate_is_refused() -> None:
    assert "mismatch" in refused(serving(Identity(A.chain_pem, issued("c.test").key_der)))


def test_a_key_of_a_kind_that_cannot_sign_is_refused() -> None:
    key = x25519.X25519PrivateKey.generate().private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    assert refused(serving(Identity(A.chain_pem, key)))


@pytest.mark.parametrize("kind", ["P-256", "P-384", "RSA-2048", "Ed25519"])
def test_keys_of_every_usual_kind_are_taken(kind: str) -> None:
    before = open_descriptors()
    context_for(serving(self_signed(kind, "a.test").identity))
    assert open_descriptors() == before


def test_anchors_are_read_only_when_somebody_is_to_be_authenticated() -> None:
    context_for(serving(A, anchors_pem=b"nonsense"))
    with pytest.raises(ApplicationError, match="holds no certificate"):
        context_for(serving(A, anchors_pem=b"nonsense", request_peer_auth=True))


def test_sessions_are_kept_as_long_as_the_settings_say() -> None:
    assert context_for(serving(A, session_reuse=True, session_ttl_s=77)).get_timeout() == 77
