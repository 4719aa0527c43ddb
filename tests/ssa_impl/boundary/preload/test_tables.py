"""The C library's tables are those of the rest: options, routing, the wire."""

from __future__ import annotations

import re
import socket
import struct

import pytest

from ssa_impl import abi
from ssa_impl.boundary.preload import LIBRARY
from ssa_impl.boundary.seccomp import filter as seccomp
from ssa_impl.control import codec, greeting

SOURCES = LIBRARY.parent


def table(name: str) -> list[str]:
    """Return the words of one table in routing.h."""
    found = re.search(rf"static const int {name}\[\] = \{{(.*?)\}};", (SOURCES / "routing.h").read_text(), re.DOTALL)
    assert found is not None
    return found[1].replace(",", " ").split()


def number(word: str) -> int:
    value: int = abi.IPPROTO_TLS if word == "IPPROTO_TLS" else getattr(socket, word)
    return value


def test_levels_are_the_filters() -> None:
    assert {number(word) for word in table("ROUTED_LEVELS")} == set(seccomp.LEVELS)


def test_names_of_sol_socket_are_the_filters() -> None:
    assert {number(word) for word in table("ROUTED_SOCKET_NAMES")} == set(seccomp.SOL_SOCKET_NAMES)


def test_options_with_paths_are_those_of_the_abi() -> None:
    paths = {
        row.number.name for row in abi.OPTIONS.values() if row.kind in {abi.Kind.PEM, abi.Kind.CHAIN, abi.Kind.KEY}
    }
    assert set(table("PATH_OPTIONS")) == paths


def test_kinds_of_messages_are_the_codecs() -> None:
    found = re.search(r"enum kind \{(.*?)\};", (SOURCES / "preload.h").read_text(), re.DOTALL)
    assert found is not None
    ours = {name: int(value) for name, value in re.findall(r"(\w+) = (\d+)", found[1])}
    assert {codec.MessageKind[name].name: value for name, value in ours.items()} == ours
    assert {name: codec.MessageKind[name].value for name in ours} == ours
    watched_only = {"RESET", "KEEP"}
    assert ours.keys() == {kind.name for kind in codec.MessageKind} - watched_only


@pytest.mark.parametrize(
    ("file", "statement", "value"),
    [
        ("preload.h", r"#define MAX_VALUE_BYTES \((.+)\)", abi.MAX_VALUE_BYTES),
        ("preload.h", r"sizeof\(struct header\) == (\d+)", codec.HEADER.size),
        ("accept.c", r"sizeof\(struct greeting\) == (\d+)", greeting.GREETING_BYTES),
    ],
)
def test_sizes_agree(file: str, statement: str, value: int) -> None:
    found = re.search(statement, (SOURCES / file).read_text())
    assert found is not None
    product = 1
    for factor in found[1].split("*"):
        product *= int(factor)
    assert product == value


def test_the_header_is_flat() -> None:
    """The C struct has no padding because every field is where it would be aligned anyway."""
    assert struct.calcsize("@IHHii") == codec.HEADER.size
