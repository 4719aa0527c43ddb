"""A real keeper, its parent's side and a worker's side: who gets which key, and what changes when."""

from __future__ import annotations

import errno
import os
import signal
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio

from ssa_impl.abi import IPPROTO_TLS, Opt
from ssa_impl.errors import ApplicationError, DaemonError, PolicyError
from ssa_impl.keys import holding
from ssa_impl.keys.custody import KeyKeeper
from ssa_impl.keys.holding import Keys, name_in, value_of
from ssa_impl.policy.model import NamedKey
from tests.ssa_impl.credentials import Credential, issued

PATIENCE_S = 90.0


@dataclass
class Place:
    """Files of keys, and the policy that names them."""

    path: Path
    keys: dict[str, NamedKey] = field(default_factory=dict)

    def write(self, name: str, credential: Credential, *profiles: str) -> NamedKey:
        """Write a key's files, and let the policy name it."""
        for part, content in (("pem", credential.chain), ("key", credential.key)):
            file = self.path / f"{name}.{part}"
            file.write_bytes(content)
            file.chmod(0o600)
        self.keys[name] = NamedKey(
            name,
            str(self.path / f"{name}.pem"),
            str(self.path / f"{name}.key"),
            frozenset(profiles or {"default"}),
            frozenset({f"/old/{name}"}),
        )
        return self.keys[name]


@dataclass
class Scene:
    """A keeper under its parent's side, and one worker."""

    place: Place
    keeper: KeyKeeper
    keys: Keys
    renewals: trio.MemoryReceiveChannel[None]

    async def reload(self) -> list[str]:
        complaints = await self.keeper.load(self.place.keys)
        if not complaints:
            await self.keeper.commit()
        return complaints


def play(tmp_path: Path, scene: Callable[[Scene], Awaitable[None]]) -> None:
    async def main() -> None:
        tell, told = trio.open_memory_channel[None](100)
        keeper = KeyKeeper()
        with trio.fail_after(PATIENCE_S):
            async with trio.open_nursery() as nursery:

                def start(call: Callable[..., Awaitable[object]], *arguments: object) -> None:
                    nursery.start_soon(call, *arguments)

                async def renewed() -> None:
                    tell.send_nowait(None)

                keys = Keys(start, renewed)

                async def relink() -> None:
                    if (end := keeper.link()) is not None:
                        keys.link(end)

                nursery.start_soon(keeper.run, relink)
                try:
                    await scene(Scene(Place(tmp_path), keeper, keys, told))
                finally:
                    keeper.close()
                nursery.cancel_scope.cancel()

    trio.run(main)


async def refused(keys: Keys, profile: str, reference: str) -> str:
    with pytest.raises(PolicyError) as caught:
        await keys.find(profile, reference)
    assert caught.value.errno == errno.EPROTO
    return caught.value.text


def test_without_keys_in_the_policy_nothing_runs_and_everything_is_refused(tmp_path: Path) -> None:
    async def scene(scene: Scene) -> None:
        assert await scene.reload() == []
        assert scene.keeper.pid == 0
        assert await refused(scene.keys, "default", "web") == "the policy has no key named web"
        with pytest.raises(ApplicationError, match="/some/key: Permission denied") as caught:
            await scene.keys.find("default", "/some/key", errno.EACCES)
        assert caught.value.errno == errno.EACCES

    play(tmp_path, scene)


def test_who_may_have_a_key_gets_it_by_name_and_by_each_path(tmp_path: Path) -> None:
    async def scene(scene: Scene) -> None:
        web = issued("web.test")
        named = scene.place.write("web", web)
        scene.place.write("other", issued("other.test"), "intranet", "lab")
        assert await scene.reload() == []
        await scene.renewals.receive()
        for reference in ("web", named.chain, named.key, "/old/web", f"{tmp_path}/../{tmp_path.name}//web.key"):
            assert await scene.keys.find("default", reference) == "web"
        assert scene.keys.held("default", "web") == web.identity
        assert await scene.keys.find("lab", "other") == "other"
        assert "profile default use the key other" in await refused(scene.keys, "default", "other")
        assert "profile default use the key other" in await refused(scene.keys, "default", "/old/other")
        assert await refused(scene.keys, "default", "missing") == "the policy has no key named missing"
        with pytest.raises(PolicyError, match="no key named other for the profile default"):
            scene.keys.held("default", "other")
        with pytest.raises(ApplicationError) as caught:
            await scene.keys.find("default", str(tmp_path / "missing"), errno.ENOENT)
        assert caught.value.errno == errno.ENOENT

    play(tmp_path, scene)


def test_nothing_is_held_before_it_is_asked_for(tmp_path: Path) -> None:
    async def scene(scene: Scene) -> None:
        scene.place.write("web", issued("web.test"))
        await scene.reload()
        await scene.renewals.receive()
        with pytest.raises(PolicyError):
            scene.keys.held("default", "web")
        options = [(IPPROTO_TLS, int(Opt.TLS_PRIVATE_KEY), value_of("web")), (6, 89, value_of("not an option of ours"))]
        await scene.keys.prepare("default", options)
        assert scene.keys.held("default", "web") == issued("web.test").identity

    play(tmp_path, scene)


def test_what_was_loaded_holds_when_it_is_committed_and_not_before(tmp_path: Path) -> None:
    async def scene(scene: Scene) -> None:
        first, second = issued("web.test"), issued("web.test", common_name="second")
        scene.place.write("web", first)
        scene.place.write("gone", issued("gone.test"))
        await scene.reload()
        await scene.renewals.receive()
        for name in ("web", "gone"):
            await scene.keys.find("default", name)
        scene.place.write("web", second)
        scene.place.keys.pop("gone")
        assert await scene.keeper.load(scene.place.keys) == []
        assert await scene.keys.find("default", "/old/web") == "web"
        assert scene.keys.held("default", "web") == first.identity
        await scene.keeper.commit()
        await scene.renewals.receive()
        assert scene.keys.held("default", "web") == second.identity
        with pytest.raises(PolicyError):
            scene.keys.held("default", "gone")

    play(tmp_path, scene)


def test_all_that_is_wrong_is_said_at_once_and_changes_nothing(tmp_path: Path) -> None:
    async def scene(scene: Scene) -> None:
        web = issued("web.test")
        scene.place.write("web", web)
        await scene.reload()
        await scene.renewals.receive()
        scene.place.write("bad", issued("bad.test"))
        (tmp_path / "bad.key").unlink()
        (tmp_path / "web.key").write_bytes(issued("other.test").key)
        complaints = await scene.reload()
        assert [complaint.split(":")[0] for complaint in complaints] == ["key web", "key bad"]
        assert await scene.keys.find("default", "/old/web") == "web"
        assert scene.keys.held("default", "web") == web.identity

    play(tmp_path, scene)


def test_another_keeper_takes_over_and_what_waits_is_asked_again(tmp_path: Path) -> None:
    async def scene(scene: Scene) -> None:
        web, other = issued("web.test"), issued("other.test")
        scene.place.write("web", web)
        scene.place.write("other", other)
        await scene.reload()
        await scene.renewals.receive()
        await scene.keys.find("default", "web")
        first = scene.keeper.pid
        os.kill(first, signal.SIGKILL)
        assert scene.keys.held("default", "web") == web.identity
        assert await scene.keys.find("default", "other") == "other"
        assert scene.keeper.pid not in {first, 0}

    play(tmp_path, scene)


def test_a_keeper_that_does_not_answer_is_no_reason_to_wait_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holding, "_PATIENCE_S", 0.05)

    async def scene(scene: Scene) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        scene.keys.link(ours)
        with theirs, pytest.raises(DaemonError, match="does not answer") as caught:
            await scene.keys.find("default", "web")
        assert caught.value.errno == errno.ENOTCONN

    play(tmp_path, scene)


def test_what_no_boundary_of_ours_says_does_not_reach_the_keeper(tmp_path: Path) -> None:
    async def scene(scene: Scene) -> None:
        scene.place.write("web", issued("web.test"))
        await scene.reload()
        await scene.renewals.receive()
        for reference in ("web\0other", "/\0", "x" * 300_000, "/" * 300_000):
            with pytest.raises(ApplicationError) as caught:
                await scene.keys.find("default", reference, errno.EACCES)
            assert caught.value.errno == errno.EINVAL
        assert await scene.keys.find("default", "web") == "web"

    play(tmp_path, scene)


def test_many_who_ask_at_once_all_get_their_answer(tmp_path: Path) -> None:
    async def scene(scene: Scene) -> None:
        named = scene.place.write("web", issued("web.test", is_rsa=True, deep=True))
        await scene.reload()
        await scene.renewals.receive()
        found: list[str] = []

        async def ask() -> None:
            found.append(await scene.keys.find("default", named.key))

        async with trio.open_nursery() as nursery:
            for _ in range(500):
                nursery.start_soon(ask)
        assert found == ["web"] * 500

    play(tmp_path, scene)


@pytest.mark.parametrize("said", [b"", b"x", b"\0" * 40, b"\0\0\0\0\0web\0\xff\xff\xff\xffchain"])
def test_a_worker_that_talks_nonsense_is_hung_up_on_and_the_others_are_served(tmp_path: Path, said: bytes) -> None:
    async def scene(scene: Scene) -> None:
        scene.place.write("web", issued("web.test"))
        await scene.reload()
        await scene.renewals.receive()
        end = scene.keeper.link()
        assert end is not None
        with end:
            end.settimeout(60)
            assert end.recv(1000)  # the generation
            end.send(said)
            assert end.recv(1000) in {b"", said[:4] + b"\1\0"}  # hung up, or no such key
        assert await scene.keys.find("default", "web") == "web"

    play(tmp_path, scene)


@pytest.mark.parametrize(
    ("option", "name"),
    [
        ((IPPROTO_TLS, 89, b"name:web\0"), "web"),
        ((IPPROTO_TLS, 88, b"name:web"), "web"),
        ((IPPROTO_TLS, 87, b"name:web\0"), None),
        ((6, 89, b"name:web\0"), None),
        ((IPPROTO_TLS, 89, b"./name:web\0"), None),
        ((IPPROTO_TLS, 89, b"-----BEGIN name:\0"), None),
    ],
)
def test_which_values_are_names(option: tuple[int, int, bytes], name: str | None) -> None:
    assert name_in(*option) == name
