"""A governed daemon: a policy's validation as programs under ``ssa run`` meet it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from tests.certificates import NAME, authority, context_from_pem
from tests.ssa_impl.validation import pki
from tests.system import daemons
from tests.system.daemons import Daemon, Zygote
from tests.system.servers import BODY_SHA256, Server, download, serving, tls

Govern = Callable[[str], Daemon]


@pytest.fixture
def govern(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Govern]:
    """Start a daemon whose defaults have this validation."""
    started: list[Daemon] = []
    plain = daemons.ssad_command

    def start(table: str) -> Daemon:
        file = tmp_path / "ssa.toml"
        file.write_text(table)
        file.chmod(0o600)
        monkeypatch.setattr(daemons, "ssad_command", lambda *how: [*plain(*how), "--policy", str(file)])
        started.append(Daemon())
        return started[-1]

    yield start
    for daemon in started:
        daemon.stop()
        daemon.close()


@contextmanager
def programs(daemon: Daemon) -> Iterator[Zygote]:
    made = Zygote(daemon.path)
    try:
        yield made
    finally:
        made.stop()


def fingerprint(fault: str = "") -> str:
    pem = authority().credentials(fault).cert_chain_pems[0].bytes()
    return x509.load_pem_x509_certificate(pem).fingerprint(SHA256()).hex()


def test_a_program_reaches_whom_the_list_allows_and_nobody_else(govern: Govern, web: Server, ca: str) -> None:
    daemon = govern(f"""
        [defaults.validation]
        necessary = ["trust-store-and-hostname", "allow-list"]
        [defaults.validation.allow-list]
        names = ["{NAME}"]
    """)
    with programs(daemon) as zygote:
        assert zygote.run("download", port=web.port, ca=ca)["sha256"] == BODY_SHA256
        got = zygote.run("fail_then_retry", port=web.port, ca=ca, name="localhost", good_port=web.port)
        assert got["errno"] == "EPROTO"


def test_the_sentence_and_the_log_name_the_strategy(govern: Govern, ca: str) -> None:
    daemon = govern("""
        [defaults.validation]
        necessary = ["trust-store-and-hostname", "allow-list"]
        [defaults.validation.allow-list]
        names = ["elsewhere.test"]
    """)
    with programs(daemon) as zygote, serving(tls(download)) as server:
        got = zygote.run("fail_without_blocking", port=server.port, ca=ca, name=NAME)
    assert got["so_error"] == "EPROTO"
    assert got["text"] == f"the peer was refused: allow-list rejects it: {NAME} is not on the list"
    assert got["read"] == "ECONNRESET"
    assert "allow-list (necessary): reject" in daemon.log()


def test_an_engine_that_is_gone_lets_nobody_through(govern: Govern, tmp_path: Path, ca: str) -> None:
    daemon = govern(f"""
        [defaults.validation]
        necessary = ["trust-store-and-hostname", "external-engine"]
        [defaults.validation.external-engine]
        socket = "{tmp_path / "nobody"}"
    """)
    with programs(daemon) as zygote, serving(tls(download)) as server:
        got = zygote.run("fail_without_blocking", port=server.port, ca=ca, name=NAME)
    assert got["so_error"] == "EPROTO"
    assert "external-engine failed" in got["text"]


def test_the_key_of_the_first_time_is_kept_for_all_workers(govern: Govern, tmp_path: Path, ca: str) -> None:
    (tmp_path / "state").mkdir()
    daemon = govern(f"""
        [defaults.validation]
        necessary = ["trust-store-and-hostname", "pinning"]
        [defaults.validation.pinning]
        first_use = true
        state_file = "{tmp_path / "state" / "pins.json"}"
    """)
    other = tls(download, authority().server_context(rsa=True))
    with programs(daemon) as zygote, serving(tls(download)) as server, serving(other) as impostor:
        for _ in range(3):
            assert zygote.run("download", port=server.port, ca=ca)["sha256"] == BODY_SHA256
        for _ in range(3):
            got = zygote.run("fail_without_blocking", port=impostor.port, ca=ca, name=NAME)
            assert got["text"].endswith(f"its key is not the one that {NAME} had the first time")
    assert NAME in (tmp_path / "state" / "pins.json").read_text()


def test_a_list_that_is_replaced_counts_at_once(govern: Govern, tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    (tmp_path / "ca.pem").write_bytes(pki.root().pem)
    file, peer = tmp_path / "lists" / "list.crl", pki.leaf()
    file.write_bytes(pki.revocation_list())
    daemon = govern(f"""
        [defaults.validation]
        necessary = ["trust-store-and-hostname", "revocation"]
        [defaults.validation.revocation]
        sources = ["crl"]
        crl_files = ["{file}"]
    """)
    behave = tls(download, context_from_pem(peer.key_pem + peer.pem))
    with programs(daemon) as zygote, serving(behave) as server:
        ca = str(tmp_path / "ca.pem")
        assert zygote.run("download", port=server.port, ca=ca)["sha256"] == BODY_SHA256
        (tmp_path / "lists" / "new").write_bytes(pki.revocation_list(peer))
        (tmp_path / "lists" / "new").replace(file)
        got = zygote.run("fail_without_blocking", port=server.port, ca=ca, name=NAME)
    assert got["so_error"] == "EPROTO"
    assert "was revoked at" in got["text"]


def test_an_untrusted_server_whose_fingerprint_outvotes_openssl(govern: Govern, ca: str) -> None:
    daemon = govern(f"""
        [defaults.validation]
        voting = ["trust-store-and-hostname", "allow-list"]
        threshold_percent = 50
        [defaults.validation.allow-list]
        fingerprints = ["{fingerprint("untrusted")}"]
    """)
    untrusted, expired = (tls(download, authority().server_context(fault)) for fault in ("untrusted", "expired"))
    with programs(daemon) as zygote, serving(untrusted) as server, serving(expired) as other:
        assert zygote.run("download", port=server.port, ca=ca)["sha256"] == BODY_SHA256
        got = zygote.run("fail_without_blocking", port=other.port, ca=ca, name=NAME)
    assert got["so_error"] == "EPROTO"
    assert "0 of 2 votes are for it" in got["text"]
