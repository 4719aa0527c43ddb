"""The strategies that contact no responder: whom they believe, and how they fail."""

from __future__ import annotations

import base64
import fcntl
import ipaddress
import json
import os
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from cryptography import x509

from ssa_impl.validation.judging import judge
from ssa_impl.validation.model import Ballot, Case, Choice, Validation, Vote
from ssa_impl.validation.registry import strategy_for
from ssa_impl.validation.strategies import BUILT_IN
from ssa_impl.validation.strategies.allow_list import AllowList
from ssa_impl.validation.strategies.certificates import key_digest, matches
from ssa_impl.validation.strategies.external import ExternalEngine, answer
from ssa_impl.validation.strategies.first_use import Memory
from ssa_impl.validation.strategies.pinning import Pinning
from ssa_impl.validation.strategies.trust_store import TrustStoreAndHostname
from ssa_impl.validation.strategies.webpki import WebPki
from ssa_impl.validation.strategy import frozen
from tests.ssa_impl.validation import pki
from tests.ssa_impl.validation.asking import ask, made, problems, run, vote

NOBODY = Case(presented=(), now=pki.NOW)


def pin(credentials: pki.Credentials) -> str:
    return "sha256/" + base64.b64encode(key_digest(credentials.certificate)).decode()


@pytest.mark.parametrize("name", sorted(set(BUILT_IN) - {"external-engine"}))
def test_nobody_believes_a_peer_without_a_certificate(name: str, tmp_path: Path) -> None:
    needed = {"pinning": {"pins": {"a": [pin(pki.root())]}}, "allow-list": {"names": ["a"]}}
    assert vote(made(BUILT_IN[name], **needed.get(name, {})), NOBODY) is Vote.REJECT


# -- trust store and hostname


def test_openssls_verdict_is_repeated() -> None:
    strategy, case = TrustStoreAndHostname({}), pki.case(pki.leaf())
    assert ask(strategy, case) == Ballot(Vote.ACCEPT, f"the chain leads to a trust anchor and is for {pki.NAME}")
    refused = replace(case, openssl_code=10, openssl_text="certificate has expired (depth 0)")
    assert ask(strategy, refused) == Ballot(Vote.REJECT, "certificate has expired (depth 0)")


# -- names


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("a.test", "A.Test.", True),
        ("a.test", "b.a.test", False),
        ("*.a.test", "b.a.test", True),
        ("*.a.test", "c.b.a.test", False),
        ("*.a.test", "a.test", False),
        ("*.a.test", ".a.test", False),
        ("*.test", "test", False),
        ("*.a.test", "someone@mail.a.test", False),
        ("*.a.test", "spiffe://mail.a.test", False),
        ("*.a.test", "*.a.test", False),
        ("2001:db8::1", "2001:DB8:0:0::1", True),
        ("fe80::1", "fe80:0::1%eth0", True),
        ("192.0.2.7", "192.0.2.70", False),
    ],
)
def test_what_a_pattern_matches(pattern: str, name: str, expected: bool) -> None:
    assert matches(pattern, name) is expected


# -- allow-list


def test_a_named_peer() -> None:
    strategy = made(AllowList, names=["*.ssa.test"])
    case = pki.case(pki.leaf())
    assert vote(strategy, case) is Vote.ACCEPT
    assert vote(strategy, replace(case, hostname="elsewhere.test")) is Vote.REJECT
    assert vote(strategy, replace(case, openssl_code=62, openssl_text="hostname mismatch")) is Vote.REJECT


def test_a_fingerprint() -> None:
    peer = pki.leaf()
    digest = peer.certificate.fingerprint(pki.hashes.SHA256()).hex(":").upper()
    strategy = made(AllowList, fingerprints=[digest])
    unverified = pki.case(peer, openssl_code=18, openssl_text="self-signed certificate")
    assert vote(strategy, unverified) is Vote.ACCEPT
    assert vote(strategy, pki.case(pki.leaf())) is Vote.REJECT


@pytest.mark.parametrize(
    ("name", "expected"),
    [("client.ssa.test", Vote.ACCEPT), ("someone@ssa.test", Vote.ACCEPT), ("spiffe://ssa.test/a", Vote.ACCEPT),
     ("192.0.2.7", Vote.ACCEPT), ("a leaf", Vote.REJECT), ("other", Vote.REJECT)],
)  # fmt: skip
def test_a_clients_names(name: str, expected: Vote) -> None:
    names = (
        x509.DNSName("client.ssa.test"),
        x509.RFC822Name("someone@ssa.test"),
        x509.UniformResourceIdentifier("spiffe://ssa.test/a"),
        x509.IPAddress(ipaddress.ip_address("192.0.2.7")),
    )
    case = pki.case(pki.leaf(names=names), hostname="", accepting=True)
    assert vote(made(AllowList, names=[name]), case) is expected


# -- pinning


def test_a_pin_of_the_leaf_and_of_its_authority() -> None:
    peer, other = pki.leaf(), pki.leaf()
    case = pki.case(peer)
    for pinned, expected in ((peer, Vote.ACCEPT), (pki.root(), Vote.ACCEPT), (other, Vote.REJECT)):
        assert vote(made(Pinning, pins={pki.NAME: [pin(other), pin(pinned)]}), case) is expected
    by_authority = made(Pinning, pins={pki.NAME: [pin(pki.root())]})
    forged = replace(case, presented=(other.der, pki.root().der), verified=())
    assert vote(by_authority, forged) is Vote.REJECT


def test_a_pin_holds_however_the_application_spells_an_address() -> None:
    strategy = made(Pinning, pins={"2001:db8::1": [pin(pki.leaf())]})
    for spelled in ("2001:db8::1", "2001:0DB8:0::0:1", "2001:db8::1%1"):
        assert vote(strategy, pki.case(pki.leaf(), hostname=spelled)) is Vote.REJECT


@pytest.mark.parametrize("name", ["b\u00fccher.test", "https://a.test", "*.*.test", "a..test", "a test", ""])
def test_a_pin_that_no_peer_could_have_is_refused(name: str) -> None:
    assert problems(Pinning, {"pins": {name: [pin(pki.root())]}})


def test_a_name_without_pins_is_not_ours_to_judge() -> None:
    strategy = made(Pinning, pins={"elsewhere.test": [pin(pki.root())]})
    assert vote(strategy, pki.case(pki.leaf())) is Vote.ABSTAIN
    assert vote(strategy, pki.case(pki.leaf(), hostname="", accepting=True)) is Vote.ABSTAIN


def test_a_names_own_pins_come_before_a_patterns() -> None:
    peer = pki.leaf()
    pins = {"*.ssa.test": [pin(peer)], pki.NAME: [pin(pki.leaf())]}
    assert vote(made(Pinning, pins=pins), pki.case(peer)) is Vote.REJECT


def first_use(tmp_path: Path, **parameters: object) -> Choice:
    table = {"first_use": True, "state_file": str(tmp_path / "pins.json"), **parameters}
    return Choice("pinning", "pinning", frozen(table))  # type: ignore[arg-type]


def accepted(case: Case, *necessary: Choice) -> bool:
    async def main() -> bool:
        return (await judge(Validation(necessary=necessary), case)).accepted

    return run(main)


def test_the_key_of_the_first_time_is_required_from_then_on(tmp_path: Path) -> None:
    choice = first_use(tmp_path)
    peer, impostor = pki.case(pki.leaf()), pki.case(pki.leaf())
    assert accepted(peer, choice)
    assert accepted(peer, choice)
    assert not accepted(impostor, choice)
    assert accepted(replace(impostor, hostname="elsewhere.test"), choice)
    kept = json.loads((tmp_path / "pins.json").read_text())["names"]
    assert sorted(kept) == ["elsewhere.test", pki.NAME]
    assert (tmp_path / "pins.json").stat().st_mode & 0o777 == 0o600
    assert not accepted(impostor, replace(choice, name="a worker that was just started"))


def test_a_peer_that_was_refused_is_not_remembered(tmp_path: Path) -> None:
    choice, others = first_use(tmp_path), Choice("trust-store-and-hostname", "trust-store-and-hostname")
    impostor = pki.case(pki.leaf(), openssl_code=20, openssl_text="no issuer")
    assert not accepted(impostor, choice, others)
    assert not (tmp_path / "pins.json").exists()
    assert accepted(pki.case(pki.leaf()), choice, others)


def test_who_loses_the_race_to_be_first_is_refused(tmp_path: Path) -> None:
    first, second = pki.case(pki.leaf()), pki.case(pki.leaf())
    strategy = strategy_for(first_use(tmp_path))

    async def main() -> tuple[Vote, Ballot | None, Ballot | None]:
        both = [await strategy.judge(first), await strategy.judge(second)]
        assert {ballot.vote for ballot in both} == {Vote.ACCEPT}
        return Vote.ACCEPT, await strategy.confirm(first), await strategy.confirm(second)

    _, winner, loser = run(main)
    assert winner is not None
    assert loser is not None
    assert (winner.vote, loser.vote) == (Vote.ACCEPT, Vote.REJECT)


def test_many_workers_write_one_file(tmp_path: Path) -> None:
    memories = [Memory(str(tmp_path / "pins"), 100) for _ in range(4)]

    def work(memory: Memory) -> None:
        for number in range(20):
            memory.remember(f"{number}.test", f"pin of {id(memory)}", "now")

    threads = [threading.Thread(target=work, args=(memory,)) for memory in memories]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kept = [[memory.recall(f"{number}.test") for number in range(20)] for memory in memories]
    assert kept[0] == kept[1] == kept[2] == kept[3]
    assert None not in kept[0]


def test_who_holds_the_lock_for_ever_holds_nobody_up(tmp_path: Path) -> None:
    choice = replace(first_use(tmp_path), timeout_s=2.0)
    with (tmp_path / "pins.json.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert not accepted(pki.case(pki.leaf()), choice)
    assert accepted(pki.case(pki.leaf(), hostname="elsewhere.test"), choice)


@pytest.mark.parametrize("content", ["", "{}", '{"version": 1, "names": {"a": 7}}', '{"version": 2, "names": {}}'])
def test_a_damaged_file_is_an_error(content: str, tmp_path: Path) -> None:
    (tmp_path / "pins.json").write_text(content)
    assert not accepted(pki.case(pki.leaf()), first_use(tmp_path))


def test_a_file_that_cannot_be_written_refuses_new_names(tmp_path: Path) -> None:
    assert not accepted(pki.case(pki.leaf()), first_use(tmp_path / "missing"))


def test_a_full_file_refuses_new_names_and_still_knows_the_old(tmp_path: Path) -> None:
    choice, peer = first_use(tmp_path, max_names=1), pki.case(pki.leaf())
    assert accepted(peer, choice)
    assert not accepted(replace(peer, hostname="elsewhere.test"), choice)
    assert accepted(peer, choice)


# -- the web's profile


def test_the_webs_profile_agrees() -> None:
    assert vote(made(WebPki), pki.case(pki.leaf())) is Vote.ACCEPT
    client = pki.case(pki.leaf(), hostname="", accepting=True)
    assert vote(made(WebPki), client) is Vote.ACCEPT


@pytest.mark.parametrize(
    "change",
    [
        {"hostname": "elsewhere.ssa.test"},
        {"hostname": "192.0.2.1"},
        {"now": pki.NOW + 60 * pki.DAY},
        {"now": pki.NOW - 60 * pki.DAY},
        {"anchors_pem": pki.authority("Another").pem},
        {"anchors_pem": pki.stranger().pem},
        {"presented": (pki.root().der,)},
    ],
    ids=["another-name", "an-address", "expired", "not-yet", "another-authority", "a-stranger", "the-root-itself"],
)
def test_the_webs_profile_refuses(change: dict[str, object]) -> None:
    assert vote(made(WebPki), pki.case(pki.leaf(), **change)) is Vote.REJECT  # type: ignore[arg-type]


def test_the_webs_profile_without_a_name_or_a_store(tmp_path: Path) -> None:
    assert vote(made(WebPki), pki.case(pki.leaf(), hostname="")) is Vote.ABSTAIN
    assert vote(made(WebPki), pki.case(pki.leaf(), anchors_pem=b"")) is Vote.ERROR
    missing = made(WebPki, trust_store=str(tmp_path / "missing"))
    assert vote(missing, pki.case(pki.leaf())) is Vote.ERROR
    (tmp_path / "store").write_bytes(pki.root().pem)
    own = made(WebPki, trust_store=str(tmp_path / "store"))
    assert vote(own, pki.case(pki.leaf(), anchors_pem=b"")) is Vote.ACCEPT


# -- an external engine


Serve = Callable[[trio.SocketStream], Awaitable[None]]


def engine(serve: Serve, case: Case, directory: Path, **choice: object) -> tuple[Vote, str]:
    """Judge with an engine that the test plays."""
    path = directory / "engine"

    async def main() -> tuple[Vote, str]:
        listener = trio.socket.socket(trio.socket.AF_UNIX)
        await listener.bind(str(path))
        listener.listen()
        parameters = (("socket", str(path)), ("uid", os.getuid()))
        validation = Validation(necessary=(Choice("engine", "external-engine", parameters, **choice),))  # type: ignore[arg-type]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, serve, [trio.SocketListener(listener)])
            verdict = await judge(validation, case)
            nursery.cancel_scope.cancel()
        assert verdict.accepted is (verdict.votes[0].ballot.vote is Vote.ACCEPT)
        return verdict.votes[0].ballot.vote, verdict.votes[0].ballot.reason

    return run(main)


def test_an_engine_hears_the_case_and_answers(tmp_path: Path) -> None:
    heard: list[dict[str, object]] = []

    async def serve(stream: trio.SocketStream) -> None:
        line = b""
        while not line.endswith(b"\n"):
            line += await stream.receive_some()
        heard.append(json.loads(line))
        await stream.send_all(b'{"vote": "accept", "rea')
        await stream.send_all(b'son": "known since\\u001b 2019"}\n')

    case = pki.case(pki.leaf(), stapled=b"answer")
    assert engine(serve, case, tmp_path) == (Vote.ACCEPT, "known since? 2019")
    (told,) = heard
    assert (told["version"], told["role"], told["hostname"]) == (1, "initiator", pki.NAME)
    assert len(told["chain"]) == 1  # type: ignore[arg-type]
    assert told["stapled_ocsp"] == "YW5zd2Vy"
    assert told["openssl"] == {"code": 0, "text": ""}


def test_an_engine_whose_queue_is_full_is_waited_for(tmp_path: Path) -> None:
    path, votes = tmp_path / "engine", []

    async def main() -> None:
        with trio.socket.socket(trio.socket.AF_UNIX) as listener:
            await listener.bind(str(path))
            listener.listen(0)
            strategy = made(ExternalEngine, socket=str(path))

            async def judge_one() -> None:
                votes.append((await strategy.judge(pki.case(pki.leaf()))).vote)

            async with trio.open_nursery() as nursery:
                for _ in range(4):
                    nursery.start_soon(judge_one)
                await trio.testing.wait_all_tasks_blocked()
                for _ in range(4):
                    stream = trio.SocketStream((await listener.accept())[0])
                    await stream.send_all(b'{"vote": "accept"}\n')
                    await stream.receive_some()
                    await stream.aclose()

    run(main)
    assert votes == [Vote.ACCEPT] * 4


def test_an_engine_that_stalls_or_goes(tmp_path: Path) -> None:
    async def stall(_: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async def go(stream: trio.SocketStream) -> None:
        await stream.aclose()

    assert engine(stall, pki.case(pki.leaf()), tmp_path, timeout_s=2.0)[0] is Vote.TIMEOUT
    (tmp_path / "engine").unlink()
    assert engine(go, pki.case(pki.leaf()), tmp_path)[0] is Vote.ERROR


def test_an_engine_that_is_not_there(tmp_path: Path) -> None:
    ballot = ask(made(ExternalEngine, socket=str(tmp_path / "nobody")), pki.case(pki.leaf()))
    assert ballot.vote is Vote.ERROR
    assert "cannot be reached" in ballot.reason


@pytest.mark.parametrize(
    "line",
    [b"", b"{}\n", b"[]\n", b'{"vote": "yes"}\n', b'{"vote": ["accept"]}\n', b'{"vote": "accept"}', b"\xff\n",
     b'{"vote": "accept"}\n{}', b'{"vote": "accept", "reason": 7}\n', b"[" * 60_000 + b"\n", b"x" * 70_000 + b"\n",
     b'{"vote": "timeout"}\n'],
)  # fmt: skip
def test_what_is_no_vote_is_an_error(line: bytes) -> None:
    assert answer(line).vote is Vote.ERROR


def test_what_each_needs() -> None:
    assert problems(Pinning, {"first_use": True}) == ["first_use needs a state_file, where the keys are kept"]
    assert problems(Pinning, {"pins": {"a": [pin(pki.root())]}, "state_file": "/a"}) == [
        "state_file has no meaning without first_use"
    ]
    assert problems(AllowList, {"fingerprints": ["00:11"]}) == [
        "fingerprints '00:11' must be 64 hexadecimal digits, with or without colons"
    ]
    assert problems(ExternalEngine, {"socket": "engine"}) == ["socket 'engine' must be an absolute path"]
    assert problems(ExternalEngine, {"socket": "/e", "uid": -1}) == ["uid must be at least 0"]
