"""``ssactl``: what an administrator sees of a running daemon, and may tell it.

Exit codes: 0 done, 1 the daemon refused, there are complaints, or the answer cannot be written, 2 bad usage, 3 no
daemon answers, 4 ``check`` has no complaints and could not look at everything.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from .. import __version__
from ..administration.answers import Answer, Explanation, Reloaded
from ..administration.client import NoDaemon, admin_path, ask
from ..administration.explaining import application_as, explanation
from ..administration.interface import SESSIONS_AT_MOST, Question, Refused
from ..administration.plain import to_plain
from ..administration.protocol import Command, ReloadWanted, SessionsWanted
from ..control.place import default_path
from ..daemon.checking import examine
from ..daemon.identity import Unidentified, identify
from ..policy.complaints import PolicyFileErrors
from ..policy.files import PolicyPaths
from ..policy.load import load_policy
from ..policy.policy import Policy
from .streams import standard_streams
from .tables import show

_REFUSED, _USAGE, _NO_DAEMON, _UNCHECKED = 1, 2, 3, 4
_PID_DIGITS = 10
_WIDTH = 200
"""columns where no terminal says how many it has"""

app = typer.Typer(
    name="ssactl",
    help="See and steer a running ssad.  Exit codes: 0 done, 1 refused or complaints, 2 usage, 3 no daemon, "
    "4 not everything could be checked.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Socket = Annotated[
    Path | None,
    typer.Option(
        help="The daemon's control socket.  [default: $SSAD_SOCKET, or the runtime directory]", readable=False
    ),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object, for programs to read.")]
PolicyOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--policy", help="Ask these files or directories instead of the daemon; may be repeated.", readable=False
    ),
]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ssactl {__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say the version.")
    ] = False,
) -> None:
    """Take what holds for all commands."""


@app.command()
def status(socket: Socket = None, as_json: Json = False) -> None:
    """Say how the daemon, its workers and its policy are."""
    _print(_ask(socket, Command("status")), as_json)


@app.command()
def sessions(
    socket: Socket = None,
    as_json: Json = False,
    limit: Annotated[int, typer.Option(min=1, max=SESSIONS_AT_MOST, help="How many to list, the oldest first.")] = 1000,
) -> None:
    """List the secure sockets that are open."""
    _print(_ask(socket, Command("sessions", SessionsWanted(limit))), as_json)


@app.command()
def profiles(socket: Socket = None, as_json: Json = False) -> None:
    """List the profiles of the policy in force, and whose they are."""
    _print(_ask(socket, Command("profiles")), as_json)


@app.command()
def explain(
    application: Annotated[
        str, typer.Argument(metavar="APP", help="A program's absolute path, or a process's number.")
    ],
    user: Annotated[str, typer.Option(help="Name or number of who runs the program.  [default: you]")] = "",
    policy: PolicyOption = None,
    socket: Socket = None,
    as_json: Json = False,
) -> None:
    """Say which profile applies to an application, which rule chose it, and where every value stands."""
    question = _question(application, user)
    answer = _explained(_load(policy), question) if policy else _ask(socket, Command("explain", question))
    _print(answer, as_json)


@app.command()
def check(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            envvar="SSAD_POLICY", help="Policy files or directories.  [default: the system's]", readable=False
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check policy files, keys and key logs as a reload would, without a daemon; all complaints at once."""
    checked = _load(files or [])
    findings = examine(checked)
    if findings.complaints:
        _complain(findings.complaints)
    profiles, unchecked = sorted(checked.profiles), findings.unchecked
    if as_json:
        _write(json.dumps({"ok": True, "files": checked.files, "profiles": profiles, "unchecked": unchecked}))
    else:
        where = ", ".join(checked.files) or "the packaged default"
        _write(f"{where}: no complaints; profiles {', '.join(profiles)}")
    if unchecked:
        lines = [f"not checked: {one}" for one in unchecked]
        _fail(_UNCHECKED, f"{len(lines)} not checked; ask as root for keys, as the daemon's user for key logs", lines)


@app.command()
def reload(
    socket: Socket = None,
    as_json: Json = False,
    enforce: Annotated[
        bool, typer.Option("--enforce", help="End the connections that the new policy forbids.")
    ] = False,
) -> None:
    """Let the daemon read its policy again: all of it, or nothing changes."""
    answer = _ask(socket, Command("reload", ReloadWanted(enforce)))
    _print(answer, as_json)
    if enforce and not as_json and isinstance(answer, Reloaded) and not answer.closed:
        typer.echo("no connection had to end")


@app.command()
def drain(socket: Socket = None, as_json: Json = False) -> None:
    """Let the daemon take no new sockets and end with its last connection."""
    _print(_ask(socket, Command("drain")), as_json)


@app.command()
def metrics(socket: Socket = None, as_json: Json = False) -> None:
    """Print the metrics in the OpenMetrics text format."""
    _print(_ask(socket, Command("metrics")), as_json)


def _ask(control: Path | None, command: Command) -> Answer:
    try:
        return ask(admin_path(control or default_path()), command)
    except Refused as refusal:
        _fail(_REFUSED, refusal.text, refusal.complaints)
    except NoDaemon as why:
        _fail(_NO_DAEMON, str(why))


def _question(application: str, user: str) -> Question:
    is_number = application.isdecimal() and len(application) <= _PID_DIGITS
    if is_number and int(application) and not user:
        return Question(pid=int(application))
    if not application.startswith("/"):
        _fail(_USAGE, f"{application}: not a program's absolute path, nor a process's number without --user")
    return Question(executable=application, user=user)


def _load(files: Sequence[Path]) -> Policy:
    try:
        return load_policy(PolicyPaths.at(*files) if files else PolicyPaths.system())
    except PolicyFileErrors as errors:
        _complain([str(complaint) for complaint in errors.complaints])


def _complain(complaints: Sequence[str]) -> NoReturn:
    _fail(_REFUSED, f"{len(complaints)} complaint{'' if len(complaints) == 1 else 's'}", complaints)


def _explained(policy: Policy, question: Question) -> Explanation:
    try:
        found = identify(question.pid, os.geteuid()) if question.pid else application_as(question, os.geteuid())
    except (Refused, Unidentified) as why:
        _fail(_REFUSED, str(why))
    return explanation(policy, found)


def _print(answer: Answer, as_json: bool) -> None:
    if as_json:
        _write(json.dumps(to_plain(answer), indent=2))
        return
    console = Console(width=None if sys.stdout.isatty() else _WIDTH, highlight=False)
    with console.capture() as capture:
        console.print(show(answer), soft_wrap=False)
    _write("\n".join(line.rstrip() for line in capture.get().splitlines()))


def _write(text: str) -> None:
    sys.stdout.write(text + "\n")


def _fail(code: int, text: str, complaints: Sequence[str] = ()) -> NoReturn:
    sys.stderr.write("".join(f"{line}\n" for line in (*complaints, f"ssactl: {text}")))
    raise typer.Exit(code)


def main() -> None:
    """Entry point of the console script."""
    with standard_streams("ssactl"):
        app()


if __name__ == "__main__":
    main()
