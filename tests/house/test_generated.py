"""Files that are generated are what the table says."""

from __future__ import annotations

from ssa_impl.cli import generate


def test_header_is_fresh() -> None:
    assert generate.HEADER.read_text("utf-8") == generate.header()


def test_reference_is_fresh() -> None:
    assert generate.REFERENCE.read_text("utf-8") == generate.reference()
