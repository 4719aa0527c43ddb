"""Profile and request to settings.  An application may tighten, never weaken (SSA_SPEC section 3)."""

from __future__ import annotations

from functools import lru_cache

from ..abi import Opt
from ..errors import ApplicationError, PolicyError
from .ciphers import is_tls_1_3, known_ciphers
from .model import TLS_1_2, TLS_1_3, Profile, Request, Role, Settings


def resolve(profile: Profile, request: Request, role: Role = Role.INITIATOR) -> Settings:
    """Return the settings of one connection; raise PolicyError (EPROTO) for a request weaker than the policy."""
    accepting = role is Role.ACCEPTOR
    if accepting and not request.identities:
        raise PolicyError("a server needs TLS_CERTIFICATE_CHAIN and TLS_PRIVATE_KEY")
    if not accepting and profile.hostname_required and request.hostname is None:
        raise PolicyError("TLS_REMOTE_HOSTNAME is not set: the policy asks for the name of the peer")
    if request.anchors_pem is not None and not profile.honour_application_anchors:
        raise PolicyError("the policy does not let applications choose their trust anchors")
    low, high, ciphers = _narrowed(*_versions(profile, request), profile.ciphers, request.disabled_ciphers)
    return Settings(
        role=role,
        hostname=None if accepting else request.hostname,
        server_names=request.server_names if accepting else (),
        anchors_pem=request.anchors_pem,
        identities=request.identities,
        authenticate_peer=not accepting or request.request_peer_auth,
        alpn=request.alpn,
        version_min=low,
        version_max=high,
        ciphers=ciphers,
        session_ttl_s=_session_ttl_s(profile, request),
        verify_depth=profile.verify_depth,
        truncation_allowed=profile.truncation_allowed,
        handshake_timeout_s=profile.accept_timeout_s if accepting else profile.handshake_timeout_s,
    )


def _versions(profile: Profile, request: Request) -> tuple[int, int]:
    low = profile.version_min if request.version_min is None else request.version_min
    high = profile.version_max if request.version_max is None else request.version_max
    check_version(profile, low)
    check_version(profile, high)
    if low > high:
        raise PolicyError("TLS_VERSION_MIN is above TLS_VERSION_MAX: no version is left")
    return low, high


@lru_cache(maxsize=256)
def _narrowed(
    low: int, high: int, allowed: tuple[str, ...], disabled: frozenset[str]
) -> tuple[int, int, tuple[str, ...]]:
    """Return the ciphers that are left, and the versions for which one is; raise PolicyError when there is none."""
    ciphers = tuple(name for name in allowed if name not in disabled)
    if not any(is_tls_1_3(name) for name in ciphers):
        high = min(high, TLS_1_2)
    if all(is_tls_1_3(name) for name in ciphers):
        low = max(low, TLS_1_3)
    if low > high or not ciphers:
        raise PolicyError("no cipher is left for the versions that are allowed")
    return low, high, ciphers


def _session_ttl_s(profile: Profile, request: Request) -> int:
    if not request.session_reuse or not profile.session_reuse_allowed:
        return 0
    return profile.session_ttl_s if request.session_ttl_s is None else min(request.session_ttl_s, profile.session_ttl_s)


def check_version(profile: Profile, version: int) -> None:
    """Raise PolicyError when ``version`` is outside what the policy allows."""
    if not profile.version_min <= version <= profile.version_max:
        allowed = f"{profile.version_min:#06x} to {profile.version_max:#06x}"
        raise PolicyError(f"version {version:#06x} is outside the policy's range {allowed}")


def check_cipher(profile: Profile, name: str, *, enable: bool) -> None:
    """Raise ApplicationError(EINVAL) for a name unknown to OpenSSL, PolicyError to enable one beyond the policy."""
    if name not in known_ciphers():
        raise ApplicationError(f"OpenSSL knows no cipher {name}")
    if enable and name not in profile.ciphers:
        raise PolicyError(f"the policy does not allow the cipher {name}")


def check_session(profile: Profile, option: Opt, value: int) -> None:
    """Raise PolicyError when sessions may not be reused, or not for so long."""
    if option is Opt.TLS_SESSION_REUSE and value and not profile.session_reuse_allowed:
        raise PolicyError("the policy does not let applications reuse sessions")
    if option is Opt.TLS_SESSION_TTL and value > profile.session_ttl_s:
        raise PolicyError(f"the policy keeps sessions for {profile.session_ttl_s} s at most, not {value}")


def check_revocation(profile: Profile, option: Opt, value: int) -> None:
    """Raise PolicyError for a check that this policy cannot make: it must not seem to be made."""
    if value and option not in profile.revocation_sources:
        raise PolicyError(f"{option.name} cannot be switched on: the policy has no such check")
