"""A policy on its way to the workers."""

from __future__ import annotations

import os
import pickle

import pytest

from ssa_impl.abi import Opt
from ssa_impl.daemon.distribution import NotAPolicy, pack, unpack
from ssa_impl.policy.model import Profile
from ssa_impl.policy.policy import Policy, Rule


def test_it_arrives_as_it_was_however_many_read_it() -> None:
    profile = Profile("a", revocation_sources=frozenset({Opt.TLS_OCSP_CHECKS}), trust_anchors_pem=b"x")
    policy = Policy({"default": Profile(), "a": profile}, (Rule("a", ("/usr/bin/*",)),))
    file = pack(policy)
    assert [unpack(os.dup(file)) for _ in range(2)] == [policy, policy]
    os.close(file)


def test_nobody_can_change_it() -> None:
    file = pack(Policy())
    with pytest.raises(PermissionError):
        os.pwrite(file, b"x", 0)
    with pytest.raises(PermissionError):
        os.ftruncate(file, 1)
    os.close(file)


@pytest.mark.parametrize("content", [os.system, print, OSError, Profile(), [1]])
def test_nothing_else_is_made_of_a_file(content: object) -> None:
    file = os.memfd_create("test")
    os.write(file, pickle.dumps(content))
    with pytest.raises(NotAPolicy):
        unpack(file)
