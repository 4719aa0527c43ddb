"""The chains that every judge sees, each with the reason for which OpenSSL refuses it ("" when it does not; the
first words of it, since versions add to them).

A case is a function that makes it, so that nothing is signed before somebody asks.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import replace

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.certificates import NAME
from tests.differential.chains import (
    CLIENTS,
    FUTURE,
    PAST,
    RSA_MD5,
    RSA_SHA1,
    RSA_SHA256,
    SERVERS,
    Case,
    Issued,
    authority,
    leaf,
    resigned,
    tampered,
)

CHAINS: dict[str, tuple[Callable[[], Case], str]] = {}

UNKNOWN = x509.ObjectIdentifier("1.3.6.1.4.1.55555.1.2.3")
UNKNOWN_TOO = x509.ObjectIdentifier("1.3.6.1.4.1.55555.1.2.4")


def case(reason: str = "") -> Callable[[Callable[[], Case]], Callable[[], Case]]:
    """Enter a case under the name of its function."""

    def enter(make: Callable[[], Case]) -> Callable[[], Case]:
        assert make.__name__ not in CHAINS
        CHAINS[make.__name__] = (make, reason)
        return make

    return enter


def through(root: Issued, *between: Issued, own: Issued | None = None) -> Case:
    """A chain that is sent without its root, which is trusted; ``between`` is given from the root down."""
    issuer = between[-1] if between else root
    return Case(own or leaf(issuer), tuple(reversed(between)), (root,))


# -- good ones


@case()
def directly_below_the_root() -> Case:
    return through(authority("root"))


@case()
def one_intermediate() -> Case:
    root = authority("root")
    return through(root, authority("one", root))


@case()
def three_intermediates() -> Case:
    chain = [authority("root")]
    for label in ("one", "two", "three"):
        chain.append(authority(label, chain[-1]))
    return through(*chain)


@case()
def the_root_is_sent_as_well() -> Case:
    root = authority("root")
    return replace(through(root), along=(root,))


@case()
def the_wrong_order() -> Case:
    root = authority("root")
    one = authority("one", root)
    two = authority("two", one)
    return Case(leaf(two), (one, root, two), (root,))


@case()
def strangers_are_sent_along() -> Case:
    root = authority("root")
    one, stranger = authority("one", root), authority("stranger")
    return Case(leaf(one), (stranger, leaf(stranger, valid=PAST), one), (root,))


@case()
def everything_is_sent_twice() -> Case:
    root = authority("root")
    one = authority("one", root)
    own = leaf(one)
    return Case(own, (own, one, one, root, root), (root,))


@case()
def an_intermediate_signed_by_two_roots_the_trusted_one_first() -> Case:
    known, other = authority("known"), authority("other")
    return Case(leaf(authority("one", other)), (authority("one", known), authority("one", other)), (known,))


@case()
def a_new_root_signed_by_the_old_one() -> Case:
    old, new = authority("old"), authority("new")
    return Case(leaf(new), (authority("new", old),), (old,))


@case()
def two_ways_to_trust() -> Case:
    old, new = authority("old"), authority("new")
    return Case(leaf(new), (authority("new", old),), (old, new))


@case()
def an_expired_copy_of_the_intermediate_beside_a_fresh_one() -> Case:
    root = authority("root")
    return Case(leaf(authority("one", root)), (authority("one", root, valid=PAST), authority("one", root)), (root,))


@case()
def an_expired_intermediate_that_is_fresh_in_the_trust_store() -> Case:
    root = authority("root")
    fresh = authority("one", root)
    return Case(leaf(fresh), (authority("one", root, valid=PAST),), (root, fresh))


@case()
def an_expired_root_beside_its_renewal() -> Case:
    return Case(leaf(authority("root")), (), (authority("root", valid=PAST), authority("root")))


@case()
def the_intermediate_is_in_the_trust_store_and_not_sent() -> Case:
    root = authority("root")
    one = authority("one", root)
    return Case(leaf(one), (), (root, one))


@case()
def a_trusted_server_that_signed_for_itself() -> Case:
    own = leaf(None)
    return Case(own, (), (own,))


@case()
def an_authority_that_changed_its_key() -> Case:
    root = authority("root")
    old = authority("one", root, key_label="old key")
    return Case(leaf(authority("one", old)), (authority("one", old), old), (root,))


@case()
def no_key_identifiers() -> Case:
    root = authority("root", key_ids=False)
    one = authority("one", root, key_ids=False)
    return through(root, one, own=leaf(one, key_ids=False))


@case()
def a_path_of_exactly_the_length_allowed() -> Case:
    root = authority("root", path_length=1)
    return through(root, authority("one", root, path_length=0))


@case()
def an_unknown_extension_that_is_not_critical() -> Case:
    root = authority("root")
    own = leaf(root, extensions=((x509.UnrecognizedExtension(UNKNOWN, b"\5\0"), False),))
    return through(root, own=own)


@case()
def an_unknown_extension_twice() -> Case:
    root = authority("root")
    both = tuple((x509.UnrecognizedExtension(number, b"\5\0"), False) for number in (UNKNOWN, UNKNOWN_TOO))
    own = resigned(leaf(root, extensions=both), root, (encoded(UNKNOWN_TOO), encoded(UNKNOWN)))
    return through(root, own=own)


@case()
def a_leaf_that_says_nothing_about_itself() -> Case:
    root = authority("root")
    return through(root, own=leaf(root, authority=None, usage=None))


@case()
def a_leaf_that_may_sign_others() -> Case:
    root = authority("root")
    return through(root, own=leaf(root, authority=True, usage=frozenset({"digital_signature", "key_cert_sign"})))


@case()
def a_leaf_for_servers_and_clients() -> Case:
    root = authority("root")
    both = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH])
    return through(root, own=leaf(root, extended=both))


@case()
def an_intermediate_for_servers() -> Case:
    root = authority("root")
    return through(root, authority("one", root, extended=SERVERS))


@case()
def no_subject() -> Case:
    root = authority("root")
    return through(root, own=leaf(root, common_name="", key_label="nameless"))


@case()
def keys_of_many_kinds() -> Case:
    root = authority("root", key_kind="P-521")
    one = authority("one", root, key_kind="RSA-2048")
    two = authority("two", one, key_kind="Ed25519")
    three = authority("three", two, key_kind="P-224")
    return through(root, one, two, three, own=leaf(three, key_kind="P-384"))


@case()
def a_leaf_with_an_rsa_key() -> Case:
    root = authority("root", key_kind="RSA-2048")
    return through(root, own=leaf(root, key_kind="RSA-2048"))


@case()
def signed_with_rsa_pss() -> Case:
    root = authority("root", key_kind="RSA-2048", pss=True)
    return through(root, own=leaf(root, pss=True))


@case()
def a_root_that_signed_for_itself_with_sha1() -> Case:
    root = authority("root", key_kind="RSA-2048")
    return through(resigned(root, root, (RSA_SHA256, RSA_SHA1), digest=hashes.SHA1()))


# -- time


@case("certificate has expired")
def an_expired_leaf() -> Case:
    root = authority("root")
    return through(root, own=leaf(root, valid=PAST))


@case("certificate is not yet valid")
def a_leaf_of_tomorrow() -> Case:
    root = authority("root")
    return through(root, own=leaf(root, valid=FUTURE))


@case("certificate has expired")
def an_expired_intermediate() -> Case:
    root = authority("root")
    return through(root, authority("one", root, valid=PAST))


@case("certificate is not yet valid")
def an_intermediate_of_tomorrow() -> Case:
    root = authority("root")
    return through(root, authority("one", root, valid=FUTURE))


@case("certificate has expired")
def an_expired_root() -> Case:
    return through(authority("root", valid=PAST))


# -- trust


@case("unable to get local issuer certificate")
def an_unknown_root() -> Case:
    stranger = authority("stranger")
    one = authority("one", stranger)
    return Case(leaf(one), (one,), (authority("root"),))


@case("self-signed certificate in certificate chain")
def an_unknown_root_that_is_sent() -> Case:
    stranger = authority("stranger")
    return Case(leaf(stranger), (stranger,), (authority("root"),))


@case("self-signed certificate in certificate chain")
def another_root_of_the_same_name() -> Case:
    stranger = authority("root", key_label="another key")
    return Case(leaf(stranger), (stranger,), (authority("root"),))


@case("certificate signature failure")
def another_root_of_the_same_name_without_key_identifiers() -> Case:
    stranger = authority("root", key_label="another key", key_ids=False)
    return Case(leaf(stranger, key_ids=False), (), (authority("root", key_ids=False),))


@case("unable to get local issuer certificate")
def a_missing_intermediate() -> Case:
    root = authority("root")
    return Case(leaf(authority("one", root)), (), (root,))


@case("unable to get local issuer certificate")
def an_intermediate_signed_by_two_roots_the_trusted_one_last() -> Case:
    """OpenSSL takes the first that fits and does not come back for the other."""
    known, other = authority("known"), authority("other")
    return Case(leaf(authority("one", other)), (authority("one", other), authority("one", known)), (known,))


@case("self-signed certificate")
def a_server_that_signed_for_itself() -> Case:
    return Case(leaf(None), (), (authority("root"),))


@case("unable to get issuer certificate")
def only_the_intermediate_is_trusted() -> Case:
    root = authority("root")
    one = authority("one", root)
    return Case(leaf(one), (one,), (one,))


@case("unable to get local issuer certificate")
def only_the_leaf_is_trusted() -> Case:
    own = leaf(authority("root"))
    return Case(own, (), (own,))


@case("unable to get local issuer certificate")
def authorities_that_signed_each_other() -> Case:
    one = authority("one", authority("two"))
    two = authority("two", authority("one"))
    return Case(leaf(two), (two, one), (authority("root"),))


@case("certificate signature failure")
def a_changed_leaf() -> Case:
    root = authority("root")
    return through(root, own=tampered(leaf(root)))


@case("certificate signature failure")
def a_changed_intermediate() -> Case:
    root = authority("root")
    one = authority("one", root)
    return Case(leaf(one), (tampered(one),), (root,))


# -- what authorities may do


@case("invalid CA certificate")
def an_intermediate_that_is_no_authority() -> Case:
    root = authority("root")
    return through(root, authority("one", root, authority=False))


@case("invalid CA certificate")
def an_intermediate_without_basic_constraints() -> Case:
    root = authority("root")
    return through(root, authority("one", root, authority=None, usage=None))


@case("invalid CA certificate")
def a_root_that_is_no_authority() -> Case:
    return through(authority("root", authority=False))


@case("invalid CA certificate")
def an_intermediate_that_may_not_sign() -> Case:
    root = authority("root")
    return through(root, authority("one", root, usage=frozenset({"digital_signature"})))


@case("path length constraint exceeded")
def a_path_longer_than_the_intermediate_allows() -> Case:
    root = authority("root")
    one = authority("one", root, path_length=0)
    return through(root, one, authority("two", one))


@case("path length constraint exceeded")
def a_path_longer_than_the_root_allows() -> Case:
    root = authority("root", path_length=0)
    return through(root, authority("one", root))


# -- purpose


@case("unsuitable certificate purpose")
def a_leaf_for_clients() -> Case:
    root = authority("root")
    return through(root, own=leaf(root, extended=CLIENTS))


@case("unsuitable certificate purpose")
def a_leaf_for_code() -> Case:
    root = authority("root")
    return through(root, own=leaf(root, extended=x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING])))


@case("unsuitable certificate purpose")
def a_leaf_for_anything() -> Case:
    root = authority("root")
    anything = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE])
    return through(root, own=leaf(root, extended=anything))


@case("unsuitable certificate purpose")
def an_intermediate_for_clients() -> Case:
    root = authority("root")
    return through(root, authority("one", root, extended=CLIENTS))


@case("unsuitable certificate purpose")
def a_leaf_whose_key_signs_certificates_only() -> Case:
    root = authority("root")
    return through(root, own=leaf(root, usage=frozenset({"key_cert_sign"}), key_kind="RSA-2048"))


# -- name constraints


def constrained(
    permitted: list[x509.GeneralName] | None = None, excluded: list[x509.GeneralName] | None = None, **changes: object
) -> Case:
    """An intermediate that may sign certain names only, and a leaf."""
    root = authority("root")
    one = authority("one", root, constraints=x509.NameConstraints(permitted, excluded))
    return through(root, one, own=leaf(one, **changes))


ADDRESS = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
NETWORK = x509.IPAddress(ipaddress.ip_network("127.0.0.0/8"))
ELSEWHERE = x509.IPAddress(ipaddress.ip_network("10.0.0.0/8"))


@case()
def a_permitted_name() -> Case:
    return constrained([x509.DNSName("ssa.test")])


@case("permitted subtree violation")
def a_name_that_is_not_permitted() -> Case:
    return constrained([x509.DNSName("other.test")])


@case("permitted subtree violation")
def a_permitted_name_beside_another() -> Case:
    names = (x509.DNSName(NAME), x509.DNSName("server.other.test"))
    return constrained([x509.DNSName("ssa.test")], names=names)


@case()
def a_name_that_is_not_excluded() -> Case:
    return constrained(None, [x509.DNSName("other.test")])


@case("excluded subtree violation")
def an_excluded_name() -> Case:
    return constrained(None, [x509.DNSName("ssa.test")])


@case("excluded subtree violation")
def an_excluded_name_under_a_permitted_one() -> Case:
    return constrained([x509.DNSName("test")], [x509.DNSName("ssa.test")])


@case("excluded subtree violation")
def a_wildcard_over_an_excluded_name() -> Case:
    return constrained(None, [x509.DNSName("ssa.test")], names=(x509.DNSName("*.ssa.test"),))


@case()
def a_permitted_address() -> Case:
    return replace(constrained([NETWORK], names=(ADDRESS,)), name="127.0.0.1")


@case("permitted subtree violation")
def an_address_that_is_not_permitted() -> Case:
    return replace(constrained([ELSEWHERE], names=(ADDRESS,)), name="127.0.0.1")


@case("excluded subtree violation")
def an_excluded_address() -> Case:
    return replace(constrained(None, [NETWORK], names=(ADDRESS,)), name="127.0.0.1")


@case()
def a_constraint_on_names_of_another_kind() -> Case:
    return constrained([x509.RFC822Name("ssa.test")])


@case("permitted subtree violation")
def a_subject_that_is_not_permitted() -> Case:
    allowed = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "somebody")])
    return constrained([x509.DirectoryName(allowed)])


@case("permitted subtree violation")
def constraints_of_the_root() -> Case:
    return through(authority("root", constraints=x509.NameConstraints([x509.DNSName("other.test")], None)))


# -- extensions


@case("unhandled critical extension")
def an_unknown_critical_extension_of_the_leaf() -> Case:
    root = authority("root")
    return through(root, own=leaf(root, extensions=((x509.UnrecognizedExtension(UNKNOWN, b"\5\0"), True),)))


@case("unhandled critical extension")
def an_unknown_critical_extension_of_the_intermediate() -> Case:
    root = authority("root")
    return through(root, authority("one", root, extensions=((x509.UnrecognizedExtension(UNKNOWN, b"\5\0"), True),)))


# -- weak


@case("CA signature digest algorithm too weak")
def a_leaf_signed_with_sha1() -> Case:
    root = authority("root", key_kind="RSA-2048")
    return through(root, own=resigned(leaf(root), root, (RSA_SHA256, RSA_SHA1), digest=hashes.SHA1()))


@case("CA signature digest algorithm too weak")
def an_intermediate_signed_with_sha1() -> Case:
    root = authority("root", key_kind="RSA-2048")
    return through(root, resigned(authority("one", root), root, (RSA_SHA256, RSA_SHA1), digest=hashes.SHA1()))


@case("CA signature digest algorithm too weak")
def a_leaf_signed_with_md5() -> Case:
    root = authority("root", key_kind="RSA-2048")
    return through(root, own=resigned(leaf(root), root, (RSA_SHA256, RSA_MD5), digest=hashes.MD5()))


@case("EE certificate key too weak")
def a_leaf_with_a_short_key() -> Case:
    root = authority("root")
    return through(root, own=leaf(root, key_kind="RSA-1024"))


@case("CA certificate key too weak")
def an_intermediate_with_a_short_key() -> Case:
    root = authority("root")
    return through(root, authority("one", root, key_kind="RSA-1024"))


@case("CA certificate key too weak")
def a_root_with_a_short_key() -> Case:
    return through(authority("root", key_kind="RSA-1024"))


@case("CA certificate key too weak")
def an_intermediate_on_a_small_curve() -> Case:
    root = authority("root")
    return through(root, authority("one", root, key_kind="P-192"))


def encoded(number: x509.ObjectIdentifier) -> bytes:
    """Return the content of an object identifier's encoding (X.690 section 8.19)."""
    first, second, *rest = map(int, number.dotted_string.split("."))
    encoded = bytearray([40 * first + second])
    for arc in rest:
        groups = [arc & 0x7F]
        while arc := arc >> 7:
            groups.append(0x80 | arc & 0x7F)
        encoded += bytes(reversed(groups))
    return bytes(encoded)
