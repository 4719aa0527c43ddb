"""The examples: unmodified programs in every language, and their plain twins, against real peers."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from examples import lines
from examples.lines import LANGUAGES, Language
from ssa_impl import abi
from tests.certificates import NAME, authority
from tests.system.daemons import Daemon, environment
from tests.system.languages import (
    PATH,
    WAYS,
    Connect,
    Programs,
    exchange,
    finish,
    plain_page,
    plainly,
    running,
    secure_page,
    securely,
    under,
)
from tests.system.servers import BODY, serving, tls

REQUEST = f"GET {PATH} HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n"
CASES = [
    pytest.param(language, boundary, id=f"{re.sub('[^A-Za-z]+', '-', language.name).strip('-')}-{boundary}")
    for language in LANGUAGES
    for boundary in language.boundaries
]
TWINS = [pytest.param(language, id=re.sub("[^A-Za-z]+", "-", language.name).strip("-")) for language in LANGUAGES]


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Programs:
    return Programs(tmp_path_factory.mktemp("programs"))


@dataclass(frozen=True)
class Own:
    """A server's certificate and key in files of their own."""

    chain: str
    key: str
    other_key: str


@pytest.fixture(scope="session")
def own(tmp_path_factory: pytest.TempPathFactory) -> Own:
    directory = tmp_path_factory.mktemp("own")
    made = authority().credentials()
    (directory / "chain.pem").write_bytes(b"".join(pem.bytes() for pem in made.cert_chain_pems))
    (directory / "key.pem").write_bytes(made.private_key_pem.bytes())
    (directory / "other.pem").write_bytes(authority().credentials("name").private_key_pem.bytes())
    return Own(*(str(directory / name) for name in ("chain.pem", "key.pem", "other.pem")))


def run(command: list[str]) -> tuple[int, bytes, str]:
    done = subprocess.run(command, capture_output=True, env=environment(), timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr.decode()


# -- clients


@pytest.mark.parametrize(("language", "boundary"), CASES)
def test_client(language: Language, boundary: str, programs: Programs, daemon: Daemon, ca: str) -> None:
    client = programs.command(language, "client")
    with serving(tls(secure_page)) as server:
        where = [NAME, "127.0.0.1", str(server.port)]
        assert run([*under(daemon, boundary), *client, *where, PATH, ca]) == (0, BODY, "")
        assert server.word() == REQUEST
        code, body, complaint = run([*under(daemon, boundary), *client, *where, "/elsewhere", ca])
        assert (code, body, complaint.strip()) == (1, b"", "client: HTTP/1.1 404 Not Found")


@pytest.mark.parametrize(("language", "boundary"), CASES)
def test_client_and_a_wrong_certificate(
    language: Language, boundary: str, programs: Programs, daemon: Daemon, ca: str
) -> None:
    client = programs.command(language, "client")
    with serving(tls(secure_page, authority().server_context("expired"))) as server:
        words = [NAME, "127.0.0.1", str(server.port), PATH, ca]
        code, body, complaint = run([*under(daemon, boundary), *client, *words])
    assert (code, body) == (1, b"")
    assert complaint.startswith("client: ")
    assert complaint.endswith("certificate verify failed: certificate has expired (depth 0)\n")


@pytest.mark.parametrize("language", TWINS)
def test_client_without_a_boundary(language: Language, programs: Programs, ca: str) -> None:
    """The stock kernel knows no such protocol: there is no connection, least of all one in plain text."""
    with serving(plain_page) as server:
        words = [NAME, "127.0.0.1", str(server.port), PATH, ca]
        code, body, complaint = run([*programs.command(language, "client"), *words])
        assert server.accepted.empty()
    assert (code, body) == (1, b"")
    assert re.search("protocol not supported", complaint, re.IGNORECASE)


@pytest.mark.parametrize("language", TWINS)
def test_plain_client(language: Language, programs: Programs) -> None:
    client = programs.command(language, "client_tcp")
    with serving(plain_page) as server:
        where = [NAME, "127.0.0.1", str(server.port)]
        assert run([*client, *where, PATH]) == (0, BODY, "")
        assert server.word() == REQUEST
        code, body, complaint = run([*client, *where, "/elsewhere"])
        assert (code, body, complaint.strip()) == (1, b"", "client: HTTP/1.1 404 Not Found")
    code, body, complaint = run([*client, *where, PATH])  # nobody is there any more
    assert (code, body) == (1, b"")
    assert re.search("refused|Errno 111", complaint)


# -- servers


def converse(command: list[str], connect: Connect) -> None:
    """Two clients at once; one ends, and the other is there when the server is told to end."""
    with running(command) as server, connect(server.port) as first, connect(server.port) as second:
        assert exchange(first, b"one\n") == b"one\n"
        assert exchange(second, b"two\n") == b"two\n"
        assert exchange(first, b"three\n" * 10_000) == b"three\n" * 10_000
        assert finish(first) == b""
        assert exchange(second, b"four\n") == b"four\n"
        assert server.terminate() == 0
        assert second.recv(1) == b""


@pytest.mark.parametrize(("language", "boundary"), CASES)
def test_server(language: Language, boundary: str, programs: Programs, daemon: Daemon, own: Own) -> None:
    command = [*under(daemon, boundary), *programs.command(language, "server")]
    converse([*command, "127.0.0.1", "0", own.chain, own.key], securely)


@pytest.mark.parametrize(("language", "boundary"), CASES)
def test_server_with_another_servers_key(
    language: Language, boundary: str, programs: Programs, daemon: Daemon, own: Own
) -> None:
    command = [*under(daemon, boundary), *programs.command(language, "server")]
    code, said, complaint = run([*command, "127.0.0.1", "0", own.chain, own.other_key])
    assert (code, said) == (1, b"")
    assert complaint.startswith("server: ")
    assert complaint.endswith(": TLS_PRIVATE_KEY does not match TLS_CERTIFICATE_CHAIN\n")


@pytest.mark.parametrize("language", TWINS)
def test_plain_server(language: Language, programs: Programs) -> None:
    converse([*programs.command(language, "server_tcp"), "127.0.0.1", "0"], plainly)


# -- what is said about them


def test_the_table_is_fresh() -> None:
    text = lines.PAGE.read_text("utf-8")
    assert lines.page(text) == text


def test_every_language_of_the_table_is_tested() -> None:
    assert set(WAYS) == {language.name for language in LANGUAGES}


def test_a_replaced_line_counts_once_and_so_does_an_added_one() -> None:
    assert lines.changed(["a", "b", "c"], ["a", "B", "c", "d", "e"]) == 3
    assert lines.changed(["a", "b"], ["b"]) == 1


def secure_sources() -> list[Path]:
    return sorted({language.source(program) for language in LANGUAGES for program in ("client", "server")})


@pytest.mark.parametrize("source", secure_sources(), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_numbers_are_those_of_the_table(source: Path) -> None:
    """Languages without a header write the numbers down."""
    numbers = {"IPPROTO_TLS": abi.IPPROTO_TLS} | {option.name: int(option) for option in abi.Opt}
    if source.suffix == ".c":
        assert '#include "in_tls.h"' in source.read_text("utf-8")
        return
    written = next(
        line for line in source.read_text("utf-8").splitlines() if re.search(r"IPPROTO_TLS\b.*\b205\b", line)
    )
    names = re.findall(r"\b(?:IPPROTO_TLS|TLS_[A-Z_]+)\b", written)
    assert names[0] == "IPPROTO_TLS"
    assert [numbers[name] for name in names] == [int(number) for number in re.findall(r"\b\d+\b", written)]
