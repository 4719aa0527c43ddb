"""OpenSSL's complaints in one sentence."""

from __future__ import annotations

from dataclasses import dataclass, field

from OpenSSL import SSL, crypto

_VERIFY_TEXT = {  # X509_V_ERR_*, openssl/x509_vfy.h; wording of X509_verify_cert_error_string(3)
    2: "unable to get issuer certificate",
    7: "certificate signature failure",
    9: "certificate is not yet valid",
    10: "certificate has expired",
    18: "self-signed certificate",
    19: "self-signed certificate in certificate chain",
    20: "unable to get local issuer certificate",
    21: "unable to verify the first certificate",
    22: "certificate chain too long",
    23: "certificate revoked",
    24: "invalid CA certificate",
    25: "path length constraint exceeded",
    26: "unsuitable certificate purpose",
    27: "certificate not trusted",
    28: "certificate rejected",
    47: "permitted subtree violation",
    48: "excluded subtree violation",
    66: "EE certificate key too weak",
    67: "CA certificate key too weak",
    68: "CA signature digest algorithm too weak",
    79: "invalid CA certificate",
}


@dataclass
class VerifyFailure:
    """The first failure that chain verification met on one connection (kept as the connection's app data)."""

    texts: list[str] = field(default_factory=list)


def note_verification(connection: SSL.Connection, certificate: crypto.X509, code: int, depth: int, ok: int) -> bool:
    """Verify callback: agree with OpenSSL, and note what it objected to."""
    if not ok:
        failure = connection.get_app_data() or VerifyFailure()
        failure.texts.append(f"{_VERIFY_TEXT.get(code, f'verification error {code}')} (depth {depth})")
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
