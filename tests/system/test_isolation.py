"""Who may reach what: other users nothing, whatever they try, and files only as far as the caller's own rights go."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.certificates import authority
from tests.system.daemons import Daemon, Zygote
from tests.system.honest import Listener
from tests.system.waiting import eventually

ANCHORS, CHAIN, KEY = 87, 88, 89

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: nobody else can become another user")


class House:
    """A daemon whose directory everybody may enter, so that nothing but its own modes protects it."""

    def __init__(self) -> None:
        self.daemon = Daemon()
        self.private = self.daemon.path.with_name(self.daemon.path.name + ".d")
        self.daemon.path.parent.chmod(0o755)
        self.zygote = Zygote(self.daemon.path, "tests.system.crowds")
        self.zygote.run("nothing")


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    made = House()
    yield made
    made.zygote.stop()
    assert made.daemon.stop() == 0
    made.daemon.close()


@pytest.fixture(scope="module")
def public() -> Iterator[Path]:
    """A directory that everybody may enter, with a server's files in it that their owner alone may read."""
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o755)
    issued = authority().credentials()
    contents = {
        "chain.pem": b"".join(part.bytes() for part in issued.cert_chain_pems),
        "key.pem": issued.private_key_pem.bytes(),
        "anchors.pem": authority().anchors_pem,
    }
    (directory / "shut").mkdir(mode=0o700)
    for name, content in contents.items():
        for folder, mode in (("", 0o600), ("shut", 0o644)):
            (directory / folder / name).write_bytes(content)
            (directory / folder / name).chmod(mode)
        (directory / f"link-{name}").symlink_to(directory / name)
    yield directory
    shutil.rmtree(directory)


def names_of_listeners(house: House) -> set[Path]:
    return {path for path in house.private.iterdir() if not path.name.startswith("worker-")}


@pytest.fixture
def listener(house: House, public: Path) -> Iterator[Listener]:
    """The only listener that there is; it hears nothing but honest clients."""
    eventually(lambda: not names_of_listeners(house))
    made = Listener(house.zygote.start("echo_server", chain=str(public / "chain.pem"), key=str(public / "key.pem")))
    yield made
    made.serves_an_honest_client()
    assert made.heard() == []


# -- sockets


@needs_root
def test_other_users_reach_no_socket_of_the_daemons(house: House, listener: Listener) -> None:
    """Neither the control socket, nor a worker's listener, nor an application's."""
    assert names_of_listeners(house), listener.port
    paths = [str(house.daemon.path), *(str(path) for path in house.private.iterdir())]
    assert all(stat.S_ISSOCK(os.stat(path).st_mode) for path in paths)  # noqa: PTH116
    assert house.zygote.run("reach", paths=paths) == {path: ["EACCES", "EACCES"] for path in paths}


def test_all_sockets_with_a_name_are_public_or_in_the_private_directory(house: House, listener: Listener) -> None:
    """No abstract name (unix(7)), which no permission protects; public are the three that ask who calls."""
    assert names_of_listeners(house), listener.port
    inodes = set()
    for pid in [house.daemon.process.pid, *house.daemon.workers]:
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed since it was listed
                if (target := str(entry.readlink())).startswith("socket:["):
                    inodes.add(target[8:-1])
    rows = [line.split() for line in Path("/proc/net/unix").read_text("utf-8").splitlines()[1:]]
    names = {row[7] for row in rows if row[6] in inodes and len(row) > 7}
    assert names
    public = {f"{house.daemon.path}{suffix}" for suffix in ("", ".admin", ".metrics")}
    assert all(name in public or name.startswith(f"{house.private}/") for name in names), names


INTRUDERS: dict[str, bytes | None] = {
    "silence": None,
    "nothing": b"",
    "one byte": b"x",
    "zeros": bytes(32),
    "a greeting without a channel": b"\x10\0" + bytes(30),
    "more than a greeting": bytes(1000),
}


@pytest.mark.parametrize("intruder", INTRUDERS)
def test_what_does_not_come_from_the_daemon_is_not_accepted(intruder: str, house: House, listener: Listener) -> None:
    """Even one of the same user who knows the way: without a greeting and a channel there is no peer."""
    (path,) = names_of_listeners(house)
    with socket.socket(socket.AF_UNIX) as end:
        end.settimeout(30)
        end.connect(str(path))
        if (said := INTRUDERS[intruder]) is not None:
            end.sendall(said)
            end.shutdown(socket.SHUT_WR)
        listener.serves_an_honest_client()
        with contextlib.suppress(ConnectionResetError):
            assert end.recv(100) == b""


@needs_root
def test_a_claim_needs_the_descriptor_and_the_owner(house: House) -> None:
    """The control socket is opened to everybody here, so that the daemon's own look at who asks is what is tested."""
    house.daemon.path.chmod(0o666)
    try:
        got = house.zygote.run("claims", path=str(house.daemon.path), contexts=4)
    finally:
        house.daemon.path.chmod(0o600)
    assert got == {
        "its owner": "",
        "its owner, through a copy": "",
        "somebody else": "ENOTSOCK",
        "a socket of nobody's": "ENOTSOCK",
        "a TCP socket": "ENOTSOCK",
        "a control channel": "ENOTSOCK",
        "a pipe": "ENOTSOCK",
        "a device": "ENOTSOCK",
        "nothing": "hung up",
        "two": "hung up",
        "its owner's context": [""] * 4,
        "somebody else's context": ["EINVAL"] * 4,
        "somebody else's socket": [""] * 4,
        "its owner, still": "",
    }


@needs_root
def test_the_daemons_right_to_low_ports_is_nobody_elses(house: House) -> None:
    got = house.zygote.run("bind_low", port=1)
    assert got == {"root": "", "nobody": "EACCES", "nobody, in a namespace": "EACCES"}


# -- files


@needs_root
@pytest.mark.parametrize("way", ["", "shut/", "link-"], ids=["directly", "in a closed directory", "by a link"])
def test_files_are_opened_with_the_callers_rights(way: str, house: House, public: Path) -> None:
    """The daemon and the supervisor are root here and could read them all."""
    files = [[ANCHORS, "anchors.pem"], [CHAIN, "chain.pem"], [KEY, "key.pem"]]
    values = [[option, f"{public}/{way}{name}"] for option, name in files]
    got = house.zygote.run("set_files", values=values, nobody=True)
    assert got == [["EACCES", f"{path}: Permission denied"] for _, path in values]
    assert [failed for failed, _ in house.zygote.run("set_files", values=values, nobody=False)] == ["", "", ""]


@needs_root
def test_the_daemons_own_files_are_no_way_around(house: House, public: Path) -> None:
    """Its descriptors, its directory and its working directory, as /proc shows them."""
    worker = house.daemon.workers[0]
    places = [f"/proc/{worker}/fd/2", f"/proc/{worker}/environ", f"/proc/{worker}/root{public}/key.pem"]
    values = [[option, place] for option in (ANCHORS, CHAIN, KEY) for place in places]
    got = house.zygote.run("set_files", values=values, nobody=True)
    assert [failed for failed, _ in got] == ["EACCES"] * len(values)


@pytest.mark.parametrize("option", [ANCHORS, CHAIN, KEY])
def test_what_is_no_regular_file_is_refused_at_once(option: int, house: House, public: Path, tmp_path: Path) -> None:
    """Nobody waits for a pipe's writer, and no device is read."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").mkdir()
    places = [tmp_path / "pipe", Path("/dev/zero"), Path("/dev/full"), tmp_path / "empty", tmp_path / "missing"]
    got = house.zygote.run("set_files", values=[[option, str(place)] for place in places], nobody=False)
    assert [failed for failed, _ in got] == ["EINVAL", "EINVAL", "EINVAL", "EINVAL", "ENOENT"]
    assert all(text for _, text in got)
