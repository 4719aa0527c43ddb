"""OpenSSL's complaints in one sentence."""

from __future__ import annotations

from dataclasses import dataclass, field

from OpenSSL import SSL, crypto

from .binding import verification_text


@dataclass
class VerifyFailure:
    """The first failure that chain verification met on one connection (kept as the connection's app data)."""

    texts: list[str] = field(default_factory=list)


def note_verification(connection: SSL.Connection, certificate: crypto.X509, code: int, depth: int, ok: int) -> bool:
    """Verify callback: agree with OpenSSL, and note what it objected to."""
    if not ok:
        failure = connection.get_app_data() or VerifyFailure()
        failure.texts.append(f"{verification_text(code)} (depth {depth})")
        connection.set_app_data(failure)
    return bool(ok)


def explain(connection: SSL.Connection, error: SSL.Error) -> str:
    """Say what went wrong: the certificate's fault if there was one, else OpenSSL's reasons."""
    failure = connection.get_app_data()
    if isinstance(failure, VerifyFailure):
        return f"certificate verify failed: {failure.texts[0]}"
    stack = error.args[0] if error.args and isinstance(error.args[0], list) else []
    reasons = [entry[2] for entry in stack if len(entry) == 3 and entry[2]]
    if any(reason in {"wrong version number", "packet length too long"} for reason in reasons):
        return f"the peer speaks no TLS ({reasons[0]})"
    return "; ".join(reasons) or "connection lost"
