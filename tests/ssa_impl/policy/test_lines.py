"""Lines of keys: a document is made, and where each key was put is compared with what is found."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssa_impl.policy.lines import key_lines

KEYS = ("a", "b-c", '"d.e"', "'f g'", "x.y", 'x . "z\\u0041"', "7")
NAMES = {"b-c": ("b-c",), '"d.e"': ("d.e",), "'f g'": ("f g",), "x.y": ("x", "y"), 'x . "z\\u0041"': ("x", "zA")}
VALUES = (
    "1", "1979-05-27 07:32:00", '"# [no] = \\" comment"', "'[x] \\'", '"""one\n[two]\nk = 3\\""" """', "'''\n[q]\n'''",
    '[\n  1, # ]\n  [2, "]"],\n]', "{ in = [1], out = '}' }", '""', "''", "true # trailing", '"""x"""""', "'''x'''''",
)  # fmt: skip
BLANKS = ("", "\n", "# [not.a.table]\n", "  # k = 1\n\n")
STATEMENTS = st.lists(st.tuples(st.sampled_from(BLANKS), st.sampled_from(KEYS), st.sampled_from(VALUES)), max_size=6)
HEADERS = ("[t{}]", "[t{}.'u v']", "[[array]]", "[array.sub{}]", "[ t{} . w ]")


def leaves(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Every path of what tomllib read, elements of arrays of tables by their index."""
    if isinstance(value, dict):
        return [path, *(leaf for key in value for leaf in leaves(value[key], (*path, key)))]
    if isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
        return [path, *(leaf for number, one in enumerate(value) for leaf in leaves(one, (*path, number)))]
    return [path]


@given(st.lists(st.tuples(st.sampled_from(HEADERS), STATEMENTS), max_size=6), STATEMENTS)
def test_every_key_is_found_on_its_line(tables: list[Any], first: list[Any]) -> None:
    text, expected, elements = "", {}, -1
    for number, (header, statements) in enumerate([("", first), *tables]):
        if header == "[array.sub{}]" and elements < 0:
            continue
        elements += header == "[[array]]"
        table: tuple[str | int, ...] = {
            "": (), "[t{}]": (f"t{number}",), "[t{}.'u v']": (f"t{number}", "u v"), "[ t{} . w ]": (f"t{number}", "w"),
            "[[array]]": ("array", elements), "[array.sub{}]": ("array", elements, f"sub{number}"),
        }[header]  # fmt: skip
        if header:
            expected[table] = text.count("\n") + 1
            text += header.format(number) + "\n"
        used: set[str] = set()
        for blank, key, value in statements:
            if key in used or (key == "a" and "array" in used):
                continue
            used.add(key)
            text += blank
            expected[(*table, *NAMES.get(key, (key,)))] = text.count("\n") + 1
            text += f"  {key} = {value}\n"
    parsed = tomllib.loads(text)
    found = key_lines(text)
    assert {path: found.get(path) for path in expected} == expected
    assert set(found) - {("array",)} <= set(leaves(parsed))


@pytest.mark.parametrize("text", ["", "\n", "# nothing", "a = 1", "[t]", '[t."]"]\na=1'])
def test_small_documents(text: str) -> None:
    tomllib.loads(text)
    assert all(line <= text.count("\n") + 1 for line in key_lines(text).values())
    assert bool(key_lines(text)) == bool(tomllib.loads(text))
