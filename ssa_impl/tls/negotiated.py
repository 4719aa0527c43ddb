"""What a handshake agreed on.  The peer's names are put into words only when somebody asks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from OpenSSL import crypto


@dataclass(frozen=True)
class Negotiated:
    """Result of a completed handshake; ``version`` is the wire number, ``alpn`` is empty when none was selected."""

    version: int
    cipher: str
    group: str
    alpn: str
    resumed: bool
    peer_chain: tuple[crypto.X509, ...]

    @cached_property
    def peer_identity(self) -> str:
        """Subject of the peer's certificate (RFC 4514)."""
        return self.peer_chain[0].to_cryptography().subject.rfc4514_string()

    @cached_property
    def peer_chain_pem(self) -> str:
        """The chain as the peer sent it, leaf first."""
        return "".join(crypto.dump_certificate(crypto.FILETYPE_PEM, c).decode() for c in self.peer_chain)
