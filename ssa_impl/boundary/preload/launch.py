"""Become a program with the library in front of its libc.

What the dynamic loader would not honour is refused before the program runs without secure sockets: no dynamic loader,
another C library's, or added privilege (ld.so(8), secure-execution mode).
"""

from __future__ import annotations

import os
import signal
import stat
import struct
from pathlib import Path
from typing import NoReturn

from . import LIBRARY

_ELF = b"\x7fELF"
_PT_INTERP = 3
_MOST_INTERPRETERS = 4  # of a script that is a script's interpreter: the kernel's own limit (execve(2))
_HEAD_BYTES = 4096
_CANNOT = "cannot run under the preload boundary"


class PreloadUnavailable(Exception):
    """The library is missing, or the program would not load it; the text says which, and what to do."""


def run(command: list[str], daemon: Path) -> NoReturn:
    """Replace this process by ``command`` with secure sockets.

    Raises PreloadUnavailable, and OSError as execve(2) gives it.
    """
    library = require_library()
    if (program := _find(command[0])) is not None:
        check(program)
    environment = dict(os.environ)
    loaded = environment.get("LD_PRELOAD")
    environment["LD_PRELOAD"] = f"{library}:{loaded}" if loaded else str(library)
    environment["SSAD_SOCKET"] = str(daemon.absolute())
    for restored in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and programs would inherit that
        signal.signal(restored, signal.SIG_DFL)
    os.execvpe(command[0], command, environment)


def _find(name: str) -> Path | None:
    """Return what execvp(3) would run; shutil's own search would cost more than the rest of this module."""
    places = [""] if "/" in name else os.get_exec_path()
    return next((path for place in places if os.access(path := Path(place, name), os.X_OK)), None)


def require_library() -> Path:
    """Return the library's path.  Raises PreloadUnavailable."""
    if not LIBRARY.exists():
        raise PreloadUnavailable(
            "the library of the preload boundary was not built: install a C compiler and run"
            " `python -m ssa_impl.boundary.preload.build`"
        )
    if any(character in str(LIBRARY) for character in " :"):
        raise PreloadUnavailable(f"LD_PRELOAD cannot name a path with a blank or a colon: {LIBRARY}")
    return LIBRARY


def check(program: Path) -> None:
    """Raise PreloadUnavailable when the dynamic loader would run ``program`` without the library."""
    for _ in range(_MOST_INTERPRETERS):
        try:
            with program.open("rb") as file:
                head = file.read(_HEAD_BYTES)
                loader = _loader(file.fileno(), head)
        except OSError:
            return  # execve says it better
        if head.startswith(b"#!"):
            words = head[2:].split(b"\n")[0].split()
            if not words:
                return
            program = Path(os.fsdecode(words[0]))
            continue
        if not head.startswith(_ELF):
            return
        _refuse_privilege(program)
        if loader is None:
            raise PreloadUnavailable(f"{program} {_CANNOT}: it is statically linked; use --boundary seccomp")
        ours = own_loader()
        if ours is not None and Path(loader).name != Path(ours).name:
            raise PreloadUnavailable(
                f"{program} {_CANNOT}: it is loaded by {loader}, the library by {ours}; use --boundary seccomp"
            )
        return


def own_loader() -> str | None:
    """Return the dynamic loader of this Python, whose C library is the one that the library was built for."""
    with open("/proc/self/exe", "rb") as file:  # noqa: PTH123
        return _loader(file.fileno(), file.read(_HEAD_BYTES))


def _loader(file: int, head: bytes) -> str | None:
    """Return what PT_INTERP of an ELF file says, None without one (elf(5))."""
    if not head.startswith(_ELF) or len(head) < 64:
        return None
    order = "<" if head[5] == 1 else ">"
    wide = head[4] == 2
    start = struct.unpack_from(f"{order}Q" if wide else f"{order}I", head, 32 if wide else 28)[0]
    size, count = struct.unpack_from(f"{order}HH", head, 54 if wide else 42)
    form, offset_at, length_at = ("Q", 8, 32) if wide else ("I", 4, 16)
    for index in range(count):
        row = os.pread(file, size, start + index * size)
        if len(row) < size or size <= length_at:
            return None
        if struct.unpack_from(f"{order}I", row)[0] == _PT_INTERP:
            offset = struct.unpack_from(f"{order}{form}", row, offset_at)[0]
            length = struct.unpack_from(f"{order}{form}", row, length_at)[0]
            return os.fsdecode(os.pread(file, min(length, _HEAD_BYTES), offset).rstrip(b"\0"))
    return None


def _refuse_privilege(program: Path) -> None:
    status = program.stat()
    added = [
        name
        for name, bit, owner, own in (
            ("set-user-ID", stat.S_ISUID, status.st_uid, os.geteuid()),
            ("set-group-ID", stat.S_ISGID, status.st_gid, os.getegid()),
        )
        if status.st_mode & bit and owner != own
    ]
    if os.geteuid() != 0 and "security.capability" in os.listxattr(program):
        added.append("privileged by file capabilities")
    if added:
        raise PreloadUnavailable(
            f"{program} {_CANNOT}: it is {added[0]}, and the dynamic loader then loads no library from outside"
        )
