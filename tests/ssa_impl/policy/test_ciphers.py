"""Names of ciphers, with OpenSSL as the measure."""

from __future__ import annotations

import pytest
from OpenSSL import SSL

from ssa_impl.policy.ciphers import default_ciphers, is_tls_1_3, known_ciphers


def selected(name: str) -> list[str]:
    """What OpenSSL makes of one name; every other cipher is switched off."""
    context = SSL.Context(SSL.TLS_METHOD)
    if is_tls_1_3(name):
        context.set_tls13_ciphersuites(name.encode())
        context.set_min_proto_version(SSL.TLS1_3_VERSION)
    else:
        context.set_tls13_ciphersuites(b"")
        context.set_cipher_list(name.encode() + b":@SECLEVEL=0")
    return [
        listed for listed in SSL.Connection(context, None).get_cipher_list() if is_tls_1_3(listed) is is_tls_1_3(name)
    ]


def test_both_generations_are_in_the_default_list_and_no_name_is_there_twice() -> None:
    names = default_ciphers()
    assert {is_tls_1_3(name) for name in names} == {True, False}
    assert len(set(names)) == len(names)
    assert "TLS_AES_128_GCM_SHA256" in names  # RFC 8446 section 9.1: must be there


@pytest.mark.parametrize("weak", ["NULL", "ADH", "AECDH", "RC4", "DES", "MD5", "EXP"])
def test_nothing_weak_is_in_the_default_list(weak: str) -> None:
    assert not [name for name in default_ciphers() if weak in name]


def test_every_default_is_known() -> None:
    assert set(default_ciphers()) <= known_ciphers()
    assert "NULL-SHA256" in known_ciphers()  # so that it can be disabled


@pytest.mark.parametrize("name", sorted(known_ciphers()))
def test_every_known_name_means_one_cipher(name: str) -> None:
    assert selected(name) == [name]


@pytest.mark.parametrize(
    "name", ["", "ALL", "DEFAULT", "HIGH", "!aNULL", "-SHA", "+RSA", "@STRENGTH", "TLS_", "aes128-sha"]
)
def test_what_selects_more_or_less_than_one_is_unknown(name: str) -> None:
    assert name not in known_ciphers()
