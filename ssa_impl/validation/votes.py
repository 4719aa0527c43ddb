"""How votes are counted.  Pure, and the only place where a peer becomes accepted.

Each vote is counted as the administrator says: an abstention, an error or a time-out as acceptance, rejection or not at
all.  A peer is accepted when every necessary strategy counts as acceptance, and, if strategies vote, when at least one
vote counts and ``threshold_percent`` of those that count are acceptances.  Whatever is missing is a refusal.
"""

from __future__ import annotations

from collections.abc import Mapping

from .model import Ballot, Choice, Count, Counted, Validation, Verdict, Vote

_NO_BALLOT = Ballot(Vote.ERROR, "it was not asked")


def decide(validation: Validation, ballots: Mapping[Choice, Ballot]) -> Verdict:
    """Return the verdict; a choice without a ballot is an error vote."""
    necessary = [_counted(choice, ballots, necessary=True) for choice in validation.necessary]
    voting = [_counted(choice, ballots, necessary=False) for choice in validation.voting]
    text = _missing(necessary) or _outvoted(voting, validation.threshold_percent)
    if not text and not necessary and not voting:
        text = "no strategy is there that could accept the peer"
    return Verdict(
        not text, (*necessary, *voting), f"the peer was refused: {text}" if text else "the peer was accepted"
    )


def _counted(choice: Choice, ballots: Mapping[Choice, Ballot], *, necessary: bool) -> Counted:
    ballot = ballots.get(choice, _NO_BALLOT)
    count = {
        Vote.ACCEPT: Count.ACCEPT,
        Vote.REJECT: Count.REJECT,
        Vote.ABSTAIN: choice.abstain,
        Vote.ERROR: choice.error,
        Vote.TIMEOUT: choice.timeout,
    }[ballot.vote]
    return Counted(choice, necessary, ballot, count)


def _missing(necessary: list[Counted]) -> str:
    """Say which necessary strategy has not accepted, the one that rejects before one that could not say."""
    refusing = [vote for vote in necessary if vote.count is not Count.ACCEPT]
    refusing.sort(key=lambda vote: vote.ballot.vote is not Vote.REJECT)
    return _sentence(refusing[0]) if refusing else ""


def _sentence(vote: Counted) -> str:
    said = {
        Vote.REJECT: "rejects it",
        Vote.ABSTAIN: "abstains",
        Vote.ERROR: "failed",
        Vote.TIMEOUT: "gave no answer",
    }.get(vote.ballot.vote, "accepts it")
    return f"{vote.choice.name} {said}: {vote.ballot.reason}"


def _outvoted(voting: list[Counted], threshold_percent: int) -> str:
    if not voting:
        return ""
    cast = [vote for vote in voting if vote.count is not Count.ABSTAIN]
    if not cast:
        return f"none of the {len(voting)} voting strategies had a vote that counts; {_sentence(voting[0])}"
    accepting = sum(vote.count is Count.ACCEPT for vote in cast)
    if accepting * 100 >= threshold_percent * len(cast):
        return ""
    against = next(vote for vote in cast if vote.count is Count.REJECT)
    return f"{accepting} of {len(cast)} votes are for it, {threshold_percent} % are needed; {_sentence(against)}"
