"""What sslyze, which knows nothing of us, finds at a secure server: what the profile says, and nothing else."""

from __future__ import annotations

import json
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from tests.system.daemons import Daemon, Zygote
from webservers import Authority
from webservers.certificates import KeyType

ROOT = Path(__file__).resolve().parents[2]
SSLYZE = shutil.which("sslyze") or shutil.which("sslyze", path=str(ROOT / ".tox" / "sslyze" / "bin"))
PROFILES = tomllib.loads((ROOT / "ssa_impl" / "policy" / "vendor" / "mozilla.toml").read_text("utf-8"))["profile"]
VERSIONS = {"ssl_2_0": "", "ssl_3_0": "", "tls_1_0": "1.0", "tls_1_1": "1.1", "tls_1_2": "1.2", "tls_1_3": "1.3"}
CURVES = {"X25519": "X25519", "secp256r1": "P-256", "prime256v1": "P-256", "secp384r1": "P-384"}
PATIENCE_S = 120


@pytest.fixture(params=PROFILES)
def profile(request: pytest.FixtureRequest) -> str:
    return cast("str", request.param)


@pytest.fixture
def servers(profile: str, tmp_path: Path) -> Iterator[Zygote]:
    """Programs under the profile."""
    policy = tmp_path / "ssa.toml"
    policy.write_text(f'[[application]]\nprofile = "{profile}"\nexecutable = "**/*"\n')
    daemon = Daemon(2, policy)
    zygote = Zygote(daemon.path, "tests.system.crowds")
    yield zygote
    zygote.stop()
    assert daemon.stop() == 0
    daemon.close()


def scanned(port: int, report: Path) -> dict[str, Any]:
    """Return what sslyze found, by command."""
    assert SSLYZE is not None
    commands = ["--sslv2", "--sslv3", "--tlsv1", "--tlsv1_1", "--tlsv1_2", "--tlsv1_3", "--elliptic_curves"]
    where = ["--quiet", "--json_out", str(report), f"127.0.0.1:{port}"]
    subprocess.run([SSLYZE, *commands, *where], check=False, timeout=PATIENCE_S, capture_output=True)
    (server,) = json.loads(report.read_text("utf-8"))["server_scan_results"]
    assert server["scan_status"] == "COMPLETED", server
    results: dict[str, Any] = server["scan_result"]
    return results


def usable(profile: str, key_type: str) -> set[str]:
    """The profile's TLS 1.2 ciphers that a server with this kind of key can have."""
    signed = {name for name in PROFILES[profile].get("ciphers", ()) if "ECDSA" in name}
    return signed if key_type == "ecdsa-p256" else set(PROFILES[profile].get("ciphers", ())) - signed


@pytest.mark.skipif(SSLYZE is None, reason="needs sslyze in an environment of its own: tox run --notest -e sslyze")
@pytest.mark.parametrize("key_type", ["ecdsa-p256", "rsa-2048"])
def test_sslyze_sees_the_profile(profile: str, key_type: KeyType, servers: Zygote, tmp_path: Path) -> None:
    credentials = Authority.create(key_type).issue(tmp_path / "certificates", key_type=key_type)
    server = servers.start("echo_server", chain=str(credentials.chain), key=str(credentials.key))
    found = scanned(server.hear(), tmp_path / "report.json")
    accepted = {
        version: {
            suite["cipher_suite"]["openssl_name"]
            for suite in found[f"{name}_cipher_suites"]["result"]["accepted_cipher_suites"]
        }
        for name, version in VERSIONS.items()
    }
    settings = PROFILES[profile]
    assert accepted.pop("1.3") == set(settings["suites"])
    assert accepted.pop("1.2") == (usable(profile, key_type) if settings["version_min"] == "1.2" else set())
    assert not any(accepted.values()), accepted
    curves = {curve["name"] for curve in found["elliptic_curves"]["result"]["supported_curves"]}
    assert {CURVES.get(name, name) for name in curves} == {name for name in settings["groups"] if "ffdhe" not in name}
