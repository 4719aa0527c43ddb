"""The daemon's verdict on every chain of the catalogue is OpenSSL's, with the same reason."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography import x509

from ssa_impl.policy.model import Profile
from tests.certificates import NAME
from tests.differential.catalogue import CHAINS, encoded, through
from tests.differential.chains import Case, authority, leaf, resigned
from tests.differential.verdicts import ACCEPTED, Verdict, of_openssl, of_the_daemon, of_the_standard_library


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("name", CHAINS)
def test_verdict(name: str, version: str) -> None:
    make, reason = CHAINS[name]
    case = make()
    reference = of_openssl(case, version)
    assert reference.is_because_of(reason)
    assert of_the_daemon(case, version) == reference


@pytest.mark.parametrize("name", CHAINS)
def test_another_openssl_agrees(name: str) -> None:
    """The reference is not of one build only; reasons are not compared, since versions word them differently."""
    make, reason = CHAINS[name]
    assert of_the_standard_library(make()).accepted is not bool(reason)


UNREADABLE = {
    "alternative names twice": (x509.SubjectAlternativeName.oid, b"\x30\0"),
    "basic constraints that are none": (x509.BasicConstraints.oid, b"\4\0"),
    "alternative names that are none": (x509.SubjectAlternativeName.oid, b"\4\0"),
    "key usage that is none": (x509.KeyUsage.oid, b"\4\0"),
    "an extension of nothing": (x509.ExtendedKeyUsage.oid, b""),
}
_SOME = x509.ObjectIdentifier("2.5.29.99")


@pytest.mark.parametrize("critical", [False, True], ids=["not critical", "critical"])
@pytest.mark.parametrize("fault", UNREADABLE)
def test_a_certificate_that_no_library_would_load(fault: str, critical: bool) -> None:
    """Refused by both, for the same reason, and as the peer's fault."""
    number, content = UNREADABLE[fault]
    root = authority("root")
    twice = fault.endswith("twice")
    odd = x509.UnrecognizedExtension(_SOME, content)
    made = leaf(
        root, names=(x509.DNSName(NAME),) if twice else None, authority=None, usage=None, extensions=((odd, critical),)
    )
    shown = resigned(made, root, (encoded(_SOME), encoded(number)))
    case = replace(through(root), shown=shown)
    reference = of_openssl(case, "1.2")
    assert not reference.accepted
    assert of_the_daemon(case, "1.2") == reference


def _chain_of(count: int) -> Case:
    chain = [authority("root")]
    for number in range(count):
        chain.append(authority(f"number {number}", chain[-1]))
    return through(*chain)


def test_the_policys_depth_is_shorter_than_openssls() -> None:
    """A deviation on purpose: OpenSSL allows 100 intermediate certificates, the policy 10."""
    assert of_openssl(_chain_of(10)) == of_the_daemon(_chain_of(10)) == ACCEPTED
    assert of_openssl(_chain_of(11)) == ACCEPTED
    assert of_the_daemon(_chain_of(11)) == Verdict("certificate chain too long")
    assert of_the_daemon(_chain_of(11), profile=Profile(verify_depth=11)) == ACCEPTED
