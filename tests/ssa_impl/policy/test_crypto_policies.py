"""The system's crypto-policies, in the form in which distributions ship them for OpenSSL."""

from __future__ import annotations

from pathlib import Path

import pytest

from ssa_impl.policy.ciphers import is_tls_1_3
from ssa_impl.policy.complaints import PolicyFileErrors
from ssa_impl.policy.files import PolicyPaths
from ssa_impl.policy.load import load_policy
from ssa_impl.policy.policy import Policy
from tests.ssa_impl.policy.files import write

SYSTEM = """\
CipherString = @SECLEVEL=2:kEECDH:kRSA:kEDH:kPSK:kDHEPSK:kECDHEPSK:-aDSS:-3DES:!DES:!RC4:!SEED:!eNULL:!aNULL:!MD5
Ciphersuites = TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_CCM_SHA256
TLS.MinProtocol = TLSv1.2
TLS.MaxProtocol = TLSv1.3
DTLS.MinProtocol = DTLSv1.2
SignatureAlgorithms = ?future65:ECDSA+SHA256:ed25519:rsa_pss_rsae_sha256:RSA+SHA256
Groups = ?*future768:X25519:secp256r1/ffdhe2048

[openssl_init]
MinProtocol = TLSv1
"""


def load(directory: Path, system: str | None, text: str = '[profile.a]\nimport = "crypto-policies"\n') -> Policy:
    path = directory / "opensslcnf.config"
    if system is not None:
        write(path, system)
    return load_policy(PolicyPaths((write(directory / "p.toml", text),), crypto_policies=path))


def test_the_systems_choice_is_taken_over(tmp_path: Path) -> None:
    made = load(tmp_path, SYSTEM).profiles["a"]
    assert (made.version_min, made.version_max, made.security_level) == (0x0303, 0x0304, 2)
    assert [name for name in made.ciphers if is_tls_1_3(name)] == [
        "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_CCM_SHA256",
    ]  # fmt: skip
    assert "AES128-GCM-SHA256" in made.ciphers
    assert not [name for name in made.ciphers if "PSK" in name or "NULL" in name]
    assert made.signature_algorithms == ("ECDSA+SHA256", "ed25519", "rsa_pss_rsae_sha256", "RSA+SHA256")
    assert made.groups == ("X25519", "secp256r1", "ffdhe2048")
    assert str(made.origins["groups"]) == f"{tmp_path / 'opensslcnf.config'}:7"


def test_a_profiles_own_keys_are_stronger_and_what_it_extends_is_weaker(tmp_path: Path) -> None:
    text = '[profile.a]\nextends = "modern"\nimport = "crypto-policies"\ngroups = ["P-521"]\n'
    made = load(tmp_path, SYSTEM, text).profiles["a"]
    assert made.groups == ("P-521",)
    assert made.version_min == 0x0303


def test_the_defaults_can_import_too(tmp_path: Path) -> None:
    made = load(tmp_path, SYSTEM, '[defaults]\nimport = "crypto-policies"\n')
    assert made.profiles["default"].groups == ("X25519", "secp256r1", "ffdhe2048")


def test_old_versions_are_not_spoken_because_a_system_would(tmp_path: Path) -> None:
    assert (
        load(tmp_path, SYSTEM.replace("MinProtocol = TLSv1.2", "MinProtocol = TLSv1")).profiles["a"].version_min
        == 0x0303
    )


@pytest.mark.parametrize(
    ("system", "text"),
    [
        (None, "this system has no crypto-policies"),
        ("", "says nothing about TLS"),
        ("[other]\nGroups = X25519\n", "says nothing about TLS"),
        ("Groups = nobody:nothing\n", "OpenSSL knows none of the Groups"),
        ("CipherString = nonsense\n", "OpenSSL takes no CipherString"),
        ("TLS.MaxProtocol = TLSv1.1\n", "secure sockets speak TLS 1.2 and 1.3, not TLSv1.1"),
    ],
)
def test_refusals(tmp_path: Path, system: str | None, text: str) -> None:
    with pytest.raises(PolicyFileErrors, match=text) as caught:
        load(tmp_path, system)
    (complaint,) = caught.value.complaints
    assert (complaint.line, complaint.key) == (2, "profile.a.import")
