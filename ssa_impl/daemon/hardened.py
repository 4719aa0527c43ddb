"""What a worker needs under a policy, for its hardening: the paths that the validations of all profiles name."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ..hardening.process import HardeningOptions, is_traceable
from ..policy.policy import Policy
from ..validation.files import paths


def options_of(policy: Policy, runtime: Path) -> HardeningOptions:
    """Return what a worker is to keep."""
    read, written = files_of(policy)
    return HardeningOptions(
        runtime=runtime,
        read_paths=_paths(read),
        write_paths=_paths(written),
        require_landlock=policy.daemon.require_landlock,
        traceable=is_traceable(),
    )


def files_of(policy: Policy) -> tuple[frozenset[str], frozenset[str]]:
    """Return what workers read and the directories that they write to; a worker cannot be given more later on."""
    named = [paths(profile.validation) for profile in policy.profiles.values() if profile.validation is not None]
    read = frozenset(path for reading, _ in named for path in reading)
    return read, frozenset(path for _, writing in named for path in writing)


def _paths(texts: Iterable[str]) -> tuple[Path, ...]:
    return tuple(Path(text) for text in sorted(texts))
