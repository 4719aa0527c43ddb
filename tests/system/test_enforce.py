"""``ssactl reload --enforce`` with real programs and peers: who is cut, and that everybody else carries on."""

from __future__ import annotations

import base64
import hashlib
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.certificates import NAME, authority, context_from_pem
from tests.ssa_impl.credentials import anchors, issued
from tests.ssa_impl.tls.peers import client_context
from tests.ssa_impl.validation import pki
from tests.system.daemons import Program, Zygote
from tests.system.honest import dial
from tests.system.servers import Server, echo, serving, tls
from tests.system.test_reload import Governed
from tests.system.test_successors import own


@dataclass(frozen=True)
class Town:
    """Two peers of one name, each of an authority of its own; the policy trusts both, and is about to refuse one."""

    directory: Path
    good: pki.Credentials
    bad: pki.Credentials

    def policy(self, *trusted: str, table: str = "") -> str:
        files = [str(self.directory / f"{name}.pem") for name in trusted]
        return f"[defaults]\ntrust_store = {files}\n{table}"


@pytest.fixture
def town(tmp_path: Path) -> Town:
    other = pki.authority("The good one's authority")
    (tmp_path / "good.pem").write_bytes(other.pem)
    (tmp_path / "bad.pem").write_bytes(pki.root().pem)
    return Town(tmp_path, pki.leaf(issuer=other), pki.leaf())


@pytest.fixture
def governed(town: Town) -> Iterator[Governed]:
    daemon = Governed(town.directory, town.policy("good", "bad"))
    yield daemon
    if daemon.process.poll() is None:
        daemon.stop()
    daemon.close()


@pytest.fixture
def zygote(governed: Governed) -> Iterator[Zygote]:
    made = Zygote(governed.path)
    yield made
    made.stop()


def without_the_authority(town: Town) -> str:
    return town.policy("good")


def with_strategy(town: Town, name: str, parameters: str) -> str:
    table = f'[defaults.validation]\nnecessary = ["trust-store-and-hostname", "{name}"]\n'
    return town.policy("good", "bad", table=f"{table}[defaults.validation.{name}]\n{parameters}\n")


def with_a_pin(town: Town) -> str:
    key = town.good.certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    pin = base64.b64encode(hashlib.sha256(key).digest()).decode()
    return with_strategy(town, "pinning", f'pins = {{ "{NAME}" = ["sha256/{pin}"] }}')


def with_an_allow_list(town: Town) -> str:
    return with_strategy(town, "allow-list", f'fingerprints = ["{town.good.certificate.fingerprint(SHA256()).hex()}"]')


def with_a_list_of_the_revoked(town: Town) -> str:
    """In a directory that no worker could reach before: where workers are confined, successors judge for them."""
    (town.directory / "lists").mkdir(exist_ok=True)
    file = town.directory / "lists" / "bad.crl"
    file.write_bytes(pki.revocation_list(town.bad))
    return with_strategy(town, "revocation", f'sources = ["crl"]\ncrl_files = ["{file}"]\nsoft_fail = true')


def carries(program: Program) -> bool:
    program.say("carry")
    return bool(program.hear() == "x")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (without_the_authority, "trust-store-and-hostname rejects it: "),
        (with_a_pin, "pinning rejects it: "),
        (with_an_allow_list, f"allow-list rejects it: {NAME} is not on the list"),
        (with_a_list_of_the_revoked, "revocation rejects it: the certificate was revoked at "),
    ],
)
def test_those_that_the_new_policy_refuses_are_cut_and_all_others_carry_on(
    governed: Governed, zygote: Zygote, town: Town, change: Callable[[Town], str], why: str
) -> None:
    def peer(credentials: pki.Credentials) -> Server:
        context = context_from_pem(credentials.key_pem + credentials.pem)
        return stack.enter_context(serving(tls(echo, context)))

    with ExitStack() as stack:
        good, bad = peer(town.good), peer(town.bad)
        kept, lost = ([zygote.start("held_until_cut", port=server.port) for _ in range(3)] for server in (good, bad))
        for program in (*kept, *lost):
            program.hear()
        policy = change(town)
        assert governed.reload(policy).closed == 0
        assert all(map(carries, (*kept, *lost)))
        assert governed.reload(policy, enforce=True).closed == 3
        for program in lost:
            program.say("cut")
            ended, text = program.result()
            assert ended == ["", "ECONNRESET"]
            assert text.startswith(
                "the policy was changed and does not allow this connection: the peer was refused: " + why
            )
        assert all(map(carries, kept))
        assert governed.reload(policy, enforce=True).closed == 0
        assert all(map(carries, kept))
        log = governed.log()
        assert log.count("the policy was changed and does not allow this connection") == 3
        assert f"judged again, {NAME} (profile default) is refused" in log
        for program in kept:
            program.close()


def test_a_servers_clients_are_judged_again(governed: Governed, town: Town) -> None:
    servers = Zygote(governed.path, "tests.system.crowds")
    file = town.directory / "clients.pem"
    file.write_bytes(anchors())
    server = servers.start("until_one_is_cut", anchors=str(file), **own(town.directory))
    port = server.hear()
    clients = [_client(port, name) for name in ("one.test", "two.test")]
    server.hear()
    policy = with_strategy(town, "allow-list", 'names = ["two.test"]')
    assert governed.reload(policy).closed == 0
    assert governed.reload(policy, enforce=True).closed == 1
    server.say()
    clients[1].sendall(b"x")
    assert clients[1].recv(1) == b"x"
    ended, text = server.result()
    assert ended == ["", "ECONNRESET"]
    assert "allow-list rejects it" in text
    for client in clients:
        client.close()
    servers.stop()


def _client(port: int, name: str) -> ssl.SSLSocket:
    context = client_context(presenting=issued(name))
    context.load_verify_locations(cadata=authority().anchors_pem.decode())
    context.check_hostname = False
    return context.wrap_socket(dial(port))
