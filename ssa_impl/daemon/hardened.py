"""What a worker needs under a policy, for its hardening: the paths of the profiles' validations and key logs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from ..hardening.places import names, trust_store
from ..hardening.process import HardeningOptions, is_traceable
from ..policy.policy import Policy
from ..validation.files import paths

Reach = frozenset[tuple[str, int, int]]
"""places, and which files they were: device and inode, both 0 where there was nothing"""


def reach_of(policy: Policy) -> Reach:
    """Return what workers that start now under this policy could reach; blocking: a file system may hang."""
    read, written = files_of(policy)
    named = {*read, *written, *policy.key_log_paths, *map(str, (*names(), *trust_store()))}
    return frozenset(map(_identity, named))


def _identity(path: str) -> tuple[str, int, int]:
    try:
        found = os.stat(path)  # noqa: PTH116  # a string as it stands in the policy
    except OSError:
        return path, 0, 0
    return path, found.st_dev, found.st_ino


def options_of(policy: Policy, runtime: Path) -> HardeningOptions:
    """Return what a worker is to keep; key logs are made here, so that it needs no right to make files beside them."""
    for path in policy.key_log_paths:
        with contextlib.suppress(
            OSError
        ):  # then no connection is made under that profile, and its application hears why
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600))
    read, written = files_of(policy)
    return HardeningOptions(
        runtime=runtime,
        read_paths=_paths(read),
        write_paths=_paths(written | frozenset(policy.key_log_paths)),
        require_landlock=policy.daemon.require_landlock,
        traceable=is_traceable(),
    )


def files_of(policy: Policy) -> tuple[frozenset[str], frozenset[str]]:
    """Return what workers read and the directories that they write to; a worker cannot be given more later on: a
    reload that names more has successors take the workers' places (``fleet``).
    """
    named = [paths(profile.validation) for profile in policy.profiles.values() if profile.validation is not None]
    read = frozenset(path for reading, _ in named for path in reading)
    return read, frozenset(path for _, writing in named for path in writing)


def _paths(texts: Iterable[str]) -> tuple[Path, ...]:
    return tuple(Path(text) for text in sorted(texts))
