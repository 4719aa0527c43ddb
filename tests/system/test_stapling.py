"""Servers that staple, seen from outside: by OpenSSL's client, and by our own that insists."""

from __future__ import annotations

import contextlib
import datetime
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.x509.ocsp import OCSPCertStatus

from tests.ssa_impl.validation import pki
from tests.system.daemons import Daemon, Zygote, environment
from tests.system.servers import Server, serving
from tests.system.waiting import PATIENCE_S, eventually

VERSIONS = ("-tls1_2", "-tls1_3")
NONE = "no response sent"
POLICY = """
[defaults]
revocation_sources = ["stapled"]
application_anchors = true

[defaults.validation]
necessary = ["trust-store-and-hostname"]

[defaults.validation.revocation]
private_addresses = true
timeout_s = 1
"""
FORCED = f"""{POLICY}
[profile.default]
staple = true
keys = ["web"]

[key.web]
chain = "{{place}}/web.pem"
key = "{{place}}/web.pem"
profiles = ["default"]
"""


class Responder:
    """An OCSP responder, until the block ends."""

    def __init__(self) -> None:
        self.says: Callable[[], bytes] | None = None
        """makes a response; None: nobody is ever answered"""
        self.requests = 0

    def __enter__(self) -> Responder:
        self._serving = serving(self._answer)
        self._server = self._serving.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._serving.__exit__(None, None, None)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.port}/"

    def _answer(self, connection: socket.socket, server: Server) -> None:
        head, _, body = self._until(connection, b"", b"\r\n\r\n").partition(b"\r\n\r\n")
        (length,) = re.findall(rb"Content-Length: (\d+)", head)
        while len(body) < int(length):
            body += connection.recv(65_536)
        self.requests += 1
        if self.says is None:
            server.released.wait(PATIENCE_S)
            return
        response = self.says()
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(response) + response)

    @staticmethod
    def _until(connection: socket.socket, data: bytes, end: bytes) -> bytes:
        while end not in data:
            data += connection.recv(65_536)
        return data


class House:
    """A daemon with one worker, and programs."""

    def __init__(self, place: Path, policy: str) -> None:
        self.place = place
        (place / "ca.pem").write_bytes(pki.root().pem)
        file = place / "ssa.toml"
        file.write_text(policy.format(place=place), "utf-8")
        file.chmod(0o600)
        self.daemon = Daemon(1, file)
        self.zygote = Zygote(self.daemon.path, "tests.system.stapled")
        self.ca = str(place / "ca.pem")
        self.stapling = 0
        """what getsockopt said of the last server"""

    def file(self, peer: pki.Credentials, name: str = "") -> str:
        return write(self.place, peer, name)

    def ssactl(self, command: str) -> str:
        variables = environment(SSAD_SOCKET=str(self.daemon.path))
        words = [sys.executable, "-m", "ssa_impl.cli.ssactl", command]
        return subprocess.check_output(words, text=True, env=variables, timeout=PATIENCE_S)

    def seen(self, port: int, *options: str) -> str:
        """Return what OpenSSL's client says of the stapled answer to a handshake that succeeds."""
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-status", "-CAfile", self.ca, *options]
        ran = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        assert "Verify return code: 0" in ran.stdout
        return ran.stdout

    def log_of(self, peer: pki.Credentials) -> str:
        """Return the log's lines about a certificate."""
        name = f"certificate {peer.certificate.serial_number:x} "
        return "".join(line for line in self.daemon.log().splitlines() if name in line)

    def close(self) -> None:
        self.zygote.stop()
        assert self.daemon.stop() == 0
        self.daemon.close()


def write(place: Path, peer: pki.Credentials, name: str = "") -> str:
    """Write a certificate, its issuer's and its key to one file."""
    path = place / (name or f"{peer.certificate.serial_number}.pem")
    path.write_bytes(peer.key_pem + peer.pem + pki.root().pem)
    path.chmod(0o600)
    return str(path)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    made = House(tmp_path_factory.mktemp("stapling"), POLICY)
    yield made
    made.close()


@pytest.fixture
def responder() -> Iterator[Responder]:
    with Responder() as made:
        yield made


@contextlib.contextmanager
def server(house: House, *peers: pki.Credentials, staple: bool | None = True) -> Iterator[int]:
    """Serve; gives the port."""
    program = house.zygote.start("serve", files=[house.file(peer) for peer in peers], staple=staple)
    port, house.stapling = program.hear()
    try:
        yield port
    finally:
        program.say()
        program.result()


def good(peer: pki.Credentials, holds: datetime.timedelta = pki.DAY) -> Callable[[], bytes]:
    return lambda: pki.response(peer, next_update=datetime.datetime.now(datetime.UTC) + holds)


def is_good(said: str, peer: pki.Credentials) -> bool:
    """Whether the answer is there, says good, and is about this certificate."""
    if NONE in said:
        return False
    assert "OCSP Response Status: successful" in said
    assert "Cert Status: good" in said
    return f"Serial Number: {peer.certificate.serial_number:04X}" in said


def test_what_the_responder_says_is_stapled(house: House, responder: Responder) -> None:
    peer = pki.leaf(responder=responder.url)
    responder.says = good(peer)
    with server(house, peer) as port:
        eventually(lambda: is_good(house.seen(port), peer))
        assert all(is_good(house.seen(port, version), peer) for version in VERSIONS)
        assert house.zygote.run("insist", port=port, ca=house.ca) == ["", ""]
    told = house.ssactl("metrics")
    assert 'ssa_staple_requests_total{profile="default",result="good"} 1' in told
    assert 'ssa_staples_total{profile="default",result="sent"}' in told
    assert responder.requests == 1


def test_without_the_option_nobody_is_asked_and_nothing_is_stapled(house: House, responder: Responder) -> None:
    peer = pki.leaf(responder=responder.url)
    responder.says = good(peer)
    with server(house, peer, staple=None) as port, server(house, peer, staple=False) as other:
        assert NONE in house.seen(port)
        assert NONE in house.seen(other)
        refused, text = house.zygote.run("insist", port=port, ca=house.ca)
    assert (refused, text.endswith("stapled: the peer sent none")) == ("EPROTO", True)
    assert responder.requests == 0


def test_each_of_several_certificates_has_its_own(house: House, responder: Responder) -> None:
    peer = pki.leaf(responder=responder.url)
    with Responder() as others:
        other = pki.leaf(responder=others.url, names=(pki.x509.DNSName("other.test"),))
        responder.says, others.says = good(peer), good(other)
        with server(house, peer, other) as port:
            eventually(lambda: is_good(house.seen(port, "-servername", pki.NAME), peer))
            eventually(lambda: is_good(house.seen(port, "-servername", "other.test"), other))


def by_a_stranger(peer: pki.Credentials) -> bytes:
    return pki.response(peer, signer=pki.appointed(pki.stranger()))


WRONG: dict[str, tuple[Callable[[pki.Credentials], bytes], str]] = {
    "a wrong signer": (by_a_stranger, "nobody whom the issuer has appointed has signed it"),
    "another certificate": (lambda _: pki.response(pki.leaf()), "it is about another certificate"),
    "an old answer": (lambda peer: pki.response(peer, next_update=pki.NOW - pki.HOUR / 2), "it expired at"),
    "revoked": (lambda peer: pki.response(peer, OCSPCertStatus.REVOKED), "was revoked at"),
    "unknown": (lambda peer: pki.response(peer, OCSPCertStatus.UNKNOWN), "does not know the certificate"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_must_not_be_believed_is_not_stapled(house: House, responder: Responder, what: str) -> None:
    make, why = WRONG[what]
    peer = pki.leaf(responder=responder.url)
    responder.says = lambda: make(peer)
    with server(house, peer) as port:
        eventually(lambda: why in house.log_of(peer))
        assert NONE in house.seen(port)


@pytest.mark.parametrize("what", ["down", "hanging"])
def test_a_responder_that_gives_nothing_delays_nobody(house: House, responder: Responder, what: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        closed = nobody.getsockname()[1]
    url = responder.url if what == "hanging" else f"http://127.0.0.1:{closed}/"
    peer = pki.leaf(responder=url, must_staple=True)
    with server(house, peer) as port:
        assert NONE in house.seen(port)
        why = "no answer within 1 s" if what == "hanging" else "Connection refused"
        said = eventually(lambda: house.log_of(peer))
        assert f", which promises to staple (RFC 7633), has no new OCSP answer ({why}); none is stapled" in said
        assert NONE in house.seen(port)
        assert house.zygote.run("insist", port=port, ca=house.ca)[0] == "EPROTO"
    assert 'ssa_staples_total{profile="default",result="missing"}' in house.ssactl("metrics")


def test_an_answer_is_stapled_until_it_ends_and_a_new_one_as_soon_as_it_is_there(
    house: House, responder: Responder
) -> None:
    peer, holds = pki.leaf(responder=responder.url), datetime.timedelta(seconds=4)
    responder.says = good(peer, holds)
    with server(house, peer) as port:
        eventually(lambda: is_good(house.seen(port), peer))
        responder.says = lambda: b"no answer"
        eventually(lambda: "has no new OCSP answer" in house.log_of(peer))
        eventually(lambda: NONE in house.seen(port))
        responder.says = good(peer)
        eventually(lambda: is_good(house.seen(port), peer))


def test_a_connection_that_is_upgraded(house: House, responder: Responder) -> None:
    peer = pki.leaf(responder=responder.url)
    responder.says = good(peer)
    program = house.zygote.start("serve_upgraded", file=house.file(peer))
    port = program.hear()

    def call() -> bool:
        program.say(True)
        return is_good(house.seen(port), peer)

    try:
        eventually(call)
    finally:
        program.say(False)
        program.result()


def test_the_policys_will_with_the_policys_key(tmp_path: Path, responder: Responder) -> None:
    peer = pki.leaf(responder=responder.url)
    responder.says = good(peer)
    write(tmp_path, peer, "web.pem")
    with contextlib.closing(House(tmp_path, FORCED)) as house:
        refused, text, holds = house.zygote.run("switch_off")
        assert (refused, holds) == ("EPROTO", 1)
        said = r"the policy has servers staple OCSP answers \(profile default, staple at .*ssa.toml:\d+\)"
        assert re.fullmatch(said, text)
        with server(house, staple=None) as port:
            assert house.stapling == 1
            eventually(lambda: is_good(house.seen(port), peer))
            renewed = pki.leaf(responder=responder.url)
            responder.says = good(renewed)
            house.file(renewed, "web.pem")
            house.ssactl("reload")
            eventually(lambda: is_good(house.seen(port), renewed))
