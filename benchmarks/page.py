"""docs/benchmarks.md from recordings: every number with the command that made it.  Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from benchmarks.records import Recording, Row, Subject

NAMES = {
    Subject.SECCOMP: "SSA, seccomp",
    Subject.PRELOAD: "SSA, preload",
    Subject.STUNNEL: "stunnel",
    Subject.HAPROXY: "HAProxy",
    Subject.IN_PROCESS: "OpenSSL in process",
}
BOUNDARIES = {Subject.SECCOMP: "seccomp", Subject.PRELOAD: "preload", Subject.IN_PROCESS: "no boundary"}

HEAD = """# What the SSA costs

Written by `python -m benchmarks table` from the recordings in `results/benchmarks/`; do not edit.  `tox -e bench-ssa`
measures anew on your machine.

The same work for every subject, on loopback, one after the other in each round: the SSA at either boundary, stunnel
and HAProxy as TLS proxies beside the application, and OpenSSL in the application itself.  The application and its peer
are one Python program, `benchmarks/programs/endpoint.py`; the peer's TLS is the standard library's.  A number is the
median of the rounds; every round is in the recording.  CPU times are the scheduler's own, of all processes that stand
on the measured side: the application and whatever does its TLS; the peer is left out.  *client*: the application
connects to a TLS server.  *server*: a TLS client connects to the application.  TLS 1.3, ECDSA P-256 certificates; the
daemon's OpenSSL is the one in cryptography's wheel, everybody else's the system's.

Application, peer and subject share the same cores, so a rate is what this machine does as a whole; CPU time is the
number to compare.
"""

Key = Callable[[Row], str | None]
"""The row or column that a number belongs in; None leaves it out."""


def render(recordings: Sequence[Recording]) -> str:
    """The whole page."""
    parts = [HEAD]
    for recording in recordings:
        parts += [
            f"## {TITLES[recording.benchmark]}\n",
            *SECTIONS[recording.benchmark](recording),
            _circumstances(recording),
        ]
    return "\n".join(parts)


def number(value: float) -> str:
    """Three significant digits, never fewer than the integer part."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def pivot(rows: Sequence[Row], head: str, row_of: Key, column_of: Key) -> str:
    """Medians as a Markdown table, rows and columns in the order in which they first come."""
    cells: dict[str, dict[str, str]] = {}
    columns: dict[str, None] = {}
    for row in rows:
        line, column = row_of(row), column_of(row)
        if line is not None and column is not None:
            cells.setdefault(line, {})[column] = number(row.median)
            columns[column] = None
    lines = [f"| {head} | {' | '.join(columns)} |", f"|---|{'---:|' * len(columns)}"]
    lines += [
        f"| {line} | {' | '.join(found.get(column, '–') for column in columns)} |" for line, found in cells.items()
    ]
    return "\n".join(lines) + "\n"


def _who(row: Row) -> str:
    return f"{row.role}: {NAMES[row.subject]}"


def _quantity(*wanted: str) -> Key:
    """Columns by quantity, those that are wanted, with the unit."""

    def column(row: Row) -> str | None:
        return f"{row.quantity}{f', {row.unit}' if row.unit else ''}" if row.quantity in wanted else None

    return column


def _calls(recording: Recording) -> Iterator[str]:
    texts = {
        "secure": "On secure sockets, microseconds from call to return:\n",
        "plain": (
            "On plain sockets, microseconds; what a boundary adds is the difference from *no boundary*.  *write and"
            " read* are two calls that no boundary looks at: what they cost more under seccomp is the kernel's own"
            " price, for every system call, of having a filter at all:\n"
        ),
    }
    for kind, text in texts.items():
        yield text

        def column(row: Row, kind: str = kind) -> str | None:
            language, _, on = row.case.partition(", ")
            return f"{language}, {BOUNDARIES[row.subject]}" if on == kind else None

        in_order = sorted(recording.rows, key=lambda row: row.case)
        yield pivot(in_order, "call", lambda row: row.quantity, column)


def _connections(recording: Recording) -> Iterator[str]:
    wanted = (
        "open at once",
        "time to open all",
        "CPU to open all",
        "memory before",
        "memory per idle connection",
        "descriptors per connection",
    )
    yield (
        "All stay open together, and afterwards one byte goes through each.  Memory (proportional set size) and"
        " descriptors are those of whatever does the TLS: daemon and supervisor, the proxy, or the application"
        " itself.\n"
    )
    yield pivot(recording.rows, "role: subject", _who, _quantity(*wanted))


def _handshakes(recording: Recording) -> Iterator[str]:
    def column(row: Row) -> str | None:
        wanted = ("handshakes per second", "CPU per handshake", "resumed")
        return f"{row.case}: {row.quantity}, {row.unit}" if row.quantity in wanted else None

    yield (
        "Connect, TLS 1.3 handshake with chain and name checked, one byte, close.  *resumed*, % says how many of the"
        " handshakes really were.\n"
    )
    yield pivot(recording.rows, "role: subject", _who, column)
    yield "Where the CPU time of a full handshake goes, milliseconds:\n"
    full = [row for row in recording.rows if row.case == "full"]
    yield pivot(full, "role: subject", _who, _party("CPU per handshake"))


def _policies(recording: Recording) -> Iterator[str]:
    yield (
        "A client at the seccomp boundary, a full handshake as above; each policy has a daemon of its own, and all of"
        " them take turns in each round.  *of the default* is the median over the rounds of the ratio to the packaged"
        " default in the same round.  A key that is read by the process of its own is read when an application first"
        " names it, not for each handshake.\n"
    )
    whole = [row for row in recording.rows if row.quantity == "CPU per handshake"]
    default = next((row for row in whole), None)
    parties = [row for row in recording.rows if _party("CPU per handshake")(row)]
    ratios = [
        row.model_copy(
            update={
                "quantity": "of the default",
                "unit": "",
                "rounds": tuple(mine / theirs for mine, theirs in zip(row.rounds, default.rounds, strict=True)),
            }
        )
        for row in whole
        if default is not None
    ]
    yield pivot(
        [*whole, *ratios, *parties],
        "policy: CPU per handshake, ms",
        lambda row: row.case,
        lambda row: _party("CPU per handshake")(row) or ("all" if row.unit else row.quantity),
    )


def _relay(recording: Recording) -> Iterator[str]:
    for quantity, unit in (
        ("CPU per GB", "CPU seconds per gigabyte"),
        ("throughput", "Throughput, megabytes a second"),
    ):
        yield f"{unit}; *down* is from the listening side to the connecting one:\n"
        rows = [row for row in recording.rows if row.quantity == quantity]
        yield pivot(rows, "role: subject", _who, lambda row: row.case)
    yield "Where the CPU seconds per gigabyte go, one connection, down:\n"
    down = [row for row in recording.rows if row.case == "down, 1 connection"]
    yield pivot(down, "role: subject", _who, _party("CPU per GB"))


def _party(quantity: str) -> Key:
    def column(row: Row) -> str | None:
        what, _, party = row.quantity.partition(", ")
        return party if what == quantity and party else None

    return column


TITLES = {
    "calls": "Calls",
    "connections": "Connections",
    "handshakes": "Handshakes",
    "policies": "Policies and strategies",
    "relay": "Relay",
}
SECTIONS: dict[str, Callable[[Recording], Iterator[str]]] = {
    "calls": _calls,
    "connections": _connections,
    "handshakes": _handshakes,
    "policies": _policies,
    "relay": _relay,
}


def _circumstances(recording: Recording) -> str:
    """The command, the machine and the load, and what could not be measured."""
    machine, versions = recording.environment["machine"], recording.environment["versions"]
    sizes = ", ".join(f"{size} {what}" for what, size in recording.sizes.items())
    revision = str(versions["git"]["revision"])[:12]
    changed = " with changes" if versions["git"]["dirty"] else ""
    others = [str(versions[name]) for name in ("stunnel", "haproxy") if versions[name]]
    lines = [
        f"`{recording.command}`: {sizes}; {recording.started_at}, {recording.duration_s:.0f} s; load"
        f" {recording.load_before[0]:.2f} before and {recording.load_after[0]:.2f} after;"
        f" {machine['cpu']['usable']} cores of {machine['cpu']['model']}, Linux {machine['kernel']['release']};"
        f" revision {revision}{changed}; {versions['python']}; daemon's {versions['openssl']['pyopenssl']}, programs'"
        f" {versions['openssl']['stdlib']}{''.join(f'; {other}' for other in others)}.\n"
    ]
    if recording.quick:
        lines.insert(0, "**Quick: this shows that the benchmark works; the numbers mean nothing.**\n")
    for missing in recording.missing:
        who = NAMES[missing.subject] if missing.role is None else f"{missing.role}: {NAMES[missing.subject]}"
        lines.append(f"Not measured: {who}: {missing.reason}.\n")
    return "\n".join(lines)
