"""The cipher suites that this OpenSSL has, by its own names (ciphers(1))."""

from __future__ import annotations

import re
from functools import lru_cache

from OpenSSL import SSL

_TLS_1_3 = (
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_128_CCM_SHA256",
    "TLS_AES_128_CCM_8_SHA256",
)  # RFC 8446 appendix B.4: a list of ciphers(1) never selects among these
_LEVEL_BITS = (0, 80, 112, 128, 192, 256)  # of the security levels 0 to 5


@lru_cache(maxsize=1)
def default_ciphers() -> tuple[str, ...]:
    """Return OpenSSL's default list, best first, suites of TLS 1.3 included."""
    return tuple(SSL.Connection(SSL.Context(SSL.TLS_METHOD), None).get_cipher_list())


@lru_cache(maxsize=1)
def known_ciphers() -> frozenset[str]:
    """Return every name that OpenSSL understands."""
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_cipher_list(b"ALL:COMPLEMENTOFALL:@SECLEVEL=0")
    return frozenset((*_TLS_1_3, *SSL.Connection(context, None).get_cipher_list()))


def is_tls_1_3(cipher: str) -> bool:
    """Whether a name is of a TLS 1.3 suite: those start with ``TLS_``, the older ones do not."""
    return cipher.startswith("TLS_")


def security_bits(cipher: str) -> int:
    """Return the strength that OpenSSL counts a cipher's encryption with (ciphers(1), ``openssl ciphers -v``)."""
    if "CCM8" in cipher or "CCM_8" in cipher:
        return 64
    if "NULL" in cipher:
        return 0
    if "DES-CBC3" in cipher:
        return 112
    return 256 if re.search(r"(AES|ARIA|CAMELLIA)_?256|CHACHA20|GOST|MAGMA|KUZNYECHIK", cipher) else 128


def fits_level(cipher: str, level: int) -> bool:
    """Whether a security level leaves a cipher (SSL_CTX_set_security_level(3)): strength, and forward secrecy."""
    forward_secret = is_tls_1_3(cipher) or cipher.startswith(("ECDHE-", "DHE-"))
    return security_bits(cipher) >= _LEVEL_BITS[level] and (level < 3 or forward_secret)
