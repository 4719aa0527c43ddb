"""What a handshake agreed on.  The peer's names are put into words only when somebody asks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import overload

from cryptography.x509 import load_pem_x509_certificates
from OpenSSL import crypto


class KeptChain(Sequence[crypto.X509]):
    """The chain of an earlier handshake, read only when somebody asks for it."""

    def __init__(self, pem: bytes) -> None:
        self.pem = pem

    @cached_property
    def _certificates(self) -> tuple[crypto.X509, ...]:
        return tuple(map(crypto.X509.from_cryptography, load_pem_x509_certificates(self.pem)))

    @overload
    def __getitem__(self, index: int) -> crypto.X509: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[crypto.X509]: ...
    def __getitem__(self, index: int | slice) -> crypto.X509 | Sequence[crypto.X509]:
        return self._certificates[index]

    def __len__(self) -> int:
        return len(self._certificates)


@dataclass(frozen=True)
class Negotiated:
    """Result of a completed handshake; ``version`` is the wire number, ``alpn`` is empty when none was selected."""

    version: int
    cipher: str
    group: str
    alpn: str
    resumed: bool
    server_name: str
    """SNI: what the initiator asked for, empty when it named nobody"""
    peer_chain: Sequence[crypto.X509]
    """leaf first, empty when the peer presented none"""

    @cached_property
    def peer_identity(self) -> str | None:
        """Subject of the peer's certificate (RFC 4514), None when it presented none."""
        if not self.peer_chain:
            return None
        return self.peer_chain[0].to_cryptography().subject.rfc4514_string()

    @cached_property
    def peer_chain_pem(self) -> str | None:
        """The chain as the peer sent it, leaf first, None when it presented none."""
        return chain_pem(self.peer_chain).decode("ascii") or None


def chain_pem(chain: Sequence[crypto.X509]) -> bytes:
    """Return a chain as PEM, leaf first."""
    if isinstance(chain, KeptChain):
        return chain.pem
    return b"".join(crypto.dump_certificate(crypto.FILETYPE_PEM, certificate) for certificate in chain)
