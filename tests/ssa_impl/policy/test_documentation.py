"""The administrator's page says what the code does: its reference is made of the schema, its examples are loaded."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from ssa_impl.policy.load import _CONDITIONS, _DAEMON, _KEY
from ssa_impl.policy.model import DaemonLimits, Profile
from ssa_impl.policy.policy import Application
from ssa_impl.policy.schema import FIELDS, KEYS, STRUCTURE, reference, toml
from tests.ssa_impl.policy.files import load

PAGE = (Path(__file__).parents[3] / "docs/administrators/policy.md").read_text()
EXAMPLES = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)


def test_the_reference_is_the_schemas() -> None:
    found = re.search(r"<!-- reference -->\n(.*?)<!-- end -->", PAGE, re.DOTALL)
    assert found is not None
    assert found[1] == reference()


def test_every_field_of_a_profile_can_be_set() -> None:
    settable = {FIELDS.get(key, key) for key in KEYS} - {"suites"} | {"validation"}
    assert settable == {field.name for field in fields(Profile)} - {"name", "origins", "trust_anchors_pem"}


def test_the_other_tables_are_whole() -> None:
    for key in (*STRUCTURE, *_KEY, *_CONDITIONS):
        assert f"| `{key}` |" in PAGE
    for key in _DAEMON:
        assert re.search(rf"\| `{key}` \| [^|]+ \| `{toml(getattr(DaemonLimits(), key))}` \|", PAGE)
    assert set(_DAEMON) == {field.name for field in fields(DaemonLimits)}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda text: text.strip().splitlines()[0])
def test_examples_are_policies(tmp_path: Path, example: str) -> None:
    load(tmp_path, example)


def test_the_first_example_does_what_it_says(tmp_path: Path) -> None:
    policy = load(tmp_path, EXAMPLES[0])
    nginx = Application(1, 33, executable="/usr/sbin/nginx", cgroup="/system.slice/nginx.service")
    assert policy.profile_for(nginx).name == "web"
    assert policy.profile_for(nginx).alpn_allowed == ("h2", "http/1.1")
    assert policy.profile_for(Application(1, 0, executable="/usr/bin/curl")).name == "modern"
    assert policy.profile_for(Application(1, 5, executable="/usr/bin/curl")).name == "default"
    assert not policy.profiles["default"].honour_application_anchors
