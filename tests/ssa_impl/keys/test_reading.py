"""Key files: what is read, and one clear sentence for whatever is wrong with them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from ssa_impl.keys.reading import MAX_FILE_BYTES, UnusableKey, read_identity
from ssa_impl.policy.model import NamedKey
from tests.ssa_impl.credentials import issued, key_as

WEB, OTHER = issued("web.test", deep=True), issued("other.test")
PEM, PKCS8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8


def named(place: Path, chain: bytes | None = WEB.chain, key: bytes | None = WEB.key) -> NamedKey:
    for name, content in (("chain", chain), ("key", key)):
        if content is not None:
            (place / name).write_bytes(content)
            (place / name).chmod(0o640)
    return NamedKey("web", str(place / "chain"), str(place / "key"), frozenset({"default"}))


def refusal(key: NamedKey) -> str:
    with pytest.raises(UnusableKey) as caught:
        read_identity(key)
    return str(caught.value)


@pytest.mark.parametrize("key", [WEB.key, WEB.key_der, key_as(WEB.key, PEM)], ids=["traditional", "DER", "PKCS 8"])
def test_a_key_in_every_form_and_its_whole_chain(tmp_path: Path, key: bytes) -> None:
    assert read_identity(named(tmp_path, key=key)) == WEB.identity


def test_a_link_is_followed(tmp_path: Path) -> None:
    """As certbot has them: the name stays and the file behind it changes."""
    key = named(tmp_path)
    (tmp_path / "live").symlink_to(tmp_path / "key")
    assert read_identity(NamedKey("web", key.chain, str(tmp_path / "live"), key.profiles)) == WEB.identity


CONTENTS = {
    "no chain": (None, WEB.key, "{place}/chain cannot be opened: No such file or directory"),
    "no key": (WEB.chain, None, "{place}/key cannot be opened: No such file or directory"),
    "an empty chain": (b"", WEB.key, "{place}/chain holds no certificate in PEM form that can be used"),
    "a key for a chain": (WEB.key, WEB.key, "{place}/chain holds no certificate in PEM form that can be used"),
    "a chain for a key": (WEB.chain, WEB.chain, "{place}/key holds no key in PEM or DER form that can be used"),
    "an encrypted key": (
        WEB.chain,
        key_as(WEB.key, PEM, PKCS8, b"secret"),
        "{place}/key is encrypted: nobody is there to give the passphrase",
    ),
    "another's key": (
        WEB.chain,
        OTHER.key,
        "{place}/key does not match the first certificate of {place}/chain; "
        "name the files that belong together, the leaf first",
    ),
    "too much": (
        WEB.chain,
        b"x" * (MAX_FILE_BYTES + 1),
        f"{{place}}/key has {MAX_FILE_BYTES + 1} bytes; the limit is {MAX_FILE_BYTES}",
    ),
}


@pytest.mark.parametrize("case", CONTENTS)
def test_what_cannot_be_used_is_said_in_one_sentence(tmp_path: Path, case: str) -> None:
    chain, key, why = CONTENTS[case]
    assert refusal(named(tmp_path, chain, key)) == "key web: " + why.format(place=tmp_path)


@pytest.mark.parametrize(
    ("name", "mode", "said"),
    [("key", 0o644, "chmod 640"), ("key", 0o602, "chmod 640"), ("chain", 0o646, "chmod 644")],
)
def test_files_that_are_open_to_everybody_are_refused(tmp_path: Path, name: str, mode: int, said: str) -> None:
    key = named(tmp_path)
    (tmp_path / name).chmod(mode)
    why = refusal(key)
    assert "open to everybody" in why
    assert why.endswith(f"{said} {tmp_path}/{name}")


def test_nobody_waits_for_what_is_no_file(tmp_path: Path) -> None:
    key = named(tmp_path, key=None)
    os.mkfifo(tmp_path / "key")
    assert refusal(key) == f"key web: {tmp_path}/key is no regular file"
