"""The administrator's policy as a whole: which profile applies to which application."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .model import Profile


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


@dataclass(frozen=True)
class Policy:
    """Everything that the administrator's files say, immutable; a reload makes another one."""

    profiles: Mapping[str, Profile] = field(default_factory=lambda: {"default": Profile()})

    def profile_for(self, application: Application) -> Profile:
        """Return the profile that applies to this application."""
        return self.profiles["default"]
