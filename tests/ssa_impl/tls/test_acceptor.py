"""Which certificate for which name, and which protocol: decisions, before any handshake."""

from __future__ import annotations

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from ssa_impl.policy.model import Identity
from ssa_impl.tls.acceptor import NoCommonProtocol, choose, is_ours, select_protocol
from tests.ssa_impl.credentials import new_key, self_signed, sign_for_itself

A, A_RSA, A_P384, A_ED = (self_signed(kind, "a.test").identity for kind in ("P-256", "RSA-2048", "P-384", "Ed25519"))
B, B_RSA = (self_signed(kind, "b.test").identity for kind in ("P-256", "RSA-2048"))
WILD = self_signed("P-256", "*.wild.test").identity
BOTH = self_signed("P-384", "a.test", "b.test").identity
EXACT = self_signed("P-256", "x.wild.test").identity
UPPER = self_signed("P-256", "UPPER.Test", label="upper").identity
NAMELESS = sign_for_itself(new_key("P-256"), common_name="a.test").identity
ADDRESS = sign_for_itself(
    new_key("P-256"),
    x509.SubjectAlternativeName([x509.RFC822Name("root@a.test"), x509.UniformResourceIdentifier("a:b")]),
).identity


@pytest.mark.parametrize(
    ("identities", "name", "chosen"),
    [
        ((A, B), "a.test", (A,)),
        ((A, B), "b.test", (B,)),
        ((B, A), "", (B,)),
        ((A, B), "other.test", (A,)),
        ((A, B), "B.TEST", (B,)),
        ((A, B), "b.test.", (B,)),
        ((A, UPPER), "upper.test", (UPPER,)),
        ((A, WILD), "x.wild.test", (WILD,)),
        ((A, WILD), "wild.test", (A,)),
        ((A, WILD), "x.y.wild.test", (A,)),
        ((WILD, EXACT), "x.wild.test", (EXACT,)),
        ((WILD, EXACT), "y.wild.test", (WILD,)),
        ((A, A_RSA), "a.test", (A, A_RSA)),
        ((A_RSA, A), "a.test", (A_RSA, A)),
        ((A, A_RSA, A_ED), "a.test", (A, A_RSA, A_ED)),
        ((A, A_P384), "a.test", (A,)),
        ((A_P384, A), "a.test", (A_P384,)),
        ((A, B_RSA), "b.test", (B_RSA,)),
        ((A, B, A_RSA), "", (A, A_RSA)),
        ((A, B, A_RSA), "nobody.test", (A, A_RSA)),
        ((B, A, A_RSA), "nobody.test", (B,)),
        ((BOTH, A_RSA, B_RSA), "", (BOTH, A_RSA)),
        ((A, NAMELESS), "", (A,)),
        ((B, NAMELESS), "a.test", (B,)),
        ((NAMELESS, A_RSA), "nobody.test", (NAMELESS,)),
        ((ADDRESS, A), "a.test", (A,)),
        ((A,), "localhost", (A,)),
        ((A,), ".", (A,)),
    ],
)
def test_who_answers_to_whom(identities: tuple[Identity, ...], name: str, chosen: tuple[Identity, ...]) -> None:
    assert choose(identities, name) == chosen


ALL = [A, A_RSA, A_P384, A_ED, B, B_RSA, WILD, BOTH, EXACT, NAMELESS]
NAMES = st.sampled_from(["", "a.test", "b.test", "x.wild.test", "y.wild.test", "wild.test"]) | st.text(max_size=20)


@given(st.lists(st.sampled_from(ALL), min_size=1, unique=True), NAMES)
def test_somebody_always_answers_and_each_kind_of_key_once(identities: list[Identity], name: str) -> None:
    chosen = choose(tuple(identities), name)
    assert chosen
    assert set(chosen) <= set(identities)
    kinds = [type(x509.load_pem_x509_certificate(identity.chain_pem).public_key()) for identity in chosen]
    assert len(set(kinds)) == len(kinds)


# -- names that a server answers to


@pytest.mark.parametrize(
    ("ours", "asked", "answer"),
    [
        ((), "", True),
        ((), "anybody.test", True),
        (("a.test",), "", True),
        (("a.test",), "a.test", True),
        (("a.test",), "A.Test.", True),
        (("A.TEST.",), "a.test", True),
        (("a.test",), "b.test", False),
        (("a.test",), "x.a.test", False),
        (("a.test", "b.test"), "b.test", True),
        (("a.test",), "*", False),
    ],
)
def test_a_server_answers_to_its_names(ours: tuple[str, ...], asked: str, answer: bool) -> None:
    assert is_ours(ours, asked) is answer


# -- protocols


@pytest.mark.parametrize(
    ("ours", "offered", "selected"),
    [
        (("h2", "http/1.1"), [b"http/1.1", b"h2"], b"h2"),
        (("http/1.1", "h2"), [b"h2", b"http/1.1"], b"http/1.1"),
        (("h2",), [b"spdy", b"h2"], b"h2"),
    ],
)
def test_the_servers_order_counts(ours: tuple[str, ...], offered: list[bytes], selected: bytes) -> None:
    assert select_protocol(ours)(None, offered) == selected


@pytest.mark.parametrize("offered", [[], [b"spdy"], [b"H2"], [b"h2 "]])
def test_no_protocol_in_common(offered: list[bytes]) -> None:
    with pytest.raises(NoCommonProtocol):
        select_protocol(("h2", "http/1.1"))(None, offered)
