import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webservers import MB, Content
from webservers.content import name_of, stream

ONE_MB_SHA256 = "7864d41bd900124994cc0b6da3f1321d852a313f184f2e5e6c7a92314131bb26"


def test_one_megabyte_is_a_million_bytes_and_never_changes(tmp_path: Path) -> None:
    content = Content.write(tmp_path, MB)
    assert content.name == "1MB.bin"
    assert content.path.stat().st_size == 1_000_000
    assert content.sha256 == ONE_MB_SHA256
    assert hashlib.sha256(content.path.read_bytes()).hexdigest() == ONE_MB_SHA256


@given(st.integers(0, 3 << 20), st.integers(0, 3 << 20), st.integers(0, 3))
def test_a_shorter_body_is_the_beginning_of_a_longer_one(one: int, other: int, seed: int) -> None:
    short, long = sorted((one, other))
    body = b"".join(stream(long, seed))
    assert len(body) == long
    assert b"".join(stream(short, seed)) == body[:short]


def test_another_seed_is_another_body() -> None:
    assert b"".join(stream(100, 0)) != b"".join(stream(100, 1))


@pytest.mark.parametrize(
    ("size_bytes", "name"),
    [
        (0, "0B.bin"),
        (999_999, "999999B.bin"),
        (1_000_000, "1MB.bin"),
        (1_000_001, "1000001B.bin"),
        (10**9, "1000MB.bin"),
    ],
)
def test_the_name_says_the_size(size_bytes: int, name: str) -> None:
    assert name_of(size_bytes) == name


def test_a_negative_size() -> None:
    with pytest.raises(ValueError, match="cannot have -1 bytes"):
        name_of(-1)


def test_a_right_file_is_kept_and_a_wrong_one_replaced(tmp_path: Path) -> None:
    content = Content.write(tmp_path, 5000)
    inode = content.path.stat().st_ino
    assert Content.write(tmp_path, 5000) == content
    assert content.path.stat().st_ino == inode
    content.path.write_bytes(b"x" * 5000)
    Content.write(tmp_path, 5000)
    assert hashlib.sha256(content.path.read_bytes()).hexdigest() == content.sha256
    assert [path.name for path in tmp_path.iterdir()] == ["5000B.bin"]


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        Content.write(tmp_path, 5000)
    assert list(tmp_path.iterdir()) == []
