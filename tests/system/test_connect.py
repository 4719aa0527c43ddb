"""connect() as a blocking program sees it: success, every failure with its errno and text, and another try."""

from __future__ import annotations

import contextlib
import socket
from typing import Any

import pytest

from tests.certificates import authority, context_from_pem, self_signed_pem
from tests.system.daemons import Zygote
from tests.system.servers import BODY_SHA256, Behaviour, Server, close_early, download, plain, serving, tls


def test_the_straight_path(zygote: Zygote, web: Server, ca: str) -> None:
    got = zygote.run("download", port=web.port, ca=ca)
    assert got["sha256"] == BODY_SHA256
    assert got["peer"] == ["127.0.0.1", web.port]
    assert tuple(got["name"]) == web.caller()
    assert (got["proto"], got["family"]) == (205, socket.AF_INET)
    assert (got["version"], got["resumed"], got["alpn"], got["error"], got["so_error"]) == (0x0304, 0, "", "", "")
    assert got["cipher"].startswith("TLS_")
    assert got["group"].lower() == "x25519"
    assert "O=trustme" in got["identity"]
    assert got["id"] >> 48 in {0, 1}
    assert web.word() == "in order"


def test_ipv6_by_address(zygote: Zygote, ca: str) -> None:
    with serving(tls(download), socket.AF_INET6) as server:
        assert zygote.run("connect_ipv6", port=server.port, ca=ca) == [BODY_SHA256, ["::1", server.port, 0, 0], "::1"]
        assert server.word() == "in order"


def _refused() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def _faulty(fault: str) -> Behaviour:
    return tls(download, authority().server_context(fault))


FAILURES: dict[str, tuple[Behaviour | None, str | None, str, str]] = {
    "wrong name": (_faulty("name"), "server.ssa.test", "EPROTO", "is not for server.ssa.test"),
    "untrusted": (_faulty("untrusted"), "server.ssa.test", "EPROTO", "local issuer"),
    "expired": (_faulty("expired"), "server.ssa.test", "EPROTO", "has expired"),
    "self-signed": (tls(download, context_from_pem(self_signed_pem())), "server.ssa.test", "EPROTO", "self-signed"),
    "plain text": (plain, "server.ssa.test", "EPROTO", "speaks no TLS"),
    "closes early": (close_early, "server.ssa.test", "EPROTO", "closed the connection during the handshake"),
    "no hostname": (None, None, "EPROTO", "TLS_REMOTE_HOSTNAME is not set"),
    "refused": (None, "server.ssa.test", "ECONNREFUSED", "Connection refused"),
}  # fmt: skip


@contextlib.contextmanager
def _failing(behave: Behaviour | None) -> Any:
    if behave is None:
        yield _refused()
        return
    with serving(behave) as server:
        yield server.port
        word = server.word()
        assert word in {"ended", "closed by me", "no request"} or word.startswith("refused"), word


@pytest.mark.parametrize("failure", FAILURES)
def test_a_failed_connect_leaves_nothing_connected_and_may_be_tried_again(
    failure: str, zygote: Zygote, web: Server, ca: str
) -> None:
    behave, name, code, text = FAILURES[failure]
    with _failing(behave) as port:
        got = zygote.run("fail_then_retry", port=port, ca=ca, name=name, good_port=web.port)
    assert got["errno"] == code
    assert text in got["text"]
    assert got["so_error"] == "ENOTCONN"
    assert got["peer"] == "ENOTCONN"
    assert got["send"] in {"ENOTCONN", "EPIPE"}
    assert got["retry"] == ""
    assert got["sha256"] == BODY_SHA256


@pytest.mark.parametrize("failure", [failure for failure in FAILURES if failure != "no hostname"])
def test_a_polling_program_sees_the_same_failure(failure: str, zygote: Zygote, ca: str) -> None:
    behave, name, code, text = FAILURES[failure]
    with _failing(behave) as port:
        got = zygote.run("fail_without_blocking", port=port, ca=ca, name=name)
    assert got["started"] == "EINPROGRESS"
    assert got["error event"] is True
    assert got["so_error"] == code
    assert got["so_error again"] == ""
    assert text in got["text"]
    assert got["read"] == "ECONNRESET"
    assert got["peer"] == "ENOTCONN"
    assert got["again"] == "EBADFD"


def test_sockets_that_are_not_ours_are_not_disturbed(zygote: Zygote) -> None:
    kinds = ["EPROTONOSUPPORT", "EPROTONOSUPPORT", "EPROTONOSUPPORT"]
    assert zygote.run("other_kinds") == [*kinds, "plain", "ENOPROTOOPT", "EOPNOTSUPP"]
