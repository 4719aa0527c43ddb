"""A sample of the catalogue through a real daemon, in both roles.

connect()'s errno and TLS_ERROR say what OpenSSL says of a server; accept() gives the clients that OpenSSL accepts.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.certificates import authority, context_from_pem
from tests.differential import acceptors
from tests.differential.catalogue import CHAINS
from tests.differential.chains import Case
from tests.differential.verdicts import Verdict, in_openssl_words, of_openssl
from tests.system.daemons import Daemon, Zygote
from tests.system.servers import Server, serving, tls

SAMPLE = [name for position, name in enumerate(CHAINS) if position % 4 == 0]


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    """Where programs come from."""
    daemon = Daemon()
    made = Zygote(daemon.path, "tests.system.crowds")
    yield made
    made.stop()
    assert daemon.stop() == 0
    daemon.close()


def wait_for_the_end(secured: ssl.SSLSocket, _server: Server) -> str:
    with contextlib.suppress(ssl.SSLZeroReturnError):
        return "ended" if secured.recv(1) == b"" else "said something"
    return "ended"


@contextlib.contextmanager
def presented(case: Case) -> Iterator[int]:
    """Serve a chain; give the port."""
    context = context_from_pem(case.peer_pem, ciphers="ALL:@SECLEVEL=0")
    with serving(tls(wait_for_the_end, context)) as server:
        yield server.port
        word = server.word()
        assert word == "ended" or word.startswith("refused"), word


def test_servers(zygote: Zygote, tmp_path: Path) -> None:
    cases = {name: CHAINS[name][0]() for name in SAMPLE}
    with contextlib.ExitStack() as servers:
        wanted = []
        for name, case in cases.items():
            (tmp_path / name).write_bytes(case.anchors_pem)
            port = servers.enter_context(presented(case))
            wanted.append({"port": port, "anchors": str(tmp_path / name), "name": case.name})
        got = zygote.run("verdicts", cases=wanted)
    for name, (errno, text) in zip(SAMPLE, got, strict=True):
        reference = of_openssl(cases[name])
        assert errno == ("" if reference.accepted else "EPROTO"), name
        assert Verdict(in_openssl_words(text)) == reference, name
    assert len({errno for errno, _ in got}) == 2


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_clients(version: str, zygote: Zygote, tmp_path: Path) -> None:
    cases = {name: CHAINS[name][0]() for name in SAMPLE}
    for name, case in cases.items():
        (tmp_path / name).write_bytes(case.anchors_pem)
    issued = authority().credentials()
    (tmp_path / "own.pem").write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
    (tmp_path / "own.key").write_bytes(issued.private_key_pem.bytes())
    anchors = [str(tmp_path / name) for name in cases]
    program = zygote.start("admit", chain=str(tmp_path / "own.pem"), key=str(tmp_path / "own.key"), anchors=anchors)
    admitted = 0
    for (name, case), port in zip(cases.items(), program.hear(), strict=True):
        accepted = acceptors.of_openssl(case, version).accepted
        assert is_welcome(case, port, version) is accepted, name
        admitted += accepted
    program.say()
    assert program.result() == admitted
    assert 0 < admitted < len(cases)


def is_welcome(case: Case, port: int, version: str) -> bool:
    """Show a chain to a server; say whether its program answers."""
    context = acceptors.client_context(case, version)
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        try:
            with context.wrap_socket(connection) as secured:
                return secured.recv(100) == b"welcome"
        except ssl.SSLError as error:
            if "ALERT" not in str(error):
                raise
            return False
