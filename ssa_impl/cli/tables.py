"""What ``ssactl`` shows to people, as rich renderables.  Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..administration.answers import (
    Answer,
    Drained,
    Explanation,
    Metrics,
    Profiles,
    Reloaded,
    Sessions,
    SessionStatus,
    Status,
)


def show(answer: Answer) -> RenderableType:
    """Return what stands for an answer; nothing in it is taken for markup."""
    match answer:
        case Status():
            return _status(answer)
        case Sessions():
            return _sessions(answer)
        case Profiles():
            return _profiles(answer)
        case Explanation():
            return explanation(answer)
        case Reloaded(files, profiles, closed):
            ended = f"; {_counted(closed, 'connection')} ended" if closed else ""
            where = ", ".join(files) or "the packaged default"
            return Text(f"reloaded {where}: {_counted(profiles, 'profile')}{ended}")
        case Drained(connections):
            return Text(f"no new sockets from now on; {_counted(connections, 'connection')} open")
        case Metrics(text):
            return Text(text.removesuffix("\n"))


def _status(status: Status) -> RenderableType:
    policy = status.policy
    facts = {
        "ssad": f"{status.version}, process {status.pid} of {status.user}{', draining' if status.draining else ''}",
        "listens at": status.socket,
        "since": _time(status.started_at_s),
        "TLS by": status.openssl,
        "policy": f"{', '.join(policy.files) or 'the packaged default'}: {_counted(policy.profiles, 'profile')}, "
        f"read {_time(policy.loaded_at_s)}",
    }
    if policy.failure:
        facts["refused"] = policy.failure
    if status.hardening:
        facts["hardening"] = "; ".join(status.hardening)
    workers = _table(("worker", "pid", "state", "sockets", "restarts"), right={"worker", "pid", "sockets", "restarts"})
    for worker in status.workers:
        workers.add_row(*_cells(worker.index, worker.pid or "", worker.state, worker.sockets, worker.restarts))
    return Group(_facts(facts), Text(), workers)


def _sessions(sessions: Sessions) -> RenderableType:
    table = _table(
        ("id", "pid", "uid", "profile", "role", "state", "name", "peer", "version", "received", "sent"),
        right={"id", "pid", "uid", "received", "sent"},
    )
    for one in sessions.sessions:
        carried = (_bytes(one.received_bytes), _bytes(one.sent_bytes))
        who = (one.id, one.pid, one.uid, one.profile, one.role, one.state)
        table.add_row(*_cells(*who, one.hostname, one.peer, one.version, *carried))
    shown = len(sessions.sessions)
    more = f", the {shown} oldest shown" if shown < sessions.total else ""
    return Group(table, Text(f"{_counted(sessions.total, 'secure socket')}{more}"))


def _profiles(profiles: Profiles) -> RenderableType:
    table = _table(("profile", "versions", "trust", "validation", "applications", "sockets"), right={"sockets"})
    for one in profiles.profiles:
        applications = "\n".join(one.applications)
        table.add_row(*_cells(one.name, one.versions, one.trust, one.validation, applications, one.sockets))
    return table


def explanation(answer: Explanation) -> RenderableType:
    """Show which profile applies and where each of its values stands."""
    facts = {"application": answer.application, "profile": answer.profile, "because": answer.rule}
    values = _table(("key", "value", "from"))
    for one in answer.values:
        values.add_row(*_cells(one.key, one.value, one.origin))
    strategies = [Text(), Text("\n".join(answer.strategies))] if answer.strategies else []
    return Group(_facts(facts), Text(), values, *strategies, *_votes(answer.sessions))


def _votes(sessions: Iterable[SessionStatus]) -> Iterator[RenderableType]:
    """Yield how it was voted on the peer of each connection."""
    table = _table(("id", "name", "peer", "votes"), right={"id"})
    for one in sessions:
        if one.votes:
            table.add_row(*_cells(one.id, one.hostname, one.peer, "\n".join(one.votes)))
    if table.row_count:
        yield Text()
        yield table


def _facts(facts: dict[str, str]) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    for name, value in facts.items():
        table.add_row(Text(name, style="bold"), Text(value))
    return table


def _table(columns: Iterable[str], right: Iterable[str] = ()) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return table


def _cells(*values: object) -> tuple[Text, ...]:
    return tuple(Text(str(value)) for value in values)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _time(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _bytes(size: int) -> str:
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size} {unit}"
        size //= 1024
    return f"{size} GiB"
