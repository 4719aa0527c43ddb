"""Peers that the administrator has named, and nobody else."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, ClassVar

from cryptography import x509

from ..model import Ballot, Case
from ..strategy import Parameter, Problem, Strategy, accept, reject
from .certificates import load, matches

_FINGERPRINT = re.compile(r"(?:[0-9a-f]{2}:?){31}[0-9a-f]{2}", re.IGNORECASE)


def _is_fingerprint(text: str) -> bool:
    return _FINGERPRINT.fullmatch(text) is not None


class AllowList(Strategy):
    """Contacts nothing."""

    name: ClassVar[str] = "allow-list"
    summary: ClassVar[str] = "Accepts the peers that are named, rejects all others."
    parameters: ClassVar[Mapping[str, Parameter]] = {
        "names": Parameter(
            list,
            (),
            "as initiator, names that may be connected to; as acceptor, names that a client's certificate may carry "
            "(DNS, e-mail address, URI or address in subjectAltName); `*.` stands for one label; "
            "only a certificate that OpenSSL has verified is believed its name",
        ),
        "fingerprints": Parameter(
            list,
            (),
            "SHA-256 of certificates that are accepted whatever their name, hexadecimal",
            valid=_is_fingerprint,
            rule="64 hexadecimal digits, with or without colons",
        ),
    }

    @classmethod
    def check(cls, parameters: Mapping[str, Any]) -> list[Problem]:
        if parameters["names"] or parameters["fingerprints"]:
            return []
        return [Problem("", "an allow-list needs names or fingerprints: it would refuse everybody")]

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        self._names: tuple[str, ...] = tuple(parameters["names"])
        self._fingerprints = {text.replace(":", "").lower() for text in parameters["fingerprints"]}

    async def judge(self, case: Case) -> Ballot:
        if not case.presented:
            return reject("the peer presented no certificate")
        fingerprint = hashlib.sha256(case.presented[0]).hexdigest()
        if fingerprint in self._fingerprints:
            return accept("its certificate's fingerprint is on the list")
        if case.openssl_code:
            return reject(f"its fingerprint is not on the list, and its names are not believed ({case.openssl_text})")
        names = _names(load(case.presented[0])) if case.accepting else [case.hostname]
        for name in names:
            if name and any(matches(pattern, name) for pattern in self._names):
                return accept(f"{name} is on the list")
        return reject(f"{', '.join(filter(None, names)) or 'a peer without a name'} is not on the list")


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    kinds = (x509.DNSName, x509.RFC822Name, x509.UniformResourceIdentifier)
    texts = [name for kind in kinds for name in names.get_values_for_type(kind)]
    return texts + [str(address) for address in names.get_values_for_type(x509.IPAddress)]
