"""A worker's answers to staple: fetched beside, kept fresh while somebody presents the certificate, not waited for."""

from __future__ import annotations

import datetime
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from ssa_impl.administration.metrics import Counts
from ssa_impl.daemon import stapling
from ssa_impl.daemon.stapling import Staples
from ssa_impl.policy.model import Identity, Profile, Request, Role, Settings
from ssa_impl.policy.resolve import resolve
from ssa_impl.validation.model import Choice
from ssa_impl.validation.staples import Subject
from ssa_impl.validation.strategies.answers import Answer, NoAnswer
from tests.ssa_impl.credentials import key_as
from tests.ssa_impl.validation import pki
from tests.ssa_impl.validation.web import web

HOLDER, OTHER = "a listener", "another listener"
DAY_S = 86_400.0
UID = 7


def identity(credentials: pki.Credentials) -> Identity:
    return Identity(credentials.pem, key_as(credentials.key_pem))


def settings(*credentials: pki.Credentials, table: tuple[tuple[str, object], ...] = ()) -> Settings:
    """Settings of a server that staples."""
    request = Request(identities=tuple(map(identity, credentials)), staple=True, anchors_pem=pki.root().pem)
    made = resolve(Profile(), request, Role.ACCEPTOR)
    return replace(made, staple=Choice("revocation", "revocation", table))  # type: ignore[arg-type]


class Bench:
    """Staples with a clock that is moved by hand and a responder that is a list of what it says."""

    def __init__(self, nursery: trio.Nursery, clock: MockClock) -> None:
        self._clock = clock
        self.counts = Counts()
        self.staples = Staples(nursery.start_soon, self.counts, self._ask, self.now)
        self.asked: list[Subject] = []
        self.says: Answer | str | None = None
        """an answer, why there is none, or None: it does not say anything"""

    def now(self) -> datetime.datetime:
        return pki.NOW + datetime.timedelta(seconds=trio.current_time())

    def good(self, holds_s: float = DAY_S) -> None:
        self.says = Answer(False, self.now() + datetime.timedelta(seconds=holds_s), "OCSP")

    async def _ask(self, subject: Subject, _now: datetime.datetime) -> tuple[Answer, bytes]:
        self.asked.append(subject)
        if self.says is None:
            await trio.sleep_forever()
        if isinstance(self.says, str):
            raise NoAnswer(self.says)
        assert self.says is not None
        return self.says, b"answer %d" % len(self.asked)

    async def after(self, seconds: float = 0.0) -> None:
        """Let time pass, in steps no longer than a second after which whoever is due has acted."""
        while seconds > 0:
            self._clock.jump(min(seconds, 1.0))
            seconds -= 1.0
            await wait_all_tasks_blocked()
        await wait_all_tasks_blocked()

    def requests(self) -> dict[str, float]:
        return {labels[1]: value for labels, (value,) in self.counts.snapshot()["ssa_staple_requests"].items()}

    def handshakes(self) -> dict[str, float]:
        return {labels[1]: value for labels, (value,) in self.counts.snapshot()["ssa_staples"].items()}


def play(scene: Callable[[Bench], Awaitable[None]]) -> None:
    clock = MockClock()

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            await scene(Bench(nursery, clock))
            nursery.cancel_scope.cancel()

    trio.run(main, clock=clock)


def test_an_answer_is_there_without_anybody_having_waited() -> None:
    peer = pki.leaf()

    async def scene(bench: Bench) -> None:
        bench.good()
        bench.staples.hold(HOLDER, UID, settings(peer))
        assert bench.staples.look_up(HOLDER, peer.der) == b""
        await bench.after()
        assert bench.staples.look_up(HOLDER, peer.der) == b"answer 1"
        assert bench.handshakes() == {"missing": 1, "sent": 1}
        assert bench.requests() == {"good": 1}

    play(scene)


def test_each_certificate_has_its_own_answer_and_two_listeners_share_one() -> None:
    first, second = pki.leaf(), pki.leaf()

    async def scene(bench: Bench) -> None:
        bench.good()
        bench.staples.hold(HOLDER, UID, settings(first, second))
        await bench.after()
        bench.staples.hold(OTHER, UID, settings(first))
        await bench.after()
        assert len(bench.asked) == 2
        answers = {bench.staples.look_up(HOLDER, each.der) for each in (first, second)}
        assert answers == {b"answer 1", b"answer 2"}
        assert bench.staples.look_up(OTHER, first.der) in answers
        assert bench.staples.look_up(OTHER, second.der) == b""

    play(scene)


def test_another_users_listener_has_an_answer_of_its_own() -> None:
    peer = pki.leaf()

    async def scene(bench: Bench) -> None:
        bench.good()
        bench.staples.hold(HOLDER, UID, settings(peer))
        bench.staples.hold(OTHER, UID + 1, settings(peer))
        await bench.after()
        assert sorted(subject.uid for subject in bench.asked) == [UID, UID + 1]

    play(scene)


def test_it_is_refreshed_at_half_time_and_the_old_one_serves_meanwhile() -> None:
    peer = pki.leaf()

    async def scene(bench: Bench) -> None:
        bench.good(100)
        bench.staples.hold(HOLDER, UID, settings(peer))
        await bench.after(49)
        assert len(bench.asked) == 1
        bench.says = None
        await bench.after(2)
        assert len(bench.asked) == 2
        assert bench.staples.look_up(HOLDER, peer.der) == b"answer 1"
        await bench.after(50)
        assert bench.staples.look_up(HOLDER, peer.der) == b""

    play(scene)


def test_a_responder_that_is_down_is_asked_later_and_later(caplog: pytest.LogCaptureFixture) -> None:
    peer = pki.leaf(must_staple=True)

    async def scene(bench: Bench) -> None:
        bench.says = "Connection refused"
        bench.staples.hold(HOLDER, UID, settings(peer))
        await bench.after(6)
        assert len(bench.asked) == 3  # at 0, 1 and 3 s
        bench.good()
        await bench.after(2)
        assert bench.staples.look_up(HOLDER, peer.der) == b"answer 4"
        assert bench.requests() == {"failed": 3, "good": 1}

    with caplog.at_level(logging.INFO, "ssad"):
        play(scene)
    said = [(record.levelname, record.getMessage()) for record in caplog.records]
    name = f"the certificate {peer.certificate.serial_number:x} (profile default), which promises to staple (RFC 7633),"
    assert said == [
        ("WARNING", f"{name} has no new OCSP answer (Connection refused); none is stapled"),
        ("INFO", f"{name} is stapled with its OCSP answer"),
    ]


def test_a_revoked_certificate_is_an_error_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    peer = pki.leaf()

    async def scene(bench: Bench) -> None:
        bench.good(100)
        bench.staples.hold(HOLDER, UID, settings(peer))
        await bench.after()
        bench.says = Answer(True, bench.now() + pki.DAY, "OCSP", "revoked at noon")
        await bench.after(51)
        assert bench.staples.look_up(HOLDER, peer.der) == b""
        assert bench.requests() == {"good": 1, "revoked": 1}

    play(scene)
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert record.getMessage().endswith("was revoked at noon; nothing is stapled")


def test_nobody_is_asked_for_a_certificate_that_nobody_presents() -> None:
    peer = pki.leaf()

    async def scene(bench: Bench) -> None:
        bench.good()
        bench.staples.hold(HOLDER, UID, settings(peer))
        await bench.after()
        bench.staples.release(HOLDER)
        assert bench.staples.look_up(HOLDER, peer.der) == b""
        await bench.after(4 * 3600)
        assert len(bench.asked) == 1
        bench.staples.hold(HOLDER, UID, settings(peer))
        await bench.after()
        assert len(bench.asked) == 2

    play(scene)


def test_who_comes_back_within_the_hour_finds_an_answer() -> None:
    peer = pki.leaf()

    async def scene(bench: Bench) -> None:
        bench.good()
        bench.staples.hold(HOLDER, UID, settings(peer))
        bench.staples.release(HOLDER)
        await bench.after(600)
        bench.staples.hold(OTHER, UID, settings(peer))
        assert bench.staples.look_up(OTHER, peer.der) == b"answer 1"
        assert len(bench.asked) == 1

    play(scene)


def test_who_staples_nothing_any_more_asks_for_nothing() -> None:
    peer = pki.leaf()

    async def scene(bench: Bench) -> None:
        bench.good()
        bench.staples.hold(HOLDER, UID, settings(peer))
        await bench.after()
        bench.staples.hold(HOLDER, UID, replace(settings(peer), staple=None))
        assert bench.staples.look_up(HOLDER, peer.der) == b""
        bench.staples.hold(HOLDER, UID, None)
        assert bench.handshakes() == {}

    play(scene)


def test_one_user_cannot_have_any_number(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(stapling, "_OF_ONE_USER", 1)

    async def scene(bench: Bench) -> None:
        bench.good()
        bench.staples.hold(HOLDER, UID, settings(pki.leaf(), pki.leaf()))
        bench.staples.hold(OTHER, UID + 1, settings(pki.leaf()))
        await bench.after()
        assert len(bench.asked) == 2

    play(scene)
    assert "is not stapled: user 7 has 1 others" in caplog.text


# -- a responder


async def asked(peer: pki.Credentials, **table: object) -> str | bytes:
    """Ask; return the response, or why there is none."""
    made = settings(peer, table=tuple(sorted({"private_addresses": True, **table}.items())))
    assert made.staple is not None
    subject = Subject(UID, "default", peer.pem, replace(made.staple, timeout_s=1.0), pki.root().pem)
    try:
        return (await stapling.ask(subject, pki.NOW))[1]
    except NoAnswer as none:
        return str(none)


def test_the_responder_that_the_certificate_names_is_asked_as_a_validation_would() -> None:
    async def main() -> None:
        async with web() as responder:
            peer = pki.leaf(responder=responder.url)
            good = pki.response(peer)
            responder.say(good)
            assert await asked(peer) == good
            assert await asked(pki.leaf(), responder=responder.url) == "it is about another certificate"
            assert "private_addresses is not set" in str(await asked(peer, private_addresses=False))
            assert await asked(pki.leaf()) == "the certificate names no responder"
            responder.say(pki.response(peer, signer=pki.appointed(pki.stranger())))
            assert await asked(peer) == "nobody whom the issuer has appointed has signed it"
            responder.say(b"x" * 2000)
            assert await asked(peer, max_ocsp_bytes=1024) == "the answer is larger than 1024 bytes"
            responder.answer = None
            assert await asked(peer) == "no answer within 1 s"

    trio.run(main, clock=MockClock(autojump_threshold=0.3))
