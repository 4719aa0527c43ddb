"""The files of the suite: one authority, and a certificate of every kind that a behaviour needs.

``NAME.chain.pem`` and ``NAME.key.pem`` are what a server or a client presents; every user may read them, except
``unreadable.pem``.
"""

from __future__ import annotations

import datetime
import shutil
import ssl
import tempfile
from functools import cache
from pathlib import Path

import trustme
from cryptography.hazmat.primitives import serialization

from tests.certificates import self_signed_pem
from tests.conformance.world import NAME

OTHER_NAME = "other.ssa.test"
WILD_NAME = "any.wild.ssa.test"
_RSA = trustme.KeyType.RSA
_HOUR = datetime.timedelta(hours=1)


class Files:
    """A directory with all of them, until ``close``."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="ssa-conformance-"))
        self.path.chmod(0o755)
        authority, stranger = trustme.CA(organization_name="The authority"), trustme.CA(organization_name="A stranger")
        intermediate = authority.create_child_ca()
        now = datetime.datetime.now(datetime.UTC)
        self._write("ca.pem", authority.cert_pem.bytes())
        self._write("stranger.ca.pem", stranger.cert_pem.bytes())
        for name, leaf in {
            "server": authority.issue_cert(NAME, "127.0.0.1", "::1"),
            "rsa": authority.issue_cert(NAME, key_type=_RSA),
            "local": authority.issue_cert("localhost"),
            "other": authority.issue_cert(OTHER_NAME),
            "wildcard": authority.issue_cert("*.wild.ssa.test"),
            "deep": intermediate.issue_cert(NAME),
            "untrusted": stranger.issue_cert(NAME),
            "expired": authority.issue_cert(NAME, not_before=now - 3 * _HOUR, not_after=now - _HOUR),
            "early": authority.issue_cert(NAME, not_before=now + _HOUR, not_after=now + 2 * _HOUR),
            "client": authority.issue_cert("client.ssa.test", common_name="a client"),
            "deep-client": intermediate.issue_cert("client.ssa.test", common_name="a deep client"),
            "untrusted-client": stranger.issue_cert("client.ssa.test", common_name="a stranger"),
        }.items():
            self._write_leaf(name, leaf)
        key, _, chain = self_signed_pem().partition(b"-----BEGIN CERTIFICATE")
        self._write("self-signed.key.pem", key)
        self._write("self-signed.chain.pem", b"-----BEGIN CERTIFICATE" + chain)
        self._write("garbage.pem", b"-----BEGIN nothing that anybody knows-----\n")
        self._write("unreadable.pem", (self.path / "server.key.pem").read_bytes())
        (self.path / "unreadable.pem").chmod(0)
        (self.path / "anchors").mkdir()
        (self.path / "anchors").chmod(0o755)
        self._write("anchors/one.pem", authority.cert_pem.bytes())
        self._write("anchors/note.txt", b"no certificate\n")

    def _write(self, name: str, content: bytes) -> None:
        (self.path / name).write_bytes(content)
        (self.path / name).chmod(0o644)

    def _write_leaf(self, name: str, leaf: trustme.LeafCert) -> None:
        key = leaf.private_key_pem.bytes()
        self._write(f"{name}.key.pem", key)
        self._write(f"{name}.chain.pem", b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
        if name == "server":
            parsed = serialization.load_pem_private_key(key, None)
            der = parsed.private_bytes(
                serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            self._write(f"{name}.key.der", der)

    def server_context(self, name: str = "server", *, alpn: tuple[str, ...] = ()) -> ssl.SSLContext:
        """Return a context of a server that presents one of the certificates."""
        return self._context(ssl.PROTOCOL_TLS_SERVER, name, alpn)

    def client_context(
        self, name: str | None = None, *, alpn: tuple[str, ...] = (), anchors: str = "ca.pem"
    ) -> ssl.SSLContext:
        """Return a context of a client that checks the server's name, and may present a certificate."""
        context = self._context(ssl.PROTOCOL_TLS_CLIENT, name, alpn)
        context.load_verify_locations(self.path / anchors)
        return context

    def _context(self, protocol: int, name: str | None, alpn: tuple[str, ...]) -> ssl.SSLContext:
        context = ssl.SSLContext(protocol)
        if name is not None:
            context.load_cert_chain(self.path / f"{name}.chain.pem", self.path / f"{name}.key.pem")
        if alpn:
            context.set_alpn_protocols(list(alpn))
        return context

    def close(self) -> None:
        """Remove them."""
        shutil.rmtree(self.path)


@cache
def certificates(path: Path) -> list[str]:
    """Return the certificates of a chain, leaf first, in PEM form."""
    mark = "-----BEGIN CERTIFICATE-----"
    return [mark + piece for piece in path.read_text("ascii").split(mark)[1:]]
