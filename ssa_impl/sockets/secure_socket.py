"""One secure socket: what the application asked for, where it stands, and what it may know.

Pure.  The daemon feeds it requests and outcomes; it answers with values or raises SsaError.  Whatever fails is
remembered as TLS_ERROR.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from ..abi import OPTIONS, Opt, Option, Phase
from ..errors import ApplicationError, SsaError
from ..policy.model import Policy, Request
from ..policy.resolve import check_version
from ..tls.negotiated import Negotiated
from .states import Event, State, step
from .values import Value, parse, serialize


class SecureSocket:
    """The state machine of one socket; ``number`` is its TLS_ID."""

    def __init__(self, number: int, policy: Policy) -> None:
        self.state = State.OPEN
        self.negotiated: Negotiated | None = None
        self.error_text = ""
        self._number = number
        self._policy = policy
        self._values: dict[Opt, Value] = {}
        self._pending_errno = 0

    @contextmanager
    def remembering(self) -> Iterator[None]:
        """Keep the text of whatever fails inside for TLS_ERROR."""
        try:
            yield
        except SsaError as error:
            self.error_text = error.text
            raise

    # -- options

    def set_option(self, number: int, data: bytes) -> None:
        """Take one option.  Errors: ENOPROTOOPT, EOPNOTSUPP (wrong phase), EBADFD, EINVAL, EPROTO (policy)."""
        row = _row(number)
        self._check_phase(row, row.set)
        value = parse(row.kind, data)
        if row.number in {Opt.TLS_VERSION_MIN, Opt.TLS_VERSION_MAX} and isinstance(value, int):
            check_version(self._policy, value)
        self._values[row.number] = value

    def get_option(self, number: int) -> bytes:
        """Give one option.  Errors: ENOPROTOOPT (unknown or set-only), ENOTCONN (not known yet)."""
        row = _row(number)
        if row.get is None:
            raise ApplicationError(f"{row.number.name} cannot be read", errno.ENOPROTOOPT)
        value = self._known(row)
        if value is None:
            raise ApplicationError(f"{row.number.name} is not known yet", errno.ENOTCONN)
        return serialize(row.kind, value)

    def forget(self, number: Opt) -> None:
        """Take back an option that turned out to be unusable."""
        self._values.pop(number, None)

    def request(self, hostname: str | None = None) -> Request:
        """Return what the application asked for, for the policy to resolve; ``hostname`` stands in for an unset one."""
        pick = self._values.get
        return Request(
            hostname=pick(Opt.TLS_REMOTE_HOSTNAME, hostname),  # type: ignore[arg-type]  # the table's kinds say the types
            anchors_pem=pick(Opt.TLS_TRUSTED_PEER_CERTIFICATES),  # type: ignore[arg-type]
            alpn=pick(Opt.TLS_ALPN, ()),  # type: ignore[arg-type]
            version_min=pick(Opt.TLS_VERSION_MIN),  # type: ignore[arg-type]
            version_max=pick(Opt.TLS_VERSION_MAX),  # type: ignore[arg-type]
        )

    def _check_phase(self, row: Option, allowed: Phase | None) -> None:
        if allowed is None:
            raise ApplicationError(f"{row.number.name} cannot be set", errno.ENOPROTOOPT)
        if self.state is State.FAILED:
            raise ApplicationError("the handshake failed; close this socket and open another", errno.EBADFD)
        phase = Phase.BEFORE if self.state is State.OPEN else Phase.AFTER
        if phase not in allowed:
            raise ApplicationError(f"{row.number.name} cannot be set in this phase", errno.EOPNOTSUPP)

    def _known(self, row: Option) -> Value | None:
        match row.number:
            case Opt.TLS_ERROR:
                return self.error_text
            case Opt.TLS_ID:
                return self._number
            case Opt.TLS_VERSION_MIN:
                return self._values.get(row.number, self._policy.version_min)
            case Opt.TLS_VERSION_MAX:
                return self._values.get(row.number, self._policy.version_max)
        if self.negotiated is not None and (value := self._from_handshake(row.number, self.negotiated)) is not None:
            return value
        return self._values.get(row.number)

    @staticmethod
    def _from_handshake(number: Opt, agreed: Negotiated) -> Value | None:
        match number:
            case Opt.TLS_ALPN:
                return agreed.alpn
            case Opt.TLS_PEER_IDENTITY:
                return agreed.peer_identity
            case Opt.TLS_PEER_CERTIFICATE_CHAIN:
                return agreed.peer_chain_pem
            case Opt.TLS_CHOSEN_CIPHER:
                return agreed.cipher
            case Opt.TLS_RESUMED_SESSION:
                return int(agreed.resumed)
            case Opt.TLS_VERSION_CONN:
                return agreed.version
            case Opt.TLS_CHOSEN_GROUP:
                return agreed.group
        return None

    # -- life

    def check(self, event: Event) -> None:
        """Raise the refusal of ``event``, or change nothing."""
        step(self.state, event)

    def happen(self, event: Event) -> None:
        """Go one step, or raise the refusal."""
        self.state = step(self.state, event)

    def established(self, agreed: Negotiated) -> None:
        """The handshake and all validation succeeded."""
        self.happen(Event.ESTABLISHED)
        self.negotiated = agreed

    def broken(self, error: SsaError) -> None:
        """The connect failed, or the established connection did."""
        self.error_text = error.text
        if self.state is not State.CONNECTING:  # a waiting caller is told by the call itself
            self._pending_errno = error.errno
        if self.state is not State.CONNECTED:
            self.happen(Event.BROKEN)

    def take_pending_errno(self) -> int:
        """SO_ERROR: give the errno of what failed in the background, once; ENOTCONN when there is no connection at all.

        A signal may break off a connect before anybody has seen it.  Whoever then polls and asks for SO_ERROR, as after
        EINTR one must, would take 0 for success.
        """
        if self.state is State.OPEN:
            return errno.ENOTCONN
        pending, self._pending_errno = self._pending_errno, 0
        return pending


def _row(number: int) -> Option:
    try:
        return OPTIONS[Opt(number)]
    except (ValueError, KeyError):
        raise ApplicationError(f"no TLS option has the number {number}", errno.ENOPROTOOPT) from None
