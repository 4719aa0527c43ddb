"""Keys of the policy: used by who cannot read them, given as the policy says, and nowhere but where they are used."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import ssl
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.ssa_impl.credentials import Credential, anchors, issued
from tests.system.daemons import Daemon, Program, Zygote, is_alive
from tests.system.waiting import eventually

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: nobody else can become another user")
BOUNDARIES = ("seccomp", "preload")
POLICY = """
[profile.default]
keys = ["web"]

[profile.other]

[key.web]
chain = "{place}/shut/chain.pem"
key = "{place}/shut/key.pem"
profiles = ["default"]
paths = ["{place}/old-name.pem"]

[key.unused]
chain = "{place}/shut/unused.pem"
key = "{place}/shut/unused.key"
profiles = ["default"]

[key.elsewhere]
chain = "{place}/shut/elsewhere.pem"
key = "{place}/shut/elsewhere.key"
profiles = ["other"]
"""


class House:
    """A daemon under a policy with keys, in a directory that everybody may enter, as everybody may use its socket."""

    def __init__(self, boundary: str, place: Path) -> None:
        self.place = place
        self.web, self.elsewhere = issued("web.test"), issued("elsewhere.test")
        self.unused = issued("web.test", common_name="unused")
        (place / "shut").mkdir(mode=0o700)
        self.write(self.web)
        for name, credential in (("elsewhere", self.elsewhere), ("unused", self.unused)):
            self._write(f"{name}.pem", credential.chain)
            self._write(f"{name}.key", credential.key)
        self.policy = place / "ssa.toml"
        self.policy.write_text(POLICY.format(place=place), "utf-8")
        self.daemon = Daemon(policy=self.policy)
        self.daemon.path.parent.chmod(0o755)
        self.daemon.path.chmod(0o666)
        self.zygote = Zygote(self.daemon.path, "tests.system.keyed", boundary)
        self.zygote.run("nothing")

    def write(self, web: Credential) -> None:
        """Write the key called web, with its chain."""
        self.web = web
        self._write("chain.pem", web.chain)
        self._write("key.pem", web.key)

    def _write(self, name: str, content: bytes) -> None:
        path = self.place / "shut" / name
        path.write_bytes(content)
        path.chmod(0o600)

    @property
    def keeper(self) -> int:
        """The keeper's process."""
        (pid,) = set(self.daemon.worker_pids()) - set(self.daemon.workers)
        return pid

    def serve(self, chain: str = "name:web", key: str = "name:web") -> Program:
        """Start a server that has set its options and waits."""
        shut = [str(self.place / "shut" / name) for name in ("chain.pem", "key.pem")]
        program = self.zygote.start("key_server", chain=chain, key=key, unreadable=shut)
        assert program.hear() == "set"
        return program

    def close(self) -> None:
        self.zygote.stop()
        assert self.daemon.stop() == 0
        self.daemon.close()


@pytest.fixture(scope="module", params=BOUNDARIES)
def house(request: pytest.FixtureRequest) -> Iterator[House]:
    place = Path(tempfile.mkdtemp(prefix="keys-"))
    place.chmod(0o755)
    made = House(request.param, place)
    yield made
    made.close()
    shutil.rmtree(place)


def listen(program: Program) -> int:
    program.say()
    port: int = program.hear()
    return port


@contextlib.contextmanager
def call(program: Program, port: int) -> Iterator[ssl.SSLSocket]:
    """Connect a client; the server has served it once, and hears its orderly end."""
    program.say("serve")
    context = ssl.create_default_context(cadata=anchors().decode())
    connection = socket.create_connection(("127.0.0.1", port), timeout=60)
    with context.wrap_socket(connection, server_hostname="web.test") as client:
        client.sendall(b"hello")
        assert client.recv(100) == b"hello"
        assert program.hear() == "served"
        yield client
        with contextlib.suppress(ssl.SSLZeroReturnError):
            client.unwrap()


def leaf(client: ssl.SSLSocket) -> bytes:
    """Return the server's certificate."""
    found = client.getpeercert(binary_form=True)
    assert found is not None
    return found


def end(program: Program) -> None:
    program.say("end")
    program.result()


def secrets(credential: Credential) -> list[bytes]:
    """Return what a key looks like in memory: its DER, the base64 of its PEM, its number either way round."""
    key = serialization.load_pem_private_key(credential.key, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    number = key.private_numbers().private_value
    pem = b"".join(credential.key.splitlines()[1:-1])
    traditional = key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    return [credential.key_der, traditional, pem[:60], number.to_bytes(32, "big"), number.to_bytes(32, "little")]


def has_any(pid: int, needles: list[bytes]) -> bool:
    """Whether one of these is anywhere in the memory of a process."""
    regions = [line.split()[:2] for line in Path(f"/proc/{pid}/maps").read_text("utf-8").splitlines()]
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for place, rights in regions:
            first, last = (int(number, 16) for number in place.split("-"))
            if rights[0] != "r" or first >= 1 << 47:
                continue
            try:
                content = os.pread(memory.fileno(), last - first, first)
            except OSError:  # a page without memory: of the kernel's, or of a file that was cut
                continue
            if any(needle in content for needle in needles):
                return True
    return False


def family(pid: int) -> list[int]:
    """Return a process and everything below it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()
    return [pid, *(each for child in children for each in family(int(child)))]


def test_a_key_is_used_by_name_and_is_nowhere_but_where_it_is_used(house: House) -> None:
    needles = secrets(house.unused)
    assert has_any(house.keeper, needles)
    assert not any(has_any(pid, needles) for pid in (house.daemon.process.pid, *house.daemon.workers))
    program = house.serve("name:unused", "name:unused")
    assert sorted(has_any(pid, needles) for pid in house.daemon.workers) == [False, True]
    port = listen(program)
    with call(program, port) as client:
        assert leaf(client) == ssl.PEM_cert_to_DER_cert(house.unused.chain.decode())
        running = [*family(house.zygote.process.pid), house.daemon.process.pid]
        assert program.pid in running
        assert not [pid for pid in running if has_any(pid, needles)]
        assert not any(has_any(pid, secrets(house.elsewhere)) for pid in house.daemon.workers)
    end(program)


def test_a_key_is_used_by_the_path_that_the_application_cannot_read(house: House) -> None:
    shut = house.place / "shut"
    for chain, key in (
        (f"{shut}/chain.pem", f"{shut}/key.pem"),
        (f"{house.place}/old-name.pem", f"{shut}/../shut/key.pem"),
        ("name:web", f"{shut}/key.pem"),
        ("", ""),  # it says nothing: its profile has a key
    ):
        program = house.serve(chain, key)
        with call(program, listen(program)) as client:
            assert leaf(client) == ssl.PEM_cert_to_DER_cert(house.web.chain.decode())
        end(program)


def test_what_the_policy_does_not_give_is_refused(house: House) -> None:
    shut = house.place / "shut"
    (shut / "secret.pem").write_bytes(house.web.key)
    pairs = {
        "name:elsewhere": ["EPROTO", "the policy does not let the profile default use the key elsewhere"],
        f"{shut}/elsewhere.key": ["EPROTO", "the policy does not let the profile default use the key elsewhere"],
        "name:missing": ["EPROTO", "the policy has no key named missing"],
        "name:no name": ["EPROTO", "the policy has no key named no name"],
        f"{shut}/secret.pem": ["EACCES", f"{shut}/secret.pem: Permission denied"],
        f"{house.place}/missing": ["ENOENT", f"{house.place}/missing: No such file or directory"],
        "missing": ["ENOENT", f"{house.place}/missing: No such file or directory"],
        "./name:web": ["ENOENT", f"{house.place}/./name:web: No such file or directory"],
    }
    got = house.zygote.run("set_values", values=[[value, value] for value in pairs], directory=str(house.place))
    assert got == [[code, code, text] for code, text in pairs.values()]


def test_the_keeper_is_started_again_and_no_connection_is_harmed(house: House) -> None:
    program = house.serve()
    port = listen(program)
    with call(program, port) as client:
        first = house.keeper
        os.kill(first, signal.SIGKILL)
        eventually(lambda: not is_alive(first))
        client.sendall(b"still")  # the server reads on until the client ends
    with call(program, port):
        pass
    another = house.serve()
    with call(another, listen(another)):
        assert house.keeper != first
    end(another)
    end(program)
    assert "the keeper of the keys ended with -9; starting another" in house.daemon.log()


def test_a_renewed_certificate_is_presented_after_a_reload_and_a_bad_one_changes_nothing(house: House) -> None:
    program = house.serve()
    port = listen(program)
    before = house.web
    with call(program, port) as client:
        (house.place / "shut" / "key.pem").write_bytes(house.elsewhere.key)
        house.daemon.process.send_signal(signal.SIGHUP)
        eventually(lambda: "does not match the first certificate of" in house.daemon.log())
        renewed = issued("web.test", common_name="renewed")
        house.write(renewed)
        house.daemon.process.send_signal(signal.SIGHUP)
        client.sendall(b"still")

        def presented() -> bytes:
            with call(program, port) as another:
                return leaf(another)

    eventually(lambda: presented() == ssl.PEM_cert_to_DER_cert(renewed.chain.decode()))
    assert renewed.chain != before.chain
    end(program)
