"""The lines of the administration socket, without a socket."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssa_impl.administration.answers import Answer, Drained, Metrics, Reloaded, Sessions, Status
from ssa_impl.administration.interface import SESSIONS_AT_MOST, Question, Refused
from ssa_impl.administration.plain import NotPlain, from_plain, to_plain
from ssa_impl.administration.protocol import (
    ANSWERS,
    Command,
    MalformedLine,
    ReloadWanted,
    SessionsWanted,
    decode_answer,
    decode_command,
    encode_answer,
    encode_command,
    encode_refusal,
)
from tests.ssa_impl.administration.answers import EXPLANATION, PROFILES, SESSIONS, STATUS

COMMANDS = [
    Command("status"),
    Command("sessions", SessionsWanted(3)),
    Command("profiles"),
    Command("explain", Question(pid=12)),
    Command("explain", Question(executable="/usr/bin/curl", user="alice")),
    Command("reload", ReloadWanted(enforce=True)),
    Command("drain"),
    Command("metrics"),
]
EXAMPLES: dict[str, Answer] = {
    "status": STATUS,
    "sessions": Sessions(SESSIONS, 12),
    "profiles": PROFILES,
    "explain": EXPLANATION,
    "reload": Reloaded(("a", "b"), 4, 1),
    "drain": Drained(0),
    "metrics": Metrics('# EOF\n"é'),
}


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_commands_come_back(command: Command) -> None:
    line = encode_command(command)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert decode_command(line) == command


def test_every_command_has_an_example() -> None:
    assert {command.name for command in COMMANDS} == set(ANSWERS) == set(EXAMPLES)


@pytest.mark.parametrize("name", ANSWERS)
def test_answers_come_back(name: str) -> None:
    line = encode_answer(EXAMPLES[name])
    assert line.count(b"\n") == 1
    assert decode_answer(name, line) == EXAMPLES[name]


def test_refusals_come_back() -> None:
    with pytest.raises(Refused) as caught:
        decode_answer("reload", encode_refusal(Refused("not changed", ["one", "two"])))
    assert (caught.value.text, caught.value.complaints) == ("not changed", ("one", "two"))


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b"", "not a line of JSON"),
        (b"\xff", "not a line of JSON"),
        (b"[" * 15_000, "not a line of JSON"),
        (b"[]", "not a JSON object"),
        (b"{}", "no such command; there are status, "),
        (b'{"command": ["status"]}', "no such command"),
        (b'{"command": "stat"}', "no such command"),
        (b'{"command": "status", "really": 1}', "status has no parameter 'really'"),
        (b'{"command": "sessions", "limit": 0}', f"limit is not between 1 and {SESSIONS_AT_MOST}"),
        (b'{"command": "sessions", "limit": true}', "SessionsWanted.limit is not of type int"),
        (b'{"command": "reload", "enforce": 1}', "ReloadWanted.enforce is not of type bool"),
        (b'{"command": "explain"}', "name a pid or an executable"),
        (b'{"command": "explain", "pid": 1, "executable": "/bin/true"}', "and not both"),
        (b'{"command": "explain", "pid": -1}', "name a pid"),
        (b'{"command": "explain", "executable": "curl"}', "not an absolute path"),
        (b'{"command": "explain", "executable": "/bin/\\u0000"}', "not an absolute path"),
    ],
)
def test_what_is_wrong_is_said(line: bytes, complaint: str) -> None:
    with pytest.raises(MalformedLine, match=r".") as caught:
        decode_command(line)
    assert complaint in str(caught.value)


@given(st.binary(max_size=200) | st.recursive(st.none() | st.text(), st.lists).map(lambda x: json.dumps(x).encode()))
def test_no_line_breaks_either_end(line: bytes) -> None:
    for decode in (decode_command, lambda line: decode_answer("status", line)):
        try:
            decode(line)
        except MalformedLine:
            continue


@pytest.mark.parametrize(
    "line",
    [b'{"ok": true}', b'{"ok": true, "answer": 1}', b'{"ok": false}', b'{"ok": 1, "error": 1, "complaints": []}'],
)
def test_a_stranger_is_not_taken_for_a_daemon(line: bytes) -> None:
    with pytest.raises(MalformedLine):
        decode_answer("status", line)


def test_another_version_may_say_more_but_not_less() -> None:
    value = json.loads(json.dumps(to_plain(STATUS)))
    value["added later"] = 1
    assert from_plain(Status, value) == STATUS
    del value["pid"]
    with pytest.raises(NotPlain, match=r"Status lacks one of .*pid"):
        from_plain(Status, value)


def test_where_a_value_is_wrong_is_said() -> None:
    value = json.loads(json.dumps(to_plain(STATUS)))
    value["workers"][1]["pid"] = "no"
    with pytest.raises(NotPlain, match=r"Status\.workers\[1\]\.pid is not of type int"):
        from_plain(Status, value)
