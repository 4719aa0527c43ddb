"""An application may tighten, never weaken: whatever it asks for, the settings stay inside the policy."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssa_impl.errors import PolicyError
from ssa_impl.policy.model import Policy, Request
from ssa_impl.policy.resolve import resolve
from tests.ssa_impl.outcomes import outcome

VERSIONS = st.sampled_from([0x0300, 0x0301, 0x0302, 0x0303, 0x0304, 0x0305])
MAYBE_VERSION = st.none() | VERSIONS
POLICIES = st.builds(
    Policy,
    version_min=st.sampled_from([0x0303, 0x0304]),
    version_max=st.just(0x0304),
    honour_application_anchors=st.booleans(),
    hostname_required=st.booleans(),
    truncation_allowed=st.booleans(),
    verify_depth=st.integers(0, 100),
    handshake_timeout_s=st.floats(0.1, 100),
)
REQUESTS = st.builds(
    Request,
    hostname=st.none() | st.just("example.com"),
    anchors_pem=st.none() | st.just(b"pem"),
    alpn=st.sampled_from([(), ("h2",), ("h2", "http/1.1")]),
    version_min=MAYBE_VERSION,
    version_max=MAYBE_VERSION,
)


@given(POLICIES, REQUESTS)
def test_settings_are_never_weaker_than_the_policy(policy: Policy, request: Request) -> None:
    settings, error = outcome(resolve, policy, request)
    if settings is None:
        assert isinstance(error, PolicyError)
        assert error.errno == errno.EPROTO
        return
    assert policy.version_min <= settings.version_min <= settings.version_max <= policy.version_max
    assert settings.hostname is not None or not policy.hostname_required
    assert settings.anchors_pem is None or policy.honour_application_anchors
    assert settings.truncation_allowed == policy.truncation_allowed
    assert settings.verify_depth == policy.verify_depth
    assert settings.handshake_timeout_s == policy.handshake_timeout_s


@given(POLICIES, REQUESTS)
def test_what_was_asked_for_is_given_exactly_or_refused(policy: Policy, request: Request) -> None:
    settings, _ = outcome(resolve, policy, request)
    if settings is None:
        return
    assert settings.hostname == request.hostname
    assert settings.anchors_pem == request.anchors_pem
    assert settings.alpn == request.alpn
    assert settings.version_min == (request.version_min or policy.version_min)
    assert settings.version_max == (request.version_max or policy.version_max)


@given(POLICIES)
def test_asking_for_a_name_alone_is_always_possible(policy: Policy) -> None:
    assert resolve(policy, Request(hostname="example.com")).hostname == "example.com"


@pytest.mark.parametrize(
    ("policy", "request_", "text"),
    [
        (Policy(), Request(), "TLS_REMOTE_HOSTNAME is not set"),
        (Policy(), Request("a", version_min=0x0302), "outside the policy's range"),
        (Policy(), Request("a", version_max=0x0305), "outside the policy's range"),
        (Policy(version_min=0x0304), Request("a", version_min=0x0303), "outside the policy's range"),
        (Policy(version_min=0x0304), Request("a", version_max=0x0303), "outside the policy's range"),
        (Policy(), Request("a", version_min=0x0304, version_max=0x0303), "no version is left"),
        (Policy(honour_application_anchors=False), Request("a", b"pem"), "trust anchors"),
    ],
)
def test_refusals_say_why(policy: Policy, request_: Request, text: str) -> None:
    with pytest.raises(PolicyError, match=text):
        resolve(policy, request_)
