"""How a policy travels from the parent to its workers: as a sealed file without a name.

Workers can read no file of the administrator's, so everything that a policy names has been read by then.  The file is a
pickle, since a policy is nothing but frozen dataclasses of ours.  It goes one way, from the parent, which could start a
worker with any code it likes; all the same, nothing but the classes of a policy is made from it.
"""

from __future__ import annotations

import fcntl
import io
import os
import pickle
from typing import Any

from ..policy.policy import Policy

_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK
_OURS = ("ssa_impl.policy.", "ssa_impl.validation.", "ssa_impl.abi")
_PLAIN = {
    ("builtins", "frozenset"),
    ("builtins", "set"),
    ("pathlib", "Path"),
    ("pathlib", "PosixPath"),
    ("pathlib", "PurePosixPath"),
}


class NotAPolicy(Exception):
    """A file holds something else."""


def pack(policy: Policy) -> int:
    """Return the descriptor of a file that holds ``policy`` and cannot be changed."""
    descriptor = os.memfd_create("ssa-policy", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with open(descriptor, "wb", closefd=False) as file:
        pickle.dump(policy, file, pickle.HIGHEST_PROTOCOL)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
    return descriptor


def unpack(descriptor: int) -> Policy:
    """Return the policy of a file, and close it.  Raises NotAPolicy."""
    try:  # one file for all workers: none may move its offset
        content = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    finally:
        os.close(descriptor)
    found = _Unpickler(io.BytesIO(content)).load()
    if not isinstance(found, Policy):
        raise NotAPolicy(type(found).__name__)
    return found


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module.startswith(_OURS) or (module, name) in _PLAIN:
            found = super().find_class(module, name)
            if isinstance(found, type):
                return found
        raise NotAPolicy(f"{module}.{name}")
