"""Compile the library.  ``python -m ssa_impl.boundary.preload.build`` does it by hand, after a compiler was installed.

Needs nothing but the standard library: the package's own build calls it before anything is installed.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from . import LIBRARY

SOURCES = LIBRARY.parent
COMPILERS = ("cc", "gcc", "clang")
WARNINGS = ("-Wall", "-Wextra", "-Werror")
FLAGS = (
    "-std=c11",
    "-O2",
    "-fPIC",
    "-shared",
    "-pthread",
    "-fvisibility=hidden",
    "-U_FORTIFY_SOURCE",  # its inline functions have the names of ours
    "-Wl,-z,defs",
    "-Wl,-z,now",
    "-Wl,-z,noexecstack",
)


class CannotBuild(Exception):
    """There is no library; the text says why, in one sentence."""


def compiler() -> list[str]:
    """Return the C compiler's command: $CC, or the first that is installed.  Raises CannotBuild."""
    candidates = [shlex.split(named)] if (named := os.environ.get("CC")) else [[name] for name in COMPILERS]
    for candidate in candidates:
        if candidate and shutil.which(candidate[0]) is not None:
            return candidate
    raise CannotBuild("no C compiler was found")


def build(target: Path = LIBRARY, warnings: tuple[str, ...] = ()) -> Path:
    """Compile the library to ``target``, replacing it in one step.  Raises CannotBuild."""
    sources = [str(path) for path in sorted(SOURCES.glob("*.c"))]
    command = compiler()
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".building-") as directory:
        made = Path(directory) / target.name
        done = subprocess.run(
            [*command, *FLAGS, *warnings, "-o", str(made), *sources, "-ldl"],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            first = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[0]
            raise CannotBuild(f"the C compiler failed: {first}")
        made.replace(target)
    return target


def main() -> int:
    """Build, or say why not."""
    try:
        sys.stdout.write(f"{build()}\n")
    except CannotBuild as why:
        sys.stderr.write(f"cannot build the preload boundary's library: {why}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
