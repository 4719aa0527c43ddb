"""Contexts: one for each distinct setting, and bad anchors are the application's mistake."""

from __future__ import annotations

import errno

import pytest

from ssa_impl.errors import ApplicationError
from ssa_impl.policy.contexts import context_for
from ssa_impl.policy.model import Policy, Request, Settings
from ssa_impl.policy.resolve import resolve
from tests.certificates import authority
from tests.ssa_impl.outcomes import open_descriptors

BEGIN = b"-----BEGIN CERTIFICATE-----\n"


def settings(anchors_pem: bytes | None = None, version_min: int | None = None, hostname: str = "a") -> Settings:
    return resolve(Policy(), Request(hostname, anchors_pem, version_min=version_min))


def test_equal_settings_share_a_context_and_the_name_does_not_matter() -> None:
    pem = authority().anchors_pem
    assert context_for(settings(pem)) is context_for(settings(pem, hostname="b"))


def test_different_settings_do_not() -> None:
    pem = authority().anchors_pem
    made = [context_for(s) for s in (settings(pem), settings(pem + b"\n"), settings(pem, 0x0304), settings())]
    assert len({id(context) for context in made}) == 4


@pytest.mark.parametrize(
    "pem",
    [b"", b"nonsense", BEGIN, BEGIN + b"AAAA\n-----END CERTIFICATE-----\n"],
)
def test_anchors_without_a_certificate(pem: bytes) -> None:
    before = open_descriptors()
    with pytest.raises(ApplicationError, match="holds no certificate") as caught:
        context_for(settings(pem))
    assert caught.value.errno == errno.EINVAL
    assert open_descriptors() == before


def test_a_nul_after_the_anchors_is_no_harm() -> None:
    context_for(settings(authority().anchors_pem + b"\0"))
