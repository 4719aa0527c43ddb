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
    server_name: str
    """SNI: what the initiator asked for, empty when it named nobody"""
    peer_chain: tuple[crypto.X509, ...]
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
        return (
            None
            if not self.peer_chain
            else "".join(crypto.dump_certificate(crypto.FILETYPE_PEM, c).decode() for c in self.peer_chain)
        )
