"""What a policy says about one application, as an answer; the daemon and ``ssactl explain --policy`` share it."""

from __future__ import annotations

import dataclasses
import grp
import os
import pwd
from collections.abc import Iterator

from ..abi import Opt
from ..policy.model import Profile
from ..policy.policy import Application, Policy, Rule
from .answers import Explanation, Profiles, ProfileStatus, Value
from .interface import Question, Refused
from .metrics import version_name

_NOT_KEYS = {"name", "origins", "trust_anchors_pem", "validation"}
_VERSIONS = {"version_min", "version_max"}


def application_as(question: Question, default_uid: int) -> Application:
    """Return what runs when a user starts a program: his user, group and groups.  Raises Refused."""
    try:
        if question.user.isdecimal() or not question.user:
            account = pwd.getpwuid(int(question.user or default_uid))
        else:
            account = pwd.getpwnam(question.user)
    except (KeyError, OverflowError):
        raise Refused(f"there is no user {question.user or default_uid}") from None
    groups = frozenset(os.getgrouplist(account.pw_name, account.pw_gid))
    return Application(0, account.pw_uid, account.pw_gid, groups, question.executable)


def explanation(policy: Policy, application: Application) -> Explanation:
    """Return the profile that applies, the rule that chose it, and where every value stands."""
    profile = policy.profile_for(application)
    return Explanation(
        application=_in_words(application),
        profile=profile.name,
        rule=_why(policy, application),
        values=tuple(_values(profile)),
        strategies=tuple(strategies(profile)),
    )


def profiles(policy: Policy, sockets: dict[str, int]) -> Profiles:
    """Return all profiles of a policy; ``sockets`` is how many are open under each."""
    rules: dict[str, list[str]] = {name: [] for name in policy.profiles}
    for rule in policy.rules:
        rules[rule.profile].append(conditions(rule))
    rules["default"].append("everything else")
    return Profiles(
        tuple(
            ProfileStatus(
                name=name,
                versions=f"{version_name(profile.version_min)}-{version_name(profile.version_max)}",
                trust=", ".join(profile.trust_store)
                + (", or the application's own" if profile.honour_application_anchors else ""),
                validation=_strategy_names(profile),
                applications=tuple(rules[name]),
                sockets=sockets.get(name, 0),
            )
            for name, profile in sorted(policy.profiles.items())
        )
    )


def conditions(rule: Rule) -> str:
    """Return a rule's conditions, such as ``executable /usr/bin/curl, user 1000``."""
    parts = {
        "executable": " or ".join(rule.executables),
        "user": "" if rule.uid is None else str(rule.uid),
        "group": "" if rule.gid is None else str(rule.gid),
        "unit": rule.unit,
        "cgroup": rule.cgroup,
    }
    return ", ".join(f"{name} {value}" for name, value in parts.items() if value)


def strategies(profile: Profile) -> Iterator[str]:
    """Yield how a peer is judged, one line for each strategy."""
    validation = profile.validation
    if validation is None:
        yield "OpenSSL: chain and hostname"
        return
    for part, choices in (("necessary", validation.necessary), ("votes", validation.voting)):
        for choice in choices:
            counted = f"abstain counts as {choice.abstain.value}, error as {choice.error.value}"
            timeout = f"time-out after {choice.timeout_s:g} s as {choice.timeout.value}"
            yield f"{choice.name}: {part}, {choice.strategy}; {counted}, {timeout}"
    if validation.voting:
        yield f"of the votes that count, {validation.threshold_percent} % must accept"


def _strategy_names(profile: Profile) -> str:
    validation = profile.validation
    return ", ".join(choice.name for choice in (*validation.necessary, *validation.voting)) if validation else "OpenSSL"


def _why(policy: Policy, application: Application) -> str:
    chosen = policy.rule_for(application)
    if chosen is None:
        return f"none of the {len(policy.rules)} rules applies" if policy.rules else "there are no rules"
    number = policy.rules.index(chosen) + 1
    place = f" at {chosen.origin}" if chosen.origin else ""
    return f"rule {number} of {len(policy.rules)}{place} is the first that applies: {conditions(chosen)}"


def _in_words(application: Application) -> str:
    groups = ", ".join(_group(gid) for gid in sorted({application.gid, *application.groups}))
    where = f" in {application.cgroup}" if application.cgroup else ""
    process = f"process {application.pid}, " if application.pid else ""
    return (
        f"{process}{application.executable or 'an unknown program'} of {user_name(application.uid)} ({groups}){where}"
    )


def user_name(uid: int) -> str:
    """Return a user's name, or the number where there is none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _values(profile: Profile) -> Iterator[Value]:
    for field in dataclasses.fields(profile):
        if field.name not in _NOT_KEYS:
            origin = profile.origins.get(field.name)
            value = getattr(profile, field.name)
            text = version_name(value) if field.name in _VERSIONS else _text(value)
            yield Value(field.name, text, str(origin) if origin else "built in")


def _text(value: object) -> str:
    match value:
        case None:
            return "any"
        case bool():
            return "yes" if value else "no"
        case tuple() | frozenset():
            ordered = sorted(value, key=str) if isinstance(value, frozenset) else value
            return ", ".join(item.name if isinstance(item, Opt) else str(item) for item in ordered) or "none"
        case float():
            return f"{value:g}"
    return str(value) or "none"
