"""Every behaviour in every column: first against what the specification fixes, then the columns against each other."""

from __future__ import annotations

import pytest

from tests.conformance.behaviour import Behaviour, Column, behaviours
from tests.conformance.runner import Theatre
from tests.conformance.transcripts import disagreements, surprises

ALL = list(behaviours().values())


@pytest.mark.parametrize(
    ("wanted", "column"),
    [pytest.param(row, column, id=f"{row.name}-{column}") for row in ALL for column in row.columns()],
)
def test_a_behaviour(theatre: Theatre, wanted: Behaviour, column: Column) -> None:
    transcript = theatre.transcript(wanted, column)
    assert transcript, "a behaviour that shows nothing"
    assert surprises(wanted, column, transcript) == []


@pytest.mark.parametrize("wanted", [pytest.param(row, id=row.name) for row in ALL])
def test_all_columns_agree(theatre: Theatre, wanted: Behaviour) -> None:
    runs = {column: theatre.transcript(wanted, column) for column in wanted.columns()}
    assert disagreements(wanted, runs) == []
