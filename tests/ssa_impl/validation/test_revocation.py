"""Revocation against real responders on loopback: what they say, and everything that they can do wrong."""

from __future__ import annotations

import datetime
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from cryptography import x509
from cryptography.x509 import ocsp

from ssa_impl.validation.judging import judge
from ssa_impl.validation.model import Ballot, Case, Choice, Validation, Vote
from ssa_impl.validation.strategies import fetch
from ssa_impl.validation.strategies.fetch import is_public
from ssa_impl.validation.strategies.revocation import Revocation
from ssa_impl.validation.strategy import Strategy
from tests.ssa_impl.validation import pki
from tests.ssa_impl.validation.asking import ask, made, run
from tests.ssa_impl.validation.web import Web, web

REVOKED, UNKNOWN = ocsp.OCSPCertStatus.REVOKED, ocsp.OCSPCertStatus.UNKNOWN


def asking(sources: tuple[str, ...] = ("ocsp",), **parameters: object) -> Strategy:
    return made(Revocation, sources=list(sources), private_addresses=True, **parameters)


def judged(
    strategy: Strategy, prepare: Callable[[Web, pki.Credentials], None], *, times: int = 1, crl: bool = False
) -> tuple[Ballot, list[bytes]]:
    """Judge a peer whose certificate names the tests' web server; return the last ballot and what the server heard."""

    async def main() -> tuple[Ballot, list[bytes]]:
        async with web() as server:
            peer = pki.leaf(list_at=server.url) if crl else pki.leaf(responder=server.url)
            prepare(server, peer)
            for _ in range(times):
                ballot = await strategy.judge(pki.case(peer))
            return ballot, server.requests

    return run(main)


# -- OCSP


def test_good() -> None:
    ballot, heard = judged(asking(), lambda server, peer: server.say(pki.response(peer)))
    assert ballot == Ballot(Vote.ACCEPT, "not revoked (OCSP)")
    assert heard[0].startswith(b"POST /there HTTP/1.1\r\nHost: 127.0.0.1:")


def test_revoked() -> None:
    ballot, _ = judged(asking(soft_fail=True), lambda server, peer: server.say(pki.response(peer, REVOKED)))
    assert ballot.vote is Vote.REJECT
    assert "was revoked at" in ballot.reason
    assert "keyCompromise" in ballot.reason


def test_a_responder_whom_the_issuer_has_appointed() -> None:
    by = pki.appointed(pki.root())
    ballot, _ = judged(asking(), lambda server, peer: server.say(pki.response(peer, signer=by)))
    assert ballot.vote is Vote.ACCEPT


def wrong(name: str, peer: pki.Credentials) -> bytes:
    """An answer's content that must not be believed."""
    good = pki.response(peer)
    match name:
        case "unknown":
            return pki.response(peer, UNKNOWN)
        case "expired":
            return pki.response(peer, this_update=pki.NOW - 3 * pki.DAY, next_update=pki.NOW - pki.HOUR)
        case "old, and silent about the next":
            return pki.response(peer, this_update=pki.NOW - 3 * pki.DAY, next_update=None)
        case "of the future":
            return pki.response(peer, this_update=pki.NOW + pki.HOUR)
        case "by a stranger of the same name":
            return pki.response(peer, signer=pki.stranger())
        case "by somebody whom nobody appointed":
            return pki.response(peer, signer=pki.appointed(pki.root(), for_ocsp=False))
        case "by whom a stranger appointed":
            return pki.response(peer, signer=pki.appointed(pki.stranger()))
        case "about another certificate":
            return pki.response(pki.leaf())
        case "about another issuer's":
            return pki.response(peer, issuer=pki.stranger())
        case "altered":
            return good[:-1] + bytes([good[-1] ^ 1])
        case "cut":
            return good[:-20]
        case "no DER":
            return b"<html>"
    return ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.TRY_LATER).public_bytes(pki.Encoding.DER)


WRONG = [
    "unknown", "expired", "old, and silent about the next", "of the future", "by a stranger of the same name",
    "by somebody whom nobody appointed", "by whom a stranger appointed", "about another certificate",
    "about another issuer's", "altered", "cut", "no DER", "try later",
]  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_an_answer_that_must_not_be_believed(name: str) -> None:
    ballot, _ = judged(asking(), lambda server, peer: server.say(wrong(name, peer)))
    assert ballot.vote is Vote.ERROR, ballot
    assert ballot.reason.startswith("nobody knows whether the certificate is revoked: ocsp: ")


def test_soft_fail_says_so() -> None:
    ballot, _ = judged(asking(soft_fail=True), lambda server, peer: server.say(wrong("cut", peer)))
    assert ballot.vote is Vote.ACCEPT
    assert ballot.reason.endswith("(soft fail)")


def badly(name: str, server: Web, peer: pki.Credentials) -> None:
    """Answer in a way that is no answer."""
    good = pki.response(peer)
    match name:
        case "redirect":
            server.say(good, "302 Found", "Location: http://127.0.0.1:1/\r\n")
        case "server error":
            server.say(good, "500 Internal Server Error")
        case "huge":
            server.say(good + bytes(2_000_000))
        case "huge without saying so":
            server.answer = b"HTTP/1.1 200 OK\r\n\r\n" + bytes(2_000_000)
        case "endless header":
            server.answer = b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 400_000
        case "cut short":
            server.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n" + good
        case "no HTTP":
            server.answer = b"\x15\x03\x01\x00\x02"
        case "silence":
            server.answer = b""


BADLY = [
    "redirect", "server error", "huge", "huge without saying so", "endless header", "cut short", "no HTTP", "silence",
]  # fmt: skip


@pytest.mark.parametrize("name", BADLY)
def test_a_responder_that_misbehaves(name: str) -> None:
    ballot, heard = judged(asking(), lambda server, peer: badly(name, server, peer))
    assert ballot.vote is Vote.ERROR, ballot
    assert len(heard) == 1


def test_a_responder_that_stalls_is_given_up() -> None:
    async def main() -> tuple[Vote, str]:
        async with web() as server:
            server.answer = None
            parameters = (("private_addresses", True), ("sources", ("ocsp",)))
            choice = Choice("revocation", "revocation", parameters, timeout_s=3)
            verdict = await judge(Validation(necessary=(choice,)), pki.case(pki.leaf(responder=server.url)))
            assert not verdict.accepted
            return verdict.votes[0].ballot.vote, verdict.text

    assert run(main) == (Vote.TIMEOUT, "the peer was refused: revocation gave no answer: no answer within 3 s")


def test_a_responder_that_is_not_there() -> None:
    async def main() -> Ballot:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listener.socket.getsockname()[1]
        await listener.aclose()
        return await asking().judge(pki.case(pki.leaf(responder=f"http://127.0.0.1:{port}/")))

    ballot = run(main)
    assert ballot == Ballot(Vote.ERROR, "nobody knows whether the certificate is revoked: ocsp: Connection refused")


@pytest.mark.parametrize(
    "address", ["https://a.test/", "ftp://a.test/", "http://", "http://u:p@a.test/", "http://a.test:x/", "http://a b/"]
)
def test_addresses_that_are_not_asked(address: str) -> None:
    ballot = ask(asking(), pki.case(pki.leaf(responder=address)))
    assert ballot.vote is Vote.ERROR
    assert "address" in ballot.reason


def test_addresses_that_are_not_public_are_not_asked() -> None:
    strategy = made(Revocation, sources=["ocsp"])
    ballot, heard = judged(strategy, lambda server, peer: server.say(pki.response(peer)))
    assert "127.0.0.1 is no public address, and private_addresses is not set" in ballot.reason
    assert ballot.vote is Vote.ERROR
    assert heard == []


@pytest.mark.parametrize(
    ("address", "public"),
    [("192.0.2.1", False), ("10.1.2.3", False), ("169.254.169.254", False), ("::1", False), ("fe80::1%lo", False),
     ("::ffff:127.0.0.1", False), ("224.0.0.1", False), ("1.1.1.1", True), ("2606:4700::1111", True)],
)  # fmt: skip
def test_what_is_public(address: str, public: bool) -> None:
    assert is_public(address) is public


def test_the_administrators_responder_is_asked_instead() -> None:
    async def main() -> Ballot:
        async with web() as server:
            strategy = made(Revocation, sources=["ocsp"], responder=server.url)
            peer = pki.leaf(responder="http://127.0.0.1:1/")
            server.say(pki.response(peer))
            return await strategy.judge(pki.case(peer))

    assert run(main).vote is Vote.ACCEPT


def test_chunks_are_put_together() -> None:
    def chunked(server: Web, peer: pki.Credentials) -> None:
        content = pki.response(peer)
        first, rest = content[:10], content[10:]
        server.answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"".join(
            b"%x\r\n%s\r\n" % (len(part), part) for part in (first, rest, b"")
        )

    assert judged(asking(), chunked)[0].vote is Vote.ACCEPT


@pytest.mark.parametrize("chunks", [1, 3_000])
def test_a_long_answer_holds_up_nobody_else(chunks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who takes it apart is not the thread that serves the connections."""
    threads, apart = [], fetch._content

    def take_apart(received: bytes, bounds: fetch.Bounds) -> bytes:
        threads.append(threading.current_thread())
        return apart(received, bounds)

    async def main() -> bytes:
        async with web() as server:
            server.answer = (
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * chunks + b"0\r\n\r\n"
            )
            return await fetch.fetch(server.url, fetch.Bounds(1 << 20, private_addresses=True))

    monkeypatch.setattr(fetch, "_content", take_apart)
    assert run(main) == b"x" * chunks
    assert (threads == [threading.main_thread()]) is (chunks == 1)


# -- the cache


def test_answers_are_kept_while_they_hold() -> None:
    ballot, heard = judged(asking(("cached", "ocsp")), lambda server, peer: server.say(pki.response(peer)), times=3)
    assert ballot.vote is Vote.ACCEPT
    assert len(heard) == 1


def test_without_the_cache_each_is_asked_anew() -> None:
    _, heard = judged(asking(("ocsp",)), lambda server, peer: server.say(pki.response(peer)), times=3)
    assert len(heard) == 3


def test_an_answer_that_holds_no_more_is_asked_again() -> None:
    strategy = asking(("cached", "ocsp"))

    async def main() -> tuple[Ballot, int]:
        async with web() as server:
            peer = pki.leaf(responder=server.url)
            server.say(pki.response(peer))
            await strategy.judge(pki.case(peer))
            server.say(pki.response(peer, REVOKED, next_update=pki.NOW + 4 * pki.DAY))
            assert (await strategy.judge(pki.case(peer))).vote is Vote.ACCEPT
            return await strategy.judge(pki.case(peer, now=pki.NOW + 2 * pki.DAY)), len(server.requests)

    ballot, heard = run(main)
    assert (ballot.vote, heard) == (Vote.REJECT, 2)


def test_the_cache_is_bounded() -> None:
    strategy = asking(("cached", "stapled"), cache_entries=1)
    first, second = pki.leaf(), pki.leaf()
    for peer in (first, second):
        assert ask(strategy, pki.case(peer, stapled=pki.response(peer))).vote is Vote.ACCEPT
    assert ask(strategy, pki.case(second)).vote is Vote.ACCEPT
    assert ask(strategy, pki.case(first)).vote is Vote.ERROR


# -- stapled


@pytest.mark.parametrize("name", WRONG)
def test_a_stapled_answer_that_must_not_be_believed(name: str) -> None:
    peer = pki.leaf()
    assert ask(asking(("stapled",)), pki.case(peer, stapled=wrong(name, peer))).vote is Vote.ERROR


def test_stapled() -> None:
    peer = pki.leaf()
    assert ask(asking(("stapled",)), pki.case(peer, stapled=pki.response(peer))).vote is Vote.ACCEPT
    assert ask(asking(("stapled",)), pki.case(peer, stapled=pki.response(peer, REVOKED))).vote is Vote.REJECT
    assert ask(asking(("stapled",)), pki.case(peer)).vote is Vote.ERROR


def test_who_promises_to_staple_must() -> None:
    peer = pki.leaf(must_staple=True)
    assert ask(asking(("stapled",), soft_fail=True), pki.case(peer)).vote is Vote.REJECT
    assert ask(asking(("stapled",)), pki.case(peer, stapled=pki.response(peer))).vote is Vote.ACCEPT


@pytest.mark.parametrize("name", WRONG)
def test_who_promises_to_staple_is_not_believed_for_what_must_not_be(name: str) -> None:
    """Else whoever has a revoked certificate, and keeps the responder's answers away, would staple anything."""
    peer = pki.leaf(must_staple=True)
    ballot = ask(asking(("stapled",), soft_fail=True), pki.case(peer, stapled=wrong(name, peer)))
    assert ballot.vote is Vote.REJECT
    assert ballot.reason.startswith("the certificate promises a stapled answer (RFC 7633), and nobody knows")


def test_the_first_source_that_knows_decides() -> None:
    strategy = asking(("stapled", "ocsp"))

    async def main() -> tuple[Ballot, int]:
        async with web() as server:
            peer = pki.leaf(responder=server.url)
            server.say(pki.response(peer, REVOKED))
            stale = wrong("expired", peer)
            return await strategy.judge(pki.case(peer, stapled=stale)), len(server.requests)

    ballot, heard = run(main)
    assert (ballot.vote, heard) == (Vote.REJECT, 1)


# -- lists


def test_a_list_at_its_distribution_point() -> None:
    ballot, heard = judged(asking(("crl",)), lambda server, _: server.say(pki.revocation_list()), crl=True)
    assert ballot == Ballot(Vote.ACCEPT, "not revoked (CRL)")
    assert heard[0].startswith(b"GET /there HTTP/1.1\r\n")
    ballot, _ = judged(asking(("crl",)), lambda server, peer: server.say(pki.revocation_list(peer)), crl=True)
    assert ballot.vote is Vote.REJECT


def test_a_list_is_kept_for_the_next_certificate() -> None:
    strategy = asking(("cached", "crl"))

    async def main() -> tuple[list[Vote], int]:
        async with web() as server:
            peers = [pki.leaf(list_at=server.url) for _ in range(2)]
            server.say(pki.revocation_list(peers[1]))
            return [(await strategy.judge(pki.case(peer))).vote for peer in peers], len(server.requests)

    assert run(main) == ([Vote.ACCEPT, Vote.REJECT], 1)


def bad_list(name: str) -> bytes:
    """A list that must not be believed."""
    match name:
        case "expired":
            return pki.revocation_list(last_update=pki.NOW - 3 * pki.DAY, next_update=pki.NOW - pki.HOUR)
        case "by a stranger of the same name":
            return pki.revocation_list(issuer=pki.stranger())
        case "of another issuer":
            return pki.revocation_list(issuer=pki.authority("Another"))
        case "a delta":
            return pki.revocation_list(extension=x509.DeltaCRLIndicator(1))
        case "of authorities only":
            return pki.revocation_list(extension=distribution(only_contains_ca_certs=True))
        case "of some reasons":
            return pki.revocation_list(
                extension=distribution(only_some_reasons=frozenset([x509.ReasonFlags.key_compromise]))
            )
        case "of another part":
            return pki.revocation_list(
                extension=distribution(full_name=[x509.UniformResourceIdentifier("http://elsewhere.test/")])
            )
        case "with an unknown rule":
            return pki.revocation_list(
                extension=x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\0")
            )
    return b"no list"


def distribution(**fields: object) -> x509.IssuingDistributionPoint:
    given: dict[str, object] = {
        "full_name": None, "relative_name": None, "only_contains_user_certs": False, "only_contains_ca_certs": False,
        "only_some_reasons": None, "indirect_crl": False, "only_contains_attribute_certs": False,
    }  # fmt: skip
    return x509.IssuingDistributionPoint(**(given | fields))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name",
    ["expired", "by a stranger of the same name", "of another issuer", "a delta", "of authorities only",
     "of some reasons", "of another part", "with an unknown rule", "no list"],
)  # fmt: skip
def test_a_list_that_must_not_be_believed(name: str) -> None:
    ballot, _ = judged(asking(("crl",)), lambda server, _: server.say(bad_list(name)), crl=True)
    assert ballot.vote is Vote.ERROR, ballot


def test_a_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    peer, file = pki.leaf(), tmp_path / "list.crl"
    strategy = asking(("crl",), crl_files=[str(file)])
    assert "No such file" in ask(strategy, pki.case(peer)).reason
    file.write_bytes(x509.load_der_x509_crl(pki.revocation_list()).public_bytes(pki.Encoding.PEM))
    assert ask(strategy, pki.case(peer)).vote is Vote.ACCEPT
    file.write_bytes(pki.revocation_list(peer))
    assert ask(strategy, pki.case(peer)).vote is Vote.REJECT


def lists(*contents: bytes) -> bytes:
    """One file of several lists."""
    return b"".join(x509.load_der_x509_crl(content).public_bytes(pki.Encoding.PEM) for content in contents)


def test_of_several_lists_the_latest_counts(tmp_path: Path) -> None:
    peer, file = pki.leaf(), tmp_path / "lists.pem"
    older, later = pki.revocation_list(last_update=pki.NOW - pki.DAY), pki.revocation_list(peer)
    for contents in ((older, later), (later, older)):
        file.write_bytes(lists(*contents))
        assert ask(asking(("crl",), crl_files=[str(file)]), pki.case(peer)).vote is Vote.REJECT


_PART = x509.RelativeDistinguishedName([x509.NameAttribute(x509.NameOID.COMMON_NAME, "part 1")])


@pytest.mark.parametrize(
    "part", [{"full_name": [x509.UniformResourceIdentifier("http://lists.test/1")]}, {"relative_name": _PART}]
)
def test_a_part_of_the_lists_says_nothing_of_who_names_no_part(part: dict[str, object], tmp_path: Path) -> None:
    """Its certificates may be in another one (RFC 5280 section 6.3.3)."""
    file = tmp_path / "part.crl"
    file.write_bytes(pki.revocation_list(extension=distribution(**part)))
    ballot = ask(asking(("crl",), crl_files=[str(file)]), pki.case(pki.leaf()))
    assert ballot.vote is Vote.ERROR
    assert "another part" in ballot.reason


def test_a_list_that_is_too_large(tmp_path: Path) -> None:
    file = tmp_path / "list.crl"
    file.write_bytes(bytes(2000))
    strategy = asking(("crl",), crl_files=[str(file)], max_crl_bytes=1024)
    assert "larger than 1024 bytes" in ask(strategy, pki.case(pki.leaf())).reason


# -- whose chain


def test_a_chain_that_nobody_has_verified_is_not_asked_about() -> None:
    peer = pki.leaf()
    case = pki.case(peer, verified=(), stapled=pki.response(peer), openssl_code=20, openssl_text="no issuer")
    assert ask(asking(("stapled",)), case).vote is Vote.ERROR


def test_a_trust_anchor_of_its_own_is_nothing_to_revoke() -> None:
    root = pki.root()
    assert ask(asking(), pki.case(root, verified=(root.der,))).vote is Vote.ABSTAIN


def test_nobody_presented() -> None:
    assert ask(asking(), Case(presented=(), now=pki.NOW)).vote is Vote.REJECT


def test_authorities_between_are_asked_about_when_the_policy_wants_it(tmp_path: Path) -> None:
    between = pki.authority("Between", pki.root())
    peer, file = pki.leaf(issuer=between), tmp_path / "lists.pem"
    file.write_bytes(lists(pki.revocation_list(issuer=between), pki.revocation_list(between)))
    case = pki.case(peer, between)
    assert ask(asking(("crl",), crl_files=[str(file)]), case).vote is Vote.ACCEPT
    ballot = ask(asking(("crl",), crl_files=[str(file)], whole_chain=True), case)
    assert ballot.vote is Vote.REJECT
    assert "of its authority at depth 1" in ballot.reason


def test_a_revoked_authority_is_not_hidden_by_a_leaf_of_which_nobody_knows(tmp_path: Path) -> None:
    between = pki.authority("Between", pki.root())
    peer, file = pki.leaf(issuer=between), tmp_path / "list.crl"
    file.write_bytes(pki.revocation_list(between))
    strategy = asking(("crl",), crl_files=[str(file)], whole_chain=True, soft_fail=True)
    ballot = ask(strategy, pki.case(peer, between))
    assert ballot.vote is Vote.REJECT
    assert "of its authority at depth 1" in ballot.reason


# -- somebody else's responder


@pytest.mark.parametrize("status", ["V", "R"])
def test_openssls_own_responder(status: str, tmp_path: Path) -> None:
    peer, root = pki.leaf(), pki.root()
    (tmp_path / "ca.pem").write_bytes(root.pem)
    (tmp_path / "ca.key").write_bytes(root.key_pem)
    revoked = f"{pki.NOW - pki.HOUR:%y%m%d%H%M%SZ}" if status == "R" else ""
    expires, serial = f"{pki.NOW + pki.DAY:%y%m%d%H%M%SZ}", f"{peer.certificate.serial_number:04X}"
    (tmp_path / "index").write_text(f"{status}\t{expires}\t{revoked}\t{serial}\tunknown\t/CN=a leaf\n")
    (tmp_path / "index.attr").write_text("unique_subject = no\n")

    async def main() -> Ballot:
        async with web() as server:
            server.answer = b""
            strategy = made(Revocation, sources=["ocsp"], responder=server.url)
            await strategy.judge(pki.case(peer))
            (tmp_path / "request").write_bytes(server.requests[0].partition(b"\r\n\r\n")[2])
            command = ["openssl", "ocsp", "-index", "index", "-CA", "ca.pem", "-rsigner", "ca.pem", "-rkey", "ca.key"]
            command += ["-reqin", "request", "-respout", "response", "-ndays", "1"]
            await trio.run_process(command, cwd=tmp_path, capture_stdout=True, capture_stderr=True)
            server.say((tmp_path / "response").read_bytes())
            now = datetime.datetime.now(datetime.UTC)  # the responder's own, which is not when the tests began
            return await strategy.judge(pki.case(peer, now=now))

    try:
        ballot = run(main)
    except subprocess.CalledProcessError as error:
        pytest.fail(f"openssl ocsp: {error.stderr.decode()}")
    assert ballot.vote is (Vote.ACCEPT if status == "V" else Vote.REJECT), ballot
