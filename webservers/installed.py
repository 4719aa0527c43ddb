"""What servers of the system's packages have in common: where they are, and which version."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
from pathlib import Path

from webservers.interface import Availability, WebServerError

_SEARCH = os.pathsep.join(("/usr/sbin", "/usr/local/sbin", "/usr/local/nginx/sbin", "/opt/nginx/sbin"))


def executable(*programs: str) -> str | None:
    """The first that is found: in PATH, or where administrators' programs are."""
    found = (shutil.which(program) or shutil.which(program, path=_SEARCH) for program in programs)
    return next((path for path in found if path is not None), None)


def missing(kind: str, what: str, package: str) -> Availability:
    """Not here; says what would make it available."""
    reason = f"{what} is not installed; the system's package `{package}` (apt install {package}) makes it available."
    return Availability(kind, usable=False, reason=reason)


@functools.cache
def said(*argv: str) -> str:
    """Everything that a program says, e.g. about its version.  WebServerError when it does not run."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise WebServerError(f"{argv[0]} does not run: {error}.") from error
    return done.stdout + done.stderr


def versioned(kind: str, path: str, argv: tuple[str, ...], pattern: str, name: str) -> Availability:
    """Usable, with the version that it says of itself; not usable when it says none."""
    try:
        number = re.search(pattern, said(*argv))
    except WebServerError as error:
        return Availability(kind, usable=False, executable=path, reason=str(error))
    if number is None:
        reason = f"{path} does not say which version of {name} it is, so it may be something else."
        return Availability(kind, usable=False, executable=path, reason=reason)
    return Availability(kind, usable=True, version=f"{name} {number[1]}", executable=path)


def simple(kind: str, path: Path, forbidden: str) -> str:
    """A path for a configuration file whose reader would make something else of these characters.  WebServerError."""
    text = str(path.resolve())
    if not text.isprintable() or any(character in text for character in forbidden):
        shown = " ".join(forbidden)
        raise WebServerError(
            f"{kind} cannot be told the path {text!r}: it must have no control character and none of {shown}"
        )
    return text


def bracketed(address: str) -> str:
    """An IP literal before a colon and a port."""
    return f"[{address}]" if ":" in address else address
