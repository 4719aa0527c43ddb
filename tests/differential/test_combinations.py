"""Many faults at once: the daemon accepts exactly what OpenSSL accepts."""

from __future__ import annotations

import ipaddress
from dataclasses import replace

from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.certificates import NAME
from tests.differential.catalogue import UNKNOWN
from tests.differential.chains import (
    AUTHORITY,
    CLIENTS,
    FUTURE,
    LEAF,
    PAST,
    SERVERS,
    Case,
    Issued,
    Kind,
    authority,
    issue,
    tampered,
)
from tests.differential.verdicts import OTHER_NAME, of_openssl, of_the_daemon

CHANGES: list[dict[str, object]] = [
    {},
    {},
    {},
    {"valid": PAST},
    {"valid": FUTURE},
    {"authority": True},
    {"authority": False},
    {"authority": None},
    {"usage": None},
    {"usage": frozenset({"digital_signature"})},
    {"usage": frozenset({"key_cert_sign"})},
    {"extended": CLIENTS},
    {"extended": SERVERS},
    {"authority": True, "path_length": 0},
    {"authority": True, "path_length": 1},
    {"constraints": x509.NameConstraints([x509.DNSName("ssa.test")], None)},
    {"constraints": x509.NameConstraints([x509.DNSName("other.test")], None)},
    {"constraints": x509.NameConstraints(None, [x509.DNSName("server.ssa.test")])},
    {"constraints": x509.NameConstraints(None, [x509.IPAddress(ipaddress.ip_network("127.0.0.0/8"))])},
    {"extensions": ((x509.UnrecognizedExtension(UNKNOWN, b"\5\0"), False),)},
    {"extensions": ((x509.UnrecognizedExtension(UNKNOWN, b"\5\0"), True),)},
    {"key_ids": False},
    {"key_label": "another key"},
]

NAMES: list[tuple[x509.GeneralName, ...] | None] = [
    (x509.DNSName(NAME),),
    (x509.DNSName(NAME),),
    (x509.DNSName("*.ssa.test"),),
    (x509.DNSName("other.test"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))),
    (),
    None,
]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """A chain of up to four authorities with few faults, sent and trusted in some way."""
    kinds: list[Kind] = [replace(AUTHORITY, common_name=f"authority {n}") for n in range(draw(st.integers(1, 4)))]
    kinds.append(replace(LEAF, names=draw(st.sampled_from(NAMES))))
    for position in draw(st.lists(st.integers(0, len(kinds) - 1), max_size=3)):
        kinds[position] = replace(kinds[position], **draw(st.sampled_from(CHANGES)))  # type: ignore[arg-type]
    chain: list[Issued] = []
    for kind in kinds:
        chain.append(issue(kind, chain[-1] if chain else None))
    spoilt = draw(st.integers(0, 4 * len(chain)))
    if spoilt < len(chain):
        chain[spoilt] = tampered(chain[spoilt])
    root, *between, own = chain
    along = between[::-1]
    match draw(st.integers(0, 9)):
        case 0:
            along = along[1:]
        case 1:
            along = along[:-1]
        case 2:
            along = [*draw(st.permutations(along)), root]
        case 3:
            along = [authority("stranger"), *along, own]
    anchors = draw(st.sampled_from([(root,), (root,), (root,), (authority("stranger"),), (along or chain)[:1], (own,)]))
    return Case(own, tuple(along), tuple(anchors), draw(st.sampled_from([NAME, NAME, NAME, "127.0.0.1", "a.test"])))


@given(cases())
@settings(max_examples=300)
def test_any_chain(made: Case) -> None:
    reference, ours = of_openssl(made), of_the_daemon(made)
    assert ours.accepted is reference.accepted
    if reference.reason != OTHER_NAME:  # OpenSSL may see another name before it sees a fault; both are true then
        assert ours == reference
