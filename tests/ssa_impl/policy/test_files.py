"""Files that somebody else could have written, and what else is not a policy."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ssa_impl.policy.complaints import PolicyFileErrors, Wrong
from ssa_impl.policy.files import PolicyPaths, read_trusted
from ssa_impl.policy.load import load_policy
from tests.ssa_impl.outcomes import open_descriptors
from tests.ssa_impl.policy.files import complaints, write


def refusal(path: Path, limit_bytes: int = 100) -> str:
    before = open_descriptors()
    with pytest.raises(Wrong) as caught:
        read_trusted(path, limit_bytes)
    assert open_descriptors() == before
    return caught.value.text


def test_a_file_of_our_own_is_read(tmp_path: Path) -> None:
    assert read_trusted(write(tmp_path / "a", "content")) == b"content"


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o666], ids=oct)
def test_a_file_that_others_can_write(tmp_path: Path, mode: int) -> None:
    path = write(tmp_path / "a", "")
    path.chmod(mode)
    assert "can be written by others" in refusal(path)


def test_a_file_in_a_directory_that_others_can_write(tmp_path: Path) -> None:
    path = write(tmp_path / "open" / "a", "")
    path.parent.chmod(0o777)
    assert "can be written by others" in refusal(path)
    path.parent.chmod(0o1777)
    assert read_trusted(path) == b""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_somebody_else(tmp_path: Path) -> None:
    path = write(tmp_path / "a", "")
    os.chown(path, 12_345, 12_345)
    assert "belongs to user 12345" in refusal(path)


def test_a_link_is_judged_by_what_it_leads_to(tmp_path: Path) -> None:
    path = write(tmp_path / "open" / "a", "x")
    link = tmp_path / "link"
    link.symlink_to(path)
    assert read_trusted(link) == b"x"
    path.parent.chmod(0o777)
    assert "can be written by others" in refusal(link)


def test_a_pipe_does_not_hold_anybody_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "no regular file" in refusal(tmp_path / "pipe")
    assert "no regular file" in refusal(Path("/dev/zero"))
    assert "no regular file" in refusal(tmp_path)


def test_a_large_file(tmp_path: Path) -> None:
    assert len(read_trusted(write(tmp_path / "a", "x" * 100), 100)) == 100
    assert "more than 100 bytes" in refusal(write(tmp_path / "a", "x" * 101))


@pytest.mark.parametrize("name", ["missing", "nul\0"])
def test_a_file_that_is_not_there(tmp_path: Path, name: str) -> None:
    assert "cannot be read" in refusal(tmp_path / name)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a = ", "ssa.toml:1: not TOML: Invalid value"),
        ("[defaults]\nverify_depth = 3\nverify_depth = 4\n", "ssa.toml:3: not TOML: Cannot overwrite a value"),
        ("a = " + "[" * 9999, "ssa.toml: the file nests its values too deeply"),
        ("a = \0", "ssa.toml:1: not TOML"),
        ("a = " + "9" * 5000, "ssa.toml: the file has a number of thousands of digits"),
    ],
)
def test_what_is_not_toml(tmp_path: Path, text: str, complaint: str) -> None:
    (found,) = complaints(tmp_path, text)
    assert found.startswith(complaint)


def test_what_is_not_utf_8(tmp_path: Path) -> None:
    write(tmp_path / "ssa.toml", "").write_bytes(b"# \xff")
    with pytest.raises(PolicyFileErrors, match="not UTF-8"):
        load_policy(PolicyPaths(usual=tmp_path))


def test_every_bad_file_is_named(tmp_path: Path) -> None:
    found = complaints(tmp_path, "a", x="b", y="[c")
    assert [text.partition(":")[0] for text in found] == ["ssa.d/x.toml", "ssa.d/y.toml", "ssa.toml"]


def test_what_was_named_must_be_there(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(PolicyFileErrors) as caught:
        load_policy(PolicyPaths.at(tmp_path / "none.toml", empty))
    assert [complaint.text for complaint in caught.value.complaints] == [
        "the directory holds no ssa.toml and no ssa.d/*.toml",
        f"{tmp_path / 'none.toml'} cannot be read: No such file or directory",
    ]


def test_one_mistake_is_said_once(tmp_path: Path) -> None:
    (tmp_path / "circle.toml").symlink_to("circle.toml")
    with_file, with_circle = tmp_path / "a", tmp_path / "b"
    write(with_file / "ssa.d", "")
    with_circle.mkdir()
    (with_circle / "ssa.d").symlink_to("ssa.d")
    circle = "cannot be looked at: Too many levels of symbolic links"
    for named, file, text in (
        (tmp_path / "circle.toml", tmp_path / "circle.toml", circle),
        (with_file, with_file / "ssa.d", "cannot be listed: Not a directory"),
        (with_circle, with_circle / "ssa.d", circle),
    ):
        with pytest.raises(PolicyFileErrors) as caught:
            load_policy(PolicyPaths.at(named))
        assert [str(complaint) for complaint in caught.value.complaints] == [f"{file}: {text}"]


def test_what_is_usual_need_not_be_there(tmp_path: Path) -> None:
    assert load_policy(PolicyPaths(usual=tmp_path / "none")) == load_policy(PolicyPaths(usual=tmp_path))


def test_a_broken_link_is_not_a_missing_file(tmp_path: Path) -> None:
    (tmp_path / "ssa.toml").symlink_to(tmp_path / "none")
    with pytest.raises(PolicyFileErrors, match="cannot be read"):
        load_policy(PolicyPaths(usual=tmp_path))


def test_only_toml_files_are_drop_ins(tmp_path: Path) -> None:
    write(tmp_path / "ssa.d" / "a.toml.rpmsave", "nonsense")
    assert not [file for file in load_policy(PolicyPaths.at(*_with_one(tmp_path))).files if "rpmsave" in file]


def _with_one(directory: Path) -> list[Path]:
    write(directory / "ssa.d" / "b.toml", "")
    return [directory]


def test_where_the_policies_are(monkeypatch: pytest.MonkeyPatch) -> None:
    assert PolicyPaths.system().usual == Path("/etc/ssa")
    monkeypatch.setenv("XDG_CONFIG_HOME", "/x")
    assert PolicyPaths.user().usual == Path("/x/ssa")
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", "/home/a")
    assert PolicyPaths.user().usual == Path("/home/a/.config/ssa")
