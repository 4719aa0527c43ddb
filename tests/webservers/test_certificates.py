import ssl
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509

from webservers import Authority, KeyType
from webservers.certificates import key_type_of


def leaf_of(chain: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificates(chain.read_bytes())[0]


@pytest.mark.parametrize("key_type", ["ecdsa-p256", "rsa-2048"])
def test_the_leaf_has_the_key_that_was_asked_for(tmp_path: Path, key_type: KeyType) -> None:
    issued = Authority.create(key_type).issue(tmp_path, key_type=key_type)
    leaf = leaf_of(issued.chain)
    assert key_type_of(ssl.PEM_cert_to_DER_cert(issued.ca.read_text())) == key_type
    assert (
        key_type_of(
            ssl.PEM_cert_to_DER_cert(issued.chain.read_text().partition("-----END")[0] + "-----END CERTIFICATE-----\n")
        )
        == key_type
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issued.chain, issued.key)  # they belong together
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["server.ssa.test"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]


def test_the_key_is_for_its_owner_only_even_where_a_file_was(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("old")
    (tmp_path / "key.pem").chmod(0o666)
    issued = Authority.create().issue(tmp_path)
    assert stat.S_IMODE(issued.key.stat().st_mode) == 0o600
    assert b"PRIVATE KEY" in issued.key.read_bytes()


def test_an_expired_leaf_ended_in_the_past(tmp_path: Path) -> None:
    leaf = leaf_of(Authority.create().issue(tmp_path, fault="expired").chain)
    assert leaf.not_valid_before_utc < leaf.not_valid_after_utc < datetime.now(UTC)


def test_a_leaf_for_somebody_else(tmp_path: Path) -> None:
    leaf = leaf_of(Authority.create().issue(tmp_path, fault="wrong-name").chain)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["other.ssa.test"]
    assert names.get_values_for_type(x509.IPAddress) == []


def test_two_authorities_are_two() -> None:
    assert Authority.create().pem != Authority.create().pem
