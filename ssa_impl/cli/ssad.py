"""``ssad``: the daemon.

Exit codes: 0 ended by SIGTERM or SIGINT, 1 the help cannot be written, 2 bad usage or a policy that cannot be used,
3 cannot run here, or cannot say that it does.
"""

# ruff: noqa: E402  # the imports take most of a start, and an interrupt meanwhile is the end and no traceback
from __future__ import annotations

import signal

signal.signal(signal.SIGINT, signal.SIG_DFL)

import os
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import trio
import typer

from .. import __version__
from ..administration.logs import Connections, Format, LogOptions, configure
from ..control.place import default_path
from ..daemon.parent import CannotStart, Parent, PolicyRefused
from ..daemon.waits import attend
from ..daemon.worker import raise_descriptor_limit
from ..policy.complaints import PolicyFileErrors
from ..policy.files import PolicyPaths
from ..policy.load import load_policy
from ..policy.policy import Policy
from .streams import standard_streams

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,  # typer before 0.23 shows local variables: a daemon's may be secret
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ssad {__version__}")
        raise typer.Exit


def _load(paths: PolicyPaths) -> Policy:
    try:
        return load_policy(paths)
    except PolicyFileErrors as refused:
        raise PolicyRefused([str(complaint) for complaint in refused.complaints]) from None


def _mode(text: str) -> int:
    try:
        mode = int(text, 8)
    except ValueError:
        mode = -1
    if not 0 <= mode <= 0o777:
        raise typer.BadParameter(f"{text} is no mode such as 0600 or 0666")
    return mode


@app.command()
def serve(
    *,
    socket: Annotated[
        Path | None,
        typer.Option(
            help="Where boundaries reach the daemon.  [default: $SSAD_SOCKET, or the runtime dir]", readable=False
        ),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, max=256, help="Worker processes.")] = len(os.sched_getaffinity(0)),
    policy: Annotated[
        list[Path] | None,
        typer.Option(
            envvar="SSAD_POLICY",
            help="A file or directory with the policy, instead of /etc/ssa; may be given several times.",
            readable=False,
        ),
    ] = None,
    user: Annotated[
        bool, typer.Option("--user", help="Serve one user's applications: the policy is in ~/.config/ssa.")
    ] = False,
    socket_mode: Annotated[
        str, typer.Option(help="Who may use the daemon, as the mode of its socket: 0666 lets every user in.")
    ] = "0600",
    log_format: Annotated[
        Format, typer.Option(envvar="SSAD_LOG_FORMAT", help="How a line of the log looks.")
    ] = Format.TEXT,
    log_connections: Annotated[
        Connections, typer.Option(envvar="SSAD_LOG_CONNECTIONS", help="Which connections have lines in the log.")
    ] = Connections.FAILURES,
    drain_timeout: Annotated[
        float | None,
        typer.Option(min=0, help="Seconds that open connections have after SIGTERM.  [default: the policy's]"),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say the version.")
    ] = False,
) -> None:
    """Run the daemon that does TLS for the programs under `ssa run`.

    It says one line of JSON on its standard output when it is ready, and logs to its standard error.  SIGHUP loads the
    policy again: all of it, or nothing changes.  SIGTERM and SIGINT end it in order (exit code 0), a second one now.
    """
    log = LogOptions(log_format, log_connections)
    os.environ.update(log.to_environment())
    configure(log, filled=attend)
    if user and policy:
        raise typer.BadParameter("--user and --policy both say where the policy is; give one of them")
    path = socket or default_path()
    if user and os.geteuid() != 0 and not (socket or os.environ.keys() & {"SSAD_SOCKET", "XDG_RUNTIME_DIR"}):
        sys.stderr.write("ssad: --user has no place for its socket; set XDG_RUNTIME_DIR, or choose one with --socket\n")
        raise typer.Exit(3)
    paths = PolicyPaths.at(*policy) if policy else PolicyPaths.user() if user else PolicyPaths.system()
    parent = Parent(
        path,
        workers,
        partial(_load, paths),
        mode=_mode(socket_mode),
        drain_timeout_s=drain_timeout,
    )
    raise_descriptor_limit()
    try:
        trio.run(parent.run)
    except PolicyRefused as refused:
        for complaint in refused.complaints:
            sys.stderr.write(f"ssad: {complaint}\n")
        raise typer.Exit(2) from None
    except CannotStart as why:
        sys.stderr.write(f"ssad: {why}\n")
        raise typer.Exit(3) from None


def main() -> None:
    """Entry point of the console script."""
    with standard_streams("ssad"):
        app()


if __name__ == "__main__":
    main()
