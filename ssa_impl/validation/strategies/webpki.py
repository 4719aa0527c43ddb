"""A second opinion: the path validation of ``cryptography``, which follows the CA/Browser Forum's profile."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from ...names import is_ip_address
from ..model import Ballot, Case
from ..strategy import Parameter, Strategy, absolute_path, abstain, accept, failed, reject
from .certificates import canonical, load

SYSTEM_STORES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
)
"""where distributions keep the system's trust store in one file; the first that exists is read"""


class WebPki(Strategy):
    """Reads the trust store; contacts nothing."""

    name: ClassVar[str] = "webpki"
    summary: ClassVar[str] = (
        "The stricter path validation of `cryptography` (CA/Browser Forum profile: names in subjectAltName only, "
        "key sizes, extensions) over the same trust anchors."
    )
    parameters: ClassVar[Mapping[str, Parameter]] = {
        "max_depth": Parameter(int, 8, "intermediate certificates allowed in a chain", 0, 32),
        "trust_store": Parameter(
            str,
            "",
            "PEM file with the trust anchors; empty for those that OpenSSL uses",
            valid=absolute_path,
            rule="an absolute path",
            file="read",
        ),
    }

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        self._max_depth: int = parameters["max_depth"]
        self._trust_store: str = parameters["trust_store"]

    async def judge(self, case: Case) -> Ballot:
        if not case.presented:
            return reject("the peer presented no certificate")
        if not case.accepting and not case.hostname:
            return abstain("no name was asked for")
        try:
            store = self._store(case)
        except (OSError, ValueError) as error:
            return failed(f"the trust store cannot be read: {error}")
        builder = PolicyBuilder().store(store).time(case.now.replace(tzinfo=None)).max_chain_depth(self._max_depth)
        leaf, *others = map(load, case.presented)
        try:
            if case.accepting:
                builder.build_client_verifier().verify(leaf, others)
            else:
                builder.build_server_verifier(_subject(case.hostname)).verify(leaf, others)
        except (VerificationError, ValueError) as error:
            return reject(" ".join(str(error).split()))
        return accept("the chain and its names follow the web's profile")

    def _store(self, case: Case) -> Store:
        """Return the anchors.  ValueError when there is none."""
        if self._trust_store:
            return _store_of(_content(self._trust_store))
        system = system_anchors() if case.trust_system else b""
        return _store_of(system + b"\n" + case.anchors_pem)


def _subject(hostname: str) -> x509.DNSName | x509.IPAddress:
    if is_ip_address(hostname):
        return x509.IPAddress(ipaddress.ip_address(hostname))
    return x509.DNSName(canonical(hostname))


def system_anchors() -> bytes:
    """Return the system's trust store, PEM.  Raises OSError."""
    return _content(next(filter(_exists, SYSTEM_STORES), SYSTEM_STORES[0]))


def _exists(path: str) -> bool:
    return Path(path).exists()


def _content(path: str) -> bytes:
    found = Path(path).stat()
    return _read(path, found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=4)
def _read(path: str, _mtime_ns: int, _size_bytes: int) -> bytes:
    return Path(path).read_bytes()


@lru_cache(maxsize=16)
def _store_of(pem: bytes) -> Store:
    return Store(x509.load_pem_x509_certificates(pem))
