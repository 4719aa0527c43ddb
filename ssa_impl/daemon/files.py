"""Files that an application named: the boundary read them with the caller's rights, and a copy in memory comes along.

Nothing else is read: a file system may be anybody's (fuse(4)) and not answer, and all users of the worker would wait.
"""

from __future__ import annotations

import errno
import fcntl
import os

from ..abi import MAX_FILE_BYTES
from ..errors import ApplicationError


def read_copy(descriptors: list[int]) -> bytes:
    """Return the content of the one memory file that came along.  Raises ApplicationError(EINVAL)."""
    if len(descriptors) != 1 or not _is_in_memory(descriptors[0]):
        raise ApplicationError("the value names no regular file", errno.EINVAL)
    size = os.fstat(descriptors[0]).st_size
    if size > MAX_FILE_BYTES:
        raise ApplicationError(f"the file has {size} bytes, more than the limit of {MAX_FILE_BYTES}")
    return os.pread(descriptors[0], size, 0)


def _is_in_memory(descriptor: int) -> bool:
    """Whether it is a file of the kernel's memory: those alone have seals (fcntl(2)), and no file system is asked."""
    try:
        fcntl.fcntl(descriptor, fcntl.F_GET_SEALS)
    except OSError:
        return False
    return True
