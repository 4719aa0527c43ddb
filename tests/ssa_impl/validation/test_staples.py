"""When an answer to staple is asked for, and until when it is given out."""

from __future__ import annotations

import datetime

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from ssa_impl.validation.model import Choice
from ssa_impl.validation.staples import LATEST, LATEST_RETRY, SOONEST, Result, Standing, Subject, describe, with_issuer
from ssa_impl.validation.strategies import ocsp, webpki
from ssa_impl.validation.strategies.answers import Answer, NoAnswer
from tests.ssa_impl.validation import pki

NOW = pki.NOW
NEW = Standing(NOW)
LIVES = st.timedeltas(datetime.timedelta(microseconds=1), datetime.timedelta(days=3650))


def good(holds: datetime.timedelta) -> Answer:
    return Answer(False, NOW + holds, "OCSP")


def subject(credentials: pki.Credentials, *more: pki.Credentials, **fields: object) -> Subject:
    chain = b"".join(each.pem for each in (credentials, *more))
    return Subject(0, "default", chain, Choice("revocation", "revocation"), **fields)  # type: ignore[arg-type]


@given(LIVES)
def test_the_next_answer_is_asked_for_before_this_one_ends(holds: datetime.timedelta) -> None:
    standing = NEW.answered(good(holds), b"answer", NOW)
    assert SOONEST <= standing.due - NOW <= LATEST
    assert standing.due < NOW + holds or holds <= SOONEST
    assert standing.current(NOW) == b"answer"
    assert standing.current(NOW + holds) == b""
    assert standing.result is Result.GOOD


@given(st.integers(1, 100))
def test_failures_in_a_row_make_it_patient(count: int) -> None:
    standing, waits = NEW, []
    for _ in range(count):
        standing = standing.failed("why", NOW)
        waits.append(standing.due - NOW)
    assert waits == [min(SOONEST * 2 ** min(number, 20), LATEST_RETRY) for number in range(count)]
    assert standing.answered(good(pki.DAY), b"answer", NOW).failures == 0


def test_the_last_answer_serves_until_it_ends() -> None:
    standing = NEW.answered(good(pki.HOUR), b"answer", NOW).failed("nobody is there", NOW)
    assert standing.current(NOW + pki.HOUR / 2) == b"answer"
    assert standing.text.startswith("has no new OCSP answer (nobody is there); the last one serves until")
    later = standing.failed("nobody is there", NOW + pki.HOUR)
    assert later.current(NOW + pki.HOUR) == b""
    assert later.text == "has no new OCSP answer (nobody is there); none is stapled"
    assert later.result is Result.FAILED


def test_a_revocation_ends_the_answer_before_and_is_not_stapled() -> None:
    standing = NEW.answered(good(pki.DAY), b"answer", NOW)
    revoked = standing.answered(Answer(True, NOW + pki.DAY, "OCSP", "revoked at noon"), b"revoked", NOW)
    assert revoked.current(NOW) == b""
    assert (revoked.result, revoked.due) == (Result.REVOKED, NOW + LATEST)
    assert revoked.failed("why", NOW).current(NOW) == b""


def test_what_has_ended_is_not_stapled_although_strategies_allow_for_clocks() -> None:
    peer = pki.leaf()
    minute = datetime.timedelta(minutes=1)
    old = pki.response(peer, next_update=NOW - minute)
    answer = ocsp.read(old, peer.certificate, pki.root().certificate, NOW, "OCSP")
    standing = NEW.answered(answer, old, NOW)
    assert standing.current(NOW) == b""
    assert (standing.result, standing.failures) == (Result.FAILED, 1)
    assert "it expired at" in standing.text


def test_the_issuer_is_in_the_chain() -> None:
    between = pki.authority("Between", pki.root())
    peer = pki.leaf(issuer=between)
    assert with_issuer(subject(peer, between)) == (peer.certificate, between.certificate)


def test_the_issuer_is_an_anchor_of_the_policy_and_never_one_of_the_same_name() -> None:
    peer = pki.leaf()
    anchors = (
        b"-----BEGIN CERTIFICATE-----\nnot base64!\n-----END CERTIFICATE-----\n" + pki.stranger().pem + pki.root().pem
    )
    assert with_issuer(subject(peer, anchors_pem=anchors)) == (peer.certificate, pki.root().certificate)
    with pytest.raises(NoAnswer, match="neither in its chain nor in the trust store"):
        with_issuer(subject(peer, pki.stranger()))


def test_of_certificates_with_another_name_nothing_is_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    peer, other, parsed = pki.leaf(), pki.authority("Another"), []
    load = x509.load_der_x509_certificate
    monkeypatch.setattr(x509, "load_der_x509_certificate", lambda der: parsed.append(der) or load(der))
    assert with_issuer(subject(peer, anchors_pem=other.pem + pki.root().pem))[1] == pki.root().certificate
    assert parsed == [peer.der, pki.root().der]


def test_the_issuer_is_in_the_systems_trust_store(monkeypatch: pytest.MonkeyPatch) -> None:
    peer = pki.leaf()
    monkeypatch.setattr("ssa_impl.validation.staples.system_anchors", lambda: pki.root().pem)
    assert with_issuer(subject(peer, trust_system=True))[1] == pki.root().certificate
    with pytest.raises(NoAnswer):
        with_issuer(subject(peer))


def test_a_trust_store_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webpki, "SYSTEM_STORES", ("/nowhere/at/all",))
    with pytest.raises(NoAnswer, match="trust store cannot be read: No such file"):
        with_issuer(subject(pki.leaf(), trust_system=True))


def test_the_log_names_the_certificate_and_what_it_promises() -> None:
    plain, promising = pki.leaf(), pki.leaf(must_staple=True)
    assert describe(subject(plain)) == f"the certificate {plain.certificate.serial_number:x} (profile default)"
    assert describe(subject(promising)).endswith("(profile default), which promises to staple (RFC 7633),")
