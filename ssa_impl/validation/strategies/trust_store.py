"""OpenSSL's own verdict: chain, dates, purposes, and the name."""

from __future__ import annotations

from typing import ClassVar

from ..model import TRUST_STORE, Ballot, Case
from ..strategy import Strategy, accept, reject


class TrustStoreAndHostname(Strategy):
    """Contacts nothing.  Where it only votes, the handshake goes on after an objection, and the vote decides."""

    name: ClassVar[str] = TRUST_STORE
    summary: ClassVar[str] = (
        "OpenSSL's own verdict on chain, dates, purposes and name, under the profile's trust store."
    )

    async def judge(self, case: Case) -> Ballot:
        if not case.presented:
            return reject("the peer presented no certificate")
        if case.openssl_code:
            return reject(case.openssl_text)
        if not case.accepting and not case.hostname:
            return accept("the chain leads to a trust anchor; no name was asked for")
        return accept("the chain leads to a trust anchor" + ("" if case.accepting else f" and is for {case.hostname}"))
