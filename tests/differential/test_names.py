"""Which names a certificate is for: the daemon's verdict is OpenSSL's, with partial wildcards and subjects off.

Those two are RFC 9525's: a certificate's subject is no name (section 2), and a wildcard is a whole label (section 6.3).
"""

from __future__ import annotations

import ipaddress
from functools import cache

import pytest
from cryptography import x509
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ssa_impl.abi import Kind
from ssa_impl.errors import ApplicationError
from ssa_impl.sockets.values import parse
from tests.certificates import NAME
from tests.differential.catalogue import UNKNOWN, through
from tests.differential.chains import Case, Issued, authority, leaf
from tests.differential.verdicts import ACCEPTED, OTHER_NAME, Verdict, of_openssl, of_the_daemon

REFUSED = Verdict(OTHER_NAME)


@cache
def root() -> Issued:
    """One root for all names."""
    return authority("root")


def dns(*names: str) -> tuple[x509.GeneralName, ...]:
    return tuple(x509.DNSName._init_without_validation(name) for name in names)


def address(text: str) -> x509.GeneralName:
    return x509.IPAddress(ipaddress.ip_address(text))


def case(names: tuple[x509.GeneralName, ...] | None, wanted: str, common_name: str = "leaf") -> Case:
    own = leaf(root(), names=names, common_name=common_name, key_label="leaf")
    return Case(own, (), (root(),), wanted)


CARRIED: list[tuple[str, tuple[str, ...], str]] = [
    ("the name", (NAME,), NAME),
    ("in other case", ("Server.SSA.Test",), NAME),
    ("asked for in other case", (NAME,), "SERVER.ssa.TEST"),
    ("one of many", ("a.test", "b.test", NAME, "*.c.test"), NAME),
    ("a wildcard", ("*.ssa.test",), NAME),
    ("a wildcard in other case", ("*.SSA.test",), NAME),
    ("a wildcard over an A-label", ("*.ssa.test",), "xn--bcher-kva.ssa.test"),
    ("an A-label", ("xn--bcher-kva.test",), "xn--bcher-kva.test"),
    ("a single label", ("localhost",), "localhost"),
    ("underscores", ("a_b.test",), "a_b.test"),
    ("digits", ("1.2.test",), "1.2.test"),
    ("a label of 63", ("a" * 63 + ".test",), "a" * 63 + ".test"),
    ("beside an address as a name", ("192.0.2.1", NAME), NAME),
    ("beside a number", ("5", NAME), NAME),
    ("beside an empty name", ("", NAME), NAME),
    ("beside a lone wildcard", ("*", NAME), NAME),
    ("beside a wildcard over a top level", ("*.test", NAME), NAME),
    ("beside two wildcards", ("*.*.test", NAME), NAME),
    ("beside an inner wildcard", ("a.*.test", NAME), NAME),
    ("beside a partial wildcard", ("s*.other.test", NAME), NAME),
    ("beside a NUL", ("a\0b", NAME), NAME),
]

NOT_CARRIED: list[tuple[str, tuple[str, ...], str]] = [
    ("another name", ("other.test",), NAME),
    ("its parent", ("ssa.test",), NAME),
    ("a child", ("www.server.ssa.test",), NAME),
    ("a prefix", ("server.ssa.tes",), NAME),
    ("a wildcard over two labels", ("*.test",), NAME),
    ("a wildcard over nothing", ("*.server.ssa.test",), NAME),
    ("a lone wildcard", ("*",), NAME),
    ("a lone wildcard for a label", ("*",), "localhost"),
    ("a wildcard over a top level", ("*.test",), "ssa.test"),
    ("two wildcards", ("*.*.test",), NAME),
    ("an inner wildcard", ("server.*.test",), NAME),
    ("a partial wildcard before", ("s*.ssa.test",), NAME),
    ("a partial wildcard behind", ("*r.ssa.test",), NAME),
    ("a partial wildcard between", ("s*r.ssa.test",), NAME),
    ("a partial wildcard in an A-label", ("xn--*.ssa.test",), "xn--bcher-kva.ssa.test"),
    ("a trailing dot", (NAME + ".",), NAME),
    ("a leading dot", ("." + NAME,), NAME),
    ("a leading dot for the parent", (".ssa.test",), NAME),
    ("white space behind", (NAME + " ",), NAME),
    ("white space before", (" " + NAME,), NAME),
    ("a line end", (NAME + "\n",), NAME),
    ("a NUL behind", (NAME + "\0",), NAME),
    ("a NUL and more", (NAME + "\0.evil.test",), NAME),
    ("a U-label", ("buecher.test",), "xn--bcher-kva.test"),
    ("an address as a name", ("127.0.0.1",), "127.0.0.1"),
    ("an IPv6 address as a name", ("::1",), "::1"),
    ("a wildcard in an address", ("*.0.0.1",), "127.0.0.1"),
    ("an empty name", ("",), NAME),
]


@pytest.mark.parametrize(("carried", "wanted"), [row[1:] for row in CARRIED], ids=[row[0] for row in CARRIED])
def test_a_name_that_is_carried(carried: tuple[str, ...], wanted: str) -> None:
    made = case(dns(*carried), wanted)
    assert of_openssl(made) == ACCEPTED
    assert of_the_daemon(made) == ACCEPTED


@pytest.mark.parametrize(("carried", "wanted"), [row[1:] for row in NOT_CARRIED], ids=[row[0] for row in NOT_CARRIED])
def test_a_name_that_is_not_carried(carried: tuple[str, ...], wanted: str) -> None:
    made = case(dns(*carried), wanted)
    assert of_openssl(made) == REFUSED
    assert of_the_daemon(made) == REFUSED


MISCELLANY: list[tuple[str, tuple[x509.GeneralName, ...] | None, str, bool]] = [
    ("an address", (address("127.0.0.1"),), "127.0.0.1", True),
    ("an IPv6 address", (address("::1"),), "::1", True),
    ("an IPv6 address in long form", (address("2001:db8::1"),), "2001:0db8:0:0::1", True),
    ("a mapped address", (address("::ffff:127.0.0.1"),), "127.0.0.1", False),
    ("another address", (address("127.0.0.2"),), "127.0.0.1", False),
    ("an address for a name", (address("127.0.0.1"),), NAME, False),
    ("a name for an address", dns(NAME), "127.0.0.1", False),
    ("both, by name", (*dns(NAME), address("127.0.0.1")), NAME, True),
    ("both, by address", (*dns(NAME), address("127.0.0.1")), "127.0.0.1", True),
    ("no names", (), NAME, False),
    ("no extension", None, NAME, False),
    ("a mail address", (x509.RFC822Name("root@server.ssa.test"),), NAME, False),
    ("a URI", (x509.UniformResourceIdentifier("https://server.ssa.test"),), NAME, False),
    ("a URI with a port beside", (*dns(NAME), x509.UniformResourceIdentifier("https://a.test:8443/b")), NAME, True),
    ("a URN beside", (*dns(NAME), x509.UniformResourceIdentifier("urn:uuid:1-2")), NAME, True),
    ("a word for a URI beside", (*dns(NAME), x509.UniformResourceIdentifier("nonsense")), NAME, True),
    ("a directory name beside", (*dns(NAME), x509.DirectoryName(x509.Name([]))), NAME, True),
    ("another name beside", (*dns(NAME), x509.OtherName(UNKNOWN, b"\5\0")), NAME, True),
    (
        "a broken service name beside",
        (*dns(NAME), x509.OtherName(x509.ObjectIdentifier("1.3.6.1.5.5.7.8.7"), b"\5\0")),
        NAME,
        True,
    ),
    ("a registered number beside", (*dns(NAME), x509.RegisteredID(UNKNOWN)), NAME, True),
]


@pytest.mark.parametrize(
    ("carried", "wanted", "good"), [row[1:] for row in MISCELLANY], ids=[row[0] for row in MISCELLANY]
)
def test_names_of_other_kinds(carried: tuple[x509.GeneralName, ...] | None, wanted: str, good: bool) -> None:
    made = case(carried, wanted)
    assert of_openssl(made) == (ACCEPTED if good else REFUSED)
    assert of_the_daemon(made) == (ACCEPTED if good else REFUSED)


ODD_NAMES = {
    "an X.400 address": "a302" + "3000",
    "an EDI party": "a504" + "a1020c00",
    "five bytes for an address": "8705" + "7f00000100",
    "bytes that are no ASCII": "8203" + "c3a974",
}


@pytest.mark.parametrize("odd", ODD_NAMES)
def test_a_name_beside_what_few_can_read(odd: str) -> None:
    """What cannot be read beside the name is no reason to refuse it, and above all no defect of the daemon."""
    names = bytes([0x82, len(NAME)]) + NAME.encode() + bytes.fromhex(ODD_NAMES[odd])
    raw = x509.UnrecognizedExtension(x509.SubjectAlternativeName.oid, bytes([0x30, len(names)]) + names)
    made = through(root(), own=leaf(root(), names=None, extensions=((raw, False),)))
    assert of_the_daemon(made) == of_openssl(made) == ACCEPTED


@pytest.mark.parametrize("names", [None, dns("other.test"), (address("127.0.0.1"),)])
def test_a_subject_is_no_name(names: tuple[x509.GeneralName, ...] | None) -> None:
    made = case(names, NAME, common_name=NAME)
    assert of_openssl(made) == of_the_daemon(made) == REFUSED


def test_a_final_dot_is_not_part_of_the_name() -> None:
    """A deviation on purpose: OpenSSL compares the dot too, SNI (RFC 6066 section 3) leaves it out."""
    assert of_the_daemon(case(dns(NAME), NAME + ".")) == ACCEPTED
    assert of_the_daemon(case(dns("other.test"), NAME + ".")) == REFUSED


LABELS = st.text("ab1-_*x. \0", min_size=1, max_size=4) | st.sampled_from(["*", "xn--a", "a", "b", "test", "A"])
PATTERNS = st.lists(LABELS, min_size=1, max_size=4).map(".".join)


def is_hostname(text: str) -> bool:
    try:
        return parse(Kind.HOSTNAME, text.encode() + b"\0") == text and not text.endswith(".")
    except ApplicationError:
        return False


@given(st.lists(PATTERNS, min_size=1, max_size=3), PATTERNS.filter(is_hostname), st.booleans())
@example(["*.a.b"], "a.a.b", False)
@settings(max_examples=200)
def test_any_names(carried: list[str], wanted: str, there: bool) -> None:
    if there:
        carried = [*carried, wanted]
    made = case(dns(*carried), wanted)
    assert of_the_daemon(made) == of_openssl(made)
