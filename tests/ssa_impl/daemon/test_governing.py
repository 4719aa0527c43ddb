"""Another policy comes into force in a worker: what sockets that are there already make of it."""

from __future__ import annotations

import ssl

import pytest

from ssa_impl.daemon import governing
from ssa_impl.policy.model import TLS_1_3, Profile
from ssa_impl.policy.policy import Application, Policy, Rule
from tests.ssa_impl.daemon.sessions import Booth, Peer, call, play
from tests.ssa_impl.daemon.test_accepting import meet, part, serving, talk
from tests.ssa_impl.tls.peers import client_context

NEWER = Policy({"default": Profile(version_min=TLS_1_3)})


def older() -> ssl.SSLContext:
    context = client_context("1.2")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


def test_a_listener_serves_its_next_peers_under_the_new_policy() -> None:
    async def scene(booth: Booth, _peer: Peer) -> None:
        services = booth.worker.services
        address = await serving(booth)
        there = await meet(booth, address, older())
        services.prepared = NEWER
        governing.commit(services)
        refused = await call(address, older())
        with pytest.raises(ssl.SSLError):
            await refused.shake_hands()
        refused.connection.close()
        newer = await meet(booth, address)
        for accepted, caller in (there, newer):
            await talk(accepted, caller)
            await part(accepted, caller)

    play(scene)


def test_what_was_prepared_and_given_up_changes_nothing() -> None:
    async def scene(booth: Booth, _peer: Peer) -> None:
        services = booth.worker.services
        before = services.policy
        services.prepared = NEWER
        services.prepared = None
        governing.commit(services)
        assert services.policy is before

    play(scene)


def test_profiles_are_of_applications_and_forgotten_with_the_policy() -> None:
    async def scene(booth: Booth, _peer: Peer) -> None:
        services = booth.worker.services
        program = Application(1, 1000, executable="/usr/bin/program")
        assert services.profile_for(program).name == "default"
        rules = (Rule("own", ("/usr/bin/program",)),)
        services.govern(Policy({"default": Profile(), "own": Profile("own")}, rules))
        assert services.profile_for(program).name == "own"
        assert services.profile_for(Application(2, 1000, executable="/usr/bin/other")).name == "default"

    play(scene)
