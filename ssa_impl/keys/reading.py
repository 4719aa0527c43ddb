"""A certificate chain and its key from the files that the policy names.

Each refusal is one sentence that says which key, which file, and what to do.
"""

from __future__ import annotations

import os
import stat

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from ..errors import ApplicationError
from ..policy.model import Identity, NamedKey
from ..sockets.credentials import public_bytes, read_chain, read_key

MAX_FILE_BYTES = 64 * 1024
_OPEN_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


class UnusableKey(Exception):
    """A key of the policy cannot be used; the text says why and what to do."""


class ForbiddenKey(UnusableKey):
    """A file that this user may not read; another one, such as the daemon's keeper, may be able to."""


def read_identity(named: NamedKey) -> Identity:
    """Read both files.  Raises UnusableKey; ForbiddenKey when only the permission is missing."""
    chain_pem = _understood(read_chain, named, named.chain, secret=False)
    key_der = _understood(read_key, named, named.key, secret=True)
    leaf = x509.load_pem_x509_certificate(chain_pem).public_key()
    key = serialization.load_der_private_key(key_der, password=None).public_key()
    if public_bytes(leaf) != public_bytes(key):
        raise UnusableKey(
            f"key {named.name}: {named.key} does not match the first certificate of {named.chain}; "
            "name the files that belong together, the leaf first"
        )
    return Identity(chain_pem, key_der)


def _understood(read: object, named: NamedKey, path: str, *, secret: bool) -> bytes:
    content = _content(named, path, secret=secret)
    try:
        understood: bytes = read(content)  # type: ignore[operator]  # read_chain or read_key
    except ApplicationError as error:
        what = error.text.removeprefix("TLS_PRIVATE_KEY ").removeprefix("TLS_CERTIFICATE_CHAIN ")
        raise UnusableKey(f"key {named.name}: {path} {what}") from None
    return understood


def _content(named: NamedKey, path: str, *, secret: bool) -> bytes:
    try:
        descriptor = os.open(path, _OPEN_FLAGS)
    except OSError as error:
        kind = ForbiddenKey if isinstance(error, PermissionError) else UnusableKey
        raise kind(f"key {named.name}: {path} cannot be opened: {error.strerror}") from None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise UnusableKey(f"key {named.name}: {path} is no regular file")
        if found.st_mode & (0o006 if secret else 0o002):
            mode, remedy = stat.filemode(found.st_mode), "640" if secret else "644"
            raise UnusableKey(f"key {named.name}: {path} has mode {mode}, open to everybody; chmod {remedy} {path}")
        if found.st_size > MAX_FILE_BYTES:
            raise UnusableKey(f"key {named.name}: {path} has {found.st_size} bytes; the limit is {MAX_FILE_BYTES}")
        return os.pread(descriptor, MAX_FILE_BYTES, 0)
    except OSError as error:
        raise UnusableKey(f"key {named.name}: {path} cannot be read: {error.strerror}") from None
    finally:
        os.close(descriptor)
