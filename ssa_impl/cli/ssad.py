"""``ssad``: the daemon.

Exit codes: 0 ended by SIGTERM or SIGINT, 2 bad usage, 3 cannot run here.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import trio
import typer

from .. import __version__
from ..control.place import default_path
from ..daemon.parent import CannotStart, Parent
from ..daemon.worker import raise_descriptor_limit


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ssad {__version__}")
        raise typer.Exit


def serve(
    socket: Annotated[
        Path | None,
        typer.Option(help="Where boundaries reach the daemon.  [default: $SSAD_SOCKET, or the runtime dir]"),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, max=256, help="Worker processes.")] = len(os.sched_getaffinity(0)),
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say the version.")
    ] = False,
) -> None:
    """Run the daemon that does TLS for the programs under `ssa run`.

    It says one line of JSON on its standard output when it is ready, logs to its standard error, and ends in order on
    SIGTERM or SIGINT (exit code 0).  The control socket is accessible to the user who runs it only.
    """
    logging.basicConfig(level=logging.INFO, format="ssad: %(message)s")
    raise_descriptor_limit()
    try:
        trio.run(Parent(socket or default_path(), workers).run)
    except CannotStart as why:
        sys.stderr.write(f"ssad: {why}\n")
        raise typer.Exit(3) from None


def main() -> None:
    """Entry point of the console script."""
    typer.run(serve)


if __name__ == "__main__":
    main()
