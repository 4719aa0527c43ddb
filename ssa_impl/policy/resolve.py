"""Policy and request to settings.  An application may tighten, never weaken (SSA_SPEC section 3)."""

from __future__ import annotations

from ..errors import PolicyError
from .model import Policy, Request, Settings


def resolve(policy: Policy, request: Request) -> Settings:
    """Return the settings of one connection; raise PolicyError (EPROTO) for a request weaker than the policy."""
    if policy.hostname_required and request.hostname is None:
        raise PolicyError("TLS_REMOTE_HOSTNAME is not set: the policy asks for the name of the peer")
    low = policy.version_min if request.version_min is None else request.version_min
    high = policy.version_max if request.version_max is None else request.version_max
    check_version(policy, low)
    check_version(policy, high)
    if low > high:
        raise PolicyError("TLS_VERSION_MIN is above TLS_VERSION_MAX: no version is left")
    if request.anchors_pem is not None and not policy.honour_application_anchors:
        raise PolicyError("the policy does not let applications choose their trust anchors")
    return Settings(
        hostname=request.hostname,
        anchors_pem=request.anchors_pem,
        alpn=request.alpn,
        version_min=low,
        version_max=high,
        verify_depth=policy.verify_depth,
        truncation_allowed=policy.truncation_allowed,
        handshake_timeout_s=policy.handshake_timeout_s,
    )


def check_version(policy: Policy, version: int) -> None:
    """Raise PolicyError when ``version`` is outside what the policy allows."""
    if not policy.version_min <= version <= policy.version_max:
        allowed = f"{policy.version_min:#06x} to {policy.version_max:#06x}"
        raise PolicyError(f"version {version:#06x} is outside the policy's range {allowed}")
