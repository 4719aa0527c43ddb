"""Lines of the log: formats, what may be in them, and how many there can be."""

from __future__ import annotations

import json
import logging
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssa_impl.administration import logs
from ssa_impl.administration.limiter import Limiter
from ssa_impl.administration.logs import (
    FIELDS,
    ConnectionLog,
    Connections,
    Event,
    Format,
    LineFormatter,
    LogOptions,
    check_fields,
)

_log = logging.getLogger("ssad")


@pytest.fixture
def root() -> Iterator[None]:
    """Give the root logger back as it was."""
    logger = logging.getLogger()
    handlers, level = list(logger.handlers), logger.level
    yield
    logger.handlers[:] = handlers
    logger.setLevel(level)
    logs.connections.choose(Connections.FAILURES)


def record(text: str, level: int = logging.INFO, event: Event | None = None, **fields: object) -> logging.LogRecord:
    made = logging.LogRecord("ssad", level, __file__, 1, "%s", (text,), None)
    made.created, made.msecs = 1_760_000_000.25, 250.0
    made.process = 42
    if event is not None:
        made.event = event
        made.fields = fields
    return made


REFUSED = record(
    "the peer's certificate has expired", event=Event.REFUSED, id=7, peer="192.0.2.1:443", duration_s=0.0125
)


def test_text_is_for_people() -> None:
    line = LineFormatter(Format.TEXT, "ssad[42]").format(REFUSED)
    assert line == "ssad[42]: the peer's certificate has expired (id=7 peer=192.0.2.1:443 duration_s=0.0125)"
    assert LineFormatter(Format.TEXT, "ssad").format(record("ready")) == "ssad: ready"


def test_json_is_for_programs() -> None:
    assert json.loads(LineFormatter(Format.JSON, "ssad").format(REFUSED)) == {
        "ts": "2025-10-09T08:53:20.250Z",
        "level": "info",
        "process": 42,
        "event": "refused",
        "id": 7,
        "peer": "192.0.2.1:443",
        "duration_s": 0.0125,
        "msg": "the peer's certificate has expired",
    }


def test_logfmt_is_for_both() -> None:
    line = LineFormatter(Format.LOGFMT, "ssad").format(REFUSED)
    assert line == (
        "ts=2025-10-09T08:53:20.250Z level=info process=42 event=refused id=7 peer=192.0.2.1:443 duration_s=0.0125 "
        'msg="the peer\'s certificate has expired"'
    )


def test_what_has_no_event_is_a_note_and_a_defect_has_its_traceback() -> None:
    failed = record("a defect", logging.ERROR)
    assert json.loads(LineFormatter(Format.JSON, "ssad").format(failed))["event"] == "note"
    try:
        raise ZeroDivisionError
    except ZeroDivisionError:
        failed.exc_info = sys.exc_info()
    line = json.loads(LineFormatter(Format.JSON, "ssad").format(failed))
    assert (line["event"], line["level"]) == ("defect", "error")
    assert "ZeroDivisionError" in line["traceback"]


def test_the_journal_hears_priorities_on_every_line() -> None:
    failed = record("a defect", logging.ERROR)
    failed.exc_text = None
    try:
        raise ZeroDivisionError
    except ZeroDivisionError:
        failed.exc_info = sys.exc_info()
    lines = LineFormatter(Format.TEXT, "ssad", journal=True).format(failed).splitlines()
    assert len(lines) > 2
    assert all(line.startswith("<3>") for line in lines)
    assert LineFormatter(Format.JSON, "ssad", journal=True).format(REFUSED).startswith('<6>{"ts"')


def test_the_journal_is_known_by_device_and_inode(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryFile() as file:
        found = os.fstat(file.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
        assert logs.is_journal(file.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino + 1}")
        assert not logs.is_journal(file.fileno())


@given(st.text(max_size=200), st.text(max_size=50), st.sampled_from(Format))
def test_no_text_passes_for_another_line(text: str, name: str, form: Format) -> None:
    line = LineFormatter(form, "ssad").format(record(text, event=Event.REFUSED, name=name))
    assert line.isprintable()
    if form is Format.LOGFMT and text.isascii() and name.isascii():
        words = dict(word.split("=", 1) for word in shlex.split(line) if "=" in word)
        assert words["event"] == "refused"


def test_a_long_text_is_cut() -> None:
    assert len(LineFormatter(Format.TEXT, "ssad").format(record("x" * 100_000))) < 1100


@pytest.mark.parametrize("fields", [{"key": "x"}, {"id": b"secret"}, {"peer": ("192.0.2.1", 443)}, {"msg": "x"}])
def test_what_is_no_field_is_refused(fields: dict[str, str]) -> None:
    with pytest.raises(TypeError, match="is no field of the log"):
        check_fields(fields)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        ConnectionLog().say(Event.CONNECTED, "not even chosen", **fields)


def test_no_field_could_hold_a_secret_or_data() -> None:
    assert not {"key", "secret", "ticket", "data", "password", "session", "pin"} & set(FIELDS)


@pytest.mark.parametrize(
    ("which", "said"),
    [
        (Connections.NONE, []),
        (Connections.FAILURES, ["refused", "broken"]),
        (Connections.ALL, ["connected", "ended", "refused", "broken"]),
    ],
)
def test_the_administrator_chooses(which: Connections, said: list[str], root: None, tmp_path: Path) -> None:
    with (tmp_path / "log").open("w+") as log:
        logs.configure(LogOptions(Format.JSON, which), log.fileno())
        for event in (Event.CONNECTED, Event.ENDED, Event.REFUSED, Event.BROKEN):
            logs.connections.say(event, "text", id=1)
            assert (event in logs.connections) == (event.value in said)
        log.seek(0)
        assert [json.loads(line)["event"] for line in log] == said


def test_a_hostile_peer_causes_few_lines(root: None, tmp_path: Path) -> None:
    with (tmp_path / "log").open("w+") as file:
        logs.configure(LogOptions(Format.JSON), file.fileno())
        log = ConnectionLog(Limiter(burst=5, per_second=0))
        for number in range(1000):
            log.say(Event.REFUSED, "no", id=number)
        log.say(Event.BROKEN, "another kind has a limit of its own", id=1)
        log.sum_up()
        file.seek(0)
        *lines, last = map(json.loads, file)
    assert [line["id"] for line in lines] == [0, 1, 2, 3, 4, 1]
    assert (last["event"], last["suppressed"]) == ("refused", 995)


def test_the_limit_recovers_and_says_what_was_left_out() -> None:
    limiter = Limiter(burst=2, per_second=0.5)
    assert [limiter.admit("a", now) for now in (0.0, 0.0, 0.0, 1.0)] == [0, 0, None, None]
    assert limiter.admit("b", 1.0) == 0
    assert limiter.admit("a", 2.0) == 2
    assert limiter.admit("a", 2.0) is None
    assert [limiter.admit("a", 1000.0) for _ in range(3)] == [1, 0, None]


@given(st.lists(st.floats(0, 10), max_size=200))
def test_nothing_is_lost_uncounted(steps: list[float]) -> None:
    limiter, now = Limiter(burst=3, per_second=1), 0.0
    answers = []
    for step in steps:
        now += step
        answers.append(limiter.admit("a", now))
    admitted = [answer for answer in answers if answer is not None]
    trailing = next((index for index, answer in enumerate(reversed(answers)) if answer is not None), len(answers))
    assert len(admitted) + sum(admitted) + trailing == len(steps)
    assert len(admitted) <= 3 + now + 1


def test_workers_hear_of_the_options(monkeypatch: pytest.MonkeyPatch) -> None:
    assert LogOptions.from_environment() == LogOptions()
    chosen = LogOptions(Format.LOGFMT, Connections.ALL)
    for name, value in chosen.to_environment().items():
        monkeypatch.setenv(name, value)
    assert LogOptions.from_environment() == chosen


def test_a_worker_names_itself() -> None:
    code = (
        "import logging; from ssa_impl.administration.logs import LogOptions, configure;"
        "configure(LogOptions(), worker=True); logging.getLogger('ssad').info('hello')"
    )
    ran = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    _, said = ran.communicate(timeout=90)
    assert said == f"ssad[{ran.pid}]: hello\n"
