"""``ssa``: run programs with the Secure Socket API.

Exit codes: the program's own; 2 bad usage, 3 this machine cannot do it, 126 and 127 the program cannot be started.
"""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from ..boundary.seccomp.launch import CannotStart
from ..boundary.seccomp.launch import run as run_under_seccomp
from ..boundary.seccomp.notify import SeccompUnavailable
from ..control.channel import default_path

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)


@app.callback()
def _about() -> None:
    """Give programs TLS as a service of the operating system: socket(AF_INET, SOCK_STREAM, IPPROTO_TLS)."""


@app.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def run(
    command: Annotated[list[str], typer.Argument(metavar="PROGRAM [ARGUMENT]...", help="What to run, after `--`.")],
    socket: Annotated[
        Path | None,
        typer.Option(help="Where ssad listens.  [default: $SSAD_SOCKET, or the runtime directory]"),
    ] = None,
) -> None:
    """Run PROGRAM, and whatever it starts, with secure sockets.

    Only the rare calls (socket, connect, options, names) are looked at; read, write and poll run at the kernel's own
    speed.  Standard streams and inherited descriptors pass through; the exit code is the program's.
    """
    daemon = socket or default_path()
    if not daemon.is_socket():
        sys.stderr.write(
            f"ssa: no daemon listens at {daemon}: socket() will fail with ENOTCONN until ssad is started\n"
        )
    try:
        code = run_under_seccomp(command, daemon)
    except SeccompUnavailable as why:
        _fail(3, f"cannot supervise system calls: {why}")
    except CannotStart as error:
        _fail(127 if error.errno == errno.ENOENT else 126, f"{command[0]}: {error.strerror}")
    sys.stdout.flush()
    os._exit(code)


def _fail(code: int, text: str) -> NoReturn:
    sys.stderr.write(f"ssa: {text}\n")
    raise typer.Exit(code)


def main() -> None:
    """Entry point of the console script."""
    app()


if __name__ == "__main__":
    main()
