"""Readers of single values of a policy file: each returns what the profile holds, or raises Wrong."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import lru_cache, partial
from typing import Any

from OpenSSL import SSL

from ..tls.binding import set_groups as take_groups
from ..tls.binding import set_signature_algorithms as take_signature_algorithms
from .ciphers import default_ciphers, is_tls_1_3, known_ciphers
from .complaints import Wrong, nearest

_VERSIONS = {"1.2": 0x0303, "1.3": 0x0304}
VERSION_NAMES = {number: name for name, number in _VERSIONS.items()}
_MAX_NAMES = 256
_KINDS = {bool: "a boolean", int: "a whole number", float: "a number", str: "a string", list: "a list", dict: "a table"}
_USUAL_GROUPS = ("X25519MLKEM768", "X25519", "P-256", "P-384", "P-521", "X448", "ffdhe2048", "ffdhe3072", "ffdhe4096")
_USUAL_SIGNATURES = (
    "ecdsa_secp256r1_sha256", "ecdsa_secp384r1_sha384", "ecdsa_secp521r1_sha512", "ed25519", "ed448",
    "rsa_pss_rsae_sha256", "rsa_pss_rsae_sha384", "rsa_pss_rsae_sha512", "rsa_pss_pss_sha256", "rsa_pss_pss_sha384",
    "rsa_pss_pss_sha512", "rsa_pkcs1_sha256", "rsa_pkcs1_sha384", "rsa_pkcs1_sha512",
)  # fmt: skip


def kind(value: object) -> str:
    """Return what a value is, in words."""
    return _KINDS.get(type(value), "a date or time")


def version(value: object) -> int:
    """Read a TLS version as its wire number."""
    if isinstance(value, str) and value in _VERSIONS:
        return _VERSIONS[value]
    raise Wrong(f"{_quoted(value)} is no TLS version", 'write "1.2" or "1.3"')


def boolean(value: object) -> bool:
    """Read true or false."""
    if isinstance(value, bool):
        return value
    raise Wrong(
        f"must be true or false, not {kind(value)}", "write it without quotes" if isinstance(value, str) else ""
    )


def whole(low: int, high: int) -> Callable[[object], int]:
    """Return the reader of whole numbers of a range."""

    def read(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise Wrong(f"must be a whole number, not {kind(value)}")
        if not low <= value <= high:
            raise Wrong(f"{_said(value)} is out of range", f"it can be {low} to {high}")
        return value

    return read


def number(low: float, high: float) -> Callable[[object], float]:
    """Return the reader of numbers of a range."""

    def read(value: object) -> float:
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise Wrong(f"must be a number, not {kind(value)}")
        if not low <= value <= high:
            raise Wrong(f"{_said(value)} is out of range", f"it can be {low:g} to {high:g}")
        return float(value)

    return read


def text(value: object) -> str:
    """Read a printable string that is not empty."""
    if isinstance(value, str) and value and value.isprintable():
        return value
    raise Wrong("must be a string of printable characters" if isinstance(value, str) else _must_be("a string", value))


def path(value: object) -> str:
    """Read an absolute path."""
    if not text(value).startswith("/"):
        raise Wrong(f"{_quoted(value)} is no absolute path", "begin it with /")
    return text(value)


def path_or_empty(value: object) -> str:
    """Read an absolute path, or nothing."""
    return "" if value == "" else path(value)


def word(words: Collection[str]) -> Callable[[object], str]:
    """Return the reader of one of a few words."""

    def read(value: object) -> str:
        if not isinstance(value, str):
            raise Wrong(_must_be("a string", value))
        if value not in words:
            raise Wrong(f"{_quoted(value)} is none of its values", nearest(value, words))
        return value

    return read


def names(value: object) -> tuple[str, ...]:
    """Read a list of strings, none of them twice."""
    if not isinstance(value, list):
        raise Wrong(_must_be("a list of strings", value), "put it in [ ]" if isinstance(value, str) else "")
    if len(value) > _MAX_NAMES:
        raise Wrong(f"has {len(value)} elements", f"it can have {_MAX_NAMES}")
    for name in value:
        text(name)
    if twice := next((name for name in value if value.count(name) > 1), None):
        raise Wrong(f"{_quoted(twice)} is there twice")
    return tuple(value)


def one_or_more(read: Callable[[object], str]) -> Callable[[object], tuple[str, ...]]:
    """Return the reader of one value, or of a list of some."""

    def read_all(value: object) -> tuple[str, ...]:
        found = tuple(map(read, names(value) if isinstance(value, list) else [value]))
        if not found:
            raise Wrong("must not be empty")
        return found

    return read_all


def one_of_each(words: Mapping[str, Any]) -> Callable[[object], frozenset[Any]]:
    """Return the reader of a list of some words, as what they stand for."""

    def read(value: object) -> frozenset[Any]:
        for name in (found := names(value)):
            word(words)(name)
        return frozenset(words[name] for name in found)

    return read


def trust_store(value: object) -> tuple[str, ...]:
    """Read whose certificates are anchors: the system's, and paths."""
    if not (found := names(value)):
        raise Wrong("must not be empty: nobody would be trusted", 'name "system" or a path')
    for entry in found:
        if entry != "system" and not entry.startswith("/"):
            raise Wrong(f'{_quoted(entry)} is neither "system" nor an absolute path', nearest(entry, ["system"]))
    return found


def protocols(value: object) -> tuple[str, ...] | None:
    """Read protocols' names (RFC 7301), None for any."""
    if value == "any":
        return None
    found = names(value)
    for name in found:
        if not name.isascii() or len(name) > 255 or "," in name:
            raise Wrong(f"{_quoted(name)} is no protocol's name: 1 to 255 ASCII characters without a comma")
    return found


def _some_ciphers(value: object, *, new: bool) -> tuple[str, ...]:
    if value == "default":
        return tuple(name for name in default_ciphers() if is_tls_1_3(name) is new)
    known = {name for name in known_ciphers() if is_tls_1_3(name) is new}
    other = "ciphers" if new else "suites"
    for name in (found := names(value)):
        if name in known_ciphers() and name not in known:
            raise Wrong(f"{name} is of the other TLS version", f"it belongs under {other}")
        if name not in known:
            raise Wrong(f"OpenSSL knows no cipher {name}", nearest(name, known))
    return found


suites = partial(_some_ciphers, new=True)
ciphers = partial(_some_ciphers, new=False)


def groups(value: object) -> tuple[str, ...]:
    """Read groups' names, () for OpenSSL's own."""
    return _checked(value, "group", is_group, _USUAL_GROUPS)


def signature_algorithms(value: object) -> tuple[str, ...]:
    """Read signature algorithms' names, () for OpenSSL's own."""
    return _checked(value, "signature algorithm", is_signature_algorithm, _USUAL_SIGNATURES)


def _checked(value: object, what: str, known: Callable[[str], bool], usual: Collection[str]) -> tuple[str, ...]:
    if value == "default":
        return ()
    if not (found := names(value)):
        raise Wrong("must not be empty: no handshake could be made", 'write "default" for OpenSSL\'s own')
    for name in found:
        if not known(name):
            raise Wrong(f"OpenSSL knows no {what} {name}", nearest(name, usual))
    return found


@lru_cache(maxsize=1024)
def is_group(name: str) -> bool:
    """Whether OpenSSL knows a group by this name."""
    return _is_name(name) and take_groups(SSL.Context(SSL.TLS_METHOD), [name])


@lru_cache(maxsize=1024)
def is_signature_algorithm(name: str) -> bool:
    """Whether OpenSSL knows a signature algorithm by this name, such as ed25519 or ECDSA+SHA256."""
    return _is_name(name) and take_signature_algorithms(SSL.Context(SSL.TLS_METHOD), [name])


def _is_name(name: str) -> bool:
    return name[:1].isalnum() and name.isascii() and not set(name) & set(":/* \t")


def _must_be(what: str, value: object) -> str:
    return f"must be {what}, not {kind(value)}"


def _said(number: float) -> str:
    """Return a number as it is said: a whole one has no bound in TOML, and what Python converts has one."""
    if isinstance(number, int):
        return str(number) if abs(number) < 1 << 128 else "more than 128 bits"
    return f"{number:g}"


def _quoted(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else kind(value)
