"""The cipher suites that this OpenSSL has, by its own names (ciphers(1))."""

from __future__ import annotations

from functools import lru_cache

from OpenSSL import SSL

_TLS_1_3 = (
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_128_CCM_SHA256",
    "TLS_AES_128_CCM_8_SHA256",
)  # RFC 8446 appendix B.4: a list of ciphers(1) never selects among these


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
