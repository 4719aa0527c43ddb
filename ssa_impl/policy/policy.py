"""The administrator's policy as a whole: which profile applies to which application."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from .model import DaemonLimits, NamedKey, Origin, Profile

_MANAGER = re.compile(r"user@\d+\.service")
"""beneath it a user starts units of any name (user@.service(5))"""
_DELETED = " (deleted)"  # what the kernel adds to a program that was replaced while it runs (proc_pid_exe(5))


@dataclass(frozen=True)
class Application:
    """Who owns a socket, as the kernel says (never as the application says)."""

    pid: int
    uid: int
    gid: int = 0
    groups: frozenset[int] = frozenset()
    """supplementary groups"""
    executable: str = ""
    """absolute path of what runs, "" when it cannot be read"""
    cgroup: str = ""
    """path in the unified hierarchy, such as /system.slice/nginx.service"""
    lowest_port: int = 1024
    """the kernel would not let it bind to a port below (ip(7))"""


@dataclass(frozen=True)
class Rule:
    """Which applications a profile is for: everything that is given must hold, and something is given."""

    profile: str
    executables: tuple[str, ...] = ()
    """globs of absolute paths; one of them must match"""
    uid: int | None = None
    gid: int | None = None
    """primary or supplementary"""
    unit: str = ""
    """glob of a systemd unit in whose cgroup the application is"""
    cgroup: str = ""
    """glob of the cgroup's path"""
    origin: Origin | None = None

    def mismatch(self, application: Application) -> str:
        """Return which condition does not hold, "" when the rule applies."""
        executable = application.executable.removesuffix(_DELETED)
        if self.executables and not any(_matches(glob, executable) for glob in self.executables):
            return "executable"
        if self.uid is not None and application.uid != self.uid:
            return "user"
        if self.gid is not None and self.gid not in {application.gid, *application.groups}:
            return "group"
        if self.unit and not any(_matches(self.unit, part) for part in self._units(application.cgroup)):
            return "unit"
        return "cgroup" if self.cgroup and not _matches(self.cgroup, application.cgroup) else ""

    def _units(self, cgroup: str) -> Iterator[str]:
        """Give the parts of a cgroup's path; those that a user has named, to a rule for one user alone."""
        for part in filter(None, cgroup.split("/")):
            yield part
            if self.uid is None and _MANAGER.fullmatch(part):
                return


@dataclass(frozen=True)
class Policy:
    """Everything that the administrator's files say, immutable; a reload makes another one."""

    profiles: Mapping[str, Profile] = field(default_factory=lambda: {"default": Profile()})
    rules: tuple[Rule, ...] = ()
    """in the order in which they are tried; without any, one profile is everybody's"""
    keys: Mapping[str, NamedKey] = field(default_factory=dict)
    daemon: DaemonLimits = field(default_factory=DaemonLimits)
    files: tuple[str, ...] = ()
    """what was read, the strongest first"""

    def profile_for(self, application: Application) -> Profile:
        """Return the profile of the first rule that applies, else the one called default."""
        rule = self.rule_for(application)
        return self.profiles["default" if rule is None else rule.profile]

    @property
    def key_log_paths(self) -> tuple[str, ...]:
        """The files to which workers append the secrets of connections."""
        return tuple(sorted({profile.key_log for profile in self.profiles.values() if profile.key_log}))

    def rule_for(self, application: Application) -> Rule | None:
        """Return the first rule that applies to this application, None when none does."""
        return next((rule for rule in self.rules if not rule.mismatch(application)), None)


def _matches(glob: str, text: str) -> bool:
    return _pattern(glob).fullmatch(text) is not None


@lru_cache(maxsize=4096)
def _pattern(glob: str) -> re.Pattern[str]:
    """``?`` and ``*`` match within one part of a path, ``**`` across parts; all else is itself."""
    meaning = {"**": ".*", "*": "[^/]*", "?": "[^/]"}
    parts = re.split(r"(\*\*|\*|\?)", glob)
    return re.compile("".join(meaning.get(part) or re.escape(part) for part in parts), re.DOTALL)
