"""What a policy says about one application, as an answer; the daemon and ``ssactl explain --policy`` share it."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Iterator

from ..policy.explain import conditions, explain
from ..policy.model import Profile
from ..policy.policy import Application, Policy
from .answers import Explanation, Profiles, ProfileStatus, Value
from .interface import Question, Refused
from .metrics import version_name


def application_as(question: Question, default_uid: int) -> Application:
    """Return what runs when a user starts a program: his user, group and groups.  Raises Refused."""
    try:
        if question.user.isdecimal() or not question.user:
            account = pwd.getpwuid(int(question.user or default_uid))
        else:
            account = pwd.getpwnam(question.user)
    except (KeyError, OverflowError, ValueError):  # ValueError: a number of thousands of digits
        raise Refused(f"there is no user {question.user or default_uid}") from None
    groups = frozenset(os.getgrouplist(account.pw_name, account.pw_gid))
    return Application(0, account.pw_uid, account.pw_gid, groups, question.executable)


def explanation(policy: Policy, application: Application) -> Explanation:
    """Return the profile that applies, the rule that chose it, and where every value stands."""
    found = explain(policy, application)
    return Explanation(
        application=_in_words(application),
        profile=found.profile.name,
        rule=found.why,
        values=tuple(Value(one.key, one.text, one.origin) for one in found.values),
        strategies=tuple(strategies(found.profile)),
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
