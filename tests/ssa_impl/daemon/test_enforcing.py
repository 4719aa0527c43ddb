"""A policy is enforced: which open connections are cut, and which carry on."""

from __future__ import annotations

import errno
import math
import os
import struct
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from ssa_impl.abi import Opt
from ssa_impl.control.channel import close_all
from ssa_impl.daemon import enforcing, governing, rejudging
from ssa_impl.daemon.distribution import pack
from ssa_impl.daemon.enforcing import excess
from ssa_impl.daemon.mail import PARENT, Ask, Post
from ssa_impl.daemon.post import deliver
from ssa_impl.daemon.rejudging import Evidence, Judgement
from ssa_impl.daemon.services import Services
from ssa_impl.policy.model import TLS_1_2, TLS_1_3, Profile, Settings
from ssa_impl.policy.policy import Policy
from ssa_impl.tls.negotiated import Negotiated
from tests.certificates import NAME
from tests.ssa_impl.credentials import anchors, issued
from tests.ssa_impl.daemon.lines import receive, receive_exactly, send_all
from tests.ssa_impl.daemon.sessions import (
    Booth,
    Peer,
    Side,
    Visitor,
    Worker,
    call,
    dial,
    option,
    play,
    play_with_two,
    so_error,
    text,
)
from tests.ssa_impl.daemon.test_accepting import equip, listening, meet, part, talk
from tests.ssa_impl.daemon.test_session import connected, finish
from tests.ssa_impl.daemon.test_sharing import part as part_in_order
from tests.ssa_impl.daemon.test_sharing import visit
from tests.ssa_impl.tls import peers
from tests.ssa_impl.tls.peers import MemoryClient, client_context
from tests.ssa_impl.validation import pki
from tests.ssa_impl.validation.test_connections import allowing, connect_to, let_go, profile, server
from tests.ssa_impl.validation.web import web

TRUST = "trust-store-and-hostname"
ON = struct.pack("=i", 1)
OTHER_PIN = {"*.ssa.test": ["sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="]}
PINNED = profile({"necessary": [TRUST, "pinning"], "pinning": {"pins": OTHER_PIN}})
VOTED = profile({"voting": [TRUST, "pinning"], "threshold_percent": 50, "pinning": {"pins": OTHER_PIN}})
NEW_TRUST = Profile(honour_application_anchors=False)


def put_in_force(services: Services, governed: Profile, *, enforced: bool = True) -> None:
    services.prepared = Policy({"default": replace(governed, name="default")})
    governing.commit(services, enforced=enforced)


async def enforce(services: Services, governed: Profile) -> int:
    """Return how many connections were cut, of those that are carried: newcomers are judged apart, and not counted."""
    await wait_all_tasks_blocked()
    put_in_force(services, governed)
    return await enforcing.enforce(services)


async def is_cut(side: Side) -> str:
    """The application's next read fails, and TLS_ERROR says why: return that."""
    await side.be_reset()
    with pytest.raises(ConnectionResetError):
        await receive(side.application)
    assert await so_error(side) == errno.EPROTO
    said = await text(side)
    assert said.startswith("the policy was changed and does not allow this connection: ")
    return said.partition(": ")[2]


async def carries(side: Side, visitor: Visitor) -> None:
    await send_all(side.application, b"word")
    assert await visitor.hear(4) == b"word"
    await visitor.say(b"answer")
    assert await receive_exactly(side.application, 6) == b"answer"


REFUSING: list[tuple[Profile, str]] = [
    (Profile(version_max=TLS_1_2), "version 0x0304"),
    (NEW_TRUST, "the policy does not let applications choose their trust anchors (profile default, "),
    (Profile(security_level=4), f"the peer was refused: {TRUST} rejects it: EE certificate key too weak (depth 0)"),
    (Profile(signature_algorithms=("rsa_pss_rsae_sha256",)), "the peer's ECDSA key, which signs by none of rsa_pss"),
    (allowing("elsewhere.test"), f"the peer was refused: allow-list rejects it: {NAME} is not on the list"),
    (PINNED, "the peer was refused: pinning rejects it: "),
]
ALLOWING = [
    Profile(),
    Profile(signature_algorithms=("rsa_pss_rsae_sha256", "ECDSA+SHA256"), security_level=3, verify_depth=0),
    allowing(NAME),
    VOTED,
]


@pytest.mark.parametrize(("governed", "why"), REFUSING)
def test_a_peer_that_the_new_policy_refuses(governed: Profile, why: str) -> None:
    async def scene(booth: Booth, peer: Peer) -> None:
        visitor = await connected(booth, peer)
        put_in_force(booth.worker.services, governed, enforced=False)
        await carries(booth, visitor)
        assert await enforce(booth.worker.services, governed) == 1
        assert (await is_cut(booth)).startswith(why)
        assert await enforce(booth.worker.services, governed) == 0
        visitor.connection.close()

    play(scene)


@pytest.mark.parametrize("governed", ALLOWING)
def test_a_peer_that_the_new_policy_believes(governed: Profile) -> None:
    async def scene(booth: Booth, peer: Peer) -> None:
        visitor = await connected(booth, peer)
        assert await enforce(booth.worker.services, governed) == 0
        assert booth.session.votes[0].startswith(f"{TRUST} (")
        await carries(booth, visitor)
        await finish(booth, visitor)

    play(scene)


async def with_clients(booth: Booth, *names: str, required: bool = True) -> list[tuple[Any, Visitor]]:
    """A server, and clients of these names."""
    await equip(booth)
    assert await booth.set(Opt.TLS_TRUSTED_PEER_CERTIFICATES, anchors()) == 0
    if required:
        assert await booth.set(Opt.TLS_REQUEST_PEER_AUTH, ON) == 0
    address = await listening(booth)
    met = [await meet(booth, address, client_context(presenting=issued(name))) for name in names]
    await wait_all_tasks_blocked()  # then the last one is carried, too
    return met


def test_an_acceptors_clients_are_judged_one_by_one() -> None:
    async def scene(booth: Booth, _peer: Peer) -> None:
        known, unknown = await with_clients(booth, "known.test", "unknown.test")
        assert await enforce(booth.worker.services, allowing("known.test")) == 1
        assert "allow-list rejects it" in await is_cut(unknown[0])
        unknown[1].connection.close()
        unknown[0].close()
        await talk(*known)
        await part(*known)

    play(scene)


@pytest.mark.parametrize(
    ("governed", "cut"), [(Profile(), 0), (allowing("x.test"), 0), (Profile(client_certificate_required=True), 1)]
)
def test_a_client_that_was_never_asked_who_it_is(governed: Profile, cut: int) -> None:
    async def scene(booth: Booth, _peer: Peer) -> None:
        ((accepted, caller),) = await with_clients(booth, "known.test", required=False)
        assert await enforce(booth.worker.services, governed) == cut
        if cut:
            assert (await is_cut(accepted)).endswith("the peer presented no certificate")
            caller.connection.close()
            accepted.close()
        else:
            await talk(accepted, caller)
            await part(accepted, caller)

    play(scene)


def asking(url: str, **more: object) -> Profile:
    table = {"responder": url, "sources": ["ocsp"], **more}
    return profile({"necessary": [TRUST, "revocation"], "revocation": table})


@pytest.mark.parametrize(("counted", "cut"), [("reject", 3), ("accept", 0)])
def test_a_responder_is_asked_once_about_a_peer_and_its_silence_counts_as_the_policy_says(
    counted: str, cut: int
) -> None:
    async def scene(booth: Booth, peer: Peer) -> None:
        booths = [booth, *(booth.worker.booth() for _ in range(2))]
        visitors = [await connected(each, peer) for each in booths]
        async with web() as responder:
            responder.answer = None
            assert await enforce(booth.worker.services, asking(responder.url, timeout=counted)) == cut
            assert len(responder.requests) == 1
        for each, visitor in zip(booths, visitors, strict=True):
            if cut:
                assert "revocation gave no answer: no answer within 5 s" in await is_cut(each)
            else:
                await carries(each, visitor)
            visitor.connection.close()

    play(scene)


@pytest.mark.parametrize(("status", "cut"), [(pki.ocsp.OCSPCertStatus.GOOD, 0), (pki.ocsp.OCSPCertStatus.REVOKED, 1)])
def test_a_stapled_answer_is_kept_with_its_connection(status: pki.ocsp.OCSPCertStatus, cut: int) -> None:
    credentials = pki.leaf()
    stapled = profile({"necessary": [TRUST, "revocation"], "revocation": {"sources": ["stapled"]}})

    async def scene(booth: Booth, _peer: Peer) -> None:
        with server(credentials, pki.response(credentials, status)) as listener:
            assert await connect_to(booth, listener) == 0
            booth.application.setblocking(False)
            assert await enforce(booth.worker.services, stapled) == cut
            if cut:
                assert "(stapled OCSP)" in await is_cut(booth)
            await let_go(booth)

    play(scene, profile=allowing(NAME))


@pytest.mark.parametrize(
    ("module", "function", "doing"),
    [(rejudging, "gather_again", "judging its peer"), (enforcing, "excess", "looking at it")],
)
def test_a_defect_is_a_refusal(module: ModuleType, function: str, doing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(module, function, fail)

    async def scene(booth: Booth, peer: Peer) -> None:
        visitor = await connected(booth, peer)
        assert await enforce(booth.worker.services, Profile()) == 1
        assert await is_cut(booth) == f"{doing} failed with ZeroDivisionError"
        visitor.connection.close()

    play(scene)


async def for_ever(_services: Services, _evidence: Evidence) -> Judgement:
    await trio.sleep(math.inf)
    raise AssertionError


def test_who_is_not_judged_in_time_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enforcing, "judge_again", for_ever)
    monkeypatch.setattr(enforcing, "_AT_ONCE", 1)
    monkeypatch.setattr(enforcing, "PATIENCE_S", 0.5)

    async def scene(booth: Booth, _peer: Peer) -> None:
        clients = await with_clients(booth, "a.test", "b.test", "c.test")
        assert await enforce(booth.worker.services, Profile()) == 3
        for accepted, caller in clients:
            assert await is_cut(accepted) == "its peer was not judged within 0.5 s"
            caller.connection.close()
            accepted.close()

    play(scene)


class Slow:
    """A judge that waits for the test's word, then refuses."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.word = trio.Event()
        monkeypatch.setattr(enforcing, "judge_again", self._judge)

    async def _judge(self, _services: Services, _evidence: Evidence) -> Judgement:
        await self.word.wait()
        return Judgement("no")


def test_a_connection_that_ends_while_it_is_judged_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow(monkeypatch)

    async def scene(booth: Booth, peer: Peer) -> None:
        visitor = await connected(booth, peer)
        put_in_force(booth.worker.services, Profile())
        cut = []
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def judge() -> None:
                cut.append(await enforcing.enforce(booth.worker.services))

            await wait_all_tasks_blocked()
            await finish(booth, visitor)
            slow.word.set()
        assert cut == [0]

    play(scene)


def test_what_another_policy_overtakes_cuts_nothing_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow(monkeypatch)

    async def scene(booth: Booth, peer: Peer) -> None:
        visitor = await connected(booth, peer)
        put_in_force(booth.worker.services, Profile())
        cut = []
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def judge() -> None:
                cut.append(await enforcing.enforce(booth.worker.services))

            await wait_all_tasks_blocked()
            put_in_force(booth.worker.services, Profile(), enforced=False)
            slow.word.set()
        assert cut == [0]
        await carries(booth, visitor)
        await finish(booth, visitor)

    play(scene)


@pytest.mark.parametrize("enforced", [True, False])
def test_a_handshake_that_was_under_way_is_judged_when_it_is_over(enforced: bool) -> None:
    async def scene(booth: Booth, peer: Peer) -> None:
        await booth.open()
        number = booth.start_connect(peer.sockaddr)
        connection = await peer.accept()
        put_in_force(booth.worker.services, allowing("elsewhere.test"), enforced=enforced)
        assert await enforcing.enforce(booth.worker.services) == 0
        visitor = Visitor(connection, None)
        while not visitor.tls.ready:
            await visitor.take()
        assert (await booth.reply_to(number)).errno == 0
        booth.application.setblocking(False)
        if enforced:
            assert "allow-list rejects it" in await is_cut(booth)
            connection.close()
        else:
            await carries(booth, visitor)
            await finish(booth, visitor)

    play(scene)


def test_a_worker_that_hears_of_the_policy_only_now_judges_what_it_took_before() -> None:
    """It has become ready in the middle of a reload: nobody let it prepare."""

    async def scene(booth: Booth, peer: Peer) -> None:
        services = booth.worker.services
        visitor = await connected(booth, peer)
        file = pack(Policy({"default": replace(allowing("elsewhere.test"), name="default")}))
        deliver(services, Post.POLICY.value + struct.pack("<I", 0) + b"1", [file])
        await carries(booth, visitor)
        deliver(services, Post.ASK.value + struct.pack("<I", 7) + Ask.COMMIT.value + b"1", [])
        assert "allow-list rejects it" in await is_cut(booth)
        target, message, (answer,) = await booth.worker.mail.receive()
        assert (target, message) == (PARENT, Post.ANSWER.value + struct.pack("<I", 7))
        assert os.pread(answer, 100, 0) == b"1"
        os.close(answer)
        assert services.enforced == services.epoch == 1
        visitor.connection.close()

    play(scene)


def test_so_is_a_clients() -> None:
    async def scene(booth: Booth, _peer: Peer) -> None:
        await with_clients(booth)
        caller = await call(await booth.name(), client_context(presenting=issued("a.test")))
        await wait_all_tasks_blocked()
        put_in_force(booth.worker.services, Profile(version_max=TLS_1_2))
        await caller.shake_hands()
        accepted = await booth.accept()
        assert await is_cut(accepted) == "version 0x0304"
        caller.connection.close()
        accepted.close()

    play(scene)


@pytest.mark.parametrize(("governed", "cut"), [(Profile(), 0), (allowing(NAME), 0), (NEW_TRUST, 1), (PINNED, 1)])
def test_a_connection_that_was_resumed_has_the_chain_of_the_first(governed: Profile, cut: int) -> None:
    async def scene(booth: Booth, peer: Peer) -> None:
        first, second = booth, booth.worker.booth()
        for side in (first, second):
            await side.open()
            assert await side.set(Opt.TLS_SESSION_REUSE, ON) == 0
            visitor = await visit(side, peer)
            if side is first:
                await part_in_order(side, visitor)
        assert await option(second, Opt.TLS_RESUMED_SESSION) == ON
        assert await enforce(booth.worker.services, governed) == cut
        if cut:
            await is_cut(second)
        else:
            await carries(second, visitor)
        visitor.connection.close()

    play(scene, context=peers.server_context())


@pytest.mark.parametrize(("deep", "cut"), [(False, 0), (True, 1)])
def test_of_a_client_that_resumed_only_its_own_certificate_is_known(deep: bool, cut: int) -> None:
    """A ticket holds no more (d2i_SSL_SESSION(3)): where an intermediate is missing, the chain leads nowhere."""
    presenting = issued("a.test", deep=deep)

    async def scene(booth: Booth, _peer: Peer) -> None:
        await equip(booth)
        assert await booth.set(Opt.TLS_TRUSTED_PEER_CERTIFICATES, anchors()) == 0
        assert await booth.set(Opt.TLS_REQUEST_PEER_AUTH, ON) == 0
        assert await booth.set(Opt.TLS_SESSION_REUSE, ON) == 0
        address = await listening(booth)
        context = client_context("1.3", presenting=presenting)
        accepted, caller = await meet(booth, address, context)
        await talk(accepted, caller)
        tls = caller.tls.tls
        again = Visitor(await dial(address), None, MemoryClient(context, session=tls.session))
        await part(accepted, caller)
        await again.shake_hands()
        accepted = await booth.accept()
        assert await option(accepted, Opt.TLS_RESUMED_SESSION) == ON
        assert await enforce(booth.worker.services, Profile()) == cut
        if cut:
            assert "unable to get local issuer certificate" in await is_cut(accepted)
        else:
            await talk(accepted, again)
        again.connection.close()
        accepted.close()

    play(scene)


# -- where the files of the policy can be reached by a successor only


def test_a_worker_with_a_successor_has_it_judge() -> None:
    async def scene(before: Worker, after: Worker) -> None:
        peer = Peer()
        booth = before.booth()
        visitor = await connected(booth, peer)
        peer.close()
        for worker in (before, after):
            worker.services.prepared_to_retire = worker is before
            put_in_force(worker.services, allowing("elsewhere.test"))
        cut = []
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def judge() -> None:
                cut.append(await enforcing.enforce(before.services))

            target, message, descriptors = await before.mail.receive()
            assert (target, message[:1]) == (before.services.index, Post.EVIDENCE)
            deliver(after.services, message, descriptors)
        assert cut == [1]
        assert await is_cut(booth) == f"the peer was refused: allow-list rejects it: {NAME} is not on the list"
        visitor.connection.close()

    play_with_two(scene)


def test_a_successor_that_ends_before_it_has_answered_is_a_refusal() -> None:
    async def scene(before: Worker, _after: Worker) -> None:
        peer = Peer()
        booth = before.booth()
        visitor = await connected(booth, peer)
        peer.close()
        before.services.prepared_to_retire = True
        put_in_force(before.services, Profile())
        cut = []
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def judge() -> None:
                cut.append(await enforcing.enforce(before.services))

            _, _, descriptors = await before.mail.receive()
            close_all(descriptors)
        assert cut == [1]
        assert await is_cut(booth) == "the worker that was to judge its peer has ended"
        visitor.connection.close()

    play_with_two(scene)


def test_evidence_travels_unchanged() -> None:
    evidence = Evidence(
        "p", peers.acceptor_settings().role, None, b"pem", frozenset({Opt.TLS_CRL_CHECKS}), (b"\0", b"\xff"), b"ocsp"
    )
    assert Evidence.from_fields(evidence.to_fields()) == evidence


# -- what was agreed on


def agreed(**fields: Any) -> Negotiated:
    given = {"version": TLS_1_3, "cipher": "TLS_AES_256_GCM_SHA384", "group": "X25519", "alpn": "", "resumed": False}
    return Negotiated(**{**given, "server_name": "", "peer_chain": (), **fields})


@pytest.mark.parametrize(
    ("profile", "why"),
    [
        (Profile(), ""),
        (Profile(version_max=TLS_1_2), "version 0x0304"),
        (Profile(ciphers=("TLS_AES_128_GCM_SHA256",)), "cipher TLS_AES_256_GCM_SHA384"),
        (Profile(groups=("secp256r1",)), "group X25519"),
        (Profile(groups=("x25519",)), ""),
    ],
)
def test_what_was_agreed_on(profile: Profile, why: str) -> None:
    settings: Settings = peers.settings(profile=profile)
    assert excess(agreed(), settings) == why
