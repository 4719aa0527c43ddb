"""The engine: one TLS connection, initiator's role, sans-IO.

Theory of operation.  The caller feeds what arrived on the wire with :meth:`Engine.receive` (``None`` for the wire's
end of file), drives :meth:`Engine.handshake` until it returns True, then pulls plain text with :meth:`Engine.read_into`
and pushes it with :meth:`Engine.write`.  After *every* call there may be ciphertext to send: :meth:`Engine.output`.
No method waits.  Whatever the peer can provoke leaves as :class:`PeerError`; an end of file without close_notify as
:class:`TruncationError`.  Nothing is kept that was not read: the caller bounds the memory
by what it feeds.
"""

from __future__ import annotations

import datetime
import errno
from collections.abc import Sequence

from OpenSSL import SSL, crypto

from ..errors import ApplicationError, CertificateError, PeerError, TruncationError
from ..names import is_ip_address
from ..policy.model import Role, Settings
from ..validation.model import Case
from .acceptor import NoCommonProtocol, Staple, staple_from
from .binding import (
    expect_name,
    read_into,
    session_reused,
    session_to_bytes,
    set_session_bytes,
    stapled_response,
    take_output,
)
from .evidence import gather
from .negotiated import KeptChain, Negotiated, chain_pem
from .reasons import explain, failed_verification, is_another_name, let_others_decide
from .sessions import Resumable

Buffer = bytes | memoryview

_RECORD_BYTES = 16_384  # plain text of one record at most (RFC 8446 section 5.1)


class Engine:
    """One connection over a context that is shared with others of the same settings."""

    def __init__(
        self,
        context: SSL.Context,
        settings: Settings,
        earlier: Resumable | None = None,
        staple: Staple | None = None,
    ) -> None:
        """``earlier``: the session of a connection of the same settings, to resume; ``staple``: where an acceptor finds
        the answers that it staples.

        Raises ApplicationError (EPROTO) when no certificate can be for the hostname.
        """
        self._connection = connection = SSL.Connection(context, None)
        self._allow_truncation = settings.truncation_allowed
        self._wire_ended = False
        self._failure: PeerError | None = None
        self.peer_closed = False
        """whether the peer ended its side in order"""
        self._hostname = settings.hostname
        self._earlier = earlier
        self._accepting = settings.role is Role.ACCEPTOR
        self._settings = settings
        if settings.validation is not None and not settings.validation.openssl_decides:
            let_others_decide(connection)
        if self._accepting:
            if staple is not None and settings.staple is not None:
                staple_from(connection, staple)
            connection.set_accept_state()
            return
        if settings.hostname is not None:
            self._ask_for(settings.hostname, send_name=settings.send_server_name)
        if settings.alpn:
            connection.set_alpn_protos([name.encode("ascii") for name in settings.alpn])
        if settings.validation is not None:
            connection.request_ocsp()
        if earlier is not None:
            set_session_bytes(connection, earlier.session)
        connection.set_connect_state()

    def _ask_for(self, hostname: str, *, send_name: bool) -> None:
        if not expect_name(self._connection, hostname):
            raise ApplicationError(f"no certificate can be for {hostname}", errno.EPROTO)
        if send_name and not is_ip_address(hostname):
            self._connection.set_tlsext_host_name(hostname.removesuffix(".").encode("ascii"))

    def receive(self, ciphertext: Buffer | None) -> None:
        """Take what arrived on the wire; None: the wire has ended."""
        if ciphertext is None:
            self._wire_ended = True
        elif ciphertext:
            self._connection.bio_write(ciphertext)

    def handshake(self) -> bool:
        """Go on with the handshake; True when it is complete (chain and name are verified, or a policy's to judge)."""
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            if self._wire_ended:
                raise PeerError("the peer closed the connection during the handshake") from None
            return False
        except NoCommonProtocol:
            raise PeerError("handshake failed: the peer speaks none of the protocols of TLS_ALPN") from None
        except SSL.Error as error:
            if is_another_name(self._connection):
                raise CertificateError(f"the peer's certificate is not for {self._hostname}") from None
            kind = CertificateError if failed_verification(self._connection) else PeerError
            raise kind(f"handshake failed: {explain(self._connection, error)}") from None
        return True

    def read_into(self, room: memoryview) -> int:
        """Decrypt into ``room``; return how many bytes, 0 when there is nothing (more) to read now.

        What arrived before a failure is given first; the next call raises.
        """
        if self._failure is not None:
            raise self._failure
        if self.peer_closed:
            return 0
        filled = 0
        try:
            while filled < len(room) and (taken := read_into(self._connection, room[filled : filled + _RECORD_BYTES])):
                filled += taken
            if self._wire_ended and not filled:
                self._end_without_notice()
        except SSL.ZeroReturnError:
            self.peer_closed = True
        except SSL.Error as error:
            self._failure = PeerError(f"the peer broke the protocol: {explain(self._connection, error)}")
            if not filled:
                raise self._failure from None
        return filled

    def write(self, plaintext: Buffer) -> None:
        """Encrypt; memory BIOs take everything at once."""
        try:
            self._connection.sendall(plaintext)
        except SSL.Error as error:
            raise PeerError(f"cannot encrypt: {explain(self._connection, error)}") from None

    def close(self) -> None:
        """Queue close_notify."""
        try:
            self._connection.shutdown()
        except SSL.Error:
            return  # the connection has failed already: there is nothing to close in order

    def output(self) -> bytes:
        """Return ciphertext to send, empty when there is none; call until it is empty."""
        return take_output(self._connection)

    def negotiated(self) -> Negotiated:
        """Return what the handshake agreed on."""
        connection = self._connection
        return Negotiated(
            version=connection.get_protocol_version(),
            cipher=connection.get_cipher_name() or "",
            group=connection.get_group_name() or "",
            alpn=connection.get_alpn_proto_negotiated().decode("ascii", "replace"),
            resumed=session_reused(connection),
            server_name=(connection.get_servername() or b"").decode("ascii", "replace"),
            peer_chain=self._peer_chain(),
        )

    def case(self, now: datetime.datetime) -> Case:
        """Return what the policy's strategies judge, once the handshake is complete; ``now`` is aware, UTC."""
        return gather(self._connection, self._settings, self._peer_chain(), now)

    def stapled(self) -> bytes | None:
        """Return the OCSP response that came with the handshake, DER; None when none did, and to an acceptor."""
        return None if self._accepting else stapled_response(self._connection)

    def session(self) -> Resumable | None:
        """Return what a later connection can resume: in TLS 1.3 the ticket that came last."""
        session = self._connection.get_session()
        if session is None:
            return None
        return Resumable(session_to_bytes(session), chain_pem(self._peer_chain()))

    def _peer_chain(self) -> Sequence[crypto.X509]:
        """Return what the peer presented, leaf first; an acceptor gets it from OpenSSL in two parts."""
        chain = self._connection.get_peer_cert_chain() or []
        if not chain and self._earlier is not None:
            return KeptChain(self._earlier.chain_pem)
        if self._accepting and (leaf := self._connection.get_peer_certificate()) is not None:
            chain.insert(0, leaf)
        return tuple(chain)

    def _end_without_notice(self) -> None:
        if not self._allow_truncation:
            raise TruncationError("the peer's stream ended without close_notify: it may have been cut")
        self.peer_closed = True
