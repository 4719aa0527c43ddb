"""The administrator's files to a :class:`~.policy.Policy`, or everything that is wrong with them at once.

Nothing is read later: trust stores are in the policy as bytes, so that who uses it needs no right to any file.
"""

from __future__ import annotations

import grp
import pwd
from collections.abc import Callable, Iterable
from typing import Any

from .assembly import Assembly
from .complaints import PolicyFileErrors, Wrong, nearest
from .files import PolicyPaths, read_documents
from .model import DaemonLimits, NamedKey, Origin, Profile
from .patterns import executables
from .policy import Policy, Rule
from .shapes import boolean, number, one_or_more, path, text, whole
from .tables import Complaints, Table, Tables, gather

_DAEMON: dict[str, Callable[[object], Any]] = {
    "drain_timeout_s": number(0, 86_400),
    "sockets": whole(1, 10_000_000),
    "require_landlock": boolean,
}
_KEY: dict[str, Callable[[object], Any]] = {
    "chain": path, "key": path, "profiles": one_or_more(text), "paths": one_or_more(path),
}  # fmt: skip
_KEY_NEEDS = ("chain", "key", "profiles")
_CONDITIONS = ("executable", "user", "group", "unit", "cgroup")


def load_policy(paths: PolicyPaths) -> Policy:
    """Return the policy that these files make.

    Raises PolicyFileErrors with all complaints: files that cannot be read or that others could have written, bad TOML,
    unknown keys and names, wrong types, values out of range, and what contradicts itself.
    """
    complaints = Complaints()
    documents = read_documents(paths)
    tables = gather(documents, complaints)
    profiles = Assembly(tables, complaints, paths.crypto_policies).profiles()
    policy = Policy(
        profiles=profiles,
        rules=tuple(_rules(tables, complaints)),
        keys=_keys(tables, complaints),
        daemon=_daemon(tables, complaints),
        files=tuple(document.file for document in reversed(documents)),
    )
    _check_keys_of(profiles.values(), policy, tables, complaints)
    if complaints.found:
        raise PolicyFileErrors(complaints.found)
    return policy


def _read_all(
    table: Table, readers: dict[str, Callable[[object], Any]], complaints: Complaints, where: str
) -> dict[str, Any]:
    read: dict[str, Any] = {}
    for key, value in table.items():
        if key not in readers:
            complaints.add(value.origin, value.key, f"{where} has no such key", nearest(key, readers))
        elif (made := complaints.read(value, readers[key])) is not None:
            read[key] = made
    return read


def _daemon(tables: Tables, complaints: Complaints) -> DaemonLimits:
    return DaemonLimits(**_read_all(tables.daemon, _DAEMON, complaints, "[daemon]"))


def _keys(tables: Tables, complaints: Complaints) -> dict[str, NamedKey]:
    made: dict[str, NamedKey] = {}
    for name, table in tables.keys.items():
        read = _read_all(table, _KEY, complaints, "a key")
        begun = tables.places.get(("key", name))  # what is no table has its complaint
        if begun and (missing := [key for key in _KEY_NEEDS if key not in table]):
            complaints.add(begun, f"key.{name}", f"{' and '.join(missing)} must be given")
        if not set(_KEY_NEEDS) <= set(read):
            continue
        for profile in read["profiles"]:
            if profile not in tables.profiles and profile != "default":
                value = table["profiles"]
                hint = nearest(profile, tables.profiles)
                complaints.add(value.origin, value.key, f"there is no profile {profile}", hint)
        paths = frozenset(read.get("paths", ()))
        made[name] = NamedKey(name, read["chain"], read["key"], frozenset(read["profiles"]), paths)
    return made


def _check_keys_of(profiles: Iterable[Profile], policy: Policy, tables: Tables, complaints: Complaints) -> None:
    """Each key that a profile presents must be there, and be for this profile."""
    for profile in profiles:
        origin = profile.origins.get("keys", Origin("built in", 0))
        for name in profile.keys:
            if name not in tables.keys:
                complaints.add(origin, "keys", f"there is no key {name}", nearest(name, tables.keys))
            elif name in policy.keys and profile.name not in policy.keys[name].profiles:
                hint = f"add it to profiles of [key.{name}]"
                complaints.add(origin, "keys", f"the key {name} is not for the profile {profile.name}", hint)


def _rules(tables: Tables, complaints: Complaints) -> Iterable[Rule]:
    readers: dict[str, Callable[[object], Any]] = {
        "profile": lambda value: _profile(value, tables),
        "executable": executables,
        "user": _number_of("user", lambda name: pwd.getpwnam(name).pw_uid, lambda: [u.pw_name for u in pwd.getpwall()]),
        "group": _number_of(
            "group", lambda name: grp.getgrnam(name).gr_gid, lambda: [g.gr_name for g in grp.getgrall()]
        ),
        "unit": text,
        "cgroup": path,
    }
    for origin, table in tables.rules:
        read = _read_all(table, readers, complaints, "a rule")
        if "profile" not in table:
            complaints.add(origin, "application", "the rule names no profile", 'write profile = "NAME"')
        if not any(condition in table for condition in _CONDITIONS):
            hint = "for all applications there is [profile.default]"
            complaints.add(origin, "application", f"the rule has no condition ({', '.join(_CONDITIONS)})", hint)
        yield Rule(
            profile=read.get("profile", "default"),
            executables=read.get("executable", ()),
            uid=read.get("user"),
            gid=read.get("group"),
            unit=read.get("unit", ""),
            cgroup=read.get("cgroup", ""),
            origin=origin,
        )


def _profile(value: object, tables: Tables) -> str:
    if (name := text(value)) in {*tables.profiles, "default"}:
        return name
    raise Wrong(f"there is no profile {name}", nearest(name, tables.profiles))


def _number_of(what: str, find: Callable[[str], int], everybody: Callable[[], list[str]]) -> Callable[[object], int]:
    """Return the reader of a user or group: its number, or a name that the machine knows."""

    def read(value: object) -> int:
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 32:
            return value
        name = text(value)
        try:
            return find(name)
        except KeyError:
            raise Wrong(f"there is no {what} {name}", nearest(name, everybody())) from None

    return read
