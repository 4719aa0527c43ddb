"""The daemon's log: events of a closed list, fields of a closed list, one line each, in three formats.

What is logged names connections and says why they failed.  It never holds what they carry, a key or a session's
secret: a field has a name from :data:`FIELDS` and is a word or a number, and bytes are refused.  Text that a peer had a
hand in is escaped and cut, so that it cannot pass for another line.

Lines about connections are for the administrator to choose (none, failures, all) and limited in number for each event.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, StrEnum

from .limiter import Limiter
from .outlet import Outlet

_log = logging.getLogger("ssad")

FIELDS = (
    "id", "uid", "pid", "profile", "role", "peer", "name", "version", "cipher", "resumed", "reason", "errno",
    "duration_s", "received_bytes", "sent_bytes", "suppressed", "votes",
)  # fmt: skip
"""what a line may say beside its sentence; ``id`` is the socket's TLS_ID"""
_TEXT_CHARACTERS = 1000
_PRIORITIES = {logging.CRITICAL: 2, logging.ERROR: 3, logging.WARNING: 4, logging.INFO: 6, logging.DEBUG: 7}
_ENVIRONMENT = ("SSAD_LOG_FORMAT", "SSAD_LOG_CONNECTIONS")


class Event(Enum):
    """What a line is about."""

    CONNECTED = "connected"
    """a peer was authenticated"""
    ENDED = "ended"
    """an established connection ended in order"""
    REFUSED = "refused"
    """a connection was not established"""
    BROKEN = "broken"
    """an established connection did not end in order"""
    DEFECT = "defect"
    """the daemon's own fault, with a traceback"""
    NOTE = "note"
    """everything else: the daemon's life, its workers, its policy"""


class Format(StrEnum):
    """How a line looks."""

    TEXT = "text"
    LOGFMT = "logfmt"
    JSON = "json"


class Connections(StrEnum):
    """Which connections have lines."""

    NONE = "none"
    FAILURES = "failures"
    ALL = "all"


_CHOSEN = {
    Connections.NONE: frozenset[Event](),
    Connections.FAILURES: frozenset({Event.REFUSED, Event.BROKEN}),
    Connections.ALL: frozenset({Event.REFUSED, Event.BROKEN, Event.CONNECTED, Event.ENDED}),
}


@dataclass(frozen=True)
class LogOptions:
    """What the administrator chose."""

    format: Format = Format.TEXT
    connections: Connections = Connections.FAILURES

    def to_environment(self) -> dict[str, str]:
        """Return the variables by which workers hear of it."""
        return dict(zip(_ENVIRONMENT, (self.format.value, self.connections.value), strict=True))

    @classmethod
    def from_environment(cls) -> LogOptions:
        """Return what a worker was told."""
        form, connections = (os.environ.get(name) for name in _ENVIRONMENT)
        return cls(Format(form or cls.format), Connections(connections or cls.connections))


class ConnectionLog:
    """Lines about connections; one per process."""

    def __init__(self, limiter: Limiter | None = None) -> None:
        self._chosen = _CHOSEN[Connections.FAILURES]
        self._limiter = limiter or Limiter()

    def choose(self, which: Connections) -> None:
        """Log these from now on."""
        self._chosen = _CHOSEN[which]

    def __contains__(self, event: Event) -> bool:
        """Whether there are lines for this event; asking first saves the making of fields."""
        return event in self._chosen

    def say(self, event: Event, text: str, **fields: str | float | None) -> None:
        """Log one line, unless there were too many of its kind.  Raises TypeError for what is no field."""
        check_fields(fields)
        if event not in self._chosen:
            return
        suppressed = self._limiter.admit(event, time.monotonic())
        if suppressed is not None:
            _log.info("%s", text, extra={"event": event, "fields": {**fields, "suppressed": suppressed or None}})

    def sum_up(self) -> None:
        """Before a process ends: say what no next line will."""
        for event, suppressed in self._limiter.left_out().items():
            _log.info("the last lines were left out", extra={"event": event, "fields": {"suppressed": suppressed}})


def check_fields(fields: dict[str, str | float | None]) -> None:
    """Refuse what is not for the log.  Raises TypeError."""
    for name, value in fields.items():
        if name not in FIELDS or not isinstance(value, str | int | float | None):
            raise TypeError(f"{name} is no field of the log")


connections = ConnectionLog()
"""this process's lines about connections"""


def configure(
    options: LogOptions,
    descriptor: int = 2,
    *,
    worker: bool = False,
    filled: Callable[[Outlet], bool] = lambda outlet: False,
) -> None:
    """Let everything that this process logs go to a descriptor (standard error) in the chosen format.

    ``filled`` is called when lines wait for a reader (:class:`.outlet.Outlet`).
    """
    outlet = Outlet(descriptor, filled)
    who = f"ssad[{os.getpid()}]" if worker else "ssad"
    outlet.setFormatter(LineFormatter(options.format, who, journal=is_journal(descriptor)))
    logging.basicConfig(level=logging.INFO, handlers=[outlet], force=True)
    connections.choose(options.connections)


def is_journal(descriptor: int) -> bool:
    """Whether this is the journal's ($JOURNAL_STREAM, systemd.exec(5)), which takes priorities (sd-daemon(3))."""
    found = os.fstat(descriptor)
    return os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


class LineFormatter(logging.Formatter):
    """Makes the lines; a priority stands in front of each one that is for the journal."""

    def __init__(self, form: Format, who: str, *, journal: bool = False) -> None:
        super().__init__()
        self._form = form
        self._who = who
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        """Return a line; in text format a traceback follows in lines of its own."""
        lines = self._text(record) if self._form is Format.TEXT else [self._structured(record)]
        priority = f"<{_PRIORITIES.get(record.levelno, 6)}>" if self._journal else ""
        return "\n".join(priority + line for line in lines)

    def _text(self, record: logging.LogRecord) -> list[str]:
        fields = " ".join(f"{name}={_word(value)}" for name, value in _fields(record).items())
        lines = [f"{self._who}: {_escaped(record.getMessage())}" + (f" ({fields})" if fields else "")]
        return lines + (self.formatException(record.exc_info).splitlines() if record.exc_info else [])

    def _structured(self, record: logging.LogRecord) -> str:
        seconds, milliseconds = time.gmtime(record.created), int(record.msecs)
        line: dict[str, object] = {
            "ts": f"{time.strftime('%Y-%m-%dT%H:%M:%S', seconds)}.{milliseconds:03}Z",
            "level": record.levelname.lower(),
            "process": record.process,
            "event": _event(record).value,
            **_fields(record),
            "msg": _escaped(record.getMessage()),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        if self._form is Format.JSON:
            return json.dumps(line)
        return " ".join(f"{name}={_word(value)}" for name, value in line.items())


def _event(record: logging.LogRecord) -> Event:
    event = getattr(record, "event", None)
    if isinstance(event, Event):
        return event
    return Event.DEFECT if record.exc_info else Event.NOTE


def _fields(record: logging.LogRecord) -> dict[str, str | float]:
    fields = getattr(record, "fields", {})
    return {name: fields[name] for name in FIELDS if fields.get(name) not in {None, ""}}


def _escaped(text: str) -> str:
    """Return text without control characters, and not too long."""
    cut = text if len(text) <= _TEXT_CHARACTERS else text[:_TEXT_CHARACTERS] + "..."
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in cut)


def _word(value: object) -> str:
    """Return a value of logfmt: bare when that is unambiguous, else in double quotes."""
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value)
    if text and all("!" <= character <= "~" and character not in "\"'=\\" for character in text):
        return text
    return json.dumps(text)
