"""Bytes: both ways, large and small, and how connections end."""

from __future__ import annotations

import pytest

from tests.certificates import authority
from tests.system.daemons import Zygote
from tests.system.servers import Server, digest, greet, reset, serving, tls, truncate

TEN_MB = 10_000_000


def test_ten_megabytes_both_ways_at_once(zygote: Zygote, echoing: Server, ca: str) -> None:
    sent, back = zygote.run("upload_and_download", port=echoing.port, ca=ca, size=TEN_MB)
    assert sent == back
    assert echoing.word() == "in order"


def test_many_small_words(zygote: Zygote, echoing: Server, ca: str) -> None:
    assert zygote.run("small_words", port=echoing.port, ca=ca, count=500) == 500
    assert echoing.word() == "in order"


@pytest.mark.parametrize("exit_at_once", [False, True], ids=["close", "exit"])
def test_an_end_right_after_a_large_write_delivers_everything(zygote: Zygote, ca: str, exit_at_once: bool) -> None:
    with serving(tls(digest)) as server:
        sent = zygote.run("write_and_close", port=server.port, ca=ca, size=TEN_MB, exit_at_once=exit_at_once)
        assert server.word() == sent  # and close_notify came before FIN, or else the word is "truncated"


def test_half_close_then_the_answer(zygote: Zygote, ca: str) -> None:
    with serving(tls(digest)) as server:
        sent, answer, cipher, write = zygote.run("half_close", port=server.port, ca=ca, size=3_000_000)
        assert sent == answer == server.word()
        assert cipher == "TLS_"  # still known after both sides have ended
        assert write == "EPIPE"


@pytest.mark.parametrize("version", [0x0303, 0x0304])
def test_a_server_that_speaks_first(zygote: Zygote, ca: str, version: int) -> None:
    with serving(tls(greet)) as server:
        assert zygote.run("greeting", port=server.port, ca=ca, high=version) == "220 ready\r\n"
        assert server.word() == "0 bytes"


def test_truncation_is_an_error_not_an_end_of_file(zygote: Zygote, ca: str) -> None:
    with serving(tls(truncate)) as server:
        got = zygote.run("read_to_the_end", port=server.port, ca=ca)
        assert server.word() == "truncated by me"
    assert got["ended"] == ["half", "ECONNRESET"]
    assert got["so_error"] == "ECONNRESET"
    assert "close_notify" in got["text"]
    assert got["version"] == 0x0304


def test_truncation_after_a_half_close_is_in_so_error(zygote: Zygote, ca: str) -> None:
    """The descriptor itself cannot say it: with its own side shut down, a unix socket can no longer be reset."""
    with serving(tls(truncate)) as server:
        got = zygote.run("read_to_the_end", port=server.port, ca=ca, half_close=True)
        assert server.word() == "truncated by me"
    assert got["ended"][0] == "half"
    assert got["so_error"] == "ECONNRESET"
    assert "close_notify" in got["text"]


def test_a_reset_is_a_reset(zygote: Zygote, ca: str) -> None:
    with serving(tls(reset)) as server:
        got = zygote.run("read_to_the_end", port=server.port, ca=ca, first="half")
        assert server.word() == "reset by me"
    assert got["ended"] == ["", "ECONNRESET"]
    assert got["so_error"] == "ECONNRESET"


def test_rsa_and_tls_1_2(zygote: Zygote, ca: str) -> None:
    with serving(tls(digest, authority().server_context(rsa=True))) as server:
        assert zygote.run("tighten", port=server.port, ca=ca, low=0x0303, high=0x0303) == ["", 0x0303]
