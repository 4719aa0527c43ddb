"""The system's crypto-policies, from the file that they make for OpenSSL (crypto-policies(7), ``opensslcnf.config``).

What OpenSSL reads there is taken over: CipherString, Ciphersuites, TLS.MinProtocol, TLS.MaxProtocol,
SignatureAlgorithms, Groups.  DTLS and the options of other sections are not for secure sockets.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from OpenSSL import SSL

from .ciphers import is_tls_1_3, known_ciphers
from .complaints import Wrong
from .files import read_trusted
from .model import TLS_1_2, TLS_1_3, Origin
from .shapes import is_group, is_signature_algorithm

_MAX_BYTES = 65_536
_VERSIONS = {"TLSv1": TLS_1_2, "TLSv1.1": TLS_1_2, "TLSv1.2": TLS_1_2, "TLSv1.3": TLS_1_3}
_LEVEL = re.compile(r"@SECLEVEL=(\d)")


def import_crypto_policies(path: Path) -> dict[str, tuple[Any, Origin]]:
    """Return the profile's keys that the file settles, and where.

    Raises Wrong when this system has no such file, or when it leaves nothing that this OpenSSL knows.
    """
    if not path.exists():
        raise Wrong(f"this system has no crypto-policies: {path} is not there", "set the profile's keys instead")
    found: dict[str, tuple[Any, Origin]] = {}
    for number, line in enumerate(read_trusted(path, _MAX_BYTES).decode("utf-8", "replace").splitlines(), 1):
        if line.lstrip().startswith("["):
            break  # other sections are for other things
        name, equals, value = (part.strip() for part in line.partition("="))
        if equals and (read := _READERS.get(name)) is not None:
            found |= {key: (made, Origin(str(path), number)) for key, made in read(value).items()}
    if not found:
        raise Wrong(f"{path} says nothing about TLS")
    return found


def _cipher_string(value: str) -> dict[str, Any]:
    context = SSL.Context(SSL.TLS_METHOD)
    try:
        context.set_cipher_list(value.encode())
    except SSL.Error:
        raise Wrong(f"OpenSSL takes no CipherString {value}") from None
    listed = SSL.Connection(context, None).get_cipher_list()
    ciphers = tuple(name for name in listed if not is_tls_1_3(name) and "PSK" not in name and "SRP" not in name)
    level = _LEVEL.search(value)
    return {"ciphers": ciphers} | ({"security_level": int(level[1])} if level else {})


def _suites(value: str) -> dict[str, Any]:
    return {"suites": _known("Ciphersuites", value, known_ciphers().__contains__)}


def _groups(value: str) -> dict[str, Any]:
    return {"groups": _known("Groups", re.sub(r"[*?/]", ":", value), is_group)}


def _signature_algorithms(value: str) -> dict[str, Any]:
    return {"signature_algorithms": _known("SignatureAlgorithms", value.replace("?", ""), is_signature_algorithm)}


def _known(what: str, value: str, known: Callable[[str], bool]) -> tuple[str, ...]:
    """Leave out what this OpenSSL does not know: that is stricter, and what newer systems' policies count on."""
    names = tuple(dict.fromkeys(name for name in value.split(":") if name and known(name)))
    if not names:
        raise Wrong(f"OpenSSL knows none of the {what} {value}")
    return names


def _version(key: str) -> Callable[[str], dict[str, Any]]:
    def read(value: str) -> dict[str, Any]:
        if value not in _VERSIONS or (key == "version_max" and value in {"TLSv1", "TLSv1.1"}):
            raise Wrong(f"secure sockets speak TLS 1.2 and 1.3, not {value}")
        return {key: _VERSIONS[value]}

    return read


_READERS: dict[str, Callable[[str], dict[str, Any]]] = {
    "CipherString": _cipher_string,
    "Ciphersuites": _suites,
    "TLS.MinProtocol": _version("version_min"),
    "TLS.MaxProtocol": _version("version_max"),
    "MinProtocol": _version("version_min"),
    "MaxProtocol": _version("version_max"),
    "SignatureAlgorithms": _signature_algorithms,
    "Groups": _groups,
}
