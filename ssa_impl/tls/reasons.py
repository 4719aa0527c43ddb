"""OpenSSL's complaints in one sentence."""

from __future__ import annotations

from dataclasses import dataclass, field

from OpenSSL import SSL, crypto

from .binding import verification_text

_ANOTHER_NAME = {
    SSL.X509VerificationCodes.ERR_HOSTNAME_MISMATCH,
    SSL.X509VerificationCodes.ERR_IP_ADDRESS_MISMATCH,
}


@dataclass
class VerifyFailure:
    """The failures that verification met on one connection, first one first (kept as the connection's app data)."""

    codes: list[int] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    goes_on: bool = False
    """whether the handshake goes on all the same, because the policy's other strategies decide afterwards"""

    def note(self, code: int, depth: int) -> None:
        """Note another one: an X509_V_ERR_* number, and how far from the leaf the certificate is."""
        self.codes.append(code)
        self.texts.append(f"{verification_text(code)} (depth {depth})")


def note_failure(connection: SSL.Connection, certificate: crypto.X509, code: int, depth: int, ok: int) -> bool:
    """Verify callback: note what OpenSSL objects to, and agree with it unless the decision comes later."""
    failure = connection.get_app_data() or VerifyFailure()
    failure.note(code, depth)
    connection.set_app_data(failure)
    return bool(failure.goes_on)


def let_others_decide(connection: SSL.Connection) -> None:
    """Let the handshake go on whatever OpenSSL's verdict is; it is noted."""
    connection.set_app_data(VerifyFailure(goes_on=True))


def objections(connection: SSL.Connection) -> VerifyFailure:
    """Return what OpenSSL objected to in a handshake that is complete."""
    return connection.get_app_data() or VerifyFailure()


def only_the_name(failure: VerifyFailure) -> bool:
    """Whether nothing is wrong with the chain itself."""
    return all(code in _ANOTHER_NAME for code in failure.codes)


def is_another_name(connection: SSL.Connection) -> bool:
    """Say whether the peer's certificate was refused for its names alone."""
    failure = connection.get_app_data()
    return isinstance(failure, VerifyFailure) and not failure.goes_on and failure.codes[0] in _ANOTHER_NAME


def failed_verification(connection: SSL.Connection) -> bool:
    """Say whether the peer's certificate was refused for whatever reason."""
    failure = connection.get_app_data()
    return isinstance(failure, VerifyFailure) and not failure.goes_on


def explain(connection: SSL.Connection, error: SSL.Error) -> str:
    """Say what went wrong: the certificate's fault if there was one, else OpenSSL's reasons."""
    failure = connection.get_app_data()
    if isinstance(failure, VerifyFailure) and not failure.goes_on:
        return f"certificate verify failed: {failure.texts[0]}"
    stack = error.args[0] if error.args and isinstance(error.args[0], list) else []
    reasons = [entry[2] for entry in stack if len(entry) == 3 and entry[2]]
    if any(reason in {"wrong version number", "packet length too long"} for reason in reasons):
        return f"the peer speaks no TLS ({reasons[0]})"
    return "; ".join(reasons) or "connection lost"
