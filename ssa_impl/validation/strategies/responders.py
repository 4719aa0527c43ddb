"""Asking OCSP responders about one certificate: those that it names, or the one that the administrator names."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography import x509

from . import ocsp
from .answers import Answer, NoAnswer
from .fetch import Bounds, FetchError, fetch


@dataclass(frozen=True)
class Responders:
    """Who is asked, and how far a fetch may go."""

    named: str
    """address to ask instead of those in certificates, "" for none"""
    bounds: Bounds

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> Responders:
        """Return what the parameters of the strategy ``revocation`` say."""
        named: str = parameters["responder"]
        return cls(named, Bounds(parameters["max_ocsp_bytes"], bool(named) or parameters["private_addresses"]))

    async def ask(
        self, certificate: x509.Certificate, issuer: x509.Certificate, now: datetime.datetime
    ) -> tuple[Answer, bytes]:
        """Return the first answer that can be believed, and the response it came in, DER.  Raises NoAnswer."""
        addresses = [self.named] if self.named else ocsp.responders(certificate)
        if not addresses:
            raise NoAnswer("the certificate names no responder")
        request, said = ocsp.request(certificate, issuer), []
        for address in addresses:
            try:
                der = await fetch(address, self.bounds, request, ocsp.REQUEST_TYPE)
                return ocsp.read(der, certificate, issuer, now, "OCSP"), der
            except (FetchError, NoAnswer) as none:
                said.append(str(none))
        raise NoAnswer(", ".join(said))
