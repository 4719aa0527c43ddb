"""Contexts: one for each distinct setting, and bad anchors are the application's mistake."""

from __future__ import annotations

import errno
import gc
import os
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import x25519

from ssa_impl.errors import ApplicationError, DaemonError, PeerError, PolicyError
from ssa_impl.policy.ciphers import security_bits
from ssa_impl.policy.contexts import context_for, forget_contexts
from ssa_impl.policy.model import Identity, Profile, Request, Role, Settings
from ssa_impl.policy.resolve import resolve
from ssa_impl.tls.engine import Engine
from ssa_impl.tls.negotiated import Negotiated
from tests.certificates import authority
from tests.ssa_impl.credentials import anchors, issued, self_signed
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


# -- what the policy says of a handshake


def agreed(client: Profile, server: Profile = Profile(), *, identity: Identity = A, **request: object) -> Negotiated:  # noqa: B008
    """Let a client and a server of these profiles meet; what fails is raised."""
    wanted = resolve(client, Request("a.test", **({"anchors_pem": anchors()} | request)))  # type: ignore[arg-type]
    offered = resolve(server, Request(identities=(identity,)), Role.ACCEPTOR)
    ours, theirs = Engine(context_for(wanted), wanted), Engine(context_for(offered), offered)
    done = {ours: False, theirs: False}
    for _ in range(8):
        for one, other in ((ours, theirs), (theirs, ours)):
            done[one] = done[one] or one.handshake()
            other.receive(b"".join(iter(one.output, b"")))
    assert all(done.values())
    assert theirs.negotiated().group == ours.negotiated().group
    return theirs.negotiated()


ONE_GROUP = [("X25519",), ("P-384",), ("X25519MLKEM768",)]


@pytest.mark.parametrize("group", ONE_GROUP, ids="".join)
def test_the_group_is_the_policys_on_either_side(group: tuple[str, ...]) -> None:
    name = group[0].lower().replace("p-384", "secp384r1")
    assert agreed(Profile(groups=group)).group.lower() == name
    assert agreed(Profile(), Profile(groups=group)).group.lower() == name


def test_without_a_common_group_there_is_no_connection() -> None:
    with pytest.raises(PeerError):
        agreed(Profile(groups=("X25519",)), Profile(groups=("P-384",)))


def test_a_signature_that_is_not_allowed_is_not_taken() -> None:
    agreed(Profile(signature_algorithms=("ecdsa_secp256r1_sha256",)))
    with pytest.raises(PeerError):
        agreed(Profile(signature_algorithms=("ed25519",)))
    with pytest.raises(PeerError):
        agreed(Profile(), Profile(signature_algorithms=("ed25519",)))


def test_a_security_level_refuses_weaker_keys_and_ciphers() -> None:
    two = ("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384")
    older = Profile(version_max=0x0303, ciphers=two)
    assert agreed(older).cipher == two[0]
    assert agreed(older, replace(older, security_level=3)).cipher == two[0]
    strong = self_signed("P-384", "a.test")
    four = replace(older, security_level=4)
    assert agreed(older, four, identity=strong.identity, anchors_pem=strong.chain).cipher == two[1]
    with pytest.raises(PeerError):
        agreed(replace(older, ciphers=two[:1]), four, identity=strong.identity, anchors_pem=strong.chain)
    with pytest.raises(PolicyError, match="too small"):
        agreed(older, four)


def test_a_level_holds_where_only_tls_1_3_is_spoken() -> None:
    only = Profile(version_min=0x0304, ciphers=("TLS_AES_128_GCM_SHA256",))
    assert agreed(only).cipher == "TLS_AES_128_GCM_SHA256"
    with pytest.raises(PolicyError, match="too small"):
        context_for(resolve(replace(only, security_level=4), Request(identities=(A,)), Role.ACCEPTOR))


@pytest.mark.parametrize("sent", [True, False])
def test_the_servers_name_is_sent_when_the_policy_says_so(sent: bool) -> None:
    assert agreed(Profile(send_server_name=sent)).server_name == ("a.test" if sent else "")


def test_the_policys_own_anchors_are_trusted_where_the_application_names_none() -> None:
    trusting = Profile(trust_store=("/ca.pem",), trust_anchors_pem=anchors())
    agreed(trusting, anchors_pem=None)
    both = replace(trusting, trust_store=("system", "/ca.pem"))
    agreed(both, anchors_pem=None)
    with pytest.raises(PeerError):
        agreed(Profile(), anchors_pem=None)
    with pytest.raises(PeerError):
        agreed(trusting, anchors_pem=authority().anchors_pem)


def test_secrets_are_logged_where_the_policy_says_so_and_for_nobody_else_to_read(tmp_path: Path) -> None:
    before = open_descriptors()
    log = tmp_path / "keys"
    agreed(Profile(key_log=str(log)))
    assert {line.split()[0] for line in log.read_text().splitlines()} >= {
        "CLIENT_TRAFFIC_SECRET_0",
        "SERVER_TRAFFIC_SECRET_0",
    }
    assert log.stat().st_mode & 0o777 == 0o600
    agreed(Profile())
    forget_contexts()
    gc.collect()
    assert open_descriptors() == before


def test_a_key_log_that_others_can_read_or_that_leads_elsewhere_makes_no_connection(tmp_path: Path) -> None:
    (tmp_path / "open").touch(0o644)
    (tmp_path / "link").symlink_to(tmp_path / "target")
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name in ("open", "link", "pipe", "none/none"):
        with pytest.raises(DaemonError, match="key log"):
            agreed(Profile(key_log=str(tmp_path / name)))
    assert not (tmp_path / "target").exists()


def test_profiles_of_equal_values_share_a_context() -> None:
    pem = authority().anchors_pem
    made = [context_for(resolve(Profile(name), Request("a", pem))) for name in ("one", "two")]
    assert made[0] is made[1]


@pytest.mark.parametrize(
    ("cipher", "bits"),
    [
        ("TLS_AES_128_GCM_SHA256", 128), ("TLS_CHACHA20_POLY1305_SHA256", 256), ("TLS_AES_128_CCM_8_SHA256", 64),
        ("ECDHE-RSA-AES128-SHA256", 128), ("AES256-SHA", 256), ("ECDHE-ECDSA-AES256-CCM8", 64), ("NULL-SHA256", 0),
        ("ECDHE-ECDSA-CAMELLIA256-SHA384", 256),
    ],
)  # fmt: skip
def test_the_strength_of_ciphers(cipher: str, bits: int) -> None:
    assert security_bits(cipher) == bits
