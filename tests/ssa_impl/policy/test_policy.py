"""Which profile is whose."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from ssa_impl.policy.explain import explain, values
from ssa_impl.policy.model import Origin, Profile
from ssa_impl.policy.policy import Application, Policy, Rule
from ssa_impl.policy.schema import KEYS
from tests.ssa_impl.policy.files import load

CURL = Application(7, 1000, 100, frozenset({27}), "/usr/bin/curl", "/user.slice/user-1000.slice/run-1.scope")


@pytest.mark.parametrize(
    ("rule", "mismatch"),
    [
        (Rule("p", executables=("/usr/bin/curl",)), ""),
        (Rule("p", executables=("/bin/x", "/usr/*/curl")), ""),
        (Rule("p", executables=("/usr/*",)), "executable"),
        (Rule("p", executables=("/usr/**",)), ""),
        (Rule("p", executables=("**/curl",)), ""),
        (Rule("p", executables=("/usr/bin/cur?",)), ""),
        (Rule("p", executables=("/usr/bin/cur",)), "executable"),
        (Rule("p", executables=("/usr/bin/[c]url",)), "executable"),
        (Rule("p", executables=("/usr/bin.curl",)), "executable"),
        (Rule("p", uid=1000), ""),
        (Rule("p", uid=0), "user"),
        (Rule("p", gid=100), ""),
        (Rule("p", gid=27), ""),
        (Rule("p", gid=0), "group"),
        (Rule("p", unit="run-*.scope"), ""),
        (Rule("p", unit="user.slice"), ""),
        (Rule("p", unit="slice"), "unit"),
        (Rule("p", cgroup="/user.slice/**"), ""),
        (Rule("p", cgroup="/user.slice/*"), "cgroup"),
        (Rule("p", executables=("/usr/bin/curl",), uid=1), "user"),
        (Rule("p", executables=("/usr/bin/curl",), uid=1000, gid=100, unit="*.scope", cgroup="**"), ""),
    ],
)
def test_every_condition_must_hold(rule: Rule, mismatch: str) -> None:
    assert rule.mismatch(CURL) == mismatch


@pytest.mark.parametrize(
    ("rule", "mismatch"),
    [
        (Rule("p", unit="nginx.service"), "unit"),
        (Rule("p", unit="nginx.service", gid=100), "unit"),
        (Rule("p", unit="nginx.service", uid=1000), ""),
        (Rule("p", unit="user@1000.service"), ""),
        (Rule("p", unit="user-*.slice"), ""),
    ],
)
def test_a_unit_that_a_user_has_named_is_that_users_alone(rule: Rule, mismatch: str) -> None:
    """Anybody can start a unit called nginx.service, with systemctl --user."""
    cgroup = "/user.slice/user-1000.slice/user@1000.service/app.slice/nginx.service"
    assert rule.mismatch(replace(CURL, cgroup=cgroup)) == mismatch
    assert not Rule("p", unit="nginx.service").mismatch(replace(CURL, cgroup="/system.slice/nginx.service"))


def test_a_program_that_was_replaced_is_still_the_same() -> None:
    assert not Rule("p", executables=("/usr/bin/curl",)).mismatch(replace(CURL, executable="/usr/bin/curl (deleted)"))


def test_who_cannot_be_seen_matches_no_executable() -> None:
    assert Rule("p", executables=("/**",)).mismatch(Application(1, 0)) == "executable"


def test_the_first_rule_that_applies_decides() -> None:
    profiles = {name: Profile(name) for name in ("default", "a", "b")}
    policy = Policy(profiles, (Rule("a", uid=0), Rule("b", uid=1000), Rule("a", uid=1000)))
    assert policy.profile_for(CURL).name == "b"
    assert policy.profile_for(replace(CURL, uid=5)).name == "default"
    assert Policy().profile_for(CURL) == Profile()


def test_a_link_names_the_program_that_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    program = tmp_path / "real" / "program"
    program.touch()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    text = '[[application]]\nprofile = "modern"\nexecutable = "{}"'
    for glob in ("link/program", "link/*", "link/p*m", "l*k/program"):
        policy = load(tmp_path, text.format(tmp_path / glob))
        name = policy.profile_for(Application(1, 1, executable=str(program))).name
        assert name == ("default" if glob.startswith("l*k") else "modern")


def test_users_and_groups_by_name(tmp_path: Path) -> None:
    policy = load(tmp_path, '[[application]]\nprofile = "modern"\nuser = "root"\ngroup = "root"')
    assert policy.profile_for(Application(1, 0, 0)).name == "modern"
    assert policy.profile_for(Application(1, 0, 1)).name == "default"


# -- explaining


def test_the_rule_that_decides_and_those_before_it(tmp_path: Path) -> None:
    policy = load(
        tmp_path,
        '[[application]]\nprofile = "legacy"\nuser = 5\n[[application]]\nprofile = "modern"\nunit = "run-*"\n'
        'user = 1000\n[[application]]\nprofile = "legacy"\nuser = 1000',
    )
    explained = explain(policy, CURL)
    assert [one.mismatch for one in explained.considered] == ["user", ""]
    where = f"{tmp_path}{os.sep}ssa.toml:4"
    assert explained.why == f"the rule at {where} is the first of 3 that applies: user 1000, unit run-*"
    assert explained.profile is policy.profiles["modern"]
    assert "none of 3 rules applies" in explain(policy, replace(CURL, uid=6)).why
    assert "everybody's" in explain(Policy(), CURL).why


def test_every_value_has_its_origin(tmp_path: Path) -> None:
    policy = load(tmp_path, '[profile.web]\nextends = "modern"\nverify_depth = 3\nalpn = []')
    explained = {one.key: one for one in values(policy.profiles["web"])}
    assert set(explained) == set(KEYS)
    assert (explained["verify_depth"].text, explained["verify_depth"].origin) == ("3", f"{tmp_path}/ssa.toml:3")
    assert explained["version_min"].text == '"1.3"'
    assert explained["version_min"].origin.startswith("vendor/mozilla.toml:")
    assert explained["alpn"].text == "[]"
    assert {one.origin for one in values(Profile())} == {"built in"}


def test_what_is_shown_can_be_written_into_a_file_and_means_the_same(tmp_path: Path) -> None:
    policy = load(tmp_path, '[profile.web]\nextends = "intermediate"\nrevocation_sources = ["crl"]\nalpn = ["h2"]')
    for name, profile in policy.profiles.items():
        lines = "\n".join(f"{one.key} = {one.text}" for one in values(profile))
        assert load(tmp_path, f"[profile.{name}]\n{lines}").profiles[name] == profile


def test_a_rule_says_where_it_stands() -> None:
    profile = Profile("web", origins={"alpn": Origin("/etc/ssa/ssa.toml", 3)})
    assert profile.rule("alpn") == "(profile web, alpn at /etc/ssa/ssa.toml:3)"
    assert profile.rule("verify_depth") == "(profile web, verify_depth built in)"
