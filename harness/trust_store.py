"""A trust store like a system's: what profile cold-start loads, and the policy's for its daemon.

A distribution's file holds some 140 authorities: most have RSA keys of 4096 bits, the rest of 2048 bits or on
P-384.  This one holds as many of each kind, and the one that signed the server's certificate as the last.  What
they cost to load depends on their number and size, not on their keys being different, so one of each kind does.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

RSA_4096, RSA_2048, P_384 = 80, 30, 30
AUTHORITIES = RSA_4096 + RSA_2048 + P_384
_YEARS = timedelta(days=20 * 365)

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


def write(path: Path, own_pem: bytes) -> Path:
    """Write the trust store, ``own_pem`` last.  Takes about a second.  OSError as it comes."""
    large, small = (rsa.generate_private_key(public_exponent=65537, key_size=bits) for bits in (4096, 2048))
    keys: list[Key] = [*[large] * RSA_4096, *[small] * RSA_2048, *[ec.generate_private_key(ec.SECP384R1())] * P_384]
    path.write_bytes(b"".join(_authority(number, key) for number, key in enumerate(keys)) + own_pem)
    return path


def _authority(number: int, key: Key) -> bytes:
    """A self-signed certificate in PEM."""
    names = (
        (NameOID.COUNTRY_NAME, "XX"),
        (NameOID.ORGANIZATION_NAME, f"Example Trust Services {number:03d} Ltd."),
        (NameOID.COMMON_NAME, f"Example Global Root Certification Authority {number:03d}"),
    )
    name = x509.Name([x509.NameAttribute(kind, text) for kind, text in names])
    begun = datetime.now(UTC) - timedelta(days=1)
    usage = {kind: kind in {"key_cert_sign", "crl_sign"} for kind in _USAGES}
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begun)
        .not_valid_after(begun + _YEARS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
        .public_bytes(Encoding.PEM)
    )


_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)
