"""One certificate chain before three judges: the daemon's own code, OpenSSL itself, and the standard library.

The daemon's judge is what a worker runs, without its sockets: settings, context, engine.  OpenSSL's is a
context of pyOpenSSL with VERIFY_PEER and the name among its verification parameters; it shares the library with the
daemon and nothing else.  The standard library brings an OpenSSL of its own, of another version.
"""

from __future__ import annotations

import ipaddress
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from OpenSSL import SSL, crypto

from ssa_impl.errors import ApplicationError, PeerError
from ssa_impl.policy.contexts import context_for
from ssa_impl.policy.model import Profile
from ssa_impl.tls.engine import Engine
from tests.certificates import context_from_pem
from tests.differential.chains import Case
from tests.ssa_impl.tls import peers
from tests.ssa_impl.tls.peers import MemoryPeer, everything

_lib: Any = SSL._lib  # type: ignore[attr-defined]
_ffi: Any = SSL._ffi  # type: ignore[attr-defined]

_NO_PARTIAL_WILDCARDS, _NEVER_CHECK_SUBJECT = 0x4, 0x20  # x509_vfy.h; what RFC 9525 asks for
_VERSIONS = {"1.2": (0x0303, ssl.TLSVersion.TLSv1_2), "1.3": (0x0304, ssl.TLSVersion.TLSv1_3)}
OTHER_NAME = "the name is another"
"""the one reason that each judge says in its own words"""


@dataclass(frozen=True)
class Verdict:
    """``reason`` is OpenSSL's (X509_verify_cert_error_string(3)), empty when the peer is accepted."""

    reason: str

    @property
    def accepted(self) -> bool:
        return not self.reason

    def is_because_of(self, first_words: str) -> bool:
        """Whether the reason begins so, or there is none and none was expected."""
        return self.reason.startswith(first_words) and self.accepted is not bool(first_words)


ACCEPTED = Verdict("")


def peer_of(case: Case, version: str) -> MemoryPeer:
    """Return the peer of a case: a server of the standard library, to which no certificate is too weak."""
    context = context_from_pem(case.peer_pem, ciphers="ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = _VERSIONS[version][1]
    return MemoryPeer(context) if case.shown is None else Disguised(context, case.shown.der)


class Disguised(MemoryPeer):
    """A server of TLS 1.2 that shows another certificate than its own: this version sends it in the clear."""

    def __init__(self, context: ssl.SSLContext, shown: bytes) -> None:
        super().__init__(context)
        self._shown = shown

    def output(self) -> bytes:
        """Return the first flight with its Certificate message exchanged (RFC 5246 section 7.4.2), in records anew."""
        data = super().output()
        messages = b""
        while data:
            assert data[0] == 22, "this peer goes no further than its first flight"
            size = int.from_bytes(data[3:5], "big")
            messages, data = messages + data[5 : 5 + size], data[5 + size :]
        flight = b""
        while messages:
            size = 4 + int.from_bytes(messages[1:4], "big")
            message, messages = messages[:size], messages[size:]
            if message[0] == 11:
                one = len(self._shown).to_bytes(3, "big") + self._shown
                body = len(one).to_bytes(3, "big") + one
                message = b"\x0b" + len(body).to_bytes(3, "big") + body
            flight += b"\x16\x03\x03" + len(message).to_bytes(2, "big") + message
        return flight


def _converse(
    step: Callable[[], bool], feed: Callable[[bytes], None], drain: Callable[[], bytes], peer: MemoryPeer
) -> None:
    """Let a client talk to the peer until both are ready; what the client raises is the verdict."""
    complete = step()
    for _ in range(10):
        peer.receive(drain())
        feed(peer.output())
        complete = complete or step()
        if complete and peer.ready:
            return
    raise AssertionError("the two do not come to an end")


def of_the_daemon(case: Case, version: str = "1.3", profile: Profile = Profile()) -> Verdict:  # noqa: B008
    """Judge as a worker does."""
    wire = _VERSIONS[version][0]
    settings = peers.settings(case.name, profile, anchors_pem=case.anchors_pem, version_min=wire, version_max=wire)
    try:
        engine = Engine(context_for(settings), settings)
        _converse(engine.handshake, engine.receive, lambda: everything(engine), peer_of(case, version))
    except (ApplicationError, PeerError) as error:
        return Verdict(in_openssl_words(error.text))
    return ACCEPTED


def in_openssl_words(text: str) -> str:
    """Return the reason in a TLS_ERROR."""
    if "is not for " in text or "no certificate can be for " in text:
        return OTHER_NAME
    if found := re.search(r"certificate verify failed: (.*) \(depth \d+\)", text):
        return found[1]
    return text


def of_openssl(case: Case, version: str = "1.3") -> Verdict:
    """Judge as a program does that uses OpenSSL well."""
    wire = _VERSIONS[version][0]
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(wire)
    context.set_max_proto_version(wire)
    context.set_verify(SSL.VERIFY_PEER)
    store = context.get_cert_store()
    assert store is not None
    for anchor in case.anchors:
        store.add_cert(crypto.load_certificate(crypto.FILETYPE_ASN1, anchor.der))
    connection = SSL.Connection(context, None)
    if not _expect_name(connection, case.name):
        return Verdict(OTHER_NAME)
    connection.set_connect_state()

    def step() -> bool:
        try:
            connection.do_handshake()
        except SSL.WantReadError:
            return False
        return True

    def drain() -> bytes:
        try:
            return connection.bio_read(1 << 20)
        except SSL.WantReadError:
            return b""

    def feed(data: bytes) -> None:
        if data:
            connection.bio_write(data)

    try:
        _converse(step, feed, drain, peer_of(case, version))
    except SSL.Error:
        code = _lib.SSL_get_verify_result(connection._ssl)
        assert code, "the handshake failed, and not for the certificate"
        text = _ffi.string(_lib.X509_verify_cert_error_string(code)).decode()
        return Verdict(OTHER_NAME if text in {"hostname mismatch", "IP address mismatch"} else text)
    return ACCEPTED


def _expect_name(connection: SSL.Connection, name: str) -> bool:
    """Set the name to look for; False when it is none that OpenSSL would look for."""
    parameters = _lib.SSL_get0_param(connection._ssl)  # type: ignore[attr-defined]
    _lib.X509_VERIFY_PARAM_set_hostflags(parameters, _NO_PARTIAL_WILDCARDS | _NEVER_CHECK_SUBJECT)
    try:
        packed = ipaddress.ip_address(name).packed
    except ValueError:
        connection.set_tlsext_host_name(name.encode())
        return bool(_lib.X509_VERIFY_PARAM_set1_host(parameters, name.encode(), len(name)) == 1)
    return bool(_lib.X509_VERIFY_PARAM_set1_ip(parameters, packed, len(packed)) == 1)


def of_the_standard_library(case: Case) -> Verdict:
    """Judge as a Python program does."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=case.anchors_pem.decode())
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname=case.name)

    def step() -> bool:
        try:
            client.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    try:
        _converse(step, incoming.write, outgoing.read, peer_of(case, "1.3"))
    except ssl.SSLCertVerificationError as error:
        mismatch = error.verify_code in {62, 64}
        return Verdict(OTHER_NAME if mismatch else error.verify_message)
    return ACCEPTED
