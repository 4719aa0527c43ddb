"""The clients of C: built on demand, started as n programs, their reports read.

The sources are in ``c/``: one life (``client.c``), two ways to TLS.  A program is built with the system's compiler, and
the one of OpenSSL with the system's headers, into the user's cache; it is built anew when a source or the compiler
changes.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from harness.clients.client import Report, Stations
from harness.clients.ssa_client import leaf_der
from harness.clients.target import Target
from harness.errors import CannotError
from harness.records import Stack

SOURCES = Path(__file__).with_name("c")
FLAGS = ("-std=c11", "-O2", "-Wall", "-Wextra")
_COMPILERS = ("cc", "gcc", "clang")
_PARTS = {
    Stack.OPENSSL_C: (("client.c", "openssl.c"), ("-lssl", "-lcrypto"), "gcc libc6-dev libssl-dev"),
    Stack.SSA_C: (("client.c", "ssa.c"), (), "gcc libc6-dev"),
}


def built(stack: Stack) -> Path:
    """The program of that stack's client.  CannotError says what would make it possible."""
    names, libraries, packages = _PARTS[stack]
    sources = [SOURCES / name for name in names]
    command = _compiler(stack, packages)
    directory = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "secure-socket-api"
    program = directory / f"{stack.value}-{_digest([*sources, SOURCES / 'client.h'], command)}"
    if program.is_file():
        return program
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=directory) as place:
            made = Path(place) / program.name
            argv = [*command, *FLAGS, "-o", str(made), *map(str, sources), *libraries]
            done = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)
            if done.returncode:
                first = next((line for line in done.stderr.splitlines() if "error" in line), "it did not say why")
                raise CannotError(
                    f"The client of the stack {stack} cannot be built: {first.strip()}; {_install(packages)}."
                )
            made.replace(program)
    except OSError as error:
        raise CannotError(
            f"The client of the stack {stack} cannot be built in {directory}: {error.strerror}; name another place"
            " with XDG_CACHE_HOME."
        ) from error
    return program


def _install(packages: str) -> str:
    return f"the system's packages `{packages}` (apt install {packages}) hold what is needed"


def _compiler(stack: Stack, packages: str) -> list[str]:
    named = os.environ.get("CC")
    for candidate in [shlex.split(named)] if named else [[name] for name in _COMPILERS]:
        if candidate and shutil.which(candidate[0]) is not None:
            return candidate
    missing = f"there is no {named}, which CC names" if named else "there is no C compiler"
    raise CannotError(f"The client of the stack {stack} cannot be built: {missing}; {_install(packages)}.")


def _digest(files: list[Path], command: list[str]) -> str:
    """Of everything that makes the program, the compiler's own words about itself included."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.read_bytes())
    try:
        said = subprocess.run([*command, "--version"], capture_output=True, timeout=60, check=False).stdout
    except OSError as error:
        raise CannotError(f"The C compiler {command[0]} does not run: {error.strerror}.") from error
    digest.update(json.dumps([command, FLAGS]).encode() + said)
    return digest.hexdigest()[:16]


class Native:
    """A crew's processes as programs of C (see ``c/client.c`` for the arguments and the report)."""

    def __init__(self, program: Path) -> None:
        self._program = program
        said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=60, check=True).stdout
        self.compiler, self.openssl = (line or None for line in said.splitlines())

    def live(self, process: int, at: Stations, target: Target, report_fd: int) -> None:
        """In a child: become the program.  OSError when it cannot be."""
        stations = (at.board.descriptor, at.ready.child_end, at.release.child_end)
        descriptors = (*stations, at.done.child_end, at.afterwards.child_end, report_fd)
        for descriptor in descriptors:
            os.set_inheritable(descriptor, True)
        told = (target.address, target.port, target.server_name, target.path, target.ca_file, target.size_bytes)
        arguments = (process, *descriptors, *told, target.read_size_bytes, target.held_back_ns)
        os.execv(self._program, [str(self._program), *map(str, arguments)])

    def read(self, text: bytes) -> Report:
        """A report, with what the program leaves to others: the digests."""
        line, _, body = text.partition(b"\n")
        report: dict[str, Any] = json.loads(line)
        if report["ok"]:
            report["body_sha256"] = hashlib.sha256(body).hexdigest()
        if chain := report.pop("peer_chain", None):
            report["peer_certificate_sha256"] = hashlib.sha256(leaf_der(chain)).hexdigest()
        return report
