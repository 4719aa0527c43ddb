"""Options as a program sets and reads them: errnos, rooms, pointers, files, and which socket they reach."""

from __future__ import annotations

import ctypes
import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.certificates import authority
from tests.system.daemons import Daemon, Zygote
from tests.system.servers import BODY_SHA256, Server, download, hold, serving, tls


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory that every user may enter; what is in it decides for itself."""
    with tempfile.TemporaryDirectory(prefix="ssa-public-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_every_wrong_use_has_its_errno(zygote: Zygote, web: Server, ca: str) -> None:
    assert zygote.run("option_errors", port=web.port, ca=ca) == {
        "unknown set": "ENOPROTOOPT",
        "unknown get": "ENOPROTOOPT",
        "negative set": "ENOPROTOOPT",
        "negative get": "ENOPROTOOPT",
        "private key get": "ENOPROTOOPT",
        "anchors get": "ENOPROTOOPT",
        "read-only set": "ENOPROTOOPT",
        "too early": "ENOTCONN",
        "no NUL": "EINVAL",
        "empty": "EINVAL",
        "256 bytes": "EINVAL",
        "huge": "EINVAL",
        "version": "EINVAL",
        "length of int": "EINVAL",
        "listen": "EPROTO",
        "bind": "",
        "bind elsewhere": "EADDRNOTAVAIL",
        "late": "EOPNOTSUPP",
        "connect again": "EISCONN",
        "bind late": "EINVAL",
        "still there": BODY_SHA256,
    }


def test_a_room_that_is_too_small_is_erange_and_says_the_length(zygote: Zygote, web: Server, ca: str) -> None:
    with serving(tls(hold)) as server:
        got = zygote.run("rooms", port=server.port, ca=ca)
    cipher, length = got["exact"][1].rstrip("\0"), got["exact"][2]
    assert cipher.startswith("TLS_")
    assert length == len(cipher) + 1
    assert got["needed"] == 34  # ERANGE
    assert got["small"] == [34, "", length]
    assert got["exact"][0] == 0
    assert got["large"] == [0, length]
    assert got["negative"] == 22  # EINVAL
    assert got["wire, no room"] == ""
    sent = b"".join(part.bytes() for part in authority().credentials().cert_chain_pems).decode()
    assert got["chain"].rstrip("\0").split() == sent.split()


def test_pointers_to_nowhere_are_efault_and_hurt_nobody(zygote: Zygote, web: Server, ca: str) -> None:
    got = zygote.run("bad_pointers", port=web.port, ca=ca)
    assert got.pop("still there") == BODY_SHA256
    assert got.pop("connect, length") == "EINVAL"
    assert set(got.values()) == {"EFAULT"}, got


def test_anchors_files(zygote: Zygote, public: Path, ca: str) -> None:
    for name, content in {"empty": b"", "nonsense": b"nonsense", "huge": bytes(5_000_000)}.items():
        (public / name).write_bytes(content)
    os.mkfifo(public / "fifo")
    (public / "folder").mkdir()
    names = ["missing", "empty", "nonsense", "huge", "fifo", "folder"]
    got = zygote.run("anchors", paths=[ca, *(str(public / name) for name in names), ""])
    assert [failed for failed, _ in got] == ["", "ENOENT", *["EINVAL"] * 5, "EINVAL"]
    assert got[1][1] == f"{public}/missing: No such file or directory"
    assert all(text for failed, text in got if failed)


def test_a_path_is_taken_from_the_programs_own_directory(zygote: Zygote, public: Path) -> None:
    (public / "ca.pem").write_bytes(authority().anchors_pem)
    assert zygote.run("anchors", paths=["ca.pem", "./ca.pem"], directory=str(public)) == [["", ""], ["", ""]]
    assert zygote.run("anchors", paths=["ca.pem"])[0][0] == "ENOENT"


def test_a_file_is_opened_with_the_programs_own_rights(zygote: Zygote, public: Path) -> None:
    for name, mode in (("open", 0o644), ("closed", 0o000)):
        (public / name).write_bytes(authority().anchors_pem)
        (public / name).chmod(mode)
    paths = [str(public / name) for name in ("open", "closed", "open")]
    got = zygote.run("anchors", paths=paths, as_nobody=os.geteuid() == 0)
    assert [failed for failed, _ in got] == ["", "EACCES", ""]
    assert got[1][1] == f"{paths[1]}: Permission denied"


def test_the_supervisors_rights_come_back(zygote: Zygote, public: Path) -> None:
    """After a file was opened for a program that has given up root, root's programs have their own rights again."""
    if os.geteuid() != 0:
        pytest.skip("needs root: nobody else can give up rights")
    (public / "closed").write_bytes(authority().anchors_pem)
    (public / "closed").chmod(0o600)
    path = str(public / "closed")
    assert [zygote.run("anchors", paths=[path], as_nobody=nobody)[0][0] for nobody in (True, False)] == ["EACCES", ""]


def test_a_directory_of_anchors(zygote: Zygote, web: Server, public: Path) -> None:
    (public / "a-note.txt").write_text("not PEM")
    (public / "broken-link").symlink_to("nowhere")
    (public / "ours.pem").write_bytes(authority().anchors_pem.rstrip(b"\n"))
    (public / "subfolder").mkdir()
    assert zygote.run("download_with_anchors", port=web.port, value=str(public)) == BODY_SHA256


@pytest.mark.parametrize("nul", [True, False])
def test_anchors_as_pem(zygote: Zygote, web: Server, nul: bool) -> None:
    pem = authority().anchors_pem.decode()
    assert zygote.run("download_with_anchors", port=web.port, value=pem, nul=nul) == BODY_SHA256


@pytest.mark.parametrize("form", ["/proc/self/fd/{}", "/proc/thread-self/fd/{}", "/dev/fd/{}"])
def test_a_path_through_the_programs_own_descriptors(zygote: Zygote, web: Server, form: str) -> None:
    pem = authority().anchors_pem.decode()
    got = zygote.run("download_with_anchors_in_memory", port=web.port, pem=pem, form=form)
    assert got == BODY_SHA256


@pytest.mark.parametrize("version", [0x0303, 0x0304])
def test_a_program_may_tighten_versions(zygote: Zygote, web: Server, ca: str, version: int) -> None:
    assert zygote.run("tighten", port=web.port, ca=ca, low=version, high=version) == ["", version]


def test_no_version_is_left(zygote: Zygote, web: Server, ca: str) -> None:
    assert zygote.run("tighten", port=web.port, ca=ca, low=0x0304, high=0x0303) == ["EPROTO", 0]


def test_alpn(zygote: Zygote, ca: str) -> None:
    context = authority().server_context()
    context.set_alpn_protocols(["http/1.1"])
    with serving(tls(download, context)) as server:
        assert zygote.run("alpn", port=server.port, ca=ca, names="h2,http/1.1") == "http/1.1"
        assert zygote.run("alpn", port=server.port, ca=ca, names="") == ""


def outside_socket(daemon: Daemon, port: int) -> socket.socket:
    """Get a copy of the TCP socket with this local port, from the worker that has it (pidfd_getfd(2))."""
    libc = ctypes.CDLL(None)
    for worker in daemon.workers:
        pidfd = os.pidfd_open(worker)
        for descriptor in Path(f"/proc/{worker}/fd").iterdir():
            taken = libc.syscall(438, pidfd, int(descriptor.name), 0)
            if stat.S_ISSOCK(os.fstat(taken).st_mode):
                found = socket.socket(fileno=taken)
                if found.family == socket.AF_INET and found.getsockname()[1] == port:
                    os.close(pidfd)
                    return found
                found.close()
            else:
                os.close(taken)
        os.close(pidfd)
    raise AssertionError(f"no worker has a socket at port {port}")


def test_options_of_the_wire_reach_the_daemons_socket(daemon: Daemon, zygote: Zygote, ca: str) -> None:
    with serving(tls(hold)) as server:
        program = zygote.start("wire_options", port=server.port, ca=ca)
        port = program.hear()[1]
        assert server.caller()[1] == port
        with outside_socket(daemon, port) as outside:
            assert outside.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 0
            assert outside.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert outside.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 77
            program.say()
            got = program.result()
            assert outside.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
    assert got.pop("congestion")
    assert got == {"keepalive": 1, "keepidle": 77, "tos": 0x10, "type": 1, "mss": True, "nodelay": 1}
