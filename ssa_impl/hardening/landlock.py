"""Landlock (landlock(7)): the process gives up all files but those beneath the places that it names.

What is not restricted, since applications decide it: where a worker connects to and what it binds.  Descriptors that
are open or arrive by message are not concerned, nor are memfds opened through /proc/self/fd.

Side effects that count: a process under Landlock may not trace or look into any process outside (also not read
``/proc/PID/exe``), and from ABI 6 on it can neither signal those nor connect to their abstract unix sockets.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
from collections.abc import Iterable
from enum import IntFlag
from pathlib import Path

from .kernel import CannotHarden, call

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on all architectures
_CREATE_RULESET_VERSION = 1
_RULE_PATH_BENEATH = 1
_RULESET_ATTR = struct.Struct("=QQQ")  # handled_access_fs, handled_access_net, scoped
_PATH_BENEATH_ATTR = struct.Struct("=Qi")  # packed
_FS_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
"""how many of the file system's rights each ABI knows"""
_NEWEST_FS_ABI = 5
_SCOPES_SINCE_ABI = 6
_SCOPE_ABSTRACT_UNIX_SOCKET, _SCOPE_SIGNAL = 1, 2


class Access(IntFlag):
    """linux/landlock.h, LANDLOCK_ACCESS_FS_*; those that are given."""

    READ_FILE = 1 << 2
    READ_DIR = 1 << 3
    WRITE_FILE = 1 << 1
    REMOVE_FILE = 1 << 5
    MAKE_REG = 1 << 8
    MAKE_SOCK = 1 << 9
    TRUNCATE = 1 << 14


READ = Access.READ_FILE | Access.READ_DIR
SOCKETS = Access.MAKE_SOCK | Access.REMOVE_FILE | Access.READ_DIR
WRITE = READ | Access.WRITE_FILE | Access.MAKE_REG | Access.REMOVE_FILE | Access.TRUNCATE
_FOR_FILES = Access.READ_FILE | Access.WRITE_FILE | Access.TRUNCATE


def abi() -> int:
    """Return the kernel's version of Landlock, 0 where there is none."""
    try:
        return call(_CREATE_RULESET, None, 0, _CREATE_RULESET_VERSION)
    except OSError:
        return 0


def restrict(rules: Iterable[tuple[Path, Access]]) -> int:
    """Reach nothing but these places from now on; a place that does not exist is left out.  Return the ABI.

    Holds for the calling thread and those that it starts: call it before there are others.  no_new_privs must be set.
    Raises CannotHarden.
    """
    version = abi()
    if not version:
        raise CannotHarden("this kernel has no Landlock: it needs CONFIG_SECURITY_LANDLOCK, and landlock in lsm=")
    handled = (1 << _FS_RIGHTS[min(version, _NEWEST_FS_ABI)]) - 1
    scoped = _SCOPE_ABSTRACT_UNIX_SOCKET | _SCOPE_SIGNAL if version >= _SCOPES_SINCE_ABI else 0
    attributes = _RULESET_ATTR.pack(handled, 0, scoped)
    size = _RULESET_ATTR.size if scoped else 8
    try:
        ruleset = call(_CREATE_RULESET, attributes, size, 0)
        try:
            for place, access in rules:
                _allow(ruleset, place, access & handled)
            call(_RESTRICT_SELF, ruleset, 0)
        finally:
            os.close(ruleset)
    except OSError as error:
        raise CannotHarden(f"Landlock cannot be used: {error.strerror}") from None
    return version


def _allow(ruleset: int, place: Path, access: int) -> None:
    try:
        descriptor = os.open(place, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # not there, or not to be reached anyway
    try:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            access &= _FOR_FILES
        attributes = _PATH_BENEATH_ATTR.pack(access, descriptor)
        call(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, ctypes.create_string_buffer(attributes, len(attributes)), 0)
    finally:
        os.close(descriptor)
