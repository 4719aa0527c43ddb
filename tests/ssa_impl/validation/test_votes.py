"""The count of votes, against its definition written out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ssa_impl.validation.model import OPENSSL_ALONE, Ballot, Choice, Count, Validation, Vote
from ssa_impl.validation.votes import decide

COUNTS = st.sampled_from(Count)


@st.composite
def validations(draw: st.DrawFn) -> Validation:
    names = iter("abcdefgh")

    def choices(at_most: int) -> tuple[Choice, ...]:
        return tuple(
            Choice(next(names), "any", abstain=draw(COUNTS), error=draw(COUNTS), timeout=draw(COUNTS))
            for _ in range(draw(st.integers(0, at_most)))
        )

    return Validation(choices(3), choices(4), draw(st.integers(1, 100)))


def counted(choice: Choice, vote: Vote | None) -> str:
    """What a vote counts as, written out."""
    if vote in {Vote.ACCEPT, Vote.REJECT}:
        return vote.value
    return {Vote.ABSTAIN: choice.abstain, Vote.TIMEOUT: choice.timeout}.get(vote, choice.error).value


@given(validations(), st.data())
def test_the_definition(validation: Validation, data: st.DataObject) -> None:
    votes = {choice: data.draw(st.sampled_from([*Vote, None])) for choice in validation.choices()}
    verdict = decide(validation, {choice: Ballot(vote, "so") for choice, vote in votes.items() if vote is not None})
    necessary = [counted(choice, votes[choice]) for choice in validation.necessary]
    voting = [counted(choice, votes[choice]) for choice in validation.voting]
    yes, no = voting.count("accept"), voting.count("reject")
    expected = bool(necessary or voting)
    if any(count != "accept" for count in necessary):
        expected = False
    if voting and (yes + no == 0 or yes / (yes + no) * 100 < validation.threshold_percent - 1e-9):
        expected = False
    assert verdict.accepted is expected
    assert len(verdict.votes) == len(votes)
    assert verdict.text.startswith("the peer was accepted" if expected else "the peer was refused: ")


@given(validations(), st.data())
def test_a_worse_vote_never_helps(validation: Validation, data: st.DataObject) -> None:
    ballots = {choice: Ballot(data.draw(st.sampled_from(Vote)), "so") for choice in validation.choices()}
    if decide(validation, ballots).accepted:
        return
    for choice, ballot in ballots.items():
        if ballot.vote is Vote.ACCEPT:
            assert not decide(validation, ballots | {choice: Ballot(Vote.REJECT, "no")}).accepted


def test_nobody_asked_is_a_refusal() -> None:
    assert not decide(Validation(), {}).accepted
    assert not decide(OPENSSL_ALONE, {}).accepted


def test_the_sentence_says_who_and_why() -> None:
    first, second = Choice("pinning", "pinning"), Choice("revocation", "revocation")
    ballots = {first: Ballot(Vote.ABSTAIN, "no pin"), second: Ballot(Vote.REJECT, "it was revoked")}
    verdict = decide(Validation(necessary=(first, second)), ballots)
    assert verdict.text == "the peer was refused: revocation rejects it: it was revoked"
    assert [vote.describe() for vote in verdict.votes] == [
        "pinning (necessary): abstain, no pin",
        "revocation (necessary): reject, it was revoked",
    ]
    outvoted = decide(Validation(voting=(first, second), threshold_percent=50), ballots)
    assert outvoted.text == (
        "the peer was refused: 0 of 1 votes are for it, 50 % are needed; revocation rejects it: it was revoked"
    )
