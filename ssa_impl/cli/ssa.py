"""``ssa``: run programs with the Secure Socket API.

Exit codes: the program's own; 1 the report cannot be written, 2 bad usage, 3 this machine cannot do it, 126 and 127 the
program cannot be started.

This stands between the user and every program, so each command imports what it needs when it needs it.
"""

from __future__ import annotations

import argparse
import errno
import os
import sys
from pathlib import Path
from typing import IO, NoReturn

from ..control.place import default_path
from .streams import standard_streams

_ABOUT = "Give programs TLS as a service of the operating system: socket(AF_INET, SOCK_STREAM, IPPROTO_TLS)."
_RUN = """\
Run PROGRAM, and whatever it starts, with secure sockets.

Only the rare calls (socket, connect, options, names) are looked at; read, write and poll run at the kernel's own
speed.  Standard streams and inherited descriptors pass through; the exit code is the program's.
"""
_BOUNDARIES = """\
where PROGRAM's calls are met: `seccomp` at the system call, for every program; `preload` in front of libc, for
dynamically linked ones; `auto` takes seccomp where this machine allows it  [default: auto]"""
_DOCTOR = "Say what this kernel and container allow, and which boundary `ssa run` would use, and why."
_SOCKET = "where ssad listens  [default: $SSAD_SOCKET, or the runtime directory]"


class _Parser(argparse.ArgumentParser):
    def print_help(self, file: IO[str] | None = None) -> None:  # type: ignore[override]  # argparse's own hides failures
        (file or sys.stdout).write(self.format_help())


def _parser() -> argparse.ArgumentParser:
    parser = _Parser("ssa", description=_ABOUT)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    run = commands.add_parser(
        "run",
        help="run a program with secure sockets",
        description=_RUN,
        usage="ssa run [--socket PATH] [--boundary {auto,seccomp,preload}] -- PROGRAM [ARGUMENT]...",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    run.add_argument("--socket", type=Path, metavar="PATH", help=_SOCKET)
    run.add_argument("--boundary", choices=("auto", "seccomp", "preload"), default="auto", help=_BOUNDARIES)
    run.add_argument("command", nargs=argparse.REMAINDER, metavar="PROGRAM", help="what to run, after `--`")
    run.set_defaults(do=_run, parser=run)
    doctor = commands.add_parser("doctor", help="say what this machine allows", description=_DOCTOR)
    doctor.add_argument("--socket", type=Path, metavar="PATH", help=_SOCKET)
    doctor.add_argument("--json", action="store_true", help="for programs to read")
    doctor.set_defaults(do=_doctor)
    return parser


def _run(arguments: argparse.Namespace) -> NoReturn:
    command: list[str] = arguments.command
    if command[:1] == ["--"]:
        del command[0]
    if not command or not command[0]:
        arguments.parser.error("no program was named")
    daemon: Path = arguments.socket or default_path()
    if not _is_socket(daemon):
        sys.stderr.write(
            f"ssa: no daemon listens at {daemon}: socket() will fail with ENOTCONN until ssad is started\n"
        )
    boundary: str = arguments.boundary
    if boundary == "auto":
        boundary = _choose()
    if boundary == "preload":
        _run_under_preload(command, daemon)
    _run_under_seccomp(command, daemon)


def _is_socket(path: Path) -> bool:
    try:
        return path.is_socket()
    except OSError:  # who may not look may not connect either
        return False


def _choose() -> str:
    from ..boundary import probe
    from ..boundary.preload.launch import PreloadUnavailable, require_library

    if not (obstacle := probe.try_seccomp().why_not()):
        return "seccomp"
    try:
        require_library()
    except PreloadUnavailable as why:
        _fail(3, f"cannot supervise system calls: {obstacle}; and {why}")
    sys.stderr.write(f"ssa: using the preload boundary: {obstacle}\n")
    return "preload"


def _run_under_seccomp(command: list[str], daemon: Path) -> NoReturn:
    from ..boundary.seccomp.launch import CannotStart, run
    from ..boundary.seccomp.notify import SeccompUnavailable

    try:
        code = run(command, daemon)
    except SeccompUnavailable as why:
        _fail(3, f"cannot supervise system calls: {why}")
    except CannotStart as error:
        _cannot_start(command, error)
    sys.stdout.flush()
    os._exit(code)


def _run_under_preload(command: list[str], daemon: Path) -> NoReturn:
    from ..boundary.preload.launch import PreloadUnavailable, run

    try:
        run(command, daemon)
    except PreloadUnavailable as why:
        _fail(3, str(why))
    except OSError as error:
        _cannot_start(command, error)


def _doctor(arguments: argparse.Namespace) -> NoReturn:
    from .doctor import examine, report

    examination = examine(arguments.socket or default_path())
    sys.stdout.write(report(examination, as_json=arguments.json))
    sys.exit(0 if examination.boundary else 3)


def _cannot_start(command: list[str], error: OSError) -> NoReturn:
    _fail(127 if error.errno == errno.ENOENT else 126, f"{command[0]}: {error.strerror}")


def _fail(code: int, text: str) -> NoReturn:
    sys.stderr.write(f"ssa: {text}\n")
    sys.exit(code)


def main() -> None:
    """Entry point of the console script."""
    with standard_streams("ssa", inherited=False):
        arguments = _parser().parse_args(sys.argv[1:] or ["--help"])
        arguments.do(arguments)


if __name__ == "__main__":
    main()
