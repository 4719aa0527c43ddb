"""The administrators' page about keys: its policy loads, and what it quotes is what is said."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ssa_impl.keys.reading import UnusableKey, read_identity
from ssa_impl.policy.files import PolicyPaths
from ssa_impl.policy.load import load_policy
from ssa_impl.policy.model import NamedKey
from tests.ssa_impl.credentials import issued

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "administrators" / "keys.md").read_text("utf-8")


def page_policy(tmp_path: Path) -> dict[str, NamedKey]:
    """Load the page's example, with its files below ``tmp_path``."""
    (example,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    file = tmp_path / "shop.toml"
    file.write_text(example.replace("/etc/ssl/shop", str(tmp_path)), "utf-8")
    return dict(load_policy(PolicyPaths.at(file)).keys)


def test_the_pages_policy_names_a_key(tmp_path: Path) -> None:
    chain, key = str(tmp_path / "chain.pem"), str(tmp_path / "key.pem")
    assert page_policy(tmp_path) == {"shop": NamedKey("shop", chain, key, frozenset({"shop"}))}


def test_the_pages_complaint_is_what_is_said(tmp_path: Path) -> None:
    for name, content in (("chain.pem", issued("shop.test").chain), ("key.pem", issued("other.test").key)):
        (tmp_path / name).write_bytes(content)
        (tmp_path / name).chmod(0o600)
    with pytest.raises(UnusableKey) as caught:
        read_identity(page_policy(tmp_path)["shop"])
    assert f"ssad: {caught.value}".replace(str(tmp_path), "/etc/ssl/shop") in PAGE
