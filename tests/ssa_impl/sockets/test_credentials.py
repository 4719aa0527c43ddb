"""Chains and keys: what can be read, and that each key finds its chain in whatever order they come."""

from __future__ import annotations

import base64
import errno
import itertools
import warnings
from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st

from ssa_impl.errors import ApplicationError, PolicyError
from ssa_impl.policy.model import Identity
from ssa_impl.sockets.credentials import MISMATCH, Credentials, read_chain, read_key
from tests.ssa_impl.credentials import Credential, issued, key_as, new_key, self_signed, sign_for_itself
from tests.ssa_impl.outcomes import outcome

DER, PEM = serialization.Encoding.DER, serialization.Encoding.PEM
PKCS8, TRADITIONAL = serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL
KINDS = ("P-256", "P-384", "RSA-2048", "Ed25519")
THREE = tuple(self_signed(kind, "a.test") for kind in ("P-256", "P-384", "Ed25519"))


CERTIFICATE_DER = x509.load_pem_x509_certificate(THREE[0].chain).public_bytes(DER)


def in_pem(der: bytes, label: str) -> bytes:
    return f"-----BEGIN {label}-----\n{base64.encodebytes(der).decode()}-----END {label}-----\n".encode()


def refused(read: object, data: bytes) -> str:
    with pytest.raises(ApplicationError) as caught:
        read(data)  # type: ignore[operator]
    assert caught.value.errno == errno.EINVAL
    return caught.value.text


# -- chains


def test_a_chain_is_kept_whole_and_in_its_order() -> None:
    chain = issued(deep=True).chain
    assert chain.count(b"BEGIN CERTIFICATE") == 2
    assert read_chain(chain) == chain


def test_what_stands_around_the_certificates_is_left_out() -> None:
    made = issued(deep=True)
    first, second = (
        b"-----BEGIN CERTIFICATE-----" + part for part in made.chain.split(b"-----BEGIN CERTIFICATE-----")[1:]
    )
    with_words = b"subject: leaf\n" + first + b"\n\nissuer: CN\r\n" + made.key + second + b"\0"
    assert read_chain(with_words) == made.chain


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"/etc/ssl/server.pem\0",
        b"-----BEGIN CERTIFICATE-----",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        b"-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n",
        THREE[0].key,
        x509.load_pem_x509_certificate(THREE[0].chain).public_bytes(DER),
    ],
    ids=["empty", "nul", "path", "begin", "no-der", "no-base64", "key", "der"],
)
def test_no_chain(data: bytes) -> None:
    assert "no certificate" in refused(read_chain, data)


def test_one_bad_certificate_spoils_the_chain() -> None:
    assert refused(read_chain, THREE[0].chain + THREE[1].chain.replace(b"\nMII", b"\nAII"))


VERSION_3, VERSION_4 = bytes.fromhex("a003020102"), bytes.fromhex("a003020103")
TWO_EXTENSIONS = [x509.UnrecognizedExtension(x509.ObjectIdentifier(f"1.2.{last}"), b"\x05\0") for last in (3, 4)]


def test_a_certificate_of_a_version_that_does_not_exist() -> None:
    der = CERTIFICATE_DER.replace(VERSION_3, VERSION_4)
    assert der != CERTIFICATE_DER
    assert "no certificate" in refused(read_chain, in_pem(der, "CERTIFICATE"))


def test_a_certificate_with_one_extension_twice() -> None:
    """Its names cannot be read, and a server is chosen by them."""
    made = x509.load_pem_x509_certificate(sign_for_itself(new_key("P-256"), *TWO_EXTENSIONS).chain)
    der = made.public_bytes(DER).replace(bytes.fromhex("06022a04"), bytes.fromhex("06022a03"))
    assert der != made.public_bytes(DER)
    assert "no certificate" in refused(read_chain, in_pem(der, "CERTIFICATE"))


# -- keys


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("encoding", [PEM, DER], ids=["pem", "der"])
@pytest.mark.parametrize("form", [PKCS8, TRADITIONAL], ids=["pkcs8", "traditional"])
def test_a_key_in_any_form_is_the_same_key(
    kind: str, encoding: serialization.Encoding, form: serialization.PrivateFormat
) -> None:
    if kind == "Ed25519":
        form = PKCS8  # it has no other
    made = self_signed(kind, "a.test")
    assert read_key(key_as(made.key, encoding, form)) == made.key_der


def test_a_key_is_found_beside_its_certificate() -> None:
    made = issued(deep=True)
    for data in (made.key + made.chain, made.chain + made.key, made.key + b"\0", b"words\n" + made.key):
        assert read_key(data) == made.key_der


@pytest.mark.parametrize(
    ("encoding", "form"), [(PEM, PKCS8), (PEM, TRADITIONAL), (DER, PKCS8)], ids=["pem", "traditional", "der"]
)
@pytest.mark.parametrize("kind", ["P-256", "RSA-2048"])
def test_an_encrypted_key_is_refused_and_said_to_be_encrypted(
    kind: str, encoding: serialization.Encoding, form: serialization.PrivateFormat
) -> None:
    key = key_as(self_signed(kind, "a.test").key, encoding, form, passphrase=b"open sesame")
    assert "encrypted" in refused(read_key, key)


def test_a_key_of_another_kind_than_it_says() -> None:
    """X25519's identifier, and Ed448's, on 32 bytes of Ed25519."""
    der = self_signed("Ed25519", "a.test").key_der
    for last in (0x6E, 0x71):
        other = der.replace(bytes.fromhex("06032b6570"), bytes.fromhex("06032b65") + bytes([last]))
        key, error = outcome(read_key, other)
        assert (key is None) is (last == 0x71)
        assert error is None or "no key" in error.text


def public_key(encoding: serialization.Encoding) -> bytes:
    key = x509.load_pem_x509_certificate(THREE[0].chain).public_key()
    return key.public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"/etc/ssl/server.key\0",
        b"-----BEGIN PRIVATE KEY-----",
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        THREE[0].chain,
        public_key(PEM),
        public_key(DER),
        THREE[0].key_der[:-1],
    ],
    ids=["empty", "nul", "path", "begin", "no-der", "chain", "public-pem", "public-der", "cut"],
)
def test_no_key(data: bytes) -> None:
    assert "no key" in refused(read_key, data)


# -- whatever comes


def changed(data: bytes) -> st.SearchStrategy[bytes]:
    """``data`` with some bytes changed, cut or added."""

    def change(edits: list[tuple[int, bytes]]) -> bytes:
        made = bytearray(data)
        for position, new in edits:
            where = position % len(made)
            made[where : where + 1] = new
        return bytes(made)

    return st.builds(change, st.lists(st.tuples(st.integers(0, 4000), st.binary(max_size=2)), min_size=1, max_size=3))


ANY_CHAIN = (
    st.binary(max_size=200)
    | changed(THREE[0].chain)
    | changed(CERTIFICATE_DER).map(lambda der: in_pem(der, "CERTIFICATE"))
)
ANY_KEY = st.one_of(
    st.binary(max_size=200),
    *(changed(made.key) | changed(made.key_der) for made in (THREE[0], self_signed("Ed25519", "a.test"))),
    changed(THREE[0].key_der).map(lambda der: in_pem(der, "PRIVATE KEY")),
)


@given(ANY_CHAIN)
def test_any_bytes_are_a_chain_or_einval(data: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what RFC 5280 dislikes
        chain, error = outcome(read_chain, data)
        if chain is None:
            assert error is not None
            assert error.errno == errno.EINVAL
            return
        assert read_chain(chain) == chain
        given = Credentials()
        given.add_chain(chain)
        with pytest.raises(PolicyError):
            given.identities()


@given(ANY_KEY)
def test_any_bytes_are_a_key_or_einval(data: bytes) -> None:
    key, error = outcome(read_key, data)
    if key is None:
        assert error is not None
        assert error.errno == errno.EINVAL
        return
    assert read_key(key) == key
    Credentials().add_key(key)


# -- pairs


def give(steps: tuple[tuple[str, Credential], ...]) -> Credentials:
    given = Credentials()
    for what, made in steps:
        if what == "chain":
            given.add_chain(made.chain)
        else:
            given.add_key(made.key_der)
    return given


def test_nothing_given_is_nobody() -> None:
    assert Credentials().identities() == ()


@pytest.mark.parametrize("chains", list(itertools.permutations(THREE)), ids=range(6))
@pytest.mark.parametrize("keys", list(itertools.permutations(THREE)), ids=range(6))
@pytest.mark.parametrize("first", ["chain", "key"])
def test_each_key_finds_its_chain(chains: tuple[Credential, ...], keys: tuple[Credential, ...], first: str) -> None:
    parts = [[("chain", made) for made in chains], [("key", made) for made in keys]]
    if first == "key":
        parts.reverse()
    assert give((*parts[0], *parts[1])).identities() == tuple(made.identity for made in chains)


ITEMS = [(what, made) for made in THREE for what in ("chain", "key")]


@given(st.permutations(ITEMS), st.integers(0, len(ITEMS)))
def test_in_any_order_a_key_is_refused_at_once_only_where_a_chain_waits_for_another(
    steps: list[tuple[str, Credential]], count: int
) -> None:
    given, chains, keys = Credentials(), [], []
    for what, made in steps[:count]:
        if what == "chain":
            given.add_chain(made.chain)
            chains.append(made)
        elif any(chain not in keys for chain in chains) and made not in chains:
            with pytest.raises(PolicyError, match=MISMATCH) as caught:
                given.add_key(made.key_der)
            assert caught.value.errno == errno.EPROTO
        else:
            given.add_key(made.key_der)
            keys.append(made)
    if set(chains) == set(keys):
        assert given.identities() == tuple(made.identity for made in chains)
    else:
        with pytest.raises(PolicyError) as caught:
            given.identities()
        assert caught.value.errno == errno.EPROTO


RSA, ECDSA = self_signed("RSA-2048", "a.test"), THREE[0]


@pytest.mark.parametrize(
    ("steps", "text"),
    [
        ([("chain", ECDSA)], "TLS_PRIVATE_KEY is not"),
        ([("key", ECDSA)], "TLS_CERTIFICATE_CHAIN is not"),
        ([("key", RSA), ("chain", ECDSA)], MISMATCH),
        ([("key", ECDSA), ("chain", ECDSA), ("chain", RSA)], MISMATCH),
        ([("chain", ECDSA), ("key", ECDSA), ("key", RSA)], MISMATCH),
    ],
    ids=["no key", "no chain", "another", "chain left", "key left"],
)
def test_what_is_left_over_is_eproto_when_it_is_needed(steps: list[tuple[str, Credential]], text: str) -> None:
    given = give(tuple(steps))
    with pytest.raises(PolicyError, match=text) as caught:
        given.identities()
    assert caught.value.errno == errno.EPROTO


def test_a_key_that_was_refused_leaves_no_trace() -> None:
    given = give((("chain", ECDSA),))
    with pytest.raises(PolicyError, match=MISMATCH):
        given.add_key(RSA.key_der)
    given.add_key(ECDSA.key_der)
    assert given.identities() == (ECDSA.identity,)


def test_the_leaf_decides_not_its_issuers() -> None:
    given = Credentials()
    given.add_chain(RSA.chain + ECDSA.chain)
    with pytest.raises(PolicyError, match=MISMATCH):
        given.add_key(ECDSA.key_der)
    given.add_key(RSA.key_der)
    assert [identity.key_der for identity in given.identities()] == [RSA.key_der]


def test_a_renewed_certificate_takes_the_place_of_the_old_one() -> None:
    given = give((("chain", ECDSA), ("key", ECDSA), ("chain", RSA), ("key", RSA)))
    renewed = ECDSA.chain + THREE[1].chain
    given.add_chain(renewed)
    assert [identity.chain_pem for identity in given.identities()] == [renewed, RSA.chain]


def test_rsa_stands_beside_ecdsa_for_one_name() -> None:
    both = (issued(is_rsa=True), issued())
    given = give(tuple((what, made) for what in ("key", "chain") for made in both))
    assert given.identities() == tuple(made.identity for made in both)


def test_no_key_is_in_the_words_for_an_identity() -> None:
    assert "key" not in repr(ECDSA.identity)
    assert ECDSA.key_der.hex() not in repr(ECDSA.identity)


# -- names of the policy's keys


def policy(**keys: Credential) -> Callable[[str], Identity]:
    def find(name: str) -> Identity:
        if name not in keys:
            raise PolicyError(f"the policy has no key named {name}")
        return keys[name].identity

    return find


def test_a_name_stands_for_a_chain_and_a_key() -> None:
    first, second, _ = THREE
    credentials = Credentials(policy(first=first))
    credentials.add_chain("first")
    credentials.add_chain(second.chain)
    credentials.add_key(second.key_der)
    credentials.add_key("first")
    assert credentials.identities() == (first.identity, second.identity)
    assert credentials.has_names
    assert not credentials.is_empty


def test_a_named_key_goes_with_the_applications_own_chain() -> None:
    credentials = Credentials(policy(first=THREE[0]))
    credentials.add_chain(THREE[0].chain)
    credentials.add_key("first")
    assert credentials.identities() == (THREE[0].identity,)


def test_what_a_name_stands_for_is_looked_up_each_time() -> None:
    keys = {"web": THREE[0]}
    credentials = Credentials(lambda name: keys[name].identity)
    credentials.add_chain("web")
    credentials.add_key("web")
    keys["web"] = THREE[1]
    assert credentials.identities() == (THREE[1].identity,)


def test_names_are_refused_at_once_when_they_mean_nothing_or_do_not_match() -> None:
    for credentials in (Credentials(), Credentials(policy(first=THREE[0], second=THREE[1]))):
        for add in (credentials.add_chain, credentials.add_key):
            with pytest.raises(PolicyError, match="no key named missing"):
                add("missing")
    credentials.add_chain("first")
    with pytest.raises(PolicyError, match=MISMATCH):
        credentials.add_key("second")
    credentials.add_key("first")
    assert credentials.identities() == (THREE[0].identity,)
