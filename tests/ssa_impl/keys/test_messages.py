"""What the keeper hears and says, both ways, and nothing but Garbled for everything else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssa_impl.keys.messages import (
    Answer,
    Garbled,
    Question,
    Verdict,
    decode_answer,
    decode_commit,
    decode_keys,
    decode_question,
    encode_answer,
    encode_commit,
    encode_keys,
    encode_question,
)
from ssa_impl.policy.model import Identity, NamedKey

NUMBERS = st.integers(0, 2**32 - 1)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=60)
IDENTITIES = st.builds(Identity, st.binary(max_size=300), st.binary(max_size=200))
PATHS = st.binary(max_size=40).map(lambda path: "/" + path.replace(b"\0", b"").decode("utf-8", "surrogateescape"))
KEYS = st.builds(NamedKey, TEXTS, PATHS, PATHS, st.frozensets(TEXTS, max_size=3), st.frozensets(PATHS, max_size=3))


@given(st.builds(Question, NUMBERS, TEXTS, st.one_of(TEXTS, PATHS)))
def test_questions(question: Question) -> None:
    assert decode_question(encode_question(question)) == question


@given(
    st.one_of(
        st.builds(Answer, NUMBERS, st.just(Verdict.GIVEN), TEXTS, IDENTITIES),
        st.builds(Answer, NUMBERS, st.sampled_from([Verdict.UNKNOWN, Verdict.FORBIDDEN, Verdict.CHANGED]), TEXTS),
    )
)
def test_answers(answer: Answer) -> None:
    assert decode_answer(encode_answer(answer)) == answer


@given(st.lists(KEYS, max_size=4, unique_by=lambda key: key.name))
def test_keys(keys: list[NamedKey]) -> None:
    assert decode_keys(encode_keys(keys)) == {key.name: key for key in keys}


@given(NUMBERS)
def test_generations(generation: int) -> None:
    assert decode_commit(encode_commit(generation)) == generation


@given(st.binary(max_size=80))
def test_everything_else_is_garbled(data: bytes) -> None:
    for decode in (decode_question, decode_answer):
        try:
            decode(data)
        except Garbled:
            continue


@pytest.mark.parametrize("data", [b"", b"\1\0\0\0", b"\1\0\0\0p\0r\0s", b"\1\0\0\0\xff\0\xff\0"])
def test_no_question(data: bytes) -> None:
    with pytest.raises(Garbled):
        decode_question(data)


def test_a_key_is_not_shown_by_accident() -> None:
    answer = Answer(1, Verdict.GIVEN, "web", Identity(b"the chain", b"the secret"))
    assert "secret" not in repr(answer)
