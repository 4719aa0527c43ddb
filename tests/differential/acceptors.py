"""The same judges in the acceptor's role: a client's chain before a server that asks for one."""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from OpenSSL import SSL, crypto

from ssa_impl.errors import PeerError
from ssa_impl.policy.contexts import context_for
from ssa_impl.policy.model import Identity, Profile, Request, Role
from ssa_impl.policy.resolve import resolve
from ssa_impl.tls.engine import Engine
from tests.certificates import authority
from tests.differential.chains import Case
from tests.differential.verdicts import ACCEPTED, Verdict, in_openssl_words
from tests.ssa_impl.tls.peers import everything

_lib: Any = SSL._lib  # type: ignore[attr-defined]
_ffi: Any = SSL._ffi  # type: ignore[attr-defined]

_VERSIONS = {"1.2": (0x0303, ssl.TLSVersion.TLSv1_2), "1.3": (0x0304, ssl.TLSVersion.TLSv1_3)}
NO_CERTIFICATE = "no certificate"


def client_context(case: Case | None, version: str) -> ssl.SSLContext:
    """Return a context of the standard library that shows a chain, and to which no certificate is too weak."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = _VERSIONS[version][1]
    if case is not None:
        with tempfile.NamedTemporaryFile() as file:
            Path(file.name).write_bytes(case.peer_pem)
            context.load_cert_chain(file.name)
    return context


class Client:
    """A client of the standard library, without sockets."""

    def __init__(self, case: Case | None, version: str) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = client_context(case, version).wrap_bio(self._incoming, self._outgoing)
        self.ready = False

    def exchange(self, data: bytes) -> bytes:
        """Take what the server sent; return the answer."""
        self._incoming.write(data)
        if not self.ready:
            try:
                self._tls.do_handshake()
                self.ready = True
            except ssl.SSLWantReadError:
                pass
        return self._outgoing.read()


def _converse(
    step: Callable[[], bool], feed: Callable[[bytes], None], drain: Callable[[], bytes], client: Client
) -> None:
    complete = False
    for _ in range(10):
        feed(client.exchange(drain()))
        complete = complete or step()
        if complete and client.ready:
            return
    raise AssertionError("the two do not come to an end")


def _no_certificate(text: str) -> str:
    return NO_CERTIFICATE if "peer did not return a certificate" in text else text


@cache
def identity() -> Identity:
    """Return the server's own certificate."""
    issued = authority().credentials()
    key = serialization.load_pem_private_key(issued.private_key_pem.bytes(), None)
    der = key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Identity(b"".join(part.bytes() for part in issued.cert_chain_pems), der)


def of_the_daemon(case: Case | None, version: str = "1.3", anchors_pem: bytes = b"") -> Verdict:
    """Judge as a worker does."""
    wire = _VERSIONS[version][0]
    settings = resolve(
        Profile(),
        Request(
            anchors_pem=anchors_pem or (case.anchors_pem if case else authority().anchors_pem),
            version_min=wire,
            version_max=wire,
            identities=(identity(),),
            request_peer_auth=True,
        ),
        Role.ACCEPTOR,
    )
    engine = Engine(context_for(settings), settings)
    try:
        _converse(engine.handshake, engine.receive, lambda: everything(engine), Client(case, version))
    except PeerError as error:
        return Verdict(in_openssl_words(_no_certificate(error.text)))
    return ACCEPTED


def of_openssl(case: Case | None, version: str = "1.3") -> Verdict:
    """Judge as a server does that uses OpenSSL well."""
    wire = _VERSIONS[version][0]
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(wire)
    context.set_max_proto_version(wire)
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT)
    store = context.get_cert_store()
    assert store is not None
    for anchor in case.anchors if case else ():
        store.add_cert(crypto.load_certificate(crypto.FILETYPE_ASN1, anchor.der))
    key = serialization.load_der_private_key(identity().key_der, None)
    context.use_privatekey(key)  # type: ignore[arg-type]
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(identity().chain_pem)
        context.use_certificate_chain_file(file.name)
    connection = SSL.Connection(context, None)
    connection.set_accept_state()

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
        _converse(step, feed, drain, Client(case, version))
    except SSL.Error as error:
        code = _lib.SSL_get_verify_result(connection._ssl)
        if not code:
            return Verdict(_no_certificate(str(error)))
        return Verdict(_ffi.string(_lib.X509_verify_cert_error_string(code)).decode())
    return ACCEPTED
