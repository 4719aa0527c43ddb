"""Profile and request to settings.  An application may tighten, never weaken (SSA_SPEC section 3).

Each refusal names the profile, the key, and where it stands.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from ..abi import Opt
from ..errors import ApplicationError, PolicyError
from ..validation.model import REVOCATION, REVOCATION_SOURCES, revocation_table, tighten
from .ciphers import is_tls_1_3, known_ciphers
from .model import TLS_1_2, TLS_1_3, Profile, Request, Role, Settings


def resolve(profile: Profile, request: Request, role: Role = Role.INITIATOR, *, established: bool = False) -> Settings:
    """Return the settings of one connection; raise PolicyError (EPROTO) for a request weaker than the policy.

    ``established``: the connection exists, so that the certificates that it presented do not matter any more.
    """
    accepting = role is Role.ACCEPTOR
    if accepting and not request.identities and not established:
        raise PolicyError("a server needs TLS_CERTIFICATE_CHAIN and TLS_PRIVATE_KEY")
    if not accepting and profile.hostname_required and request.hostname is None:
        rule = profile.rule("hostname_required")
        raise PolicyError(f"TLS_REMOTE_HOSTNAME is not set: the policy asks for the name of the peer {rule}")
    if request.anchors_pem is not None and not profile.honour_application_anchors:
        rule = profile.rule("application_anchors")
        raise PolicyError(f"the policy does not let applications choose their trust anchors {rule}")
    check_protocols(profile, request.alpn)
    narrowed = _narrowed(*_versions(profile, request), profile.ciphers, request.disabled_ciphers)
    if narrowed is None:
        raise PolicyError(f"no cipher is left for the versions that are allowed {profile.rule('ciphers')}")
    low, high, ciphers = narrowed
    authenticate = not accepting or request.request_peer_auth or profile.client_certificate_required
    validation = tighten(profile.validation, request.revocation, profile.revocation_sources) if authenticate else None
    own_anchors = request.anchors_pem is not None
    return Settings(
        role=role,
        hostname=None if accepting else request.hostname,
        server_names=request.server_names if accepting else (),
        anchors_pem=request.anchors_pem if own_anchors else profile.trust_anchors_pem or None,
        identities=request.identities,
        authenticate_peer=authenticate,
        alpn=request.alpn,
        version_min=low,
        version_max=high,
        ciphers=ciphers,
        session_ttl_s=_session_ttl_s(profile, request) if validation is None else 0,  # it sees full handshakes alone
        verify_depth=profile.verify_depth,
        truncation_allowed=profile.truncation_allowed,
        handshake_timeout_s=profile.accept_timeout_s if accepting else profile.handshake_timeout_s,
        profile=profile.name,
        groups=profile.groups,
        signature_algorithms=profile.signature_algorithms,
        security_level=profile.security_level,
        send_server_name=profile.send_server_name,
        trust_system=profile.trust_system and not own_anchors,
        key_log=profile.key_log,
        validation=validation,
        staple=revocation_table(profile.validation) if accepting and (profile.staple or request.staple) else None,
    )


def _versions(profile: Profile, request: Request) -> tuple[int, int]:
    low = profile.version_min if request.version_min is None else request.version_min
    high = profile.version_max if request.version_max is None else request.version_max
    check_version(profile, low)
    check_version(profile, high)
    if low > high:
        rule = profile.rule("version_min" if request.version_min is None else "version_max")
        raise PolicyError(f"TLS_VERSION_MIN is above TLS_VERSION_MAX: no version is left {rule}")
    return low, high


@lru_cache(maxsize=256)
def _narrowed(
    low: int, high: int, allowed: tuple[str, ...], disabled: frozenset[str]
) -> tuple[int, int, tuple[str, ...]] | None:
    """Return the ciphers that are left, and the versions for which one is; None when there is none."""
    ciphers = tuple(name for name in allowed if name not in disabled)
    if not any(is_tls_1_3(name) for name in ciphers):
        high = min(high, TLS_1_2)
    if all(is_tls_1_3(name) for name in ciphers):
        low = max(low, TLS_1_3)
    return None if low > high or not ciphers else (low, high, ciphers)


def _session_ttl_s(profile: Profile, request: Request) -> int:
    if not request.session_reuse or not profile.session_reuse_allowed:
        return 0
    return profile.session_ttl_s if request.session_ttl_s is None else min(request.session_ttl_s, profile.session_ttl_s)


def check_version(profile: Profile, version: int) -> None:
    """Raise PolicyError when ``version`` is outside what the policy allows."""
    if not profile.version_min <= version <= profile.version_max:
        allowed = f"{profile.version_min:#06x} to {profile.version_max:#06x}"
        rule = profile.rule("version_min" if version < profile.version_min else "version_max")
        raise PolicyError(f"version {version:#06x} is outside the policy's range {allowed} {rule}")


def check_cipher(profile: Profile, name: str, *, enable: bool) -> None:
    """Raise ApplicationError(EINVAL) for a name unknown to OpenSSL, PolicyError to enable one beyond the policy."""
    if name not in known_ciphers():
        raise ApplicationError(f"OpenSSL knows no cipher {name}")
    if enable and name not in profile.ciphers:
        rule = profile.rule("suites" if is_tls_1_3(name) else "ciphers")
        raise PolicyError(f"the policy does not allow the cipher {name} {rule}")


def check_protocols(profile: Profile, names: Iterable[str]) -> None:
    """Raise PolicyError for a protocol of TLS_ALPN that the policy does not allow."""
    if profile.alpn_allowed is None:
        return
    for name in names:
        if name not in profile.alpn_allowed:
            raise PolicyError(f"the policy does not allow the protocol {name} {profile.rule('alpn')}")


def check_peer_auth(profile: Profile, value: int) -> None:
    """Raise PolicyError when an acceptor would not ask for a certificate that the policy asks for."""
    if not value and profile.client_certificate_required:
        rule = profile.rule("client_certificate_required")
        raise PolicyError(f"the policy asks for the certificates of clients {rule}")


def check_session(profile: Profile, option: Opt, value: int) -> None:
    """Raise PolicyError when sessions may not be reused, or not for so long."""
    if option is Opt.TLS_SESSION_REUSE and value and not profile.session_reuse_allowed:
        raise PolicyError(f"the policy does not let applications reuse sessions {profile.rule('session_reuse')}")
    if option is Opt.TLS_SESSION_TTL and value > profile.session_ttl_s:
        rule = profile.rule("session_ttl_s")
        raise PolicyError(f"the policy keeps sessions for {profile.session_ttl_s} s at most, not {value} {rule}")


def check_staple(profile: Profile, value: int) -> None:
    """Raise PolicyError when an acceptor would not staple what the policy has it staple."""
    if not value and profile.staple:
        raise PolicyError(f"the policy has servers staple OCSP answers {profile.rule('staple')}")


def check_revocation(profile: Profile, option: Opt, value: int) -> None:
    """Raise PolicyError for a check that cannot be made, which must not seem to be, and to do without one that is."""
    if value and option is Opt.TLS_REVOCATION_CHECKS and profile.revocation_sources & REVOCATION_SOURCES.keys():
        return
    if value and option not in profile.revocation_sources and not is_checked(profile, option):
        rule = profile.rule("revocation_sources")
        raise PolicyError(f"{option.name} cannot be switched on: the policy has no such check {rule}")
    if not value and is_checked(profile, option):
        raise PolicyError(f"{option.name} cannot be switched off: the policy makes it {profile.rule('validation')}")


def is_checked(profile: Profile, option: Opt) -> bool:
    """Whether the policy makes a check of revocation, whatever the application says."""
    if profile.validation is None:
        return False
    options = REVOCATION_SOURCES if option is Opt.TLS_REVOCATION_CHECKS else {option} & REVOCATION_SOURCES.keys()
    asked = [dict(one.parameters).get("sources") for one in profile.validation.choices() if one.strategy == REVOCATION]
    return any(REVOCATION_SOURCES[one] in sources for one in options for sources in asked if isinstance(sources, tuple))
