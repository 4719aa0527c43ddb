"""Files that an application named: the boundary opened them with the caller's rights, the daemon only reads."""

from __future__ import annotations

import errno
import os
import stat

from ..abi import MAX_VALUE_BYTES
from ..errors import ApplicationError


def read_regular(descriptors: list[int]) -> bytes:
    """Return the content of the one regular file that came along.  Raises ApplicationError(EINVAL)."""
    if len(descriptors) != 1 or not stat.S_ISREG(os.fstat(descriptors[0]).st_mode):
        raise ApplicationError("the value names no regular file", errno.EINVAL)
    size = os.fstat(descriptors[0]).st_size
    if size > 16 * MAX_VALUE_BYTES:
        raise ApplicationError(f"the file has {size} bytes, more than the limit of {16 * MAX_VALUE_BYTES}")
    return os.pread(descriptors[0], size, 0)
