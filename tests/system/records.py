"""Records of TLS 1.3 that no library would send: made by hand, with the secrets of a real handshake (RFC 8446)."""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

ALERT, HANDSHAKE, DATA = 21, 22, 23
_TAG_BYTES = 16
_SUITES: dict[str, tuple[type[AESGCM | ChaCha20Poly1305], int, hashes.HashAlgorithm]] = {
    "TLS_AES_128_GCM_SHA256": (AESGCM, 16, hashes.SHA256()),
    "TLS_AES_256_GCM_SHA384": (AESGCM, 32, hashes.SHA384()),
    "TLS_CHACHA20_POLY1305_SHA256": (ChaCha20Poly1305, 32, hashes.SHA256()),
}


class Records:
    """One direction of an established connection, from its first record on."""

    def __init__(self, suite: str, secret: bytes) -> None:
        self._cipher, self._key_bytes, self._digest = _SUITES[suite]
        self._secret = secret
        self._start()

    def _start(self) -> None:
        self._aead = self._cipher(self._expand(b"key", self._key_bytes))
        self._mask = int.from_bytes(self._expand(b"iv", 12), "big")
        self._number = 0

    def _expand(self, label: bytes, size: int) -> bytes:
        """HKDF-Expand-Label with an empty context (section 7.1)."""
        full = b"tls13 " + label
        info = size.to_bytes(2, "big") + bytes([len(full)]) + full + b"\0"
        return HKDFExpand(self._digest, size, info).derive(self._secret)

    def record(self, kind: int, content: bytes, padding: int = 0) -> bytes:
        """Return the next record (section 5.2)."""
        inner = content + bytes([kind]) + bytes(padding)
        header = b"\x17\x03\x03" + (len(inner) + _TAG_BYTES).to_bytes(2, "big")
        nonce = (self._mask ^ self._number).to_bytes(12, "big")
        self._number += 1
        return header + self._aead.encrypt(nonce, inner, header)

    def key_update(self, *, wanted_back: bool) -> bytes:
        """Return a KeyUpdate; what follows is under the next key (section 4.6.3)."""
        made = self.record(HANDSHAKE, bytes([24, 0, 0, 1, wanted_back]))
        self._secret = self._expand(b"traffic upd", self._digest.digest_size)
        self._start()
        return made

    def ticket(self, number: int) -> bytes:
        """Return a NewSessionTicket that nobody asked for (section 4.6.1)."""
        body = (7200).to_bytes(4, "big") + bytes(4) + b"\x04" + number.to_bytes(4, "big") + b"\x00\x10" + bytes(16)
        body += b"\x00\x00"
        return self.record(HANDSHAKE, b"\x04" + len(body).to_bytes(3, "big") + body)


@contextmanager
def noting_secrets(context: ssl.SSLContext) -> Iterator[Path]:
    """Let a context write down its secrets, and send no records of its own after the handshake."""
    with tempfile.NamedTemporaryFile(prefix="secrets-") as file:
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        if context.protocol is ssl.PROTOCOL_TLS_SERVER:
            context.num_tickets = 0
        context.keylog_filename = file.name
        yield Path(file.name)


def records_of(secured: ssl.SSLSocket | ssl.SSLObject, secrets: Path) -> Records:
    """Return what continues this end's direction by hand."""
    label = "SERVER_TRAFFIC_SECRET_0" if secured.server_side else "CLIENT_TRAFFIC_SECRET_0"
    cipher = secured.cipher()
    assert cipher is not None
    found = [line.split()[2] for line in secrets.read_text("ascii").splitlines() if line.startswith(label)]
    return Records(cipher[0], bytes.fromhex(found[-1]))
